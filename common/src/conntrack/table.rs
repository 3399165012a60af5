//! The bounded connection table: a slab of two-cache-line slots, an index by five-tuple, and a timer wheel.
//!
//! Eviction rule: when the table is full, of [`EVICTION_SAMPLE`] neighbouring slots the one that matters least goes
//! (closed before unanswered before open, then longest silent), and [`Table::evicted`] counts it.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::decode::packet::Addr;
use crate::net::Transport;

/// No slot, no label, no stream.
pub(super) const NONE: u32 = u32::MAX;
/// Slots looked at to find one to evict.
const EVICTION_SAMPLE: u32 = 16;
/// Timer resolution in nanoseconds.
pub(super) const TICK: i64 = 250_000_000;
/// Slots of the wheel: 64 s in all; a later deadline goes round again.
const WHEEL: usize = 256;
const WHEEL_SPAN: i64 = 256;
/// Steps that the wheel turns one by one after a silence, 312 s: every deadline but that of an idle TCP connection. Only a
/// longer silence is jumped, so that a hostile file cannot buy hours of steps with one packet each.
const MAX_STEPS: i64 = 1_250;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Not in use.
    Free,
    /// Over; kept for a while so that late packets do not open it again.
    Closed,
    /// The client asked, nobody answered yet.
    Asked,
    /// Both sides are (or may be) there.
    Open,
}

/// What is to be remembered of a connection, as bits.
pub(super) mod mark {
    /// Opened from outside, or between two others: not ours to report.
    pub(in super::super) const FOREIGN: u16 = 1;
    /// `Opened` or `Joined` was emitted.
    pub(in super::super) const REPORTED: u16 = 2;
    /// Its start was not seen.
    pub(in super::super) const JOINED: u16 = 4;
    /// An exchange is under way.
    pub(in super::super) const EXCHANGE: u16 = 8;
    /// The remote side sent something.
    pub(in super::super) const ANSWERED: u16 = 16;
    /// FIN from the local side.
    pub(in super::super) const FIN_OUT: u16 = 32;
    /// FIN from the remote side.
    pub(in super::super) const FIN_IN: u16 = 64;
    /// `next_out` is valid.
    pub(in super::super) const SEQ_OUT: u16 = 128;
    /// `next_in` is valid.
    pub(in super::super) const SEQ_IN: u16 = 256;
    /// The attempt was refused; a retry may follow at once.
    pub(in super::super) const REFUSED: u16 = 512;
    /// A QUIC handshake is being looked at; `stream` counts in the assemblers.
    pub(in super::super) const QUIC: u16 = 1024;
    /// Its socket is known, and says when it ends and what it came to.
    pub(in super::super) const SOCKET: u16 = 2048;
    /// A packet reset it; its socket has not said so yet.
    pub(in super::super) const RESET: u16 = 4096;
    /// The server's certificate is waited for; `stream` counts in the servers.
    pub(in super::super) const CERTIFICATE: u16 = 8192;
}

/// One connection, oriented: `local` is the side that opened it (or the host, for one opened from outside).
///
/// Two cache lines, and laid out by hand: who finds a slot and what an acknowledgement changes lie in the first.
#[derive(Clone, Debug)]
#[repr(C, align(128))]
pub(super) struct Slot {
    pub(super) local: Addr,
    pub(super) remote: Addr,
    pub(super) local_port: u16,
    pub(super) remote_port: u16,
    pub(super) marks: u16,
    pub(super) transport: Transport,
    pub(super) state: State,
    /// Nanoseconds of the latest packet.
    pub(super) last: i64,
    /// … of the latest new payload, or of the handshake before any.
    pub(super) last_payload: i64,
    pub(super) next_out: u32,
    pub(super) next_in: u32,
    /// … of the first payload of the exchange under way.
    pub(super) exchange_start: i64,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    pub(super) exchange_out: u32,
    pub(super) exchange_in: u32,
    /// … of the first packet.
    pub(super) start: i64,
    /// First sequence number of the client's stream that is looked at for names.
    pub(super) stream_base: u32,
    pub(super) label: u32,
    pub(super) stream: u32,
}

/// A slot's place in the wheel. Apart from the slots, so that the lists are walked and mended in near memory.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
    /// Position in the wheel, [`UNSCHEDULED`] without a timer.
    position: u16,
}

const UNSCHEDULED: u16 = u16::MAX;
const UNLINKED: Link = Link { next: NONE, previous: NONE, position: UNSCHEDULED };

const _: () = assert!(size_of::<Slot>() == 128, "a slot is two cache lines");
const _: () =
    assert!(std::mem::offset_of!(Slot, exchange_start) == 64, "what is looked at first fills the first");

