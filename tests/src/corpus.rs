//! The benchmark corpus: a mix of traffic of many hosts, streamed at the speed of memory.
//!
//! Where [`crate::conversation`] builds a conversation at once, here each connection is a small state machine that
//! emits one frame when its turn comes, so memory holds the connections that are open and never the corpus. The mix by
//! connections: 45 % TLS, 28 % DNS, 11 % QUIC, 10 % HTTP, 4 % failed connects, 2 % NTP; a fifth of them over IPv6,
//! 3 % with a VLAN tag; one data segment in 200 is seen twice, as on a mirror port.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sonde_common::time::Timestamp;

use crate::capture::CaptureWriter;
use crate::packet::{self, Addresses, IpFields, Link, Packet, SYN_OPTIONS, Tcp, Transport, Vlan, flags};
use crate::payload::{self, Answer, CIPHERS_GO, ClientHello, Rcode, RecordType};
use crate::rng::Rng;
use crate::scenario::{DAY, Options, synthetic_address};
use crate::truth::{self, Beacon, Truth};

/// Hosts of the network.
const HOSTS: u32 = 200;
/// Destinations that hosts choose from, the low numbers far more often.
const DESTINATIONS: u32 = 60_000;
/// Beacons among them.
const BEACONS: usize = 40;
/// Mean packets of a connection of this mix, measured: sets the rate of new ones.
const PACKETS_PER_CONNECTION: u64 = 17;
/// Time that the corpus covers.
const SPAN: Duration = Duration::from_secs(3_600);
/// TCP payload of a full segment that has timestamps.
const SEGMENT_BYTES: usize = 1_440;
/// Random bytes that payloads are cut from; twice the largest offset plus a segment.
const POOL_BYTES: usize = (1 << 16) + 8_192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tls,
    Http,
    Dns,
    Quic,
    Ntp,
    Fail,
    /// TLS to a beacon's destination.
    Beacon,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Syn,
    SynAck,
    HandshakeAck,
    Request,
    Response,
    Data,
    /// The client acknowledges what it got.
    DataAck,
    Fin,
    FinAck,
    LastAck,
    /// The refusal of a failed connect.
    Refusal,
    /// Retry number of an unanswered connect.
    Retry(u8),
    /// Answer of a datagram service.
    Answer,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    kind: Kind,
    step: Step,
    link: Link,
    client: SocketAddr,
    server: SocketAddr,
    client_seq: u32,
    server_seq: u32,
    /// Data packets still to send each way.
    up: u32,
    down: u32,
    round_trip: Duration,
    /// Mean time between data packets.
    gap: Duration,
    /// Number of the name.
    site: u32,
    /// This connection's share of the odd: reset instead of FIN, IPv6 question, refused instead of silent.
    odd: bool,
    /// Where in the pool its bytes come from.
    pool_at: usize,
    identification: u16,
    /// Its place in the truth, where connections are told of one by one.
    told: usize,
}

/// A registered beacon and its place in the truth.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    host: u32,
    site: u32,
    port: u16,
    interval: Duration,
    jitter: f64,
}

/// What is due: the next background connection, a beacon's callback, or a connection's next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Arrival,
    Callback(usize),
    Flow(usize),
}

/// Writes exactly `packets` packets (none fewer: connections go on arriving until then).
pub(crate) fn write<W: Write>(options: &Options, out: &mut CaptureWriter<W>) -> io::Result<Truth> {
    let packets = options.packets.unwrap_or(5_000_000);
    let mut corpus = Corpus::new(options.seed, packets);
    corpus.tells_flows = options.flows;
    while out.written().packets < packets {
        let Some(Reverse((time, due))) = corpus.queue.pop() else { break };
        let turn = match due {
            Due::Arrival => corpus.arrive(time, out)?,
            Due::Callback(index) => corpus.call_back(time, index),
            Due::Flow(index) => {
                corpus.emit(time, index, packets, out)?;
                None
            }
        };
        if let Some(flow) = turn {
            corpus.begin(time, flow);
        }
    }
    corpus.truth.names = corpus.named.iter().filter(|named| **named).count() as u64;
    Ok(corpus.truth)
}

