//! The same traffic gives the same alerts, however it comes.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde_json::Value;
use sonde_common::format::{LinkType, frames};
use sonde_common::time::Timestamp;
use sonde_tests::capture::{
    Interface, PcapOptions, PcapWriter, PcapngWriter, Resolution, TimeUnit, WHOLE_FRAMES,
};
use sonde_tests::packet::ByteOrder;
use sonde_tests::program::{Scratch, run};

use super::{BEACONS, BENIGN, capture, replay, replay_files, rows, text};

const NDJSON: [&str; 2] = ["--format", "ndjson"];
const ALL: [&str; 3] = ["--format", "ndjson", "--all"];
const SECOND: i64 = 1_000_000_000;

/// Frames of a capture with their times.
fn frames_of(capture: &[u8]) -> Vec<(Timestamp, Vec<u8>)> {
    frames(capture)
        .unwrap()
        .map(|frame| {
            let frame = frame.unwrap();
            (frame.time, frame.data.to_vec())
        })
        .collect()
}

fn pcap(frames: &[(Timestamp, Vec<u8>)], options: PcapOptions) -> Vec<u8> {
    let mut out = PcapWriter::new(Vec::new(), options).unwrap();
    frames.iter().for_each(|(time, frame)| out.write(*time, frame).unwrap());
    out.finish().unwrap()
}

