//! Frames are decoded as an independent reader decodes them: `decode::packet` against etherparse's lax slicing.
//!
//! Built frames of every link and header form, whole and cut at every length; then frames with damage; then any bytes.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::net::IpAddr;

use etherparse::{EtherType, Icmpv4Type, Icmpv6Type, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use proptest::prelude::*;
use sonde_common::decode::packet::{self, Addr, Header, Packet, Undecoded};
use sonde_common::format::{Frame, LinkType};
use sonde_common::time::Timestamp;
use sonde_tests::packet::{
    self as build, Addresses, ByteOrder, Extension, IpFields, Link, SYN_OPTIONS, Tcp, Transport, Vlan,
};

fn decode(link: LinkType, data: &[u8]) -> Result<Packet<'_>, Undecoded> {
    let wire_len = u32::try_from(data.len()).unwrap();
    packet::decode(&Frame { time: Timestamp::ZERO, link, data, wire_len })
}

/// What both readers can tell of a packet.
#[derive(Debug, PartialEq)]
struct Seen {
    source: IpAddr,
    destination: IpAddr,
    transport: Header,
    payload: Vec<u8>,
}

fn cooked(data: &[u8], ethertype_at: usize, header: usize) -> Option<LaxSlicedPacket<'_>> {
    let ethertype = data.get(ethertype_at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
    Some(LaxSlicedPacket::from_ether_type(EtherType(ethertype), data.get(header..)?))
}

/// The frame as etherparse reads it; `None` if it sees no whole transport header that matters here.
fn oracle(link: LinkType, data: &[u8]) -> Option<Seen> {
    let sliced = match link {
        LinkType::Ethernet => LaxSlicedPacket::from_ethernet(data).ok()?,
        LinkType::LinuxSll => cooked(data, 14, 16)?,
        LinkType::LinuxSll2 => cooked(data, 0, 20)?,
        LinkType::Null | LinkType::Loop => LaxSlicedPacket::from_ip(data.get(4..)?).ok()?,
        LinkType::RawIp => LaxSlicedPacket::from_ip(data).ok()?,
        LinkType::Other(_) => return None,
    };
    let (source, destination): (IpAddr, IpAddr) = match sliced.net? {
        LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Arp(_) => return None,
    };
    let (transport, payload) = match sliced.transport? {
        TransportSlice::Tcp(tcp) => {
            let header = Header::Tcp {
                source_port: tcp.source_port(),
                destination_port: tcp.destination_port(),
                sequence: tcp.sequence_number(),
                flags: tcp.slice()[13],
            };
            (header, tcp.payload().to_vec())
        }
        TransportSlice::Udp(udp) => {
            let (source_port, destination_port) = (udp.source_port(), udp.destination_port());
            (Header::Udp { source_port, destination_port }, udp.payload().to_vec())
        }
        TransportSlice::Icmpv4(icmp) => {
            let (id, reply) = match icmp.icmp_type() {
                Icmpv4Type::EchoRequest(echo) => (echo.id, false),
                Icmpv4Type::EchoReply(echo) => (echo.id, true),
                _ => return None,
            };
            (Header::Echo { id, reply }, icmp.payload().to_vec())
        }
        TransportSlice::Icmpv6(icmp) => {
            let (id, reply) = match icmp.icmp_type() {
                Icmpv6Type::EchoRequest(echo) => (echo.id, false),
                Icmpv6Type::EchoReply(echo) => (echo.id, true),
                _ => return None,
            };
            (Header::Echo { id, reply }, icmp.payload().to_vec())
        }
        TransportSlice::Igmp(_) => return None,
    };
    let canonical = |ip: IpAddr| Addr::from(ip).ip();
    Some(Seen { source: canonical(source), destination: canonical(destination), transport, payload })
}

fn seen(packet: &Packet<'_>) -> Seen {
    Seen {
        source: packet.source.ip(),
        destination: packet.destination.ip(),
        transport: packet.transport,
        payload: packet.payload.to_vec(),
    }
}

