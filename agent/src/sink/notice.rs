//! Notices to the machine's own log: on Linux the systemd journal, each record an entry with fields of its own
//! (`journalctl -t sonde`, `journalctl SONDE_SEVERITY=critical`).
//!
//! An entry counts as delivered when the journal's socket has taken it. What the journal does with it, and for how long it
//! keeps it, is the machine's: this is a notice, not an archive.

use std::io;

use sonde_common::config::SinkName;
use sonde_common::encode::journal;
use sonde_common::record::Record;

use super::{Delivering, Delivery, Outcome, SetupError, Sink};
use crate::platform::journal::Journal;

/// The machine's own log.
#[derive(Debug)]
pub(super) struct NoticeSink(Journal);

impl NoticeSink {
    /// Sets it up.
    pub(super) fn open(name: &SinkName) -> Result<Self, SetupError> {
        let journal = Journal::new()
            .map_err(|error| SetupError { sink: name.clone(), reason: format!("the journal: {error}") })?;
        Ok(Self(journal))
    }

    fn told(&self, error: &io::Error) -> String {
        let path = self.0.path().display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!("no journal listens on {path}: is systemd-journald running?")
            }
            io::ErrorKind::WouldBlock => format!("the journal on {path} is busy"),
            _ => format!("the journal on {path}: {error}"),
        }
    }
}

impl Sink for NoticeSink {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        let mut delivery =
            Delivery { said: "taken by the journal's socket".to_owned(), ..Delivery::default() };
        let mut entry = Vec::new();
        for record in batch {
            entry.clear();
            journal::append(record, &mut entry);
            if let Err(error) = self.0.send(&entry) {
                // The rest waits, so that the order stays.
                let reason = self.told(&error);
                delivery.said.clone_from(&reason);
                delivery.outcomes.resize(batch.len(), Outcome::Retry(reason));
                break;
            }
            delivery.outcomes.push(Outcome::Acknowledged);
        }
        Box::pin(std::future::ready(delivery))
    }
}

#[cfg(test)]
mod tests;
