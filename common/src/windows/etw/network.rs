//! `Microsoft-Windows-Kernel-Network`: who sent, received, called and closed what.
//!
//! All events that are of use begin alike: `PID` and `size` (32 bits), `daddr` and `saddr` (four bytes, or sixteen from 26 on
//! and from 58 on), `dport` and `sport`. Numbers are little-endian; addresses and ports are as on the wire. What follows (times,
//! window sizes, a connection number) differs by event and is not read, so its length does not matter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Flaw, Record};
use crate::net::Transport;
use crate::windows::bytes::Bytes;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Bytes left.
    Sent,
    /// Bytes came.
    Received,
    /// A call of this host stands: the event tells the window sizes that both sides agreed on.
    Connected,
    /// A call of another host was taken.
    Accepted,
    /// It is over.
    Disconnected,
    /// Bytes left once more.
    Retransmitted,
}

/// One deed of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What was done.
    pub deed: Deed,
    /// How.
    pub transport: Transport,
    /// Process whose socket it is: from the event's own data, since the header names whoever was running.
    pub pid: Option<u32>,
    /// Payload bytes.
    pub size: u32,
    /// What the event calls the source. On TCP it is this host's end whichever way the bytes went; on UDP it is the sender's,
    /// so that of a received datagram it is the other's (microsoft/perfview#859, winsiderss/systeminformer#427).
    pub source: SocketAddr,
    /// What it calls the destination.
    pub destination: SocketAddr,
}

impl Transfer {
    /// Ends as the host has them: local, remote.
    #[must_use]
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        match (self.transport, self.deed) {
            (Transport::Udp, Deed::Received) => (self.destination, self.source),
            _ => (self.source, self.destination),
        }
    }
}

/// The kernel's word for "no process".
const NO_PROCESS: u32 = u32::MAX;

pub(super) fn decode(record: &Record<'_>) -> Result<Option<Transfer>, Flaw> {
    let (transport, deed, wide) = match record.id {
        10 => (Transport::Tcp, Deed::Sent, false),
        11 => (Transport::Tcp, Deed::Received, false),
        12 => (Transport::Tcp, Deed::Connected, false),
        13 => (Transport::Tcp, Deed::Disconnected, false),
        14 => (Transport::Tcp, Deed::Retransmitted, false),
        15 => (Transport::Tcp, Deed::Accepted, false),
        26 => (Transport::Tcp, Deed::Sent, true),
        27 => (Transport::Tcp, Deed::Received, true),
        28 => (Transport::Tcp, Deed::Connected, true),
        29 => (Transport::Tcp, Deed::Disconnected, true),
        30 => (Transport::Tcp, Deed::Retransmitted, true),
        31 => (Transport::Tcp, Deed::Accepted, true),
        42 => (Transport::Udp, Deed::Sent, false),
        43 => (Transport::Udp, Deed::Received, false),
        58 => (Transport::Udp, Deed::Sent, true),
        59 => (Transport::Udp, Deed::Received, true),
        // 16 and 32 repeat an attempt; 18 and 34 tell of received bytes a second time, as the program takes them; 17 and 49 are
        // failures that name no end.
        _ => return Ok(None),
    };
    let mut bytes = Bytes::new(record.data);
    let mut read = || {
        let (pid, size) = (bytes.u32()?, bytes.u32()?);
        let (destination, source) = (address(&mut bytes, wide)?, address(&mut bytes, wide)?);
        let (destination_port, source_port) = (bytes.port()?, bytes.port()?);
        Some(Transfer {
            deed,
            transport,
            pid: (pid != NO_PROCESS).then_some(pid),
            size,
            source: (source, source_port).into(),
            destination: (destination, destination_port).into(),
        })
    };
    read().ok_or(Flaw::Short).map(Some)
}

fn address(bytes: &mut Bytes<'_>, wide: bool) -> Option<IpAddr> {
    if wide {
        // A socket for both families tells of IPv4 in IPv6.
        bytes.array().map(|octets: [u8; 16]| Ipv6Addr::from(octets).to_canonical())
    } else {
        bytes.array().map(|octets: [u8; 4]| IpAddr::V4(Ipv4Addr::from(octets)))
    }
}
