//! Delivers what waits for one sink: batches, retries, keeps the circuit, and says of each record what became of it.
//!
//! A batch that fails as a whole is tried again later, smaller, for ever: what has no room meanwhile is the spool's to drop.
//! Order is kept within a lane, but for records that a server turns away for now while it takes others: those are set apart,
//! at most [`MAX_DEFERRED`], and tried again by themselves, so that they hold up nobody.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sonde_common::config::SinkSettings;
use sonde_common::record::Record;
use sonde_common::time::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::dead::DeadLetters;
use super::health::{Circuit, SinkError};
use super::spool::{Cause, Fate, Spool, Ticket, Waiting};
use super::{Delivery, Outcome, SetupError, Sink};

/// The wait after a first failure, at most; it doubles with each further one, up to …
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// … this.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Longest wait that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);
/// Failures in a row after which one record at a time is tried.
const OPEN_AFTER: u32 = 5;
/// Among so many of the oldest records the one to try is chosen in turn: one that a server chokes on is not all it gets.
const PROBED: usize = 8;
/// Records set apart; when there are so many, nothing else is tried before one of them has gone.
pub const MAX_DEFERRED: usize = 256;
/// Longest text of an error that is told.
const MAX_SAID: usize = 300;

/// Opens the sink: again and again while it cannot be.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn Sink>, SetupError>>;

/// How fast it goes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most records of a call.
    pub records: usize,
    /// Most bytes of a call.
    pub bytes: usize,
    /// How long records below severity high may wait for others.
    pub flush: Duration,
    /// How long a call may take.
    pub timeout: Duration,
}

impl Pace {
    /// As the settings say.
    #[must_use]
    pub fn of(settings: &SinkSettings) -> Self {
        Self {
            records: usize::try_from(settings.batch_records.get()).unwrap_or(1),
            bytes: usize::try_from(settings.batch_bytes.get()).unwrap_or(usize::MAX),
            flush: Duration::from_secs(u64::from(settings.flush_secs.get())),
            timeout: Duration::from_secs(u64::from(settings.timeout_secs.get())),
        }
    }
}

/// How it goes, for health.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// When the server last took something.
    pub last_acknowledged: Option<Timestamp>,
    /// What went wrong since.
    pub last_error: Option<SinkError>,
    /// Whether batches are sent.
    pub circuit: Circuit,
    /// Failures in a row.
    pub failures: u32,
    /// Records set apart.
    pub deferred: u64,
}

/// What a sink's task is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Go on.
    Run,
    /// Deliver what can be delivered at once, close, and end.
    Drain,
}

/// A record set apart.
struct Deferred {
    waiting: Waiting,
    tries: u32,
    next: Instant,
}

/// The task of one sink.
#[expect(missing_debug_implementations, reason = "it holds trait objects")]
pub struct Core {
    name: String,
    open: Open,
    sink: Option<Box<dyn Sink>>,
    spool: Rc<RefCell<Spool>>,
    dead: DeadLetters,
    pace: Pace,
    /// Rung when something was appended.
    bell: Rc<Notify>,
    progress: Rc<RefCell<Progress>>,
    random: u64,
    /// Records that the next batch has at most.
    limit: usize,
    not_before: Instant,
    /// Since when something waits that is in no hurry.
    waits_since: Option<Instant>,
    deferred: Vec<Deferred>,
    deferred_limit: usize,
    /// Deliveries that got something through.
    successes: u64,
    /// Records that failed alone, with the successes there had been by then.
    alone: BTreeMap<Ticket, u64>,
}

