//! What others may ask of the sensor's thread, and what it answers.
//!
//! The thread owns the engine, so everyone else sends a [`Command`] over a bounded channel and waits for the [`Answer`].
//! The thread takes commands between two batches, some eight times a second: an answer takes up to an eighth of one.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use serde::{Deserialize, Serialize};
use sonde_common::activity::Activity;
use sonde_common::alert::{Alert, Severity};
use sonde_common::config::Config;
use sonde_common::live::Unavailable;
use tokio::sync::oneshot;

use super::feeds::News;
use super::health::Health;

/// Commands that may wait for the sensor's thread; further ones are turned away.
pub const MAX_WAITING: usize = 32;
/// Rows that one answer holds at most: what is milder is counted, and left out.
pub const MAX_ROWS: usize = 4_096;

/// What the sensor's thread is told to do.
#[derive(Debug)]
pub enum Command {
    /// Answer.
    Ask(Box<Request>, Reply),
    /// Let the console see.
    Look(Look),
    /// Go on with this configuration, which was parsed and checked. State is kept.
    Reload(Box<Config>),
    /// Go on with the old configuration, and say why a new one was not taken.
    ReloadFailed(String),
    /// Look up in these feeds from now on; or say why they cannot be read.
    Feeds(Box<News>),
    /// Weigh these hints of a fleet from now on; or say why there are no new ones.
    Hints(Box<super::hints::News>),
    /// Go on without a part that has a thread of its own: it ended, and why.
    Ended(Unavailable),
    /// Save the state, say what is left to say, and end.
    Stop,
}

/// A look of the console at the sensor. It is no [`Request`]: it never comes over the control socket.
#[derive(Debug)]
pub struct Look {
    /// What was seen last; with the same, findings are left out.
    pub since: Option<Stamp>,
    /// Findings wanted.
    pub most: usize,
    /// Where it arrives.
    pub reply: oneshot::Sender<Box<Glance>>,
}

/// What the console sees.
#[derive(Clone, Debug)]
pub struct Glance {
    /// How the sensor is.
    pub health: Health,
    /// The known-good entries.
    pub allowed: Vec<Entry>,
    /// What the findings come from.
    pub stamp: Stamp,
    /// The findings, best first; `None`: nothing they come from has changed.
    pub findings: Option<std::sync::Arc<Rows>>,
    /// How much happened when.
    pub activity: Option<Activity>,
    /// How long it took the sensor's thread.
    pub took: std::time::Duration,
}

/// Figures that change whenever findings may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Observations that the engine took.
    pub observations: u64,
    /// Alerts emitted.
    pub alerts: u64,
    /// Known-good entries, those that were ever made, and what they held back.
    pub known_good: (usize, u64, u64),
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the sensor is.
    Status,
    /// Every series that was scored, best first.
    Beacons {
        /// What is milder is left out.
        least: Severity,
        /// Rows wanted; at most [`MAX_ROWS`].
        most: usize,
    },
    /// Every finding that is an alert, best first; also those that a known-good entry silences.
    Alerts {
        /// What is milder is left out.
        least: Severity,
        /// Rows wanted; at most [`MAX_ROWS`].
        most: usize,
    },
    /// One finding, by its id or the beginning of it.
    Explain {
        /// At least four hexadecimal digits.
        id: String,
    },
    /// Take something for known-good.
    Allow(Wish),
    /// Lift a known-good entry.
    Unallow {
        /// Its number.
        entry: u64,
        /// Who asks. It never comes over the socket: whoever takes the request fills it in.
        #[serde(skip)]
        by: Asker,
    },
    /// The known-good entries.
    Allowed,
}

/// Who asks for a change, as lists and audit records name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// In words.
    pub name: String,
    /// The account, by number.
    pub uid: u32,
}

impl Request {
    /// A wish to lift an entry; who wishes is filled in by who takes it.
    #[must_use]
    pub fn unallow(entry: u64) -> Self {
        Self::Unallow { entry, by: Asker::default() }
    }

