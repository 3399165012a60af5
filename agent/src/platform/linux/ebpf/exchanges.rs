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
        self.end(&head.key, before, before.last.saturating_add(SILENCE), clock, out);
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
        self.end(&head.key, last, head.time, clock, out);
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

    fn end(&mut self, key: &FlowKey, exchange: Exchange, time: u64, clock: Clock, out: &mut Vec<LiveEvent>) {
        if exchange.start == 0 {
            return;
        }
        // What is not under way was told already.
        if let Some(item) = self.under_way.get(key)
            && item.head.time == exchange.start
        {
            push(&item.head, exchange, time, clock, out);
            self.under_way.remove(key);
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
