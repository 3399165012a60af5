//! What the sensor could not see it must say, and it must not make up the rest.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::stage::{Running, Stage, emulator};

/// The gaps and losses that a sensor's log tells of, in the words of `GapCause`.
fn tells_of(log: &[String], causes: &[&str]) -> bool {
    log.iter().any(|line| causes.iter().any(|cause| line.contains(cause)))
}

#[test]
fn a_flood_into_tiny_rings_is_reported_as_loss() {
    let Some(stage) = Stage::new("flood", &[("reset", 9000)]) else { return };
    let rings = ["--set", "attribution.ring_bytes=65536", "--set", "capture.ring_bytes=262144"];
    let mut sensor = stage.sensor(&rings);
    let flood = || {
        let mut command = Command::new(emulator());
        command.args(["flood", "--to", &stage.to(9000).to_string(), "--rate", "2500", "--for", "4"]);
        Running::start(command)
    };
    let (_one, _two) = (flood(), flood());
    let told = sensor.wait_for_log("lost", Duration::from_secs(15));
    assert!(
        told,
        "5,000 connections a second through 64 KiB, and nothing lost?\n{}",
        sensor.log().join("\n")
    );
    let log = sensor.log();
    assert!(tells_of(&log, &["events_lost", "packets_lost"]), "{}", log.join("\n"));
    assert!(sensor.stop().is_some_and(|status| status.success()));
}

#[test]
fn a_stopped_sensor_reports_its_gap() {
    let Some(stage) = Stage::new("stalled", &[("http", 8080)]) else { return };
    let mut sensor = stage.sensor(&[]);
    thread::sleep(Duration::from_secs(1));
    sensor.signal(Signal::STOP);
    thread::sleep(Duration::from_secs(6));
    sensor.signal(Signal::CONT);
    let told = sensor.wait_for_log("stalled", Duration::from_secs(10));
    assert!(told, "six seconds were slept through:\n{}", sensor.log().join("\n"));
    assert!(sensor.alerts().is_empty());
    assert!(sensor.stop().is_some_and(|status| status.success()));
}

/// A small file system in memory, unmounted when it goes.
struct Disk(std::path::PathBuf);

impl Disk {
    fn new(at: &Path, bytes: u32) -> Self {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={bytes},mode=700");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status().unwrap();
        assert!(status.success(), "root can mount a tmpfs");
        Self(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_state_disk_is_reported_and_nothing_is_made_up() {
    let Some(stage) = Stage::new("full", &[("http", 8080)]) else { return };
    let disk = Disk::new(&stage.scratch.file("disk"), 64 << 10);
    let place = format!("state.dir=\"{}\"", disk.0.join("state").display());
    let saving = ["--set", place.as_str(), "--set", "state.interval_secs=10"];
    // Full from the beginning but for the folder itself.
    fs::create_dir(disk.0.join("state")).unwrap();
    let filled = fs::write(disk.0.join("ballast"), vec![0_u8; 128 << 10]);
    assert!(filled.is_err(), "the disk is not full");
    let mut sensor = stage.sensor(&saving);
    let folder = stage.folder("hidden");
    let _beacon = stage.dressed("compiled", &folder, "updater", 8080, 1.2);
    let told = sensor.wait_for_log("No space left on device", Duration::from_secs(20));
    assert!(told, "nobody heard of the full disk:\n{}", sensor.log().join("\n"));
    // It goes on seeing.
    thread::sleep(Duration::from_secs(3));
    let seen = sensor.events().iter().filter(|event| event["remote_port"] == 8080).count();
    assert!(seen > 0, "it went blind:\n{}", sensor.log().join("\n"));
    assert!(sensor.stop().is_some());
    // Nothing half written is taken for a state, and no second file for the first.
    let left: Vec<_> = fs::read_dir(disk.0.join("state")).unwrap().filter_map(Result::ok).collect();
    let torn = left.iter().any(|file| file.metadata().is_ok_and(|data| data.len() == 0));
    assert!(!torn || left.is_empty(), "{left:?}");
    drop(sensor);
    let sensor = stage.sensor(&saving);
    assert_eq!(sensor.alerts(), Vec::<Value>::new(), "an alert from nowhere");
}
