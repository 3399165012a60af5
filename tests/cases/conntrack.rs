//! What the tracker promises to say of packets: each case spells out a conversation and compares all that is told.
//!
//! Built frames go through `decode::packet` into a `Tracker`, as in a replay; no file is involved.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use sonde_common::decode::packet::{Undecoded, flags};
use sonde_common::event::{AppProtocol, Outcome, Phase, Totals};
use sonde_common::format::LinkType;
use sonde_common::net::Transport as Protocol;
use sonde_common::time::Timestamp;
use sonde_tests::conversation::{self as talk, Route, TcpTalk, Timeline};
use sonde_tests::packet::{Addresses, ByteOrder, Extension, Link, Transport, Vlan};
use sonde_tests::payload::{self, Answer, CIPHERS_GO, ClientHello, QuicInitial, QuicSide, Rcode, RecordType};
use sonde_tests::rng::Rng;
use sonde_tests::wire::{Follow, Frames, MEMORY, Told, Wire, at, follow};

const FIN: u8 = flags::FIN | flags::ACK;
const SYN: u8 = flags::SYN;
const SYN_ACK: u8 = flags::SYN | flags::ACK;
const RST: u8 = flags::RST | flags::ACK;
const ACK: u8 = flags::ACK;

const CLIENT: &str = "10.0.0.5:50000";
const SERVER: &str = "203.0.113.9:443";
const NAME: &str = "quiet.example";

fn wire() -> Wire {
    Wire::new(CLIENT, SERVER)
}

/// A handshake at second 0 with the initial sequence numbers 1000 and 5000.
fn opened() -> Wire {
    let mut wire = wire();
    wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, b"");
    wire
}

fn closed(end_ms: i64, bytes_out: u64, bytes_in: u64, outcome: Outcome) -> Phase {
    let (bytes_out, bytes_in) = (Some(bytes_out), Some(bytes_in));
    Phase::Closed(Totals { end: at(end_ms), bytes_out, bytes_in, outcome })
}

fn exchange(start_ms: i64, bytes_out: u64, bytes_in: u64) -> Phase {
    Phase::Exchange { start: at(start_ms), bytes_out, bytes_in }
}

fn hello_record() -> Vec<u8> {
    let mut record = Vec::new();
    ClientHello::program(Some(NAME), CIPHERS_GO, [7; 32]).record(&mut record);
    record
}

/// The fingerprint of [`hello_record`], as a plain connection shows it.
fn hello_ja4() -> String {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &hello_record());
    let ja4 = follow(wire.frames).connections()[0].ja4.clone();
    assert!(ja4.starts_with("t13d13"), "{ja4}");
    ja4
}

// --- TCP: bytes, opening and closing ---------------------------------------------------------------------------------

#[test]
fn open_and_close_are_told_once_with_the_exact_bytes_of_both_ways() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 100])
        .back(50, 5001, ACK, &[1; 1460])
        .back(51, 6461, ACK, &[1; 40])
        .out(60, 1101, FIN, b"")
        .back(80, 6501, FIN, b"")
        .out(81, 1102, ACK, b"");
    let told = follow(wire.frames);
    assert_eq!(told.phases(), [Phase::Opened, closed(80, 100, 1500, Outcome::Established)]);
    for event in told.connections() {
        assert_eq!((event.start, event.transport), (at(0), Protocol::Tcp));
        assert_eq!((event.local.to_string().as_str(), event.remote.to_string().as_str()), (CLIENT, SERVER));
        assert_eq!(event.host, "10.0.0.5");
    }
}

#[test]
fn data_that_comes_with_the_fin_counts() {
    let mut wire = opened();
    wire.out(30, 1001, FIN, &[0; 10]).back(50, 5001, FIN, &[0; 20]);
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(50, 10, 20, Outcome::Established)]);
}

#[test]
fn a_reset_of_an_open_connection_is_told_as_reset() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 10]).back(50, 5001, RST, b"");
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(50, 10, 0, Outcome::Reset)]);
}

#[test]
fn retransmissions_are_folded_whole_and_in_part() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 100])
        .out(230, 1001, ACK, &[0; 100])
        // The second half once more, with 30 bytes that are new.
        .out(240, 1051, ACK, &[0; 80])
        .back(250, 5001, ACK, &[0; 200])
        .back(450, 5001, ACK, &[0; 200])
        .out(460, 1131, FIN, b"")
        .back(480, 5201, FIN, b"");
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(480, 130, 200, Outcome::Established)]);
}

#[test]
fn segments_out_of_order_are_counted_once() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 10])
        .back(50, 5201, ACK, &[0; 100])
        .back(51, 5001, ACK, &[0; 100])
        .back(52, 5101, ACK, &[0; 100])
        .out(60, 1011, FIN, b"")
        .back(80, 5301, FIN, b"");
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(80, 10, 300, Outcome::Established)]);
}

#[test]
fn a_gap_in_the_capture_is_still_counted() {
    let mut wire = opened();
    // The capture lost 5001..=15000.
    wire.out(30, 1001, ACK, &[0; 10])
        .back(50, 15_001, ACK, &[0; 100])
        .out(60, 1011, FIN, b"")
        .back(80, 15_101, FIN, b"");
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(80, 10, 10_100, Outcome::Established)]);
}

#[test]
fn sequence_numbers_may_wrap() {
    let mut wire = wire();
    let (client, server) = (u32::MAX - 50, u32::MAX);
    wire.out(0, client, SYN, b"").back(20, server, SYN_ACK, b"").out(21, client + 1, ACK, b"");
    wire.out(30, client + 1, ACK, &[0; 200])
        .back(50, 0, ACK, &[0; 300])
        .out(250, client + 1, ACK, &[0; 200])
        .out(260, 150, FIN, b"")
        .back(280, 300, FIN, b"");
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(280, 200, 300, Outcome::Established)]);
}

