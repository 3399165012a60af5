//! Known services: zones of look-ups, zones that many share, names that lead inside by design, public resolvers, networks of
//! large operators, and programs that answer for others. Facts, kept as data files whose headers say where they are from.

use std::net::IpAddr;
use std::sync::LazyLock;

use crate::process::{ImageLocation, ProcessInfo, image_name};
use crate::zones::{Names, lines};

static LOOKUP_ZONES: LazyLock<Names> =
    LazyLock::new(|| Names::of(include_str!("../../../data/lookup-zones.txt")));
static SHARED_ZONES: LazyLock<Names> =
    LazyLock::new(|| Names::of(include_str!("../../../data/shared-zones.txt")));
static INSIDE_ZONES: LazyLock<Names> =
    LazyLock::new(|| Names::of(include_str!("../../../data/inside-zones.txt")));

/// Whether a name asks a public service about something else: reputation of addresses, domains and files. Only the service's
/// operator sees what is asked.
pub(super) fn is_lookup(name: &str) -> bool {
    LOOKUP_ZONES.has_zone_of(name)
}

/// Whether a name lies in a zone where machines and customers have names and addresses by the thousand.
pub(super) fn is_shared(name: &str) -> bool {
    SHARED_ZONES.has_zone_of(name)
}

/// Whether a name leads to inside addresses by design, or is no public name.
pub(super) fn leads_inside(name: &str) -> bool {
    INSIDE_ZONES.has_zone_of(name) || name.split('.').any(|label| label == "localhost")
}

/// Public resolvers that speak DNS over HTTPS: names and networks.
static RESOLVERS: LazyLock<(Names, Networks)> = LazyLock::new(|| {
    let all = lines(include_str!("../../../data/public-resolvers.txt"));
    let (addresses, names) = all.partition::<Vec<_>, _>(|line| line.parse::<IpAddr>().is_ok());
    (names.into_iter().collect(), Networks::of(addresses.into_iter().map(|address| (address, ""))))
});

/// The public resolver that a name belongs to.
pub(super) fn is_resolver_name(name: &str) -> bool {
    RESOLVERS.0.has_zone_of(name)
}

/// Whether a public resolver answers at an address.
pub(super) fn is_resolver_address(ip: IpAddr) -> bool {
    RESOLVERS.1.find(ip).is_some()
}

/// Networks with the operators that they belong to.
#[derive(Debug, Default)]
struct Networks {
    /// First and last address as numbers, operator; sorted, without overlap.
    ranges: Vec<(u128, u128, &'static str)>,
}

impl Networks {
    fn of(lines: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        let mut ranges: Vec<_> = lines.filter_map(|(text, operator)| range(text, operator)).collect();
        ranges.sort_unstable();
        Self { ranges }
    }

    fn find(&self, ip: IpAddr) -> Option<&'static str> {
        let number = number(ip);
        let after = self.ranges.partition_point(|&(first, ..)| first <= number);
        let &(_, last, operator) = self.ranges.get(after.checked_sub(1)?)?;
        (number <= last).then_some(operator)
    }
}

fn number(ip: IpAddr) -> u128 {
    u128::from_be_bytes(super::octets(ip))
}

/// A network such as `104.16.0.0/12`; an address alone is one of its own.
fn range(text: &str, operator: &'static str) -> Option<(u128, u128, &'static str)> {
    let (ip, length) = text.split_once('/').unwrap_or((text, ""));
    let ip: IpAddr = ip.parse().ok()?;
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let length: u32 = if length.is_empty() { width } else { length.parse().ok()? };
    let hosts = 128 - (128 - width + length.min(width));
    let mask = if hosts == 128 { u128::MAX } else { (1 << hosts) - 1 };
    let first = number(ip) & !mask;
    Some((first, first | mask, operator))
}

static OPERATORS: LazyLock<Networks> = LazyLock::new(|| {
    let pairs = lines(include_str!("../../../data/operator-networks.txt"));
    Networks::of(pairs.filter_map(|line| line.split_once(' ')))
});

/// The large operator whose network an address lies in: clouds and content networks.
pub(super) fn operator(ip: IpAddr) -> Option<&'static str> {
    OPERATORS.find(ip)
}

