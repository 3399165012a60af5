//! Which end of a packet is the host: [`Locals`], given by the user or learnt from the first packets of a capture.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;

use crate::decode::packet::{Addr, Header, Packet, flags};
use crate::event::HostId;
use crate::net::{is_internal, is_no_peer};

/// An address block such as `10.0.0.0/8`; a bare address is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: u128,
    mask: u128,
}

/// A text that is no address block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or CIDR block (such as 10.1.0.0/16 or 2001:db8::/32)")]
pub struct ParseCidrError(String);

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let error = || ParseCidrError(text.chars().take(64).collect());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| error())?)),
            None => (text, None),
        };
        let ip: IpAddr = address.trim().parse().map_err(|_| error())?;
        // IPv4 is kept as ::ffff:a.b.c.d, so its prefix begins at bit 96.
        let (width, shift) = if ip.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.unwrap_or(width);
        if length > width {
            return Err(error());
        }
        let mask = u128::MAX.checked_shl(128 - (length + shift)).unwrap_or(0);
        Ok(Self { network: Addr::from(ip).0 & mask, mask })
    }
}

impl Cidr {
    /// Whether the address lies in the block.
    #[must_use]
    pub const fn contains(self, address: Addr) -> bool {
        address.0 & self.mask == self.network
    }
}

/// Which addresses are hosts of ours, and how they are called.
#[derive(Clone, Debug, Default)]
pub struct Locals {
    kind: Kind,
}

#[derive(Clone, Debug, Default)]
enum Kind {
    /// A capture that holds several hosts: whoever opens a connection from an internal address is a host, and so is a
    /// public one that opens one to a public address.
    #[default]
    Network,
    /// The user named the blocks (`--local`).
    Blocks(Vec<Cidr>),
    /// A capture taken on one host: these are its addresses, the first one names it.
    Endpoint(Vec<Addr>),
    /// The machine that we run on: its name, and its addresses as they are now.
    Machine { name: Box<str>, addresses: Vec<Addr> },
}

/// Share of the sampled packets that an address must take part in to be the host on which the capture was taken.
const ENDPOINT_SHARE_PERCENT: u64 = 80;
/// Fewer packets than this tell nothing.
const MIN_SAMPLE: u64 = 8;
/// Addresses counted in a sample.
const MAX_SAMPLE_ADDRESSES: usize = 4096;

impl Locals {
    /// The blocks that a user gave.
    #[must_use]
    pub const fn blocks(blocks: Vec<Cidr>) -> Self {
        Self { kind: Kind::Blocks(blocks) }
    }

    /// The machine on which a live sensor runs.
    #[must_use]
    pub fn machine(name: &str, addresses: &[IpAddr]) -> Self {
        let addresses = addresses.iter().copied().map(Addr::from).collect();
        Self { kind: Kind::Machine { name: name.into(), addresses } }
    }

    /// Whether connections of this address are ours to follow.
    #[must_use]
    pub fn is_host(&self, address: Addr, peer: Addr) -> bool {
        match &self.kind {
            Kind::Network => opens_as_host(address, peer),
            Kind::Blocks(blocks) => blocks.iter().any(|block| block.contains(address)),
            // The host's addresses settle the conversations that they take part in; what else the capture holds is taken as
            // in a network's: the sample may have missed a host, or an address that came later.
            Kind::Endpoint(addresses) => {
                addresses.contains(&address) || (!addresses.contains(&peer) && opens_as_host(address, peer))
            }
            // Loopback: what is asked of a resolver on this machine.
            Kind::Machine { addresses, .. } => addresses.contains(&address) || address.ip().is_loopback(),
        }
    }

