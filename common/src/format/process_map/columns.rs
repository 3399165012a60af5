//! The columns of a map, the same for CSV and JSON: their names, and what stands in them as values.

use std::net::IpAddr;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};

use super::super::defender::{Form, cells, unquote};
use super::super::fields;
use super::super::flat::Place;
use super::super::row::{Cause, RowError};
use super::{Cell, MapEntry};
use crate::net::Transport;

/// Columns that are read.
pub(super) const COLUMNS: usize = 22;
/// Most columns of a file, with those that are passed over.
const MAX_COLUMNS: usize = 512;

/// Their names, which are those of `docs/events.md` where it has one.
const NAMES: [&str; COLUMNS] = [
    "transport",
    "local_ip",
    "local_port",
    "remote_ip",
    "remote_port",
    "start",
    "end",
    "pid",
    "process_start",
    "image",
    "command_line",
    "sha256",
    "script",
    "parent_image",
    "user",
    "container",
    "signed",
    "location",
    "parent_class",
    "script_host",
    "browser",
    "age_days",
];

/// What stands in the columns of a record, in the order of [`NAMES`].
pub(super) type Cells<'a> = [Cell<'a>; COLUMNS];

fn slot(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// Where a JSON key belongs. `process` may hold `pid` and `start`, as in Sonde's events.
pub(super) fn place(group: u8, key: &str) -> Place {
    let name = match (group, key) {
        (0, "process") => return Place::Inside(1),
        (0, name) => name,
        (_, "start") => "process_start",
        (_, "pid") => "pid",
        _ => return Place::Skip,
    };
    slot(name).map_or(Place::Skip, Place::Slot)
}

/// What the columns of a CSV file are.
#[derive(Clone, Debug)]
pub(super) struct Header {
    separator: u8,
    columns: Vec<Option<usize>>,
}

impl Header {
    /// The header that this record is, if it names columns without which there is no map.
    pub(super) fn read(record: &[u8], declared: Option<u8>) -> Option<Self> {
        // Spreadsheets save with what their language puts between numbers.
        let separators = match declared {
            Some(separator) => &[separator][..],
            None => &b",;\t"[..],
        };
        separators.iter().find_map(|&separator| {
            let mut columns: Vec<Option<usize>> = Vec::new();
            cells(record, separator, |cell, _| {
                if columns.len() > MAX_COLUMNS {
                    return;
                }
                let name = cell.trim_ascii().to_ascii_lowercase();
                let column = std::str::from_utf8(&name).ok().and_then(slot);
                // Of columns with the same name the first counts.
                columns.push(column.filter(|_| !columns.contains(&column)));
            });
            let has = |name: &str| columns.contains(&slot(name));
            let usable = has("image") && (has("local_port") || has("remote_ip"));
            (usable && columns.len() <= MAX_COLUMNS).then_some(Self { separator, columns })
        })
    }

    /// The cells of a row.
    pub(super) fn row<'a>(&self, record: &'a [u8]) -> Result<Cells<'a>, RowError> {
        let mut all: Cells<'a> = Default::default();
        let (mut next, mut error) = (0, None);
        cells(record, self.separator, |cell, form| {
            let column = self.columns.get(next).copied().flatten();
            next += 1;
            let Some(column) = column else { return };
            let (Some(place), Some(name)) = (all.get_mut(column), NAMES.get(column)) else { return };
            match std::str::from_utf8(cell) {
                Ok(text) if form == Form::Plain => *place = Cell::Borrowed(text),
                Ok(text) => unquote(text, place.to_mut()),
                Err(_) => {
                    error = Some(RowError::field(Cause::Encoding, name, &String::from_utf8_lossy(cell)));
                }
            }
        });
        if next != self.columns.len() {
            let found = format!("{next} instead of {}", self.columns.len());
            return Err(RowError::row(Cause::Columns, &found));
        }
        error.map_or(Ok(all), Err)
    }
}

/// What the cells of a record tell.
pub(super) fn entry<'a>(all: &'a Cells<'_>) -> Result<MapEntry<'a>, RowError> {
    let [
        transport,
        local_ip,
        local_port,
        remote_ip,
        remote_port,
        start,
        end,
        pid,
        process_start,
        image,
        command_line,
        sha256,
        script,
        parent_image,
        user,
        container,
        signed,
        location,
        parent_class,
        script_host,
        browser,
        age_days,
    ] = all;
    let entry = MapEntry {
        transport: read("transport", transport, Cause::Word, transport_of)?,
        local_ip: address("local_ip", local_ip)?,
        local_port: read("local_port", local_port, Cause::Port, port)?,
        remote_ip: address("remote_ip", remote_ip)?,
        remote_port: read("remote_port", remote_port, Cause::Port, port)?,
        start: read("start", start, Cause::Time, fields::date_time)?,
        end: read("end", end, Cause::Time, fields::date_time)?,
        pid: read("pid", pid, Cause::Number, |text| text.parse().ok())?,
        process_start: read("process_start", process_start, Cause::Time, fields::date_time)?,
        image: image.trim(),
        command_line,
        sha256: sha256.trim(),
        script,
        parent_image: parent_image.trim(),
        user: user.trim(),
        container: container.trim(),
        signed: read("signed", signed, Cause::Word, truth)?,
        location: read("location", location, Cause::Word, word)?,
        parent_class: read("parent_class", parent_class, Cause::Word, word)?,
        script_host: read("script_host", script_host, Cause::Word, truth)?,
        browser: read("browser", browser, Cause::Word, truth)?,
        age_days: read("age_days", age_days, Cause::Number, days)?,
    };
    checked(entry)
}

/// An entry that is about some connection and names a program.
pub(super) fn checked(entry: MapEntry<'_>) -> Result<MapEntry<'_>, RowError> {
    if entry.image.is_empty() {
        return Err(RowError::field(Cause::Missing, "image", ""));
    }
    if entry.local_port.is_none() && entry.remote_ip.is_none() {
        return Err(RowError::field(Cause::Missing, "local_port", ""));
    }
    if let (Some(start), Some(end)) = (entry.start, entry.end)
        && end < start
    {
        return Err(RowError::field(Cause::Time, "end", &format!("{end}, before start")));
    }
    Ok(entry)
}

fn read<T>(
    name: &str,
    text: &str,
    cause: Cause,
    value: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, RowError> {
    match text.trim() {
        "" => Ok(None),
        text => value(text).map(Some).ok_or_else(|| RowError::field(cause, name, text)),
    }
}

/// An address; that of no host in particular (`0.0.0.0`, `::`, `*`) is none.
pub(super) fn address(name: &str, text: &str) -> Result<Option<IpAddr>, RowError> {
    if text.trim() == "*" {
        return Ok(None);
    }
    Ok(read(name, text, Cause::Address, fields::address)?.filter(|ip| !ip.is_unspecified()))
}

/// A port; 0 is none.
pub(super) fn port(text: &str) -> Option<u16> {
    fields::port(text).filter(|port| *port != 0)
}

fn transport_of(text: &str) -> Option<Transport> {
    [Transport::Tcp, Transport::Udp, Transport::Icmp]
        .into_iter()
        .find(|transport| text.eq_ignore_ascii_case(transport.as_str()))
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

fn days(text: &str) -> Option<f64> {
    text.parse().ok().filter(|days: &f64| days.is_finite() && *days >= 0.0)
}

/// A word as Sonde's events spell it.
fn word<T: DeserializeOwned>(text: &str) -> Option<T> {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    T::deserialize(text).ok()
}
