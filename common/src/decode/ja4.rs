//! JA4, the fingerprint of a TLS client (FoxIO's published method, BSD-3): what a ClientHello offers, in a form that
//! neither the destination nor the shuffling of extensions changes.
//!
//! Only the fingerprint is made here; `tls` finds the fields.

use sha2::{Digest as _, Sha256};

use super::cursor::Cursor;
use crate::event::Ja4;

/// Most cipher suites of a hello that is fingerprinted; the registry has about 350.
pub const MAX_CIPHERS: usize = 512;
/// Most extensions of a hello that is fingerprinted; the registry has about 60.
pub const MAX_EXTENSIONS: usize = 128;

/// Extension `server_name` (RFC 6066 section 3).
pub(crate) const EXTENSION_SERVER_NAME: u16 = 0x0000;
/// Extension `signature_algorithms` (RFC 8446 section 4.2.3).
pub(crate) const EXTENSION_SIGNATURE_ALGORITHMS: u16 = 0x000d;
/// Extension `application_layer_protocol_negotiation` (RFC 7301 section 3.1).
pub(crate) const EXTENSION_ALPN: u16 = 0x0010;
/// Extension `supported_versions` (RFC 8446 section 4.2.1).
pub(crate) const EXTENSION_SUPPORTED_VERSIONS: u16 = 0x002b;

/// What carries the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TLS records over TCP.
    Tcp,
    /// CRYPTO frames of QUIC.
    Quic,
}

/// What of a ClientHello goes into the fingerprint. Lists are as on the wire, without their own length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    /// What carried it.
    pub(crate) carrier: Carrier,
    /// Highest version offered.
    pub(crate) version: u16,
    /// Cipher suites, two bytes each.
    pub(crate) ciphers: &'a [u8],
    /// Extensions, each a type and a vector.
    pub(crate) extensions: &'a [u8],
    /// First protocol of ALPN, empty without one.
    pub(crate) alpn: &'a [u8],
    /// Signature algorithms, two bytes each.
    pub(crate) signature_algorithms: &'a [u8],
}

/// Whether a value of any two-byte registry of TLS is reserved to be ignored (RFC 8701): 0x0a0a, 0x1a1a … 0xfafa.
pub(crate) const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// The two-byte values of a list, GREASE left out.
pub(crate) fn values(list: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let (pairs, _) = list.as_chunks::<2>();
    pairs.iter().map(|&pair| u16::from_be_bytes(pair)).filter(|&value| !is_grease(value))
}

/// The fingerprint, or `None` for a hello with more ciphers or extensions than are looked at: none beats a wrong one.
pub(crate) fn fingerprint(fields: &Fields<'_>) -> Option<Ja4> {
    let mut ciphers = Sorted::<MAX_CIPHERS>::new();
    for cipher in values(fields.ciphers) {
        ciphers.push(cipher)?;
    }
    let mut extensions = Sorted::<MAX_EXTENSIONS>::new();
    let mut extension_count = 0;
    let mut destination = b'i';
    let mut cursor = Cursor::new(fields.extensions);
    while !cursor.is_empty() {
        let kind = cursor.u16()?;
        cursor.vec16()?;
        if is_grease(kind) {
            continue;
        }
        extension_count += 1;
        match kind {
            EXTENSION_SERVER_NAME => destination = b'd',
            EXTENSION_ALPN => {}
            other => extensions.push(other)?,
        }
    }

    let [version_0, version_1] = version_text(fields.version);
    let [ciphers_0, ciphers_1] = two_digits(ciphers.len);
    let [extensions_0, extensions_1] = two_digits(extension_count);
    let [alpn_0, alpn_1] = alpn_ends(fields.alpn);
    let carrier = match fields.carrier {
        Carrier::Tcp => b't',
        Carrier::Quic => b'q',
    };
    let mut text = [b'_'; 36];
    let (head, hashes) = text.split_first_chunk_mut::<10>()?;
    *head = [
        carrier,
        version_0,
        version_1,
        destination,
        ciphers_0,
        ciphers_1,
        extensions_0,
        extensions_1,
        alpn_0,
        alpn_1,
    ];
    hashes.get_mut(1..13)?.copy_from_slice(&short_hash(ciphers.sorted(), &[]));
    hashes.get_mut(14..26)?.copy_from_slice(&short_hash(extensions.sorted(), fields.signature_algorithms));
    Some(Ja4(text))
}

const fn version_text(version: u16) -> [u8; 2] {
    *match version {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        _ => b"00",
    }
}

/// Two decimal digits, at most 99.
fn two_digits(count: usize) -> [u8; 2] {
    let count = u8::try_from(count.min(99)).unwrap_or(99);
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last character of the protocol; of its hex form if either is not a letter or digit; `00` without one.
fn alpn_ends(alpn: &[u8]) -> [u8; 2] {
    match (alpn.first(), alpn.last()) {
        (Some(&first), Some(&last)) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => {
            [first, last]
        }
        (Some(&first), Some(&last)) => [hex_digit(first >> 4), hex_digit(last & 15)],
        _ => *b"00",
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// First 12 hex digits of the SHA-256 over the list in hex, comma separated, then `_` and the algorithms if there are any.
fn short_hash(list: &[u16], algorithms: &[u8]) -> [u8; 12] {
    if list.is_empty() {
        return [b'0'; 12];
    }
    let mut text = HashedText::new();
    for &value in list {
        text.push(b',', value);
    }
    for (nth, value) in values(algorithms).enumerate() {
        text.push(if nth == 0 { b'_' } else { b',' }, value);
    }
    let digest = text.finish();
    let mut hex = [0; 12];
    for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
        *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)];
    }
    hex
}

