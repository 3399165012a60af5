//! Sockets and packets of one connection, in every order.

use super::*;
use crate::conntrack::local::Locals;
use crate::decode::packet::{Header, Packet, flags};
use crate::event::{Event, Names};
use crate::live::SocketId;

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [203, 0, 113, 7];
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: c2.example\r\n\r\n";

struct Live {
    tracker: Tracker,
    told: Vec<String>,
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000 * NANOS_PER_SEC + ms * 1_000_000)
}

fn tuple(transport: Transport) -> FiveTuple {
    FiveTuple { transport, local: (HERE, 40_000).into(), remote: (THERE, 443).into() }
}

impl Live {
    fn new() -> Self {
        let mut tracker = Tracker::new(Locals::machine("here", &[HERE.into()]), 1 << 20);
        tracker.expect_sockets(true);
        Self { tracker, told: Vec::new() }
    }

    fn socket(&mut self, ms: i64, news: SocketNews) -> &mut Self {
        self.socket_of(tuple(Transport::Tcp), ms, news)
    }

    fn socket_of(&mut self, tuple: FiveTuple, ms: i64, news: SocketNews) -> &mut Self {
        let Self { tracker, told } = self;
        let event = SocketEvent { time: at(ms), socket: SocketId(1), tuple, news };
        tracker.socket(&event, &mut |observation| told.push(text(observation)));
        self
    }

    fn tcp(&mut self, ms: i64, from_here: bool, sequence: u32, bits: u8, payload: &[u8]) -> &mut Self {
        self.tcp_from(HERE, ms, from_here, sequence, bits, payload)
    }

    fn tcp_from(
        &mut self,
        local: [u8; 4],
        ms: i64,
        from_here: bool,
        sequence: u32,
        bits: u8,
        payload: &[u8],
    ) -> &mut Self {
        let (source, destination, source_port, destination_port) =
            if from_here { (local, THERE, 40_000, 443) } else { (THERE, local, 443, 40_000) };
        let packet = Packet {
            time: at(ms),
            source: Addr::v4(source),
            destination: Addr::v4(destination),
            transport: Header::Tcp { source_port, destination_port, sequence, flags: bits },
            payload,
            payload_len: u32::try_from(payload.len()).unwrap(),
        };
        let Self { tracker, told } = self;
        tracker.packet(&packet, &mut |observation| told.push(text(observation)));
        self
    }

