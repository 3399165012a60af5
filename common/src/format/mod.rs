//! Bytes of a file format in, frames or observations out. Nothing here opens a file.
//!
//! [`detect`] names a content by its first bytes. [`CaptureParser`] walks a capture in whatever pieces the caller has:
//! it borrows the caller's buffer, copies nothing and allocates nothing per packet.

pub mod defender;
mod dns_names;
pub mod eve;
pub mod events;
pub mod evtx;
pub mod fields;
pub(crate) mod flat;
mod http_said;
#[cfg(test)]
mod kept;
pub mod log;
pub mod pcap;
pub mod pcapng;
pub mod process_map;
pub mod row;
pub mod split;
#[cfg(test)]
mod tests;
pub mod winlog;
pub mod zeek;

use crate::time::Timestamp;
use log::LogFormat;
use pcap::PcapParser;
use pcapng::{Note, PcapNgParser};

/// Longest packet of a pcap file, and longest block of a pcapng file, in bytes. Wireshark draws the same line for
/// blocks; the largest packet libpcap writes is 256 KiB (128 MiB on D-Bus links).
pub const MAX_RECORD_LEN: u32 = 16 << 20;

/// How many leading bytes [`detect`] looks at before it gives up.
pub const DETECT_LEN: usize = 65_536;

/// One captured packet as the file holds it, borrowed from the reader's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// What the bytes begin with.
    pub link: LinkType,
    /// The bytes kept; often fewer than were on the wire.
    pub data: &'a [u8],
    /// Bytes on the wire.
    pub wire_len: u32,
}

/// Link-layer header type (the pcap registry's LINKTYPE_ values).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet (1).
    Ethernet,
    /// Raw IPv4 or IPv6 (12, 14, 101, 228, 229).
    RawIp,
    /// BSD loopback: address family in host byte order (0).
    Null,
    /// OpenBSD loopback: address family in network byte order (108).
    Loop,
    /// Linux cooked capture v1 (113).
    LinuxSll,
    /// Linux cooked capture v2 (276).
    LinuxSll2,
    /// Anything else, with its registry number.
    Other(u16),
}

impl LinkType {
    /// From the number in a file header.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            108 => Self::Loop,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            other => Self::Other(other),
        }
    }
}

/// Where in the buffer a frame lies. A position and not a slice, so that a reader may look ahead and still own its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSpan {
    /// When it was captured.
    pub time: Timestamp,
    /// What the bytes begin with.
    pub link: LinkType,
    /// Bytes on the wire.
    pub wire_len: u32,
    /// Where its bytes begin, counted from the start of the buffer.
    pub at: usize,
    /// How many bytes were kept.
    pub len: usize,
}

impl FrameSpan {
    /// The frame itself, from the buffer that was parsed; `None` if that buffer is shorter.
    #[inline]
    #[must_use]
    pub fn frame<'a>(&self, buf: &'a [u8]) -> Option<Frame<'a>> {
        let data = buf.get(self.at..)?.get(..self.len)?;
        Some(Frame { time: self.time, link: self.link, data, wire_len: self.wire_len })
    }
}

/// What a parser found at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A packet. Drop `used` bytes before the next call.
    Frame {
        /// The packet.
        frame: FrameSpan,
        /// Bytes of the whole record.
        used: usize,
    },
    /// Something that is no packet. Drop `used` bytes before the next call.
    Skip {
        /// Bytes of the whole record.
        used: usize,
    },
    /// The buffer ends inside a record: call again when it holds at least `needed` bytes.
    More {
        /// Bytes that must be there, counted from the start of the buffer; more than it holds now.
        needed: usize,
    },
}

