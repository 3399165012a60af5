//! What `sonde replay` promises of whole captures, told by running the program on generated ones whose truth is known.
//!
//! Each beacon shape is found in time, no false-positive class reaches high, and the same traffic gives the same alerts
//! however it comes: twice, a year later, as events, in another format, in pieces, or as a stream. `replay/golden.rs`
//! holds whole outputs against files.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

#[path = "replay/golden.rs"]
mod golden;
#[path = "replay/processes.rs"]
mod processes;
#[path = "replay/sameness.rs"]
mod sameness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use sonde_tests::program::{Ran, Scratch, run};
use sonde_tests::scenario::scenario_with_truth;
use sonde_tests::truth::{Beacon, Truth};

const BEACONS: [&str; 15] = [
    "fixed-60",
    "cobalt-20",
    "empire-sym",
    "sliver-up",
    "missed",
    "alternating",
    "in-connection",
    "dead",
    "refused",
    "proxied",
    "rotation",
    "dns-callback",
    "icmp-callback",
    "http",
    "quic",
];

const BENIGN: [&str; 6] = ["browsing", "updater", "ntp", "monitoring", "licence-heartbeat", "rdp"];

/// Captures with what they hold, by scenario.
type Captures = BTreeMap<&'static str, (Vec<u8>, Truth)>;

/// A capture and what it holds; made once for all tests of this file.
fn capture(name: &'static str) -> (Vec<u8>, Truth) {
    static MADE: LazyLock<Mutex<Captures>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(name).or_insert_with(|| scenario_with_truth(name, 1)).clone()
}

/// Alerts are compared without the guidance, which templates make of the rest.
const LEAN: [&str; 2] = ["--set", "alerts.guidance=none"];

fn replay(arguments: &[&str], stdin: &[u8]) -> Ran {
    run([&["replay", "-"], &LEAN[..], arguments].concat(), stdin).expect(0)
}

fn replay_files(files: &[PathBuf], arguments: &[&str]) -> Ran {
    let mut all: Vec<PathBuf> = vec!["replay".into()];
    all.extend(LEAN.map(PathBuf::from));
    all.extend_from_slice(files);
    all.extend(arguments.iter().map(PathBuf::from));
    run(all, b"").expect(0)
}

fn rows(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

fn text<'a>(row: &'a Value, pointer: &str) -> &'a str {
    row.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn time(row: &Value, pointer: &str) -> Timestamp {
    text(row, pointer).parse().unwrap_or_else(|error| panic!("{pointer} of {row}: {error}"))
}

/// Whether a row is about this beacon.
fn tells_of(row: &Value, beacon: &Beacon) -> bool {
    let address = text(row, "/destination/address");
    if beacon.name.is_empty() {
        return address == beacon.destination.to_string();
    }
    let group = row.pointer("/sonde/group").and_then(Value::as_array);
    let below = |name: &str| beacon.name == name || beacon.name.ends_with(&format!(".{name}"));
    below(address) || group.is_some_and(|group| group.iter().any(|member| member == beacon.name.as_str()))
}

fn is_alert(row: &Value) -> bool {
    ["medium", "high", "critical"].contains(&text(row, "/sonde/severity"))
}

// --- Beacons ---------------------------------------------------------------------------------------------------------

#[test]
fn every_beacon_shape_is_an_alert_within_thirty_callbacks_or_ten_minutes() {
    for name in BEACONS {
        let (bytes, truth) = capture(name);
        let ran = replay(&["--format", "ndjson"], &bytes);
        let alerts = rows(&ran);
        assert!(!truth.beacons.is_empty(), "{name}");
        for beacon in &truth.beacons {
            let Some(alert) = alerts.iter().find(|row| tells_of(row, beacon)) else {
                panic!("{name}: no alert tells of {beacon:?}:\n{}", ran.text());
            };
            assert!(is_alert(alert), "{name}");
            let callbacks = alert.pointer("/sonde/detected_after_callbacks").and_then(Value::as_u64).unwrap();
            let first = time(alert, "/sonde/evidence/first_seen");
            let wait = time(alert, "/sonde/detected").since(first) / NANOS_PER_SEC;
            assert!(callbacks <= 30 || wait <= 600, "{name}: after {callbacks} callbacks, {wait} s");
            assert_eq!(text(alert, "/host/name"), beacon.host.to_string(), "{name}");
        }
        // Nothing else in these captures is worth an alert.
        let other = alerts.iter().find(|row| !truth.beacons.iter().any(|beacon| tells_of(row, beacon)));
        assert_eq!(other, None, "{name}");
    }
}

