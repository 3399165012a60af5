//! The texts of one Windows event, by what they mean and not by how an exporter calls them: what the walker of JSON and
//! the reader of binary XML fill, and what `events.rs` makes rows of.
//!
//! One event is held at a time; its texts lie one behind another in a buffer that is reused.

use std::fmt::Write as _;

/// Bytes of text kept of one event; what would not fit makes the event a damaged one. A field of an event holds at most
/// 64 KiB of UTF-16, and of the wanted ones only the command line comes near.
const MAX_TEXT: usize = 256 << 10;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::format) enum Slot {
    Id,
    /// The same, told by something that writes the Elastic Common Schema.
    EcsId,
    Provider,
    Channel,
    Host,
    /// When the event log wrote it (`TimeCreated`), in UTC.
    Created,
    /// `@timestamp`: when it happened (Beats) or was collected (`NXLog` behind Logstash).
    Stamp,
    /// `NXLog`'s time of the event, in the local time of who collected it.
    EventTime,
    /// `NXLog`'s time of collection, in the same local time.
    Received,
    UtcTime,
    Pid,
    Guid,
    Image,
    CommandLine,
    ParentImage,
    User,
    Hashes,
    Protocol,
    /// Sysmon's `Initiated`, the filter's `Direction`, or ECS's `network.direction`.
    Direction,
    SourceIp,
    SourcePort,
    DestinationIp,
    DestinationPort,
    QueryName,
    QueryStatus,
    QueryResults,
    Application,
    NewPid,
    NewImage,
    SubjectUser,
    SubjectDomain,
    TargetUser,
    TargetDomain,
    EcsUser,
    EcsDomain,
    Sha256,
    /// Name and text of the `Data` element that is being read.
    DataName,
    DataText,
}

const SLOTS: usize = Slot::DataText as usize + 1;

/// Where a text comes from: what the event itself says stands above what is said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::format) enum Rank {
    /// Said beside the event; the first one stays.
    Beside,
    /// Said in the event's own data.
    Own,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    from: usize,
    to: usize,
    own: bool,
}

/// The texts of one event.
#[derive(Clone, Debug)]
pub(in crate::format) struct Texts {
    buffer: String,
    spans: [Span; SLOTS],
    full: bool,
}

impl Default for Texts {
    fn default() -> Self {
        Self { buffer: String::new(), spans: [Span::default(); SLOTS], full: false }
    }
}

impl Texts {
    pub(in crate::format) fn clear(&mut self) {
        self.buffer.clear();
        self.spans = [Span::default(); SLOTS];
        self.full = false;
    }

    /// Whether something did not fit.
    pub(in crate::format) const fn full(&self) -> bool {
        self.full
    }