impl Core {
    /// A task for a sink.
    #[must_use]
    pub fn new(
        name: String,
        open: Open,
        (spool, bell): (Rc<RefCell<Spool>>, Rc<Notify>),
        dead: DeadLetters,
        pace: Pace,
        progress: Rc<RefCell<Progress>>,
    ) -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        let now = Instant::now();
        // A task before this one may have taken some.
        spool.borrow_mut().rewind();
        *progress.borrow_mut() = Progress::default();
        Self {
            name,
            open,
            sink: None,
            spool,
            dead,
            pace,
            bell,
            progress,
            random: RandomState::new().hash_one(0),
            limit: pace.records,
            not_before: now,
            waits_since: None,
            deferred: Vec::new(),
            deferred_limit: MAX_DEFERRED,
            successes: 0,
            alone: BTreeMap::new(),
        }
    }

    /// Delivers until it is told to drain, or nobody is there to tell it.
    pub async fn run(mut self, mut stage: watch::Receiver<Stage>) {
        while *stage.borrow() == Stage::Run {
            match self.next_step(Instant::now()) {
                Step::Deliver => {
                    self.deliver_next().await;
                }
                Step::Again => self.deliver_deferred().await,
                Step::Wait(until) => {
                    let bell = Rc::clone(&self.bell);
                    let timer = async {
                        match until {
                            Some(until) => tokio::time::sleep_until(until).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = bell.notified() => {}
                        () = timer => {}
                        changed = stage.changed() => if changed.is_err() { break },
                    }
                }
            }
        }
        // What went through a moment ago may go on; a server that is away is not waited for.
        while self.progress.borrow().failures == 0 && self.spool.borrow().has_untaken() {
            if !self.deliver_next().await {
                break;
            }
        }
        if let Some(sink) = &mut self.sink {
            sink.close().await;
        }
    }

    fn next_step(&mut self, now: Instant) -> Step {
        let due = self.deferred.iter().map(|one| one.next).min();
        let (mut waits, presses, untaken) = {
            let spool = self.spool.borrow();
            (spool.has_untaken(), spool.presses(), spool.untaken())
        };
        if self.deferred.len() >= MAX_DEFERRED {
            waits = false;
        }
        let mut until = due.map(|due| due.max(self.not_before));
        if waits {
            let since = *self.waits_since.get_or_insert(now);
            let failing = self.progress.borrow().failures > 0;
            let full = untaken >= self.limit as u64;
            let from = if presses || full || failing { since } else { since + self.pace.flush };
            let at = from.max(self.not_before);
            if at <= now {
                return Step::Deliver;
            }
            until = Some(until.map_or(at, |until| until.min(at)));
        } else {
            self.waits_since = None;
        }
        match until {
            Some(until) if until <= now => Step::Again,
            until => Step::Wait(until),
        }
    }

    /// Sends the next batch; whether anything went through.
    async fn deliver_next(&mut self) -> bool {
        let batch = match self.next_batch() {
            Ok(batch) => batch,
            Err(error) => {
                self.failed(format!("the spool cannot be read: {error}"), None);
                return false;
            }
        };
        if batch.is_empty() {
            return false;
        }
        let (records, tickets): (Vec<Record>, Vec<Ticket>) =
            batch.into_iter().map(|one| (one.record, one.ticket)).unzip();
        let delivery = self.call(&records).await;
        let (done, left) = self.settle(records, &tickets, &delivery);
        if done {
            self.succeeded();
            self.defer(left.into_iter().map(|(waiting, _)| (waiting, 1)));
        } else {
            let reason = left.first().map_or(String::new(), |(_, reason)| reason.clone());
            if let [(waiting, _)] = left.as_slice() {
                let before = *self.alone.entry(waiting.ticket).or_insert(self.successes);
                if self.alone.len() > MAX_DEFERRED {
                    self.alone.clear();
                }
                // Others went through since this one failed first: it is this one, not the server.
                if before < self.successes {
                    self.alone.remove(&waiting.ticket);
                    self.defer([(waiting.clone(), 1)]);
                }
            }
            self.limit = (self.limit / 2).max(1);
            self.failed(reason, delivery.retry_after);
        }
        done
    }

    /// The records to be sent now. They stay in the spool until they are settled; whatever fails is read again.
    fn next_batch(&mut self) -> std::io::Result<Vec<Waiting>> {
        let mut spool = self.spool.borrow_mut();
        let failures = self.progress.borrow().failures;
        let probing = failures >= OPEN_AFTER;
        let most = if probing { PROBED } else { self.limit };
        let mut batch = Vec::new();
        while batch.len() < most {
            let mut more = spool.take(most - batch.len(), self.pace.bytes)?;
            if more.is_empty() {
                break;
            }
            more.retain(|one| !self.deferred.iter().any(|deferred| deferred.waiting.ticket == one.ticket));
            let found = !more.is_empty();
            batch.append(&mut more);
            if found {
                break;
            }
        }
        if probing && !batch.is_empty() {
            let which = failures as usize % batch.len();
            batch = batch.split_off(which);
            batch.truncate(1);
            spool.rewind();
        }
        Ok(batch)
    }

    /// Tries again what was set apart.
    async fn deliver_deferred(&mut self) {
        let now = Instant::now();
        self.deferred.sort_by_key(|one| one.waiting.ticket);
        let mut due = Vec::new();
        let mut bytes = 0;
        let (most, most_bytes) = (self.deferred_limit.min(self.pace.records), self.pace.bytes);
        self.deferred.retain_mut(|one| {
            let size = one.waiting.record.body.len();
            let fits = one.next <= now && due.len() < most && (due.is_empty() || bytes + size <= most_bytes);
            if fits {
                bytes += size;
                due.push((one.tries, one.waiting.clone()));
            }
            !fits
        });
        let (tries, batch): (Vec<u32>, Vec<Waiting>) = due.into_iter().unzip();
        let (records, tickets): (Vec<Record>, Vec<Ticket>) =
            batch.into_iter().map(|one| (one.record, one.ticket)).unzip();
        let tries: BTreeMap<Ticket, u32> = tickets.iter().copied().zip(tries).collect();
        let delivery = self.call(&records).await;
        let (done, left) = self.settle(records, &tickets, &delivery);
        if done {
            self.deferred_limit = (self.deferred_limit * 2).min(MAX_DEFERRED);
            self.succeeded();
        } else {
            self.deferred_limit = (self.deferred_limit / 2).max(1);
        }
        if let Some((_, reason)) = left.first() {
            self.note_error(reason.clone());
        }
        self.defer(left.into_iter().map(|(waiting, _)| {
            let tries = tries.get(&waiting.ticket).map_or(1, |tries| tries.saturating_add(1));
            (waiting, tries)
        }));
    }

    /// Sets records apart, each with the number of its failures; those that failed together are tried together.
    fn defer(&mut self, failed: impl IntoIterator<Item = (Waiting, u32)>) {
        let failed: Vec<_> = failed.into_iter().collect();
        if let Some(tries) = failed.iter().map(|(_, tries)| *tries).max() {
            let next = Instant::now() + self.wait(tries);
            self.deferred.extend(failed.into_iter().map(|(waiting, tries)| Deferred {
                waiting,
                tries,
                next,
            }));
        }
        self.progress.borrow_mut().deferred = self.deferred.len() as u64;
    }

    /// One call of the sink.
    async fn call(&mut self, records: &[Record]) -> Delivery {
        if self.sink.is_none() {
            match (self.open)() {
                Ok(sink) => self.sink = Some(sink),
                Err(error) => {
                    return Delivery::all(&Outcome::Retry(error.to_string()), records.len(), String::new());
                }
            }
        }
        let Some(sink) = &mut self.sink else { return Delivery::default() };
        match tokio::time::timeout(self.pace.timeout, sink.deliver(records)).await {
            Ok(delivery) => delivery,
            Err(_) => {
                let reason = format!("no answer within {} s", self.pace.timeout.as_secs());
                Delivery::all(&Outcome::Retry(reason), records.len(), String::new())
            }
        }
    }

    /// Brings to the disk what became of the records. Whether anything was decided, and what was not.
    fn settle(
        &mut self,
        records: Vec<Record>,
        tickets: &[Ticket],
        delivery: &Delivery,
    ) -> (bool, Vec<(Waiting, String)>) {
        let now = wall();
        let mut outcomes = delivery.outcomes.iter();
        let (mut fates, mut left) = (Vec::new(), Vec::new());
        let mut acknowledged = false;
        for (record, &ticket) in records.into_iter().zip(tickets) {
            match outcomes.next() {
                Some(Outcome::Acknowledged) => {
                    acknowledged = true;
                    fates.push((ticket, Fate::Acknowledged));
                }
                Some(Outcome::Refused(reason)) => {
                    self.note_error(format!("{} is refused: {reason}", record.id));
                    let fate = match self.dead.write(&self.name, &record, reason, now) {
                        Ok(()) => Fate::Dead,
                        Err(error) => {
                            warn!(sink = self.name, %error, "a refused record has no place among the dead letters");
                            Fate::Dropped(Cause::DeadLetterFailed)
                        }
                    };
                    fates.push((ticket, fate));
                }
                outcome => {
                    let reason = match outcome {
                        Some(Outcome::Retry(reason)) => reason.clone(),
                        _ => format!("nothing was said of it: {}", delivery.said),
                    };
                    left.push((Waiting { ticket, record }, reason));
                }
            }
        }
        let done = !fates.is_empty();
        if done {
            self.spool.borrow_mut().settle(fates);
        }
        if acknowledged {
            let mut progress = self.progress.borrow_mut();
            progress.last_acknowledged = Some(now);
            if left.is_empty() && delivery.outcomes.iter().all(|one| *one == Outcome::Acknowledged) {
                progress.last_error = None;
            }
        }
        (done, left)
    }

    fn succeeded(&mut self) {
        self.successes += 1;
        self.limit = (self.limit * 2).min(self.pace.records);
        self.not_before = Instant::now();
        self.waits_since = None;
        let mut progress = self.progress.borrow_mut();
        if progress.circuit == Circuit::Open {
            info!(sink = self.name, "delivers again");
        }
        (progress.failures, progress.circuit) = (0, Circuit::Closed);
    }

    fn failed(&mut self, reason: String, retry_after: Option<Duration>) {
        self.spool.borrow_mut().rewind();
        let failures = {
            let mut progress = self.progress.borrow_mut();
            progress.failures = progress.failures.saturating_add(1);
            progress.failures
        };
        if failures == OPEN_AFTER {
            warn!(sink = self.name, failures, reason, "does not deliver: tried now and then from now on");
            self.progress.borrow_mut().circuit = Circuit::Open;
        }
        self.note_error(reason);
        let asked = retry_after.map_or(Duration::ZERO, |asked| asked.min(LONGEST_ASKED));
        self.not_before = Instant::now() + self.wait(failures).max(asked);
    }

    fn note_error(&self, reason: String) {
        let mut reason = sonde_common::text::escape(&reason).into_owned();
        if let Some((cut, _)) = reason.char_indices().nth(MAX_SAID) {
            reason.truncate(cut);
        }
        self.progress.borrow_mut().last_error = Some(SinkError { time: wall(), reason });
    }

    /// A wait by chance, from none to the longest that is due after so many failures: those who failed together do not come
    /// back together.
    fn wait(&mut self, failures: u32) -> Duration {
        let longest = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(mixed % (longest + 1))
    }
}

/// What to do next.
enum Step {
    /// Send a batch.
    Deliver,
    /// Try again what was set apart.
    Again,
    /// Wait until something happens, or until then.
    Wait(Option<Instant>),
}

/// The wall clock.
pub(super) fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
