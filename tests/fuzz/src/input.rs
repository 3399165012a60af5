//! Bytes as a row of choices. An input that is used up gives zeros, so that every prefix of an input is one, too.

use sonde_common::time::{NANOS_PER_SEC, Timestamp};

/// A position in the fuzzer's bytes.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// At the start.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether all is used up.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// At most `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let taken = self.take(N);
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// One of a few.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.u8()) % of.len()]
    }

    /// The moment after `now`: mostly soon after it, sometimes long after or before it, and at times no sane moment.
    pub fn moment(&mut self, now: Timestamp) -> Timestamp {
        let choice = self.u8();
        let count = i64::from(choice >> 4) + 1;
        let step = match choice & 15 {
            0 => 0,
            1 => 1_000,
            2 => 50_000_000,
            3 => 250_000_000,
            4 => 990_000_000,
            5..=7 => NANOS_PER_SEC,
            8 => 5 * NANOS_PER_SEC,
            9 => 60 * NANOS_PER_SEC,
            10 => 3_600 * NANOS_PER_SEC,
            11 => 86_400 * NANOS_PER_SEC,
            12 => -50_000_000,
            13 => -60 * NANOS_PER_SEC,
            14 => i64::from(self.u32()) << 12,
            _ => return Timestamp::from_nanos(self.u64().cast_signed()),
        };
        now.plus_nanos(step * count)
    }
}
