//! Against a double of Splunk's collector (see there what it is worth), and answers as its documentation lists them.

use std::time::Duration;

use serde_json::json;
use sonde_tests::servers::hec::{Hec as Double, State, TOKEN};

use super::*;
use crate::sink::lab::{Lab, alerts, counts, record, sink};

fn to(lab: &Lab, double: &Double, token: &str, lines: &str) -> Box<dyn Sink> {
    let token = lab.file("token", token).display().to_string();
    let (common, hec) = lines.split_once('|').unwrap_or(("", lines));
    sink(&format!(
        "{common}\n[sinks.a.hec]\nurl = \"http://127.0.0.1:{}\"\ntoken.file = \"{token}\"\n{hec}",
        double.port
    ))
    .unwrap()
}

#[tokio::test]
async fn events_arrive_whole_in_their_envelopes() {
    let (lab, double) = (Lab::new(), Double::start(State::default()));
    let records = alerts();
    let delivery = to(&lab, &double, TOKEN, "index = \"security\"").deliver(&records).await;
    assert_eq!(counts(&delivery), (records.len(), 0, 0), "{delivery:?}");
    let events = double.with(|state| {
        assert_eq!((state.calls, state.packed), (1, 1), "one call, packed");
        state.events.clone()
    });
    assert_eq!(events.len(), records.len());
    for (event, record) in events.iter().zip(&records) {
        let sent: Value = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(event["event"], sent);
        assert_eq!(event["time"], json!(1_772_442_000.5));
        assert_eq!(event["index"], "security");
        assert_eq!((&event["source"], &event["sourcetype"]), (&json!("sonde"), &json!("sonde:alert")));
        assert_eq!(event["fields"], json!({"id": record.id, "key": "finding-1", "severity": "high"}));
        let host = sent["host"]["name"].as_str().unwrap_or_default();
        assert_eq!(event["host"].as_str().unwrap_or_default(), host);
    }
}

