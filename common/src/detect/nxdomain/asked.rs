//! What a question asks for: which name would have to be registered for it to exist, if that can be told.

use crate::domain::is_registered_by_anyone;
use crate::event::DnsEvent;

/// Dynamic-DNS services, sorted: what lies directly below them is registered by anyone, within seconds and free of charge.
const DYNAMIC_DNS: [&str; 48] = [
    "afraid.org",
    "chickenkiller.com",
    "crabdance.com",
    "ddns.info",
    "ddns.me",
    "ddns.mobi",
    "ddns.net",
    "ddns.us",
    "ddnsking.com",
    "dnsalias.com",
    "dnsalias.net",
    "dnsalias.org",
    "dnsdojo.com",
    "dnsdojo.net",
    "dnsdojo.org",
    "duckdns.org",
    "dynalias.com",
    "dynalias.net",
    "dynalias.org",
    "dyndns.biz",
    "dyndns.info",
    "dyndns.org",
    "dynu.net",
    "dynv6.net",
    "freeddns.org",
    "gotdns.ch",
    "gotdns.com",
    "gotdns.org",
    "homeip.net",
    "hopto.me",
    "hopto.org",
    "ignorelist.com",
    "jumpingcrab.com",
    "mooo.com",
    "myftp.biz",
    "myftp.org",
    "myvnc.com",
    "no-ip.biz",
    "no-ip.info",
    "no-ip.org",
    "noip.me",
    "redirectme.net",
    "serveftp.com",
    "servehttp.com",
    "strangled.net",
    "sytes.net",
    "twilightparadox.com",
    "zapto.org",
];

/// A (RFC 1035), AAAA (RFC 3596), HTTPS (RFC 9460): what a program asks that wants to connect. Other questions are those
/// of mail servers and administrators. 0 is a source that does not tell.
const ADDRESS_TYPES: [u16; 4] = [0, 1, 28, 65];

/// A name that someone would have to register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// The name.
    pub(super) name: &'a str,
    /// Its first label: what was chosen.
    pub(super) label: &'a str,
    /// Whether it was asked for by itself or as `www`, not for a host below it: a generator makes domains, while lists
    /// of servers, trackers and services name hosts.
    pub(super) bare: bool,
    /// Whether it lies below a dynamic-DNS service.
    pub(super) dynamic: bool,
}

impl<'a> Asked<'a> {
    /// What a query asks for. `None` if nobody could register it: single labels, names of a site (`corp`, `local`, `lan`),
    /// reverse look-ups; or if it is no question for an address.
    pub(super) fn of(query: &DnsEvent<'a>, registrable: &'a str) -> Option<Self> {
        if !ADDRESS_TYPES.contains(&query.query_type) || !is_registered_by_anyone(registrable) {
            return None;
        }
        // Sources may leave the final dot.
        let full = query.query.trim_end_matches('.');
        let below = full.strip_suffix(registrable)?.trim_end_matches('.');
        if !below.is_empty() && DYNAMIC_DNS.binary_search(&registrable).is_ok() {
            let label = below.rsplit('.').next().unwrap_or(below);
            let name = full.get(below.len() - label.len()..)?;
            return Some(Self { name, label, bare: below.len() == label.len(), dynamic: true });
        }
        let label = registrable.split('.').next().unwrap_or_default();
        let bare = matches!(below, "" | "www");
        Some(Self { name: registrable, label, bare, dynamic: false })
    }

    /// What follows the label that was chosen.
    pub(super) fn suffix(name: &str) -> &str {
        name.split_once('.').map_or("", |(_, suffix)| suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::registrable;
    use crate::process::Attribution;
    use crate::time::Timestamp;

    fn asked(query: &'static str, query_type: u16) -> Option<Asked<'static>> {
        let event = DnsEvent {
            start: Timestamp::ZERO,
            process: None,
            program: None,
            attribution: Attribution::NONE,
            tuple: None,
            resolver: None,
            query,
            query_type,
            response_code: Some(3),
            addresses: &[],
            ttl_secs: 0,
        };
        Asked::of(&event, registrable(query))
    }

    #[test]
    fn what_nobody_can_register_is_not_asked_for() {
        for query in [
            "qwertyuiop",
            "wpad.lan",
            "example.com.corp.local",
            "printer.local",
            "xkqzvw.internal",
            "4.3.2.1.in-addr.arpa",
            "co.uk",
            "",
            "facebookcorewwwi.onion",
        ] {
            assert_eq!(asked(query, 1), None, "{query}");
        }
        assert_eq!(asked("sender.com", 15), None, "a mail server's question");
    }

    #[test]
    fn the_name_is_the_one_that_would_be_registered() {
        let name = |query| asked(query, 1).map(|asked| (asked.name, asked.label, asked.bare));
        assert_eq!(name("xkqzvw.com"), Some(("xkqzvw.com", "xkqzvw", true)));
        assert_eq!(name("www.xkqzvw.co.uk"), Some(("xkqzvw.co.uk", "xkqzvw", true)));
        assert_eq!(name("tracker.xkqzvw.org"), Some(("xkqzvw.org", "xkqzvw", false)));
        assert_eq!(name("a.xkqzvw.ddns.net"), Some(("xkqzvw.ddns.net", "xkqzvw", false)));
        assert_eq!(name("xkqzvw.ddns.net"), Some(("xkqzvw.ddns.net", "xkqzvw", true)));
        assert_eq!(name("ddns.net"), Some(("ddns.net", "ddns", true)));
        assert_eq!(name("d1x2y3.cloudfront.net"), Some(("cloudfront.net", "cloudfront", false)));
        assert_eq!(name("host.example.com.corp.example.org"), Some(("example.org", "example", false)));
    }

    #[test]
    fn the_services_are_sorted() {
        assert!(DYNAMIC_DNS.is_sorted());
    }
}
