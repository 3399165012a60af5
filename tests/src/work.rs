//! Pieces of work whose cost is watched: what is done for each packet, event, look-up, log row and alert, by itself.
//!
//! Inputs are made from fixed seeds and made before the work begins, so that a [`Work`] does the same at every run. What it
//! costs is counted by `scripts/count-instructions`, in instructions, and held against `data/instructions.json`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sonde_common::alert::Alert;
use sonde_common::config::{Config, WireForm};
use sonde_common::conntrack::Tracker;
use sonde_common::conntrack::local::Locals;
use sonde_common::decode::quic::InitialAssembler;
use sonde_common::decode::{dns, http, packet, tls};
use sonde_common::detect::beacon::series::{Series, Update};
use sonde_common::detect::beacon::stats::{quantise, timing};
use sonde_common::domain::{is_popular, registrable};
use sonde_common::encode::syslog::{self, Content, Facility, Sender};
use sonde_common::encode::{csv, record};
use sonde_common::engine::{Engine, Engines};
use sonde_common::event::{
    AppProtocol, ConnectionEvent, Event, HostId, Names, Observation, Outcome, Phase, Totals,
};
use sonde_common::format::log::{LogFormat, LogParser};
use sonde_common::format::row::{Row, RowError, RowSink};
use sonde_common::format::split::Splitter;
use sonde_common::format::{CaptureParser, Frame, FrameSpan, Step};
use sonde_common::guide::Guidance;
use sonde_common::names::PassiveNames;
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::process::Attribution;
use sonde_common::time::Timestamp;

use crate::logs::{self, Story};
use crate::payload::{self, Answer, ClientHello, Rcode, RecordType};
use crate::rng::Rng;
use crate::scenario::{DAY, Options, generate, scenario};
use crate::{evtx, generated};

/// Packets of the generated traffic.
const PACKETS: u64 = 20_000;
/// Times that small things are done.
const TIMES: usize = 1_000;
/// Memory of an engine or a tracker: what the program gives them by default.
const MEMORY: usize = 64 << 20;

/// One piece of work.
pub struct Work {
    /// What one operation of it is.
    pub name: &'static str,
    /// How many operations [`run`](Self::run) does.
    pub operations: u64,
    /// Does them. To be called once: some of it changes what it works on.
    pub run: Box<dyn FnMut()>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} × {}", self.operations, self.name)
    }
}

impl Work {
    fn new(name: &'static str, operations: usize, run: impl FnMut() + 'static) -> Self {
        Self { name, operations: operations as u64, run: Box::new(run) }
    }
}

/// All of them, each made when it is asked for. What is made up once (lists, tables) is made up here and not in the work.
pub fn all() -> impl Iterator<Item = Work> {
    let making: [fn() -> Work; 25] = [
        frames,
        decoding,
        tracking,
        known_connection,
        hello,
        initial,
        answer,
        request,
        update,
        evaluation,
        engine,
        passive_dns,
        domain,
        popular,
        || {
            encoding("alert as NDJSON", |alert, out| {
                sonde_common::encode::native::append(alert, Guidance::None, out)
            })
        },
        || {
            encoding("alert as NDJSON with all guidance", |alert, out| {
                sonde_common::encode::native::append(alert, Guidance::Full, out);
            })
        },
        || {
            encoding("alert as OCSF", |alert, out| {
                sonde_common::encode::ocsf::append(alert, Guidance::None, out)
            })
        },
        || encoding("alert as CSV", |alert, out| out.extend(csv::row(alert).concat().bytes())),
        || message("alert as CEF in syslog", Content::Cef),
        || message("alert as text in syslog", Content::Text),
        || reading("row of Zeek, TSV", LogFormat::ZeekTsv, logs::zeek_conn(&calls()).into_bytes()),
        || reading("row of Zeek, JSON", LogFormat::ZeekJson, logs::zeek_conn_json(&calls()).into_bytes()),
        || reading("row of Defender, CSV", LogFormat::DefenderCsv, logs::defender(&calls()).into_bytes()),
        || {
            let rows = include_bytes!("../data/logs/eve/eve.json").repeat(20);
            reading("row of Suricata EVE", LogFormat::Eve, rows)
        },
        || reading("event of EVTX", LogFormat::Evtx, evtx::sample()),
    ];
    making.into_iter().map(|make| make())
}

// --- packets ---------------------------------------------------------------------------------------------------------

