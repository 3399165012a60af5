//! Builds frames: link layer, IP, transport and payload in, bytes with valid lengths and checksums out.
//!
//! A [`Packet`] is a plain description; [`Packet::write`] fills a caller's buffer, so the corpus generator allocates
//! nothing per packet. What is built is well-formed: damage (cuts, flipped bits) is for tests to add afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sonde_common::format::LinkType;

/// A MAC address.
pub type Mac = [u8; 6];

/// Frames on a wire are padded to this (IEEE 802.3: 64 bytes with the check sequence).
pub const ETHERNET_MIN_BYTES: usize = 60;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;
const IPV6_FRAGMENT: u8 = 44;

/// Order of the bytes of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant first.
    #[default]
    Little,
    /// Most significant first.
    Big,
}

/// 802.1Q tags of an Ethernet frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vlan {
    /// No tag.
    #[default]
    Untagged,
    /// One tag with this VLAN id.
    Tagged(u16),
    /// Two tags (802.1ad).
    QinQ {
        /// Service tag.
        outer: u16,
        /// Customer tag.
        inner: u16,
    },
}

/// What the frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet II.
    Ethernet {
        /// Sender.
        source: Mac,
        /// Receiver.
        destination: Mac,
        /// Tags between addresses and type.
        vlan: Vlan,
    },
    /// Nothing: the IP header is first.
    RawIp,
    /// Linux cooked capture v1.
    LinuxSll {
        /// Sent by the capturing host.
        outgoing: bool,
    },
    /// Linux cooked capture v2.
    LinuxSll2 {
        /// Sent by the capturing host.
        outgoing: bool,
        /// Interface index.
        interface: u32,
    },
    /// BSD loopback; the address family is in the capturing host's order.
    BsdNull {
        /// That order.
        order: ByteOrder,
    },
}

impl Link {
    /// Untagged Ethernet.
    #[must_use]
    pub const fn ethernet(source: Mac, destination: Mac) -> Self {
        Self::Ethernet { source, destination, vlan: Vlan::Untagged }
    }

    /// The type that a capture file of such frames declares.
    #[must_use]
    pub const fn link_type(self) -> LinkType {
        match self {
            Self::Ethernet { .. } => LinkType::Ethernet,
            Self::RawIp => LinkType::RawIp,
            Self::LinuxSll { .. } => LinkType::LinuxSll,
            Self::LinuxSll2 { .. } => LinkType::LinuxSll2,
            Self::BsdNull { .. } => LinkType::Null,
        }
    }

    /// The same link seen for a packet of the other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Ethernet { source, destination, vlan } => {
                Self::Ethernet { source: destination, destination: source, vlan }
            }
            Self::LinuxSll { outgoing } => Self::LinuxSll { outgoing: !outgoing },
            Self::LinuxSll2 { outgoing, interface } => Self::LinuxSll2 { outgoing: !outgoing, interface },
            Self::RawIp | Self::BsdNull { .. } => self,
        }
    }

    fn write(self, frame: &mut Vec<u8>, ethertype: u16) {
        // Packet type of cooked captures: 0 = to us, 4 = sent by us.
        let kind = |outgoing: bool| if outgoing { 4_u8 } else { 0 };
        match self {
            Self::Ethernet { source, destination, vlan } => {
                frame.extend(destination);
                frame.extend(source);
                match vlan {
                    Vlan::Untagged => {}
                    Vlan::Tagged(id) => write_tag(frame, ETHERTYPE_VLAN, id),
                    Vlan::QinQ { outer, inner } => {
                        write_tag(frame, ETHERTYPE_QINQ, outer);
                        write_tag(frame, ETHERTYPE_VLAN, inner);
                    }
                }
                frame.extend(ethertype.to_be_bytes());
            }
            Self::RawIp => {}
            Self::LinuxSll { outgoing } => {
                frame.extend([0, kind(outgoing), 0, 1, 0, 6]);
                frame.extend([2, 0, 0, 0, 0, 1, 0, 0]);
                frame.extend(ethertype.to_be_bytes());
            }
            Self::LinuxSll2 { outgoing, interface } => {
                frame.extend(ethertype.to_be_bytes());
                frame.extend([0, 0]);
                frame.extend(interface.to_be_bytes());
                frame.extend([0, 1, kind(outgoing), 6]);
                frame.extend([2, 0, 0, 0, 0, 1, 0, 0]);
            }
            Self::BsdNull { order } => {
                // AF_INET is 2 everywhere; AF_INET6 is 30 on Darwin, one of the three values in use.
                let family: u32 = if ethertype == ETHERTYPE_IPV6 { 30 } else { 2 };
                frame.extend(match order {
                    ByteOrder::Little => family.to_le_bytes(),
                    ByteOrder::Big => family.to_be_bytes(),
                });
            }
        }
    }
}

