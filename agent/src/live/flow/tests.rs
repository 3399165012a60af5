//! A beacon as sockets and packets tell of it, to the alert; and the same from the events that were written on the way.

use std::io::Write;
use std::sync::{Arc, Mutex};

use sonde_common::alert::Severity;
use sonde_common::format::events::EventParser;
use sonde_common::live::{GapCause, SocketId};
use sonde_common::net::Transport;
use sonde_common::process::{Attribution, Method, ProcessInfo, ProcessKey, Quality};
use sonde_common::program::Program;
use sonde_common::time::NANOS_PER_SEC;

use super::*;
use crate::sink::own::OwnSockets;

const MEMORY: usize = 16 << 20;
const SEED: (u64, u64) = (1, 2);
const EBPF: Attribution = Attribution { method: Method::Ebpf, quality: Quality::KernelExact };

/// What several hands fill.
#[derive(Clone)]
struct Shared<T>(Arc<Mutex<Vec<T>>>);

impl<T: Clone> Shared<T> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    fn push(&self, item: T) {
        self.0.lock().unwrap().push(item);
    }

    fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Shared<u8> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000 * NANOS_PER_SEC + ms * 1_000_000)
}

fn implant(pid: u32) -> Opener {
    let info = ProcessInfo {
        image: "/tmp/.cache/updater".into(),
        user: "ann".into(),
        signed: Some(false),
        ..ProcessInfo::default()
    };
    let process = ProcessKey { pid, start: at(i64::from(pid)) };
    Opener { process, program: Program::of(info), attribution: EBPF }
}

struct Seen {
    alerts: Shared<Alert>,
    events: Shared<u8>,
    flow: Flow,
}

fn start() -> Seen {
    let (alerts, events) = (Shared::new(), Shared::new());
    let emitted: Shared<Alert> = alerts.clone();
    let emit: Emit = Box::new(move |alert| emitted.push(alert));
    let engine = Engine::new("lab".into(), MEMORY, SEED);
    let mut flow = Flow::new("lab".into(), MEMORY / 4, engine, Some(Box::new(events.clone())), emit);
    flow.expect_datagrams(true);
    Seen { alerts, events, flow }
}

/// Forty calls, a minute apart, each by a new process of one program.
fn beacon(seen: &mut Seen) {
    for call in 0..40_u16 {
        let time = i64::from(call) * 60_000 + i64::from(call % 3) * 700;
        let tuple = FiveTuple {
            transport: Transport::Tcp,
            local: ([192, 0, 2, 10], 40_000 + call).into(),
            remote: ([203, 0, 113, 66], 8443).into(),
        };
        let news = |ms: i64, news| SocketEvent { time: at(time + ms), socket: SocketId(1), tuple, news };
        let totals = sonde_common::event::Totals {
            end: at(time + 90),
            bytes_out: Some(310),
            bytes_in: Some(540),
            outcome: sonde_common::event::Outcome::Established,
        };
        let flow = &mut seen.flow;
        flow.socket(&news(0, SocketNews::Opened(None)), Some(implant(u32::from(call) + 100)));
        flow.socket(&news(20, SocketNews::Answered), None);
        flow.socket(&news(90, SocketNews::Closed(totals)), None);
        flow.tick(at(time + 30_000));
    }
    seen.flow.finish();
}

#[test]
fn a_beacon_of_many_processes_is_one_alert_that_names_the_program() {
    let mut seen = start();
    beacon(&mut seen);
    let alerts = seen.alerts.all();
    let first = alerts.first().expect("an alert");
    assert!(first.severity >= Severity::Medium, "{first:?}");
    assert!(first.detected_after_callbacks <= 12, "{}", first.detected_after_callbacks);
    let process = first.process.as_ref().expect("a process");
    assert_eq!((process.info.image.as_str(), process.info.user.as_str()), ("/tmp/.cache/updater", "ann"));
    assert_eq!((first.host.as_str(), first.destination.port), ("lab", 8443));
    assert_eq!(first.attribution, EBPF);
    assert!(seen.flow.owners().is_empty(), "what is closed is forgotten");
}

