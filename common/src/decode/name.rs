//! Names as the wire claims them, made harmless: lower-case ASCII in a fixed buffer, everything else escaped.
//!
//! One spelling for every source of a name (DNS, SNI, Host, CONNECT), so that they compare. No allocation, and nothing
//! raw leaves: a byte outside the plain set becomes `\DDD` (decimal, RFC 1035 section 5.1).

use std::fmt;
use std::net::Ipv6Addr;

use crate::event::MAX_NAME_BYTES;

/// Text of at most `N` bytes, always printable ASCII. What does not fit is cut off and flagged.
#[derive(Clone)]
pub struct TextBuf<const N: usize> {
    bytes: [u8; N],
    len: usize,
    truncated: bool,
}

/// A host or domain name.
pub type NameBuf = TextBuf<MAX_NAME_BYTES>;

/// For each byte of a name what to write: itself, its lower case, or 0 where it must be escaped.
const NAME_BYTES: [u8; 256] = plain_bytes(false);
/// The same for free text: all of printable ASCII but the backslash, in its own case.
const TEXT_BYTES: [u8; 256] = plain_bytes(true);

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated at compile time; the index is below 256"
)]
const fn plain_bytes(free_text: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = if free_text {
            if (byte.is_ascii_graphic() || byte == b' ') && byte != b'\\' { byte } else { 0 }
        } else if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            byte.to_ascii_lowercase()
        } else {
            0
        };
        at += 1;
    }
    table
}

impl<const N: usize> TextBuf<N> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; N], len: 0, truncated: false }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()).unwrap_or_default()
    }

    /// Whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the text was longer than fits.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The end of the text, as much of it as fits: what a name lies below stands there. No escape is cut in two.
    pub(crate) fn end<const M: usize>(&self) -> TextBuf<M> {
        let mut text = self.as_str();
        while text.len() > M {
            let unit = if text.starts_with('\\') { 4 } else { 1 };
            text = text.get(unit..).unwrap_or_default();
        }
        let text = if text.len() < self.len { text.trim_start_matches('.') } else { text };
        let mut end = TextBuf::new();
        end.push_plain(text.as_bytes());
        end.truncated = self.truncated || text.len() < self.len;
        end
    }

    /// Free text such as a User-Agent: printable ASCII as it is, other bytes and the backslash escaped.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Self {
        let mut buf = Self::new();
        buf.push_escaped(text, &TEXT_BYTES);
        buf
    }

    /// Appends a label of a domain name, behind a dot if it is not the first. A dot inside the label is escaped.
    pub(crate) fn push_label(&mut self, label: &[u8]) {
        self.push_parted(label, self.len > 0);
    }

    /// Appends a label, behind a dot if asked; a dot behind which nothing of the label fits is not left standing.
    fn push_parted(&mut self, label: &[u8], dot: bool) {
        let before = self.len;
        if dot {
            self.push_plain(b".");
        }
        let start = self.len;
        self.push_escaped(label, &NAME_BYTES);
        if self.truncated && self.len == start {
            self.len = before;
        }
    }

    /// Appends bytes that are known to be plain.
    fn push_plain(&mut self, text: &[u8]) {
        let end = self.len + text.len();
        match self.bytes.get_mut(self.len..end) {
            Some(room) if !self.truncated => {
                room.copy_from_slice(text);
                self.len = end;
            }
            _ => self.truncated = true,
        }
    }

    /// Appends bytes as the table says. An escape is written whole or not at all.
    fn push_escaped(&mut self, text: &[u8], plain: &[u8; 256]) {
        for &byte in text {
            // A table of 256 has an entry for every byte.
            let written = plain.get(usize::from(byte)).copied().unwrap_or(0);
            if written == 0 {
                self.push_plain(&[b'\\', b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]);
            } else if let Some(room) = self.bytes.get_mut(self.len).filter(|_| !self.truncated) {
                *room = written;
                self.len += 1;
            } else {
                self.truncated = true;
            }
            if self.truncated {
                return;
            }
        }
    }
}

