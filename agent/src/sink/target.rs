//! URLs of sinks, taken apart: which host is dialled, whether by TLS, and what is asked for there. Nothing is resolved here.

use url::{Host, Url};

/// Longest URL, in bytes.
const MAX_BYTES: usize = 2_048;

/// A scheme that a kind of sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Such as `https`.
    pub name: &'static str,
    /// The port where none is given; `None`: one has to be.
    pub port: Option<u16>,
    /// Whether it is TLS.
    pub secure: bool,
}

/// What is sent by HTTP.
pub const HTTP: [Scheme; 2] = [
    Scheme { name: "http", port: Some(80), secure: false },
    Scheme { name: "https", port: Some(443), secure: true },
];

/// Where a sink leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The scheme's name.
    pub scheme: &'static str,
    /// Whether it is reached by TLS.
    pub secure: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, beginning with `/`; `/` where none is given.
    pub path: String,
}

/// Takes the URL of a key apart. The error names the key and never holds the URL: knowing that of a webhook is enough to post.
///
/// # Errors
/// If it is no URL, of another scheme, without a host or port, with a password, or with a fragment.
pub fn parse(key: &str, text: &str, schemes: &[Scheme]) -> Result<Target, String> {
    let names = || schemes.iter().map(|s| format!("{}://", s.name)).collect::<Vec<_>>().join(" or ");
    if text.is_empty() {
        return Err(format!("{key} is not set: give the URL, beginning with {}", names()));
    }
    if text.len() > MAX_BYTES {
        return Err(format!("{key} is longer than {MAX_BYTES} bytes"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("{key} holds spaces or control characters"));
    }
    let Some(scheme) = schemes.iter().find(|scheme| {
        text.split_once("://").is_some_and(|(name, _)| name.eq_ignore_ascii_case(scheme.name))
    }) else {
        return Err(format!("{key} has to begin with {}", names()));
    };
    // Only of the web's schemes does the library read a host as it is dialled.
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let url = Url::parse(&format!("http://{rest}")).map_err(|error| format!("{key} is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{key} holds a user or password: they have keys of their own"));
    }
    if url.fragment().is_some() {
        return Err(format!("{key} ends in a #fragment, which no server is sent"));
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => String::new(),
    };
    if host.is_empty() {
        return Err(format!("{key} names no host"));
    }
    // The library leaves out the web's own port; it is asked for what was written.
    let written = url.port().or_else(|| authority(rest).ends_with(":80").then_some(80));
    let port = written.or(scheme.port).filter(|port| *port != 0);
    let port = port.ok_or_else(|| format!("{key} names no port: write {}://host:port", scheme.name))?;
    let mut path = url.path().to_owned();
    if let Some(query) = url.query() {
        path = format!("{path}?{query}");
    }
    Ok(Target { scheme: scheme.name, secure: scheme.secure, host, port, path })
}

impl Target {
    /// Host and port as a `Host` header and `CONNECT` write them. `default`: the port that is left out.
    #[must_use]
    pub fn authority(&self, default: Option<u16>) -> String {
        authority_of(&self.host, self.port, default)
    }

    /// The path with another below it: `/base` and `_bulk` become `/base/_bulk`. A query of the URL is left out.
    #[must_use]
    pub fn below(&self, path: &str) -> String {
        let base = self.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        format!("{base}/{path}")
    }
}

pub(super) fn authority_of(host: &str, port: u16, default: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if default == Some(port) { host } else { format!("{host}:{port}") }
}

fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSLOG: [Scheme; 1] = [Scheme { name: "tls", port: Some(6514), secure: true }];
    const TCP: [Scheme; 1] = [Scheme { name: "tcp", port: None, secure: false }];

    #[test]
    fn a_url_is_taken_apart() {
        let target = parse("url", "https://es.example/", &HTTP).unwrap();
        let expected =
            Target { scheme: "https", secure: true, host: "es.example".into(), port: 443, path: "/".into() };
        assert_eq!(target, expected);
        assert_eq!(target.authority(Some(443)), "es.example");
        assert_eq!(target.below("_bulk"), "/_bulk");
        let target = parse("url", "HTTP://[::1]:9200/base/?x=1", &HTTP).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 9200, "/base/?x=1"));
        assert_eq!(
            (target.authority(Some(80)), target.below("_bulk")),
            ("[::1]:9200".into(), "/base/_bulk".into())
        );
        assert_eq!(parse("url", "tls://log.example", &SYSLOG).unwrap().port, 6514);
        assert_eq!(parse("url", "tls://log.example:80", &SYSLOG).unwrap().port, 80);
        assert_eq!(parse("url", "https://es.example:80", &HTTP).unwrap().port, 80);
        assert_eq!(parse("url", "tcp://10.0.0.1:514", &TCP).unwrap().host, "10.0.0.1");
        assert_eq!(
            parse("url", "https://m\u{fc}nchen.example", &HTTP).unwrap().host,
            "xn--mnchen-3ya.example"
        );
    }

    #[test]
    fn what_is_no_url_is_refused_by_its_key_and_not_shown() {
        for (text, wanted) in [
            ("", "is not set"),
            ("geheim.example", "has to begin with http:// or https://"),
            ("ftp://geheim.example", "has to begin with"),
            ("https://", "is no URL"),
            ("https://geheim.example:99999", "is no URL"),
            ("https://geheim.example:0", "names no port"),
            ("https://me:geheim@es.example", "user or password"),
            ("https://es.example/#geheim", "fragment"),
            ("https://es.example/geheim x", "spaces"),
            ("https://geheim.example/\r\nX-Y: 1", "spaces"),
        ] {
            let error = parse("hec.url", text, &HTTP).unwrap_err();
            assert!(error.starts_with("hec.url ") && error.contains(wanted), "{text}: {error}");
            assert!(!error.contains("geheim"), "{error}");
        }
        assert!(parse("url", "tcp://log.example", &TCP).unwrap_err().contains("names no port"));
        assert!(parse("url", &format!("https://x/{}", "a".repeat(3000)), &HTTP).is_err());
    }
}