/// The generated traffic, and where its frames lie.
fn traffic() -> (Vec<u8>, Vec<FrameSpan>) {
    let mut bytes = Vec::new();
    let options = Options { packets: Some(PACKETS), ..Options::default() };
    generate("corpus", &options, &mut bytes).expect("memory takes every byte");
    let mut spans = Vec::new();
    walk(&bytes, |span| spans.push(span));
    assert_eq!(spans.len() as u64, PACKETS);
    (bytes, spans)
}

/// Steps over the frames of a capture; where each lies is counted from its start.
fn walk(bytes: &[u8], mut each: impl FnMut(FrameSpan)) {
    let mut parser = CaptureParser::new(bytes).expect("a capture");
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match parser.step(rest).expect("no damage") {
            Step::Frame { frame, used } => {
                each(FrameSpan { at: at + frame.at, ..frame });
                at += used;
            }
            Step::Skip { used } => at += used,
            Step::More { .. } => break,
        }
    }
}

fn frames() -> Work {
    let (bytes, spans) = traffic();
    Work::new("frame stepped over in pcap", spans.len(), move || {
        walk(black_box(&bytes), |span| {
            black_box(span);
        });
    })
}

fn decoding() -> Work {
    let (bytes, spans) = traffic();
    Work::new("frame decoded", spans.len(), move || {
        for frame in spans.iter().filter_map(|span| span.frame(&bytes)) {
            let _ = black_box(packet::decode(black_box(&frame)));
        }
    })
}

/// Decodes a frame and hands it to the tracker, as a replay does.
#[inline]
fn track(tracker: &mut Tracker, frame: &Frame<'_>, told: &mut u64) {
    if let Ok(packet) = packet::decode(frame) {
        tracker.packet(&packet, &mut |observation| {
            black_box(observation);
            *told += 1;
        });
    }
}

fn tracking() -> Work {
    let (bytes, spans) = traffic();
    let mut tracker = Tracker::new(Locals::default(), MEMORY);
    Work::new("packet decoded and tracked", spans.len(), move || {
        let mut told = 0;
        for frame in spans.iter().filter_map(|span| span.frame(&bytes)) {
            track(&mut tracker, &frame, &mut told);
        }
        assert!(told > 1_000, "connections were told: {told}");
    })
}

/// The packets that are most of all traffic: data, and what acknowledges it, of connections that are known.
fn known_connection() -> Work {
    let (frames, opening) = known_connections(64, TIMES);
    let mut tracker = Tracker::new(Locals::default(), MEMORY);
    let mut told = 0;
    for frame in frames.iter().take(opening) {
        track(&mut tracker, &frame.frame(), &mut told);
    }
    let rest = frames.len() - opening;
    Work::new("packet of a known connection decoded and tracked", rest, move || {
        for frame in frames.iter().skip(opening) {
            track(&mut tracker, &frame.frame(), &mut told);
        }
    })
}

/// A frame that is kept.
#[derive(Clone, Debug)]
pub struct KeptFrame {
    time: Timestamp,
    bytes: Vec<u8>,
}

impl KeptFrame {
    /// As a reader hands it out.
    #[must_use]
    pub fn frame(&self) -> Frame<'_> {
        let wire_len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        Frame { time: self.time, link: sonde_common::format::LinkType::Ethernet, data: &self.bytes, wire_len }
    }
}