/// Every link with every family, header form, transport and some payloads.
fn every_frame() -> Vec<(LinkType, Vec<u8>, usize)> {
    let mac = ([2, 0, 0, 0, 0, 5], [2, 0, 0, 0, 0, 1]);
    let tagged = |vlan| Link::Ethernet { source: mac.0, destination: mac.1, vlan };
    let links = [
        tagged(Vlan::Untagged),
        tagged(Vlan::Tagged(4000)),
        tagged(Vlan::QinQ { outer: 1, inner: 4095 }),
        Link::RawIp,
        Link::LinuxSll { outgoing: true },
        Link::LinuxSll2 { outgoing: false, interface: 9 },
        Link::BsdNull { order: ByteOrder::Little },
        Link::BsdNull { order: ByteOrder::Big },
    ];
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let (a4, b4) = (address("10.0.0.5"), address("203.0.113.9"));
    let (a6, b6) = (address("2001:db8::5"), address("2001:db8:1::9"));
    let extensions: [&[Extension]; 4] = [
        &[],
        &[Extension::HopByHop],
        &[Extension::Routing, Extension::DestinationOptions],
        &[Extension::HopByHop, Extension::Routing, Extension::DestinationOptions],
    ];
    let mut networks = vec![
        (Addresses::new(a4, b4), IpFields::default()),
        (Addresses::new(a4, b4), IpFields { options: &[7, 7, 4, 0, 0, 0, 0, 0], ..IpFields::default() }),
        (Addresses::new(a4, b6), IpFields::default()),
    ];
    networks.extend(
        extensions.map(|extensions| (Addresses::new(a6, b6), IpFields { extensions, ..IpFields::default() })),
    );
    let tcp = Tcp {
        source_port: 50_000,
        destination_port: 443,
        seq: 0xfedc_ba98,
        ack: 1,
        flags: 0x18,
        window: 501,
        options: &[],
    };
    let transports = [
        Transport::Tcp(tcp),
        Transport::Tcp(Tcp { flags: 2, options: SYN_OPTIONS, ..tcp }),
        Transport::Udp { source_port: 50_000, destination_port: 53 },
        Transport::Echo { reply: false, identifier: 77, sequence: 3 },
        Transport::Echo { reply: true, identifier: 77, sequence: 3 },
    ];
    let mut frames = Vec::new();
    for link in links {
        for (addresses, ip) in networks.clone() {
            for transport in transports {
                for payload in [&b""[..], b"x", &[0x55; 90]] {
                    let packet = build::Packet { link, addresses, ip, transport, payload };
                    frames.push((link.link_type(), packet.to_vec(), payload.len()));
                }
            }
        }
    }
    frames
}

#[test]
fn built_frames_are_read_as_etherparse_reads_them() {
    let frames = every_frame();
    assert_eq!(frames.len(), 8 * 7 * 5 * 3);
    for (link, frame, payload) in frames {
        let packet = decode(link, &frame).unwrap();
        assert_eq!(Some(seen(&packet)), oracle(link, &frame), "{link:?} {frame:02x?}");
        assert_eq!(
            (packet.payload.len(), packet.payload_len as usize),
            (payload, payload),
            "{link:?} {frame:02x?}"
        );
    }
}

#[test]
fn cut_frames_keep_what_is_left_and_the_length_on_the_wire() {
    for (link, frame, payload) in every_frame() {
        let whole = decode(link, &frame).unwrap();
        for kept in 0..frame.len() {
            let data = &frame[..kept];
            let wire_len = u32::try_from(frame.len()).unwrap();
            let cut = packet::decode(&Frame { time: Timestamp::ZERO, link, data, wire_len });
            let expected = oracle(link, data);
            match cut {
                Ok(packet) => {
                    assert_eq!((packet.transport, packet.source), (whole.transport, whole.source));
                    assert_eq!(packet.payload_len as usize, payload, "{link:?} cut to {kept}: {frame:02x?}");
                    assert!(whole.payload.starts_with(packet.payload));
                    // A cut header is enough here as long as ports, sequence and flags are left.
                    assert!(expected.is_none_or(|expected| expected == seen(&packet)));
                }
                Err(cause) => {
                    assert_eq!(cause, Undecoded::Truncated, "{link:?} cut to {kept}");
                    assert_eq!(expected, None, "{link:?} cut to {kept}: the other reader sees more");
                }
            }
        }
    }
}

