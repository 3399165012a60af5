//! Which entry counts, what captures tell, and the bounds of both.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::decode::packet::{Header, flags};
use crate::format::process_map::{MapEntry, MapFormat, MapReader};
use crate::format::{CaptureParser, FrameSpan, Step};
use crate::net::Transport;
use crate::process::{ImageLocation, ParentClass};
use crate::time::NANOS_PER_SEC;

fn tuple(local: &str, remote: &str) -> FiveTuple {
    FiveTuple { transport: Transport::Tcp, local: local.parse().unwrap(), remote: remote.parse().unwrap() }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs_nanos(secs, 0)
}

// --- The map ---------------------------------------------------------------------------------------------------------

fn map(csv: &str) -> ProcessMap {
    let mut builder = ProcessMapBuilder::new();
    let mut reader = MapReader::new(MapFormat::Csv);
    for line in csv.lines() {
        reader.record(line.as_bytes(), &mut |entry| builder.add(entry)).unwrap();
    }
    builder.build().0
}

fn image<'a>(map: &'a ProcessMap, tuple: &FiveTuple, secs: i64) -> &'a str {
    map.find(tuple, at(secs)).map_or("", |(owner, _)| &owner.program.info.image)
}

#[test]
fn the_entry_that_says_most_of_a_connection_wins_wherever_it_stands() {
    let map = map("local_port,remote_ip,remote_port,local_ip,transport,image\n\
                   1000,,,,,port\n\
                   1000,192.0.2.7,443,10.0.0.5,tcp,full\n\
                   1000,192.0.2.7,443,,,port-and-remote\n\
                   1000,192.0.2.7,,,,port-and-address\n\
                   ,192.0.2.7,443,,,remote\n\
                   1000,,,10.0.0.9,,port-and-host\n\
                   ,192.0.2.7,443,10.0.0.9,,remote-and-host\n\
                   2000,,,,udp,datagrams\n");
    for (local, remote, expected) in [
        ("10.0.0.5:1000", "192.0.2.7:443", "full"),
        ("10.0.0.6:1000", "192.0.2.7:443", "port-and-remote"),
        ("10.0.0.5:1000", "192.0.2.7:80", "port-and-address"),
        ("10.0.0.5:1000", "192.0.2.8:80", "port"),
        ("10.0.0.9:1000", "192.0.2.8:80", "port-and-host"),
        ("10.0.0.5:1001", "192.0.2.7:443", "remote"),
        ("10.0.0.9:1001", "192.0.2.7:443", "remote-and-host"),
        ("10.0.0.5:2000", "192.0.2.8:80", ""),
        ("10.0.0.5:1001", "192.0.2.8:443", ""),
    ] {
        assert_eq!(image(&map, &tuple(local, remote), 0), expected, "{local} {remote}");
    }
}

#[test]
fn of_equal_entries_the_one_that_holds_and_began_latest_wins() {
    let map = map("local_port,image,start,end\n\
                   7,ever,,\n\
                   7,hour,1970-01-01T01:00:00Z,1970-01-01T02:00:00Z\n\
                   7,within,1970-01-01T01:10:00Z,1970-01-01T01:20:00Z\n\
                   7,open,1970-01-01T03:00:00Z,\n\
                   7,open-too,1970-01-01T03:00:00Z,\n\
                   8,later,1970-01-01T01:00:00Z,\n\
                   8,before,,1970-01-01T00:10:00Z\n");
    let seven = tuple("10.0.0.5:7", "192.0.2.7:443");
    for (secs, expected) in [
        (0, "ever"),
        (3600, "hour"),
        (4200, "within"),
        (4800, "within"),
        (4801, "hour"),
        (7200, "hour"),
        (7201, "ever"),
        (10_800, "open-too"),
    ] {
        assert_eq!(image(&map, &seven, secs), expected, "{secs}");
    }
    let eight = tuple("10.0.0.5:8", "192.0.2.7:443");
    assert_eq!([600, 601, 3600].map(|secs| image(&map, &eight, secs)), ["before", "", "later"]);
}

