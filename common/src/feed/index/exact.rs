//! Keys of fixed size -> tags, frozen: two arrays and the places of their buckets, with no room left empty.
//!
//! Keys lie in buckets by a keyed hash, some three to a bucket, so a look-up touches the bucket's place and the keys beside
//! each other there: two lines of memory. Keys are compared whole, so there is no false match.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;

/// Keys to a bucket, about.
pub(super) const KEYS_PER_BUCKET: usize = 4;
/// Entries of one key that are kept: the best.
pub(super) const MAX_PER_KEY: usize = 4;

/// What one entry takes beside its key: its tag and its part of the buckets' places, which are at most half as many.
pub(super) const BYTES_PER_ENTRY: usize = 4 + 2;

/// Frozen keys.
#[derive(Debug)]
pub(super) struct Exact<K> {
    /// Where each bucket begins, and the end.
    starts: Box<[u32]>,
    keys: Box<[K]>,
    tags: Box<[u32]>,
    hasher: RandomState,
}

impl<K> Default for Exact<K> {
    fn default() -> Self {
        Self {
            starts: Box::default(),
            keys: Box::default(),
            tags: Box::default(),
            hasher: RandomState::default(),
        }
    }
}

/// As many buckets as suit so many entries: a power of two.
pub(super) fn buckets(entries: usize) -> usize {
    (entries / KEYS_PER_BUCKET).next_power_of_two()
}

/// The bucket of a hash, of so many (a power of two).
pub(super) fn bucket(hash: u64, buckets: usize) -> usize {
    // The low bits serve as fingerprint elsewhere, so the high ones choose.
    usize::try_from(hash >> 32).unwrap_or(0) & buckets.wrapping_sub(1)
}

/// Puts entries in the order of their buckets, by counting; returns where each bucket begins, and the end.
pub(super) fn in_buckets<T: Copy>(entries: &mut Vec<T>, bucket_of: impl Fn(&T) -> usize) -> Box<[u32]> {
    let count = buckets(entries.len());
    let mut starts = vec![0u32; count + 1];
    for entry in &*entries {
        if let Some(place) = starts.get_mut(bucket_of(entry) + 1) {
            *place += 1;
        }
    }
    let mut sum = 0;
    for place in &mut starts {
        sum += *place;
        *place = sum;
    }
    let Some(&first) = entries.first() else { return starts.into() };
    let mut next = starts.clone();
    let mut sorted = vec![first; entries.len()];
    for entry in entries.drain(..) {
        if let Some(place) = next.get_mut(bucket_of(&entry)) {
            if let Some(to) = sorted.get_mut(*place as usize) {
                *to = entry;
            }
            *place += 1;
        }
    }
    *entries = sorted;
    starts.into()
}

/// Sorts each bucket, and keeps the best [`MAX_PER_KEY`] different entries of each key. Returns how many were let go of.
pub(super) fn thin_out<T: Copy>(
    entries: &mut Vec<T>,
    starts: &mut [u32],
    sort: impl Fn(&mut [T]),
    same_key: impl Fn(&T, &T) -> bool,
    equal: impl Fn(&T, &T) -> bool,
) -> u64 {
    let before = entries.len();
    let mut kept = 0usize;
    let mut begin = 0usize;
    for at in 0..starts.len().saturating_sub(1) {
        let end = starts.get(at + 1).map_or(0, |end| *end as usize);
        if let Some(bucket) = entries.get_mut(begin..end) {
            sort(bucket);
        }
        let bucket_begins = kept;
        let mut of_key = 0;
        for from in begin..end {
            let Some(entry) = entries.get(from).copied() else { break };
            let last =
                kept.checked_sub(1).filter(|_| kept > bucket_begins).and_then(|last| entries.get(last));
            let (same, twice) =
                last.map_or((false, false), |last| (same_key(last, &entry), equal(last, &entry)));
            of_key = if same { of_key + 1 } else { 0 };
            if of_key >= MAX_PER_KEY || twice {
                of_key -= usize::from(twice);
                continue;
            }
            if let Some(place) = entries.get_mut(kept) {
                *place = entry;
            }
            kept += 1;
        }
        begin = end;
        if let Some(place) = starts.get_mut(at) {
            *place = u32::try_from(bucket_begins).unwrap_or(u32::MAX);
        }
    }
    if let Some(end) = starts.last_mut() {
        *end = u32::try_from(kept).unwrap_or(u32::MAX);
    }
    entries.truncate(kept);
    (before - kept) as u64
}

impl<K: Copy + Eq + Ord + Hash> Exact<K> {
    /// Freezes entries; of several for one key the best by `rank` (least first) are kept. Returns how many were let go of.
    pub(super) fn of<R: Ord>(mut entries: Vec<(K, u32)>, rank: impl Fn(u32) -> R) -> (Self, u64) {
        let hasher = RandomState::default();
        let count = buckets(entries.len());
        let mut starts = in_buckets(&mut entries, |(key, _)| bucket(hasher.hash_one(key), count));
        let dropped = thin_out(
            &mut entries,
            &mut starts,
            |bucket| bucket.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| rank(a.1).cmp(&rank(b.1)))),
            |a, b| a.0 == b.0,
            |a, b| a == b,
        );
        let keys = entries.iter().map(|(key, _)| *key).collect();
        let tags = entries.iter().map(|(_, tag)| *tag).collect();
        (Self { starts, keys, tags, hasher }, dropped)
    }

    /// The tags of a key, best first.
    #[inline]
    pub(super) fn get<'a>(&'a self, key: &'a K) -> impl Iterator<Item = u32> + 'a {
        let count = self.starts.len().saturating_sub(1);
        let at = bucket(self.hasher.hash_one(key), count);
        let place = |at: usize| self.starts.get(at).map_or(0, |place| *place as usize);
        let range = if count == 0 { 0..0 } else { place(at)..place(at + 1) };
        let keys = self.keys.get(range.clone()).unwrap_or_default();
        range
            .zip(keys)
            .filter(move |(_, known)| *known == key)
            .filter_map(|(at, _)| self.tags.get(at).copied())
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.keys) + size_of_val(&*self.tags)
    }
}
