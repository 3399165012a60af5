//! Event logs of Windows as they lie on disk (EVTX), one chunk of 64 KiB at a time: the wanted events of
//! [`winlog`](super::winlog), through the same tables.
//!
//! A chunk stands alone: its names, templates and records refer to nothing outside. `binxml.rs` reads what a record holds.
//! Layout after `[MS-EVEN6]` and the libyal project's description of the format. Checksums are not verified: a record that
//! can be read is worth more than one that was left out.
//!
//! It is our own because the `evtx` crate (0.15.1, default features off) brings 19 crates that nothing else here needs, for
//! the six fields of a header and one list of texts: chrono, which `deny.toml` bans, a second JSON library with much unsafe
//! code; and it changes the order of `serde_json`'s keys for the whole build. Tried beside it, it reads the sample alike.

mod binxml;
#[cfg(test)]
mod tests;

use super::row::{Cause, RowError, RowSink};
use super::winlog::{Texts, Told, tell};
use binxml::{Read, Walk};

/// Bytes of the file header; the first chunk follows.
pub const FILE_HEADER_LEN: usize = 4096;
/// Bytes of a chunk.
pub const CHUNK_LEN: usize = 64 << 10;

const FILE_MAGIC: &[u8] = b"ElfFile\0";
const CHUNK_MAGIC: &[u8] = b"ElfChnk\0";
const RECORD_MAGIC: [u8; 4] = [0x2a, 0x2a, 0, 0];
/// Bytes of a chunk's header with its tables of names and templates; the first record follows.
const CHUNK_HEADER_LEN: usize = 512;
/// Where the header says how far the records reach.
const FREE_SPACE: usize = 48;
/// Bytes in front of a record's binary XML: magic, length, number, time.
const RECORD_HEADER_LEN: usize = 24;
/// Shortest record: its header, one token, and its length once more.
const SHORTEST_RECORD: usize = RECORD_HEADER_LEN + 1 + 4;

/// Reads chunks of an EVTX file.
#[derive(Clone, Debug, Default)]
pub struct Evtx {
    texts: Texts,
    walk: Walk,
    unused: u64,
}

impl Evtx {
    /// A reader.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a file that begins so is an EVTX file.
    #[must_use]
    pub fn recognises(head: &[u8]) -> bool {
        head.starts_with(FILE_MAGIC)
    }

    /// Events read that say nothing that is followed, as
    /// [`WinlogJson::unused`](super::winlog::WinlogJson::unused).
    #[must_use]
    pub const fn unused(&self) -> u64 {
        self.unused
    }

    /// Reads one chunk; the last one of a file may be cut short. A damaged record costs itself, and the next is found by its
    /// magic number. Chunks that were laid out but never written hold zeros and are nothing.
    pub fn record(&mut self, chunk: &[u8], sink: &mut dyn RowSink) {
        let chunk = chunk.get(..CHUNK_LEN).unwrap_or(chunk);
        if !chunk.starts_with(CHUNK_MAGIC) {
            if chunk.iter().any(|&byte| byte != 0) {
                sink.bad(damaged("no chunk begins here"));
            }
            return;
        }
        self.walk.begin();
        // A log that was copied while it was written may say less than there is: what goes on counting is read, too; what
        // lies there from before the log began anew counts otherwise.
        let free = u32_at(chunk, FREE_SPACE).and_then(|free| usize::try_from(free).ok()).unwrap_or(0);
        let mut at = CHUNK_HEADER_LEN;
        let mut last = None;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            let record = Record::at(rest);
            let beyond = at >= free;
            match record {
                Some(record)
                    if !beyond
                        || last.is_some_and(|last: u64| last.checked_add(1) == Some(record.number)) =>
                {
                    last = Some(record.number);
                    let from = at + RECORD_HEADER_LEN;
                    self.event(chunk, from, at + record.len - 4, sink);
                    at += record.len;
                }
                _ if beyond => return,
                _ => {
                    sink.bad(damaged("no record begins where one should"));
                    // Not found in what the header counts: there is nothing more.
                    let Some(next) = next_record(chunk, at + 1, free) else { return };
                    at = next;
                }
            }
        }
        if at < free {
            sink.bad(damaged("the chunk ends before its records do"));
        }
    }

    fn event(&mut self, chunk: &[u8], from: usize, to: usize, sink: &mut dyn RowSink) {
        match self.walk.event(chunk, from..to, &mut self.texts) {
            Read::Unwanted => {}
            Read::Damaged => sink.bad(damaged("binary XML that cannot be read")),
            Read::Whole => {
                if tell(&mut self.texts, sink) == Told::Unused {
                    self.unused += 1;
                }
            }
        }
    }
}

fn damaged(what: &str) -> RowError {
    RowError::row(Cause::Record, what)
}

/// A record whose lengths agree.
#[derive(Clone, Copy, Debug)]
struct Record {
    len: usize,
    number: u64,
}

impl Record {
    fn at(rest: &[u8]) -> Option<Self> {
        if !rest.starts_with(&RECORD_MAGIC) {
            return None;
        }
        let len = usize::try_from(u32_at(rest, 4)?).ok()?;
        if len < SHORTEST_RECORD || u32_at(rest, len - 4) != u32_at(rest, 4) {
            return None;
        }
        let number = rest.get(8..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
        Some(Self { len, number })
    }
}

/// Where the next sound record begins.
fn next_record(chunk: &[u8], from: usize, to: usize) -> Option<usize> {
    let to = to.min(chunk.len());
    let places = chunk.get(from..to)?.windows(RECORD_MAGIC.len()).enumerate();
    places
        .filter(|(_, window)| *window == RECORD_MAGIC)
        .map(|(place, _)| from + place)
        .find(|&place| chunk.get(place..).and_then(Record::at).is_some())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
