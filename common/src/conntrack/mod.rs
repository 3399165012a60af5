//! Packet -> connection and DNS events: opened, exchange, closed.
//!
//! One [`Tracker`] follows all connections of a capture in bounded memory. Its clock is the packets' time; what waits (a
//! name, an answer, silence) is decided by that clock, so a replay decides as the live sensor did. Bytes come from
//! sequence numbers: retransmissions are folded, and a gap in the capture is still counted.

#[cfg(test)]
mod hostile;
mod label;
pub mod local;
mod queries;
pub mod reassembly;
mod server;
mod sockets;
mod table;

use self::label::{Labels, Progress};
use self::local::Locals;
use self::queries::Queries;
use self::reassembly::{MAX_STREAM_BYTES, Stream};
use self::server::{MAX_SERVERS, Server};
use self::sockets::Openings;
use self::table::{Ends, NONE, Slot, State, Table, mark};
use crate::decode::packet::{Addr, Header, Packet, flags};
use crate::decode::quic::InitialAssembler;
use crate::decode::{Probe, dns};
use crate::event::{ConnectionEvent, Event, Names, Observation, Outcome, Phase, Totals};
use crate::net::{FiveTuple, Transport, is_internal, is_internal_broadcast, is_no_peer};
use crate::process::Attribution;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// How long a connection whose packets say that it is over waits for its socket to say so: a table that is polled each second
/// is late, and one word may be lost.
const SOCKET_WAIT: i64 = 5 * NANOS_PER_SEC;
/// Silence in both directions after which payload opens a new exchange (scorer specification 2.1).
pub const EXCHANGE_SILENCE: i64 = NANOS_PER_SEC;
/// How long a connection may wait for the client's first words, from its latest sign of life, before it is reported without
/// a name.
const NAMING_WAIT: i64 = 2 * NANOS_PER_SEC;
/// The same for an attempt without an answer: long enough for the second retransmission of a lost SYN (RFC 6298: 1 s + 2 s).
const ATTEMPT_WAIT: i64 = 4 * NANOS_PER_SEC;
/// No connection waits longer than this to be reported, however slowly its client speaks.
const MAX_NAMING_WAIT: i64 = 10 * NANOS_PER_SEC;
/// A refused attempt is over when it was not tried again for so long: Windows repeats the SYN after half a second.
const RETRY_WAIT: i64 = 3 * NANOS_PER_SEC;
/// How long after its last SYN an attempt counts as unanswered: beyond the longest back-off step of common systems (64 s).
const ANSWER_WAIT: i64 = 75 * NANOS_PER_SEC;
/// A closed connection is remembered so long for late packets and for retried SYNs of the same attempt.
const CLOSED_WAIT: i64 = 30 * NANOS_PER_SEC;
/// Idle time after which an open TCP connection is forgotten: RFC 5382 REQ-5 obliges routers to keep it 2 h 4 min.
const TCP_IDLE: i64 = 7_500 * NANOS_PER_SEC;
/// Idle time after which packets of the same UDP or ICMP pair count as a new connection (RFC 4787 REQ-5).
const DATAGRAM_IDLE: i64 = 300 * NANOS_PER_SEC;
/// A sequence number further off than this is no gap of the capture but another stream (or a lie).
const MAX_SEQUENCE_GAP: i32 = 16 << 20;
/// Client streams under reassembly at a time, each at most [`MAX_STREAM_BYTES`].
const MAX_STREAMS: u32 = 256;
/// QUIC handshakes looked at at a time.
const MAX_ASSEMBLERS: u32 = 128;
/// Bytes that one tracked connection may take: its slot and a share of the names.
const BYTES_PER_CONNECTION: usize = 400;
/// UDP ports of discovery on the local network: nothing on them is a callback.
const DISCOVERY_PORTS: [u16; 8] = [67, 68, 137, 138, 546, 1900, 5353, 5355];
const DNS_PORT: u16 = 53;

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackCounters {
    /// Packets taken.
    pub packets: u64,
    /// Connections followed.
    pub connections: u64,
    /// Connections opened from outside, or between two others: not followed.
    pub foreign: u64,
    /// Packets to multicast, broadcast or loopback, or of discovery on the local network.
    pub no_peer: u64,
    /// Steps back in time of more than two hours, at which tracking began anew.
    pub restarts: u64,
    /// TCP packets without payload of connections that are not known.
    pub stray: u64,
    /// Connections dropped because the table was full.
    pub evicted: u64,
    /// Streams that could not be looked at because too many were under way.
    pub streams_refused: u64,
    /// DNS messages that could not be read.
    pub dns_damaged: u64,
    /// DNS queries forgotten because too many were open.
    pub queries_evicted: u64,
}

/// Where a packet's connection was, some packets before its turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead(Option<u32>);

/// Follows connections.
#[derive(Debug)]
pub struct Tracker {
    locals: Locals,
    table: Table,
    labels: Labels,
    queries: Queries,
    streams: Pool<Stream>,
    servers: Pool<Server>,
    assemblers: Pool<InitialAssembler>,
    /// Latest time seen, in nanoseconds; events are emitted in this time.
    now: i64,
    due: Vec<u32>,
    counters: TrackCounters,
    /// Sockets tell of this host's connections, too.
    sockets: bool,
    /// … and of its datagrams.
    datagram_sockets: bool,
    openings: Openings,
    /// Servers' certificates are looked for.
    certificates: bool,
}

