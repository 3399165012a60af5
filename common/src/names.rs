//! Passive DNS: the name by which this host last came to an address.
//!
//! Bounded by number and by weight; when full, of a few neighbours the one learnt longest ago goes, and is counted.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::time::Timestamp;

/// Neighbouring entries compared to find one to evict.
const EVICTION_SAMPLE: u32 = 8;
/// What an entry is taken to weigh: two names of common length and the entry itself.
const BYTES_PER_ENTRY: usize = 192;
/// Names remembered per address: those of a shared one alternate.
const MAX_NAMES: usize = 4;

/// Address -> name.
#[derive(Debug)]
pub struct PassiveNames {
    entries: Vec<Entry>,
    index: HashTable<u32>,
    hasher: RandomState,
    capacity: u32,
    /// What all entries weigh, and may weigh.
    bytes: usize,
    memory_bytes: usize,
    hand: u32,
    evicted: u64,
}

#[derive(Debug)]
struct Entry {
    ip: IpAddr,
    /// Latest answer that led here.
    used: Timestamp,
    /// Latest names and when each began to hold, oldest first: a connection keeps the name that held when it began.
    names: Vec<(Timestamp, String)>,
}

impl PassiveNames {
    /// A table that takes about `memory_bytes`.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        Self {
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            capacity: capacity(memory_bytes),
            bytes: 0,
            memory_bytes,
            hand: 0,
            evicted: 0,
        }
    }

    /// Changes what the table may take; what no longer fits leaves by the same rule.
    pub fn set_memory(&mut self, memory_bytes: usize) {
        self.memory_bytes = memory_bytes;
        self.capacity = capacity(memory_bytes);
        self.make_room();
        self.entries.shrink_to(self.capacity as usize);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.shrink_to(entries.len(), |&at| {
            entries.get(at as usize).map_or(0, |entry| hasher.hash_one(entry.ip))
        });
    }

    /// Names may be longer than is common, and an address may have several.
    fn make_room(&mut self) {
        while self.entries.len() > self.capacity as usize || self.bytes > self.memory_bytes {
            if self.entries.is_empty() {
                return;
            }
            let at = self.victim();
            self.remove(at);
        }
    }

    /// Remembers that `name` led to `ip` at `time`.
    pub fn learn(&mut self, ip: IpAddr, name: &str, time: Timestamp) {
        if let Some(at) = self.find(ip) {
            let Some(entry) = self.entries.get_mut(at as usize) else { return };
            let before = entry.weight();
            entry.used = entry.used.max(time);
            if entry.names.last().is_none_or(|(_, last)| last != name) {
                if entry.names.len() >= MAX_NAMES {
                    entry.names.remove(0);
                }
                entry.names.push((time, name.to_owned()));
            }
            self.bytes = self.bytes - before + entry.weight();
            self.make_room();
            return;
        }
        self.push(Entry { ip, used: time, names: vec![(time, name.to_owned())] });
    }

    /// Puts in an address that has no entry.
    fn push(&mut self, entry: Entry) {
        let ip = entry.ip;
        if self.entries.len() >= self.capacity as usize {
            let victim = self.victim();
            self.remove(victim);
        }
        self.bytes += entry.weight();
        let at = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(entry);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hasher.hash_one(ip), at, |&at| {
            entries.get(at as usize).map_or(0, |entry| hasher.hash_one(entry.ip))
        });
        self.make_room();
    }

    /// The name by which a connection that began at `start` came to `ip`; empty if none is known.
    #[must_use]
    pub fn name(&self, ip: IpAddr, start: Timestamp) -> &str {
        let entry = self.find(ip).and_then(|at| self.entries.get(at as usize));
        let held = |(since, _): &&(Timestamp, String)| *since <= start;
        entry.and_then(|entry| entry.names.iter().rev().find(held)).map_or("", |(_, name)| name)
    }

    /// All that is known: each address, when it was last led to, and its names since when.
    pub(crate) fn saved(&self) -> impl ExactSizeIterator<Item = (IpAddr, Timestamp, &[(Timestamp, String)])> {
        self.entries.iter().map(|entry| (entry.ip, entry.used, entry.names.as_slice()))
    }

    /// Puts back an address as it was saved. The entry that has to leave for it, if any, is the one that would.
    pub(crate) fn put_back(&mut self, ip: IpAddr, used: Timestamp, mut names: Vec<(Timestamp, String)>) {
        names.truncate(MAX_NAMES);
        names.reserve_exact(if names.len() == 1 { 0 } else { MAX_NAMES - names.len() });
        if !names.is_empty() && self.find(ip).is_none() {
            self.push(Entry { ip, used, names });
        }
    }

    /// Where the search for the next to leave goes on, and how many left so far.
    pub(crate) const fn progress(&self) -> (u32, u64) {
        (self.hand, self.evicted)
    }

    /// Goes on from there.
    pub(crate) fn go_on(&mut self, (hand, evicted): (u32, u64)) {
        self.hand = hand;
        self.evicted = self.evicted.saturating_add(evicted);
    }

    /// Moves all times, when the clock was set.
    pub fn shift(&mut self, nanos: i64) {
        for entry in &mut self.entries {
            entry.used = entry.used.plus_nanos(nanos);
            for (since, _) in &mut entry.names {
                *since = since.plus_nanos(nanos);
            }
        }
    }

    /// Addresses forgotten because the table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Memory held, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        let spare = self.entries.capacity() - self.entries.len();
        self.bytes + spare * size_of::<Entry>()
    }

    fn find(&self, ip: IpAddr) -> Option<u32> {
        let same = |&at: &u32| self.entries.get(at as usize).is_some_and(|entry| entry.ip == ip);
        self.index.find(self.hasher.hash_one(ip), same).copied()
    }

    fn victim(&mut self) -> u32 {
        let mut oldest = (Timestamp::MAX, 0);
        for _ in 0..EVICTION_SAMPLE {
            self.hand =
                self.hand.wrapping_add(1) % u32::try_from(self.entries.len()).unwrap_or(u32::MAX).max(1);
            if let Some(entry) = self.entries.get(self.hand as usize) {
                oldest = oldest.min((entry.used, self.hand));
            }
        }
        oldest.1
    }

    /// Takes an entry out; the last one moves to its place.
    fn remove(&mut self, at: u32) {
        let Some(last) = self.entries.len().checked_sub(1).and_then(|last| u32::try_from(last).ok()) else {
            return;
        };
        let hash_at = |at: u32| self.entries.get(at as usize).map(|entry| self.hasher.hash_one(entry.ip));
        let (Some(hash), Some(last_hash)) = (hash_at(at), hash_at(last)) else { return };
        if let Ok(found) = self.index.find_entry(hash, |&other| other == at) {
            found.remove();
        }
        if at != last
            && let Some(moved) = self.index.find_mut(last_hash, |&other| other == last)
        {
            *moved = at;
        }
        self.bytes -= self.entries.swap_remove(at as usize).weight();
        self.evicted += 1;
    }
}

