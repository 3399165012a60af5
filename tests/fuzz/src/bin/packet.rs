//! Any bytes behind any link type: what etherparse makes a TCP or UDP packet of, and what the decoder does, has the same
//! addresses, ports and payload.
#![no_main]

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use sonde_common::decode::packet::{Addr, Header, decode};
use sonde_common::format::{Frame, LinkType};
use sonde_common::time::Timestamp;
use sonde_fuzz::input::Input;

const LINKS: [LinkType; 7] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::Null,
    LinkType::Loop,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
    LinkType::Other(147),
];

/// Whether the total length leaves room for the header; where it does not, etherparse takes what there is, and we take
/// the packet for what it is: broken. Length 0 is segmentation offload's.
fn has_room(v4: &etherparse::LaxIpv4Slice<'_>) -> bool {
    let header = v4.header();
    header.total_len() == 0 || usize::from(header.total_len()) >= header.slice().len()
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let link = input.pick(&LINKS);
    let cut = u32::from(input.u8());
    let data = input.rest();
    let time = Timestamp::ZERO;
    let wire_len = u32::try_from(data.len()).unwrap_or(u32::MAX).saturating_add(cut);
    let decoded = decode(&Frame { time, link, data, wire_len });
    if let Ok(packet) = &decoded {
        assert!(packet.payload.len() <= packet.payload_len as usize);
    }
    let typed = |at: usize, header: usize| {
        let ether_type = EtherType(u16::from_be_bytes(*data.get(at..)?.first_chunk()?));
        Some(LaxSlicedPacket::from_ether_type(ether_type, data.get(header..)?))
    };
    let oracle = match link {
        LinkType::Ethernet => LaxSlicedPacket::from_ethernet(data).ok(),
        LinkType::RawIp => LaxSlicedPacket::from_ip(data).ok(),
        LinkType::Null | LinkType::Loop => LaxSlicedPacket::from_ip(data.get(4..).unwrap_or_default()).ok(),
        LinkType::LinuxSll => typed(14, 16),
        LinkType::LinuxSll2 => typed(0, 20),
        LinkType::Other(_) => None,
    };
    let Some(oracle) = oracle else { return };
    let (source, destination, fragmented, plain) = match &oracle.net {
        Some(LaxNetSlice::Ipv4(v4)) => (
            Addr::v4(v4.header().source()),
            Addr::v4(v4.header().destination()),
            v4.payload().fragmented,
            v4.extensions().auth.is_none() && has_room(v4),
        ),
        Some(LaxNetSlice::Ipv6(v6)) => {
            let header = v6.header();
            // Of more extension headers in a row than we follow, each takes eight bytes or more.
            let few = v6.extensions().slice().len() < 80;
            (Addr::v6(header.source()), Addr::v6(header.destination()), v6.payload().fragmented, few)
        }
        _ => return,
    };
    // MACsec and authenticated IPv4 are none of ours, and of a fragment etherparse reads no ports.
    let macsec = oracle.link_exts.iter().any(|ext| matches!(ext, etherparse::LaxLinkExtSlice::Macsec(_)));
    if fragmented || macsec || !plain {
        return;
    }
    let (ports, payload) = match &oracle.transport {
        Some(TransportSlice::Tcp(tcp)) => ((6, tcp.source_port(), tcp.destination_port()), tcp.payload()),
        Some(TransportSlice::Udp(udp)) => ((17, udp.source_port(), udp.destination_port()), udp.payload()),
        _ => return,
    };
    match decoded {
        Ok(packet) => {
            let ours = match packet.transport {
                Header::Tcp { source_port, destination_port, .. } => (6, source_port, destination_port),
                Header::Udp { source_port, destination_port } => (17, source_port, destination_port),
                other => panic!("{other:?} where etherparse has {ports:?}"),
            };
            assert_eq!((packet.source, packet.destination), (source, destination));
            assert_eq!(ours, ports);
            // The UDP length may be shorter than the packet's, which etherparse heeds and we need not.
            assert!(packet.payload.starts_with(payload) || ports.0 == 17, "payload");
        }
        Err(error) => panic!("{error:?} where etherparse has {ports:?}"),
    }
});
