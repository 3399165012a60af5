//! HTTP/1 in clear, as far as the client's request head: method, target, Host and User-Agent.
//!
//! Tells a request to a proxy (CONNECT, or a target with scheme and authority) from one to the server itself. Bodies,
//! responses and HTTP/2 are not read.

use super::Probe;
use super::name::{NameBuf, TextBuf, is_ipv6};
use crate::event::MAX_USER_AGENT_BYTES;

/// Most bytes of a request head that are looked at.
pub const MAX_HEAD_BYTES: usize = 8192;

/// Methods by which a request is known: RFC 9110 section 9, PATCH (RFC 5789), WebDAV (RFC 4918, 3253, 5323), and those
/// of RPC over HTTP (MS-RPCH section 2.1.2).
const METHODS: [(&str, Method); 26] = [
    ("GET", Method::Get),
    ("POST", Method::Post),
    ("CONNECT", Method::Connect),
    ("HEAD", Method::Head),
    ("PUT", Method::Put),
    ("OPTIONS", Method::Other),
    ("DELETE", Method::Other),
    ("PATCH", Method::Other),
    ("TRACE", Method::Other),
    ("PROPFIND", Method::Other),
    ("PROPPATCH", Method::Other),
    ("MKCOL", Method::Other),
    ("COPY", Method::Other),
    ("MOVE", Method::Other),
    ("LOCK", Method::Other),
    ("UNLOCK", Method::Other),
    ("SEARCH", Method::Other),
    ("REPORT", Method::Other),
    ("CHECKOUT", Method::Other),
    ("MERGE", Method::Other),
    ("MKACTIVITY", Method::Other),
    ("VERSION-CONTROL", Method::Other),
    ("RPC_IN_DATA", Method::Other),
    ("RPC_OUT_DATA", Method::Other),
    ("RPC_CONNECT", Method::Other),
    ("RDG_OUT_DATA", Method::Other),
];

/// What a request asks for, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// CONNECT: a tunnel through a proxy.
    Connect,
    /// Another known method.
    Other,
}

/// What a request head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks for.
    pub method: Method,
    /// Host header without its port; empty without one.
    pub host: NameBuf,
    /// User-Agent header, escaped; empty without one.
    pub user_agent: TextBuf<MAX_USER_AGENT_BYTES>,
    /// Host that a proxy is asked for: by CONNECT, or by a target with scheme and authority. Empty for a request to
    /// the server itself.
    pub proxied_host: NameBuf,
    /// Port that a proxy is asked for, or that the scheme means; 0 if unknown or without a proxy.
    pub proxied_port: u16,
}

/// Reads the request at the start of a TCP stream.
///
/// It is parsed once the head ends, once both headers were seen, or at [`MAX_HEAD_BYTES`]; the first of a header
/// counts. A stream that ends before that gives what it has to [`truncated_request`].
#[must_use]
pub fn request(stream: &[u8]) -> Probe<Request> {
    read(stream, false)
}

/// What can be had of a request whose stream ends too early; `None` unless its first line is whole.
#[must_use]
pub fn truncated_request(stream: &[u8]) -> Option<Request> {
    read(stream, true).parsed()
}

fn read(stream: &[u8], last: bool) -> Probe<Request> {
    let Some(head) = stream.get(..MAX_HEAD_BYTES) else { return read_head(stream, last) };
    match read_head(head, true) {
        Probe::NeedMore { .. } => Probe::Mismatch, // a first line of 8 KiB
        probe => probe,
    }
}

fn read_head(head: &[u8], last: bool) -> Probe<Request> {
    let Some((method, after_method)) = method(head) else {
        // Too short to tell: it may yet become one of the methods.
        let begins =
            METHODS.iter().any(|(name, _)| head.len() <= name.len() && name.as_bytes().starts_with(head));
        return if begins { Probe::NeedMore { at_least: 1 } } else { Probe::Mismatch };
    };
    let Some((line, mut rest)) = split_line(after_method) else { return Probe::NeedMore { at_least: 1 } };
    let Some(target) = request_target(line) else { return Probe::Mismatch };

    let (proxied_host, proxied_port) = match method {
        Method::Connect => host_port(target),
        _ => absolute_form(target).unwrap_or_default(),
    };
    let mut host = None;
    let mut user_agent = None;
    let mut ended = false;
    while let Some((line, next)) = split_line(rest) {
        rest = next;
        if line.is_empty() {
            ended = true;
            break;
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let Some((name, value)) = line.split_at_checked(colon) else { continue };
        let name = name.trim_ascii_end();
        if host.is_none() && name.eq_ignore_ascii_case(b"host") {
            host = Some(value.get(1..).unwrap_or_default().trim_ascii());
        } else if user_agent.is_none() && name.eq_ignore_ascii_case(b"user-agent") {
            user_agent = Some(value.get(1..).unwrap_or_default().trim_ascii());
        }
        if host.is_some() && user_agent.is_some() {
            ended = true;
            break;
        }
    }
    if !ended && !last {
        return Probe::NeedMore { at_least: 1 };
    }
    Probe::Parsed(Request {
        method,
        host: NameBuf::from_host(host.map_or(&[][..], |value| host_port(value).0)),
        user_agent: user_agent.map(TextBuf::from_text).unwrap_or_default(),
        proxied_host: NameBuf::from_host(proxied_host),
        proxied_port: proxied_port.unwrap_or(0),
    })
}

/// The method and what follows its space.
fn method(head: &[u8]) -> Option<(Method, &[u8])> {
    METHODS.iter().find_map(|&(name, method)| {
        let rest = head.strip_prefix(name.as_bytes())?.strip_prefix(b" ")?;
        Some((method, rest))
    })
}

/// A line without its end (CRLF, or LF alone: RFC 9112 section 2.2), and what follows.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = text.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..).unwrap_or_default()))
}

