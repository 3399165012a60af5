//! What is found without a rhythm: connections that stay open, and floods of them.

use std::net::SocketAddr;

use super::calls::{HOUR, secs};
use super::*;
use crate::alert::{Alert, Change, Class};
use crate::event::{AppProtocol, HostFacts, HostId, Totals};
use crate::net::{FiveTuple, Transport};
use crate::process::{Attribution, ImageLocation, ProcessInfo, ProcessKey};

/// A host whose programs are told by their pid.
struct Stage {
    engine: Engine,
    emitted: Vec<Alert>,
}

impl Stage {
    /// Every destination is new here.
    fn new() -> Self {
        let mut stage = Self { engine: Engine::new("h".into(), 4 << 20, (1, 2)), emitted: Vec::new() };
        stage.tell(0, Event::Host(HostFacts { history: true, observed_since: secs(0) }));
        stage
    }

    fn tell(&mut self, at: i64, event: Event<'_>) {
        let observation = Observation { time: secs(at), host: HostId::Name("h"), event };
        self.engine.observe(&observation, &mut |alert| self.emitted.push(alert));
    }

    fn process(&mut self, pid: u32, info: &ProcessInfo) {
        self.tell(0, Event::Process(ProcessKey { pid, start: secs(0) }, info));
    }

    fn connection(&mut self, at: i64, pid: u32, (fqdn, remote): (&str, &str), start: i64, phase: Phase) {
        let remote: SocketAddr = remote.parse().unwrap();
        let event = ConnectionEvent {
            tuple: FiveTuple {
                transport: Transport::Tcp,
                local: SocketAddr::new([10, 0, 0, 1].into(), 40_000 + u16::try_from(pid).unwrap()),
                remote,
            },
            start: secs(start),
            process: Some(ProcessKey { pid, start: secs(0) }),
            program: None,
            attribution: Attribution::NONE,
            names: Names { fqdn, ..Names::default() },
            protocol: AppProtocol::Tls,
            ja4: None,
            phase,
        };
        self.tell(at, Event::Connection(event));
    }

    /// Lets an hour go by, so many times, in which someone looks a name up.
    fn hours(&mut self, from: i64, count: i64) {
        for hour in 1..=count {
            self.connection(
                from + hour * HOUR,
                99,
                ("www.google.com", "192.0.2.80:443"),
                from,
                Phase::Joined,
            );
        }
    }
}

fn implant() -> ProcessInfo {
    ProcessInfo {
        image: "/tmp/.x/upd".into(),
        signed: Some(false),
        location: Some(ImageLocation::Temporary),
        script_host: Some(false),
        ..ProcessInfo::default()
    }
}

fn signed(image: &str) -> ProcessInfo {
    ProcessInfo {
        image: image.into(),
        signed: Some(true),
        location: Some(ImageLocation::System),
        script_host: Some(false),
        age_days: Some(90.0),
        ..ProcessInfo::default()
    }
}

const C2: (&str, &str) = ("relay.example", "203.0.113.7:443");
const BARE: (&str, &str) = ("", "203.0.113.8:22");

#[test]
fn a_connection_that_stays_open_is_told_of_while_it_does_and_once() {
    let mut stage = Stage::new();
    stage.process(1, &implant());
    stage.connection(0, 1, C2, 0, Phase::Opened);
    stage.connection(60, 1, C2, 0, Phase::Exchange { start: secs(60), bytes_out: 500, bytes_in: 300 });
    stage.hours(0, 3);
    assert!(stage.emitted.is_empty());
    stage.hours(3 * HOUR, 2);
    let [alert] = &stage.emitted[..] else { panic!("{:?}", stage.emitted) };
    assert_eq!((alert.class, alert.change), (Class::LongConnection, Change::Created));
    assert_eq!(
        alert.reason,
        "upd keeps one connection to relay.example:443 open, for 4 h so far (500 B sent, 300 B received). The \
         program runs from a home or temporary folder, or from memory, the program is neither signed nor owned by a \
         package, and the domain is not a widely used one."
    );
    assert_eq!((alert.evidence.first_seen, alert.evidence.last_seen), (secs(0), secs(4 * HOUR)));
    assert!((alert.parts.iter().map(|part| part.points).sum::<f64>() - alert.points).abs() < 1e-9);
    let ids: Vec<_> = alert.techniques.iter().map(|technique| technique.id.as_ref()).collect();
    assert_eq!(ids, ["T1071.001", "T1573.002"]);
    // It goes on: the same finding, told of again only with news.
    stage.hours(5 * HOUR, 40);
    let totals = Totals { end: secs(45 * HOUR), ..Totals::default() };
    stage.connection(45 * HOUR, 1, C2, 0, Phase::Closed(totals));
    assert!((2..=4).contains(&stage.emitted.len()), "{}", stage.emitted.len());
    assert!(stage.emitted.iter().all(|alert| alert.id == stage.emitted[0].id));
    let last = stage.engine.alerts().next().unwrap();
    assert!(
        last.reason.contains("kept one connection to relay.example:443 open for 1 d 21 h"),
        "{}",
        last.reason
    );
}