/// The same forty calls, all by one process.
fn calls(seen: &mut Seen, opener: Option<&Opener>) {
    for call in 0..40_u16 {
        let time = i64::from(call) * 60_000;
        let tuple = call_tuple(call);
        let news = |ms: i64, news| SocketEvent { time: at(time + ms), socket: SocketId(1), tuple, news };
        let totals = sonde_common::event::Totals {
            end: at(time + 90),
            bytes_out: Some(310),
            bytes_in: Some(540),
            outcome: sonde_common::event::Outcome::Established,
        };
        let flow = &mut seen.flow;
        flow.socket(&news(0, SocketNews::Opened(None)), opener.cloned());
        flow.socket(&news(20, SocketNews::Answered), None);
        flow.socket(&news(90, SocketNews::Closed(totals)), None);
        flow.tick(at(time + 30_000));
    }
    seen.flow.finish();
}

fn call_tuple(call: u16) -> FiveTuple {
    FiveTuple {
        transport: Transport::Tcp,
        local: ([192, 0, 2, 10], 40_000 + call).into(),
        remote: ([203, 0, 113, 66], 8443).into(),
    }
}

/// That what the sensor did was left out everywhere, and is told of.
fn left_out(mut seen: Seen) {
    assert_eq!(seen.alerts.all(), []);
    let written = seen.events.all();
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1, "the head of the file alone");
    let counters = seen.flow.engine().counters();
    assert_eq!((counters.events, counters.beacon.series), (0, 0));
    assert_eq!(seen.flow.told(), Told::default());
    let own = seen.flow.own().traffic().clone();
    assert_eq!((own.count, own.destinations.len(), own.unlisted), (40, 1, 0));
    let to = &own.destinations[0];
    assert_eq!((to.remote.as_str(), to.connections), ("203.0.113.66:8443", 40));
    assert_eq!((to.bytes_out, to.bytes_in), (40 * 310, 40 * 540));
    assert!(seen.flow.owners().is_empty(), "what is closed is forgotten");
}

#[test]
fn what_this_process_does_is_left_out() {
    let mut seen = start();
    let us = implant(7);
    seen.flow.own().set_process(Some(us.process));
    calls(&mut seen, Some(&us));
    left_out(seen);
}

#[test]
fn what_goes_through_our_sockets_is_left_out_though_nobody_knows_whose_it_is() {
    let mut seen = start();
    let sockets = OwnSockets::default();
    seen.flow.own().set_sockets(sockets.clone());
    for call in 0..40 {
        let FiveTuple { local, remote, .. } = call_tuple(call);
        sockets.opened((std::net::Ipv4Addr::UNSPECIFIED, local.port()).into());
        assert!(sockets.holds(local, remote));
    }
    calls(&mut seen, None);
    left_out(seen);
}

#[test]
fn another_program_that_calls_the_same_server_in_the_same_rhythm_is_found() {
    // The number of an earlier process is not the process.
    let mut seen = start();
    let other = implant(7);
    let start_of_us = at(123);
    seen.flow.own().set_process(Some(ProcessKey { pid: other.process.pid, start: start_of_us }));
    calls(&mut seen, Some(&other));
    assert!(!seen.alerts.all().is_empty());
    assert_eq!(seen.flow.own().traffic().count, 0);
}

#[test]
fn of_many_destinations_the_latest_are_listed() {
    let mut seen = start();
    let us = implant(7);
    seen.flow.own().set_process(Some(us.process));
    for host in 1..=20_u8 {
        let tuple = FiveTuple { remote: ([203, 0, 113, host], 443).into(), ..call_tuple(u16::from(host)) };
        let news = SocketNews::Opened(None);
        let event = SocketEvent { time: at(i64::from(host)), socket: SocketId(u64::from(host)), tuple, news };
        seen.flow.socket(&event, Some(us.clone()));
    }
    seen.flow.finish();
    let own = seen.flow.own().traffic();
    assert_eq!((own.count, own.destinations.len(), own.unlisted), (20, 16, 4));
    assert_eq!(own.destinations.last().unwrap().remote, "203.0.113.20:443");
}

