//! MISP events, as feeds and exports hold them: attributes, those of objects too, that are for detection and can be seen on
//! the network, with what tags and galaxies tell of malware, group and confidence.

use std::borrow::Cow;

use super::Reason;
use super::json::Cursor;
use super::note::Draft;
use super::options::attack_id;
use super::reader::{Sink, Spot};
use super::value::{self, Judged, Meaning, Scope};
use crate::format::flat::{self, Place};

const FIELDS: usize = 8;

fn place(_: u8, key: &str) -> Place {
    let slot = match key {
        "info" | "type" => 0,
        "value" => 1,
        "Tag" => 2,
        "Galaxy" => 3,
        "Attribute" => 4,
        "Object" => 5,
        "to_ids" => 6,
        "deleted" => 7,
        _ => return Place::Skip,
    };
    Place::Slot(slot)
}

/// What tags and galaxies tell.
#[derive(Clone, Debug, Default)]
struct Told<'a> {
    /// Name and rank of malware, tool or group; the lowest rank counts.
    label: Option<(u8, Cow<'a, str>)>,
    group: Option<Cow<'a, str>>,
    software: Option<Cow<'a, str>>,
    confidence: Option<u8>,
}

/// Reads one event, or whatever else has attributes.
pub(super) fn event(event: &str, path: &str, cursor: &mut Cursor<'_>, sink: &mut Sink<'_, '_>) {
    let Ok([info, _, tags, galaxies, attributes, objects, ..]) = flat::read::<FIELDS>(event, place) else {
        let line = cursor.line(event);
        return sink.problem(Spot::Object { line, path }, Reason::Object, event);
    };
    let mut told = Told::default();
    told.take(tags, galaxies);
    let info = flat::text(info);
    let meaning = sink.options().meaning(Scope::Registered);
    let mut reader = Attributes { info: &info, event: &told, meaning, cursor };
    reader.read(attributes, &format!("{path}.Attribute"), sink);
    let mut at = 0usize;
    flat::each(objects, |object| {
        let path = format!("{path}.Object[{at}]");
        at += 1;
        match flat::read::<FIELDS>(object, place) {
            Ok([_, _, _, _, attributes, _, _, deleted]) => {
                if is_true(deleted) {
                    let line = reader.cursor.line(object);
                    return sink.problem(Spot::Object { line, path: &path }, Reason::Revoked, "");
                }
                reader.read(attributes, &format!("{path}.Attribute"), sink);
            }
            Err(_) => {
                let line = reader.cursor.line(object);
                sink.problem(Spot::Object { line, path: &path }, Reason::Object, object);
            }
        }
    });
}

/// Reads the attributes of an event.
struct Attributes<'e, 'c, 'd> {
    info: &'e str,
    event: &'e Told<'e>,
    meaning: Meaning,
    cursor: &'c mut Cursor<'d>,
}

impl Attributes<'_, '_, '_> {
    fn read(&mut self, attributes: &str, path: &str, sink: &mut Sink<'_, '_>) {
        let mut at = 0usize;
        flat::each(attributes, |attribute| {
            let path = format!("{path}[{at}]");
            at += 1;
            let line = self.cursor.line(attribute);
            let spot = Spot::Object { line, path: &path };
            match flat::read::<FIELDS>(attribute, place) {
                Ok(raw) => self.one(&raw, spot, sink),
                Err(_) => sink.problem(spot, Reason::Object, attribute),
            }
        });
    }

    fn one(&self, raw: &[&str; FIELDS], spot: Spot<'_>, sink: &mut Sink<'_, '_>) {
        let [kind, text, tags, galaxies, _, _, for_detection, deleted] = *raw;
        let (kind, text) = (flat::text(kind), flat::text(text));
        if is_true(deleted) {
            return sink.problem(spot, Reason::Revoked, &text);
        }
        // What is not seen on the network is of no interest, whatever it is for.
        let seen = values(&kind, &text, self.meaning);
        let Some(seen) = seen else { return sink.problem(spot, Reason::Unseen, &kind) };
        if !is_true(for_detection) {
            return sink.problem(spot, Reason::NotForDetection, &text);
        }
        let mut told = Told::default();
        told.take(tags, galaxies);
        let label = told.label.as_ref().or(self.event.label.as_ref());
        // What has a name of its own is not the software that the event is about, though it may be the same group's.
        let software = self.event.software.as_deref().filter(|_| told.label.is_none());
        let draft = Draft {
            label: label.map_or(self.info, |(_, name)| name),
            confidence: told.confidence.or(self.event.confidence),
            group: told.group.as_deref().or(self.event.group.as_deref()).unwrap_or_default(),
            software: told.software.as_deref().or(software).unwrap_or_default(),
            ..Draft::default()
        };
        for (value, judged) in seen {
            sink.judged(spot, judged, value, &draft);
        }
    }
}

