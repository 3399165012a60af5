//! All series of one kind in bounded memory: found by the hash of their key, evicted by value.
//!
//! A key is known only by its 64-bit keyed hash. Two keys with the same hash are one series under the label of the
//! first: with 50,000 keys that happens to one host in ten billion, and nobody without the hash key can bring it about.
//! Nothing here depends on the clock, on addresses in memory or on a random seed: the same calls give the same table.

use hashbrown::HashTable;

use super::ghost::GhostTable;
use super::series::Series;
use crate::time::Timestamp;

/// Series drawn for an eviction, of which the least valuable leaves (scorer specification 2.6).
const CANDIDATES: usize = 8;
/// Places reserved when the first series comes; doubled from there as more come.
const INITIAL_SLOTS: usize = 64;
/// Start of the eviction draws: any constant but zero, which xorshift never leaves (SplitMix64's increment).
const DRAW_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Place of a series in its table. It holds until the next [`remove`](SeriesTable::remove),
/// [`set_capacity`](SeriesTable::set_capacity), [`insert`](SeriesTable::insert) or [`entry`](SeriesTable::entry); what
/// holds for longer is the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// What became of a key that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission<L> {
    /// Seen for the first time: only remembered, no series yet.
    Remembered,
    /// Seen for the second time: the series is new, with the first sighting as its first check-in and the default
    /// label. The event at hand still has to be observed.
    Created {
        /// Where it is.
        slot: Slot,
        /// Label of the series that had to leave for it.
        evicted: Option<L>,
    },
    /// It has a series already.
    Existing {
        /// Where it is.
        slot: Slot,
    },
}

/// Series and their labels `L`: whatever the owner needs to know of a key that is not needed at every event.
#[derive(Clone, Debug)]
pub struct SeriesTable<L> {
    index: HashTable<u32>,
    /// Three columns of one dense slab; labels are apart, as they are read only when a series is evaluated.
    hashes: Vec<u64>,
    series: Vec<Series>,
    labels: Vec<L>,
    capacity: usize,
    draw: u64,
    created: u64,
    evicted: u64,
}

