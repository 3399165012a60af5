//! `DeviceNetworkEvents` as CSV, as portals and workspaces export it and spreadsheets save it again.
//!
//! A record is cut into slices of itself: only the columns that are read are looked into, and only what holds doubled quotes
//! is copied. That is why no general CSV parser does it.

use std::sync::Arc;

use memchr::memchr;

use super::columns::{COLUMNS, Cells, Column, MAX_COLUMNS, Piece, Present, empty};
use super::{Buffers, emit};
use crate::format::row::{Cause, RowError, RowSink};

/// Reads records of CSV: first the header, then rows. Cheap to clone: clones share the header.
#[derive(Clone, Debug, Default)]
pub struct DefenderCsv {
    header: Option<Arc<Header>>,
    /// What a `sep=` line in front of the header said.
    separator: Option<u8>,
    kept: String,
    buffers: Buffers,
}

/// What stands where.
#[derive(Debug)]
struct Header {
    separator: u8,
    columns: Vec<Option<Column>>,
    present: Present,
}

impl DefenderCsv {
    /// A reader that has not seen a header.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a file that begins so is such a table. Judged by the header, of which a part will do.
    #[must_use]
    pub fn recognises(head: &[u8]) -> bool {
        let mut separator = None;
        for line in without_mark(head).split(|b| *b == b'\n') {
            let line = without_end(line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            match separator_line(line) {
                Some(declared) if separator.is_none() => separator = Some(declared),
                _ => return Header::read(line, separator).is_some(),
            }
        }
        false
    }

    /// Whether a record has to be read in its turn because it may be a header: before there is one, every record is; later
    /// one that looks like it. Rows begin with a time or an id, headers with a word.
    #[must_use]
    pub fn may_be_header(&self, record: &[u8]) -> bool {
        /// What the names of columns are made of, and the first cells of rows are not.
        fn is_word(cell: &[u8]) -> bool {
            let plain = |b: &u8| b.is_ascii_alphabetic() || matches!(b, b' ' | b'[' | b']' | b'(' | b')');
            !cell.is_empty() && cell.iter().all(plain)
        }
        if self.header.is_none() {
            return true;
        }
        let start = record.get(..record.len().min(64)).unwrap_or_default();
        let first = start.split(|b| matches!(b, b',' | b';' | b'\t')).next().unwrap_or_default();
        let first = first.strip_prefix(b"\"").and_then(|cell| cell.strip_suffix(b"\"")).unwrap_or(first);
        is_word(first) && Self::recognises(record)
    }

    /// Takes one record without its line end, which may hold line breaks in quotes. A header, also a repeated one, says
    /// where the columns of the next rows stand; everything else is a row, or bad.
    pub fn record(&mut self, record: &[u8], sink: &mut dyn RowSink) {
        let record = without_end(record);
        if record.trim_ascii().is_empty() {
            return;
        }
        let Some(header) = self.header.take() else {
            let record = without_mark(record);
            if let Some(separator) = separator_line(record) {
                self.separator = Some(separator);
            } else if let Some(header) = Header::read(record, self.separator) {
                self.header = Some(Arc::new(header));
            } else {
                sink.bad(RowError::row(Cause::Header, &String::from_utf8_lossy(start(record))));
            }
            return;
        };
        let outcome = self.row(&header, record, sink);
        self.header = Some(header);
        if let Err(error) = outcome {
            // What is no row is the header of the next file in a concatenation, perhaps.
            match Header::read(without_mark(record), self.separator) {
                Some(header) => self.header = Some(Arc::new(header)),
                None => sink.bad(error),
            }
        }
    }

    fn row(&mut self, header: &Header, record: &[u8], sink: &mut dyn RowSink) -> Result<(), RowError> {
        empty(&mut self.kept);
        let mut pieces = [Piece::default(); COLUMNS];
        let mut error = None;
        let mut next = 0;
        cells(record, header.separator, |cell, form| {
            let column = header.columns.get(next).copied().flatten();
            next += 1;
            let Some(column) = column else { return };
            let Some(piece) = pieces.get_mut(column.index()) else { return };
            match std::str::from_utf8(cell) {
                Ok(text) if form == Form::Plain => *piece = Piece::Here(text),
                Ok(text) => *piece = Piece::keep(&mut self.kept, |kept| unquote(text, kept)),
                // What the process was called in some code page is not told; what the rule groups by must be right.
                Err(_) if !column.is_hunted() => {}
                Err(_) => {
                    let found = String::from_utf8_lossy(start(cell));
                    error = Some(RowError::field(Cause::Encoding, column.name(), &found));
                }
            }
        });
        if next != header.columns.len() {
            let found = format!("{next} instead of {}", header.columns.len());
            return Err(RowError::row(Cause::Columns, &found));
        }
        if let Some(error) = error {
            return Err(error);
        }
        let cells = Cells { texts: pieces.map(|piece| piece.get(&self.kept)), present: header.present };
        emit(&cells, &mut self.buffers, sink)
    }
}

impl Header {
    /// The header that this record is, if it names the columns of the table.
    fn read(record: &[u8], declared: Option<u8>) -> Option<Self> {
        // Spreadsheets save with what their language puts between numbers.
        let separators = match declared {
            Some(separator) => &[separator][..],
            None => &b",;\t"[..],
        };
        separators.iter().find_map(|&separator| Self::split(record, separator))
    }

