//! The bridge from the sensors' stream to the store: batches of records become rows, and are acknowledged to the stream once the
//! store said that it has them.
//!
//! What breaks in between is carried again, which does no harm: rows have ids, and what is counted does not change when it is
//! counted twice. A record that no table takes goes to the dead letters, so that it does not stop those behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::{self, Message};
use bytes::Bytes;
use futures_util::StreamExt as _;
use sonde_common::alert::Severity;
use sonde_common::config::FleetSettings;
use sonde_common::human;
use sonde_common::record::{Kind, Record};
use sonde_common::time::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::rows;
use super::store::{Store, StoreError};
use crate::sink::dead::DeadLetters;
use crate::sink::http::shown;
use crate::sink::nats::link::{Link, Linked};

/// Shortest and longest wait between two attempts.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Messages that wait to be written to NATS: acknowledgements of a batch.
const WINDOW: usize = 4_096;
/// Longest wait for a server of NATS, and for an answer of its API.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a batch under way may go on once the end is asked for.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// How often counters are logged.
const REPORT: Duration = Duration::from_secs(60);
/// Batches that all carriers of one name may have at once.
const BATCHES_AT_ONCE: i64 = 16;

/// Where the stream's records come to: sensors may listen below `_INBOX`, where they would hear all that others told.
const INBOX: &str = "_INBOX_sonde_carry";

/// Name of the dead letters in their folder.
pub const DEAD_FILE: &str = "carry.dead.ndjson";

/// What was carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that the store has, by kind.
    pub rows: BTreeMap<&'static str, u64>,
    /// Bytes of these, as they stood in the stream.
    pub bytes: u64,
    /// Batches.
    pub batches: u64,
    /// Records that had been given to a carrier before.
    pub again: u64,
    /// Records that no table takes.
    pub dead: u64,
    /// Attempts that failed: connections, inserts.
    pub failures: u64,
}

impl Counts {
    /// Records that the store has.
    #[must_use]
    pub fn rows_in_all(&self) -> u64 {
        self.rows.values().sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_kind: Vec<_> =
            self.rows.iter().map(|(kind, count)| format!("{} {kind}", human::count(*count))).collect();
        write!(
            f,
            "{} records carried ({}), {} in {} batches; {} came again, {} dead, {} attempts failed",
            human::count(self.rows_in_all()),
            if by_kind.is_empty() { "none".to_owned() } else { by_kind.join(", ") },
            human::bytes(self.bytes),
            human::count(self.batches),
            human::count(self.again),
            human::count(self.dead),
            human::count(self.failures)
        )
    }
}

/// Why nothing can be carried.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The settings of NATS lead nowhere.
    #[error("fleet.{0}")]
    Nats(String),
    /// There is nowhere for dead letters.
    #[error(
        "fleet.carry.dead_dir is not set: name a folder, since one record that no table takes would stop all behind it"
    )]
    NoDeadDir,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Carries records.
pub struct Carrier {
    settings: FleetSettings,
    link: Link,
    store: Store,
    dead: DeadLetters,
    stop: watch::Receiver<bool>,
    counts: Counts,
    reported: Instant,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// A batch of one table.
struct Part {
    kind: Kind,
    /// Each row is a line; where it begins, and whose it is.
    lines: Vec<u8>,
    rows: Vec<(usize, usize)>,
}

impl Carrier {
    /// Gets ready; nothing is connected yet. It ends when `stop` becomes true.
    ///
    /// # Errors
    /// When the settings lead nowhere.
    pub fn new(settings: &FleetSettings, stop: watch::Receiver<bool>) -> Result<Self, CarryError> {
        let nats = settings.nats.reach();
        let link = Link::new(&nats, &settings.nats.tls).map_err(CarryError::Nats)?.with_inbox(INBOX);
        let folder = settings.carry.dead_dir.get().ok_or(CarryError::NoDeadDir)?;
        Ok(Self {
            link,
            store: Store::open(&settings.clickhouse)?,
            dead: DeadLetters::new(Some(Path::new(folder).join(DEAD_FILE))),
            settings: settings.clone(),
            stop,
            counts: Counts::default(),
            reported: Instant::now(),
        })
    }

