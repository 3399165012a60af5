//! Values as literals of the languages that they are written into: names from the wire never end the literal they stand in.
//!
//! Each language has one function that gives a whole literal, its quotes included, or `None` where the value cannot be said
//! without a second meaning (a wildcard that has no escape, a character that a viewer would not see): the condition is left
//! out then. Templates hold no quotes of their own around a placeholder.

use std::fmt::Write as _;

use crate::text::{escape, is_plain};

/// Longest value of a query or command, in bytes: a longer one is none, since a cut one would match nothing.
pub const MAX_LITERAL_BYTES: usize = 4_096;
/// Longest value that is shown in a sentence, in characters; what is longer is cut.
pub const MAX_SHOWN_CHARS: usize = 160;

/// What a value is written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A sentence: the value stands in backticks, as Markdown has it.
    Prose,
    /// A POSIX shell's command.
    Shell,
    /// A PowerShell command.
    PowerShell,
    /// Kusto: Microsoft Defender and Sentinel.
    Kql,
    /// Splunk's search language.
    Spl,
    /// Elastic's piped language.
    Esql,
    /// A value of a Sigma rule's detection, where `*`, `?` and `\` have a meaning.
    Sigma,
    /// Any other text of a YAML document.
    Yaml,
}

impl Language {
    /// The text as a literal of this language, quotes included; `None` where it cannot be said.
    #[must_use]
    pub fn literal(self, text: &str) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        if self == Self::Prose {
            return Some(prose(text));
        }
        if text.len() > MAX_LITERAL_BYTES {
            return None;
        }
        match self {
            Self::Prose => None,
            Self::Shell => shell(text),
            Self::PowerShell => powershell(text),
            Self::Kql => Some(kql(text)),
            Self::Spl => spl(text),
            Self::Esql => esql(text),
            Self::Sigma => sigma(text),
            Self::Yaml => Some(yaml(text)),
        }
    }
}

/// In backticks. A backtick of the text would end them (CommonMark 6.1), so it is shown as an apostrophe.
fn prose(text: &str) -> String {
    let text = escape(text);
    let mut shown: String =
        text.chars().take(MAX_SHOWN_CHARS).map(|c| if c == '`' { '\'' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

/// In single quotes, inside which nothing has a meaning but their end (POSIX 2.2.2). What cannot be seen is not said.
fn shell(text: &str) -> Option<String> {
    text.chars().all(is_plain).then(|| format!("'{}'", text.replace('\'', r"'\''")))
}

/// In single quotes, of which PowerShell knows five (about_Quoting_Rules, and the typographic ones of its tokenizer); two of
/// them in a row are one.
fn powershell(text: &str) -> Option<String> {
    if !text.chars().all(is_plain) {
        return None;
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        out.push(c);
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            out.push(c);
        }
    }
    out.push('\'');
    Some(out)
}

/// In double quotes with a backslash before quotes and itself ("The string data type" of the Kusto reference); what is not
/// plain as `\uXXXX` of its UTF-16.
fn kql(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ if is_plain(c) => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

/// In double quotes with a backslash before quotes and itself (Splunk's Search Manual, "Use CASE() and TERM()…" and "Quotes and
/// escaping characters"). An asterisk is a wildcard there and has no escape, a backtick may begin a macro, and what is not
/// plain cannot be said.
fn spl(text: &str) -> Option<String> {
    let sayable = |c: char| is_plain(c) && !matches!(c, '*' | '`');
    text.chars().all(sayable).then(|| backslashed(text))
}

/// In double quotes with a backslash before quotes and itself (`QUOTED_STRING` of Elasticsearch's grammar, which knows no
/// escape for what is not plain).
fn esql(text: &str) -> Option<String> {
    text.chars().all(is_plain).then(|| backslashed(text))
}

fn backslashed(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// With a backslash before `*`, `?` and itself: Sigma's wildcards and their escape (Sigma specification 2.0, "Escaping"). What
/// is not plain is not said: what a rule is converted to may know no escape for it.
fn sigma(text: &str) -> Option<String> {
    if !text.chars().all(is_printable) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    Some(yaml(&out))
}

/// A scalar of YAML 1.2 in single quotes (7.3.2: two of them are one). What is not plain is shown as [`escape`] does, since
/// such texts only tell people something.
fn yaml(text: &str) -> String {
    let text = escape(text);
    let text: String =
        text.chars().map(|c| if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
    format!("'{}'", text.replace('\'', "''"))
}

/// Two code points are plain to a viewer, but not printable to YAML (5.1).
fn is_printable(c: char) -> bool {
    is_plain(c) && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_its_own_way() {
        let text = r#"a"b\c'd"#;
        for (language, expected) in [
            (Language::Prose, r#"`a"b\c'd`"#),
            (Language::Shell, r#"'a"b\c'\''d'"#),
            (Language::PowerShell, r#"'a"b\c''d'"#),
            (Language::Kql, r#""a\"b\\c'd""#),
            (Language::Spl, r#""a\"b\\c'd""#),
            (Language::Esql, r#""a\"b\\c'd""#),
            (Language::Sigma, r#"'a"b\\c''d'"#),
            (Language::Yaml, r#"'a"b\c''d'"#),
        ] {
            assert_eq!(language.literal(text).as_deref(), Some(expected), "{language:?}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_not() {
        for language in
            [Language::Shell, Language::PowerShell, Language::Spl, Language::Esql, Language::Sigma]
        {
            assert_eq!(language.literal("a\u{202e}b"), None, "{language:?}");
        }
        assert_eq!(Language::Spl.literal("*"), None, "a wildcard would match everything");
        assert_eq!(Language::Spl.literal("`macro`"), None);
        assert_eq!(Language::Kql.literal("a\u{202e}\n").as_deref(), Some(r#""a\u202e\u000a""#));
        assert_eq!(Language::Kql.literal("\u{e0001}").as_deref(), Some(r#""\udb40\udc01""#));
        assert_eq!(Language::Sigma.literal("a*?").as_deref(), Some(r"'a\*\?'"));
        assert_eq!(Language::Sigma.literal("a\n"), None);
        assert_eq!(Language::Yaml.literal("a\n\u{ffff}").as_deref(), Some("'a\\u{a}\u{fffd}'"));
        for language in [Language::Prose, Language::Kql, Language::Sigma] {
            assert_eq!(language.literal(""), None, "nothing matches everything");
        }
        assert_eq!(Language::Kql.literal(&"x".repeat(MAX_LITERAL_BYTES + 1)), None);
    }

    #[test]
    fn a_sentence_shows_a_long_name_cut_and_a_backtick_as_what_it_is_not() {
        let shown = Language::Prose.literal(&"`".repeat(1_000)).unwrap();
        assert_eq!(shown.chars().count(), MAX_SHOWN_CHARS + 5);
        assert!(!shown.trim_matches('`').contains('`'));
    }
}
