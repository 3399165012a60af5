//! Frame -> [`Packet`]: link, network and transport headers, nothing allocated, nothing owned.
//!
//! A path by hand for what a capture holds (docs/decisions/0002): Ethernet, VLAN, cooked or raw; IPv4; IPv6 with its
//! extension headers; TCP, UDP, ICMP. etherparse is the oracle of its tests and fuzz target, not part of it. Truncated
//! frames are normal: a snap length cuts payload, and the lengths on the wire are still known from the headers.

use std::net::{IpAddr, Ipv6Addr};

use crate::format::{Frame, LinkType};
use crate::time::Timestamp;

/// An IP address as 16 bytes in network order; IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Addr(pub u128);

const V4_MAPPED: u128 = 0xffff_0000_0000;

impl Addr {
    /// From four bytes.
    #[must_use]
    pub fn v4(bytes: [u8; 4]) -> Self {
        Self(V4_MAPPED | u128::from(u32::from_be_bytes(bytes)))
    }

    /// From sixteen bytes.
    #[must_use]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// As the standard library's type.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        Ipv6Addr::from(self.0).to_canonical()
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

impl std::fmt::Debug for Addr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ip().fmt(f)
    }
}

/// One decoded packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// Sender.
    pub source: Addr,
    /// Receiver.
    pub destination: Addr,
    /// Transport header.
    pub transport: Header,
    /// Payload that the capture kept.
    pub payload: &'a [u8],
    /// Payload bytes on the wire: at least what was kept.
    pub payload_len: u32,
}

/// Transport header of a [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// TCP.
    Tcp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
        /// Sequence number.
        sequence: u32,
        /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
        flags: u8,
    },
    /// UDP.
    Udp {
        /// Source port.
        source_port: u16,
        /// Destination port.
        destination_port: u16,
    },
    /// ICMP or ICMPv6 echo.
    Echo {
        /// Identifier.
        id: u16,
        /// Whether it is the reply.
        reply: bool,
    },
    /// ICMP or ICMPv6 destination unreachable, about a packet that its receiver had sent.
    Unreachable {
        /// 6 for TCP, 17 for UDP.
        protocol: u8,
        /// Source port of the packet in question.
        source_port: u16,
        /// Destination of the packet in question.
        destination: Addr,
        /// Destination port of the packet in question.
        destination_port: u16,
    },
}

/// TCP flag bits.
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Opens a connection.
    pub const SYN: u8 = 2;
    /// Resets it.
    pub const RST: u8 = 4;
    /// Acknowledgement number is valid.
    pub const ACK: u8 = 16;
}

/// Why a frame gave no [`Packet`]. This is data, not failure: it is counted, never logged per packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undecoded {
    /// A link type that is not known.
    Link,
    /// Not IP (ARP, LLDP, spanning tree…).
    NotIp,
    /// Cut within a header.
    Truncated,
    /// A later fragment: it has no ports.
    Fragment,
    /// IP, but neither TCP, UDP nor an ICMP message that matters here.
    OtherTransport,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad and the older QinQ tag.
const ETHERTYPE_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// More tags than this in a row are not decoded.
const MAX_VLAN_TAGS: usize = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// IPv6 extension headers (IANA's registry of them); the first three and the destination options: RFC 8200 section 4.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;
/// More of them in a row are not decoded: RFC 8200 section 4.1 has each once, destination options twice.
const MAX_EXTENSION_HEADERS: usize = 10;

/// Decodes one frame.
///
/// # Errors
/// [`Undecoded`] says why there is no packet in it.
#[inline]
pub fn decode<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Undecoded> {
    let ip = network_layer(frame.link, frame.data)?;
    // Bytes cut by the snap length; added back where a header does not tell (segmentation offload leaves length 0).
    let cut = u32::try_from(frame.data.len()).map_or(0, |kept| frame.wire_len.saturating_sub(kept));
    match ip.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(frame.time, ip, cut),
        Some(6) => ipv6(frame.time, ip, cut),
        Some(_) => Err(Undecoded::NotIp),
        None => Err(Undecoded::Truncated),
    }
}

