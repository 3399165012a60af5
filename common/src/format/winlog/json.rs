//! One event as JSON, in the shapes that exporters give it, to [`Texts`]. What is not wanted is passed over unread, and
//! the walk ends as soon as the event's number says that nobody wants it.
//!
//! A key means what its place says: `winlog.event_data.Image` and `Event.EventData.Image` are the same text, nested or
//! dotted, and `host.name` (the collector) is never the host.

use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::events::wanted;
use super::texts::{Rank, Slot, Texts, data};

/// Objects within objects that are looked into.
const MAX_DEPTH: u8 = 12;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walked {
    /// Read to its end.
    Whole,
    /// Its number is none of the wanted: what comes behind was not read.
    Unwanted,
    /// Not JSON.
    Damaged,
}

/// Reads one object. The texts are cleared first.
pub(super) fn walk(record: &[u8], texts: &mut Texts) -> Walked {
    texts.clear();
    let mut unwanted = false;
    let mut json = serde_json::Deserializer::from_slice(record);
    let node = Node { texts, unwanted: &mut unwanted, slot: None, scope: Scope::Top, depth: 0 };
    let read = node.deserialize(&mut json).and_then(|()| json.end());
    match read {
        _ if unwanted => Walked::Unwanted,
        Ok(()) => Walked::Whole,
        Err(_) => Walked::Damaged,
    }
}

/// The object that a key stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The event as a whole: flat fields, or the parts below.
    Top,
    /// `System`.
    System,
    /// `EventData`, `event_data`: the fields of the event itself.
    Data,
    /// One `Data` element: its name and its text.
    Named,
    /// The attributes of one.
    NamedAttributes,
    /// A value that carries attributes: `{"#text": 3}`.
    Value(Slot),
    Winlog,
    // Elastic Common Schema.
    Event,
    Process,
    Parent,
    Hash,
    Source,
    Destination,
    Network,
    Dns,
    Question,
    User,
    Sysmon,
    SysmonDns,
    /// Nothing of interest.
    Other,
}

/// What a key leads to: a text, an object, or either.
type Meaning = (Option<Slot>, Scope);

const NOTHING: Meaning = (None, Scope::Other);

fn meaning(scope: Scope, key: &str) -> Meaning {
    let found = exact(scope, key);
    if found != NOTHING {
        return found;
    }
    // `winlog.event_data.Image`: as if it were nested.
    match key.split_once('.') {
        Some((first, rest)) => match exact(scope, first) {
            (_, Scope::Other) => NOTHING,
            (_, inner) => meaning(inner, rest),
        },
        None => NOTHING,
    }
}

