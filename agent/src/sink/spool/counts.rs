//! What became of records: the account that has to come out even after any crash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why a record was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The spool was full, and this was the oldest of the least worth.
    SpoolFull,
    /// The disk was full.
    DiskFull,
    /// The disk failed.
    DiskError,
    /// It was damaged on the disk, or lost from it.
    Damaged,
    /// The account was damaged: it is not known what became of it; most likely it was delivered.
    CountsLost,
    /// The record is longer than the spool takes.
    TooLarge,
    /// The queue between the sensor and the sinks was full.
    QueueFull,
    /// The dead-letter file could not take it.
    DeadLetterFailed,
    /// The spool is in memory alone, and the sensor stopped before it was delivered.
    Stopped,
}

impl Cause {
    /// Lower-case name, as the account is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool_full",
            Self::DiskFull => "disk_full",
            Self::DiskError => "disk_error",
            Self::Damaged => "damaged",
            Self::CountsLost => "counts_lost",
            Self::TooLarge => "too_large",
            Self::QueueFull => "queue_full",
            Self::DeadLetterFailed => "dead_letter_failed",
            Self::Stopped => "stopped",
        }
    }
}

/// How a record's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server has it.
    Acknowledged,
    /// It is in the dead-letter file.
    Dead,
    /// It is gone.
    Dropped(Cause),
}

/// The account. [`Counts::is_even`] always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Sequence numbers given out.
    pub emitted: u64,
    /// Delivered.
    pub acknowledged: u64,
    /// Waiting.
    pub spooled: u64,
    /// Refused for ever, and kept in the dead-letter file.
    pub dead: u64,
    /// Gone, by cause; only causes that occurred.
    pub dropped: BTreeMap<Cause, u64>,
}

impl Counts {
    /// All that was dropped.
    #[must_use]
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// `emitted = acknowledged + spooled + dead + dropped`.
    #[must_use]
    pub fn is_even(&self) -> bool {
        self.emitted == self.acknowledged + self.spooled + self.dead + self.dropped_in_all()
    }

    /// The sum of two accounts.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.emitted += other.emitted;
        self.acknowledged += other.acknowledged;
        self.spooled += other.spooled;
        self.dead += other.dead;
        for (cause, count) in &other.dropped {
            *self.dropped.entry(*cause).or_default() += count;
        }
        self
    }
}