    fn span(&self, slot: Slot) -> Span {
        self.spans.get(slot as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, slot: Slot, span: Span) {
        if let Some(place) = self.spans.get_mut(slot as usize) {
            *place = span;
        }
    }

    /// The text; empty without one.
    pub(in crate::format) fn get(&self, slot: Slot) -> &str {
        let span = self.span(slot);
        self.buffer.get(span.from..span.to).unwrap_or_default()
    }

    /// The text as Windows means it: `-`, `(null)` and the like say that there is none.
    pub(in crate::format) fn told(&self, slot: Slot) -> &str {
        told(self.get(slot))
    }

    /// Puts what `write` writes; false if the slot has something better already.
    pub(in crate::format) fn put(&mut self, slot: Slot, rank: Rank, write: impl FnOnce(&mut String)) {
        let old = self.span(slot);
        if rank == Rank::Beside && old.from < old.to {
            return;
        }
        let from = self.buffer.len();
        self.write(write);
        self.set(slot, Span { from, to: self.buffer.len(), own: rank == Rank::Own });
    }

    /// Appends to a text that is being put together from pieces, `between` standing between them.
    pub(in crate::format) fn add(&mut self, slot: Slot, between: &str, write: impl FnOnce(&mut String)) {
        let old = self.span(slot);
        let from = if old.from == old.to {
            self.buffer.len()
        } else if old.to == self.buffer.len() {
            self.buffer.push_str(between);
            old.from
        } else {
            return;
        };
        self.write(write);
        self.set(slot, Span { from, to: self.buffer.len(), own: old.own });
    }

    fn write(&mut self, write: impl FnOnce(&mut String)) {
        if self.full {
            return;
        }
        let from = self.buffer.len();
        write(&mut self.buffer);
        if self.buffer.len() > MAX_TEXT {
            self.buffer.truncate(from);
            self.full = true;
        }
    }

    /// Empties a slot.
    pub(in crate::format) fn forget(&mut self, slot: Slot) {
        self.set(slot, Span::default());
    }

    /// Files the `Data` element that was read under its name.
    pub(in crate::format) fn file_data(&mut self) {
        if let Some(slot) = data(self.get(Slot::DataName)) {
            let span = Span { own: true, ..self.span(Slot::DataText) };
            if span.from < span.to {
                self.set(slot, span);
            }
        }
        self.forget(Slot::DataName);
        self.forget(Slot::DataText);
    }

    /// Puts the account into [`Slot::User`], if it was told in parts: `DOMAIN\name`.
    pub(in crate::format) fn compose_user(&mut self, name: Slot, domain: Slot) {
        if !self.told(Slot::User).is_empty() || self.told(name).is_empty() {
            return;
        }
        let (name, domain) = (self.span(name), self.span(domain));
        let from = self.buffer.len();
        if !told(self.buffer.get(domain.from..domain.to).unwrap_or_default()).is_empty() {
            self.buffer.extend_from_within(domain.from..domain.to);
            self.buffer.push('\\');
        }
        self.buffer.extend_from_within(name.from..name.to);
        self.set(Slot::User, Span { from, to: self.buffer.len(), own: false });
    }

    /// Puts a moment of the event log's own clock: 100 ns since 1601-01-01, as RFC 3339.
    pub(in crate::format) fn put_filetime(text: &mut String, filetime: u64) {
        /// Seconds from 1601-01-01 to 1970-01-01.
        const EPOCH: i64 = 11_644_473_600;
        let ticks = i64::try_from(filetime).unwrap_or(i64::MAX);
        let (secs, rest) = (ticks / 10_000_000 - EPOCH, ticks % 10_000_000 * 100);
        let _ = write!(text, "{}", crate::time::Timestamp::from_secs_nanos(secs, rest));
    }
}

fn told(text: &str) -> &str {
    match text.trim() {
        "-" | "(null)" | "<unknown process>" => "",
        text => text,
    }
}

/// A field of an event's own data, by the name that the event's manifest gives it.
pub(in crate::format) fn data(name: &str) -> Option<Slot> {
    Some(match name {
        "UtcTime" => Slot::UtcTime,
        // 5156 writes `ProcessID`; NXLog changes it to `ProcessId`.
        "ProcessId" | "ProcessID" => Slot::Pid,
        "ProcessGuid" | "ProcessGUID" => Slot::Guid,
        "Image" => Slot::Image,
        "CommandLine" => Slot::CommandLine,
        "ParentImage" | "ParentProcessName" => Slot::ParentImage,
        "User" => Slot::User,
        "Hashes" => Slot::Hashes,
        "Protocol" => Slot::Protocol,
        "Initiated" | "Direction" => Slot::Direction,
        "SourceIp" | "SourceAddress" => Slot::SourceIp,
        "SourcePort" => Slot::SourcePort,
        "DestinationIp" | "DestAddress" => Slot::DestinationIp,
        "DestinationPort" | "DestPort" => Slot::DestinationPort,
        "QueryName" => Slot::QueryName,
        "QueryStatus" => Slot::QueryStatus,
        "QueryResults" => Slot::QueryResults,
        "Application" => Slot::Application,
        "NewProcessId" => Slot::NewPid,
        "NewProcessName" => Slot::NewImage,
        "SubjectUserName" => Slot::SubjectUser,
        "SubjectDomainName" => Slot::SubjectDomain,
        "TargetUserName" => Slot::TargetUser,
        "TargetDomainName" => Slot::TargetDomain,
        _ => return None,
    })
}