#[test]
fn a_snap_length_does_not_change_the_count() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 900]).back(50, 5001, ACK, &[0; 1200]);
    wire.out(60, 1901, FIN, b"").back(80, 6201, FIN, b"");
    let mut cut = Follow::default();
    for (time, frame) in &wire.frames {
        let kept = &frame[..frame.len().min(68)];
        cut.cut_frame(LinkType::Ethernet, *time, kept, u32::try_from(frame.len()).unwrap());
    }
    cut.finish();
    assert_eq!(cut.phases(), follow(wire.frames).phases());
    assert_eq!(cut.phases()[1], closed(80, 900, 1200, Outcome::Established));
}

// --- TCP: attempts ---------------------------------------------------------------------------------------------------

#[test]
fn a_syn_answered_by_a_reset_is_refused() {
    let mut wire = wire();
    wire.out(0, 1000, SYN, b"").back(20, 0, RST, b"");
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(20, 0, 0, Outcome::Refused)]);
}

#[test]
fn an_unanswered_syn_with_its_retries_is_one_attempt() {
    let mut wire = wire();
    for ms in [0, 1000, 3000, 7000, 15_000, 31_000, 63_000] {
        wire.out(ms, 1000, SYN, b"");
    }
    let mut told = Follow::default();
    for (time, frame) in &wire.frames {
        told.frame(LinkType::Ethernet, *time, frame);
    }
    assert_eq!(told.phases(), [Phase::Opened], "the attempt is known while it still goes on");
    assert_eq!(told.connections()[0].start, at(0));
    told.wait_until(137_000);
    assert_eq!(told.phases().len(), 1, "an answer may still come");
    told.wait_until(139_000);
    assert_eq!(told.phases(), [Phase::Opened, closed(63_000, 0, 0, Outcome::Unanswered)]);
    told.finish();
    assert_eq!(told.phases().len(), 2);
}

#[test]
fn a_syn_sent_again_after_a_reset_is_the_same_attempt() {
    let mut wire = wire();
    // Windows tries a refused port three times, half a second apart, with the same sequence number.
    for ms in [0, 500, 1000] {
        wire.out(ms, 1000, SYN, b"").back(ms + 20, 0, RST, b"");
    }
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(1020, 0, 0, Outcome::Refused)]);
}

#[test]
fn a_port_used_again_is_a_new_connection() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 10]).out(40, 1011, FIN, b"").back(60, 5001, FIN, b"");
    wire.out(2000, 77_000, SYN, b"").back(2020, 99_000, SYN_ACK, b"").out(2030, 77_001, ACK, &[0; 7]);
    wire.out(2040, 77_008, FIN, b"").back(2060, 99_001, FIN, b"");
    let told = follow(wire.frames);
    let expected = [
        Phase::Opened,
        closed(60, 10, 0, Outcome::Established),
        Phase::Opened,
        closed(2060, 7, 0, Outcome::Established),
    ];
    assert_eq!(told.phases(), expected);
    let starts: Vec<Timestamp> = told.connections().iter().map(|event| event.start).collect();
    assert_eq!(starts, [at(0), at(0), at(2000), at(2000)]);
}

#[test]
fn a_port_used_again_closes_what_was_still_open() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 10]);
    wire.out(9000, 77_000, SYN, b"").back(9020, 0, RST, b"");
    let told = follow(wire.frames);
    let expected = [
        Phase::Opened,
        closed(30, 10, 0, Outcome::Established),
        Phase::Opened,
        closed(9020, 0, 0, Outcome::Refused),
    ];
    assert_eq!(told.phases(), expected);
}

#[test]
fn late_packets_do_not_open_a_closed_connection_again() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 10]).back(40, 5001, RST, b"");
    wire.back(60, 5001, ACK, &[0; 500]).out(10_000, 1011, ACK, &[0; 3]);
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(40, 10, 0, Outcome::Reset)]);
}

#[test]
fn connections_opened_from_outside_are_not_told() {
    let mut wire = Wire::new("203.0.113.9:50000", "10.0.0.5:443");
    wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, b"");
    wire.out(30, 1001, ACK, &[0; 10]).back(40, 5001, ACK, &[0; 10]);
    wire.out(9000, 1011, ACK, &[0; 10]).out(9100, 1021, FIN, b"").back(9120, 5011, FIN, b"");
    let told = follow(wire.frames);
    assert_eq!(told.told, []);
    assert_eq!(told.tracker.counters().foreign, 1);
}

#[test]
fn a_connection_that_was_open_before_is_joined_and_its_exchanges_count() {
    let mut wire = wire();
    wire.back(0, 8000, ACK, &[0; 50]).out(10, 3000, ACK, &[0; 20]);
    wire.out(5000, 3020, ACK, &[0; 30]).back(5020, 8050, ACK, &[0; 60]);
    wire.out(10_000, 3050, ACK, &[0; 31]).back(10_020, 8110, ACK, &[0; 61]);
    let told = follow(wire.frames);
    let expected = [
        Phase::Joined,
        exchange(5000, 30, 60),
        exchange(10_000, 31, 61),
        closed(10_020, 81, 171, Outcome::Established),
    ];
    assert_eq!(
        told.phases(),
        expected,
        "the first payload is no exchange: nobody knows when the silence before began"
    );
    for event in told.connections() {
        assert_eq!(event.local.to_string(), CLIENT, "the side without the service port is the client");
    }
}