fn write_tag(frame: &mut Vec<u8>, ethertype: u16, id: u16) {
    frame.extend(ethertype.to_be_bytes());
    frame.extend((id & 0x0fff).to_be_bytes());
}

/// Source and destination of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// IPv4.
    V4 {
        /// Sender.
        source: Ipv4Addr,
        /// Receiver.
        destination: Ipv4Addr,
    },
    /// IPv6.
    V6 {
        /// Sender.
        source: Ipv6Addr,
        /// Receiver.
        destination: Ipv6Addr,
    },
}

impl Addresses {
    /// From any two addresses; if families differ, the IPv4 one is mapped into IPv6.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr) -> Self {
        let mapped = |address| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::V4 { source, destination },
            _ => Self::V6 { source: mapped(source), destination: mapped(destination) },
        }
    }

    /// The way back.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::V4 { source, destination } => Self::V4 { source: destination, destination: source },
            Self::V6 { source, destination } => Self::V6 { source: destination, destination: source },
        }
    }

    const fn is_v6(self) -> bool {
        matches!(self, Self::V6 { .. })
    }

    const fn ethertype(self) -> u16 {
        if self.is_v6() { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 }
    }

    /// Pseudo-header of the transport checksum (RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn pseudo_sum(self, protocol: u8, length: usize) -> u64 {
        let addresses = match self {
            Self::V4 { source, destination } => sum(&source.octets()) + sum(&destination.octets()),
            Self::V6 { source, destination } => sum(&source.octets()) + sum(&destination.octets()),
        };
        addresses + u64::from(protocol) + u64::from(length16(length))
    }
}

/// An IPv6 extension header that says nothing, as middleboxes must skip it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options (must be first, RFC 8200 section 4.1).
    HopByHop,
    /// Routing header with no segments left.
    Routing,
    /// Destination options.
    DestinationOptions,
}

impl Extension {
    const fn protocol(self) -> u8 {
        match self {
            Self::HopByHop => 0,
            Self::Routing => 43,
            Self::DestinationOptions => 60,
        }
    }

    /// Eight bytes: next header, length 0, then a `PadN` of six bytes or an empty routing header of type 2.
    const fn bytes(self, next: u8) -> [u8; 8] {
        match self {
            Self::HopByHop | Self::DestinationOptions => [next, 0, 1, 4, 0, 0, 0, 0],
            Self::Routing => [next, 0, 2, 0, 0, 0, 0, 0],
        }
    }
}

/// Header fields of IP that seldom matter.
#[derive(Clone, Copy, Debug)]
pub struct IpFields<'a> {
    /// TTL or hop limit.
    pub ttl: u8,
    /// Identification of IPv4, and of the fragment header of IPv6.
    pub identification: u16,
    /// DF of IPv4.
    pub dont_fragment: bool,
    /// Raw options of IPv4: a multiple of 4 bytes, at most 40.
    pub options: &'a [u8],
    /// Extension headers of IPv6, in order.
    pub extensions: &'a [Extension],
}

impl Default for IpFields<'_> {
    fn default() -> Self {
        Self { ttl: 64, identification: 0, dont_fragment: true, options: &[], extensions: &[] }
    }
}

