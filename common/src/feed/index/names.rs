//! Names -> tags, frozen, with a set of suffixes: an entry may stand for the names below it, too.
//!
//! Laid out as `exact` is, with 32 bits of the hash beside each entry, so that mostly one text is compared: that of the
//! match. Texts are compared whole. A name is looked up whole, and each of its parents that has as many labels as some entry
//! for names below it: two or three, mostly.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::exact::{bucket, buckets, in_buckets, thin_out};

/// Longest name, in bytes: its length takes one byte. RFC 1035 section 2.3.4 allows 253 in text.
pub(super) const MAX_BYTES: usize = 253;
/// The entry stands for the names below it, too.
pub(super) const SUBDOMAINS: u32 = 1 << 30;
/// What one entry takes beside its text: itself, its part of the buckets' places, and the text's length.
pub(super) const BYTES_PER_ENTRY: usize = size_of::<Entry>() + 2 + 1;

/// An entry.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Low bits of the hash.
    print: u32,
    /// Where its text is.
    at: u32,
    tag: u32,
}

/// Frozen names.
#[derive(Debug, Default)]
pub(super) struct Names {
    starts: Box<[u32]>,
    entries: Box<[Entry]>,
    /// Each text behind a byte with its length.
    texts: Box<[u8]>,
    /// Bit n: some entry for names below it has n labels (63: as many or more).
    suffix_labels: u64,
    hasher: RandomState,
}

/// Names being gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    entries: Vec<Entry>,
    texts: Vec<u8>,
    suffix_labels: u64,
    hasher: RandomState,
}

fn text_at(texts: &[u8], at: u32) -> &[u8] {
    let at = at as usize;
    let length = texts.get(at).map_or(0, |length| usize::from(*length));
    texts.get(at + 1..at + 1 + length).unwrap_or_default()
}

/// The low bits of a hash.
fn print(hash: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    let low = hash as u32;
    low
}

fn labels_bit(name: &[u8]) -> u64 {
    1 << (memchr::memchr_iter(b'.', name).count() + 1).min(63)
}

impl Gathered {
    /// Takes in a name of at most [`MAX_BYTES`]; false if there is no room for its text.
    pub(super) fn push(&mut self, name: &str, tag: u32) -> bool {
        let (Ok(at), Ok(length)) = (u32::try_from(self.texts.len()), u8::try_from(name.len())) else {
            return false;
        };
        self.texts.push(length);
        self.texts.extend_from_slice(name.as_bytes());
        if tag & SUBDOMAINS != 0 {
            self.suffix_labels |= labels_bit(name.as_bytes());
        }
        self.entries.push(Entry { print: 0, at, tag });
        true
    }

    /// Freezes them; of several entries for one name the best by `rank` (least first) are kept. Returns how many were let
    /// go of.
    pub(super) fn freeze<R: Ord>(self, rank: impl Fn(u32) -> R) -> (Names, u64) {
        let Self { mut entries, texts, suffix_labels, hasher } = self;
        let count = buckets(entries.len());
        let hash = |entry: &Entry| hasher.hash_one(text_at(&texts, entry.at));
        let mut starts = in_buckets(&mut entries, |entry| bucket(hash(entry), count));
        for entry in &mut entries {
            entry.print = print(hash(entry));
        }
        let text = |entry: &Entry| text_at(&texts, entry.at);
        let dropped = thin_out(
            &mut entries,
            &mut starts,
            |bucket| {
                bucket.sort_unstable_by(|a, b| {
                    (a.print.cmp(&b.print))
                        .then_with(|| text(a).cmp(text(b)))
                        .then_with(|| rank(a.tag).cmp(&rank(b.tag)))
                });
            },
            |a, b| a.print == b.print && text(a) == text(b),
            |a, b| a.print == b.print && a.tag == b.tag && text(a) == text(b),
        );
        // Texts in the order of their entries, each once: neighbours lie beside each other, and nothing unused is kept.
        let mut kept: Vec<u8> = Vec::with_capacity(texts.len());
        let mut last: Option<(u32, u32)> = None;
        for entry in &mut entries {
            let name = text_at(&texts, entry.at);
            entry.at = match last {
                Some((print, at)) if print == entry.print && text_at(&kept, at) == name => at,
                _ => {
                    let at = u32::try_from(kept.len()).unwrap_or(u32::MAX);
                    kept.push(u8::try_from(name.len()).unwrap_or(0));
                    kept.extend_from_slice(name);
                    at
                }
            };
            last = Some((entry.print, entry.at));
        }
        let names =
            Names { starts, entries: entries.into(), texts: kept.into_boxed_slice(), suffix_labels, hasher };
        (names, dropped)
    }
}

impl Names {
    /// Calls `found` with each entry for the name or, if it stands for those too, a parent of it: the name, its tag. The
    /// name is lower case and has no dot at its end.
    pub(super) fn get<'a>(&'a self, name: &str, found: &mut impl FnMut(&'a str, u32)) {
        if self.entries.is_empty() || name.len() > MAX_BYTES {
            return;
        }
        self.whole(name, 0, found);
        if self.suffix_labels == 0 {
            return;
        }
        let mut labels = memchr::memchr_iter(b'.', name.as_bytes()).count() + 1;
        for dot in memchr::memchr_iter(b'.', name.as_bytes()) {
            labels -= 1;
            if self.suffix_labels & (1 << labels.min(63)) != 0
                && let Some(parent) = name.get(dot + 1..)
            {
                self.whole(parent, SUBDOMAINS, found);
            }
        }
    }

    /// The entries for exactly this name that have all of `wanted` set.
    #[inline]
    fn whole<'a>(&'a self, name: &str, wanted: u32, found: &mut impl FnMut(&'a str, u32)) {
        let hash = self.hasher.hash_one(name.as_bytes());
        let at = bucket(hash, self.starts.len().saturating_sub(1));
        let place = |at: usize| self.starts.get(at).map_or(0, |place| *place as usize);
        for entry in self.entries.get(place(at)..place(at + 1)).unwrap_or_default() {
            if entry.print == print(hash) && entry.tag & wanted == wanted {
                let text = text_at(&self.texts, entry.at);
                if text == name.as_bytes() {
                    found(std::str::from_utf8(text).unwrap_or_default(), entry.tag);
                }
            }
        }
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|entry| entry.tag)
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.entries) + self.texts.len()
    }
}
