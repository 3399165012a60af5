//! The shipper with real sinks: what is told arrives, and the account comes out, whatever is changed, stopped or killed.

mod killed;

use std::collections::BTreeSet;
use std::path::Path;

use sonde_common::alert::Severity;
use sonde_common::config::Config;

use super::*;
use crate::cli::output::samples;
use crate::sink::health::Circuit;
use crate::sink::spool::{Cause, Counts};

/// CI has two busy processors.
const PATIENCE: Duration = Duration::from_secs(120);

fn record(kind: Kind, number: u64) -> Record {
    let time = Timestamp::from_secs_nanos(1_700_000_000, 0);
    let body =
        format!("{{\"event\":{{\"id\":\"id-{number}\"}},\"text\":\"{}\"}}", "x".repeat(300)).into_bytes();
    Record { kind, id: format!("id-{number}"), key: "key".into(), time, severity: Severity::High, body }
}

fn sinks(text: &str) -> Sinks {
    Config::parse(text, &[]).unwrap().sinks
}

/// A sink to a file of this name.
fn to_file(name: &str, path: &Path) -> String {
    let all = "records = [\"alert\", \"audit\", \"health\", \"summary\"]\nmin_severity = \"medium\"\nflush_secs = 0\n";
    format!("[sinks.{name}]\n{all}[sinks.{name}.file]\npath = '{}'\n", path.display())
}

/// A sink to a port of loopback where nobody is.
fn to_nobody(name: &str) -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("[sinks.{name}]\nflush_secs = 0\n[sinks.{name}.webhook]\nurl = \"http://127.0.0.1:{port}/\"\n")
}

fn setup(folder: Option<&Path>, sinks: Sinks) -> Setup {
    Setup {
        id: SensorId(7),
        host: "host".into(),
        since: Timestamp::from_secs_nanos(1, 0),
        folder: folder.map(|folder| folder.join("spool")),
        sinks,
        guidance: Guidance::None,
        own: OwnSockets::default(),
    }
}

/// Waits until a sink is as it should be.
fn until(outbox: &Outbox, sink: &str, fits: impl Fn(&SinkHealth) -> bool) -> SinkHealth {
    let began = Instant::now();
    loop {
        let health = outbox.health().remove(sink);
        if let Some(health) = &health {
            assert!(health.counts.is_even(), "{health:?}");
            if fits(health) {
                return health.clone();
            }
        }
        assert!(began.elapsed() < PATIENCE, "{health:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ids(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    // A process that was killed may have left half a line.
    let id = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(value["event"]["id"].as_str()?.to_owned())
    };
    text.lines().filter_map(id).collect()
}

#[test]
fn what_is_told_arrives_in_the_form_that_each_sink_wants() {
    let folder = tempfile::tempdir().unwrap();
    let [native, ocsf] = ["native", "ocsf"].map(|name| folder.path().join(name));
    let text =
        to_file("one", &native) + &to_file("two", &ocsf).replace("flush_secs", "form = \"ocsf\"\nflush_secs");
    let outbox = Outbox::start(setup(Some(folder.path()), sinks(&text))).unwrap();
    let alert = samples::implant();
    outbox.alert(&alert);
    outbox.audit(alert.time, None, Deed::Started { config_sha256: "0".repeat(64) });
    assert!(outbox.sync(PATIENCE));
    let health = until(&outbox, "one", |health| health.counts.acknowledged == 2);
    assert!(health.lasts && health.kind == "file" && health.last_acknowledged.is_some(), "{health:?}");
    until(&outbox, "two", |health| health.counts.acknowledged == 2);
    assert!(ids(&native).contains(&alert.emission_id()));
    let text = std::fs::read_to_string(&ocsf).unwrap();
    assert!(text.contains("\"class_uid\":2004") && text.contains("sensor-started"), "{text}");
    outbox.stop();
    outbox.stop();
}

#[test]
fn a_flood_never_blocks_the_sensor_and_what_finds_no_room_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::start(setup(None, sinks(&to_nobody("one")))).unwrap();
    let began = Instant::now();
    const TOLD: u64 = 20_000;
    for number in 0..TOLD {
        outbox.word(record(Kind::Alert, number));
    }
    let took = began.elapsed();
    let health = until(&outbox, "one", |health| health.counts.emitted >= TOLD);
    // Told of in the announcement that something was lost.
    let announced = health.counts.emitted - TOLD;
    assert!(announced <= 3, "{health:?}");
    let lost = health.counts.dropped.get(&Cause::QueueFull).copied().unwrap_or(0);
    assert!(lost < TOLD && !health.lasts, "{health:?}, in {took:?}");
    drop(outbox);
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[test]
fn sinks_are_changed_added_and_removed_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    let outbox = Outbox::start(setup(Some(folder.path()), sinks(&to_nobody("one")))).unwrap();
    for number in 0..50 {
        outbox.word(record(Kind::Alert, number));
    }
    let health = until(&outbox, "one", |health| health.counts.spooled == 50 && health.failures > 0);
    assert!(health.last_error.is_some() && health.kind == "webhook");
    // Without it for a while, then with another server.
    outbox.reload(sinks(&to_nobody("two")), Guidance::None);
    until(&outbox, "two", |health| health.circuit == Circuit::Closed);
    outbox.word(record(Kind::Alert, 60));
    assert!(outbox.sync(PATIENCE) && !outbox.health().contains_key("one"));
    outbox.reload(sinks(&(to_nobody("two") + &to_file("one", &file))), Guidance::None);
    let health = until(&outbox, "one", |health| health.counts.acknowledged == 50);
    assert_eq!(health.counts, Counts { emitted: 50, acknowledged: 50, ..Counts::default() });
    assert_eq!(ids(&file).len(), 50);
    until(&outbox, "two", |health| health.counts.spooled == 1);
    let began = Instant::now();
    outbox.stop();
    assert!(began.elapsed() < STOP + Duration::from_secs(20), "a server that is away holds up nobody");
    // What waited for the other is there after a restart.
    let text = to_file("two", &folder.path().join("late"));
    let outbox = Outbox::start(setup(Some(folder.path()), sinks(&text))).unwrap();
    until(&outbox, "two", |health| health.counts.acknowledged == 1);
    assert!(ids(&folder.path().join("late")).contains("id-60"));
}

#[test]
fn what_had_to_be_dropped_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    // A sink that is away with little room, and one that tells.
    let small = to_nobody("away").replace("flush_secs", "spool = \"1 MiB\"\nflush_secs");
    let outbox = Outbox::start(setup(Some(folder.path()), sinks(&(small + &to_file("out", &file))))).unwrap();
    for number in 0..1_500 {
        let body = format!("{{\"event\":{{\"id\":\"id-{number}\"}},\"text\":\"{}\"}}", "x".repeat(2_000))
            .into_bytes();
        outbox.word(Record { body, ..record(Kind::Alert, number) });
        if number % 200 == 0 {
            assert!(outbox.sync(PATIENCE));
        }
    }
    let health = until(&outbox, "away", |health| health.counts.dropped.contains_key(&Cause::SpoolFull));
    assert!(health.spool_bytes <= 1 << 20);
    let began = Instant::now();
    while !std::fs::read_to_string(&file).unwrap_or_default().contains("records-dropped") {
        assert!(began.elapsed() < PATIENCE, "it is announced");
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.contains("records-dropped")).unwrap();
    assert!(line.contains("\"sink\":\"away\"") && line.contains("spool_full"), "{line}");
}