struct Corpus {
    rng: Rng,
    queue: BinaryHeap<Reverse<(Timestamp, Due)>>,
    flows: Vec<Flow>,
    free: Vec<usize>,
    schedules: Vec<Schedule>,
    mean_arrival: Duration,
    truth: Truth,
    /// Which names were used.
    named: Vec<bool>,
    /// Whether the truth tells of each connection.
    tells_flows: bool,
    /// Which way the frame at hand goes.
    up: bool,
    pool: Vec<u8>,
    frame: Vec<u8>,
    body: Vec<u8>,
    name: String,
}

impl Corpus {
    fn new(seed: u64, packets: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut pool = Vec::with_capacity(POOL_BYTES);
        payload::noise(&mut pool, &mut rng, POOL_BYTES);
        let connections = (packets / PACKETS_PER_CONNECTION).max(1);
        let mut queue = BinaryHeap::new();
        queue.push(Reverse((DAY, Due::Arrival)));
        let mut truth = Truth::default();
        let mut schedules = Vec::with_capacity(BEACONS);
        let mut name = String::new();
        for (index, number) in (0..BEACONS).zip(DESTINATIONS..) {
            let secs = *rng.pick(&[10, 30, 60, 120, 300, 600, 900]);
            let schedule = Schedule {
                host: rng.below32(HOSTS),
                site: number,
                port: *rng.pick(&[443, 443, 8_443, 4_444]),
                interval: Duration::from_secs(secs),
                jitter: *rng.pick(&[0.0, 0.05, 0.1, 0.2, 0.3, 0.5]),
            };
            let first = DAY.plus_nanos(nanos(schedule.interval.mul_f64(rng.unit())));
            queue.push(Reverse((first, Due::Callback(index))));
            site_name(&mut name, number);
            truth.beacons.push(Beacon {
                host: host_address(schedule.host, false),
                destination: site_address(number, false),
                port: schedule.port,
                transport: "tcp",
                name: name.clone(),
                shape: "symmetric",
                interval: schedule.interval,
                jitter: schedule.jitter,
                callbacks: 0,
            });
            schedules.push(schedule);
        }
        Self {
            rng,
            queue,
            flows: Vec::new(),
            free: Vec::new(),
            schedules,
            mean_arrival: SPAN.div_f64(float(connections)),
            truth,
            named: vec![false; usize::try_from(DESTINATIONS).unwrap_or(0) + BEACONS],
            tells_flows: false,
            up: true,
            pool,
            frame: Vec::with_capacity(2_048),
            body: Vec::with_capacity(2_048),
            name,
        }
    }

    /// A connection's first packet comes a moment after its turn.
    fn begin(&mut self, time: Timestamp, mut flow: Flow) {
        self.truth.connections += 1;
        if self.tells_flows {
            flow.told = self.truth.flows.len();
            let datagrams = matches!(flow.kind, Kind::Dns | Kind::Ntp | Kind::Quic);
            self.truth.flows.push(truth::Flow {
                client: flow.client,
                server: flow.server,
                transport: if datagrams { "udp" } else { "tcp" },
                name: String::new(),
                up: 0,
                down: 0,
            });
        }
        let index = if let Some(index) = self.free.pop() {
            if let Some(slot) = self.flows.get_mut(index) {
                *slot = flow;
            }
            index
        } else {
            self.flows.push(flow);
            self.flows.len() - 1
        };
        self.queue.push(Reverse((time.plus_nanos(1_000), Due::Flow(index))));
    }

