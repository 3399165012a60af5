//! Domains: the registrable part of a name (public suffix list) and whether it is widely used.

use std::net::IpAddr;
use std::sync::LazyLock;

use crate::zones::Names;

/// Domains that many hosts ask for. From `data/popular-domains.txt`, which names its source.
static POPULAR: LazyLock<Names> = LazyLock::new(|| Names::of(include_str!("../data/popular-domains.txt")));

/// The registrable domain of a name: one label more than its public suffix. A name that is itself a suffix, or has no
/// dot, is returned as it is.
#[must_use]
pub fn registrable(name: &str) -> &str {
    let name = name.trim_end_matches('.');
    // Only the list's ICANN part: below a hosting company's suffix the customers' names are what a defender knows the
    // company by, and popularity is known for the company.
    let mut rest = psl_icann(name);
    if rest.is_empty() {
        rest = name;
    }
    rest
}

fn psl_icann(name: &str) -> &str {
    let Some(suffix) = psl::suffix(name.as_bytes()) else { return name };
    let mut length = suffix.as_bytes().len();
    if suffix.typ() == Some(psl::Type::Private) {
        // The ICANN suffix that the private one lies under: strip labels until the list gives one.
        let mut shorter = name.get(name.len().saturating_sub(length)..).unwrap_or(name);
        while let Some((_, parent)) = shorter.split_once('.') {
            shorter = parent;
            match psl::suffix(parent.as_bytes()) {
                Some(suffix) if suffix.typ() != Some(psl::Type::Private) => {
                    length = suffix.as_bytes().len();
                    break;
                }
                _ => {}
            }
        }
    }
    let Some(before) = name.len().checked_sub(length + 1) else { return name };
    let head = name.get(..before).unwrap_or_default();
    let label = head.rfind('.').map_or(0, |dot| dot + 1);
    name.get(label..).unwrap_or(name)
}

/// Whether a registrable domain lies below a public suffix, so that anyone may have registered it. Not so single labels,
/// suffixes themselves, names of a site (`corp.local`), reverse look-ups (`arpa`), and `onion` (RFC 7686), which is never
/// asked of a resolver by intent.
#[must_use]
pub fn is_registered_by_anyone(registrable: &str) -> bool {
    psl::suffix(registrable.as_bytes()).is_some_and(|suffix| {
        // A suffix of the list's private part is a name that a company has registered.
        let below = suffix.typ() == Some(psl::Type::Private)
            || (suffix.is_known() && suffix.as_bytes().len() < registrable.len());
        below && !registrable.ends_with(".arpa") && !registrable.ends_with(".onion")
    })
}

/// Whether a registrable domain is widely used.
#[must_use]
pub fn is_popular(registrable: &str) -> bool {
    POPULAR.has(registrable)
}

/// The address that a "name" is, if it is none: clients put addresses where names belong.
#[must_use]
pub fn literal_address(name: &str) -> Option<IpAddr> {
    let may_be = name.as_bytes().last().is_some_and(|byte| byte.is_ascii_digit() || *byte == b']')
        || name.contains(':');
    if !may_be {
        return None;
    }
    name.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrable_domains_follow_the_public_suffix_list() {
        for (name, expected) in [
            ("www.example.com", "example.com"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("example.com", "example.com"),
            ("com", "com"),
            ("localhost", "localhost"),
            ("x.y.internal", "y.internal"),
            ("d111.cloudfront.net", "cloudfront.net"),
            ("bucket.s3.amazonaws.com", "amazonaws.com"),
            ("someone.github.io", "github.io"),
            ("", ""),
        ] {
            assert_eq!(registrable(name), expected, "{name}");
        }
    }

    #[test]
    fn what_nobody_can_register_is_known() {
        for yes in ["example.com", "example.co.uk", "github.io", "cloudfront.net", "b\u{fc}cher.de"] {
            assert!(is_registered_by_anyone(yes), "{yes}");
        }
        for no in
            ["", "com", "co.uk", "localhost", "corp.local", "host.lan", "4.3.in-addr.arpa", "x.onion", "."]
        {
            assert!(!is_registered_by_anyone(no), "{no}");
        }
    }

    #[test]
    fn popular_domains_are_found_and_look_alikes_are_not() {
        assert!(is_popular("google.com") && is_popular("microsoft.com"));
        assert!(!is_popular("notmicrosoft.com") && !is_popular("") && !is_popular("evil.example"));
    }

    #[test]
    fn an_address_in_the_place_of_a_name_is_seen_as_one() {
        assert_eq!(literal_address("198.51.100.7"), Some("198.51.100.7".parse().unwrap()));
        assert_eq!(literal_address("[2001:db8::1]"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(literal_address("host7"), None);
        assert_eq!(literal_address("www.example.com"), None);
    }
}
