//! Events of Windows that tell of connections, DNS queries and processes: Sysmon 1, 3 and 22, Security 4688, 5156 and 5158,
//! as exporters write them to JSON. [EVTX files](super::evtx) come through the same tables.
//!
//! `json.rs` finds the texts wherever an exporter puts them, `texts.rs` holds those of one event, `events.rs` makes rows
//! of them. Everything else in the log is passed over: nine lines of ten are something else.

mod events;
mod json;
#[cfg(test)]
mod tests;
mod texts;

pub use events::FILTER_DELAY;
pub(super) use events::{Told, tell, wanted};
pub(crate) use events::{answer, status_code};
pub(super) use texts::{Slot, Texts};

use super::row::{Cause, RowError, RowSink};
use json::Walked;

/// Reads events from JSON, one object at a time: `NXLog`'s flat fields, Winlogbeat before and since ECS, Elastic Agent,
/// and the XML's own shape as `evtx_dump`, Velociraptor, Splunk and `Get-WinEvent` scripts write it.
#[derive(Clone, Debug, Default)]
pub struct WinlogJson {
    texts: Texts,
    mended: Vec<u8>,
    unused: u64,
}

impl WinlogJson {
    /// A reader.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one object; a byte-order mark in front, white space, and the brackets and commas of a list around it do not
    /// harm.
    ///
    /// An event that is none of the wanted ones is nothing, and where it is damaged behind its number, still nothing.
    pub fn record(&mut self, record: &[u8], sink: &mut dyn RowSink) {
        let record = bare(record);
        if record.is_empty() {
            return;
        }
        let mut walked = json::walk(record, &mut self.texts);
        if walked == Walked::Damaged {
            json::mend(record, &mut self.mended);
            walked = json::walk(&self.mended, &mut self.texts);
        }
        match walked {
            Walked::Unwanted => {}
            Walked::Damaged => sink.bad(RowError::row(Cause::Json, &start_of(record))),
            Walked::Whole => {
                if self.texts.full() {
                    sink.bad(RowError::row(Cause::Record, "more text than an event holds"));
                } else if tell(&mut self.texts, sink) == Told::Unused {
                    self.unused += 1;
                }
            }
        }
    }

    /// Events read that say nothing that is followed: inbound connections, binds, protocols without connections.
    #[must_use]
    pub const fn unused(&self) -> u64 {
        self.unused
    }

    /// Whether a file that begins so holds events of Windows.
    #[must_use]
    pub fn recognises(head: &[u8]) -> bool {
        /// Keys and values that nothing else has.
        const SURE: [&str; 16] = [
            "\"EventID\"",
            "\"event_id\"",
            "\"winlog\"",
            "\"winlog.",
            "\"winlogbeat\"",
            "\"wineventlog\"",
            "\"ProviderGuid\"",
            "\"provider_guid\"",
            "\"EventReceivedTime\"",
            "\"ExecutionProcessID\"",
            "\"SourceModuleType\"",
            "\"EventRecordID\"",
            "\"SubjectUserSid\"",
            "\"TargetProcessGUID\"",
            "\"ProcessGuid\"",
            "Microsoft-Windows-Sysmon",
        ];
        /// Keys of which two are enough.
        const LIKELY: [&str; 9] = [
            "\"Channel\"",
            "\"EventTime\"",
            "\"SourceName\"",
            "\"EventType\"",
            "\"Hostname\"",
            "\"TimeCreated\"",
            "\"Provider\"",
            "\"EventCode\"",
            "\"ComputerName\"",
        ];
        if !bare(head).starts_with(b"{") {
            return false;
        }
        SURE.iter().any(|key| holds(head, key)) || LIKELY.iter().filter(|key| holds(head, key)).count() >= 2
    }
}

/// Without what stands around an object in a file.
fn bare(record: &[u8]) -> &[u8] {
    let mut rest = record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record).trim_ascii();
    if let Some(list) = rest.strip_prefix(b"[").or_else(|| rest.strip_prefix(b",")) {
        rest = list.trim_ascii_start();
    }
    while let Some(list) = rest.strip_suffix(b",").or_else(|| rest.strip_suffix(b"]")) {
        rest = list.trim_ascii_end();
    }
    rest
}

fn holds(head: &[u8], part: &str) -> bool {
    head.windows(part.len()).any(|window| window == part.as_bytes())
}

/// The first bytes of a record that cannot be read, for the message.
fn start_of(record: &[u8]) -> String {
    /// Enough for any message, which is cut again.
    const SHOWN: usize = 100;
    String::from_utf8_lossy(record.get(..SHOWN).unwrap_or(record)).into_owned()
}