fn exact(scope: Scope, key: &str) -> Meaning {
    const fn text(slot: Slot) -> Meaning {
        (Some(slot), Scope::Other)
    }
    const fn value(slot: Slot) -> Meaning {
        (Some(slot), Scope::Value(slot))
    }
    const fn inside(scope: Scope) -> Meaning {
        (None, scope)
    }
    match (scope, key) {
        (Scope::Top, "EventID" | "EventId" | "EventCode" | "event_id")
        | (Scope::System, "EventID" | "EventCode") => value(Slot::Id),
        (Scope::Winlog, "event_id") | (Scope::Event, "code") => text(Slot::EcsId),
        (Scope::Top, "SourceName" | "source_name" | "ProviderName" | "Provider_Name" | "Provider")
        | (Scope::System, "Provider" | "Provider_attributes")
        | (Scope::Winlog, "provider_name") => value(Slot::Provider),
        (Scope::Event, "provider") => text(Slot::Provider),
        (Scope::Top, "Channel" | "log_name" | "LogName") | (Scope::System, "Channel") => value(Slot::Channel),
        (Scope::Winlog, "channel") => text(Slot::Channel),
        (Scope::Top, "Hostname" | "Computer" | "ComputerName" | "computer_name" | "MachineName")
        | (Scope::System, "Computer")
        | (Scope::Winlog, "computer_name") => value(Slot::Host),
        (Scope::Top, "TimeCreated" | "SystemTime")
        | (Scope::System, "TimeCreated" | "TimeCreated_attributes") => value(Slot::Created),
        (Scope::Top, "@timestamp" | "_time") => text(Slot::Stamp),
        (Scope::Top, "EventTime") => text(Slot::EventTime),
        (Scope::Top, "EventReceivedTime") => text(Slot::Received),
        // Wrappers: the XML form, Elasticsearch and Splunk results.
        (Scope::Top, "Event" | "_source" | "result") => inside(Scope::Top),
        (Scope::Top, "System") => inside(Scope::System),
        (Scope::Top, "EventData" | "event_data") | (Scope::Winlog, "event_data") => inside(Scope::Data),
        (Scope::Top, "winlog") => inside(Scope::Winlog),
        (Scope::Top, "event") => inside(Scope::Event),
        (Scope::Top, "process") => inside(Scope::Process),
        (Scope::Top, "source") => inside(Scope::Source),
        (Scope::Top, "destination") => inside(Scope::Destination),
        (Scope::Top, "network") => inside(Scope::Network),
        (Scope::Top, "dns") => inside(Scope::Dns),
        (Scope::Top, "user") => inside(Scope::User),
        (Scope::Top, "sysmon") => inside(Scope::Sysmon),
        (Scope::Data, "Data") => inside(Scope::Named),
        (Scope::Top, name) => data(name).map_or(NOTHING, text),
        (Scope::Data, name) => data(name).map_or(NOTHING, |slot| (Some(slot), Scope::Data)),
        (Scope::Named | Scope::NamedAttributes, "@Name" | "Name" | "name") => text(Slot::DataName),
        (Scope::Named, "#text" | "Value" | "text" | "$t" | "_") => text(Slot::DataText),
        (Scope::Named, "#attributes" | "_attributes" | "$") => inside(Scope::NamedAttributes),
        (Scope::Value(slot), "#text" | "Value" | "text" | "$t" | "_") => text(slot),
        (Scope::Value(Slot::Provider), "Name" | "@Name") => text(Slot::Provider),
        (Scope::Value(Slot::Created), "SystemTime" | "@SystemTime") => text(Slot::Created),
        (Scope::Value(slot), "#attributes" | "_attributes" | "$") => inside(Scope::Value(slot)),
        // Winlogbeat's and Elastic Agent's Sysmon module moves these out of `event_data`.
        (Scope::Process, "pid") => text(Slot::Pid),
        (Scope::Process, "entity_id") => text(Slot::Guid),
        (Scope::Process, "executable") => text(Slot::Image),
        (Scope::Process, "command_line") => text(Slot::CommandLine),
        (Scope::Process, "parent") => inside(Scope::Parent),
        (Scope::Process, "hash") => inside(Scope::Hash),
        (Scope::Parent, "executable") => text(Slot::ParentImage),
        (Scope::Hash, "sha256") => text(Slot::Sha256),
        (Scope::Source, "ip") => text(Slot::SourceIp),
        (Scope::Source, "port") => text(Slot::SourcePort),
        (Scope::Destination, "ip") => text(Slot::DestinationIp),
        (Scope::Destination, "port") => text(Slot::DestinationPort),
        (Scope::Network, "transport" | "iana_number") => text(Slot::Protocol),
        (Scope::Network, "direction") => text(Slot::Direction),
        (Scope::Dns, "question") => inside(Scope::Question),
        (Scope::Dns, "resolved_ip") => text(Slot::QueryResults),
        (Scope::Question, "name") => text(Slot::QueryName),
        (Scope::User, "name") => text(Slot::EcsUser),
        (Scope::User, "domain") => text(Slot::EcsDomain),
        (Scope::Sysmon, "dns") => inside(Scope::SysmonDns),
        (Scope::SysmonDns, "status") => text(Slot::QueryStatus),
        _ => NOTHING,
    }
}

