//! Exchanges inside connections: the kernel tells when payload breaks a silence, and here it is told how it went once a second of
//! silence followed, the socket closed, or the next one began.
//!
//! The kernel keeps count; it is asked once a second for each exchange that is under way.

use std::collections::HashMap;

use aya::maps::{HashMap as KernelMap, MapData, MapError};
use sonde_common::conntrack::EXCHANGE_SILENCE;
use sonde_common::live::{LiveEvent, SocketNews};

use super::clock::Clock;
use super::events::socket_event;
use super::record::{Exchange, FlowKey, FlowValue, Head, exchange_of};

/// Exchanges under way at a time: as many as the kernel's map holds. A new one beyond them is not followed, but counted.
const MAX_UNDER_WAY: usize = 16_384;
const SILENCE: u64 = EXCHANGE_SILENCE.cast_unsigned();
/// An exchange that the kernel's map has lost is waited for so long: its socket's end may be in the ring.
const GONE_WAIT: u64 = 3 * SILENCE;

/// Asks the kernel how an exchange goes.
pub(super) trait Lookup {
    /// `None`: the kernel does not know it, or no longer.
    fn look_up(&self, key: &FlowKey) -> Option<Exchange>;
}

/// The kernel's own map.
pub(super) struct KernelFlows(pub(super) KernelMap<MapData, FlowKey, FlowValue>);

