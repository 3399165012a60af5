//! Results of the rules as CSV and NDJSON, into memory: pure text, the same on every machine.
//!
//! CSV as RFC 4180 has it, with a line feed as the line's end (as the CSV of alerts). Texts stand as they stand in the data, save that what
//! is not [plain](crate::text::is_plain) is escaped and that a cell which a spreadsheet would compute begins with `'`:
//! both as in [`crate::encode::csv`]. NDJSON holds the very strings.

use serde::Serialize;

use crate::encode::json;

/// A row of a result.
pub trait Record: Serialize {
    /// Names of the columns.
    const HEADER: &'static [&'static str];

    /// The cells, in the order of [`HEADER`](Self::HEADER), harmless but not yet quoted.
    fn cells(&self) -> Vec<String>;
}

/// Appends the line of CSV that names the columns.
pub fn csv_header<R: Record>(out: &mut Vec<u8>) {
    csv_line(R::HEADER, out);
}

/// Appends a record as a line of CSV.
pub fn csv<R: Record>(record: &R, out: &mut Vec<u8>) {
    csv_line(&record.cells(), out);
}

/// Appends a record as a line of JSON.
pub fn ndjson<R: Record>(record: &R, out: &mut Vec<u8>) {
    let done = json::write(&mut *out, record);
    debug_assert!(done.is_ok(), "a Vec takes every write and a record has no keys but names: {done:?}");
    out.push(b'\n');
}

/// Appends all records as CSV: the header, also where there are none, and a line each.
pub fn all_csv<R: Record>(records: &[R], out: &mut Vec<u8>) {
    csv_header::<R>(out);
    for record in records {
        csv(record, out);
    }
}

/// Appends all records as NDJSON: a line each.
pub fn all_ndjson<R: Record>(records: &[R], out: &mut Vec<u8>) {
    for record in records {
        ndjson(record, out);
    }
}

/// A list as a cell: a JSON array.
pub(super) fn array<T: Serialize>(items: &[T]) -> String {
    let mut out = Vec::new();
    let done = json::write(&mut out, items);
    debug_assert!(done.is_ok(), "numbers and texts: {done:?}");
    String::from_utf8(out).unwrap_or_default()
}

fn csv_line(cells: &[impl AsRef<str>], out: &mut Vec<u8>) {
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let cell = cell.as_ref();
        if cell.contains([',', '"', '\r', '\n']) {
            out.push(b'"');
            out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair {
        text: &'static str,
        list: Vec<&'static str>,
    }

    impl Record for Pair {
        const HEADER: &'static [&'static str] = &["text", "list"];

        fn cells(&self) -> Vec<String> {
            vec![crate::encode::csv::cell(self.text), array(&self.list)]
        }
    }

    #[test]
    fn csv_quotes_as_rfc_4180_says() {
        for (text, line) in [
            ("plain", "plain,[]\n"),
            ("a,b", "\"a,b\",[]\n"),
            ("say \"a\"", "\"say \"\"a\"\"\",[]\n"),
            ("a\r\nb", "a\\u{d}\\u{a}b,[]\n"),
            ("bücher 漢 🦀", "bücher 漢 🦀,[]\n"),
            ("=1+1", "'=1+1,[]\n"),
            ("", ",[]\n"),
        ] {
            let mut out = Vec::new();
            csv(&Pair { text, list: vec![] }, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }

    #[test]
    fn lists_are_json_inside_a_cell() {
        let mut out = Vec::new();
        all_csv(&[Pair { text: "x", list: vec!["a.exe", "b\"\u{202e}.exe"] }], &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "text,list\nx,\"[\"\"a.exe\"\",\"\"b\\\"\"\\u202e.exe\"\"]\"\n"
        );
    }

    #[test]
    fn nothing_is_a_header_alone_or_no_line_at_all() {
        let (mut csv, mut json) = (Vec::new(), Vec::new());
        all_csv::<Pair>(&[], &mut csv);
        all_ndjson::<Pair>(&[], &mut json);
        assert_eq!((csv.as_slice(), json.as_slice()), (&b"text,list\n"[..], &b""[..]));
    }

    #[test]
    fn ndjson_is_a_line_each_and_reads_back_intact() {
        let mut out = Vec::new();
        all_ndjson(&[Pair { text: "a\n\u{1b}ü", list: vec![] }], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "{\"text\":\"a\\n\\u001bü\",\"list\":[]}\n");
    }
}
