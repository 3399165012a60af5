//! What a name and an answer look like: the domain that a name lies below, how random its characters are, what record types
//! carry, what lists of reputation answer.

use std::net::IpAddr;

/// The domain that a name lies below, and the part below it; `None` where there is no such part, and for look-ups of
/// addresses.
///
/// A name whose last label holds a digit lies below no domain at all, since no top-level domain has one (RFC 3696 section 2)
/// but those in other scripts: some tunnels ask their own server for such names. They lie below the empty domain.
pub(super) fn zone<'a>(registrable: &'a str, name: &'a str) -> Option<(&'a str, &'a str)> {
    let top = name.rsplit('.').next().unwrap_or(name);
    if top.bytes().any(|byte| byte.is_ascii_digit()) && !top.starts_with("xn--") && name.contains('.') {
        return Some(("", name));
    }
    let below = name.strip_suffix(registrable)?.strip_suffix('.')?;
    (!below.is_empty() && !registrable.ends_with(".arpa")).then_some((registrable, below))
}

/// Types that a host's programs hardly ask for, and whose answers hold whatever the server likes. Those that validating
/// resolvers and directories ask for all day (DS, DNSKEY, SRV…) are none of them.
pub(super) fn is_carrier(query_type: u16) -> bool {
    const ORDINARY: [u16; 18] = [1, 2, 6, 12, 28, 33, 35, 43, 44, 46, 47, 48, 50, 52, 64, 65, 255, 257];
    ORDINARY.binary_search(&query_type).is_err()
}

/// Bytes of a part of a name as they were sent: an escape (`\DDD`) stands for one.
pub(super) fn wire_bytes(name: &str) -> f64 {
    let escapes = name.bytes().filter(|&byte| byte == b'\\').count();
    f64::from(u32::try_from(name.len().saturating_sub(3 * escapes)).unwrap_or(u32::MAX))
}

/// Entropy of the characters of a name, dots left out, in bits per character.
pub(super) fn entropy(name: &str) -> f64 {
    let mut counts = [0u32; 256];
    let mut length = 0u32;
    for byte in name.bytes().filter(|&byte| byte != b'.') {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
            length += 1;
        }
    }
    let share = |&count: &u32| {
        let share = f64::from(count) / f64::from(length);
        -share * share.log2()
    };
    counts.iter().filter(|&&count| count > 0).map(share).sum()
}

/// Whether lists of reputation answer so (RFC 5782 section 2.1): somewhere in 127.0.0.0/8, but not its first address, which
/// blocking resolvers give.
pub(super) fn is_listed(ip: IpAddr) -> bool {
    ip.is_loopback() && ip != IpAddr::from([127, 0, 0, 1])
}

/// Name of a record type as alerts show it; those without a name here as RFC 3597 writes them.
pub(super) fn type_name(query_type: u16) -> String {
    const NAMES: [(u16, &str); 14] = [
        (1, "A"),
        (2, "NS"),
        (5, "CNAME"),
        (6, "SOA"),
        (10, "NULL"),
        (12, "PTR"),
        (15, "MX"),
        (16, "TXT"),
        (25, "KEY"),
        (28, "AAAA"),
        (33, "SRV"),
        (64, "SVCB"),
        (65, "HTTPS"),
        (255, "ANY"),
    ];
    let known = NAMES.iter().find(|(number, _)| *number == query_type);
    known.map_or_else(|| format!("TYPE{query_type}"), |(_, name)| (*name).to_owned())
}
