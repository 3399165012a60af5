//! Passive DNS: the name by which this host last came to an address.
//!
//! Bounded: at most `capacity` addresses; when full, of a few neighbours the one learnt longest ago goes, and is counted.

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
            hand: 0,
            evicted: 0,
        }
    }

    /// Changes what the table may take; what no longer fits is what was learnt longest ago.
    pub fn set_memory(&mut self, memory_bytes: usize) {
        self.capacity = capacity(memory_bytes);
        let Some(excess) =
            self.entries.len().checked_sub(self.capacity as usize).filter(|&excess| excess > 0)
        else {
            return;
        };
        self.evicted += excess as u64;
        self.entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        self.entries.truncate(self.capacity as usize);
        self.entries.shrink_to_fit();
        self.index.clear();
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |at: u32| entries.get(at as usize).map_or(0, |entry| hasher.hash_one(entry.ip));
        self.index.shrink_to(entries.len(), |&at| hash(at));
        for at in (0..self.capacity).take(entries.len()) {
            self.index.insert_unique(hash(at), at, |&at| hash(at));
        }
    }

    /// Remembers that `name` led to `ip` at `time`.
    pub fn learn(&mut self, ip: IpAddr, name: &str, time: Timestamp) {
        if let Some(at) = self.find(ip) {
            let Some(entry) = self.entries.get_mut(at as usize) else { return };
            entry.used = entry.used.max(time);
            if entry.names.last().is_none_or(|(_, last)| last != name) {
                // The text of the name that leaves is used again.
                let mut text =
                    if entry.names.len() < MAX_NAMES { String::new() } else { entry.names.remove(0).1 };
                text.clear();
                text.push_str(name);
                entry.names.push((time, text));
            }
            return;
        }
        let entry = Entry { ip, used: time, names: vec![(time, name.to_owned())] };
        let at = if self.entries.len() < self.capacity as usize {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        } else {
            let at = self.victim();
            self.forget(at);
            if let Some(place) = self.entries.get_mut(at as usize) {
                *place = entry;
            }
            at
        };
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hasher.hash_one(ip), at, |&at| {
            entries.get(at as usize).map_or(0, |entry| hasher.hash_one(entry.ip))
        });
    }

    /// The name by which a connection that began at `start` came to `ip`; empty if none is known.
    #[must_use]
    pub fn name(&self, ip: IpAddr, start: Timestamp) -> &str {
        let entry = self.find(ip).and_then(|at| self.entries.get(at as usize));
        let held = |(since, _): &&(Timestamp, String)| *since <= start;
        entry.and_then(|entry| entry.names.iter().rev().find(held)).map_or("", |(_, name)| name)
    }

    /// Addresses forgotten because the table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let text: usize = self
            .entries
            .iter()
            .map(|entry| entry.names.iter().map(|(_, name)| name.capacity() + 32).sum::<usize>())
            .sum();
        self.entries.capacity() * size_of::<Entry>() + self.index.capacity() * 5 + text
    }

    fn find(&self, ip: IpAddr) -> Option<u32> {
        let same = |&at: &u32| self.entries.get(at as usize).is_some_and(|entry| entry.ip == ip);
        self.index.find(self.hasher.hash_one(ip), same).copied()
    }

    fn victim(&mut self) -> u32 {
        let mut oldest = (Timestamp::MAX, 0);
        for _ in 0..EVICTION_SAMPLE {
            self.hand = (self.hand + 1) % self.capacity;
            if let Some(entry) = self.entries.get(self.hand as usize) {
                oldest = oldest.min((entry.used, self.hand));
            }
        }
        oldest.1
    }

    fn forget(&mut self, at: u32) {
        let Some(entry) = self.entries.get(at as usize) else { return };
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(entry.ip), |&other| other == at) {
            found.remove();
            self.evicted += 1;
        }
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
        for number in 0..64u32 {
            let known = !names.name(IpAddr::V4(number.into()), at(100)).is_empty();
            assert_eq!(known, number >= 48, "{number}");
        }
        names.learn(IpAddr::V4(99.into()), "b.example", at(99));
        assert_eq!(names.name(IpAddr::V4(99.into()), at(100)), "b.example");
    }
}
