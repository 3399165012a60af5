//! CSV feeds: what a column holds, told by the names of a header (also one behind `#`, as abuse.ch writes it) or by the
//! user; and rows read by it.
//!
//! A row is one line. Quotes may stand behind a space, as ThreatFox writes them.

use std::borrow::Cow;

use super::note::Draft;
use super::options::{Options, attack_id};
use super::reader::{Sink, Spot};
use super::value::{self, Judged, Meaning, Scope};
use super::{MAX_COLUMNS, Reason};
use crate::format::fields;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing that is used.
    Skip,
    /// Something that says itself what it is, or of which [`Role::Kind`] says it.
    Value,
    /// An address or network.
    Address,
    /// A domain name.
    Domain,
    /// A URL.
    Url,
    /// An AS number.
    Asn,
    /// A JA4 fingerprint.
    Ja4,
    /// SHA-1 or SHA-256 of a certificate.
    Certificate,
    /// SHA-1 of a certificate.
    CertificateSha1,
    /// SHA-256 of a certificate.
    CertificateSha256,
    /// What the value is: `domain`, `ip:port`, `url`…
    Kind,
    /// A malware family, a campaign.
    Label,
    /// 0 to 100.
    Confidence,
    /// Where to read more.
    Reference,
    /// Since when it holds.
    ValidFrom,
    /// Until when it holds.
    ValidUntil,
    /// ATT&CK group.
    Group,
    /// ATT&CK software.
    Software,
}

/// Names of columns. The first of a role is the one that users write; the others are those of well-known feeds.
const NAMES: [(&str, Role); 76] = [
    ("-", Role::Skip),
    ("value", Role::Value),
    ("indicator", Role::Value),
    ("ioc", Role::Value),
    ("ioc_value", Role::Value),
    ("observable", Role::Value),
    ("address", Role::Address),
    ("ip", Role::Address),
    ("ip_address", Role::Address),
    ("ipaddress", Role::Address),
    ("ipv4", Role::Address),
    ("ipv6", Role::Address),
    ("dst_ip", Role::Address),
    ("dstip", Role::Address),
    ("dest_ip", Role::Address),
    ("destination_ip", Role::Address),
    ("remote_ip", Role::Address),
    ("network", Role::Address),
    ("cidr", Role::Address),
    ("subnet", Role::Address),
    ("netblock", Role::Address),
    ("domain", Role::Domain),
    ("domain_name", Role::Domain),
    ("fqdn", Role::Domain),
    ("hostname", Role::Domain),
    ("host", Role::Domain),
    ("url", Role::Url),
    ("uri", Role::Url),
    ("asn", Role::Asn),
    ("as_number", Role::Asn),
    ("ja4", Role::Ja4),
    ("certificate", Role::Certificate),
    ("certificate-sha1", Role::CertificateSha1),
    ("certificate_sha1", Role::CertificateSha1),
    ("cert_sha1", Role::CertificateSha1),
    ("x509_sha1", Role::CertificateSha1),
    ("certificate-sha256", Role::CertificateSha256),
    ("certificate_sha256", Role::CertificateSha256),
    ("cert_sha256", Role::CertificateSha256),
    ("x509_sha256", Role::CertificateSha256),
    ("kind", Role::Kind),
    ("type", Role::Kind),
    ("ioc_type", Role::Kind),
    ("indicator_type", Role::Kind),
    ("label", Role::Label),
    ("malware", Role::Label),
    ("malware_printable", Role::Label),
    ("malware_family", Role::Label),
    ("malware_name", Role::Label),
    ("family", Role::Label),
    ("threat", Role::Label),
    ("threat_name", Role::Label),
    ("campaign", Role::Label),
    ("listingreason", Role::Label),
    ("signature", Role::Label),
    ("confidence", Role::Confidence),
    ("confidence_level", Role::Confidence),
    ("reference", Role::Reference),
    ("references", Role::Reference),
    ("link", Role::Reference),
    ("urlhaus_link", Role::Reference),
    ("source_url", Role::Reference),
    ("valid-from", Role::ValidFrom),
    ("valid_from", Role::ValidFrom),
    ("valid-until", Role::ValidUntil),
    ("valid_until", Role::ValidUntil),
    ("expires", Role::ValidUntil),
    ("expiry", Role::ValidUntil),
    ("expiration", Role::ValidUntil),
    ("expiration_date", Role::ValidUntil),
    ("group", Role::Group),
    ("attack_group", Role::Group),
    ("mitre_group", Role::Group),
    ("software", Role::Software),
    ("attack_software", Role::Software),
    ("mitre_software", Role::Software),
];

