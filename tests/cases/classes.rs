//! Each class of finding by what it is told as: the class, its sentence, the techniques that are its own; and what looks like
//! it and is good.
//!
//! Captures are generated, and so are the event files that tell of programs. The real capture of a dead server is not ours
//! to ship: that case says that it was skipped, see `program::shared`.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::fmt::Write as _;

use serde_json::Value;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use sonde_tests::program::{run, shared};
use sonde_tests::scenario::scenario;

/// Seconds of an hour.
const HOUR: i64 = 3_600;

fn text<'a>(row: &'a Value, pointer: &str) -> &'a str {
    row.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn number(row: &Value, pointer: &str) -> f64 {
    row.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn replayed(bytes: &[u8], arguments: &[&str]) -> Vec<Value> {
    let ran = run([&["replay", "-", "--format", "ndjson"], arguments].concat(), bytes).expect(0);
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn techniques(row: &Value) -> Vec<String> {
    let list = row.pointer("/threat/technique/id").and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn each_beacon_is_told_as_what_it_is() {
    // Scenario, class, what its sentence says, the technique that is its own.
    for (name, class, says, own) in [
        ("fixed-60", "beacon", "calls", "T1071.001"),
        ("dead", "dead_callback", "never answers", ""),
        ("refused", "dead_callback", "refuses", ""),
        ("rotation", "rotation", "5 destinations in turn", "T1008"),
        ("proxied", "proxied", "through a proxy", "T1090"),
        ("in-connection", "in_connection", "inside open connections", ""),
        ("dns-callback", "dns_callback", "new names below", "T1071.004"),
        ("icmp-callback", "icmp_callback", "ICMP echo", "T1095"),
    ] {
        let alerts = replayed(&scenario(name, 1), &[]);
        let [alert] = &alerts[..] else { panic!("{name}: {alerts:?}") };
        assert_eq!(text(alert, "/sonde/class"), class, "{name}");
        let sentence = text(alert, "/message");
        assert!(sentence.contains(says), "{name}: {sentence}");
        let told = techniques(alert);
        assert!(own.is_empty() || told.iter().any(|id| id == own), "{name}: {told:?}");
        // What is another class's own is not claimed.
        for other in ["T1008", "T1090", "T1071.004", "T1095"] {
            assert!(other == own || !told.iter().any(|id| id == other), "{name}: {told:?}");
        }
    }
}

/// An event file of one host, on which everything unnamed is new.
struct Events(String);

impl Events {
    fn new() -> Self {
        let mut this = Self(String::new());
        this.line(0.0, r#""type":"host","history":true"#);
        this
    }

    fn line(&mut self, secs: f64, rest: &str) {
        writeln!(self.0, r#"{{"time":"{}","host":"ws-01",{rest}}}"#, at(secs)).unwrap();
    }

    fn process(&mut self, pid: u32, image: &str, rest: &str) {
        self.line(0.0, &format!(r#""type":"process","process":{{"pid":{pid}}},"image":"{image}",{rest}"#));
    }

    /// News of a connection.
    fn connection(&mut self, secs: f64, pid: u32, to: &str, rest: &str) {
        let port = 40_000 + pid;
        self.line(
            secs,
            &format!(
                r#""type":"connection","transport":"tcp","local_ip":"10.0.0.2","local_port":{port},"process":{{"pid":{pid}}},{to},{rest}"#
            ),
        );
    }

    /// Hours in which little happens.
    fn idle(&mut self, hours: i64) {
        for hour in 1..=hours {
            #[expect(clippy::cast_precision_loss, reason = "few hours")]
            let secs = (hour * HOUR) as f64;
            self.line(secs, r#""type":"dns","query":"www.google.com","query_type":1,"response_code":0"#);
        }
    }
}

fn at(secs: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "a few days in nanoseconds")]
    Timestamp::from_secs_nanos(1_760_000_000, 0).plus_nanos((secs * 1e9) as i64)
}

const IMPLANT: &str = r#""signed":false,"location":"temporary","script_host":false,"parent_class":"shell""#;
const SIGNED: &str =
    r#""signed":true,"location":"system","script_host":false,"parent_class":"service","age_days":90.0"#;
const C2: &str =
    r#""remote_ip":"203.0.113.7","remote_port":443,"fqdn":"relay.quiet-river.test","protocol":"tls""#;

#[test]
fn a_long_connection_is_found_while_it_is_open_and_good_ones_are_quiet() {
    let mut events = Events::new();
    let server = r#""remote_ip":"198.51.100.4","remote_port":22,"protocol":"ssh""#;
    let vpn = r#""remote_ip":"198.51.100.5","remote_port":1194"#;
    let push =
        r#""remote_ip":"198.51.100.6","remote_port":443,"fqdn":"push.vendor.example","protocol":"tls""#;
    let database = r#""remote_ip":"10.0.0.9","remote_port":5432"#;
    for (pid, image, what, to) in [
        (1, "/tmp/.x/upd", IMPLANT, C2),
        (2, "/usr/bin/ssh", SIGNED, server),
        (3, "/usr/sbin/openvpn", SIGNED, vpn),
        (4, "/usr/bin/pushd", SIGNED, push),
        (5, "/tmp/build/app", IMPLANT, database),
    ] {
        events.process(pid, image, what);
        events.connection(1.0, pid, to, r#""phase":"opened""#);
        events.connection(
            90.0,
            pid,
            to,
            &format!(r#""phase":"exchange","bytes_out":9000,"bytes_in":400,"start":"{}""#, at(90.0)),
        );
    }
    events.idle(30);
    let alerts = replayed(events.0.as_bytes(), &[]);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((text(alert, "/sonde/class"), text(alert, "/process/name")), ("long_connection", "upd"));
    let sentence = text(alert, "/message");
    assert!(
        sentence.starts_with("upd keeps one connection to relay.quiet-river.test:443 open"),
        "{sentence}"
    );
    let told = techniques(alert);
    assert!(told.iter().any(|id| id == "T1071.001") && !told.iter().any(|id| id == "T1008"), "{told:?}");
    // Told of after four hours, not at the end; and no more than its severity and the days ask for.
    let stream = replayed(events.0.as_bytes(), &["--stream"]);
    let detected: Timestamp = text(&stream[0], "/sonde/detected").parse().unwrap();
    assert!(detected.since(at(0.0)) <= 5 * HOUR * NANOS_PER_SEC, "{detected}");
    assert!((1..=3).contains(&stream.len()), "{}", stream.len());
}

#[test]
fn a_strobe_is_found_and_a_signed_monitor_is_quiet() {
    let mut events = Events::new();
    events.process(1, "/tmp/.x/upd", IMPLANT);
    events.process(2, "/usr/bin/monitor", SIGNED);
    let api = r#""remote_ip":"198.51.100.6","remote_port":443,"fqdn":"api.vendor.example","protocol":"tls""#;
    for nth in 0..8_000 {
        let secs = f64::from(nth) * 0.4;
        events.connection(secs, 1, C2, r#""phase":"whole","bytes_out":900,"bytes_in":1500"#);
        events.connection(secs, 2, api, r#""phase":"whole","bytes_out":900,"bytes_in":1500"#);
    }
    let alerts = replayed(events.0.as_bytes(), &[]);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((text(alert, "/sonde/class"), text(alert, "/process/name")), ("strobe", "upd"));
    let sentence = text(alert, "/message");
    assert!(sentence.contains("without a pause: 3,600 within an hour"), "{sentence}");
}

#[test]
fn retries_of_a_refused_call_are_one_callback() {
    let mut events = Events::new();
    events.process(1, "/tmp/.x/rat", IMPLANT);
    for call in 0..60 {
        for retry in 0..3 {
            let secs = 10.0 + f64::from(call) * 2.09 + f64::from(retry) * 0.53;
            events.connection(secs, 1, C2, r#""phase":"whole","outcome":"refused""#);
        }
    }
    let alerts = replayed(events.0.as_bytes(), &[]);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(text(alert, "/sonde/class"), "dead_callback");
    let (callbacks, period) =
        (number(alert, "/sonde/evidence/callbacks"), number(alert, "/sonde/evidence/period_secs"));
    assert!((callbacks - 60.0).abs() < 0.5 && (period - 2.09).abs() < 0.01, "{callbacks} {period}");
}

#[test]
fn a_real_dead_server_is_one_attempt_each_23_seconds() {
    let Some(folder) = shared("data") else { return };
    let path = folder.join("stratosphere/001-zeek-scenario-malicious/labeled-conn.log.gz");
    let ran = run(["replay", path.to_str().unwrap(), "--format", "ndjson"], b"").expect(0);
    let rows: Vec<Value> = ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = rows.iter().find(|row| text(row, "/destination/ip") == "41.108.179.197").unwrap();
    assert_eq!(text(row, "/sonde/class"), "dead_callback");
    let (callbacks, period) =
        (number(row, "/sonde/evidence/callbacks"), number(row, "/sonde/evidence/period_secs"));
    assert!((callbacks - 119.0).abs() < 1.5 && (period - 23.02).abs() < 0.05, "{callbacks} {period}");
}