#[test]
fn a_session_a_push_service_and_a_vpn_of_signed_programs_are_quiet() {
    let mut stage = Stage::new();
    let browser = ProcessInfo { browser: Some(true), ..signed("/usr/lib/firefox/firefox") };
    let own = ProcessInfo { location: Some(ImageLocation::Programs), ..signed("/opt/vpn/client") };
    for (pid, info, to) in [
        (1, signed("/usr/bin/ssh"), BARE),
        (2, browser, ("push.unheard-of.example", "203.0.113.9:443")),
        (3, own, ("", "203.0.113.10:1194")),
        (4, implant(), ("", "10.0.0.9:5432")),
    ] {
        stage.process(pid, &info);
        stage.connection(0, pid, to, 0, Phase::Opened);
        let exchange = Phase::Exchange { start: secs(60), bytes_out: 1 << 30, bytes_in: 9 };
        stage.connection(60, pid, to, 0, exchange);
    }
    stage.hours(0, 100);
    assert!(stage.emitted.is_empty(), "{:?}", stage.emitted);
}

#[test]
fn a_connection_that_is_told_of_as_a_whole_is_judged_by_its_length() {
    let mut stage = Stage::new();
    stage.process(1, &implant());
    let whole = |hours: i64| {
        let (out, received) = (Some(9_000_000), Some(10_000));
        Phase::Whole(Totals {
            end: secs(hours * HOUR),
            bytes_out: out,
            bytes_in: received,
            ..Totals::default()
        })
    };
    stage.connection(3 * HOUR, 1, C2, 0, whole(3));
    assert!(stage.emitted.is_empty());
    stage.connection(6 * HOUR, 1, C2, 0, whole(6));
    assert_eq!(stage.emitted.len(), 1);
    let duration = &stage.emitted[0].parts[0];
    assert_eq!(
        (duration.points, duration.detail.as_str()),
        (9.0, "one connection is open for 6 h, and mostly sends")
    );
}

#[test]
fn what_a_source_tells_ahead_is_told_of_when_its_time_has_come() {
    let mut stage = Stage::new();
    stage.process(1, &implant());
    let totals = Totals { end: secs(9 * HOUR), ..Totals::default() };
    stage.connection(0, 1, C2, 0, Phase::Whole(totals));
    stage.hours(0, 3);
    assert!(stage.emitted.is_empty());
    stage.hours(3 * HOUR, 2);
    assert_eq!(stage.emitted.len(), 1);
    assert!(stage.emitted[0].reason.contains("for 4 h so far"), "{}", stage.emitted[0].reason);
    stage.hours(5 * HOUR, 20);
    let last = stage.engine.alerts().next().unwrap();
    assert_eq!(last.evidence.last_seen, secs(9 * HOUR), "{}", last.reason);
}

#[test]
fn open_connections_stay_within_their_share_and_old_ones_stay_followed() {
    let mut stage = Stage::new();
    stage.process(1, &implant());
    stage.connection(0, 1, C2, 0, Phase::Opened);
    for port in 0..20_000u32 {
        let remote = format!("198.51.{}.{}:80", port / 256 % 256, port % 256);
        stage.connection(10, 1 + port % 20_000, ("", &remote), 10, Phase::Opened);
    }
    let counters = stage.engine.counters();
    assert!(counters.counts_evicted > 10_000, "{counters:?}");
    assert!(stage.engine.memory_bytes() <= 4 << 20, "{}", stage.engine.memory_bytes());
    stage.hours(0, 5);
    assert!(stage.emitted.iter().any(|alert| alert.destination.name == "relay.example"));
}

