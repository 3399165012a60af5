//! Fingerprints of real captures against those that the method's authors published for them.
//!
//! The captures are not ours to ship: the case says that it was skipped where there are none, see `program::shared`.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use etherparse::{LaxSlicedPacket, TransportSlice};
use pcap_parser::{Linktype, PcapBlockOwned, PcapError};
use sonde_common::decode::quic::{InitialAssembler, Progress};
use sonde_common::decode::{Probe, tls};
use sonde_tests::program::{say, shared};

type Ends = (SocketAddr, SocketAddr);
/// Server name and fingerprint of each hello.
type Hellos = BTreeSet<(String, String)>;

/// TCP segments as (sequence number, payload), and UDP payloads, of each direction in the order of the capture.
#[derive(Default)]
struct Flows {
    tcp: BTreeMap<Ends, Vec<(u32, Vec<u8>)>>,
    udp: BTreeMap<Ends, Vec<Vec<u8>>>,
}

impl Flows {
    fn add(&mut self, link: Linktype, data: &[u8]) {
        let sliced = match link {
            Linktype::ETHERNET => LaxSlicedPacket::from_ethernet(data).ok(),
            Linktype::NULL => LaxSlicedPacket::from_ip(&data[4..]).ok(),
            Linktype::LINUX_SLL => LaxSlicedPacket::from_ip(&data[16..]).ok(),
            _ => LaxSlicedPacket::from_ip(data).ok(),
        };
        let Some(packet) = sliced else { return };
        let Some(net) = packet.net else { return };
        let (source, destination) = match &net {
            etherparse::LaxNetSlice::Ipv4(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            etherparse::LaxNetSlice::Ipv6(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            etherparse::LaxNetSlice::Arp(_) => return,
        };
        match packet.transport {
            Some(TransportSlice::Tcp(tcp)) if !tcp.payload().is_empty() => self
                .tcp
                .entry((
                    SocketAddr::new(source, tcp.source_port()),
                    SocketAddr::new(destination, tcp.destination_port()),
                ))
                .or_default()
                .push((tcp.sequence_number(), tcp.payload().to_vec())),
            Some(TransportSlice::Udp(udp)) => self
                .udp
                .entry((
                    SocketAddr::new(source, udp.source_port()),
                    SocketAddr::new(destination, udp.destination_port()),
                ))
                .or_default()
                .push(udp.payload().to_vec()),
            _ => {}
        }
    }

    fn read(path: &Path) -> Self {
        let mut flows = Self::default();
        let bytes = std::fs::read(path).unwrap();
        let mut reader = pcap_parser::create_reader(1 << 20, &bytes[..]).unwrap();
        let mut links = Vec::new();
        loop {
            match reader.next() {
                Ok((used, block)) => {
                    match block {
                        PcapBlockOwned::LegacyHeader(header) => links.push(header.network),
                        PcapBlockOwned::Legacy(packet) => flows.add(links[0], packet.data),
                        PcapBlockOwned::NG(pcap_parser::Block::InterfaceDescription(interface)) => {
                            links.push(interface.linktype);
                        }
                        PcapBlockOwned::NG(pcap_parser::Block::EnhancedPacket(packet)) => {
                            let data = &packet.data[..packet.caplen as usize];
                            flows.add(links[packet.if_id as usize], data);
                        }
                        PcapBlockOwned::NG(_) => {}
                    }
                    reader.consume(used);
                }
                Err(PcapError::Incomplete(_)) => {
                    reader.refill().map_err(|error| format!("{error:?}")).unwrap()
                }
                Err(_) => return flows,
            }
        }
    }

    /// Every hello that a stream holds at the start of some segment: a second one follows a HelloRetryRequest.
    fn hellos(&self) -> BTreeMap<Ends, Hellos> {
        let mut found: BTreeMap<Ends, Hellos> = BTreeMap::new();
        for (ends, segments) in &self.tcp {
            for start in 0..segments.len() {
                let mut stream = Vec::new();
                let mut next = segments[start].0;
                for (sequence, payload) in &segments[start..] {
                    if *sequence == next {
                        stream.extend(payload);
                        next = next.wrapping_add(u32::try_from(payload.len()).unwrap());
                    }
                }
                // Behind a HelloRetryRequest a client may send change_cipher_spec first.
                let stream = stream.strip_prefix(&[20, 3, 3, 0, 1, 1]).unwrap_or(&stream);
                if let Probe::Parsed(hello) = tls::client_hello(stream)
                    && let Some(ja4) = hello.ja4
                {
                    let one = (hello.sni.to_string(), ja4.as_str().to_owned());
                    found.entry(*ends).or_default().insert(one);
                }
            }
        }
        for (ends, datagrams) in &self.udp {
            let mut assembler = InitialAssembler::new();
            for datagram in datagrams {
                if let Progress::Complete(message) = assembler.push(datagram)
                    && let Probe::Parsed(hello) = tls::handshake_client_hello(message)
                    && let Some(ja4) = hello.ja4
                {
                    let one = (hello.sni.to_string(), ja4.as_str().to_owned());
                    found.entry(*ends).or_default().insert(one);
                    break;
                }
            }
        }
        found
    }
}

#[test]
fn fingerprints_equal_the_published_ones() {
    let Some(folder) = shared("data/ja4") else { return };
    let table = std::fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let mut captures = BTreeMap::new();
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension != "tsv") {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            captures.insert(name, Flows::read(&file).hellos());
        }
    }
    let mut rows = 0;
    let mut differing = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let [file, source, destination, source_port, port, sni, fingerprints] =
            line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let end = |ip: &str, port: &str| SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap());
        let ends = (end(source, source_port), end(destination, port));
        let found = captures.get_mut(file).and_then(|found| found.remove(&ends)).unwrap_or_default();
        let published: Hellos = fingerprints.split(';').map(|ja4| (sni.to_owned(), ja4.to_owned())).collect();
        rows += 1;
        if found != published {
            differing.push(format!("{line}\n    found {found:?}"));
        }
    }
    for (file, found) in captures.iter().filter(|(_, found)| !found.is_empty()) {
        say(&format!("not in the table: {file} {found:?}"));
    }
    say(&format!("{rows} rows, {} differ", differing.len()));
    assert!(rows > 0 && differing.is_empty(), "{}", differing.join("\n"));
}
