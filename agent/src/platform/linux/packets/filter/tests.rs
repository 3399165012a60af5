//! What the filters show, against a predicate in plain Rust on packets that our own decoder read, and against what the
//! connection tracker makes of it.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use sonde_common::decode::packet::{self as decoded, Header};
use sonde_common::event::{Event, Phase};
use sonde_common::format::{Frame, LinkType};
use sonde_common::time::Timestamp;
use sonde_tests::conversation::{self, Route, Timeline};
use sonde_tests::packet::{Addresses, Extension, IpFields, Link, Packet, Tcp, Transport, flags};
use sonde_tests::payload::{self, ClientHello};
use sonde_tests::rng::Rng;

use super::super::interpret::{Meta, run};
use super::*;

const SNAP: u32 = 4096;

fn about(packet: &[u8]) -> Meta {
    let v4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    Meta { protocol: if v4 { 0x0800 } else { 0x86dd }, direction: meta::FROM_US, interface_type: 1 }
}

fn shown(packet: &[u8]) -> bool {
    run(&capture(SNAP), packet, &about(packet)) > 0
}

fn decode(packet: &[u8]) -> Option<decoded::Packet<'_>> {
    let wire_len = u32::try_from(packet.len()).unwrap();
    let frame = Frame { time: Timestamp::ZERO, link: LinkType::RawIp, data: packet, wire_len };
    decoded::decode(&frame).ok()
}

/// The filter in plain words.
fn wanted(packet: &decoded::Packet<'_>, loopback: bool) -> bool {
    let payload = packet.payload;
    match packet.transport {
        Header::Tcp { source_port, destination_port, flags: bits, .. } => {
            let dns = source_port == 53 || destination_port == 53;
            let begins = || {
                let hello =
                    payload.len() >= 6 && payload[..2] == [22, 3] && payload[2] <= 4 && payload[5] == 1;
                let record = payload.len() >= 4 && (20..=23).contains(&payload[0]) && payload[1] == 3;
                let word =
                    payload.first_chunk::<4>().is_some_and(|word| word == b"SSH-" || METHODS.contains(&word));
                let rest = !record
                    && bits & flags::PSH != 0
                    && TLS_PORTS.contains(&destination_port)
                    && (1..=1460).contains(&payload.len());
                hello || word || rest
            };
            let control = bits & (flags::SYN | flags::FIN | flags::RST) != 0;
            match loopback {
                true => dns && !payload.is_empty(),
                false => control || (dns && !payload.is_empty()) || (!dns && begins()),
            }
        }
        Header::Udp { source_port, destination_port } => {
            let quic = || {
                let Some([first, v0, v1, v2, v3, ..]) = payload.first_chunk::<7>() else { return false };
                let kind = match u32::from_be_bytes([*v0, *v1, *v2, *v3]) {
                    1 | 0xff00_001d..=0xff00_0022 => 0,
                    0x6b33_43cf => 1,
                    _ => return false,
                };
                first & 0x80 != 0 && first >> 4 & 3 == kind
            };
            source_port == 53 || destination_port == 53 || (!loopback && quic())
        }
        Header::Echo { .. } | Header::Unreachable { .. } => !loopback,
    }
}

fn addresses(v6: bool) -> Addresses {
    let parse = |text: &str| text.parse::<IpAddr>().unwrap();
    if v6 {
        Addresses::new(parse("2001:db8::5"), parse("2001:db8:1::7"))
    } else {
        Addresses::new(parse("10.0.0.5"), parse("198.51.100.7"))
    }
}

fn tcp(ports: (u16, u16), flags: u8) -> Transport<'static> {
    let (source_port, destination_port) = ports;
    Transport::Tcp(Tcp { source_port, destination_port, seq: 7, ack: 9, flags, window: 64_240, options: &[] })
}

fn built(v6: bool, transport: Transport<'_>, payload: &[u8]) -> Vec<u8> {
    Packet { link: Link::RawIp, addresses: addresses(v6), ip: IpFields::default(), transport, payload }
        .to_vec()
}

/// A browser's hello of so many bytes in its record.
fn hello(pad_to: usize) -> Vec<u8> {
    let mut record = Vec::new();
    ClientHello { pad_to, ..ClientHello::browser("www.example", [7; 32]) }.record(&mut record);
    record
}

const PUSH: u8 = flags::PSH | flags::ACK;

#[test]
fn the_program_fits_the_kernel() {
    // BPF_MAXINSNS of linux/bpf_common.h.
    assert!(capture(SNAP).len() < 4096 && outgoing_syn(Some(7), SNAP).len() < 4096);
    eprintln!("{} and {} instructions", capture(SNAP).len(), outgoing_syn(Some(7), SNAP).len());
}

