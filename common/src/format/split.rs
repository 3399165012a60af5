//! Where one record of a log ends and the next begins, found without understanding either: so that a file can be cut into
//! blocks that are read on several threads.
//!
//! Records are lines, CSV records (whose quotes may hold line ends), JSON objects spread over lines or within an array, and
//! the chunks of an EVTX file.

use std::ops::Range;

/// Longest record of text in bytes. The longest known (script blocks in event logs) stay below 100 KiB; a wrapper with
/// thousands of rows in it, as an API answers, is cut into its rows.
pub const MAX_RECORD_LEN: usize = 1 << 20;
/// Header of an EVTX file, and one chunk behind it, in bytes (libevtx, "Windows XML Event Log format", sections 2 and 3).
const EVTX_HEADER_LEN: usize = 4096;
const EVTX_CHUNK_LEN: usize = 65_536;

/// How a log is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One record a line.
    Lines,
    /// CSV records (RFC 4180).
    Csv,
    /// JSON objects: those at the top, in an array at the top, or in an array that is a value of an object at the top and
    /// named as rows are ([`ROWS_KEYS`]).
    Objects,
    /// EVTX chunks.
    Chunks,
}

/// Keys under which APIs hand out rows: Advanced Hunting (`Results`, in Graph `results`), OData (`value`), the streaming API
/// and activity logs (`records`), others.
pub const ROWS_KEYS: [&str; 7] = ["Results", "results", "value", "records", "Records", "data", "events"];

/// How text that begins with a brace or bracket is framed: as lines where the first line is a whole object, else as objects.
#[must_use]
pub fn json_framing(head: &[u8]) -> Framing {
    let mut objects = Objects::default();
    if head.trim_ascii_start().first() == Some(&b'[') {
        return Framing::Objects;
    }
    for &byte in head {
        objects.step(byte);
        if objects.in_rows {
            // `{"records":[…]}` on each line is one wrapper a line; the line end is out of sight, and does not matter.
            return Framing::Objects;
        }
        match byte {
            b'\n' if objects.depth > 0 => return Framing::Objects,
            b'}' if objects.depth == 0 => return Framing::Lines,
            _ => {}
        }
    }
    Framing::Lines
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Line in which it begins, counted from 1 (of chunks, their number).
    pub line: u64,
    /// Its bytes, without its end.
    pub bytes: &'a [u8],
}

/// Cuts the bytes of a file into records. Feed it what lies in memory; it says how much of that is whole records.
#[derive(Clone, Debug)]
pub struct Splitter {
    framing: Framing,
    line: u64,
    /// Whether the start of the file is still to come.
    at_start: bool,
    objects: Objects,
    /// Bytes of the current record that are too many, and are passed over to its end.
    skipping: bool,
    skipped: u64,
    first_skipped: u64,
}

