//! A cache of bounded size that keeps what was used lately.
//!
//! Two generations of half the capacity each: a look-up moves an entry into the young one, and when that is full the old one
//! is thrown away whole. No lists, no clock, and never more entries than promised.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

type Generation<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The cache.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: Generation<K, V>,
    old: Generation<K, V>,
    half: usize,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// One of at most `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { young: HashMap::default(), old: HashMap::default(), half: (capacity / 2).max(1) }
    }

    /// Keeps a value.
    pub fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// The value, if it is still kept.
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// Entries kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_capacity_holds() {
        let mut cache = Recent::new(8);
        for i in 0..1000u32 {
            cache.insert(i, i);
            assert!(cache.len() <= 8);
            assert_eq!(cache.get(&0), Some(&0), "used in each round");
        }
        assert_eq!(cache.get(&999), Some(&999));
        assert_eq!(cache.get(&500), None);
        cache.insert(999, 1);
        assert_eq!(cache.get(&999), Some(&1));
        cache.clear();
        assert!(cache.is_empty());
    }
}
