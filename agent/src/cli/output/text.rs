//! Text in terminal columns: its width, cut in the middle, padded, wrapped.
//!
//! Widths are those of the characters (Unicode Annex 11), so wide names do not push a table out of line.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// What follows a number in our sentences.
const UNITS: [&str; 7] = ["ms", "s", "min", "h", "d", "%", "bytes"];

/// Columns that a text takes.
pub(in crate::cli) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// The text in at most `columns`: what is too long loses its middle, a little more of its head than of its tail, since
/// the tail of a name or path tells the most.
pub(in crate::cli) fn elide<'a>(text: &'a str, columns: usize, ellipsis: &str) -> Cow<'a, str> {
    if width(text) <= columns {
        return text.into();
    }
    let Some(kept) = columns.checked_sub(width(ellipsis)) else { return take_head(text, columns).into() };
    let head = take_head(text, kept * 2 / 5);
    let tail = take_tail(text, kept - width(head));
    format!("{head}{ellipsis}{tail}").into()
}

/// A path in at most `columns`: its last name stays whole as long as that leaves `least` columns to the folders.
pub(super) fn elide_path<'a>(
    path: &'a str,
    name: &str,
    columns: usize,
    least: usize,
    ellipsis: &str,
) -> Cow<'a, str> {
    let folders = path.strip_suffix(name).unwrap_or_default();
    let room = columns.saturating_sub(width(name));
    let separator = folders.chars().next_back().map_or(0, char_width);
    let fixed = width(ellipsis) + separator;
    if width(path) <= columns || room < least.max(fixed) {
        return elide(path, columns, ellipsis);
    }
    let head = take_head(folders, room - fixed);
    let end = take_tail(folders, separator);
    format!("{head}{ellipsis}{end}{name}").into()
}

/// The longest head of at most so many columns.
pub(super) fn take_head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find_map(|(index, c)| {
        used += char_width(c);
        (used > columns).then_some(index)
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The longest tail of at most so many columns.
fn take_tail(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let start = text.char_indices().rev().find_map(|(index, c)| {
        used += char_width(c);
        (used > columns).then_some(index + c.len_utf8())
    });
    start.and_then(|start| text.get(start..)).unwrap_or(text)
}

/// Puts the text and then spaces, so that it takes at least so many columns.
pub(in crate::cli) fn push_left(out: &mut String, text: &str, columns: usize) {
    out.push_str(text);
    push_spaces(out, columns.saturating_sub(width(text)));
}

/// Puts spaces and then the text, so that it takes at least so many columns.
pub(super) fn push_right(out: &mut String, text: &str, columns: usize) {
    push_spaces(out, columns.saturating_sub(width(text)));
    out.push_str(text);
}

pub(super) fn push_spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// The words of a text; a number and its unit are one, so that they stay on one line.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let end = |text: &str| text.find(char::is_whitespace).unwrap_or(text.len());
        let mut length = end(rest);
        let (word, behind) = rest.split_at_checked(length)?;
        let unit = behind.strip_prefix(' ').and_then(|behind| behind.get(..end(behind))).unwrap_or_default();
        let is_unit = UNITS.contains(&unit.trim_end_matches(['.', ',', ';', ':', ')']));
        if is_unit && word.ends_with(|c: char| c.is_ascii_digit()) {
            length += 1 + unit.len();
        }
        let (word, behind) = rest.split_at_checked(length)?;
        rest = behind;
        (!word.is_empty()).then_some(word)
    })
}

/// The text in lines of at most so many columns, broken at white space; a word that is longer than a line is cut.
pub(in crate::cli) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for mut word in words(text) {
        let mut word_width = width(word);
        if used > 0 && used + 1 + word_width > columns {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        while word_width > columns {
            let head = match take_head(word, columns) {
                // A wide character in a single column: it stands out rather than looping for ever.
                "" => take_head(word, 2),
                head => head,
            };
            let Some((head, rest)) = word.split_at_checked(head.len()).filter(|(_, rest)| !rest.is_empty())
            else {
                break;
            };
            lines.push(head.to_owned());
            word = rest;
            word_width = width(word);
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += word_width;
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elided_text_keeps_its_ends_and_fits() {
        assert_eq!(elide("short", 10, "…"), "short");
        assert_eq!(elide("cdn.telemetry-edge.example", 16, "…"), "cdn.te…e.example");
        assert_eq!(elide("cdn.telemetry-edge.example", 16, "..."), "cdn.t....example");
        assert_eq!(elide("abcdef", 1, "…"), "…");
        assert_eq!(elide("abcdef", 2, "..."), "ab");
        assert_eq!(elide("abcdef", 0, "…"), "");
        for columns in 0..30 {
            assert!(width(&elide("設備監視.internal-monitoring.example", columns, "…")) <= columns);
        }
    }

    #[test]
    fn elided_path_keeps_the_name_of_the_program() {
        let path = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
        assert_eq!(elide_path(path, "powershell.exe", 60, 4, "…"), path);
        assert_eq!(elide_path(path, "powershell.exe", 27, 4, "…"), r"C:\Windows\…\powershell.exe");
        assert_eq!(elide_path(path, "powershell.exe", 15, 4, "…"), r"C:\Wi…shell.exe");
        assert_eq!(elide_path("curl", "curl", 3, 4, "…"), "…rl");
        for columns in 0..60 {
            assert!(width(&elide_path(path, "powershell.exe", columns, 4, "…")) <= columns);
        }
    }

    #[test]
    fn wide_and_combining_characters_are_padded_by_what_they_take() {
        let padded = |text, columns| {
            let mut out = String::new();
            push_left(&mut out, text, columns);
            out
        };
        assert_eq!(padded("設備", 6), "設備  ");
        assert_eq!(padded("e\u{301}", 3), "e\u{301}  ");
        assert_eq!(padded("longer", 3), "longer");
    }

    #[test]
    fn wrapped_lines_fit_and_lose_nothing() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  ", 7), Vec::<String>::new());
        assert_eq!(wrap("a abcdefghij b", 4), ["a", "abcd", "efgh", "ij b"]);
        assert_eq!(wrap("every 2 h 10 min, or 5 %.", 7), ["every", "2 h", "10 min,", "or 5 %."]);
        assert_eq!(wrap("port 80 he", 7), ["port 80", "he"]);
        assert_eq!(wrap("設備", 1), ["設", "備"]);
        assert_eq!(wrap("ab", 0), ["a", "b"]);
    }
}
