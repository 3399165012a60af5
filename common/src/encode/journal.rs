//! Records as entries of the systemd journal, in its native protocol: fields by name, each value framed so that nothing in it
//! can begin another field. How they get there is the sink's.

use super::told::{priority, told};
use crate::record::{Kind, Record};
use crate::text::escape;

/// What `journalctl -t` finds them by.
const IDENTIFIER: &str = "sonde";

/// The journal's id of a kind of message, for `journalctl MESSAGE_ID=…`. Made up once, and the same for ever.
#[must_use]
pub const fn message_id(kind: Kind) -> &'static str {
    match kind {
        Kind::Alert => "8f3ac1d2b7e94c06a5d1e07f4b92c610",
        Kind::Audit => "8f3ac1d2b7e94c06a5d1e07f4b92c611",
        Kind::Health => "8f3ac1d2b7e94c06a5d1e07f4b92c612",
        Kind::Summary => "8f3ac1d2b7e94c06a5d1e07f4b92c613",
    }
}

/// Appends a record as one entry.
pub fn append(record: &Record, out: &mut Vec<u8>) {
    let told = told(record);
    let message = match &told.message {
        Some(message) => escape(message),
        None => String::from_utf8_lossy(&record.body),
    };
    field("MESSAGE", message.as_bytes(), out);
    field("PRIORITY", priority(record.severity).to_string().as_bytes(), out);
    field("MESSAGE_ID", message_id(record.kind).as_bytes(), out);
    field("SYSLOG_IDENTIFIER", IDENTIFIER.as_bytes(), out);
    field("SONDE_KIND", record.kind.as_str().as_bytes(), out);
    field("SONDE_ID", record.id.as_bytes(), out);
    field("SONDE_FINDING", record.key.as_bytes(), out);
    field("SONDE_SEVERITY", record.severity.as_str().as_bytes(), out);
    if let Some(score) = told.score {
        field("SONDE_SCORE", score.to_string().as_bytes(), out);
    }
    field("SONDE_TIME", record.time.to_string().as_bytes(), out);
    field("SONDE_RECORD", &record.body, out);
}

/// One field: `NAME=value`, or, where the value has a line's end, the name, the value's length and the value.
fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alert::Severity;
    use crate::time::Timestamp;

    fn record(key: &str, body: &[u8]) -> Record {
        Record {
            kind: Kind::Alert,
            id: "f-2".to_owned(),
            key: key.to_owned(),
            time: Timestamp::ZERO,
            severity: Severity::High,
            body: body.to_vec(),
        }
    }

    /// Reads an entry as the journal does.
    fn parse(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let at = bytes.iter().position(|b| matches!(b, b'=' | b'\n')).unwrap();
            let name = String::from_utf8(bytes[..at].to_vec()).unwrap();
            let (value, rest) = if bytes[at] == b'=' {
                let rest = &bytes[at + 1..];
                rest.split_at(rest.iter().position(|b| *b == b'\n').unwrap())
            } else {
                let (length, rest) = bytes[at + 1..].split_first_chunk::<8>().unwrap();
                rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap())
            };
            fields.push((name, value.to_vec()));
            bytes = rest.strip_prefix(b"\n").unwrap();
        }
        fields
    }

    #[test]
    fn an_alert_is_told_field_by_field() {
        let body = br#"{"message":"a\n\u001b[2Jb","sonde":{"score":0.5}}"#;
        let mut out = Vec::new();
        append(&record("f", body), &mut out);
        let wanted = "MESSAGE=a\\u{a}\\u{1b}[2Jb\nPRIORITY=3\nMESSAGE_ID=8f3ac1d2b7e94c06a5d1e07f4b92c610\n\
                      SYSLOG_IDENTIFIER=sonde\nSONDE_KIND=alert\nSONDE_ID=f-2\nSONDE_FINDING=f\nSONDE_SEVERITY=high\n\
                      SONDE_SCORE=0.5\nSONDE_TIME=1970-01-01T00:00:00.000000000Z\nSONDE_RECORD=";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{wanted}{}\n", String::from_utf8_lossy(body)));
    }

    proptest! {
        #[test]
        fn no_value_begins_a_field_of_its_own(key in "[a\\n=A-Z\\x00]{0,40}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let record = record(&key, &body);
            let mut out = Vec::new();
            append(&record, &mut out);
            let fields = parse(&out);
            prop_assert_eq!(fields.len(), 10);
            let get = |name: &str| fields.iter().find(|(found, _)| found == name).unwrap().1.clone();
            prop_assert_eq!(get("SONDE_FINDING"), key.into_bytes());
            prop_assert_eq!(get("SONDE_RECORD"), body);
        }
    }
}