fn pcapng(frames: &[(Timestamp, Vec<u8>)], order: ByteOrder, resolution: Resolution) -> Vec<u8> {
    let mut out = PcapngWriter::new(Vec::new(), order).unwrap();
    let interface =
        Interface { link: LinkType::Ethernet, snaplen: WHOLE_FRAMES, resolution, name: Some("eth0") };
    let interface = out.interface(interface).unwrap();
    frames.iter().for_each(|(time, frame)| out.write(interface, *time, frame).unwrap());
    out.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_second_replay_gives_the_same_bytes() {
    for name in BEACONS.into_iter().chain(BENIGN) {
        let (bytes, _) = capture(name);
        for arguments in
            [&NDJSON[..], &ALL, &["--stream"], &["--format", "csv", "--all"], &["--format", "table"]]
        {
            assert!(
                replay(arguments, &bytes).stdout == replay(arguments, &bytes).stdout,
                "{name} {arguments:?} differs from run to run"
            );
        }
    }
}

/// The id of an emission, up to the moment at its end, and that moment.
fn emission(text: &str) -> Option<(&str, Timestamp)> {
    let (id, moment) = text.rsplit_once('-')?;
    let finding = id.split_once('-')?.0;
    let moment = i64::from_str_radix(moment, 16).ok()?;
    (finding.len() == 32).then_some((id, Timestamp::from_nanos(moment)))
}

/// Moves every text of a row that is a time, or ends with one.
fn moved(value: &Value, nanos: i64) -> Value {
    match value {
        Value::String(text) => match (text.parse::<Timestamp>(), emission(text)) {
            (Ok(time), _) => Value::String(time.plus_nanos(nanos).to_string()),
            (_, Some((id, time))) => Value::String(format!("{id}-{:016x}", time.plus_nanos(nanos).nanos())),
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(|item| moved(item, nanos)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), moved(value, nanos))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn the_same_capture_a_year_later_gives_the_same_alerts() {
    const YEAR: i64 = 365 * 86_400 * SECOND;
    for name in BEACONS.into_iter().chain(BENIGN) {
        let (bytes, _) = capture(name);
        let mut later = frames_of(&bytes);
        later.iter_mut().for_each(|(time, _)| *time = time.plus_nanos(YEAR));
        let later = pcap(&later, PcapOptions::default());
        for arguments in [&NDJSON[..], &ALL, &["--stream"]] {
            let now: Vec<Value> =
                rows(&replay(arguments, &bytes)).iter().map(|row| moved(row, YEAR)).collect();
            assert_eq!(now, rows(&replay(arguments, &later)), "{name} {arguments:?}");
        }
    }
}

/// Fields that carry a moment at which a timer fired: the timers stand on a grid of a quarter of a second.
const ON_THE_GRID: [&str; 3] = ["/@timestamp", "/sonde/evaluated", "/sonde/detected"];

#[test]
fn the_same_capture_at_an_odd_moment_gives_the_same_findings() {
    const ODD: i64 = 3 * SECOND + 137_001_000;
    for name in BEACONS.into_iter().chain(BENIGN) {
        let (bytes, _) = capture(name);
        let mut later = frames_of(&bytes);
        later.iter_mut().for_each(|(time, _)| *time = time.plus_nanos(ODD));
        let later = rows(&replay(&ALL, &pcap(&later, PcapOptions::default())));
        let now = rows(&replay(&ALL, &bytes));
        assert_eq!(now.len(), later.len(), "{name}");
        for (now, later) in now.iter().zip(later) {
            let (mut now, mut later) = (moved(now, ODD), later);
            // The moment in the id of the emission is that of the evaluation.
            for row in [&mut now, &mut later] {
                let (id, moment) =
                    emission(row["event"]["id"].as_str().unwrap()).expect("an emission has an id");
                assert_eq!(row["sonde"]["evaluated"].as_str().unwrap(), moment.to_string(), "{name}");
                let id = Value::from(id);
                row["event"]["id"] = id;
            }
            for field in ON_THE_GRID {
                let (Some(a), Some(b)) = (now.pointer_mut(field), later.pointer_mut(field)) else { continue };
                let moment = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
                let off = moment(a).since(moment(b)).abs();
                assert!(off <= SECOND / 4, "{name}: {field} is off by {off} ns");
                *a = b.take();
                *b = a.clone();
            }
            assert_eq!(now, later, "{name}");
        }
    }
}

#[test]
fn its_own_events_give_the_same_alerts_to_the_byte() {
    let scratch = Scratch::new("events");
    for name in BEACONS.into_iter().chain(BENIGN) {
        let (bytes, _) = capture(name);
        let events = scratch.file("e.ndjson");
        let path = events.to_str().unwrap();
        let from_packets = replay(&["--events", path, "--format", "ndjson"], &bytes);
        let all = replay(&ALL, &bytes);
        let stream = replay(&["--stream"], &bytes);
        let files = [events.clone()];
        let same = |arguments: &[&str], expected: &[u8]| {
            let again = replay_files(&files, arguments);
            assert!(again.stdout == expected, "{name} {arguments:?} differs between packets and events");
        };
        same(&NDJSON, &from_packets.stdout);
        same(&ALL, &all.stdout);
        same(&["--stream"], &stream.stdout);
        // And events written from events are those events.
        let written = std::fs::read(&events).unwrap();
        let again = replay_files(&files, &["--events", "-"]);
        assert!(again.stdout == written, "{name}: events do not survive a replay");
    }
}

#[test]
fn every_form_of_a_capture_gives_the_same_bytes() {
    let scratch = Scratch::new("forms");
    for name in ["rotation", "in-connection", "dns-callback", "quic"] {
        let (bytes, _) = capture(name);
        let frames = frames_of(&bytes);
        let options = |unit, order| PcapOptions { unit, order, ..PcapOptions::default() };
        let (little, big) = (ByteOrder::Little, ByteOrder::Big);
        let nanos_big = pcap(&frames, options(TimeUnit::Nanos, big));
        let forms = [
            ("little.pcap", pcap(&frames, options(TimeUnit::Micros, little))),
            ("big.pcap", pcap(&frames, options(TimeUnit::Micros, big))),
            ("nanos.pcap", pcap(&frames, options(TimeUnit::Nanos, little))),
            ("nanos-big.pcap", nanos_big.clone()),
            ("little.pcapng", pcapng(&frames, little, Resolution::Unsaid)),
            ("big.pcapng", pcapng(&frames, big, Resolution::Decimal(9))),
            ("a.pcap.gz", gzip(&bytes)),
            // What a file is called does not matter.
            ("b.txt", gzip(&pcapng(&frames, little, Resolution::Decimal(6)))),
            ("c.pcap.zst", zstd::encode_all(&bytes[..], 1).unwrap()),
            ("d.zst", zstd::encode_all(&gzip(&nanos_big)[..], 1).unwrap()),
        ];
        let expected = replay(&ALL, &bytes).stdout;
        assert!(!expected.is_empty());
        for (file, form) in forms {
            let path = scratch.write(file, &form);
            assert!(replay_files(&[path], &ALL).stdout == expected, "{name} as {file}");
            assert!(replay(&ALL, &form).stdout == expected, "{name} as {file} on stdin");
        }
    }
}

#[test]
fn a_capture_in_pieces_gives_the_same_as_the_whole() {
    for name in BEACONS.into_iter().chain(BENIGN) {
        let (bytes, _) = capture(name);
        let frames = frames_of(&bytes);
        let whole = replay(&ALL, &bytes).stdout;
        let events = replay(&["--events", "-"], &bytes).stdout;
        let scratch = Scratch::new("pieces");
        let piece = |file: &str, frames: &[_]| scratch.write(file, &pcap(frames, PcapOptions::default()));
        let (first, rest) = frames.split_at(frames.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 5);
        let files = [piece("a.pcap", first), piece("b.pcap", second), piece("c.pcap", third)];
        assert!(replay_files(&files, &ALL).stdout == whole, "{name} in pieces");
        assert!(replay_files(&files, &["--events", "-"]).stdout == events, "{name}: events of the pieces");
        let mut backwards = files.to_vec();
        backwards.reverse();
        assert!(replay_files(&backwards, &ALL).stdout == whole, "{name} in pieces, named backwards");
        let folder = [scratch.path().to_owned()];
        assert!(replay_files(&folder, &ALL).stdout == whole, "{name} in a folder");
    }
}

#[test]
fn the_last_word_of_a_stream_is_the_final_state() {
    for name in BEACONS.into_iter().chain(BENIGN) {
        let (bytes, _) = capture(name);
        let told = |row: &Value| (text(row, "/sonde/id").to_owned(), text(row, "/sonde/severity").to_owned());
        // Later lines of the same id replace earlier ones.
        let stream: BTreeMap<String, String> =
            rows(&replay(&["--stream"], &bytes)).iter().map(told).collect();
        let last: BTreeMap<String, String> = rows(&replay(&NDJSON, &bytes)).iter().map(told).collect();
        assert_eq!(stream, last, "{name}");
    }
}

#[test]
fn a_stream_counts_its_revisions_and_never_goes_back_in_time() {
    for name in BEACONS {
        let stream = rows(&replay(&["--stream"], &capture(name).0));
        let mut revisions: BTreeMap<&str, u64> = BTreeMap::new();
        let mut latest = "";
        for row in &stream {
            let revision = revisions.entry(text(row, "/sonde/id")).or_default();
            *revision += 1;
            assert_eq!(row.pointer("/sonde/revision").and_then(Value::as_u64), Some(*revision), "{name}");
            let created = text(row, "/sonde/change") == "created";
            assert_eq!(created, *revision == 1, "{name}: {row}");
            assert!(text(row, "/@timestamp") >= latest, "{name}");
            latest = text(row, "/@timestamp");
        }
    }
}

#[test]
fn the_hosts_of_merged_captures_do_not_touch_each_other() {
    // The same story on another host: each is told as if it were alone.
    let (bytes, _) = capture("cobalt-20");
    let mut other = bytes.clone();
    let at: Vec<usize> =
        other.windows(4).enumerate().filter(|(_, w)| *w == [10, 0, 0, 5]).map(|(at, _)| at).collect();
    for at in at {
        other[at + 3] = 77;
    }
    let scratch = Scratch::new("hosts");
    let files = [scratch.write("a.pcap", &bytes), scratch.write("b.pcap", &other)];
    let both = rows(&replay_files(&files, &NDJSON));
    let hosts: Vec<&str> = both.iter().map(|row| text(row, "/host/name")).collect();
    assert_eq!(hosts, ["10.0.0.5", "10.0.0.77"], "equal scores are sorted by host");
    for (field, equal) in [("/sonde/score", true), ("/sonde/evidence", true), ("/sonde/id", false)] {
        assert_eq!(both[0].pointer(field) == both[1].pointer(field), equal, "{field}");
    }
}

#[test]
fn severity_filters_cut_the_list_and_nothing_else() {
    let (bytes, _) = capture("ntp");
    let all = rows(&replay(&ALL, &bytes));
    let low = rows(&replay(&["--all", "--format", "ndjson", "--min-severity", "low"], &bytes));
    let expected: Vec<&Value> = all.iter().filter(|row| text(row, "/sonde/severity") != "info").collect();
    assert!(expected.len() < all.len());
    assert_eq!(low.iter().collect::<Vec<_>>(), expected);
    let none = run(["replay", "-", "--format", "ndjson"], &bytes).expect(0);
    assert_eq!(none.text(), "", "no alert, no line");
}
