//! The shipper: a thread of its own with all sinks on it. The sensor hands over what it has to say through an [`Outbox`],
//! which never waits; records are encoded here, once for each form, and are safe when their spools have synced.

mod announce;
mod ship;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sonde_common::alert::Alert;
use sonde_common::config::{Sinks, WireForm};
use sonde_common::encode::record::{self, Audit, By, Deed, Sensor, SensorId};
use sonde_common::guide::Guidance;
use sonde_common::record::{Kind, Record};
use sonde_common::time::Timestamp;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::error;

use self::announce::Announcer;
use self::ship::Fleet;
use super::core::wall;
use super::health::SinkHealth;
use super::own::OwnSockets;

/// What may wait between the sensor and the sinks; what comes then is dropped and counted by its kind.
pub const MAX_QUEUED: usize = 2_048;
/// Taken at once before what was taken is brought to the disk.
const MAX_TAKEN: usize = 256;
/// Time between two looks at what was lost, and at how the sinks are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest that a stop waits for sinks to deliver and close.
const DRAIN: Duration = Duration::from_secs(4);
/// … and for the thread as a whole.
const STOP: Duration = Duration::from_secs(6);

/// What everybody has to know.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which sensor speaks.
    pub id: SensorId,
    /// The host that it is on.
    pub host: String,
    /// When it began.
    pub since: Timestamp,
    /// Folder of the spools; `None`: they are in memory.
    pub folder: Option<PathBuf>,
    /// The sinks.
    pub sinks: Sinks,
    /// How much guidance an alert carries.
    pub guidance: Guidance,
    /// Sockets that the sinks open are noted here.
    pub own: OwnSockets,
}

/// What is handed over.
enum Message {
    Alert(Box<Alert>),
    Word(Record),
    /// All before it is to be safe: whether it is.
    Sync(SyncSender<bool>),
    Reload(Sinks, Guidance),
    Stop(SyncSender<()>),
}

/// What the two threads share.
#[derive(Debug, Default)]
struct Shared {
    /// What found no room in the queue, by kind.
    turned_away: [AtomicU64; Kind::ALL.len()],
    audits: AtomicU64,
    /// Whether there is any sink at all.
    any: AtomicBool,
    health: Mutex<BTreeMap<String, SinkHealth>>,
}

/// Hands over to the shipper. Never waits, but for [`Self::sync`] and [`Self::stop`].
#[derive(Debug)]
pub struct Outbox {
    sender: Sender<Message>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    id: SensorId,
    host: String,
    since: Timestamp,
}