    fn base_flow(&mut self, host: u32, site: u32, v6: bool) -> Flow {
        let rng = &mut self.rng;
        let [.., high, low] = host.to_be_bytes();
        let vlan = if rng.one_in(33) { Vlan::Tagged(100 + rng.u16() % 8) } else { Vlan::Untagged };
        Flow {
            kind: Kind::Tls,
            step: Step::Syn,
            link: Link::Ethernet { source: [2, 0, 0, 0, high, low], destination: [2, 1, 1, 1, 1, 1], vlan },
            client: SocketAddr::new(host_address(host, v6), rng.client_port()),
            server: SocketAddr::new(site_address(site, v6), 443),
            client_seq: rng.u32(),
            server_seq: rng.u32(),
            up: 1,
            down: 1,
            round_trip: Duration::from_millis(2) + rng.exponential(Duration::from_millis(30)),
            gap: Duration::from_millis(20),
            site,
            odd: rng.one_in(12),
            pool_at: rng.length(0, 1 << 16),
            identification: rng.u16(),
            told: 0,
        }
    }

    fn arrive<W: Write>(&mut self, time: Timestamp, out: &mut CaptureWriter<W>) -> io::Result<Option<Flow>> {
        let next = time.plus_nanos(nanos(self.rng.exponential(self.mean_arrival)) + 1);
        self.queue.push(Reverse((next, Due::Arrival)));
        let host = self.rng.below32(HOSTS);
        if self.truth.connections % 512 == 511 {
            let mac = [2, 0, 0, 0, 0, 1];
            out.write(
                time,
                &packet::arp_request(mac, Ipv4Addr::new(10, 20, 0, 1), Ipv4Addr::new(10, 20, 0, 2)),
            )?;
        }
        let site = draw_site(&mut self.rng, 3);
        let v6 = self.rng.one_in(5);
        let mut flow = self.base_flow(host, site, v6);
        let rng = &mut self.rng;
        // Data packets of a connection: log-normal, median 4.3, a long tail.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..4,000")]
        let volume = rng.log_normal(4.3, 1.3).clamp(0.0, 4_000.0) as u32;
        match rng.below(100) {
            0..45 => {
                (flow.up, flow.down) = (1 + volume / 6, 1 + volume);
                flow.gap = if rng.one_in(8) {
                    Duration::from_secs(3) + rng.exponential(Duration::from_secs(6))
                } else {
                    Duration::from_millis(3) + rng.exponential(Duration::from_millis(60))
                };
            }
            45..55 => {
                flow.kind = Kind::Http;
                flow.server.set_port(80);
                (flow.up, flow.down) = (0, volume);
            }
            55..83 => {
                flow.kind = Kind::Dns;
                flow.server = SocketAddr::new(resolver_address(host, v6), 53);
                flow.site = draw_site(rng, 2);
                flow.odd = rng.one_in(3);
            }
            83..94 => {
                flow.kind = Kind::Quic;
                (flow.up, flow.down) = (2 + volume / 3, 2 + volume * 2);
            }
            94..96 => {
                flow.kind = Kind::Ntp;
                flow.client.set_port(123);
                flow.server.set_port(123);
            }
            _ => {
                flow.kind = Kind::Fail;
                flow.server.set_port(*rng.pick(&[22, 445, 3_389, 8_080, 25]));
                flow.odd = rng.one_in(2);
            }
        }
        Ok(Some(flow))
    }

    fn call_back(&mut self, time: Timestamp, index: usize) -> Option<Flow> {
        let schedule = self.schedules.get(index).copied()?;
        let factor = 1.0 + schedule.jitter * (2.0 * self.rng.unit() - 1.0);
        let next = time.plus_nanos(nanos(schedule.interval.mul_f64(factor)));
        self.queue.push(Reverse((next, Due::Callback(index))));
        if let Some(beacon) = self.truth.beacons.get_mut(index) {
            beacon.callbacks += 1;
        }
        let mut flow = self.base_flow(schedule.host, schedule.site, false);
        flow.kind = Kind::Beacon;
        flow.server.set_port(schedule.port);
        Some(flow)
    }