#[test]
fn later_fragments_are_known_as_such_and_first_ones_are_read() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    for (a, b) in [("10.0.0.5", "203.0.113.9"), ("2001:db8::5", "2001:db8:1::9")] {
        let packet = build::Packet {
            link: Link::RawIp,
            addresses: Addresses::new(address(a), address(b)),
            ip: IpFields::default(),
            transport: Transport::Udp { source_port: 50_000, destination_port: 4500 },
            payload: &[1; 3000],
        };
        let fragments = packet.fragments(1480);
        let first = decode(LinkType::RawIp, &fragments[0]).unwrap();
        assert_eq!(first.transport, Header::Udp { source_port: 50_000, destination_port: 4500 });
        assert_eq!((first.payload.len(), first.payload_len), (1472, 1472));
        for later in &fragments[1..] {
            assert_eq!(decode(LinkType::RawIp, later), Err(Undecoded::Fragment));
        }
    }
}

#[test]
fn cut_within_an_extension_header_is_a_cut_header_and_no_other_protocol() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let packet = build::Packet {
        link: Link::RawIp,
        addresses: Addresses::new(address("2001:db8::5"), address("2001:db8:1::9")),
        ip: IpFields { extensions: &[Extension::HopByHop, Extension::Routing], ..IpFields::default() },
        transport: Transport::Udp { source_port: 50_000, destination_port: 4500 },
        payload: b"",
    };
    let frame = packet.to_vec();
    for kept in [40, 44, 48, 52] {
        assert_eq!(decode(LinkType::RawIp, &frame[..kept]), Err(Undecoded::Truncated), "{kept}");
    }
    let other = build::Packet { transport: Transport::Other { protocol: 50 }, payload: &[0; 40], ..packet };
    assert_eq!(decode(LinkType::RawIp, &other.to_vec()), Err(Undecoded::OtherTransport), "ESP");
}

const LINKS: [LinkType; 7] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
    LinkType::Null,
    LinkType::Loop,
    LinkType::Other(147),
];

/// Holds for every packet: it lends from its frame, and says no less was on the wire than was kept.
fn assert_within(frame: &[u8], packet: &Packet<'_>) {
    assert!(packet.payload.len() <= frame.len());
    assert!(packet.payload_len as usize >= packet.payload.len(), "{packet:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_packet_or_none(
        link in prop::sample::select(&LINKS[..]),
        data in proptest::collection::vec(any::<u8>(), 0..200),
        wire_len in any::<u32>(),
    ) {
        if let Ok(packet) = packet::decode(&Frame { time: Timestamp::ZERO, link, data: &data, wire_len }) {
            assert_within(&data, &packet);
        }
    }

    /// Damage leaves both readers in agreement wherever both still see a transport header.
    #[test]
    fn damaged_frames_are_read_as_etherparse_reads_them(
        which in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        thread_local!(static FRAMES: Vec<(LinkType, Vec<u8>, usize)> = every_frame());
        let (link, mut frame) = FRAMES.with(|frames| {
            let (link, frame, _) = which.get(frames);
            (*link, frame.clone())
        });
        for (at, value) in flips {
            let at = at.index(frame.len());
            frame[at] ^= value;
        }
        if let Ok(packet) = decode(link, &frame) {
            assert_within(&frame, &packet);
            if let Some(expected) = oracle(link, &frame) {
                let seen = seen(&packet);
                prop_assert_eq!(seen.transport, expected.transport);
                prop_assert_eq!((seen.source, seen.destination), (expected.source, expected.destination));
            }
        }
    }
}
