//! Numbers, texts and arrays as Kafka writes them, mostly in the versions of its messages that are not "flexible".
//!
//! What a broker claims of lengths is believed only as far as bytes are there.

/// A reply that is not what its version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's reply is not as the protocol has it")]
pub(super) struct BadReply;

/// Reads a reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], BadReply> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BadReply)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], BadReply> {
        self.take(N)?.try_into().map_err(|_| BadReply)
    }

    pub(super) fn int8(&mut self) -> Result<i8, BadReply> {
        self.array_of().map(i8::from_be_bytes)
    }

    pub(super) fn int16(&mut self) -> Result<i16, BadReply> {
        self.array_of().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Result<i32, BadReply> {
        self.array_of().map(i32::from_be_bytes)
    }

    pub(super) fn int64(&mut self) -> Result<i64, BadReply> {
        self.array_of().map(i64::from_be_bytes)
    }

    /// A text that may be missing; what is no UTF-8 is replaced.
    pub(super) fn text(&mut self) -> Result<String, BadReply> {
        let length = self.int16()?;
        if length == -1 {
            return Ok(String::new());
        }
        let bytes = self.take(usize::try_from(length).map_err(|_| BadReply)?)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], BadReply> {
        let length = self.int32()?;
        if length == -1 {
            return Ok(&[]);
        }
        self.take(usize::try_from(length).map_err(|_| BadReply)?)
    }

    /// A number of seven bits a byte, the lowest first.
    fn unsigned(&mut self) -> Result<u32, BadReply> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array_of()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| BadReply);
            }
        }
        Err(BadReply)
    }

    /// Passes over the tagged fields of a "flexible" version.
    pub(super) fn skip_tags(&mut self) -> Result<(), BadReply> {
        for _ in 0..self.unsigned()? {
            let _tag = self.unsigned()?;
            let length = self.unsigned()?;
            self.take(usize::try_from(length).map_err(|_| BadReply)?)?;
        }
        Ok(())
    }

    /// How many elements follow, each of at least `least` bytes.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, BadReply> {
        let count = self.int32()?;
        if count == -1 {
            return Ok(0);
        }
        let count = usize::try_from(count).map_err(|_| BadReply)?;
        if count.saturating_mul(least) > self.0.len() {
            return Err(BadReply);
        }
        Ok(count)
    }
}

/// Writes a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn int8(&mut self, value: i8) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn int16(&mut self, value: i16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn int32(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn int64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A text, cut at what its length can say.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let length = i16::try_from(text.len()).unwrap_or(i16::MAX);
        let kept = text.as_bytes().get(..usize::from(length.unsigned_abs())).unwrap_or_default();
        self.int16(length).raw(kept)
    }

    /// No text.
    pub(super) fn no_text(&mut self) -> &mut Self {
        self.int16(-1)
    }

    pub(super) fn count(&mut self, count: usize) -> &mut Self {
        self.int32(size(count))
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len()).raw(bytes)
    }

    /// A number in as few bytes as it needs: zigzag, seven bits a byte, the lowest first.
    pub(super) fn varint(&mut self, value: i64) -> &mut Self {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        loop {
            let low = u8::try_from(rest & 0x7f).unwrap_or_default();
            rest >>= 7;
            if rest == 0 {
                self.0.push(low);
                return self;
            }
            self.0.push(low | 0x80);
        }
    }

    /// Bytes with such a number before them.
    pub(super) fn varint_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(i64::from(size(bytes.len()))).raw(bytes)
    }
}

/// A length as the protocol counts: what a batch can hold is far below.
pub(super) fn size(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_believed_as_far_as_bytes_are_there() {
        let with = |count: i32, rest: usize| {
            let mut bytes = count.to_be_bytes().to_vec();
            bytes.resize(4 + rest, 0);
            Reader::new(&bytes).count(6)
        };
        assert_eq!(with(2, 12), Ok(2));
        assert_eq!(with(-1, 0), Ok(0));
        assert_eq!(with(2, 11), Err(BadReply));
        assert_eq!(with(i32::MAX, 100), Err(BadReply));
        assert_eq!(with(-2, 100), Err(BadReply));
    }

    #[test]
    fn tagged_fields_are_passed_over() {
        let mut reader = Reader::new(&[2, 0, 1, 9, 0x80, 1, 2, 9, 9, 7]);
        assert_eq!((reader.skip_tags(), reader.int8()), (Ok(()), Ok(7)));
        for bytes in
            [&[1u8][..], &[1, 0, 5, 0], &[255, 255, 255, 255, 255, 1], &[255, 255, 255, 255, 15, 0, 0]]
        {
            assert_eq!(Reader::new(bytes).skip_tags(), Err(BadReply), "{bytes:?}");
        }
    }

    #[test]
    fn numbers_of_any_size_are_written_as_the_protocol_has_them() {
        let written = |value: i64| Writer::default().varint(value).0.clone();
        assert_eq!(written(0), [0]);
        assert_eq!(written(-1), [1]);
        assert_eq!(written(1), [2]);
        assert_eq!(written(63), [126]);
        assert_eq!(written(64), [0x80, 1]);
        assert_eq!(written(i64::MIN), [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }
}
