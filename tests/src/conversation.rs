//! Whole conversations on a timeline: each is a small function that pushes timed frames.
//!
//! The viewpoint is the client's host: a packet it sends has the time of sending, an answer comes one round trip
//! later. A [`Timeline`] sorts what conversations push and can be drained up to a moment, so that a long scenario is
//! streamed: whoever starts conversations in order of time may flush everything before the next start.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sonde_common::time::Timestamp;

use crate::capture::CaptureWriter;
use crate::packet::{Addresses, IpFields, Link, Packet, SYN_OPTIONS, Tcp, Transport, flags};
use crate::payload::{self, Answer, ClientHello, Rcode, RecordType};
use crate::rng::Rng;

/// Largest TCP payload of a packet on Ethernet (RFC 9293 section 3.7.1).
pub const SEGMENT_BYTES: usize = 1_460;

/// When an unanswered SYN is sent again, after the first (initial timeout 1 s, doubled: RFC 6298).
pub const SYN_RETRIES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(7)];

/// Space between segments that are sent back to back.
const SEGMENT_GAP: Duration = Duration::from_micros(12);

/// `time` moved forward; saturates.
#[must_use]
pub fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.plus_nanos(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX))
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    time: Timestamp,
    /// Keeps frames of equal time in the order in which they were pushed.
    serial: u64,
    frame: Vec<u8>,
}

/// Frames waiting for their turn, and the tally of what the conversations were.
#[derive(Debug, Default)]
pub struct Timeline {
    waiting: BinaryHeap<Reverse<Entry>>,
    serial: u64,
    /// Conversations begun, of any transport.
    pub connections: u64,
    /// Names asked for or claimed.
    pub names: BTreeSet<String>,
}

impl Timeline {
    /// Adds one frame.
    pub fn push(&mut self, time: Timestamp, frame: Vec<u8>) {
        self.serial += 1;
        self.waiting.push(Reverse(Entry { time, serial: self.serial, frame }));
    }

    /// Writes and forgets every frame before `time`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn flush_before<W: Write>(&mut self, time: Timestamp, out: &mut CaptureWriter<W>) -> io::Result<()> {
        while let Some(Reverse(next)) = self.waiting.peek() {
            if next.time >= time {
                break;
            }
            if let Some(Reverse(next)) = self.waiting.pop() {
                out.write(next.time, &next.frame)?;
            }
        }
        Ok(())
    }

    /// All frames in order of time.
    #[must_use]
    pub fn into_frames(self) -> Vec<(Timestamp, Vec<u8>)> {
        let mut entries: Vec<Entry> = self.waiting.into_iter().map(|Reverse(entry)| entry).collect();
        entries.sort_unstable();
        entries.into_iter().map(|entry| (entry.time, entry.frame)).collect()
    }

    fn name(&mut self, name: &str) {
        if !self.names.contains(name) {
            self.names.insert(name.to_owned());
        }
    }
}

/// Who talks to whom, over what.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The side that opens.
    pub client: SocketAddr,
    /// The side that answers.
    pub server: SocketAddr,
    /// Link of a packet from client to server.
    pub link: Link,
    /// Time until an answer is back.
    pub round_trip: Duration,
}

impl Route {
    /// Over Ethernet through a gateway; the client's MAC address follows from its IP address.
    #[must_use]
    pub fn ethernet(client: SocketAddr, server: SocketAddr, round_trip: Duration) -> Self {
        let low = match client.ip() {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => address.octets().last_chunk().copied().unwrap_or_default(),
        };
        let [a, b, c, d] = low;
        let link = Link::ethernet([2, 0, a, b, c, d], [2, 0xff, 0, 0, 0, 1]);
        Self { client, server, link, round_trip }
    }

    /// The same parties with another client port.
    #[must_use]
    pub const fn with_client_port(mut self, port: u16) -> Self {
        self.client.set_port(port);
        self
    }

    fn packet<'a>(&self, from_client: bool, transport: Transport<'a>, payload: &'a [u8]) -> Packet<'a> {
        let addresses = Addresses::new(self.client.ip(), self.server.ip());
        let (addresses, link) =
            if from_client { (addresses, self.link) } else { (addresses.reversed(), self.link.reversed()) };
        Packet { link, addresses, ip: IpFields::default(), transport, payload }
    }

