//! By whose word: the notes of a feed, made harmless, cut, and shared between the entries that say the same.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use super::super::Note;
use super::{MAX_LABEL_BYTES, MAX_REFERENCE_BYTES};
use crate::text::Rule;
use crate::time::Timestamp;

/// Notes that are looked through for an equal one; then they are forgotten and begun anew.
const MAX_SHARED: usize = 4_096;

const LABEL: Rule = Rule { cap: MAX_LABEL_BYTES, lower_case: false, strip_dot: false };
const REFERENCE: Rule = Rule { cap: MAX_REFERENCE_BYTES, lower_case: false, strip_dot: false };

/// What an entry says besides its subject, as the file has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Draft<'a> {
    pub(super) label: &'a str,
    pub(super) confidence: Option<u8>,
    pub(super) group: &'a str,
    pub(super) software: &'a str,
    pub(super) reference: &'a str,
    pub(super) valid_from: Option<Timestamp>,
    pub(super) valid_until: Option<Timestamp>,
}

/// The notes of one feed.
#[derive(Debug)]
pub(super) struct Notes {
    feed: Arc<str>,
    last: Option<Arc<Note>>,
    shared: HashMap<u64, Arc<Note>>,
}

impl Notes {
    pub(super) fn new(feed: &str) -> Self {
        let mut name = String::new();
        LABEL.append(feed, &mut name);
        Self { feed: name.into(), last: None, shared: HashMap::new() }
    }

    /// The note that says this.
    pub(super) fn note(&mut self, draft: &Draft<'_>) -> Arc<Note> {
        let mut scratch: [String; 4] = Default::default();
        let [a, b, c, d] = &mut scratch;
        let clean = Draft {
            label: LABEL.keep(draft.label.trim(), a),
            group: LABEL.keep(draft.group.trim(), b),
            software: LABEL.keep(draft.software.trim(), c),
            reference: REFERENCE.keep(draft.reference.trim(), d),
            ..*draft
        };
        if let Some(note) = self.last.as_ref().filter(|note| is(note, &clean)) {
            return note.clone();
        }
        let mut hasher = DefaultHasher::new();
        clean.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(note) = self.shared.get(&hash).filter(|note| is(note, &clean)) {
            self.last = Some(note.clone());
            return note.clone();
        }
        let note = Arc::new(Note {
            feed: self.feed.clone(),
            label: clean.label.to_owned(),
            confidence: clean.confidence,
            group: clean.group.to_owned(),
            software: clean.software.to_owned(),
            reference: clean.reference.to_owned(),
            valid_from: clean.valid_from,
            valid_until: clean.valid_until,
        });
        if self.shared.len() >= MAX_SHARED {
            self.shared.clear();
        }
        self.shared.insert(hash, note.clone());
        self.last = Some(note.clone());
        note
    }
}

fn is(note: &Note, draft: &Draft<'_>) -> bool {
    note.label == draft.label
        && note.confidence == draft.confidence
        && note.group == draft.group
        && note.software == draft.software
        && note.reference == draft.reference
        && note.valid_from == draft.valid_from
        && note.valid_until == draft.valid_until
}
