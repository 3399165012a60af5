//! Writes EVTX files: events as binary XML in chunks of 64 KiB, with the checksums and tables that Windows puts there.
//!
//! Each event is written in one of two forms: [templated](EvtxWriter::templated), as Windows logs its own events (one template
//! for what all events of a provider share, one for the fields of each kind), or [plain](EvtxWriter::plain), as collected
//! events are. It is built from `[MS-EVEN6]` and the libyal project's description, not from files of Windows.

mod chunk;
mod sample;

use chunk::{Chunk, STRING, crc32, filetime};
pub use sample::sample;

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Name of the provider.
    pub provider: &'a str,
    /// Number of the event.
    pub id: u16,
    /// The log.
    pub channel: &'a str,
    /// The host.
    pub computer: &'a str,
    /// When it was written, in nanoseconds since 1970; kept to 100 ns.
    pub nanos: i64,
    /// Its own fields, in their order.
    pub data: &'a [(&'a str, Value<'a>)],
}

/// A field, as its manifest types it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// UTF-16 text.
    Text(&'a str),
    /// Units of UTF-16 as they are.
    Units(&'a [u16]),
    /// 16-bit number.
    U16(u16),
    /// 32-bit number.
    U32(u32),
    /// 64-bit number.
    U64(u64),
    /// A truth in four bytes.
    Bool(bool),
    /// A GUID, in the order in which it is read.
    Guid([u8; 16]),
    /// A pointer-sized number that is shown in hexadecimal.
    Pointer(u64),
    /// Nothing.
    Null,
}

impl Value<'_> {
    fn kind(self) -> u8 {
        match self {
            Self::Null => 0x00,
            Self::Text(_) | Self::Units(_) => STRING,
            Self::U16(_) => 0x06,
            Self::U32(_) => 0x08,
            Self::U64(_) => 0x0a,
            Self::Bool(_) => 0x0d,
            Self::Guid(_) => 0x0f,
            Self::Pointer(_) => 0x15,
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Null => Vec::new(),
            Self::Text(text) => utf16(text),
            Self::Units(units) => units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            Self::U16(number) => number.to_le_bytes().to_vec(),
            Self::U32(number) => number.to_le_bytes().to_vec(),
            Self::U64(number) | Self::Pointer(number) => number.to_le_bytes().to_vec(),
            Self::Bool(is) => u32::from(is).to_le_bytes().to_vec(),
            Self::Guid([a, b, c, d, e, f, g, h, rest @ ..]) => {
                [&[d, c, b, a, f, e, h, g][..], &rest].concat()
            }
        }
    }

    /// As the plain form has it.
    fn text(self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(text) => text.to_owned(),
            Self::Units(units) => String::from_utf16_lossy(units),
            Self::U16(number) => number.to_string(),
            Self::U32(number) => number.to_string(),
            Self::U64(number) => number.to_string(),
            Self::Bool(is) => is.to_string(),
            Self::Pointer(number) => format!("{number:#x}"),
            Self::Guid(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
                format!(
                    "{{{}-{}-{}-{}-{}}}",
                    part(0..8),
                    part(8..12),
                    part(12..16),
                    part(16..20),
                    part(20..32)
                )
            }
        }
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A file under construction.
#[derive(Clone, Debug)]
pub struct EvtxWriter {
    done: Vec<Vec<u8>>,
    chunk: Chunk,
    next: u64,
}

impl Default for EvtxWriter {
    fn default() -> Self {
        Self { done: Vec::new(), chunk: Chunk::new(1), next: 1 }
    }
}

impl EvtxWriter {
    /// An empty file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event as Windows logs its own.
    pub fn templated(&mut self, event: &Event<'_>) {
        self.record(|chunk, number| chunk.templated(event, number), event.nanos);
    }

    /// Adds an event without templates.
    pub fn plain(&mut self, event: &Event<'_>) {
        self.record(|chunk, number| chunk.plain(event, number), event.nanos);
    }

    fn record(&mut self, body: impl Fn(&mut Chunk, u64), nanos: i64) {
        let before = self.chunk.clone();
        if !self.chunk.record(self.next, filetime(nanos), &body) {
            self.done.push(before.finish(self.next - 1));
            self.chunk = Chunk::new(self.next);
            assert!(self.chunk.record(self.next, filetime(nanos), &body), "an event fits into a chunk");
        }
        self.next += 1;
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let Self { mut done, chunk, next } = self;
        done.push(chunk.finish(next - 1));
        let mut file = b"ElfFile\0".to_vec();
        let last = done.len() as u64 - 1;
        file.extend(0u64.to_le_bytes());
        file.extend(last.to_le_bytes());
        file.extend(next.to_le_bytes());
        // Length of the header; version 3.1; bytes that the header takes.
        file.extend(128u32.to_le_bytes());
        file.extend([1, 0, 3, 0, 0, 16]);
        file.extend(u16::try_from(done.len()).unwrap_or(u16::MAX).to_le_bytes());
        file.resize(120, 0);
        file.extend(0u32.to_le_bytes());
        let sum = crc32(&[file.get(..120).unwrap_or_default()]);
        file.extend(sum.to_le_bytes());
        file.resize(4096, 0);
        done.into_iter().fold(file, |mut file, chunk| {
            file.extend(chunk);
            file
        })
    }
}
