//! A capture tells of no processes; a map does, or what the capture's writer put beside the packets. Then the alert names
//! the program, may be high, and its events replay to the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use sonde_common::format::frames;
use sonde_tests::capture::{Interface, PcapngWriter};
use sonde_tests::packet::ByteOrder;
use sonde_tests::program::{Ran, Scratch, run};

use super::{capture, replay_files, rows, text};

const NDJSON: [&str; 2] = ["--format", "ndjson"];
const IMAGE: &str = "/tmp/.cache/updater";

/// The capture and the connections in it: local port and remote end.
fn beacon(scratch: &Scratch) -> (std::path::PathBuf, Vec<(String, u64, String, u64)>) {
    let file = scratch.write("beacon.pcap", &capture("fixed-60").0);
    let ran = replay_files(std::slice::from_ref(&file), &["--events", "-"]);
    let ends = rows(&ran)
        .iter()
        .filter(|row| text(row, "/phase") == "opened")
        .map(|row| {
            let port = |name: &str| row.get(name).and_then(Value::as_u64).unwrap();
            let ip = |name: &str| row.get(name).and_then(Value::as_str).unwrap().to_owned();
            (ip("local_ip"), port("local_port"), ip("remote_ip"), port("remote_port"))
        })
        .collect();
    (file, ends)
}

fn the_alert(ran: &Ran) -> Value {
    let alerts = rows(ran);
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    alert.clone()
}

fn severity(alert: &Value) -> &str {
    text(alert, "/sonde/severity")
}

fn mapped(file: &Path, map: &Path, arguments: &[&str]) -> Ran {
    let map = ["--process-map", map.to_str().unwrap()];
    replay_files(&[file.to_owned()], &[&map[..], arguments].concat())
}

/// Lines of events by their type, and how many of them name a process.
fn processes(events: &Ran) -> BTreeMap<String, (usize, usize)> {
    let mut all: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for row in rows(events) {
        let entry = all.entry(text(&row, "/type").to_owned()).or_default();
        entry.0 += 1;
        entry.1 += usize::from(row.get("process").is_some());
    }
    all
}