#[test]
fn begin_end_and_names_of_connections_are_shown_and_their_data_is_not() {
    let hello = hello(512);
    let mut answer = Vec::new();
    payload::server_hello(&mut answer, [1; 32], 1200);
    let mut data = Vec::new();
    payload::application_data(&mut data, 900);
    for v6 in [false, true] {
        for port in [443, 4444] {
            let up = |flags, payload: &[u8]| shown(&built(v6, tcp((50_000, port), flags), payload));
            let down = |flags, payload: &[u8]| shown(&built(v6, tcp((port, 50_000), flags), payload));
            for bits in [flags::SYN, flags::SYN | flags::ACK, flags::FIN | flags::ACK, flags::RST] {
                assert!(up(bits, b"") && down(bits, b""));
            }
            assert!(up(PUSH, &hello) && up(flags::ACK, &hello));
            for word in METHODS {
                assert!(up(PUSH, &[word, b"/ HTTP/1.1\r\n".as_slice()].concat()), "{word:?}");
            }
            assert!(up(PUSH, b"SSH-2.0-OpenSSH_9.2\r\n") && down(PUSH, b"SSH-2.0-OpenSSH_9.2\r\n"));
            assert!(!up(flags::ACK, b"") && !down(PUSH, &answer) && !up(PUSH, &data) && !down(PUSH, &data));
            assert!(
                !down(PUSH, b"HTTP/1.1 200 OK\r\n\r\n")
                    && !up(flags::ACK, &[0; 1460])
                    && !up(flags::ACK, b"GET")
            );
        }
    }
}

#[test]
fn the_rest_of_a_split_hello_is_shown_at_the_ports_of_tls_and_bulk_data_is_not() {
    let hello = hello(1900);
    let (first, rest) = hello.split_at(1448);
    for v6 in [false, true] {
        let to = |port, flags, payload: &[u8]| shown(&built(v6, tcp((50_000, port), flags), payload));
        assert!(to(443, flags::ACK, first) && to(443, PUSH, rest) && to(8443, PUSH, rest));
        assert!(to(4444, flags::ACK, first) && !to(4444, PUSH, rest));
        assert!(!to(443, flags::ACK, &[0; 1448]), "full segments of an upload");
        assert!(!to(443, PUSH, &[0; 40_000]), "what the interface will segment");
        let down = built(v6, tcp((443, 50_000), PUSH), rest);
        assert!(!shown(&down), "what a server sends");
    }
}

#[test]
fn of_the_loopback_interface_one_copy_of_dns_is_shown_and_nothing_else() {
    let query = built(false, Transport::Udp { source_port: 40_000, destination_port: 53 }, b"query");
    let over_tcp = built(true, tcp((53, 40_000), PUSH), b"answer");
    let syn = built(false, tcp((40_000, 443), flags::SYN), b"");
    let program = capture(SNAP);
    let on = |packet: &[u8], interface_type, direction| {
        run(&program, packet, &Meta { interface_type, direction, ..about(packet) })
    };
    for packet in [&query, &over_tcp] {
        assert_eq!(on(packet, meta::LOOPBACK, meta::FROM_US), SNAP);
        assert_eq!(on(packet, meta::LOOPBACK, meta::TO_US), 0);
        assert_eq!(on(packet, 1, meta::TO_US), SNAP);
    }
    assert_eq!(on(&syn, meta::LOOPBACK, meta::FROM_US), 0);
    // To other hosts, broadcast, multicast: not ours.
    for direction in [1, 2, 3, 5, 6, 7] {
        assert_eq!(on(&syn, 1, direction), 0, "{direction}");
    }
}

#[test]
fn fragments_have_their_ports_in_the_first_one_and_only_that_is_shown() {
    for v6 in [false, true] {
        let transport = Transport::Udp { source_port: 53, destination_port: 40_000 };
        let ip = IpFields { dont_fragment: false, ..IpFields::default() };
        let packet =
            Packet { link: Link::RawIp, addresses: addresses(v6), ip, transport, payload: &[9; 3000] };
        let shown: Vec<bool> = packet.fragments(1448).iter().map(|piece| shown(piece)).collect();
        assert_eq!(shown, [true, false, false]);
    }
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut ack = built(false, tcp((53, 40_000), flags::ACK), b"");
    ack.resize(46, 0);
    assert!(!shown(&ack));
}

#[test]
fn what_is_no_ip_is_not_shown_whatever_it_looks_like() {
    let syn = built(false, tcp((40_000, 443), flags::SYN), b"");
    for protocol in [0x0806, 0x8100, 0x88a8, 0x8847, 0] {
        assert_eq!(run(&capture(SNAP), &syn, &Meta { protocol, ..about(&syn) }), 0);
        assert_eq!(run(&outgoing_syn(None, SNAP), &syn, &Meta { protocol, ..about(&syn) }), 0);
    }
}

