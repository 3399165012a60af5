//! Records as syslog messages (RFC 5424): one line of text each, whatever a record holds. How they travel is the sink's.
//!
//! Names in an alert are words of others. Nothing in a message is a control character, so that a receiver that writes it to
//! a file or a terminal writes one harmless line; what the forms escape reads back as it was.

mod cef;
mod cut;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::told::{Told, priority, told};
use crate::record::Record;
use crate::text::{escape, is_plain};

/// Name of the structured data. 32473 is the number that IANA keeps for examples (RFC 5612): Sonde has none of its own.
pub const SD_ID: &str = "sonde@32473";
/// Shortest limit of a message: header and structured data of any record fit in it.
pub const LEAST_LIMIT: usize = 1_024;

/// Longest parts of the header (RFC 5424, section 6).
const MAX_HOST_BYTES: usize = 255;
const MAX_APP_BYTES: usize = 48;
const MAX_PROCESS_BYTES: usize = 32;
/// Longest id and finding in the structured data, before quotes and backslashes are escaped.
const MAX_PARAM_BYTES: usize = 96;
/// Says that what follows is UTF-8 (RFC 5424, section 6.4).
const BOM: &str = "\u{feff}";

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Part of the system, for the receiver's rules.
    pub facility: Facility,
    /// The machine's name, qualified where it is known so; empty: not known.
    pub host: String,
    /// The program.
    pub app: String,
    /// Its process id.
    pub process: String,
}

/// The part of a system that a message is from (RFC 5424, table 1), by its usual name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the standard's own names")]
pub enum Facility {
    User = 1,
    Daemon = 3,
    Auth = 4,
    Syslog = 5,
    Authpriv = 10,
    Audit = 13,
    Alert = 14,
    #[default]
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}

/// What stands behind the structured data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// The whole record, as JSON in ASCII.
    #[default]
    Json,
    /// The sentence that tells the finding.
    Text,
    /// ArcSight's Common Event Format.
    Cef,
}

/// Appends a record as a message of at most `limit` bytes (at least [`LEAST_LIMIT`]). Returns whether it had to be cut.
///
/// A record that is too long keeps its structured data, which then says in `cut` how many bytes its content had. JSON that is
/// cut is still JSON, and CEF still CEF: members and fields that do not fit are left out. A sentence ends in three dots.
pub fn append(record: &Record, sender: &Sender, content: Content, limit: usize, out: &mut String) -> bool {
    let begin = out.len();
    let limit = limit.max(LEAST_LIMIT);
    let told = told(record);
    let full = match (content, &told.message) {
        (Content::Text, Some(message)) => text(message),
        (Content::Cef, _) => cef::write(record, &told, usize::MAX),
        _ => ascii_json(&record.body),
    };
    header(record, sender, &told, None, out);
    if out.len() - begin + 1 + full.len() <= limit {
        out.push(' ');
        out.push_str(&full);
        return false;
    }
    out.truncate(begin);
    header(record, sender, &told, Some(full.len()), out);
    let room = limit.saturating_sub(out.len() - begin + 1);
    let short = match (content, &told.message) {
        (Content::Text, Some(_)) => cut::text(&full, room),
        (Content::Cef, _) => cef::write(record, &told, room),
        _ => cut::json(&record.body, room),
    };
    if !short.is_empty() {
        out.push(' ');
        out.push_str(&short);
    }
    true
}

/// Everything before the content.
fn header(record: &Record, sender: &Sender, told: &Told, cut: Option<usize>, out: &mut String) {
    let pri = u16::from(sender.facility as u8) * 8 + u16::from(priority(record.severity));
    let time = record.time.to_string();
    // The standard takes at most six decimals; ours have nine.
    let time = time.strip_suffix("000Z").or_else(|| time.get(..26)).filter(|time| time.len() == 26);
    // Writing to a String cannot fail.
    let _ = match time {
        Some(time) => write!(out, "<{pri}>1 {time}Z "),
        None => write!(out, "<{pri}>1 - "),
    };
    word(&sender.host, MAX_HOST_BYTES, out);
    out.push(' ');
    word(&sender.app, MAX_APP_BYTES, out);
    out.push(' ');
    word(&sender.process, MAX_PROCESS_BYTES, out);
    let _ = write!(out, " {} [{SD_ID}", record.kind.as_str());
    parameter("id", &record.id, out);
    parameter("finding", &record.key, out);
    parameter("severity", record.severity.as_str(), out);
    if let Some(score) = told.score {
        let _ = write!(out, " score=\"{score}\"");
    }
    if let Some(bytes) = cut {
        let _ = write!(out, " cut=\"{bytes}\"");
    }
    out.push(']');
}

/// A word of the header: printable ASCII without spaces, or the sign for none.
fn word(text: &str, most: usize, out: &mut String) {
    if text.is_empty() {
        return out.push('-');
    }
    out.extend(text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '?' }));
}

/// A parameter of the structured data. Quote, backslash and bracket are escaped as the standard wants it; what is not plain is
/// written as `\u{hex}` first, since the standard has no escape for it.
fn parameter(name: &str, value: &str, out: &mut String) {
    let _ = write!(out, " {name}=\"");
    let plain = escape(value);
    for c in cut::within(&plain, MAX_PARAM_BYTES).chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// A sentence: harmless, and marked as UTF-8 where it is more than ASCII.
fn text(message: &str) -> String {
    let plain = escape(message);
    if plain.is_ascii() { plain.into_owned() } else { format!("{BOM}{plain}") }
}

/// JSON in ASCII alone: a parser reads the same, no receiver has to guess an encoding, and no mark of one stands in its way.
fn ascii_json(body: &[u8]) -> String {
    let mut out = String::with_capacity(body.len());
    ascii(&String::from_utf8_lossy(body), &mut out);
    out
}

fn ascii(json: &str, out: &mut String) {
    for c in json.chars() {
        match c {
            // Between the tokens; within a string JSON has them escaped.
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_ascii() && is_plain(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
}

/// Puts a message in the frame of RFC 6587 (octet counting), which RFC 5425 takes for TLS.
pub fn frame(message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(message.len().to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(message.as_bytes());
}
