//! What fuzzing found: packets and times that no network sends, and what they must not do. One test a finding.

use proptest::prelude::*;

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

/// Packets of a few hosts that open, reuse, refuse and forget the same few connections over and over, hours apart.
fn packets() -> impl Strategy<Value = Vec<Packet<'static>>> {
    let header = prop_oneof![
        (0u16..3, prop::sample::select(vec![443u16, 53, 50_000]), 0u32..4, any::<u8>()).prop_map(
            |(port, service, sequence, flags)| Header::Tcp {
                source_port: 50_000 + port,
                destination_port: service,
                sequence,
                flags,
            }
        ),
        (0u16..3, prop::sample::select(vec![443u16, 53, 50_000])).prop_map(|(port, service)| Header::Udp {
            source_port: 50_000 + port,
            destination_port: service
        }),
        (0u16..3, any::<bool>()).prop_map(|(id, reply)| Header::Echo { id, reply }),
    ];
    let steps =
        prop_oneof![Just(1i64), Just(NANOS_PER_SEC), Just(40 * NANOS_PER_SEC), Just(9_000 * NANOS_PER_SEC)];
    let packet = (steps, 1u8..3, 1u8..3, header, any::<bool>(), any::<bool>());
    prop::collection::vec(packet, 1..120).prop_map(|packets| {
        let mut time = START;
        let build = |(step, host, peer, transport, reply, speaks): (i64, u8, u8, Header, bool, bool)| {
            time = time.plus_nanos(step);
            let (near, far) = (Addr::v4([10, 0, 0, host]), Addr::v4([198, 51, 100, peer]));
            let (source, destination) = if reply { (far, near) } else { (near, far) };
            let transport = match transport {
                Header::Tcp { source_port, destination_port, sequence, flags } if reply => Header::Tcp {
                    source_port: destination_port,
                    destination_port: source_port,
                    sequence,
                    flags,
                },
                Header::Udp { source_port, destination_port } if reply => {
                    Header::Udp { source_port: destination_port, destination_port: source_port }
                }
                transport => transport,
            };
            let payload: &[u8] = if speaks { b"words" } else { b"" };
            Packet { time, source, destination, transport, payload, payload_len: if speaks { 5 } else { 0 } }
        };
        packets.into_iter().map(build).collect()
    })
}

proptest! {
    /// Also where the table is so small that connections are evicted between the look and the packet.
    #[test]
    fn what_was_looked_ahead_for_changes_nothing(
        packets in packets(),
        batch in 1usize..40,
        memory in prop::sample::select(vec![0usize, 1 << 20]),
    ) {
        let told = |batch: usize| {
            let mut tracker = Tracker::new(Locals::default(), memory);
            let mut told = Vec::new();
            let mut tell = |observation: &Observation<'_>| told.push(format!("{observation:?}"));
            for packets in packets.chunks(batch) {
                let ahead: Vec<_> = packets.iter().map(|packet| tracker.look_ahead(packet)).collect();
                for (packet, ahead) in packets.iter().zip(ahead) {
                    tracker.packet_at(packet, if batch == 1 { Ahead::default() } else { ahead }, &mut tell);
                }
            }
            tracker.finish(&mut tell);
            (told, tracker.counters())
        };
        prop_assert_eq!(told(batch), told(1));
    }
}