#[test]
fn empty_segments_of_an_unknown_connection_say_nothing() {
    let mut wire = wire();
    wire.out(0, 1000, ACK, b"").back(10, 5000, FIN, b"").out(20, 1001, RST, b"");
    let told = follow(wire.frames);
    assert_eq!(told.told, []);
    assert_eq!(told.tracker.counters().stray, 3);
}

// --- Exchanges -------------------------------------------------------------------------------------------------------

#[test]
fn payload_after_a_second_of_silence_is_an_exchange() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 10]).back(50, 5001, ACK, &[0; 20]);
    // 999 ms after the last payload: the same words still.
    wire.out(1049, 1011, ACK, &[0; 1]);
    // 1,000 ms after that: a new exchange, of three packets.
    wire.out(2049, 1012, ACK, &[0; 40]).back(2069, 5021, ACK, &[0; 500]).out(2800, 1052, ACK, &[0; 2]);
    // The server speaks first.
    wire.back(60_000, 5521, ACK, &[0; 5]).out(60_001, 1054, ACK, &[0; 6]);
    wire.out(70_000, 1060, FIN, b"").back(70_020, 5526, FIN, b"");
    let told = follow(wire.frames);
    let expected = [
        Phase::Opened,
        exchange(2049, 42, 500),
        exchange(60_000, 6, 5),
        closed(70_020, 59, 525, Outcome::Established),
    ];
    assert_eq!(told.phases(), expected);
}

#[test]
fn keep_alive_probes_are_no_exchange() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &[0; 10]).back(50, 5001, ACK, &[0; 20]);
    for ms in [10_000, 20_000, 30_000] {
        // RFC 9293 section 3.8.4: one byte below what the other side expects, or none.
        wire.out(ms, 1010, ACK, &[0]).back(ms + 20, 5021, ACK, b"");
        wire.out(ms + 3000, 1010, ACK, b"").back(ms + 3020, 5021, ACK, b"");
    }
    let told = follow(wire.frames);
    assert_eq!(told.phases(), [Phase::Opened, closed(33_020, 10, 20, Outcome::Established)]);
}

// --- Names -----------------------------------------------------------------------------------------------------------

#[test]
fn a_hello_in_one_segment_gives_name_and_fingerprint() {
    let mut wire = opened();
    wire.out(30, 1001, ACK, &hello_record());
    let told = follow(wire.frames);
    let event = told.connections()[0];
    assert_eq!((event.sni.as_str(), event.protocol), (NAME, AppProtocol::Tls));
    assert_eq!(event.ja4.len(), 36);
}

/// Sends a hello in parts, in an order and with pauses, and gives the opening.
fn hello_in_parts(order: &[(usize, i64)]) -> (String, String, usize) {
    let (record, mut wire) = (hello_record(), opened());
    let part = record.len().div_ceil(4);
    for &(index, ms) in order {
        let from = index * part;
        let data = &record[from..(from + part).min(record.len())];
        wire.out(ms, 1001 + u32::try_from(from).unwrap(), ACK, data);
    }
    let told = follow(wire.frames);
    let opened: Vec<_> =
        told.connections().into_iter().filter(|event| event.phase == Phase::Opened).collect();
    (opened[0].sni.clone(), opened[0].ja4.clone(), opened.len())
}

#[test]
fn a_hello_is_read_over_segments_in_any_order() {
    let whole = (NAME.to_owned(), hello_ja4(), 1);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 0, 1, 3]] {
        let order: Vec<(usize, i64)> = order.into_iter().zip([30, 31, 32, 33]).collect();
        assert_eq!(hello_in_parts(&order), whole, "{order:?}");
    }
    // Twice over, and a part that was lost and is sent again.
    assert_eq!(hello_in_parts(&[(0, 30), (0, 31), (1, 32), (1, 33), (2, 34), (3, 35)]), whole);
    assert_eq!(hello_in_parts(&[(0, 30), (2, 31), (3, 32), (1, 300)]), whole);
}

#[test]
fn a_hello_with_a_hole_opens_without_a_fingerprint() {
    let (_, ja4, count) = hello_in_parts(&[(0, 30), (2, 31), (3, 32)]);
    assert_eq!((ja4.as_str(), count), ("", 1), "what was not read is not guessed");
}

#[test]
fn a_hello_cut_by_the_snap_length_gives_its_name_at_once() {
    for parts in [&[hello_record()][..], &[hello_record()[..60].to_vec(), hello_record()[60..].to_vec()]] {
        let mut wire = opened();
        let mut seq = 1001;
        for part in parts {
            wire.out(30, seq, ACK, part);
            seq += u32::try_from(part.len()).unwrap();
        }
        let mut told = Follow::default();
        for (time, frame) in &wire.frames {
            // What lies behind the name is lost.
            let lost = if frame.len() > 150 { 30 } else { 0 };
            let wire_len = u32::try_from(frame.len()).unwrap();
            told.cut_frame(LinkType::Ethernet, *time, &frame[..frame.len() - lost], wire_len);
        }
        let [event] = told.connections()[..] else { panic!("not told at once: {:?}", told.told) };
        assert_eq!((event.phase, event.sni.as_str()), (Phase::Opened, NAME));
        assert_eq!(event.ja4, "", "half a hello has no fingerprint");
    }
}

