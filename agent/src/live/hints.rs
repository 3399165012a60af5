//! Takes hints of a fleet from a bucket of NATS, on a thread of its own: what is signed by a known key, whole, not expired and
//! not older than what was seen goes to the sensor's thread; all else is counted and told.
//!
//! The library opens the socket, so that it is told apart as the sensor's own by its process. Nothing is kept of hints over a
//! restart but the serial of the latest issue: they expire, and a sensor that finds the bucket gets them anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::kv::Operation;
use futures_util::StreamExt as _;
use sonde_common::config::HintSettings;
use sonde_common::hints::{Intake, Table, Taken};
use sonde_common::text::escape;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::command::{Command, Commander, NotTaken};
use super::health::{Failure, HintsHealth};
use crate::platform::clock::clocks;
use crate::sink::nats::link::{Link, Linked};

/// Keys of the bucket that hold documents of hints.
pub const KEYS: &str = "hints.>";
/// Longest wait for the servers, or for an answer of the bucket.
const PATIENCE: Duration = Duration::from_secs(20);
/// First and longest time until the bucket is tried again.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_AT_LATEST: Duration = Duration::from_secs(300);
/// Time between two attempts to hand over what came, while the sensor is busy.
const BUSY: Duration = Duration::from_millis(200);
/// Messages of the library that wait.
const WINDOW: usize = 64;
/// The file that keeps the serial of the latest issue, in the state's folder.
const SERIAL_FILE: &str = "hints.serial";

/// What came, for the sensor's thread.
#[derive(Clone, Debug)]
pub struct News {
    /// The hints from now on; `None`: those that there are stay.
    pub table: Option<Arc<Table>>,
    /// How the hints are.
    pub health: HintsHealth,
}

/// The thread that takes hints. Dropped, it ends.
#[derive(Debug)]
pub struct HintReader(watch::Sender<HintSettings>);

impl HintReader {
    /// Starts it. `state`: the folder that outlives a restart.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn start(
        settings: HintSettings,
        state: Option<PathBuf>,
        commander: Commander,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, wanted) = watch::channel(settings);
        let serial = state.map(|state| state.join(SERIAL_FILE));
        let reader =
            Reader { wanted, commander, serial, intake: Intake::default(), health: HintsHealth::default() };
        std::thread::Builder::new()
            .name("sonde-hints".to_owned())
            .spawn(move || runtime.block_on(reader.run()))
            .map(|_| Self(sender))
    }

    /// Goes on with other settings.
    pub fn set(&self, settings: HintSettings) {
        self.0.send_if_modified(|old| {
            let changed = *old != settings;
            *old = settings;
            changed
        });
    }
}

struct Reader {
    wanted: watch::Receiver<HintSettings>,
    commander: Commander,
    serial: Option<PathBuf>,
    intake: Intake,
    health: HintsHealth,
}

/// Why a watch ended.
enum Ended {
    /// Other settings hold, or the sensor stops.
    Told,
    /// It broke.
    Broke(String),
}