fn be16(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The bytes from the IP header on.
#[inline]
fn network_layer(link: LinkType, data: &[u8]) -> Result<&[u8], Undecoded> {
    match link {
        LinkType::Ethernet => {
            let mut at = 12;
            for _ in 0..=MAX_VLAN_TAGS {
                let ethertype = be16(data, at).ok_or(Undecoded::Truncated)?;
                match ethertype {
                    ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return data.get(at + 2..).ok_or(Undecoded::Truncated),
                    tag if ETHERTYPE_VLAN.contains(&tag) => at += 4,
                    _ => return Err(Undecoded::NotIp),
                }
            }
            Err(Undecoded::NotIp)
        }
        LinkType::RawIp => Ok(data),
        // The address family differs by system (2, 10, 24, 28, 30); the version nibble is what counts.
        LinkType::Null | LinkType::Loop => data.get(4..).ok_or(Undecoded::Truncated),
        LinkType::LinuxSll => cooked(data, 14, 16),
        LinkType::LinuxSll2 => cooked(data, 0, 20),
        LinkType::Other(_) => Err(Undecoded::Link),
    }
}

fn cooked(data: &[u8], ethertype_at: usize, header: usize) -> Result<&[u8], Undecoded> {
    let mut ethertype = be16(data, ethertype_at).ok_or(Undecoded::Truncated)?;
    let mut at = header;
    for _ in 0..=MAX_VLAN_TAGS {
        match ethertype {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return data.get(at..).ok_or(Undecoded::Truncated),
            tag if ETHERTYPE_VLAN.contains(&tag) => {
                ethertype = be16(data, at + 2).ok_or(Undecoded::Truncated)?;
                at += 4;
            }
            _ => return Err(Undecoded::NotIp),
        }
    }
    Err(Undecoded::NotIp)
}

/// The rest of an IP packet: kept bytes limited to what the header says, and its length on the wire.
#[inline]
fn body(ip: &[u8], header: usize, total: usize, cut: u32) -> Result<(&[u8], u32), Undecoded> {
    let kept = ip.get(header..).ok_or(Undecoded::Truncated)?;
    // Length 0: segmentation offload hands super-packets to the tap before the length is filled in.
    if total == 0 {
        let wire = u32::try_from(kept.len()).unwrap_or(u32::MAX).saturating_add(cut);
        return Ok((kept, wire));
    }
    let wire = total.checked_sub(header).ok_or(Undecoded::Truncated)?;
    // Ethernet pads short frames: bytes after the IP length are not payload.
    let kept = kept.get(..wire).unwrap_or(kept);
    Ok((kept, u32::try_from(wire).unwrap_or(u32::MAX)))
}

#[inline]
fn ipv4(time: Timestamp, ip: &[u8], cut: u32) -> Result<Packet<'_>, Undecoded> {
    let head: &[u8; 20] = ip.first_chunk().ok_or(Undecoded::Truncated)?;
    let [
        version_ihl,
        _,
        total_a,
        total_b,
        _,
        _,
        fragment_a,
        fragment_b,
        _,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = *head;
    let header = usize::from(version_ihl & 0x0f) * 4;
    if header < 20 {
        return Err(Undecoded::Truncated);
    }
    if u16::from_be_bytes([fragment_a, fragment_b]) & 0x1fff != 0 {
        return Err(Undecoded::Fragment);
    }
    let total = usize::from(u16::from_be_bytes([total_a, total_b]));
    let (rest, wire) = body(ip, header, total, cut)?;
    let (source, destination) = (Addr::v4([s0, s1, s2, s3]), Addr::v4([d0, d1, d2, d3]));
    transport(time, source, destination, protocol, rest, wire)
}

#[inline]
fn ipv6(time: Timestamp, ip: &[u8], cut: u32) -> Result<Packet<'_>, Undecoded> {
    let (head, after) = ip.split_first_chunk::<40>().ok_or(Undecoded::Truncated)?;
    let [_, _, _, _, length_a, length_b, next, _, addresses @ ..] = head;
    let (source, destination): (&[u8; 16], &[u8; 16]) =
        match (addresses.first_chunk(), addresses.last_chunk()) {
            (Some(source), Some(destination)) => (source, destination),
            _ => return Err(Undecoded::Truncated),
        };
    let (source, destination) = (Addr::v6(*source), Addr::v6(*destination));
    let length = usize::from(u16::from_be_bytes([*length_a, *length_b]));
    let total = if length == 0 { 0 } else { 40 + length };
    let (rest, wire) = if total == 0 {
        (after, u32::try_from(after.len()).unwrap_or(u32::MAX).saturating_add(cut))
    } else {
        body(ip, 40, total, cut)?
    };
    if matches!(*next, TCP | UDP | ICMPV6) {
        return transport(time, source, destination, *next, rest, wire);
    }
    let (next, rest, wire) = behind_extensions(*next, rest, wire)?;
    transport(time, source, destination, next, rest, wire)
}