/// TCP flag bits.
pub mod flags {
    /// No more data from sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// Acknowledgement field is valid.
    pub const ACK: u8 = 0x10;
}

/// Options of a usual SYN: MSS 1460, SACK permitted, window scale 7.
pub const SYN_OPTIONS: &[u8] = &[2, 4, 0x05, 0xb4, 4, 2, 1, 3, 3, 7, 1, 1];

/// The timestamps option (RFC 7323) as Linux lays it out.
#[must_use]
pub fn timestamp_option(value: u32, echo: u32) -> [u8; 12] {
    let ([a, b, c, d], [e, f, g, h]) = (value.to_be_bytes(), echo.to_be_bytes());
    [1, 1, 8, 10, a, b, c, d, e, f, g, h]
}

/// A TCP header.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Sequence number of the first payload byte.
    pub seq: u32,
    /// Next byte expected from the other side.
    pub ack: u32,
    /// Bits of [`flags`].
    pub flags: u8,
    /// Receive window, unscaled.
    pub window: u16,
    /// Raw options: a multiple of 4 bytes, at most 40.
    pub options: &'a [u8],
}

/// What follows the IP headers.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(Tcp<'a>),
    /// UDP.
    Udp {
        /// Sender's port.
        source_port: u16,
        /// Receiver's port.
        destination_port: u16,
    },
    /// ICMP or `ICMPv6` echo.
    Echo {
        /// Reply instead of request.
        reply: bool,
        /// Identifier.
        identifier: u16,
        /// Sequence number.
        sequence: u16,
    },
    /// ICMP or `ICMPv6` destination unreachable; the payload is what [`Packet::quoted`] gives.
    Unreachable {
        /// Reason: 3 (IPv4) or 4 (IPv6) is "port unreachable".
        code: u8,
    },
    /// Any other protocol, the payload follows the IP header at once.
    Other {
        /// Its number.
        protocol: u8,
    },
}

impl Transport<'_> {
    const fn protocol(&self, v6: bool) -> u8 {
        match self {
            Self::Tcp(_) => PROTOCOL_TCP,
            Self::Udp { .. } => PROTOCOL_UDP,
            Self::Echo { .. } | Self::Unreachable { .. } => {
                if v6 {
                    PROTOCOL_ICMPV6
                } else {
                    PROTOCOL_ICMP
                }
            }
            Self::Other { protocol } => *protocol,
        }
    }

    const fn header_len(&self) -> usize {
        match self {
            Self::Tcp(tcp) => 20 + tcp.options.len(),
            Self::Udp { .. } | Self::Echo { .. } | Self::Unreachable { .. } => 8,
            Self::Other { .. } => 0,
        }
    }
}

/// Place of a piece in a fragmented datagram.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    /// In bytes, a multiple of 8.
    offset: usize,
    more: bool,
}

/// One packet, described.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Link layer.
    pub link: Link,
    /// Who to whom.
    pub addresses: Addresses,
    /// Rare IP fields.
    pub ip: IpFields<'a>,
    /// Transport header.
    pub transport: Transport<'a>,
    /// What the transport carries.
    pub payload: &'a [u8],
}

