//! Records of each provider and version, as their manifests describe them, and what becomes of them.

use proptest::prelude::*;

use super::assembler::Ask;
use super::fixture::*;
use super::*;
use crate::event::{Outcome, Totals};
use crate::live::{LiveEvent, ProcessEvent, SocketNews, SocketOwner};
use crate::net::{FiveTuple, Transport};
use crate::process::{Attribution, Method, ProcessKey, Quality};
use crate::windows::path::Volumes;
use crate::windows::sid::{Integrity, Sid};

const LOCAL: &str = "192.0.2.10:50000";
const REMOTE: &str = "198.51.100.7:443";
const LOCAL6: &str = "[2001:db8::10]:50000";
const REMOTE6: &str = "[2001:db8::7]:443";
const PID: u32 = 4711;
const SYSTEM: [u8; 12] = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];

/// A system that knows of some processes.
#[derive(Default)]
struct System {
    created: Vec<(u32, Timestamp)>,
    asked: usize,
}

impl Ask for System {
    fn created(&mut self, pid: u32) -> Option<Timestamp> {
        self.asked += 1;
        self.created.iter().find(|(known, _)| *known == pid).map(|(_, created)| *created)
    }

    fn command_line(&mut self, _: ProcessKey) -> Option<String> {
        Some("asked /for".to_owned())
    }

    fn account(&mut self, _: ProcessKey, told: Option<&Sid>) -> u32 {
        told.map_or(1, |_| 2)
    }
}

fn network_of(event: &Event) -> Transfer {
    match decode(&event.record()) {
        Ok(Some(Told::Network(transfer))) => transfer,
        other => panic!("{other:?}"),
    }
}

/// What comes of events, in the end; the system is asked for nothing but what `system` knows.
fn assemble_with(system: &mut System, events: &[Event], until: i64) -> (Vec<LiveEvent>, Losses) {
    let mut volumes = Volumes::new(r"C:\Windows");
    volumes.add("C:", r"\Device\HarddiskVolume3");
    let mut assembler = Assembler::new(volumes);
    for event in events {
        let _ = assembler.record(&event.record());
    }
    let mut out = Vec::new();
    assembler.drain(at(until), system, &mut out);
    (out, assembler.losses())
}

fn assemble(events: &[Event], until: i64) -> Vec<LiveEvent> {
    let (out, losses) = assemble_with(&mut System::default(), events, until);
    assert_eq!(losses, Losses::default());
    out
}

/// News of sockets with their times in milliseconds.
fn news(out: &[LiveEvent]) -> Vec<(i64, SocketNews)> {
    let news = |event: &LiveEvent| match event {
        LiveEvent::Socket(event) => Some((event.time.since(at(0)) / 1_000_000, event.news)),
        _ => None,
    };
    out.iter().filter_map(news).collect()
}

fn owner(pid: u32, start: i64) -> Option<SocketOwner> {
    let attribution = Attribution { method: Method::Etw, quality: Quality::KernelExact };
    Some(SocketOwner { process: ProcessKey { pid, start: at(start) }, uid: 1, attribution })
}

#[test]
fn every_network_event_is_read_for_both_families() {
    for (local, remote) in [(LOCAL, REMOTE), (LOCAL6, REMOTE6)] {
        for (id, deed, tail) in [
            (10, Deed::Sent, 16),
            (11, Deed::Received, 8),
            (12, Deed::Connected, 24),
            (13, Deed::Disconnected, 8),
            (14, Deed::Retransmitted, 8),
            (15, Deed::Accepted, 24),
        ] {
            let transfer = network_of(&network(id, PID, 517, local, remote, tail));
            assert_eq!((transfer.deed, transfer.transport), (deed, Transport::Tcp));
            assert_eq!((transfer.pid, transfer.size), (Some(PID), 517));
            assert_eq!(transfer.ends(), (local.parse().unwrap(), remote.parse().unwrap()));
        }
    }
    for id in [16, 18, 17] {
        assert_eq!(decode(&network(id, PID, 1, LOCAL, REMOTE, 0).record()), Ok(None), "{id}");
    }
}