/// Programs that resolve for others, and clients of resolvers and private networks that a user installed to do so.
const RESOLVER_PROGRAMS: [&str; 45] = [
    "acumbrellaagent",
    "adguardhome",
    "adguardsvc",
    "aardvark-dns",
    "blocky",
    "cloudflared",
    "coredns",
    "ctrld",
    "dns",
    "dnscrypt-proxy",
    "dnscryptproxy",
    "dnsdist",
    "dnsmasq",
    "dockerd",
    "kresd",
    "kube-dns",
    "kubedns",
    "mdnsresponder",
    "mosdns",
    "mullvad-daemon",
    "mullvad-service",
    "named",
    "networkmanager",
    "nextdns",
    "nextdnsservice",
    "node-cache",
    "nscd",
    "nsncd",
    "openvpn",
    "pdns_recursor",
    "pihole-ftl",
    "portmaster-core",
    "routedns",
    "smartdns",
    "sssd_be",
    "stubby",
    "systemd-networkd",
    "systemd-resolve",
    "systemd-resolved",
    "tailscaled",
    "technitium",
    "unbound",
    "vpnagent",
    "warp-svc",
    "zsatunnel",
];

/// Whether a program resolves names for this host by trade. A name alone is not enough: where its place or its signature is
/// known, it has to fit.
pub(super) fn is_resolver_program(info: &ProcessInfo) -> bool {
    let name = image_name(&info.image).to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let by_trade = match name {
        // The DNS client of Windows lives among other services.
        "svchost" => ["", "dnscache"].contains(&info.service.to_ascii_lowercase().as_str()),
        name => RESOLVER_PROGRAMS.contains(&name),
    };
    let placed = matches!(info.location, None | Some(ImageLocation::System | ImageLocation::Programs));
    by_trade && placed && info.signed != Some(false)
}

/// Whether a program is a browser, in a place and with a signature that fit one.
pub(super) fn is_browser(info: &ProcessInfo) -> bool {
    let hidden = matches!(info.location, Some(ImageLocation::Temporary | ImageLocation::Memory));
    let foreign = info.location == Some(ImageLocation::Home) && info.signed == Some(false);
    info.browser == Some(true) && !hidden && !foreign
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn zones_hold_what_lies_below_them_and_nothing_else() {
        assert!(is_lookup("2.0.0.127.zen.spamhaus.org") && is_lookup("x.p.04.s.sophosxl.net"));
        assert!(!is_lookup("spamhaus.org.evil.example") && !is_lookup("notspamhaus.org") && !is_lookup(""));
        assert!(is_shared("d111.cloudfront.net") && !is_shared("cloudfront.net.evil.example"));
        assert!(leads_inside("10-0-0-1.abc.plex.direct") && leads_inside("a.localhost"));
        assert!(!leads_inside("www.example.com") && !leads_inside("notlocalhost.example.com"));
        assert!(is_resolver_name("mozilla.cloudflare-dns.com") && is_resolver_name("dns.google"));
        assert!(!is_resolver_name("www.google.com") && !is_resolver_name("dns.google.evil.example"));
    }

    #[test]
    fn networks_are_found_by_address() {
        assert!(is_resolver_address(ip("9.9.9.9")) && is_resolver_address(ip("2620:fe::fe")));
        assert!(!is_resolver_address(ip("9.9.9.8")) && !is_resolver_address(ip("192.0.2.1")));
        assert_eq!(operator(ip("104.17.1.1")), Some("cloudflare"));
        assert_eq!(operator(ip("52.20.1.1")), Some("amazon"));
        assert_eq!(operator(ip("192.0.2.1")), None);
        let ranges = &OPERATORS.ranges;
        assert!(ranges.len() > 100);
        for pair in ranges.windows(2) {
            assert!(pair[0].1 < pair[1].0, "overlap: {:?} and {:?}", ip_of(pair[0].0), ip_of(pair[1].0));
        }
        let text = include_str!("../../../data/operator-networks.txt");
        assert_eq!(lines(text).count(), ranges.len(), "every line is read");
        let text = include_str!("../../../data/public-resolvers.txt");
        assert_eq!(lines(text).count(), RESOLVERS.0.len() + RESOLVERS.1.ranges.len());
    }

    fn ip_of(number: u128) -> IpAddr {
        IpAddr::V6(number.into()).to_canonical()
    }

    #[test]
    fn a_resolver_is_known_by_more_than_its_name() {
        let of = |image: &str, location, signed, service: &str| {
            is_resolver_program(&ProcessInfo {
                image: image.into(),
                location,
                signed,
                service: service.into(),
                ..ProcessInfo::default()
            })
        };
        let system = Some(ImageLocation::System);
        assert!(of("/usr/sbin/unbound", system, Some(true), ""));
        assert!(of(r"C:\Windows\System32\svchost.exe", system, None, "Dnscache"));
        assert!(!of(r"C:\Windows\System32\svchost.exe", system, None, "Schedule"));
        assert!(!of("/tmp/unbound", Some(ImageLocation::Temporary), None, ""));
        assert!(!of("/usr/sbin/unbound", system, Some(false), ""));
        assert!(!of("/usr/bin/curl", system, Some(true), ""));
    }
}
