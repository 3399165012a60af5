//! Records as OTLP log records, and what a receiver answers to them.

use serde_json::Value as Json;
use sonde_common::alert::Severity;
use sonde_common::record::Record;

use super::proto::{Fields, Message, Value};
use crate::sink::http::shown;

/// Levels of a body that are kept as such; what lies deeper is kept as JSON text. Readers of protobuf give up at 100 messages
/// within each other, and a level takes three.
const MAX_DEPTH: usize = 24;

/// A call with all of these (`ExportLogsServiceRequest`).
pub(super) fn request(records: &[&Record], now_nanos: u64) -> Vec<u8> {
    let mut resource = Message::default();
    // Resource.attributes = 1
    resource.message(1, &attribute("service.name", "sonde"));
    resource.message(1, &attribute("service.version", env!("CARGO_PKG_VERSION")));
    let mut scope = Message::default();
    // InstrumentationScope.name = 1, version = 2
    scope.text(1, "sonde").text(2, env!("CARGO_PKG_VERSION"));
    let mut scoped = Message::default();
    // ScopeLogs.scope = 1, log_records = 2
    scoped.message(1, &scope);
    for record in records {
        scoped.message(2, &log_record(record, now_nanos));
    }
    let mut resource_logs = Message::default();
    // ResourceLogs.resource = 1, scope_logs = 2
    resource_logs.message(1, &resource).message(2, &scoped);
    let mut request = Message::default();
    // ExportLogsServiceRequest.resource_logs = 1
    request.message(1, &resource_logs);
    request.0
}

fn log_record(record: &Record, now_nanos: u64) -> Message {
    // SeverityNumber of logs.proto: the first of each of its ranges, and INFO2 between INFO and WARN.
    let number = match record.severity {
        Severity::Info => 9,
        Severity::Low => 10,
        Severity::Medium => 13,
        Severity::High => 17,
        Severity::Critical => 21,
    };
    let name = format!("sonde.{}", record.kind.as_str());
    let mut log = Message::default();
    // LogRecord: time_unix_nano = 1, severity_number = 2, severity_text = 3, body = 5, attributes = 6,
    // observed_time_unix_nano = 11, event_name = 12
    log.fixed64(1, u64::try_from(record.time.nanos()).unwrap_or_default());
    log.varint(2, number);
    log.text(3, record.severity.as_str());
    log.message(5, &body(&record.body));
    log.message(6, &attribute("event.name", &name));
    log.message(6, &attribute("log.record.uid", &record.id));
    log.message(6, &attribute("sonde.key", &record.key));
    log.fixed64(11, now_nanos);
    log.text(12, &name);
    log
}

/// `KeyValue` of a text: key = 1, value = 2.
fn attribute(key: &str, text: &str) -> Message {
    Message::default().text(1, key).message(2, &string(text)).clone()
}

/// `AnyValue.string_value = 1`
fn string(text: &str) -> Message {
    Message::default().text(1, text).clone()
}

fn body(bytes: &[u8]) -> Message {
    match serde_json::from_slice(bytes) {
        Ok(json) => any(&json, MAX_DEPTH),
        Err(_) => string(&String::from_utf8_lossy(bytes)),
    }
}

/// `AnyValue`: `string_value = 1`, `bool_value = 2`, `int_value = 3`, `double_value = 4`, `array_value = 5`,
/// `kvlist_value = 6`; none: null.
fn any(json: &Json, depth: usize) -> Message {
    let mut value = Message::default();
    match json {
        Json::Null => {}
        Json::Bool(bool) => {
            value.varint(2, i64::from(*bool));
        }
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(int), ..) => {
                value.varint(3, int);
            }
            // Beyond what an int holds, and not to be rounded.
            (None, Some(large), _) => {
                value.text(1, &large.to_string());
            }
            (None, None, float) => {
                value.fixed64(4, float.unwrap_or_default().to_bits());
            }
        },
        Json::String(text) => {
            value.text(1, text);
        }
        Json::Array(_) | Json::Object(_) if depth == 0 => {
            value.text(1, &json.to_string());
        }
        Json::Array(items) => {
            let mut list = Message::default();
            // ArrayValue.values = 1
            for item in items {
                list.message(1, &any(item, depth - 1));
            }
            value.message(5, &list);
        }
        Json::Object(fields) => {
            let mut list = Message::default();
            for (key, field) in fields {
                // KeyValueList.values = 1; KeyValue.key = 1, value = 2
                let pair = Message::default().text(1, key).message(2, &any(field, depth - 1)).clone();
                list.message(1, &pair);
            }
            value.message(6, &list);
        }
    }
    value
}

/// How many a receiver refused, and what it said.
pub(super) fn read_reply(bytes: &[u8], is_json: bool) -> (u64, String) {
    if is_json {
        let json: Json = serde_json::from_slice(bytes).unwrap_or_default();
        let partial = json.get("partialSuccess");
        let field = |name: &str| partial.and_then(|partial| partial.get(name));
        let rejected = field("rejectedLogRecords")
            .and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()))
            .unwrap_or_default();
        let said = field("errorMessage").and_then(Json::as_str).unwrap_or_default();
        return (rejected, shown(said.as_bytes()));
    }
    // ExportLogsServiceResponse.partial_success = 1; ExportLogsPartialSuccess: rejected_log_records = 1, error_message = 2
    let (mut rejected, mut said) = (0, String::new());
    for field in Fields::new(bytes) {
        let (1, Value::Bytes(partial)) = field else { continue };
        for field in Fields::new(partial) {
            match field {
                (1, Value::Number(count)) => rejected = count,
                (2, Value::Bytes(text)) => said = shown(text),
                _ => {}
            }
        }
    }
    // The count is signed in the protocol; less than none is none.
    (if rejected > i64::MAX.unsigned_abs() { 0 } else { rejected }, said)
}

