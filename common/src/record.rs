//! What is shipped upstream: a record is one alert, or one of the sensor's own words, encoded and ready to be delivered.
//!
//! A record is encoded before it is kept, so that what a spool holds is in a published form, whatever version reads it.

use serde::{Deserialize, Serialize};

use crate::alert::Severity;
use crate::time::Timestamp;

/// What a record is. In order of worth: what comes first is dropped last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A finding: created, updated or closed.
    Alert,
    /// Somebody or something changed the sensor: start, stop, reload, an allow entry, what had to be dropped.
    Audit,
    /// How the sensor is.
    Health,
    /// What was seen of one destination in a time: what a fleet counts.
    Summary,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Audit, Self::Health, Self::Summary];

    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Audit => "audit",
            Self::Health => "health",
            Self::Summary => "summary",
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Id of this emission, printable ASCII of at most 96 bytes: whoever receives a record twice knows it by this.
    pub id: String,
    /// What it is about, the same over all emissions: the finding's id, or the sensor's.
    pub key: String,
    /// When it was so, in data time.
    pub time: Timestamp,
    /// Of an alert; what the sensor says of itself is `info`, unless it is worse.
    pub severity: Severity,
    /// One JSON object in the form that its sink was set up with, without a line's end.
    pub body: Vec<u8>,
}