    fn wait(&mut self, ms: i64) -> &mut Self {
        let Self { tracker, told } = self;
        tracker.tick(at(ms), &mut |observation| told.push(text(observation)));
        self
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn text(observation: &Observation<'_>) -> String {
    let Event::Connection(event) = observation.event else { return "other".to_owned() };
    let Names { http_host, .. } = event.names;
    let name = if http_host.is_empty() { "nameless" } else { http_host };
    let start = (event.start.nanos() - at(0).nanos()) / 1_000_000;
    match event.phase {
        Phase::Opened => format!("opened {name} at {start}"),
        Phase::Joined => "joined".to_owned(),
        Phase::Certificate(_) => "certificate".to_owned(),
        Phase::Exchange { start, bytes_out, bytes_in } => {
            format!("exchange {} {bytes_out}/{bytes_in}", (start.nanos() - at(0).nanos()) / 1_000_000)
        }
        Phase::Closed(totals) | Phase::Whole(totals) => {
            let bytes = (totals.bytes_out.unwrap_or(0), totals.bytes_in.unwrap_or(0));
            format!("closed {}/{} {:?}", bytes.0, bytes.1, totals.outcome)
        }
    }
}

fn closed(ms: i64, bytes_out: u64, bytes_in: u64, outcome: Outcome) -> SocketNews {
    SocketNews::Closed(Totals { end: at(ms), bytes_out: Some(bytes_out), bytes_in: Some(bytes_in), outcome })
}

#[test]
fn a_connection_is_told_of_once_with_its_name_whatever_comes_first() {
    for socket_first in [true, false] {
        let mut live = Live::new();
        if socket_first {
            live.socket(0, SocketNews::Opened(None)).tcp(1, true, 99, flags::SYN, &[]);
        } else {
            live.tcp(0, true, 99, flags::SYN, &[]).socket(1, SocketNews::Opened(None));
        }
        live.tcp(5, false, 499, flags::SYN | flags::ACK, &[])
            .socket(5, SocketNews::Answered)
            .tcp(6, true, 100, flags::ACK, REQUEST)
            .tcp(80, true, 4_100, flags::FIN | flags::ACK, &[])
            .tcp(81, false, 9_500, flags::FIN | flags::ACK, &[])
            .socket(82, closed(82, 4_000, 9_000, Outcome::Established));
        assert_eq!(live.told(), ["opened c2.example at 0", "closed 4000/9000 Established"]);
        assert_eq!((live.tracker.counters().connections, live.tracker.open_connections()), (1, 0));
        assert!(live.wait(100_000).told().is_empty());
    }
}

#[test]
fn without_the_sockets_word_the_last_packets_count_the_bytes() {
    let mut live = Live::new();
    live.socket(0, SocketNews::Opened(None))
        .tcp(1, true, 99, flags::SYN, &[])
        .tcp(5, false, 499, flags::SYN | flags::ACK, &[])
        .tcp(6, true, 100, flags::ACK, REQUEST)
        .tcp(80, true, 100 + 3_000_000_000, flags::FIN | flags::ACK, &[])
        .tcp(81, false, 9_500, flags::FIN | flags::ACK, &[])
        .wait(3_000);
    assert_eq!(live.told(), ["opened c2.example at 0"]);
    assert_eq!(live.wait(10_000).told(), ["closed 3000000000/9000 Established"]);
}

#[test]
fn packets_without_a_socket_are_a_connection_of_their_own() {
    let mut live = Live::new();
    live.tcp(1, true, 99, flags::SYN, &[])
        .tcp(5, false, 499, flags::SYN | flags::ACK, &[])
        .tcp(80, true, 350, flags::FIN | flags::ACK, &[])
        .tcp(81, false, 1_500, flags::FIN | flags::ACK, &[]);
    assert_eq!(live.told(), ["opened nameless at 1", "closed 250/1000 Established"]);
}

#[test]
fn what_a_container_opened_is_not_told_of_again_when_its_address_was_translated() {
    let mut live = Live::new();
    let container = FiveTuple { local: ([172, 17, 0, 2], 40_000).into(), ..tuple(Transport::Tcp) };
    live.socket_of(container, 0, SocketNews::Opened(None))
        .tcp_from([172, 17, 0, 2], 1, true, 99, flags::SYN, &[])
        .tcp(1, true, 99, flags::SYN, &[])
        .tcp(5, false, 499, flags::SYN | flags::ACK, &[])
        .tcp_from([172, 17, 0, 2], 5, false, 499, flags::SYN | flags::ACK, &[])
        .wait(4_000);
    assert_eq!(live.told(), ["opened nameless at 0"]);
    assert_eq!(live.tracker.counters().foreign, 1);
}

#[test]
fn exchanges_come_from_the_socket_and_only_from_it() {
    let mut live = Live::new();
    live.socket(0, SocketNews::Opened(None))
        .socket(5, SocketNews::Answered)
        .tcp(60_000, true, 100, flags::ACK, REQUEST)
        .socket(61_100, SocketNews::Exchange { start: at(60_000), bytes_out: 40, bytes_in: 900 });
    assert_eq!(live.told(), ["opened nameless at 0", "exchange 60000 40/900"]);
}

#[test]
fn a_socket_found_open_is_joined_and_one_refused_is_said_to_be() {
    let mut live = Live::new();
    live.socket(0, SocketNews::Found(None)).socket(9_000, closed(9_000, 5, 6, Outcome::Unknown));
    assert_eq!(live.told(), ["joined", "closed 5/6 Unknown"]);
    let mut live = Live::new();
    live.socket(0, SocketNews::Opened(None))
        .tcp(1, true, 99, flags::SYN, &[])
        .tcp(2, false, 0, flags::RST | flags::ACK, &[])
        .socket(2, closed(2, 0, 0, Outcome::Refused));
    assert_eq!(live.told(), ["opened nameless at 0", "closed 0/0 Refused"]);
}

#[test]
fn a_port_used_again_is_a_new_connection() {
    let mut live = Live::new();
    live.socket(0, SocketNews::Opened(None))
        .socket(5, SocketNews::Answered)
        .socket(60_000, SocketNews::Opened(None))
        .wait(70_000);
    assert_eq!(live.told(), ["opened nameless at 0", "closed 0/0 Established", "opened nameless at 60000"]);
}

#[test]
fn datagrams_of_a_socket_bound_to_no_address_are_its_own_and_others_are_passed_on() {
    let mut live = Live::new();
    let unbound = FiveTuple { local: ([0, 0, 0, 0], 40_000).into(), ..tuple(Transport::Udp) };
    let packet = |source_port| Packet {
        time: at(1),
        source: Addr::v4(HERE),
        destination: Addr::v4(THERE),
        transport: Header::Udp { source_port, destination_port: 443 },
        payload: b"hello",
        payload_len: 5,
    };
    live.socket_of(unbound, 0, SocketNews::Opened(None));
    for port in [40_000, 50_000] {
        let Live { tracker, told } = &mut live;
        tracker.packet(&packet(port), &mut |observation| told.push(text(observation)));
    }
    live.wait(10_000);
    assert_eq!(live.told(), ["opened nameless at 0"]);
    assert_eq!(live.tracker.counters().foreign, 1);
}

#[test]
fn loopback_resolvers_and_discovery_are_no_calls() {
    let mut live = Live::new();
    for (transport, remote) in [
        (Transport::Tcp, "127.0.0.1:443"),
        (Transport::Udp, "203.0.113.7:53"),
        (Transport::Udp, "224.0.0.251:5353"),
        (Transport::Tcp, "[::1]:80"),
    ] {
        let tuple = FiveTuple { transport, local: (HERE, 1).into(), remote: remote.parse().unwrap() };
        live.socket_of(tuple, 0, SocketNews::Opened(None));
    }
    assert!(live.wait(10_000).told().is_empty());
}

#[test]
fn a_clock_that_is_set_ends_nothing_and_keeps_nothing_waiting() {
    for step in [-86_400_000, 86_400_000] {
        let mut live = Live::new();
        live.socket(0, SocketNews::Opened(None)).socket(5, SocketNews::Answered).wait(5_000).told();
        live.socket(10_000, SocketNews::Opened(None));
        live.tracker.clock_set(step * 1_000_000);
        live.wait(step + 10_100);
        assert_eq!(live.told(), ["closed 0/0 Established"], "only the port that was used again");
        live.wait(step + 15_000);
        assert_eq!(live.told().len(), 1, "it is told of when it was time for it");
    }
}