    /// Emits the next packet of a connection and queues the one after it.
    fn emit<W: Write>(
        &mut self,
        time: Timestamp,
        index: usize,
        packets: u64,
        out: &mut CaptureWriter<W>,
    ) -> io::Result<()> {
        let Some(mut flow) = self.flows.get(index).copied() else { return Ok(()) };
        let data = flow.step == Step::Data;
        let half = flow.round_trip / 2 + Duration::from_nanos(self.rng.below(300_000));
        let wait = match flow.kind {
            Kind::Dns | Kind::Ntp => self.datagram_service(&mut flow, half),
            Kind::Quic => self.quic(&mut flow, half),
            Kind::Fail => self.failed_connect(&mut flow),
            Kind::Tls | Kind::Http | Kind::Beacon => self.stream(time, &mut flow, half),
        };
        out.write(time, &self.frame)?;
        self.tell(&flow);
        if data && self.rng.one_in(200) && out.written().packets < packets {
            out.write(time, &self.frame)?;
            if flow.kind == Kind::Quic {
                self.tell(&flow);
            }
        }
        if let Some(slot) = self.flows.get_mut(index) {
            *slot = flow;
        }
        match wait {
            Some(wait) => self.queue.push(Reverse((time.plus_nanos(nanos(wait)), Due::Flow(index)))),
            None => self.free.push(index),
        }
        Ok(())
    }

    /// Adds the frame that was written to what is told of its connection.
    fn tell(&mut self, flow: &Flow) {
        let Some(told) = self.truth.flows.get_mut(flow.told) else { return };
        if self.up && !self.body.is_empty() && told.up == 0 && !matches!(flow.kind, Kind::Ntp | Kind::Fail) {
            site_name(&mut told.name, flow.site);
        }
        *if self.up { &mut told.up } else { &mut told.down } += self.body.len() as u64;
    }

    fn use_name(&mut self, site: u32) {
        site_name(&mut self.name, site);
        if let Some(named) = usize::try_from(site).ok().and_then(|site| self.named.get_mut(site)) {
            *named = true;
        }
    }

    fn udp(&mut self, flow: &Flow, up: bool) {
        let (mut source_port, mut destination_port) = (flow.client.port(), flow.server.port());
        if !up {
            (source_port, destination_port) = (destination_port, source_port);
        }
        self.frame(flow, up, Transport::Udp { source_port, destination_port });
    }

    fn tcp(&mut self, time: Timestamp, flow: &mut Flow, up: bool, bits: u8) {
        let (mut source_port, mut destination_port) = (flow.client.port(), flow.server.port());
        let (mut seq, mut ack) = (flow.client_seq, flow.server_seq);
        if !up {
            (source_port, destination_port) = (destination_port, source_port);
            (seq, ack) = (ack, seq);
        }
        if bits & flags::ACK == 0 {
            ack = 0;
        }
        let tick = u32::try_from(time.millis() & 0xffff_ffff).unwrap_or(0);
        let stamp = packet::timestamp_option(tick, tick.wrapping_sub(20));
        let options: &[u8] = match bits {
            _ if bits & flags::SYN != 0 => SYN_OPTIONS,
            _ if bits & flags::RST != 0 => &[],
            _ => &stamp,
        };
        let tcp = Tcp { source_port, destination_port, seq, ack, flags: bits, window: 8_192, options };
        self.frame(flow, up, Transport::Tcp(tcp));
        let phantom = u32::from(bits & (flags::SYN | flags::FIN) != 0);
        let sent = u32::try_from(self.body.len()).unwrap_or(0) + phantom;
        let seq = if up { &mut flow.client_seq } else { &mut flow.server_seq };
        *seq = seq.wrapping_add(sent);
        flow.identification = flow.identification.wrapping_add(1);
    }

    /// Fills `frame` with a packet that carries `body`.
    fn frame(&mut self, flow: &Flow, up: bool, transport: Transport<'_>) {
        let addresses = Addresses::new(flow.client.ip(), flow.server.ip());
        let (addresses, link) =
            if up { (addresses, flow.link) } else { (addresses.reversed(), flow.link.reversed()) };
        self.up = up;
        let ip = IpFields { identification: flow.identification, ..IpFields::default() };
        Packet { link, addresses, ip, transport, payload: &self.body }.write(&mut self.frame);
    }