impl<L> SeriesTable<L> {
    /// A table of at most `capacity` series, but at least one. Memory is taken as series come.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            index: HashTable::new(),
            hashes: Vec::new(),
            series: Vec::new(),
            labels: Vec::new(),
            capacity: clamp_capacity(capacity),
            draw: DRAW_SEED,
            created: 0,
            evicted: 0,
        }
    }

    /// Takes a key that was seen at `time` to its series, or to the first-sighting table if it has none. The event
    /// itself has to be observed by the caller, for a new series as for an old one.
    pub fn entry(&mut self, hash: u64, time: Timestamp, ghost: &mut GhostTable) -> Admission<L>
    where
        L: Default,
    {
        if let Some(slot) = self.find(hash) {
            return Admission::Existing { slot };
        }
        let Some(first) = ghost.sight(hash, time) else { return Admission::Remembered };
        let (slot, evicted) = self.insert(hash, Series::new(first), L::default(), time);
        Admission::Created { slot, evicted }
    }

    /// Puts in a series, such as one from a saved state, in place of one with the same hash. If the table is full, the
    /// least valuable of a few at time `now` leaves; the label that left is returned.
    pub fn insert(&mut self, hash: u64, series: Series, label: L, now: Timestamp) -> (Slot, Option<L>) {
        if let Some(slot) = self.find(hash) {
            return (slot, self.replace(slot, hash, series, label));
        }
        self.created += 1;
        if self.len() >= self.capacity
            && let Some(victim) = self.victim(now)
        {
            self.evicted += 1;
            self.unlink(victim);
            let label = self.replace(victim, hash, series, label);
            self.link(hash, victim.0);
            return (victim, label);
        }
        self.grow();
        let slot = slot_number(self.len());
        self.hashes.push(hash);
        self.series.push(series);
        self.labels.push(label);
        self.link(hash, slot);
        (Slot(slot), None)
    }

    /// Overwrites a place and returns the label that was there.
    fn replace(&mut self, slot: Slot, hash: u64, series: Series, label: L) -> Option<L> {
        let at = slot.index();
        *self.hashes.get_mut(at)? = hash;
        *self.series.get_mut(at)? = series;
        Some(std::mem::replace(self.labels.get_mut(at)?, label))
    }

    fn link(&mut self, hash: u64, slot: u32) {
        let hashes = &self.hashes;
        self.index.insert_unique(hash, slot, |&slot| hash_at(hashes, slot));
    }

    /// Takes a place out of the index.
    fn unlink(&mut self, slot: Slot) {
        if let Ok(entry) = self.index.find_entry(hash_at(&self.hashes, slot.0), |&other| other == slot.0) {
            entry.remove();
        }
    }

    /// Doubles the slab when it is full, but not beyond the capacity.
    fn grow(&mut self) {
        let len = self.len();
        if len == self.series.capacity() || len == self.labels.capacity() || len == self.hashes.capacity() {
            let more = len.max(INITIAL_SLOTS).min(self.capacity.saturating_sub(len));
            self.hashes.reserve_exact(more);
            self.series.reserve_exact(more);
            self.labels.reserve_exact(more);
        }
    }

    /// The least valuable of [`CANDIDATES`] series drawn at random, the first drawn if several are.
    fn victim(&mut self, now: Timestamp) -> Option<Slot> {
        let mut lowest: Option<(f64, Slot)> = None;
        for _ in 0..CANDIDATES {
            let slot = self.draw_slot();
            let value = self.series.get(slot.index())?.value(now);
            if lowest.is_none_or(|(least, _)| value < least) {
                lowest = Some((value, slot));
            }
        }
        lowest.map(|(_, slot)| slot)
    }

    /// A place at random: Marsaglia's xorshift64 (13, 7, 17), its upper half scaled to the number of series.
    fn draw_slot(&mut self) -> Slot {
        self.draw ^= self.draw << 13;
        self.draw ^= self.draw >> 7;
        self.draw ^= self.draw << 17;
        let scaled = (self.draw >> 32) * u64::from(slot_number(self.len()));
        let slot = (scaled >> 32) as u32;
        Slot(slot)
    }

    /// The place of a key, if it has a series.
    #[must_use]
    pub fn find(&self, hash: u64) -> Option<Slot> {
        self.index.find(hash, |&slot| self.hashes.get(slot as usize) == Some(&hash)).copied().map(Slot)
    }

    /// A series and its label.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<(&Series, &L)> {
        self.series.get(slot.index()).zip(self.labels.get(slot.index()))
    }

    /// A series and its label, to be changed.
    pub fn get_mut(&mut self, slot: Slot) -> Option<(&mut Series, &mut L)> {
        self.series.get_mut(slot.index()).zip(self.labels.get_mut(slot.index()))
    }

    /// Hash of the key at a place.
    #[must_use]
    pub fn hash(&self, slot: Slot) -> Option<u64> {
        self.hashes.get(slot.index()).copied()
    }

    /// All series in slab order: that of creation, except where places were taken over after evictions and removals.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Series, &L)> {
        self.hashes
            .iter()
            .zip(&self.series)
            .zip(&self.labels)
            .map(|((hash, series), label)| (*hash, series, label))
    }

    /// All series in slab order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Series, &mut L)> {
        self.hashes
            .iter()
            .zip(&mut self.series)
            .zip(&mut self.labels)
            .map(|((hash, series), label)| (*hash, series, label))
    }

    /// Takes a series out; the last one moves to its place. Does not count as eviction.
    pub fn remove(&mut self, slot: Slot) -> Option<(Series, L)> {
        let at = slot.index();
        let last = slot_number(self.len().checked_sub(1)?);
        if slot.0 > last {
            return None;
        }
        self.unlink(slot);
        if slot.0 != last
            && let Some(moved) = self.index.find_mut(hash_at(&self.hashes, last), |&other| other == last)
        {
            *moved = slot.0;
        }
        self.hashes.swap_remove(at);
        Some((self.series.swap_remove(at), self.labels.swap_remove(at)))
    }

    /// Changes the most series the table may hold, at least one. If there are more, the least valuable at time `now`
    /// leave, and the memory is given back.
    pub fn set_capacity(&mut self, capacity: usize, now: Timestamp) {
        self.cut_to(capacity, now, |_| {});
    }

    /// The same; `gone` gets the labels that left.
    pub fn cut_to(&mut self, capacity: usize, now: Timestamp, mut gone: impl FnMut(L)) {
        let shrinks = capacity < self.capacity;
        self.capacity = clamp_capacity(capacity);
        while self.len() > self.capacity
            && let Some(label) = self.evict(now)
        {
            gone(label);
        }
        if shrinks {
            self.hashes.shrink_to(self.capacity);
            self.series.shrink_to(self.capacity);
            self.labels.shrink_to(self.capacity);
            let hashes = &self.hashes;
            self.index.shrink_to(hashes.len(), |&slot| hash_at(hashes, slot));
        }
    }

    /// Takes out the least valuable of a few series; its label.
    pub fn evict(&mut self, now: Timestamp) -> Option<L> {
        let victim = self.victim(now)?;
        let (_, label) = self.remove(victim)?;
        self.evicted += 1;
        Some(label)
    }

    /// Where the draws of victims stand, and how many series were created and evicted so far.
    pub(super) const fn progress(&self) -> (u64, u64, u64) {
        (self.draw, self.created, self.evicted)
    }

    /// Goes on from there, once the series are put back.
    pub(super) fn go_on(&mut self, (draw, created, evicted): (u64, u64, u64)) {
        self.draw = if draw == 0 { DRAW_SEED } else { draw };
        self.created = created;
        self.evicted = self.evicted.saturating_add(evicted);
    }

    /// Series held now.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is no series.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The most series that the table may hold.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Series created so far.
    #[must_use]
    pub const fn created(&self) -> u64 {
        self.created
    }

    /// Series that had to leave.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes in use now, without what labels hold on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.index.allocation_size()
            + self.hashes.capacity() * size_of::<u64>()
            + self.series.capacity() * size_of::<Series>()
            + self.labels.capacity() * size_of::<L>()
    }
}

