//! Who gets in: a request that names this host, comes from no other page, and has the token.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Uri;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use zeroize::Zeroizing;

/// Bytes of a token.
const TOKEN_BYTES: usize = 16;

/// What shows that whoever asks was told so by who started the sensor.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A new one; `None`: the system gives no random numbers.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = Zeroizing::new([0_u8; TOKEN_BYTES]);
        crate::sink::tls::provider().secure_random.fill(bytes.as_mut_slice()).ok()?;
        Some(Self(Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())))
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether this is it. Digests are compared, all of them: how long that takes says nothing of the token, whatever the compiler
    /// makes of the loop, since nobody outside knows the digest.
    fn is(&self, given: &[u8]) -> bool {
        let (own, other) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(given));
        own.iter().zip(other.iter()).fold(0, |differs, (a, b)| std::hint::black_box(differs | (a ^ b))) == 0
    }
}

/// What a request has to name as its host.
#[derive(Clone, Debug)]
pub(super) struct Own {
    names: [String; 2],
}

impl Own {
    pub(super) fn new(address: SocketAddr) -> Self {
        // A tunnel's end may be called by its name, which is nobody else's.
        Self { names: [address.to_string(), format!("localhost:{}", address.port())] }
    }

    /// Whether a request is for this host: a name of another that leads here is not (DNS rebinding).
    pub(super) fn is_named(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let is_own = |name: &str| self.names.iter().any(|own| own.eq_ignore_ascii_case(name));
        host.to_str().is_ok_and(is_own) && uri.authority().is_none_or(|authority| is_own(authority.as_str()))
    }

    /// Whether a request is of this page's own, as far as the browser says.
    pub(super) fn is_own_page(&self, headers: &HeaderMap) -> bool {
        let own_origin = |value: &http::HeaderValue| {
            let origin = value.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
            origin.is_some_and(|origin| self.names.iter().any(|own| own == origin))
        };
        let own_site = |value: &http::HeaderValue| matches!(value.as_bytes(), b"same-origin" | b"none");
        headers.get_all(ORIGIN).iter().all(own_origin)
            && headers.get_all("sec-fetch-site").iter().all(own_site)
    }
}

/// Whether a request has the token.
pub(super) fn has_token(token: &Token, headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return false };
    value.as_bytes().strip_prefix(b"Bearer ").is_some_and(|given| token.is(given))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn only_the_token_is_the_token() {
        let (token, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(token.text().len(), 32);
        let with = |text: &str| has_token(&token, &headers(&[("authorization", text)]));
        assert!(with(&format!("Bearer {}", token.text())));
        for bad in [
            other.text(),
            "",
            &token.text()[..31],
            &format!("{}0", token.text()),
            &token.text().to_uppercase(),
        ] {
            // Digits alone have no upper case.
            assert!(!with(&format!("Bearer {bad}")) || bad == token.text(), "{bad}");
        }
        assert!(
            !with(token.text())
                && !with(&format!("Basic {}", token.text()))
                && !has_token(&token, &HeaderMap::new())
        );
        let mut twice = headers(&[("authorization", &format!("Bearer {}", token.text()))]);
        twice.append("authorization", HeaderValue::from_static("Bearer x"));
        assert!(!has_token(&token, &twice));
        assert!(!format!("{token:?}").contains(token.text()), "it is not told by accident");
    }

    #[test]
    fn other_hosts_and_other_pages_are_refused() {
        let own = Own::new("127.0.0.1:8642".parse().unwrap());
        let named = |uri: &str, host: &str| own.is_named(&uri.parse().unwrap(), &headers(&[("host", host)]));
        assert!(named("/", "127.0.0.1:8642") && named("/", "localhost:8642") && named("/", "LOCALHOST:8642"));
        for host in [
            "evil.example",
            "evil.example:8642",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:8642.evil.example",
            "0.0.0.0:8642",
            "",
        ] {
            assert!(!named("/", host), "{host}");
        }
        assert!(!named("http://evil.example/", "127.0.0.1:8642"), "the request line counts, too");
        assert!(!own.is_named(&Uri::from_static("/"), &HeaderMap::new()));
        let page = |all: &[(&'static str, &str)]| own.is_own_page(&headers(all));
        assert!(page(&[]) && page(&[("origin", "http://127.0.0.1:8642"), ("sec-fetch-site", "same-origin")]));
        assert!(page(&[("sec-fetch-site", "none")]));
        for origin in [
            "null",
            "http://evil.example",
            "https://127.0.0.1:8642",
            "http://127.0.0.1:8643",
            "http://127.0.0.1:8642.evil.example",
        ] {
            assert!(!page(&[("origin", origin)]), "{origin}");
        }
        assert!(!page(&[("sec-fetch-site", "cross-site")]) && !page(&[("sec-fetch-site", "same-site")]));
    }
}
