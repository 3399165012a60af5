//! What feeds say of their entries, each text once: entries of one feed differ in a date and a link, and share the rest.

use std::cmp::Reverse;
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::super::Note;
use crate::text::Rule;
use crate::time::Timestamp;

/// Longest text of a note that is kept, in bytes; a link may be long.
const MAX_TEXT_BYTES: usize = 512;
/// How texts of feeds are kept.
const NOTE_TEXT: Rule = Rule { cap: MAX_TEXT_BYTES, lower_case: false, strip_dot: false };
/// Where the empty text is.
const EMPTY: u32 = 0;
/// Stands for no confidence.
const UNTOLD: u8 = u8::MAX;
/// Confidence of a feed that tells of none: it is on the user's list, which is a word by itself.
pub const DEFAULT_CONFIDENCE: u8 = 75;

/// A note, its texts by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stored {
    from: i64,
    until: i64,
    feed: u32,
    label: u32,
    group: u32,
    software: u32,
    reference: u32,
    confidence: u8,
}

/// What a note takes beside its texts.
pub(super) const BYTES_PER_NOTE: usize = size_of::<Stored>();

/// Frozen notes.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: Box<[Stored]>,
    /// Each text behind two bytes with its length.
    texts: Box<[u8]>,
}

/// Notes being gathered.
#[derive(Debug)]
pub(super) struct Gathered {
    notes: Vec<Stored>,
    texts: Vec<u8>,
    known_notes: HashTable<u32>,
    known_texts: HashTable<u32>,
    hasher: RandomState,
    scratch: String,
    /// Links that were left out for want of room.
    pub(super) cut: u64,
}

fn text_at(texts: &[u8], at: u32) -> &str {
    let at = at as usize;
    let length =
        texts.get(at..at + 2).and_then(|length| length.try_into().ok()).map_or(0, u16::from_le_bytes);
    let text = texts.get(at + 2..at + 2 + usize::from(length)).unwrap_or_default();
    std::str::from_utf8(text).unwrap_or_default()
}

impl Gathered {
    pub(super) fn new() -> Self {
        Self {
            notes: Vec::new(),
            // The empty text.
            texts: vec![0; 2],
            known_notes: HashTable::new(),
            known_texts: HashTable::new(),
            hasher: RandomState::default(),
            scratch: String::new(),
            cut: 0,
        }
    }

    /// Bytes that the frozen notes will take.
    pub(super) fn bytes(&self) -> usize {
        self.notes.len() * BYTES_PER_NOTE + self.texts.len()
    }

    /// The number of a note, kept once however often it comes. Without `links`, a reference that is not known yet is left
    /// out.
    pub(super) fn note(&mut self, note: &Note, links: bool) -> u32 {
        let nanos = |time: Option<Timestamp>, without| time.map_or(without, Timestamp::nanos);
        let feed = self.text(&note.feed, true).unwrap_or(EMPTY);
        let label = self.text(&note.label, true).unwrap_or(EMPTY);
        let group = self.text(&note.group, true).unwrap_or(EMPTY);
        let software = self.text(&note.software, true).unwrap_or(EMPTY);
        let reference = self.text(&note.reference, links).unwrap_or_else(|| {
            self.cut += 1;
            EMPTY
        });
        let stored = Stored {
            from: nanos(note.valid_from, i64::MIN),
            until: nanos(note.valid_until, i64::MAX),
            feed,
            label,
            group,
            software,
            reference,
            confidence: note.confidence.map_or(UNTOLD, |confidence| confidence.min(100)),
        };
        let Self { notes, known_notes, hasher, .. } = self;
        let same = |&at: &u32| notes.get(at as usize) == Some(&stored);
        if let Some(&known) = known_notes.find(hasher.hash_one(stored), same) {
            return known;
        }
        let at = u32::try_from(notes.len()).unwrap_or(u32::MAX);
        notes.push(stored);
        known_notes.insert_unique(hasher.hash_one(stored), at, |&at| {
            notes.get(at as usize).map_or(0, |note| hasher.hash_one(note))
        });
        at
    }

