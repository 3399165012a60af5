//! A reader over borrowed bytes that cannot leave them: every step checks its bounds and says `None` at the end.
//!
//! Shared by the payload parsers. It knows network byte order and length-prefixed vectors, and nothing of protocols.

/// A position in borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of the bytes.
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// At an offset into the bytes, which may lie behind their end.
    pub(crate) const fn at(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    /// Bytes before this position.
    pub(crate) const fn offset(&self) -> usize {
        self.at
    }

    /// What is left, without moving.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.data.get(self.at..).unwrap_or_default()
    }

    /// Whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.data.len()
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.data.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.data.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, most significant first.
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes, most significant first.
    pub(crate) fn u24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, most significant first.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A vector behind a length of one byte.
    pub(crate) fn vec8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// A vector behind a length of two bytes.
    pub(crate) fn vec16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A variable-length integer of QUIC (RFC 9000 section 16).
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let first = self.u8()?;
        let mut value = u64::from(first & 0x3f);
        for _ in 1..(1u8 << (first >> 6)) {
            value = value << 8 | u64::from(self.u8()?);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_beyond_the_end_gives_nothing_and_does_not_overflow() {
        let mut cursor = Cursor::at(b"ab", 1);
        assert_eq!(cursor.u16(), None);
        assert_eq!(cursor.take(usize::MAX), None);
        assert_eq!(cursor.u8(), Some(b'b'));
        assert!(cursor.is_empty() && cursor.rest().is_empty());
        assert_eq!(Cursor::at(b"ab", 9).u8(), None);
    }

    /// The examples of RFC 9000 appendix A.1.
    #[test]
    fn varints_equal_the_published_examples() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d][..], 494_878_333),
            (&[0x7b, 0xbd][..], 15_293),
            (&[0x25][..], 37),
            (&[0x40, 0x25][..], 37),
        ] {
            assert_eq!(Cursor::new(bytes).varint(), Some(value));
        }
    }
}
