//! Records as rows of Microsoft Sentinel's custom tables: flat columns, named as `DeviceNetworkEvents` names them where it has
//! one, and one column `Details` for what is nested.
//!
//! The service drops a column that its table does not have without a word, so [`columns`](Table::columns) is all that a row
//! can hold, and a test holds it against the definitions in `packaging/sentinel`, both ways. Rows are made of the native form.

mod columns;

use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Map, Value};

pub use self::columns::{Column, Type};
use self::columns::{SENSOR, SUMMARY, Source};
use super::json;
use super::record::sha256;
use crate::record::{Kind, Record};
use crate::time::Timestamp;

/// Longest text, in bytes. A column takes 64 KB, of a text of two bytes each letter the half; the service cuts the rest off.
const MAX_TEXT_BYTES: usize = 32_000;
/// Longest nested value, in bytes of JSON: cut off it would be no JSON.
const MAX_NESTED_BYTES: usize = 60_000;
/// What a text ends in that was cut.
const MARK: &str = "...";
/// What is given up of `Details` where it is too long, first to last: `sonde explain` tells it again.
const SPARE: [&str; 4] = ["queries", "guide", "group", "indicators"];
/// What stands below `sonde` of an alert and is the same as a column that is made of something else: storage is paid by the byte.
const SAME: [&str; 4] = ["id", "severity", "reason", "evaluated"];
/// Hexadecimal digits of a hash that make a number which every reader of JSON keeps exactly (2^52).
const REPORT_DIGITS: usize = 13;

/// A table. Plan and retention are set table by table, so what is rare and kept long stands apart from what is plenty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Findings.
    Alert,
    /// What a host did, destination by destination.
    Summary,
    /// What the sensor says of itself: health and audit.
    Sensor,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Alert, Self::Summary, Self::Sensor];

    /// Where records of a kind go.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Alert => Self::Alert,
            Kind::Summary => Self::Summary,
            Kind::Audit | Kind::Health => Self::Sensor,
        }
    }

    /// Its name in the workspace.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "SondeAlert_CL",
            Self::Summary => "SondeSummary_CL",
            Self::Sensor => "SondeSensor_CL",
        }
    }

    /// The stream of the shipped data collection rule that leads there.
    #[must_use]
    pub const fn stream(self) -> &'static str {
        match self {
            Self::Alert => "Custom-SondeAlert_CL",
            Self::Summary => "Custom-SondeSummary_CL",
            Self::Sensor => "Custom-SondeSensor_CL",
        }
    }

    /// All columns that a row of it can have.
    #[must_use]
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::Alert => columns::ALERT,
            Self::Summary => SUMMARY,
            Self::Sensor => SENSOR,
        }
    }
}

/// The record as a row of its [`Table`]: one JSON object without a line's end. `None`: its body is no JSON object.
///
/// A column whose value is not known, or is not of the column's type, is left out.
#[must_use]
pub fn row(record: &Record) -> Option<Vec<u8>> {
    let body: Value = serde_json::from_slice(&record.body).ok().filter(Value::is_object)?;
    let mut out = Vec::with_capacity(record.body.len() + 512);
    let row = Row { record, body: &body };
    let done = json::write(&mut out, &row);
    debug_assert!(done.is_ok(), "a Vec takes every write and columns are named: {done:?}");
    Some(out)
}

struct Row<'a> {
    record: &'a Record,
    body: &'a Value,
}

impl serde::Serialize for Row<'_> {
    /// In the order of the columns.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for column in Table::of(self.record.kind).columns() {
            if let Some(value) = self.value(column) {
                map.serialize_entry(column.name, &value)?;
            }
        }
        map.end()
    }
}

