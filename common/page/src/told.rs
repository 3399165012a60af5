//! Names of others as text of a page: nothing in them is markup, and nothing in them steers what is read.

use maud::{Escaper, Render};
use sonde_common::text::escape;

/// A text of others, on one line: controls and invisible characters are written out, markup is escaped.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a>(pub &'a str);

impl Render for Told<'_> {
    fn render_to(&self, out: &mut String) {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = Escaper::new(out).write_str(&escape(self.0));
    }
}

/// The same, where the line feeds are ours: queries, commands.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a>(pub &'a str);

impl Render for Lines<'_> {
    fn render_to(&self, out: &mut String) {
        for (index, line) in self.0.split('\n').enumerate() {
            if index > 0 {
                out.push('\n');
            }
            Told(line).render_to(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_invisible_characters_are_text() {
        let told = |text| Told(text).render().into_string();
        assert_eq!(told("<script>\"&'"), "&lt;script&gt;&quot;&amp;'");
        assert_eq!(told("evil\u{202e}txt\u{1b}[2J\n"), "evil\\u{202e}txt\\u{1b}[2J\\u{a}");
        assert_eq!(Lines("a\nb\u{200b}").render().into_string(), "a\nb\\u{200b}");
    }
}