/// Frames of so many TCP and as many UDP connections within a second: first what opens them, names included, so many frames;
/// behind them `rounds` frames of data in turn, with an acknowledgement for every second one of TCP.
#[must_use]
pub fn known_connections(connections: u16, rounds: usize) -> (Vec<KeptFrame>, usize) {
    use crate::wire::Wire;
    use sonde_common::decode::packet::flags::{ACK, SYN};
    let mut rng = Rng::new(3);
    let mut frames = Vec::new();
    let mut keep = |wire: &mut Wire, nanos: i64| {
        let kept = wire.frames.drain(..);
        frames.extend(kept.map(|(_, bytes)| KeptFrame { time: DAY.plus_nanos(nanos), bytes }));
    };
    let mut wires = Vec::new();
    for number in 0..connections {
        let mut hello = Vec::new();
        ClientHello::browser("www.example.com", rng.bytes()).record(&mut hello);
        let mut tcp = Wire::new(&format!("10.0.0.5:{}", 40_000 + number), "203.0.113.9:443");
        tcp.out(0, 1_000, SYN, b"").back(0, 5_000, SYN | ACK, b"").out(0, 1_001, ACK, b"");
        tcp.out(0, 1_001, ACK, &hello).back(0, 5_001, ACK, &[1; 1_400]);
        keep(&mut tcp, i64::from(number) * 1_000);
        let mut udp = Wire::new(&format!("10.0.0.6:{}", 40_000 + number), "203.0.113.10:7000");
        // Three each way: what may begin something on UDP is over.
        (0..3).for_each(|_| {
            udp.udp(0, true, &[2; 300]).udp(0, false, &[3; 300]);
        });
        keep(&mut udp, i64::from(number) * 1_000);
        wires.push((tcp, udp, 1_001 + u32::try_from(hello.len()).unwrap_or(0), 6_401_u32));
    }
    let opening = connections as usize * (5 + 6);
    for round in 0..rounds {
        let Some((tcp, udp, client, server)) = wires.get_mut(round % connections as usize) else { break };
        // A tenth of a millisecond each, so that no silence ends an exchange.
        let nanos = 10_000_000 + 100_000 * i64::try_from(round).unwrap_or(0);
        match round / connections as usize % 4 {
            0 => tcp.out(0, *client, ACK, b""),
            1 => udp.udp(0, round.is_multiple_of(2), &[4; 900]),
            _ => {
                let at = *server;
                *server = server.wrapping_add(1_400);
                tcp.back(0, at, ACK, &[5; 1_400])
            }
        };
        keep(tcp, nanos);
        keep(udp, nanos);
    }
    (frames, opening)
}

// --- what connections say --------------------------------------------------------------------------------------------

fn hello() -> Work {
    let mut bytes = Vec::new();
    ClientHello::browser("www.example.com", Rng::new(5).bytes()).record(&mut bytes);
    assert!(tls::client_hello(&bytes).parsed().is_some_and(|hello| hello.ja4.is_some()));
    Work::new("ClientHello with JA4", TIMES, move || {
        for _ in 0..TIMES {
            let _ = black_box(tls::client_hello(black_box(&bytes)));
        }
    })
}

fn initial() -> Work {
    let mut bytes = Vec::new();
    let mut rng = Rng::new(6);
    let (destination, source): ([u8; 8], [u8; 8]) = (rng.bytes(), rng.bytes());
    let hello = ClientHello::browser("www.example.com", rng.bytes());
    payload::quic_client_initial(&mut bytes, &destination, &source, hello);
    let mut assembler = InitialAssembler::new();
    Work::new("QUIC Initial decrypted", TIMES / 10, move || {
        for _ in 0..TIMES / 10 {
            assembler.reset();
            black_box(assembler.push(black_box(&bytes)));
        }
        assert!(!assembler.prefix().is_empty(), "it was decrypted");
    })
}

fn answer() -> Work {
    let mut bytes = Vec::new();
    let answers = [
        Answer::Cname { owner: "www.example.com", target: "edge.example.net" },
        Answer::A { owner: "edge.example.net", address: Ipv4Addr::new(203, 0, 113, 9) },
        Answer::A { owner: "edge.example.net", address: Ipv4Addr::new(203, 0, 113, 10) },
    ];
    payload::dns_response(&mut bytes, 7, "www.example.com", RecordType::A, Rcode::NoError, 60, &answers);
    assert!(dns::message(&bytes).is_ok_and(|message| message.addresses().len() == 2));
    Work::new("DNS answer", TIMES, move || {
        for _ in 0..TIMES {
            let _ = black_box(dns::message(black_box(&bytes)));
        }
    })
}

fn request() -> Work {
    let mut bytes = Vec::new();
    payload::http_get(
        &mut bytes,
        "www.example.com",
        "/assets/index.html?page=1",
        "Mozilla/5.0 (X11; Linux x86_64)",
    );
    assert!(http::request(&bytes).parsed().is_some());
    Work::new("HTTP request", TIMES, move || {
        for _ in 0..TIMES {
            let _ = black_box(http::request(black_box(&bytes)));
        }
    })
}

// --- detection -------------------------------------------------------------------------------------------------------

const SECOND: i64 = 1_000_000_000;

/// Starts of calls every minute with a tenth of jitter.
fn calls_of_a_beacon(calls: usize) -> Vec<Timestamp> {
    let mut rng = Rng::new(8);
    let mut time = DAY;
    (0..calls)
        .map(|_| {
            time = time.plus_nanos(54 * SECOND + i64::from(rng.below32(12_000)) * 1_000_000);
            time
        })
        .collect()
}

