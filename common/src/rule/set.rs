//! A set of small numbers that stays small: a sorted list for the few, a bitmap for the many. Exact in both.

/// Numbers that a list may hold; then it becomes a bitmap.
const FEW: usize = 256;
/// Room of the first list.
const FIRST_ROOM: usize = 4;

/// A set of the numbers below `universe`.
#[derive(Clone, Debug, Default)]
pub(super) struct SmallSet {
    /// Sorted; empty once there are bits.
    few: Vec<u32>,
    /// One bit a number.
    bits: Vec<u64>,
    /// Numbers in the bitmap.
    marked: u32,
    universe: u32,
}

impl SmallSet {
    pub(super) const fn new(universe: u32) -> Self {
        Self { few: Vec::new(), bits: Vec::new(), marked: 0, universe }
    }

    /// Numbers in it.
    pub(super) fn len(&self) -> u32 {
        if self.bits.is_empty() { u32::try_from(self.few.len()).unwrap_or(u32::MAX) } else { self.marked }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        match self.bits.get(number as usize / 64) {
            Some(word) => word & (1 << (number % 64)) != 0,
            None => self.few.binary_search(&number).is_ok(),
        }
    }

    /// Bytes that adding this number would take, beyond those taken so far.
    pub(super) fn cost(&self, number: u32) -> usize {
        if !self.bits.is_empty() || self.few.len() < self.few.capacity() || self.contains(number) {
            return 0;
        }
        if self.few.len() < FEW {
            (self.next_room() - self.few.capacity()) * size_of::<u32>()
        } else {
            self.words() * size_of::<u64>()
        }
    }

    /// Adds a number; one that is not below `universe` is left out.
    pub(super) fn insert(&mut self, number: u32) {
        if number >= self.universe {
            return;
        }
        if self.bits.is_empty() {
            let Err(place) = self.few.binary_search(&number) else { return };
            if self.few.len() < FEW {
                if self.few.len() == self.few.capacity() {
                    self.few.reserve_exact(self.next_room() - self.few.len());
                }
                self.few.insert(place, number);
                return;
            }
            self.bits = vec![0; self.words()];
            for known in std::mem::take(&mut self.few) {
                self.mark(known);
            }
        }
        self.mark(number);
    }

    /// The numbers, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let marked = self.bits.iter().zip(0u32..).flat_map(|(&word, at)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit)
        });
        self.few.iter().copied().chain(marked)
    }

    fn mark(&mut self, number: u32) {
        if let Some(word) = self.bits.get_mut(number as usize / 64) {
            let bit = 1 << (number % 64);
            self.marked += u32::from(*word & bit == 0);
            *word |= bit;
        }
    }

    fn next_room(&self) -> usize {
        (self.few.capacity() * 2).clamp(FIRST_ROOM, FEW)
    }

    const fn words(&self) -> usize {
        self.universe.div_ceil(64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_port_there_is_fits_in_eight_kibibytes() {
        let (mut set, mut bytes) = (SmallSet::new(65_536), 0);
        for port in (0..65_536).rev().chain(0..65_536) {
            bytes += set.cost(port);
            set.insert(port);
        }
        set.insert(65_536);
        assert_eq!(set.len(), 65_536);
        assert!(set.iter().eq(0..65_536));
        assert_eq!(bytes, 8_192 + FEW * 4);
    }

    proptest! {
        #[test]
        fn it_is_the_set_that_a_tree_would_be(numbers in proptest::collection::vec(0u32..2_000, 0..900)) {
            let (mut set, mut tree) = (SmallSet::new(1_900), BTreeSet::new());
            for number in numbers {
                set.insert(number);
                if number < 1_900 {
                    tree.insert(number);
                }
                prop_assert_eq!(set.contains(number), tree.contains(&number));
            }
            prop_assert_eq!(set.len() as usize, tree.len());
            prop_assert!(set.iter().eq(tree));
        }
    }
}
