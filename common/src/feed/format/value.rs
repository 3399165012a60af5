//! One value of a feed as the subject of an indicator: told apart, brought to one spelling, and judged whether it can be
//! meant. What would match good traffic is refused here, whatever the format.

use std::borrow::Cow;

use super::super::Subject;
use super::network::plain_address;
use super::{Reason, name};
use crate::certificate::digest;
use crate::domain;
use crate::event::Ja4;

pub(super) use super::network::address;

/// Domains in the private part of the public suffix list below which not customers but the company's own hosts lie, each of
/// which serves everybody's files.
const COMPANY_OWN: [&str; 2] = ["githubusercontent.com", "googleapis.com"];

/// A subject, and what should be looked at all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) subject: Subject,
    pub(super) warned: Option<Reason>,
}

pub(super) type Judged = Result<Value, Reason>;

/// Whether a domain stands for the names below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// No.
    Exact,
    /// If it is what somebody registered: then all below it is that somebody's.
    Registered,
    /// Yes.
    Below,
}

/// How values of a file are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) scope: Scope,
    /// A bare hash is that of a certificate.
    pub(super) hashes: bool,
}

/// A value that says itself what it is.
pub(super) fn any(text: &str, meaning: Meaning) -> Judged {
    let text = refang(text.trim());
    let text = text.trim().trim_matches(['"', '\'', ',']);
    if text.contains("://") {
        return url(text);
    }
    if let Some((head, behind)) = text.split_once('/') {
        let is_network =
            plain_address(head).is_some() && behind.starts_with(|c: char| c.is_ascii_digit() || c == '+');
        // Else it is a URL without its scheme.
        return if is_network { address(text) } else { url_behind(text) };
    }
    match address(text) {
        Err(Reason::Address) => {}
        judged => return judged,
    }
    if let Some(number) = as_number(text) {
        return asn(number);
    }
    if let Some(ja4) = ja4_of(text) {
        return fine(Subject::Ja4(ja4));
    }
    if text.len() >= 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return match text.len() {
            32 => Err(Reason::Unseen),
            _ if meaning.hashes => certificate(text),
            _ => Err(Reason::Hash),
        };
    }
    if text.contains('@') {
        return Err(Reason::Unseen);
    }
    match domain(text, meaning.scope) {
        Err(Reason::Name) => Err(Reason::Unknown),
        judged => judged,
    }
}

const fn fine(subject: Subject) -> Judged {
    Ok(Value { subject, warned: None })
}