/// A key of an object in `0`.
struct Key(Scope);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Meaning;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Meaning, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Meaning;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Meaning, E> {
        Ok(meaning(self.0, key))
    }
}

/// A value: a text for `slot`, or an object that is `scope`.
struct Node<'t> {
    texts: &'t mut Texts,
    unwanted: &'t mut bool,
    slot: Option<Slot>,
    scope: Scope,
    depth: u8,
}

impl Node<'_> {
    fn put<E: serde::de::Error>(self, write: impl FnOnce(&mut String)) -> Result<(), E> {
        let Some(slot) = self.slot else { return Ok(()) };
        let rank = if self.scope == Scope::Data { Rank::Own } else { Rank::Beside };
        self.texts.put(slot, rank, write);
        if matches!(slot, Slot::Id | Slot::EcsId) && !wanted(self.texts.get(slot)) {
            *self.unwanted = true;
            return Err(E::custom("unwanted"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.put(|out| out.push_str(text))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.put(|out| {
            let _ = write!(out, "{number}");
        })
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.put(|out| {
            let _ = write!(out, "{number}");
        })
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.put(|out| {
            let _ = write!(out, "{number}");
        })
    }

    fn visit_bool<E: serde::de::Error>(self, is: bool) -> Result<(), E> {
        self.put(|out| out.push_str(if is { "true" } else { "false" }))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { texts, unwanted, slot, scope, depth } = self;
        if depth >= MAX_DEPTH || (slot.is_none() && scope != Scope::Named) {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        if let Some(slot) = slot {
            // A list of texts is one text, with semicolons as Sysmon writes it.
            while seq.next_element_seed(Item { texts, slot })?.is_some() {}
            return Ok(());
        }
        loop {
            let node = Node { texts, unwanted, slot: None, scope, depth: depth + 1 };
            if seq.next_element_seed(node)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { texts, unwanted, scope, depth, slot } = self;
        // A field of the event that is an object is none that is known.
        let scope = if slot.is_some() && scope == Scope::Data { Scope::Other } else { scope };
        if scope == Scope::Other || depth >= MAX_DEPTH {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while let Some((slot, inner)) = map.next_key_seed(Key(scope))? {
            if slot.is_none() && inner == Scope::Other {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            map.next_value_seed(Node { texts, unwanted, slot, scope: inner, depth: depth + 1 })?;
        }
        if scope == Scope::Named && !texts.get(Slot::DataName).is_empty() {
            texts.file_data();
        }
        Ok(())
    }
}

/// One of several texts that are one.
struct Item<'t> {
    texts: &'t mut Texts,
    slot: Slot,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.texts.add(self.slot, ";", |out| out.push_str(text));
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Makes readable what is nearly JSON: bytes that are no UTF-8, halves of surrogate pairs (a command line may hold any
/// sixteen-bit unit) and bare control characters. Without it one such character would hide its event.
pub(super) fn mend(record: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for chunk in record.utf8_chunks() {
        mend_text(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn mend_text(mut rest: &[u8], out: &mut Vec<u8>) {
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b'\\' => {
                let used = match unit(rest) {
                    Some(0xd800..=0xdbff)
                        if matches!(rest.get(6..).and_then(unit), Some(0xdc00..=0xdfff)) =>
                    {
                        12
                    }
                    Some(0xd800..=0xdfff) => {
                        out.extend_from_slice("\u{fffd}".as_bytes());
                        rest = rest.get(6..).unwrap_or_default();
                        continue;
                    }
                    _ => 2.min(rest.len()),
                };
                let (escape, tail) = rest.split_at(used);
                out.extend_from_slice(escape);
                rest = tail;
            }
            0..=0x1f => {
                out.push(b' ');
                rest = tail;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
}

/// The unit that `\uXXXX` stands for.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0u16, |sum, &b| {
        let digit = char::from(b).to_digit(16).and_then(|digit| u16::try_from(digit).ok())?;
        Some(sum << 4 | digit)
    })
}