#[test]
fn only_the_first_packet_of_an_outgoing_connection_is_for_the_look_up() {
    for v6 in [false, true] {
        let syn = built(v6, tcp((40_000, 443), flags::SYN), b"");
        let program = outgoing_syn(Some(443), SNAP);
        let on = |packet: &[u8], direction, interface_type| {
            run(&program, packet, &Meta { direction, interface_type, ..about(packet) }) > 0
        };
        assert!(
            on(&syn, meta::FROM_US, 1)
                && !on(&syn, meta::TO_US, 1)
                && on(&syn, meta::FROM_US, meta::LOOPBACK)
        );
        assert_eq!(
            run(&outgoing_syn(None, SNAP), &syn, &Meta { interface_type: meta::LOOPBACK, ..about(&syn) }),
            0
        );
        for bits in [flags::SYN | flags::ACK, flags::ACK, flags::FIN | flags::ACK, flags::RST] {
            assert!(!on(&built(v6, tcp((40_000, 443), bits), b""), meta::FROM_US, 1));
        }
        let elsewhere = built(v6, tcp((40_000, 80), flags::SYN), b"");
        assert!(on(&elsewhere, meta::FROM_US, 1) && !on(&elsewhere, meta::FROM_US, meta::LOOPBACK));
        let udp = built(v6, Transport::Udp { source_port: 40_000, destination_port: 443 }, &[0x40; 40]);
        assert!(!on(&udp, meta::FROM_US, 1));
    }
}

/// What tells of a connection's opening, however the tracker came by it.
fn told(frames: &[(Timestamp, Vec<u8>)], filtered: bool) -> Vec<String> {
    let program = capture(SNAP);
    let mut tracker =
        sonde_common::conntrack::Tracker::new(sonde_common::conntrack::local::Locals::default(), 1 << 20);
    let mut told = Vec::new();
    let mut hear = |observation: &sonde_common::event::Observation<'_>| match observation.event {
        Event::Connection(event) if matches!(event.phase, Phase::Opened) => told.push(format!(
            "{:?} {} {:?} {:?} {:?}",
            event.tuple, event.start, event.names, event.protocol, event.ja4
        )),
        Event::Connection(event) => {
            if let Phase::Closed(totals) = event.phase
                && event.tuple.transport == sonde_common::net::Transport::Tcp
            {
                told.push(format!("{:?} closed {:?}", event.tuple, totals.outcome));
            }
        }
        Event::Dns(event) => {
            told.push(format!("{} {:?} {:?}", event.query, event.response_code, event.addresses))
        }
        _ => {}
    };
    for (time, frame) in frames {
        let data = &frame[14..]; // from the network header on
        let kept = run(&program, data, &about(data)) as usize;
        if filtered && kept == 0 {
            continue;
        }
        let wire_len = u32::try_from(data.len()).unwrap();
        let data = if filtered { &data[..data.len().min(kept)] } else { data };
        let frame = Frame { time: *time, link: LinkType::RawIp, data, wire_len };
        if let Ok(packet) = decoded::decode(&frame) {
            tracker.packet(&packet, &mut hear);
        }
    }
    tracker.finish(&mut hear);
    told.sort();
    told
}

