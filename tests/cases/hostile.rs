//! Damaged and hostile input costs only itself: what was readable is still reported, the damage is named by file and
//! offset, the exit code tells what happened, and no text from the wire does harm where it is shown.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use sonde_common::format::LinkType;
use sonde_tests::capture::{CaptureFormat, CaptureWriter, WHOLE_FRAMES};
use sonde_tests::conversation::{self as talk, Lookup, Route, Timeline};
use sonde_tests::payload::{CIPHERS_GO, ClientHello, Rcode, RecordType};
use sonde_tests::program::{Ran, Scratch, command, finish, run, run_with, say};
use sonde_tests::rng::Rng;
use sonde_tests::scenario::scenario;
use sonde_tests::wire::at;
use sonde_tests::words::{cells, harmful, is_formula};

const ALL: [&str; 3] = ["--format", "ndjson", "--all"];

fn replay(file: &Path, arguments: &[&str]) -> Ran {
    let mut all = vec!["replay", file.to_str().unwrap()];
    all.extend_from_slice(arguments);
    run(all, b"")
}

/// Where each record of a little-endian pcap file begins, and where the last one ends.
fn records(pcap: &[u8]) -> Vec<usize> {
    let mut starts = vec![24];
    while let Some(header) = pcap.get(*starts.last().unwrap()..).filter(|rest| rest.len() >= 16) {
        let kept = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        starts.push(starts.last().unwrap() + 16 + kept);
    }
    starts
}