impl Packet<'_> {
    /// Replaces the contents of `frame` by this packet.
    ///
    /// # Panics
    /// If payload and headers exceed 65,535 bytes, or options break the limits named at their field.
    pub fn write(&self, frame: &mut Vec<u8>) {
        frame.clear();
        self.write_network(frame, self.transport.header_len() + self.payload.len(), None);
        self.write_transport(frame);
        self.pad(frame);
    }

    /// This packet in a buffer of its own; panics as [`Packet::write`] does.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.payload.len() + 128);
        self.write(&mut frame);
        frame
    }

    /// This packet in IP fragments of at most `bytes` of data each (rounded down to the unit of 8, at least 8).
    #[must_use]
    pub fn fragments(&self, bytes: usize) -> Vec<Vec<u8>> {
        let mut datagram = Vec::new();
        self.write_transport(&mut datagram);
        let unit = (bytes & !7).max(8);
        let count = datagram.chunks(unit).len();
        let pieces = datagram.chunks(unit).enumerate().map(|(index, piece)| {
            let mut frame = Vec::with_capacity(piece.len() + 128);
            let fragment = Fragment { offset: index * unit, more: index + 1 < count };
            self.write_network(&mut frame, piece.len(), Some(fragment));
            frame.extend_from_slice(piece);
            self.pad(&mut frame);
            frame
        });
        pieces.collect()
    }

    /// What an ICMP error about this packet quotes: its IP header and the first 8 bytes of its transport
    /// (RFC 792; RFC 4443 would allow more).
    #[must_use]
    pub fn quoted(&self) -> Vec<u8> {
        let whole = Packet { link: Link::RawIp, ..*self }.to_vec();
        let kept = whole.len().saturating_sub(self.transport.header_len() + self.payload.len()) + 8;
        whole.into_iter().take(kept).collect()
    }

    fn pad(&self, frame: &mut Vec<u8>) {
        if matches!(self.link, Link::Ethernet { .. }) && frame.len() < ETHERNET_MIN_BYTES {
            frame.resize(ETHERNET_MIN_BYTES, 0);
        }
    }

    /// Link and IP headers for `length` bytes of transport.
    fn write_network(&self, frame: &mut Vec<u8>, length: usize, fragment: Option<Fragment>) {
        self.link.write(frame, self.addresses.ethertype());
        let protocol = self.transport.protocol(self.addresses.is_v6());
        match self.addresses {
            Addresses::V4 { source, destination } => {
                let start = frame.len();
                let header = 20 + self.ip.options.len();
                let words = u8::try_from(header / 4).expect("options are at most 40 bytes");
                assert!(
                    header.is_multiple_of(4) && words < 16,
                    "IPv4 options are a multiple of 4, at most 40"
                );
                frame.extend([0x40 | words, 0]);
                frame.extend(length16(header + length).to_be_bytes());
                frame.extend(self.ip.identification.to_be_bytes());
                let place = match fragment {
                    None if self.ip.dont_fragment => 0x4000,
                    None => 0,
                    Some(f) => length16(f.offset / 8) | if f.more { 0x2000 } else { 0 },
                };
                frame.extend(u16::to_be_bytes(place));
                frame.extend([self.ip.ttl, protocol, 0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                frame.extend(self.ip.options);
                let checksum = fold(sum(frame.get(start..).unwrap_or_default()));
                patch16(frame, start + 10, checksum);
            }
            Addresses::V6 { source, destination } => {
                let fragment_len = if fragment.is_some() { 8 } else { 0 };
                let total = self.ip.extensions.len() * 8 + fragment_len + length;
                let last = if fragment.is_some() { IPV6_FRAGMENT } else { protocol };
                let first = self.ip.extensions.first().map_or(last, |extension| extension.protocol());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(length16(total).to_be_bytes());
                frame.extend([first, self.ip.ttl]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                for (index, extension) in self.ip.extensions.iter().enumerate() {
                    let next = self.ip.extensions.get(index + 1).map_or(last, |next| next.protocol());
                    frame.extend(extension.bytes(next));
                }
                if let Some(f) = fragment {
                    frame.extend([protocol, 0]);
                    frame.extend((length16(f.offset) | u16::from(f.more)).to_be_bytes());
                    frame.extend(u32::from(self.ip.identification).to_be_bytes());
                }
            }
        }
    }

    /// Transport header and payload, with checksum.
    fn write_transport(&self, frame: &mut Vec<u8>) {
        let v6 = self.addresses.is_v6();
        let start = frame.len();
        let length = self.transport.header_len() + self.payload.len();
        // Where the checksum stands in the header, and whether it covers the pseudo-header.
        let (at, pseudo) = match self.transport {
            Transport::Tcp(tcp) => {
                let header = 20 + tcp.options.len();
                assert!(
                    header.is_multiple_of(4) && header <= 60,
                    "TCP options are a multiple of 4, at most 40"
                );
                let words = u8::try_from(header / 4).expect("at most 15");
                frame.extend(tcp.source_port.to_be_bytes());
                frame.extend(tcp.destination_port.to_be_bytes());
                frame.extend(tcp.seq.to_be_bytes());
                frame.extend(tcp.ack.to_be_bytes());
                frame.extend([words << 4, tcp.flags]);
                frame.extend(tcp.window.to_be_bytes());
                frame.extend([0; 4]);
                frame.extend(tcp.options);
                (16, true)
            }
            Transport::Udp { source_port, destination_port } => {
                frame.extend(source_port.to_be_bytes());
                frame.extend(destination_port.to_be_bytes());
                frame.extend(length16(length).to_be_bytes());
                frame.extend([0; 2]);
                (6, true)
            }
            Transport::Echo { reply, identifier, sequence } => {
                let kind = match (v6, reply) {
                    (false, false) => 8,
                    (false, true) => 0,
                    (true, false) => 128,
                    (true, true) => 129,
                };
                frame.extend([kind, 0, 0, 0]);
                frame.extend(identifier.to_be_bytes());
                frame.extend(sequence.to_be_bytes());
                (2, v6)
            }
            Transport::Unreachable { code } => {
                frame.extend([if v6 { 1 } else { 3 }, code, 0, 0, 0, 0, 0, 0]);
                (2, v6)
            }
            Transport::Other { .. } => {
                frame.extend_from_slice(self.payload);
                return;
            }
        };
        frame.extend_from_slice(self.payload);
        let mut total = sum(frame.get(start..).unwrap_or_default());
        if pseudo {
            total += self.addresses.pseudo_sum(self.transport.protocol(v6), length);
        }
        let mut checksum = fold(total);
        if checksum == 0 && matches!(self.transport, Transport::Udp { .. }) {
            // RFC 768: zero would mean "no checksum".
            checksum = 0xffff;
        }
        patch16(frame, start + at, checksum);
    }
}

/// An ARP request "who has `target`", as the noise every segment has.
#[must_use]
pub fn arp_request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_MIN_BYTES);
    Link::ethernet(mac, [0xff; 6]).write(&mut frame, ETHERTYPE_ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(ETHERNET_MIN_BYTES, 0);
    frame
}

/// A length in a 16-bit field.
pub(crate) fn length16(length: usize) -> u16 {
    u16::try_from(length).expect("built messages fit their 16-bit length fields")
}

/// Writes a 16-bit number over bytes that are already there.
pub(crate) fn patch16(bytes: &mut [u8], at: usize, value: u16) {
    let field = bytes.get_mut(at..at + 2).expect("the field was written before it is patched");
    field.copy_from_slice(&value.to_be_bytes());
}

/// Sum of 16-bit words (RFC 1071), taken four bytes at a time: carries are folded at the end either way.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total += u64::from(u32::from_be_bytes(last));
    total
}