#[test]
fn a_connection_through_a_proxy_is_named_by_what_is_asked_of_the_proxy() {
    let mut wire = Wire::new(CLIENT, "10.0.0.8:3128");
    wire.out(0, 1000, SYN, b"").back(1, 5000, SYN_ACK, b"").out(2, 1001, ACK, b"");
    let mut request = Vec::new();
    payload::http_connect(&mut request, "hidden.example:8443", "curl/8.5");
    let ready = payload::HTTP_TUNNEL_READY;
    let next = 1001 + u32::try_from(request.len()).unwrap();
    let record = hello_record();
    let (first, second) = record.split_at(90);
    wire.out(10, 1001, ACK, &request).back(40, 5001, ACK, ready);
    wire.out(50, next, ACK, first).out(51, next + 90, ACK, second);
    let told = follow(wire.frames);
    let event = told.connections()[0];
    assert_eq!(event.phase, Phase::Opened);
    assert_eq!((event.connect_host.as_str(), event.connect_port), ("hidden.example", 8443));
    assert_eq!((event.sni.as_str(), event.ja4.clone()), (NAME, hello_ja4()), "the hello inside the tunnel");
    assert_eq!(event.user_agent, "curl/8.5");
    assert_eq!(event.remote.to_string(), "10.0.0.8:3128", "the address stays that of the proxy");
}

#[test]
fn an_http_request_gives_host_and_user_agent() {
    let mut wire = Wire::new(CLIENT, "203.0.113.9:80");
    wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, b"");
    let mut request = Vec::new();
    payload::http_get(&mut request, "Img.Gardening.example", "/a.gif", "Mozilla/5.0 (X11)");
    let (first, second) = request.split_at(20);
    wire.out(30, 1001, ACK, first).out(31, 1021, ACK, second);
    let told = follow(wire.frames);
    let event = told.connections()[0];
    assert_eq!((event.http_host.as_str(), event.protocol), ("img.gardening.example", AppProtocol::Http));
    assert_eq!((event.user_agent.as_str(), event.sni.as_str()), ("Mozilla/5.0 (X11)", ""));
}

#[test]
fn an_ssh_banner_is_known() {
    let mut wire = Wire::new(CLIENT, "203.0.113.9:2222");
    wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, b"SSH-2.0-OpenSSH_9.6\r\n");
    assert_eq!(follow(wire.frames).connections()[0].protocol, AppProtocol::Ssh);
}

#[test]
fn a_silent_connection_is_told_without_a_name_after_a_while() {
    let wire = opened();
    let mut told = Follow::default();
    for (time, frame) in &wire.frames {
        told.frame(LinkType::Ethernet, *time, frame);
    }
    told.wait_until(1_900);
    assert_eq!(told.phases(), [], "a name may still come");
    told.wait_until(2_600);
    assert_eq!(told.phases(), [Phase::Opened]);
    assert_eq!(told.connections()[0].start, at(0), "what was waited for does not move the callback");
}

// --- UDP, QUIC, ICMP -------------------------------------------------------------------------------------------------

#[test]
fn datagrams_of_a_pair_are_one_connection_with_exchanges() {
    let mut wire = Wire::new(CLIENT, "203.0.113.9:4500");
    wire.udp(0, true, &[0; 10]).udp(20, false, &[0; 30]);
    wire.udp(60_000, true, &[0; 11]).udp(60_020, false, &[0; 31]);
    // After more than five silent minutes a pair begins anew.
    wire.udp(400_000, true, &[0; 12]);
    let told = follow(wire.frames);
    let expected = [
        Phase::Opened,
        exchange(60_000, 11, 31),
        closed(60_020, 21, 61, Outcome::Established),
        Phase::Opened,
        closed(400_000, 12, 0, Outcome::Unanswered),
    ];
    assert_eq!(told.phases(), expected);
}

#[test]
fn a_quic_initial_gives_name_and_fingerprint() {
    let mut datagram = Vec::new();
    let hello = ClientHello { alpn: &["h3"], ..ClientHello::program(Some(NAME), CIPHERS_GO, [7; 32]) };
    payload::quic_client_initial(&mut datagram, &[1; 8], &[2; 8], hello);
    let mut wire = wire();
    wire.udp(0, true, &datagram).udp(20, false, &[0x43; 200]);
    let told = follow(wire.frames);
    let event = told.connections()[0];
    assert_eq!((event.phase, event.protocol), (Phase::Opened, AppProtocol::Quic));
    assert_eq!((event.transport, event.sni.as_str()), (Protocol::Udp, NAME));
    assert!(event.ja4.starts_with("q13d"), "{}", event.ja4);
}

#[test]
fn a_quic_hello_over_two_datagrams_is_read_in_any_order() {
    let hello = ClientHello { alpn: &["h3"], ..ClientHello::program(Some(NAME), CIPHERS_GO, [7; 32]) };
    let mut message = Vec::new();
    ClientHello { quic_source_id: Some(&[2; 8]), ..hello }.handshake(&mut message);
    let (first, second) = message.split_at(100);
    let datagrams: Vec<Vec<u8>> = [(0, first), (100, second)]
        .into_iter()
        .map(|(offset, part)| {
            let mut frames = Vec::new();
            payload::quic_crypto_frame(&mut frames, offset, part);
            let (original_id, source_id): (&[u8], &[u8]) = (&[1; 8], &[2; 8]);
            let initial = QuicInitial {
                side: QuicSide::Client,
                original_id,
                destination_id: original_id,
                source_id,
                token: &[],
                number: u32::from(offset),
                frames: &frames,
            };
            let mut datagram = Vec::new();
            initial.protect(&mut datagram, payload::QUIC_INITIAL_BYTES);
            datagram
        })
        .collect();
    for order in [[0, 1], [1, 0]] {
        let mut wire = wire();
        wire.udp(0, true, &datagrams[order[0]]).udp(1, true, &datagrams[order[1]]);
        let told = follow(wire.frames);
        assert_eq!(told.connections()[0].sni, NAME, "{order:?}");
    }
}