/// Why a capture cannot be read on. Offsets count from the start of the (decompressed) file to the start of the record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The first bytes belong to no capture format.
    #[error("byte {offset}: starts with {had:02x?}, which no pcap or pcapng file does")]
    NotACapture {
        /// Where it was read.
        offset: u64,
        /// The bytes there.
        had: [u8; 4],
    },
    /// A format version with another layout.
    #[error("byte {offset}: {format} version {had_major}.{had_minor}, expected {expected_major}.x")]
    Version {
        /// Where the header starts.
        offset: u64,
        /// Name of the format.
        format: &'static str,
        /// Version read.
        had_major: u16,
        /// Version read.
        had_minor: u16,
        /// Version that can be read.
        expected_major: u16,
    },
    /// A length that cannot be.
    #[error("byte {offset}: length of {what} reads {had}, expected {min} to {max}")]
    Length {
        /// Where the record starts.
        offset: u64,
        /// Whose length it is.
        what: &'static str,
        /// Length read.
        had: u32,
        /// Shortest possible.
        min: u32,
        /// Longest possible here.
        max: u32,
    },
    /// The two copies of a pcapng block length differ, or it is no multiple of four.
    #[error(
        "byte {offset}: block length reads {leading} in front and {trailing} behind, expected the same multiple of 4"
    )]
    BlockLength {
        /// Where the block starts.
        offset: u64,
        /// Length before the block.
        leading: u32,
        /// Length after the block.
        trailing: u32,
    },
    /// A pcapng section whose byte order cannot be told.
    #[error(
        "byte {offset}: byte-order mark of the section reads {had:02x?}, expected 1a 2b 3c 4d or its reverse"
    )]
    ByteOrder {
        /// Where the section starts.
        offset: u64,
        /// The bytes there.
        had: [u8; 4],
    },
    /// A packet of an interface that the section never described.
    #[error("byte {offset}: packet of interface {had}, but the section describes {known}")]
    Interface {
        /// Where the block starts.
        offset: u64,
        /// Number of the interface.
        had: u32,
        /// Interfaces described so far.
        known: usize,
    },
    /// More interfaces than are kept.
    #[error("byte {offset}: more than {limit} interfaces in one section")]
    TooManyInterfaces {
        /// Where the block starts.
        offset: u64,
        /// The cap.
        limit: usize,
    },
    /// The data ends inside a record.
    #[error("byte {offset}: cut short inside a record: {needed} bytes needed, {had} there")]
    Truncated {
        /// Where the record starts.
        offset: u64,
        /// Bytes of the record, as far as it tells.
        needed: usize,
        /// Bytes that are there.
        had: usize,
    },
}

impl FormatError {
    /// Start of the damaged record, in bytes from the start of the (decompressed) file.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match *self {
            Self::NotACapture { offset, .. }
            | Self::Version { offset, .. }
            | Self::Length { offset, .. }
            | Self::BlockLength { offset, .. }
            | Self::ByteOrder { offset, .. }
            | Self::Interface { offset, .. }
            | Self::TooManyInterfaces { offset, .. }
            | Self::Truncated { offset, .. } => offset,
        }
    }
}

/// Byte order of a file or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    #[inline]
    const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// A length from a file as an index. Lengths are capped far below what any supported address space holds.
#[inline]
fn index(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Parser of either capture format, fed from the start of the file.
#[derive(Clone, Debug)]
pub enum CaptureParser {
    /// Classic pcap.
    Pcap(PcapParser),
    /// pcapng.
    PcapNg(PcapNgParser),
}

impl CaptureParser {
    /// The parser for a file that begins so; the bytes are not consumed.
    ///
    /// # Errors
    /// [`FormatError::NotACapture`] if it is neither format, [`FormatError::Truncated`] if four bytes are not there.
    pub fn new(first: &[u8]) -> Result<Self, FormatError> {
        let Some(&magic) = first.first_chunk::<4>() else {
            return Err(FormatError::Truncated { offset: 0, needed: 4, had: first.len() });
        };
        if magic == pcapng::SECTION_HEADER {
            return Ok(Self::PcapNg(PcapNgParser::new()));
        }
        PcapParser::new(magic).map(Self::Pcap).ok_or(FormatError::NotACapture { offset: 0, had: magic })
    }

    /// Looks at the record at the start of `buf`, which holds what follows the bytes used so far.
    ///
    /// # Errors
    /// A [`FormatError`] when the record cannot be read; nothing behind it can be, either.
    #[inline]
    pub fn step(&mut self, buf: &[u8]) -> Result<Step, FormatError> {
        match self {
            Self::Pcap(parser) => parser.step(buf),
            Self::PcapNg(parser) => parser.step(buf),
        }
    }

    /// What the capture says beside the packet of a record, before the next one is [stepped](Self::step) to; `None` nearly
    /// always.
    #[inline]
    #[must_use]
    pub fn note<'a>(&'a self, record: &'a [u8], frame: &FrameSpan) -> Option<Note<'a>> {
        match self {
            Self::Pcap(_) => None,
            Self::PcapNg(parser) => parser.note(record, frame),
        }
    }

    /// Bytes used so far: where the next record starts.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Pcap(parser) => parser.offset(),
            Self::PcapNg(parser) => parser.offset(),
        }
    }

    /// Says whether the file may end here, `rest` being what [`step`](Self::step) asked [`More`](Step::More) for.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the file ends inside a record or its header.
    pub fn end(&mut self, rest: &[u8]) -> Result<(), FormatError> {
        let offset = self.offset();
        match self.step(rest)? {
            Step::More { needed } if !rest.is_empty() || offset == 0 => {
                Err(FormatError::Truncated { offset, needed, had: rest.len() })
            }
            _ => Ok(()),
        }
    }
}

/// The frames of a capture that is in memory as a whole; ends after the first error.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    parser: Option<CaptureParser>,
}