impl Slot {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

fn clamp_capacity(capacity: usize) -> usize {
    capacity.clamp(1, u32::MAX as usize)
}

/// A number of series as a slot: the capacity is clamped so that it fits.
fn slot_number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn hash_at(hashes: &[u64], slot: u32) -> u64 {
    hashes.get(slot as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detect::beacon::series::Update;
    use crate::time::NANOS_PER_SEC;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_nanos((1_700_000_000 + secs.cast_signed()) * NANOS_PER_SEC)
    }

    /// The finaliser of SplitMix64, in place of the keyed hash.
    fn hash(key: u64) -> u64 {
        let mut z = key.wrapping_add(DRAW_SEED);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    struct Host {
        table: SeriesTable<u64>,
        ghost: GhostTable,
        best: std::collections::BTreeMap<u64, f64>,
    }

    impl Host {
        fn new(series: usize, ghost_bytes: usize) -> Self {
            Self {
                table: SeriesTable::new(series),
                ghost: GhostTable::new(ghost_bytes),
                best: std::collections::BTreeMap::new(),
            }
        }

        fn call(&mut self, key: u64, time: Timestamp) {
            let slot = match self.table.entry(hash(key), time, &mut self.ghost) {
                Admission::Remembered => return,
                Admission::Created { slot, .. } => {
                    *self.table.get_mut(slot).unwrap().1 = key;
                    slot
                }
                Admission::Existing { slot } => slot,
            };
            let (series, label) = self.table.get_mut(slot).unwrap();
            assert_eq!(*label, key, "the label is that of the key");
            if series.observe(time, None) == (Update::NewCheckIn { evaluate: true }) {
                let best = self.best.entry(key).or_default();
                *best = best.max(series.timing().bans);
            }
        }
    }

    /// 48 hours of 24 beacons of four periods, 300 keys with random intervals, and a flood of keys that call `hits`
    /// times five minutes apart: the table of scorer specification 5 at a tenth. Returns how many beacons of each
    /// period reached E >= 3.
    fn flood(series: usize, ghost_bytes: usize, flood_keys: u64, hits: u64) -> (Host, [usize; 4]) {
        const SPAN: u64 = 48 * 3600;
        const PERIODS: [u64; 4] = [60, 900, 3600, 4 * 3600];
        let mut calls = Vec::new();
        for (beacon, index) in (0u64..24).zip(0usize..) {
            let period = PERIODS[index / 6];
            let start = hash(beacon) % period;
            calls.extend((0..).map(|i| start + i * period).take_while(|&t| t < SPAN).map(|t| (t, beacon)));
        }
        for normal in 100..400 {
            let mut time = hash(normal) % 3600;
            while time < SPAN {
                calls.push((time, normal));
                time += 2 + hash(time ^ (normal << 32)) % 7200;
            }
        }
        for key in 0..flood_keys {
            let start = hash(key ^ (1 << 50)) % SPAN;
            calls.extend((0..hits).map(|hit| (start + hit * 300, 1000 + key)));
        }
        calls.sort_unstable();
        let mut host = Host::new(series, ghost_bytes);
        for (time, key) in calls {
            host.call(key, at(time));
        }
        let mut found = [0; 4];
        for (beacon, index) in (0u64..24).zip(0usize..) {
            found[index / 6] += usize::from(host.best.get(&beacon).is_some_and(|&bans| bans >= 3.0));
        }
        (host, found)
    }

    #[test]
    fn one_shot_flood_costs_no_followed_beacon() {
        let (host, found) = flood(2000, 512 << 10, 100_000, 1);
        assert_eq!(found, [6; 4]);
        assert_eq!(host.table.evicted(), 0, "the flood never reaches the series");
        assert!(host.table.len() <= 324 && host.ghost.sightings() >= 100_000 && host.ghost.evicted() > 0);
    }

    #[test]
    fn two_hit_flood_evicts_itself_and_not_the_beacons() {
        let (host, found) = flood(1000, 512 << 10, 50_000, 2);
        assert_eq!(found, [6; 4]);
        assert_eq!(host.table.len(), 1000);
        assert!(host.table.evicted() > 45_000);
        for beacon in 0..24 {
            assert!(host.table.find(hash(beacon)).is_some(), "beacon {beacon} is still followed");
        }
    }

    #[test]
    fn same_calls_give_the_same_table() {
        let dump = |host: &Host| {
            host.table.iter().map(|(hash, series, _)| (hash, series.check_ins())).collect::<Vec<_>>()
        };
        let (one, _) = flood(300, 64 << 10, 5_000, 2);
        let (two, _) = flood(300, 64 << 10, 5_000, 2);
        assert_eq!(dump(&one), dump(&two));
        assert!(one.table.evicted() > 1000);
    }

    #[test]
    fn slow_key_that_is_not_overdue_outlives_faster_ones_that_fell_silent() {
        let mut table = SeriesTable::<u64>::new(9);
        let slow = |until: u64| {
            let mut series = Series::new(at(0));
            for i in 1..=until {
                series.observe(at(i * 14_400), None);
            }
            series
        };
        table.insert(hash(0), slow(6), 0, at(0));
        let now = 6 * 14_400 + 10_000;
        for key in 1..2000 {
            // Ten calls, a minute apart, the last an hour before now.
            let mut series = Series::new(at(now - 3600 - 600));
            for i in 1..10 {
                series.observe(at(now - 3600 - 600 + i * 60), None);
            }
            table.insert(hash(key), series, key, at(now));
            assert!(table.len() <= 9);
        }
        assert!(table.find(hash(0)).is_some());
        assert_eq!((table.created(), table.evicted()), (2000, 1991));
    }

    #[test]
    fn created_series_starts_at_the_first_sighting() {
        let mut table = SeriesTable::<String>::new(10);
        let mut ghost = GhostTable::new(0);
        assert_eq!(table.entry(5, at(0), &mut ghost), Admission::Remembered);
        let Admission::Created { slot, evicted: None } = table.entry(5, at(60), &mut ghost) else { panic!() };
        let (series, label) = table.get_mut(slot).unwrap();
        assert_eq!((series.first_seen(), series.check_ins(), label.as_str()), (at(0), 1, ""));
        assert_eq!(series.observe(at(60), None), Update::NewCheckIn { evaluate: false });
        assert_eq!(series.interval_count(), 1, "no interval is lost");
        assert_eq!(table.entry(5, at(120), &mut ghost), Admission::Existing { slot });
        assert!(ghost.is_empty());
    }

    #[test]
    fn eviction_hands_back_the_label_that_left() {
        let mut table = SeriesTable::<u64>::new(1);
        assert_eq!(table.insert(1, Series::new(at(0)), 11, at(0)).1, None);
        assert_eq!(table.insert(2, Series::new(at(0)), 22, at(0)).1, Some(11));
        assert_eq!(table.insert(2, Series::new(at(1)), 23, at(0)).1, Some(22), "the same key is replaced");
        assert_eq!((table.len(), table.created(), table.evicted(), table.find(1)), (1, 2, 1, None));
    }

    #[test]
    fn smaller_capacity_evicts_down_and_gives_memory_back() {
        let mut table = SeriesTable::<u64>::new(5000);
        assert_eq!(table.memory_bytes(), 0);
        for key in 0..4000 {
            let mut series = Series::new(at(0));
            // The first hundred call on, the others once.
            for i in 1..if key < 100 { 20 } else { 1 } {
                series.observe(at(i * 60), None);
            }
            table.insert(hash(key), series, key, at(1200));
        }
        let full = table.memory_bytes();
        assert!((4000 * 272..5000 * 290).contains(&full), "{full}");
        table.set_capacity(500, at(1200));
        assert_eq!((table.len(), table.capacity(), table.evicted()), (500, 500, 3500));
        assert!(table.memory_bytes() < full / 7, "{}", table.memory_bytes());
        for key in 0..100 {
            let slot = table.find(hash(key)).unwrap();
            assert_eq!(table.get(slot).unwrap().1, &key);
        }
        table.set_capacity(0, at(1200));
        assert_eq!(table.len(), 1, "one is the least");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(u64),
        Capacity(usize),
    }

    proptest! {
        /// The index, the slab and the labels stay together whatever is done.
        #[test]
        fn every_series_is_found_under_its_hash(steps in prop::collection::vec(prop_oneof![
            8 => (0u64..60).prop_map(Step::Insert),
            3 => (0u64..60).prop_map(Step::Remove),
            1 => (0usize..40).prop_map(Step::Capacity),
        ], 0..300)) {
            let mut table = SeriesTable::<u64>::new(30);
            for step in steps {
                match step {
                    Step::Insert(key) => {
                        let (slot, _) = table.insert(hash(key), Series::new(at(key)), key, at(100));
                        prop_assert_eq!(table.hash(slot), Some(hash(key)));
                    }
                    Step::Remove(key) => {
                        let removed = table.find(hash(key)).and_then(|slot| table.remove(slot));
                        prop_assert!(removed.is_none_or(|(_, label)| label == key));
                        prop_assert_eq!(table.find(hash(key)), None);
                    }
                    Step::Capacity(capacity) => table.set_capacity(capacity, at(100)),
                }
                prop_assert!(table.len() <= table.capacity());
                prop_assert_eq!(table.index.len(), table.len());
                for (found, series, label) in table.iter() {
                    prop_assert_eq!(found, hash(*label));
                    prop_assert_eq!(series.first_seen(), at(*label));
                    let slot = table.find(found).unwrap();
                    prop_assert_eq!(table.get(slot).unwrap().1, label);
                }
            }
        }
    }
}