/// The target of a request line whose method is taken off; `None` unless it ends in a version of HTTP/1.
fn request_target(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii_end();
    let space = line.iter().rposition(|&byte| byte == b' ')?;
    let (target, version) = line.split_at_checked(space)?;
    let minor = version.strip_prefix(b" HTTP/1.")?;
    let target = target.trim_ascii();
    (matches!(minor, [digit] if digit.is_ascii_digit()) && !target.is_empty()).then_some(target)
}

/// Host and port of a target in absolute form (RFC 9112 section 3.2.2), as a client sends it to a proxy.
fn absolute_form(target: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let colon = target.iter().position(|&byte| byte == b':')?;
    let (scheme, rest) = target.split_at_checked(colon)?;
    let rest = rest.strip_prefix(b"://")?;
    if scheme.is_empty() || !scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) {
        return None;
    }
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    let host_start = authority.iter().rposition(|&byte| byte == b'@').map_or(0, |at| at + 1);
    let (host, port) = host_port(authority.get(host_start..)?);
    let default_port = match scheme {
        _ if scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"ws") => Some(80),
        _ if scheme.eq_ignore_ascii_case(b"https") || scheme.eq_ignore_ascii_case(b"wss") => Some(443),
        _ => None,
    };
    (!host.is_empty()).then_some((host, port.or(default_port)))
}