/// A bounded pool of reusable objects; only what was once needed is ever made.
#[derive(Debug)]
struct Pool<T> {
    items: Vec<T>,
    free: Vec<u32>,
    capacity: u32,
}

impl<T: Default> Pool<T> {
    const fn new(capacity: u32) -> Self {
        Self { items: Vec::new(), free: Vec::new(), capacity }
    }

    fn take(&mut self) -> Option<u32> {
        if let Some(at) = self.free.pop() {
            return Some(at);
        }
        let at = u32::try_from(self.items.len()).ok().filter(|&at| at < self.capacity)?;
        self.items.push(T::default());
        Some(at)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.items.get_mut(at as usize)
    }

    fn give_back(&mut self, at: u32) {
        if at != NONE {
            self.free.push(at);
        }
    }
}

impl Tracker {
    /// A tracker that keeps its tables within about `memory_bytes`.
    #[must_use]
    pub fn new(locals: Locals, memory_bytes: usize) -> Self {
        let capacity = u32::try_from(memory_bytes / BYTES_PER_CONNECTION).unwrap_or(u32::MAX - 1);
        Self {
            locals,
            table: Table::new(capacity),
            labels: Labels::default(),
            queries: Queries::default(),
            streams: Pool::new(MAX_STREAMS),
            servers: Pool::new(MAX_SERVERS),
            assemblers: Pool::new(MAX_ASSEMBLERS),
            now: i64::MIN,
            due: Vec::new(),
            counters: TrackCounters::default(),
            sockets: false,
            datagram_sockets: false,
            openings: Openings::default(),
            certificates: false,
        }
    }

    /// The machine has other addresses now.
    pub fn set_locals(&mut self, locals: Locals) {
        self.locals = locals;
    }

    /// The machine's clock was set by so much: what is under way goes on in the new time.
    pub fn clock_set(&mut self, nanos: i64) {
        self.table.shift(nanos);
        self.queries.shift(nanos);
        self.now = self.now.saturating_add(nanos);
    }

    /// What became of the packets so far.
    #[must_use]
    pub fn counters(&self) -> TrackCounters {
        TrackCounters {
            evicted: self.table.evicted(),
            queries_evicted: self.queries.evicted(),
            ..self.counters
        }
    }

