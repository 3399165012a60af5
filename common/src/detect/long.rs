//! Long connections: one connection to the outside that stays open for hours, told of while it is still open.
//!
//! Many things keep a connection for a day: push services, VPNs, ssh. So the time it is open for is worth less than what a
//! rhythm is worth, and program and destination have to speak against it. The hours are RITA's (its default thresholds
//! are 1, 4, 8 and 12 hours); the points are judgement, and docs/detection.md says what they were held against.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hashbrown::HashMap;

use super::surroundings::Parties;
use super::{Detector, Finding, Host, Seen, What};
use crate::alert::{Class, Evidence, ScorePart};
use crate::event::{ConnectionEvent, Phase, Totals};
use crate::human;
use crate::net::{FiveTuple, Transport};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// A connection that is open for so long is long.
const LONG: i64 = 4 * 3_600 * NANOS_PER_SEC;
/// Points for it…
const POINTS: f64 = 8.5;
/// …and for twice the time. A signed program with a connection to a new, bare address (2.0 and 1.0 points: ssh, a VPN)
/// stays below an alert even so.
const POINTS_TWICE: f64 = 0.5;
/// Sent at least so much…
const UPLOAD_BYTES: u64 = 1 << 20;
/// …and so many times what came back: it carries data out.
const UPLOAD_RATIO: u64 = 4;
/// Points for that.
const UPLOAD_POINTS: f64 = 0.5;
/// What an open connection takes beside its parties: itself, and its places in both lists.
const BYTES_PER_CONNECTION: usize = size_of::<Open>() + 2 * size_of::<Key>() + 96;

/// A connection as both lists have it.
type Key = (u8, SocketAddr, SocketAddr);

/// One that is open.
#[derive(Debug)]
struct Open {
    start: Timestamp,
    /// When it is to be looked at next.
    due: Timestamp,
    /// When it ends, where its source told so before the time had come.
    closes: Option<Timestamp>,
    bytes_out: u64,
    bytes_in: u64,
    parties: Parties,
    weight: usize,
}

/// Watches what stays open.
#[derive(Debug, Default)]
pub(super) struct LongConnections {
    open: HashMap<Key, Open, foldhash::fast::RandomState>,
    due: BTreeSet<(Timestamp, Key)>,
    /// Nothing is due before; looked at with every event, where the list would be read from its root to its first leaf.
    next: Timestamp,
    bytes: usize,
    capacity: usize,
    refused: u64,
}

const fn key(tuple: &FiveTuple) -> Key {
    (tuple.transport as u8, tuple.local, tuple.remote)
}

impl LongConnections {
    /// Follows a connection from its start. Where there is no room the newcomer is let go of, and counted: one that is
    /// open for long must not leave for a flood of others.
    fn follow(&mut self, seen: &Seen<'_>, event: &ConnectionEvent<'_>, whole: Option<Totals>) {
        let key = key(&event.tuple);
        self.forget(key);
        if self.bytes >= self.capacity {
            self.refused += 1;
            return;
        }
        let Some(parties) = Parties::of(seen, event) else { return };
        let weight = BYTES_PER_CONNECTION + parties.heap_bytes();
        if self.bytes + weight > self.capacity {
            self.refused += 1;
            return;
        }
        let due = event.start.plus_nanos(LONG);
        self.bytes += weight;
        self.insert_due(due, key);
        let open = Open {
            start: event.start,
            due,
            closes: whole.map(|totals| totals.end),
            bytes_out: whole.and_then(|totals| totals.bytes_out).unwrap_or(0),
            bytes_in: whole.and_then(|totals| totals.bytes_in).unwrap_or(0),
            parties,
            weight,
        };
        self.open.insert(key, open);
    }

    fn forget(&mut self, key: Key) -> Option<Open> {
        let open = self.open.remove(&key)?;
        self.due.remove(&(open.due, key));
        self.bytes -= open.weight;
        Some(open)
    }

    fn insert_due(&mut self, due: Timestamp, key: Key) {
        self.due.insert((due, key));
        self.next = self.next.min(due);
    }

    /// Tells of all that are due, and looks at each again once its time has doubled.
    fn tell_due(&mut self, now: Timestamp, host: &dyn Host, found: &mut dyn FnMut(Finding)) {
        if now < self.next {
            return;
        }
        while let Some(&(_, key)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            let Some(open) = self.open.get_mut(&key) else { continue };
            if let Some(end) = open.closes.filter(|end| *end <= now) {
                found(finding(open, end, true, host));
                self.forget(key);
                continue;
            }
            let lived = now.since(open.start).max(1);
            found(finding(open, now, false, host));
            // Never now: it would be told of without end.
            let next = open.start.plus_nanos(lived.saturating_mul(2)).max(now.plus_nanos(LONG));
            open.due = open.closes.map_or(next, |end| end.min(next));
            self.due.insert((open.due, key));
        }
        self.next = self.due.first().map_or(Timestamp::MAX, |(due, _)| *due);
    }
}