impl Role {
    /// The role of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, role)| *role)
    }

    /// Whether an indicator can come of it.
    #[must_use]
    pub const fn is_subject(self) -> bool {
        matches!(
            self,
            Self::Value
                | Self::Address
                | Self::Domain
                | Self::Url
                | Self::Asn
                | Self::Ja4
                | Self::Certificate
                | Self::CertificateSha1
                | Self::CertificateSha256
        )
    }
}

/// The columns of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    separator: char,
    roles: Vec<Role>,
    /// Whether rows must have as many cells as there are columns; those that a user names may be more.
    exact: bool,
}

impl Columns {
    /// The columns that a user named.
    pub(super) fn named(options: &Options) -> Option<Self> {
        let separator = options.separator.unwrap_or(',');
        (!options.columns.is_empty()).then(|| Self {
            separator,
            roles: options.columns.clone(),
            exact: false,
        })
    }

    /// The header that this line is, if it names something that an indicator can come of. Behind `#` stands prose, too,
    /// so that a header there has at least two columns, each a word.
    pub(super) fn header(line: &str, declared: Option<char>, commented: bool) -> Option<Self> {
        let separators = declared.as_slice();
        let separators = if separators.is_empty() { &[',', ';', '\t', '|'][..] } else { separators };
        separators.iter().find_map(|&separator| {
            let mut roles = Vec::new();
            let mut words = true;
            let mut listed_reason = false;
            let mut sha1 = None;
            cells(line, separator, |at, cell| {
                let name = cell.trim();
                words &= !name.is_empty() && name.len() <= 64 && !name.contains(char::is_whitespace);
                let role = Role::parse(name).unwrap_or(Role::Skip);
                listed_reason |= name.eq_ignore_ascii_case("listingreason");
                if name.eq_ignore_ascii_case("sha1") {
                    sha1 = Some(at);
                }
                // Of columns with the same meaning the first counts, but for subjects: each of those is one.
                let again = !role.is_subject() && roles.contains(&role);
                if at <= MAX_COLUMNS {
                    roles.push(if again { Role::Skip } else { role });
                }
            })?;
            // A column of that name mostly holds hashes of files; only SSLBL's holds those of certificates.
            if let Some(role) = sha1.filter(|_| listed_reason).and_then(|at| roles.get_mut(at)) {
                *role = Role::CertificateSha1;
            }
            let usable = roles.iter().any(|role| role.is_subject()) && roles.len() <= MAX_COLUMNS;
            let sure = !commented || (words && roles.len() >= 2);
            (usable && sure).then_some(Self { separator, roles, exact: true })
        })
    }

    /// Whether a line may be a row of this table, damaged or not.
    pub(super) fn may_hold(&self, line: &str) -> bool {
        line.contains(self.separator)
    }

