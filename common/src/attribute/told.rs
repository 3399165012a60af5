//! What a capture tells of processes beside its packets, kept by five-tuple: comments of packets, and process blocks.
//!
//! The process of a connection is the one told of first; a new connection on the same ports (its SYN, or a long silence)
//! has one of its own. Bounded: when there is no room, the connection or process told of first is forgotten, and learnt
//! again from its next packet.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::net::SocketAddr;

use hashbrown::HashMap;

use super::{Owner, comment, kept};
use crate::decode::packet::{Header, Packet, flags};
use crate::format::pcapng::Note;
use crate::net::{FiveTuple, Transport};
use crate::process::ProcessInfo;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// What a connection takes.
const FLOW_BYTES: usize = 2 * size_of::<Flow>() + size_of::<Owned>() + 32;
/// What a process takes beside its texts.
const PROCESS_BYTES: usize = size_of::<Kept>() + size_of::<ProcessInfo>() + 128;
/// Silence after which packets of the same pair count as a new connection: as the tracker has it, for datagrams and
/// for TCP.
const DATAGRAM_IDLE: i64 = 300 * NANOS_PER_SEC;
const TCP_IDLE: i64 = 7_500 * NANOS_PER_SEC;

/// Both ends, in an order that does not depend on the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flow {
    transport: Transport,
    low: SocketAddr,
    high: SocketAddr,
}

impl Flow {
    fn new(transport: Transport, one: SocketAddr, other: SocketAddr) -> Self {
        Self { transport, low: one.min(other), high: one.max(other) }
    }
}

/// The number of a process in the order in which they were told of.
type Number = u64;

/// Whose the connections of one pair of ends are.
#[derive(Clone, Copy, Debug)]
struct Owned {
    /// The one that is open, since when; `None`: nothing was told of it.
    current: Option<Number>,
    since: Timestamp,
    /// The one before it.
    previous: Option<Number>,
    last: Timestamp,
}

#[derive(Debug)]
struct Kept {
    owner: Owner,
    hash: u64,
    bytes: usize,
}

/// Processes by five-tuple, as captures tell.
#[derive(Debug, Default)]
pub struct Told {
    hasher: foldhash::fast::FixedState,
    flows: HashMap<Flow, Owned, foldhash::fast::FixedState>,
    order: VecDeque<Flow>,
    processes: VecDeque<Kept>,
    /// Number of the first of them.
    first: Number,
    by_note: HashMap<u64, Number, foldhash::fast::FixedState>,
    bytes: usize,
    capacity: usize,
    flows_evicted: u64,
    processes_evicted: u64,
}

