//! A flood of one-shot destinations stays within `limits.memory`, and the beacons in it are still found.
//!
//! The generator streams into the program's stdin, so nothing but the program itself is measured. A million destinations,
//! unless `SONDE_FLOOD` names another number.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::io::BufWriter;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use sonde_tests::program::{Ran, command, finish, say};
use sonde_tests::scenario::{Options, generate};

const MIB: u64 = 1 << 20;
/// `limits.memory` unless the configuration says otherwise.
const LIMIT: u64 = 64 * MIB;
/// What the program takes beside detection state: its code, the input buffer, the popular domains.
const BESIDE: u64 = 24 * MIB;

/// Peak resident set of a process so far, in bytes.
fn peak_rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// Streams `destinations` with these options into a replay; what it came to, and the peak of its resident set. `None`,
/// and a word about it, where that is not told.
fn flood(options: Options, arguments: &[&str]) -> Option<(Ran, u64)> {
    if !Path::new("/proc/self/status").is_file() {
        say("SKIPPED: this system does not tell the memory of a process in /proc");
        return None;
    }
    let child = command([&["replay", "-"], arguments].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let feed = move |stdin| {
        let truth = generate("destinations", &options, BufWriter::with_capacity(1 << 18, stdin)).unwrap();
        assert_eq!(truth.beacons.len(), 5);
    };
    let ran = finish(child, feed, |child| peak = peak_rss(child.id()).map_or(peak, |now| peak.max(now)));
    say(&format!("{:?} destinations: peak {} KiB", options.destinations, peak / 1024));
    assert!(peak > 4 * MIB, "nothing was measured: {peak}");
    Some((ran.expect(0), peak))
}

fn destinations() -> Option<u64> {
    Some(std::env::var("SONDE_FLOOD").map_or(1_000_000, |text| text.parse().unwrap()))
}

#[test]
fn a_flood_of_destinations_stays_within_the_memory_and_the_beacons_are_found() {
    let options = Options { destinations: destinations(), ..Options::default() };
    let Some((ran, peak)) = flood(options, &["--format", "ndjson"]) else { return };
    assert!(peak <= LIMIT + BESIDE, "{} MiB", peak / MIB);
    let mut found: Vec<String> = Vec::new();
    for line in ran.text().lines() {
        let alert: Value = serde_json::from_str(line).unwrap();
        found.push(alert.pointer("/destination/address").and_then(Value::as_str).unwrap().to_owned());
    }
    found.sort_unstable();
    let kept: Vec<String> = (1..=5).map(|number| format!("kept-{number}.example")).collect();
    assert_eq!(found, kept, "the beacons and nothing else");
}

#[test]
fn a_flood_faster_than_the_tables_forget_is_cut_to_the_memory_and_said() {
    // Half of this remembers fewer first sightings (65,536) than come in a minute here, and a callback a minute is lost.
    const SMALL: u64 = 16 * MIB;
    let span = Some(Duration::from_secs(900));
    let options = Options { destinations: destinations(), span, ..Options::default() };
    let Some((ran, peak)) = flood(options, &["--format", "table", "--set", "limits.memory=16 MiB"]) else {
        return;
    };
    assert!(peak <= SMALL + BESIDE, "{} MiB", peak / MIB);
    let said = ["Dropped to stay", "limits.memory", "first sightings"].map(|text| ran.stderr.contains(text));
    assert_eq!(said, [true; 3], "{}", ran.stderr);
    assert!(
        ran.text().contains("kept-1.example"),
        "the beacon that is followed stays followed: {}",
        ran.text()
    );
}