    fn datagram(&self, from_client: bool, payload: &[u8]) -> Vec<u8> {
        let (mut source_port, mut destination_port) = (self.client.port(), self.server.port());
        if !from_client {
            (source_port, destination_port) = (destination_port, source_port);
        }
        self.packet(from_client, Transport::Udp { source_port, destination_port }, payload).to_vec()
    }
}

/// A TCP connection in progress: keeps sequence numbers and the clock, and pushes each segment as it is told to.
#[derive(Debug)]
pub struct TcpTalk<'t> {
    timeline: &'t mut Timeline,
    route: Route,
    now: Timestamp,
    client_seq: u32,
    server_seq: u32,
    identification: u16,
}

impl<'t> TcpTalk<'t> {
    /// Handshake: SYN, SYN-ACK, ACK.
    pub fn open(timeline: &'t mut Timeline, start: Timestamp, route: Route, rng: &mut Rng) -> Self {
        Self::open_at(timeline, start, route, rng.u32(), rng.u32())
    }

    /// Handshake with chosen initial sequence numbers.
    pub fn open_at(
        timeline: &'t mut Timeline,
        start: Timestamp,
        route: Route,
        client_isn: u32,
        server_isn: u32,
    ) -> Self {
        let mut talk = Self::midway(timeline, start, route, client_isn, server_isn);
        talk.segment(true, flags::SYN, &[]);
        talk.client_seq = talk.client_seq.wrapping_add(1);
        talk.now = after(talk.now, route.round_trip);
        talk.segment(false, flags::SYN | flags::ACK, &[]);
        talk.server_seq = talk.server_seq.wrapping_add(1);
        talk.wait(Duration::from_micros(40));
        talk.segment(true, flags::ACK, &[]);
        talk.wait(Duration::from_micros(200));
        talk
    }

    /// No handshake: the connection was there before the capture.
    pub fn midway(
        timeline: &'t mut Timeline,
        start: Timestamp,
        route: Route,
        client_seq: u32,
        server_seq: u32,
    ) -> Self {
        timeline.connections += 1;
        // Any start will do as long as it differs between connections; the client's port does.
        Self { timeline, route, now: start, client_seq, server_seq, identification: route.client.port() }
    }

    /// The moment reached.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Nothing happens for a while.
    pub fn wait(&mut self, wait: Duration) {
        self.now = after(self.now, wait);
    }

    /// Nothing happens until `time`, if that is later.
    pub fn until(&mut self, time: Timestamp) {
        self.now = self.now.max(time);
    }

    /// The client sends `data`; the server acknowledges it one round trip later.
    pub fn send(&mut self, data: &[u8]) {
        for part in data.chunks(SEGMENT_BYTES) {
            self.data(true, part);
        }
        self.wait(self.route.round_trip);
        self.segment(false, flags::ACK, &[]);
    }

    /// The server sends `data`; the client acknowledges every second segment and the last.
    pub fn receive(&mut self, data: &[u8]) {
        self.wait(Duration::from_micros(300));
        let count = data.chunks(SEGMENT_BYTES).len();
        for (index, part) in data.chunks(SEGMENT_BYTES).enumerate() {
            self.data(false, part);
            if index % 2 == 1 || index + 1 == count {
                self.segment(true, flags::ACK, &[]);
            }
        }
    }

    /// The client sends `data` in segments of `bytes`, but they are seen in the order of `order`, where an index may
    /// come twice (a retransmission). Sequence numbers go on after the whole of `data`.
    pub fn send_disordered(&mut self, data: &[u8], bytes: usize, order: &[usize]) {
        let first = self.client_seq;
        let parts: Vec<&[u8]> = data.chunks(bytes.max(1)).collect();
        for index in order {
            let Some(part) = parts.get(*index) else { continue };
            let before: usize = parts.iter().take(*index).map(|part| part.len()).sum();
            self.client_seq = first.wrapping_add(seq_len(before));
            self.data(true, part);
        }
        self.client_seq = first.wrapping_add(seq_len(data.len()));
        self.wait(self.route.round_trip);
        self.segment(false, flags::ACK, &[]);
    }

