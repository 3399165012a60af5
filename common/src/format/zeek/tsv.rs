//! Zeek's own text form: lines of columns, and header lines that begin with `#` and say which columns they are.

use std::sync::Arc;

use super::row::{Form, Record, unescape};
use super::{FIELDS, Field, Log};
use crate::format::row::{Cause, RowError, RowSink};

/// Most columns of a log; Zeek's widest has some 40, and packages add a few. The columns of a wider one are not taken up,
/// so that its rows are bad ones.
const MAX_COLUMNS: usize = 512;
/// Longest separator or mark of a header, in bytes; a longer one leaves the usual one in place.
const MAX_MARK_BYTES: usize = 32;
/// Longest name of a log that is kept, in bytes; a longer one is none that is read.
const MAX_PATH_BYTES: usize = 64;
/// A column that is passed over.
const SKIP: u8 = u8::MAX;
const _: () = assert!(FIELDS < SKIP as usize);

/// Reads tab-separated Zeek logs.
///
/// Header lines may come at any place and hold for the lines behind them; `#separator` begins a new header. Clones are
/// cheap and share what the header said.
///
/// A row with fewer columns than the header is a bad one. Further columns behind the named ones are passed over: labels
/// are appended to rows by tools that leave the header alone.
#[derive(Clone, Debug, Default)]
pub struct ZeekTsv {
    layout: Arc<Layout>,
}

/// What the header said.
#[derive(Clone, Debug)]
struct Layout {
    separator: String,
    set_separator: String,
    empty: String,
    unset: String,
    path: String,
    /// The slot of each column, or [`SKIP`]. None before `#fields`.
    columns: Vec<u8>,
    log: Log,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            separator: "\t".into(),
            set_separator: ",".into(),
            empty: "(empty)".into(),
            unset: "-".into(),
            path: String::new(),
            columns: Vec::new(),
            log: Log::Unused,
        }
    }
}

impl ZeekTsv {
    /// A reader that has seen no header.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one line: a header line, a row, or nothing if it is empty. Bytes that are no UTF-8 become U+FFFD, so that
    /// nobody hides a connection by one byte of its name.
    pub fn record(&mut self, line: &[u8], sink: &mut dyn RowSink) {
        match std::str::from_utf8(line) {
            Ok(line) => self.read(line, sink),
            Err(_) => self.read(&String::from_utf8_lossy(line), sink),
        }
    }

    /// Whether a file that begins so is one for this reader: its first line is a header line that says how columns are
    /// separated or named.
    #[must_use]
    pub fn recognises(head: &[u8]) -> bool {
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        head.starts_with(b"#separator ")
            || (head.starts_with(b"#")
                && head.split(|&byte| byte == b'\n').any(|line| {
                    line.strip_prefix(b"#fields\t")
                        .is_some_and(|names| names.split(|&byte| byte == b'\t').any(|name| name == b"ts"))
                }))
    }

    /// The name of the log whose rows follow, if it is none that is read: its rows are
    /// [`Kind::Other`](crate::format::row::Kind::Other), or nothing where they have no time.
    #[must_use]
    pub fn unused(&self) -> Option<&str> {
        (self.layout.log == Log::Unused && !self.layout.columns.is_empty()).then_some(&self.layout.path)
    }

    fn read(&mut self, line: &str, sink: &mut dyn RowSink) {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.starts_with('#') {
            self.header(line, sink);
        } else if !line.is_empty() {
            self.layout.row(line, sink);
        }
    }

    fn header(&mut self, line: &str, sink: &mut dyn RowSink) {
        if let Some(separator) = line.strip_prefix("#separator") {
            let separator = unescape(separator.trim_ascii_start());
            let mut layout = Layout::default();
            if (1..=MAX_MARK_BYTES).contains(&separator.len()) {
                layout.separator = separator.into_owned();
            }
            self.layout = Arc::new(layout);
            return;
        }
        let Some((key, value)) = line.split_once(self.layout.separator.as_str()) else { return };
        if !matches!(key, "#set_separator" | "#empty_field" | "#unset_field" | "#path" | "#fields") {
            return;
        }
        let layout = Arc::make_mut(&mut self.layout);
        let mark = |old: &mut String| {
            let value = unescape(value);
            if (1..=MAX_MARK_BYTES).contains(&value.len()) {
                *old = value.into_owned();
            }
        };
        match key {
            "#set_separator" => mark(&mut layout.set_separator),
            "#empty_field" => mark(&mut layout.empty),
            "#unset_field" => mark(&mut layout.unset),
            "#path" => {
                layout.path.clear();
                layout.path.push_str(value.get(..MAX_PATH_BYTES).unwrap_or(value).trim_ascii());
                layout.path.truncate(layout.path.floor_char_boundary(MAX_PATH_BYTES));
            }
            _ => layout.columns(value, sink),
        }
        layout.log = match layout.path.as_str() {
            "" => Log::with(|field| layout.columns.contains(&number(field))),
            path => Log::named(path),
        };
    }
}

fn number(field: Field) -> u8 {
    field as u8
}

impl Layout {
    fn columns(&mut self, names: &str, sink: &mut dyn RowSink) {
        self.columns.clear();
        if names.split(self.separator.as_str()).count() > MAX_COLUMNS {
            sink.bad(RowError::field(Cause::Columns, "#fields", names));
            return;
        }
        let names = names.split(self.separator.as_str());
        self.columns.extend(names.map(|name| Field::named(name).map_or(SKIP, number)));
    }

    fn row(&self, line: &str, sink: &mut dyn RowSink) {
        if self.columns.is_empty() {
            sink.bad(RowError::row(Cause::Header, line));
            return;
        }
        let form = Form::Tsv { set_separator: &self.set_separator };
        let mut record = Record { fields: [""; FIELDS], form };
        let mut values = Columns { rest: Some(line), separator: self.separator.as_bytes() };
        for &column in &self.columns {
            let Some(value) = values.next() else {
                sink.bad(RowError::row(Cause::Columns, line));
                return;
            };
            if let Some(slot) = record.fields.get_mut(usize::from(column))
                && value != self.unset
                && value != self.empty
            {
                *slot = value;
            }
        }
        record.emit(self.log, sink);
    }
}

/// Splits a line at its separator, which is nearly always one byte.
struct Columns<'a> {
    rest: Option<&'a str>,
    separator: &'a [u8],
}

impl<'a> Iterator for Columns<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        let at = match self.separator {
            [byte] => memchr::memchr(*byte, rest.as_bytes()),
            separator => memchr::memmem::find(rest.as_bytes(), separator),
        };
        let Some(at) = at else {
            self.rest = None;
            return Some(rest);
        };
        self.rest = rest.get(at + self.separator.len()..);
        rest.get(..at)
    }
}
