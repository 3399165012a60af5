//! STIX 2.x bundles: indicators whose patterns can be looked up, with what they are related to.
//!
//! The objects are walked twice, since a relationship may stand before or behind what it relates. Nothing of a bundle is
//! kept but ids, relationships and the names of malware, tools, campaigns and groups, all borrowed from the document.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::json::Cursor;
use super::note::Draft;
use super::options::attack_id;
use super::pattern;
use super::reader::{Sink, Spot};
use super::{MAX_RELATED, MAX_RELATIONSHIPS, Reason};
use crate::format::fields;
use crate::format::flat::{self, Place};
use crate::time::Timestamp;

/// Relationships that are followed from an indicator, one behind the other.
const MAX_HOPS: usize = 4;
/// Objects that are looked at for one indicator.
const MAX_LOOKED_AT: usize = 64;

const FIELDS: usize = 16;
const NAMES: [&str; FIELDS] = [
    "type",
    "id",
    "pattern",
    "pattern_type",
    "valid_from",
    "valid_until",
    "confidence",
    "revoked",
    "name",
    "modified",
    "labels",
    "indicator_types",
    "external_references",
    "source_ref",
    "target_ref",
    "relationship_type",
];

/// The raw fields of an object.
type Raw<'a> = [&'a str; FIELDS];

fn place(_: u8, key: &str) -> Place {
    NAMES.iter().position(|name| *name == key).map_or(Place::Skip, Place::Slot)
}

/// Something that an indicator may indicate.
#[derive(Debug, Default)]
struct Related<'a> {
    rank: u8,
    name: Cow<'a, str>,
    group: Option<Cow<'a, str>>,
    software: Option<Cow<'a, str>>,
}

/// What the first walk gathers.
#[derive(Debug, Default)]
struct Graph<'a> {
    related: HashMap<Cow<'a, str>, Related<'a>>,
    /// From, to; sorted.
    edges: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// When the newest version of an indicator was made, of those that have a time.
    newest: HashMap<Cow<'a, str>, Timestamp>,
    left_out: bool,
}

/// Reads the objects of a bundle; `objects` is a JSON array.
pub(super) fn read<'a>(objects: &'a str, cursor: &mut Cursor<'_>, sink: &mut Sink<'_, '_>) {
    let graph = Graph::of(objects);
    if graph.left_out {
        sink.problem(Spot::Line(1), Reason::TooMany, "relationships");
    }
    let mut at = 0usize;
    flat::each(objects, |object: &'a str| {
        let index = at;
        at += 1;
        let line = cursor.line(object);
        let Ok(raw) = flat::read::<FIELDS>(object, place) else {
            let path = format!("objects[{index}]");
            return sink.problem(Spot::Object { line, path: &path }, Reason::Object, object);
        };
        let [kind, id, ..] = raw;
        if flat::scalar(kind) != "indicator" {
            return;
        }
        let id = flat::text(id);
        let path = format!("objects[{index}] {}", id.chars().take(64).collect::<String>());
        indicator(&raw, &graph, Spot::Object { line, path: &path }, sink);
    });
}

fn indicator(raw: &Raw<'_>, graph: &Graph<'_>, spot: Spot<'_>, sink: &mut Sink<'_, '_>) {
    let [
        _,
        id,
        pattern,
        pattern_type,
        from,
        until,
        confidence,
        revoked,
        name,
        modified,
        labels,
        types,
        references,
        ..,
    ] = *raw;
    let id = flat::text(id);
    let text = flat::text(pattern);
    let replaced = graph.newest.get(&id).is_some_and(|newest| {
        fields::date_time(&flat::text(modified)).is_none_or(|modified| modified < *newest)
    });
    let benign = |list| {
        let mut benign = false;
        flat::each(list, |label| benign |= flat::scalar(label) == "benign");
        benign
    };
    if flat::scalar(revoked) == "true" || replaced || benign(labels) || benign(types) {
        return sink.problem(spot, Reason::Revoked, &text);
    }
    if !matches!(flat::scalar(pattern_type), "" | "stix") {
        return sink.problem(spot, Reason::PatternType, &flat::text(pattern_type));
    }
    let mut draft = Draft::default();
    for (raw, slot) in [(from, &mut draft.valid_from), (until, &mut draft.valid_until)] {
        let text = flat::text(raw);
        if text.is_empty() {
            continue;
        }
        *slot = fields::date_time(&text);
        if slot.is_none() {
            return sink.problem(spot, Reason::Time, &text);
        }
    }
    if let (Some(begin), Some(end)) = (draft.valid_from, draft.valid_until)
        && end <= begin
    {
        return sink.problem(spot, Reason::Time, &flat::text(until));
    }
    let sure = flat::scalar(confidence);
    draft.confidence = sure.parse().ok().filter(|value| *value <= 100);
    if !sure.is_empty() && draft.confidence.is_none() {
        sink.problem(spot, Reason::Confidence, sure);
    }
    let told = graph.told(&id);
    let name = flat::text(name);
    let reference = first_url(references);
    let own = attack_ids(references);
    draft.label = if told.label.is_empty() { &name } else { told.label };
    draft.group = own.0.as_deref().unwrap_or(told.group);
    draft.software = own.1.as_deref().unwrap_or(told.software);
    draft.reference = &reference;
    match pattern::read(&text) {
        Err(reason) => sink.problem(spot, reason, &text),
        Ok(found) => {
            for (value, judged) in found {
                sink.judged(spot, judged, &value, &draft);
            }
        }
    }
}