fn update() -> Work {
    let calls = calls_of_a_beacon(10 * TIMES);
    let mut series = Series::new(DAY);
    Work::new("update of a series", calls.len(), move || {
        for &start in &calls {
            let update = series.observe(black_box(start), Some((510, 1_200)));
            assert!(matches!(black_box(update), Update::NewCheckIn { .. }));
        }
    })
}

fn evaluation() -> Work {
    let mut rng = Rng::new(9);
    let of_series = |rng: &mut Rng| -> Vec<u16> {
        (0..64).map(|_| quantise(54_000.0 + f64::from(rng.below32(12_000)))).collect()
    };
    let series: Vec<_> = (0..50).map(|_| of_series(&mut rng)).collect();
    Work::new("evaluation of 64 intervals", series.len(), move || {
        for intervals in &series {
            assert!(timing(black_box(intervals)).bans > 3.0, "a beacon is regular");
        }
    })
}

/// A connection to destination number `number`, told of as a whole.
#[must_use]
pub fn whole_connection(number: u32, time: Timestamp) -> ConnectionEvent<'static> {
    let totals = Totals {
        end: time.plus_nanos(SECOND / 5),
        bytes_out: Some(500),
        bytes_in: Some(800),
        outcome: Outcome::Established,
    };
    ConnectionEvent {
        tuple: FiveTuple {
            transport: Transport::Tcp,
            local: SocketAddr::from(([10, 0, 0, 2], 40_000)),
            // Public addresses, a different one for each.
            remote: SocketAddr::from((Ipv4Addr::from(0x0b00_0000 + number), 443)),
        },
        start: time,
        process: None,
        program: None,
        attribution: Attribution::default(),
        names: Names::default(),
        protocol: AppProtocol::Tls,
        ja4: None,
        phase: Phase::Whole(totals),
    }
}

/// Tells an engine of a [whole connection](whole_connection).
pub fn tell(engine: &mut Engine, number: u32, time: Timestamp, sink: &mut impl FnMut(Alert)) {
    let event = Event::Connection(whole_connection(number, time));
    engine.observe(&Observation { time, host: HostId::Name("h"), event }, sink);
}

fn engine() -> Work {
    const SERIES: u32 = 1_000;
    const ROUNDS: u32 = 10;
    let mut engine = Engine::new("h".to_owned(), MEMORY, (1, 2));
    let mut sink = |alert| drop(black_box(alert));
    let mut rng = Rng::new(10);
    // Two rounds before it: what is called twice is followed.
    let mut round = move |engine: &mut Engine, number: u32| {
        for destination in 0..SERIES {
            let at = i64::from(number) * 600 * SECOND + i64::from(destination) * SECOND / 2;
            let late = i64::from(rng.below32(100)) * 1_000_000;
            tell(engine, destination, DAY.plus_nanos(at + late), &mut sink);
        }
    };
    (0..3).for_each(|number| round(&mut engine, number));
    assert!(engine.counters().beacon.series >= u64::from(SERIES));
    Work::new("connection of a followed destination, whole engine", (SERIES * ROUNDS) as usize, move || {
        (3..3 + ROUNDS).for_each(|number| round(&mut engine, number));
    })
}

fn passive_dns() -> Work {
    let mut names = PassiveNames::new(8 << 20);
    let mut rng = Rng::new(11);
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from(0x0b00_0000 + number));
    for number in 0..10_000 {
        names.learn(address(number), &format!("host{number}.example.com"), DAY);
    }
    let asked: Vec<_> = (0..10 * TIMES).map(|_| address(rng.below32(12_000))).collect();
    Work::new("name of an address", asked.len(), move || {
        let known = asked.iter().filter(|&&ip| !names.name(black_box(ip), DAY).is_empty()).count();
        assert!(known > asked.len() / 2);
    })
}

fn some_names() -> Vec<&'static str> {
    let mut names =
        vec!["a.b.example.co.uk", "bucket.s3.amazonaws.com", "d111.cloudfront.net", "www.google.com"];
    names.extend(generated::ordinary(true).into_iter().take(TIMES));
    names
}

fn domain() -> Work {
    let names = some_names();
    assert_eq!(registrable("a.b.example.co.uk"), "example.co.uk");
    Work::new("registrable domain", names.len(), move || {
        for name in &names {
            black_box(registrable(black_box(name)));
        }
    })
}