/// One's complement of the folded sum.
fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !u16::try_from(total).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{LinkSlice, NetSlice, SlicedPacket, TransportSlice};

    const A4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
    const B4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
    const A6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));
    const B6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7));
    const WIRE: Link = Link::ethernet([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

    fn tcp(payload: &[u8]) -> Packet<'_> {
        Packet {
            link: WIRE,
            addresses: Addresses::new(A4, B4),
            ip: IpFields::default(),
            transport: Transport::Tcp(Tcp {
                source_port: 50_000,
                destination_port: 443,
                seq: 0xdead_beef,
                ack: 77,
                flags: flags::SYN | flags::ACK,
                window: 64_240,
                options: SYN_OPTIONS,
            }),
            payload,
        }
    }

    /// Parses strictly and recomputes every checksum with etherparse.
    fn assert_valid(frame: &[u8], link: Link) {
        let parsed = match link.link_type() {
            LinkType::Ethernet => SlicedPacket::from_ethernet(frame),
            LinkType::LinuxSll => SlicedPacket::from_linux_sll(frame),
            LinkType::Null => SlicedPacket::from_ip(&frame[4..]),
            LinkType::LinuxSll2 => SlicedPacket::from_ip(&frame[20..]),
            _ => SlicedPacket::from_ip(frame),
        }
        .unwrap();
        let net = parsed.net.as_ref().unwrap();
        if let NetSlice::Ipv4(ip) = net {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
        }
        match (net, parsed.transport.as_ref()) {
            (NetSlice::Ipv4(ip), Some(TransportSlice::Tcp(tcp))) => {
                let (source, destination) = (ip.header().source(), ip.header().destination());
                assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(source, destination).unwrap());
            }
            (NetSlice::Ipv6(ip), Some(TransportSlice::Tcp(tcp))) => {
                let (source, destination) = (ip.header().source(), ip.header().destination());
                assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv6(source, destination).unwrap());
            }
            (NetSlice::Ipv4(ip), Some(TransportSlice::Udp(udp))) => {
                let header = udp.to_header();
                let ip = ip.header().to_header();
                assert_eq!(udp.checksum(), header.calc_checksum_ipv4(&ip, udp.payload()).unwrap());
            }
            (NetSlice::Ipv6(ip), Some(TransportSlice::Udp(udp))) => {
                let header = udp.to_header();
                let ip = ip.header().to_header();
                assert_eq!(udp.checksum(), header.calc_checksum_ipv6(&ip, udp.payload()).unwrap());
            }
            (_, Some(TransportSlice::Icmpv4(icmp))) => {
                assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
            }
            (NetSlice::Ipv6(ip), Some(TransportSlice::Icmpv6(icmp))) => {
                let (source, destination) = (ip.header().source(), ip.header().destination());
                assert!(icmp.is_checksum_valid(source, destination));
            }
            (_, other) => panic!("no transport: {other:?}"),
        }
    }

    #[test]
    fn every_link_family_and_transport_parses_back_with_valid_checksums() {
        let links = [
            WIRE,
            Link::Ethernet { source: [2; 6], destination: [4; 6], vlan: Vlan::Tagged(100) },
            Link::Ethernet { source: [2; 6], destination: [4; 6], vlan: Vlan::QinQ { outer: 7, inner: 8 } },
            Link::RawIp,
            Link::LinuxSll { outgoing: true },
            Link::LinuxSll2 { outgoing: false, interface: 3 },
            Link::BsdNull { order: ByteOrder::Big },
        ];
        let transports = [
            tcp(&[]).transport,
            Transport::Udp { source_port: 5353, destination_port: 53 },
            Transport::Echo { reply: false, identifier: 9, sequence: 1 },
            Transport::Echo { reply: true, identifier: 9, sequence: 1 },
        ];
        for link in links {
            for addresses in [Addresses::new(A4, B4), Addresses::new(A6, B6), Addresses::new(A4, B6)] {
                for transport in transports {
                    // Odd and even lengths, shorter and longer than the Ethernet padding.
                    for payload in [&b""[..], b"x", b"ab", b"abc", &[0xff; 999]] {
                        let packet = Packet { link, addresses, ip: IpFields::default(), transport, payload };
                        assert_valid(&packet.to_vec(), link);
                    }
                }
            }
        }
    }

    #[test]
    fn tcp_fields_and_addresses_survive() {
        let frame = tcp(b"hello").to_vec();
        let parsed = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv4(ip)) = &parsed.net else { panic!("not IPv4") };
        assert_eq!(IpAddr::V4(ip.header().source_addr()), A4);
        assert_eq!(IpAddr::V4(ip.header().destination_addr()), B4);
        assert!(ip.header().dont_fragment());
        let Some(TransportSlice::Tcp(tcp)) = &parsed.transport else { panic!("not TCP") };
        assert_eq!((tcp.source_port(), tcp.destination_port()), (50_000, 443));
        assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (0xdead_beef, 77));
        assert!(tcp.syn() && tcp.ack() && !tcp.fin());
        assert_eq!(tcp.options(), SYN_OPTIONS);
        assert_eq!(tcp.payload(), b"hello");
    }

    #[test]
    fn vlan_tags_are_where_they_belong() {
        let link =
            Link::Ethernet { source: [2; 6], destination: [4; 6], vlan: Vlan::QinQ { outer: 7, inner: 8 } };
        let frame = Packet { link, ..tcp(b"") }.to_vec();
        let parsed = SlicedPacket::from_ethernet(&frame).unwrap();
        assert!(matches!(parsed.link, Some(LinkSlice::Ethernet2(_))));
        let ids: Vec<u16> = parsed.vlan_ids().iter().map(|id| id.value()).collect();
        assert_eq!(ids, [7, 8]);
    }

    #[test]
    fn ipv4_options_and_ipv6_extension_headers_are_skipped_by_a_parser() {
        let ip = IpFields { options: &[0x94, 4, 0, 0], ..IpFields::default() };
        assert_valid(&Packet { ip, ..tcp(b"data") }.to_vec(), WIRE);
        let extensions = [Extension::HopByHop, Extension::Routing, Extension::DestinationOptions];
        let ip = IpFields { extensions: &extensions, ..IpFields::default() };
        let frame = Packet { ip, addresses: Addresses::new(A6, B6), ..tcp(b"data") }.to_vec();
        assert_valid(&frame, WIRE);
        assert_eq!(frame.len(), 14 + 40 + 24 + 32 + 4);
    }

    #[test]
    fn fragments_reassemble_to_the_datagram() {
        let payload: Vec<u8> = (0..3_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        for (addresses, whole_header) in [(Addresses::new(A4, B4), 20), (Addresses::new(A6, B6), 40)] {
            let transport = Transport::Udp { source_port: 1, destination_port: 2 };
            let packet = Packet {
                link: Link::RawIp,
                addresses,
                ip: IpFields::default(),
                transport,
                payload: &payload,
            };
            let whole = packet.to_vec();
            let mut joined = Vec::new();
            let fragments = packet.fragments(1_000);
            assert_eq!(fragments.len(), 4);
            for (index, frame) in fragments.iter().enumerate() {
                let parsed = SlicedPacket::from_ip(frame).unwrap();
                let ip = parsed.ip_payload().unwrap();
                assert!(ip.fragmented);
                joined.extend_from_slice(ip.payload);
                if let Some(NetSlice::Ipv4(ip)) = &parsed.net {
                    assert_eq!(usize::from(ip.header().fragments_offset().value()) * 8, index * 1_000);
                    assert_eq!(ip.header().more_fragments(), index < 3);
                }
            }
            assert_eq!(joined, whole[whole_header..]);
        }
    }

    #[test]
    fn unreachable_quotes_the_packet_it_answers() {
        for (a, b) in [(A4, B4), (A6, B6)] {
            let transport = Transport::Udp { source_port: 4_000, destination_port: 53 };
            let addresses = Addresses::new(a, b);
            let asked =
                Packet { link: WIRE, addresses, ip: IpFields::default(), transport, payload: b"query" };
            let quoted = asked.quoted();
            let answer = Packet {
                link: WIRE.reversed(),
                addresses: addresses.reversed(),
                transport: Transport::Unreachable { code: 3 },
                payload: &quoted,
                ..asked
            };
            let frame = answer.to_vec();
            assert_valid(&frame, WIRE);
            let parsed = SlicedPacket::from_ethernet(&frame).unwrap();
            let quote = match parsed.transport.unwrap() {
                TransportSlice::Icmpv4(icmp) => icmp.payload().to_vec(),
                TransportSlice::Icmpv6(icmp) => icmp.payload().to_vec(),
                other => panic!("{other:?}"),
            };
            assert_eq!(quote[quote.len() - 8..quote.len() - 4], [0x0f, 0xa0, 0, 53]);
        }
    }

    #[test]
    fn arp_request_has_the_length_of_the_smallest_frame() {
        let frame = arp_request([2; 6], Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    }
}