#[test]
fn bytes_of_an_event_are_where_the_manifest_puts_them() {
    // By hand, so that the builder and the reader cannot agree on a mistake: PID 0x1234, 5 bytes, 198.51.100.7:443 from
    // 192.0.2.10:50000.
    let data = [0x34, 0x12, 0, 0, 5, 0, 0, 0, 198, 51, 100, 7, 192, 0, 2, 10, 0x01, 0xbb, 0xc3, 0x50];
    let record = Record { data: &data, ..network(10, 0, 0, LOCAL, REMOTE, 0).record() };
    let Ok(Some(Told::Network(transfer))) = decode(&record) else { panic!() };
    assert_eq!((transfer.pid, transfer.size), (Some(0x1234), 5));
    assert_eq!((transfer.source, transfer.destination), (LOCAL.parse().unwrap(), REMOTE.parse().unwrap()));
}

#[test]
fn a_received_datagram_names_its_sender_as_the_source() {
    let sent = network_of(&network(42, PID, 30, LOCAL, "192.0.2.53:53", 8));
    let received = network_of(&network(43, PID, 90, "192.0.2.53:53", LOCAL, 8));
    assert_eq!(sent.ends(), received.ends());
    let sent = network_of(&network(42, PID, 30, LOCAL6, REMOTE6, 8));
    assert_eq!((sent.transport, sent.ends().0), (Transport::Udp, LOCAL6.parse().unwrap()));
}

#[test]
fn the_owner_is_the_process_of_the_payload_and_not_of_the_header() {
    let call = network(12, PID, 0, LOCAL, REMOTE, 24).by(9999).at(50);
    let out = assemble(&[began(3, PID, 4, 10, "x"), call], 500);
    assert_eq!(news(&out)[0], (50, SocketNews::Opened(owner(PID, 10))));
}

#[test]
fn a_call_is_told_from_begin_to_end_with_its_bytes() {
    let events = [
        began(3, PID, 4, 0, r"\Device\HarddiskVolume3\a.exe"),
        network(12, PID, 0, LOCAL, REMOTE, 24).at(100),
        network(10, PID, 517, LOCAL, REMOTE, 16).at(110),
        network(14, PID, 517, LOCAL, REMOTE, 8).at(150),
        network(11, PID, 3000, LOCAL, REMOTE, 8).at(200),
        network(10, PID, 40, LOCAL, REMOTE, 16).at(5_000),
        network(13, PID, 0, LOCAL, REMOTE, 8).at(5_500),
    ];
    let told = news(&assemble(&events, 9_000));
    let exchange =
        |start, bytes_out, bytes_in| SocketNews::Exchange { start: at(start), bytes_out, bytes_in };
    let totals =
        Totals { end: at(5_500), bytes_out: Some(557), bytes_in: Some(3000), outcome: Outcome::Established };
    assert_eq!(
        told,
        [
            (100, SocketNews::Opened(owner(PID, 0))),
            (100, SocketNews::Answered),
            (1_200, exchange(110, 517, 3000)),
            (5_500, exchange(5_000, 40, 0)),
            (5_500, SocketNews::Closed(totals)),
        ],
        "what was sent twice counts once"
    );
}

#[test]
fn sessions_that_come_late_are_put_in_order() {
    // The network's session hands out its records before that of the processes.
    let events = [
        network(12, PID, 0, LOCAL, REMOTE, 24).at(60),
        network(13, PID, 0, LOCAL, REMOTE, 8).at(70),
        ended(2, PID, 40, 80),
        began(3, PID, 4, 40, "x"),
    ];
    let out = assemble(&events, 500);
    assert!(matches!(out[0], LiveEvent::Process(ProcessEvent::Started(_))));
    assert_eq!(news(&out)[0].1, SocketNews::Opened(owner(PID, 40)));
    assert!(matches!(out.last(), Some(LiveEvent::Process(ProcessEvent::Exited { .. }))));
}