/// What there is to tell of a connection that is open for long, or was.
fn finding(open: &Open, until: Timestamp, closed: bool, host: &dyn Host) -> Finding {
    let Open { start, bytes_out, bytes_in, parties, .. } = open;
    let lived = until.since(*start);
    let twice = if lived >= 2 * LONG { POINTS_TWICE } else { 0.0 };
    let span = human::span(u64::try_from(lived / NANOS_PER_SEC).unwrap_or(0));
    let upload = *bytes_out >= UPLOAD_BYTES && *bytes_out / UPLOAD_RATIO >= *bytes_in;
    let (points, what) = if upload { (UPLOAD_POINTS, ", and mostly sends") } else { (0.0, "") };
    let counted = ScorePart {
        name: "duration".into(),
        points: POINTS + twice + points,
        detail: format!("one connection is open for {span}{what}"),
    };
    let carried = if *bytes_out == 0 && *bytes_in == 0 {
        String::new()
    } else {
        format!(" ({} sent, {} received)", human::bytes(*bytes_out), human::bytes(*bytes_in))
    };
    let sentence = if closed {
        format!("{} kept one connection to {} open for {span}{carried}.", parties.caller(), parties.whom())
    } else {
        format!(
            "{} keeps one connection to {} open, for {span} so far{carried}.",
            parties.caller(),
            parties.whom()
        )
    };
    let evidence = Evidence {
        callbacks: 1,
        first_seen: *start,
        last_seen: until,
        bytes_out: *bytes_out,
        bytes_in: *bytes_in,
        ..Evidence::default()
    };
    parties.finding(Class::LongConnection, counted, sentence, evidence, host)
}

impl Detector for LongConnections {
    fn name(&self) -> &'static str {
        "long_connection"
    }

    fn class(&self) -> Class {
        Class::LongConnection
    }

    fn observe(&mut self, seen: &Seen<'_>, host: &dyn Host, found: &mut dyn FnMut(Finding)) {
        self.tell_due(seen.time, host, found);
        let What::Connection(event) = seen.what else { return };
        // Echoes have no connection that could be open.
        if event.tuple.transport == Transport::Icmp {
            return;
        }
        match event.phase {
            Phase::Opened => self.follow(seen, event, None),
            // It was told of before the sensor lost sight of it.
            Phase::Joined if self.open.contains_key(&key(&event.tuple)) => {}
            Phase::Joined => self.follow(seen, event, None),
            Phase::Certificate(_) => {}
            Phase::Exchange { bytes_out, bytes_in, .. } => {
                if let Some(open) = self.open.get_mut(&key(&event.tuple)) {
                    open.bytes_out = open.bytes_out.saturating_add(bytes_out);
                    open.bytes_in = open.bytes_in.saturating_add(bytes_in);
                    open.parties.complete(event.protocol, event.ja4);
                }
            }
            Phase::Closed(totals) => {
                let Some(mut open) = self.forget(key(&event.tuple)) else { return };
                if totals.end.since(open.start) >= LONG {
                    open.bytes_out = totals.bytes_out.unwrap_or(open.bytes_out);
                    open.bytes_in = totals.bytes_in.unwrap_or(open.bytes_in);
                    found(finding(&open, totals.end, true, host));
                }
            }
            Phase::Whole(totals) => {
                if totals.end.since(event.start) < LONG {
                    return;
                }
                // Some sources tell at its start how a connection will have gone: what is to come is no news yet.
                if totals.end > seen.time {
                    return self.follow(seen, event, Some(totals));
                }
                let Some(parties) = Parties::of(seen, event) else { return };
                let open = Open {
                    start: event.start,
                    due: event.start,
                    closes: Some(totals.end),
                    bytes_out: totals.bytes_out.unwrap_or(0),
                    bytes_in: totals.bytes_in.unwrap_or(0),
                    parties,
                    weight: 0,
                };
                found(finding(&open, totals.end, true, host));
            }
        }
    }

    /// What is over the budget leaves youngest first.
    fn set_memory(&mut self, memory_bytes: usize) {
        self.capacity = memory_bytes;
        if self.bytes <= memory_bytes {
            return;
        }
        let mut all: Vec<_> = self.open.iter().map(|(key, open)| (open.start, *key)).collect();
        all.sort_unstable();
        while self.bytes > self.capacity
            && let Some((_, key)) = all.pop()
        {
            self.forget(key);
            self.refused += 1;
        }
        self.open.shrink_to_fit();
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn evicted(&self) -> u64 {
        self.refused
    }

    fn shift(&mut self, nanos: i64) {
        self.due.clear();
        // The order of a map does not matter here: the list of what is due has its own.
        for (key, open) in &mut self.open {
            open.start = open.start.plus_nanos(nanos);
            open.due = open.due.plus_nanos(nanos);
            self.due.insert((open.due, *key));
        }
        self.next = self.due.first().map_or(Timestamp::MAX, |(due, _)| *due);
    }

    /// Only the books: what is open is found anew when a sensor begins, and long again four hours later.
    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.refused).unwrap_or_default()
    }

    fn restore(&mut self, bytes: &[u8]) -> bool {
        let refused: Result<u64, _> = postcard::from_bytes(bytes);
        refused.map(|refused| self.refused = refused).is_ok()
    }
}