    /// Whether it changes what the sensor tells: only root and the sensor's own account may.
    #[must_use]
    pub const fn changes(&self) -> bool {
        matches!(self, Self::Allow(_) | Self::Unallow { .. })
    }
}

/// Something that is to be taken for known-good: a program bound to a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    /// A finding whose program and destination are meant, by its id or the beginning of it.
    pub finding: Option<String>,
    /// Path of the executable.
    pub program: Option<String>,
    /// SHA-256 of the executable, 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// Installed package that owns the executable.
    pub package: Option<String>,
    /// Script that the program has to run, as findings name it; without one any.
    pub script: Option<String>,
    /// Name, which stands for those below it, too; address; or block of addresses.
    pub destination: Option<String>,
    /// Port; all without one.
    pub port: Option<u16>,
    /// Why it is known-good: for whoever reads the list later.
    pub reason: String,
    /// Seconds for which it holds; without them until it is lifted.
    pub expires_secs: Option<u64>,
    /// Who asks, in words. The control socket fills in what the system says of the peer; what the peer says is not heard.
    pub by: String,
    /// … and by number.
    pub by_uid: u32,
}

/// What the sensor answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Health>),
    /// To [`Request::Beacons`] and [`Request::Alerts`].
    Alerts(Rows),
    /// To [`Request::Explain`].
    Finding(Box<Alert>),
    /// To [`Request::Allowed`]; to [`Request::Allow`] and [`Request::Unallow`] the one entry that was made or lifted.
    Allowed(Vec<Entry>),
    /// It cannot be done.
    Refused(Refusal),
}

/// Rows, best first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Alert>,
    /// How many more there are.
    pub omitted: u64,
    /// What was looked at: connections, exchanges and queries.
    pub events: u64,
    /// Series that were scored.
    pub series: u64,
}

/// A known-good entry as people read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its number.
    pub entry: u64,
    /// The program, in words.
    pub program: String,
    /// The destination, in words.
    pub destination: String,
    /// Why.
    pub reason: String,
    /// Who made it.
    pub by: String,
    /// When it was made.
    pub created: sonde_common::time::Timestamp,
    /// When it ends; never without.
    pub expires: Option<sonde_common::time::Timestamp>,
    /// Alerts that it kept back.
    pub suppressed: u64,
    /// When it last did.
    pub last: Option<sonde_common::time::Timestamp>,
}

/// Why a request cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind.
    pub code: RefusalCode,
    /// In words.
    pub message: String,
}

impl Refusal {
    /// A refusal with its words.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The request is no request, or makes no sense.
    Bad,
    /// There is no such thing.
    NotFound,
    /// The peer may not.
    Denied,
    /// Too many ask, or the sensor does not answer in time.
    Busy,
    /// There is no room.
    Full,
}

/// Where the answer goes. Dropped without one, the asker learns that none comes.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Answer>);

impl Reply {
    /// A reply, and where it arrives.
    #[must_use]
    pub fn channel() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers; an asker that left is no concern.
    pub fn send(self, answer: Answer) {
        let _ = self.0.send(answer);
    }
}

/// The channel to the sensor's thread.
#[must_use]
pub fn channel() -> (Commander, Receiver<Command>) {
    let (sender, receiver) = sync_channel(MAX_WAITING);
    (Commander(sender), receiver)
}

/// Sends commands to the sensor's thread; never waits.
#[derive(Clone, Debug)]
pub struct Commander(SyncSender<Command>);

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Too many wait already.
    #[error("the sensor is busy: {MAX_WAITING} commands wait already")]
    Busy,
    /// The sensor's thread has ended.
    #[error("the sensor is stopping")]
    Stopped,
}

impl Commander {
    /// Hands over a command.
    ///
    /// # Errors
    /// [`NotTaken`] if it was not.
    pub fn send(&self, command: Command) -> Result<(), NotTaken> {
        self.0.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Busy,
            TrySendError::Disconnected(_) => NotTaken::Stopped,
        })
    }
}