/// Holds for every run, whatever the input: nothing but results on stdout, and no panic.
fn assert_sound(ran: &Ran, what: &str) {
    assert!([0, 65].contains(&ran.code), "{what}: exit {} with {}", ran.code, ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{what}: {}", ran.stderr);
    for line in ran.text().lines() {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{what}: {error}: {line}"));
        assert!(row.pointer("/sonde/id").is_some(), "{what}: {line}");
    }
}

// --- Damage ----------------------------------------------------------------------------------------------------------

#[test]
fn a_capture_cut_anywhere_is_reported_up_to_the_cut() {
    let scratch = Scratch::new("cut");
    let whole = scenario("dead", 1);
    let starts = records(&whole);
    let (first, middle, last) = (starts[0], starts[starts.len() / 2], starts[starts.len() - 2]);
    for (start, cut) in
        [(first, 1), (first, 15), (first, 16), (middle, 0), (middle, 7), (middle, 40), (last, 17), (last, 69)]
    {
        let what = format!("cut {cut} bytes into the record at {start}");
        let file = scratch.write("cut.pcap", &whole[..start + cut]);
        let ran = replay(&file, &ALL);
        assert_sound(&ran, &what);
        assert_eq!(ran.code, if start == first { 65 } else { 0 }, "{what}: {}", ran.stderr);
        let intact = scratch.write("intact.pcap", &whole[..start]);
        assert!(ran.stdout == replay(&intact, &ALL).expect(0).stdout, "{what}");
        if cut == 0 {
            assert_eq!(ran.stderr, "", "{what}: a capture may end after any record");
        } else {
            assert!(ran.stderr.contains("cut.pcap"), "{what}: {}", ran.stderr);
            assert!(ran.stderr.contains(&format!("byte {start}")), "{what}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_file_cut_within_its_first_header_is_bad_input() {
    let scratch = Scratch::new("headless");
    let whole = scenario("refused", 1);
    for kept in [1, 3, 4, 23] {
        let ran = replay(&scratch.write("short.pcap", &whole[..kept]), &ALL).expect(65);
        assert_eq!(ran.text(), "", "{kept}");
        assert!(ran.stderr.contains("short.pcap"), "{kept}: {}", ran.stderr);
    }
    let empty = replay(&scratch.write("empty.pcap", b""), &ALL).expect(65);
    assert!(empty.stderr.contains("empty.pcap: is empty"), "{}", empty.stderr);
    // A capture without packets is no damage.
    assert_eq!(replay(&scratch.write("none.pcap", &whole[..24]), &ALL).expect(0).text(), "");
}

#[test]
fn a_compressed_capture_cut_anywhere_is_reported_up_to_the_cut() {
    let scratch = Scratch::new("cut-gz");
    let whole = scenario("dead", 1);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&whole).unwrap();
    let forms = [
        ("cut.pcap.gz", encoder.finish().unwrap()),
        ("cut.pcap.zst", zstd::encode_all(&whole[..], 1).unwrap()),
    ];
    for (name, bytes) in forms {
        let file = scratch.write(name, &bytes[..bytes.len() - 9]);
        let ran = replay(&file, &ALL);
        assert_sound(&ran, name);
        assert!(ran.stderr.contains(name) && ran.stderr.contains("byte "), "{name}: {}", ran.stderr);
        if name.ends_with("gz") {
            assert_eq!(ran.code, 0, "{name}: what was unpacked is reported");
            assert!(ran.text().contains("198.51.100.99"), "{name}");
        }
    }
}

#[test]
fn damage_in_one_input_does_not_touch_the_others() {
    let scratch = Scratch::new("neighbour");
    let (good, bad) = (scratch.write("good.pcap", &scenario("dead", 1)), scenario("refused", 1));
    let starts = records(&bad);
    let at = starts[100];
    let mut broken = bad.clone();
    // A record of 4 GiB.
    broken[at + 8..at + 12].copy_from_slice(&[0xff; 4]);
    let broken = scratch.write("broken.pcap", &broken);
    let prefix = scratch.write("prefix.pcap", &bad[..at]);
    let path = |file: &Path| file.to_str().unwrap().to_owned();
    let both =
        run([&["replay".to_owned(), path(&good), path(&broken)][..], &ALL.map(str::to_owned)].concat(), b"");
    let both = both.expect(0);
    assert!(
        both.stderr.contains("broken.pcap") && both.stderr.contains(&format!("byte {at}")),
        "{}",
        both.stderr
    );
    assert!(!both.stderr.contains("good.pcap"), "{}", both.stderr);
    let expected =
        run([&["replay".to_owned(), path(&good), path(&prefix)][..], &ALL.map(str::to_owned)].concat(), b"");
    assert!(both.stdout == expected.stdout);
}

#[test]
fn flipped_bytes_never_break_the_program() {
    let scratch = Scratch::new("flips");
    let mut rng = Rng::new(7);
    let captures = [scenario("refused", 1), scenario("dns-callback", 1), sonde_tests::scenario::demo()];
    for (index, whole) in captures.iter().enumerate() {
        // The demo is large: a part of it will do.
        let whole = &whole[..whole.len().min(400_000)];
        for round in 0..12 {
            let mut bytes = whole.to_vec();
            // Few flips in some rounds, so that what lies behind them is reached too; some in the file's own header.
            for _ in 0..[1, 5, 400][round % 3] {
                let at = if round < 3 { rng.length(0, 400) } else { rng.length(0, bytes.len()) };
                bytes[at] ^= 1 << rng.below(8);
            }
            let ran = replay(&scratch.write("flipped.pcap", &bytes), &ALL);
            assert_sound(&ran, &format!("capture {index}, round {round}"));
        }
    }
}

#[test]
fn flipped_bytes_in_events_cost_their_lines_alone() {
    let scratch = Scratch::new("flipped-events");
    let events = run(["replay", "-", "--events", "-"], &scenario("refused", 1)).expect(0).stdout;
    let mut lines: Vec<Vec<u8>> = events.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines[10].insert(5, b'\xff');
    lines[20] = b"{\"type\":\"no such\"}\n".to_vec();
    lines[30].truncate(20);
    lines[30].push(b'\n');
    let ran = replay(&scratch.write("e.ndjson", &lines.concat()), &ALL);
    assert_sound(&ran, "events");
    assert_eq!(ran.code, 0);
    for line in ["line=11", "line=21", "line=31"] {
        assert!(ran.stderr.contains(line) && ran.stderr.contains("e.ndjson"), "{line}: {}", ran.stderr);
    }
    assert!(ran.text().contains("198.51.100.98"), "the rest is read");
}

/// Feeds `head` and then `tail` without end, up to far more than any buffer; returns what it came to and how much was
/// taken.
fn endless(head: Vec<u8>, tail: &'static [u8], most: u64) -> (Ran, u64) {
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    let ran = run_with(["replay", "-", "--format", "ndjson", "--all"], move |mut to| {
        if to.write_all(&head).is_err() {
            return;
        }
        let block = tail.repeat(64 * 1024 / tail.len());
        while count.load(Ordering::Relaxed) < most && to.write_all(&block).is_ok() {
            count.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
    });
    (ran, taken.load(Ordering::Relaxed))
}

#[test]
fn endless_garbage_ends_the_run_and_not_the_patience() {
    const MOST: u64 = 256 << 20;
    let (garbage, taken) = endless(Vec::new(), b"\x9f\x03garbage", MOST);
    assert_eq!(garbage.code, 65, "{}", garbage.stderr);
    assert!(garbage.stderr.contains("not a known format"), "{}", garbage.stderr);
    assert!(taken < MOST, "it was read to the end");

    // Garbage behind whole packets.
    let whole = scenario("dead", 1);
    let (behind, taken) = endless(whole.clone(), b"\xff\xfe\xfd\xfc", MOST);
    assert_sound(&behind, "behind packets");
    assert_eq!(behind.code, 0);
    assert!(taken < MOST, "it was read to the end");
    assert!(behind.stderr.contains(&format!("byte {}", whole.len())), "{}", behind.stderr);
    assert!(behind.text().contains("198.51.100.99"));
}

#[test]
fn an_endless_line_of_events_is_left_out() {
    const MOST: u64 = 24 << 20;
    let head = b"{\"type\":\"sonde.events\",\"version\":1}\n{\"type\":\"".to_vec();
    let (ran, _) = endless(head, b"x", MOST);
    assert_eq!(ran.code, 65, "{}", ran.stderr);
    assert!(ran.stderr.contains("longer than"), "{}", ran.stderr);
    assert_eq!(ran.text(), "");
}

// --- Exit codes ------------------------------------------------------------------------------------------------------

#[test]
fn exit_codes_tell_what_happened() {
    let scratch = Scratch::new("exit");
    let good = scratch.write("good.pcap", &scenario("fixed-60", 1));
    let quiet = scratch.write("quiet.pcap", &scenario("updater", 1));
    let (good, quiet) = (good.to_str().unwrap(), quiet.to_str().unwrap());
    let garbage = scratch.write("garbage", b"\x01\x02\x03garbage");
    let config = scratch.write("bad.toml", b"[limits]\nmemroy = 1\n");
    let config = config.to_str().unwrap();
    let missing = scratch.file("missing.pcap");
    let nowhere = scratch.file("no/such/folder/e.ndjson");
    let cases: &[(i32, &[&str], &str)] = &[
        (0, &["replay", good], ""),
        (0, &["replay", quiet], ""),
        (0, &["--help"], ""),
        (0, &["--version"], ""),
        (0, &["replay", "--help"], ""),
        (1, &["replay", good, "--exit-on", "medium"], ""),
        (0, &["replay", good, "--exit-on", "critical"], ""),
        (0, &["replay", quiet, "--exit-on", "medium"], ""),
        (64, &[], "Usage"),
        (64, &["replay"], "FILE"),
        (64, &["replay", good, "--no-such"], "--no-such"),
        (64, &["replay", good, "--format", "xml"], "xml"),
        (64, &["replay", good, "--local", "10.0.0.0/99"], "10.0.0.0/99"),
        (64, &["replay", good, "--all", "--stream"], "--stream"),
        (65, &["replay", garbage.to_str().unwrap()], "not a known format"),
        (66, &["replay", missing.to_str().unwrap()], "missing.pcap: no such file"),
        // All inputs are looked for before the first is read.
        (66, &["replay", good, missing.to_str().unwrap()], "missing.pcap: no such file"),
        (74, &["replay", good, "--events", nowhere.to_str().unwrap()], "e.ndjson"),
        (78, &["replay", good, "--config", config], "bad.toml: TOML parse error at line 2"),
        (78, &["replay", good, "--config", missing.to_str().unwrap()], "missing.pcap"),
        (78, &["replay", good, "--set", "limits.memory=1 KiB"], "out of range"),
        (78, &["replay", good, "--set", "no equals sign"], "key=value"),
    ];
    for (code, arguments, said) in cases {
        let ran = run(*arguments, b"");
        assert_eq!(ran.code, *code, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
        if *code > 1 {
            assert_eq!(ran.text(), "", "{arguments:?}: an error is no result");
            assert!(!ran.stderr.is_empty(), "{arguments:?}");
        }
    }
}

#[test]
fn what_cannot_be_written_is_an_error_and_a_reader_that_leaves_is_none() {
    let scratch = Scratch::new("output");
    let good = scratch.write("good.pcap", &scenario("fixed-60", 1));
    let full = Path::new("/dev/full");
    if full.exists() {
        for arguments in
            [&["--format", "ndjson"][..], &["--format", "table"], &["--stream"], &["--events", "-"]]
        {
            let child = command([&["replay", good.to_str().unwrap()], arguments].concat())
                .stdin(Stdio::null())
                .stdout(std::fs::File::options().write(true).open(full).unwrap())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let ran = finish(child, |_| {}, |_| {});
            assert_eq!(ran.code, 74, "{arguments:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("write"), "{arguments:?}: {}", ran.stderr);
        }
    } else {
        say("SKIPPED: this system has no /dev/full");
    }
    for arguments in [&["--format", "ndjson"][..], &["--stream"]] {
        let mut child = command([&["replay", good.to_str().unwrap()], arguments].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert_eq!(finish(child, |_| {}, |_| {}).code, 0, "{arguments:?}");
    }
}

#[test]
fn stdout_holds_results_and_nothing_else() {
    let scratch = Scratch::new("stdout");
    let whole = scenario("fixed-60", 1);
    let cut = scratch.write("cut.pcap", &whole[..whole.len() - 5]);
    let plain = replay(&cut, &ALL).expect(0);
    let loud = run(["-vvvv", "replay", cut.to_str().unwrap(), "--format", "ndjson", "--all"], b"").expect(0);
    assert_sound(&loud, "loud");
    assert!(plain.stdout == loud.stdout, "how much is logged does not change the results");
    assert!(loud.stderr.len() > plain.stderr.len());
    // The summary of a table goes to stderr, its rows to stdout.
    let table = replay(&cut, &["--format", "table"]).expect(0);
    assert!(
        table.text().contains("pixel.weather-widgets.example") && !table.text().contains("packets"),
        "{}",
        table.text()
    );
    assert!(table.stderr.contains("packets"), "{}", table.stderr);
    let nothing = replay(&scratch.write("none.pcap", &whole[..24]), &["--format", "csv"]).expect(0);
    assert_eq!(nothing.text().lines().count(), 1, "a CSV has its header even without results");
}

// --- Words of others -------------------------------------------------------------------------------------------------

/// Texts that do harm where they are shown as they are: in a terminal, in a viewer, in a spreadsheet.
const HARMFUL: [&str; 7] = [
    "\u{1b}]0;owned\u{7}\u{1b}[2J",
    "evil\u{202e}gpj.exe",
    "zero\u{200b}width\u{feff}",
    "line\u{2028}break\u{85}",
    "=HYPERLINK(1)",
    "@SUM(1+1)*cmd",
    "-2+3+cmd,\"quoted\"",
];

/// A capture in which a host calls back every minute, each name in it one of [`HARMFUL`].
fn hostile_capture() -> Vec<u8> {
    let mut timeline = Timeline::default();
    let mut rng = Rng::new(3);
    for (index, text) in HARMFUL.iter().enumerate() {
        let last = u8::try_from(index).unwrap();
        let server = |port| SocketAddr::new([203, 0, 113, 10 + last].into(), port);
        for round in 0..40u16 {
            let time = at(i64::from(round) * 60_000 + i64::from(last) * 3_000);
            let port = 40_000 + round + 200 * u16::from(last);
            let route = |to| {
                Route::ethernet(SocketAddr::new([10, 0, 0, 5].into(), port), to, Duration::from_millis(20))
            };
            let (timeline, rng) = (&mut timeline, &mut rng);
            talk::http(timeline, time, route(server(80)), rng, (text, "/", text), 40);
            let hello = ClientHello::program(Some(text), CIPHERS_GO, [7; 32]);
            talk::tls(timeline, time, route(server(443)), rng, &hello, (100, 100));
            let authority = format!("{text}:443");
            talk::proxied(timeline, time, route(server(3128)), rng, (&authority, text), &hello, (100, 100));
            let name = format!("x{round}.{text}");
            let (kind, rcode) = (RecordType::Txt, Rcode::NxDomain);
            let lookup = Lookup { name: &name, kind, rcode, ttl_secs: 1, answers: &[] };
            talk::dns(timeline, time, route(server(53)), rng, &lookup);
        }
    }
    let format = CaptureFormat::from_name("pcap").unwrap();
    let mut out = CaptureWriter::new(Vec::new(), format, LinkType::Ethernet, WHOLE_FRAMES).unwrap();
    let mut bytes = Vec::new();
    for (time, frame) in timeline.into_frames() {
        out.write(time, &frame).unwrap();
    }
    if let CaptureWriter::Pcap(out) = out {
        bytes = out.finish().unwrap();
    }
    bytes
}

#[test]
fn words_from_the_wire_come_out_harmless_in_every_format() {
    let scratch = Scratch::new("words");
    let file = scratch.write("hostile.pcap", &hostile_capture());
    let events = scratch.file("e.ndjson");
    for arguments in [
        &["--format", "table", "--all"][..],
        &["--format", "table", "--stream"],
        &["--format", "ndjson", "--all"],
        &["--format", "csv", "--all"],
        &["--events", events.to_str().unwrap(), "--format", "ndjson"],
    ] {
        let ran = run([&["-vvv", "replay", file.to_str().unwrap()], arguments].concat(), b"").expect(0);
        assert!(ran.stdout.len() > 2_000, "{arguments:?}: {}", ran.text());
        for (stream, text) in [("stdout", ran.text()), ("stderr", &ran.stderr)] {
            let found = text.chars().find(|c| harmful(*c));
            assert_eq!(found, None, "{arguments:?}: {stream}");
        }
    }
    let events = std::fs::read_to_string(events).unwrap();
    assert_eq!(events.chars().find(|c| harmful(*c)), None, "events");
}

#[test]
fn no_cell_of_a_csv_is_a_formula() {
    let scratch = Scratch::new("formulas");
    let file = scratch.write("hostile.pcap", &hostile_capture());
    let ran = replay(&file, &["--format", "csv", "--all"]).expect(0);
    let rows = cells(ran.text());
    assert!(rows.len() > 10, "{}", ran.text());
    let mut defused = 0;
    for row in &rows {
        assert_eq!(row.len(), rows[0].len(), "every row has the columns of the header: {row:?}");
        for (cell, column) in row.iter().zip(&rows[0]) {
            assert!(!is_formula(cell), "{column}: {cell}");
            defused += usize::from(HARMFUL.iter().any(|text| cell.ends_with(text) && cell != text));
        }
    }
    assert!(defused > 0, "the formulas of the capture are in the table at all: {}", ran.text());
}
