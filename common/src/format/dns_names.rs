//! Names of DNS record types and response codes as logs write them, to their numbers (IANA, "Domain Name System Parameters").

/// Number of a record type: by name, or as digits, also behind `TYPE` (RFC 3597). Zeek writes `*` for any.
#[must_use]
pub(super) fn record_type(name: &str) -> Option<u16> {
    /// Sorted by nothing but how often one meets them.
    const TYPES: [(&str, u16); 34] = [
        ("A", 1),
        ("AAAA", 28),
        ("PTR", 12),
        ("HTTPS", 65),
        ("SRV", 33),
        ("TXT", 16),
        ("MX", 15),
        ("NS", 2),
        ("SOA", 6),
        ("CNAME", 5),
        ("NULL", 10),
        ("SVCB", 64),
        ("NAPTR", 35),
        ("DS", 43),
        ("DNSKEY", 48),
        ("RRSIG", 46),
        ("NSEC", 47),
        ("NSEC3", 50),
        ("CAA", 257),
        ("TLSA", 52),
        ("SSHFP", 44),
        ("SPF", 99),
        ("HINFO", 13),
        ("KEY", 25),
        ("SIG", 24),
        ("DNAME", 39),
        ("OPT", 41),
        ("LOC", 29),
        ("NB", 32),
        ("TKEY", 249),
        ("IXFR", 251),
        ("AXFR", 252),
        ("ANY", 255),
        ("*", 255),
    ];
    let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, number)| number);
    known.or_else(|| name.strip_prefix("TYPE").unwrap_or(name).parse().ok())
}

/// Number of a response code: by name, or as digits.
#[must_use]
pub(super) fn response_code(name: &str) -> Option<u16> {
    const CODES: [(&str, u16); 12] = [
        ("NOERROR", 0),
        ("NXDOMAIN", 3),
        ("SERVFAIL", 2),
        ("REFUSED", 5),
        ("FORMERR", 1),
        ("NOTIMP", 4),
        ("YXDOMAIN", 6),
        ("YXRRSET", 7),
        ("NXRRSET", 8),
        ("NOTAUTH", 9),
        ("NOTZONE", 10),
        ("BADVERS", 16),
    ];
    let known = CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, number)| number);
    known.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_codes_are_known_by_name_and_by_number() {
        assert_eq!(
            ["A", "aaaa", "*", "TYPE65", "12", "", "qclass"].map(record_type),
            [Some(1), Some(28), Some(255), Some(65), Some(12), None, None]
        );
        assert_eq!(["NOERROR", "nxdomain", "23", "-"].map(response_code), [Some(0), Some(3), Some(23), None]);
    }
}