    /// TLS handshake: hello, the server's flight, the client's Finished.
    pub fn tls_handshake(&mut self, hello: &ClientHello<'_>, rng: &mut Rng) {
        if let Some(name) = hello.server_name {
            self.timeline.name(name);
        }
        let mut message = Vec::with_capacity(1_024);
        hello.record(&mut message);
        self.send(&message);
        message.clear();
        payload::server_hello(&mut message, rng.bytes(), 1_900);
        self.receive(&message);
        message.clear();
        message.extend([20, 3, 3, 0, 1, 1]);
        payload::application_data(&mut message, 53);
        self.send(&message);
    }

    /// One request and its response as TLS records, `up` and `down` bytes long.
    pub fn tls_exchange(&mut self, up: usize, down: usize) {
        let mut message = Vec::with_capacity(up.max(down) + 64);
        payload::application_data(&mut message, up);
        self.send(&message);
        message.clear();
        payload::application_data(&mut message, down);
        self.receive(&message);
    }

    /// The client closes and the server agrees; the answer is the end.
    pub fn close(mut self) -> Timestamp {
        self.segment(true, flags::FIN | flags::ACK, &[]);
        self.client_seq = self.client_seq.wrapping_add(1);
        self.wait(self.route.round_trip);
        self.segment(false, flags::FIN | flags::ACK, &[]);
        self.server_seq = self.server_seq.wrapping_add(1);
        self.wait(Duration::from_micros(30));
        self.segment(true, flags::ACK, &[]);
        self.now
    }

    /// One side resets.
    pub fn reset(mut self, by_client: bool) -> Timestamp {
        self.segment(by_client, flags::RST | flags::ACK, &[]);
        self.now
    }

    fn data(&mut self, from_client: bool, part: &[u8]) {
        self.segment(from_client, flags::PSH | flags::ACK, part);
        let seq = if from_client { &mut self.client_seq } else { &mut self.server_seq };
        *seq = seq.wrapping_add(seq_len(part.len()));
        self.wait(SEGMENT_GAP);
    }

    fn segment(&mut self, from_client: bool, bits: u8, part: &[u8]) {
        let (client, server) = (self.route.client.port(), self.route.server.port());
        let acked = |seq: u32| if bits & flags::ACK == 0 { 0 } else { seq };
        let mut tcp = Tcp {
            source_port: client,
            destination_port: server,
            seq: self.client_seq,
            ack: acked(self.server_seq),
            flags: bits,
            window: if bits & flags::SYN == 0 { 501 } else { 64_240 },
            options: if bits & flags::SYN == 0 { &[] } else { SYN_OPTIONS },
        };
        if !from_client {
            (tcp.source_port, tcp.destination_port) = (server, client);
            (tcp.seq, tcp.ack) = (self.server_seq, acked(self.client_seq));
        }
        let mut packet = self.route.packet(from_client, Transport::Tcp(tcp), part);
        self.identification = self.identification.wrapping_add(1);
        packet.ip.identification = self.identification;
        self.timeline.push(self.now, packet.to_vec());
    }
}

/// A length as a distance between sequence numbers.
fn seq_len(length: usize) -> u32 {
    u32::try_from(length).expect("one call sends less than 4 GiB")
}

/// TCP connect, TLS hello, one exchange, FIN. The answer is the end.
pub fn tls(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    rng: &mut Rng,
    hello: &ClientHello<'_>,
    (up, down): (usize, usize),
) -> Timestamp {
    let mut talk = TcpTalk::open(timeline, start, route, rng);
    talk.tls_handshake(hello, rng);
    talk.tls_exchange(up, down);
    talk.close()
}

/// A TLS connection that is kept, with an exchange at each of `times`.
pub fn keep_alive(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    rng: &mut Rng,
    hello: &ClientHello<'_>,
    times: &[Timestamp],
    (up, down): (usize, usize),
) -> Timestamp {
    let mut talk = TcpTalk::open(timeline, start, route, rng);
    talk.tls_handshake(hello, rng);
    for time in times {
        talk.until(*time);
        talk.tls_exchange(up, down);
    }
    talk.wait(Duration::from_secs(1));
    talk.close()
}

/// A connection that was open before the capture began: data both ways, no SYN, a FIN at the end.
pub fn midstream(timeline: &mut Timeline, start: Timestamp, route: Route, rng: &mut Rng) -> Timestamp {
    let (client_seq, server_seq) = (rng.u32(), rng.u32());
    let mut talk = TcpTalk::midway(timeline, start, route, client_seq, server_seq);
    talk.tls_exchange(300, 4_000);
    talk.close()
}