#[test]
fn a_process_of_the_map_is_classified_and_its_texts_are_made_harmless() {
    let map = map("local_port,image,parent_image,pid,process_start,sha256\n\
                   7,/tmp/\u{1b}x,/usr/sbin/cron,5,1970-01-01T00:00:09Z,AB\n");
    let (owner, both) = map.find(&tuple("10.0.0.5:7", "192.0.2.7:443"), at(0)).unwrap();
    let info = &owner.program.info;
    assert_eq!((&*info.image, &*info.sha256), ("/tmp/\\u{1b}x", "ab"));
    assert_eq!(
        (info.location, info.parent_class),
        (Some(ImageLocation::Temporary), Some(ParentClass::Scheduler))
    );
    assert_eq!((owner.key, both), (ProcessKey { pid: 5, start: at(9) }, false));
}

#[test]
fn a_flood_of_entries_and_long_texts_stays_within_bounds_and_is_counted() {
    let mut builder = ProcessMapBuilder::new();
    let long = "x".repeat(40_000);
    for port in 1..2000u16 {
        let image = format!("{port}");
        builder.add(&MapEntry {
            local_port: Some(port),
            image: &image,
            command_line: &long,
            ..Default::default()
        });
    }
    let (_, counters) = builder.build();
    assert!(counters.entries < 600 && counters.processes == counters.entries, "{counters:?}");
    assert_eq!(counters.entries as u64 + counters.left_out, 1999);
    let mut builder = ProcessMapBuilder::new();
    for number in 0..200_000u32 {
        let remote_ip = Some(IpAddr::from(number.to_be_bytes()));
        builder.add(&MapEntry { remote_ip, image: "x", ..Default::default() });
    }
    let (map, counters) = builder.build();
    assert_eq!((counters.entries, counters.processes, counters.left_out), (131_072, 1, 68_928));
    assert_eq!(image(&map, &tuple("10.0.0.5:7", "0.0.0.9:1"), 0), "x");
}

// --- What captures tell ----------------------------------------------------------------------------------------------