#[inline]
fn transport(
    time: Timestamp,
    source: Addr,
    destination: Addr,
    protocol: u8,
    rest: &[u8],
    wire: u32,
) -> Result<Packet<'_>, Undecoded> {
    let (transport, header) = match protocol {
        TCP => {
            // Fourteen bytes hold ports, sequence, offset and flags; a snap length may have cut the rest of the header.
            let head: &[u8; 14] = rest.first_chunk().ok_or(Undecoded::Truncated)?;
            let [s0, s1, d0, d1, q0, q1, q2, q3, _, _, _, _, offset, flags] = *head;
            let header = usize::from(offset >> 4) * 4;
            if header < 20 {
                return Err(Undecoded::Truncated);
            }
            let header_of = Header::Tcp {
                source_port: u16::from_be_bytes([s0, s1]),
                destination_port: u16::from_be_bytes([d0, d1]),
                sequence: u32::from_be_bytes([q0, q1, q2, q3]),
                flags,
            };
            (header_of, header)
        }
        UDP => {
            let head: &[u8; 8] = rest.first_chunk().ok_or(Undecoded::Truncated)?;
            let [s0, s1, d0, d1, ..] = *head;
            let ports = Header::Udp {
                source_port: u16::from_be_bytes([s0, s1]),
                destination_port: u16::from_be_bytes([d0, d1]),
            };
            (ports, 8)
        }
        ICMP | ICMPV6 => (icmp(protocol, rest)?, 8),
        _ => return Err(Undecoded::OtherTransport),
    };
    Ok(Packet {
        time,
        source,
        destination,
        transport,
        payload: rest.get(header..).unwrap_or_default(),
        payload_len: wire.saturating_sub(u32::try_from(header).unwrap_or(u32::MAX)),
    })
}

fn icmp(protocol: u8, rest: &[u8]) -> Result<Header, Undecoded> {
    let (head, inner) = rest.split_first_chunk::<8>().ok_or(Undecoded::Truncated)?;
    let [kind, code, _, _, id_a, id_b, _, _] = *head;
    let id = u16::from_be_bytes([id_a, id_b]);
    match (protocol, kind) {
        (ICMP, 8) | (ICMPV6, 128) => Ok(Header::Echo { id, reply: false }),
        (ICMP, 0) | (ICMPV6, 129) => Ok(Header::Echo { id, reply: true }),
        // Code 4 asks for smaller packets (RFC 1191) and refuses nothing.
        (ICMP, 3) if code != 4 => unreachable(inner),
        (ICMPV6, 1) => unreachable(inner),
        _ => Err(Undecoded::OtherTransport),
    }
}

/// The header of the packet that an ICMP error quotes (RFC 792: IP header and eight bytes; RFC 4443: as much as fits).
fn unreachable(inner: &[u8]) -> Result<Header, Undecoded> {
    let version = inner.first().ok_or(Undecoded::Truncated)? >> 4;
    let (protocol, destination, ports) = if version == 4 {
        let head: &[u8; 20] = inner.first_chunk().ok_or(Undecoded::Truncated)?;
        let [version_ihl, _, _, _, _, _, _, _, _, protocol, _, _, _, _, _, _, d0, d1, d2, d3] = *head;
        let ports = inner.get(usize::from(version_ihl & 0x0f) * 4..);
        (protocol, Addr::v4([d0, d1, d2, d3]), ports)
    } else {
        let (head, ports) = inner.split_first_chunk::<40>().ok_or(Undecoded::Truncated)?;
        let [_, _, _, _, _, _, next, ..] = *head;
        let destination = head.last_chunk::<16>().copied().ok_or(Undecoded::Truncated)?;
        (next, Addr::v6(destination), Some(ports))
    };
    if !matches!(protocol, TCP | UDP) {
        return Err(Undecoded::OtherTransport);
    }
    let ports: [u8; 4] = ports.and_then(|bytes| bytes.first_chunk().copied()).ok_or(Undecoded::Truncated)?;
    let [s0, s1, d0, d1] = ports;
    Ok(Header::Unreachable {
        protocol,
        source_port: u16::from_be_bytes([s0, s1]),
        destination,
        destination_port: u16::from_be_bytes([d0, d1]),
    })
}

