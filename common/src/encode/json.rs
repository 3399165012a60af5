//! JSON that is harmless to look at: what could steer a terminal or deceive a log viewer is written as `\uXXXX`.
//!
//! A JSON parser reads the very same string back. Everything that Sonde writes as JSON goes through here.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::text::is_plain;

/// Compact JSON in which every character that is not [plain](is_plain) is escaped: control characters, DEL and C1,
/// bidi and invisible characters, U+2028 and U+2029.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainFormatter;

impl Formatter for PlainFormatter {
    /// Control characters below U+0020, the quote and the backslash never come here: `serde_json` escapes them itself.
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((start, c)) = rest.char_indices().find(|&(_, c)| !is_plain(c)) {
            // Both offsets come from `char_indices`, so neither split fails.
            let Some((plain, tail)) = rest.split_at_checked(start) else { break };
            let Some((_, tail)) = tail.split_at_checked(c.len_utf8()) else { break };
            out.write_all(plain.as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = tail;
        }
        out.write_all(rest.as_bytes())
    }
}

/// Writes a value as one line of JSON, without the line's end.
///
/// # Errors
/// When the writer fails, or a map of the value has keys that are not strings.
pub fn write<T: ?Sized + Serialize>(out: impl io::Write, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, PlainFormatter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, value).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hostile_strings_are_shown_harmlessly_and_read_back_intact() {
        for (hostile, shown) in [
            ("a\x1b[2J\x07", r#""a\u001b[2J\u0007""#),
            ("a\x7fb\u{9b}31m", r#""a\u007fb\u009b31m""#),
            ("gpj\u{202e}exe.a", r#""gpj\u202eexe.a""#),
            ("x\u{2028}y\u{2029}z", r#""x\u2028y\u2029z""#),
            ("\u{feff}\u{200b}", r#""\ufeff\u200b""#),
            ("tag\u{e0041}", r#""tag\udb40\udc41""#),
            ("\"quo\\te\"\n", r#""\"quo\\te\"\n""#),
            ("bücher.example 漢", "\"bücher.example 漢\""),
        ] {
            assert_eq!(text(hostile), shown);
            assert_eq!(serde_json::from_str::<String>(shown).unwrap(), hostile);
        }
    }

    proptest! {
        #[test]
        fn any_string_comes_out_plain_and_reads_back(chars in proptest::collection::vec(any::<char>(), 0..40)) {
            let value: String = chars.into_iter().collect();
            let json = text(&value);
            prop_assert!(json.chars().all(is_plain));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value);
        }
    }
}