impl Row<'_> {
    fn value(&self, column: &Column) -> Option<Value> {
        let Record { kind, id, key, time, severity, body: _ } = self.record;
        let value = match column.from {
            Source::Time => Value::from(time.to_string()),
            Source::Id => Value::from(id.as_str()),
            Source::Key => Value::from(key.as_str()),
            Source::Kind => Value::from(kind.as_str()),
            Source::Severity => Value::from(severity.as_str()),
            Source::Report => Value::from(report(id)),
            Source::At(pointer) => self.body.pointer(pointer)?.clone(),
            Source::Capital(pointer) => Value::from(capital(self.body.pointer(pointer)?.as_str()?)),
            Source::Rest => self.rest(),
        };
        fit(value, column.of)
    }

    /// What is below `sonde` and has no column of its own. A body of another form is kept whole.
    fn rest(&self) -> Value {
        let Some(Value::Object(own)) = self.body.get("sonde") else { return self.body.clone() };
        let mut rest = Value::Object(own.clone());
        if self.record.kind == Kind::Alert {
            SAME.iter().for_each(|key| remove(&mut rest, &[key]));
        }
        for column in Table::of(self.record.kind).columns() {
            let Source::At(pointer) = column.from else { continue };
            // What a column could not hold stays here.
            if let Some(below) = pointer.strip_prefix("/sonde/").filter(|_| self.value(column).is_some()) {
                let keys: Vec<_> = below.split('/').collect();
                remove(&mut rest, &keys);
            }
        }
        rest
    }
}

/// Removes what is at the end of these keys, and what is empty then.
fn remove(value: &mut Value, keys: &[&str]) {
    let (Some(map), Some((first, others))) = (value.as_object_mut(), keys.split_first()) else { return };
    if let (Some(inner), false) = (map.get_mut(*first), others.is_empty()) {
        remove(inner, others);
        if inner.as_object().is_none_or(|inner| !inner.is_empty()) {
            return;
        }
    }
    map.remove(*first);
}

/// The value as its column takes it.
fn fit(value: Value, of: Type) -> Option<Value> {
    match of {
        Type::Text => match value {
            Value::String(text) if !text.is_empty() => Some(Value::from(shortened(text))),
            _ => None,
        },
        Type::Boolean => value.is_boolean().then_some(value),
        Type::Int => value.as_i64().and_then(|number| i32::try_from(number).ok()).map(Value::from),
        // A count beyond that is a fault or a lie: it is told as the most there is.
        Type::Long => value
            .as_i64()
            .or_else(|| value.as_u64().map(|number| i64::try_from(number).unwrap_or(i64::MAX)))
            .map(Value::from),
        Type::Real => value.as_f64().map(Value::from),
        Type::Time => value.as_str()?.parse::<Timestamp>().ok().and_then(ticks).map(Value::from),
        Type::Dynamic => nested(value),
    }
}

/// RFC 3339 with the seven decimals that Kusto's clock has.
fn ticks(time: Timestamp) -> Option<String> {
    let text = time.to_string();
    let cut = text.strip_suffix('Z')?.get(..27)?;
    Some(format!("{cut}Z"))
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let mut end = MAX_TEXT_BYTES - MARK.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

/// A nested value that is short enough; nothing where there is nothing in it.
fn nested(mut value: Value) -> Option<Value> {
    let length = |value: &Value| {
        let mut out = Vec::new();
        json::write(&mut out, value).map_or(usize::MAX, |()| out.len())
    };
    let whole = length(&value);
    let mut now = whole;
    for key in SPARE {
        if now <= MAX_NESTED_BYTES {
            break;
        }
        if value.as_object_mut().and_then(|map| map.remove(key)).is_some() {
            now = length(&value);
        }
    }
    if now > MAX_NESTED_BYTES {
        (value, now) = (Value::Object(Map::new()), 0);
    }
    if now < whole
        && let Some(map) = value.as_object_mut()
    {
        map.insert("cut_bytes".to_owned(), Value::from(whole));
    }
    let empty = match &value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null => true,
        _ => false,
    };
    (!empty).then_some(value)
}

/// A number for the emission: `DeviceNetworkEvents` has one for each event.
fn report(id: &str) -> i64 {
    let hash = sha256(id.as_bytes());
    hash.get(..REPORT_DIGITS).and_then(|digits| i64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// `tcp` as `Tcp`, which is how `DeviceNetworkEvents` writes it.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

#[cfg(test)]
mod tests;
