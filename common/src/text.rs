//! Names from the wire, made harmless: every string of a capture or log passes here before anyone prints it.

/// Whether a character may stand in a terminal, in HTML text and in CSV as it is.
///
/// Control characters (escape sequences), and the invisible or direction-changing code points of Unicode (bidi controls,
/// zero width, line and paragraph separator, byte-order mark, tags) may not.
#[must_use]
pub fn is_plain(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'))
}

/// The text with everything that is not [plain](is_plain) written as `\u{hex}`, for terminals and tables.
#[must_use]
pub fn escape(text: &str) -> std::borrow::Cow<'_, str> {
    if text.chars().all(is_plain) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out.into()
}

/// How a text of the input is kept.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Longest text that is kept, in bytes.
    pub cap: usize,
    /// Names of machines compare without case; a User-Agent, a path or a host's label is kept as it is spelt.
    pub lower_case: bool,
    /// A name that was resolved has no trailing dot; what a client claimed is kept.
    pub strip_dot: bool,
}

impl Rule {
    /// The text as it is kept, if it can be borrowed.
    #[must_use]
    pub fn as_it_stands(self, text: &str) -> Option<&str> {
        let text = self.strip(text);
        let keeps = |b: u8| matches!(b, b' '..=b'~') && !(self.lower_case && b.is_ascii_uppercase());
        (text.len() <= self.cap && text.bytes().all(keeps)).then_some(text)
    }

    /// Appends the text as it is kept; whether it had to be cut.
    ///
    /// What is not plain is escaped as [`escape`] does, and no escape is cut in two.
    pub fn append(self, text: &str, to: &mut String) -> bool {
        let limit = to.len().saturating_add(self.cap);
        for c in self.strip(text).chars() {
            let before = to.len();
            if !is_plain(c) {
                to.extend(c.escape_unicode());
            } else if self.lower_case {
                to.push(c.to_ascii_lowercase());
            } else {
                to.push(c);
            }
            if to.len() > limit {
                to.truncate(before);
                return true;
            }
        }
        false
    }

    /// The text as it is kept: borrowed where it can be, else written to `scratch`.
    pub fn keep<'t>(self, text: &'t str, scratch: &'t mut String) -> &'t str {
        if let Some(text) = self.as_it_stands(text) {
            return text;
        }
        scratch.clear();
        self.append(text, scratch);
        scratch
    }

    fn strip(self, text: &str) -> &str {
        match text.trim_end_matches('.') {
            _ if !self.strip_dot => text,
            // The root has no other name.
            "" if !text.is_empty() => ".",
            stripped => stripped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_bidi_controls_lose_their_effect() {
        assert_eq!(escape("a\x1b[31mb"), "a\\u{1b}[31mb");
        assert_eq!(escape("evil\u{202e}txt.exe"), "evil\\u{202e}txt.exe");
        assert!(matches!(escape("www.bücher.example"), std::borrow::Cow::Borrowed(_)));
    }
}