#[test]
fn the_events_that_were_written_replay_to_the_same_alerts() {
    let mut seen = start();
    beacon(&mut seen);
    let written = seen.events.all();
    let mut parser = EventParser::new();
    let mut engine = Engine::new("lab".into(), MEMORY, SEED);
    let mut alerts = Vec::new();
    for line in written.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Some(observation) = parser.parse_line(line).unwrap() {
            engine.observe(&observation, &mut |alert| alerts.push(alert));
        }
    }
    assert!(!alerts.is_empty());
    assert_eq!(alerts, seen.alerts.all());
}

#[test]
fn a_gap_is_told_of_in_its_place() {
    let mut seen = start();
    let gap = Gap { since: at(0), until: at(9_000), cause: GapCause::EventsLost, lost: 7 };
    seen.flow.gap(gap, 0);
    seen.flow.flush();
    let written = String::from_utf8(seen.events.all()).unwrap();
    assert!(written.contains("\"gap\"") && written.contains("events_lost"), "{written}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// All that is observed is taken by the engine, or left out by a reason that is counted: whatever comes, from whom, in any order.
    #[test]
    fn every_observation_is_accounted_for(
        steps in proptest::collection::vec((0_u8..9, 0_u16..6, 0_u8..4, proptest::prelude::any::<[u8; 24]>()), 0..120)
    ) {
        let mut seen = start();
        let us = implant(7);
        seen.flow.own().set_process(Some(us.process));
        let (mut time, mut read, mut packets) = (0_i64, 0_u64, 0_u64);
        for (step, call, who, noise) in steps {
            time += i64::from(noise[0]) * 100;
            let flow = &mut seen.flow;
            let news = |news| SocketEvent { time: at(time), socket: SocketId(u64::from(call)), tuple: call_tuple(call), news };
            let opener = match who {
                0 => None,
                1 => Some(us.clone()),
                other => Some(implant(u32::from(other) + 100)),
            };
            match step {
                0 | 1 => flow.socket(&news(SocketNews::Opened(None)), opener),
                2 => flow.socket(&news(SocketNews::Answered), None),
                3 => flow.socket(&news(SocketNews::Closed(sonde_common::event::Totals { end: at(time), ..Default::default() })), None),
                4 => {
                    let name = format!("n{}.example.net", noise[1]);
                    let question = Resolved {
                        start: at(time),
                        time: at(time),
                        process: opener.as_ref().map(|opener| opener.process),
                        attribution: EBPF,
                        query: name,
                        query_type: 1,
                        response_code: None,
                        addresses: Vec::new(),
                    };
                    flow.resolved(&question, opener.as_ref().map(|opener| &opener.program));
                }
                5 => {
                    packets += 1;
                    let packet = LivePacket { time: at(time), interface: 2, bytes: &noise, length: 24 };
                    read += u64::from(flow.packet(&packet));
                }
                6 => flow.tick(at(time)),
                7 => flow.gap(Gap { since: at(time - 10), until: at(time), cause: GapCause::EventsLost, lost: 1 }, 0),
                _ => flow.review(at(time)),
            }
        }
        seen.flow.finish();
        let account = seen.flow.account();
        proptest::prop_assert_eq!(account.difference(), 0, "{:?}", account);
        proptest::prop_assert_eq!(packets - read, seen.flow.passed_over().0);
        let own = account.ignored.get(OWN).copied().unwrap_or(0);
        proptest::prop_assert!(own >= seen.flow.own().traffic().count);
    }
}
