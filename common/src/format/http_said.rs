//! What a logged HTTP request says of its destination: the rules of [`decode::http`](crate::decode::http), over the fields
//! that logs keep of a request.

use super::fields;
use super::row::Said;
use crate::event::AppProtocol;

/// The part of [`Said`] that a request tells. A CONNECT, or a target with scheme and authority, asks a proxy for somebody
/// else: that one is the `connect_host`. The Host of a CONNECT repeats it and is left out.
pub(super) fn said<'a>(method: &str, target: &'a str, host: &'a str, user_agent: &'a str) -> Said<'a> {
    let said = Said { user_agent, protocol: AppProtocol::Http, ..Said::default() };
    if method.eq_ignore_ascii_case("CONNECT") {
        let asked = if fields::url_host(target).is_empty() { host } else { target };
        let (connect_host, connect_port) = host_port(asked);
        return Said { connect_host, connect_port, ..said };
    }
    let http_host = host_port(host).0;
    let Some((scheme, rest)) = target.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return Said { http_host, ..said };
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (connect_host, port) = host_port(authority);
    let connect_port = match port {
        _ if connect_host.is_empty() => 0,
        0 if scheme.eq_ignore_ascii_case("http") => 80,
        0 if scheme.eq_ignore_ascii_case("https") => 443,
        port => port,
    };
    Said { http_host, connect_host, connect_port, ..said }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Host and port of `user@host:port`; port 0 where there is none that can be.
fn host_port(authority: &str) -> (&str, u16) {
    let host = fields::url_host(authority);
    let port = authority.rsplit_once(':').filter(|_| !host.is_empty());
    // An address in colons alone has no port: what follows the last colon belongs to it.
    let port = port.filter(|(front, _)| front.ends_with(host) || front.ends_with(']'));
    (host, port.and_then(|(_, port)| fields::port(port)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_and_absolute_targets_name_what_the_proxy_is_asked_for() {
        for (method, target, host, expected) in [
            ("CONNECT", "c2.example:8443", "proxy.example", ("c2.example", 8443, "")),
            ("CONNECT", "[2001:db8::7]:443", "", ("2001:db8::7", 443, "")),
            ("CONNECT", "2001:db8::7", "", ("2001:db8::7", 0, "")),
            ("CONNECT", "c2.example:99999", "", ("c2.example", 0, "")),
            ("CONNECT", "", "c2.example:444", ("c2.example", 444, "")),
            ("GET", "http://c2.example/x?u=http://y/", "p.example", ("c2.example", 80, "p.example")),
            ("POST", "HTTPS://user:pw@c2.example:444?x", "", ("c2.example", 444, "")),
            ("GET", "ftp://files.example/x", "", ("files.example", 0, "")),
            ("GET", "http:///x", "h.example", ("", 0, "h.example")),
            ("GET", "/?u=http://other.example/", "h.example:8080", ("", 0, "h.example")),
            ("GET", "", "", ("", 0, "")),
        ] {
            let said = said(method, target, host, "agent/1");
            assert_eq!((said.connect_host, said.connect_port, said.http_host), expected, "{method} {target}");
            assert_eq!((said.user_agent, said.protocol), ("agent/1", AppProtocol::Http));
        }
    }
}