#[tokio::test]
async fn wrong_events_are_refused_and_the_others_arrive() {
    let (lab, double) = (Lab::new(), Double::start(State::default()));
    let records: Vec<_> = (0..100)
        .map(|n| record(&format!("r{n}"), &format!("{{\"n\":{n},\"refuse\":{}}}", n == 3 || n == 70)))
        .collect();
    let delivery = to(&lab, &double, TOKEN, "").deliver(&records).await;
    assert_eq!(counts(&delivery), (98, 2, 0), "{delivery:?}");
    for at in [3, 70] {
        assert!(
            matches!(&delivery.outcomes[at], Outcome::Refused(why) if why.contains("Invalid data format"))
        );
    }
    let seen: Vec<_> =
        double.with(|state| state.events.iter().map(|event| event["event"]["n"].clone()).collect());
    assert_eq!(seen, (0..100).filter(|n| ![3, 70].contains(n)).map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_not_the_events_fault_is_tried_again() {
    let (lab, double) = (Lab::new(), Double::start(State { busy: 1, ..State::default() }));
    let records = [record("a", "{\"n\":1}"), record("b", "{\"n\":2}")];
    let mut sink = to(&lab, &double, TOKEN, "");
    let delivery = sink.deliver(&records).await;
    assert_eq!(counts(&delivery), (0, 0, 2));
    assert!(delivery.said.contains("503") && delivery.said.contains("Server is busy"), "{}", delivery.said);
    // The token is replaced, and the new one taken up without a restart.
    lab.file("token", "another");
    let delivery = sink.deliver(&records).await;
    assert_eq!(counts(&delivery), (0, 0, 2));
    assert!(
        delivery.said.contains("Invalid token") && !delivery.said.contains("another"),
        "{}",
        delivery.said
    );
    lab.file("token", TOKEN);
    assert_eq!(counts(&sink.deliver(&records).await), (2, 0, 0));
    let delivery = to(&lab, &double, TOKEN, "index = \"missing\"").deliver(&records).await;
    assert_eq!(
        counts(&delivery),
        (0, 0, 2),
        "an index that is not there is the operator's to mend: {delivery:?}"
    );
    assert_eq!(double.with(|state| state.events.len()), 2);
}

#[tokio::test]
async fn a_call_that_is_too_large_goes_in_parts() {
    let (lab, double) = (Lab::new(), Double::start(State { largest: 2_000, ..State::default() }));
    let mut records: Vec<_> = (0..20).map(|n| record(&format!("r{n}"), &format!("{{\"n\":{n}}}"))).collect();
    records[7].body = format!("{{\"n\":7,\"long\":\"{}\"}}", "x".repeat(3_000)).into();
    let delivery = to(&lab, &double, TOKEN, "").deliver(&records).await;
    assert_eq!(counts(&delivery), (19, 1, 0), "{delivery:?}");
    assert!(matches!(&delivery.outcomes[7], Outcome::Refused(why) if why.contains("413")));
}

#[tokio::test]
async fn indexers_are_asked_until_they_have_it() {
    let state = State { acknowledges: true, acknowledged_after: Some(2), ..State::default() };
    let (lab, double) = (Lab::new(), Double::start(state));
    let records = [record("a", "{\"n\":1}"), record("b", "{\"n\":2}")];
    let delivery = to(&lab, &double, TOKEN, "acknowledgement = true").deliver(&records).await;
    assert_eq!(counts(&delivery), (2, 0, 0), "{delivery:?}");
    assert!(delivery.said.contains("acknowledged by the indexers"), "{}", delivery.said);
    // They never have it: it is sent again, and its id tells.
    double.with(|state| state.acknowledged_after = None);
    let delivery =
        to(&lab, &double, TOKEN, "timeout_secs = 2|acknowledgement = true").deliver(&records).await;
    assert_eq!(counts(&delivery), (0, 0, 2), "{delivery:?}");
    assert!(delivery.said.contains("not acknowledged"), "{}", delivery.said);
    // A token that does not allow it is told of, instead of taking "accepted" for "indexed".
    double.with(|state| state.acknowledges = false);
    let delivery = to(&lab, &double, TOKEN, "acknowledgement = true").deliver(&records).await;
    assert_eq!(counts(&delivery), (0, 0, 2), "{delivery:?}");
}

#[test]
fn answers_are_judged_by_status_and_code() {
    let judged = |status: u16, body: &str| {
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            headers: hyper::HeaderMap::new(),
            body: body.as_bytes().to_vec(),
            cut: false,
        };
        judge(&reply, 5)
    };
    assert_eq!(judged(200, r#"{"text":"Success","code":0,"ackId":7}"#), Call::Taken(Some(7)));
    assert_eq!(judged(201, ""), Call::Taken(None));
    assert!(matches!(judged(200, r#"{"code":9}"#), Call::Later(_)));
    assert!(matches!(judged(400, r#"{"code":6,"invalid-event-number":4}"#), Call::Wrong(4, _)));
    // A number that names no event of the call.
    assert!(matches!(judged(400, r#"{"code":6,"invalid-event-number":5}"#), Call::Whole(_)));
    assert!(matches!(judged(400, r#"{"code":6,"invalid-event-number":-1}"#), Call::Whole(_)));
    assert!(matches!(judged(400, r#"{"code":5}"#), Call::Whole(_)));
    for (status, body) in [
        (400, r#"{"code":7,"invalid-event-number":0}"#),
        (400, r#"{"code":14}"#),
        (400, "<html>"),
        (403, ""),
        (404, ""),
        (429, ""),
        (500, r#"{"code":8}"#),
    ] {
        assert!(matches!(judged(status, body), Call::Later(_)), "{status} {body}");
    }
}

#[test]
fn a_channel_is_a_random_uuid() {
    let (one, other) = (channel().unwrap(), channel().unwrap());
    assert_ne!(one, other);
    let text = one.to_str().unwrap();
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    assert_eq!(text.as_bytes()[14], b'4');
    assert!(b"89ab".contains(&text.as_bytes()[19]));
    assert!(FIRST_WAIT < LONGEST_WAIT && FIRST_WAIT > Duration::ZERO);
}
