//! `DeviceNetworkEvents` as JSON: rows of Advanced Hunting and of NDJSON exports, and what the interfaces wrap around them.

use super::columns::{COLUMNS, Cells, Column, MAX_COLUMNS, Piece, Present, empty};
use super::{Buffers, csv::start, emit, raw};
use crate::format::row::{Cause, RowError, RowSink};

/// How deep rows may be wrapped: a list of records of a wrapper in a list, and one to spare.
const MAX_DEPTH: u32 = 6;

/// Reads records of JSON, each a row or a wrapper of rows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct DefenderJson {
    kept: String,
    buffers: Buffers,
}

/// Keys of wrappers.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
enum Wrapper {
    /// Lists of rows: `Results` of the hunting interface (`results` in Graph), `records` of an event hub, `value`.
    Results = COLUMNS,
    Records,
    Value,
    /// Tables of Log Analytics: names of columns beside lists of values.
    Tables,
    /// The row of a streamed record, beside the name of its table.
    Properties,
    Category,
}

const KEYS: usize = Wrapper::Category as usize + 1;

fn key(name: &str) -> Option<usize> {
    const WRAPPERS: [(&str, Wrapper); 6] = [
        ("results", Wrapper::Results),
        ("records", Wrapper::Records),
        ("value", Wrapper::Value),
        ("tables", Wrapper::Tables),
        ("properties", Wrapper::Properties),
        ("category", Wrapper::Category),
    ];
    if let Some(column) = Column::of(name) {
        return Some(column.index());
    }
    let known = |(known, _): &&(&str, Wrapper)| known.eq_ignore_ascii_case(name);
    WRAPPERS.iter().find(known).map(|&(_, key)| key as usize)
}

impl DefenderJson {
    /// A reader.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a file that begins so holds such rows, wrapped or not. Judged by the names that stand there, as keys or in a
    /// description of the columns; the last may be cut off.
    #[must_use]
    pub fn recognises(head: &[u8]) -> bool {
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        if !matches!(head.first(), Some(b'{' | b'[')) {
            return false;
        }
        let mut present = Present::default();
        for name in head.split(|b| *b == b'"').filter_map(|name| std::str::from_utf8(name).ok()) {
            // A stream mixes tables: the first records may be of any.
            if name.starts_with("AdvancedHunting-") {
                return true;
            }
            if let Some(column) = Column::of(name) {
                present.add(column);
            }
        }
        present.is_defender()
    }

    /// Takes one record, an object: a row or a wrapper of rows. A list of them will do as well.
    pub fn record(&mut self, record: &[u8], sink: &mut dyn RowSink) {
        match std::str::from_utf8(record) {
            Ok(text) => {
                let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
                if !text.is_empty() {
                    self.value(text, "", 0, sink);
                }
            }
            Err(_) => sink.bad(RowError::row(Cause::Encoding, &String::from_utf8_lossy(start(record)))),
        }
    }

    /// A row, or a wrapper, or a list of either; `table` is what the wrapper around it says.
    fn value(&mut self, text: &str, table: &str, depth: u32, sink: &mut dyn RowSink) {
        let outcome = if depth > MAX_DEPTH {
            Err(not_ours(text))
        } else if text.starts_with('[') {
            raw::elements(text, |element| self.value(element, table, depth + 1, sink))
                .map_err(|_| not_ours(text))
        } else {
            self.object(text, table, depth, sink)
        };
        if let Err(error) = outcome {
            sink.bad(error);
        }
    }

