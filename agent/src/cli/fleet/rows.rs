//! Rows of an answer of the store or of hints: a table on a terminal, NDJSON for machines, CSV for spreadsheets. Names from
//! the wire are escaped in each.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use sonde_common::encode::{csv, json};
use sonde_common::human;
use sonde_common::text::escape;

use crate::cli::failure::{Failure, written};
use crate::cli::output::{Format, Output, OutputError, Style, columns, paragraph};
use crate::exit::Exit;

/// One row, by the names of its columns.
pub(super) type Row = Map<String, Value>;

/// How a column is shown to people; machines get it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// As it stands.
    Text,
    /// A share as percent.
    Share,
    /// Seconds as a span.
    Span,
    /// Seconds of a period.
    Interval,
    /// A time of the store, which knows no zone: UTC.
    Time,
    /// A digest, cut.
    Digest,
}

/// A column: its name in the answer and in NDJSON, its head in a table (empty: it is for machines alone), how it is shown.
pub(super) type Column = (&'static str, &'static str, Show);

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// For people.
    Table,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated, with a header.
    Csv,
}

/// A row in the order of its columns.
struct Ordered<'a>(&'a Row, &'a [Column]);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, _, show) in self.1 {
            match (self.0.get(*name), show) {
                (Some(Value::String(time)), Show::Time) => map.serialize_entry(name, &rfc3339(time))?,
                (Some(value), _) => map.serialize_entry(name, value)?,
                (None, _) => {}
            }
        }
        map.end()
    }
}

/// Writes rows. `nothing`: what a table says in the place of none. `more`: rows that were left out.
pub(super) fn write(
    rows: &[Row],
    columns: &[Column],
    form: Option<Form>,
    nothing: &str,
    more: bool,
) -> Result<Exit, Failure> {
    let by_default = if io::stdout().is_terminal() { Form::Table } else { Form::Ndjson };
    let style = Style::of_stdout();
    let mut out = Output::new(BufWriter::new(io::stdout()), Format::Ndjson, style);
    let done = match form.unwrap_or(by_default) {
        Form::Table if rows.is_empty() => out.write_text(&paragraph(nothing, style)),
        Form::Table => out.write_text(&table(rows, columns, style)),
        Form::Ndjson => lines(rows, columns, &mut out),
        Form::Csv => cells(rows, columns, &mut out),
    };
    let exit = written(done.and_then(|()| out.flush()))?;
    if more {
        tracing::warn!(shown = rows.len(), "there are more; --limit and the filters choose");
    }
    Ok(exit)
}

fn lines(rows: &[Row], columns: &[Column], out: &mut Output<impl Write>) -> Result<(), OutputError> {
    rows.iter().try_for_each(|row| {
        let mut line = Vec::new();
        // Writing to memory fails only on keys that are no texts, and ours are.
        if json::write(&mut line, &Ordered(row, columns)).is_ok() {
            line.push(b'\n');
        }
        out.write_bytes(&line)
    })
}

fn cells(rows: &[Row], columns: &[Column], out: &mut Output<impl Write>) -> Result<(), OutputError> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let header: Vec<&str> = columns.iter().map(|(name, ..)| *name).collect();
    // Writing to memory does not fail.
    let _ = writer.write_record(&header);
    for row in rows {
        let cells = columns.iter().map(|(name, _, show)| match row.get(*name) {
            Some(Value::String(time)) if *show == Show::Time => rfc3339(time),
            Some(Value::String(text)) => csv::cell(text),
            Some(Value::Null) | None => String::new(),
            Some(value) => value.to_string(),
        });
        let _ = writer.write_record(cells);
    }
    out.write_bytes(&writer.into_inner().unwrap_or_default())
}

fn table(rows: &[Row], all: &[Column], style: Style) -> String {
    let shown: Vec<&Column> = all.iter().filter(|(_, head, _)| !head.is_empty()).collect();
    let header: Vec<&str> = shown.iter().map(|(_, head, _)| *head).collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| shown.iter().map(|(name, _, show)| cell(row.get(*name), *show)).collect())
        .collect();
    columns::table(&header, &cells, style)
}

fn cell(value: Option<&Value>, show: Show) -> String {
    let number = value.and_then(Value::as_f64);
    let text = match (value, show, number) {
        (Some(Value::String(text)), Show::Digest, _) => text.chars().take(16).collect(),
        (Some(Value::String(text)), _, _) => escape(text).into_owned(),
        (_, Show::Share, Some(share)) => format!("{} %", human::percent(share)),
        (_, Show::Span, Some(secs)) => human::span(whole(secs)),
        (_, Show::Interval, Some(secs)) if secs > 0.0 => human::interval(secs),
        (_, Show::Interval, _) | (None | Some(Value::Null), _, _) => String::new(),
        (Some(value), _, _) => value.to_string(),
    };
    if text.is_empty() { human::UNKNOWN.to_owned() } else { text }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn whole(secs: f64) -> u64 {
    secs.clamp(0.0, 9e15) as u64
}

/// A time of the store, `2026-11-23 12:00:00`, with its zone. What is none stays as it is: JSON and CSV escape it.
fn rfc3339(time: &str) -> String {
    match time.split_once(' ') {
        Some((day, clock)) if !clock.contains(['Z', '+', ' ']) => format!("{day}T{clock}Z"),
        _ => csv::cell(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] = [
        ("host", "HOST", Show::Text),
        ("share", "SHARE", Show::Share),
        ("seen", "SEEN", Show::Time),
        ("period", "EVERY", Show::Interval),
        ("id", "", Show::Text),
    ];

    fn rows() -> Vec<Row> {
        let text = r#"{"id":"x","host":"=a\u001b[31m\u202e","share":0.25,"seen":"2026-11-23 12:00:00","period":60.0,"more":1}"#;
        vec![serde_json::from_str(text).unwrap()]
    }

    fn written(write: impl Fn(&mut Output<Vec<u8>>) -> Result<(), OutputError>) -> String {
        let style = Style { width: 80, color: false, unicode: true };
        let mut out = Output::new(Vec::new(), Format::Ndjson, style);
        write(&mut out).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn names_are_harmless_in_every_form_and_columns_keep_their_order() {
        let ndjson = written(|out| lines(&rows(), &COLUMNS, out));
        let wanted = "{\"host\":\"=a\\u001b[31m\\u202e\",\"share\":0.25,\"seen\":\"2026-11-23T12:00:00Z\",\"period\":60.0,\"id\":\"x\"}\n";
        assert_eq!(ndjson, wanted);
        let csv = written(|out| cells(&rows(), &COLUMNS, out));
        assert_eq!(
            csv,
            "host,share,seen,period,id\n'=a\\u{1b}[31m\\u{202e},0.25,2026-11-23T12:00:00Z,60.0,x\n"
        );
        let style = Style { width: 80, color: false, unicode: true };
        let text = table(&rows(), &COLUMNS, style);
        assert!(text.contains("25 %") && !text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert!(!text.contains('x'), "{text}");
    }
}
