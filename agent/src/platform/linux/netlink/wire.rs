//! Netlink messages and attributes as bytes: read and made, nothing sent.
//!
//! Every length comes from outside and is checked; what does not add up ends the reading.

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// `NLMSG_ERROR`: an error number, 0 for "done as asked".
pub(super) const KIND_ERROR: u16 = 2;
/// `NLMSG_DONE`: the last message of a dump, or of a connector event.
pub(super) const KIND_DONE: u16 = 3;
/// `NLM_F_REQUEST`.
pub(super) const FLAG_REQUEST: u16 = 1;
/// `NLM_F_DUMP` (`NLM_F_ROOT | NLM_F_MATCH`).
pub(super) const FLAG_DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: what is dumped changed meanwhile, and a row may be missing.
pub(super) const FLAG_INTERRUPTED: u16 = 0x10;
/// Attribute types carry two flag bits on top (`NLA_TYPE_MASK`).
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// One netlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

impl Message<'_> {
    /// The error number of an error message, positive; 0 where there is none.
    pub(super) fn error(&self) -> i32 {
        if self.kind != KIND_ERROR {
            return 0;
        }
        // An error message without a number is an error all the same.
        u32_at(self.body, 0).map_or(libc::EBADMSG, |n| n.cast_signed().checked_neg().unwrap_or(libc::EBADMSG))
    }
}

/// The messages of one datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let bytes = std::mem::take(&mut self.0);
        let length = u32_at(bytes, 0)? as usize;
        let body = bytes.get(HEADER..length)?;
        self.0 = bytes.get(align(length)..).unwrap_or_default();
        Some(Message { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, sequence: u32_at(bytes, 8)?, body })
    }
}

/// The attributes behind a message's fixed part: type and value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let bytes = std::mem::take(&mut self.0);
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & ATTRIBUTE_TYPE;
        let value = bytes.get(4..length)?;
        self.0 = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// A request: header and body.
pub(super) fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    let length = u32::try_from(HEADER + body.len()).expect("requests are a few dozen bytes");
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// `NLMSG_ALIGN`.
const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A number in the machine's byte order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

/// A number in network byte order.
pub(super) fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_be_bytes)
}

/// A number in the machine's byte order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

/// A number in the machine's byte order.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_ne_bytes)
}

/// Sixteen bytes, as an IPv6 address takes.
pub(super) fn address_at(bytes: &[u8], at: usize) -> Option<[u8; 16]> {
    array_at(bytes, at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_come_back_as_they_were_made() {
        let mut bytes = message(20, FLAG_REQUEST, 7, b"abcde");
        bytes.extend_from_slice(&[0; 3]); // padding
        bytes.extend(message(KIND_ERROR, 0, 8, &(-libc::ENOENT).to_ne_bytes()));
        let all: Vec<_> = Messages::new(&bytes).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], Message { kind: 20, flags: FLAG_REQUEST, sequence: 7, body: b"abcde" });
        assert_eq!((all[0].error(), all[1].error()), (0, libc::ENOENT));
    }

    #[test]
    fn an_impossible_length_ends_the_reading() {
        for length in [0u32, 15, 17, u32::MAX] {
            let mut bytes = message(20, 0, 0, &[]);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Messages::new(&bytes).count(), 0, "{length}");
        }
        for length in [0u16, 3, 9, u16::MAX] {
            let mut bytes = [0u8; 8];
            bytes[..2].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Attributes::new(&bytes).count(), 0, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            // Each step consumes at least a header, so the count is bounded by the length.
            prop_assert!(Messages::new(&bytes).map(|m| m.error()).count() <= bytes.len() / HEADER);
            prop_assert!(Attributes::new(&bytes).count() <= bytes.len() / 4);
        }
    }
}