/// A record of a packet with such comments, and what it takes to read its note.
fn noted(comments: &[&str]) -> (CaptureParser, Vec<u8>, FrameSpan) {
    let block = |kind: u32, body: &[u8]| {
        let len = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
        [&kind.to_le_bytes()[..], &len, body, &len].concat()
    };
    let section = [&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let head = [block(0x0a0d_0d0a, &section), block(1, &[1, 0, 0, 0, 0, 0, 0, 0])].concat();
    let mut body = vec![0; 20];
    for comment in comments {
        body.extend([1, 0]);
        body.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
        body.extend(comment.bytes());
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let record = block(6, &body);
    let file = [head, record.clone()].concat();
    let (mut parser, mut rest) = (CaptureParser::new(&file).unwrap(), &file[..]);
    loop {
        match parser.step(rest).unwrap() {
            Step::Frame { frame, .. } => return (parser, record, frame),
            Step::Skip { used } => rest = &rest[used..],
            Step::More { .. } => panic!("cut"),
        }
    }
}

const LOCAL: &str = "10.0.0.5:1000";
const REMOTE: &str = "192.0.2.7:443";

/// Takes a packet of the one connection, out or in, with such comments.
fn packet(attributor: &mut Attributor, secs: i64, out: bool, bits: u8, comments: &[&str]) {
    let (parser, record, span) = noted(comments);
    let (local, remote): (SocketAddr, SocketAddr) = (LOCAL.parse().unwrap(), REMOTE.parse().unwrap());
    let (source, destination) = if out { (local, remote) } else { (remote, local) };
    let packet = Packet {
        time: at(secs),
        source: source.ip().into(),
        destination: destination.ip().into(),
        transport: Header::Tcp {
            source_port: source.port(),
            destination_port: destination.port(),
            sequence: 0,
            flags: bits,
        },
        payload: &[],
        payload_len: 0,
    };
    attributor.packet(&packet, parser.note(&record, &span));
}

fn pid(attributor: &Attributor, start: i64) -> Option<u32> {
    attributor.owner(&tuple(LOCAL, REMOTE), at(start)).map(|owner| owner.key.pid)
}

const SIX: &str = "PID: 6\nCmd: /opt/six\nArgs: six";
const SEVEN: &str = "PID: 7\nCmd: /opt/seven\nArgs: seven";

#[test]
fn comments_of_ptcpdump_in_one_or_several_tell_the_same_process() {
    let one = "PID: 1234\nCmd: /usr/bin/curl...\nArgs: curl https://a.example\nUserId: 1000\nParentPID: 500\n\
               ParentCmd: /usr/bin/bash\nParentArgs: bash\nContainerId: c0ffee";
    let several = [
        "PID: 1234\nCmd: /usr/bin/curl\nArgs: curl https://a.example",
        "ThreadId: 1\nThreadName: x",
        "UserId: 1000\nGroupId: 1000",
        "ParentPID: 500\nParentCmd: /usr/bin/bash\nParentArgs: bash",
        "ContainerName: c\nContainerId: c0ffee\nContainerImage: i\nContainerLabels: {}",
    ];
    for comments in [&[one][..], &several] {
        let mut attributor = Attributor::new(None, 1 << 20);
        packet(&mut attributor, 0, false, 0, comments);
        let owner = attributor.owner(&tuple(LOCAL, REMOTE), at(0)).unwrap();
        let info = &owner.program.info;
        assert_eq!((owner.key.pid, &*info.image, &*info.user), (1234, "/usr/bin/curl", "1000"));
        assert_eq!((&*info.command_line, &*info.container), ("curl https://a.example", "c0ffee"));
        assert_eq!((&*info.parent_image, info.parent_class), ("/usr/bin/bash", Some(ParentClass::Shell)));
    }
}

#[test]
fn arguments_cannot_speak_for_parent_or_container() {
    let lie = "PID: 6\nCmd: /tmp/six\nArgs: x\nParentCmd: /usr/bin/apt\nContainerId: none\nPID: 1\nCmd: /usr/bin/apt";
    let mut attributor = Attributor::new(None, 1 << 20);
    packet(
        &mut attributor,
        0,
        true,
        0,
        &[lie, "ParentPID: 5\nParentCmd: /usr/bin/python3", "ContainerId: c"],
    );
    let owner = attributor.owner(&tuple(LOCAL, REMOTE), at(0)).unwrap();
    let info = &owner.program.info;
    assert_eq!((owner.key.pid, &*info.image), (6, "/tmp/six"));
    assert_eq!((&*info.parent_image, &*info.container), ("/usr/bin/python3", "c"));
}

#[test]
fn other_comments_tell_of_nobody() {
    let mut attributor = Attributor::new(None, 1 << 20);
    for comments in
        [&["look here"][..], &["Cmd: x"], &["PID: x\nCmd: y"], &["PID: 7"], &["PID: 7\nCmd:"], &[""], &[]]
    {
        packet(&mut attributor, 0, true, 0, comments);
    }
    assert!(attributor.is_idle());
}

#[test]
fn a_connection_keeps_its_process_and_the_next_on_its_ports_has_its_own() {
    let mut attributor = Attributor::new(None, 1 << 20);
    packet(&mut attributor, 10, true, flags::SYN, &[SIX]);
    packet(&mut attributor, 11, true, 0, &[SEVEN]);
    assert_eq!(pid(&attributor, 10), Some(6), "a later packet changes nothing");
    packet(&mut attributor, 20, true, flags::SYN, &[SEVEN]);
    assert_eq!((pid(&attributor, 10), pid(&attributor, 20)), (Some(6), Some(7)));
    packet(&mut attributor, 30, true, flags::SYN, &[]);
    assert_eq!((pid(&attributor, 20), pid(&attributor, 30)), (Some(7), None));
    packet(&mut attributor, 31, false, 0, &[SIX]);
    assert_eq!((pid(&attributor, 20), pid(&attributor, 30)), (Some(7), Some(6)));
}

#[test]
fn a_connection_whose_start_was_not_told_of_has_the_process_told_later() {
    let mut attributor = Attributor::new(None, 1 << 20);
    packet(&mut attributor, 10, true, flags::SYN, &[]);
    packet(&mut attributor, 11, true, 0, &[SIX]);
    assert_eq!(pid(&attributor, 10), Some(6));
    // The SYN once more, without a comment, as a capture that drops packets would have it.
    packet(&mut attributor, 12, true, flags::SYN, &[]);
    packet(&mut attributor, 13, true, flags::SYN, &[]);
    assert_eq!(pid(&attributor, 10), Some(6));
    packet(&mut attributor, 14, true, 0, &[SIX]);
    assert_eq!(pid(&attributor, 10), Some(6));
}

#[test]
fn a_map_goes_before_what_the_capture_says_only_where_it_names_both_ends() {
    let all = "local_port,remote_ip,remote_port,local_ip,image,pid\n1000,192.0.2.7,443,,part,1\n".to_owned();
    for (line, expected) in [("", 6), ("1000,192.0.2.7,443,10.0.0.5,full,2\n", 2)] {
        let mut attributor = Attributor::new(Some(map(&(all.clone() + line))), 1 << 20);
        assert!(!attributor.is_idle());
        assert_eq!(pid(&attributor, 10), Some(if line.is_empty() { 1 } else { 2 }));
        packet(&mut attributor, 10, true, flags::SYN, &[SIX]);
        assert_eq!(pid(&attributor, 10), Some(expected));
    }
}

#[test]
fn a_flood_of_comments_stays_within_bounds_and_is_counted() {
    const ROOM: usize = 64 << 10;
    let mut attributor = Attributor::new(None, ROOM);
    let (local, remote) = (IpAddr::from([10, 0, 0, 5]), IpAddr::from([192, 0, 2, 7]));
    for number in 0..2000u16 {
        let comment = format!("PID: {number}\nCmd: /x\nArgs: {}", "y".repeat(usize::from(number % 500)));
        let (parser, record, span) = noted(&[&comment]);
        let packet = Packet {
            time: at(i64::from(number)),
            source: local.into(),
            destination: remote.into(),
            transport: Header::Udp { source_port: number, destination_port: 443 },
            payload: &[],
            payload_len: 0,
        };
        attributor.packet(&packet, parser.note(&record, &span));
        let tuple = FiveTuple {
            transport: Transport::Udp,
            local: (local, number).into(),
            remote: (remote, 443).into(),
        };
        assert_eq!(attributor.owner(&tuple, packet.time).map(|owner| owner.key.pid), Some(number.into()));
        assert!(attributor.told.held() <= ROOM);
    }
    let counters = attributor.counters();
    assert!(counters.flows_evicted > 1000 && counters.processes_evicted > 1000, "{counters:?}");
}

proptest! {
    #[test]
    fn any_comments_and_packets_return(steps in proptest::collection::vec(
        (0i64..20_000, any::<bool>(), any::<bool>(),
         proptest::collection::vec("(PID: [0-9]{1,2}\nCmd: [a-c])?(\n?[A-Za-z]{0,9}:? ?\\PC{0,5}){0,3}", 0..3)), 0..20)) {
        let mut attributor = Attributor::new(None, 2048);
        for (secs, out, syn, comments) in steps {
            let comments: Vec<_> = comments.iter().map(String::as_str).collect();
            packet(&mut attributor, secs, out, if syn { flags::SYN } else { 0 }, &comments);
            let _ = pid(&attributor, secs - NANOS_PER_SEC.min(1));
            prop_assert!(attributor.told.held() <= 2048);
        }
    }
}
