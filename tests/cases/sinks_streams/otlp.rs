//! OTLP/HTTP: rotel, and a double for what it never answers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sonde::sink::Outcome;
use sonde_common::record::Record;
use sonde_tests::servers::otlp;

use super::{Shipping, is_all, is_later, record, records, signal};

#[test]
fn a_receiver_understands_every_field() {
    for gzip in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut rotel = otlp::rotel(folder.path());
        let mut shipping = Shipping::new(&format!(
            "timeout_secs = 4\ngzip = {gzip}\n[sinks.a.otlp]\nurl = \"http://127.0.0.1:{}\"",
            rotel.port
        ));
        let batch = records(0..20);
        let delivery = shipping.deliver(&batch);
        assert!(is_all(&delivery, &Outcome::Acknowledged), "{delivery:?}");
        let kept = rotel.records(batch.len());
        assert_eq!(kept.len(), batch.len());
        for (kept, sent) in kept.iter().zip(&batch) {
            assert_eq!(kept["body"], serde_json::from_slice::<Value>(&sent.body).unwrap());
            assert_eq!(kept["time"], sent.time.nanos());
            assert!(kept["observed"].as_u64().unwrap() > 1_700_000_000_000_000_000);
            assert_eq!((&kept["number"], &kept["text"]), (&json!(17), &json!("high")));
            let event = format!("sonde.{}", sent.kind.as_str());
            assert_eq!(kept["event"], json!(event));
            let attributes = json!({ "event.name": event, "log.record.uid": sent.id, "sonde.key": sent.key });
            assert_eq!(kept["attributes"], attributes);
            assert_eq!(kept["resource"]["service.name"], "sonde");
        }
        signal(rotel.server.pid(), "STOP");
        let delivery = shipping.deliver(&records(20..22));
        assert!(is_later(&delivery, "in time"), "{delivery:?}");
        signal(rotel.server.pid(), "CONT");
        shipping.deliver_until_acknowledged(&records(20..22));
        rotel.server.kill();
        let delivery = shipping.deliver(&records(22..23));
        assert!(is_later(&delivery, ""), "{delivery:?}");
    }
}

/// A double: what it answers follows the OTLP specification's "OTLP/HTTP Response", since no server here answers so. It
/// leaves records out whose id ends in `bad`, counting them in a call, and does `otherwise` instead where that says so.
struct Double {
    port: u16,
    calls: Arc<Mutex<usize>>,
}

impl Double {
    fn start(otherwise: Option<&'static str>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::new(Mutex::new(0));
        let counted = calls.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                while let Some(body) = call(&mut stream) {
                    *counted.lock().unwrap() += 1;
                    let bad = body.windows(4).filter(|window| window == b"-bad").count();
                    // ExportLogsServiceResponse { partial_success { rejected_log_records, error_message: "too old" } }
                    let partial =
                        [&[0x0a, 11, 0x08, u8::try_from(bad).unwrap(), 0x12, 7][..], b"too old"].concat();
                    let body = if bad > 0 { partial } else { Vec::new() };
                    let head = otherwise.unwrap_or("200 OK\r\nContent-Type: application/x-protobuf");
                    let _ = write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all(&body);
                }
            }
        });
        Self { port, calls }
    }

    fn shipping(&self) -> Shipping {
        Shipping::new(&format!("gzip = false\n[sinks.a.otlp]\nurl = \"http://127.0.0.1:{}\"", self.port))
    }
}

/// The body of the next call.
fn call(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    assert!(
        head.starts_with("post /v1/logs ") && head.contains("content-type: application/x-protobuf"),
        "{head}"
    );
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.trim().parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn bad(n: u32) -> Record {
    let mut bad = record(n);
    bad.id.push_str("-bad");
    bad
}

#[test]
fn what_a_receiver_leaves_out_is_found_and_refused() {
    let double = Double::start(None);
    let batch = [record(0), bad(1), record(2), record(3)];
    let delivery = double.shipping().deliver(&batch);
    let refused = Outcome::Refused("too old".to_owned());
    let taken = Outcome::Acknowledged;
    assert_eq!(delivery.outcomes, [taken.clone(), refused.clone(), taken.clone(), taken]);
    // The whole, then the first two: once the one is found the others are there.
    assert_eq!(*double.calls.lock().unwrap(), 3);
    let delivery = double.shipping().deliver(&[bad(1), bad(2)]);
    assert!(is_all(&delivery, &refused), "{delivery:?}");
    assert_eq!(*double.calls.lock().unwrap(), 4);
}

#[test]
fn statuses_mean_what_the_specification_says() {
    for (head, outcome, after) in [
        ("429 Too Many Requests\r\nRetry-After: 7", "429", Some(7)),
        ("503 Service Unavailable\r\nRetry-After: 9", "503", Some(9)),
        ("502 Bad Gateway", "502", None),
        ("504 Gateway Timeout", "504", None),
        ("401 Unauthorized", "check the sink's token", None),
        ("404 Not Found", "check the path", None),
    ] {
        let double = Double::start(Some(head));
        let delivery = double.shipping().deliver(&records(0..3));
        assert!(is_later(&delivery, outcome), "{head}: {delivery:?}");
        assert_eq!(delivery.retry_after, after.map(Duration::from_secs), "{head}");
    }
    let double = Double::start(Some("400 Bad Request"));
    let delivery = double.shipping().deliver(&records(0..2));
    let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(why) if why.contains("400"));
    assert!(delivery.outcomes.iter().all(is_refused), "{delivery:?}");
    assert_eq!(*double.calls.lock().unwrap(), 3);
    // Any success is one.
    let double = Double::start(Some("201 Created"));
    assert!(is_all(&double.shipping().deliver(&records(0..2)), &Outcome::Acknowledged));
}
