//! What a host does in an interval, by program and destination, in bounded memory. Not kept over a restart: the sensor tells
//! it before it stops.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::detect::Seen;
use crate::detect::beacon::label::Label;
use crate::domain::literal_address;
use crate::event::{ConnectionEvent, Phase, Totals};
use crate::net::{Transport, is_link_local, is_no_peer};
use crate::summary::{Rest, Rhythm, Summaries, Summary};
use crate::time::Timestamp;

/// Longest path of a program that is kept, in bytes: who starts a program chooses it.
const MAX_IMAGE_BYTES: usize = 4 << 10;
/// What a row takes beside its texts: itself, and its part of a node of the tree.
const BYTES_PER_ROW: usize = size_of::<Summary>() + 48;
/// Of a full table so many parts leave, the least used first, as a divisor.
const LEAVES: usize = 4;

/// Counts of one interval.
#[derive(Debug)]
pub(super) struct Tally {
    rows: BTreeMap<u128, Summary>,
    rest: Rest,
    bytes: usize,
    capacity: usize,
    since: Option<Timestamp>,
}

/// Who calls whom, as one number.
fn key(program: u64, name: &str, ip: Option<IpAddr>, port: u16, transport: Transport) -> u128 {
    let mut hash = SipHasher24::new();
    hash.write_u64(program);
    hash.write_u16(port);
    hash.write_u8(transport as u8);
    match ip {
        _ if !name.is_empty() => hash.write(name.as_bytes()),
        Some(IpAddr::V4(ip)) => hash.write(&ip.octets()),
        Some(IpAddr::V6(ip)) => hash.write(&ip.octets()),
        None => {}
    }
    hash.finish128().as_u128()
}

/// The row that a series of connections is of.
pub(super) fn key_of(label: &Label) -> u128 {
    key(label.program_key, &label.name, label.ip, label.port, label.transport)
}

fn weight(row: &Summary) -> usize {
    BYTES_PER_ROW + row.image.len() + row.sha256.len() + row.name.len() + row.registrable_domain.len()
}

/// A text that is kept, cut at a character.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_IMAGE_BYTES)).unwrap_or_default().to_owned()
}

impl Tally {
    pub(super) const fn new(memory_bytes: usize) -> Self {
        Self { rows: BTreeMap::new(), rest: NO_REST, bytes: 0, capacity: memory_bytes, since: None }
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in news of a connection.
    pub(super) fn see(&mut self, seen: &Seen<'_>, event: &ConnectionEvent<'_>) {
        let literal = literal_address(seen.name);
        let ip = literal.unwrap_or(event.tuple.remote.ip());
        let name = if literal.is_some() { "" } else { seen.name };
        if name.is_empty() && (is_no_peer(ip) || is_link_local(ip)) {
            return;
        }
        let port = match event.names.connect_port {
            0 => event.tuple.remote.port(),
            port => port,
        };
        self.since.get_or_insert(seen.time);
        let program = seen.program.map_or(0, |program| program.key);
        let key = key(program, name, Some(ip), port, event.tuple.transport);
        if !self.rows.contains_key(&key) {
            let info = seen.program.map(|program| &program.info);
            let row = Summary {
                image: info.map(|info| cut(&info.image)).unwrap_or_default(),
                sha256: info.map(|info| cut(&info.sha256)).unwrap_or_default(),
                name: name.to_owned(),
                registrable_domain: if name.is_empty() { String::new() } else { seen.registrable.to_owned() },
                port,
                transport: event.tuple.transport,
                first_seen: seen.time,
                last_seen: seen.time,
                ..Summary::default()
            };
            let weight = weight(&row);
            if self.bytes + weight > self.capacity {
                self.make_room(weight);
            }
            if self.bytes + weight > self.capacity {
                self.rest.add(&row);
                return;
            }
            self.bytes += weight;
            self.rows.insert(key, row);
        }
        let Some(row) = self.rows.get_mut(&key) else { return };
        row.first_seen = row.first_seen.min(seen.time);
        row.last_seen = row.last_seen.max(seen.time);
        row.ip = Some(ip);
        row.ja4 = event.ja4.or(row.ja4);
        match event.phase {
            Phase::Opened => row.connections += 1,
            Phase::Whole(totals) => {
                row.connections += 1;
                add(row, &totals);
            }
            Phase::Closed(totals) => add(row, &totals),
            // Their bytes come once more with the connection's end.
            Phase::Joined | Phase::Exchange { .. } | Phase::Certificate(_) => {}
        }
    }

    /// Lets the least used rows go into the rest: of equal ones those seen longest ago.
    fn make_room(&mut self, wanted: usize) {
        let goal = (self.capacity - self.capacity / LEAVES).saturating_sub(wanted);
        let mut order: Vec<_> =
            self.rows.iter().map(|(key, row)| (row.connections, row.last_seen, *key)).collect();
        order.sort_unstable();
        for (_, _, key) in order {
            if self.bytes <= goal {
                return;
            }
            if let Some(row) = self.rows.remove(&key) {
                self.bytes -= weight(&row);
                self.rest.add(&row);
            }
        }
    }

    /// Ends the interval: at most `most` rows without a score, and all that have one. `rhythms`: what was scored, by row.
    pub(super) fn take(
        &mut self,
        until: Timestamp,
        most: usize,
        rhythms: &BTreeMap<u128, Rhythm>,
    ) -> Summaries {
        let mut taken = std::mem::replace(self, Self::new(self.capacity));
        let mut rows: Vec<_> = std::mem::take(&mut taken.rows).into_iter().collect();
        rows.sort_by(|(a_key, a), (b_key, b)| b.connections.cmp(&a.connections).then(a_key.cmp(b_key)));
        let mut all =
            Summaries { since: taken.since.unwrap_or(until), until, rows: Vec::new(), rest: taken.rest };
        let mut unscored = 0;
        for (key, mut row) in rows {
            row.rhythm = rhythms.get(&key).copied();
            unscored += usize::from(row.rhythm.is_none());
            if row.rhythm.is_some() || unscored <= most {
                all.rows.push(row);
            } else {
                all.rest.add(&row);
            }
        }
        all
    }
}

/// Nothing yet.
const NO_REST: Rest = Rest { destinations: 0, connections: 0, bytes_out: 0, bytes_in: 0 };

fn add(row: &mut Summary, totals: &Totals) {
    row.bytes_out = row.bytes_out.saturating_add(totals.bytes_out.unwrap_or(0));
    row.bytes_in = row.bytes_in.saturating_add(totals.bytes_in.unwrap_or(0));
}