impl Slot {
    /// Whether a packet with these ends comes from the local side; `None` if it is another connection's.
    #[inline]
    fn side_of(&self, ends: &Ends) -> Option<bool> {
        if self.transport != ends.transport {
            return None;
        }
        let local = (self.local, self.local_port);
        let remote = (self.remote, self.remote_port);
        let (source, destination) =
            ((ends.source, ends.source_port), (ends.destination, ends.destination_port));
        if (local, remote) == (source, destination) {
            return Some(true);
        }
        ((local, remote) == (destination, source)).then_some(false)
    }

    pub(super) const fn is(&self, mark: u16) -> bool {
        self.marks & mark != 0
    }

    /// Whether packets say that a socket's connection is over.
    pub(super) const fn is_over(&self) -> bool {
        self.is(mark::SOCKET) && (self.is(mark::RESET) || (self.is(mark::FIN_OUT) && self.is(mark::FIN_IN)))
    }
}

/// Both ends of a packet, as the index sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) source: Addr,
    pub(super) destination: Addr,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) transport: Transport,
}

#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    /// One for each slot.
    links: Vec<Link>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    heads: [u32; WHEEL],
    /// The wheel's time, in ticks since `origin`.
    tick: i64,
    /// First time seen, in nanoseconds: ticks count from it, so that a shifted capture ticks alike.
    origin: i64,
    started: bool,
    /// When the wheel turns next: `tick` in nanoseconds, and one step.
    turns: i64,
    capacity: u32,
    hand: u32,
    evicted: u64,
}

