//! A JSON object as the raw texts of the fields that a log reader wants: borrowed, in one pass, nothing kept of the rest.
//!
//! Numbers stay text, so that seconds are read to the nanosecond. What a field means is the reader's business.

use std::borrow::Cow;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::row::{Cause, RowError, RowSink};

/// What to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Keep its value in this slot.
    Slot(usize),
    /// Look into its value, which is an object: its keys are looked up in this group.
    Inside(u8),
    /// Pass over it.
    Skip,
}

/// Where a key belongs, given the group it stands in. The object itself is group 0.
pub(crate) type Places = fn(u8, &str) -> Place;

/// Reads the object that `text` is; a slot without a value is empty. The last of equal keys counts, as it does nearly
/// everywhere else.
pub(crate) fn read<const N: usize>(text: &str, places: Places) -> Result<[&str; N], serde_json::Error> {
    let mut slots = [""; N];
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Object { slots: &mut slots, places, group: 0 })?;
    json.end()?;
    Ok(slots)
}

/// Reads a line that is one object; an empty one is nothing. Bytes that are no UTF-8 become U+FFFD, so that nobody hides a
/// connection by one byte of its name. `take` gets the fields.
pub(super) fn line<const N: usize>(
    line: &[u8],
    places: Places,
    sink: &mut dyn RowSink,
    take: impl FnOnce([&str; N], &mut dyn RowSink),
) {
    let lossy;
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(_) => {
            lossy = String::from_utf8_lossy(line);
            &lossy
        }
    };
    let text = text.trim_start_matches('\u{feff}').trim_ascii();
    if text.is_empty() {
        return;
    }
    match read(text, places) {
        Ok(fields) => take(fields, sink),
        Err(_) => sink.bad(RowError::row(Cause::Json, text)),
    }
}

/// Whether a file that begins so begins with an object that has all of these keys and one of those, as far as its first line
/// shows. Keys are given with their quotes.
pub(super) fn begins_with_keys(head: &[u8], all: &[&str], one: &[&str]) -> bool {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let has = |key: &&str| memchr::memmem::find(line, key.as_bytes()).is_some();
    line.starts_with(b"{") && all.iter().all(has) && one.iter().any(has)
}

/// The text inside a string without escapes, a number, `true` or `false`; empty for anything else.
pub(crate) fn scalar(raw: &str) -> &str {
    match raw.as_bytes().first() {
        Some(b'"') => raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or_default(),
        Some(b'{' | b'[' | b'n') | None => "",
        Some(_) => raw,
    }
}

/// As [`scalar`], with escapes resolved; it allocates for those alone.
pub(crate) fn text(raw: &str) -> Cow<'_, str> {
    let inner = scalar(raw);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // A lone surrogate half is valid JSON and no text; what stands there is shown as it stands.
    serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// The raw elements of an array, one after the other; none if it is no array.
pub(crate) fn each<'a>(raw: &'a str, mut take: impl FnMut(&'a str)) {
    struct Elements<F>(F);
    impl<'de, F: FnMut(&'de str)> Visitor<'de> for Elements<F> {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(element) = seq.next_element::<&'de RawValue>()? {
                (self.0)(element.get());
            }
            Ok(())
        }
    }
    if raw.starts_with('[') {
        // The text is a value that was read before, so it is whole.
        let _ = serde_json::Deserializer::from_str(raw).deserialize_seq(Elements(&mut take));
    }
}

struct Object<'s, 'de> {
    slots: &'s mut [&'de str],
    places: Places,
    group: u8,
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(Key { places: self.places, group: self.group })? {
            match place {
                Place::Slot(slot) => {
                    let value: &'de RawValue = map.next_value()?;
                    if let Some(slot) = self.slots.get_mut(slot) {
                        *slot = value.get();
                    }
                }
                Place::Inside(group) => {
                    map.next_value_seed(Object { slots: self.slots, places: self.places, group })?;
                }
                Place::Skip => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    // A value of another kind where an object is usual holds nothing that is looked for.
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

struct Key {
    places: Places,
    group: u8,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Place;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Place, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Place;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Place, E> {
        Ok((self.places)(self.group, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(group: u8, key: &str) -> Place {
        match (group, key) {
            (0, "a") => Place::Slot(0),
            (0, "in") => Place::Inside(1),
            (1, "a") => Place::Slot(1),
            _ => Place::Skip,
        }
    }

    #[test]
    fn wanted_values_come_as_they_stand_and_the_rest_is_passed_over() {
        let json = r#" {"x":[1,{"a":2}],"in":{"b":{"a":7},"a":0.0640},"a": "q\u00e9" ,"y":null} "#;
        assert_eq!(read::<2>(json, places).unwrap(), [r#""q\u00e9""#, "0.0640"]);
        for other in ["7", "-7", "7.5", "\"s\"", "true", "null", "[[],{}]"] {
            assert_eq!(read::<2>(&format!(r#"{{"in":{other},"a":1}}"#), places).unwrap(), ["1", ""]);
        }
        for bad in ["", "7", "[]", "{", "{}{}", r#"{"a"}"#, r#"{"a":"b}"#, "null"] {
            assert!(read::<2>(bad, places).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_borrowed_unless_they_are_escaped() {
        assert!(matches!(text(r#""plain""#), Cow::Borrowed("plain")));
        assert_eq!(text(r#""q\u00e9\"""#), "qé\"");
        assert_eq!(text(r#""\ud800""#), r"\ud800", "half a surrogate pair is no text");
        assert_eq!(["1.50", "true", "null", "{}", "[]", ""].map(scalar), ["1.50", "true", "", "", "", ""]);
    }

    #[test]
    fn arrays_give_their_elements_and_nothing_else_does() {
        let list = |raw| {
            let mut all = Vec::new();
            each(raw, |element| all.push(element));
            all
        };
        assert_eq!(list(r#"["a", 1.0,[2],null]"#), [r#""a""#, "1.0", "[2]", "null"]);
        assert!(list("7").is_empty() && list(r#""a""#).is_empty() && list("").is_empty());
    }
}