#[test]
fn an_icmp_echo_is_a_connection_without_ports() {
    let mut wire = Wire::new("10.0.0.5:0", "203.0.113.9:0");
    for (index, ms) in [0, 60_000, 120_000].into_iter().enumerate() {
        let echo =
            |reply| Transport::Echo { reply, identifier: 0x4242, sequence: u16::try_from(index).unwrap() };
        let (request, answer) = (
            wire.packet(true, echo(false), &[0; 96]).to_vec(),
            wire.packet(false, echo(true), &[0; 96]).to_vec(),
        );
        wire.frames.extend([(at(ms), request), (at(ms + 20), answer)]);
    }
    let told = follow(wire.frames);
    let expected = [
        Phase::Opened,
        exchange(60_000, 96, 96),
        exchange(120_000, 96, 96),
        closed(120_020, 288, 288, Outcome::Established),
    ];
    assert_eq!(told.phases(), expected);
    let event = told.connections()[0];
    assert_eq!((event.transport, event.local.port(), event.remote.port()), (Protocol::Icmp, 0, 0));
}

#[test]
fn icmp_unreachable_means_refused() {
    for (client, server, code) in
        [(CLIENT, "203.0.113.9:7000", 3), ("[2001:db8::5]:50000", "[2001:db8:1::9]:7000", 4)]
    {
        // A datagram to a closed port.
        let mut udp = Wire::new(client, server);
        let transport = Transport::Udp { source_port: 50_000, destination_port: 7000 };
        let asked = udp.packet(true, transport, &[0; 24]);
        let (frame, quoted) = (asked.to_vec(), asked.quoted());
        let answer = udp.packet(false, Transport::Unreachable { code }, &quoted).to_vec();
        udp.frames.extend([(at(0), frame), (at(20), answer)]);
        assert_eq!(
            follow(udp.frames).phases(),
            [Phase::Opened, closed(0, 24, 0, Outcome::Refused)],
            "{server}"
        );

        // A SYN that a firewall rejects.
        let mut tcp = Wire::new(client, server);
        let asked = tcp.packet(true, tcp.tcp(true, 1000, SYN), b"");
        let (frame, quoted) = (asked.to_vec(), asked.quoted());
        let answer = tcp.packet(false, Transport::Unreachable { code }, &quoted).to_vec();
        tcp.frames.extend([(at(0), frame), (at(20), answer)]);
        assert_eq!(
            follow(tcp.frames).phases(),
            [Phase::Opened, closed(0, 0, 0, Outcome::Refused)],
            "{server}"
        );
    }
}

#[test]
fn an_unreachable_that_quotes_what_was_never_sent_does_nothing() {
    let mut wire = opened();
    let lie = wire.packet(true, wire.tcp(true, 1, ACK), b"").quoted();
    let answer = wire.packet(false, Transport::Unreachable { code: 3 }, &lie).to_vec();
    wire.frames.push((at(25), answer));
    wire.out(30, 1001, ACK, &[0; 10]).out(40, 1011, FIN, b"").back(60, 5001, FIN, b"");
    // An open TCP connection cannot be refused any more (RFC 5927 section 6.1).
    assert_eq!(follow(wire.frames).phases(), [Phase::Opened, closed(60, 10, 0, Outcome::Established)]);
}

#[test]
fn discovery_and_multicast_are_no_connections() {
    let mut frames = Frames::new();
    for server in ["224.0.0.251:5353", "239.255.255.250:1900", "255.255.255.255:67", "10.0.0.255:137"] {
        let mut wire = Wire::new("10.0.0.5:5353", server);
        wire.udp(0, true, &[0; 40]);
        frames.extend(wire.frames);
    }
    let told = follow(frames);
    assert_eq!(told.told, []);
    assert_eq!(told.tracker.counters().no_peer, 4);
}

// --- DNS -------------------------------------------------------------------------------------------------------------

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    payload::dns_query(&mut out, id, name, RecordType::A);
    out
}

fn answer(id: u16, name: &str, address: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::new();
    let answers = [Answer::A { owner: name, address: address.into() }];
    payload::dns_response(&mut out, id, name, RecordType::A, Rcode::NoError, 300, &answers);
    out
}

#[test]
fn a_query_and_its_answer_are_one_event_at_the_time_of_the_query() {
    let mut wire = Wire::new(CLIENT, "10.0.0.1:53");
    wire.udp(0, true, &question(7, "Www.Quiet.example"));
    wire.udp(10, true, &question(8, "other.example"));
    wire.udp(400, false, &answer(7, "Www.Quiet.example", [203, 0, 113, 9]));
    wire.udp(900, false, &answer(8, "other.example", [203, 0, 113, 10]));
    let told = follow(wire.frames);
    assert!(told.connections().is_empty(), "DNS is told as DNS alone");
    let [first, second] = told.queries()[..] else { panic!("{:?}", told.told) };
    assert_eq!((first.start, first.time), (at(0), at(400)));
    assert_eq!(
        (first.query.as_str(), first.query_type, first.response_code),
        ("www.quiet.example", 1, Some(0))
    );
    assert_eq!((first.addresses.as_slice(), first.ttl_secs), (&["203.0.113.9".parse().unwrap()][..], 300));
    assert_eq!(first.resolver, Some("10.0.0.1:53".parse().unwrap()));
    assert_eq!((second.start, second.query.as_str()), (at(10), "other.example"));
}