impl Table {
    /// A table of at most `capacity` connections.
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            slots: Vec::new(),
            links: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            heads: [NONE; WHEEL],
            tick: 0,
            origin: 0,
            started: false,
            turns: i64::MIN,
            capacity: capacity.max(EVICTION_SAMPLE),
            hand: 0,
            evicted: 0,
        }
    }

    /// Direction-free hash. The seed is random per process: the addresses are the sender's choice.
    fn hash(hasher: &RandomState, ends: &Ends) -> u64 {
        let source = (ends.source, ends.source_port);
        let destination = (ends.destination, ends.destination_port);
        let (low, high) = if source <= destination { (source, destination) } else { (destination, source) };
        let ports = (u64::from(low.1) << 32) | (u64::from(high.1) << 8) | ends.transport as u64;
        hasher.hash_one((low.0.0, high.0.0, ports))
    }

    /// Both ends of a connection, from the side that opened it.
    pub(super) const fn ends_of(slot: &Slot) -> Ends {
        Ends {
            source: slot.local,
            destination: slot.remote,
            source_port: slot.local_port,
            destination_port: slot.remote_port,
            transport: slot.transport,
        }
    }

    /// The slot of a packet's connection, and whether the packet comes from the local side.
    pub(super) fn find(&self, ends: &Ends) -> Option<(u32, bool)> {
        let mut side = None;
        let found = self.index.find(Self::hash(&self.hasher, ends), |&at| {
            side = self.slots.get(at as usize).and_then(|slot| slot.side_of(ends));
            side.is_some()
        });
        found.copied().zip(side)
    }

    /// The same, where it may be known: a slot in use that has these ends is the one, as no two have the same.
    #[inline]
    pub(super) fn find_from(&self, ends: &Ends, ahead: Option<u32>) -> Option<(u32, bool)> {
        let known = ahead.and_then(|at| {
            let slot = self.slots.get(at as usize).filter(|slot| slot.state != State::Free)?;
            Some((at, slot.side_of(ends)?))
        });
        known.or_else(|| self.find(ends))
    }

    /// A fresh slot for `ends.source` (local) → `ends.destination`, first seen at `time`. The caller has made room:
    /// see [`Table::victim`].
    pub(super) fn insert(&mut self, ends: &Ends, time: i64) -> u32 {
        let slot = Slot {
            local: ends.source,
            remote: ends.destination,
            start: time,
            last: time,
            last_payload: time,
            exchange_start: time,
            bytes_out: 0,
            bytes_in: 0,
            exchange_out: 0,
            exchange_in: 0,
            next_out: 0,
            next_in: 0,
            stream_base: 0,
            label: NONE,
            stream: NONE,
            local_port: ends.source_port,
            remote_port: ends.destination_port,
            marks: 0,
            transport: ends.transport,
            state: State::Open,
        };
        let at = if let Some(at) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(at as usize) {
                *place = slot;
            }
            at
        } else {
            let at = u32::try_from(self.slots.len()).unwrap_or(NONE);
            self.slots.push(slot);
            self.links.push(UNLINKED);
            at
        };
        let hash = Self::hash(&self.hasher, ends);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hash, at, |&at| {
            slots.get(at as usize).map_or(0, |slot| Self::hash(hasher, &Self::ends_of(slot)))
        });
        at
    }

    /// The slot to give up before the next [`Table::insert`]; `None` while there is room.
    pub(super) fn victim(&mut self) -> Option<u32> {
        if !self.free.is_empty() || (self.slots.len() as u64) < u64::from(self.capacity) {
            return None;
        }
        let mut best: Option<(State, i64, u32)> = None;
        for _ in 0..EVICTION_SAMPLE {
            self.hand = (self.hand + 1) % self.capacity;
            if let Some(slot) = self.slots.get(self.hand as usize).filter(|slot| slot.state != State::Free) {
                let candidate = (slot.state, slot.last, self.hand);
                best = Some(best.map_or(candidate, |best| best.min(candidate)));
            }
        }
        self.evicted += u64::from(best.is_some());
        best.map(|(_, _, at)| at)
    }

    /// Gives a slot back.
    pub(super) fn remove(&mut self, at: u32) {
        self.unschedule(at);
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        slot.state = State::Free;
        let ends = Self::ends_of(slot);
        if let Ok(entry) = self.index.find_entry(Self::hash(&self.hasher, &ends), |&other| other == at) {
            entry.remove();
        }
        self.free.push(at);
    }

    pub(super) fn get(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)
    }

    /// Number of slots ever used, for walks in slab order.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NONE)
    }

    /// All slots in use.
    pub(super) fn used(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.state != State::Free)
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self.links.capacity() * size_of::<Link>()
            + self.free.capacity() * 4
            + self.index.capacity() * 5
    }

    /// Puts a connection's timer at `deadline`, or at the end of the wheel if that comes first.
    pub(super) fn schedule(&mut self, at: u32, deadline: i64) {
        self.unschedule(at);
        let tick = self.ticks(deadline).saturating_add(1).clamp(self.tick + 1, self.tick + WHEEL_SPAN - 1);
        let position = wheel_position(tick);
        let Some(head) = self.heads.get_mut(usize::from(position)) else { return };
        let next = std::mem::replace(head, at);
        if let Some(link) = self.links.get_mut(at as usize) {
            *link = Link { next, previous: NONE, position };
        }
        if let Some(next) = self.links.get_mut(next as usize) {
            next.previous = at;
        }
    }

    fn unschedule(&mut self, at: u32) {
        let Some(link) = self.links.get_mut(at as usize) else { return };
        let Link { next, previous, position } = *link;
        if position == UNSCHEDULED {
            return;
        }
        link.position = UNSCHEDULED;
        if let Some(link) = self.links.get_mut(next as usize) {
            link.previous = previous;
        }
        if let Some(link) = self.links.get_mut(previous as usize) {
            link.next = next;
        } else if let Some(head) = self.heads.get_mut(usize::from(position)) {
            *head = next;
        }
    }

    /// Whether the wheel has to turn before a packet of this time.
    #[inline]
    pub(super) const fn is_due(&self, now: i64) -> bool {
        now >= self.turns
    }

    const fn time_at(&self, tick: i64) -> i64 {
        self.origin.saturating_add(tick.saturating_mul(TICK))
    }

    /// Turns the wheel by one step towards `now` and hands out, into `due`, the connections whose timer stood there.
    /// Returns the wheel's time in nanoseconds, or `None` once it has arrived.
    pub(super) fn turn(&mut self, now: i64, due: &mut Vec<u32>) -> Option<i64> {
        if !self.started {
            self.started = true;
            self.origin = now;
            self.tick = 0;
            self.turns = self.time_at(1);
            return None;
        }
        let target = self.ticks(now);
        if self.tick >= target {
            return None;
        }
        self.tick += 1;
        if target - self.tick > MAX_STEPS {
            // Every position is passed once more; that finds all that is due by then.
            self.tick = target - WHEEL_SPAN;
        }
        self.turns = self.time_at(self.tick.saturating_add(1));
        let position = usize::from(wheel_position(self.tick));
        let mut at = self.heads.get_mut(position).map_or(NONE, |head| std::mem::replace(head, NONE));
        while let Some(link) = self.links.get_mut(at as usize) {
            due.push(at);
            at = std::mem::replace(link, UNLINKED).next;
        }
        Some(self.time_at(self.tick))
    }

    const fn ticks(&self, time: i64) -> i64 {
        time.saturating_sub(self.origin).div_euclid(TICK)
    }

    /// Moves all times, as a clock that was set moves: what waits goes on to wait as long as it had to.
    pub(super) fn shift(&mut self, nanos: i64) {
        self.origin = self.origin.saturating_add(nanos);
        self.turns = self.turns.saturating_add(nanos);
        for slot in &mut self.slots {
            for time in [&mut slot.start, &mut slot.last, &mut slot.last_payload, &mut slot.exchange_start] {
                *time = time.saturating_add(nanos);
            }
        }
    }

    /// Forgets all connections, and the time.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.links.clear();
        self.free.clear();
        self.index.clear();
        self.heads = [NONE; WHEEL];
        self.started = false;
        self.turns = i64::MIN;
    }
}

fn wheel_position(tick: i64) -> u16 {
    u16::try_from(tick.rem_euclid(WHEEL_SPAN)).unwrap_or(0)
}
