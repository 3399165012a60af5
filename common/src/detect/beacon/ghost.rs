//! The first-sighting table: a key has to be seen twice before it costs a series.
//!
//! It remembers when a key was seen first, in 16 bytes, so that the series that follows loses no interval. A flood of
//! one-shot keys washes through this table and leaves the series alone (scorer specification 2.6). Keys are full
//! 64-bit keyed hashes: there is no tag to collide, and nobody outside can aim at a set.

use crate::time::Timestamp;

/// Entries of a set: the oldest of these leaves when a key more comes (scorer specification 2.6).
const WAYS: usize = 16;
/// Sets at the start; the table doubles from here as sets overflow.
const INITIAL_SETS: usize = 64;
/// Bytes of one set.
const SET_BYTES: usize = WAYS * size_of::<Entry>();

/// A key seen once, and when. Free places have the time [`FREE`].
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    nanos: i64,
}

/// Time of a free place: older than all others, so a free place is also the oldest of its set.
const FREE: i64 = i64::MIN;
const FREE_ENTRY: Entry = Entry { hash: 0, nanos: FREE };

/// Keys that were seen once.
#[derive(Clone, Debug)]
pub struct GhostTable {
    /// Sets of [`WAYS`] entries one after the other; the number of sets is a power of two.
    entries: Vec<Entry>,
    max_sets: usize,
    len: usize,
    sightings: u64,
    evicted: u64,
}

impl GhostTable {
    /// A table of at most `capacity_bytes`, rounded down to a power of two of 256-byte sets, but at least one set. It
    /// starts small and doubles up to that as sets overflow.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Self {
        let max_sets = max_sets(capacity_bytes);
        let entries = vec![FREE_ENTRY; max_sets.min(INITIAL_SETS) * WAYS];
        Self { entries, max_sets, len: 0, sightings: 0, evicted: 0 }
    }

    /// Notes that a key was seen at `time`. `None`: for the first time, and it is now remembered. `Some`: for the
    /// second time; the value is when it was first, and the key is forgotten.
    pub fn sight(&mut self, hash: u64, time: Timestamp) -> Option<Timestamp> {
        if let Some(entry) = self.set(hash).iter_mut().find(|entry| entry.hash == hash && entry.nanos != FREE)
        {
            let first = Timestamp::from_nanos(entry.nanos);
            *entry = FREE_ENTRY;
            self.len -= 1;
            return Some(first);
        }
        self.sightings += 1;
        while self.sets() < self.max_sets && self.set(hash).iter().all(|entry| entry.nanos != FREE) {
            self.double();
        }
        if let Some(oldest) = self.set(hash).iter_mut().min_by_key(|entry| entry.nanos) {
            let was_free = oldest.nanos == FREE;
            *oldest = Entry { hash, nanos: time.nanos().max(FREE + 1) };
            if was_free {
                self.len += 1;
            } else {
                self.evicted += 1;
            }
        }
        None
    }

    /// The set that a key belongs to.
    fn set(&mut self, hash: u64) -> &mut [Entry] {
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits choose the set")]
        let start = (hash as usize & (self.sets() - 1)) * WAYS;
        self.entries.get_mut(start..start + WAYS).unwrap_or_default()
    }

    const fn sets(&self) -> usize {
        self.entries.len() / WAYS
    }

    /// Twice as many sets: one more bit of the hash counts, so each entry stays or moves to its set's new twin.
    fn double(&mut self) {
        let bit = self.sets();
        self.entries.reserve_exact(self.entries.len());
        self.entries.resize(self.entries.len() * 2, FREE_ENTRY);
        let (old, new) = self.entries.split_at_mut(bit * WAYS);
        for (old, new) in old.iter_mut().zip(new) {
            #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits choose the set")]
            let moves = old.hash as usize & bit != 0;
            if moves {
                *new = std::mem::replace(old, FREE_ENTRY);
            }
        }
    }

    /// Half as many sets: of each set and its twin the newest entries stay.
    fn halve(&mut self) {
        let half = self.entries.len() / 2;
        let (low, high) = self.entries.split_at_mut(half);
        for (low, high) in low.chunks_exact_mut(WAYS).zip(high.chunks_exact_mut(WAYS)) {
            low.sort_unstable_by_key(|entry| (entry.nanos, entry.hash));
            high.sort_unstable_by_key(|entry| (std::cmp::Reverse(entry.nanos), entry.hash));
            // Oldest of the one against newest of the other: the larger of each pair are the 16 newest of all.
            for (low, high) in low.iter_mut().zip(high) {
                if low.nanos != FREE && high.nanos != FREE {
                    self.evicted += 1;
                    self.len -= 1;
                }
                if high.nanos > low.nanos {
                    *low = *high;
                }
            }
        }
        self.entries.truncate(half);
    }

    /// Changes the capacity (see [`new`](Self::new)). When it falls, the oldest keys leave.
    pub fn set_capacity(&mut self, capacity_bytes: usize) {
        self.max_sets = max_sets(capacity_bytes);
        if self.sets() > self.max_sets {
            while self.sets() > self.max_sets {
                self.halve();
            }
            self.entries.shrink_to_fit();
        }
    }

    /// Sets, first sightings and evictions so far.
    pub(super) const fn progress(&self) -> (usize, u64, u64) {
        (self.sets(), self.sightings, self.evicted)
    }

    /// Goes on from there, with as many sets as then, if there is room for them. For an empty table.
    pub(super) fn go_on(&mut self, (sets, sightings, evicted): (usize, u64, u64)) {
        let sets = sets.min(self.max_sets).max(self.sets());
        if sets.is_power_of_two() {
            self.entries = vec![FREE_ENTRY; sets * WAYS];
            self.len = 0;
        }
        self.sightings = self.sightings.saturating_add(sightings);
        self.evicted = self.evicted.saturating_add(evicted);
    }

    /// All keys with their places.
    pub(super) fn saved(&self) -> impl Iterator<Item = (usize, u64, i64)> {
        let taken = self.entries.iter().enumerate().filter(|(_, entry)| entry.nanos != FREE);
        taken.map(|(place, entry)| (place, entry.hash, entry.nanos))
    }

    /// Puts back a key: where it was, if that place is its own and free, else over the oldest of its set.
    pub(super) fn put_back(&mut self, place: usize, hash: u64, nanos: i64) {
        let entry = Entry { hash, nanos: nanos.max(FREE + 1) };
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits choose the set")]
        let its_own = place / WAYS == hash as usize & (self.sets() - 1);
        if let Some(free) = self.entries.get_mut(place).filter(|place| its_own && place.nanos == FREE) {
            *free = entry;
            self.len += 1;
        } else if let Some(oldest) = self.set(hash).iter_mut().min_by_key(|entry| entry.nanos)
            && oldest.nanos < entry.nanos
        {
            let was_free = oldest.nanos == FREE;
            *oldest = entry;
            if was_free {
                self.len += 1;
            } else {
                self.evicted += 1;
            }
        }
    }

    /// Moves all times, when the clock was set.
    pub fn shift(&mut self, nanos: i64) {
        for entry in self.entries.iter_mut().filter(|entry| entry.nanos != FREE) {
            entry.nanos = entry.nanos.saturating_add(nanos).max(FREE + 1);
        }
    }

    /// Keys remembered now.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no key is remembered now.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// First sightings so far.
    #[must_use]
    pub const fn sightings(&self) -> u64 {
        self.sightings
    }

    /// Keys that had to leave before they were seen again.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes in use now.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

