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
