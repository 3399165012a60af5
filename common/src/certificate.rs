//! A server's certificate, as its digests: all that a feed names it by.
//!
//! Sources tell one digest or both. Whose certificate it is, what it says and whether it is valid is no concern here.

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// Digests of a certificate (DER); none of them: no certificate was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-1.
    pub sha1: Option<[u8; 20]>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
}

impl Certificate {
    /// No certificate.
    pub const NONE: Self = Self { sha1: None, sha256: None };

    /// Of its bytes, which may come in several pieces.
    #[must_use]
    pub fn of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
        for piece in pieces {
            sha1.update(piece);
            sha256.update(piece);
        }
        Self { sha1: Some(sha1.finalize().into()), sha256: Some(sha256.finalize().into()) }
    }

    /// Of its digests in hexadecimal; what is none is as if it were not told.
    #[must_use]
    pub fn told(sha1: &str, sha256: &str) -> Self {
        Self { sha1: digest(sha1), sha256: digest(sha256) }
    }

    /// Whether nothing is known of it.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.sha1.is_none() && self.sha256.is_none()
    }

    /// What one source tells and, where it tells nothing, the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { sha1: self.sha1.or(other.sha1), sha256: self.sha256.or(other.sha256) }
    }

    /// The digests that are known, SHA-256 first.
    pub fn digests(&self) -> impl Iterator<Item = &[u8]> {
        let sha256 = self.sha256.as_ref().map(<[u8; 32]>::as_slice);
        sha256.into_iter().chain(self.sha1.as_ref().map(<[u8; 20]>::as_slice))
    }
}

/// A digest in hexadecimal, of either case, with or without colons between its bytes.
#[must_use]
pub fn digest<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut digits = text.trim().chars().filter(|c| *c != ':').map(|c| c.to_digit(16));
    let mut out = [0; N];
    for byte in &mut out {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(out)
}

/// A digest as text: lower-case hexadecimal.
#[must_use]
pub fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_the_digests_of_the_whole() {
        let whole = Certificate::of([&b"abc"[..]].into_iter());
        assert_eq!(Certificate::of([&b"a"[..], b"", b"bc"].into_iter()), whole);
        // FIPS 180-4, the message "abc".
        assert_eq!(hex(&whole.sha1.unwrap()), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            hex(&whole.sha256.unwrap()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn text_is_a_digest_or_nothing() {
        let colons = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
        let told = Certificate::told(colons, "");
        assert_eq!(told.sha1, Certificate::of([&b"abc"[..]].into_iter()).sha1);
        assert_eq!(told, Certificate::told(&hex(&told.sha1.unwrap()), "no digest"));
        let long = format!("{colons}:00");
        for bad in ["", "-", "a9", &colons[1..], &long, &"\u{661}".repeat(40)] {
            assert!(Certificate::told(bad, bad).is_none(), "{bad}");
        }
    }
}
