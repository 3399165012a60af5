//! Certificates on feeds: what a server of TLS 1.2 shows on the wire, and what Zeek's and Suricata's logs say of it, is found;
//! the tracker reads no more than it must, whatever the server sends, and nothing while no feed names a certificate.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sonde_common::certificate::{Certificate, hex};
use sonde_common::decode::packet::flags;
use sonde_common::event::Phase;
use sonde_common::time::Timestamp;
use sonde_tests::capture::{CaptureFormat, CaptureWriter};
use sonde_tests::conversation::{Route, TcpTalk, Timeline};
use sonde_tests::logs::{zeek_header, zeek_time};
use sonde_tests::payload::{self, CIPHERS_GO, ClientHello};
use sonde_tests::program::{Scratch, run};
use sonde_tests::rng::Rng;
use sonde_tests::wire::{Follow, Wire};

const SYN: u8 = flags::SYN;
const SYN_ACK: u8 = flags::SYN | flags::ACK;
const ACK: u8 = flags::ACK;

/// Bytes in the place of a certificate: whoever names it by its digest does not read it.
fn der(size: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().skip(0x30).take(size).collect()
}

fn digests(der: &[u8]) -> Certificate {
    Certificate::of([der].into_iter())
}

fn hello() -> Vec<u8> {
    let mut record = Vec::new();
    ClientHello::program(Some("shop.example"), CIPHERS_GO, [7; 32]).record(&mut record);
    record
}

fn flight(leaf: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    payload::server_hello_tls12(&mut out, [9; 32], &[leaf, &der(900)], size);
    out
}

/// A connection on which the client said hello.
fn greeted() -> Wire {
    let mut wire = Wire::new("10.0.0.5:50000", "203.0.113.9:443");
    wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, b"");
    wire.out(22, 1001, ACK, &hello());
    wire
}

/// Follows with certificates looked for.
fn follow(wire: Wire) -> Follow {
    let mut follow = Follow::default();
    follow.tracker.expect_certificates(true);
    let mut frames = wire.frames;
    frames.sort_by_key(|(time, _)| *time);
    for (time, frame) in &frames {
        follow.frame(sonde_common::format::LinkType::Ethernet, *time, frame);
    }
    follow
}

fn certificates(follow: &Follow) -> Vec<Certificate> {
    let shown = |phase| if let Phase::Certificate(shown) = phase { Some(shown) } else { None };
    follow.phases().into_iter().filter_map(shown).collect()
}

/// The server's flight in four segments, sent at these moments.
fn in_parts(flight: &[u8], order: &[(usize, i64)]) -> Vec<Certificate> {
    let mut wire = greeted();
    let part = flight.len().div_ceil(4);
    for &(index, ms) in order {
        let from = index * part;
        let data = &flight[from..(from + part).min(flight.len())];
        wire.back(ms, 5001 + u32::try_from(from).unwrap(), ACK, data);
    }
    certificates(&follow(wire))
}

#[test]
fn a_certificate_is_read_over_segments_and_records_in_any_order() {
    let leaf = der(1500);
    for size in [16_384, 700, 9] {
        let flight = flight(&leaf, size);
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 0, 1, 3]] {
            let order: Vec<(usize, i64)> = order.into_iter().zip([30, 31, 32, 33]).collect();
            assert_eq!(in_parts(&flight, &order), [digests(&leaf)], "{size} {order:?}");
        }
        // Twice over, and a part that was lost and is sent again.
        let twice = [(0, 30), (0, 31), (1, 32), (1, 33), (2, 34), (3, 35), (3, 36)];
        assert_eq!(in_parts(&flight, &twice), [digests(&leaf)]);
        assert_eq!(in_parts(&flight, &[(0, 30), (2, 31), (3, 32), (1, 300)]), [digests(&leaf)]);
        assert_eq!(in_parts(&flight, &[(0, 30), (2, 31), (3, 32)]), [], "what was not read is not guessed");
    }
}

