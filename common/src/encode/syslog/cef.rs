//! Records as ArcSight's Common Event Format (CEF 0), for collectors that read nothing else: one line, its fields capped as
//! the format says. Fields come from the native form of a body; what it does not have is left out.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::told::Told;
use super::cut::within;
use crate::alert::Severity;
use crate::record::Record;
use crate::text::escape;

/// Longest value of a text field, in bytes, before escapes: most of the format's own may have 1,023 letters.
const MAX_VALUE_BYTES: usize = 1_023;

/// Key of the format, and where the native form has it. In order of worth: what is last goes first where room is short.
const FIELDS: [(&str, &str); 12] = [
    ("dvchost", "/host/name"),
    ("dhost", "/destination/domain"),
    ("dst", "/destination/ip"),
    ("dpt", "/destination/port"),
    ("sproc", "/process/name"),
    ("spid", "/process/pid"),
    ("suser", "/user/name"),
    ("act", "/event/action"),
    ("filePath", "/process/executable"),
    ("fileHash", "/process/hash/sha256"),
    ("msg", "/message"),
    ("requestClientApplication", "/user_agent/original"),
];

/// The record in so much room. Fields that do not fit are left out.
pub(super) fn write(record: &Record, told: &Told, room: usize) -> String {
    let body: Value = serde_json::from_slice(&record.body).unwrap_or_default();
    let text = |pointer: &str| match body.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let severity = match record.severity {
        Severity::Info => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    let kind = || record.kind.as_str().to_owned();
    let header = [
        text("/sonde/version").unwrap_or_default(),
        text("/rule/id").unwrap_or_else(kind),
        text("/rule/name").unwrap_or_else(kind),
    ];
    let mut out = "CEF:0|Sonde|Sonde".to_owned();
    for part in &header {
        out.push('|');
        // A header is short, or none of ours.
        value(within(&escape(part), 128), '|', &mut out);
    }
    let _ = write!(out, "|{severity}|rt={}", record.time.millis());
    let mut pairs = vec![("externalId", record.id.clone()), ("cs1Label", "finding".to_owned())];
    pairs.push(("cs1", within(&record.key, 128).to_owned()));
    if let Some(score) = told.score {
        pairs.extend([("cfp1Label", "score".to_owned()), ("cfp1", score.to_string())]);
    }
    pairs.extend(FIELDS.iter().filter_map(|(key, pointer)| Some((*key, text(pointer)?))));
    for (key, text) in pairs {
        let before = out.len();
        let _ = write!(out, " {key}=");
        value(within(&escape(&text), MAX_VALUE_BYTES), '=', &mut out);
        if out.len() > room {
            out.truncate(before);
        }
    }
    out
}

/// A value in which the backslash and one more character are escaped. It has no line's end any more.
fn value(text: &str, special: char, out: &mut String) {
    for c in text.chars() {
        if c == '\\' || c == special {
            out.push('\\');
        }
        out.push(c);
    }
}
