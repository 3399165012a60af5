//! Hints as the engine looks them up: one issue, put together of its documents.

use std::collections::BTreeMap;

use super::document::{Document, Subject};
use super::key::KeyId;
use crate::time::Timestamp;

/// One issue of hints. The default holds none, and weighs nothing. At most
/// [`MAX_SHARDS`](super::document::MAX_SHARDS) × [`MAX_ENTRIES`](super::document::MAX_ENTRIES) entries: some 4 MiB.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Who signed it.
    pub issuer: KeyId,
    /// Its serial.
    pub serial: u64,
    /// When it was made.
    pub made: Timestamp,
    /// From when on it weighs nothing.
    pub expires: Timestamp,
    /// Hosts of the fleet.
    pub hosts: u32,
    /// How much of its weight a hint has, in percent.
    pub weight_percent: u8,
    counts: BTreeMap<Subject, u32>,
    /// Periods in milliseconds and hosts, by destination.
    rhythms: BTreeMap<String, Vec<(u32, u32)>>,
}

impl Table {
    /// Puts the documents of one issue together. Of two that name one subject the higher count stands.
    pub fn of<'a>(issuer: KeyId, documents: impl Iterator<Item = &'a Document>) -> Self {
        let mut this = Self { issuer, weight_percent: 100, ..Self::default() };
        for document in documents {
            this.serial = document.serial;
            this.made = document.made;
            this.expires = document.expires;
            this.hosts = document.hosts;
            for entry in &document.entries {
                if let Subject::Rhythm { destination, period_ms } = &entry.subject {
                    this.rhythms.entry(destination.clone()).or_default().push((*period_ms, entry.hosts));
                } else {
                    let hosts = this.counts.entry(entry.subject.clone()).or_default();
                    *hosts = entry.hosts.max(*hosts);
                }
            }
        }
        this
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.rhythms.is_empty()
    }

    /// Entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.counts.len() + self.rhythms.values().map(Vec::len).sum::<usize>()
    }

    /// Whether it is used at `now`.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now < self.expires
    }

    /// Hosts on which a subject is seen; `None`: the issue does not say, since only so many subjects have room.
    #[must_use]
    pub fn hosts_of(&self, subject: &Subject) -> Option<u32> {
        self.counts.get(subject).copied()
    }

    /// Hosts that call a destination with a period within a tenth of this one; `None`: the issue knows of none.
    #[must_use]
    pub fn in_rhythm(&self, destination: &str, period_secs: f64) -> Option<u32> {
        let near = |&&(period_ms, _): &&(u32, u32)| {
            let period = f64::from(period_ms) / 1000.0;
            (period - period_secs).abs() <= 0.1 * period.min(period_secs)
        };
        let periods = self.rhythms.get(destination)?;
        periods.iter().filter(near).map(|(_, hosts)| *hosts).max()
    }
}
