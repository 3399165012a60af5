//! Rows of any text, time and order through the hunting rule and RITA's scores, within little memory, and both beside
//! made-up alerts: what is told keeps the rules' own bounds, whatever the order, and comes out as harmless lines.
#![no_main]

use sonde_common::alert::{Alert, Change, Class, Destination, Evidence, FindingId, Severity};
use sonde_common::format::row::Hunted;
use sonde_common::rule::compare::{Compared, Thresholds, compare};
use sonde_common::rule::record::{Record, all_csv, all_ndjson};
use sonde_common::rule::rita::{Rita, RitaRow, RitaUnit};
use sonde_common::rule::sentinel::{MAX_PORTS, MAX_PROCESSES, Sentinel, SentinelGroup, SentinelRow};
use sonde_common::rule::{Limits, Lost};
use sonde_common::text::is_plain;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use sonde_fuzz::heap;
use sonde_fuzz::input::Input;

const HOSTS: [&str; 4] = ["pc1", "PC1", "10.0.0.5", ""];
const ADDRESSES: [&str; 5] = ["198.51.100.7", "::ffff:198.51.100.7", "2001:db8::7", "no address", ""];
const NAMES: [&str; 8] = [
    "c2.example",
    "",
    "https://user@C2.Example.:8443/x",
    "microsoft.com.evil.example",
    "notmicrosoft.com",
    "198.51.100.7",
    "[2001:db8::7]:443",
    "=cmd,\"\u{202e}\n",
];
const PROCESSES: [&str; 6] = ["a.exe", "my-powershell.exe", "CHROME.exe", "", "\u{1b}]0;x\u{7}.exe", "b.exe"];
/// What the rules may keep, by their own account…
const LIMITS: Limits = Limits { groups: 64, bytes: 1 << 16 };
/// …and really: tables hold an old and a new half while they double, and allocations have heads.
const HEAP_LIMIT: usize = 3 * LIMITS.bytes;
/// 2026-03-02T12:00:00Z.
const NOON: Timestamp = Timestamp::from_nanos(1_772_452_800 * NANOS_PER_SEC);

fn pick<'a>(input: &mut Input<'a>, known: &[&'static str]) -> &'a str {
    match input.u8() {
        choice @ 0..224 => known[usize::from(choice) % known.len()],
        choice => std::str::from_utf8(input.take(usize::from(choice - 223))).unwrap_or("?"),
    }
}

fn time(input: &mut Input<'_>) -> Timestamp {
    match input.u8() {
        // Around both edges of the window.
        choice @ 0..8 => {
            let edge = if choice < 4 { -86_400 } else { 0 };
            NOON.plus_nanos(edge * NANOS_PER_SEC + i64::from(choice % 4) - 1)
        }
        choice @ 8..250 => NOON.plus_nanos(-i64::from(choice - 8) * 360 * NANOS_PER_SEC),
        _ => Timestamp::from_nanos(input.u64().cast_signed()),
    }
}

struct Seen<'a> {
    hunted: SentinelRow<'a>,
    rita: RitaRow<'a>,
}

fn seen<'a>(input: &mut Input<'a>) -> Seen<'a> {
    let time = time(input);
    let (host, address) = (pick(input, &HOSTS), pick(input, &ADDRESSES));
    let (name, process) = (pick(input, &NAMES), pick(input, &PROCESSES));
    let odd = input.u8();
    let hunted = Hunted {
        device_name: host,
        account_name: if odd & 1 == 0 { "eva" } else { "" },
        action_type: if odd < 250 { "ConnectionSuccess" } else { "ConnectionFailed" },
        remote_ip: address,
        remote_ip_type: if odd < 245 { "Public" } else { "Private" },
        remote_url: name,
        remote_port: (odd > 9).then(|| u16::from(odd) * u16::from(odd)),
        process_name: process,
    };
    let destination = if name.is_empty() { address } else { name };
    let bytes = (odd > 3).then(|| if odd == 255 { input.u64() } else { u64::from(odd) * 7 });
    Seen { hunted: SentinelRow { time, hunted }, rita: RitaRow { time, source: host, destination, bytes } }
}

fn run<'a>(rows: impl Iterator<Item = &'a Seen<'a>>) -> (Vec<SentinelGroup>, Vec<RitaUnit>, Lost) {
    let before = heap::held();
    let (mut sentinel, mut rita) = (Sentinel::with_limits(NOON, LIMITS), Rita::with_limits(NOON, LIMITS));
    for row in rows {
        sentinel.add(&row.hunted);
        rita.add(&row.rita);
    }
    let held = heap::held().saturating_sub(before);
    assert!(held < 2 * HEAP_LIMIT, "{held} bytes held");
    let lost = Lost {
        rows: sentinel.lost().rows + rita.lost().rows,
        details: sentinel.lost().details + rita.lost().details,
    };
    (sentinel.finish(), rita.finish(), lost)
}