/// What a receiver says of an error: `google.rpc.Status` (message = 2), its JSON, or a text.
pub(super) fn read_error(bytes: &[u8], content_type: &str) -> String {
    if content_type.contains("json") {
        let json: Json = serde_json::from_slice(bytes).unwrap_or_default();
        if let Some(text) = json.get("message").and_then(Json::as_str) {
            return shown(text.as_bytes());
        }
    } else if content_type.contains("protobuf") {
        let text = Fields::new(bytes).find_map(|field| match field {
            (2, Value::Bytes(text)) => Some(text),
            _ => None,
        });
        return shown(text.unwrap_or_default());
    }
    shown(bytes)
}

#[cfg(test)]
mod tests {
    use sonde_common::record::Kind;
    use sonde_common::time::Timestamp;

    use super::*;

    /// The value of the field that these numbers lead to.
    fn at<'a>(bytes: &'a [u8], path: &[u64]) -> Option<Value<'a>> {
        let (first, rest) = path.split_first()?;
        let found = Fields::new(bytes).find(|(field, _)| field == first)?.1;
        match (found, rest.is_empty()) {
            (Value::Bytes(inner), false) => at(inner, rest),
            _ => Some(found),
        }
    }

    fn record(body: &str) -> Record {
        Record {
            kind: Kind::Alert,
            id: "01H".to_owned(),
            key: "finding".to_owned(),
            time: Timestamp::from_nanos(1_700_000_000_000_000_001),
            severity: Severity::High,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_record_stands_where_the_protocol_wants_it() {
        let record = record(r#"{"a":{"b":[-5,true,"x",18446744073709551615,1.5,null]}}"#);
        let sent = request(&[&record], 42);
        let log = [1, 2, 2];
        let field = |rest: &[u64]| at(&sent, &[&log[..], rest].concat());
        assert_eq!(field(&[1]), Some(Value::Number(1_700_000_000_000_000_001)));
        assert_eq!(field(&[2]), Some(Value::Number(17)));
        assert_eq!(field(&[3]), Some(Value::Bytes(b"high")));
        assert_eq!(field(&[11]), Some(Value::Number(42)));
        assert_eq!(field(&[12]), Some(Value::Bytes(b"sonde.alert")));
        assert_eq!(field(&[5, 6, 1, 1]), Some(Value::Bytes(b"a")));
        let Some(Value::Bytes(items)) = field(&[5, 6, 1, 2, 6, 1, 2, 5]) else { panic!("no array") };
        let items: Vec<_> = Fields::new(items)
            .map(|(_, item)| match item {
                Value::Bytes(item) => Fields::new(item).next(),
                Value::Number(_) => panic!("no message"),
            })
            .collect();
        assert_eq!(
            items,
            [
                Some((3, Value::Number((-5i64).cast_unsigned()))),
                Some((2, Value::Number(1))),
                Some((1, Value::Bytes(b"x"))),
                Some((1, Value::Bytes(b"18446744073709551615"))),
                Some((4, Value::Number(1.5f64.to_bits()))),
                None,
            ]
        );
    }

    #[test]
    fn a_deep_body_is_no_trap_for_readers() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let sent = request(&[&record(&deep)], 0);
        let path: Vec<u64> = [1, 2, 2, 5].into_iter().chain([5, 1].repeat(MAX_DEPTH)).chain([1]).collect();
        let rest = format!("{}1{}", "[".repeat(100 - MAX_DEPTH), "]".repeat(100 - MAX_DEPTH));
        assert_eq!(at(&sent, &path), Some(Value::Bytes(rest.as_bytes())));
        assert!(matches!(
            at(&request(&[&record("no JSON")], 0), &[1, 2, 2, 5, 1]),
            Some(Value::Bytes(b"no JSON"))
        ));
    }

    #[test]
    fn partial_success_is_read_in_both_encodings() {
        let partial = Message::default().varint(1, 3).text(2, "too old").clone();
        let reply = Message::default().message(1, &partial).clone();
        assert_eq!(read_reply(&reply.0, false), (3, "too old".to_owned()));
        assert_eq!(read_reply(b"", false), (0, String::new()));
        let json = br#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}"#;
        assert_eq!(read_reply(json, true), (3, "too old".to_owned()));
        assert_eq!(read_reply(b"{}", true), (0, String::new()));
        let negative = Message::default().message(1, Message::default().varint(1, -1)).clone();
        assert_eq!(read_reply(&negative.0, false).0, 0);
        let status = Message::default().varint(1, 3).text(2, "bad \u{1b}").clone();
        assert_eq!(read_error(&status.0, "application/x-protobuf"), "bad \\u{1b}");
        assert_eq!(read_error(br#"{"code":3,"message":"bad"}"#, "application/json"), "bad");
        assert_eq!(read_error(b"<html>\n", "text/html"), "<html>");
    }
}