    /// Appends `length` bytes of the pool to the body.
    fn fill(&mut self, flow: &Flow, length: usize) {
        let at = (flow.pool_at + self.body.len()) & 0xffff;
        let part = self.pool.get(at..at + length).or_else(|| self.pool.get(..length));
        self.body.extend_from_slice(part.unwrap_or_default());
    }

    fn datagram_service(&mut self, flow: &mut Flow, half: Duration) -> Option<Duration> {
        let up = flow.step == Step::Syn;
        flow.step = Step::Answer;
        self.body.clear();
        if flow.kind == Kind::Ntp {
            payload::ntp(&mut self.body, !up, &mut self.rng);
        } else {
            self.use_name(flow.site);
            let kind = if flow.odd { RecordType::Aaaa } else { RecordType::A };
            let id = flow.identification;
            if up {
                payload::dns_query(&mut self.body, id, &self.name, kind);
            } else {
                let (body, name) = (&mut self.body, self.name.as_str());
                let (v4, v6) = (synthetic_address(flow.site), site_address_v6(flow.site));
                let record = |owner| {
                    if flow.odd {
                        Answer::Aaaa { owner, address: v6 }
                    } else {
                        Answer::A { owner, address: v4 }
                    }
                };
                match flow.site % 8 {
                    0 if flow.site.is_multiple_of(3) => {
                        payload::dns_response(body, id, name, kind, Rcode::NxDomain, 300, &[]);
                    }
                    1 | 2 => {
                        let alias = "edge.content.example.net";
                        let answers = [Answer::Cname { owner: name, target: alias }, record(alias)];
                        payload::dns_response(body, id, name, kind, Rcode::NoError, 300, &answers);
                    }
                    _ => {
                        let answers = [record(name), record(name)];
                        payload::dns_response(body, id, name, kind, Rcode::NoError, 300, &answers);
                    }
                }
            }
        }
        self.udp(flow, up);
        up.then_some(half)
    }

    fn failed_connect(&mut self, flow: &mut Flow) -> Option<Duration> {
        self.body.clear();
        let isn = flow.client_seq;
        let (step, wait) = match flow.step {
            Step::Refusal => {
                flow.server_seq = 0;
                flow.client_seq = isn.wrapping_add(1);
                self.tcp(DAY, flow, false, flags::RST | flags::ACK);
                return None;
            }
            _ if flow.odd => (Step::Refusal, Some(flow.round_trip)),
            Step::Retry(1) => (Step::Retry(2), Some(Duration::from_secs(2))),
            Step::Retry(2) => (Step::Retry(3), Some(Duration::from_secs(4))),
            Step::Retry(_) => (Step::Retry(4), None),
            _ => (Step::Retry(1), Some(Duration::from_secs(1))),
        };
        self.tcp(DAY, flow, true, flags::SYN);
        // The same sequence number each time.
        flow.client_seq = isn;
        flow.step = step;
        wait
    }

    fn quic(&mut self, flow: &mut Flow, half: Duration) -> Option<Duration> {
        self.body.clear();
        // Ids follow from the connection, so they need no room in it.
        let id = |number: u32| (u64::from(number) << 32 | u64::from(flow.site)).to_be_bytes();
        let (client_id, server_id) = (id(flow.client_seq), id(flow.server_seq));
        match flow.step {
            Step::Syn => {
                flow.step = Step::Answer;
                self.use_name(flow.site);
                let random = self.rng.bytes();
                let hello =
                    ClientHello { pad_to: 0, alpn: &["h3"], ..ClientHello::browser(&self.name, random) };
                payload::quic_client_initial(&mut self.body, &server_id, &client_id, hello);
                self.udp(flow, true);
                Some(half)
            }
            Step::Answer => {
                flow.step = Step::Data;
                let random = self.rng.bytes();
                payload::quic_server_initial(&mut self.body, &server_id, &client_id, &server_id, random);
                self.udp(flow, false);
                Some(half)
            }
            _ => {
                let up = self.next_is_up(flow);
                let length = if up {
                    self.rng.length(30, 90)
                } else if self.rng.one_in(3) {
                    self.rng.length(100, 1_000)
                } else {
                    1_241
                };
                self.body.push(0x43);
                self.body.extend(if up { server_id } else { client_id });
                self.fill(flow, length);
                flow.pool_at = (flow.pool_at + length) & 0xffff;
                self.udp(flow, up);
                (flow.up + flow.down > 0).then(|| self.rng.exponential(flow.gap))
            }
        }
    }