/// Parts `host:port`. An IPv6 literal keeps its colons, with or without brackets.
fn host_port(authority: &[u8]) -> (&[u8], Option<u16>) {
    if is_ipv6(authority) {
        return (authority, None);
    }
    let Some(colon) = authority.iter().rposition(|&byte| byte == b':') else { return (authority, None) };
    let Some((host, port)) = authority.split_at_checked(colon) else { return (authority, None) };
    let digits = port.get(1..).unwrap_or_default();
    if digits.iter().all(u8::is_ascii_digit) {
        (host, std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()))
    } else {
        (authority, None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Request {
        request(text.as_bytes()).parsed().unwrap()
    }

    #[test]
    fn a_request_tells_host_and_user_agent() {
        let request = parsed(
            "GET /a?b=c HTTP/1.1\r\nACCEPT: */*\r\nhOST: WWW.Example.com:8080 \r\nUser-Agent:\tcurl/8.5\r\n\r\n",
        );
        assert_eq!(request.method, Method::Get);
        assert_eq!(request.host.as_str(), "www.example.com");
        assert_eq!(request.user_agent.as_str(), "curl/8.5");
        assert_eq!((request.proxied_host.as_str(), request.proxied_port), ("", 0));
    }

    #[test]
    fn connect_and_absolute_targets_name_what_the_proxy_is_asked_for() {
        for (line, host, port) in [
            ("CONNECT C2.example:8443 HTTP/1.1", "c2.example", 8443),
            ("CONNECT [2001:DB8::7]:443 HTTP/1.0", "2001:db8::7", 443),
            ("CONNECT c2.example HTTP/1.1", "c2.example", 0),
            ("CONNECT c2.example:99999 HTTP/1.1", "c2.example", 0),
            ("GET http://C2.example/x?u=http://y/ HTTP/1.1", "c2.example", 80),
            ("POST HTTPS://user:pw@c2.example:444?x HTTP/1.1", "c2.example", 444),
            ("GET https://c2.example HTTP/1.1", "c2.example", 443),
            ("GET ftp://files.example/x HTTP/1.1", "files.example", 0),
            ("GET http://[2001:db8::7]:81/ HTTP/1.1", "2001:db8::7", 81),
            ("GET /?u=http://other.example/ HTTP/1.1", "", 0),
            ("GET http:///x HTTP/1.1", "", 0),
            ("OPTIONS * HTTP/1.1", "", 0),
        ] {
            let request = parsed(&format!("{line}\r\nHost: proxy.example\r\n\r\n"));
            assert_eq!((request.proxied_host.as_str(), request.proxied_port), (host, port), "{line}");
            assert_eq!(request.host.as_str(), "proxy.example");
        }
    }

    #[test]
    fn the_port_is_stripped_and_addresses_stay() {
        for (value, host) in [
            ("example.com", "example.com"),
            ("example.com:", "example.com"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("a:b", "a\\058b"),
            ("", ""),
        ] {
            assert_eq!(
                parsed(&format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n")).host.as_str(),
                host,
                "{value}"
            );
        }
    }

    #[test]
    fn the_first_of_a_header_counts_and_similar_names_do_not() {
        let request =
            parsed("HEAD / HTTP/1.0\nX-Host: no\nHost : one\nHost: two\nUser-Agent-X: no\n no: fold\n\n");
        assert_eq!((request.host.as_str(), request.user_agent.as_str()), ("one", ""));
    }

    #[test]
    fn it_is_known_as_soon_as_both_headers_are() {
        let text = b"GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x\r\nCookie: lo";
        assert_eq!(request(text).parsed().unwrap().user_agent.as_str(), "x");
    }

    #[test]
    fn truncated_request_is_partial_not_error() {
        let text = b"GET / HTTP/1.1\r\nHost: a.example\r\nUser-Agent: some";
        assert_eq!(request(text), Probe::NeedMore { at_least: 1 });
        let partial = truncated_request(text).unwrap();
        assert_eq!(
            (partial.host.as_str(), partial.user_agent.as_str()),
            ("a.example", ""),
            "never half a value"
        );
        for len in 0..text.len() {
            assert_eq!(request(&text[..len]), Probe::NeedMore { at_least: 1 }, "{len}");
        }
        assert_eq!(truncated_request(b"GET / HTTP/1."), None);
    }

    #[test]
    fn a_head_that_never_ends_is_read_to_the_cap() {
        let mut text = b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ".to_vec();
        text.resize(MAX_HEAD_BYTES - 1, b'x');
        assert_eq!(request(&text), Probe::NeedMore { at_least: 1 });
        text.resize(MAX_HEAD_BYTES + 500, b'x');
        assert_eq!(request(&text).parsed().unwrap().host.as_str(), "a.example");
        let line = [&b"GET /"[..], &[b'x'; MAX_HEAD_BYTES]].concat();
        assert_eq!(request(&line), Probe::Mismatch);
    }

    #[test]
    fn other_protocols_are_told_apart() {
        for text in [
            "PRI * HTTP/2.0\r\n\r\n",
            "GET /\r\n",
            "get / HTTP/1.1\r\n",
            "GETS / HTTP/1.1\r\n",
            "GET / RTSP/1.0\r\n",
            "\u{16}\u{3}\u{1}",
            "NICK x\r\n",
        ] {
            assert_eq!(request(text.as_bytes()), Probe::Mismatch, "{text:?}");
        }
    }

    #[test]
    fn a_hostile_user_agent_is_escaped_and_bounded() {
        let agent = format!("\u{1b}[2J{}", "a".repeat(400));
        let request = parsed(&format!("GET / HTTP/1.1\r\nUser-Agent: {agent}\r\n\r\n"));
        assert!(request.user_agent.as_str().starts_with("\\027[2Ja"));
        assert!(
            request.user_agent.is_truncated() && request.user_agent.as_str().len() == MAX_USER_AGENT_BYTES
        );
    }

    proptest! {
        #[test]
        fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..300), method in 0usize..26) {
            let _ = request(&bytes);
            let _ = truncated_request(&bytes);
            let line = [METHODS[method].0.as_bytes(), b" ", &bytes, b" HTTP/1.1\r\nHost: ", &bytes, b"\r\n\r\n"].concat();
            let _ = request(&line);
            let _ = truncated_request(&line);
        }

        #[test]
        fn built_requests_round_trip(
            method in 0usize..26, path in "/[a-z0-9/?=&.]{0,40}", host in "[a-z0-9-]{1,20}(\\.[a-z0-9-]{1,20}){0,3}",
            port in proptest::option::of(any::<u16>()), agent in "[!-\\[\\]-~]([ -\\[\\]-~]{0,60}[!-\\[\\]-~])?", swap in any::<bool>(),
        ) {
            let host_line = format!("Host: {host}{}\r\n", port.map(|port| format!(":{port}")).unwrap_or_default());
            let agent_line = format!("User-Agent: {agent}\r\n");
            let (one, two) = if swap { (&agent_line, &host_line) } else { (&host_line, &agent_line) };
            let request = parsed(&format!("{} {path} HTTP/1.1\r\n{one}{two}\r\n", METHODS[method].0));
            prop_assert_eq!(request.method, METHODS[method].1);
            prop_assert_eq!(request.host.as_str(), host);
            prop_assert_eq!(request.user_agent.as_str(), agent);
        }
    }
}