impl Lookup for KernelFlows {
    fn look_up(&self, key: &FlowKey) -> Option<Exchange> {
        match self.0.get(key, 0) {
            Ok(value) => Some(exchange_of(&value)),
            Err(MapError::KeyNotFound | _) => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    head: Head,
    /// When to ask again, since boot.
    due: u64,
}

/// The exchanges under way.
pub(super) struct Flows<L = KernelFlows> {
    kernel: L,
    under_way: HashMap<FlowKey, UnderWay>,
    /// No exchange is due before this.
    next: u64,
    lost: u64,
}

impl<L: Lookup> Flows<L> {
    pub(super) fn new(kernel: L) -> Self {
        Self { kernel, under_way: HashMap::new(), next: u64::MAX, lost: 0 }
    }

    /// Exchanges that could not be followed to their end.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// `head.time` begins an exchange; `before` is all of the one before it.
    pub(super) fn began(&mut self, head: Head, before: Exchange, clock: Clock, out: &mut Vec<LiveEvent>) {
        self.end(&head, before, before.last.saturating_add(SILENCE), clock, out);
        if self.under_way.len() >= MAX_UNDER_WAY {
            self.lost += 1;
            return;
        }
        let due = head.time.saturating_add(SILENCE);
        self.next = self.next.min(due);
        self.under_way.insert(head.key, UnderWay { head, due });
    }

    /// The socket closed.
    pub(super) fn closed(&mut self, head: &Head, last: Exchange, clock: Clock, out: &mut Vec<LiveEvent>) {
        self.end(head, last, head.time, clock, out);
        self.under_way.remove(&head.key);
    }

    /// Tells of exchanges that silence followed.
    pub(super) fn finish(&mut self, clock: Clock, out: &mut Vec<LiveEvent>) {
        let now = clock.since_boot;
        if now < self.next {
            return;
        }
        let mut next = u64::MAX;
        let kernel = &self.kernel;
        let lost = &mut self.lost;
        self.under_way.retain(|key, item| {
            if now >= item.due {
                match kernel.look_up(key) {
                    Some(exchange) if exchange.start == item.head.time => {
                        let over = exchange.last.saturating_add(SILENCE);
                        if over <= now {
                            push(&item.head, exchange, over, clock, out);
                            return false;
                        }
                        item.due = over;
                    }
                    // Another one began, which is in the ring with all of this one.
                    Some(_) => item.due = now,
                    None if now.saturating_sub(item.due) > GONE_WAIT => {
                        *lost += 1;
                        return false;
                    }
                    // Its socket closed, which is in the ring.
                    None => {}
                }
            }
            next = next.min(item.due);
            true
        });
        self.next = next;
    }

    fn end(&mut self, head: &Head, exchange: Exchange, time: u64, clock: Clock, out: &mut Vec<LiveEvent>) {
        if exchange.start == 0 {
            return;
        }
        // What is not under way was told already, unless nobody heard of its beginning.
        let under_way = self.under_way.get(&head.key).is_some_and(|item| item.head.time == exchange.start);
        if under_way || exchange.untold {
            push(head, exchange, time, clock, out);
            self.under_way.remove(&head.key);
        }
    }
}

fn push(head: &Head, exchange: Exchange, time: u64, clock: Clock, out: &mut Vec<LiveEvent>) {
    let news = SocketNews::Exchange {
        start: clock.wall(exchange.start),
        bytes_out: exchange.bytes_out,
        bytes_in: exchange.bytes_in,
    };
    out.push(socket_event(head, clock.wall(time), news));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use sonde_common::live::SocketEvent;
    use sonde_common::net::{FiveTuple, Transport};

    use super::*;

    #[derive(Default)]
    struct Fake(RefCell<HashMap<FlowKey, Exchange>>);

    impl Lookup for Fake {
        fn look_up(&self, key: &FlowKey) -> Option<Exchange> {
            self.0.borrow().get(key).copied()
        }
    }

    fn head(time: u64) -> Head {
        let [local, remote] = ["192.0.2.1:4000", "192.0.2.2:443"].map(|text| text.parse().unwrap());
        Head { time, cookie: 1, tuple: FiveTuple { transport: Transport::Tcp, local, remote }, key: [1; 32] }
    }

    fn exchange(start: u64, last: u64, bytes_out: u64) -> Exchange {
        Exchange { start, last, bytes_out, bytes_in: 0, untold: false }
    }

    fn at(since_boot: u64) -> Clock {
        let mut clock = Clock::now();
        clock.since_boot = since_boot;
        clock
    }

    fn told(out: &[LiveEvent]) -> Vec<u64> {
        let bytes = |event: &LiveEvent| match event {
            LiveEvent::Socket(SocketEvent { news: SocketNews::Exchange { bytes_out, .. }, .. }) => {
                Some(*bytes_out)
            }
            _ => None,
        };
        out.iter().filter_map(bytes).collect()
    }

    #[test]
    fn an_exchange_is_told_once_after_a_second_of_silence() {
        let mut flows = Flows::new(Fake::default());
        let mut out = Vec::new();
        let key = head(0).key;
        flows.began(head(10 * SILENCE), Exchange::default(), at(10 * SILENCE), &mut out);
        flows.kernel.0.borrow_mut().insert(key, exchange(10 * SILENCE, 11 * SILENCE - 1, 5));
        flows.finish(at(11 * SILENCE), &mut out);
        assert!(out.is_empty(), "still under way");
        flows.finish(at(12 * SILENCE - 2), &mut out);
        assert!(out.is_empty(), "still under way");
        flows.finish(at(12 * SILENCE), &mut out);
        assert_eq!(told(&out), [5]);
        // The next one brings it along, and the end of the socket does: it was told.
        flows.began(
            head(20 * SILENCE),
            exchange(10 * SILENCE, 11 * SILENCE - 1, 5),
            at(20 * SILENCE),
            &mut out,
        );
        flows.closed(
            &head(21 * SILENCE),
            exchange(20 * SILENCE, 20 * SILENCE, 7),
            at(21 * SILENCE),
            &mut out,
        );
        flows.closed(
            &head(21 * SILENCE),
            exchange(20 * SILENCE, 20 * SILENCE, 7),
            at(21 * SILENCE),
            &mut out,
        );
        assert_eq!(told(&out), [5, 7]);
        assert_eq!((flows.lost(), flows.under_way.len()), (0, 0));
    }

    #[test]
    fn the_next_one_ends_what_was_not_told() {
        let mut flows = Flows::new(Fake::default());
        let mut out = Vec::new();
        flows.began(head(1), Exchange::default(), at(2), &mut out);
        flows.began(head(5 * SILENCE), exchange(1, 2, 3), at(5 * SILENCE), &mut out);
        assert_eq!(told(&out), [3]);
        assert_eq!(flows.under_way.len(), 1);
    }

    #[test]
    fn one_whose_beginning_found_no_room_is_told_by_what_follows() {
        let mut flows = Flows::new(Fake::default());
        let mut out = Vec::new();
        let untold = Exchange { untold: true, ..exchange(1, 2, 3) };
        flows.began(head(5 * SILENCE), untold, at(5 * SILENCE), &mut out);
        flows.closed(&head(9 * SILENCE), Exchange { bytes_out: 4, ..untold }, at(9 * SILENCE), &mut out);
        assert_eq!(told(&out), [3, 4]);
    }

    #[test]
    fn what_the_kernel_forgot_is_counted_and_not_kept() {
        let mut flows = Flows::new(Fake::default());
        let mut out = Vec::new();
        flows.began(head(1), Exchange::default(), at(1), &mut out);
        flows.finish(at(2 * SILENCE), &mut out);
        assert_eq!((flows.lost(), flows.under_way.len()), (0, 1), "its end may be in the ring");
        flows.finish(at(9 * SILENCE), &mut out);
        assert_eq!((flows.lost(), flows.under_way.len(), out.len()), (1, 0, 0));
    }

    #[test]
    fn exchanges_under_way_are_bounded() {
        let mut flows = Flows::new(Fake::default());
        let mut out = Vec::new();
        for number in 0..=MAX_UNDER_WAY as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_ne_bytes());
            flows.began(Head { key, ..head(1) }, Exchange::default(), at(1), &mut out);
        }
        assert_eq!((flows.under_way.len(), flows.lost()), (MAX_UNDER_WAY, 1));
    }
}
