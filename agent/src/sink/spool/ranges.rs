//! Which sequence numbers are done: all below a position, and ranges above it where records were finished out of their turn.

use std::collections::BTreeMap;

/// A set of sequence numbers, kept as ranges: its size is the number of records that are stuck between others, not of those
/// that are done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// The set of these ranges, each from its first to before its end. `None` if they are not in order, or touch.
    pub(super) fn of(ranges: &[(u64, u64)]) -> Option<Self> {
        let mut above = None;
        for &(from, to) in ranges {
            if from >= to || above.is_some_and(|above| from <= above) {
                return None;
            }
            above = Some(to);
        }
        Some(Self(ranges.iter().copied().collect()))
    }

    /// The ranges in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(from, to)| (*from, *to))
    }

    /// How many ranges there are.
    pub(super) fn fragments(&self) -> usize {
        self.0.len()
    }

    /// How many numbers are in it.
    pub(super) fn len(&self) -> u64 {
        self.iter().map(|(from, to)| to - from).sum()
    }

    /// Whether a number is in it.
    pub(super) fn contains(&self, seq: u64) -> bool {
        self.0.range(..=seq).next_back().is_some_and(|(_, to)| seq < *to)
    }

    /// The first number from `seq` on that is not in it.
    pub(super) fn next_missing(&self, seq: u64) -> u64 {
        match self.0.range(..=seq).next_back() {
            Some((_, to)) if seq < *to => *to,
            _ => seq,
        }
    }

    /// How many numbers from `from` to before `to` are not in it.
    pub(super) fn missing(&self, from: u64, to: u64) -> u64 {
        let mut count = 0;
        self.each_missing(from, to, |from, to| count += to - from);
        count
    }

    /// Tells the ranges between `from` and `to` that are not in it.
    pub(super) fn each_missing(&self, from: u64, to: u64, mut tell: impl FnMut(u64, u64)) {
        let mut at = self.next_missing(from);
        while at < to {
            let end = self.0.range(at..to).next().map_or(to, |(start, _)| *start);
            tell(at, end);
            at = self.next_missing(end);
        }
    }

    /// Puts in all from `from` to before `to`; how many were not in it before.
    pub(super) fn insert(&mut self, from: u64, to: u64) -> u64 {
        let fresh = self.missing(from, to);
        if fresh == 0 {
            return 0;
        }
        let (mut start, mut end) = (from, to);
        // All that overlap or touch become one.
        while let Some((&at, &until)) = self.0.range(..=end).next_back().filter(|(_, until)| **until >= start)
        {
            start = start.min(at);
            end = end.max(until);
            self.0.remove(&at);
        }
        self.0.insert(start, end);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_that_was_put_in(steps in prop::collection::vec((0_u64..60, 0_u64..8), 0..40)) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for (from, length) in steps {
                let before = set.len();
                set.extend(from..from + length);
                prop_assert_eq!(ranges.insert(from, from + length), (set.len() - before) as u64);
                prop_assert_eq!(ranges.len(), set.len() as u64);
            }
            let told: Vec<_> = ranges.iter().collect();
            prop_assert_eq!(Ranges::of(&told), Some(ranges.clone()), "in order, and none touch");
            for seq in 0..70 {
                prop_assert_eq!(ranges.contains(seq), set.contains(&seq));
                prop_assert_eq!(ranges.next_missing(seq), (seq..).find(|seq| !set.contains(seq)).unwrap());
                prop_assert_eq!(ranges.missing(5, seq), (5..seq).filter(|seq| !set.contains(seq)).count() as u64);
            }
        }
    }

    #[test]
    fn ranges_out_of_order_are_none() {
        assert_eq!(Ranges::of(&[(0, 2), (2, 3)]), None);
        assert_eq!(Ranges::of(&[(5, 5)]), None);
        assert_eq!(Ranges::of(&[(5, 6), (1, 2)]), None);
    }
}
