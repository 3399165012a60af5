//! Bytes of a file format in, frames or observations out. Nothing here opens a file.

pub mod events;
pub mod pcap;
pub mod pcapng;

use crate::time::Timestamp;

/// One captured packet as the file holds it, borrowed from the reader's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// What the bytes begin with.
    pub link: LinkType,
    /// The bytes kept; often fewer than were on the wire.
    pub data: &'a [u8],
    /// Bytes on the wire.
    pub wire_len: u32,
}

/// Link-layer header type (the pcap registry's LINKTYPE_ values).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet (1).
    Ethernet,
    /// Raw IPv4 or IPv6 (12, 14, 101, 228, 229).
    RawIp,
    /// BSD loopback: address family in host byte order (0).
    Null,
    /// OpenBSD loopback: address family in network byte order (108).
    Loop,
    /// Linux cooked capture v1 (113).
    LinuxSll,
    /// Linux cooked capture v2 (276).
    LinuxSll2,
    /// Anything else, with its registry number.
    Other(u16),
}

impl LinkType {
    /// From the number in a file header.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            108 => Self::Loop,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            other => Self::Other(other),
        }
    }
}
