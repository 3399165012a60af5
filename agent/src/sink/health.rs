//! How a sink is: what `sonde status`, `sonde sinks list` and the health record tell of it. Values only.

use serde::{Deserialize, Serialize};
use sonde_common::human;
use sonde_common::time::Timestamp;

use super::spool::Counts;

/// How a sink is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkHealth {
    /// What kind it is: `elastic`, `syslog`…
    pub kind: String,
    /// The account: `emitted = acknowledged + spooled + dead + dropped`.
    pub counts: Counts,
    /// Of what was dropped, how much since the sensor began.
    pub dropped_since: u64,
    /// Bytes that what waits takes on disk.
    pub spool_bytes: u64,
    /// … of at most so many.
    pub spool_limit_bytes: u64,
    /// Whether what waits outlives the sensor.
    pub lasts: bool,
    /// When the server last took something.
    pub last_acknowledged: Option<Timestamp>,
    /// What went wrong last, and when; `None` once something was taken since.
    pub last_error: Option<SinkError>,
    /// Whether it delivers, or asks now and then whether it can.
    pub circuit: Circuit,
    /// Attempts that failed since the last that did not.
    pub failures: u32,
    /// Records that the server turned away for now while it took others.
    pub deferred: u64,
    /// Why the spool's disk does not take what it should.
    pub disk: Option<String>,
    /// What was wrong when the spool was opened.
    pub problems: Vec<String>,
}

impl SinkHealth {
    /// What is wrong with it at the moment, in words.
    pub fn complaints(&self) -> impl Iterator<Item = String> + '_ {
        let away = (self.circuit == Circuit::Open).then(|| {
            let reason = self.last_error.as_ref().map_or("", |error| error.reason.as_str());
            format!("does not deliver, {} wait: {reason}", human::count(self.counts.spooled))
        });
        let disk = self.disk.as_ref().map(|disk| format!("the disk of its spool fails: {disk}"));
        let dropped = (self.dropped_since > 0)
            .then(|| format!("{} records dropped since the sensor began", human::count(self.dropped_since)));
        let memory = (!self.lasts).then(|| "what waits is in memory alone".to_owned());
        away.into_iter().chain(disk).chain(dropped).chain(memory)
    }

    /// How a sink is, in lines for people.
    #[must_use]
    pub fn lines(&self, now: Timestamp) -> Vec<String> {
        let n = human::count;
        let counts = &self.counts;
        let mut lines = vec![format!(
            "{} told: {} acknowledged, {} wait ({} of {}), {} dead, {} dropped",
            n(counts.emitted),
            n(counts.acknowledged),
            n(counts.spooled),
            human::bytes(self.spool_bytes),
            human::bytes(self.spool_limit_bytes),
            n(counts.dead),
            n(counts.dropped_in_all())
        )];
        if !counts.dropped.is_empty() {
            let causes =
                counts.dropped.iter().map(|(cause, count)| format!("{} {}", n(*count), cause.as_str()));
            lines.push(format!("dropped: {}", causes.collect::<Vec<_>>().join(", ")));
        }
        let last = self.last_acknowledged.map_or("nothing yet".to_owned(), |last| human::ago(now, last));
        let circuit = match self.circuit {
            Circuit::Closed if self.failures > 0 => {
                format!("{} attempts failed", n(u64::from(self.failures)))
            }
            Circuit::Closed => "delivers".to_owned(),
            Circuit::Open => format!("does not deliver: {} attempts failed", n(u64::from(self.failures))),
        };
        lines.push(format!("{circuit}; last acknowledgement: {last}"));
        if let Some(error) = &self.last_error {
            lines.push(format!("last error, {}: {}", human::ago(now, error.time), error.reason));
        }
        if self.deferred > 0 {
            lines.push(format!("{} turned away for now while others were taken", n(self.deferred)));
        }
        if !self.lasts {
            lines.push("what waits is in memory alone (state.dir)".to_owned());
        }
        lines.extend(self.disk.iter().map(|disk| format!("the disk of its spool fails: {disk}")));
        lines.extend(self.problems.iter().map(|problem| format!("at its opening: {problem}")));
        lines
    }
}

/// Something that went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkError {
    /// When.
    pub time: Timestamp,
    /// What, as the server or the system said it.
    pub reason: String,
}

/// Whether a sink delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Circuit {
    /// Batches are sent.
    #[default]
    Closed,
    /// Several attempts failed: one record at a time is tried, until one is taken.
    Open,
}

impl Circuit {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}