    /// Reads a row.
    pub(super) fn row(&self, line: &str, options: &Options, spot: Spot<'_>, sink: &mut Sink<'_, '_>) {
        let mut all: Vec<(Role, Cow<'_, str>)> = Vec::with_capacity(self.roles.len());
        let count = cells(line, self.separator, |at, cell| {
            if let Some(role) = self.roles.get(at).filter(|role| **role != Role::Skip) {
                all.push((*role, cell));
            }
        });
        match count {
            Some(count) if count == self.roles.len() || (!self.exact && count > self.roles.len()) => {}
            _ => return sink.problem(spot, Reason::Columns, line),
        }
        self.told(&all, options, spot, sink);
    }

    fn told(&self, all: &[(Role, Cow<'_, str>)], options: &Options, spot: Spot<'_>, sink: &mut Sink<'_, '_>) {
        let cell = |wanted: Role| {
            all.iter()
                .find(|(role, _)| *role == wanted)
                .map(|(_, cell)| cell.trim())
                .filter(|cell| !is_none(cell))
        };
        let text = |wanted: Role| cell(wanted).unwrap_or_default();
        let mut draft = Draft {
            label: text(Role::Label),
            group: attack_id(text(Role::Group), 'G').unwrap_or_default(),
            software: attack_id(text(Role::Software), 'S').unwrap_or_default(),
            reference: text(Role::Reference),
            ..Draft::default()
        };
        if let Some(confidence) = cell(Role::Confidence) {
            draft.confidence = confidence.parse().ok().filter(|value| *value <= 100);
            if draft.confidence.is_none() {
                sink.problem(spot, Reason::Confidence, confidence);
            }
        }
        for (role, slot) in
            [(Role::ValidFrom, &mut draft.valid_from), (Role::ValidUntil, &mut draft.valid_until)]
        {
            let Some(text) = cell(role) else { continue };
            *slot = fields::date_time(text).or_else(|| fields::date_time(&format!("{text} 00:00:00")));
            if slot.is_none() {
                return sink.problem(spot, Reason::Time, text);
            }
        }
        if let (Some(from), Some(until)) = (draft.valid_from, draft.valid_until)
            && until <= from
        {
            return sink.problem(spot, Reason::Time, text(Role::ValidUntil));
        }
        let meaning = options.meaning(Scope::Registered);
        let kind = cell(Role::Kind);
        let mut any = false;
        for (role, cell) in all.iter().filter(|(role, cell)| role.is_subject() && !is_none(cell.trim())) {
            any = true;
            let judged = match (role, kind) {
                (Role::Value, Some(kind)) => of_kind(kind, cell, meaning),
                (role, _) => of_role(*role, cell, meaning),
            };
            sink.judged(spot, judged, cell, &draft);
        }
        if !any {
            sink.problem(spot, Reason::Columns, "");
        }
    }
}

fn is_none(cell: &str) -> bool {
    matches!(cell, "" | "-") || ["none", "null", "n/a"].iter().any(|none| cell.eq_ignore_ascii_case(none))
}

fn of_role(role: Role, text: &str, meaning: Meaning) -> Judged {
    let plain = value::refang(text.trim());
    match role {
        Role::Address => value::address(&plain),
        Role::Domain => match value::address(&plain) {
            // A column of hosts holds either.
            Ok(value) => Ok(value),
            Err(Reason::Internal) => Err(Reason::Internal),
            Err(_) => value::domain(&plain, meaning.scope),
        },
        Role::Url => value::url(&plain),
        Role::Asn => value::asn(&plain),
        Role::Ja4 => value::ja4(&plain),
        Role::Certificate => value::certificate(&plain),
        Role::CertificateSha1 => value::sha1(&plain),
        Role::CertificateSha256 => value::sha256(&plain),
        _ => value::any(&plain, meaning),
    }
}

/// A value of which the row says what it is, in ThreatFox's words and in those of others.
fn of_kind(kind: &str, text: &str, meaning: Meaning) -> Judged {
    let kind = kind.to_ascii_lowercase();
    let role = match kind.as_str() {
        "ip" | "ipv4" | "ipv6" | "ip:port" | "ip-dst" | "ip-dst|port" | "cidr" | "address" | "network"
        | "ipv4-addr" | "ipv6-addr" | "ip_address" => Role::Address,
        "domain" | "hostname" | "fqdn" | "host" | "domain-name" | "domain:port" => Role::Domain,
        "url" | "uri" => Role::Url,
        "asn" | "as" | "autonomous-system" => Role::Asn,
        "ja4" | "ja4_hash" => Role::Ja4,
        "certificate" | "x509" => Role::Certificate,
        "certificate-sha1" | "x509-fingerprint-sha1" => Role::CertificateSha1,
        "certificate-sha256" | "x509-fingerprint-sha256" => Role::CertificateSha256,
        "ip-src" | "ip-src|port" => return Err(Reason::Source),
        _ => return Err(Reason::Unseen),
    };
    of_role(role, text, meaning)
}

/// Hands out the cells of a row, unquoted; their number, or `None` if a quote is not closed.
fn cells<'a>(line: &'a str, separator: char, mut take: impl FnMut(usize, Cow<'a, str>)) -> Option<usize> {
    let mut rest = line;
    let mut count = 0;
    loop {
        let head = rest.trim_start_matches(' ');
        let (cell, behind) = match head.strip_prefix('"') {
            Some(quoted) => {
                let (cell, behind) = unquote(quoted)?;
                // What stands between a closing quote and the separator is nothing.
                (cell, behind.find(separator).and_then(|at| behind.get(at..)))
            }
            None => match rest.find(separator) {
                Some(at) => (Cow::Borrowed(rest.get(..at).unwrap_or_default()), rest.get(at..)),
                None => (Cow::Borrowed(rest), None),
            },
        };
        take(count, cell);
        count += 1;
        // Separators are one byte long.
        match behind.and_then(|behind| behind.get(1..)) {
            Some(next) => rest = next,
            None => return Some(count),
        }
    }
}

/// The text up to the closing quote, doubled ones undone, and what stands behind.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find('"')?;
    let (cell, behind) = (text.get(..end)?, text.get(end + 1..)?);
    if !behind.starts_with('"') {
        return Some((Cow::Borrowed(cell), behind));
    }
    let mut out = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        out.push_str(rest.get(..end)?);
        rest = rest.get(end + 1..)?;
        match rest.strip_prefix('"') {
            Some(next) => {
                out.push('"');
                rest = next;
            }
            None => return Some((Cow::Owned(out), rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: &str, separator: char) -> Option<Vec<String>> {
        let mut out = Vec::new();
        let count = cells(line, separator, |_, cell| out.push(cell.into_owned()))?;
        assert_eq!(count, out.len());
        Some(out)
    }

    #[test]
    fn cells_are_unquoted_as_feeds_quote_them() {
        assert_eq!(row("a,b,,c", ',').unwrap(), ["a", "b", "", "c"]);
        assert_eq!(row("\"a\", \"b,\"\"c\"\"\", d", ',').unwrap(), ["a", "b,\"c\"", " d"]);
        assert_eq!(row("\"\";\"\"\"\"", ';').unwrap(), ["", "\""]);
        assert_eq!(row("a\t\"b\" x\t", '\t').unwrap(), ["a", "b", ""]);
        assert_eq!(row("", ',').unwrap(), [""]);
        assert_eq!(row("a,\"b", ','), None);
        assert_eq!(row("\"a\"\"", ','), None);
    }

    #[test]
    fn headers_are_told_from_prose_and_from_rows() {
        let header = |line, commented| Columns::header(line, None, commented).map(|columns| columns.roles);
        let (skip, address) = (Role::Skip, Role::Address);
        assert_eq!(header("Firstseen,DstIP,DstPort", true), Some(vec![skip, address, skip]));
        assert_eq!(
            header("Listingdate,SHA1,Listingreason", true),
            Some(vec![skip, Role::CertificateSha1, Role::Label])
        );
        assert_eq!(header("name;IP;malware;threat", false), Some(vec![skip, address, Role::Label, skip]));
        assert_eq!(header("ip", false), Some(vec![address]));
        for (prose, commented) in [
            ("ip", true),
            ("url, domain and ip lists", true),
            ("Last updated: 2026-11-23, by hand", true),
            ("sha1,name", false),
            ("198.51.100.7,bad.example", false),
        ] {
            assert_eq!(header(prose, commented), None, "{prose}");
        }
    }
}
