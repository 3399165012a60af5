//! What a rule counts, by a few texts: as many groups as the limits allow, each under its key.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::budget::Budget;

/// What is counted under `N` texts.
#[derive(Debug)]
pub(super) struct Groups<T, const N: usize> {
    groups: Vec<(Key<N>, T)>,
    index: HashTable<u32>,
    hasher: RandomState,
    most: usize,
}

/// The texts, one behind the other.
#[derive(Debug)]
struct Key<const N: usize> {
    text: Box<str>,
    ends: [usize; N],
}

impl<const N: usize> Key<N> {
    fn new(parts: [&str; N]) -> Self {
        let mut end = 0;
        let ends = parts.map(|part| {
            end += part.len();
            end
        });
        Self { text: parts.concat().into(), ends }
    }

    fn parts(&self) -> [&str; N] {
        let mut start = 0;
        self.ends.map(|end| {
            let part = self.text.get(start..end).unwrap_or_default();
            start = end;
            part
        })
    }
}

impl<T, const N: usize> Groups<T, N> {
    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            groups: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            most: most.min(u32::MAX as usize),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// All, each with its texts.
    pub(super) fn iter(&self) -> impl Iterator<Item = ([&str; N], &T)> {
        self.groups.iter().map(|(key, group)| (key.parts(), group))
    }

    /// The group of these texts, made if there is none; `None` if there is no room for it.
    pub(super) fn find_or_add(
        &mut self,
        parts: [&str; N],
        budget: &mut Budget,
        make: impl FnOnce() -> T,
    ) -> Option<&mut T> {
        let Self { groups, index, hasher, most } = self;
        let hash = hasher.hash_one(parts);
        let same = |&at: &u32| groups.get(at as usize).is_some_and(|(key, _)| key.parts() == parts);
        let at = match index.find(hash, same) {
            Some(&at) => at as usize,
            None => {
                let at = groups.len();
                // What a group takes beside its texts: itself, its place in the index, and the heads of its allocations.
                let bytes = size_of::<(Key<N>, T)>() + 2 * size_of::<u32>() + 32;
                let texts: usize = parts.iter().map(|part| part.len()).sum();
                if at >= *most || !budget.take(bytes + texts) {
                    return None;
                }
                let place = u32::try_from(at).ok()?;
                groups.push((Key::new(parts), make()));
                index.insert_unique(hash, place, |&at| {
                    groups.get(at as usize).map_or(0, |(key, _)| hasher.hash_one(key.parts()))
                });
                at
            }
        };
        groups.get_mut(at).map(|(_, group)| group)
    }
}