#[test]
fn it_is_told_once_after_the_opening_and_only_if_it_is_looked_for() {
    let leaf = der(700);
    let mut wire = greeted();
    wire.back(30, 5001, ACK, &flight(&leaf, 16_384));
    let told = follow(wire);
    assert_eq!(told.phases(), [Phase::Opened, Phase::Certificate(digests(&leaf))]);
    assert_eq!(told.connections()[1].sni, "shop.example");

    let mut wire = greeted();
    wire.back(30, 5001, ACK, &flight(&leaf, 16_384));
    assert_eq!(sonde_tests::wire::follow(wire.frames).phases().first(), Some(&Phase::Opened));
    let mut wire = greeted();
    wire.back(30, 5001, ACK, &flight(&leaf, 16_384));
    assert_eq!(certificates(&sonde_tests::wire::follow(wire.frames)), []);
}

#[test]
fn behind_a_proxy_it_is_that_of_the_server_inside() {
    let leaf = der(700);
    let request = b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n";
    let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
    let mut wire = Wire::new("10.0.0.5:50000", "10.0.0.9:3128");
    wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, b"");
    wire.out(22, 1001, ACK, request).back(30, 5001, ACK, answer);
    wire.out(31, 1001 + u32::try_from(request.len()).unwrap(), ACK, &hello());
    wire.back(40, 5001 + u32::try_from(answer.len()).unwrap(), ACK, &flight(&leaf, 16_384));
    let told = follow(wire);
    assert_eq!(certificates(&told), [digests(&leaf)]);
    assert_eq!(told.connections()[1].connect_host, "shop.example");
}

#[test]
fn a_server_that_shows_none_is_let_alone_and_endless_ones_are_bounded() {
    let mut wire = greeted();
    let mut tls13 = Vec::new();
    payload::server_hello(&mut tls13, [7; 32], 1900);
    wire.back(30, 5001, ACK, &tls13);
    let told = follow(wire);
    assert_eq!(certificates(&told), []);

    // 300 servers that promise a certificate and never finish it: memory is bounded, what is left out is counted.
    let promise = flight(&der(16_000), 16_384);
    let mut follow = Follow::default();
    follow.tracker.expect_certificates(true);
    let mut frames = Vec::new();
    for n in 0..300u32 {
        let mut wire = Wire::new(&format!("10.0.0.5:{}", 20_000 + n), "203.0.113.9:443");
        wire.out(0, 1000, SYN, b"").back(20, 5000, SYN_ACK, b"").out(21, 1001, ACK, b"");
        wire.out(22, 1001, ACK, &hello()).back(30, 5001, ACK, &promise[..1400]);
        frames.extend(wire.frames);
    }
    frames.sort_by_key(|(time, _)| *time);
    for (time, frame) in &frames {
        follow.frame(sonde_common::format::LinkType::Ethernet, *time, frame);
    }
    assert_eq!(follow.tracker.counters().streams_refused, 300 - 256);
    assert!(follow.tracker.memory_bytes() < 16 << 20, "{}", follow.tracker.memory_bytes());
    // Ten seconds later there is room again, though all of them are still open.
    follow.wait_until(12_000);
    let leaf = der(700);
    let mut wire = Wire::new("10.0.0.5:40000", "203.0.113.9:443");
    wire.out(12_000, 1000, SYN, b"").back(12_020, 5000, SYN_ACK, b"").out(12_021, 1001, ACK, b"");
    wire.out(12_022, 1001, ACK, &hello());
    let whole = flight(&leaf, 16_384);
    wire.back(12_030, 5001, ACK, &whole[..400]).back(12_031, 5401, ACK, &whole[400..]);
    for (time, frame) in &wire.frames {
        follow.frame(sonde_common::format::LinkType::Ethernet, *time, frame);
    }
    assert_eq!(certificates(&follow), [digests(&leaf)]);
    follow.finish();
    assert_eq!(follow.tracker.open_connections(), 0);
}

