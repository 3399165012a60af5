//! A bounded table of small values under keyed hashes: sets of sixteen places, of which the least worth keeping leaves.
//!
//! Keys are full 64-bit hashes under a key that nobody outside knows, so nobody can aim at a set. Places and rule are fixed,
//! so the same insertions leave the same table.

/// Places of a set.
const WAYS: usize = 16;

/// A place: its key, or [`FREE`].
#[derive(Clone, Copy, Debug)]
struct Way<V> {
    hash: u64,
    value: V,
}

/// Key of a free place. No key is: see [`key`].
const FREE: u64 = 0;

/// Values by hash.
#[derive(Clone, Debug)]
pub(crate) struct Ways<V> {
    ways: Vec<Way<V>>,
    max_sets: usize,
    len: usize,
}

impl<V: Copy + Default> Ways<V> {
    /// A table of at most `capacity_bytes`, but at least one set. It starts with one and doubles as sets overflow.
    pub(crate) fn new(capacity_bytes: usize) -> Self {
        Self { ways: free(1), max_sets: max_sets::<V>(capacity_bytes), len: 0 }
    }

    pub(crate) fn get(&self, hash: u64) -> Option<&V> {
        let hash = key(hash);
        let start = self.start(hash);
        let set = self.ways.get(start..start + WAYS)?;
        set.iter().find(|way| way.hash == hash).map(|way| &way.value)
    }

    pub(crate) fn get_mut(&mut self, hash: u64) -> Option<&mut V> {
        let hash = key(hash);
        self.set(hash).iter_mut().find(|way| way.hash == hash).map(|way| &mut way.value)
    }

    /// Puts in a value whose key is not there. What leaves for it, if something does: the one of its set with the least
    /// worth.
    pub(crate) fn insert<K: Ord>(&mut self, hash: u64, value: V, worth: impl Fn(&V) -> K) -> Option<V> {
        let hash = key(hash);
        while self.sets() < self.max_sets && self.set(hash).iter().all(|way| way.hash != FREE) {
            self.rebuild(self.sets() * 2, &worth);
        }
        let least = self.set(hash).iter_mut().min_by_key(|way| {
            let worth = (way.hash != FREE).then(|| worth(&way.value));
            (worth, way.hash)
        })?;
        let before = std::mem::replace(least, Way { hash, value });
        self.len += usize::from(before.hash == FREE);
        (before.hash != FREE).then_some(before.value)
    }

    /// Changes what it may take; how many values left for it.
    pub(crate) fn set_capacity<K: Ord>(&mut self, capacity_bytes: usize, worth: impl Fn(&V) -> K) -> u64 {
        self.max_sets = max_sets::<V>(capacity_bytes);
        if self.sets() <= self.max_sets { 0 } else { self.rebuild(self.max_sets, &worth) }
    }

    /// All values with their keys, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.ways.iter().filter(|way| way.hash != FREE).map(|way| (way.hash, &way.value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.ways.iter_mut().filter(|way| way.hash != FREE).map(|way| &mut way.value)
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn memory_bytes(&self) -> usize {
        self.ways.capacity() * size_of::<Way<V>>()
    }

    const fn sets(&self) -> usize {
        self.ways.len() / WAYS
    }

    const fn start(&self, hash: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits choose the set")]
        let set = hash as usize & (self.sets() - 1);
        set * WAYS
    }

    fn set(&mut self, hash: u64) -> &mut [Way<V>] {
        let start = self.start(hash);
        self.ways.get_mut(start..start + WAYS).unwrap_or_default()
    }

    fn rebuild<K: Ord>(&mut self, sets: usize, worth: &impl Fn(&V) -> K) -> u64 {
        let old = std::mem::replace(&mut self.ways, free(sets));
        self.len = 0;
        let mut left = 0;
        for Way { hash, value } in old.into_iter().filter(|way| way.hash != FREE) {
            // Its set may be full, and what comes worth less than what is there.
            let set = self.set(hash);
            let full = set.iter().all(|way| way.hash != FREE);
            let beaten = full && set.iter().all(|way| worth(&way.value) > worth(&value));
            left += u64::from(full);
            if beaten {
                continue;
            }
            if let Some(place) = set.iter_mut().min_by_key(|way| {
                let worth = (way.hash != FREE).then(|| worth(&way.value));
                (worth, way.hash)
            }) {
                let taken = usize::from(place.hash == FREE);
                *place = Way { hash, value };
                self.len += taken;
            }
        }
        left
    }
}

/// Zero stands for a free place.
const fn key(hash: u64) -> u64 {
    if hash == FREE { 1 } else { hash }
}

fn free<V: Copy + Default>(sets: usize) -> Vec<Way<V>> {
    vec![Way { hash: FREE, value: V::default() }; sets * WAYS]
}

/// A power of two, at least one.
fn max_sets<V>(capacity_bytes: usize) -> usize {
    let sets = capacity_bytes / (WAYS * size_of::<Way<V>>());
    if sets == 0 { 1 } else { 1 << sets.ilog2() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads small numbers over all bits (the finalizer of splitmix64).
    fn spread(number: u64) -> u64 {
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    #[test]
    fn what_is_worth_most_stays_when_the_table_is_full() {
        let mut table: Ways<u32> = Ways::new(64 * WAYS * size_of::<Way<u32>>());
        for number in 0..200 {
            table.insert(spread(number), 1_000, |value| *value);
        }
        let mut left = 0;
        for number in 1_000..100_000 {
            left += usize::from(table.insert(spread(number), 1, |value| *value).is_some());
        }
        assert!((0..200).all(|number| table.get(spread(number)) == Some(&1_000)));
        assert_eq!(table.len() + left, 200 + 99_000);
        assert_eq!(table.len(), 64 * WAYS);
        assert_eq!(table.iter().count(), table.len());
        let left = table.set_capacity(32 * WAYS * size_of::<Way<u32>>(), |value| *value);
        assert_eq!((table.len(), left), (32 * WAYS, 32 * WAYS as u64));
        assert!((0..200).all(|number| table.get(spread(number)) == Some(&1_000)));
    }

    #[test]
    fn every_key_is_one_even_zero() {
        let mut table: Ways<u32> = Ways::new(0);
        assert_eq!(table.get(0), None);
        table.insert(0, 7, |value| *value);
        assert_eq!((table.get(0), table.len()), (Some(&7), 1));
        *table.get_mut(0).unwrap() = 8;
        assert_eq!(table.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [8]);
    }
}