impl Reader {
    async fn run(mut self) {
        loop {
            let settings = self.wanted.borrow_and_update().clone();
            self.intake = Intake::after(self.read_serial());
            self.health = HintsHealth { wanted: !settings.urls.is_empty(), ..HintsHealth::default() };
            if settings.urls.is_empty() {
                // What there was is given up: nobody says any more that it holds.
                if !self.tell(Some(Arc::default())).await || self.wanted.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if settings.keys.is_empty() {
                self.fail("hints.keys names no key: no hint is taken (docs/hints.md)".to_owned());
                if !self.tell(None).await || self.wanted.changed().await.is_err() {
                    return;
                }
                continue;
            }
            self.keep_watching(&settings).await;
            if self.wanted.has_changed().is_err() {
                return;
            }
        }
    }

    /// Watches the bucket until other settings hold.
    async fn keep_watching(&mut self, settings: &HintSettings) {
        let mut again = AGAIN;
        loop {
            let before = self.health.serial;
            let why = match self.watch(settings).await {
                Ended::Told => return,
                Ended::Broke(why) => why,
            };
            if self.health.serial != before {
                again = AGAIN;
            }
            warn!(error = %why, "hints of the fleet cannot be had; the sensor goes on without new ones");
            self.fail(why);
            if !self.tell(None).await {
                return;
            }
            tokio::select! {
                () = sleep(again) => {}
                _ = self.wanted.changed() => return,
            }
            again = (again * 2).min(AGAIN_AT_LATEST);
        }
    }

    /// One connection, until it breaks.
    async fn watch(&mut self, settings: &HintSettings) -> Ended {
        let opened = tokio::select! {
            opened = timeout(PATIENCE, open(settings)) => opened,
            _ = self.wanted.changed() => return Ended::Told,
        };
        let (mut linked, mut entries) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(why)) => return Ended::Broke(why),
            Err(_) => return Ended::Broke("no server answered in time".to_owned()),
        };
        if self.health.failure.take().is_some() && !self.tell(None).await {
            return Ended::Told;
        }
        loop {
            let entry = tokio::select! {
                entry = entries.next() => entry,
                _ = linked.fate.wait_for(Option::is_some) => None,
                _ = self.wanted.changed() => return Ended::Told,
            };
            let entry = match entry {
                Some(Ok(entry)) => entry,
                Some(Err(error)) => return Ended::Broke(escape(&error.to_string()).into_owned()),
                None => return Ended::Broke(linked.reason("the watch of the bucket ended")),
            };
            if entry.operation == Operation::Put && !self.take(&entry.value, settings).await {
                return Ended::Told;
            }
        }
    }

    /// Takes in one document. Whether the sensor is there still.
    async fn take(&mut self, bytes: &[u8], settings: &HintSettings) -> bool {
        match self.intake.take(bytes, &settings.keys, clocks().wall) {
            Ok(Taken::Part | Taken::Known) => true,
            Ok(Taken::Whole(mut table)) => {
                table.weight_percent = u8::try_from(settings.weight_percent.get()).unwrap_or(100);
                info!(
                    serial = table.serial,
                    issuer = %table.issuer,
                    hosts = table.hosts,
                    entries = table.entries(),
                    expires = %table.expires,
                    "hints of the fleet are taken"
                );
                self.health.of(&table);
                self.write_serial(table.serial);
                self.tell(Some(Arc::new(table))).await
            }
            Err(refused) => {
                warn!(cause = refused.cause(), error = %refused, "a document of hints is refused");
                *self.health.refused.entry(refused.cause().to_owned()).or_default() += 1;
                self.health.refusal = Some(Failure { time: clocks().wall, reason: refused.to_string() });
                self.tell(None).await
            }
        }
    }

    fn fail(&mut self, reason: String) {
        self.health.failure = Some(Failure { time: clocks().wall, reason });
    }

    /// Hands over what came. Whether the sensor is there still.
    async fn tell(&self, table: Option<Arc<Table>>) -> bool {
        let news = News { table, health: self.health.clone() };
        loop {
            match self.commander.send(Command::Hints(Box::new(news.clone()))) {
                Ok(()) => return true,
                Err(NotTaken::Busy) => sleep(BUSY).await,
                Err(NotTaken::Stopped) => return false,
            }
        }
    }

    /// The latest issue that an earlier run saw whole. A file that is no number counts as none: it guards against old
    /// documents played back after a restart, whose expiry bounds them anyway.
    fn read_serial(&self) -> u64 {
        let text = self.serial.as_ref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let text = text.get(..20.min(text.len())).map(String::from_utf8_lossy).unwrap_or_default();
        text.trim().parse().unwrap_or(0).max(self.intake.latest())
    }

    fn write_serial(&self, serial: u64) {
        let Some(path) = &self.serial else { return };
        let new = path.with_extension("new");
        let written = std::fs::write(&new, format!("{serial}\n")).and_then(|()| std::fs::rename(&new, path));
        if let Err(error) = written {
            warn!(path = %path.display(), %error, "the serial of the latest hints cannot be kept");
        }
    }
}

/// Opens the bucket and begins with the latest document of each key.
async fn open(settings: &HintSettings) -> Result<(Linked, async_nats::jetstream::kv::Watch), String> {
    let linked = Link::new(&settings.reach(), &settings.tls)
        .map_err(|why| format!("hints: {why}"))?
        .connect(PATIENCE / 2, WINDOW)
        .await?;
    let context = ContextBuilder::new().timeout(PATIENCE / 2).build(linked.client.clone());
    let bucket = settings.bucket.as_str();
    let said = |error: &dyn std::error::Error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        escape(&format!("the bucket {bucket} cannot be read: {error}{cause}")).into_owned()
    };
    let store = context.get_key_value(bucket).await.map_err(|error| said(&error))?;
    let entries = store.watch_with_history(KEYS).await.map_err(|error| said(&error))?;
    Ok((linked, entries))
}