/// A TLS connection whose hello arrives out of order and partly twice.
pub fn disordered(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    rng: &mut Rng,
    hello: &ClientHello<'_>,
) -> Timestamp {
    let mut talk = TcpTalk::open(timeline, start, route, rng);
    let mut message = Vec::new();
    hello.record(&mut message);
    // Third part before the second, first part again, then the rest.
    let parts: Vec<usize> = [0, 2, 0, 1].into_iter().chain(3..message.len().div_ceil(100)).collect();
    talk.send_disordered(&message, 100, &parts);
    talk.tls_exchange(200, 2_000);
    talk.close()
}

/// A TLS connection whose sequence numbers wrap around on both sides, in the middle of the hello and of the data.
pub fn sequence_wrap(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    rng: &mut Rng,
    hello: &ClientHello<'_>,
) -> Timestamp {
    let mut talk = TcpTalk::open_at(timeline, start, route, u32::MAX - 100, u32::MAX - 1_000);
    talk.tls_handshake(hello, rng);
    talk.tls_exchange(500, 5_000);
    talk.close()
}

/// A SYN that is refused by a RST.
pub fn refused(timeline: &mut Timeline, start: Timestamp, route: Route, rng: &mut Rng) -> Timestamp {
    let isn = rng.u32();
    let mut talk = TcpTalk::midway(timeline, start, route, isn, 0);
    talk.segment(true, flags::SYN, &[]);
    talk.client_seq = isn.wrapping_add(1);
    talk.wait(route.round_trip);
    talk.reset(false)
}

/// A SYN that nobody answers, repeated with growing pauses from the same port with the same sequence number.
pub fn unanswered(timeline: &mut Timeline, start: Timestamp, route: Route, rng: &mut Rng) -> Timestamp {
    let mut talk = TcpTalk::midway(timeline, start, route, rng.u32(), 0);
    talk.segment(true, flags::SYN, &[]);
    for retry in SYN_RETRIES {
        talk.now = after(start, retry);
        talk.segment(true, flags::SYN, &[]);
    }
    talk.now
}

/// An HTTP GET and its response.
pub fn http(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    rng: &mut Rng,
    (host, path, agent): (&str, &str, &str),
    down: usize,
) -> Timestamp {
    timeline.name(host);
    let mut talk = TcpTalk::open(timeline, start, route, rng);
    let mut message = Vec::new();
    payload::http_get(&mut message, host, path, agent);
    talk.send(&message);
    message.clear();
    payload::http_ok(&mut message, down);
    talk.receive(&message);
    talk.close()
}

/// TLS through an HTTP proxy: CONNECT, its answer, then the hello for `authority`'s host inside the tunnel.
pub fn proxied(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    rng: &mut Rng,
    (authority, agent): (&str, &str),
    hello: &ClientHello<'_>,
    (up, down): (usize, usize),
) -> Timestamp {
    let mut talk = TcpTalk::open(timeline, start, route, rng);
    let mut message = Vec::new();
    payload::http_connect(&mut message, authority, agent);
    talk.send(&message);
    talk.receive(payload::HTTP_TUNNEL_READY);
    talk.tls_handshake(hello, rng);
    talk.tls_exchange(up, down);
    talk.close()
}

/// One datagram each way.
pub fn udp(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    question: &[u8],
    answer: &[u8],
) -> Timestamp {
    timeline.connections += 1;
    timeline.push(start, route.datagram(true, question));
    let end = after(start, route.round_trip);
    timeline.push(end, route.datagram(false, answer));
    end
}

/// A datagram to a closed port: the server answers with ICMP "port unreachable" that quotes it.
pub fn udp_unreachable(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    question: &[u8],
) -> Timestamp {
    timeline.connections += 1;
    let (source_port, destination_port) = (route.client.port(), route.server.port());
    let asked = route.packet(true, Transport::Udp { source_port, destination_port }, question);
    let quoted = asked.quoted();
    timeline.push(start, asked.to_vec());
    let code = if route.server.is_ipv4() { 3 } else { 4 };
    let end = after(start, route.round_trip);
    timeline.push(end, route.packet(false, Transport::Unreachable { code }, &quoted).to_vec());
    end
}