#[test]
fn a_query_that_stays_without_answer_is_told_after_five_seconds() {
    let mut wire = Wire::new(CLIENT, "10.0.0.1:53");
    // Asked again, as resolvers do: one query.
    wire.udp(0, true, &question(7, NAME)).udp(2000, true, &question(7, NAME));
    let mut told = Follow::default();
    for (time, frame) in &wire.frames {
        told.frame(LinkType::Ethernet, *time, frame);
    }
    told.wait_until(4_700);
    assert_eq!(told.told, []);
    told.wait_until(5_300);
    let [query] = told.queries()[..] else { panic!("{:?}", told.told) };
    assert_eq!((query.start, query.query.as_str(), query.response_code), (at(0), NAME, None));
}

#[test]
fn an_answer_to_another_question_is_not_paired() {
    let mut wire = Wire::new(CLIENT, "10.0.0.1:53");
    wire.udp(0, true, &question(7, NAME)).udp(100, false, &answer(7, "spoofed.example", [203, 0, 113, 66]));
    let told = follow(wire.frames);
    let seen: Vec<_> =
        told.queries().iter().map(|query| (query.query.as_str(), query.response_code)).collect();
    assert_eq!(seen, [("spoofed.example", Some(0)), (NAME, None)]);
}

#[test]
fn dns_over_tcp_is_paired_too() {
    let mut wire = Wire::new(CLIENT, "10.0.0.1:53");
    let framed = |message: Vec<u8>| {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        [length.to_vec(), message].concat()
    };
    wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, b"");
    wire.out(30, 1001, ACK, &framed(question(7, NAME)));
    wire.back(60, 5001, ACK, &framed(answer(7, NAME, [203, 0, 113, 9])));
    let told = follow(wire.frames);
    let [query] = told.queries()[..] else { panic!("{:?}", told.told) };
    assert_eq!((query.start, query.query.as_str(), query.response_code), (at(30), NAME, Some(0)));
}

// --- Links and headers -----------------------------------------------------------------------------------------------

#[test]
fn every_link_tells_the_same() {
    let mac = ([2, 0, 0, 0, 0, 5], [2, 0, 0, 0, 0, 1]);
    let tagged = |vlan| Link::Ethernet { source: mac.0, destination: mac.1, vlan };
    let links = [
        tagged(Vlan::Untagged),
        tagged(Vlan::Tagged(12)),
        tagged(Vlan::QinQ { outer: 7, inner: 8 }),
        Link::RawIp,
        Link::LinuxSll { outgoing: true },
        Link::LinuxSll2 { outgoing: true, interface: 2 },
        Link::BsdNull { order: ByteOrder::Little },
        Link::BsdNull { order: ByteOrder::Big },
    ];
    for (client, server) in [(CLIENT, SERVER), ("[2001:db8::5]:50000", "[2001:db8:1::9]:443")] {
        let tell = |link| {
            let mut wire = Wire::over(link, client, server);
            wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, &hello_record());
            wire.back(40, 5001, ACK, &[0; 900]).out(5000, 1900, FIN, b"x").back(5020, 5901, FIN, b"");
            let mut told = Follow::default();
            for (time, frame) in &wire.frames {
                told.frame(wire.link_type(), *time, frame);
            }
            told.finish();
            assert_eq!(told.undecoded, []);
            told.told
        };
        let plain = tell(links[0]);
        assert_eq!(plain.len(), 3, "opened, an exchange, closed: {plain:?}");
        for link in links {
            assert_eq!(tell(link), plain, "{link:?}");
        }
    }
}

#[test]
fn ipv6_extension_headers_are_passed_over() {
    let all = &[Extension::HopByHop, Extension::Routing, Extension::DestinationOptions];
    let mut wire = Wire::new("[2001:db8::5]:50000", "[2001:db8:1::9]:443").with_extensions(all);
    wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, &hello_record());
    wire.back(40, 5001, ACK, &[0; 33]);
    let length = hello_record().len() as u64;
    let told = follow(wire.frames);
    assert_eq!(told.phases(), [Phase::Opened, closed(40, length, 33, Outcome::Established)]);
    assert_eq!(told.connections()[0].sni, NAME);
}

#[test]
fn of_a_fragmented_datagram_the_first_part_counts_and_the_others_are_known_as_fragments() {
    for (client, server) in [(CLIENT, "203.0.113.9:4500"), ("[2001:db8::5]:50000", "[2001:db8:1::9]:4500")] {
        let wire = Wire::new(client, server);
        let transport = Transport::Udp { source_port: 50_000, destination_port: 4500 };
        let fragments = wire.packet(true, transport, &[0; 2500]).fragments(1000);
        assert_eq!(fragments.len(), 3);
        let mut told = Follow::default();
        for frame in &fragments {
            told.frame(LinkType::Ethernet, at(0), frame);
        }
        told.finish();
        // The header of 8 bytes travels in the first fragment of 1000.
        assert_eq!(told.phases(), [Phase::Opened, closed(0, 992, 0, Outcome::Unanswered)], "{server}");
        assert_eq!(told.undecoded, [Undecoded::Fragment; 2], "{server}");
    }
}

