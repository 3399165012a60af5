//! The first bytes of a client's stream, put in order: enough for a ClientHello or a request head, no more.

/// Bytes of one stream that are looked at. A ClientHello with post-quantum key shares is 1.7 to 2 KiB; 16 KiB is the
/// largest TLS record (RFC 8446 section 5.1).
pub const MAX_STREAM_BYTES: usize = 16 * 1024;
/// Out-of-order pieces remembered per stream.
const MAX_PIECES: usize = 8;

/// One stream under reassembly.
#[derive(Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
    /// Bytes from the start without a gap.
    contiguous: usize,
    /// Received pieces behind the first gap, as (offset, end).
    pieces: [(usize, usize); MAX_PIECES],
}

impl Stream {
    /// Forgets what it held; keeps its memory for the next stream.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.contiguous = 0;
        self.pieces = Default::default();
    }

    /// Takes a segment that begins `offset` bytes into the stream; what lies beyond the cap is dropped.
    pub fn insert(&mut self, offset: usize, data: &[u8]) {
        let end = offset.saturating_add(data.len()).min(MAX_STREAM_BYTES);
        let Some(length) = end.checked_sub(offset).filter(|&length| length > 0) else { return };
        if end <= self.contiguous {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let (Some(to), Some(from)) = (self.bytes.get_mut(offset..end), data.get(..length)) {
            to.copy_from_slice(from);
        }
        if offset > self.contiguous {
            // No free place: the piece is forgotten, and its retransmission may fill the gap.
            if let Some(free) = self.pieces.iter_mut().find(|piece| piece.1 == 0) {
                *free = (offset, end);
            }
            return;
        }
        self.contiguous = end;
        while let Some(piece) = self.pieces.iter_mut().find(|piece| piece.1 > 0 && piece.0 <= self.contiguous)
        {
            self.contiguous = self.contiguous.max(piece.1);
            *piece = (0, 0);
        }
    }

    /// The bytes from the start of the stream up to the first gap.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.contiguous).unwrap_or_default()
    }

    /// Whether no further byte will be taken.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.contiguous >= MAX_STREAM_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn out_of_order_segments_come_out_in_order() {
        let mut stream = Stream::default();
        stream.insert(4, b"ef");
        assert_eq!(stream.bytes(), b"");
        stream.insert(0, b"ab");
        assert_eq!(stream.bytes(), b"ab");
        stream.insert(1, b"bcd");
        assert_eq!(stream.bytes(), b"abcdef");
    }

    proptest! {
        #[test]
        fn any_order_and_overlap_gives_the_stream_back(cuts in proptest::collection::vec((0usize..400, 1usize..90), 1..40)) {
            let whole: Vec<u8> = (0..=u8::MAX).cycle().take(500).collect();
            let mut stream = Stream::default();
            for (offset, length) in cuts {
                stream.insert(offset, &whole[offset..(offset + length).min(500)]);
            }
            prop_assert_eq!(stream.bytes(), &whole[..stream.bytes().len()]);
        }

        #[test]
        fn no_offset_grows_it_beyond_its_cap(offset in any::<usize>(), data in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut stream = Stream::default();
            stream.insert(offset, &data);
            prop_assert!(stream.bytes.len() <= MAX_STREAM_BYTES);
        }
    }
}
