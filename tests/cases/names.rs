//! What is promised of names that do not exist: generated ones are found, by the rates that docs/detection.md states; lists
//! of dead, blocked and mistyped names are not; and the alert names the program and the name that answered.
//!
//! The generators are constructions of our own, so the rates are checks of the thresholds, not of the world.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

#[path = "names/benign.rs"]
mod benign;
#[path = "names/rates.rs"]
mod rates;

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sonde_common::alert::Severity;
use sonde_common::detect::nxdomain::MissingNames;
use sonde_common::detect::{Detector as _, Finding, Host, Seen, What};
use sonde_common::domain::registrable;
use sonde_common::event::DnsEvent;
use sonde_common::process::{Attribution, ImageLocation, ParentClass, ProcessInfo};
use sonde_common::program::Program;
use sonde_common::score;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use sonde_tests::program::{Scratch, run, say};
use sonde_tests::scenario::scenario;

/// A host of which nothing is known.
struct Unknown;

impl Host for Unknown {
    fn known_days(&self, _: &str, _: Option<IpAddr>) -> Option<f64> {
        None
    }
}

/// A program that nothing speaks against.
fn plain() -> Program {
    Program::of(ProcessInfo {
        image: "/usr/bin/tool".into(),
        signed: Some(true),
        location: Some(ImageLocation::System),
        parent_class: Some(ParentClass::Service),
        script_host: Some(false),
        browser: Some(false),
        ..ProcessInfo::default()
    })
}

/// A host's questions, asked of the detector alone.
struct Asking {
    detector: MissingNames,
    program: Option<Program>,
    now: Timestamp,
    found: Vec<Finding>,
}

impl Asking {
    fn new(program: Option<Program>) -> Self {
        let mut detector = MissingNames::default();
        detector.set_memory(1 << 20);
        Self { detector, program, now: Timestamp::from_secs_nanos(1_700_000_000, 0), found: Vec::new() }
    }

    fn ask(&mut self, secs: i64, query: &str, query_type: u16, answer: Option<&str>) {
        self.now = self.now.plus_nanos(secs * NANOS_PER_SEC);
        let addresses: Vec<IpAddr> = answer.into_iter().map(|ip| ip.parse().unwrap()).collect();
        let event = DnsEvent {
            start: self.now,
            process: None,
            program: self.program.as_ref(),
            attribution: Attribution::NONE,
            tuple: None,
            resolver: None,
            query,
            query_type,
            response_code: Some(if answer.is_some() { 0 } else { 3 }),
            addresses: &addresses,
            ttl_secs: 60,
        };
        let seen = Seen {
            time: self.now,
            process: None,
            program: self.program.as_ref(),
            name: query,
            fqdn: query,
            registrable: registrable(query),
            what: What::Query(&event),
        };
        self.detector.observe(&seen, &Unknown, &mut |finding| self.found.push(finding));
    }

    fn missing(&mut self, secs: i64, query: &str) {
        self.ask(secs, query, 1, None);
    }
}

fn severity(finding: &Finding) -> Severity {
    score::severity_of(finding.parts.iter().map(|part| part.points).sum()).min(finding.ceiling)
}

#[test]
fn the_model_is_what_its_lists_give() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/train-names");
    match Command::new("python3").arg(script).arg("--check").output() {
        Ok(ran) => assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr)),
        Err(error) => say(&format!("skipped: no Python here ({error})")),
    }
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_class(rows: &[Value], class: &str) -> Vec<Value> {
    rows.iter()
        .filter(|row| row.pointer("/rule/id").and_then(Value::as_str) == Some(class))
        .cloned()
        .collect()
}

fn text<'a>(row: &'a Value, pointer: &str) -> &'a str {
    row.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// End to end: a capture, with and without a map of its processes.
#[test]
fn the_alert_of_a_capture_names_the_program_and_the_name_that_answered() {
    let scratch = Scratch::new("names");
    let file = scratch.write("dga.pcap", &scenario("generated-names", 1));
    let file = file.to_str().unwrap();
    let replay = |more: &[&str]| {
        rows(run([&["replay", file, "--format", "ndjson"], more].concat(), b"").expect(0).text())
    };

    let alone = of_class(&replay(&[]), "sonde.dns.generated");
    let [alert] = &alone[..] else { panic!("{alone:?}") };
    assert_eq!(text(alert, "/sonde/severity"), "critical", "the names speak for themselves: {alert}");
    let found = text(alert, "/destination/address");
    assert!(found.len() > 12 && text(alert, "/destination/ip") == "203.0.113.66", "{alert}");
    assert!(text(alert, "/sonde/reason").contains(&format!("Then {found} answered")), "{alert}");
    let techniques = alert.pointer("/threat/technique").unwrap().to_string();
    assert!(techniques.contains("T1568.002") && !techniques.contains("T1071"), "{techniques}");
    let number = |pointer: &str| alert.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert_eq!((number("/sonde/dns/nxdomain"), number("/sonde/dns/names")), (40.0, 40.0));
    assert!(number("/sonde/dns/generated_score") > 6.0);
    assert_eq!(alert.pointer("/sonde/dns/samples").and_then(Value::as_array).map(Vec::len), Some(8));

    // The stream has an emission before the name answered, and one that tells of it.
    let stream = of_class(&replay(&["--stream"]), "sonde.dns.generated");
    assert!(stream.len() >= 2, "{stream:?}");
    assert!(!text(&stream[0], "/sonde/reason").contains("Then"), "{}", stream[0]);
    assert!(text(stream.last().unwrap(), "/sonde/reason").contains("Then"), "{stream:?}");

    let map = scratch.write("map.csv", b"remote_ip,image,signed\n10.0.0.1,/tmp/.cache/updater,false\n");
    let mapped = of_class(&replay(&["--process-map", map.to_str().unwrap()]), "sonde.dns.generated");
    let [alert] = &mapped[..] else { panic!("{mapped:?}") };
    assert_eq!(text(alert, "/process/executable"), "/tmp/.cache/updater");
    assert!(text(alert, "/sonde/reason").starts_with("updater asked for 40 domains"), "{alert}");
}

#[test]
fn the_same_capture_gives_the_same_alerts_from_its_events() {
    let scratch = Scratch::new("names-events");
    let file = scratch.write("dga.pcap", &scenario("generated-names", 2));
    let ran = |arguments: &[&str]| run(arguments, b"").expect(0);
    let direct = ran(&["replay", file.to_str().unwrap(), "--format", "ndjson", "--stream"]);
    let events = ran(&["replay", file.to_str().unwrap(), "--events", "-"]);
    let events = scratch.write("events.ndjson", &events.stdout);
    assert_eq!(
        direct.text(),
        ran(&["replay", events.to_str().unwrap(), "--format", "ndjson", "--stream"]).text()
    );
}