#[test]
fn a_flood_of_calls_is_a_strobe_and_one_finding() {
    let mut stage = Stage::new();
    stage.process(1, &implant());
    stage.process(2, &signed("/usr/bin/monitor"));
    for nth in 0..9_000 {
        let at = nth / 3;
        let whole = Phase::Whole(Totals { end: secs(at), ..Totals::default() });
        stage.connection(at, 1, C2, at, whole);
        stage.connection(at, 2, ("api.vendor.example", "203.0.113.20:443"), at, whole);
    }
    let strobes: Vec<_> = stage.emitted.iter().filter(|alert| alert.class == Class::Strobe).collect();
    let [first, second] = strobes[..] else { panic!("{strobes:?}") };
    assert_eq!((first.id, first.evidence.callbacks, second.evidence.callbacks), (second.id, 3_600, 7_200));
    assert_eq!(first.detected, Some(secs(1_199)));
    assert!(
        first.reason.starts_with(
            "upd opens connections to relay.example:443 without a pause: 3,600 within an hour, for 19 min so far."
        ),
        "{}",
        first.reason
    );
    // A rate below it is none, however long it goes on.
    let mut stage = Stage::new();
    stage.process(1, &implant());
    for nth in 0..10_000 {
        let whole = Phase::Whole(Totals { end: secs(nth * 2), ..Totals::default() });
        stage.connection(nth * 2, 1, C2, nth * 2, whole);
    }
    assert!(stage.emitted.iter().all(|alert| alert.class != Class::Strobe));
}

/// One short call.
fn call(stage: &mut Stage, at: i64, pid: u32, to: (&str, &str)) {
    let totals = Totals { end: secs(at), bytes_out: Some(300), bytes_in: Some(500), ..Totals::default() };
    stage.connection(at, pid, to, at, Phase::Whole(totals));
}

fn in_container(id: &str) -> ProcessInfo {
    ProcessInfo { container: id.repeat(64), ..implant() }
}

#[test]
fn a_loop_of_containers_is_one_beacon() {
    let mut stage = Stage::new();
    for nth in 0..30u32 {
        stage.process(nth, &in_container(&char::from_digit(nth % 16, 16).unwrap().to_string()));
        call(&mut stage, i64::from(nth) * 60, nth, C2);
    }
    let alerts: Vec<_> = stage.engine.alerts().collect();
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.class, alert.evidence.callbacks), (Class::Beacon, 30));
}

#[test]
fn containers_that_call_in_turn_are_followed_one_by_one() {
    let mut stage = Stage::new();
    // Two containers, in each of which every call is a new process.
    let mut calls: Vec<(i64, &str)> = (0..60).map(|nth| (nth * 60, "a")).collect();
    calls.extend((0..50).map(|nth| (nth * 71 + 7, "b")));
    calls.sort_unstable();
    for (pid, (at, container)) in (1u32..).zip(calls) {
        stage.process(pid, &in_container(container));
        call(&mut stage, at, pid, C2);
    }
    let mut found: Vec<_> = stage
        .engine
        .alerts()
        .filter(|alert| alert.class == Class::ProcessBeacon)
        .map(|alert| (alert.process.unwrap().info.container, alert.evidence.period_secs.round()))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, [("a".repeat(64), 60.0), ("b".repeat(64), 71.0)]);
}

#[test]
fn names_of_the_day_are_one_rotation_and_not_a_finding_each() {
    let mut stage = Stage::new();
    stage.process(1, &ProcessInfo { signed: None, ..implant() });
    for nth in 0..5 * 144 {
        let name = format!("day{}.example", nth / 144);
        call(&mut stage, nth * 600, 1, (&name, "203.0.113.7:443"));
    }
    let mut found: Vec<_> =
        stage.engine.alerts().map(|alert| (alert.class, alert.destination.group.len())).collect();
    found.sort_unstable();
    assert_eq!(found, [(Class::Beacon, 0), (Class::Rotation, 5)]);
}