/// What the relations of an indicator tell.
#[derive(Debug, Default)]
struct Told<'g> {
    label: &'g str,
    group: &'g str,
    software: &'g str,
}

impl<'a> Graph<'a> {
    fn of(objects: &'a str) -> Self {
        let mut graph = Self::default();
        flat::each(objects, |object| {
            if let Ok(raw) = flat::read::<FIELDS>(object, place) {
                graph.add(&raw);
            }
        });
        graph.edges.sort_unstable();
        graph.edges.dedup();
        graph
    }

    fn add(&mut self, raw: &Raw<'a>) {
        let [kind, id, _, _, _, _, _, revoked, name, modified, _, _, references, source, target, relation] =
            *raw;
        let rank = match flat::scalar(kind) {
            "relationship" => {
                let followed = matches!(
                    flat::scalar(relation),
                    "indicates" | "attributed-to" | "variant-of" | "authored-by"
                );
                if !followed || flat::scalar(revoked) == "true" {
                    return;
                }
                if self.edges.len() >= MAX_RELATIONSHIPS {
                    self.left_out = true;
                    return;
                }
                return self.edges.push((flat::text(source), flat::text(target)));
            }
            "indicator" => {
                if let Some(time) = fields::date_time(&flat::text(modified)) {
                    let newest = self.newest.entry(flat::text(id)).or_insert(time);
                    *newest = time.max(*newest);
                }
                return;
            }
            // Whose name says most of a connection comes first.
            "malware" => 0,
            "tool" => 1,
            "campaign" => 2,
            "intrusion-set" => 3,
            "threat-actor" => 4,
            _ => return,
        };
        if self.related.len() >= MAX_RELATED {
            self.left_out = true;
            return;
        }
        let (group, software) = attack_ids(references);
        let related = Related { rank, name: flat::text(name), group, software };
        self.related.insert(flat::text(id), related);
    }

    /// Follows the relationships of an indicator. They may lead in a circle; nothing is looked at twice.
    fn told(&self, id: &str) -> Told<'_> {
        let mut seen = vec![id];
        let mut fresh = 0;
        // By rank and name, so that the order of the bundle does not matter.
        let mut found: BTreeMap<(u8, &str, &str), &Related<'_>> = BTreeMap::new();
        for _ in 0..MAX_HOPS {
            let end = seen.len();
            for at in fresh..end {
                let Some(from) = seen.get(at).copied() else { continue };
                let first = self.edges.partition_point(|(source, _)| source.as_ref() < from);
                let targets = self.edges.iter().skip(first).take_while(|(source, _)| source.as_ref() == from);
                for (_, target) in targets.take(MAX_LOOKED_AT) {
                    let target = target.as_ref();
                    if seen.len() >= MAX_LOOKED_AT || seen.contains(&target) {
                        continue;
                    }
                    seen.push(target);
                    if let Some(related) = self.related.get(target) {
                        found.insert((related.rank, &related.name, target), related);
                    }
                }
            }
            fresh = end;
        }
        let mut told = Told::default();
        for related in found.values() {
            for (slot, text) in [
                (&mut told.label, Some(related.name.as_ref())),
                (&mut told.group, related.group.as_deref()),
                (&mut told.software, related.software.as_deref()),
            ] {
                if slot.is_empty() {
                    *slot = text.unwrap_or_default();
                }
            }
        }
        told
    }
}

fn reference_place(_: u8, key: &str) -> Place {
    match key {
        "source_name" => Place::Slot(0),
        "external_id" => Place::Slot(1),
        "url" => Place::Slot(2),
        _ => Place::Skip,
    }
}

/// The ATT&CK ids of group and software in a list of references.
fn attack_ids(references: &str) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    let (mut group, mut software) = (None, None);
    flat::each(references, |reference| {
        let [source, id, _] = flat::read::<3>(reference, reference_place).unwrap_or_default();
        if !flat::scalar(source).starts_with("mitre-") {
            return;
        }
        let id = flat::scalar(id);
        if let Some(id) = attack_id(id, 'G') {
            group.get_or_insert(Cow::Borrowed(id));
        }
        if let Some(id) = attack_id(id, 'S') {
            software.get_or_insert(Cow::Borrowed(id));
        }
    });
    (group, software)
}

fn first_url(references: &str) -> Cow<'_, str> {
    let mut url = Cow::Borrowed("");
    flat::each(references, |reference| {
        let [_, _, found] = flat::read::<3>(reference, reference_place).unwrap_or_default();
        if url.is_empty() {
            url = flat::text(found);
        }
    });
    url
}