impl Splitter {
    /// For a file from its start.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            line: 1,
            at_start: true,
            objects: Objects::default(),
            skipping: false,
            skipped: 0,
            first_skipped: 0,
        }
    }

    /// Records passed over because they are longer than [`MAX_RECORD_LEN`], and the line of the first.
    #[must_use]
    pub const fn skipped(&self) -> (u64, u64) {
        (self.skipped, self.first_skipped)
    }

    /// Finds the records that lie whole in `bytes`, which follow those used before; `complete` says that none come after
    /// them. Appends where they lie to `records` with their lines, and returns how many bytes are used: the rest is to be
    /// given again with more behind it.
    pub fn split(&mut self, bytes: &[u8], complete: bool, records: &mut Vec<(u64, Range<usize>)>) -> usize {
        let mut used = 0;
        if self.at_start && !bytes.is_empty() {
            let skip = match self.framing {
                Framing::Chunks => EVTX_HEADER_LEN,
                _ if bytes.starts_with(b"\xef\xbb\xbf") => 3,
                _ => 0,
            };
            if bytes.len() < skip {
                return if complete { bytes.len() } else { 0 };
            }
            // A byte-order mark that is cut may still become one.
            if self.framing != Framing::Chunks && !complete && b"\xef\xbb\xbf".starts_with(bytes) {
                return 0;
            }
            self.at_start = false;
            used = skip;
        }
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            if rest.is_empty() {
                return used;
            }
            let found = match self.framing {
                Framing::Lines => line(rest),
                Framing::Csv => csv_record(rest),
                Framing::Objects => self.objects.find(rest),
                Framing::Chunks => (rest.len() >= EVTX_CHUNK_LEN)
                    .then_some(Found { record: 0..EVTX_CHUNK_LEN, used: EVTX_CHUNK_LEN }),
            };
            let found = match found {
                Some(found) => found,
                // What has no end yet and is too long already is passed over: an object to where it ends, all else to
                // the next line end. So a quote that is never closed costs its own line.
                None if rest.len() > MAX_RECORD_LEN => {
                    self.too_long();
                    let over = if self.framing == Framing::Objects {
                        rest.iter().for_each(|&byte| self.objects.step(byte));
                        rest.len()
                    } else {
                        memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1)
                    };
                    let passed = rest.get(..over).unwrap_or_default();
                    self.skipping = self.framing == Framing::Objects || passed.last() != Some(&b'\n');
                    self.lines(passed);
                    used += over;
                    continue;
                }
                None if complete && self.framing != Framing::Objects => {
                    Found { record: 0..rest.len(), used: rest.len() }
                }
                None => return if complete { bytes.len() } else { used },
            };
            let lead = rest.get(..found.record.start).unwrap_or_default();
            self.lines(lead);
            // Of an object that is passed over the end is never found: what is found comes behind it.
            if std::mem::replace(&mut self.skipping, false) && self.framing != Framing::Objects {
            } else if found.record.len() > MAX_RECORD_LEN {
                self.too_long();
            } else if !found.record.is_empty() {
                records.push((self.line, used + found.record.start..used + found.record.end));
            }
            if self.framing == Framing::Chunks {
                self.line += 1;
            } else {
                self.lines(rest.get(found.record.start..found.used).unwrap_or_default());
            }
            used += found.used;
        }
    }

    fn too_long(&mut self) {
        if self.skipping {
            return;
        }
        self.skipped += 1;
        if self.first_skipped == 0 {
            self.first_skipped = self.line;
        }
    }

    fn lines(&mut self, bytes: &[u8]) {
        if self.framing == Framing::Lines && bytes.len() < 2 {
            self.line += u64::from(bytes.first() == Some(&b'\n'));
            return;
        }
        self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
    }
}

/// A record at the start of some bytes.
struct Found {
    /// Where it lies.
    record: Range<usize>,
    /// How far it and what parts it from the next reach.
    used: usize,
}

/// A line without its end.
fn line(bytes: &[u8]) -> Option<Found> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some(without_return(bytes, end))
}

fn without_return(bytes: &[u8], end: usize) -> Found {
    let line = bytes.get(..end).unwrap_or_default();
    let len = line.strip_suffix(b"\r").unwrap_or(line).len();
    Found { record: 0..len, used: end + 1 }
}

/// A CSV record: a line whose quotes are closed.
fn csv_record(bytes: &[u8]) -> Option<Found> {
    let mut quoted = false;
    for at in memchr::memchr2_iter(b'"', b'\n', bytes) {
        match bytes.get(at) {
            Some(b'"') => quoted = !quoted,
            _ if !quoted => return Some(without_return(bytes, at)),
            _ => {}
        }
        // A quote that is never closed would take the rest of the file for one record.
        if at > MAX_RECORD_LEN {
            return None;
        }
    }
    None
}

/// Finds objects in JSON text: as deep as brackets go, and no deeper.
#[derive(Clone, Debug, Default)]
struct Objects {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Whether the outermost bracket is that of an array.
    array_at_top: bool,
    /// Whether we are in an array of rows within the outermost object.
    in_rows: bool,
    /// The key that stands before the value to come, in the outermost object.
    key: Key,
}

/// The latest string of the outermost object.
#[derive(Clone, Debug, Default)]
struct Key {
    bytes: [u8; 8],
    len: usize,
}

