//! `AdditionalFields`: what network inspection and the DNS client say about a row, as JSON whose values are mostly texts
//! again (`"rcode":"0"`, `"answers":"[\"192.0.2.1\"]"`).

use std::net::IpAddr;

use super::columns::Piece;
use super::raw;
use crate::format::fields;
use crate::format::row::Addresses;

/// A key.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Key {
    Direction,
    ServerName,
    Ja4,
    Established,
    Host,
    UserAgent,
    Method,
    Uri,
    Depth,
    RequestLen,
    ResponseLen,
    Query,
    QueryType,
    ResponseCode,
    ResponseName,
    Answers,
    Ttls,
    DnsQuery,
    DnsResult,
    DnsType,
    DnsStatus,
}

const KEYS: usize = 21;

const NAMES: [(&str, Key); KEYS] = [
    ("direction", Key::Direction),
    ("server_name", Key::ServerName),
    ("ja4", Key::Ja4),
    ("established", Key::Established),
    ("host", Key::Host),
    ("user_agent", Key::UserAgent),
    ("method", Key::Method),
    ("uri", Key::Uri),
    ("trans_depth", Key::Depth),
    ("request_body_len", Key::RequestLen),
    ("response_body_len", Key::ResponseLen),
    ("query", Key::Query),
    ("qtype", Key::QueryType),
    ("rcode", Key::ResponseCode),
    ("rcode_name", Key::ResponseName),
    ("answers", Key::Answers),
    ("TTLs", Key::Ttls),
    ("DnsQueryString", Key::DnsQuery),
    ("DnsQueryResult", Key::DnsResult),
    ("DnsQueryType", Key::DnsType),
    ("DnsQueryStatus", Key::DnsStatus),
];

/// What `AdditionalFields` says. Empty if it says nothing or is not JSON: that is no reason to lose a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Additional<'a> {
    texts: [&'a str; KEYS],
}

impl<'a> Additional<'a> {
    /// Reads it; `kept` is room for what is escaped.
    pub(super) fn read(text: &'a str, kept: &'a mut String) -> Self {
        let mut values = [None; KEYS];
        let wanted = |key: &str| {
            NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|&(_, key)| key as usize)
        };
        if raw::members(text, wanted, &mut values).is_err() {
            return Self { texts: [""; KEYS] };
        }
        let pieces = values.map(|value| value.map_or(Piece::default(), |value| raw::text(value, kept)));
        let kept: &'a str = kept;
        Self { texts: pieces.map(|piece| piece.get(kept)) }
    }

    pub(super) fn get(&self, key: Key) -> &'a str {
        self.texts.get(key as usize).copied().unwrap_or_default()
    }

    /// Whether this host opened it.
    pub(super) fn is_outgoing(&self) -> bool {
        self.get(Key::Direction).eq_ignore_ascii_case("out")
    }

    /// Response code of an inspected query.
    pub(super) fn response_code(&self) -> Option<u16> {
        if let Ok(code) = self.get(Key::ResponseCode).parse() {
            return Some(code);
        }
        const NAMES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
        let name = self.get(Key::ResponseName);
        let at = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        u16::try_from(at).ok()
    }

    /// Response code behind the status of the DNS client (Windows errors 9001 to 9005 are codes 1 to 5, RFC 1035 section
    /// 4.1.1; 9501 is an answer without records).
    pub(super) fn client_response_code(&self) -> Option<u16> {
        match self.get(Key::DnsStatus).trim().parse::<u16>().ok()? {
            0 | 9501 => Some(0),
            error @ 9001..=9005 => Some(error - 9000),
            _ => None,
        }
    }

    /// Smallest time to live of an inspected answer, in whole seconds.
    pub(super) fn smallest_ttl(&self) -> u32 {
        let whole = |token: &str| token.split('.').next().and_then(|whole| whole.parse().ok());
        tokens(self.get(Key::Ttls)).filter_map(whole).min().unwrap_or(0)
    }
}

/// What a list of answers holds, however deeply it is wrapped.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Addresses of A and AAAA records.
    pub(super) addresses: Addresses,
    /// Type of the records, as far as they tell: that of the last that is no alias.
    pub(super) record_type: Option<u16>,
}

impl Answers {
    /// Collects addresses from a list of addresses, of `{"DnsQueryType":…,"Result":…}`, or from text around either.
    /// An address that a TXT record mentions is none.
    pub(super) fn read(text: &str) -> Self {
        let mut answers = Self::default();
        let (mut type_follows, mut of_record) = (false, None);
        for token in tokens(text) {
            let value = token.trim_matches(':');
            if value.is_empty() {
                continue;
            }
            if type_follows {
                type_follows = false;
                of_record = query_type(value);
                answers.record_type = of_record.filter(|kind| *kind != ALIAS).or(answers.record_type);
            } else if value.eq_ignore_ascii_case("DnsQueryType") {
                type_follows = true;
            } else if matches!(of_record, None | Some(A | AAAA))
                && let Some(ip) = fields::address(token).or_else(|| fields::address(value))
            {
                answers.addresses.push(ip);
            }
        }
        answers
    }

    /// The type that was asked for, where nothing says it: that of the records, or of the addresses.
    pub(super) fn query_type(&self) -> u16 {
        let addresses = self.addresses.to_vec();
        let only_v6 = !addresses.is_empty() && addresses.iter().all(IpAddr::is_ipv6);
        self.record_type.unwrap_or(if only_v6 { AAAA } else { A })
    }
}

const A: u16 = 1;
const ALIAS: u16 = 5;
const AAAA: u16 = 28;

/// A query type from its number or its usual name.
pub(super) fn query_type(text: &str) -> Option<u16> {
    const NAMES: [(&str, u16); 13] = [
        ("A", A),
        ("NS", 2),
        ("CNAME", ALIAS),
        ("SOA", 6),
        ("NULL", 10),
        ("PTR", 12),
        ("MX", 15),
        ("TXT", 16),
        ("AAAA", AAAA),
        ("SRV", 33),
        ("SVCB", 64),
        ("HTTPS", 65),
        ("ANY", 255),
    ];
    let text = text.trim();
    text.parse()
        .ok()
        .or_else(|| NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|&(_, number)| number))
}

/// The words of JSON inside JSON, without its brackets, quotes and the escapes around them.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '[' | ']' | '{' | '}' | ',' | ';' | '\\'))
        .filter(|token| !token.is_empty())
}
