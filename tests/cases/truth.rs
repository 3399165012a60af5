//! Generated traffic of 200 hosts against what its generator knows of it: each connection with its bytes and its name, each
//! query, each beacon.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use sonde_common::alert::{Alert, Severity};
use sonde_common::config::Config;
use sonde_common::conntrack::Tracker;
use sonde_common::conntrack::local::Locals;
use sonde_common::decode::packet;
use sonde_common::engine::Engines;
use sonde_common::event::{Event, Observation, Phase};
use sonde_common::format::{CaptureParser, Step};
use sonde_tests::scenario::{Options, generate};
use sonde_tests::truth::{Flow, Truth};

const PACKETS: u64 = 200_000;

/// The ends of a connection: who began it, with whom, over what.
type Key = (SocketAddr, SocketAddr, &'static str);

/// What Sonde says of one: names, and payload bytes of both ways once it is over.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    opened: u32,
    closed: u32,
    name: String,
    bytes: (u64, u64),
}

/// Everything that is told of a capture.
#[derive(Debug, Default)]
struct All {
    connections: BTreeMap<Key, Heard>,
    /// Asked by whom, and for what.
    queries: BTreeMap<(String, String), u64>,
    alerts: Vec<Alert>,
}

fn hear(all: &mut All, observation: &Observation<'_>) {
    match observation.event {
        Event::Connection(event) => {
            let transport =
                if event.tuple.transport == sonde_common::net::Transport::Tcp { "tcp" } else { "udp" };
            let heard =
                all.connections.entry((event.tuple.local, event.tuple.remote, transport)).or_default();
            let name = [event.names.sni, event.names.http_host].into_iter().find(|name| !name.is_empty());
            if let Some(name) = name {
                name.clone_into(&mut heard.name);
            }
            match event.phase {
                Phase::Opened | Phase::Joined => heard.opened += 1,
                Phase::Closed(totals) => {
                    heard.closed += 1;
                    heard.bytes.0 += totals.bytes_out.unwrap();
                    heard.bytes.1 += totals.bytes_in.unwrap();
                }
                Phase::Exchange { .. } | Phase::Certificate(_) | Phase::Whole(_) => {}
            }
        }
        Event::Dns(event) => {
            *all.queries.entry((observation.host.to_string(), event.query.to_owned())).or_default() += 1;
        }
        _ => {}
    }
}

fn replay(bytes: &[u8]) -> All {
    let mut all = All::default();
    let mut tracker = Tracker::new(Locals::default(), 64 << 20);
    let mut engines = Engines::new(&Config::default(), (1, 2));
    let mut parser = CaptureParser::new(bytes).unwrap();
    let mut at = 0;
    let mut alerts = Vec::new();
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match parser.step(rest).unwrap() {
            Step::Frame { frame, used } => {
                if let Ok(packet) = packet::decode(&frame.frame(rest).unwrap()) {
                    tracker.packet(&packet, &mut |observation| {
                        hear(&mut all, observation);
                        engines.observe(observation, &mut |alert| alerts.push(alert));
                    });
                }
                at += used;
            }
            Step::Skip { used } => at += used,
            Step::More { .. } => break,
        }
    }
    tracker.finish(&mut |observation| {
        hear(&mut all, observation);
        engines.observe(observation, &mut |alert| alerts.push(alert));
    });
    assert_eq!(tracker.counters().evicted, 0);
    all.alerts = alerts;
    all
}

fn corpus(seed: u64) -> (Vec<u8>, Truth) {
    let mut bytes = Vec::new();
    let options = Options { packets: Some(PACKETS), seed, flows: true, ..Options::default() };
    let truth = generate("corpus", &options, &mut bytes).unwrap();
    assert_eq!(truth.flows.len() as u64, truth.connections);
    (bytes, truth)
}

/// Port 53 is told as queries.
fn is_query(flow: &Flow) -> bool {
    flow.server.port() == 53
}

#[test]
fn each_connection_is_told_with_its_bytes_and_its_name() {
    let (bytes, truth) = corpus(1);
    let all = replay(&bytes);
    // A port that was used again for the same server is one entry of both.
    let mut expected: BTreeMap<Key, Heard> = BTreeMap::new();
    for flow in truth.flows.iter().filter(|flow| !is_query(flow)) {
        let entry = expected.entry((flow.client, flow.server, flow.transport)).or_default();
        entry.opened += 1;
        entry.closed += 1;
        if !flow.name.is_empty() {
            entry.name.clone_from(&flow.name);
        }
        entry.bytes.0 += flow.up;
        entry.bytes.1 += flow.down;
    }
    let named = expected.values().filter(|heard| !heard.name.is_empty()).count();
    assert!(expected.len() > 5_000 && named > 4_000, "{named} named of {}", expected.len());
    let mut wrong = Vec::new();
    for (key, expected) in &expected {
        let heard = all.connections.get(key);
        if heard != Some(expected) {
            wrong.push(format!("{key:?}: {expected:?}, heard {heard:?}"));
        }
    }
    let unknown: Vec<_> = all.connections.keys().filter(|key| !expected.contains_key(key)).collect();
    assert!(
        unknown.is_empty(),
        "made up: {} of {}, {:?}",
        unknown.len(),
        all.connections.len(),
        unknown.first()
    );
    wrong.truncate(5);
    assert!(wrong.is_empty(), "of {}: {wrong:#?}", expected.len());
}

#[test]
fn each_query_is_told_to_its_host() {
    let (bytes, truth) = corpus(1);
    let all = replay(&bytes);
    let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
    for flow in truth.flows.iter().filter(|flow| is_query(flow) && flow.up > 0) {
        *expected.entry((flow.client.ip().to_string(), flow.name.clone())).or_default() += 1;
    }
    assert!(expected.len() > 1_000, "{}", expected.len());
    assert_eq!(all.queries, expected);
}

#[test]
fn the_beacons_are_found_and_nothing_else() {
    let (bytes, truth) = corpus(1);
    let all = replay(&bytes);
    let found: BTreeSet<&str> = all
        .alerts
        .iter()
        .filter(|alert| alert.severity >= Severity::Medium)
        .map(|alert| alert.destination.name.as_str())
        .collect();
    let beacons: BTreeSet<&str> = truth.beacons.iter().map(|beacon| beacon.name.as_str()).collect();
    let made_up: Vec<_> = found.difference(&beacons).collect();
    assert!(made_up.is_empty(), "{made_up:?}");
    // With so many callbacks and so little jitter there is no doubt.
    for beacon in truth.beacons.iter().filter(|beacon| beacon.callbacks >= 30 && beacon.jitter <= 0.3) {
        assert!(found.contains(beacon.name.as_str()), "{beacon:?}");
    }
    assert!(found.len() >= 10, "{found:?}");
}
