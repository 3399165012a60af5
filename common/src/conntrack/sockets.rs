//! What the operating system tells of sockets, joined with what packets tell of the same connections.
//!
//! On the host itself a socket says whose a connection is, when it begins and ends, and what it came to, to the byte; the
//! few packets that pass the kernel's filter say what it is called. Both meet in the table by their five-tuple, in whichever
//! order they come. Where a socket is known, its word counts: packets neither end the connection nor count its bytes.

use super::table::{Ends, State, mark};
use super::{DISCOVERY_PORTS, DNS_PORT, MAX_SEQUENCE_GAP, Tracker};
use std::net::{IpAddr, Ipv6Addr};

use crate::decode::packet::Addr;
use crate::event::{Observation, Outcome, Phase, Totals};
use crate::live::{SocketEvent, SocketNews};
use crate::net::{FiveTuple, Transport, is_internal_broadcast, is_no_peer};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// How far apart a socket's opening and its first packet may be told: both have the kernel's clock, but a look-up takes time.
const SAME_OPENING: i64 = NANOS_PER_SEC;

impl Tracker {
    /// Sockets tell of this host's connections from now on: packets alone open no exchange and count no byte but by the
    /// sequence numbers of a connection's end. `datagrams`: sockets tell of UDP, too, so that a datagram of this host without
    /// a socket was only passed on.
    pub const fn expect_sockets(&mut self, datagrams: bool) {
        self.sockets = true;
        self.datagram_sockets = datagrams;
    }

