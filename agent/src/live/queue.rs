//! Brings what several sources tell into the order of time: what came is held back for a moment, so that sources meet.
//!
//! Bounded: when more is held than the limits allow, the oldest is let go early. Nothing is lost; at worst an event comes
//! before one that happened before it.

use std::ops::ControlFlow;

use sonde_common::live::LiveEvent;
use sonde_common::time::Timestamp;

use super::layer::LivePacket;

/// Bytes of packets held at most.
const MAX_BYTES: usize = 16 << 20;
/// Things that an empty queue keeps room for.
const KEPT_ITEMS: usize = 4096;
/// Bytes of packets let go that are worth moving the others for.
const COMPACT_BYTES: usize = 1 << 20;

/// What waits, by time.
#[derive(Debug)]
pub struct Queue {
    items: Vec<Item>,
    bytes: Vec<u8>,
    sorted: bool,
    early: u64,
    capacity: usize,
}

#[derive(Debug)]
struct Item {
    time: Timestamp,
    what: What,
}

#[derive(Debug)]
enum What {
    Packet { interface: u32, at: usize, kept: usize, length: u32 },
    Event(LiveEvent),
}

/// What is next.
#[derive(Debug)]
pub enum Next<'a> {
    /// A packet.
    Packet(LivePacket<'a>),
    /// News of a socket, or a gap.
    Event(&'a LiveEvent),
}

impl Queue {
    /// An empty queue that holds at most so many things.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { items: Vec::new(), bytes: Vec::new(), sorted: true, early: 0, capacity }
    }

    /// Takes in a packet.
    pub fn packet(&mut self, packet: LivePacket<'_>) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(packet.bytes);
        let what =
            What::Packet { interface: packet.interface, at, kept: packet.bytes.len(), length: packet.length };
        self.push(packet.time, what);
    }

    /// Takes in an event.
    pub fn event(&mut self, event: LiveEvent) {
        self.push(event.time(), What::Event(event));
    }

    fn push(&mut self, time: Timestamp, what: What) {
        self.sorted &= self.items.last().is_none_or(|last| last.time <= time);
        self.items.push(Item { time, what });
    }

    /// Hands out, in order of time, what happened until then, and what there is no room to hold; `Break` leaves it and all that
    /// follows for the next time. `each` is told whether it can: what there is no room to hold is not asked for again.
    pub fn take(&mut self, until: Timestamp, each: &mut dyn FnMut(Next<'_>, bool) -> ControlFlow<()>) {
        if !self.sorted {
            // Sources tell in order for themselves, so this is a merge of a few runs; equal times keep the order they came in.
            self.items.sort_by_key(|item| item.time);
            self.sorted = true;
        }
        let over = self.items.len().saturating_sub(self.capacity);
        let crowded = self.bytes.len() > MAX_BYTES;
        let mut taken = 0;
        for item in &self.items {
            let early = taken < over || crowded;
            if item.time > until && !early {
                break;
            }
            let next = match &item.what {
                What::Event(event) => Next::Event(event),
                &What::Packet { interface, at, kept, length } => {
                    let bytes = self.bytes.get(at..at + kept).unwrap_or_default();
                    Next::Packet(LivePacket { time: item.time, interface, bytes, length })
                }
            };
            if each(next, !early).is_break() && !early {
                break;
            }
            self.early += u64::from(item.time > until);
            taken += 1;
        }
        self.items.drain(..taken);
        self.compact();
    }

    /// Gives back the room of packets that are gone.
    fn compact(&mut self) {
        if self.items.is_empty() {
            self.bytes.clear();
            // A burst should not hold its memory for ever.
            self.bytes.shrink_to(COMPACT_BYTES);
            self.items.shrink_to(KEPT_ITEMS);
            self.sorted = true;
            return;
        }
        let needed: usize = self
            .items
            .iter()
            .map(|item| if let What::Packet { kept, .. } = item.what { kept } else { 0 })
            .sum();
        if self.bytes.len() - needed < COMPACT_BYTES {
            return;
        }
        let mut bytes = Vec::with_capacity(needed);
        for item in &mut self.items {
            if let What::Packet { at, kept, .. } = &mut item.what {
                let start = bytes.len();
                bytes.extend_from_slice(self.bytes.get(*at..*at + *kept).unwrap_or_default());
                *at = start;
            }
        }
        self.bytes = bytes;
    }

    /// Things held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Things that were let go early for want of room.
    #[must_use]
    pub const fn early(&self) -> u64 {
        self.early
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::live::{Gap, GapCause};

    use super::*;

    const MAX_ITEMS: usize = 65_536;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    fn gap(ms: i64) -> LiveEvent {
        LiveEvent::Gap(Gap { since: at(ms), until: at(ms), cause: GapCause::Stalled, lost: 0 })
    }

    fn packet(ms: i64, bytes: &[u8]) -> LivePacket<'_> {
        LivePacket { time: at(ms), interface: 2, bytes, length: 1_500 }
    }

    fn take(queue: &mut Queue, until: i64) -> Vec<(i64, Vec<u8>)> {
        let mut taken = Vec::new();
        queue.take(at(until), &mut |next, _| {
            taken.push(match next {
                Next::Packet(packet) => (packet.time.nanos() / 1_000_000, packet.bytes.to_vec()),
                Next::Event(event) => (event.time().nanos() / 1_000_000, Vec::new()),
            });
            ControlFlow::Continue(())
        });
        taken
    }

    #[test]
    fn sources_meet_in_order_of_time_and_what_is_too_new_waits() {
        let mut queue = Queue::new(MAX_ITEMS);
        queue.packet(packet(30, b"c"));
        queue.packet(packet(50, b"e"));
        queue.event(gap(20));
        queue.event(gap(40));
        assert_eq!(take(&mut queue, 45), [(20, vec![]), (30, b"c".to_vec()), (40, vec![])]);
        queue.packet(packet(10, b"late"));
        assert_eq!(take(&mut queue, 60), [(10, b"late".to_vec()), (50, b"e".to_vec())]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_refused_comes_again() {
        let mut queue = Queue::new(MAX_ITEMS);
        queue.event(gap(1));
        queue.event(gap(2));
        let mut seen = 0;
        queue.take(at(9), &mut |_, may_wait| {
            assert!(may_wait);
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(take(&mut queue, 9), [(2, vec![])]);
    }

    #[test]
    fn a_flood_is_let_go_early_and_keeps_its_bytes() {
        let mut queue = Queue::new(MAX_ITEMS);
        for n in 0..65_636_i64 {
            queue.packet(packet(n, &n.to_le_bytes()));
        }
        let taken = take(&mut queue, -1);
        assert_eq!((taken.len(), queue.early()), (100, 100));
        assert_eq!(taken[99].1, 99_i64.to_le_bytes());
        assert_eq!(take(&mut queue, 100)[0].1, 100_i64.to_le_bytes());
    }

    #[test]
    fn what_there_is_no_room_to_hold_is_told_that_it_may_not_wait() {
        let mut queue = Queue::new(2);
        (0..5).for_each(|n| queue.event(gap(n)));
        let mut asked = Vec::new();
        queue.take(at(9), &mut |next, may_wait| {
            let Next::Event(event) = next else { panic!("a packet") };
            asked.push((event.time(), may_wait));
            if may_wait { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(asked, [(at(0), false), (at(1), false), (at(2), false), (at(3), true)]);
        assert_eq!(take(&mut queue, 9).len(), 2);
    }

    #[test]
    fn room_of_packets_that_are_gone_is_given_back() {
        let mut queue = Queue::new(MAX_ITEMS);
        let big = vec![7; 64 << 10];
        for n in 0..40 {
            queue.packet(packet(n, &big));
        }
        queue.packet(packet(100, b"last"));
        take(&mut queue, 50);
        assert_eq!(queue.bytes.len(), 4);
        assert_eq!(take(&mut queue, 100), [(100, b"last".to_vec())]);
    }
}
