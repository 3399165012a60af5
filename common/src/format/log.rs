//! The log formats that are read, in one list: how each is recognised, how it is cut into records, who reads them.
//!
//! A new format is a file beside this one and a line in each `match` here.

use super::defender::{DefenderCsv, DefenderJson};
use super::eve::Eve;
use super::evtx::Evtx;
use super::row::{Row, RowError, RowSink};
use super::split::{Framing, json_framing};
use super::winlog::WinlogJson;
use super::zeek::{ZeekJson, ZeekTsv};

/// A log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Zeek, columns parted by tabs under `#fields`.
    ZeekTsv,
    /// Zeek, JSON.
    ZeekJson,
    /// Microsoft Defender, CSV as its portal exports it.
    DefenderCsv,
    /// Microsoft Defender, JSON as its interfaces answer and stream it.
    DefenderJson,
    /// Windows events (Sysmon, Security) as JSON.
    WinlogJson,
    /// Windows event log file.
    Evtx,
    /// Suricata EVE.
    Eve,
}

impl LogFormat {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 7] = [
        Self::Evtx,
        Self::ZeekTsv,
        Self::Eve,
        Self::ZeekJson,
        Self::WinlogJson,
        Self::DefenderJson,
        Self::DefenderCsv,
    ];

    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeekTsv => "Zeek TSV",
            Self::ZeekJson => "Zeek JSON",
            Self::DefenderCsv => "Defender CSV",
            Self::DefenderJson => "Defender JSON",
            Self::WinlogJson => "Windows events as JSON (winlogbeat, NXLog)",
            Self::Evtx => "EVTX",
            Self::Eve => "Suricata EVE",
        }
    }

    /// Whether a file with this start is of this format; the start may be cut anywhere.
    #[must_use]
    pub fn recognises(self, head: &[u8]) -> bool {
        match self {
            Self::ZeekTsv => ZeekTsv::recognises(head),
            Self::ZeekJson => ZeekJson::recognises(head),
            Self::DefenderCsv => DefenderCsv::recognises(head),
            Self::DefenderJson => DefenderJson::recognises(head),
            Self::WinlogJson => WinlogJson::recognises(head),
            Self::Evtx => Evtx::recognises(head),
            Self::Eve => Eve::recognises(head),
        }
    }

    /// How a file with this start is cut into records.
    #[must_use]
    pub fn framing(self, head: &[u8]) -> Framing {
        match self {
            Self::ZeekTsv => Framing::Lines,
            Self::DefenderCsv => Framing::Csv,
            Self::Evtx => Framing::Chunks,
            Self::ZeekJson | Self::DefenderJson | Self::WinlogJson | Self::Eve => json_framing(head),
        }
    }
}

/// Reads the records of one file. Clones are cheap: each block of a file is read with its own.
#[derive(Clone, Debug)]
pub enum LogParser {
    /// See [`LogFormat::ZeekTsv`].
    ZeekTsv(ZeekTsv),
    /// See [`LogFormat::ZeekJson`].
    ZeekJson(ZeekJson),
    /// See [`LogFormat::DefenderCsv`].
    DefenderCsv(DefenderCsv),
    /// See [`LogFormat::DefenderJson`].
    DefenderJson(DefenderJson),
    /// See [`LogFormat::WinlogJson`].
    WinlogJson(WinlogJson),
    /// See [`LogFormat::Evtx`].
    Evtx(Evtx),
    /// See [`LogFormat::Eve`].
    Eve(Eve),
}

impl LogParser {
    /// A reader at the start of a file.
    #[must_use]
    pub fn new(format: LogFormat) -> Self {
        match format {
            LogFormat::ZeekTsv => Self::ZeekTsv(ZeekTsv::new()),
            LogFormat::ZeekJson => Self::ZeekJson(ZeekJson::new()),
            LogFormat::DefenderCsv => Self::DefenderCsv(DefenderCsv::new()),
            LogFormat::DefenderJson => Self::DefenderJson(DefenderJson::new()),
            LogFormat::WinlogJson => Self::WinlogJson(WinlogJson::new()),
            LogFormat::Evtx => Self::Evtx(Evtx::new()),
            LogFormat::Eve => Self::Eve(Eve::new()),
        }
    }

    /// Reads one record.
    pub fn record(&mut self, record: &[u8], sink: &mut dyn RowSink) {
        match self {
            Self::ZeekTsv(reader) => reader.record(record, sink),
            Self::ZeekJson(reader) => reader.record(record, sink),
            Self::DefenderCsv(reader) => reader.record(record, sink),
            Self::DefenderJson(reader) => reader.record(record, sink),
            Self::WinlogJson(reader) => reader.record(record, sink),
            Self::Evtx(reader) => reader.record(record, sink),
            Self::Eve(reader) => reader.record(record, sink),
        }
    }

    /// Takes note of a record that another clone will read, if what follows is to be read differently for it: a header.
    #[inline]
    pub fn pass(&mut self, record: &[u8]) {
        /// Headers give no rows, and what is wrong with them is told by who reads them.
        struct Nowhere;
        impl RowSink for Nowhere {
            fn row(&mut self, _: &Row<'_>) {}
            fn bad(&mut self, _: RowError) {}
        }
        let header = match self {
            Self::ZeekTsv(_) => record.first() == Some(&b'#'),
            Self::DefenderCsv(reader) => reader.may_be_header(record),
            _ => false,
        };
        if header {
            self.record(record, &mut Nowhere);
        }
    }
}