/// An NTP question and answer.
pub fn ntp(timeline: &mut Timeline, start: Timestamp, route: Route, rng: &mut Rng) -> Timestamp {
    let (mut question, mut answer) = (Vec::new(), Vec::new());
    payload::ntp(&mut question, false, rng);
    payload::ntp(&mut answer, true, rng);
    udp(timeline, start, route, &question, &answer)
}

/// An ICMP echo request and its reply, both with `data`.
pub fn icmp_echo(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    (identifier, sequence): (u16, u16),
    data: &[u8],
) -> Timestamp {
    timeline.connections += 1;
    let echo = |reply| Transport::Echo { reply, identifier, sequence };
    timeline.push(start, route.packet(true, echo(false), data).to_vec());
    let end = after(start, route.round_trip);
    timeline.push(end, route.packet(false, echo(true), data).to_vec());
    end
}

/// A DNS question and what the resolver says.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The name asked for.
    pub name: &'a str,
    /// The record type asked for.
    pub kind: RecordType,
    /// How it went.
    pub rcode: Rcode,
    /// Time to live of the records, in seconds.
    pub ttl_secs: u32,
    /// The records.
    pub answers: &'a [Answer<'a>],
}

/// Asks the resolver at the route's server.
pub fn dns(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    rng: &mut Rng,
    lookup: &Lookup<'_>,
) -> Timestamp {
    timeline.name(lookup.name);
    let id = rng.u16();
    let (mut question, mut answer) = (Vec::new(), Vec::new());
    payload::dns_query(&mut question, id, lookup.name, lookup.kind);
    let Lookup { name, kind, rcode, ttl_secs, answers } = *lookup;
    payload::dns_response(&mut answer, id, name, kind, rcode, ttl_secs, answers);
    udp(timeline, start, route, &question, &answer)
}

/// Looks `name` up at `resolver` (an alias first, if told) and tells when the address is known; the caller then
/// connects to `address`.
pub fn resolve(
    timeline: &mut Timeline,
    start: Timestamp,
    resolver: Route,
    rng: &mut Rng,
    (name, alias): (&str, Option<&str>),
    address: IpAddr,
    ttl_secs: u32,
) -> Timestamp {
    let owner = alias.unwrap_or(name);
    let (kind, last) = match address {
        IpAddr::V4(address) => (RecordType::A, Answer::A { owner, address }),
        IpAddr::V6(address) => (RecordType::Aaaa, Answer::Aaaa { owner, address }),
    };
    let chain: Vec<Answer<'_>> =
        alias.map(|target| Answer::Cname { owner: name, target }).into_iter().chain([last]).collect();
    let lookup = Lookup { name, kind, rcode: Rcode::NoError, ttl_secs, answers: &chain };
    let end = dns(timeline, start, resolver, rng, &lookup);
    after(end, Duration::from_millis(1))
}

