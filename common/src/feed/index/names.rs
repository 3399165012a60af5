//! Names -> tags, frozen, with a set of suffixes: an entry may stand for the names below it, too.
//!
//! The entries of a bucket lie behind each other, each with its text, so that a look-up touches the bucket's place and, mostly,
//! one or two lines of memory behind each other; a filter spares it for most names that are not here. Texts are compared whole. A name is looked up whole, and each of its parents
//! that has as many labels as some entry for names below it: two or three, mostly.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::exact::{bucket, buckets, in_buckets, thin_out};
use super::filter::Filter;

/// Longest name, in bytes: its length takes one byte. RFC 1035 section 2.3.4 allows 253 in text.
pub(super) const MAX_BYTES: usize = 253;
/// The entry stands for the names below it, too.
pub(super) const SUBDOMAINS: u32 = 1 << 30;
/// What stands before an entry's text: its tag and the text's length.
const HEAD: usize = 4 + 1;
/// What one entry takes beside its text: its head, its part of the buckets' places, and its bits of the filter.
pub(super) const BYTES_PER_ENTRY: usize = HEAD + 2 + 2;
/// Frozen names.
#[derive(Debug, Default)]
pub(super) struct Names {
    filter: Filter,
    /// Where each bucket begins, and the end.
    starts: Box<[u32]>,
    /// Each entry: its tag (little endian), its text's length, its text.
    entries: Box<[u8]>,
    /// Bit n: some entry for names below it has n labels (63: as many or more).
    suffix_labels: u64,
    hasher: RandomState,
}

/// Names being gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    entries: Vec<Entry>,
    /// Each text behind a byte with its length.
    texts: Vec<u8>,
    suffix_labels: u64,
    hasher: RandomState,
}

/// An entry being gathered.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where its text is.
    at: u32,
    tag: u32,
}

fn text_at(texts: &[u8], at: u32) -> &[u8] {
    let at = at as usize;
    let length = texts.get(at).map_or(0, |length| usize::from(*length));
    texts.get(at + 1..at + 1 + length).unwrap_or_default()
}

/// The entries of a bucket: each one's tag and text.
fn entries_of(mut bucket: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, rest) = bucket.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        bucket = rest;
        Some((u32::from_le_bytes(*tag), text))
    })
}

fn labels_bit(name: &[u8]) -> u64 {
    1 << (memchr::memchr_iter(b'.', name).count() + 1).min(63)
}

impl Gathered {
    /// Takes in a name of at most [`MAX_BYTES`]; false if there is no room for its text.
    pub(super) fn push(&mut self, name: &str, tag: u32) -> bool {
        // Frozen, an entry takes four bytes more than its text and length do here; places have 32 bits.
        let frozen = self.texts.len() + name.len() + HEAD * (self.entries.len() + 1);
        let (Ok(_), Ok(at), Ok(length)) =
            (u32::try_from(frozen), u32::try_from(self.texts.len()), u8::try_from(name.len()))
        else {
            return false;
        };
        self.texts.push(length);
        self.texts.extend_from_slice(name.as_bytes());
        if tag & SUBDOMAINS != 0 {
            self.suffix_labels |= labels_bit(name.as_bytes());
        }
        self.entries.push(Entry { at, tag });
        true
    }

    /// Freezes them; of several entries for one name the best by `rank` (least first) are kept. Returns how many were let
    /// go of.
    pub(super) fn freeze<R: Ord>(self, rank: impl Fn(u32) -> R) -> (Names, u64) {
        let Self { mut entries, texts, suffix_labels, hasher } = self;
        let count = buckets(entries.len());
        let text = |entry: &Entry| text_at(&texts, entry.at);
        let mut starts = in_buckets(&mut entries, |entry| bucket(hasher.hash_one(text(entry)), count));
        let dropped = thin_out(
            &mut entries,
            &mut starts,
            |bucket| {
                bucket.sort_unstable_by(|a, b| {
                    text(a).cmp(text(b)).then_with(|| rank(a.tag).cmp(&rank(b.tag)))
                });
            },
            |a, b| text(a) == text(b),
            |a, b| a.tag == b.tag && text(a) == text(b),
        );
        let mut filter = Filter::new(entries.len());
        entries.iter().for_each(|entry| filter.insert(hasher.hash_one(text(entry))));
        // From numbers of entries to places of bytes.
        let mut frozen: Vec<u8> = Vec::with_capacity(texts.len() + HEAD * entries.len());
        let mut from = 0;
        for place in &mut starts {
            let until = *place as usize;
            for entry in entries.get(from..until).unwrap_or_default() {
                let text = text(entry);
                frozen.extend_from_slice(&entry.tag.to_le_bytes());
                frozen.push(u8::try_from(text.len()).unwrap_or(0));
                frozen.extend_from_slice(text);
            }
            from = until;
            *place = u32::try_from(frozen.len()).unwrap_or(u32::MAX);
        }
        (Names { filter, starts, entries: frozen.into(), suffix_labels, hasher }, dropped)
    }
}

impl Names {
    /// Calls `found` with each entry for the name or, if it stands for those too, a parent of it: the name, its tag. The
    /// name is lower case and has no dot at its end.
    pub(super) fn get<'a>(&'a self, name: &str, found: &mut impl FnMut(&'a str, u32)) {
        if self.entries.is_empty() || name.len() > MAX_BYTES {
            return;
        }
        let labels = memchr::memchr_iter(b'.', name.as_bytes()).count() + 1;
        let parents = memchr::memchr_iter(b'.', name.as_bytes()).enumerate().filter_map(|(cut, dot)| {
            let labels = labels.saturating_sub(cut + 1).min(63);
            let wanted = self.suffix_labels & (1 << labels) != 0;
            name.get(dot + 1..).filter(|_| wanted).map(|parent| (parent, SUBDOMAINS))
        });
        for (name, wanted) in std::iter::once((name, 0)).chain(parents) {
            for (tag, text) in self.candidates(name) {
                if text == name.as_bytes() && tag & wanted == wanted {
                    found(std::str::from_utf8(text).unwrap_or_default(), tag);
                }
            }
        }
    }

    /// The entries among which a name's are.
    #[inline]
    fn candidates(&self, name: &str) -> impl Iterator<Item = (u32, &[u8])> {
        let hash = self.hasher.hash_one(name.as_bytes());
        let place = |at: usize| self.starts.get(at).map_or(0, |place| *place as usize);
        let bucket = self.filter.may_hold(hash).then(|| {
            let at = bucket(hash, self.starts.len().saturating_sub(1));
            self.entries.get(place(at)..place(at + 1)).unwrap_or_default()
        });
        entries_of(bucket.unwrap_or_default())
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = u32> {
        entries_of(&self.entries).map(|(tag, _)| tag)
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        self.filter.memory_bytes() + size_of_val(&*self.starts) + self.entries.len()
    }
}