    fn split(record: &[u8], separator: u8) -> Option<Self> {
        let (mut columns, mut present) = (Vec::new(), Present::default());
        cells(record, separator, |cell, _| {
            if columns.len() > MAX_COLUMNS {
                return;
            }
            // Of columns with the same name the first counts, as with a join, which names its second ones anew.
            let column = std::str::from_utf8(cell)
                .ok()
                .and_then(Column::of_header)
                .filter(|column| !present.has(*column));
            if let Some(column) = column {
                present.add(column);
            }
            columns.push(column);
        });
        (columns.len() <= MAX_COLUMNS && present.is_defender()).then_some(Self {
            separator,
            columns,
            present,
        })
    }
}

/// What the content of a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Form {
    /// The text itself.
    Plain,
    /// What follows an opening quote, its closing quote among it.
    Quoted,
}

/// Hands out the cells of a record (RFC 4180 section 2). Where it is not kept to, as `csv` reads it: a quote inside a bare
/// cell is a character, text behind a closing quote belongs to the cell, and an open quote ends with the record.
#[inline]
pub(in crate::format) fn cells<'a>(record: &'a [u8], separator: u8, mut each: impl FnMut(&'a [u8], Form)) {
    let mut rest = record;
    loop {
        let (cell, form, next) = match rest.split_first() {
            Some((b'"', inside)) => quoted(inside, separator),
            // Most cells of a row are empty.
            Some((first, after)) if *first == separator => (&[][..], Form::Plain, Some(after)),
            _ => {
                let (cell, next) = until(rest, separator);
                (cell, Form::Plain, next)
            }
        };
        each(cell, form);
        match next {
            Some(next) => rest = next,
            None => return,
        }
    }
}

/// What stands before the separator and, if there is one, what stands behind it.
#[inline]
fn until(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match memchr(separator, text).and_then(|at| text.split_at_checked(at)) {
        Some((cell, next)) => (cell, next.get(1..)),
        None => (text, None),
    }
}

/// The cell that follows an opening quote, and what stands behind its separator.
#[inline]
fn quoted(inside: &[u8], separator: u8) -> (&[u8], Form, Option<&[u8]>) {
    let mut from = 0;
    while let Some(at) = inside.get(from..).and_then(|rest| memchr(b'"', rest)).map(|at| from + at) {
        let (before, behind) = inside.split_at(at);
        match behind.get(1) {
            Some(b'"') => from = at + 2,
            end if end.is_none_or(|c| *c == separator) => {
                let form = if from == 0 { Form::Plain } else { Form::Quoted };
                return (before, form, behind.get(2..));
            }
            _ => {
                let (tail, next) = until(behind, separator);
                return (inside.get(..at + tail.len()).unwrap_or(before), Form::Quoted, next);
            }
        }
    }
    (inside, Form::Quoted, None)
}

/// Appends what a cell says, given what follows its opening quote.
pub(in crate::format) fn unquote(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some((plain, behind)) = rest.split_once('"') {
        out.push_str(plain);
        match behind.strip_prefix('"') {
            Some(behind) => {
                out.push('"');
                rest = behind;
            }
            // Behind the closing quote, quotes are characters.
            None => {
                out.push_str(behind);
                return;
            }
        }
    }
    out.push_str(rest);
}

/// What a `sep=;` line declares, which spreadsheets want in front.
pub(in crate::format) fn separator_line(line: &[u8]) -> Option<u8> {
    let line = without_end(line);
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    match line {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] => Some(*separator),
        _ => None,
    }
}

pub(in crate::format) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

pub(in crate::format) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// As much of a record as an error can show.
pub(super) fn start(record: &[u8]) -> &[u8] {
    record.get(..200).unwrap_or(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(record: &str) -> Vec<String> {
        let mut all = Vec::new();
        cells(record.as_bytes(), b',', |cell, form| {
            let cell = std::str::from_utf8(cell).unwrap();
            let mut text = String::new();
            match form {
                Form::Plain => text.push_str(cell),
                Form::Quoted => unquote(cell, &mut text),
            }
            all.push(text);
        });
        all
    }

    #[test]
    fn cells_hold_commas_quotes_and_line_breaks() {
        assert_eq!(split(r#"a,"b,c","d ""e""",,"#), ["a", "b,c", "d \"e\"", "", ""]);
        assert_eq!(split("\"a\r\nb\",c"), ["a\r\nb", "c"]);
        assert_eq!(split(r#""""","""a","""#), ["\"", "\"a", ""]);
        assert_eq!(split(r#"a"b,"c"d"e,"f"#), ["a\"b", "cd\"e", "f"]);
        assert_eq!(split(""), [""]);
        assert_eq!(split(r#""""#), [""]);
    }

    proptest! {
        #[test]
        fn cells_are_cut_as_the_csv_crate_cuts_them(record in "[a\",é]{0,40}") {
            prop_assume!(!record.is_empty());
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(record.as_bytes());
            let theirs = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(split(&record), theirs.iter().collect::<Vec<_>>());
        }

        #[test]
        fn quoting_round_trips(texts in proptest::collection::vec("[\\PC\r\n\",;\t]*", 2..6)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&texts).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(split(line.strip_suffix('\n').unwrap()), texts);
        }
    }
}