    /// Takes one data packet from what is left, in random order.
    fn next_is_up(&mut self, flow: &mut Flow) -> bool {
        let up = self.rng.below32(flow.up + flow.down) < flow.up;
        if up {
            flow.up -= 1;
        } else {
            flow.down = flow.down.saturating_sub(1);
        }
        up
    }

    /// TLS or HTTP over TCP.
    fn stream(&mut self, time: Timestamp, flow: &mut Flow, half: Duration) -> Option<Duration> {
        const MOMENT: Duration = Duration::from_micros(40);
        self.body.clear();
        match flow.step {
            Step::Syn => {
                self.tcp(time, flow, true, flags::SYN);
                flow.step = Step::SynAck;
                Some(half)
            }
            Step::SynAck => {
                self.tcp(time, flow, false, flags::SYN | flags::ACK);
                flow.step = Step::HandshakeAck;
                Some(half)
            }
            Step::HandshakeAck => {
                self.tcp(time, flow, true, flags::ACK);
                flow.step = Step::Request;
                Some(MOMENT)
            }
            Step::Request => {
                self.request(flow);
                self.tcp(time, flow, true, flags::PSH | flags::ACK);
                flow.step = Step::Response;
                Some(half)
            }
            Step::Response => {
                self.response(flow);
                self.tcp(time, flow, false, flags::PSH | flags::ACK);
                flow.step = if flow.up + flow.down > 0 { Step::Data } else { Step::Fin };
                Some(half)
            }
            Step::DataAck => {
                self.tcp(time, flow, true, flags::ACK);
                flow.step = if flow.up + flow.down > 0 { Step::Data } else { Step::Fin };
                Some(self.rng.exponential(flow.gap) + MOMENT)
            }
            Step::Data => {
                let up = self.next_is_up(flow);
                self.data(flow, up);
                self.tcp(time, flow, up, if up { flags::PSH | flags::ACK } else { flags::ACK });
                if !up && flow.down.is_multiple_of(2) {
                    flow.step = Step::DataAck;
                    return Some(MOMENT);
                }
                if flow.up + flow.down == 0 {
                    flow.step = Step::Fin;
                }
                Some(self.rng.exponential(flow.gap) + MOMENT)
            }
            Step::Fin if flow.odd => {
                self.tcp(time, flow, true, flags::RST | flags::ACK);
                None
            }
            Step::Fin => {
                self.tcp(time, flow, true, flags::FIN | flags::ACK);
                flow.step = Step::FinAck;
                Some(flow.round_trip)
            }
            Step::FinAck => {
                self.tcp(time, flow, false, flags::FIN | flags::ACK);
                flow.step = Step::LastAck;
                Some(MOMENT)
            }
            Step::LastAck | Step::Refusal | Step::Retry(_) | Step::Answer => {
                self.tcp(time, flow, true, flags::ACK);
                None
            }
        }
    }

    fn request(&mut self, flow: &Flow) {
        self.use_name(flow.site);
        let random = self.rng.bytes();
        match flow.kind {
            Kind::Http => {
                let agent = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101";
                payload::http_get(&mut self.body, &self.name, "/assets/index.html?page=1", agent);
            }
            Kind::Beacon => ClientHello::program(Some(&self.name), CIPHERS_GO, random).record(&mut self.body),
            _ => ClientHello::browser(&self.name, random).record(&mut self.body),
        }
    }