#[test]
fn the_tracker_opens_names_and_ends_the_same_connections_behind_the_filter() {
    let mut rng = Rng::new(1);
    let mut line = Timeline::default();
    let mut start = Timestamp::from_secs_nanos(1_700_000_000, 0);
    let mut port = 40_000;
    for (client, server) in [("10.0.0.5", "198.51.100.7"), ("fd00::5", "2001:db8:1::7")] {
        let mut next = |to: u16| {
            port += 1;
            start = conversation::after(start, Duration::from_secs(20));
            let end = |ip: &str, port| std::net::SocketAddr::new(ip.parse().unwrap(), port);
            (start, Route::ethernet(end(client, port), end(server, to), Duration::from_millis(20)))
        };
        for (size, to) in [(512, 443), (512, 4444), (1900, 443), (1900, 8443)] {
            let hello = ClientHello { pad_to: size, ..ClientHello::browser("tls.example", rng.bytes()) };
            let (time, route) = next(to);
            conversation::tls(&mut line, time, route, &mut rng, &hello, (100_000, 200_000));
        }
        let hello = ClientHello::browser("inner.example", rng.bytes());
        let (time, route) = next(8080);
        conversation::http(&mut line, time, route, &mut rng, ("http.example", "/x", "agent/1"), 50_000);
        let (time, route) = next(3128);
        let proxy = ("inner.example:443", "agent/2");
        conversation::proxied(&mut line, time, route, &mut rng, proxy, &hello, (500, 5000));
        let (time, route) = next(443);
        conversation::quic(&mut line, time, route, &mut rng, &hello, (20_000, 90_000));
        let (time, route) = next(53);
        conversation::resolve(
            &mut line,
            time,
            route,
            &mut rng,
            ("a.example", Some("b.example")),
            server.parse().unwrap(),
            60,
        );
        let (time, route) = next(9);
        conversation::refused(&mut line, time, route, &mut rng);
        let (time, route) = next(7);
        conversation::unanswered(&mut line, time, route, &mut rng);
        let (time, route) = next(0);
        conversation::icmp_echo(&mut line, time, route, (5, 1), b"ping");
    }
    let frames = line.into_frames();
    let (all, filtered) = (told(&frames, false), told(&frames, true));
    assert!(all.len() > 30, "{all:#?}");
    assert_eq!(filtered, all);
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(Vec::new()),
        proptest::sample::select(METHODS.to_vec()).prop_map(|word| word.to_vec()),
        Just(b"SSH-".to_vec()),
        (20u8..25, 2u8..4, 0u8..6, any::<[u8; 2]>(), 0u8..3)
            .prop_map(|(kind, major, minor, [a, b], message)| vec![kind, major, minor, a, b, message]),
        (
            any::<u8>(),
            proptest::sample::select(vec![
                1u32,
                2,
                0x6b33_43cf,
                0xff00_001c,
                0xff00_001d,
                0xff00_0022,
                0xff00_0023
            ])
        )
            .prop_map(|(first, version)| [&[first], version.to_be_bytes().as_slice()].concat()),
    ];
    (
        start,
        proptest::collection::vec(any::<u8>(), 0..20),
        prop_oneof![Just(0usize), 0usize..3000],
        0usize..40,
    )
        .prop_map(|(mut bytes, more, grow, cut)| {
            bytes.extend(more);
            bytes.resize(bytes.len() + grow, 0);
            if cut < 8 {
                bytes.truncate(cut);
            }
            bytes
        })
}

fn ports() -> impl Strategy<Value = u16> {
    prop_oneof![proptest::sample::select(vec![22u16, 53, 80, 443, 8443]), any::<u16>()]
}

fn packets() -> impl Strategy<Value = Vec<u8>> {
    let kinds = proptest::collection::vec(
        proptest::sample::select(vec![
            Extension::HopByHop,
            Extension::Routing,
            Extension::DestinationOptions,
        ]),
        0..=MAX_EXTENSION_HEADERS,
    );
    (any::<bool>(), 0u8..5, ports(), ports(), any::<u8>(), payloads(), kinds, 0usize..3, any::<bool>())
        .prop_map(
            |(v6, kind, source_port, destination_port, bits, payload, extensions, options, unsized_)| {
                let options = &[1u8; 8][..options * 4];
                let transport = match kind {
                    0 | 1 => Transport::Tcp(Tcp {
                        source_port,
                        destination_port,
                        seq: 1,
                        ack: 1,
                        // Mostly data, for flags decide at once.
                        flags: if kind == 0 { bits } else { bits & (PUSH | flags::PSH) },
                        window: 1,
                        options,
                    }),
                    2 => Transport::Udp { source_port, destination_port },
                    3 => Transport::Echo { reply: bits & 1 == 0, identifier: 7, sequence: 1 },
                    // What is no transport that we know; ESP is one.
                    _ => Transport::Other { protocol: if bits < 128 { 50 } else { 141 + bits % 100 } },
                };
                let ip = IpFields { extensions: &extensions, ..IpFields::default() };
                let mut bytes =
                    Packet { link: Link::RawIp, addresses: addresses(v6), ip, transport, payload: &payload }
                        .to_vec();
                if unsized_ {
                    // As before segmentation.
                    let at = if v6 { 4 } else { 2 };
                    bytes[at..at + 2].fill(0);
                }
                bytes
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_filter_is_the_predicate(packet in packets(), loopback in any::<bool>()) {
        let interface_type = if loopback { meta::LOOPBACK } else { 1 };
        let kept = run(&capture(SNAP), &packet, &Meta { interface_type, ..about(&packet) });
        let wanted = decode(&packet).is_some_and(|packet| wanted(&packet, loopback));
        prop_assert_eq!(kept, if wanted { SNAP } else { 0 });
    }

    #[test]
    fn nothing_wanted_is_withheld_however_the_packet_is_bent(
        packet in packets(), at in 0usize..80, value in any::<u8>(), cut in 0usize..200,
    ) {
        let mut packet = packet;
        if let Some(byte) = packet.get_mut(at) {
            *byte = value;
        }
        packet.truncate(if cut < 100 { cut } else { packet.len() });
        // A header that claims more than there is: what is not there is not looked for.
        let whole = |packet: &decoded::Packet<'_>| packet.payload.len() == packet.payload_len as usize;
        if decode(&packet).is_some_and(|packet| whole(&packet) && wanted(&packet, false)) {
            prop_assert!(shown(&packet));
        }
    }
}
