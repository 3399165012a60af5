//! An HTTP proxy on the way: `CONNECT`, by which it leads bytes through without looking at them.
//!
//! `CONNECT` is used for plain `http` URLs too, so that every kind of sink goes the same way. The proxy resolves the host.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sonde_common::config::{Secret, SinkSettings};
use sonde_common::text;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use url::Url;
use zeroize::Zeroizing;

use super::target::{self, HTTP, Target};
use super::tls::Tls;
use super::{secret, target::authority_of};

/// Longest head of a proxy's answer.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// How much of a proxy's words is shown.
const SHOWN_BYTES: usize = 120;

/// A proxy.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) at: Target,
    pub(super) tls: Option<Tls>,
    user: String,
    password: Secret,
}

impl Proxy {
    /// The proxy of a sink, if it has one.
    pub(super) fn of(settings: &SinkSettings) -> Result<Option<Self>, String> {
        let Some(text) = settings.proxy.get() else { return Ok(None) };
        let (mut plain, mut user) = (text.to_owned(), String::new());
        if let Ok(mut url) = Url::parse(text) {
            user = decoded(url.username());
            if url.set_username("").is_ok() {
                plain = url.to_string();
            }
        }
        if user.contains(':') || user.chars().any(char::is_control) {
            return Err("proxy: its user holds a colon or control characters".to_owned());
        }
        let at = target::parse("proxy", &plain, &HTTP)?;
        let tls = if at.secure { Some(Tls::proxy(&settings.tls)?) } else { None };
        Ok(Some(Self { at, tls, user, password: settings.proxy_password.clone() }))
    }

    /// Has it lead to a host, over a connection to it.
    pub(super) async fn connect<S>(&self, stream: &mut S, host: &str, port: u16) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let to = authority_of(host, port, None);
        let mut request = Zeroizing::new(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n"));
        if !self.user.is_empty() {
            let password = if self.password.is_set() {
                secret::read(&self.password).map_err(|e| io::Error::other(format!("proxy_password: {e}")))?
            } else {
                Zeroizing::default()
            };
            let pair = Zeroizing::new(format!("{}:{}", self.user, password.as_str()));
            let basic = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(&basic);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let head = read_head(stream).await?;
        judge(&head)
    }
}

/// What a URL cannot hold as it is stands in it by its code, as in `a%40b`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.as_bytes().first() {
        let code = rest.strip_prefix('%').and_then(|rest| rest.get(..2));
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first));
        // A byte of a longer character stands for itself: `username` is ASCII, others are written by their code.
        rest = rest.get(if code.is_some() { 3 } else { 1 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads up to the empty line and not a byte further: what follows is the server's.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(io::Error::other("the proxy hung up instead of answering CONNECT"));
            }
            Err(error) => return Err(error),
        }
        if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(head);
        }
        if head.len() >= MAX_HEAD_BYTES {
            return Err(io::Error::other("the proxy's answer to CONNECT has no end within 8 KiB"));
        }
    }
}

fn judge(head: &[u8]) -> io::Result<()> {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.get(..SHOWN_BYTES).unwrap_or(line)).into_owned();
    let shown = text::escape(&line);
    let mut parts = line.split(' ');
    let version = parts.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let code =
        parts.next().filter(|code| version && code.len() == 3).and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(200..=299) => Ok(()),
        // tinyproxy answers 401, though that is a server's word.
        Some(401 | 407) => Err(io::Error::other(format!(
            "the proxy wants a password, or another one ({shown}): set the user in proxy and proxy_password"
        ))),
        Some(_) => Err(io::Error::other(format!("the proxy does not lead there: {shown}"))),
        None => Err(io::Error::other(format!("the proxy's answer to CONNECT is no HTTP: {shown}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_2xx_answer_opens_the_way() {
        assert!(judge(b"HTTP/1.1 200 Connection established\r\n\r\n").is_ok());
        assert!(judge(b"HTTP/1.0 200\r\n\r\n").is_ok());
        for (head, wanted) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "proxy_password"),
            (b"HTTP/1.1 403 Filtered\r\n\r\n", "403 Filtered"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP"),
            (b"SSH-2.0-OpenSSH_9\r\n\r\n", "no HTTP"),
            (b"HTTP/1.1 500 \x1b[31m\r\n\r\n", "\\u{1b}"),
            (b"\n\n", "no HTTP"),
        ] {
            let error = judge(head).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains('\x1b'), "{error}");
        }
    }

    #[test]
    fn a_user_may_hold_what_a_url_may_not() {
        for (text, user) in
            [("me", "me"), ("a%40b%26c&d", "a@b&c&d"), ("100%", "100%"), ("%zz", "%zz"), ("%C3%A4", "\u{e4}")]
        {
            assert_eq!(decoded(text), user);
        }
    }

    #[tokio::test]
    async fn a_head_without_end_is_given_up() {
        let mut endless: &[u8] = &[b'x'; MAX_HEAD_BYTES + 1];
        assert!(read_head(&mut endless).await.unwrap_err().to_string().contains("no end within 8 KiB"));
        let mut cut: &[u8] = b"HTTP/1.1 200 OK\r\n";
        assert!(read_head(&mut cut).await.unwrap_err().to_string().contains("hung up"));
        let mut more: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nfirst bytes of the server";
        read_head(&mut more).await.unwrap();
        assert_eq!(more, b"first bytes of the server");
    }
}
