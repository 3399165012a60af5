//! A small HTTP/1.1 client: one connection that is kept and dialled anew, bodies packed, answers bounded.
//!
//! It follows no redirect, keeps no cookie and unpacks nothing: what sinks talk to needs none of that, and each would be a way
//! for a hostile server to lead records elsewhere or to fill memory.

use std::io::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{
    CONTENT_ENCODING, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use sonde_common::config::{SinkName, SinkSettings};
use sonde_common::text;
use sonde_common::time::Timestamp;
use tokio::task::JoinHandle;

use super::SetupError;
use super::dial::Dialer;
use super::own::OwnSockets;
use super::target::{self, HTTP, Target};

/// Largest head of an answer.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Most headers of an answer.
const MAX_HEADERS: usize = 128;
/// Longest time that a server may ask to be left alone; a longer one is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// How much of what a server says is shown to people.
const SHOWN_BYTES: usize = 300;
/// What is shorter is sent as it is: packed it would be longer.
const LEAST_PACKED: usize = 256;

/// Calls one server.
#[derive(Debug)]
pub struct HttpClient {
    dialer: Dialer,
    target: Target,
    /// Largest body of an answer that is read, in bytes.
    max_reply: usize,
    kept: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    send: SendRequest<Full<Bytes>>,
    drive: JoinHandle<()>,
    used: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.drive.abort();
    }
}

/// One call.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Headers besides `Host`, `User-Agent`, `Content-Length` and `Content-Encoding`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body.
    pub body: Bytes,
    /// Whether the body is packed, if that is worth it.
    pub gzip: bool,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// How long it asks to be left alone, an hour at most.
    pub retry_after: Option<Duration>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, up to the most that is read.
    pub body: Vec<u8>,
    /// Whether the body was longer.
    pub cut: bool,
}

/// A call without an answer that could be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server was not reached.
    #[error("{0}")]
    Dial(#[source] io::Error),
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke during the call: {0}")]
    Broken(String),
    /// The server sends callers elsewhere.
    #[error(
        "answered {status} and sends to {location}: redirects are not followed; set the URL to where it leads"
    )]
    Redirect {
        /// Its status.
        status: StatusCode,
        /// Where to, made harmless to print.
        location: String,
    },
    /// The call itself cannot be written.
    #[error("the call cannot be written: {0}")]
    Request(#[source] http::Error),
}

impl HttpClient {
    /// A client for the URL of a key, such as `elastic.url`. `max_reply`: largest body of an answer that is read, in bytes.
    ///
    /// # Errors
    /// When the URL is none, or as [`Dialer::new`].
    pub fn new(
        name: &SinkName,
        settings: &SinkSettings,
        own: &OwnSockets,
        key: &str,
        url: &str,
        max_reply: usize,
    ) -> Result<Self, SetupError> {
        let target =
            target::parse(key, url, &HTTP).map_err(|reason| SetupError { sink: name.clone(), reason })?;
        let dialer = Dialer::new(name, settings, target.secure, own)?;
        Ok(Self { dialer, target, max_reply, kept: None })
    }

    /// Where it calls.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Calls. A kept connection that turns out to have been closed is replaced by a new one, once.
    ///
    /// Dropping the future closes the connection: an answer that comes late cannot be taken for that of the next call.
    ///
    /// # Errors
    /// When there is no answer, or a redirect; an answer of any other status is none.
    pub async fn send(&mut self, request: Request) -> Result<Reply, HttpError> {
        let Request { method, path, headers, body, gzip } = request;
        let (body, packed) = pack(body, gzip);
        let build = || {
            let host = self.target.authority(Some(if self.target.secure { 443 } else { 80 }));
            let mut builder = http::Request::builder().method(&method).uri(&path).header(HOST, host);
            builder = builder.header(USER_AGENT, concat!("sonde/", env!("CARGO_PKG_VERSION")));
            if packed {
                builder = builder.header(CONTENT_ENCODING, "gzip");
            }
            for (name, value) in &headers {
                builder = builder.header(name, value);
            }
            builder.body(Full::new(body.clone())).map_err(HttpError::Request)
        };
        let again = build()?;
        let first = match self.kept.take() {
            Some(kept) if !kept.send.is_closed() => kept,
            _ => self.connect().await?,
        };
        let (connection, reply) = match exchange(first, build()?, self.max_reply).await {
            Err(Failed { stale: true, .. }) => {
                let fresh = self.connect().await?;
                exchange(fresh, again, self.max_reply).await.map_err(|failed| failed.error)?
            }
            other => other.map_err(|failed| failed.error)?,
        };
        self.kept = connection;
        if reply.status.is_redirection() {
            let location = reply.headers.get(LOCATION).map_or(&b""[..], HeaderValue::as_bytes);
            return Err(HttpError::Redirect { status: reply.status, location: shown(location) });
        }
        Ok(reply)
    }

