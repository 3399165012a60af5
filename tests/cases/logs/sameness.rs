//! The same rows give the same alerts, however they come: on any number of threads, packed, cut, shuffled, or as events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sonde_tests::logs::{BEGIN, Call, beacon_name, defender, zeek_conn, zeek_conn_json, zeek_ssl};
use sonde_tests::pack;
use sonde_tests::program::{Ran, Scratch, run};
use sonde_tests::rng::Rng;

use super::{ALL, EVENTS, NDJSON, files_of, replay, rows, samples, text, three_hosts};

const STREAM: [&str; 3] = ["--format", "ndjson", "--stream"];

/// Lines in an order that no two replays can differ in.
fn sorted(ran: &Ran) -> Vec<&str> {
    let mut lines: Vec<&str> = ran.text().lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let scratch = Scratch::new("threads");
    scratch.write("conn.log", zeek_conn(&three_hosts()).as_bytes());
    scratch.write("ssl.log", zeek_ssl(&three_hosts()).as_bytes());
    let mut inputs = samples();
    inputs.push(("generated".to_owned(), scratch.path().to_owned()));
    for (name, folder) in inputs {
        for arguments in [&ALL[..], &STREAM, &EVENTS, &["--compare", "--all", "--format", "csv"]] {
            let on = |threads| replay(&[&folder], &[arguments, &["--threads", threads]].concat());
            let one = on("1");
            for threads in ["2", "3", "8"] {
                let many = on(threads);
                assert!(one == many, "{name} {arguments:?}: {threads} threads say otherwise than one");
            }
        }
    }
}

#[test]
fn events_of_a_log_give_the_alerts_of_the_log() {
    let scratch = Scratch::new("log-events");
    scratch.write("conn.log", zeek_conn(&three_hosts()).as_bytes());
    scratch.write("ssl.log", zeek_ssl(&three_hosts()).as_bytes());
    let kept = Scratch::new("kept-events");
    let mut inputs = samples();
    inputs.push(("generated".to_owned(), scratch.path().to_owned()));
    for (name, folder) in inputs {
        let events = kept.file("e.ndjson");
        let with = replay(&[&folder], &[&ALL[..], &["--events", events.to_str().unwrap()]].concat());
        let without = replay(&[&folder], &ALL);
        assert!(with.stdout == without.stdout, "{name}: writing the events changes the answer");
        assert!(replay(&[&events], &ALL).stdout == without.stdout, "{name}: events say otherwise");
        assert!(
            replay(&[&events], &NDJSON).stdout == replay(&[&folder], &NDJSON).stdout,
            "{name}: alerts of events differ"
        );
        let (ours, theirs) = (replay(&[&folder], &STREAM), replay(&[&events], &STREAM));
        assert_eq!(sorted(&ours), sorted(&theirs), "{name}: streams of log and events");
        let again = replay(&[&events], &EVENTS);
        let written = std::fs::read(&events).unwrap();
        assert!(again.stdout == written, "{name}: events do not survive a replay");
    }
}

#[test]
fn a_stream_of_logs_never_goes_back_in_time_and_ends_in_the_final_state() {
    let scratch = Scratch::new("log-stream");
    scratch.write("conn.log", zeek_conn(&three_hosts()).as_bytes());
    scratch.write("ssl.log", zeek_ssl(&three_hosts()).as_bytes());
    let mut inputs = samples();
    inputs.push(("generated".to_owned(), scratch.path().to_owned()));
    for (name, folder) in inputs {
        let stream = replay(&[&folder], &STREAM);
        let stream = rows(&stream);
        let place =
            |row| ["/@timestamp", "/host/name", "/sonde/id"].map(|pointer| text(row, pointer).to_owned());
        assert!(stream.is_sorted_by_key(place), "{name}");
        let told = |row| (text(row, "/sonde/id").to_owned(), text(row, "/sonde/severity").to_owned());
        let last: BTreeMap<String, String> = stream.iter().map(told).collect();
        let state: BTreeMap<String, String> = rows(&replay(&[&folder], &NDJSON)).iter().map(told).collect();
        assert_eq!(last, state, "{name}");
    }
}