#[test]
fn a_map_gives_the_alert_its_process_and_lets_it_be_high() {
    let scratch = Scratch::new("map");
    let (file, ends) = beacon(&scratch);
    let without = the_alert(&replay_files(std::slice::from_ref(&file), &NDJSON));
    assert_eq!((severity(&without), without.get("process")), ("medium", None));
    let mut csv = "transport,local_ip,local_port,remote_ip,remote_port,pid,process_start,image,command_line,parent_image,user,signed\n".to_owned();
    let (mut json, mut ss) = (String::new(), String::new());
    for (number, (local_ip, local_port, remote_ip, remote_port)) in ends.iter().enumerate() {
        // A new process each time, as a scheduled job has it.
        let pid = 4000 + number;
        writeln!(csv, "tcp,{local_ip},{local_port},{remote_ip},{remote_port},{pid},2023-11-15T00:00:00Z,{IMAGE},{IMAGE} -q,/usr/sbin/cron,mallory,false").unwrap();
        writeln!(json, r#"{{"local_port":{local_port},"remote_ip":"{remote_ip}","process":{{"pid":{pid}}},"image":"{IMAGE}","signed":false}}"#).unwrap();
        writeln!(ss, "tcp ESTAB 0 0 {local_ip}:{local_port} {remote_ip}:{remote_port} users:((\"updater\",pid={pid},fd=3))").unwrap();
    }
    for (name, map, executable) in [("csv", &csv, IMAGE), ("json", &json, IMAGE), ("ss", &ss, "")] {
        let map = scratch.write(name, map.as_bytes());
        let alert = the_alert(&mapped(&file, &map, &NDJSON));
        assert_eq!(text(&alert, "/process/name"), "updater", "{name}");
        assert_eq!(text(&alert, "/process/executable"), executable, "{name}");
        let missing = alert.pointer("/sonde/missing").and_then(Value::as_array).unwrap();
        assert!(!missing.iter().any(|what| what == "process"), "{name}: {missing:?}");
        if name == "csv" {
            assert!(["high", "critical"].contains(&severity(&alert)), "{alert}");
            assert_eq!(text(&alert, "/process/parent/name"), "cron");
            assert_eq!(text(&alert, "/user/name"), "mallory");
        }
    }
    // What the map says of the remote end alone covers every connection there.
    let (_, _, ip, port) = &ends[0];
    let map =
        scratch.write("remote", format!("remote_ip,remote_port,image\n{ip},{port},{IMAGE}\n").as_bytes());
    let alert = the_alert(&mapped(&file, &map, &NDJSON));
    assert_eq!(text(&alert, "/process/executable"), IMAGE);
    assert_eq!(alert.pointer("/process/pid"), None, "no pid was told");
}

#[test]
fn events_of_a_mapped_capture_replay_to_the_same_alerts() {
    let scratch = Scratch::new("map-events");
    let (file, ends) = beacon(&scratch);
    let mut map = "local_port,image,pid,signed\n".to_owned();
    for (number, (_, port, ..)) in ends.iter().enumerate() {
        writeln!(map, "{port},{IMAGE},{},false", 4000 + number % 3).unwrap();
    }
    let map = scratch.write("map.csv", map.as_bytes());
    let events = mapped(&file, &map, &["--events", "-"]);
    let told = processes(&events);
    assert_eq!(told["process"].0, 3, "each process is told of once");
    assert_eq!(told["connection"].0, told["connection"].1, "all events of a connection name its process");
    let direct = mapped(&file, &map, &[&NDJSON[..], &["--all"]].concat());
    let events = scratch.write("events.ndjson", &events.stdout);
    let again = replay_files(&[events], &[&NDJSON[..], &["--all"]].concat());
    assert_eq!(direct.text(), again.text());
    assert!(rows(&direct).iter().all(|row| text(row, "/process/executable") == IMAGE));
    assert_eq!(mapped(&file, &map, &["--compare", "--format", "ndjson"]).code, 0);
}

#[test]
fn comments_of_ptcpdump_and_process_blocks_of_apple_name_the_process() {
    let scratch = Scratch::new("beside");
    let capture = capture("fixed-60").0;
    let comments = [
        format!("PID: 4711\nCmd: {IMAGE}\nArgs: {IMAGE} -q"),
        "ParentPID: 1\nParentCmd: /usr/sbin/cron\nParentArgs: cron".to_owned(),
    ];
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let number = |number: u32| match order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        };
        let (effective, holder) = (number(1), number(0));
        let commented: Vec<(u16, &[u8])> = comments.iter().map(|text| (1, text.as_bytes())).collect();
        let blocks: Vec<(u16, &[u8])> = vec![(0x8001, &holder), (0x8002, &holder), (0x8003, &effective)];
        for (name, options, executable, pid) in
            [("ptcpdump", commented, IMAGE, 4711), ("apple", blocks, "", 88)]
        {
            let mut out = PcapngWriter::new(Vec::new(), order).unwrap();
            let interface = out.interface(Interface::default()).unwrap();
            out.process(77, "nsurlsessiond").unwrap();
            out.process(88, "updater").unwrap();
            for frame in frames(&capture).unwrap() {
                let frame = frame.unwrap();
                out.write_with_options(interface, frame.time, frame.data, &options).unwrap();
            }
            let file = scratch.write(name, &out.finish().unwrap());
            let ran = replay_files(std::slice::from_ref(&file), &[&NDJSON[..], &["--all"]].concat());
            let alert = the_alert(&ran);
            assert_eq!(text(&alert, "/process/name"), "updater", "{name}");
            assert_eq!(text(&alert, "/process/executable"), executable, "{name}");
            assert_eq!(alert.pointer("/process/pid").and_then(Value::as_u64), Some(pid), "{name}");
            let events = replay_files(&[file], &["--events", "-"]);
            for (kind, (lines, with)) in processes(&events) {
                assert!(kind == "sonde.events" || lines == with, "{name}: {kind}: {with} of {lines}");
            }
            let events = scratch.write("events.ndjson", &events.stdout);
            let again = replay_files(&[events], &[&NDJSON[..], &["--all"]].concat());
            assert_eq!(ran.text(), again.text(), "{name}");
        }
    }
}

#[test]
fn a_map_that_cannot_be_used_ends_the_replay_before_it_begins() {
    let scratch = Scratch::new("bad-map");
    let file = scratch.write("beacon.pcap", &capture("fixed-60").0);
    let map = scratch.write("map", b"what is this\n");
    let empty = scratch.write("empty", b"local_port,image\n0,x\n");
    let absent = map.with_file_name("absent");
    let file = file.to_str().unwrap();
    for (map, code, says) in [
        (&map, 65, "not a process map (tried CSV"),
        (&empty, 65, "no entry that can be used: line 2: local_port: not a port, found `0`"),
        (&absent, 66, "no such file"),
    ] {
        let ran = run(["replay", file, "--process-map", map.to_str().unwrap()], b"").expect(code);
        assert!(ran.stderr.contains(says) && ran.stdout.is_empty(), "{}", ran.stderr);
    }
    let events = scratch.write("events", b"{\"type\":\"sonde.events\",\"version\":1}\n");
    let ran = run(["replay", events.to_str().unwrap(), "--process-map", "-"], b"").expect(64);
    assert!(ran.stderr.contains("only with a capture"), "{}", ran.stderr);
    let ran = run(["replay", "-", "--process-map", "-"], &capture("fixed-60").0).expect(64);
    assert!(ran.stderr.contains("stdin is an input"), "{}", ran.stderr);
    // One bad row costs itself; the rest is used.
    let map = scratch.write("part", b"local_port,image\nx,a\n443,a\n");
    let ran =
        run(["replay", file, "--format", "ndjson", "--process-map", map.to_str().unwrap()], b"").expect(0);
    assert!(
        ran.stderr.contains("local_port: not a port, found `x`") && ran.stderr.contains("line=2"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("names the process of none"), "{}", ran.stderr);
}
