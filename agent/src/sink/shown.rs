//! What a server said, as people are shown it: harmless to a terminal, and never more than a line or two.

use sonde_common::text;

/// Most characters that are kept of what a server said.
const MAX_CHARS: usize = 240;

/// The begin of it, with everything escaped that is not plain.
pub(super) fn shown(said: &str) -> String {
    let cut: String = said.chars().take(MAX_CHARS).collect();
    let more = if cut.len() < said.len() { "…" } else { "" };
    format!("{}{more}", text::escape(&cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_harmless_and_short() {
        assert_eq!(shown("\u{1b}[31mred\r\n"), "\\u{1b}[31mred\\u{d}\\u{a}");
        assert_eq!(shown(&"ä".repeat(10_000)).chars().count(), MAX_CHARS + 1);
        assert_eq!(shown("plain"), "plain");
    }
}
