//! Zeek's JSON, one object a line: as Zeek writes it, as the streaming-logs package, Corelight and log shippers do.

use super::row::{Form, Record};
use super::{FIELDS, Field, Log};
use crate::format::flat::{self, Place};
use crate::format::row::RowSink;

/// Reads JSON records. It has no state: each record says what it is.
///
/// The log is the one that `_path`, `@stream`, `#path` or `path` names, else the one whose keys the record has. Both
/// `"id.orig_h"`, `"id_orig_h"` and `"id": {"orig_h": …}` are read.
#[derive(Clone, Debug, Default)]
pub struct ZeekJson;

impl ZeekJson {
    /// A reader.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Reads one line, which is one object; an empty one is nothing.
    pub fn record(&mut self, line: &[u8], sink: &mut dyn RowSink) {
        flat::line(line, place, sink, read);
    }

    /// Whether a file that begins so is one for this reader: an object with a time, and with what only Zeek calls so.
    #[must_use]
    pub fn recognises(head: &[u8]) -> bool {
        let one = [
            "\"id.orig_h\"",
            "\"id_orig_h\"",
            "\"orig_h\"",
            "\"uid\"",
            "\"fuid\"",
            "\"_path\"",
            "\"@stream\"",
            "\"#path\"",
        ];
        flat::begins_with_keys(head, &["\"ts\""], &one)
    }
}

fn read(fields: [&str; FIELDS], sink: &mut dyn RowSink) {
    let record = Record { fields, form: Form::Json };
    let log = match (record.raw(Field::Stream), Log::named(record.raw(Field::Path))) {
        // Some logs have a `path` of their own: it counts where it names a log that is read.
        ("", Log::Unused) => Log::with(|field| record.has(field)),
        ("", log) => log,
        (stream, _) => Log::named(stream),
    };
    record.emit(log, sink);
}

/// The group of the keys in `id`.
const ID: u8 = 1;

fn place(group: u8, key: &str) -> Place {
    let field = match (group, key) {
        (0, "id") => return Place::Inside(ID),
        (0, "_path" | "@stream" | "#path") => Some(Field::Stream),
        (0, "path") => Some(Field::Path),
        (0, key) => Field::named(key),
        (_, key) => Field::in_id(key),
    };
    field.map_or(Place::Skip, |field| Place::Slot(field.slot()))
}