/// What lies behind IPv6 extension headers, the first fragment of a packet included.
///
/// A later fragment has no ports, and what ESP hides stays hidden.
#[cold]
fn behind_extensions(mut next: u8, mut rest: &[u8], mut wire: u32) -> Result<(u8, &[u8], u32), Undecoded> {
    for _ in 0..MAX_EXTENSION_HEADERS {
        let (&[following, length, offset_a, offset_b], _) = match (next, rest.split_first_chunk::<4>()) {
            (
                HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY | HIP
                | SHIM6,
                head,
            ) => head.ok_or(Undecoded::Truncated)?,
            _ => return Ok((next, rest, wire)),
        };
        let header = match next {
            FRAGMENT if u16::from_be_bytes([offset_a, offset_b]) >> 3 != 0 => {
                return Err(Undecoded::Fragment);
            }
            FRAGMENT => 8,
            // RFC 4302 section 2.2 counts in other units than RFC 8200 section 4.2.
            AUTHENTICATION => (u32::from(length) + 2) * 4,
            _ => (u32::from(length) + 1) * 8,
        };
        rest =
            usize::try_from(header).ok().and_then(|header| rest.get(header..)).ok_or(Undecoded::Truncated)?;
        wire = wire.saturating_sub(header);
        next = following;
    }
    Err(Undecoded::OtherTransport)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(data: &[u8]) -> Result<Packet<'_>, Undecoded> {
        let wire_len = u32::try_from(data.len()).unwrap();
        decode(&Frame { time: Timestamp::ZERO, link: LinkType::RawIp, data, wire_len })
    }

    /// An IPv6 packet that begins its extension headers with `next`.
    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let addresses = [[0x20; 16], [0x21; 16]].concat();
        [&[0x60, 0, 0, 0][..], &length, &[next, 64], &addresses, rest].concat()
    }

    const UDP_TO_DNS: [u8; 10] = [0xc3, 0x50, 0, 53, 0, 10, 0, 0, b'h', b'i'];

    #[test]
    fn ports_are_found_behind_every_extension_header() {
        for (next, header) in [
            (HOP_BY_HOP, vec![UDP, 0, 1, 4, 0, 0, 0, 0]),
            (ROUTING, vec![UDP, 0, 0, 0, 0, 0, 0, 0]),
            (DESTINATION_OPTIONS, [&[UDP, 1][..], &[0; 14]].concat()),
            (AUTHENTICATION, [&[UDP, 4][..], &[0; 22]].concat()),
            // The first fragment of several.
            (FRAGMENT, vec![UDP, 0, 0, 1, 0, 0, 0, 9]),
            (HOP_BY_HOP, [&[DESTINATION_OPTIONS, 0][..], &[0; 6], &[UDP, 0], &[0; 6]].concat()),
        ] {
            let bytes = v6(next, &[&header, &UDP_TO_DNS[..]].concat());
            let packet = raw(&bytes).unwrap();
            assert_eq!(packet.transport, Header::Udp { source_port: 50_000, destination_port: 53 });
            assert_eq!((packet.payload, packet.payload_len), (&b"hi"[..], 2), "{next}");
        }
        let later = v6(FRAGMENT, &[&[UDP, 0, 0, 9, 0, 0, 0, 9], &UDP_TO_DNS[..]].concat());
        assert_eq!(raw(&later), Err(Undecoded::Fragment));
        let hidden = v6(50, &UDP_TO_DNS);
        assert_eq!(raw(&hidden), Err(Undecoded::OtherTransport));
        let endless = v6(HOP_BY_HOP, &[0; 400]);
        assert_eq!(raw(&endless), Err(Undecoded::OtherTransport));
    }

    /// etherparse 0.21.0 read past the end of such a packet.
    #[test]
    fn an_authentication_header_cut_short_is_truncated() {
        let fragment_then_authentication =
            v6(FRAGMENT, &[AUTHENTICATION, 0, 0x20, 5, 0, 0, 0, 9, UDP, 255, 0, 0]);
        assert_eq!(raw(&fragment_then_authentication), Err(Undecoded::Fragment));
        let first = v6(FRAGMENT, &[AUTHENTICATION, 0, 0, 1, 0, 0, 0, 9, UDP, 255, 0, 0]);
        for length in 0..first.len() {
            assert_eq!(raw(&first[..length]).unwrap_err(), Undecoded::Truncated, "{length}");
        }
        assert_eq!(raw(&first), Err(Undecoded::Truncated));
    }

    proptest! {
        #[test]
        fn any_bytes_return(number in 0u16..300, data in proptest::collection::vec(any::<u8>(), 0..120), cut: u16) {
            let link = LinkType::from_number(number);
            let wire_len = u32::try_from(data.len()).unwrap() + u32::from(cut);
            if let Ok(packet) = decode(&Frame { time: Timestamp::ZERO, link, data: &data, wire_len }) {
                prop_assert!(packet.payload.len() <= packet.payload_len as usize);
            }
        }
    }
}