impl Outbox {
    /// Starts the thread, with the sinks of the setup.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(setup: Setup) -> io::Result<Self> {
        let (sender, receiver) = channel(MAX_QUEUED);
        let shared = Arc::<Shared>::default();
        let inside = Arc::clone(&shared);
        shared.any.store(!setup.sinks.is_empty(), Ordering::Relaxed);
        let (id, host, since) = (setup.id, setup.host.clone(), setup.since);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("shipper".to_owned()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, run(setup, receiver, inside));
        })?;
        Ok(Self { sender, shared, thread: Mutex::new(Some(thread)), id, host, since })
    }

    /// Hands over an alert.
    pub fn alert(&self, alert: &Alert) {
        if self.shared.any.load(Ordering::Relaxed) {
            self.send(Kind::Alert, Message::Alert(Box::new(alert.clone())));
        }
    }

    /// Hands over one of the sensor's own words.
    pub fn word(&self, record: Record) {
        if self.shared.any.load(Ordering::Relaxed) {
            self.send(record.kind, Message::Word(record));
        }
    }

    /// Tells what was done to the sensor.
    pub fn audit(&self, time: Timestamp, by: Option<By>, deed: Deed) {
        self.word(audit(&self.sensor(), &self.shared, time, by, deed));
    }

    /// Who speaks.
    #[must_use]
    pub fn sensor(&self) -> Sensor<'_> {
        Sensor { id: self.id, host: &self.host, since: self.since }
    }

    fn send(&self, kind: Kind, message: Message) {
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = self.sender.try_send(message)
            && let Some(count) = self.shared.turned_away.get(kind as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes up other sinks: those that stay go on, what waits for others stays where it is. Whether the thread was told: one
    /// that a disk holds up goes on with the sinks that it has.
    #[must_use]
    pub fn reload(&self, sinks: Sinks, guidance: Guidance) -> bool {
        let any = !sinks.is_empty();
        let told = self.insist(Message::Reload(sinks, guidance), Instant::now() + DRAIN);
        if told {
            self.shared.any.store(any, Ordering::Relaxed);
        }
        told
    }

    /// Whether all that was handed over before is on the disk; waits for so long at the most.
    #[must_use]
    pub fn sync(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let (reply, answer) = sync_channel(1);
        self.insist(Message::Sync(reply), until)
            && answer.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or(false)
    }

    /// Sends even if the queue is full for a moment; whether it could.
    fn insist(&self, mut message: Message, until: Instant) -> bool {
        loop {
            match self.sender.try_send(message) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(back)) if Instant::now() < until => message = back,
                Err(TrySendError::Full(_)) => return false,
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How the sinks are, by name.
    #[must_use]
    pub fn health(&self) -> BTreeMap<String, SinkHealth> {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Delivers what can be delivered within some seconds, closes, and ends. What is left waits on disk.
    pub fn stop(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let until = Instant::now() + STOP;
        let (reply, answer) = sync_channel(1);
        let asked = self.insist(Message::Stop(reply), until);
        let ended = asked && answer.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok();
        if ended {
            let _ = thread.join();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.stop();
    }
}

fn audit(sensor: &Sensor<'_>, shared: &Shared, time: Timestamp, by: Option<By>, deed: Deed) -> Record {
    let sequence = shared.audits.fetch_add(1, Ordering::Relaxed) + 1;
    record::audit(sensor, &Audit { sequence, time, by, deed })
}

/// The thread.
async fn run(setup: Setup, mut messages: Receiver<Message>, shared: Arc<Shared>) {
    let Setup { id, host, since, folder, sinks, mut guidance, own } = setup;
    let mut fleet = Fleet::new(folder, own);
    fleet.set(sinks).await;
    let mut announcer = Announcer::default();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            message = messages.recv() => message,
            _ = look.tick() => {
                fleet.try_disks_again();
                fleet.return_to_disk().await;
                for (kind, count) in Kind::ALL.into_iter().zip(&shared.turned_away) {
                    fleet.lose(kind, count.swap(0, Ordering::Relaxed));
                }
                let sensor = Sensor { id, host: &host, since };
                for deed in announcer.look(&fleet, std::time::Instant::now()) {
                    fleet.append(&audit(&sensor, &shared, wall(), None, deed));
                }
                fleet.sync();
                *shared.health.lock().unwrap_or_else(PoisonError::into_inner) = fleet.health();
                continue;
            }
        };
        // The sensor is gone without a word: as if it had said stop.
        let Some(mut message) = first else {
            fleet.stop(DRAIN).await;
            return;
        };
        let mut synced = false;
        for taken in 1_usize.. {
            synced = false;
            match message {
                Message::Alert(alert) => {
                    let forms = [WireForm::Native, WireForm::Ocsf];
                    let record = |form| {
                        fleet.wants_form(form, alert.severity).then(|| record::alert(&alert, form, guidance))
                    };
                    let encoded = forms.map(|form| (form, record(form)));
                    for (form, record) in encoded {
                        if let Some(record) = record {
                            fleet.append_alert(form, &record);
                        }
                    }
                }
                Message::Word(record) => fleet.append(&record),
                Message::Sync(reply) => {
                    synced = true;
                    let _ = reply.try_send(fleet.sync());
                }
                Message::Reload(sinks, wanted) => {
                    guidance = wanted;
                    fleet.set(sinks).await;
                }
                Message::Stop(reply) => {
                    fleet.stop(DRAIN).await;
                    *shared.health.lock().unwrap_or_else(PoisonError::into_inner) = fleet.health();
                    let _ = reply.try_send(());
                    return;
                }
            }
            // The sinks have their turn, too.
            if taken >= MAX_TAKEN {
                break;
            }
            match messages.try_recv() {
                Ok(next) => message = next,
                Err(_) => break,
            }
        }
        if !synced && !fleet.sync() {
            error!("what was told is not safe on the disk: see the sinks in `sonde status`");
        }
    }
}