    /// Carries until the end is asked for; with `once`, until the stream has nothing more that waits or is under way.
    pub async fn run(mut self, once: bool) -> Counts {
        let mut wait = WAITS.0;
        while !self.stopped() {
            let before = self.counts.batches;
            match self.session(once).await {
                Ok(()) => break,
                Err(reason) => {
                    self.counts.failures += 1;
                    warn!(error = %reason, "no records come from the stream");
                }
            }
            wait = if self.counts.batches > before { WAITS.0 } else { (wait * 2).min(WAITS.1) };
            if self.pause(wait).await.is_break() {
                break;
            }
        }
        self.counts
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits, unless the end is asked for.
    async fn pause(&mut self, wait: Duration) -> ControlFlow<()> {
        tokio::select! {
            () = sleep(wait) => ControlFlow::Continue(()),
            _ = self.stop.wait_for(|stop| *stop) => ControlFlow::Break(()),
        }
    }

    /// One connection to NATS, until it breaks (an error) or all is done.
    async fn session(&mut self, once: bool) -> Result<(), String> {
        let linked = self.link.connect(PATIENCE, WINDOW).await?;
        let mut consumer = self.consumer(&linked).await?;
        info!(stream = self.settings.nats.stream.as_str(), store = %self.store.place(), "carrying");
        loop {
            if self.stopped() {
                break;
            }
            let messages = self.fetch(&linked, &consumer).await?;
            if messages.is_empty() {
                if once && is_drained(&mut consumer).await? {
                    break;
                }
            } else if self.carry(&linked, messages).await?.is_break() {
                break;
            }
            if self.reported.elapsed() >= REPORT {
                self.reported = Instant::now();
                info!(
                    rows = self.counts.rows_in_all(),
                    dead = self.counts.dead,
                    failures = self.counts.failures,
                    "{}",
                    self.counts
                );
            }
        }
        // What was acknowledged last is on its way.
        let _ = timeout(PATIENCE, linked.client.drain()).await;
        Ok(())
    }

    async fn consumer(&self, linked: &Linked) -> Result<Consumer<pull::Config>, String> {
        let mut context = jetstream::new(linked.client.clone());
        context.set_timeout(PATIENCE);
        let carry = &self.settings.carry;
        let (stream, name) = (self.settings.nats.stream.as_str(), carry.consumer.as_str());
        let wanted = pull::Config {
            durable_name: Some(name.to_owned()),
            description: Some("sonde fleet carry: records to ClickHouse".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(carry.retry_secs.get().into()),
            max_ack_pending: i64::from(carry.batch_records.get()) * BATCHES_AT_ONCE,
            filter_subject: format!("{}.>", self.settings.nats.subject.as_str()),
            ..pull::Config::default()
        };
        let told = |error: String| {
            shown(format!("{stream}: {error}: is the stream defined (packaging/fleet/nats)?").as_bytes())
        };
        let stream = context.get_stream_no_info(stream).await.map_err(|error| told(error.to_string()))?;
        stream.get_or_create_consumer(name, wanted).await.map_err(|error| told(error.to_string()))
    }

    /// A batch, as full as it gets within its time.
    async fn fetch(
        &self,
        linked: &Linked,
        consumer: &Consumer<pull::Config>,
    ) -> Result<Vec<Message>, String> {
        let carry = &self.settings.carry;
        let most = carry.batch_records.get() as usize;
        let wait = Duration::from_secs(carry.batch_secs.get().into());
        let said = |error: &dyn fmt::Display| shown(error.to_string().as_bytes());
        let asked = consumer.fetch().max_messages(most).max_bytes(carry.batch_bytes.size()).expires(wait);
        let mut batch = asked.messages().await.map_err(|error| said(&error))?;
        let mut messages = Vec::new();
        let mut fate = linked.fate.clone();
        let mut stop = self.stop.clone();
        let until = Instant::now() + wait + PATIENCE;
        while messages.len() < most {
            tokio::select! {
                biased;
                next = batch.next() => match next {
                    Some(Ok(message)) => messages.push(message),
                    // The server's way to say that no more of it comes, with records or without.
                    Some(Err(error)) if error.to_string().contains("Batch Completed") => break,
                    // What came before is carried; what is wrong shows again at the next batch.
                    Some(Err(error)) if messages.is_empty() => return Err(said(&error)),
                    Some(Err(_)) | None => break,
                },
                _ = fate.wait_for(Option::is_some) => return Err(linked.reason("the connection broke")),
                // Nothing of it is acknowledged: another carrier gets it in time.
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep_until(until) => return Err("the stream does not answer".to_owned()),
            }
        }
        Ok(messages)
    }

    /// Brings a batch to the store and acknowledges it. Breaks off when the end is asked for and the store does not take it.
    async fn carry(&mut self, linked: &Linked, messages: Vec<Message>) -> Result<ControlFlow<()>, String> {
        let mut dead = Vec::new();
        let parts = self.parts(&messages, &mut dead);
        for part in &parts {
            if self.insert(part, &mut dead).await.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        for (at, reason) in &dead {
            let Some(message) = messages.get(*at) else { continue };
            let record = letter(message);
            let now = crate::platform::clock::clocks().wall;
            self.dead
                .write("carry", &record, reason, now)
                .map_err(|error| format!("{DEAD_FILE} in fleet.carry.dead_dir takes no letter: {error}"))?;
            warn!(subject = %shown(message.subject.as_bytes()), reason = %shown(reason.as_bytes()), "a record that no table takes");
        }
        for message in &messages {
            message.ack().await.map_err(|error| linked.reason(&shown(error.to_string().as_bytes())))?;
        }
        timeout(PATIENCE, linked.client.flush())
            .await
            .map_err(|_| linked.reason("acknowledgements are not taken"))?
            .map_err(|error| shown(error.to_string().as_bytes()))?;
        self.counts.batches += 1;
        self.counts.dead += dead.len() as u64;
        for part in &parts {
            let buried = dead.iter().filter(|(at, _)| part.rows.iter().any(|(_, of)| of == at)).count();
            *self.counts.rows.entry(part.kind.as_str()).or_default() += (part.rows.len() - buried) as u64;
        }
        self.counts.bytes += messages.iter().map(|message| message.payload.len() as u64).sum::<u64>();
        Ok(ControlFlow::Continue(()))
    }

    /// The rows of a batch, table by table.
    fn parts(&mut self, messages: &[Message], dead: &mut Vec<(usize, String)>) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            let Ok(info) = message.info() else {
                dead.push((at, "it does not say when the stream took it".to_owned()));
                continue;
            };
            self.counts.again += u64::from(info.delivered > 1);
            let received = info.published.unix_timestamp();
            let Some(kind) = kind_of(&message.subject) else {
                dead.push((at, "its subject does not end in alert, audit, health or summary".to_owned()));
                continue;
            };
            let place = parts.iter().position(|part| part.kind == kind).unwrap_or_else(|| {
                parts.push(Part { kind, lines: Vec::new(), rows: Vec::new() });
                parts.len() - 1
            });
            let Some(part) = parts.get_mut(place) else { continue };
            let begin = part.lines.len();
            match rows::append(kind, &message.payload, received, &mut part.lines) {
                Ok(()) => part.rows.push((begin, at)),
                Err(reason) => dead.push((at, reason)),
            }
        }
        parts.retain(|part| !part.rows.is_empty());
        parts
    }

    /// Inserts rows until the store has them; those that it will not take are found by halves. Breaks off when the end is asked
    /// for meanwhile.
    async fn insert(&mut self, part: &Part, dead: &mut Vec<(usize, String)>) -> ControlFlow<()> {
        let mut todo = vec![(0, part.rows.len())];
        let mut wait = WAITS.0;
        let mut until = None;
        let lines = Bytes::copy_from_slice(&part.lines);
        while let Some((from, to)) = todo.pop() {
            let begin = part.rows.get(from).map_or(0, |(begin, _)| *begin);
            let end = part.rows.get(to).map_or(lines.len(), |(begin, _)| *begin);
            let Err(failed) = self.store.insert(part.kind, lines.slice(begin..end)).await else {
                wait = WAITS.0;
                continue;
            };
            if failed.is_of_the_rows() {
                if to - from > 1 {
                    let middle = from.midpoint(to);
                    todo.extend([(middle, to), (from, middle)]);
                } else if let Some((_, at)) = part.rows.get(from) {
                    dead.push((*at, failed.to_string()));
                }
                continue;
            }
            self.counts.failures += 1;
            error!(error = %failed, table = super::store::table(part.kind), "the store does not take records; tried again");
            todo.push((from, to));
            if self.stopped() {
                let last = *until.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                if Instant::now() >= last {
                    return ControlFlow::Break(());
                }
                sleep(WAITS.0).await;
            } else {
                let _ = self.pause(wait).await;
                wait = (wait * 2).min(WAITS.1);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Whether nothing waits in the stream and nothing is under way.
async fn is_drained(consumer: &mut Consumer<pull::Config>) -> Result<bool, String> {
    let info = consumer.info().await.map_err(|error| shown(error.to_string().as_bytes()))?;
    Ok(info.num_pending == 0 && info.num_ack_pending == 0)
}

fn kind_of(subject: &str) -> Option<Kind> {
    let last = subject.rsplit('.').next()?;
    Kind::ALL.into_iter().find(|kind| kind.as_str() == last)
}

/// A message as a dead letter.
fn letter(message: &Message) -> Record {
    let id = message.headers.as_ref().and_then(|headers| headers.get(async_nats::header::NATS_MESSAGE_ID));
    Record {
        kind: kind_of(&message.subject).unwrap_or(Kind::Audit),
        id: id.map(|id| shown(id.as_str().as_bytes())).unwrap_or_default(),
        key: shown(message.subject.as_bytes()),
        time: Timestamp::ZERO,
        severity: Severity::Info,
        body: message.payload.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_names_its_kind() {
        assert_eq!(kind_of("sonde.summary"), Some(Kind::Summary));
        assert_eq!(kind_of("a.b.c.alert"), Some(Kind::Alert));
        assert_eq!((kind_of("sonde.hints"), kind_of(""), kind_of("sonde.")), (None, None, None));
    }

    #[test]
    fn counters_read_as_a_sentence() {
        let counts = Counts {
            rows: [("alert", 2), ("summary", 3)].into(),
            bytes: 2_048,
            batches: 1,
            ..Counts::default()
        };
        let text = counts.to_string();
        assert!(text.starts_with("5 records carried (2 alert, 3 summary), 2.0 KiB in 1 batches"), "{text}");
    }

    #[test]
    fn nothing_is_carried_without_a_place_for_dead_letters() {
        let text =
            "[fleet.nats]\nurls = [\"nats://127.0.0.1:1\"]\n[fleet.clickhouse]\nurl = \"http://127.0.0.1:1\"";
        let fleet = sonde_common::config::Config::parse(text, &[]).unwrap().fleet;
        let error = Carrier::new(&fleet, watch::channel(false).1).unwrap_err();
        assert!(error.to_string().contains("dead_dir"), "{error}");
    }
}