// ---------------------------------------------------------------- from a feed to an alert

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(row: &'a Value, pointer: &str) -> &'a str {
    row.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn replay(input: &Path, arguments: &[&str]) -> Vec<Value> {
    let command = ["replay", input.to_str().unwrap(), "--format", "ndjson", "--no-progress"];
    rows(run([&command[..], arguments].concat(), b"").expect(0).text())
}

/// A capture of two calls to a server that shows this certificate, and of one to another server.
fn capture(leaf: &[u8]) -> Vec<u8> {
    let (mut line, mut rng) = (Timeline::default(), Rng::new(5));
    for (nth, leaf) in [leaf, &der(1100), leaf].into_iter().enumerate() {
        let nth = u16::try_from(nth).unwrap();
        let start = Timestamp::from_secs_nanos(1_700_000_000 + 900 * i64::from(nth), 0);
        let client: SocketAddr = ([10, 0, 0, 5], 50_000 + nth).into();
        let server: SocketAddr = ([203, 0, 113, 9 + u8::try_from(nth % 2).unwrap()], 443).into();
        let route = Route::ethernet(client, server, Duration::from_millis(20));
        let mut talk = TcpTalk::open(&mut line, start, route, &mut rng);
        talk.send(&hello());
        talk.receive(&flight(leaf, 16_384));
        talk.tls_exchange(300, 2000);
        talk.close();
    }
    let link = sonde_common::format::LinkType::Ethernet;
    let mut writer = CaptureWriter::new(Vec::new(), CaptureFormat::Pcap, link, 65_535).unwrap();
    for (time, frame) in line.into_frames() {
        writer.write(time, &frame).unwrap();
    }
    writer.finish().unwrap()
}

/// The one alert, of a certificate that the feed `sslbl` lists.
fn assert_found(alerts: &[Value], of: &Certificate, kind: &str) {
    let [first, ..] = alerts else { panic!("nothing is found") };
    assert!(alerts.iter().all(|alert| text(alert, "/sonde/class") == "indicator"), "{alerts:#?}");
    assert_eq!(text(first, "/sonde/severity"), "critical", "{first:#}");
    assert_eq!(text(first, "/sonde/indicators/0/kind"), kind, "{first:#}");
    assert!(text(first, "/message").contains("the certificate "), "{first:#}");
    assert!(text(first, "/message").contains("is on the feed `sslbl` (Dridex C&C)"), "{first:#}");
    if let Some(sha1) = of.sha1 {
        assert_eq!(text(first, "/tls/server/hash/sha1"), hex(&sha1).to_uppercase(), "{first:#}");
    }
    if let Some(sha256) = of.sha256 {
        assert_eq!(text(first, "/tls/server/hash/sha256"), hex(&sha256).to_uppercase(), "{first:#}");
    }
}

#[test]
fn a_certificate_on_a_feed_is_found_in_a_capture_and_in_its_events() {
    let leaf = der(1500);
    let of = digests(&leaf);
    let scratch = Scratch::new("certificates");
    let capture = scratch.write("calls.pcap", &capture(&leaf));
    let listed = format!(
        "# Listingdate,SHA1,Listingreason\n2026-01-02 03:04:05,{},Dridex C&C\n",
        hex(&of.sha1.unwrap())
    );
    let feed = scratch.write("sslbl.csv", listed.as_bytes());
    let feed = feed.to_str().unwrap();
    let events = scratch.file("events.ndjson");
    let alerts = replay(&capture, &["--feed", feed, "--events", events.to_str().unwrap()]);
    assert_found(&alerts, &of, "certificate_sha1");
    assert_eq!(text(&alerts[0], "/destination/ip"), "203.0.113.9");

    assert_eq!(replay(&events, &["--feed", feed]), alerts, "the same from its events");
    assert_eq!(replay(&capture, &[]), [] as [Value; 0]);
    let other = scratch
        .write("other.csv", format!("Listingdate,SHA1,Listingreason\nx,{},y\n", "ab".repeat(20)).as_bytes());
    assert_eq!(replay(&capture, &["--feed", other.to_str().unwrap()]), [] as [Value; 0]);
}

/// Names and contents.
type Files<'a> = &'a [(&'a str, &'a str)];

#[test]
fn a_certificate_on_a_feed_is_found_in_logs() {
    let of = digests(&der(1500));
    let (sha1, sha256) = (hex(&of.sha1.unwrap()), hex(&of.sha256.unwrap()));
    let scratch = Scratch::new("certificates-logs");
    let listed = format!("certificate,label\n{sha1},Dridex C&C\n{sha256},Dridex C&C\n");
    let feed = scratch.write("sslbl.csv", listed.as_bytes());
    let time = zeek_time(Timestamp::from_secs_nanos(1_700_000_000, 0));
    let ends = "10.0.0.5\t40000\t203.0.113.9\t443";
    let conn = format!(
        "{}{time}\tC1\t{ends}\ttcp\tssl\t0.5\t300\t2000\tSF\tT\tF\n",
        zeek_header(
            "conn",
            "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state \
             local_orig local_resp"
        )
    );
    let ssl = format!(
        "{}{time}\tC1\t{ends}\tTLSv12\tshop.example\tF\tT\t{sha256},{}\n",
        zeek_header(
            "ssl",
            "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version server_name resumed established cert_chain_fps"
        ),
        "ab".repeat(32)
    );
    let files = format!(
        "{}{time}\tF1\t203.0.113.9\t10.0.0.5\tC1\tSSL\tapplication/x-x509-user-cert\tF\t1500\t{sha1}\n",
        zeek_header("files", "ts fuid tx_hosts rx_hosts conn_uids source mime_type is_orig seen_bytes sha1")
    );
    let mut colons = String::new();
    for (at, byte) in of.sha1.unwrap().iter().enumerate() {
        let _ = write!(colons, "{}{byte:02x}", if at == 0 { "" } else { ":" });
    }
    let head = r#""timestamp":"2023-11-14T22:13:20.500000+0000","flow_id":7,"src_ip":"10.0.0.5","src_port":40000,"dest_ip":"203.0.113.9","dest_port":443,"proto":"TCP""#;
    let eve = format!(
        "{{{head},\"event_type\":\"tls\",\"tls\":{{\"sni\":\"shop.example\",\"version\":\"TLS 1.2\",\"fingerprint\":\"{colons}\"}}}}\n\
         {{{head},\"event_type\":\"flow\",\"app_proto\":\"tls\",\"flow\":{{\"start\":\"2023-11-14T22:13:20.000000+0000\",\"end\":\"2023-11-14T22:13:21.000000+0000\",\"state\":\"closed\",\"pkts_toclient\":9,\"bytes_toserver\":900}}}}\n"
    );
    let only_sha1 = Certificate { sha256: None, ..of };
    let only_sha256 = Certificate { sha1: None, ..of };
    let cases: [(&str, Files<'_>, Certificate, &str); 4] = [
        ("zeek-new", &[("conn.log", &conn), ("ssl.log", &ssl)], only_sha256, "certificate_sha256"),
        ("zeek-old", &[("conn.log", &conn), ("files.log", &files)], only_sha1, "certificate_sha1"),
        (
            "zeek-both",
            &[("conn.log", &conn), ("files.log", &files), ("ssl.log", &ssl)],
            of,
            "certificate_sha1",
        ),
        ("suricata", &[("eve.json", &eve)], only_sha1, "certificate_sha1"),
    ];
    for (name, files, wanted, kind) in cases {
        let folder = scratch.file(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (file, content) in files {
            std::fs::write(folder.join(file), content).unwrap();
        }
        let alerts = replay(&folder, &["--feed", feed.to_str().unwrap()]);
        assert_eq!(alerts.len(), 1, "{name}: {alerts:#?}");
        assert_found(&alerts, &wanted, kind);
        assert_eq!(text(&alerts[0], "/destination/ip"), "203.0.113.9", "{name}");
    }
}