impl Entry {
    /// What it takes, its place in the index included.
    fn weight(&self) -> usize {
        let texts: usize = self.names.iter().map(|(_, name)| name.capacity()).sum();
        size_of::<Self>() + 8 + self.names.capacity() * size_of::<(Timestamp, String)>() + texts
    }
}

fn capacity(memory_bytes: usize) -> u32 {
    u32::try_from(memory_bytes / BYTES_PER_ENTRY).unwrap_or(u32::MAX).max(EVICTION_SAMPLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs_nanos(secs, 0)
    }

    #[test]
    fn a_connection_keeps_the_name_that_held_when_it_began() {
        let ip = "198.51.100.7".parse().unwrap();
        let mut names = PassiveNames::new(1 << 20);
        assert_eq!(names.name(ip, at(0)), "");
        names.learn(ip, "a.example", at(10));
        names.learn(ip, "a.example", at(15));
        names.learn(ip, "b.example", at(20));
        assert_eq!(names.name(ip, at(12)), "a.example");
        assert_eq!(names.name(ip, at(20)), "b.example");
    }

    #[test]
    fn a_flood_of_answers_stays_within_the_table() {
        let mut names = PassiveNames::new(64 * BYTES_PER_ENTRY);
        for number in 0..10_000u32 {
            names.learn(IpAddr::V4(number.into()), "flood.example", at(i64::from(number)));
        }
        assert_eq!((names.entries.len(), names.index.len(), names.evicted()), (64, 64, 10_000 - 64));
        assert_eq!(names.name(IpAddr::V4(9_999.into()), at(20_000)), "flood.example");
    }

    #[test]
    fn a_smaller_table_keeps_what_was_learnt_last() {
        let mut names = PassiveNames::new(64 * BYTES_PER_ENTRY);
        for number in 0..64u32 {
            names.learn(IpAddr::V4(number.into()), "a.example", at(i64::from(number)));
        }
        names.set_memory(16 * BYTES_PER_ENTRY);
        assert_eq!((names.entries.len(), names.index.len(), names.evicted()), (16, 16, 48));
        let known = |number: u32| !names.name(IpAddr::V4(number.into()), at(100)).is_empty();
        let (old, new) = ((0..32).filter(|&ip| known(ip)).count(), (32..64).filter(|&ip| known(ip)).count());
        assert_eq!(old + new, 16);
        assert!(new > old, "{old} old, {new} new");
        names.learn(IpAddr::V4(99.into()), "b.example", at(99));
        assert_eq!(names.name(IpAddr::V4(99.into()), at(100)), "b.example");
    }

    #[test]
    fn long_and_alternating_names_stay_within_the_budget() {
        let mut names = PassiveNames::new(100_000);
        for round in 0..8u32 {
            for number in 0..2_000u32 {
                let name = format!("{round}.{}.example", "l".repeat(240));
                names.learn(IpAddr::V4(number.into()), &name, at(i64::from(round)));
            }
        }
        let texts: usize =
            names.entries.iter().flat_map(|entry| &entry.names).map(|(_, name)| name.capacity()).sum();
        assert!(texts > 50_000 && texts <= 100_000, "{texts}");
        assert_eq!(names.bytes, names.entries.iter().map(Entry::weight).sum::<usize>());
        assert_eq!(names.index.len(), names.entries.len());
        for (place, entry) in names.entries.iter().enumerate() {
            assert_eq!(names.find(entry.ip), u32::try_from(place).ok());
        }
    }
}