    fn object(
        &mut self,
        text: &str,
        table: &str,
        depth: u32,
        sink: &mut dyn RowSink,
    ) -> Result<(), RowError> {
        let mut values = [None; KEYS];
        raw::members(text, key, &mut values).map_err(|_| not_ours(text))?;
        let opens = |wrapper: Wrapper, with: char| {
            values.get(wrapper as usize).copied().flatten().filter(|value| value.starts_with(with))
        };
        let mut name = String::new();
        let table = match opens(Wrapper::Category, '"') {
            Some(category) => {
                let category = raw::text(category, &mut name);
                category.get(&name)
            }
            None => table,
        };
        if let Some(tables) = opens(Wrapper::Tables, '[') {
            return raw::elements(tables, |one| {
                if let Err(error) = self.table(one, sink) {
                    sink.bad(error);
                }
            })
            .map_err(|_| not_ours(tables));
        }
        for list in [Wrapper::Results, Wrapper::Records, Wrapper::Value] {
            if let Some(list) = opens(list, '[') {
                self.value(list, table, depth + 1, sink);
                return Ok(());
            }
        }
        if let Some(properties) = opens(Wrapper::Properties, '{') {
            self.value(properties, table, depth + 1, sink);
            return Ok(());
        }
        let mut present = Present::default();
        for (_, column) in Column::all() {
            if values.get(column.index()).is_some_and(Option::is_some) {
                present.add(column);
            }
        }
        self.row(values.get(..COLUMNS).unwrap_or_default(), present, table, sink)
    }

    /// A table of Log Analytics.
    fn table(&mut self, text: &str, sink: &mut dyn RowSink) -> Result<(), RowError> {
        const NAMES: [&str; 2] = ["columns", "rows"];
        let mut parts = [None; 2];
        let wanted = |key: &str| NAMES.iter().position(|name| name.eq_ignore_ascii_case(key));
        raw::members(text, wanted, &mut parts).map_err(|_| not_ours(text))?;
        let [Some(names), Some(rows)] = parts else { return Err(not_ours(text)) };
        let (mut columns, mut present, mut kept) = (Vec::new(), Present::default(), String::new());
        raw::elements(names, |column| {
            if columns.len() > MAX_COLUMNS {
                return;
            }
            let mut name = [None];
            kept.clear();
            // An object with the name, or the name alone.
            let named = raw::members(column, |key| key.eq_ignore_ascii_case("name").then_some(0), &mut name);
            let name = if named.is_ok() { name[0].unwrap_or("null") } else { column };
            let column = Column::of(raw::text(name, &mut kept).get(&kept)).filter(|one| !present.has(*one));
            if let Some(column) = column {
                present.add(column);
            }
            columns.push(column);
        })
        .map_err(|_| not_ours(names))?;
        if !present.is_defender() || columns.len() > MAX_COLUMNS {
            return Err(RowError::row(Cause::Header, names));
        }
        raw::elements(rows, |row| {
            let mut values = [None; COLUMNS];
            let mut next = 0;
            let read = raw::elements(row, |value| {
                let place = columns.get(next).copied().flatten();
                next += 1;
                if let Some(place) = place.and_then(|column| values.get_mut(column.index())) {
                    *place = Some(value);
                }
            });
            let outcome = match read {
                Err(_) => Err(not_ours(row)),
                Ok(()) if next != columns.len() => {
                    Err(RowError::row(Cause::Columns, &format!("{next} instead of {}", columns.len())))
                }
                Ok(()) => self.row(&values, present, "", sink),
            };
            if let Err(error) = outcome {
                sink.bad(error);
            }
        })
        .map_err(|_| not_ours(rows))
    }

    /// A row, from the values of its columns.
    fn row(
        &mut self,
        values: &[Option<&str>],
        mut present: Present,
        table: &str,
        sink: &mut dyn RowSink,
    ) -> Result<(), RowError> {
        empty(&mut self.kept);
        let mut pieces = [Piece::default(); COLUMNS];
        for (index, (piece, value)) in pieces.iter_mut().zip(values).enumerate() {
            match *value {
                // Only this one may be more than a plain value.
                Some(value) if value.starts_with(['{', '[']) && index != Column::AdditionalFields.index() => {
                }
                Some(value) => *piece = raw::text(value, &mut self.kept),
                None => {}
            }
        }
        let mut texts = pieces.map(|piece| piece.get(&self.kept));
        if let Some(named) = texts.get_mut(Column::Table.index()).filter(|_| !table.is_empty()) {
            *named = table;
            present.add(Column::Table);
        }
        emit(&Cells { texts, present }, &mut self.buffers, sink)
    }
}

fn not_ours(text: &str) -> RowError {
    RowError::row(Cause::Json, text)
}