    /// Ends the kept connection.
    pub fn close(&mut self) {
        self.kept = None;
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        let stream = self.dialer.dial(&self.target.host, self.target.port).await.map_err(HttpError::Dial)?;
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
        let (send, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let drive = tokio::spawn(async move {
            // How it ended is told to the call that waits for it.
            let _ = connection.await;
        });
        Ok(Connection { send, drive, used: false })
    }
}

/// A call that failed.
struct Failed {
    error: HttpError,
    /// The connection had been kept and the server had closed it: a new one may do.
    stale: bool,
}

/// One call over one connection, which is returned if it can be used again.
async fn exchange(
    mut connection: Connection,
    request: http::Request<Full<Bytes>>,
    most: usize,
) -> Result<(Option<Connection>, Reply), Failed> {
    let used = std::mem::replace(&mut connection.used, true);
    let failed = |error: hyper::Error| Failed {
        stale: used
            && (error.is_canceled()
                || error.is_incomplete_message()
                || error.is_closed()
                || is_reset(&error)),
        error: broken(&error),
    };
    connection.send.ready().await.map_err(failed)?;
    let response = connection.send.send_request(request).await.map_err(failed)?;
    let (head, body) = response.into_parts();
    let (body, cut) =
        read(body, most).await.map_err(|error| Failed { stale: false, error: broken(&error) })?;
    let retry_after = head.headers.get(RETRY_AFTER).and_then(retry_after);
    let reply = Reply { status: head.status, retry_after, headers: head.headers, body, cut };
    // What was not read would stand before the next answer.
    let keep = !cut && !connection.send.is_closed();
    Ok((keep.then_some(connection), reply))
}

fn is_reset(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| {
        matches!(
            cause.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
        )
    })
}

async fn read(mut body: Incoming, most: usize) -> Result<(Vec<u8>, bool), hyper::Error> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = most - all.len();
        all.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() > room {
            return Ok((all, true));
        }
    }
    Ok((all, false))
}

fn pack(body: Bytes, gzip: bool) -> (Bytes, bool) {
    if !gzip || body.len() < LEAST_PACKED {
        return (body, false);
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let packed = encoder.write_all(&body).and_then(|()| encoder.finish());
    packed.map_or((body, false), |packed| (packed.into(), true))
}

/// Seconds, or a date.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = Timestamp::from_http_date(text)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Duration::from_nanos(u64::try_from(until.nanos()).ok()?).saturating_sub(now)
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn broken(error: &hyper::Error) -> HttpError {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        said = format!("{said}: {next}");
        cause = next.source();
    }
    HttpError::Broken(shown(said.as_bytes()))
}

/// The begin of what a server said, on one line and harmless to print.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let begin = bytes.get(..SHOWN_BYTES).unwrap_or(bytes);
    let text = String::from_utf8_lossy(begin);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let more = if bytes.len() > SHOWN_BYTES { "…" } else { "" };
    format!("{}{more}", text::escape(&line))
}

impl Reply {
    /// Status and begin of the body, for people.
    #[must_use]
    pub fn said(&self) -> String {
        let body = shown(&self.body);
        if body.is_empty() { self.status.to_string() } else { format!("{}: {body}", self.status) }
    }
}

impl std::fmt::Debug for Request {
    /// Without headers and body: they hold tokens and what was seen.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
