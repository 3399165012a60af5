//! Notices to the machine's own log: on Linux the systemd journal, each record an entry with fields of its own
//! (`journalctl -t sonde`, `journalctl SONDE_SEVERITY=critical`), on Windows the Event Log (Application, source Sonde).
//!
//! An entry counts as delivered when the system has taken it. What the log does with it, and for how long it keeps it, is the
//! machine's: this is a notice, not an archive.

use sonde_common::config::SinkName;
use sonde_common::record::Record;

use super::{Delivering, Delivery, Outcome, SetupError, Sink};
use crate::platform::journal::{self, Journal};

/// The machine's own log.
#[derive(Debug)]
pub(super) struct NoticeSink(Journal);

impl NoticeSink {
    /// Sets it up.
    pub(super) fn open(name: &SinkName) -> Result<Self, SetupError> {
        let journal = Journal::new().map_err(|error| SetupError {
            sink: name.clone(),
            reason: format!("{}: {error}", journal::NAME),
        })?;
        Ok(Self(journal))
    }
}

impl Sink for NoticeSink {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        let mut delivery = Delivery { said: format!("taken by {}", journal::NAME), ..Delivery::default() };
        for record in batch {
            if let Err(error) = self.0.enter(record) {
                // The rest waits, so that the order stays.
                let reason = self.0.explain(&error);
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
#[cfg(feature = "linux-tests")]
mod tests;