    /// Takes news of a socket and hands what it tells to `sink`.
    pub fn socket(&mut self, event: &SocketEvent, sink: &mut impl FnMut(&Observation<'_>)) {
        if is_no_call(&event.tuple) {
            return;
        }
        let time = event.time.nanos();
        if self.table.is_due(time) {
            self.advance(time, sink);
        }
        self.now = self.now.max(time);
        match event.news {
            SocketNews::Opened(_) => {
                self.socket_opened(&event.tuple, time, false, sink);
            }
            SocketNews::Found(_) => {
                self.socket_opened(&event.tuple, time, true, sink);
            }
            SocketNews::Answered => self.socket_answered(&event.tuple, time),
            SocketNews::Exchange { start, bytes_out, bytes_in } => {
                self.socket_exchange(&event.tuple, time, (start, bytes_out, bytes_in), sink);
            }
            SocketNews::Closed(totals) => self.socket_closed(&event.tuple, time, &totals, sink),
        }
    }

    /// The slot of a socket's connection, made if there is none.
    fn socket_opened(
        &mut self,
        tuple: &FiveTuple,
        time: i64,
        found_open: bool,
        sink: &mut impl FnMut(&Observation<'_>),
    ) -> Option<u32> {
        let ends = ends_of(tuple);
        if let Some((at, from_local)) = self.table.find(&ends)
            && let Some(slot) = self.table.get_mut(at)
        {
            let fresh = time.saturating_sub(slot.start).abs() <= SAME_OPENING;
            let open = slot.state != State::Closed;
            if open && from_local && (fresh || found_open) {
                // Its first packets came before the socket was told of, or it is told of twice.
                slot.start = if found_open { slot.start } else { slot.start.min(time) };
                slot.marks |= mark::SOCKET;
                if slot.is(mark::FOREIGN) {
                    slot.marks &= !mark::FOREIGN;
                    self.counters.foreign -= 1;
                    self.counters.connections += 1;
                }
                return Some(at);
            }
            if open {
                let outcome = super::ended(slot.state, slot.marks);
                self.close(at, outcome, sink);
            }
            self.drop_slot(at);
        }
        self.make_room(sink);
        let at = self.table.insert(&ends, time);
        self.counters.connections += 1;
        let slot = self.table.get_mut(at)?;
        slot.marks |= mark::SOCKET;
        if found_open {
            slot.marks |= mark::JOINED;
        } else if tuple.transport == Transport::Tcp {
            slot.state = State::Asked;
        }
        self.table.schedule(at, time.saturating_add(super::NAMING_WAIT));
        Some(at)
    }

    fn slot_of(&self, tuple: &FiveTuple) -> Option<u32> {
        let (at, _) = self.table.find(&ends_of(tuple))?;
        self.table.get(at).filter(|slot| slot.state != State::Closed && !slot.is(mark::FOREIGN)).map(|_| at)
    }

    fn socket_answered(&mut self, tuple: &FiveTuple, time: i64) {
        let Some(slot) = self.slot_of(tuple).and_then(|at| self.table.get_mut(at)) else { return };
        slot.marks |= mark::ANSWERED;
        slot.last = slot.last.max(time);
        slot.last_payload = slot.last_payload.max(time);
        if slot.state == State::Asked {
            slot.state = State::Open;
            slot.marks &= !mark::REFUSED;
        }
    }

    fn socket_exchange(
        &mut self,
        tuple: &FiveTuple,
        time: i64,
        (start, bytes_out, bytes_in): (Timestamp, u64, u64),
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        // One that was forgotten for want of room goes on as one that was found open.
        let known = self.slot_of(tuple).or_else(|| self.socket_opened(tuple, start.nanos(), true, sink));
        let Some(at) = known else { return };
        self.report(at, sink);
        if let Some(slot) = self.table.get_mut(at) {
            slot.last = slot.last.max(time);
            slot.state = State::Open;
            if bytes_in > 0 {
                slot.marks |= mark::ANSWERED;
            }
        }
        self.emit(at, Phase::Exchange { start, bytes_out, bytes_in }, false, sink);
    }

    fn socket_closed(
        &mut self,
        tuple: &FiveTuple,
        time: i64,
        totals: &Totals,
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        let Some(at) = self.slot_of(tuple) else { return };
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.last = slot.last.max(time.min(totals.end.nanos()));
        slot.bytes_out = totals.bytes_out.unwrap_or(slot.bytes_out);
        slot.bytes_in = totals.bytes_in.unwrap_or(slot.bytes_in);
        let outcome = match totals.outcome {
            // A socket that only ended was answered if anything ever came back.
            Outcome::Unknown => super::ended(slot.state, slot.marks),
            told => told,
        };
        self.close(at, outcome, sink);
    }

    /// The datagram socket of a packet's source port that is bound to no address: it sends from whichever fits.
    pub(super) fn find_unbound(&self, ends: &Ends) -> Option<(u32, bool)> {
        if !self.sockets || ends.transport != Transport::Udp {
            return None;
        }
        let any = |address: Addr| {
            if address.ip().is_ipv4() {
                Addr::v4([0; 4])
            } else {
                Addr::from(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
            }
        };
        let sent = Ends { source: any(ends.source), ..*ends };
        let received = Ends { destination: any(ends.destination), ..*ends };
        self.table.find(&sent).or_else(|| self.table.find(&received))
    }

    /// Whether packets of this connection leave its end and its bytes to its socket.
    pub(super) fn is_sockets(&self, at: u32) -> bool {
        self.table.get(at).is_some_and(|slot| slot.is(mark::SOCKET))
    }

    /// Bytes up to the end of a stream whose payload was mostly not seen: sequence numbers count them (RFC 9293 section 3.4),
    /// unambiguously below 4 GiB.
    pub(super) fn count_to_end(&mut self, at: u32, from_local: bool, end: u32) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let (next, known, bytes) = if from_local {
            (&mut slot.next_out, mark::SEQ_OUT, &mut slot.bytes_out)
        } else {
            (&mut slot.next_in, mark::SEQ_IN, &mut slot.bytes_in)
        };
        if slot.marks & known != 0 {
            let more = end.wrapping_sub(*next);
            // A little behind what is known is an end that was sent again.
            if more < u32::MAX - MAX_SEQUENCE_GAP.unsigned_abs() {
                *bytes += u64::from(more);
                *next = end;
            }
        }
    }

    /// Whether a SYN was already seen on its way here with other addresses: then this host only translates it (RFC 3022), and
    /// the connection is told of once.
    pub(super) fn is_translated(&mut self, ends: &Ends, sequence: u32, time: i64) -> bool {
        self.openings.seen_elsewhere(ends, sequence, time)
    }
}

/// The sequence numbers of the latest SYNs, each in the place that remote end and number name: a later one takes the place.
#[derive(Debug, Default)]
pub(super) struct Openings {
    seen: Vec<Option<Opening>>,
}

#[derive(Clone, Copy, Debug)]
struct Opening {
    remote: (Addr, u16),
    local: (Addr, u16),
    sequence: u32,
    time: i64,
}

/// Places for SYNs: some seconds' worth on a busy gateway.
const OPENINGS: usize = 4096;
/// A host passes a SYN on at once.
const PASSING: i64 = 2 * NANOS_PER_SEC;

impl Openings {
    fn seen_elsewhere(&mut self, ends: &Ends, sequence: u32, time: i64) -> bool {
        if self.seen.is_empty() {
            self.seen = vec![None; OPENINGS];
        }
        let place = sequence as usize % OPENINGS;
        let remote = (ends.destination, ends.destination_port);
        let local = (ends.source, ends.source_port);
        let Some(seen) = self.seen.get_mut(place) else { return false };
        let elsewhere = seen.is_some_and(|seen| {
            seen.sequence == sequence
                && seen.remote == remote
                && seen.local != local
                && time.saturating_sub(seen.time).abs() <= PASSING
        });
        if !elsewhere {
            *seen = Some(Opening { remote, local, sequence, time });
        }
        elsewhere
    }
}

fn ends_of(tuple: &FiveTuple) -> Ends {
    Ends {
        source: Addr::from(tuple.local.ip()),
        destination: Addr::from(tuple.remote.ip()),
        source_port: tuple.local.port(),
        destination_port: tuple.remote.port(),
        transport: tuple.transport,
    }
}

/// Whether a socket's peer is none: loopback, multicast, discovery on the local network; and questions to a resolver, which
/// are told of by what is asked.
fn is_no_call(tuple: &FiveTuple) -> bool {
    let peer = tuple.remote.ip();
    let datagram = tuple.transport == Transport::Udp;
    let port = tuple.remote.port();
    is_no_peer(peer)
        || (datagram && (port == DNS_PORT || DISCOVERY_PORTS.contains(&port) || is_internal_broadcast(peer)))
}

#[cfg(test)]
mod tests;
