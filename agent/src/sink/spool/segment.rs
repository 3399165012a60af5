//! The bytes of a segment: a header, then records one behind the other. Pure functions; what is damaged is skipped, and
//! nothing but what is damaged.
//!
//! Header: magic (8), version u16, lane u8, 9 zeros, first sequence number u64, CRC-32C u32. Record: length u32, CRC-32C u32,
//! sequence number u64, payload; the checksum is of length, sequence number and payload. All little endian.

/// Length of a segment's header.
pub(super) const HEADER: u64 = 32;
/// Length of what stands before a payload.
pub(super) const RECORD_HEADER: usize = 16;
/// Longest payload. An alert with all its guidance takes some 15 KB.
pub(super) const MAX_PAYLOAD: usize = 1 << 20;

const HEADER_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"SondeSpl";
const VERSION: u16 = 1;
/// Behind damage a record is looked for whose number is at most so much further.
const MAX_JUMP: u64 = 1 << 32;

/// What begins like a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// One of ours.
    Ours,
    /// Its header is damaged: what stands behind it may be whole.
    Damaged,
    /// Of a version that this one does not read.
    Foreign(u16),
}

/// The header of a segment.
pub(super) fn header(lane: u8, first: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(lane);
    bytes.resize(20, 0);
    bytes.extend_from_slice(&first.to_le_bytes());
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// Whether the header is what it should be.
pub(super) fn check_header(bytes: &[u8], lane: u8, first: u64) -> Header {
    let ours = header(lane, first);
    if bytes.starts_with(&ours) {
        return Header::Ours;
    }
    let Some(head) = bytes.get(..HEADER_BYTES) else { return Header::Damaged };
    let whole = head
        .split_last_chunk::<4>()
        .is_some_and(|(told, sum)| crc32c::crc32c(told) == u32::from_le_bytes(*sum));
    match head.get(8..10).and_then(|version| version.try_into().ok()).map(u16::from_le_bytes) {
        Some(version) if whole && head.starts_with(&MAGIC) && version != VERSION => Header::Foreign(version),
        _ => Header::Damaged,
    }
}

/// Appends a record to `out`.
pub(super) fn encode(seq: u64, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&sum(length, seq, payload).to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(payload);
}

fn sum(length: u32, seq: u64, payload: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), &seq.to_le_bytes());
    crc32c::crc32c_append(head, payload)
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) length: usize,
    pub(super) seq: u64,
    sum: u32,
}

impl Front {
    /// Reads it; `None` if there is too little, or the length cannot be.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let (seq, _) = rest.split_first_chunk::<8>()?;
        let length =
            usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= MAX_PAYLOAD)?;
        Some(Self { length, seq: u64::from_le_bytes(*seq), sum: u32::from_le_bytes(*sum) })
    }

    /// Whether this is the payload that was written behind it.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        payload.len() == self.length && sum(length, self.seq, payload) == self.sum
    }
}

/// A record in the bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) seq: u64,
    /// Where it begins, …
    pub(super) at: usize,
    /// … and what stands behind it.
    pub(super) end: usize,
}

/// The first whole record from `at` on whose number is at least `expect` and below `before`. Bytes that are none are passed
/// over: one by one, so that a record behind a damaged length is found. No payload can pose as a record, since a length has
/// a zero byte in it and the texts of a payload have none.
pub(super) fn next(bytes: &[u8], at: usize, expect: u64, before: u64) -> Option<Found> {
    let most = before.min(expect.saturating_add(MAX_JUMP));
    (at..bytes.len().saturating_sub(RECORD_HEADER - 1)).find_map(|at| {
        let rest = bytes.get(at..)?;
        let front = Front::read(rest).filter(|front| (expect..most).contains(&front.seq))?;
        let payload = rest.get(RECORD_HEADER..RECORD_HEADER + front.length)?;
        front.fits(payload).then_some(Found { seq: front.seq, at, end: at + RECORD_HEADER + front.length })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(count: u64) -> Vec<u8> {
        let mut bytes = header(b'u', 7);
        for seq in 7..7 + count {
            encode(seq, format!("{{\"number\":{seq}}}").as_bytes(), &mut bytes);
        }
        bytes
    }

    fn all(bytes: &[u8]) -> Vec<u64> {
        let (mut at, mut expect, mut found) = (HEADER_BYTES, 7, Vec::new());
        while let Some(next) = next(bytes, at, expect, u64::MAX) {
            found.push(next.seq);
            (at, expect) = (next.end, next.seq + 1);
        }
        found
    }

    #[test]
    fn a_flipped_bit_costs_the_record_that_it_is_in() {
        let bytes = segment(6);
        assert_eq!(all(&bytes), [7, 8, 9, 10, 11, 12]);
        let each = (bytes.len() - HEADER_BYTES) / 6;
        for bit in HEADER_BYTES * 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Numbers of one digit and of two make records of two lengths.
            let found = all(&flipped);
            assert_eq!(found.len(), 5, "bit {bit}, records of some {each} bytes: {found:?}");
        }
    }

    #[test]
    fn a_cut_costs_what_is_cut() {
        let bytes = segment(3);
        let whole: Vec<usize> = {
            let first = next(&bytes, HEADER_BYTES, 7, u64::MAX).unwrap();
            let second = next(&bytes, first.end, 8, u64::MAX).unwrap();
            vec![first.end, second.end, bytes.len()]
        };
        for cut in 0..=bytes.len() {
            let expected = whole.iter().filter(|end| **end <= cut).count();
            assert_eq!(all(&bytes[..cut]).len(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_header_is_ours_damaged_or_of_another_version() {
        let ours = header(b'u', 7);
        assert_eq!((check_header(&ours, b'u', 7), ours.len()), (Header::Ours, HEADER_BYTES));
        assert_eq!(check_header(&ours, b'b', 7), Header::Damaged);
        assert_eq!(check_header(&ours[..31], b'u', 7), Header::Damaged);
        let mut later = ours[..28].to_vec();
        later[8] = 9;
        let sum = crc32c::crc32c(&later);
        later.extend_from_slice(&sum.to_le_bytes());
        assert_eq!(check_header(&later, b'u', 7), Header::Foreign(9));
        later[9] = 1;
        assert_eq!(check_header(&later, b'u', 7), Header::Damaged, "one flipped bit is no other version");
    }
}