#[test]
fn what_is_young_is_held_back() {
    let mut assembler = Assembler::default();
    assembler.record(&network(12, PID, 0, LOCAL, REMOTE, 24).at(100).record()).unwrap();
    let mut out = Vec::new();
    assembler.drain(at(150), &mut System::default(), &mut out);
    assert_eq!(out, []);
    assembler.drain(at(201), &mut System::default(), &mut out);
    assert_eq!(out.len(), 2);
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_for_ever() {
    let mut assembler = Assembler::default();
    assembler.record(&network(12, PID, 0, LOCAL, REMOTE, 24).at(3_600_000).record()).unwrap();
    let mut out = Vec::new();
    assembler.drain(at(0), &mut System::default(), &mut out);
    assert_eq!(out.len(), 2);
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    let events = [
        began(2, PID, 4, 0, "a"),
        network(12, PID, 0, LOCAL, REMOTE, 24).at(500),
        ended(1, PID, 0, 1_000),
        began(2, PID, 4, 2_000, "b"),
        network(12, PID, 0, "192.0.2.10:50001", REMOTE, 24).at(2_300),
    ];
    let told = news(&assemble(&events, 3_000));
    let opened: Vec<_> = told.iter().filter(|(_, news)| matches!(news, SocketNews::Opened(_))).collect();
    assert_eq!(opened[0].1, SocketNews::Opened(owner(PID, 0)));
    assert_eq!(opened[1].1, SocketNews::Opened(owner(PID, 2_000)));
}

#[test]
fn a_process_that_no_event_named_is_asked_for_and_a_later_one_is_not_taken_for_it() {
    let call = network(12, PID, 0, LOCAL, REMOTE, 24).at(1_000);
    let mut system = System { created: vec![(PID, at(-5_000))], asked: 0 };
    let (out, _) = assemble_with(&mut system, std::slice::from_ref(&call), 2_000);
    assert_eq!(news(&out)[0].1, SocketNews::Opened(owner(PID, -5_000)));
    let mut system = System { created: vec![(PID, at(1_900))], asked: 0 };
    let (out, _) = assemble_with(&mut system, &[call], 2_000);
    assert_eq!(news(&out)[0].1, SocketNews::Opened(None), "made after the call");
    assert_eq!(system.asked, 1);
    for (pid, name) in [(u32::MAX, "none"), (0, "idle")] {
        let out = assemble(&[network(12, pid, 0, LOCAL, REMOTE, 24)], 500);
        assert_eq!(news(&out)[0].1, SocketNews::Opened(None), "{name}");
    }
}

#[test]
fn what_others_opened_and_what_stays_here_is_no_call() {
    let server = "192.0.2.10:443";
    let client = "198.51.100.9:40000";
    let inbound = [
        network(15, PID, 0, server, client, 24),
        network(11, PID, 100, server, client, 8).at(10),
        network(10, PID, 900, server, client, 16).at(20),
        network(13, PID, 0, server, client, 8).at(30),
        network(43, PID, 40, "198.51.100.9:5000", "192.0.2.10:5353", 8).at(40),
        network(42, PID, 40, "192.0.2.10:5353", "198.51.100.9:5000", 8).at(50),
        network(12, PID, 0, "127.0.0.1:50001", "127.0.0.1:8080", 24).at(60),
        network(12, PID, 0, "192.0.2.10:50001", "192.0.2.10:8080", 24).at(70),
        network(10, PID, 5, LOCAL, REMOTE, 16).at(80),
    ];
    assert_eq!(news(&assemble(&inbound, 90_000)), []);
    let resolver = network(42, PID, 30, "127.0.0.1:50001", "127.0.0.1:53", 8);
    assert!(matches!(news(&assemble(&[resolver], 500))[0].1, SocketNews::Opened(_)));
}

#[test]
fn datagrams_to_one_peer_are_one_call_until_a_minute_of_silence() {
    let peer = "192.0.2.53:53";
    let events = [
        network(42, PID, 30, LOCAL, peer, 8),
        network(43, PID, 90, peer, LOCAL, 8).at(20),
        network(42, PID, 30, LOCAL, peer, 8).at(30_000),
        network(42, PID, 30, LOCAL, peer, 8).at(100_000),
    ];
    let told = news(&assemble(&events, 100_500));
    let opened = told.iter().filter(|(_, news)| matches!(news, SocketNews::Opened(_))).count();
    assert_eq!(opened, 2, "{told:?}");
    let closed = told.iter().find_map(|(_, news)| match news {
        SocketNews::Closed(totals) => Some(*totals),
        _ => None,
    });
    let closed = closed.unwrap();
    assert_eq!((closed.bytes_out, closed.bytes_in, closed.end), (Some(60), Some(90), at(30_000)));
}

#[test]
fn tables_tell_what_events_left_out() {
    let tuple = |local: &str| FiveTuple {
        transport: Transport::Tcp,
        local: local.parse().unwrap(),
        remote: REMOTE.parse().unwrap(),
    };
    let mut assembler = Assembler::default();
    let mut out = Vec::new();
    let old = Standing { tuple: tuple("192.0.2.10:1000"), owner: None, asking: false };
    let asking = Standing { tuple: tuple(LOCAL), owner: None, asking: true };
    assembler.reconcile(at(0), &[old], true, 3_000_000_000, &mut out);
    assert_eq!(news(&out), [(0, SocketNews::Found(None)), (0, SocketNews::Answered)]);
    out.clear();
    assembler.reconcile(at(1_000), &[old, asking], false, 3_000_000_000, &mut out);
    assert_eq!(news(&out), [(1_000, SocketNews::Opened(None))], "it only asks so far");
    out.clear();
    assembler.record(&network(12, PID, 0, LOCAL, REMOTE, 24).at(1_500).record()).unwrap();
    assembler.record(&network(10, PID, 9, LOCAL, REMOTE, 16).at(1_600).record()).unwrap();
    assembler.drain(at(3_000), &mut System::default(), &mut out);
    assert_eq!(news(&out)[0], (1_500, SocketNews::Answered), "and is not opened twice");
    out.clear();
    assembler.reconcile(at(4_000), &[], false, 3_000_000_000, &mut out);
    assert!(
        matches!(news(&out)[..], [(4_000, SocketNews::Closed(_))]),
        "the other one is too young to be missed: {out:?}"
    );
    // One that was refused was never answered.
    let refused = Standing { tuple: tuple("192.0.2.10:1001"), owner: None, asking: true };
    out.clear();
    assembler.reconcile(at(5_000), &[refused], false, 3_000_000_000, &mut out);
    assembler.reconcile(at(9_000), &[], false, 3_000_000_000, &mut out);
    let closed = news(&out).into_iter().rev().find_map(|(_, news)| match news {
        SocketNews::Closed(totals) => Some(totals.outcome),
        _ => None,
    });
    assert_eq!(closed, Some(Outcome::Unknown), "the tracker knows that it was not answered");
}

#[test]
fn a_process_is_read_in_every_version() {
    let image = r"\Device\HarddiskVolume3\Windows\System32\svchost.exe";
    for version in 0..=4 {
        let event = began(version, 812, 640, 1_000, image);
        let Ok(Some(Told::Began(told))) = decode(&event.record()) else { panic!("version {version}") };
        assert_eq!((told.pid, told.parent, told.created), (812, 640, at(1_000)), "version {version}");
        assert_eq!(told.image, image);
        assert_eq!(told.integrity, (version >= 3).then_some(Integrity::Medium));
        assert_eq!(told.package.is_empty(), version < 2);
        assert!(!told.found);
    }
    for version in 0..=2 {
        let Ok(Some(Told::Ended(told))) = decode(&ended(version, 812, 5, 900).record()) else { panic!() };
        assert_eq!((told.pid, told.created), (812, at(5)));
    }
    for (rundown, start) in [(0, 2), (1, 3)] {
        let event = Event { id: 15, version: rundown, ..began(start, 812, 640, 1_000, image) };
        let Ok(Some(Told::Began(told))) = decode(&event.record()) else { panic!() };
        assert!(told.found && told.image == image);
    }
    assert_eq!(
        decode(&Event { id: 5, ..began(2, 1, 2, 3, "x") }.record()),
        Ok(None),
        "an image that is loaded"
    );
    assert_eq!(decode(&began(2, 0, 4, 0, "x").record()), Err(Flaw::Invalid));
}

#[test]
fn command_line_and_account_come_from_the_kernels_own_trace() {
    for wide in [true, false] {
        for version in [3, 4] {
            for sid in [&SYSTEM[..], &[]] {
                let event = launched(version, wide, 812, 640, sid, r#""C:\a b\x.exe" -k netsvcs"#);
                let Ok(Some(Told::Launched(told))) = decode(&event.record()) else { panic!() };
                assert_eq!((told.pid, told.parent), (812, 640));
                assert_eq!(
                    told.user.map(|sid| sid.to_string()),
                    (!sid.is_empty()).then(|| "S-1-5-18".to_owned())
                );
                assert_eq!(told.command_line, r#""C:\a b\x.exe" -k netsvcs"#);
            }
        }
    }
    let old = launched(2, true, 812, 640, &[], "x");
    assert_eq!(decode(&old.record()), Err(Flaw::Version));
    assert_eq!(decode(&Event { opcode: 2, ..launched(4, true, 812, 640, &[], "x") }.record()), Ok(None));
}

#[test]
fn a_record_with_the_other_width_of_pointers_is_refused_or_harmless() {
    let event = launched(4, true, 812, 640, &SYSTEM, "x.exe -a");
    let told = decode(&Event { wide: false, ..event }.record());
    assert!(!matches!(&told, Ok(Some(Told::Launched(told))) if told.pid == 812), "{told:?}");
    // Those of the network and of processes hold none in what is read.
    let call = network(12, PID, 0, LOCAL, REMOTE, 24);
    assert_eq!(decode(&Event { wide: false, ..call.clone() }.record()), decode(&call.record()));
}

#[test]
fn a_process_is_told_with_all_that_both_traces_know_of_it() {
    // The kernel's own trace comes a little later.
    let events = [
        began(3, 640, 4, 0, "x"),
        began(3, 812, 640, 1_000, r"\Device\HarddiskVolume3\a\x.exe"),
        launched(4, true, 812, 640, &SYSTEM, r"x.exe /url https://h/").at(1_001),
        began(3, 813, 640, 1_100, r"\SystemRoot\y.exe"),
    ];
    let out = assemble(&events, 3_000);
    let starts: Vec<_> = out
        .iter()
        .filter_map(|event| match event {
            LiveEvent::Process(ProcessEvent::Started(start)) => Some(start),
            _ => None,
        })
        .collect();
    assert_eq!(starts[1].image, br"C:\a\x.exe");
    assert_eq!(starts[1].arguments, b"x.exe\0/url\0https://h/\0");
    assert_eq!(starts[1].parent, Some(ProcessKey { pid: 640, start: at(0) }));
    assert_eq!(starts[1].uid, 2, "of the account that was told");
    assert_eq!(starts[2].arguments, b"asked\0/for\0");
    assert_eq!(starts[2].image, br"C:\Windows\y.exe");
}

#[test]
fn a_query_is_told_once_with_who_asked_and_what_came() {
    let results = "type:  5 edge.example.net;::ffff:192.0.2.7;192.0.2.8;";
    let events = [
        began(3, PID, 4, 0, "x"),
        query(3006, "WWW.Example.com", 1, 0, "").by(PID).at(100),
        query(3018, "WWW.Example.com", 1, 9701, "").by(PID).at(101),
        query(3020, "WWW.Example.com", 1, 0, results).by(900).at(120),
        query(3008, "WWW.Example.com", 1, 0, results).by(PID).at(130),
        query(3008, "gone.example", 28, 9003, "").by(PID).at(140),
        query(3008, "late.example", 1, 1460, "").by(PID).at(150),
    ];
    let out = assemble(&events, 3_000);
    let told: Vec<_> = out
        .iter()
        .filter_map(|event| match event {
            LiveEvent::Resolved(told) => Some(told),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 3);
    assert_eq!((told[0].query.as_str(), told[0].query_type), ("www.example.com", 1));
    assert_eq!((told[0].start, told[0].time), (at(100), at(130)));
    assert_eq!(told[0].process, Some(ProcessKey { pid: PID, start: at(0) }));
    assert_eq!(
        told[0].addresses,
        ["192.0.2.7", "192.0.2.8"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap())
    );
    assert_eq!((told[1].response_code, told[1].query_type), (Some(3), 28));
    assert_eq!(told[2].response_code, None, "nobody answered");
    for id in [3006, 3008, 3018, 3020] {
        assert!(matches!(decode(&query(id, "a.example", 1, 0, "").record()), Ok(Some(Told::Dns(_)))));
        assert_eq!(decode(&query(id, "", 1, 0, "").record()), Err(Flaw::Invalid));
    }
}

#[test]
fn sockets_beyond_the_room_are_counted() {
    let mut assembler = Assembler::default();
    let mut out = Vec::new();
    for n in 0..70_000u32 {
        let local = format!("10.{}.{}.{}:1000", n >> 16, (n >> 8) & 255, n & 255);
        assembler.record(&network(12, PID, 0, &local, REMOTE, 24).record()).unwrap();
    }
    assembler.drain(at(500), &mut System::default(), &mut out);
    assert_eq!(assembler.sockets(), sockets::MAX_SOCKETS);
    assert_eq!(assembler.losses().refused, 70_000 - 65_536);
}

/// Every kind of record, whole.
fn all() -> Vec<Event> {
    let mut events = Vec::new();
    for id in [10, 11, 12, 13, 14, 15] {
        events.push(network(id, PID, 1, LOCAL, REMOTE, 24));
        events.push(network(id, PID, 1, LOCAL6, REMOTE6, 24));
    }
    for id in [42, 43] {
        events.push(network(id, PID, 1, LOCAL, REMOTE, 8));
        events.push(network(id, PID, 1, LOCAL6, REMOTE6, 8));
    }
    events.extend((0..=3).map(|version| began(version, PID, 4, 0, r"\Device\HarddiskVolume3\x.exe")));
    events.extend((0..=2).map(|version| ended(version, PID, 0, 5)));
    events.extend([true, false].map(|wide| launched(4, wide, PID, 4, &SYSTEM, "x -a")));
    events.extend([3006, 3008, 3018, 3020].map(|id| query(id, "a.example", 1, 0, "192.0.2.1;")));
    events
}

#[test]
fn a_record_that_is_cut_anywhere_in_what_is_read_is_refused() {
    for event in all() {
        let whole = decode(&event.record());
        assert!(matches!(whole, Ok(Some(_))), "{event:?}");
        for length in 0..event.body.0.len() {
            let cut = Record { data: &event.body.0[..length], ..event.record() };
            match decode(&cut) {
                Err(Flaw::Short) => {}
                // What is cut off is not read, or the end of a command line is missing.
                told => assert!(
                    told == whole || event.provider == CLASSIC_PROCESS,
                    "{length} of {event:?}: {told:?}"
                ),
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_under_any_header_are_read_or_refused(
        which in 0usize..29,
        id in 0u16..4000,
        keep_id: bool,
        version: u8,
        opcode in 0u8..5,
        wide: bool,
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        keep in 0usize..80,
    ) {
        let events = all();
        let event = &events[which % events.len()];
        let mut data = event.body.0.clone();
        data.truncate(keep);
        data.extend(noise);
        let id = if keep_id { event.id } else { id };
        let record = Record { id, version, opcode, wide, data: &data, ..event.record() };
        let told = decode(&record);
        prop_assert_eq!(&told, &decode(&record), "reading depends on nothing else");
        let mut assembler = Assembler::default();
        let _ = assembler.record(&record);
        let mut out = Vec::new();
        assembler.drain(at(200_000), &mut System::default(), &mut out);
        prop_assert!(out.len() <= 4);
        prop_assert_eq!(assembler.losses().damaged, u64::from(told.is_err()));
    }

    #[test]
    fn any_order_of_deeds_gives_sound_news(deeds in proptest::collection::vec((0usize..29, 0i64..120_000, any::<bool>()), 0..60)) {
        let events = all();
        let mut assembler = Assembler::default();
        let mut out = Vec::new();
        for (which, ms, drain) in deeds {
            let event = events[which % events.len()].clone().at(ms);
            let _ = assembler.record(&event.record());
            if drain {
                assembler.drain(at(ms), &mut System::default(), &mut out);
            }
        }
        assembler.drain(at(400_000), &mut System::default(), &mut out);
        let mut open = std::collections::HashSet::new();
        for event in &out {
            let LiveEvent::Socket(event) = event else { continue };
            match event.news {
                SocketNews::Opened(_) | SocketNews::Found(_) => prop_assert!(open.insert(event.tuple), "opened twice"),
                SocketNews::Closed(_) => prop_assert!(open.remove(&event.tuple), "closed what was not open"),
                _ => prop_assert!(open.contains(&event.tuple), "news of what is not open"),
            }
        }
    }
}
