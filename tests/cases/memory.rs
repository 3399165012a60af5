//! A flood of one-shot destinations stays within `limits.memory`, and the beacons in it are still found; and a log takes no
//! more memory for being longer.
//!
//! The generators stream into the program's stdin, so nothing but the program itself is measured. A million destinations,
//! unless `SONDE_FLOOD` names another number; `SONDE_ROWS` is that of the longer log.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use sonde_tests::logs::{BEGIN, CONN_FIELDS, zeek_header, zeek_time};
use sonde_tests::program::{Ran, command, finish, say};
use sonde_tests::rng::Rng;
use sonde_tests::scenario::{Options, generate};

const MIB: u64 = 1 << 20;
/// `limits.memory` unless the configuration says otherwise.
const LIMIT: u64 = 64 * MIB;
/// What the program takes beside detection state: its code, the input buffer, the popular domains.
const BESIDE: u64 = 24 * MIB;

/// What a log of any length takes on two threads, of which 78 MiB were measured from 1.5 to 6 million rows: the state of some
/// 100,000 series, 32 MiB of sorted rows, a batch of each thread and its sorted copy, blocks on their way.
const LOG: u64 = 96 * MIB;

/// Peak resident set of a process so far, in bytes.
fn peak_rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// Replays what `feed` writes into the program's stdin; what it came to, and the peak of its resident set. `None`, and a
/// word about it, where that is not told.
fn measure(
    arguments: &[&str],
    feed: impl FnOnce(std::process::ChildStdin) + Send + 'static,
) -> Option<(Ran, u64)> {
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
    let ran = finish(child, feed, |child| peak = peak_rss(child.id()).map_or(peak, |now| peak.max(now)));
    assert!(peak > 4 * MIB, "nothing was measured: {peak}");
    Some((ran.expect(0), peak))
}

/// Streams `destinations` with these options into a replay.
fn flood(options: Options, arguments: &[&str]) -> Option<(Ran, u64)> {
    let feed = move |stdin| {
        let truth = generate("destinations", &options, BufWriter::with_capacity(1 << 18, stdin)).unwrap();
        assert_eq!(truth.beacons.len(), 5);
    };
    let (ran, peak) = measure(arguments, feed)?;
    say(&format!("{:?} destinations: peak {} KiB", options.destinations, peak / 1024));
    Some((ran, peak))
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

/// Writes a Zeek log of so many rows: 250 hosts that call 400 servers each, one row every 20 ms, ended by up to a minute out
/// of their order, and a beacon every minute.
fn write_log(rows: u64, to: impl Write) {
    const STEP: i64 = 20_000_000;
    const MINUTE: i64 = 60_000_000_000;
    let mut rng = Rng::new(9);
    let mut out = BufWriter::with_capacity(1 << 18, to);
    out.write_all(zeek_header("conn", CONN_FIELDS).as_bytes()).unwrap();
    for row in 0..rows {
        let at = i64::try_from(row).unwrap() * STEP;
        let (ts, port) = (zeek_time(BEGIN.plus_nanos(at)), rng.client_port());
        let (end, rest) = (format!("{port}"), "443\ttcp\tssl\t0.312\t510\t1200\tSF\tT\tF\t750\t7");
        if at % MINUTE == 0 {
            writeln!(out, "{ts}\tB{row:x}\t10.20.1.1\t{end}\t203.0.113.1\t{rest}").unwrap();
            continue;
        }
        let ts = zeek_time(BEGIN.plus_nanos(at - i64::try_from(rng.below(60_000_000_000)).unwrap()));
        let (host, server) = (rng.below(250), rng.below(400));
        let remote = host * 400 + server;
        let (high, low) = (remote / 250, remote % 250);
        writeln!(
            out,
            "{ts}\tC{row:x}\t10.20.0.{host}\t{end}\t100.{}.{}.{low}\t{rest}",
            high / 250 + 128,
            high % 250
        )
        .unwrap();
    }
    out.flush().unwrap();
}

#[test]
fn a_longer_log_takes_no_more_memory() {
    let longest: u64 = std::env::var("SONDE_ROWS").map_or(2_400_000, |text| text.parse().unwrap());
    let mut peaks = Vec::new();
    for rows in [longest / 3, longest] {
        let arguments = ["--format", "ndjson", "--threads", "2"];
        let Some((ran, peak)) = measure(&arguments, move |stdin| write_log(rows, stdin)) else { return };
        say(&format!("{rows} rows: peak {} KiB", peak / 1024));
        assert!(ran.text().contains("203.0.113.1"), "the beacon is found: {}", ran.text());
        peaks.push(peak);
    }
    let (shorter, longer) = (peaks[0], peaks[1]);
    assert!(longer <= shorter + shorter / 5 + 8 * MIB, "{} MiB, then {} MiB", shorter / MIB, longer / MIB);
    assert!(longer <= LOG, "{} MiB", longer / MIB);
}