#[test]
fn frames_without_ip_are_counted_by_cause() {
    let mut told = Follow::default();
    let mac = [2, 0, 0, 0, 0, 5];
    let arp = sonde_tests::packet::arp_request(mac, [10, 0, 0, 5].into(), [10, 0, 0, 1].into());
    told.frame(LinkType::Ethernet, at(0), &arp);
    told.frame(LinkType::Ethernet, at(0), &arp[..9]);
    told.frame(LinkType::Other(147), at(0), &arp);
    let wire = wire();
    told.frame(
        LinkType::Ethernet,
        at(0),
        &wire.packet(true, Transport::Other { protocol: 47 }, &[0; 30]).to_vec(),
    );
    let causes = [Undecoded::NotIp, Undecoded::Truncated, Undecoded::Link, Undecoded::OtherTransport];
    assert_eq!(told.undecoded, causes);
}

// --- Bounds ----------------------------------------------------------------------------------------------------------

#[test]
fn a_flood_of_connections_stays_within_its_memory_and_every_one_is_told_to_the_end() {
    const BUDGET: usize = 1 << 20;
    const FLOOD: u32 = 20_000;
    let mut told = Follow::within(BUDGET);
    let (mut opened, mut ended, mut most) = (0u32, 0u32, 0);
    let hello = hello_record();
    for number in 0..FLOOD {
        let [_, a, b, c] = number.to_be_bytes();
        let mut wire = Wire::new(CLIENT, &format!("198.{}.{b}.{c}:443", 18 + (a & 1)));
        // Every fourth says a name and goes on, the others get no answer.
        let start = i64::from(number);
        wire.out(start, 1000, SYN, b"");
        if number % 4 == 0 {
            wire.back(start, 5000, SYN_ACK, b"").out(start, 1001, ACK, &hello);
        }
        for (time, frame) in &wire.frames {
            told.frame(LinkType::Ethernet, *time, frame);
        }
        most = most.max(told.tracker.memory_bytes());
        for told in told.told.drain(..) {
            let Told::Connection(event) = told else { panic!("{told:?}") };
            match event.phase {
                Phase::Opened => opened += 1,
                Phase::Closed(_) => ended += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    told.finish();
    for event in told.connections() {
        match event.phase {
            Phase::Opened => opened += 1,
            _ => ended += 1,
        }
    }
    assert_eq!((opened, ended), (FLOOD, FLOOD));
    let counters = told.tracker.counters();
    assert!(counters.evicted > u64::from(FLOOD) / 2, "{counters:?}");
    assert!(most <= BUDGET + BUDGET / 4, "{most} bytes");
}

#[test]
fn the_kept_connection_survives_a_flood_that_is_never_answered() {
    let mut told = Follow::within(1 << 20);
    let mut kept = Wire::new(CLIENT, SERVER);
    kept.out(0, 1000, SYN, b"").back(1, 5000, SYN_ACK, b"").out(2, 1001, ACK, &hello_record());
    for (time, frame) in &kept.frames {
        told.frame(LinkType::Ethernet, *time, frame);
    }
    for number in 0..20_000u32 {
        let [_, _, b, c] = number.to_be_bytes();
        let mut wire = Wire::new(CLIENT, &format!("198.18.{b}.{c}:81"));
        wire.out(10 + i64::from(number), 1000, SYN, b"");
        told.frame(LinkType::Ethernet, wire.frames[0].0, &wire.frames[0].1);
    }
    told.told.clear();
    let length = u32::try_from(hello_record().len()).unwrap();
    let mut later = Wire::new(CLIENT, SERVER);
    later.out(30_000, 1001 + length, ACK, &[0; 40]);
    told.frame(LinkType::Ethernet, later.frames[0].0, &later.frames[0].1);
    told.finish();
    let seen: Vec<Phase> = told
        .connections()
        .into_iter()
        .filter(|event| event.remote.to_string() == SERVER)
        .map(|event| event.phase)
        .collect();
    assert_eq!(
        seen[0],
        exchange(30_000, 40, 0),
        "an open connection matters more than unanswered ones: {seen:?}"
    );
}

// --- Whole conversations, whatever happens to them -------------------------------------------------------------------

/// Conversations of every kind within half a minute, as frames.
fn mixed(seed: u64) -> Frames {
    let mut timeline = Timeline::default();
    let mut rng = Rng::new(seed);
    let hello = ClientHello::program(Some(NAME), CIPHERS_GO, [7; 32]);
    let client = |port: u16| SocketAddr::new([10, 0, 0, 5].into(), port);
    let route =
        |port: u16, to: &str| Route::ethernet(client(port), to.parse().unwrap(), Duration::from_millis(20));
    let (timeline, rng) = (&mut timeline, &mut rng);
    talk::tls(timeline, at(0), route(50_001, SERVER), rng, &hello, (180, 95));
    talk::disordered(timeline, at(500), route(50_002, SERVER), rng, &hello);
    talk::sequence_wrap(timeline, at(900), route(50_003, SERVER), rng, &hello);
    talk::refused(timeline, at(1200), route(50_004, SERVER), rng);
    talk::unanswered(timeline, at(1300), route(50_005, SERVER), rng);
    talk::midstream(timeline, at(1400), route(50_006, SERVER), rng);
    talk::quic(timeline, at(1500), route(50_007, SERVER), rng, &hello, (300, 3000));
    talk::icmp_echo(timeline, at(1600), route(0, "203.0.113.9:0"), (9, 1), &[0; 64]);
    talk::udp_unreachable(timeline, at(1700), route(50_008, "203.0.113.9:7000"), &[0; 30]);
    let (resolver, question) = (route(50_009, "10.0.0.1:53"), (NAME, Some("edge.example")));
    talk::resolve(timeline, at(1800), resolver, rng, question, [203, 0, 113, 9].into(), 60);
    let request = ("plain.example", "/", "curl/8.5");
    talk::http(timeline, at(1900), route(50_010, "203.0.113.9:80"), rng, request, 2000);
    let tunnel = ("hidden.example:443", "curl/8.5");
    talk::proxied(timeline, at(2000), route(50_011, "10.0.0.8:3128"), rng, tunnel, &hello, (180, 95));
    let times: Vec<Timestamp> = (1..6).map(|n| at(2100 + n * 5000)).collect();
    talk::keep_alive(timeline, at(2100), route(50_012, SERVER), rng, &hello, &times, (112, 112));
    let mut tcp = TcpTalk::open(timeline, at(2200), route(50_013, SERVER), rng);
    tcp.send(&[9; 4000]);
    tcp.reset(true);
    std::mem::take(timeline).into_frames()
}

/// Holds for whatever the tracker says: time does not go back, and each connection opens once before it closes once.
fn assert_sound(follow: &Follow) {
    // After a step back of hours (two captures in one, a clock that was set) tracking begins anew, and so does time.
    let restarted = follow.tracker.counters().restarts > 0;
    let mut latest = Timestamp::from_nanos(i64::MIN);
    // How often each connection was opened, less how often it was closed.
    let mut standing: BTreeMap<(Protocol, SocketAddr, SocketAddr), i32> = BTreeMap::new();
    for event in &follow.told {
        let time = match event {
            Told::Connection(event) => event.time,
            Told::Query(query) => query.time,
        };
        assert!(time >= latest || restarted, "time goes back: {event:?} after {latest}");
        latest = time;
        let Told::Connection(event) = event else { continue };
        let open = standing.entry((event.transport, event.local, event.remote)).or_default();
        match event.phase {
            Phase::Opened | Phase::Joined => *open += 1,
            Phase::Closed(_) => *open -= 1,
            Phase::Exchange { .. } | Phase::Certificate(_) | Phase::Whole(_) => {
                assert!(*open > 0, "before it opened: {event:?}")
            }
        }
        // ICMP connections differ in their identifiers, which are not told.
        assert!(*open >= 0 && (*open <= 1 || event.transport == Protocol::Icmp), "{event:?}");
    }
    assert!(standing.values().all(|open| *open == 0), "not closed: {standing:?}");
}

#[test]
fn mixed_conversations_are_all_told() {
    let told = follow(mixed(1));
    assert_sound(&told);
    let named =
        told.connections().iter().filter(|event| event.phase == Phase::Opened && event.sni == NAME).count();
    assert_eq!(named, 6, "tls, disordered, wrap, quic, proxied, keep-alive");
    let opened = told.phases().iter().filter(|phase| matches!(phase, Phase::Opened | Phase::Joined)).count();
    assert_eq!((opened, told.queries().len()), (13, 1));
}

#[test]
fn times_at_both_ends_of_the_range_do_not_overflow() {
    let ends = [Timestamp::from_nanos(i64::MIN), Timestamp::ZERO, Timestamp::MAX];
    for (first, second) in ends.into_iter().flat_map(|first| ends.map(|second| (first, second))) {
        let mut told = Follow::default();
        for (number, time) in [first, second, first].into_iter().enumerate() {
            let mut wire = Wire::new(CLIENT, &format!("203.0.113.{number}:443"));
            wire.out(0, 1000, SYN, b"").out(0, 1001, ACK, b"data").udp(0, true, b"data");
            wire.frames.iter().for_each(|(_, frame)| told.frame(LinkType::Ethernet, time, frame));
        }
        told.finish();
        assert_sound(&told);
        assert_eq!(told.connections().len(), 12, "{first} {second}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    /// Flipped bytes, lost, doubled and displaced frames, cut frames: nothing panics, and what is told stays sound.
    #[test]
    fn damaged_conversations_never_panic_and_time_never_goes_back(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..60),
        swaps in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..20),
        lost in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        cut in 14usize..1600,
        shifts in proptest::collection::vec((any::<prop::sample::Index>(), any::<i64>()), 0..4),
        memory in 0usize..MEMORY,
    ) {
        let mut frames = mixed(2);
        for (frame, at, value) in flips {
            let (_, frame) = frame.get_mut(&mut frames);
            let at = at.index(frame.len());
            frame[at] ^= value;
        }
        for (a, b) in swaps {
            let (a, b) = (a.index(frames.len()), b.index(frames.len()));
            frames.swap(a, b);
        }
        for at in lost {
            let at = at.index(frames.len());
            frames.remove(at);
        }
        for (at, nanos) in shifts {
            let (time, _) = at.get_mut(&mut frames);
            *time = time.plus_nanos(nanos);
        }
        let mut told = Follow::within(memory);
        for (time, frame) in &frames {
            let wire = u32::try_from(frame.len()).unwrap();
            told.cut_frame(LinkType::Ethernet, *time, &frame[..frame.len().min(cut)], wire);
        }
        told.finish();
        assert_sound(&told);
    }
}

#[test]
fn addresses_of_both_families_in_one_packet_do_not_confuse() {
    // An IPv4-mapped address in an IPv6 header is told as the IPv4 address that it is.
    let mut wire = Wire::new("[::ffff:10.0.0.5]:50000", "[::ffff:203.0.113.9]:443");
    let mapped = wire.packet(true, wire.tcp(true, 1000, SYN), b"");
    assert!(matches!(mapped.addresses, Addresses::V6 { .. }));
    let frame = mapped.to_vec();
    wire.frames.push((at(0), frame));
    let told = follow(wire.frames);
    assert_eq!(told.connections()[0].remote.to_string(), SERVER);
}