/// The files of a sample as pairs of name and bytes.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    files_of(folder)
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_log_packed_in_any_way_gives_the_answer_of_the_plain_one() {
    for (name, folder) in samples() {
        let files = contents(&folder);
        let named: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
        let scratch = Scratch::new("packed");
        let each = |suffix: &str, pack: &dyn Fn(&[u8]) -> Vec<u8>| {
            files
                .iter()
                .map(|(name, bytes)| scratch.write(&format!("{name}{suffix}"), &pack(bytes)))
                .collect()
        };
        let tar = pack::tar(&named).unwrap();
        let forms: [(&str, Vec<_>); 9] = [
            ("files by name", files_of(&folder)),
            ("gzip", each(".gz", &|bytes| pack::gzip(bytes).unwrap())),
            ("zstd", each(".zst", &|bytes| pack::zstd(bytes).unwrap())),
            ("both", each(".dat", &|bytes| pack::zstd(&pack::gzip(bytes).unwrap()).unwrap())),
            ("zip", vec![scratch.write("all.zip", &pack::zip(&named).unwrap())]),
            ("zip.gz", vec![scratch.write("all.zip.gz", &pack::gzip(&pack::zip(&named).unwrap()).unwrap())]),
            ("tar", vec![scratch.write("all.tar", &tar)]),
            ("tar.gz", vec![scratch.write("all.tar.gz", &pack::gzip(&tar).unwrap())]),
            ("tar.zst", vec![scratch.write("all.bin", &pack::zstd(&tar).unwrap())]),
        ];
        for arguments in [&ALL[..], &EVENTS] {
            let expected = replay(&[&folder], arguments);
            for (form, files) in &forms {
                let found = replay(files, arguments);
                assert!(
                    found.stdout == expected.stdout,
                    "{name} {arguments:?} as {form}: {} bytes instead of {}: {}",
                    found.stdout.len(),
                    expected.stdout.len(),
                    found.stderr
                );
            }
            if let [(_, bytes)] = &files[..] {
                let mut line = vec!["replay", "-"];
                line.extend_from_slice(arguments);
                assert!(run(line, bytes).expect(0).stdout == expected.stdout, "{name} on stdin");
            }
        }
    }
}

#[test]
fn packed_logs_inside_an_archive_are_read_and_archives_inside_archives_are_named() {
    let scratch = Scratch::new("inner");
    let calls = three_hosts();
    let (conn, ssl) = (zeek_conn(&calls), zeek_ssl(&calls));
    let plain = [scratch.write("conn.log", conn.as_bytes()), scratch.write("ssl.log", ssl.as_bytes())];
    let expected = replay(&plain, &ALL).stdout;
    let (conn, ssl) = (pack::gzip(conn.as_bytes()).unwrap(), pack::zstd(ssl.as_bytes()).unwrap());
    let inner = pack::zip(&[("deep.log", &conn[..])]).unwrap();
    let files = [
        ("2026/conn.log.gz", &conn[..]),
        ("2026/ssl.log.zst", &ssl[..]),
        ("readme.txt", &b"Exported on Monday."[..]),
        ("more.zip", &inner[..]),
        ("empty.log", b""),
    ];
    for (name, packed) in [("a.zip", pack::zip(&files).unwrap()), ("a.tar", pack::tar(&files).unwrap())] {
        let found = replay(&[scratch.write(name, &packed)], &ALL);
        assert!(found.stdout == expected, "{name}: {}", found.stderr);
        for member in ["readme.txt", "more.zip", "empty.log"] {
            assert!(found.stderr.contains(&format!("{name}/{member}")), "{name}: {member}: {}", found.stderr);
        }
    }
}

/// A text whose rows below its header lines are shuffled.
fn shuffled(text: &str, rng: &mut Rng) -> String {
    let header = |line: &&str| line.starts_with('#') || line.starts_with("Timestamp");
    let (header, mut body): (Vec<&str>, Vec<&str>) = text.lines().partition(header);
    for at in (1..body.len()).rev() {
        body.swap(at, rng.length(0, at + 1));
    }
    let mut all = [header, body].concat().join("\n");
    all.push('\n');
    all
}

#[test]
fn the_order_of_rows_in_a_file_changes_nothing() {
    let calls = three_hosts();
    let mut rng = Rng::new(5);
    for (name, texts) in [
        ("Zeek", vec![zeek_conn(&calls), zeek_ssl(&calls)]),
        ("Zeek JSON", vec![zeek_conn_json(&calls)]),
        ("Defender", vec![defender(&calls)]),
    ] {
        let scratch = Scratch::new("order");
        let write = |prefix: &str, texts: &[String]| -> Vec<_> {
            (0..)
                .zip(texts)
                .map(|(index, text)| scratch.write(&format!("{prefix}{index}"), text.as_bytes()))
                .collect()
        };
        let plain = write("plain", &texts);
        let mixed: Vec<String> = texts.iter().map(|text| shuffled(text, &mut rng)).collect();
        assert_ne!(texts, mixed);
        let mixed = write("mixed", &mixed);
        for arguments in [&ALL[..], &STREAM, &EVENTS] {
            let (plain, mixed) = (replay(&plain, arguments), replay(&mixed, arguments));
            assert!(plain.text().lines().count() >= 3, "{name} {arguments:?}");
            assert!(plain.stdout == mixed.stdout, "{name} {arguments:?}");
        }
    }
}

