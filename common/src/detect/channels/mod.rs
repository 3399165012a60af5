//! Channels in DNS: names that carry data, resolvers that are not this host's, addresses that change hands, public names
//! that lead inside. One detector each; what they share stands beside them.
//!
//! None of them times anything: a tunnel that only keeps itself alive is found by the rhythm of its queries
//! ([`beacon`](super::beacon), level DNS).

mod bypass;
mod caller;
mod distinct;
mod flux;
mod names;
mod rebinding;
mod resolvers;
#[cfg(test)]
mod scene;
mod services;
mod table;
mod tunnel;

pub use self::bypass::BypassDetector;
pub use self::flux::FluxDetector;
pub use self::rebinding::RebindingDetector;
pub use self::tunnel::TunnelDetector;

use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::alert::Technique;

/// Longest sample of a name that an alert shows is the name itself; so many samples.
const MAX_SAMPLES: usize = 8;

/// A key or fingerprint of some texts. No secret: who forges a collision joins two of his own names.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = SipHasher24::new();
    for part in parts {
        hash.write_usize(part.len());
        hash.write(part);
    }
    hash.finish()
}

/// The bytes of an address, as they are hashed.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// An ATT&CK technique.
fn technique(id: &'static str, name: &'static str) -> Technique {
    Technique { id: id.into(), name: name.into() }
}
