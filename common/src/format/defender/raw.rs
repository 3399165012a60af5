//! JSON by slices: the values of an object or a list as they stand in the text. Only what is needed is looked into, and
//! only what is escaped is copied.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::Piece;

/// Finds the values of the wanted keys of the object that `text` is; `wanted` tells the place of a key's value. Of equal
/// keys the last counts.
pub(super) fn members<'a>(
    text: &'a str,
    wanted: impl Fn(&str) -> Option<usize>,
    values: &mut [Option<&'a str>],
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members { wanted, values })?;
    json.end()
}

/// Hands out the elements of the list that `text` is.
pub(super) fn elements<'a>(text: &'a str, each: impl FnMut(&'a str)) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_seq(Elements { each })?;
    json.end()
}

/// The text of a value: of a string what it says, of `null` nothing, of anything else how it is written.
pub(super) fn text<'a>(value: &'a str, kept: &mut String) -> Piece<'a> {
    let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inside {
        Some(inside) if inside.contains('\\') => Piece::keep(kept, |kept| unescape(inside, kept)),
        Some(inside) => Piece::Here(inside),
        None if value == "null" => Piece::Here(""),
        None => Piece::Here(value),
    }
}

/// Appends what the inside of a JSON string says. Half a surrogate pair becomes U+FFFD: it is no reason to lose a row.
fn unescape(inside: &str, out: &mut String) {
    let mut rest = inside;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escaped.chars();
        let c = match chars.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (c, used) = unicode(chars.as_str());
                out.push(c);
                rest = chars.as_str().get(used..).unwrap_or_default();
                continue;
            }
            Some(itself) => itself,
            None => return,
        };
        out.push(c);
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// The character behind `\u`, and how many bytes name it.
fn unicode(text: &str) -> (char, usize) {
    let unit = |text: &str| u32::from_str_radix(text.get(..4)?, 16).ok();
    let Some(high) = unit(text) else { return (char::REPLACEMENT_CHARACTER, 0) };
    if let Some(c) = char::from_u32(high) {
        return (c, 4);
    }
    let low = text.get(4..).and_then(|rest| rest.strip_prefix("\\u")).and_then(unit);
    match low {
        Some(low @ 0xdc00..=0xdfff) if high < 0xdc00 => {
            let c = char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
            (c.unwrap_or(char::REPLACEMENT_CHARACTER), 10)
        }
        _ => (char::REPLACEMENT_CHARACTER, 4),
    }
}

struct Members<'v, 'a, W> {
    wanted: W,
    values: &'v mut [Option<&'a str>],
}

impl<'a, W: Fn(&str) -> Option<usize>> Visitor<'a> for Members<'_, 'a, W> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(Key(&self.wanted))? {
            match place.and_then(|place| self.values.get_mut(place)) {
                Some(value) => *value = Some(map.next_value::<&RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct Key<'w, W>(&'w W);

impl<'a, W: Fn(&str) -> Option<usize>> DeserializeSeed<'a> for Key<'_, W> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<W: Fn(&str) -> Option<usize>> Visitor<'_> for Key<'_, W> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok((self.0)(key))
    }
}

struct Elements<E> {
    each: E,
}

impl<'a, E: FnMut(&'a str)> Visitor<'a> for Elements<E> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<&RawValue>()? {
            (self.each)(value.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(value: &str) -> String {
        let mut kept = String::from("before");
        text(value, &mut kept).get(&kept).to_owned()
    }

    #[test]
    fn values_become_texts() {
        assert_eq!(said(r#""C:\\a\"b\/\u00fc\ud83d\ude00\n""#), "C:\\a\"b/ü😀\n");
        assert_eq!(said(r#""\ud83d x\ude00\ud83d\u0041""#), "\u{fffd} x\u{fffd}\u{fffd}A");
        assert_eq!(said("null"), "");
        assert_eq!(said("443"), "443");
        assert_eq!(said("true"), "true");
        assert_eq!(said(r#""null""#), "null");
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let mut values = [None; 1];
        let wanted = |key: &str| (key == "a").then_some(0);
        members(r#" {"a":1,"b":[{"a":2}],"\u0061":{"a": 3}} "#, wanted, &mut values).unwrap();
        assert_eq!(values, [Some(r#"{"a": 3}"#)]);
        assert!(members(r#"{"a":1} x"#, wanted, &mut values).is_err());
        assert!(members("[]", wanted, &mut values).is_err());
    }

    proptest! {
        #[test]
        fn a_string_says_what_was_written(text in "\\PC*|[\\x00-\\x1f\"\\\\]*") {
            prop_assert_eq!(said(&serde_json::to_string(&text).unwrap()), text);
        }

        #[test]
        fn any_inside_of_a_string_returns(text in "[\\\\u0-9a-fdDé\"n]*") {
            let _ = said(&format!("\"{text}\""));
        }
    }
}