/// A QUIC connection: encrypted Initials both ways, then short-header packets `up` and `down`.
pub fn quic(
    timeline: &mut Timeline,
    start: Timestamp,
    route: Route,
    rng: &mut Rng,
    hello: &ClientHello<'_>,
    (up, down): (usize, usize),
) -> Timestamp {
    timeline.connections += 1;
    if let Some(name) = hello.server_name {
        timeline.name(name);
    }
    let (original_id, client_id, server_id): ([u8; 8], [u8; 8], [u8; 8]) =
        (rng.bytes(), rng.bytes(), rng.bytes());
    let mut datagram = Vec::new();
    payload::quic_client_initial(&mut datagram, &original_id, &client_id, *hello);
    timeline.push(start, route.datagram(true, &datagram));
    datagram.clear();
    payload::quic_server_initial(&mut datagram, &original_id, &client_id, &server_id, rng.bytes());
    let mut now = after(start, route.round_trip);
    timeline.push(now, route.datagram(false, &datagram));
    for (from_client, id, bytes) in [(true, &server_id, up), (false, &client_id, down)] {
        let mut left = bytes;
        now = after(now, if from_client { Duration::from_millis(1) } else { route.round_trip });
        while left > 0 {
            let part = left.min(1_200);
            datagram.clear();
            payload::quic_short(&mut datagram, id, part + 25);
            timeline.push(now, route.datagram(from_client, &datagram));
            now = after(now, SEGMENT_GAP);
            left -= part;
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    const START: Timestamp = Timestamp::from_secs_nanos(1_700_006_400, 0);

    fn route() -> Route {
        let (client, server) = ("10.0.0.5:50000".parse().unwrap(), "192.0.2.9:443".parse().unwrap());
        Route::ethernet(client, server, Duration::from_millis(20))
    }

    struct Seen {
        time: Timestamp,
        from_client: bool,
        bits: u8,
        seq: u32,
        ack: u32,
        data: Vec<u8>,
    }

    fn segments(timeline: Timeline) -> Vec<Seen> {
        let parse = |(time, frame): (Timestamp, Vec<u8>)| {
            let parsed = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = parsed.transport else { panic!("not TCP") };
            let data = tcp.payload().to_vec();
            let bits = tcp.slice()[13];
            let (seq, ack) = (tcp.sequence_number(), tcp.acknowledgment_number());
            Seen { time, from_client: tcp.destination_port() == 443, bits, seq, ack, data }
        };
        timeline.into_frames().into_iter().map(parse).collect()
    }

    /// Every byte after the handshake is acknowledged exactly, and data is contiguous in each direction.
    fn assert_contiguous(seen: &[Seen]) {
        let mut next = [None, None];
        for segment in seen {
            let (own, other) = (usize::from(segment.from_client), usize::from(!segment.from_client));
            if let Some(expected) = next[own] {
                assert_eq!(segment.seq, expected);
            }
            if let (true, Some(expected)) = (segment.bits & flags::ACK != 0, next[other]) {
                assert_eq!(segment.ack, expected);
            }
            let phantom = u32::from(segment.bits & (flags::SYN | flags::FIN) != 0);
            next[own] = Some(segment.seq.wrapping_add(seq_len(segment.data.len())).wrapping_add(phantom));
        }
    }

    #[test]
    fn tls_conversation_is_a_valid_tcp_connection() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        let hello = ClientHello::browser("a.example", [1; 32]);
        tls(&mut timeline, START, route(), &mut rng, &hello, (400, 9_000));
        assert_eq!(timeline.connections, 1);
        assert!(timeline.names.contains("a.example"));
        let seen = segments(timeline);
        assert_contiguous(&seen);
        assert_eq!(seen[0].bits, flags::SYN);
        assert_eq!(seen[1].bits, flags::SYN | flags::ACK);
        assert_eq!(seen[3].data[0], 22);
        assert_eq!(seen.iter().filter(|segment| segment.bits & flags::FIN != 0).count(), 2);
        assert!(seen.is_sorted_by_key(|segment| segment.time));
    }

    #[test]
    fn sequence_numbers_wrap_on_both_sides() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        sequence_wrap(&mut timeline, START, route(), &mut rng, &ClientHello::browser("a.example", [1; 32]));
        let seen = segments(timeline);
        assert_contiguous(&seen);
        for from_client in [true, false] {
            let side: Vec<u32> =
                seen.iter().filter(|seen| seen.from_client == from_client).map(|seen| seen.seq).collect();
            assert!(side.windows(2).any(|pair| pair[1] < pair[0]), "wraps");
        }
    }

    #[test]
    fn disordered_hello_is_whole_once_sorted() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        let hello = ClientHello::browser("a.example", [1; 32]);
        disordered(&mut timeline, START, route(), &mut rng, &hello);
        let seen = segments(timeline);
        let isn = seen[0].seq.wrapping_add(1);
        let mut stream = vec![None; 517];
        let mut jumped_back = false;
        let mut highest = 0;
        for segment in seen.iter().filter(|segment| segment.from_client) {
            let offset = segment.seq.wrapping_sub(isn) as usize;
            jumped_back |= !segment.data.is_empty() && offset < highest;
            highest = highest.max(offset + segment.data.len());
            for (index, byte) in segment.data.iter().enumerate().filter(|(index, _)| offset + index < 517) {
                stream[offset + index] = Some(*byte);
            }
        }
        assert!(jumped_back);
        let mut expected = Vec::new();
        hello.record(&mut expected);
        assert_eq!(stream.into_iter().collect::<Option<Vec<u8>>>(), Some(expected));
    }

    #[test]
    fn unanswered_syn_is_repeated_unchanged_with_back_off() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        unanswered(&mut timeline, START, route(), &mut rng);
        let seen = segments(timeline);
        let secs: Vec<i64> = seen.iter().map(|segment| segment.time.since(START) / 1_000_000_000).collect();
        assert_eq!(secs, [0, 1, 3, 7]);
        assert!(seen.iter().all(|segment| segment.bits == flags::SYN && segment.seq == seen[0].seq));
    }

    #[test]
    fn refusal_acknowledges_the_syn() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        refused(&mut timeline, START, route(), &mut rng);
        let seen = segments(timeline);
        assert_eq!(seen[1].bits, flags::RST | flags::ACK);
        assert_eq!((seen[1].ack, seen[1].from_client), (seen[0].seq.wrapping_add(1), false));
    }

    #[test]
    fn keep_alive_exchanges_at_the_given_times() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        let times: Vec<Timestamp> = (1..=5).map(|n| after(START, Duration::from_secs(n * 5))).collect();
        let hello = ClientHello::program(None, payload::CIPHERS_GO, [1; 32]);
        keep_alive(&mut timeline, START, route(), &mut rng, &hello, &times, (100, 200));
        let seen = segments(timeline);
        assert_contiguous(&seen);
        let requests = seen.iter().filter(|seen| seen.from_client && seen.data.first() == Some(&23));
        assert_eq!(requests.map(|seen| seen.time).collect::<Vec<_>>(), times);
    }

    #[test]
    fn midstream_has_no_syn() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        midstream(&mut timeline, START, route(), &mut rng);
        let seen = segments(timeline);
        assert_contiguous(&seen);
        assert!(seen.iter().all(|segment| segment.bits & flags::SYN == 0));
    }

    #[test]
    fn proxied_hello_follows_the_tunnel() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        let hello = ClientHello::program(Some("c2.example"), payload::CIPHERS_GO, [1; 32]);
        proxied(&mut timeline, START, route(), &mut rng, ("c2.example:443", "x"), &hello, (10, 10));
        let sent: Vec<Vec<u8>> =
            segments(timeline).into_iter().filter(|seen| seen.from_client).map(|seen| seen.data).collect();
        let sent: Vec<&Vec<u8>> = sent.iter().filter(|data| !data.is_empty()).collect();
        assert!(sent[0].starts_with(b"CONNECT c2.example:443 HTTP/1.1\r\n"));
        assert_eq!(sent[1][0], 22);
    }

    #[test]
    fn datagrams_go_both_ways() {
        let (mut timeline, mut rng) = (Timeline::default(), Rng::new(1));
        let resolver = Route { server: "10.0.0.1:53".parse().unwrap(), ..route() };
        let known = resolve(
            &mut timeline,
            START,
            resolver,
            &mut rng,
            ("www.example.org", Some("cdn.example.org")),
            "192.0.2.9".parse().unwrap(),
            60,
        );
        assert!(known > after(START, route().round_trip));
        udp_unreachable(&mut timeline, known, route(), b"?");
        icmp_echo(&mut timeline, known, route(), (7, 1), b"ping");
        quic(
            &mut timeline,
            known,
            route(),
            &mut rng,
            &ClientHello::browser("q.example", [1; 32]),
            (50, 3_000),
        );
        let mut directions = [0, 0];
        for (_, frame) in timeline.into_frames() {
            let parsed = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(NetSlice::Ipv4(ip)) = parsed.net else { panic!("not IPv4") };
            directions[usize::from(ip.header().source() == [10, 0, 0, 5])] += 1;
        }
        assert_eq!(directions, [1 + 1 + 1 + 1 + 3, 1 + 1 + 1 + 1 + 1]);
    }

    #[test]
    fn flushing_keeps_what_is_not_yet_due() {
        use crate::capture::{CaptureFormat, WHOLE_FRAMES};
        use sonde_common::format::LinkType;
        let mut timeline = Timeline::default();
        for offset in [3, 1, 2] {
            timeline.push(START.plus_nanos(offset), vec![0; 60]);
        }
        let mut out =
            CaptureWriter::new(Vec::new(), CaptureFormat::PcapNanos, LinkType::Ethernet, WHOLE_FRAMES)
                .unwrap();
        timeline.flush_before(START.plus_nanos(3), &mut out).unwrap();
        assert_eq!(out.written().packets, 2);
        assert_eq!(timeline.into_frames().len(), 1);
    }
}