/// Values to be sorted, at most `N`.
struct Sorted<const N: usize> {
    values: [u16; N],
    len: usize,
}

impl<const N: usize> Sorted<N> {
    const fn new() -> Self {
        Self { values: [0; N], len: 0 }
    }

    fn push(&mut self, value: u16) -> Option<()> {
        *self.values.get_mut(self.len)? = value;
        self.len += 1;
        Some(())
    }

    fn sorted(&mut self) -> &[u16] {
        let used = self.values.get_mut(..self.len).unwrap_or_default();
        used.sort_unstable();
        used
    }
}

/// Text that is hashed a few blocks at a time, because the hash is slow on small pieces.
struct HashedText {
    hash: Sha256,
    pending: [u8; 320],
    /// Where the text in `pending` begins: behind the separator of the very first value.
    start: usize,
    end: usize,
}

impl HashedText {
    fn new() -> Self {
        Self { hash: Sha256::new(), pending: [0; 320], start: 1, end: 0 }
    }

    /// Appends a value in four hex digits behind a separator, which falls away before the first value.
    fn push(&mut self, separator: u8, value: u16) {
        if self.pending.len() - self.end < 5 {
            self.flush();
        }
        let [high, low] = value.to_be_bytes();
        if let Some(room) = self.pending.get_mut(self.end..).and_then(|room| room.first_chunk_mut::<5>()) {
            *room = [
                separator,
                hex_digit(high >> 4),
                hex_digit(high & 15),
                hex_digit(low >> 4),
                hex_digit(low & 15),
            ];
            self.end += 5;
        }
    }

    fn flush(&mut self) {
        self.hash.update(self.pending.get(self.start..self.end).unwrap_or_default());
        (self.start, self.end) = (0, 0);
    }

    fn finish(mut self) -> [u8; 32] {
        self.flush();
        self.hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists of the method's own description, with the hashes it gives for them.
    #[test]
    fn hashes_equal_the_published_ones() {
        let mut ciphers = [
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d, 0x002f, 0x0035,
        ];
        ciphers.sort_unstable();
        assert_eq!(&short_hash(&ciphers, &[]), b"8daaf6152771");
        let mut extensions = [
            0x001b, 0x0033, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a,
            0x0015, 0x4469,
        ];
        extensions.sort_unstable();
        let algorithms = [4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1];
        assert_eq!(&short_hash(&extensions, &algorithms), b"e5627efa2ab1");
        assert_eq!(&short_hash(&extensions, &[]), b"6d807ffa2a79");
        assert_eq!(&short_hash(&[], &algorithms), b"000000000000");
    }

    #[test]
    fn lists_longer_than_the_buffer_hash_as_one_text() {
        let list: Vec<u16> = (0..300).collect();
        let text = list.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",");
        let hex: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(short_hash(&list, &[]), hex.as_bytes()[..12]);
    }

    /// The examples of the method's own description.
    #[test]
    fn alpn_that_is_not_alphanumeric_is_shown_in_hex() {
        for (alpn, shown) in [
            (&b""[..], b"00"),
            (b"h2", b"h2"),
            (b"http/1.1", b"h1"),
            (b"x", b"xx"),
            (b"\xab", b"ab"),
            (b"\xab\xcd", b"ad"),
            (b"\x30\xab", b"3b"),
            (b"\x30\x31\xab\xcd", b"3d"),
            (b"\x30\xab\xcd\x31", b"01"),
        ] {
            assert_eq!(&alpn_ends(alpn), shown, "{alpn:x?}");
        }
    }

    #[test]
    fn sixteen_values_are_grease() {
        assert_eq!((0..=u16::MAX).filter(|&value| is_grease(value)).count(), 16);
        assert!(is_grease(0x0a0a) && is_grease(0xfafa) && !is_grease(0x0a1a));
    }

    #[test]
    fn counts_stop_at_99_and_lists_at_their_cap() {
        let hello = |ciphers: usize| {
            let list: Vec<u8> = (0..ciphers).flat_map(|_| [0x13, 0x01]).collect();
            fingerprint(&Fields {
                carrier: Carrier::Tcp,
                version: 0x0303,
                ciphers: &list,
                extensions: &[],
                alpn: &[],
                signature_algorithms: &[],
            })
        };
        assert!(hello(120).unwrap().as_str().starts_with("t12i990000_"));
        assert!(hello(MAX_CIPHERS).is_some());
        assert_eq!(hello(MAX_CIPHERS + 1), None);
        assert_eq!(hello(0).unwrap().as_str(), "t12i000000_000000000000_000000000000");
    }
}