/// Undoes what keeps a text from being clicked: `198[.]51[.]100[.]7`, `bad[dot]example`. Schemes such as `hxxp` need no
/// undoing, because nothing but the host is used.
pub(super) fn refang(text: &str) -> Cow<'_, str> {
    const TOKENS: [(&str, &str); 10] = [
        ("[.]", "."),
        ("(.)", "."),
        ("{.}", "."),
        ("[dot]", "."),
        ("(dot)", "."),
        ("[:]", ":"),
        ("[://]", "://"),
        ("[:/]", ":/"),
        ("[/]", "/"),
        ("\\.", "."),
    ];
    let starts = ['[', '(', '{', '\\'];
    if !text.contains(starts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(starts) {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let token = TOKENS.iter().find(|(token, _)| {
            behind.get(..token.len()).is_some_and(|head| head.eq_ignore_ascii_case(token))
        });
        let (put, length) = match token {
            Some((token, plain)) => (*plain, token.len()),
            // One of `starts`, each a byte long.
            None => (behind.get(..1).unwrap_or_default(), 1),
        };
        out.push_str(put);
        rest = behind.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A domain name; `*.` or `.` in front means the names below it, too. A port behind it is left out.
pub(super) fn domain(text: &str, scope: Scope) -> Judged {
    let text = text.trim();
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => text,
    };
    let bare = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
    let name = name::normal(bare.unwrap_or(host)).ok_or(Reason::Name)?;
    // The whole list, private part and all: below `github.io` each name is somebody else's.
    let registered = psl::domain(name.as_bytes()).ok_or(Reason::Suffix)?;
    let length = registered.as_bytes().len();
    let popular = is_popular(&name, length);
    let below = match scope {
        _ if bare.is_some() => true,
        Scope::Exact => false,
        Scope::Registered => length == name.len() && !popular,
        Scope::Below => true,
    };
    let warned = popular.then_some(Reason::Popular);
    Ok(Value { subject: Subject::Domain { name, subdomains: below }, warned })
}

/// Whether the registered part of a name, of that length, is a popular domain.
fn is_popular(name: &str, length: usize) -> bool {
    name.get(name.len().saturating_sub(length)..).is_some_and(domain::is_popular)
}

/// The host of a URL: an address, or a name that is nobody else's.
pub(super) fn url(text: &str) -> Judged {
    let text = refang(text.trim());
    let (scheme, behind) = text.split_once("://").ok_or(Reason::Url)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if scheme.is_empty() || !scheme.bytes().all(fits) {
        return Err(Reason::Url);
    }
    url_behind(behind)
}

/// The same without its scheme.
fn url_behind(text: &str) -> Judged {
    let authority = text.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match address(host) {
        Err(Reason::Address) => {}
        judged => return judged,
    }
    let value = domain(host, Scope::Exact).map_err(|reason| match reason {
        Reason::Name => Reason::Url,
        reason => reason,
    })?;
    match value {
        Value { warned: Some(Reason::Popular), .. } => Err(Reason::SharedHost),
        Value { subject: Subject::Domain { name, .. }, .. }
            if COMPANY_OWN.contains(&domain::registrable(&name)) =>
        {
            Err(Reason::SharedHost)
        }
        Value { subject: Subject::Domain { name, subdomains: false }, .. } => fine(Subject::UrlHost(name)),
        // `http://*.bad.example/` is no URL.
        _ => Err(Reason::Url),
    }
}

/// The number behind `AS`.
fn as_number(text: &str) -> Option<&str> {
    let head = text.get(..2).filter(|head| head.eq_ignore_ascii_case("as"))?;
    let number = text.get(head.len()..)?;
    let number = number.strip_prefix(['n', 'N']).unwrap_or(number).trim_start();
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(number)
}

/// An AS number, with or without `AS` in front.
pub(super) fn asn(text: &str) -> Judged {
    let text = text.trim();
    let number: u32 = as_number(text).unwrap_or(text).parse().map_err(|_| Reason::Asn)?;
    match number {
        // Reserved (RFC 7607, RFC 6793), private use and last ones (RFC 6996, RFC 7300).
        0 | 23_456 | 64_512..=65_535 | 4_200_000_000.. => Err(Reason::Asn),
        number => fine(Subject::Asn(number)),
    }
}

/// JA4 of a client: protocol, version, SNI, counts, ALPN; two hashes (FoxIO's specification).
fn ja4_of(text: &str) -> Option<Ja4> {
    let bytes = text.as_bytes();
    let shape = |(at, b): (usize, &u8)| match at {
        0 => matches!(b, b't' | b'q' | b'd'),
        1 => matches!(b, b'0'..=b'9' | b's' | b'd'),
        2 | 4..=7 => b.is_ascii_digit(),
        3 => matches!(b, b'd' | b'i'),
        8 | 9 => b.is_ascii_alphanumeric(),
        10 | 23 => *b == b'_',
        _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
    };
    (bytes.len() == 36 && bytes.iter().enumerate().all(shape)).then(|| Ja4::parse(text))?
}

/// A JA4 fingerprint.
pub(super) fn ja4(text: &str) -> Judged {
    ja4_of(text.trim()).map_or(Err(Reason::Fingerprint), |ja4| fine(Subject::Ja4(ja4)))
}

/// SHA-1 or SHA-256 of a certificate, by its length; colons between bytes are left out.
pub(super) fn certificate(text: &str) -> Judged {
    match sha1(text) {
        Err(_) => sha256(text),
        judged => judged,
    }
}

/// SHA-1 of a certificate.
pub(super) fn sha1(text: &str) -> Judged {
    digest(text).map_or(Err(Reason::Fingerprint), |digest| fine(Subject::CertificateSha1(digest)))
}

/// SHA-256 of a certificate.
pub(super) fn sha256(text: &str) -> Judged {
    digest(text).map_or(Err(Reason::Fingerprint), |digest| fine(Subject::CertificateSha256(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match any(text, Meaning { scope: Scope::Registered, hashes: false }) {
            Err(reason) => reason.as_str().to_owned(),
            Ok(Value { subject, warned }) => {
                let subject = match subject {
                    Subject::Ip(ip) => format!("ip {ip}"),
                    Subject::Network { address, prefix } => format!("net {address}/{prefix}"),
                    Subject::Asn(number) => format!("as {number}"),
                    Subject::Domain { name, subdomains: true } => format!("below {name}"),
                    Subject::Domain { name, subdomains: false } => format!("name {name}"),
                    Subject::UrlHost(host) => format!("host {host}"),
                    Subject::Ja4(ja4) => format!("ja4 {}", ja4.as_str()),
                    other => format!("{other:?}"),
                };
                match warned {
                    Some(reason) => format!("{subject}, {}", reason.as_str()),
                    None => subject,
                }
            }
        }
    }

    #[test]
    fn values_say_themselves_what_they_are() {
        for (text, expected) in [
            ("198.51.100.7", "ip 198.51.100.7"),
            ("198[.]51[.]100[.]7", "ip 198.51.100.7"),
            ("198.51.100.7:443", "ip 198.51.100.7"),
            ("198.51.100.7/32", "ip 198.51.100.7"),
            ("::ffff:198.51.100.7", "ip 198.51.100.7"),
            ("2001:db8::1", "ip 2001:db8::1"),
            ("[2001:db8::1]:443", "ip 2001:db8::1"),
            ("198.51.100.0/24", "net 198.51.100.0/24"),
            ("198.51.100.0/255.255.255.0", "net 198.51.100.0/24"),
            ("::ffff:198.51.100.0/120", "net 198.51.100.0/24"),
            ("2001:db8::/32", "net 2001:db8::/32"),
            ("198.51.100.7/24", "net 198.51.100.0/24, host-bits"),
            ("AS64496", "as 64496"),
            ("ASN 64496", "as 64496"),
            ("bad.example", "below bad.example"),
            ("Bad[.]Example.", "below bad.example"),
            ("bad(dot)example", "below bad.example"),
            ("www.bad.example", "name www.bad.example"),
            ("www.bad.example:8080", "name www.bad.example"),
            ("*.c2.bad.example", "below c2.bad.example"),
            (".c2.bad.example", "below c2.bad.example"),
            ("someone.github.io", "below someone.github.io"),
            ("bücher.example", "below xn--bcher-kva.example"),
            ("\"bad.example\",", "below bad.example"),
            ("hxxps://user:pw@www[.]bad[.]example:8443/a?b#c", "host www.bad.example"),
            ("hxxp[://]bad.example/a@b", "host bad.example"),
            ("bad.example/gate.php", "host bad.example"),
            ("http://198.51.100.7:8080/x", "ip 198.51.100.7"),
            ("http://[2001:db8::1]/x", "ip 2001:db8::1"),
            ("t13d1516h2_8daaf6152771_b186095e22b6", "ja4 t13d1516h2_8daaf6152771_b186095e22b6"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_would_match_good_traffic_is_refused_or_warned_of() {
        for (text, expected) in [
            ("0.0.0.0/0", "overbroad"),
            ("::/0", "overbroad"),
            ("128.0.0.0/1", "overbroad"),
            ("44.0.0.0/9", "overbroad"),
            ("2001::/16", "overbroad"),
            ("::ffff:0.0.0.0/90", "overbroad"),
            ("10.0.0.0/8", "internal"),
            ("10.1.2.3", "internal"),
            ("127.0.0.1", "internal"),
            ("0.0.0.0", "internal"),
            ("169.254.169.254", "internal"),
            ("172.16.0.0/11", "internal"),
            ("255.255.255.255", "internal"),
            ("224.0.0.251", "internal"),
            ("::1", "internal"),
            ("fe80::1", "internal"),
            ("fd00::/32", "internal"),
            ("http://192.168.1.1/", "internal"),
            ("com", "public-suffix"),
            ("localhost", "public-suffix"),
            ("*.co.uk", "public-suffix"),
            ("github.io", "public-suffix"),
            ("http://blogspot.com/x", "public-suffix"),
            ("google.com", "name google.com, popular"),
            ("*.google.com", "below google.com, popular"),
            ("mail.google.com", "name mail.google.com, popular"),
            ("https://drive.google.com/uc?id=1", "shared-host"),
            ("https://raw.githubusercontent.com/a/b", "shared-host"),
            ("https://evil.github.io/a/b", "host evil.github.io"),
            ("8.8.8.8", "ip 8.8.8.8, resolver"),
            ("AS0", "asn"),
            ("AS64512", "asn"),
            ("AS99999999999", "asn"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_none_of_these_says_so() {
        for (text, expected) in [
            ("", "unknown"),
            ("hello world", "unknown"),
            ("1.2.3", "unknown"),
            ("1.2.3.256", "unknown"),
            ("010.1.1.1", "unknown"),
            ("198.51.100.7/33", "address"),
            ("198.51.100.7/255.0.255.0", "address"),
            ("198.51.100.7/+8", "address"),
            ("http://", "url"),
            ("http:///x", "url"),
            ("http://*.bad.example/", "url"),
            ("http://%41.example/", "url"),
            ("a@bad.example", "unseen"),
            ("d41d8cd98f00b204e9800998ecf8427e", "unseen"),
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709", "hash"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let certificates = Meaning { scope: Scope::Exact, hashes: true };
        let sha1 = any("DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", certificates).unwrap();
        assert!(matches!(sha1.subject, Subject::CertificateSha1(hash) if hash[..2] == [0xda, 0x39]));
        assert!(certificate("da:39").is_err());
    }
}
