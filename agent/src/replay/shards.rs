//! Rows in their order to findings: the hosts of each bucket are followed to their end, a few buckets at a time.
//!
//! As many buckets are followed at once as there are [`LANES`], each with that part of the memory, whatever the number of
//! threads: so the answer does not depend on it, and a fleet of thousands of hosts fits into the memory of one.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sonde_common::activity::Activity;
use sonde_common::alert::{Alert, Severity};
use sonde_common::assemble::{AssembleCounters, Assembler};
use sonde_common::config::Config;
use sonde_common::engine::{EngineCounters, Engines, rank};
use sonde_common::event::Observation;
use sonde_common::format::row::Row;
use sonde_common::knowledge::Knowledge;
use sonde_common::time::Timestamp;

use super::SEED;
use super::behind::Behind;
use super::spool::{BUCKETS, Spool};

/// Rows between two looks at the progress.
const ROWS_PER_TICK: u64 = 8192;
/// Buckets followed at once, at most.
pub(super) const LANES: usize = 4;

/// What the hosts of one bucket have, or those of a whole stream.
#[derive(Debug)]
pub(super) struct Shard {
    assembler: Assembler,
    seat: Seat,
    alerts: Vec<Alert>,
    /// Whether alerts are kept as they are emitted.
    stream: bool,
    worst: Option<Severity>,
    span: Option<(Timestamp, Timestamp)>,
    observations: u64,
    /// How much happened when, if anyone asks.
    activity: Option<Box<Activity>>,
}

/// When the engines see an observation.
#[derive(Debug)]
enum Seat {
    /// When it is taken, and their alerts come in the order of time.
    Now(Box<Engines>),
    /// Some time later, which takes less time.
    Later(Box<Behind>),
}

/// What is wanted beside the final state of the findings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Every series.
    pub(super) all: bool,
    /// The alerts as they are emitted.
    pub(super) stream: bool,
    /// How much happened when.
    pub(super) activity: bool,
}

/// What a replay found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The final state of each finding, highest score first.
    pub alerts: Vec<Alert>,
    /// A row for each series that was scored, highest score first; empty unless asked for.
    pub series: Vec<Alert>,
    /// How many series were scored.
    pub scored: u64,
}

/// What shards came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) findings: Findings,
    /// As the live sensor would have emitted them, in the order of time.
    pub(super) emitted: Vec<Alert>,
    pub(super) assembled: AssembleCounters,
    pub(super) engine: EngineCounters,
    pub(super) hosts: usize,
    pub(super) memory_bytes: usize,
    pub(super) worst: Option<Severity>,
    pub(super) span: Option<(Timestamp, Timestamp)>,
    pub(super) activity: Option<Box<Activity>>,
}

impl Shard {
    /// With one of so many parts of the memory.
    pub(super) fn new(config: &Config, knowledge: &Arc<Knowledge>, parts: usize, wish: Wish) -> Self {
        let memory = config.limits.memory;
        let parts = parts.max(1);
        let mut engines = Engines::with_memory(memory.detection_bytes() / parts, SEED);
        // Before the first event there is nothing to tell.
        engines.set_knowledge(knowledge, &mut |_| {});
        Self {
            assembler: Assembler::new(memory.tracking_bytes() / parts),
            seat: Seat::Now(Box::new(engines)),
            alerts: Vec::new(),
            stream: wish.stream,
            worst: None,
            span: None,
            observations: 0,
            activity: wish.activity.then(Box::default),
        }
    }

    /// Lets the engines stay behind, on one of so many threads, unless the alerts are wanted as they come.
    pub(super) fn behind(mut self, threads: usize) -> Self {
        self.seat = match self.seat {
            Seat::Now(engines) if !self.stream => Seat::Later(Box::new(Behind::new(*engines, threads))),
            seat => seat,
        };
        self
    }

    /// Takes a row; `seen` gets what it tells, besides the engines.
    pub(super) fn take(&mut self, row: &Row<'_>, seen: &mut dyn FnMut(&Observation<'_>)) {
        let Self { assembler, seat, alerts, stream, worst, span, observations, activity } = self;
        assembler.take(row, &mut |observation| {
            seen(observation);
            note(observation, span, observations, activity.as_deref_mut());
            seat.observe(observation, &mut |alert| keep(alert, *stream, alerts, worst));
        });
    }

    /// Takes an observation.
    #[inline]
    pub(super) fn observe(&mut self, observation: &Observation<'_>) {
        let Self { seat, alerts, stream, worst, span, observations, activity, .. } = self;
        note(observation, span, observations, activity.as_deref_mut());
        seat.observe(observation, &mut |alert| keep(alert, *stream, alerts, worst));
    }

    /// Observations so far.
    pub(super) const fn observations(&self) -> u64 {
        self.observations
    }

    /// Whether alerts are due.
    pub(super) const fn has_alerts(&self) -> bool {
        !self.alerts.is_empty()
    }

    /// Hands out the alerts that are due.
    pub(super) fn drain_alerts(&mut self) -> std::vec::Drain<'_, Alert> {
        self.alerts.drain(..)
    }

    /// What it came to; `all` asks for every series.
    pub(super) fn outcome(self, all: bool) -> Outcome {
        let (engines, worst) = match self.seat {
            Seat::Now(engines) => (*engines, self.worst),
            Seat::Later(behind) => behind.finish(),
        };
        Outcome {
            findings: Findings {
                alerts: engines.alerts(),
                scored: engines.scored(),
                series: if all { engines.series() } else { Vec::new() },
            },
            emitted: self.alerts,
            assembled: self.assembler.counters(),
            engine: engines.counters(),
            hosts: engines.len(),
            memory_bytes: engines.memory_bytes(),
            worst,
            span: self.span,
            activity: self.activity,
        }
    }
}

