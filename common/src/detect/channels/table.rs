//! A bounded map of what is followed: by key, within a number of bytes. When it is full, of a few neighbours the one used
//! longest ago leaves, and is counted.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What a list of so many takes, which doubles as it grows.
pub(super) const fn list_bytes<T>(len: usize) -> usize {
    if len == 0 { 0 } else { len.next_power_of_two() * size_of::<T>() + 4 * size_of::<T>() }
}

/// Neighbours compared to find one to evict.
const EVICTION_SAMPLE: usize = 8;
/// What an entry takes in the index, which doubles.
const INDEX_BYTES: usize = 40;

/// Something that owns memory outside itself.
pub(super) trait Weigh {
    /// Bytes that it owns on the heap, as told by what it holds: the same before it was saved and after.
    fn heap_bytes(&self) -> usize;
    /// Whether it can be what it was saved as: within its caps, and its figures are numbers.
    fn is_sound(&self) -> bool;
    /// Moves its times, when the clock was set.
    fn shift(&mut self, nanos: i64);
}

/// A table as it is saved: where the search for the next to leave goes on, how many left, and the entries in their places.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved<V> {
    hand: u32,
    evicted: u64,
    slots: Vec<(u64, Timestamp, V)>,
}

#[derive(Debug)]
struct Slot<V> {
    key: u64,
    used: Timestamp,
    heap: usize,
    value: V,
}

/// Key -> value.
#[derive(Debug)]
pub(super) struct Table<V> {
    slots: Vec<Slot<V>>,
    index: HashMap<u64, usize, RandomState>,
    /// What the values own.
    heap: usize,
    memory_bytes: usize,
    hand: usize,
    evicted: u64,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { slots: Vec::new(), index: HashMap::default(), heap: 0, memory_bytes: 0, hand: 0, evicted: 0 }
    }
}

impl<V: Weigh> Table<V> {
    /// What an entry is taken to weigh beside its heap: its place in a list that doubles, and in the index.
    const BYTES_PER_ENTRY: usize = 2 * size_of::<Slot<V>>() + INDEX_BYTES;

    /// The entry of a key, made if there is none. Whoever changes it [settles](Self::settle) it afterwards.
    pub(super) fn entry(&mut self, key: u64, now: Timestamp, make: impl FnOnce() -> V) -> Option<&mut V> {
        let at = match self.index.get(&key) {
            Some(&at) => at,
            None => {
                while self.weight() + Self::BYTES_PER_ENTRY > self.memory_bytes && !self.slots.is_empty() {
                    self.evict(None);
                }
                self.index.insert(key, self.slots.len());
                self.slots.push(Slot { key, used: now, heap: 0, value: make() });
                self.slots.len() - 1
            }
        };
        let slot = self.slots.get_mut(at)?;
        slot.used = slot.used.max(now);
        Some(&mut slot.value)
    }

    /// Weighs an entry anew, and makes room if it grew too much: by itself it may.
    pub(super) fn settle(&mut self, key: u64) {
        let Some(slot) = self.index.get(&key).and_then(|&at| self.slots.get_mut(at)) else { return };
        let heap = slot.value.heap_bytes();
        self.heap = self.heap - slot.heap + heap;
        slot.heap = heap;
        while self.weight() > self.memory_bytes && self.slots.len() > 1 {
            self.evict(Some(key));
        }
    }

    const fn weight(&self) -> usize {
        self.heap + self.slots.len() * Self::BYTES_PER_ENTRY
    }

    /// The entry used longest ago of the next few leaves, but not the one with key `spared`.
    fn evict(&mut self, spared: Option<u64>) {
        let mut oldest = None;
        for _ in 0..EVICTION_SAMPLE {
            self.hand = (self.hand + 1) % self.slots.len().max(1);
            if let Some(slot) = self.slots.get(self.hand).filter(|slot| Some(slot.key) != spared) {
                oldest = oldest.min(Some((slot.used, self.hand))).or(Some((slot.used, self.hand)));
            }
        }
        let Some((_, at)) = oldest else { return };
        let left = self.slots.swap_remove(at);
        self.index.remove(&left.key);
        if let Some(moved) = self.slots.get(at) {
            self.index.insert(moved.key, at);
        }
        self.heap -= left.heap;
        self.evicted += 1;
    }

    pub(super) fn set_memory(&mut self, memory_bytes: usize) {
        self.memory_bytes = memory_bytes;
        while self.weight() > self.memory_bytes && self.slots.len() > 1 {
            self.evict(None);
        }
        self.slots.shrink_to_fit();
        self.index.shrink_to_fit();
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.weight()
    }

    /// As it is saved; `None` if there is nothing to save.
    pub(super) fn saved(&self) -> Option<Saved<&V>> {
        let slots: Vec<_> = self.slots.iter().map(|slot| (slot.key, slot.used, &slot.value)).collect();
        let hand = u32::try_from(self.hand).unwrap_or(0);
        (!slots.is_empty()).then_some(Saved { hand, evicted: self.evicted, slots })
    }

    /// Takes back what was saved, as much as has room; whether it made sense.
    pub(super) fn restore(&mut self, saved: Saved<V>) -> bool {
        for (key, used, value) in saved.slots {
            if !value.is_sound() || self.index.insert(key, self.slots.len()).is_some() {
                return false;
            }
            let heap = value.heap_bytes();
            self.heap += heap;
            self.slots.push(Slot { key, used, heap, value });
        }
        self.hand = usize::try_from(saved.hand).unwrap_or(0);
        self.evicted = saved.evicted;
        self.set_memory(self.memory_bytes);
        true
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn shift(&mut self, nanos: i64) {
        for slot in &mut self.slots {
            slot.used = slot.used.plus_nanos(nanos);
            slot.value.shift(nanos);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for String {
        fn heap_bytes(&self) -> usize {
            self.len()
        }

        fn is_sound(&self) -> bool {
            self.len() < 100
        }

        fn shift(&mut self, _: i64) {}
    }

    #[test]
    fn a_flood_stays_within_the_budget_and_what_is_used_stays() {
        let mut table = Table::default();
        table.set_memory(20_000);
        for number in 0..10_000u32 {
            let now = Timestamp::from_secs_nanos(number.into(), 0);
            // Key 1 grows, key 0 is used all the time.
            for key in [0, u64::from(number) + 2] {
                table.entry(key, now, || "x".repeat(30)).unwrap();
                table.settle(key);
            }
            assert!(table.memory_bytes() <= 20_000, "{}", table.memory_bytes());
        }
        assert!(table.index.contains_key(&0), "what is used stays");
        assert_eq!(table.evicted() + table.slots.len() as u64, 10_001);
        assert!(table.slots.iter().enumerate().all(|(at, slot)| table.index[&slot.key] == at));
        table.set_memory(2_000);
        assert!(table.memory_bytes() <= 2_000 && !table.slots.is_empty());
        let bytes = postcard::to_allocvec(&table.saved()).unwrap();
        let mut again = Table::<String> { memory_bytes: 2_000, ..Table::default() };
        assert!(again.restore(postcard::from_bytes::<Option<_>>(&bytes).unwrap().unwrap()));
        assert_eq!(postcard::to_allocvec(&again.saved()).unwrap(), bytes);
        assert_eq!((again.memory_bytes(), again.evicted()), (table.memory_bytes(), table.evicted()));
        table.set_memory(0);
        assert_eq!(table.slots.len(), 1, "one has room in any budget");
        assert!(table.entry(7, Timestamp::ZERO, String::new).is_some());
        assert_eq!(table.slots.len(), 1);
    }
}