fn alert(input: &mut Input<'_>) -> Alert {
    const SEVERITIES: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
    Alert {
        id: FindingId(input.u8().into()),
        revision: 1,
        change: Change::Final,
        class: Class::Beacon,
        host: pick(input, &HOSTS).to_owned(),
        time: NOON,
        detected: None,
        detected_after_callbacks: 0,
        severity: SEVERITIES[usize::from(input.u8()) % SEVERITIES.len()],
        score: f64::from(input.u8()) / 200.0,
        points: 0.0,
        parts: Vec::new(),
        missing: Vec::new(),
        reason: pick(input, &NAMES).to_owned(),
        process: None,
        attribution: sonde_common::process::Attribution::NONE,
        suppressed_by: None,
        destination: Destination {
            name: pick(input, &NAMES).to_owned(),
            sni: pick(input, &NAMES).to_owned(),
            ip: pick(input, &ADDRESSES).parse().ok(),
            group: (0..input.u8() % 3).map(|_| pick(input, &NAMES).to_owned()).collect(),
            ..Destination::default()
        },
        evidence: Evidence {
            period_secs: f64::from(input.u8()),
            first_seen: NOON,
            last_seen: NOON,
            ..Evidence::default()
        },
        techniques: Vec::new(),
        dns: None,
        indicators: Vec::new(),
        profile: None,
    }
}

/// Each record is one line, of plain characters, in both forms.
fn is_written<R: Record>(records: &[R]) {
    let (mut csv, mut json) = (Vec::new(), Vec::new());
    all_csv(records, &mut csv);
    all_ndjson(records, &mut json);
    let (csv, json) = (String::from_utf8(csv).expect("UTF-8"), String::from_utf8(json).expect("UTF-8"));
    assert!(csv.chars().chain(json.chars()).all(|c| c == '\n' || is_plain(c)));
    assert_eq!((csv.lines().count(), json.lines().count()), (records.len() + 1, records.len()));
    for (line, record) in json.lines().zip(records) {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        assert_eq!(record.cells().len(), R::HEADER.len());
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let alerts: Vec<Alert> = (0..input.u8() % 8).map(|_| alert(&mut input)).collect();
    let mut rows = Vec::new();
    while !input.is_empty() && rows.len() < 4_096 {
        let row = seen(&mut input);
        // A run of the same row, evenly earlier, so that groups grow to be reported.
        let (repeat, step) = (input.u8() % 40, i64::from(input.u8()) * 10 * NANOS_PER_SEC);
        for at in 0..=i64::from(repeat) {
            let time = row.hunted.time.plus_nanos(-at * step);
            rows.push(Seen {
                hunted: SentinelRow { time, ..row.hunted },
                rita: RitaRow { time, ..row.rita },
            });
        }
    }
    let (groups, units, lost) = run(rows.iter());
    for group in &groups {
        assert!(group.connection_count >= 10 && group.duration_minutes > 30);
        assert!(group.ports.len() <= MAX_PORTS && group.ports.is_sorted());
        assert!(group.ports.len() == (group.distinct_ports as usize).min(MAX_PORTS));
        assert!(group.processes.len() <= MAX_PROCESSES);
        assert!(group.is_suspicious_process || group.is_beacon_interval);
        assert!((1..=3).contains(&group.risk_score));
    }
    for unit in &units {
        let parts = [unit.ts_score, unit.ds_score, unit.dur_score, unit.hist_score];
        assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)));
        assert!((unit.score - parts.iter().sum::<f64>() / 4.0).abs() < 0.000_501);
        assert!(unit.connections >= 4 && unit.first_seen < unit.last_seen);
    }
    if lost.is_none() {
        rows.sort_by_key(|row| row.hunted.time);
        assert_eq!(run(rows.iter()), (groups.clone(), units.clone(), lost));
    }
    let compared = compare(&groups, &units, &alerts, &Thresholds::default(), true);
    let counted = compared.summary;
    let total = counted.all
        + counted.sonde_and_rule
        + counted.sonde_and_rita
        + counted.rule_and_rita
        + counted.only_sonde
        + counted.only_rule
        + counted.only_rita
        + counted.none;
    assert_eq!(total, compared.rows.len() as u64);
    let shown = compare(&groups, &units, &alerts, &Thresholds::default(), false);
    assert_eq!(shown.rows.len() as u64, total - counted.none);
    let best =
        |score: fn(&Compared) -> Option<f64>| compared.rows.iter().filter_map(score).fold(-1.0, f64::max);
    assert_eq!(best(|row| row.rita_score), units.iter().map(|unit| unit.score).fold(-1.0, f64::max));
    is_written(&groups);
    is_written(&units);
    is_written(&compared.rows);
});