#[test]
fn hourly_files_named_in_any_order_are_one_log() {
    const PART: i64 = 1800 * 1_000_000_000;
    let calls = three_hosts();
    let mut parts: BTreeMap<i64, Vec<Call>> = BTreeMap::new();
    for call in &calls {
        parts.entry(call.start.since(BEGIN) / PART).or_default().push(call.clone());
    }
    assert_eq!(parts.len(), 4);
    let whole = Scratch::new("whole");
    whole.write("conn.log", zeek_conn(&calls).as_bytes());
    whole.write("ssl.log", zeek_ssl(&calls).as_bytes());
    let cut = Scratch::new("cut");
    let mut files = Vec::new();
    for (part, calls) in &parts {
        files.push(
            cut.write(&format!("conn.{part:02}.log.gz"), &pack::gzip(zeek_conn(calls).as_bytes()).unwrap()),
        );
        files.push(cut.write(&format!("ssl.{part:02}.log"), zeek_ssl(calls).as_bytes()));
    }
    for arguments in [&ALL[..], &STREAM, &EVENTS] {
        let expected = replay(&[whole.path()], arguments).stdout;
        assert!(replay(&files, arguments).stdout == expected, "{arguments:?}: in order");
        assert!(replay(&[cut.path()], arguments).stdout == expected, "{arguments:?}: the folder");
        let mut backwards = files.clone();
        backwards.reverse();
        assert!(replay(&backwards, arguments).stdout == expected, "{arguments:?}: backwards");
        backwards.rotate_left(3);
        backwards.swap(1, 4);
        assert!(replay(&backwards, arguments).stdout == expected, "{arguments:?}: anyhow");
    }
}

#[test]
fn zeek_says_the_same_in_both_its_forms() {
    let calls: Vec<Call> =
        three_hosts().into_iter().map(|call| Call { name: String::new(), ..call }).collect();
    let scratch = Scratch::new("both-forms");
    let tsv = scratch.write("conn.log", zeek_conn(&calls).as_bytes());
    let json = scratch.write("conn.json", zeek_conn_json(&calls).as_bytes());
    for arguments in [&ALL[..], &EVENTS] {
        assert!(replay(&[&tsv], arguments).stdout == replay(&[&json], arguments).stdout, "{arguments:?}");
    }
}

#[test]
fn each_host_is_told_as_if_its_rows_were_alone() {
    let calls = three_hosts();
    let scratch = Scratch::new("hosts-of-logs");
    for (name, write) in [("zeek", &zeek_conn as &dyn Fn(&[Call]) -> String), ("defender", &defender)] {
        let all = rows(&replay(&[scratch.write(name, write(&calls).as_bytes())], &ALL));
        let mut hosts = Vec::new();
        for host in 1..=3 {
            let own: Vec<Call> = calls.iter().filter(|call| call.host == host).cloned().collect();
            let alone = rows(&replay(&[scratch.write(name, write(&own).as_bytes())], &ALL));
            let host = text(&alone[0], "/host/name").to_owned();
            let among: Vec<_> = all.iter().filter(|row| text(row, "/host/name") == host).cloned().collect();
            assert!(!alone.is_empty());
            assert_eq!(alone, among, "{name}: {host}");
            hosts.push(host);
        }
        hosts.dedup();
        assert_eq!(hosts.len(), 3, "{name}");
    }
}

#[test]
fn the_beacon_of_every_host_is_an_alert_and_what_people_do_is_none() {
    let calls = three_hosts();
    let scratch = Scratch::new("truth");
    let zeek = [
        scratch.write("conn.log", zeek_conn(&calls).as_bytes()),
        scratch.write("ssl.log", zeek_ssl(&calls).as_bytes()),
    ];
    let defender = [scratch.write("defender.csv", defender(&calls).as_bytes())];
    for files in [&zeek[..], &defender] {
        let alerts = rows(&replay(files, &NDJSON));
        let mut found: Vec<&str> = alerts.iter().map(|row| text(row, "/destination/address")).collect();
        found.sort_unstable();
        assert_eq!(found, (1..=3).map(beacon_name).collect::<Vec<_>>(), "{files:?}");
    }
}

#[test]
fn logs_of_all_kinds_in_one_replay_are_one_story() {
    // Some samples tell one story in several forms; of equal rows the first counts, so only one of them is taken.
    let mut parts: Vec<_> = samples()
        .into_iter()
        .filter(|(name, _)| !["eve", "zeek-json"].contains(&&name[..]))
        .map(|(_, folder)| folder)
        .collect();
    let whole = replay(&parts, &ALL);
    for threads in ["1", "2", "8"] {
        parts.reverse();
        let found = replay(&parts, &[&ALL[..], &["--threads", threads]].concat());
        assert!(found.stdout == whole.stdout, "{threads}: the order of inputs changes the answer");
    }
    let hosts: BTreeSet<String> = rows(&whole).iter().map(|row| text(row, "/host/name").to_owned()).collect();
    for host in ["10.20.0.15", "pc-07.corp.example", "pc-017.corp.example", "pc-21.corp.example"] {
        assert!(hosts.contains(host), "{host} is not among {hosts:?}");
    }
}
