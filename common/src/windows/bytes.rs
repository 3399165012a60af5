//! A view of bytes in Windows' order: little-endian numbers, UTF-16 and ANSI strings that end with a zero. Nothing is read
//! past the end.

/// Longest string that is kept, in UTF-16 units: Windows allows a path and a command line 32,767 (`CreateProcessW`).
pub const MAX_UNITS: usize = 32_767;

/// Bytes from which values are taken one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// All of them.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not taken yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next so many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next bytes, as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// A 16-bit number.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// A 32-bit number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A 64-bit number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A port, which all of Windows' interfaces give in the order of the wire.
    pub fn port(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A pointer of the machine that made the bytes: eight bytes or four.
    pub fn pointer(&mut self, wide: bool) -> Option<u64> {
        if wide { self.u64() } else { self.u32().map(u64::from) }
    }

    /// UTF-16 up to its zero; `None` without one within the bytes and [`MAX_UNITS`].
    pub fn utf16(&mut self) -> Option<String> {
        let units =
            || self.rest.chunks_exact(2).map(|pair| u16::from_le_bytes([byte(pair, 0), byte(pair, 1)]));
        let length = units().take(MAX_UNITS + 1).position(|unit| unit == 0)?;
        let text = char::decode_utf16(units().take(length)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        let text = text.collect();
        self.take(2 * (length + 1))?;
        Some(text)
    }

    /// Bytes up to a zero; `None` without one within the bytes and [`MAX_UNITS`].
    pub fn ansi(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().take(MAX_UNITS + 1).position(|&byte| byte == 0)?;
        let text = self.take(length)?;
        self.take(1)?;
        Some(text)
    }
}

fn byte(pair: &[u8], at: usize) -> u8 {
    pair.get(at).copied().unwrap_or_default()
}

/// A text in UTF-16 without its zero.
#[must_use]
pub fn from_units(units: &[u16]) -> String {
    let end = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
    String::from_utf16_lossy(units.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_end_with_their_zero_or_are_none() {
        let mut bytes = Bytes::new(b"a\0\xac\x20\0\0x\0");
        assert_eq!(bytes.utf16().as_deref(), Some("a€"));
        assert_eq!(bytes.utf16(), None, "no zero");
        assert_eq!(bytes.rest(), b"x\0", "and nothing is taken");
        assert_eq!(Bytes::new(b"x\0\0").utf16(), None, "half a zero");
        assert_eq!(Bytes::new(b"\0\xd8\0\0").utf16().as_deref(), Some("\u{fffd}"), "half a pair");
        let long = vec![b'a'; 2 * (MAX_UNITS + 2)];
        assert_eq!(Bytes::new(&[&long[..], b"\0\0"].concat()).utf16(), None, "longer than Windows allows");
        assert_eq!(Bytes::new(b"ab\0c").ansi(), Some(&b"ab"[..]));
        assert_eq!(Bytes::new(b"ab").ansi(), None);
    }

    #[test]
    fn numbers_are_little_endian_and_ports_are_not() {
        let mut bytes = Bytes::new(&[1, 2, 3, 4, 0x01, 0xbb, 9]);
        assert_eq!(bytes.u32(), Some(0x0403_0201));
        assert_eq!(bytes.port(), Some(443));
        assert_eq!((bytes.u16(), bytes.rest()), (None, &[9][..]));
        assert_eq!(Bytes::new(&[1, 0, 0, 0, 0, 0, 0, 0]).pointer(true), Some(1));
        assert_eq!(Bytes::new(&[1, 0, 0, 0]).pointer(true), None);
        assert_eq!(Bytes::new(&[1, 0, 0, 0]).pointer(false), Some(1));
    }

    proptest! {
        #[test]
        fn nothing_is_read_past_the_end(data in proptest::collection::vec(any::<u8>(), 0..80), take in 0usize..100) {
            let mut bytes = Bytes::new(&data);
            let _ = bytes.utf16();
            let _ = bytes.ansi();
            let _ = bytes.take(take);
            prop_assert!(bytes.rest().len() <= data.len());
        }
    }
}