impl Key {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    fn is_rows(&self) -> bool {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        !bytes.is_empty() && ROWS_KEYS.iter().any(|key| key.as_bytes() == bytes)
    }
}

impl Objects {
    /// Depth at which objects are records.
    const fn level(&self) -> u32 {
        if self.in_rows {
            2
        } else if self.array_at_top {
            1
        } else {
            0
        }
    }

    /// The first whole record. What comes before its brace is passed over with it. The state goes back to where the bytes
    /// begin if there is none.
    fn find(&mut self, bytes: &[u8]) -> Option<Found> {
        let before = self.clone();
        let mut start = None;
        for (at, &byte) in bytes.iter().enumerate() {
            let level = self.level();
            if byte == b'{' && !self.in_string && self.depth == level {
                start = Some(at);
            }
            let in_rows = self.in_rows;
            self.step(byte);
            if self.in_rows && !in_rows {
                // The object is a wrapper: its rows are the records.
                start = None;
            }
            if byte == b'}'
                && !self.in_string
                && self.depth == level
                && let Some(start) = start.take()
            {
                return Some(Found { record: start..at + 1, used: at + 1 });
            }
        }
        *self = before;
        None
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ if self.depth == 1 => self.key.push(byte),
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 {
                    self.key = Key::default();
                }
            }
            b'{' => self.depth = self.depth.saturating_add(1),
            b'[' => {
                if self.depth == 0 {
                    self.array_at_top = true;
                } else if self.depth == 1 && !self.array_at_top && self.key.is_rows() {
                    self.in_rows = true;
                }
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.array_at_top = false;
                }
                if self.depth <= 1 {
                    self.in_rows = false;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Records of a text that arrives in pieces of some length.
    fn records(framing: Framing, text: &[u8], piece: usize) -> Vec<(u64, String)> {
        let mut splitter = Splitter::new(framing);
        let (mut found, mut have, mut given) = (Vec::new(), Vec::new(), 0);
        loop {
            let more = text.len().min(given + piece);
            have.extend_from_slice(&text[given..more]);
            given = more;
            let complete = given == text.len();
            let mut ranges = Vec::new();
            let used = splitter.split(&have, complete, &mut ranges);
            for (line, range) in ranges {
                found.push((line, String::from_utf8_lossy(&have[range]).into_owned()));
            }
            have.drain(..used);
            if complete {
                return found;
            }
        }
    }

    fn texts(framing: Framing, text: &str) -> Vec<(u64, String)> {
        let whole = records(framing, text.as_bytes(), text.len().max(1));
        for piece in [1, 2, 7] {
            assert_eq!(records(framing, text.as_bytes(), piece), whole, "in pieces of {piece}");
        }
        whole
    }

    fn expect(records: &[(u64, &str)]) -> Vec<(u64, String)> {
        records.iter().map(|&(line, text)| (line, text.to_owned())).collect()
    }

    #[test]
    fn lines_lose_their_ends_and_empty_ones_are_none() {
        assert_eq!(
            texts(Framing::Lines, "\u{feff}a\r\n\nb\nlast"),
            expect(&[(1, "a"), (3, "b"), (4, "last")])
        );
    }

    #[test]
    fn a_csv_record_may_hold_line_ends_in_quotes() {
        let text = "h1,h2\r\n\"a\r\nb\"\"\",2\r\n\"c\",\"d\"\n";
        assert_eq!(
            texts(Framing::Csv, text),
            expect(&[(1, "h1,h2"), (2, "\"a\r\nb\"\"\",2"), (4, "\"c\",\"d\"")])
        );
    }

    #[test]
    fn objects_are_found_in_every_shape_that_apis_answer_in() {
        let text = "{\n \"a\": {\"b\": \"}\"}\n}\n{\"c\":[{}]}";
        assert_eq!(
            texts(Framing::Objects, text),
            expect(&[(1, "{\n \"a\": {\"b\": \"}\"}\n}"), (4, "{\"c\":[{}]}")])
        );
        let text = "[\n {\"a\": 1},\n {\"a\": [{}]}\n]";
        assert_eq!(texts(Framing::Objects, text), expect(&[(2, "{\"a\": 1}"), (3, "{\"a\": [{}]}")]));
        let text = "{\"Schema\":[{\"Name\":\"x\"}],\"Stats\":{\"Results\":[{}]},\n\"Results\": [{\"a\":\"\\\"{\"},\n{\"b\":{}}]}";
        assert_eq!(texts(Framing::Objects, text), expect(&[(2, "{\"a\":\"\\\"{\"}"), (3, "{\"b\":{}}")]));
        let text = "{\"records\":[{\"n\":1},{\"n\":2}]}\n{\"records\":[{\"n\":3}]}\n";
        assert_eq!(
            texts(Framing::Objects, text),
            expect(&[(1, "{\"n\":1}"), (1, "{\"n\":2}"), (2, "{\"n\":3}")])
        );
    }

    #[test]
    fn json_on_lines_is_told_from_json_over_lines() {
        assert_eq!(json_framing(b"{\"a\":{\"b\":1}}\n{"), Framing::Lines);
        assert_eq!(json_framing(b"{\"a\":\"no end in sight"), Framing::Lines);
        assert_eq!(json_framing(b"{\n\"a\":1}"), Framing::Objects);
        assert_eq!(json_framing(b" [{\"a\":1}]"), Framing::Objects);
        assert_eq!(json_framing(b"{\"Results\":[{\"a\":1}]}"), Framing::Objects);
        assert_eq!(json_framing(b"{\"event_data\":[{\"a\":1}]}"), Framing::Lines);
    }

    #[test]
    fn what_is_too_long_costs_itself_alone_and_is_counted() {
        let long = "x".repeat(3 * MAX_RECORD_LEN);
        let text = format!("a\n{long}\nb\n");
        for piece in [1000, 65_536, 5 * MAX_RECORD_LEN] {
            assert_eq!(
                records(Framing::Lines, text.as_bytes(), piece),
                expect(&[(1, "a"), (3, "b")]),
                "{piece}"
            );
        }
        let mut splitter = Splitter::new(Framing::Lines);
        splitter.split(text.as_bytes(), true, &mut Vec::new());
        assert_eq!(splitter.skipped(), (1, 2));
        // A quote that is never closed costs its line, not what it swallows.
        let text = format!("h\n\"open\n{}", "1,2\n".repeat(MAX_RECORD_LEN));
        assert_eq!(records(Framing::Csv, text.as_bytes(), 1 << 18).len(), 1 + MAX_RECORD_LEN);
        // An object costs itself, however deep it is in an array.
        let text = format!("[{{\"a\":1}},{{\"b\":\"{long}\"}},{{\"c\":\"}}\"}}]");
        for piece in [1 << 18, 5 * MAX_RECORD_LEN] {
            let found = records(Framing::Objects, text.as_bytes(), piece);
            assert_eq!(found, expect(&[(1, "{\"a\":1}"), (1, "{\"c\":\"}\"}")]), "{piece}");
        }
    }

    #[test]
    fn chunks_follow_the_header() {
        let mut file = vec![b'h'; EVTX_HEADER_LEN];
        file.extend(vec![b'1'; EVTX_CHUNK_LEN]);
        file.extend(vec![b'2'; EVTX_CHUNK_LEN]);
        file.extend(b"rest");
        let found = records(Framing::Chunks, &file, 10_000);
        let firsts: Vec<_> = found.iter().map(|(n, text)| (*n, text.as_bytes()[0], text.len())).collect();
        assert_eq!(firsts, [(1, b'1', EVTX_CHUNK_LEN), (2, b'2', EVTX_CHUNK_LEN), (3, b'r', 4)]);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_records(text in "[\\[\\]{}\",:\\\\a\\n\\r]{0,200}", piece in 1usize..50) {
            for framing in [Framing::Lines, Framing::Csv, Framing::Objects, Framing::Chunks] {
                let whole = records(framing, text.as_bytes(), text.len().max(1));
                prop_assert_eq!(records(framing, text.as_bytes(), piece), whole);
            }
        }
    }
}
