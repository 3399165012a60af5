//! The Event Log: each record an entry of the log Application, source Sonde.
//!
//! Without a file of messages the log shows the text with a remark before it; the source is registered by `sonde service
//! install`, and without that entries are written all the same.

use std::io;

use sonde_common::alert::Severity;
use sonde_common::encode::told;
use sonde_common::record::{Kind, Record};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE,
    REPORT_EVENT_TYPE, RegisterEventSourceW, ReportEventW,
};

use super::wide::{check, wide};

/// What it is called.
pub const NAME: &str = "the Event Log";
/// Under which entries are found.
const SOURCE: &str = "Sonde";
/// Longest text of an entry, in units: the system takes 31,839, and less of it over the network.
const MAX_TEXT_UNITS: usize = 30_000;

/// The way to the log.
#[derive(Debug)]
pub struct Journal {
    source: HANDLE,
}

// SAFETY: the system's calls on this handle may come from any thread, one at a time, as `&mut` and ownership see to.
unsafe impl Send for Journal {}
// SAFETY: ReportEvent may be called by several threads at a time.
unsafe impl Sync for Journal {}

impl Journal {
    /// This machine's.
    ///
    /// # Errors
    /// If the log's service is not to be had.
    pub fn new() -> io::Result<Self> {
        let name = wide(SOURCE)?;
        // SAFETY: the name ends with a zero.
        let source = unsafe { RegisterEventSourceW(std::ptr::null(), name.as_ptr()) };
        if source.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self { source }) }
    }

    /// Why a record could not be entered.
    #[must_use]
    pub fn explain(&self, error: &io::Error) -> String {
        format!("{NAME}: {error}")
    }

    /// Enters a record: its message, then itself as JSON.
    ///
    /// # Errors
    /// If the log does not take it.
    pub fn enter(&self, record: &Record) -> io::Result<()> {
        let texts = [message(record), String::from_utf8_lossy(&record.body).into_owned()];
        let mut units = Vec::with_capacity(texts.len());
        for text in &texts {
            units.push(cut(wide(text.replace('\0', "\u{fffd}"))?));
        }
        let places: Vec<*const u16> = units.iter().map(|text| text.as_ptr()).collect();
        // SAFETY: the handle is open; the array has as many texts as is told, each with a zero at its end.
        check(unsafe {
            ReportEventW(
                self.source,
                level(record.severity),
                0,
                id(record.kind),
                std::ptr::null_mut(),
                u16::try_from(places.len()).unwrap_or(0),
                0,
                places.as_ptr(),
                std::ptr::null(),
            )
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and open.
        unsafe { DeregisterEventSource(self.source) };
    }
}

fn message(record: &Record) -> String {
    match told::told(record).message {
        Some(message) => sonde_common::text::escape(&message).into_owned(),
        None => String::from_utf8_lossy(&record.body).into_owned(),
    }
}

/// The first units of a text, which ends with a zero.
fn cut(mut units: Vec<u16>) -> Vec<u16> {
    if units.len() > MAX_TEXT_UNITS {
        units.truncate(MAX_TEXT_UNITS);
        units.push(0);
    }
    units
}

/// What entries of a kind are found by, for ever the same.
const fn id(kind: Kind) -> u32 {
    match kind {
        Kind::Alert => 1,
        Kind::Audit => 2,
        Kind::Health => 3,
        Kind::Summary => 4,
    }
}

const fn level(severity: Severity) -> REPORT_EVENT_TYPE {
    match severity {
        Severity::Critical | Severity::High => EVENTLOG_ERROR_TYPE,
        Severity::Medium => EVENTLOG_WARNING_TYPE,
        _ => EVENTLOG_INFORMATION_TYPE,
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::time::Timestamp;

    use super::*;

    #[test]
    fn the_system_takes_records_of_any_length() {
        let journal = Journal::new().unwrap();
        for length in [0, 100, 200_000] {
            let record = Record {
                kind: Kind::Alert,
                id: "f-1".to_owned(),
                key: "f".to_owned(),
                time: Timestamp::ZERO,
                severity: Severity::Critical,
                body: [b"{\"message\":\"", "\0x".repeat(length / 2).as_bytes(), b"\"}"].concat(),
            };
            journal.enter(&record).unwrap();
        }
        assert_eq!(cut(vec![1; MAX_TEXT_UNITS + 9]).len(), MAX_TEXT_UNITS + 1);
    }
}