    /// What the host with this address is called: the addresses of one endpoint are one host.
    #[must_use]
    pub fn host(&self, address: Addr) -> HostId<'_> {
        match &self.kind {
            Kind::Endpoint(addresses) if addresses.contains(&address) => {
                HostId::Address(addresses.first().copied().unwrap_or(address).ip())
            }
            Kind::Machine { name, .. } => HostId::Name(name),
            _ => HostId::Address(address.ip()),
        }
    }

    /// The one host on which the capture was taken, if it is such a capture.
    #[must_use]
    pub fn endpoint(&self) -> Option<IpAddr> {
        match &self.kind {
            Kind::Endpoint(addresses) => addresses.first().map(|address| address.ip()),
            _ => None,
        }
    }
}

/// Whether the side that opened a connection is a host of ours where nothing else tells: an internal address is, and a
/// public one that calls a public one.
fn opens_as_host(address: Addr, peer: Addr) -> bool {
    is_internal(address.ip()) || !is_internal(peer.ip())
}

/// Counts the addresses of the first packets of a capture, to tell one host's capture from a network's.
#[derive(Debug, Default)]
pub struct Sample {
    v4: u64,
    v6: u64,
    counts: HashMap<Addr, Tally, foldhash::fast::RandomState>,
}

/// What an address did.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Packets that it took part in.
    packets: u64,
    /// Of these, those with which it opened something…
    asked: u64,
    /// …and those with which another did.
    was_asked: u64,
}

impl Tally {
    /// Only ever called, never calling: a server that the hosts of the capture have in common (a proxy, a resolver, a C2),
    /// and not one of them, however many of the packets are its own.
    const fn is_server(self) -> bool {
        self.asked == 0 && self.was_asked > 0
    }
}

/// Whether a packet opens something, as far as it tells by itself.
const fn opens(transport: Header) -> bool {
    match transport {
        Header::Tcp { flags: bits, .. } => bits & (flags::SYN | flags::ACK) == flags::SYN,
        Header::Udp { source_port, destination_port } => source_port >= 1024 && destination_port < 1024,
        Header::Echo { reply, .. } => !reply,
        Header::Unreachable { .. } => false,
    }
}

impl Sample {
    /// Counts one packet.
    pub fn add(&mut self, packet: &Packet<'_>) {
        let (source, destination) = (packet.source, packet.destination);
        if is_no_peer(destination.ip()) || is_no_peer(source.ip()) {
            return;
        }
        if source.ip().is_ipv4() {
            self.v4 += 1;
        } else {
            self.v6 += 1;
        }
        let opens = opens(packet.transport);
        for (address, asks) in [(source, opens), (destination, false)] {
            if self.counts.len() < MAX_SAMPLE_ADDRESSES || self.counts.contains_key(&address) {
                let tally = self.counts.entry(address).or_default();
                tally.packets += 1;
                tally.asked += u64::from(asks);
                tally.was_asked += u64::from(opens && !asks);
            }
        }
    }

