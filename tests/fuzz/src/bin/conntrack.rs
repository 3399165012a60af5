//! Packets of any order and any time through a small tracker: its time never goes back
//! but for a new beginning, each connection closes once,
//! and its memory stays within bounds.
#![no_main]

use std::collections::HashMap;

use sonde_common::conntrack::Tracker;
use sonde_common::conntrack::local::Locals;
use sonde_common::decode::packet::{Addr, Header, Packet};
use sonde_common::event::{Event, Observation, Phase};
use sonde_common::net::FiveTuple;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use sonde_fuzz::heap;
use sonde_fuzz::input::Input;

/// Room for twenty connections.
const MEMORY: usize = 8_000;
const CONNECTIONS: usize = MEMORY / 400;
/// What a tracker may hold beside: streams (16 KiB) and QUIC handshakes (9 KiB) of each connection, labels at their
/// longest, and queries. Tables double as they grow.
const HEAP_LIMIT: usize = CONNECTIONS * 2 * (2 * 16_384 + 9_216 + 2_048) + 4_096 * 2 * 600;

const PORTS: [u16; 8] = [50_000, 50_001, 443, 80, 53, 8080, 22, 5353];
/// What clients say first.
const WORDS: [&[u8]; 6] = [
    include_bytes!("../../seeds/tls/program"),
    include_bytes!("../../seeds/http/get"),
    include_bytes!("../../seeds/http/connect"),
    include_bytes!("../../seeds/dns/query"),
    include_bytes!("../../seeds/dns/answer"),
    include_bytes!("../../seeds/quic/datagram"),
];

fn address(choice: u8) -> Addr {
    match choice & 15 {
        0..=6 => Addr::v4([10, 0, 0, choice & 15]),
        7..=10 => Addr::v4([198, 51, 100, choice & 15]),
        11 => Addr::v4([224, 0, 0, 251]),
        12 => Addr::v6([0xfd; 16]),
        13 => Addr::v6([0x20; 16]),
        14 => Addr::v4([0; 4]),
        _ => Addr::v4([127, 0, 0, 1]),
    }
}

/// What a reader of the events may rely on.
#[derive(Default)]
struct Watch {
    last: Option<Timestamp>,
    /// Times that a connection was opened and closed.
    open: HashMap<(FiveTuple, Timestamp), (u32, u32)>,
    now_open: usize,
    newest: i64,
    /// Big steps back so far that no event has followed yet: then all begins anew.
    may_restart: u32,
}

impl Watch {
    fn time_is(&mut self, time: Timestamp) {
        let time = time.nanos();
        let restarts = time < self.newest.saturating_sub(7_500 * NANOS_PER_SEC);
        self.may_restart += u32::from(restarts);
        self.newest = if restarts { time } else { self.newest.max(time) };
    }

    fn take(&mut self, observation: &Observation<'_>) {
        let back = self.last.map_or(0, |last| last.since(observation.time));
        if back > 0 {
            assert!(self.may_restart > 0, "time goes back by {back} ns: {observation:?}");
            self.may_restart -= 1;
            assert_eq!(self.now_open, 0, "open over a new beginning");
        }
        self.last = Some(observation.time);
        let Event::Connection(event) = observation.event else { return };
        assert!(event.start <= observation.time, "starts in the future: {observation:?}");
        let (opened, closed) = self.open.entry((event.tuple, event.start)).or_default();
        match event.phase {
            Phase::Opened | Phase::Joined => {
                *opened += 1;
                self.now_open += 1;
            }
            Phase::Exchange { start, bytes_out, bytes_in } => {
                assert!(*opened > *closed, "an exchange of no open connection: {observation:?}");
                assert!(start <= observation.time && bytes_out + bytes_in > 0, "{observation:?}");
            }
            Phase::Certificate(certificate) => {
                assert!(*opened > *closed && !certificate.is_none(), "{observation:?}");
            }
            Phase::Closed(totals) => {
                *closed += 1;
                self.now_open -= 1;
                assert!(*closed <= *opened, "closed more often than opened: {observation:?}");
                assert!(totals.end >= event.start && totals.end <= observation.time, "{observation:?}");
            }
            Phase::Whole(_) => panic!("a tracker tells of stages: {observation:?}"),
        }
        assert!(self.now_open <= CONNECTIONS, "{} connections are open", self.now_open);
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mut watch = Watch { newest: i64::MIN, ..Watch::default() };
    let locals = match input.u8() {
        byte @ 0..64 => Locals::blocks(vec!["10.0.0.0/8".parse().expect("a block"); usize::from(byte & 3)]),
        _ => Locals::default(),
    };
    let before = heap::held();
    let mut tracker = Tracker::new(locals, MEMORY);
    tracker.expect_certificates(true);
    let mut time = Timestamp::from_secs_nanos(1_700_006_400, 0);
    let mut payload = Vec::new();
    while !input.is_empty() {
        let how = input.u8();
        if how & 3 != 0 {
            time = input.moment(time);
        }
        if how == 0xff {
            watch.newest = watch.newest.max(time.nanos());
            tracker.tick(time, &mut |observation| watch.take(observation));
            continue;
        }
        let ends = input.u8();
        let (source, destination) = (address(ends), address(ends >> 4));
        let ports = input.u8();
        let source_port = PORTS[usize::from(ports & 7)];
        let destination_port = PORTS[usize::from(ports >> 3 & 7)];
        let transport = match how >> 2 & 7 {
            0..4 => {
                let flags = input.u8();
                // Small sequence numbers meet each other; now and then a far one.
                let sequence = if ports & 0x40 == 0 { u32::from(input.u16()) & 0x1fff } else { input.u32() };
                Header::Tcp { source_port, destination_port, sequence, flags }
            }
            4 | 5 => Header::Udp { source_port, destination_port },
            6 => Header::Echo { id: source_port, reply: how & 0x80 != 0 },
            _ => Header::Unreachable {
                protocol: if how & 0x80 == 0 { 6 } else { 17 },
                source_port,
                destination: source,
                destination_port,
            },
        };
        payload.clear();
        match how >> 5 {
            0 | 1 => {}
            2..5 => {
                let words = WORDS[usize::from(input.u8()) % WORDS.len()];
                let from = usize::from(input.u8()) * 4;
                payload.extend_from_slice(words.get(from..).unwrap_or(words));
            }
            _ => {
                let length = usize::from(input.u8());
                payload.extend_from_slice(input.take(length));
            }
        }
        let cut = if ports & 0x80 == 0 { 0 } else { u32::from(input.u16()) << (how & 15) };
        let payload_len = u32::try_from(payload.len()).unwrap_or(0).saturating_add(cut);
        let packet = Packet { time, source, destination, transport, payload: &payload, payload_len };
        watch.time_is(time);
        tracker.packet(&packet, &mut |observation| watch.take(observation));
    }
    let (told, held) = (tracker.memory_bytes(), heap::held().saturating_sub(before));
    assert!(told < HEAP_LIMIT, "{told} bytes by its own account");
    // What the watch itself holds is no part of it.
    let watched = watch.open.capacity() * 128;
    assert!(held < HEAP_LIMIT + watched, "{held} bytes held, {told} by its own account");
    tracker.finish(&mut |observation| watch.take(observation));
    for (connection, (opened, closed)) in watch.open {
        assert_eq!(opened, closed, "left open: {connection:?}");
    }
    assert_eq!(watch.now_open, 0);
});