/// What an attribute of this type names; `None` if nothing that is seen on the network.
fn values<'t>(kind: &str, text: &'t str, meaning: Meaning) -> Option<Vec<(&'t str, Judged)>> {
    let exact =
        Meaning { scope: if meaning.scope == Scope::Below { Scope::Below } else { Scope::Exact }, ..meaning };
    let first = text.split('|').next().unwrap_or_default();
    let domain = |text: &str, meaning: Meaning| value::domain(&value::refang(text), meaning.scope);
    let address = |text: &str| value::address(&value::refang(text));
    Some(match kind {
        "ip-dst" => vec![(text, address(text))],
        "ip-dst|port" => vec![(first, address(first))],
        "ip-src" | "ip-src|port" => vec![(text, Err(Reason::Source))],
        "domain" => vec![(text, domain(text, meaning))],
        "hostname" => vec![(text, domain(text, exact))],
        "hostname|port" => vec![(first, domain(first, exact))],
        "domain|ip" => {
            let ip = text.split_once('|').map_or("", |(_, ip)| ip);
            vec![(first, domain(first, meaning)), (ip, address(ip))]
        }
        "url" => vec![(text, value::url(text))],
        "AS" => vec![(text, value::asn(text))],
        "x509-fingerprint-sha1" => vec![(text, value::sha1(text))],
        "x509-fingerprint-sha256" => vec![(text, value::sha256(text))],
        "ja4" | "ja4-fingerprint" => vec![(text, value::ja4(text))],
        _ => return None,
    })
}

/// MISP writes truth as `true`, `1` and `"1"`.
fn is_true(raw: &str) -> bool {
    matches!(flat::scalar(raw), "true" | "1")
}

impl<'a> Told<'a> {
    /// Takes what these tags and galaxies tell.
    fn take(&mut self, tags: &'a str, galaxies: &'a str) {
        let name = |_: u8, key: &str| if key == "name" { Place::Slot(0) } else { Place::Skip };
        flat::each(tags, |tag| {
            let [tag] = flat::read::<1>(tag, name).unwrap_or_default();
            match flat::text(tag) {
                Cow::Borrowed(tag) => self.tag(tag, Cow::Borrowed),
                // Quotes in a tag are escaped, so that this is the usual case.
                Cow::Owned(tag) => self.tag(&tag, |part| Cow::Owned(part.to_owned())),
            }
        });
        let clusters = |_: u8, key: &str| if key == "GalaxyCluster" { Place::Slot(0) } else { Place::Skip };
        flat::each(galaxies, |galaxy| {
            let [list] = flat::read::<1>(galaxy, clusters).unwrap_or_default();
            flat::each(list, |cluster| {
                let [kind, value, ids] = flat::read::<3>(cluster, cluster_place).unwrap_or_default();
                let value = flat::text(value).into_owned();
                self.cluster(&flat::text(kind), &value, |part| Cow::Owned(part.to_owned()));
                flat::each(ids, |id| self.id(flat::scalar(id), Cow::Borrowed));
            });
        });
    }

    fn tag<'t>(&mut self, tag: &'t str, keep: impl Fn(&'t str) -> Cow<'a, str>) {
        let Some((name, value)) = tag.split_once('=') else { return };
        let value = value.trim().trim_matches('"');
        if let Some(galaxy) = name.strip_prefix("misp-galaxy:") {
            return self.cluster(galaxy, value, keep);
        }
        let sure = match (name, value) {
            // The numbers that the taxonomy itself gives.
            ("misp:confidence-level", "completely-confident") => 100,
            ("misp:confidence-level", "usually-confident") => 75,
            ("misp:confidence-level", "fairly-confident") => 50,
            ("misp:confidence-level", "rarely-confident") => 25,
            ("misp:confidence-level", "unconfident") => 0,
            // The middle of each range of STIX 2.1, appendix A.
            ("estimative-language:confidence-in-analytic-judgment", "high") => 85,
            ("estimative-language:confidence-in-analytic-judgment", "moderate") => 50,
            ("estimative-language:confidence-in-analytic-judgment", "low") => 15,
            _ => return,
        };
        self.confidence.get_or_insert(sure);
    }

    /// `mitre-malware`, `Cobalt Strike - S0154`.
    fn cluster<'t>(&mut self, galaxy: &str, value: &'t str, keep: impl Fn(&'t str) -> Cow<'a, str>) {
        let rank = match galaxy {
            "mitre-malware" | "malpedia" | "rat" | "botnet" | "banker" | "stealer" | "backdoor"
            | "ransomware" => 0,
            "mitre-tool" | "tool" => 1,
            "mitre-intrusion-set" | "threat-actor" | "microsoft-activity-group" => 3,
            _ => return,
        };
        let (name, id) = value.rsplit_once(" - ").unwrap_or((value, ""));
        let known = attack_id(id, 'G').or_else(|| attack_id(id, 'S'));
        if let Some(id) = known {
            self.id(id, &keep);
        }
        let name = if known.is_some() { name } else { value };
        if self.label.as_ref().is_none_or(|(before, _)| rank < *before) && !name.is_empty() {
            self.label = Some((rank, keep(name)));
        }
    }

    fn id<'t>(&mut self, id: &'t str, keep: impl Fn(&'t str) -> Cow<'a, str>) {
        if let Some(id) = attack_id(id, 'G') {
            self.group.get_or_insert_with(|| keep(id));
        }
        if let Some(id) = attack_id(id, 'S') {
            self.software.get_or_insert_with(|| keep(id));
        }
    }
}

fn cluster_place(group: u8, key: &str) -> Place {
    match (group, key) {
        (0, "type") => Place::Slot(0),
        (0, "value") => Place::Slot(1),
        (0, "meta") => Place::Inside(1),
        (1, "external_id") => Place::Slot(2),
        _ => Place::Skip,
    }
}
