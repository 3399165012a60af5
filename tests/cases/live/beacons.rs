//! Beacons that must be found, with all that is to be said of them.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use sonde_tests::emulate::sensor::Sensor;

use crate::stage::{Running, Stage, about, emulator};

/// Seconds between callbacks: calls within one second of each other would be one.
const INTERVAL: f64 = 1.2;
/// By this callback it must be found. The engine looks after 3, 4, 5, 6, 8, 10, 12 and 16 intervals.
const CALLBACKS: u64 = 17;
/// What a beacon needs for that, with room for a slow machine.
const PATIENCE: Duration = Duration::from_secs(40);

fn text<'a>(alert: &'a Value, path: &str) -> &'a str {
    alert.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits for the alert about `port`, and holds what every alert must have against it.
fn found(stage: &Stage, sensor: &mut Sensor, port: u16) -> Value {
    let to = stage.to(port);
    let alert = sensor.wait_for_alert(PATIENCE, |alert| about(alert, to));
    let alert = alert.unwrap_or_else(|| {
        let events = sensor.events();
        let seen = events.iter().filter(|event| event["remote_ip"] == to.ip().to_string().as_str());
        panic!(
            "no alert about {to}; {} of {} events are of it; log:\n{}",
            seen.count(),
            events.len(),
            sensor.log().join("\n")
        )
    });
    assert!(alert["sonde"]["detected_after_callbacks"].as_u64().unwrap() <= CALLBACKS, "{alert}");
    let median = alert.pointer("/sonde/evidence/interval_median_secs").and_then(Value::as_f64).unwrap();
    assert!((INTERVAL..INTERVAL * 1.25).contains(&median), "{median}: {alert}");
    assert_eq!(text(&alert, "/user/name"), user(), "{alert}");
    alert
}

fn ends_with(path: &str, name: &str) -> bool {
    Path::new(path).file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
}

#[test]
fn a_script_a_program_and_a_curl_loop_are_named() {
    let Some(stage) = Stage::new("beacons", &[("http", 8080), ("http", 8081), ("http", 8082)]) else {
        return;
    };
    let mut sensor = stage.sensor(&[]);
    let folder = stage.folder("hidden");
    let _script = stage.dressed("python", &folder, "poll.py", 8080, INTERVAL);
    let _program = stage.dressed("compiled", &folder, "updater", 8081, INTERVAL);
    let _curl = stage.dressed("curl", &folder, "job.sh", 8082, INTERVAL);

    let script = found(&stage, &mut sensor, 8080);
    assert!(ends_with(text(&script, "/process/executable"), "python3"), "{script}");
    assert_eq!(text(&script, "/sonde/process/script"), folder.join("poll.py").to_str().unwrap(), "{script}");
    assert_eq!(text(&script, "/process/parent/executable"), emulator().to_str().unwrap(), "{script}");

    let program = found(&stage, &mut sensor, 8081);
    assert_eq!(text(&program, "/process/executable"), folder.join("updater").to_str().unwrap(), "{program}");
    assert_eq!(text(&program, "/process/parent/executable"), emulator().to_str().unwrap(), "{program}");

    // A new process each time, and one series all the same.
    let curl = found(&stage, &mut sensor, 8082);
    assert!(ends_with(text(&curl, "/process/executable"), "curl"), "{curl}");
    let parent = text(&curl, "/process/parent/executable");
    assert!(["sh", "dash", "bash", "busybox"].iter().any(|shell| ends_with(parent, shell)), "{curl}");
    let pids: std::collections::BTreeSet<_> = sensor
        .events()
        .iter()
        .filter(|event| event["remote_port"] == 8082 && event["process"]["pid"].is_u64())
        .map(|event| event["process"]["pid"].as_u64().unwrap())
        .collect();
    let callbacks = curl["sonde"]["detected_after_callbacks"].as_u64().unwrap();
    assert!(pids.len() as u64 >= callbacks, "each of {callbacks} calls is a process of its own: {pids:?}");

    assert!(
        sensor.stop().is_some_and(|status| status.success()),
        "a clean end:\n{}",
        sensor.log().join("\n")
    );
}

#[test]
fn check_ins_inside_one_tls_connection_are_found() {
    let Some(stage) = Stage::new("inside", &[("tls", 4433)]) else { return };
    let mut sensor = stage.sensor(&[]);
    let mut command = Command::new(emulator());
    command.args(["beacon", "--transport", "tls", "--keep-open", "--name", "updates.example.net"]);
    // Payload after a second of silence is a check-in, so they lie a little further apart.
    command.args(["--to", &stage.to(4433).to_string(), "--interval", "1.5", "--count", "60"]);
    let _beacon = Running::start(command);
    let to = stage.to(4433);
    let alert = sensor.wait_for_alert(PATIENCE, |alert| about(alert, to));
    let alert = alert.unwrap_or_else(|| panic!("no alert; log:\n{}", sensor.log().join("\n")));
    assert_eq!(text(&alert, "/sonde/level"), "exchange", "{alert}");
    assert_eq!(text(&alert, "/tls/client/server_name"), "updates.example.net", "{alert}");
    assert_eq!(text(&alert, "/process/executable"), emulator().to_str().unwrap(), "{alert}");
}

#[test]
fn a_killed_sensor_goes_on_counting_where_it_was() {
    let Some(stage) = Stage::new("killed", &[("http", 8080)]) else { return };
    // The shortest interval of saving, so that the kill finds something saved.
    let options = ["--set", "state.interval_secs=10"];
    let sensor = stage.sensor(&options);
    let folder = stage.folder("hidden");
    let _beacon = stage.dressed("compiled", &folder, "updater", 8080, INTERVAL);
    // Ten seconds, and what a busy machine adds: eight or nine callbacks of which at least seven are saved.
    thread::sleep(Duration::from_secs(11));
    // A busy machine saves a little later; what counts is that something is saved, and no alert told yet.
    let state = stage.scratch.file("state").join("sensor.state");
    while !state.exists() && calls(&sensor) < 11 {
        thread::sleep(Duration::from_millis(100));
    }
    assert!(state.exists(), "nothing is saved:\n{}", sensor.log().join("\n"));
    let before = calls(&sensor);
    assert!((6..=11).contains(&before), "{before} callbacks before the kill");
    sensor.signal(Signal::KILL);
    drop(sensor);

    let mut sensor = stage.sensor(&options);
    let to = stage.to(8080);
    let alert = sensor.wait_for_alert(PATIENCE, |alert| about(alert, to));
    let alert = alert.unwrap_or_else(|| panic!("no alert; log:\n{}", sensor.log().join("\n")));
    let callbacks = alert.pointer("/sonde/evidence/callbacks").and_then(Value::as_u64).unwrap();
    let after = calls(&sensor);
    assert!(
        callbacks > after,
        "{callbacks} callbacks counted, {before} before the kill and {after} after it: the count began anew"
    );
    let gaps = sensor.log().iter().any(|line| line.contains("the sensor did not run"));
    assert!(gaps, "the time between is a gap:\n{}", sensor.log().join("\n"));
}

/// Callbacks to the stage's server among a sensor's events.
fn calls(sensor: &Sensor) -> u64 {
    let opened = |event: &&Value| {
        event["type"] == "connection"
            && event["remote_port"] == 8080
            && matches!(event["phase"].as_str(), Some("opened" | "whole"))
    };
    sensor.events().iter().filter(opened).count() as u64
}
