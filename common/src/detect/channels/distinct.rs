//! How many distinct names: exact for a few, an estimate in fixed memory for many.
//!
//! Linear counting (Whang, Vander-Zanden, Taylor 1990) in its streaming form: a name whose bit is not yet set is new, and
//! stands for as many names as there are bits for each one still free, since so many of its like were taken for seen.

use serde::{Deserialize, Serialize};

/// Names that are kept one by one, as hashes.
const MAX_EXACT: usize = 16;
/// Words of the bit map: 2,048 bits, which count to some 9,000 names with an error of a few percent.
const WORDS: usize = 32;
const BITS: u32 = 2048;

/// A set of names that knows how many it holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Distinct {
    /// Hashes of the names.
    Few(Vec<u64>),
    /// A bit for each hash, and how many are set.
    Many(Box<[u64; WORDS]>, u32),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Distinct {
    /// Takes in a name. How many distinct names it stands for; 0 if it was seen before.
    pub(super) fn insert(&mut self, hash: u64) -> f64 {
        match self {
            Self::Few(hashes) if hashes.contains(&hash) => 0.0,
            Self::Few(hashes) if hashes.len() < MAX_EXACT => {
                hashes.push(hash);
                1.0
            }
            Self::Few(hashes) => {
                let (mut map, mut set) = (Box::new([0; WORDS]), 0);
                for &hash in hashes.iter() {
                    set += u32::from(mark(&mut map, hash));
                }
                *self = Self::Many(map, set);
                self.insert(hash)
            }
            Self::Many(map, set) => {
                if !mark(map, hash) {
                    return 0.0;
                }
                let free = BITS.saturating_sub(*set);
                *set = set.saturating_add(1);
                f64::from(BITS) / f64::from(free.max(1))
            }
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Few(hashes) if hashes.is_empty() => 0,
            Self::Few(_) => MAX_EXACT * size_of::<u64>(),
            Self::Many(..) => size_of::<[u64; WORDS]>(),
        }
    }

    /// Whether it is within its caps.
    pub(super) const fn is_sound(&self) -> bool {
        match self {
            Self::Few(hashes) => hashes.len() <= MAX_EXACT,
            Self::Many(_, set) => *set <= BITS,
        }
    }
}

/// Sets the bit of a hash; whether it was free.
fn mark(map: &mut [u64; WORDS], hash: u64) -> bool {
    let (word, bit) = (usize::try_from(hash >> 6).unwrap_or(usize::MAX) % WORDS, 1 << (hash & 63));
    let Some(word) = map.get_mut(word) else { return false };
    let free = *word & bit == 0;
    *word |= bit;
    free
}

#[cfg(test)]
mod tests {
    use super::super::hash;
    use super::*;

    #[test]
    fn few_are_counted_exactly_and_many_within_some_percent() {
        for (names, tolerance) in [(1, 0.0), (16, 0.0), (100, 0.05), (1_000, 0.05), (8_000, 0.12)] {
            let mut distinct = Distinct::default();
            let mut count = 0.0;
            for round in 0..3 {
                for name in 0..names {
                    count += distinct.insert(hash(&[format!("{name}.x").as_bytes()]));
                }
                assert!(round > 0 || count > 0.0);
            }
            let error = (count - f64::from(names)).abs() / f64::from(names);
            assert!(error <= tolerance, "{names} names were counted as {count}");
        }
        assert!(size_of::<Distinct>() <= 32);
    }
}