fn popular() -> Work {
    let names = some_names();
    // The list is made at the first question.
    assert!(is_popular("google.com"));
    Work::new("whether a domain is popular", names.len(), move || {
        for name in &names {
            black_box(is_popular(black_box(name)));
        }
    })
}

// --- alerts ----------------------------------------------------------------------------------------------------------

/// An alert as a replay gives it.
fn alert() -> Alert {
    let capture = scenario("cobalt-20", 1);
    let mut tracker = Tracker::new(Locals::default(), MEMORY);
    let mut engines = Engines::new(&Config::default(), (1, 2));
    let mut alerts = Vec::new();
    walk(&capture, |span| {
        let frame = span.frame(&capture).expect("a frame of this capture");
        if let Ok(packet) = packet::decode(&frame) {
            tracker.packet(&packet, &mut |observation| {
                engines.observe(observation, &mut |alert| alerts.push(alert))
            });
        }
    });
    alerts.pop().expect("a beacon is found")
}

fn encoding(name: &'static str, append: impl Fn(&Alert, &mut Vec<u8>) + 'static) -> Work {
    let alert = alert();
    let mut out = Vec::with_capacity(1 << 16);
    append(&alert, &mut out);
    Work::new(name, TIMES / 10, move || {
        for _ in 0..TIMES / 10 {
            out.clear();
            append(black_box(&alert), &mut out);
        }
        assert!(out.len() > 100, "something was written");
    })
}

fn message(name: &'static str, content: Content) -> Work {
    let record = record::alert(&alert(), WireForm::Native, Guidance::None);
    let sender = Sender {
        facility: Facility::Local0,
        host: "pc-017.corp.example".to_owned(),
        app: "sonde".to_owned(),
        process: "4711".to_owned(),
    };
    let mut out = String::with_capacity(1 << 16);
    Work::new(name, TIMES / 10, move || {
        for _ in 0..TIMES / 10 {
            out.clear();
            syslog::append(black_box(&record), &sender, content, 1 << 16, &mut out);
        }
        assert!(out.len() > 100, "something was written");
    })
}

// --- logs ------------------------------------------------------------------------------------------------------------

fn calls() -> Vec<logs::Call> {
    let story = Story { hosts: 4, span: std::time::Duration::from_secs(3_600), browsing: 200 };
    logs::days(story, 12)
}

/// Counts rows.
#[derive(Default)]
struct Rows(u64, u64);

impl RowSink for Rows {
    fn row(&mut self, row: &Row<'_>) {
        black_box(row);
        self.0 += 1;
    }

    fn bad(&mut self, _: RowError) {
        self.1 += 1;
    }
}

fn read(format: LogFormat, bytes: &[u8]) -> Rows {
    let mut parser = LogParser::new(format);
    let mut places = Vec::new();
    Splitter::new(format.framing(bytes)).split(bytes, true, &mut places);
    let mut rows = Rows::default();
    for (_, place) in places {
        if let Some(record) = bytes.get(place) {
            parser.record(record, &mut rows);
        }
    }
    rows
}

fn reading(name: &'static str, format: LogFormat, bytes: Vec<u8>) -> Work {
    assert!(format.recognises(bytes.get(..bytes.len().min(4_096)).unwrap_or_default()), "{name}");
    let Rows(good, bad) = read(format, &bytes);
    assert!(good > 50 && bad == 0, "{name}: {good} rows, {bad} bad");
    Work::new(name, usize::try_from(good).unwrap_or(0), move || {
        black_box(read(format, black_box(&bytes)).0);
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each piece checks what it does; none is left out of the file that its cost is held against.
    #[test]
    fn every_piece_of_work_does_what_it_says_and_its_cost_is_kept() {
        let mut names = BTreeSet::new();
        for mut work in all() {
            assert!(work.operations > 0, "{work:?}");
            (work.run)();
            assert!(names.insert(work.name.to_owned()), "twice: {work:?}");
        }
        let kept: serde_json::Value =
            serde_json::from_str(include_str!("../data/instructions.json")).unwrap();
        let kept = kept.pointer("/instructions").and_then(serde_json::Value::as_object).unwrap();
        let kept: BTreeSet<_> = kept.keys().cloned().collect();
        assert_eq!(names, kept, "scripts/count-instructions --accept writes the file");
    }
}
