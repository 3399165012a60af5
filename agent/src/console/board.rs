//! What was seen of the sensor last, and when to look again: while somebody watches, at most once a second, and so seldom that looking
//! and rendering stay below a two-hundredth of one processor, however much there is to see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sonde_page::live::{self, SECTIONS};
use sonde_page::{Report, live::Sensor};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use super::facts;
use crate::live::command::{Command, Commander, Glance, Look};

/// Findings that the console tells of: what is milder is counted, and left out.
pub(super) const MAX_FINDINGS: usize = 1_000;
/// Least time between two looks, and age at which what was seen is looked at anew for who asks.
const LEAST: Duration = Duration::from_secs(1);
/// Most time between two looks.
const MOST: Duration = Duration::from_secs(60);
/// A look and its rendering cost less than this part of the time until the next.
const SHARE: u32 = 200;
/// What nothing but the sensor's own figures changed in is told of so seldom.
const QUIET: Duration = Duration::from_secs(5);
/// How long the sensor's thread may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sections that are kept rendered.
const MAX_RENDERED: usize = 32;

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    glance: Glance,
    sensor: Sensor,
    at: Instant,
    rendered: Mutex<BTreeMap<String, Option<Section>>>,
}

/// A section, and a mark by which it is known to be the same.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) text: Bytes,
    pub(super) tag: String,
}

/// The sensor does not answer: why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Silent(&'static str);

const TOO_LATE: Silent = Silent("the sensor does not answer in time; its log may say why");

/// Looks at the sensor.
#[derive(Debug)]
pub(super) struct Board {
    commander: Commander,
    /// Rung when an alert is emitted or somebody begins to watch.
    bell: Arc<Notify>,
    seen: Mutex<Option<Arc<Seen>>>,
    /// Held while the sensor is asked; what is known already is had without it.
    looking: tokio::sync::Mutex<()>,
    /// When the sensor last did not answer, and why.
    silent: Mutex<Option<(Instant, Silent)>>,
    news: watch::Sender<Option<Arc<str>>>,
    watching: AtomicUsize,
    /// Time that looking and rendering took since the latest look, in microseconds.
    spent: AtomicU64,
}

/// Somebody watches while this lives.
#[derive(Debug)]
pub(super) struct Watching(Arc<Board>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Board {
    pub(super) fn new(commander: Commander, bell: Arc<Notify>) -> Self {
        Self {
            commander,
            bell,
            seen: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            silent: Mutex::default(),
            news: watch::Sender::new(None),
            watching: AtomicUsize::new(0),
            spent: AtomicU64::new(0),
        }
    }

    /// How many watch.
    pub(super) fn watching(&self) -> usize {
        self.watching.load(Ordering::Relaxed)
    }

    /// One more watches, if there are fewer than `most`.
    pub(super) fn watch(
        self: &Arc<Self>,
        most: usize,
    ) -> Option<(Watching, watch::Receiver<Option<Arc<str>>>)> {
        let fewer = |now: usize| (now < most).then_some(now + 1);
        self.watching.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).ok()?;
        self.bell.notify_one();
        Some((Watching(Arc::clone(self)), self.news.subscribe()))
    }

    /// What was asked for changed something: the next look is now.
    pub(super) async fn changed(&self) {
        if self.look(Duration::ZERO).await.is_ok() {
            self.bell.notify_one();
        }
    }

    /// What there is to see, no older than this. Nobody waits longer than one look may take: who waited for another's gets its
    /// answer, also that there is none.
    pub(super) async fn look(&self, age: Duration) -> Result<Arc<Seen>, Silent> {
        let began = Instant::now();
        if let Some(seen) = self.held().filter(|seen| seen.at.elapsed() < age) {
            return Ok(seen);
        }
        let Ok(looking) = timeout(PATIENCE, self.looking.lock()).await else { return Err(TOO_LATE) };
        let before = self.held();
        if let Some(seen) = before.as_ref().filter(|seen| seen.at.elapsed() < age) {
            return Ok(Arc::clone(seen));
        }
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, why)) = silent.filter(|(at, _)| *at > began) {
            return Err(why);
        }
        let looked = self.ask(before.as_deref()).await;
        match &looked {
            Ok(seen) => *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(seen)),
            Err(why) => {
                let silent = Some((Instant::now(), why.clone()));
                *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = silent;
            }
        }
        drop(looking);
        looked
    }

    fn held(&self) -> Option<Arc<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the sensor's thread.
    async fn ask(&self, before: Option<&Seen>) -> Result<Arc<Seen>, Silent> {
        let (reply, answer) = oneshot::channel();
        let look = Look { since: before.map(|seen| seen.glance.stamp), most: MAX_FINDINGS, reply };
        self.commander.send(Command::Look(look)).map_err(|_| Silent("the sensor is busy or stopping"))?;
        let mut glance = match timeout(PATIENCE, answer).await {
            Ok(Ok(glance)) => *glance,
            Ok(Err(_)) => return Err(Silent("the sensor is stopping")),
            Err(_) => return Err(TOO_LATE),
        };
        let began = Instant::now();
        if glance.findings.is_none() {
            // Nothing changed in them.
            glance.findings = before.and_then(|seen| seen.glance.findings.clone());
        }
        let sensor = facts::sensor(&glance);
        let took = glance.took;
        let seen = Arc::new(Seen { glance, sensor, at: Instant::now(), rendered: Mutex::default() });
        self.spend(took + began.elapsed());
        Ok(seen)
    }

    fn spend(&self, time: Duration) {
        self.spent.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A section of what was seen; `None`: there is none such.
    pub(super) fn section(&self, seen: &Seen, name: &str, more: &[(String, String)]) -> Option<Section> {
        let kept =
            |seen: &Seen| seen.rendered.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(section) = kept(seen) {
            return section;
        }
        let began = Instant::now();
        let section = seen.section(name, more);
        let mut rendered = seen.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if rendered.len() < MAX_RENDERED {
            rendered.insert(name.to_owned(), section.clone());
        }
        drop(rendered);
        self.spend(began.elapsed());
        section
    }
}

