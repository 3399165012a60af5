//! Files that map connections to processes, for captures that tell of none (`docs/process-map.md`): CSV with a header,
//! JSON objects, and what `ss -tunp` prints.
//!
//! A record gives at most one [`MapEntry`], borrowed from it. Which entry counts for a connection is decided in
//! [`attribute`](crate::attribute).

mod columns;
mod ss;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;

use self::columns::{COLUMNS, Cells, Header};
use super::row::{Cause, RowError};
use super::split::{Framing, json_framing};
use super::{defender, flat};
use crate::net::Transport;
use crate::process::{ImageLocation, ParentClass};
use crate::time::Timestamp;

/// One line of a map: which connections it is about, and whose they are. What is `None` or empty is not told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapEntry<'a> {
    /// Transport protocol.
    pub transport: Option<Transport>,
    /// Address of the host's end.
    pub local_ip: Option<IpAddr>,
    /// Port of the host's end.
    pub local_port: Option<u16>,
    /// Address of the other end.
    pub remote_ip: Option<IpAddr>,
    /// Port of the other end.
    pub remote_port: Option<u16>,
    /// First moment at which a connection may have begun.
    pub start: Option<Timestamp>,
    /// Last one.
    pub end: Option<Timestamp>,
    /// Process id.
    pub pid: Option<u32>,
    /// When the process started.
    pub process_start: Option<Timestamp>,
    /// Path of the executable, or its name; never empty.
    pub image: &'a str,
    /// Command line.
    pub command_line: &'a str,
    /// SHA-256 of the executable, hex.
    pub sha256: &'a str,
    /// Script that an interpreter runs.
    pub script: &'a str,
    /// Path or name of the parent's executable.
    pub parent_image: &'a str,
    /// Account.
    pub user: &'a str,
    /// Container id.
    pub container: &'a str,
    /// Whether a trusted publisher signed it.
    pub signed: Option<bool>,
    /// Where the executable lies.
    pub location: Option<ImageLocation>,
    /// What kind of program started it.
    pub parent_class: Option<ParentClass>,
    /// Script interpreter or living-off-the-land tool.
    pub script_host: Option<bool>,
    /// Web browser.
    pub browser: Option<bool>,
    /// Days for which the program has been known on the host.
    pub age_days: Option<f64>,
}

/// The forms of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapFormat {
    /// CSV under a header.
    Csv,
    /// JSON objects, one a line or in an array.
    Json,
    /// Lines of `ss -tunp`.
    Ss,
}

/// What [`MapFormat::detect`] can tell apart, for the message that says nothing matched.
pub const MAP_FORMATS: &str =
    "CSV with a header that names image and local_port or remote_ip, JSON objects, output of ss -tunp";

impl MapFormat {
    /// The form of a file that begins so, judged by its first line that says something.
    #[must_use]
    pub fn detect(head: &[u8]) -> Option<Self> {
        let text = defender::without_mark(head);
        if let Some(b'{' | b'[') = text.trim_ascii_start().first() {
            return Some(Self::Json);
        }
        let mut separator = None;
        for line in text.split(|byte| *byte == b'\n') {
            let line = defender::without_end(line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            match defender::separator_line(line) {
                Some(declared) if separator.is_none() => separator = Some(declared),
                _ if Header::read(line, separator).is_some() => return Some(Self::Csv),
                _ => return ss::recognises(line).then_some(Self::Ss),
            }
        }
        None
    }

    /// How a file of this form is cut into records.
    #[must_use]
    pub fn framing(self, head: &[u8]) -> Framing {
        match self {
            Self::Csv => Framing::Csv,
            Self::Json => json_framing(head),
            Self::Ss => Framing::Lines,
        }
    }
}

/// Reads the records of one map.
#[derive(Clone, Debug)]
pub struct MapReader {
    format: MapFormat,
    header: Option<Header>,
    separator: Option<u8>,
}

impl MapReader {
    /// A reader at the start of a file.
    #[must_use]
    pub const fn new(format: MapFormat) -> Self {
        Self { format, header: None, separator: None }
    }

    /// Reads one record. `take` gets what it tells; nothing comes of a header, of an empty line, and of a socket of which
    /// `ss` names no process or that only listens.
    ///
    /// # Errors
    /// If the record cannot be used; the next one can all the same.
    pub fn record(&mut self, record: &[u8], take: &mut dyn FnMut(&MapEntry<'_>)) -> Result<(), RowError> {
        let record = defender::without_end(record);
        if record.trim_ascii().is_empty() {
            return Ok(());
        }
        match self.format {
            MapFormat::Csv => self.csv(record, take),
            MapFormat::Json => {
                let text = text_of(record)?;
                let raw = flat::read::<COLUMNS>(text, columns::place)
                    .map_err(|error| RowError::row(Cause::Json, &error.to_string()))?;
                let cells: Cells<'_> = raw.map(flat::text);
                take(&columns::entry(&cells)?);
                Ok(())
            }
            MapFormat::Ss => {
                if let Some(entry) = ss::line(text_of(record)?)? {
                    take(&entry);
                }
                Ok(())
            }
        }
    }

    fn csv(&mut self, record: &[u8], take: &mut dyn FnMut(&MapEntry<'_>)) -> Result<(), RowError> {
        let record = defender::without_mark(record);
        let Some(header) = &self.header else {
            if let Some(separator) = defender::separator_line(record) {
                self.separator = Some(separator);
                return Ok(());
            }
            self.header = Header::read(record, self.separator);
            return match self.header {
                Some(_) => Ok(()),
                None => Err(RowError::row(Cause::Header, &String::from_utf8_lossy(record))),
            };
        };
        let row = header.row(record).and_then(|cells| {
            take(&columns::entry(&cells)?);
            Ok(())
        });
        // What is no row is the header of the next file in a concatenation, perhaps.
        match (row, Header::read(record, self.separator)) {
            (Err(_), Some(header)) => {
                self.header = Some(header);
                Ok(())
            }
            (row, _) => row,
        }
    }
}

fn text_of(record: &[u8]) -> Result<&str, RowError> {
    let text = std::str::from_utf8(record)
        .map_err(|_| RowError::row(Cause::Encoding, &String::from_utf8_lossy(record)))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A text of a record, which is copied only if it had to be unescaped.
type Cell<'a> = Cow<'a, str>;