fn max_sets(capacity_bytes: usize) -> usize {
    1 << (capacity_bytes / SET_BYTES).max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs_nanos(secs.cast_signed(), 0)
    }

    /// Spreads small numbers over all bits, as the keyed hash does (the finaliser of SplitMix64).
    fn hash(key: u64) -> u64 {
        let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Looks without the side effects of a sighting.
    fn holds(ghost: &mut GhostTable, key: u64) -> bool {
        ghost.set(hash(key)).iter().any(|entry| entry.hash == hash(key) && entry.nanos == at(key).nanos())
    }

    #[test]
    fn second_sighting_tells_the_first_and_forgets_it() {
        let mut ghost = GhostTable::new(1 << 20);
        assert_eq!(ghost.sight(7, at(10)), None);
        assert_eq!(ghost.sight(0, at(11)), None, "zero is a hash like any other");
        assert_eq!(ghost.sight(7, at(70)), Some(at(10)));
        assert_eq!(ghost.sight(0, at(71)), Some(at(11)));
        assert_eq!(ghost.sight(7, at(130)), None);
        assert_eq!((ghost.len(), ghost.sightings(), ghost.evicted()), (1, 3, 0));
    }

    #[test]
    fn grows_from_small_to_its_capacity_and_not_beyond() {
        let mut ghost = GhostTable::new((256 << 10) + 300);
        assert_eq!(ghost.memory_bytes(), 64 * 256);
        for key in 0..100_000 {
            ghost.sight(hash(key), at(key));
        }
        assert_eq!(ghost.memory_bytes(), 256 << 10);
        assert_eq!(ghost.len(), (256 << 10) / 16, "full");
        assert_eq!(ghost.evicted(), 100_000 - ghost.len() as u64);
        // The oldest of a set leave first, so nearly all of the latest half of its capacity is still there.
        let kept = (92_000..100_000).filter(|&key| holds(&mut ghost, key)).count();
        assert!(kept >= 7950, "{kept} of 8000");
        let old = (0..50_000).filter(|&key| holds(&mut ghost, key)).count();
        assert_eq!(old, 0);
    }

    #[test]
    fn nothing_is_lost_while_it_grows() {
        let mut ghost = GhostTable::new(4 << 20);
        for key in 0..20_000 {
            assert_eq!(ghost.sight(hash(key), at(key)), None);
        }
        assert_eq!(ghost.evicted(), 0);
        for key in 0..20_000 {
            assert_eq!(ghost.sight(hash(key), at(0)), Some(at(key)));
        }
        assert!(ghost.is_empty());
    }

    #[test]
    fn shrinking_keeps_the_newest() {
        let mut ghost = GhostTable::new(1 << 20);
        for key in 0..20_000 {
            ghost.sight(hash(key), at(key));
        }
        ghost.set_capacity(64 << 10);
        assert_eq!((ghost.memory_bytes(), ghost.len()), (64 << 10, 4096));
        assert_eq!(ghost.evicted(), 20_000 - 4096);
        let kept = (18_000..20_000).filter(|&key| holds(&mut ghost, key)).count();
        assert_eq!(kept, 2000);
        ghost.set_capacity(0);
        assert_eq!(ghost.memory_bytes(), 256, "one set is the least");
    }

    proptest! {
        #[test]
        fn below_its_capacity_it_is_a_map(events in prop::collection::vec((0u64..300, any::<i64>()), 0..600)) {
            let mut ghost = GhostTable::new(1 << 20);
            let mut model = HashMap::new();
            for (key, nanos) in events {
                let time = Timestamp::from_nanos(nanos.max(FREE + 1));
                let known = model.remove(&key);
                if known.is_none() {
                    model.insert(key, time);
                }
                prop_assert_eq!(ghost.sight(hash(key), time), known);
                prop_assert_eq!(ghost.len(), model.len());
            }
        }
    }
}
