//! A command line of Windows -> the arguments that a program makes of it, in the form of a Unix argument vector.
//!
//! Windows hands a program one line; how it is parted is the program's own affair. Nearly all do as Microsoft's C run time
//! does (Microsoft, "Parsing C command-line arguments"), so this does too.

use crate::live::MAX_ARGUMENT_BYTES;

/// The arguments, each ended by a zero byte, at most [`MAX_ARGUMENT_BYTES`] in all.
#[must_use]
pub fn arguments(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = program(line, &mut out);
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() || out.len() >= MAX_ARGUMENT_BYTES {
            break;
        }
        rest = argument(rest, &mut out);
    }
    if out.len() > MAX_ARGUMENT_BYTES {
        let mut cut = MAX_ARGUMENT_BYTES - 1;
        // Not within a character.
        while out.get(cut).is_some_and(|byte| byte & 0xc0 == 0x80) {
            cut -= 1;
        }
        out.truncate(cut);
        out.push(0);
    }
    out
}

/// The program's name: a backslash before its quotes is one of a path.
fn program<'t>(line: &'t str, out: &mut Vec<u8>) -> &'t str {
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() {
        return line;
    }
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                out.push(0);
                return line.get(at..).unwrap_or_default();
            }
            '\0' => {}
            c => push(out, c),
        }
    }
    out.push(0);
    ""
}

/// One argument: 2n backslashes before quotes are n, 2n+1 are n and the quotes themselves; two quotes within quotes are one.
fn argument<'t>(text: &'t str, out: &mut Vec<u8>) -> &'t str {
    let mut quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                let mut count = 1;
                while chars.next_if(|(_, c)| *c == '\\').is_some() {
                    count += 1;
                }
                let before_quotes = chars.peek().is_some_and(|(_, c)| *c == '"');
                let shown = if before_quotes { count / 2 } else { count };
                (0..shown).for_each(|_| out.push(b'\\'));
                if before_quotes && count % 2 == 1 {
                    chars.next();
                    out.push(b'"');
                }
            }
            '"' if quoted && chars.next_if(|(_, c)| *c == '"').is_some() => out.push(b'"'),
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                out.push(0);
                return text.get(at..).unwrap_or_default();
            }
            '\0' => {}
            c => push(out, c),
        }
    }
    out.push(0);
    ""
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_parted_as_the_c_run_time_does() {
        for (line, expected) in [
            (r#""C:\Program Files\a b\x.exe" -k netsvcs"#, r"C:\Program Files\a b\x.exe|-k|netsvcs"),
            (r#"C:\x.exe "a b c" d e"#, r"C:\x.exe|a b c|d|e"),
            (r#"x "ab\"c" "\\" d"#, r#"x|ab"c|\|d"#),
            (r#"x a\\\b d"e f"g h"#, r"x|a\\\b|de fg|h"),
            (r#"x a\\\"b c d"#, r#"x|a\"b|c|d"#),
            (r#"x a\\\\"b c" d e"#, r"x|a\\b c|d|e"),
            (r#"x "a""b" c"#, r#"x|a"b|c"#),
            ("  x   y\t ", "x|y"),
            (r#""C:\dir\" y"#, r"C:\dir\|y"),
            (r#"x """#, "x|"),
            ("", ""),
        ] {
            let bytes = arguments(line);
            let shown: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            let shown = shown.split_last().map(|(_, all)| all.join("|")).unwrap_or_default();
            assert_eq!(shown, expected, "{line}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let bytes = arguments(&format!("x {}", "€".repeat(5000)));
        assert!(bytes.len() <= MAX_ARGUMENT_BYTES && bytes.ends_with(b"\0"));
        assert!(std::str::from_utf8(&bytes).is_ok());
    }

    proptest! {
        #[test]
        fn any_line_gives_a_bounded_vector(line in "[ \\\\\"a\\t€]{0,60}") {
            let bytes = arguments(&line);
            prop_assert!(bytes.len() <= MAX_ARGUMENT_BYTES);
            prop_assert!(bytes.is_empty() || bytes.ends_with(b"\0"));
        }
    }
}