    /// The verdict: per family, the address that takes part in at least `ENDPOINT_SHARE_PERCENT` of the packets and is
    /// not merely called by all others. Two addresses that both do (a capture of one conversation) are told apart by being internal, then by being lower.
    #[must_use]
    pub fn locals(&self) -> Locals {
        let busiest = |v4: bool, total: u64| {
            let mut best: Option<(u64, bool, std::cmp::Reverse<Addr>)> = None;
            for (&address, &tally) in &self.counts {
                let (ip, count) = (address.ip(), tally.packets);
                let busy = total >= MIN_SAMPLE && count * 100 >= total * ENDPOINT_SHARE_PERCENT;
                if ip.is_ipv4() == v4 && busy && !tally.is_server() {
                    best = best.max(Some((count, is_internal(ip), std::cmp::Reverse(address))));
                }
            }
            best.map(|(_, _, address)| address.0)
        };
        let ambiguous = |v4: bool, total: u64| {
            let all =
                |(address, tally): (&Addr, &Tally)| address.ip().is_ipv4() == v4 && tally.packets == total;
            self.counts.iter().filter(|&entry| all(entry)).count() > 1
        };
        let mut addresses = Vec::new();
        // Link-local IPv6 chatter alone must not name the host of a capture whose traffic is IPv4.
        let families = if self.v4 >= self.v6 {
            [(true, self.v4), (false, self.v6)]
        } else {
            [(false, self.v6), (true, self.v4)]
        };
        for (v4, total) in families {
            // One conversation only: who is the host shows in who opens it, not in counts.
            if !ambiguous(v4, total) {
                addresses.extend(busiest(v4, total));
            }
        }
        let main_family_known =
            addresses.first().is_some_and(|address| address.ip().is_ipv4() == (self.v4 >= self.v6));
        if main_family_known { Locals { kind: Kind::Endpoint(addresses) } } else { Locals::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn packet(source: &str, destination: &str) -> Packet<'static> {
        let address = |text: &str| Addr::from(text.parse::<IpAddr>().unwrap());
        let transport = Header::Udp { source_port: 5000, destination_port: 443 };
        Packet {
            time: Timestamp::ZERO,
            source: address(source),
            destination: address(destination),
            transport,
            payload: &[],
            payload_len: 0,
        }
    }

    #[test]
    fn blocks_hold_their_addresses_and_no_others() {
        let block: Cidr = "10.1.0.0/16".parse().unwrap();
        assert!(block.contains(Addr::v4([10, 1, 255, 255])) && !block.contains(Addr::v4([10, 2, 0, 0])));
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(
            all.contains(Addr::v4([203, 0, 113, 9]))
                && !all.contains(Addr::from("2001:db8::1".parse::<IpAddr>().unwrap()))
        );
        let everything: Cidr = "::/0".parse().unwrap();
        assert!(everything.contains(Addr::from("2001:db8::1".parse::<IpAddr>().unwrap())));
        for bad in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_capture_of_one_host_names_that_host() {
        let mut sample = Sample::default();
        for last in 1..40 {
            sample.add(&packet("147.32.80.37", &format!("198.51.100.{last}")));
            sample.add(&packet(&format!("198.51.100.{last}"), "147.32.80.37"));
        }
        assert_eq!(sample.locals().endpoint(), Some("147.32.80.37".parse().unwrap()));
    }

    #[test]
    fn a_server_that_several_hosts_have_in_common_is_not_the_host() {
        let tcp = |bits| Header::Tcp { source_port: 50_000, destination_port: 443, sequence: 0, flags: bits };
        let dns = Header::Udp { source_port: 50_000, destination_port: 53 };
        let answer = Header::Udp { source_port: 53, destination_port: 50_000 };
        for (question, answer) in [(tcp(flags::SYN), tcp(flags::SYN | flags::ACK)), (dns, answer)] {
            let mut sample = Sample::default();
            for last in 1..40 {
                for server in ["203.0.113.66", "203.0.113.66", "203.0.113.66", "203.0.113.66", "10.0.0.1"] {
                    let host = format!("10.0.0.{}", 5 + last % 3);
                    sample.add(&Packet { transport: question, ..packet(&host, server) });
                    sample.add(&Packet { transport: answer, ..packet(server, &host) });
                }
            }
            assert_eq!(sample.locals().endpoint(), None);
            assert!(sample.locals().is_host(Addr::v4([10, 0, 0, 5]), Addr::v4([203, 0, 113, 66])));
        }
    }

    #[test]
    fn a_capture_of_many_hosts_or_of_one_conversation_names_none() {
        let mut many = Sample::default();
        for last in 1..40 {
            many.add(&packet(&format!("10.0.0.{last}"), "198.51.100.1"));
            many.add(&packet(&format!("10.0.0.{last}"), "198.51.100.2"));
        }
        assert_eq!(many.locals().endpoint(), None);
        let mut one = Sample::default();
        for _ in 0..40 {
            one.add(&packet("10.0.0.1", "10.0.0.2"));
        }
        assert_eq!(one.locals().endpoint(), None);
    }
}
