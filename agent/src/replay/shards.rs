//! Rows in their order to findings: the hosts of each bucket have an assembler and engines of their own, so buckets run on
//! as many threads as there are, and the answer is the same on any number of them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sonde_common::alert::Alert;
use sonde_common::assemble::{AssembleCounters, Assembler};
use sonde_common::config::Config;
use sonde_common::engine::Engines;
use sonde_common::event::Observation;
use sonde_common::format::row::Row;
use sonde_common::time::Timestamp;

use super::SEED;
use super::spool::{BUCKETS, Spool};

/// Rows between two looks at the progress.
const ROWS_PER_TICK: u64 = 8192;

/// What the hosts of one bucket have.
#[derive(Debug)]
pub(super) struct Shard {
    assembler: Assembler,
    engines: Engines,
    /// Whether the engines are asked at all.
    detect: bool,
    alerts: Vec<Alert>,
    span: Option<(Timestamp, Timestamp)>,
    observations: u64,
}

/// What all of them came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) engines: Engines,
    pub(super) assembled: AssembleCounters,
    /// In the order of time.
    pub(super) alerts: Vec<Alert>,
    pub(super) span: Option<(Timestamp, Timestamp)>,
    pub(super) observations: u64,
}

impl Shard {
    /// With its share of the memory: as many parts of it as it has hosts of all.
    pub(super) fn new(config: &Config, detect: bool, hosts: u64, of: u64) -> Self {
        let part = |bytes: usize| {
            let part = (bytes as u128) * u128::from(hosts.max(1)) / u128::from(of.max(hosts).max(1));
            usize::try_from(part).unwrap_or(bytes)
        };
        let memory = config.limits.memory;
        Self {
            assembler: Assembler::new(part(memory.tracking_bytes())),
            engines: Engines::with_memory(part(memory.detection_bytes()), SEED),
            detect,
            alerts: Vec::new(),
            span: None,
            observations: 0,
        }
    }

    /// Takes a row; `seen` gets what it tells, besides the engines.
    pub(super) fn take(&mut self, row: &Row<'_>, seen: &mut dyn FnMut(&Observation<'_>)) {
        let Self { assembler, engines, detect, alerts, span, observations } = self;
        assembler.take(row, &mut |observation| {
            seen(observation);
            note(observation, span, observations);
            if *detect {
                engines.observe(observation, &mut |alert| alerts.push(alert));
            }
        });
    }

    /// Takes an observation.
    #[inline]
    pub(super) fn observe(&mut self, observation: &Observation<'_>) {
        let Self { engines, detect, alerts, span, observations, .. } = self;
        note(observation, span, observations);
        if *detect {
            engines.observe(observation, &mut |alert| alerts.push(alert));
        }
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
}

#[inline]
fn note(observation: &Observation<'_>, span: &mut Option<(Timestamp, Timestamp)>, observations: &mut u64) {
    let (first, last) = span.unwrap_or((observation.time, observation.time));
    *span = Some((first.min(observation.time), last.max(observation.time)));
    *observations += 1;
}

/// Joins what the shards came to, in an order that does not depend on how they ran.
pub(super) fn join(shards: Vec<Shard>) -> Option<Outcome> {
    let mut shards = shards.into_iter();
    let first = shards.next()?;
    let mut all = Outcome {
        engines: first.engines,
        assembled: first.assembler.counters(),
        alerts: first.alerts,
        span: first.span,
        observations: first.observations,
    };
    for shard in shards {
        all.engines.join(shard.engines);
        all.assembled.add(&shard.assembler.counters());
        all.alerts.extend(shard.alerts);
        all.observations += shard.observations;
        all.span = match (all.span, shard.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }
    all.alerts.sort_by(|a, b| (a.time, &a.host, a.id, a.revision).cmp(&(b.time, &b.host, b.id, b.revision)));
    Some(all)
}

/// Buckets with hosts in them.
fn occupied(hosts: &[u64; BUCKETS]) -> Vec<(usize, u64)> {
    hosts.iter().copied().enumerate().filter(|(_, hosts)| *hosts > 0).collect()
}

/// Runs the buckets on threads; `tick` is told of the rows so far.
pub(super) fn run(
    config: &Config,
    spool: &Spool,
    hosts: &[u64; BUCKETS],
    threads: usize,
    tick: &mut dyn FnMut(u64),
) -> io::Result<Vec<Shard>> {
    let buckets = occupied(hosts);
    let total = hosts.iter().sum();
    let done = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let rows = std::sync::atomic::AtomicU64::new(0);
    let work = |tick: &mut dyn FnMut(u64)| -> io::Result<()> {
        while let Some(&(bucket, count)) = buckets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut shard = Shard::new(config, true, count, total);
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
            done.lock().unwrap_or_else(PoisonError::into_inner).push((bucket, shard));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> =
            (1..threads.min(buckets.len())).map(|_| scope.spawn(|| work(&mut |_| {}))).collect();
        let mine = work(tick);
        let theirs = helpers
            .into_iter()
            .map(|helper| helper.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
        theirs.fold(mine, io::Result::and)
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(bucket, _)| *bucket);
    Ok(done.into_iter().map(|(_, shard)| shard).collect())
}

/// Runs all buckets at once on this thread, in the order of time over all of them, for those who want to see every event.
pub(super) fn run_in_order(
    config: &Config,
    detect: bool,
    spool: &Spool,
    hosts: &[u64; BUCKETS],
    seen: &mut dyn FnMut(&Row<'_>, Option<&Observation<'_>>),
    tick: &mut dyn FnMut(u64),
) -> io::Result<Vec<Shard>> {
    let total = hosts.iter().sum();
    let mut shards: Vec<_> =
        hosts.iter().map(|&hosts| (hosts > 0).then(|| Shard::new(config, detect, hosts, total))).collect();
    let mut sorted = spool.rows(0..BUCKETS)?;
    let mut taken = 0u64;
    while let Some((_, bucket, bytes)) = sorted.next_row()? {
        if let Some(Some(shard)) = shards.get_mut(bucket)
            && let Some(row) = Row::decode(bytes)
        {
            seen(&row, None);
            shard.take(&row, &mut |observation| seen(&row, Some(observation)));
        }
        taken += 1;
        if taken.is_multiple_of(ROWS_PER_TICK) {
            tick(taken);
        }
    }
    Ok(shards.into_iter().flatten().collect())
}