impl Told {
    /// Nothing yet; never more than `memory_bytes`.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        Self { capacity: memory_bytes, ..Self::default() }
    }

    /// Whether nothing was told.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Connections and processes forgotten for want of room.
    #[must_use]
    pub const fn evicted(&self) -> (u64, u64) {
        (self.flows_evicted, self.processes_evicted)
    }

    /// Takes note of what is said beside a packet.
    pub fn packet(&mut self, packet: &Packet<'_>, note: Option<Note<'_>>) {
        let told = note.and_then(|note| self.learn(note));
        let (transport, source, destination, opens) = match packet.transport {
            Header::Tcp { source_port, destination_port, flags: bits, .. } => {
                let opens = bits & (flags::SYN | flags::ACK) == flags::SYN;
                (Transport::Tcp, source_port, destination_port, opens)
            }
            Header::Udp { source_port, destination_port } => {
                (Transport::Udp, source_port, destination_port, false)
            }
            // Their events have no ports, either.
            Header::Echo { .. } => (Transport::Icmp, 0, 0, false),
            Header::Unreachable { .. } => return,
        };
        if told.is_none() && !opens {
            return;
        }
        let source = SocketAddr::new(packet.source.ip(), source);
        let destination = SocketAddr::new(packet.destination.ip(), destination);
        self.note(Flow::new(transport, source, destination), packet.time, told, opens);
    }

    /// Whose a connection that began then was.
    #[must_use]
    pub fn find(&self, tuple: &FiveTuple, start: Timestamp) -> Option<&Owner> {
        if self.flows.is_empty() {
            return None;
        }
        let owned = self.flows.get(&Flow::new(tuple.transport, tuple.local, tuple.remote))?;
        self.get(if start >= owned.since { owned.current? } else { owned.previous? })
    }

    /// Bytes held, as they are counted.
    #[cfg(test)]
    pub(super) const fn held(&self) -> usize {
        self.bytes
    }

    fn note(&mut self, flow: Flow, time: Timestamp, told: Option<Number>, opens: bool) {
        let Some(mut owned) = self.flows.get(&flow).copied() else {
            if told.is_some() {
                let since = if opens { time } else { Timestamp::from_nanos(i64::MIN) };
                self.flows.insert(flow, Owned { current: told, since, previous: None, last: time });
                self.order.push_back(flow);
                self.bytes += FLOW_BYTES;
                self.make_room();
            }
            return;
        };
        let current = owned.current.filter(|number| self.get(*number).is_some());
        let silence = if flow.transport == Transport::Tcp { TCP_IDLE } else { DATAGRAM_IDLE };
        let fresh = opens || time.since(owned.last) >= silence;
        let other = match (current, told) {
            (Some(one), Some(other)) => !self.same(one, other),
            (Some(_), None) => true,
            // There is nobody to part it from.
            (None, _) => false,
        };
        if fresh && other {
            owned = Owned { current: told, since: time, previous: current, last: time };
        } else {
            owned.current = current.or(told);
            owned.last = owned.last.max(time);
        }
        self.flows.insert(flow, owned);
    }

    fn get(&self, number: Number) -> Option<&Owner> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.processes.get(at).map(|kept| &kept.owner)
    }

    fn same(&self, one: Number, other: Number) -> bool {
        one == other || matches!((self.get(one), self.get(other)), (Some(one), Some(other)) if one.is(other))
    }

    /// The process that a note tells of.
    fn learn(&mut self, note: Note<'_>) -> Option<Number> {
        let comments = note.comments();
        let mut hash = self.hasher.build_hasher();
        let mut tells = false;
        for comment in comments.clone() {
            tells |= comment::tells(comment);
            comment.hash(&mut hash);
        }
        let process = if tells { None } else { note.process() };
        if !tells {
            hash = self.hasher.build_hasher();
            process?.hash(&mut hash);
        }
        let hash = hash.finish();
        if let Some(&known) = self.by_note.get(&hash) {
            return Some(known);
        }
        let owner = match process {
            Some((pid, image)) => {
                Owner::new(pid, None, ProcessInfo { image: kept(image), ..ProcessInfo::default() })
            }
            None => comment::read(comments)?,
        };
        let info = &owner.program.info;
        let texts = [&info.image, &info.command_line, &info.parent_image, &info.user, &info.container];
        let bytes = texts.iter().map(|text| text.len()).sum::<usize>() + PROCESS_BYTES;
        let number = self.first + self.processes.len() as u64;
        self.processes.push_back(Kept { owner, hash, bytes });
        self.by_note.insert(hash, number);
        self.bytes += bytes;
        self.make_room();
        Some(number)
    }

    /// Forgets what was told first: processes where they take more than half of the room, else connections.
    fn make_room(&mut self) {
        while self.bytes > self.capacity {
            let flows = self.order.len() * FLOW_BYTES;
            if flows * 2 < self.bytes {
                let Some(kept) = self.processes.pop_front() else { return };
                self.by_note.remove(&kept.hash);
                self.bytes -= kept.bytes;
                self.first += 1;
                self.processes_evicted += 1;
            } else {
                let Some(flow) = self.order.pop_front() else { return };
                self.flows.remove(&flow);
                self.bytes -= FLOW_BYTES;
                self.flows_evicted += 1;
            }
        }
    }
}