    /// Connections of ours that are open or asked for now. Looks at all that are remembered.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        let is_open = |slot: &&Slot| slot.state != State::Closed && !slot.is(mark::FOREIGN);
        self.table.used().filter(is_open).count()
    }

    /// Memory held, in bytes, without what the allocator adds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
            + self.labels.memory_bytes()
            + self.queries.memory_bytes()
            + (self.streams.items.len() + self.servers.items.len()) * MAX_STREAM_BYTES
            + self.assemblers.items.len() * size_of::<InitialAssembler>()
    }

    /// Where the connection of a packet is, asked some packets before it is [taken](Self::packet_at): a processor fetches the
    /// memory of several such questions at a time, but waits for each that stands between two packets. What has changed
    /// meanwhile does no harm.
    #[inline]
    #[must_use]
    pub fn look_ahead(&self, packet: &Packet<'_>) -> Ahead {
        let (source_port, destination_port, transport) = match packet.transport {
            Header::Tcp { source_port, destination_port, .. } => {
                (source_port, destination_port, Transport::Tcp)
            }
            // What is said on DNS's port is seldom a connection.
            Header::Udp { source_port, destination_port }
                if source_port != DNS_PORT && destination_port != DNS_PORT =>
            {
                (source_port, destination_port, Transport::Udp)
            }
            _ => return Ahead::default(),
        };
        Ahead(self.table.find(&ends(packet, source_port, destination_port, transport)).map(|(at, _)| at))
    }

    /// Takes one packet and hands what it tells to `sink`.
    #[inline]
    pub fn packet(&mut self, packet: &Packet<'_>, sink: &mut impl FnMut(&Observation<'_>)) {
        self.packet_at(packet, Ahead::default(), sink);
    }

    /// As [`packet`](Self::packet), with what [`look_ahead`](Self::look_ahead) said of it.
    #[inline]
    pub fn packet_at(&mut self, packet: &Packet<'_>, ahead: Ahead, sink: &mut impl FnMut(&Observation<'_>)) {
        self.counters.packets += 1;
        let time = packet.time.nanos();
        if self.table.is_due(time) {
            self.advance(time, sink);
        } else if time < self.now.saturating_sub(TCP_IDLE) {
            self.restart(sink);
            self.now = time;
            self.advance(time, sink);
        }
        self.now = self.now.max(time);
        match packet.transport {
            Header::Tcp { source_port, destination_port, sequence, flags } => {
                let ends = ends(packet, source_port, destination_port, Transport::Tcp);
                self.tcp(packet, &ends, ahead, (sequence, flags), sink);
            }
            Header::Udp { source_port, destination_port } => {
                let ends = ends(packet, source_port, destination_port, Transport::Udp);
                self.udp(packet, &ends, ahead, sink);
            }
            Header::Echo { id, reply } => {
                // The identifier stands in for the asking side's port, so that each pinging process is a connection of its
                // own, and two hosts that ping each other are not one.
                let (source_port, destination_port) = if reply { (0, id) } else { (id, 0) };
                let ends = ends(packet, source_port, destination_port, Transport::Icmp);
                self.datagram(packet, &ends, ahead, reply, sink);
            }
            Header::Unreachable { protocol, source_port, destination, destination_port } => {
                let transport = if protocol == 6 { Transport::Tcp } else { Transport::Udp };
                let local = packet.destination;
                let ends = Ends { source: local, destination, source_port, destination_port, transport };
                if let Some((at, true)) = self.table.find(&ends) {
                    self.refused(at, sink);
                }
            }
        }
    }

    /// Begins anew after a big step back in time: two captures in one file, or a clock that was set. Going on with a time from
    /// the future would stop every timer.
    #[cold]
    fn restart(&mut self, sink: &mut impl FnMut(&Observation<'_>)) {
        self.counters.restarts += 1;
        self.finish(sink);
        self.table.clear();
    }

    /// Lets time pass without a packet, as the live sensor does on an idle network.
    pub fn tick(&mut self, now: Timestamp, sink: &mut impl FnMut(&Observation<'_>)) {
        self.advance(now.nanos(), sink);
        self.now = self.now.max(now.nanos());
    }

    /// Reports what is still under way, at the end of the input.
    pub fn finish(&mut self, sink: &mut impl FnMut(&Observation<'_>)) {
        self.queries.finish(self.now, &self.locals, sink);
        for at in 0..self.table.len() {
            let Some(slot) = self.table.get(at) else { continue };
            let outcome = match slot.state {
                State::Free | State::Closed => continue,
                State::Asked if slot.is(mark::REFUSED) => Outcome::Refused,
                State::Asked if self.now.saturating_sub(slot.last) < ATTEMPT_WAIT => Outcome::Unknown,
                State::Asked => Outcome::Unanswered,
                State::Open => established(slot.marks),
            };
            self.close(at, outcome, sink);
        }
    }

    // --- timers ---

    #[cold]
    fn advance(&mut self, time: i64, sink: &mut impl FnMut(&Observation<'_>)) {
        let mut due = std::mem::take(&mut self.due);
        while let Some(clock) = self.table.turn(time, &mut due) {
            self.now = self.now.max(clock);
            self.queries.expire(self.now, &self.locals, sink);
            for at in due.drain(..) {
                self.timer(at, sink);
            }
        }
        self.due = due;
    }

    /// Decides what a connection waited for, and sets its next timer.
    fn timer(&mut self, at: u32, sink: &mut impl FnMut(&Observation<'_>)) {
        let now = self.now;
        let Some(slot) = self.table.get(at) else { return };
        let silent = now.saturating_sub(slot.last);
        match slot.state {
            State::Free => return,
            State::Closed if silent >= CLOSED_WAIT => {
                self.drop_slot(at);
                return;
            }
            State::Asked if silent >= RETRY_WAIT && slot.is(mark::REFUSED) => {
                self.close(at, Outcome::Refused, sink);
            }
            State::Asked if silent >= ANSWER_WAIT => {
                self.close(at, Outcome::Unanswered, sink);
            }
            State::Asked | State::Open if silent >= SOCKET_WAIT && slot.is_over() => {
                let outcome =
                    if slot.is(mark::RESET) { Outcome::Reset } else { ended(slot.state, slot.marks) };
                self.close(at, outcome, sink);
            }
            State::Open if silent >= idle_limit(slot.transport) => {
                let outcome = established(slot.marks);
                self.close(at, outcome, sink);
                self.drop_slot(at);
                return;
            }
            State::Asked | State::Open
                if !slot.is(mark::REPORTED | mark::FOREIGN) && now >= naming_deadline(slot) =>
            {
                self.report(at, sink);
            }
            _ => {}
        }
        let exchange_over = self.table.get(at).is_some_and(|slot| {
            slot.is(mark::EXCHANGE) && now.saturating_sub(slot.last_payload) >= EXCHANGE_SILENCE
        });
        if exchange_over {
            self.end_exchange(at, sink);
        }
        let mut certificate = self.certificate_deadline(at);
        if certificate.is_some_and(|deadline| now >= deadline) {
            self.release_stream(at);
            certificate = None;
        }
        let Some(slot) = self.table.get(at) else { return };
        let mut deadline = match slot.state {
            State::Free => return,
            State::Closed => slot.last.saturating_add(CLOSED_WAIT),
            State::Asked if slot.is(mark::REFUSED) => slot.last.saturating_add(RETRY_WAIT),
            State::Asked | State::Open if slot.is_over() => slot.last.saturating_add(SOCKET_WAIT),
            State::Asked => slot.last.saturating_add(ANSWER_WAIT),
            State::Open => slot.last.saturating_add(idle_limit(slot.transport)),
        };
        if slot.state != State::Closed && !slot.is(mark::REPORTED | mark::FOREIGN) {
            deadline = deadline.min(naming_deadline(slot));
        }
        if slot.is(mark::EXCHANGE) {
            deadline = deadline.min(slot.last_payload.saturating_add(EXCHANGE_SILENCE));
        }
        if let Some(certificate) = certificate {
            deadline = deadline.min(certificate);
        }
        self.table.schedule(at, deadline);
    }

    // --- transports ---

    #[inline]
    fn tcp(
        &mut self,
        packet: &Packet<'_>,
        ends: &Ends,
        ahead: Ahead,
        (sequence, bits): (u32, u8),
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        let time = packet.time.nanos();
        let syn = bits & flags::SYN != 0;
        let ack = bits & flags::ACK != 0;
        let (at, from_local) = match self.table.find_from(ends, ahead.0) {
            Some((at, from_local)) if !syn || ack => (at, from_local),
            Some((at, from_local)) => match self.again(at, from_local, sequence, time, sink) {
                Some(fresh) => fresh,
                None => return,
            },
            None => {
                if !syn && packet.payload_len == 0 {
                    self.counters.stray += 1;
                    return;
                }
                match self.open_tcp(ends, sequence, syn, ack, time, sink) {
                    Some(opened) => opened,
                    None => return,
                }
            }
        };
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.last = slot.last.max(time);
        if slot.state == State::Closed {
            return;
        }
        if !from_local {
            if slot.state == State::Asked {
                if bits & flags::RST != 0 {
                    self.refused(at, sink);
                    return;
                }
                // A bare ACK to a SYN is a challenge (RFC 5961 section 4.2), not an answer.
                if !syn && packet.payload_len == 0 && bits & flags::FIN == 0 {
                    return;
                }
                slot.state = State::Open;
                slot.marks &= !mark::REFUSED;
                slot.last_payload = slot.last_payload.max(time);
            }
            slot.marks |= mark::ANSWERED;
            if syn && !slot.is(mark::SEQ_IN) {
                slot.next_in = sequence.wrapping_add(1);
                slot.marks |= mark::SEQ_IN;
            }
        }
        if packet.payload_len > 0 && !syn && !slot.is(mark::FOREIGN) {
            self.tcp_payload(packet, at, from_local, sequence, sink);
        }
        if bits & (flags::FIN | flags::RST) != 0 {
            if self.sockets && bits & flags::FIN != 0 {
                self.count_to_end(at, from_local, sequence.wrapping_add(packet.payload_len));
            }
            self.tcp_end(at, from_local, bits, sink);
        }
    }

    /// A SYN on a five-tuple that is known: the same attempt once more, or a new connection. `None` if it was the same.
    fn again(
        &mut self,
        at: u32,
        from_local: bool,
        sequence: u32,
        time: i64,
        sink: &mut impl FnMut(&Observation<'_>),
    ) -> Option<(u32, bool)> {
        let slot = self.table.get_mut(at)?;
        // The initial sequence number tells a retransmission (and a retry after RST, as Windows sends them) from a new
        // connection that reuses the port.
        let same = from_local && slot.is(mark::SEQ_OUT) && slot.stream_base == sequence.wrapping_add(1);
        if same || slot.is(mark::FOREIGN) {
            slot.last = slot.last.max(time);
            return None;
        }
        if from_local && slot.is(mark::SOCKET) && !slot.is(mark::SEQ_OUT) && slot.state != State::Closed {
            // The socket was told of before its SYN left.
            slot.next_out = sequence.wrapping_add(1);
            slot.stream_base = slot.next_out;
            slot.marks |= mark::SEQ_OUT;
            slot.last = slot.last.max(time);
            if self.sockets {
                let ends = Table::ends_of(slot);
                self.is_translated(&ends, sequence, time);
            }
            return None;
        }
        let (state, marks) = (slot.state, slot.marks);
        let local = Table::ends_of(slot);
        if matches!(state, State::Asked | State::Open) {
            self.close(at, ended(state, marks), sink);
        }
        self.drop_slot(at);
        let ends = if from_local { local } else { reversed(&local) };
        self.open_tcp(&ends, sequence, true, false, time, sink)
    }

    fn open_tcp(
        &mut self,
        ends: &Ends,
        sequence: u32,
        syn: bool,
        ack: bool,
        time: i64,
        sink: &mut impl FnMut(&Observation<'_>),
    ) -> Option<(u32, bool)> {
        // Who opened it: the sender of a SYN, the receiver of a SYN-ACK, else the side without the service port.
        let source_opened = if syn { !ack } else { is_client(ends) };
        let translated = self.sockets && syn && !ack && self.is_translated(ends, sequence, time);
        let (at, local_is_source) = self.open(ends, source_opened, time, sink)?;
        if translated {
            self.disown(at);
        }
        let slot = self.table.get_mut(at)?;
        if syn && !ack {
            slot.state = State::Asked;
            slot.next_out = sequence.wrapping_add(1);
            slot.stream_base = slot.next_out;
            slot.marks |= mark::SEQ_OUT;
        } else if !syn {
            slot.marks |= mark::JOINED;
        }
        Some((at, local_is_source))
    }

    /// Makes a slot; the side that opened the connection becomes the local one. Returns whether the packet's source is it.
    fn open(
        &mut self,
        ends: &Ends,
        source_opened: bool,
        time: i64,
        sink: &mut impl FnMut(&Observation<'_>),
    ) -> Option<(u32, bool)> {
        if is_no_peer(ends.destination.ip()) || is_no_peer(ends.source.ip()) {
            self.counters.no_peer += 1;
            return None;
        }
        self.make_room(sink);
        let oriented = if source_opened { *ends } else { reversed(ends) };
        let ours = self.locals.is_host(oriented.source, oriented.destination);
        let at = self.table.insert(&oriented, time);
        if ours {
            self.counters.connections += 1;
        } else {
            self.counters.foreign += 1;
            if let Some(slot) = self.table.get_mut(at) {
                slot.marks |= mark::FOREIGN;
            }
        }
        self.table.schedule(at, time.saturating_add(NAMING_WAIT));
        Some((at, source_opened))
    }

    /// Evicts a connection if the table is full.
    fn make_room(&mut self, sink: &mut impl FnMut(&Observation<'_>)) {
        let Some(victim) = self.table.victim() else { return };
        if let Some(slot) = self.table.get(victim)
            && matches!(slot.state, State::Asked | State::Open)
        {
            let outcome = ended(slot.state, slot.marks);
            self.close(victim, outcome, sink);
        }
        self.drop_slot(victim);
    }

    /// A connection that only passes through is not ours to report.
    fn disown(&mut self, at: u32) {
        if let Some(slot) = self.table.get_mut(at)
            && !slot.is(mark::FOREIGN)
        {
            slot.marks |= mark::FOREIGN;
            self.counters.connections -= 1;
            self.counters.foreign += 1;
        }
    }

    /// New payload by sequence number, and what it opens.
    #[inline]
    fn tcp_payload(
        &mut self,
        packet: &Packet<'_>,
        at: u32,
        from_local: bool,
        sequence: u32,
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let end = sequence.wrapping_add(packet.payload_len);
        let (next, known) =
            if from_local { (&mut slot.next_out, mark::SEQ_OUT) } else { (&mut slot.next_in, mark::SEQ_IN) };
        let expected = if slot.marks & known == 0 { sequence } else { *next };
        let certificate = !from_local && slot.marks & mark::CERTIFICATE != 0;
        let mut new = packet.payload_len;
        if slot.marks & known == 0 {
            slot.marks |= known;
            *next = end;
            if from_local {
                slot.stream_base = sequence;
            }
        } else {
            let advance = end.wrapping_sub(*next).cast_signed();
            if advance.unsigned_abs() > MAX_SEQUENCE_GAP.unsigned_abs() && !self.sockets {
                *next = end;
            } else if advance > 0 {
                *next = end;
                new = advance.cast_unsigned();
            } else {
                new = 0;
            }
        }
        if slot.is(mark::REPORTED) || !from_local {
            if new > 0 {
                self.activity(packet, at, from_local, new, sink);
            }
            if !from_local && packet.source_port_is(DNS_PORT) {
                self.dns_over_tcp(packet, sink);
            }
            if certificate {
                self.server_words(packet, at, sequence, expected, sink);
            }
            return;
        }
        // Not yet named: a segment that fills a gap is worth a look even if it adds nothing to the count.
        if new > 0 {
            self.activity(packet, at, from_local, new, sink);
        }
        if packet.destination_port_is(DNS_PORT) {
            self.dns_over_tcp(packet, sink);
        }
        self.client_words(packet, at, sequence, sink);
    }

    fn tcp_end(&mut self, at: u32, from_local: bool, bits: u8, sink: &mut impl FnMut(&Observation<'_>)) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if slot.state == State::Closed {
            return;
        }
        let both = mark::FIN_OUT | mark::FIN_IN;
        if slot.is(mark::SOCKET) {
            // The socket says how it ended, and with how many bytes; should that word be lost, the timer decides.
            let ending = if bits & flags::RST != 0 {
                mark::RESET
            } else if from_local {
                mark::FIN_OUT
            } else {
                mark::FIN_IN
            };
            slot.marks |= ending;
            if slot.is(mark::RESET) || slot.marks & both == both {
                let deadline = slot.last.saturating_add(SOCKET_WAIT);
                self.table.schedule(at, deadline);
            }
            return;
        }
        if bits & flags::RST != 0 {
            let outcome = match slot.state {
                State::Asked => Outcome::Unknown,
                _ if slot.marks & both != 0 => established(slot.marks),
                _ => Outcome::Reset,
            };
            self.close(at, outcome, sink);
            return;
        }
        slot.marks |= if from_local { mark::FIN_OUT } else { mark::FIN_IN };
        if slot.marks & both == both {
            let outcome = established(slot.marks);
            self.close(at, outcome, sink);
        }
    }

    fn udp(
        &mut self,
        packet: &Packet<'_>,
        ends: &Ends,
        ahead: Ahead,
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        let ports = [ends.source_port, ends.destination_port];
        // What is no DNS on its port is a connection like others: the port alone hides nothing.
        if ports.contains(&DNS_PORT) && self.dns(packet, packet.payload, sink) {
            return;
        }
        let internal = |address: Addr| is_internal(address.ip());
        let discovery = ports.iter().any(|port| DISCOVERY_PORTS.contains(port));
        let destination = ends.destination.ip();
        if is_no_peer(destination)
            || is_internal_broadcast(destination)
            || (discovery && internal(ends.source) && internal(ends.destination))
        {
            self.counters.no_peer += 1;
            return;
        }
        self.datagram(packet, ends, ahead, false, sink);
    }

    fn datagram(
        &mut self,
        packet: &Packet<'_>,
        ends: &Ends,
        ahead: Ahead,
        reply: bool,
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        let time = packet.time.nanos();
        let found = self.table.find_from(ends, ahead.0).or_else(|| self.find_unbound(ends));
        // The wheel is a little late: a pair that was silent too long is a new connection at once.
        let stale = found.filter(|&(at, _)| {
            self.table.get(at).is_some_and(|slot| {
                slot.state == State::Closed || time.saturating_sub(slot.last) >= DATAGRAM_IDLE
            })
        });
        if let Some((at, _)) = stale {
            if let Some(slot) = self.table.get(at)
                && slot.state != State::Closed
            {
                let outcome = established(slot.marks);
                self.close(at, outcome, sink);
            }
            self.drop_slot(at);
        }
        let fresh = stale.is_some() || found.is_none();
        let (at, from_local) = match found.filter(|_| !fresh) {
            Some(found) => found,
            None => {
                // A reply without a request, or a packet from a service port, belongs to a flow that began before.
                let echo = ends.transport == Transport::Icmp;
                let source_opened = if echo { !reply } else { is_client_first(ends) };
                let Some((at, from_local)) = self.open(ends, source_opened, time, sink) else { return };
                if !from_local && let Some(slot) = self.table.get_mut(at) {
                    slot.marks |= mark::JOINED;
                }
                if self.datagram_sockets && ends.transport == Transport::Udp {
                    self.disown(at);
                }
                (at, from_local)
            }
        };
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.last = slot.last.max(time);
        if slot.is(mark::FOREIGN) {
            return;
        }
        if !from_local {
            slot.marks |= mark::ANSWERED;
        }
        if packet.payload_len > 0 {
            self.activity(packet, at, from_local, packet.payload_len, sink);
        }
        let unreported = self.table.get(at).is_some_and(|slot| !slot.is(mark::REPORTED));
        if unreported {
            // An answer may come before a long hello is complete; then the rest of it, or the timer, decides.
            let waits = self.table.get(at).is_some_and(|slot| slot.is(mark::QUIC));
            if from_local && ends.transport == Transport::Udp {
                let first = fresh || (self.is_sockets(at) && !waits);
                self.quic(packet, at, first, sink);
            } else if !waits {
                self.report(at, sink);
            }
        }
    }

    /// The server refused, or a router said that it cannot be reached. For TCP that is not final yet: the client may try
    /// again, and a router's word is only a hint (RFC 1122 section 4.2.3.9).
    fn refused(&mut self, at: u32, sink: &mut impl FnMut(&Observation<'_>)) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if slot.transport == Transport::Tcp && slot.state == State::Asked {
            slot.marks |= mark::REFUSED;
            let deadline = slot.last.saturating_add(RETRY_WAIT);
            self.table.schedule(at, deadline);
            return;
        }
        if slot.is(mark::FOREIGN)
            || slot.state == State::Closed
            || (slot.transport == Transport::Tcp && slot.state == State::Open)
        {
            return;
        }
        self.close(at, Outcome::Refused, sink);
    }

    // --- payload ---

    /// Counts payload, and opens an exchange where it breaks a silence.
    #[inline]
    fn activity(
        &mut self,
        packet: &Packet<'_>,
        at: u32,
        from_local: bool,
        new: u32,
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        let time = packet.time.nanos();
        let Some(slot) = self.table.get_mut(at) else { return };
        if self.sockets {
            // Of the payload only the first words pass the filter: sockets count, and know of silences.
            slot.last_payload = slot.last_payload.max(time);
            let bytes = if from_local { &mut slot.bytes_out } else { &mut slot.bytes_in };
            *bytes += u64::from(new);
            return;
        }
        let opens = time.saturating_sub(slot.last_payload) >= EXCHANGE_SILENCE;
        if opens && slot.is(mark::EXCHANGE) {
            // The silence was noticed by the packet before the timer.
            self.end_exchange(at, sink);
        }
        let Some(slot) = self.table.get_mut(at) else { return };
        if from_local {
            slot.bytes_out += u64::from(new);
        } else {
            slot.bytes_in += u64::from(new);
        }
        // The first payload of a connection that was found open follows a silence of unknown length: no exchange.
        let first = slot.is(mark::JOINED) && slot.bytes_out + slot.bytes_in == u64::from(new);
        slot.last_payload = slot.last_payload.max(time);
        if opens && !first {
            slot.marks |= mark::EXCHANGE;
            slot.exchange_start = time;
            slot.exchange_out = 0;
            slot.exchange_in = 0;
        }
        if slot.is(mark::EXCHANGE) {
            let bytes = if from_local { &mut slot.exchange_out } else { &mut slot.exchange_in };
            *bytes = bytes.saturating_add(new);
        }
        if opens && !first {
            self.table.schedule(at, time.saturating_add(EXCHANGE_SILENCE));
        }
    }

    /// Looks at what the client said first, for a name.
    fn client_words(
        &mut self,
        packet: &Packet<'_>,
        at: u32,
        sequence: u32,
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let offset = sequence.wrapping_sub(slot.stream_base);
        if offset.cast_signed() < 0 {
            return; // said before the part that is looked at
        }
        let offset = offset as usize;
        let cut = packet.payload.len() < packet.payload_len as usize;
        let whole = offset == 0 && slot.stream == NONE;
        let Some(label) = self.labels.of(&mut slot.label) else { return };
        let (progress, length) = if whole {
            (label.read(packet.payload, cut), packet.payload.len())
        } else {
            if offset >= MAX_STREAM_BYTES {
                self.report(at, sink);
                return;
            }
            if slot.stream == NONE {
                slot.stream = self.streams.take().unwrap_or(NONE);
            }
            let Some(stream) = self.streams.get_mut(slot.stream) else {
                self.counters.streams_refused += 1;
                self.report(at, sink);
                return;
            };
            stream.insert(offset, packet.payload);
            let last = cut || stream.is_full();
            // Until the beginning is there, there is nothing to read.
            let progress = if stream.bytes().is_empty() && !last {
                Progress::More
            } else {
                label.read(stream.bytes(), last)
            };
            (progress, stream.bytes().len())
        };
        match progress {
            Progress::Done => self.report(at, sink),
            Progress::Tunnel => {
                // The proxy was asked; the tunnelled client's hello comes next, behind the request.
                let base = slot.stream_base.wrapping_add(u32::try_from(length).unwrap_or(0));
                slot.stream_base = base;
                self.release_stream(at);
            }
            Progress::More if whole => {
                let Some(stream_at) = self.streams.take() else {
                    self.counters.streams_refused += 1;
                    self.report(at, sink);
                    return;
                };
                if let Some(stream) = self.streams.get_mut(stream_at) {
                    stream.insert(0, packet.payload);
                }
                if let Some(slot) = self.table.get_mut(at) {
                    slot.stream = stream_at;
                }
            }
            Progress::More => {}
        }
    }

    fn quic(&mut self, packet: &Packet<'_>, at: u32, first: bool, sink: &mut impl FnMut(&Observation<'_>)) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if slot.stream == NONE {
            let taken =
                if first && label::may_be_quic(packet.payload) { self.assemblers.take() } else { None };
            let Some(assembler) = taken else {
                self.report(at, sink);
                return;
            };
            slot.stream = assembler;
            slot.marks |= mark::QUIC;
        }
        let done = match (self.labels.of(&mut slot.label), self.assemblers.get_mut(slot.stream)) {
            (Some(label), Some(assembler)) => label.read_quic(assembler, packet.payload),
            _ => true,
        };
        if done {
            self.report(at, sink);
        }
    }

    fn dns_over_tcp(&mut self, packet: &Packet<'_>, sink: &mut impl FnMut(&Observation<'_>)) {
        // A message that fits its segment is read.
        if let Probe::Parsed((message, _)) = dns::tcp_message(packet.payload) {
            self.dns(packet, message, sink);
        }
    }

    /// Takes a DNS message; returns whether it is one.
    fn dns(&mut self, packet: &Packet<'_>, message: &[u8], sink: &mut impl FnMut(&Observation<'_>)) -> bool {
        let read = self.queries.message(packet, message, self.now, &self.locals, sink);
        self.counters.dns_damaged += u64::from(!read);
        read
    }

    // --- reports ---

    /// Emits `Opened` (or `Joined`), once.
    fn report(&mut self, at: u32, sink: &mut impl FnMut(&Observation<'_>)) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if slot.is(mark::REPORTED | mark::FOREIGN) {
            return;
        }
        slot.marks |= mark::REPORTED;
        self.read_unfinished(at);
        let Some(slot) = self.table.get_mut(at) else { return };
        let label = slot.label;
        let phase = if slot.is(mark::JOINED) { Phase::Joined } else { Phase::Opened };
        self.emit(at, phase, true, sink);
        self.release_stream(at);
        let protocol = self.labels.get(label).map_or_else(Default::default, |label| label.protocol);
        self.await_certificate(at, protocol);
        if let Some(slot) = self.table.get_mut(at) {
            self.labels.keep_identity(&mut slot.label);
        }
    }

    /// What was waited for did not come: the name may stand in what did, since only the first part of a hello or request holds
    /// it.
    fn read_unfinished(&mut self, at: u32) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if slot.stream == NONE || slot.is(mark::QUIC) {
            return;
        }
        if let (Some(label), Some(stream)) =
            (self.labels.of(&mut slot.label), self.streams.get_mut(slot.stream))
            && !stream.bytes().is_empty()
        {
            label.read(stream.bytes(), true);
        }
    }

    fn end_exchange(&mut self, at: u32, sink: &mut impl FnMut(&Observation<'_>)) {
        self.report(at, sink);
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.marks &= !mark::EXCHANGE;
        let phase = Phase::Exchange {
            start: Timestamp::from_nanos(slot.exchange_start),
            bytes_out: u64::from(slot.exchange_out),
            bytes_in: u64::from(slot.exchange_in),
        };
        self.emit(at, phase, false, sink);
    }

    fn close(&mut self, at: u32, outcome: Outcome, sink: &mut impl FnMut(&Observation<'_>)) {
        let Some(slot) = self.table.get(at) else { return };
        if slot.state == State::Closed {
            return;
        }
        if !slot.is(mark::FOREIGN) {
            if slot.is(mark::EXCHANGE) {
                self.end_exchange(at, sink);
            }
            self.report(at, sink);
            // What else was looked for comes no more.
            self.release_stream(at);
        }
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.state = State::Closed;
        if slot.is(mark::FOREIGN) {
            return;
        }
        let totals = Totals {
            end: Timestamp::from_nanos(slot.last),
            bytes_out: Some(slot.bytes_out),
            bytes_in: Some(slot.bytes_in),
            outcome,
        };
        self.emit(at, Phase::Closed(totals), false, sink);
        if let Some(slot) = self.table.get_mut(at) {
            self.labels.give_back(&mut slot.label);
        }
    }

    fn emit(&self, at: u32, phase: Phase, all_names: bool, sink: &mut impl FnMut(&Observation<'_>)) {
        let Some(slot) = self.table.get(at) else { return };
        let label = self.labels.get(slot.label);
        let ports =
            if slot.transport == Transport::Icmp { (0, 0) } else { (slot.local_port, slot.remote_port) };
        let names = label.map_or_else(Names::default, |label| label.names(all_names));
        let event = ConnectionEvent {
            tuple: FiveTuple {
                transport: slot.transport,
                local: (slot.local.ip(), ports.0).into(),
                remote: (slot.remote.ip(), ports.1).into(),
            },
            start: Timestamp::from_nanos(slot.start),
            process: None,
            program: None,
            attribution: Attribution::NONE,
            names,
            protocol: label.map_or_else(Default::default, |label| label.protocol),
            ja4: label.and_then(|label| label.ja4),
            phase,
        };
        let host = self.locals.host(slot.local);
        sink(&Observation { time: Timestamp::from_nanos(self.now), host, event: Event::Connection(event) });
    }

    fn release_stream(&mut self, at: u32) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let stream = std::mem::replace(&mut slot.stream, NONE);
        if slot.is(mark::QUIC) {
            slot.marks &= !mark::QUIC;
            if let Some(assembler) = self.assemblers.get_mut(stream) {
                assembler.reset();
            }
            self.assemblers.give_back(stream);
        } else if slot.is(mark::CERTIFICATE) {
            slot.marks &= !mark::CERTIFICATE;
            if let Some(server) = self.servers.get_mut(stream) {
                server.clear();
            }
            self.servers.give_back(stream);
        } else {
            if let Some(stream) = self.streams.get_mut(stream) {
                stream.clear();
            }
            self.streams.give_back(stream);
        }
    }

    fn drop_slot(&mut self, at: u32) {
        self.release_stream(at);
        if let Some(slot) = self.table.get_mut(at) {
            self.labels.give_back(&mut slot.label);
        }
        self.table.remove(at);
    }
}

impl Packet<'_> {
    fn source_port_is(&self, port: u16) -> bool {
        matches!(self.transport, Header::Tcp { source_port, .. } if source_port == port)
    }

    fn destination_port_is(&self, port: u16) -> bool {
        matches!(self.transport, Header::Tcp { destination_port, .. } if destination_port == port)
    }
}

fn ends(packet: &Packet<'_>, source_port: u16, destination_port: u16, transport: Transport) -> Ends {
    Ends { source: packet.source, destination: packet.destination, source_port, destination_port, transport }
}

const fn reversed(ends: &Ends) -> Ends {
    Ends {
        source: ends.destination,
        destination: ends.source,
        source_port: ends.destination_port,
        destination_port: ends.source_port,
        transport: ends.transport,
    }
}

/// When a connection is reported even without a name.
fn naming_deadline(slot: &Slot) -> i64 {
    if slot.state == State::Asked {
        return slot.start.saturating_add(ATTEMPT_WAIT);
    }
    slot.last_payload.saturating_add(NAMING_WAIT).min(slot.start.saturating_add(MAX_NAMING_WAIT))
}

/// Guess for a connection whose opening was not seen: the client is the side without the service port. Well-known ports
/// (below 1024) beat others; else an internal side is taken to call a public one; else the lower port is the service, as
/// ephemeral ranges lie high.
fn is_client(ends: &Ends) -> bool {
    let (source, destination) = (ends.source_port, ends.destination_port);
    match (source < 1024, destination < 1024) {
        (true, false) => false,
        (false, true) => true,
        _ => match (is_internal(ends.source.ip()), is_internal(ends.destination.ip())) {
            (true, false) => true,
            (false, true) => false,
            _ => source >= destination,
        },
    }
}

/// Guess for a datagram: the first one seen comes from the client, unless it comes from a well-known port only.
const fn is_client_first(ends: &Ends) -> bool {
    !(ends.source_port < 1024 && ends.destination_port >= 1024)
}

const fn idle_limit(transport: Transport) -> i64 {
    match transport {
        Transport::Tcp => TCP_IDLE,
        Transport::Udp | Transport::Icmp => DATAGRAM_IDLE,
    }
}

/// How a connection that is dropped while under way went.
const fn ended(state: State, marks: u16) -> Outcome {
    match state {
        State::Asked => Outcome::Unanswered,
        State::Free | State::Open | State::Closed => established(marks),
    }
}

/// How a connection that simply ended went.
const fn established(marks: u16) -> Outcome {
    if marks & mark::ANSWERED != 0 {
        Outcome::Established
    } else if marks & mark::JOINED != 0 {
        Outcome::Unknown
    } else {
        Outcome::Unanswered
    }
}