    fn response(&mut self, flow: &Flow) {
        if flow.kind == Kind::Http {
            let length = usize::try_from(flow.down).unwrap_or(0) * SEGMENT_BYTES;
            payload::http_ok_head(&mut self.body, length);
            return;
        }
        let random = self.rng.bytes();
        payload::server_hello(&mut self.body, random, 0);
        // One full segment: hello, ChangeCipherSpec, and a record that fills it.
        let length = SEGMENT_BYTES - self.body.len() - 5;
        self.record_header(length);
        self.fill(flow, length);
    }

    fn data(&mut self, flow: &mut Flow, up: bool) {
        let tls = flow.kind != Kind::Http;
        let length = match (flow.kind, up) {
            (Kind::Beacon, true) => 180,
            (Kind::Beacon, false) => 96,
            (Kind::Http, _) => SEGMENT_BYTES,
            (_, true) => self.rng.length(40, 640),
            (_, false) if self.rng.one_in(4) => self.rng.length(60, 1_360),
            (_, false) => SEGMENT_BYTES - 5,
        };
        if tls {
            self.record_header(length);
        }
        self.fill(flow, length);
        flow.pool_at = (flow.pool_at + length) & 0xffff;
    }

    fn record_header(&mut self, length: usize) {
        self.body.extend([23, 3, 3]);
        self.body.extend(packet::length16(length).to_be_bytes());
    }
}

/// A destination by a power of chance: the higher the power, the heavier the head.
fn draw_site(rng: &mut Rng, power: i32) -> u32 {
    let share = rng.unit().powi(power);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and DESTINATIONS")]
    let site = (f64::from(DESTINATIONS) * share) as u32;
    site.min(DESTINATIONS - 1)
}

fn host_address(host: u32, v6: bool) -> IpAddr {
    let [.., high, low] = host.to_be_bytes();
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, u16::from(high), u16::from(low)).into()
    } else {
        Ipv4Addr::new(10, 20, high, low).into()
    }
}

fn site_address(site: u32, v6: bool) -> IpAddr {
    if v6 { site_address_v6(site).into() } else { synthetic_address(site).into() }
}

fn site_address_v6(site: u32) -> Ipv6Addr {
    let [a, b, c, d] = site.to_be_bytes();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ipv6Addr::new(0x2001, 0xdb8, 0x8000, 0, 0, 0, high, low)
}

/// Two resolvers, shared by the hosts.
fn resolver_address(host: u32, v6: bool) -> IpAddr {
    let second = !host.is_multiple_of(2);
    if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 53, 0, 0, 0, 1 + u16::from(second)).into()
    } else {
        Ipv4Addr::new(10, 21, 0, 1 + u8::from(second)).into()
    }
}

/// The name of a destination: three to a domain, so that some share one; beacons have domains of their own.
fn site_name(name: &mut String, site: u32) {
    const HEADS: [&str; 16] = [
        "cdn",
        "api",
        "static",
        "login",
        "mail",
        "img",
        "update",
        "telemetry",
        "www",
        "edge",
        "video",
        "sync",
        "push",
        "auth",
        "files",
        "maps",
    ];
    const TAILS: [&str; 6] = ["com", "net", "org", "io", "example", "co.uk"];
    name.clear();
    let written = if site >= DESTINATIONS {
        write!(name, "c{site}.quiet-{site}.example")
    } else {
        let pick = |list: &[&'static str]| {
            usize::try_from(site).ok().and_then(|site| list.get(site % list.len()).copied()).unwrap_or("www")
        };
        write!(name, "{}{}.site{:05}.{}", pick(&HEADS), site % 7, site / 3, pick(&TAILS))
    };
    written.expect("a string takes every text");
}

fn nanos(wait: Duration) -> i64 {
    i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no last digit")]
const fn float(count: u64) -> f64 {
    count as f64
}