/// Walks a capture that is in memory as a whole.
///
/// # Errors
/// As [`CaptureParser::new`].
pub fn frames(bytes: &[u8]) -> Result<Frames<'_>, FormatError> {
    Ok(Frames { rest: bytes, parser: Some(CaptureParser::new(bytes)?) })
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let parser = self.parser.as_mut()?;
        loop {
            let buf = self.rest;
            let (frame, used) = match parser.step(buf) {
                Ok(Step::Frame { frame, used }) => (frame.frame(buf), used),
                Ok(Step::Skip { used }) => (None, used),
                Ok(Step::More { .. }) => {
                    let end = parser.end(buf);
                    self.parser = None;
                    return end.err().map(Err);
                }
                Err(error) => {
                    self.parser = None;
                    return Some(Err(error));
                }
            };
            self.rest = buf.get(used..).unwrap_or_default();
            if let Some(frame) = frame {
                return Some(Ok(frame));
            }
        }
    }
}

/// What a file holds, judged by its first bytes and never by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing at all.
    Empty,
    /// gzip around something else.
    Gzip,
    /// Zstandard around something else.
    Zstd,
    /// Classic pcap.
    Pcap,
    /// pcapng.
    PcapNg,
    /// Sonde's own events.
    Events,
    /// Somebody's log.
    Log(LogFormat),
    /// A zip archive.
    Zip,
    /// A tar archive.
    Tar,
    /// JSON of no known kind.
    Json,
    /// A known format that is not read.
    Foreign {
        /// Its name.
        name: &'static str,
        /// What turns it into one that is.
        remedy: &'static str,
    },
    /// None of these.
    Unknown,
}

/// What [`detect`] can tell apart, for the message that says nothing matched.
pub const DETECTED: &str = "pcap, pcapng, Sonde's events, Zeek TSV and JSON, Defender CSV and JSON, Windows events as JSON and EVTX, \
                            Suricata EVE; zip, tar, gzip, zstd around them";

/// Formats that people do hand over and that another tool turns into a readable one.
const FOREIGN: [(&[u8], &str, &str); 9] = [
    (b"\xfd7zXZ\0", "xz", "unpack it first: xz -d FILE"),
    (b"BZh", "bzip2", "unpack it first: bzip2 -d FILE"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "unpack it first: 7z x FILE"),
    (b"\x04\x22\x4d\x18", "lz4", "unpack it first: lz4 -d FILE"),
    (b"snoop\0\0\0", "a snoop capture", "convert it first: editcap -F pcapng FILE OUT"),
    (b"GMBU", "a Network Monitor capture", "convert it first: editcap -F pcapng FILE OUT"),
    (b"RTSS", "a Network Monitor capture", "convert it first: editcap -F pcapng FILE OUT"),
    (b"\xff\xfe", "UTF-16 text", "convert it first: iconv -f UTF-16 -t UTF-8 FILE"),
    (b"\xfe\xff", "UTF-16 text", "convert it first: iconv -f UTF-16 -t UTF-8 FILE"),
];

/// Judges a content by its first bytes; `None` asks for more of them. `complete` says that there are no more.
#[must_use]
pub fn detect(first: &[u8], complete: bool) -> Option<Content> {
    /// Where a tar archive says `ustar` (POSIX.1-1988).
    const TAR_MAGIC: std::ops::Range<usize> = 257..262;
    const LONGEST_MAGIC: usize = 8;
    if first.is_empty() {
        return complete.then_some(Content::Empty);
    }
    if first.get(TAR_MAGIC) == Some(b"ustar") {
        return Some(Content::Tar);
    }
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    if let Some(b'{' | b'[') | None = text.first() {
        return detect_text(text, complete || first.len() >= DETECT_LEN);
    }
    if first.len() < LONGEST_MAGIC && !complete {
        return None;
    }
    if let Ok(parser) = CaptureParser::new(first) {
        return Some(match parser {
            CaptureParser::Pcap(_) => Content::Pcap,
            CaptureParser::PcapNg(_) => Content::PcapNg,
        });
    }
    Some(match *first {
        // RFC 1952 section 2.3.1: two identification bytes, then deflate as the only method.
        [0x1f, 0x8b, 8, ..] => Content::Gzip,
        // RFC 8878 sections 3.1.1 and 3.1.2: a frame, or a skippable frame as pzstd puts in front.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Content::Zstd,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Content::Zip,
        _ => match FOREIGN.iter().find(|(magic, ..)| first.starts_with(magic)) {
            Some(&(_, name, remedy)) => Content::Foreign { name, remedy },
            None => return detect_text(text, complete || first.len() >= DETECT_LEN),
        },
    })
}

/// Judges what may be text, without byte-order mark and white space in front. Without a whole line more is asked for, as
/// long as there is more.
fn detect_text(text: &[u8], complete: bool) -> Option<Content> {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if line.len() == text.len() && !complete {
        return None;
    }
    if events::looks_like_events(line) {
        return Some(Content::Events);
    }
    if let Some(format) = LogFormat::ALL.into_iter().find(|format| format.recognises(text)) {
        return Some(Content::Log(format));
    }
    // What tells a format may stand behind the first line.
    if !complete {
        return None;
    }
    Some(if text.first() == Some(&b'{') { Content::Json } else { Content::Unknown })
}
