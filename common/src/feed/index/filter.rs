//! Tells most of what is in no table at once, from a few bits of its hash: a Bloom filter with all bits of one key in one word.
//!
//! It only spares look-ups: what it lets pass is looked up all the same. Nearly every name that a host asks for is on no feed,
//! and the filter is small enough to stay in the processor's cache where the table is not.

/// Bits for each key. With three of them set a foreign hash passes one time in forty (tested below).
const BITS_PER_KEY: usize = 12;

/// The bits.
#[derive(Debug, Default)]
pub(super) struct Filter(Box<[u64]>);

impl Filter {
    /// Has room for so many keys, and holds none.
    pub(super) fn new(keys: usize) -> Self {
        Self(vec![0; (keys * BITS_PER_KEY).div_ceil(64)].into())
    }

    /// Where a hash's word is: the low half of the hash as a part of all words.
    fn place(&self, hash: u64) -> usize {
        let part = (hash & 0xffff_ffff) * self.0.len() as u64;
        usize::try_from(part >> 32).unwrap_or(0)
    }

    /// Three bits, which the high ones choose.
    const fn bits(hash: u64) -> u64 {
        1 << (hash >> 58) | 1 << (hash >> 52 & 63) | 1 << (hash >> 46 & 63)
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let place = self.place(hash);
        if let Some(word) = self.0.get_mut(place) {
            *word |= Self::bits(hash);
        }
    }

    /// Whether the hash may have been put in; never false for one that was.
    #[inline]
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let bits = Self::bits(hash);
        self.0.get(self.place(hash)).is_some_and(|word| word & bits == bits)
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use foldhash::fast::FixedState;

    use super::*;

    #[test]
    fn what_was_put_in_passes_and_one_foreign_hash_in_forty() {
        let hash = |number: u32| FixedState::with_seed(7).hash_one(number);
        let mut filter = Filter::new(100_000);
        (0..100_000).for_each(|number| filter.insert(hash(number)));
        assert!((0..100_000).all(|number| filter.may_hold(hash(number))));
        let passed = (100_000..200_000).filter(|number| filter.may_hold(hash(*number))).count();
        assert!((1_000..4_000).contains(&passed), "{passed}");
        assert!(!Filter::default().may_hold(hash(1)), "an empty one lets nothing pass");
    }
}