    /// The place of a text; `None` if it is not known and `new` ones are not wanted.
    fn text(&mut self, text: &str, new: bool) -> Option<u32> {
        let Self { texts, known_texts, hasher, scratch, .. } = self;
        let text = NOTE_TEXT.keep(text, scratch);
        if text.is_empty() {
            return Some(EMPTY);
        }
        let hash = hasher.hash_one(text);
        if let Some(&known) = known_texts.find(hash, |&at| text_at(texts, at) == text) {
            return Some(known);
        }
        let at = u32::try_from(texts.len()).ok().filter(|_| new)?;
        texts.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        texts.extend_from_slice(text.as_bytes());
        known_texts.insert_unique(hash, at, |&at| hasher.hash_one(text_at(texts, at)));
        Some(at)
    }

    pub(super) fn freeze(self) -> Notes {
        Notes { notes: self.notes.into(), texts: self.texts.into() }
    }
}

impl Notes {
    /// The order in which entries of one subject are kept: the surest first, then the one that holds longest, then by feed
    /// and label, so that the order in which feeds are read decides nothing.
    pub(super) fn rank(&self, number: u32) -> impl Ord {
        let note = self.get(number);
        let Stored { from, until, .. } = note.stored();
        let texts = [note.feed(), note.label(), note.reference(), note.group(), note.software()];
        (Reverse(note.sureness()), Reverse(until), from, texts)
    }

    /// A note by its number.
    pub(super) fn get(&self, number: u32) -> NoteRef<'_> {
        NoteRef { notes: self, number }
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.notes) + self.texts.len()
    }
}

const NONE: Stored = Stored {
    from: i64::MIN,
    until: i64::MAX,
    feed: EMPTY,
    label: EMPTY,
    group: EMPTY,
    software: EMPTY,
    reference: EMPTY,
    confidence: UNTOLD,
};

/// Whether an entry holds when something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// It holds.
    Current,
    /// It was listed a little later: infrastructure serves before it is known.
    Early,
    /// It holds no more, or held much later: what used the place then was somebody else.
    Outside,
}

/// How long before an entry begins to hold a sight of its subject still speaks: thirty days, in nanoseconds.
pub const EARLY: i64 = 30 * 86_400 * crate::time::NANOS_PER_SEC;

/// A note of the index.
#[derive(Clone, Copy, Debug)]
pub struct NoteRef<'a> {
    notes: &'a Notes,
    number: u32,
}

impl<'a> NoteRef<'a> {
    /// The note itself, read only where somebody wants to know.
    fn stored(&self) -> Stored {
        self.notes.notes.get(self.number as usize).copied().unwrap_or(NONE)
    }

    /// Name of the feed.
    #[must_use]
    pub fn feed(&self) -> &'a str {
        text_at(&self.notes.texts, self.stored().feed)
    }

    /// What the feed calls it.
    #[must_use]
    pub fn label(&self) -> &'a str {
        text_at(&self.notes.texts, self.stored().label)
    }

    /// ATT&CK group.
    #[must_use]
    pub fn group(&self) -> &'a str {
        text_at(&self.notes.texts, self.stored().group)
    }

    /// ATT&CK software.
    #[must_use]
    pub fn software(&self) -> &'a str {
        text_at(&self.notes.texts, self.stored().software)
    }

    /// Where to read more.
    #[must_use]
    pub fn reference(&self) -> &'a str {
        text_at(&self.notes.texts, self.stored().reference)
    }

    /// The feed's confidence, 0..=100, if it tells of one.
    #[must_use]
    pub fn confidence(&self) -> Option<u8> {
        Some(self.stored().confidence).filter(|confidence| *confidence != UNTOLD)
    }

    /// The confidence that counts.
    #[must_use]
    pub fn sureness(&self) -> u8 {
        self.confidence().unwrap_or(DEFAULT_CONFIDENCE)
    }

    /// It holds from then…
    #[must_use]
    pub fn valid_from(&self) -> Option<Timestamp> {
        Some(self.stored().from).filter(|nanos| *nanos != i64::MIN).map(Timestamp::from_nanos)
    }

    /// …until then.
    #[must_use]
    pub fn valid_until(&self) -> Option<Timestamp> {
        Some(self.stored().until).filter(|nanos| *nanos != i64::MAX).map(Timestamp::from_nanos)
    }

    /// Whether it holds for something that was seen from `since` to `until`.
    #[must_use]
    pub fn validity(&self, since: Timestamp, until: Timestamp) -> Validity {
        let Stored { from, until: end, .. } = self.stored();
        if since.nanos() > end {
            Validity::Outside
        } else if until.nanos() >= from {
            Validity::Current
        } else if until.nanos() >= from.saturating_sub(EARLY) {
            Validity::Early
        } else {
            Validity::Outside
        }
    }
}