impl NameBuf {
    /// A host name as TLS or HTTP gives it: dots part its labels, one trailing dot is dropped, an address literal stays.
    ///
    /// An IPv6 literal loses its brackets, so that an address has one spelling wherever it stands. The root is `.`.
    #[must_use]
    pub fn from_host(host: &[u8]) -> Self {
        let mut buf = Self::new();
        let inner = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(host);
        if is_ipv6(inner) {
            for byte in inner {
                buf.push_plain(&[byte.to_ascii_lowercase()]);
            }
            return buf;
        }
        let name = if host.len() > 1 { host.strip_suffix(b".").unwrap_or(host) } else { host };
        for (nth, label) in name.split(|&byte| byte == b'.').enumerate() {
            buf.push_parted(label, nth > 0);
        }
        buf
    }
}

/// Whether the bytes are the text of an IPv6 address.
pub(crate) fn is_ipv6(text: &[u8]) -> bool {
    text.contains(&b':') && std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

impl<const N: usize> Default for TextBuf<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> PartialEq for TextBuf<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str() && self.truncated == other.truncated
    }
}

impl<const N: usize> Eq for TextBuf<N> {}

impl<const N: usize> fmt::Debug for TextBuf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.as_str(), if self.truncated { "…" } else { "" })
    }
}

impl<const N: usize> fmt::Display for TextBuf<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_host_has_one_spelling() {
        for (wire, text) in [
            (&b"WWW.Example.COM"[..], "www.example.com"),
            (b"www.example.com.", "www.example.com"),
            (b".", "."),
            (b"", ""),
            (b"_dmarc.a-b.example", "_dmarc.a-b.example"),
            (b"192.0.2.7", "192.0.2.7"),
            (b"[2001:DB8::1]", "2001:db8::1"),
            (b"2001:db8::1", "2001:db8::1"),
            (b"[not-an-address]", "\\091not-an-address\\093"),
            (b"b\xfccher.example", "b\\252cher.example"),
            (b"evil\x1b[31m.example", "evil\\027\\09131m.example"),
            (b"a\\b", "a\\092b"),
        ] {
            assert_eq!(NameBuf::from_host(wire).as_str(), text);
        }
    }

    #[test]
    fn a_dot_inside_a_label_is_not_a_separator() {
        let mut name = NameBuf::new();
        name.push_label(b"a.b");
        name.push_label(b"C");
        assert_eq!(name.as_str(), "a\\046b.c");
    }

    #[test]
    fn what_does_not_fit_is_cut_before_an_escape_and_flagged() {
        let buf = TextBuf::<6>::from_text(b"abc\xff!");
        assert_eq!((buf.as_str(), buf.is_truncated()), ("abc", true));
        let buf = TextBuf::<7>::from_text(b"abc\xff");
        assert_eq!((buf.as_str(), buf.is_truncated()), ("abc\\255", false));
        assert_eq!(TextBuf::<7>::from_text(b"abc\xffd").as_str(), "abc\\255");
        let host = [&[b'a'; 254][..], b".b"].concat();
        assert_eq!(NameBuf::from_host(&host).as_str(), "a".repeat(254), "no dot at the end");
    }

    #[test]
    fn of_a_long_binary_name_the_end_is_kept_whole() {
        let mut whole = TextBuf::<1020>::new();
        for label in [&[200; 63][..], &[201; 63], b"t", b"evil", b"example"] {
            whole.push_label(label);
        }
        let end: NameBuf = whole.end();
        assert!(end.is_truncated() && end.as_str().ends_with("\\201.t.evil.example"), "{end:?}");
        assert!(end.as_str().starts_with('\\') && end.as_str().len() > 255 - 4);
        let short: NameBuf = TextBuf::<1020>::from_text(b"abc").end();
        assert_eq!((short.as_str(), short.is_truncated()), ("abc", false));
    }

    proptest! {
        #[test]
        fn nothing_raw_leaves(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let host = NameBuf::from_host(&bytes);
            prop_assert!(host.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.\\:".contains(&b)));
            prop_assert!(TextBuf::<256>::from_text(&bytes).as_str().bytes().all(|b| b.is_ascii_graphic() || b == b' '));
        }

        #[test]
        fn normalising_twice_changes_nothing(host in "[a-zA-Z0-9_-]{1,20}(\\.[a-zA-Z0-9_-]{1,20}){0,4}\\.?") {
            let once = NameBuf::from_host(host.as_bytes());
            prop_assert_eq!(NameBuf::from_host(once.as_str().as_bytes()), once);
        }
    }
}