#[test]
fn every_beacon_ranks_above_all_else_on_a_host_where_someone_browses() {
    let scratch = Scratch::new("browsing-host");
    let browsing = scratch.write("browsing.pcap", &capture("browsing").0);
    for name in BEACONS {
        let (bytes, truth) = capture(name);
        let file = scratch.write("beacon.pcap", &bytes);
        let ran = replay_files(&[file, browsing.clone()], &["--all", "--format", "ndjson"]);
        let all = rows(&ran);
        assert!(all.len() > 20, "{name}: {} rows", all.len());
        assert!(truth.beacons.iter().any(|beacon| tells_of(&all[0], beacon)), "{name}: {}", all[0]);
        // The row of a group tells of all its members at once.
        for beacon in &truth.beacons {
            assert!(tells_of(&all[0], beacon), "{name}: {beacon:?} is not in the first row: {}", all[0]);
        }
    }
}

#[test]
fn a_rotation_over_five_destinations_is_one_alert_that_names_all_five() {
    let (bytes, truth) = capture("rotation");
    let alerts = rows(&replay(&["--format", "ndjson"], &bytes));
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(text(alert, "/sonde/level"), "group");
    let group = alert.pointer("/sonde/group").and_then(Value::as_array).unwrap();
    let mut names: Vec<&str> = truth.beacons.iter().map(|beacon| beacon.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(group.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(), names);
}

#[test]
fn a_beacon_through_a_proxy_is_named_by_its_target_and_not_by_the_proxy() {
    let alerts = rows(&replay(&["--format", "ndjson"], &capture("proxied").0));
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(text(alert, "/destination/address"), "pixel.weather-widgets.example");
    assert_eq!(alert.pointer("/destination/port").and_then(Value::as_u64), Some(443));
    assert_eq!(text(alert, "/destination/ip"), "10.0.0.8");
}

#[test]
fn callbacks_that_fail_are_counted_by_how_they_fail() {
    for (name, counter) in [("dead", "unanswered"), ("refused", "refused")] {
        let (bytes, truth) = capture(name);
        let alerts = rows(&replay(&["--format", "ndjson"], &bytes));
        let count = |field| alerts[0].pointer(&format!("/sonde/evidence/{field}")).and_then(Value::as_u64);
        let callbacks = truth.beacons[0].callbacks;
        assert_eq!(count("callbacks"), Some(callbacks), "{name}");
        // DEVIATION: one less than there are. The first callback is a mere sighting, and how it went is not kept.
        assert!(count(counter).unwrap() >= callbacks - 1, "{name}: {:?}", count(counter));
    }
}

// --- What must not cry -----------------------------------------------------------------------------------------------

#[test]
fn no_false_positive_class_reaches_high() {
    for name in BENIGN {
        let (bytes, _) = capture(name);
        let all = rows(&replay(&["--all", "--format", "ndjson"], &bytes));
        assert!(!all.is_empty(), "{name}: nothing was scored, so nothing is shown");
        for row in &all {
            assert!(!["high", "critical"].contains(&text(row, "/sonde/severity")), "{name}: {row}");
        }
    }
}

#[test]
fn no_false_positive_class_is_an_alert() {
    for name in BENIGN {
        let alerts = rows(&replay(&["--format", "ndjson"], &capture(name).0));
        assert!(alerts.is_empty(), "{name}: {alerts:?}");
    }
}

#[test]
fn the_demo_capture_shows_its_two_beacons_and_no_other_alert() {
    let alerts = rows(&replay(&["--format", "ndjson"], &sonde_tests::scenario::demo()));
    let names: Vec<&str> = alerts.iter().map(|alert| text(alert, "/destination/address")).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in ["pixel.weather-widgets.example", "relay.quiet-river.test"] {
        assert!(names.contains(&name), "{names:?}");
    }
}