impl Seen {
    fn report<T>(&self, sensor: &Sensor, then: impl FnOnce(&Report<'_>) -> T) -> T {
        let (health, none) = (&self.glance.health, Vec::new());
        let rows = self.glance.findings.as_deref();
        let host = [health.host.clone()];
        let counters = &health.counters;
        then(&Report {
            inputs: &host,
            version: &health.version,
            span: Some((health.since, health.now)),
            findings: rows.map_or(&none, |rows| &rows.rows),
            scored: rows.map_or(0, |rows| rows.rows.len() as u64 + rows.omitted),
            hosts: 1,
            seen: live::seen(counters.connections, counters.exchanges, counters.queries, counters.series),
            activity: self.glance.activity.as_ref(),
            live: Some(sensor),
            ..Report::default()
        })
    }

    fn section(&self, name: &str, more: &[(String, String)]) -> Option<Section> {
        let mut sensor = self.sensor.clone();
        if name == "sensor" {
            sensor.panels.push(live::Panel { title: "This console".to_owned(), rows: more.to_vec() });
        }
        let text = self.report(&sensor, |report| live::section(report, name))?;
        let tag = format!("\"{:08x}-{:x}\"", crc32c::crc32c(text.as_bytes()), text.len());
        Some(Section { text: text.into(), tag })
    }

    /// What the frame says, as JSON on one line.
    fn news(&self) -> String {
        let counts = self.report(&self.sensor, live::counts);
        let of: serde_json::Map<_, _> = SECTIONS
            .iter()
            .zip(counts.of)
            .filter_map(|((name, _), count)| Some(((*name).to_owned(), count?.into())))
            .collect();
        serde_json::json!({
            "host": sonde_common::text::escape(&self.glance.health.host),
            "verdict": self.sensor.verdict,
            "alerts": counts.alerts,
            "counts": of,
        })
        .to_string()
    }
}

/// Looks again and again while somebody watches, and tells who watches when something changed.
pub(super) async fn pace(board: Arc<Board>) {
    let (mut told, mut told_at) = (None, Instant::now());
    let mut early_from = Instant::now();
    loop {
        if board.watching() == 0 {
            board.bell.notified().await;
            continue;
        }
        board.spent.store(0, Ordering::Relaxed);
        match board.look(LEAST / 4).await {
            Ok(seen) => {
                let what = (seen.glance.stamp, seen.sensor.reasons.clone());
                if told.as_ref() != Some(&what) || told_at.elapsed() >= QUIET {
                    (told, told_at) = (Some(what), Instant::now());
                    board.news.send_replace(Some(seen.news().into()));
                }
            }
            Err(error) => tracing::debug!(%error, "the console saw nothing"),
        }
        // What is fetched and rendered now counts, too.
        tokio::time::sleep(LEAST / 5).await;
        let spent = Duration::from_micros(board.spent.load(Ordering::Relaxed));
        let pause = (spent * SHARE).clamp(LEAST, MOST);
        let is_early = timeout(pause.saturating_sub(LEAST / 5), async {
            tokio::time::sleep_until(early_from.into()).await;
            board.bell.notified().await;
        })
        .await
        .is_ok();
        if is_early {
            // A flood of alerts is looked at no more often than twice in that time.
            early_from = Instant::now() + pause;
        }
    }
}
