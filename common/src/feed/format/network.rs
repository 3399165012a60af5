//! Addresses and networks of feeds, judged: what every site has, and what holds half the world, is no indicator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::Subject;
use super::Reason;
use super::value::{Judged, Value};

/// Widest IPv4 network, in bits of its prefix: 4 million addresses. Published lists of hijacked networks stay above it.
const MIN_PREFIX_V4: u8 = 10;
/// Widest IPv6 network: the largest blocks that registries hand to one provider are /19.
const MIN_PREFIX_V6: u8 = 19;

/// IPv4 networks that are not on the public Internet (IANA special-purpose registry), and Azure's platform address.
const INTERNAL_V4: [(Ipv4Addr, u8); 10] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// The same of IPv6.
const INTERNAL_V6: [(Ipv6Addr, u8); 4] = [
    // Unspecified and loopback.
    (Ipv6Addr::UNSPECIFIED, 127),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];
/// Resolvers that anybody may ask, which stand in feeds because malware asks them, too (their operators' pages).
const RESOLVERS_V4: [Ipv4Addr; 8] = [
    Ipv4Addr::new(1, 0, 0, 1),
    Ipv4Addr::new(1, 1, 1, 1),
    Ipv4Addr::new(8, 8, 4, 4),
    Ipv4Addr::new(8, 8, 8, 8),
    Ipv4Addr::new(9, 9, 9, 9),
    Ipv4Addr::new(149, 112, 112, 112),
    Ipv4Addr::new(208, 67, 220, 220),
    Ipv4Addr::new(208, 67, 222, 222),
];
/// The same of IPv6.
const RESOLVERS_V6: [Ipv6Addr; 6] = [
    Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844),
    Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888),
    Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1001),
    Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111),
    Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 9),
    Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe),
];

/// An address or a network; a port behind an address is left out.
pub(super) fn address(text: &str) -> Judged {
    let text = text.trim();
    if let Some((address, prefix)) = text.split_once('/') {
        return network(address, prefix);
    }
    let ip = plain_address(text).or_else(|| {
        let (host, port) = text.rsplit_once([':', '|'])?;
        port.parse::<u16>().ok()?;
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match v6 {
            Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        }
    });
    let ip = ip.ok_or(Reason::Address)?.to_canonical();
    judge_network(ip, bits(ip))
}

pub(super) fn plain_address(text: &str) -> Option<IpAddr> {
    // Hardly any name begins and ends like this, so that most texts are not tried.
    let may_be = text.starts_with(|c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '['));
    if !may_be {
        return None;
    }
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
}

fn network(address: &str, prefix: &str) -> Judged {
    let ip = plain_address(address.trim()).ok_or(Reason::Address)?;
    let prefix = prefix.trim();
    let mut length = match (prefix.parse::<u8>(), prefix.parse::<Ipv4Addr>(), ip) {
        (Ok(length), ..) if prefix.bytes().all(|b| b.is_ascii_digit()) => length,
        // A netmask, which is ones and then zeros.
        (_, Ok(mask), IpAddr::V4(_)) if mask.to_bits().leading_ones() == mask.to_bits().count_ones() => {
            u8::try_from(mask.to_bits().leading_ones()).map_err(|_| Reason::Address)?
        }
        _ => return Err(Reason::Address),
    };
    if length > bits(ip) {
        return Err(Reason::Address);
    }
    let canonical = ip.to_canonical();
    if ip.is_ipv6() && canonical.is_ipv4() {
        // IPv4 in IPv6 (RFC 4291 section 2.5.5.2): 96 bits say so.
        length = length.checked_sub(96).ok_or(Reason::Overbroad)?;
    }
    judge_network(canonical, length)
}

const fn bits(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address without what stands behind its prefix.
fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

fn judge_network(ip: IpAddr, prefix: u8) -> Judged {
    let (inside, holds) = internal(ip, prefix);
    let widest = if ip.is_ipv4() { MIN_PREFIX_V4 } else { MIN_PREFIX_V6 };
    if inside {
        return Err(Reason::Internal);
    }
    if prefix < widest {
        return Err(Reason::Overbroad);
    }
    if holds {
        return Err(Reason::Internal);
    }
    if prefix == bits(ip) {
        let resolver = match ip {
            IpAddr::V4(v4) => RESOLVERS_V4.contains(&v4),
            IpAddr::V6(v6) => RESOLVERS_V6.contains(&v6),
        };
        return Ok(Value { subject: Subject::Ip(ip), warned: resolver.then_some(Reason::Resolver) });
    }
    let address = masked(ip, prefix);
    let warned = (address != ip).then_some(Reason::HostBits);
    Ok(Value { subject: Subject::Network { address, prefix }, warned })
}

/// Whether a network lies within one that is not public, and whether it holds one.
fn internal(ip: IpAddr, prefix: u8) -> (bool, bool) {
    let judge = |other: IpAddr, length: u8| {
        let common = prefix.min(length);
        let meets = masked(ip, common) == masked(other, common);
        (meets && length <= prefix, meets && length > prefix)
    };
    let all = |(inside, holds): (bool, bool), (in_this, holds_this): (bool, bool)| {
        (inside || in_this, holds || holds_this)
    };
    match ip {
        IpAddr::V4(_) => INTERNAL_V4.iter().map(|&(v4, n)| judge(v4.into(), n)).fold((false, false), all),
        IpAddr::V6(_) => INTERNAL_V6.iter().map(|&(v6, n)| judge(v6.into(), n)).fold((false, false), all),
    }
}
