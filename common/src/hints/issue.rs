//! Cuts what a store counted into the documents of one issue, within what readers take.

use super::document::{
    Document, Entry, MAX_DOCUMENT_BYTES, MAX_ENTRIES, MAX_NAME_BYTES, MAX_SHARDS, Subject,
};
use crate::text::is_plain;

/// Room of one document for entries: what else stands in it takes less than a hundred bytes.
const ROOM: usize = MAX_DOCUMENT_BYTES - 1024;
/// Room of an issue, less what the cutting may leave unused at the end of each document.
const ALL_ROOM: usize = (ROOM - MAX_NAME_BYTES) * MAX_SHARDS as usize;

/// What became of what was counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Issue {
    /// The documents, each to be signed.
    pub documents: Vec<Document>,
    /// Entries that no name or count allows.
    pub unsound: usize,
    /// Entries for which there was no room.
    pub dropped: usize,
}

/// Cuts `entries`, the most important first, into documents like `model`: its shards and entries are written over. What is
/// named twice stands with the higher count.
#[must_use]
pub fn cut(model: &Document, entries: impl IntoIterator<Item = Entry>) -> Issue {
    let mut issue = Issue::default();
    let mut kept = std::collections::BTreeMap::new();
    let mut bytes = 0;
    for Entry { subject, hosts } in entries {
        if !subject.is_sound() || hosts == 0 || hosts > model.hosts {
            issue.unsound += 1;
            continue;
        }
        if let Some(known) = kept.get_mut(&subject) {
            *known = hosts.max(*known);
            continue;
        }
        let size = size(&subject);
        // Documents end by count or by bytes: half of either makes no more than all of them together.
        if kept.len() == MAX_ENTRIES * usize::from(MAX_SHARDS) / 2 || bytes + size > ALL_ROOM / 2 {
            issue.dropped += 1;
            continue;
        }
        bytes += size;
        kept.insert(subject, hosts);
    }
    let mut parts: Vec<Vec<Entry>> = vec![Vec::new()];
    let mut filled = 0;
    for (subject, hosts) in kept {
        let size = size(&subject);
        if filled + size > ROOM || parts.last().is_some_and(|part| part.len() == MAX_ENTRIES) {
            parts.push(Vec::new());
            filled = 0;
        }
        filled += size;
        if let Some(part) = parts.last_mut() {
            part.push(Entry { subject, hosts });
        }
    }
    let of = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    issue.documents =
        (0..).zip(parts).map(|(shard, entries)| Document { shard, of, entries, ..model.clone() }).collect();
    issue
}

/// A destination as it is called: an address, or a name.
#[must_use]
pub fn destination(text: &str) -> Subject {
    match text.parse::<std::net::IpAddr>() {
        Ok(ip) => Subject::Address(ip.to_canonical()),
        Err(_) => Subject::Name(text.to_lowercase()),
    }
}

/// Bytes that an entry takes at most.
fn size(subject: &Subject) -> usize {
    let text = match subject {
        Subject::Name(name) | Subject::Domain(name) => name.len(),
        Subject::Rhythm { destination, .. } => destination.len() + 5,
        Subject::Address(_) => 17,
        Subject::Ja4(_) => 37,
        Subject::Program(_) => 32,
    };
    // Kind, length, and five bytes for the hosts.
    text + 1 + 2 + 5
}

/// Whether a name is one that the engine would look up: no more is wanted of it.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(|c| is_plain(c) && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::super::SecretKey;
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn an_issue_holds_what_matters_most_and_each_document_can_be_signed() {
        let model = Document {
            serial: 1,
            shard: 0,
            of: 1,
            made: Timestamp::ZERO,
            expires: Timestamp::from_nanos(1),
            hosts: 100,
            entries: Vec::new(),
        };
        let key = SecretKey::of_seed(&[7; 32]);
        for length in [1, 40, 240] {
            let name = |n: u32| Subject::Name(format!("{n:08}{}", "x".repeat(length)));
            let issue = cut(&model, (0..40_000).map(|n| Entry { subject: name(n), hosts: 5 }));
            let kept: usize = issue.documents.iter().map(|one| one.entries.len()).sum();
            assert_eq!((kept + issue.dropped, issue.unsound), (40_000, 0));
            assert!(kept >= 3_500 && issue.documents.len() <= 8, "{kept} in {}", issue.documents.len());
            let last = u32::try_from(kept).unwrap() - 1;
            let names: Vec<_> = issue.documents.iter().flat_map(|one| &one.entries).collect();
            assert!(names.iter().all(|entry| entry.subject <= name(last)), "the first ones are kept");
            issue.documents.iter().for_each(|one| assert!(one.sign(&key).is_ok()));
        }
        let odd = [("", 1), ("a b", 1), ("\u{202e}", 1), ("a", 0), ("a", 101), ("b", 3), ("b", 7)];
        let issue =
            cut(&model, odd.map(|(text, hosts)| Entry { subject: Subject::Name(text.into()), hosts }));
        assert_eq!((issue.unsound, issue.documents[0].entries.len()), (5, 1));
        assert_eq!(issue.documents[0].entries[0].hosts, 7);
        assert_eq!(cut(&model, []).documents.len(), 1, "a fleet of which there is nothing to say says so");
    }
}
