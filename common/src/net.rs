//! Addresses as the host sees them: the five-tuple of a connection, and the community ID by which others find it.
//!
//! We sit on the host, so the two ends are `local` and `remote`, not source and destination.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

/// Transport protocol of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Transport {
    /// TCP (IP protocol 6).
    #[default]
    Tcp,
    /// UDP (IP protocol 17).
    Udp,
    /// ICMP or ICMPv6 echo; both ports are 0.
    Icmp,
}

impl Transport {
    /// Lower-case name, as in alerts and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Both ends of a connection as the host sees them. ICMP has port 0 on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FiveTuple {
    /// Transport protocol.
    pub transport: Transport,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

impl FiveTuple {
    /// Community ID version 1 with seed 0 (Corelight's `community-id-spec`), as Zeek and Suricata print it.
    ///
    /// ICMP echo is given as type 8/0 (128/129 for IPv6), the pair that the specification maps echo to.
    #[must_use]
    pub fn community_id(&self) -> String {
        format!("1:{}", base64::engine::general_purpose::STANDARD.encode(self.community_hash()))
    }

    /// The SHA-1 inside [`Self::community_id`], for callers that must not allocate.
    #[must_use]
    pub fn community_hash(&self) -> [u8; 20] {
        let (protocol, local_port, remote_port) = match (self.transport, self.local.ip()) {
            (Transport::Tcp, _) => (6, self.local.port(), self.remote.port()),
            (Transport::Udp, _) => (17, self.local.port(), self.remote.port()),
            (Transport::Icmp, IpAddr::V4(_)) => (1, 8, 0),
            (Transport::Icmp, IpAddr::V6(_)) => (58, 128, 129),
        };
        let local = (self.local.ip(), local_port);
        let remote = (self.remote.ip(), remote_port);
        let (low, high) = if local <= remote { (local, remote) } else { (remote, local) };
        let mut hash = Sha1::new();
        hash.update(0u16.to_be_bytes());
        for (ip, _) in [low, high] {
            match ip {
                IpAddr::V4(v4) => hash.update(v4.octets()),
                IpAddr::V6(v6) => hash.update(v6.octets()),
            }
        }
        hash.update([protocol, 0]);
        hash.update(low.1.to_be_bytes());
        hash.update(high.1.to_be_bytes());
        hash.finalize().into()
    }
}

/// The address at which Azure's virtual machines reach their platform (guest agent, DHCP, DNS, health probes): public by its
/// number, but routed nowhere else (Microsoft, "What is IP address 168.63.129.16?").
const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether an address is reachable only inside a site: private (RFC 1918, RFC 4193), loopback, link-local, shared
/// (RFC 6598), multicast, broadcast, unspecified, or Azure's platform address.
#[must_use]
pub fn is_internal(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || a == 0
                || (a == 100 && (b & 0xc0) == 64)
                || v4 == AZURE_PLATFORM
        }
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(
            || {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
            },
            |v4| is_internal(IpAddr::V4(v4)),
        ),
    }
}

/// Whether nothing on another host can answer at this address as a peer: multicast, broadcast, unspecified or loopback.
#[must_use]
pub fn is_no_peer(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            v4.is_multicast() || v4.is_broadcast() || v4.is_loopback() || v4.octets().first() == Some(&0)
        }
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified() || v6.is_loopback(),
    }
}

/// Whether an address means nothing beyond one link: link-local (RFC 3927, RFC 4291 section 2.5.6), where cloud hosts
/// find their metadata service.
#[must_use]
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether an address looks like the broadcast address of an internal IPv4 network: those of 254 hosts, the usual size, end
/// in 255.
#[must_use]
pub fn is_internal_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.octets().last() == Some(&255)) && is_internal(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(transport: Transport, local: &str, remote: &str) -> FiveTuple {
        FiveTuple { transport, local: local.parse().unwrap(), remote: remote.parse().unwrap() }
    }

    /// Values of the community-id specification's own baseline (TCP and UDP, IPv4 and IPv6).
    #[test]
    fn community_id_equals_the_published_values() {
        let tcp = tuple(Transport::Tcp, "128.232.110.120:34855", "66.35.250.204:80");
        assert_eq!(tcp.community_id(), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        let udp = tuple(Transport::Udp, "192.168.1.52:54585", "8.8.8.8:53");
        assert_eq!(udp.community_id(), "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
        let swapped = tuple(Transport::Udp, "8.8.8.8:53", "192.168.1.52:54585");
        assert_eq!(udp.community_id(), swapped.community_id(), "both directions give one id");
    }

    #[test]
    fn internal_addresses_are_told_from_public_ones() {
        for ip in [
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.4",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "168.63.129.16",
            "224.0.0.251",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_internal(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["8.8.8.8", "168.63.129.17", "172.32.0.1", "100.128.0.1", "2606:4700::1"] {
            assert!(!is_internal(ip.parse().unwrap()), "{ip}");
        }
    }
}
