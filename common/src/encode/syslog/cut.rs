//! Contents that are too long for a message, made shorter so that they still can be read.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::ascii;

/// What a sentence ends in that was cut.
const MARK: &str = "...";

/// The longest beginning of a text that has at most so many bytes.
pub(super) fn within(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A sentence in so much room, with its end marked.
pub(super) fn text(full: &str, room: usize) -> String {
    match room.checked_sub(MARK.len()) {
        Some(room) => format!("{}{MARK}", within(full, room)),
        None => String::new(),
    }
}

/// The members of an object that fit in so much room, in their order; what is no object becomes an empty one.
pub(super) fn json(body: &[u8], room: usize) -> String {
    if room < 2 {
        return String::new();
    }
    let members: Members<'_> = serde_json::from_slice(body).unwrap_or_default();
    let mut out = String::from("{");
    for (name, value) in members.0 {
        let before = out.len();
        if before > 1 {
            out.push(',');
        }
        ascii(&serde_json::to_string(&name).unwrap_or_default(), &mut out);
        out.push(':');
        ascii(value.get(), &mut out);
        if out.len() + 1 > room {
            out.truncate(before);
        }
    }
    out.push('}');
    out
}

/// An object's members as they stand.
#[derive(Default)]
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
