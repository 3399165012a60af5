//! As much reading of Rust source as the house rules need: code without comments and literals, words, brackets, use
//! trees, test modules. Not a parser: it must only never mistake text for code.

use std::ops::Range;

/// The source with comments and the insides of strings and characters blanked; every line keeps its number.
pub(crate) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip_at(&chars, at);
        if end > at {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none does.
fn skip_at(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let starts = |text: &str| text.chars().zip(rest).filter(|(a, b)| a == *b).count() == text.chars().count();
    let word_before = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if starts("//") {
        return at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
    }
    if starts("/*") {
        let mut depth = 0_usize;
        let mut i = 0;
        while i < rest.len() {
            match (rest[i], rest.get(i + 1)) {
                ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
                ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
                _ => i += 1,
            }
            if depth == 0 {
                break;
            }
        }
        return at + i;
    }
    // r"…", r#"…"#, br#"…"#: ends at a quote with as many hashes.
    let prefix = rest.iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    if !word_before && (1..=2).contains(&prefix) && rest[prefix - 1] == 'r' {
        let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
        if rest.get(prefix + hashes) == Some(&'"') {
            let body = prefix + hashes + 1;
            let closes = |i: &usize| {
                rest[*i] == '"'
                    && rest[i + 1..].iter().take_while(|c| **c == '#').take(hashes).count() == hashes
            };
            return at + (body..rest.len()).find(closes).map_or(rest.len(), |i| i + 1 + hashes);
        }
    }
    let quote = rest[0];
    let is_char = quote == '\'' && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\''));
    if quote == '"' || is_char {
        let mut i = 1;
        while i < rest.len() && rest[i] != quote {
            i += if rest[i] == '\\' { 2 } else { 1 };
        }
        return at + (i + 1).min(rest.len());
    }
    at
}

/// The words of code with their byte offsets.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.split(move |c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr().addr() - code.as_ptr().addr(), word))
}

/// How many bytes the bracketed text at the start of `code` has, both brackets included.
pub(crate) fn balanced(code: &str, open: char, close: char) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at + c.len_utf8();
            }
        }
    }
    code.len()
}

/// The paths that a use tree names: `std::{fs, io::{self, Read}}` is `std::fs`, `std::io::self`, `std::io::Read`.
pub(crate) fn flatten(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let end =
            tree.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':' | '*'))).unwrap_or(tree.len());
        return vec![tree[..end].to_owned()];
    };
    let inside = &tree[open + 1..open + balanced(&tree[open..], '{', '}').saturating_sub(1)];
    let mut paths = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                paths.extend(
                    flatten(&inside[start..at]).iter().map(|path| format!("{}{path}", tree[..open].trim())),
                );
                start = at + 1;
            }
            _ => {}
        }
    }
    paths
}

/// Where the bodies of `#[cfg(test)] mod … { … }` lie.
pub(crate) fn test_modules(code: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for (at, attribute) in code.match_indices("#[cfg(test)]") {
        let after = &code[at + attribute.len()..];
        // The attribute's item: a module with a body, not `mod tests;` or a use.
        if let Some(open) = after.find(['{', ';']).filter(|open| after[*open..].starts_with('{'))
            && words(&after[..open]).any(|(_, word)| word == "mod")
        {
            let from = at + attribute.len() + open;
            ranges.push(from..from + balanced(&code[from..], '{', '}'));
        }
    }
    ranges
}

/// Replaces a part of the code by spaces; every line keeps its number.
pub(crate) fn blank(code: &mut String, range: Range<usize>) {
    let blanked: String = code[range.clone()].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    *code = format!("{}{blanked}{}", &code[..range.start], &code[range.end..]);
}

/// The number of the line that holds the byte at `at`.
pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}
