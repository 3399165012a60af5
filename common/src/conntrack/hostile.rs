//! What fuzzing found: packets and times that no network sends, and what they must not do. One test a finding.

use super::*;
use crate::decode::packet::Addr;

const START: Timestamp = Timestamp::from_secs_nanos(1_700_006_400, 0);

/// What the tracker tells of packets given one after the other.
struct Case {
    tracker: Tracker,
    phases: Vec<Phase>,
}

impl Case {
    fn new() -> Self {
        Self { tracker: Tracker::new(Locals::default(), 1 << 20), phases: Vec::new() }
    }

    fn packet(&mut self, time: Timestamp, transport: Header, payload: &[u8]) {
        let phases = &mut self.phases;
        let packet = Packet {
            time,
            source: Addr::v4([10, 0, 0, 1]),
            destination: Addr::v4([198, 51, 100, 7]),
            transport,
            payload,
            payload_len: u32::try_from(payload.len()).unwrap(),
        };
        self.tracker.packet(&packet, &mut |observation| keep(observation, phases));
    }

    fn finish(mut self) -> Vec<Phase> {
        let phases = &mut self.phases;
        self.tracker.finish(&mut |observation| keep(observation, phases));
        self.phases
    }
}

fn keep(observation: &Observation<'_>, phases: &mut Vec<Phase>) {
    if let Event::Connection(event) = observation.event {
        phases.push(event.phase);
    }
}

const UDP: Header = Header::Udp { source_port: 50_000, destination_port: 4444 };
const SYN: Header =
    Header::Tcp { source_port: 50_000, destination_port: 443, sequence: 7, flags: flags::SYN };

#[test]
fn an_empty_datagram_is_no_exchange() {
    let mut case = Case::new();
    for minute in 0..4 {
        case.packet(START.plus_nanos(minute * 60 * NANOS_PER_SEC), UDP, b"");
    }
    let phases = case.finish();
    assert_eq!(phases.len(), 2, "{phases:?}");
    assert!(matches!(phases.as_slice(), [Phase::Opened, Phase::Closed(_)]));
}

#[test]
fn the_first_moment_after_the_last_does_not_overflow() {
    for (first, second) in
        [(START, i64::MIN), (Timestamp::MAX, i64::MIN), (Timestamp::from_nanos(i64::MIN), i64::MAX)]
    {
        let mut case = Case::new();
        case.packet(first, UDP, b"x");
        case.packet(Timestamp::from_nanos(second), SYN, b"");
        case.packet(first.plus_nanos(10 * NANOS_PER_SEC), UDP, b"x");
        let phases = case.finish();
        let closed = phases.iter().filter(|phase| matches!(phase, Phase::Closed(_))).count();
        let opened = phases.iter().filter(|phase| matches!(phase, Phase::Opened)).count();
        assert_eq!(opened, closed, "{phases:?}");
    }
}