impl Seat {
    #[inline]
    fn observe(&mut self, observation: &Observation<'_>, sink: &mut impl FnMut(Alert)) {
        match self {
            Self::Now(engines) => engines.observe(observation, sink),
            Self::Later(behind) => behind.observe(observation),
        }
    }
}

/// Keeps an alert if somebody waits for it: a long log has many.
fn keep(alert: Alert, stream: bool, alerts: &mut Vec<Alert>, worst: &mut Option<Severity>) {
    *worst = (*worst).max(Some(alert.severity));
    if stream {
        alerts.push(alert);
    }
}

#[inline]
fn note(
    observation: &Observation<'_>,
    span: &mut Option<(Timestamp, Timestamp)>,
    observations: &mut u64,
    activity: Option<&mut Activity>,
) {
    if let Some(activity) = activity {
        activity.observe(observation);
    }
    let (first, last) = span.unwrap_or((observation.time, observation.time));
    *span = Some((first.min(observation.time), last.max(observation.time)));
    *observations += 1;
}

/// Joins what shards of different hosts came to, in an order that does not depend on how they ran.
fn join(outcomes: Vec<Outcome>) -> Outcome {
    let mut all = Outcome::default();
    for outcome in outcomes {
        all.findings.alerts.extend(outcome.findings.alerts);
        all.findings.series.extend(outcome.findings.series);
        all.findings.scored += outcome.findings.scored;
        all.emitted.extend(outcome.emitted);
        all.assembled.add(&outcome.assembled);
        all.engine.add(&outcome.engine);
        all.hosts += outcome.hosts;
        all.memory_bytes = all.memory_bytes.max(outcome.memory_bytes);
        all.worst = all.worst.max(outcome.worst);
        all.span = match (all.span, outcome.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        match (&mut all.activity, outcome.activity) {
            (Some(all), Some(more)) => all.merge(&more),
            (all, more) => *all = all.take().or(more),
        }
    }
    rank(&mut all.findings.alerts);
    rank(&mut all.findings.series);
    all.emitted.sort_by(|a, b| (a.time, &a.host, a.id, a.revision).cmp(&(b.time, &b.host, b.id, b.revision)));
    all
}

/// Follows all buckets to their ends; `tick` is told of the rows so far.
pub(super) fn run(
    (config, knowledge): (&Config, &Arc<Knowledge>),
    spool: &Spool,
    hosts: &[u64; BUCKETS],
    threads: usize,
    wish: Wish,
    tick: &mut dyn FnMut(u64),
) -> io::Result<Outcome> {
    let buckets: Vec<_> =
        hosts.iter().enumerate().filter(|(_, hosts)| **hosts > 0).map(|(bucket, _)| bucket).collect();
    let lanes = buckets.len().min(LANES);
    let done = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let rows = AtomicU64::new(0);
    let work = |tick: &mut dyn FnMut(u64)| -> io::Result<()> {
        while let Some(&bucket) = buckets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut shard = Shard::new(config, knowledge, lanes, wish);
            let mut sorted = spool.rows(bucket..bucket + 1)?;
            let mut taken = 0u64;
            while let Some((_, _, bytes)) = sorted.next_row()? {
                if let Some(row) = Row::decode(bytes) {
                    shard.take(&row, &mut |_| {});
                }
                taken += 1;
                if taken.is_multiple_of(ROWS_PER_TICK) {
                    tick(rows.fetch_add(ROWS_PER_TICK, Ordering::Relaxed) + ROWS_PER_TICK);
                }
            }
            let outcome = shard.outcome(wish.all);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((bucket, outcome));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.min(lanes)).map(|_| scope.spawn(|| work(&mut |_| {}))).collect();
        let mine = work(tick);
        let theirs = helpers
            .into_iter()
            .map(|helper| helper.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
        theirs.fold(mine, io::Result::and)
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(bucket, _)| *bucket);
    Ok(join(done.into_iter().map(|(_, outcome)| outcome).collect()))
}

/// Assembles the rows of all buckets in the order of time over all of them, for those who want to see every event. Returns
/// what became of the rows.
pub(super) fn watch(
    config: &Config,
    spool: &Spool,
    seen: &mut dyn FnMut(&Row<'_>, Option<&Observation<'_>>),
    tick: &mut dyn FnMut(u64),
) -> io::Result<AssembleCounters> {
    let mut assembler = Assembler::new(config.limits.memory.tracking_bytes());
    let mut sorted = spool.rows(0..BUCKETS)?;
    let mut taken = 0u64;
    while let Some((_, _, bytes)) = sorted.next_row()? {
        if let Some(row) = Row::decode(bytes) {
            seen(&row, None);
            assembler.take(&row, &mut |observation| seen(&row, Some(observation)));
        }
        taken += 1;
        if taken.is_multiple_of(ROWS_PER_TICK) {
            tick(taken);
        }
    }
    Ok(assembler.counters())
}
