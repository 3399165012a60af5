//! What is answered to which request. The frame holds no fact and is for everyone on this machine; all else is for the token.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use serde::Deserialize;
use sonde_page::live;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Refused;
use super::board::Board;
use super::gate::{self, Own, Token};
use super::serve::Places;
use crate::live::command::{self, Answer, Asker, Command, Commander, RefusalCode, Reply, Wish};
use crate::platform::local_socket::own_uid;

/// Bytes of what is sent to us.
pub(super) const MAX_BODY_BYTES: usize = 4 << 10;
/// It takes at most so long.
const BODY_TIME: Duration = Duration::from_secs(5);
/// Pages that watch at a time.
pub(super) const MAX_STREAMS: usize = 8;
/// A stream shows that it lives so often.
const STREAM_SIGN: Duration = Duration::from_secs(15);
/// How old what is shown may be.
const AGE: Duration = Duration::from_secs(1);
/// How long the sensor's thread may take to change something.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest reason, in characters, and most days that an entry can be made for here.
const MAX_REASON: usize = 200;
const MAX_DAYS: u64 = 3_650;

/// What an answer carries.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers requests.
#[derive(Debug)]
pub(super) struct Desk {
    own: Own,
    token: Token,
    commander: Commander,
    frame: Bytes,
    policy: HeaderValue,
    pub(super) board: Arc<Board>,
    pub(super) refused: Refused,
    pub(super) places: Places,
}

/// What the page asks to allow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    finding: String,
    reason: String,
    /// Nought: until it is lifted.
    days: u64,
}

/// What it asks to lift. A number of 64 bits is no number of a script's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lift {
    entry: String,
}

impl Desk {
    pub(super) fn new(address: SocketAddr, token: Token, commander: Commander, bell: Arc<Notify>) -> Self {
        let policy =
            HeaderValue::from_str(&live::policy()).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self {
            own: Own::new(address),
            token,
            board: Arc::new(Board::new(commander.clone(), bell)),
            commander,
            frame: live::document().into(),
            policy,
            refused: Refused::default(),
            places: Places::default(),
        }
    }

    /// The answer to a request; `proven` becomes true once it has the token.
    pub(super) async fn answer(&self, request: Request<Incoming>, proven: &AtomicBool) -> Response<Body> {
        let mut answer = self.respond(request, proven).await;
        let headers = answer.headers_mut();
        let fixed = [
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        answer
    }

    async fn respond(&self, request: Request<Incoming>, proven: &AtomicBool) -> Response<Body> {
        let refused = &self.refused;
        let (uri, headers) = (request.uri(), request.headers());
        if !self.own.is_named(uri, headers) {
            Refused::count(&refused.host);
            return plain(StatusCode::MISDIRECTED_REQUEST, "This console answers to its own address alone.");
        }
        if !self.own.is_own_page(headers) {
            Refused::count(&refused.origin);
            return plain(StatusCode::FORBIDDEN, "Other pages have no business here.");
        }
        let path = uri.path();
        let wanted = match path {
            "/" | "/icon.svg" | "/events" => Method::GET,
            "/allow" | "/lift" => Method::POST,
            _ if path.strip_prefix("/section/").is_some_and(is_section) => Method::GET,
            _ => {
                Refused::count(&refused.other);
                return plain(StatusCode::NOT_FOUND, "There is no such page.");
            }
        };
        if request.method() != wanted {
            Refused::count(&refused.other);
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "That cannot be done with it.");
            if let Ok(method) = HeaderValue::from_str(wanted.as_str()) {
                answer.headers_mut().insert(header::ALLOW, method);
            }
            return answer;
        }
        match path {
            "/" => return whole(StatusCode::OK, "text/html; charset=utf-8", self.frame.clone()),
            "/icon.svg" => return whole(StatusCode::OK, "image/svg+xml", live::ICON),
            _ => {}
        }
        if !gate::has_token(&self.token, headers) {
            Refused::count(&refused.token);
            let mut answer =
                plain(StatusCode::UNAUTHORIZED, "The token is missing or another's: sonde run printed it.");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return answer;
        }
        proven.store(true, Ordering::Relaxed);
        match path {
            "/events" => self.events(),
            "/allow" | "/lift" => self.change(request).await,
            _ => self.section(&request).await,
        }
    }

    /// A section, unless the page has the very same.
    async fn section(&self, request: &Request<Incoming>) -> Response<Body> {
        let name = request.uri().path().trim_start_matches("/section/");
        let seen = match self.board.look(AGE).await {
            Ok(seen) => seen,
            Err(error) => return plain(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        };
        let Some(section) = self.board.section(&seen, name, &self.told()) else {
            return plain(StatusCode::NOT_FOUND, "There is no such finding.");
        };
        let known = request
            .headers()
            .get(header::IF_NONE_MATCH)
            .is_some_and(|tag| tag.as_bytes() == section.tag.as_bytes());
        let mut answer = if known {
            whole(StatusCode::NOT_MODIFIED, "text/html; charset=utf-8", Bytes::new())
        } else {
            whole(StatusCode::OK, "text/html; charset=utf-8", section.text)
        };
        if let Ok(tag) = HeaderValue::from_str(&section.tag) {
            answer.headers_mut().insert(header::ETAG, tag);
        }
        answer
    }

    /// What the console says of itself.
    fn told(&self) -> Vec<(String, String)> {
        let mut rows = vec![(
            "open".to_owned(),
            format!("{} of {MAX_STREAMS} pages, {} connections", self.board.watching(), self.places.count()),
        )];
        let refused: Vec<_> = self
            .refused
            .told()
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        rows.push((
            "refused".to_owned(),
            if refused.is_empty() { "nothing".to_owned() } else { refused.join(", ") },
        ));
        rows
    }

    /// News for as long as the page listens (server-sent events).
    fn events(&self) -> Response<Body> {
        let Some((watching, news)) = self.board.watch(MAX_STREAMS) else {
            Refused::count(&self.refused.streams);
            let mut answer = plain(StatusCode::TOO_MANY_REQUESTS, "Too many pages watch already: close one.");
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            return answer;
        };
        // What is known already is told at once.
        let mut news = news;
        news.mark_changed();
        let stream = futures_util::stream::unfold((watching, news), |(watching, mut news)| async move {
            let text = match timeout(STREAM_SIGN, news.changed()).await {
                Ok(Ok(())) => news
                    .borrow_and_update()
                    .as_ref()
                    .map_or_else(|| ": here\n\n".to_owned(), |news| format!("data: {news}\n\n")),
                Ok(Err(_)) => return None,
                Err(_) => ": here\n\n".to_owned(),
            };
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), (watching, news)))
        });
        let mut answer = Response::new(StreamBody::new(stream).boxed_unsync());
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer
    }

    /// Allows or lifts, by the way that `sonde allow` takes.
    async fn change(&self, request: Request<Incoming>) -> Response<Body> {
        let allows = request.uri().path() == "/allow";
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes() == b"application/json");
        if !is_json {
            return said(StatusCode::UNSUPPORTED_MEDIA_TYPE, "what is asked for is JSON");
        }
        let by = named(request.extensions().get::<SocketAddr>());
        let body = request.into_body();
        let too_large = || {
            Refused::count(&self.refused.size);
            said(StatusCode::PAYLOAD_TOO_LARGE, "what is asked for is too long")
        };
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return too_large();
        }
        let bytes = match timeout(BODY_TIME, Limited::new(body, MAX_BODY_BYTES).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return too_large(),
            Err(_) => {
                Refused::count(&self.refused.slow);
                return said(StatusCode::REQUEST_TIMEOUT, "it did not come in time");
            }
        };
        let request = if allows { allow(&bytes, &by) } else { lift(&bytes, &by) };
        let request = match request {
            Ok(request) => request,
            Err(why) => return said(StatusCode::BAD_REQUEST, why),
        };
        tracing::info!(by, request = ?request, "known-good entries are changed");
        let (reply, answer) = Reply::channel();
        if let Err(error) = self.commander.send(Command::Ask(Box::new(request), reply)) {
            return said(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        }
        match timeout(PATIENCE, answer).await {
            Ok(Ok(Answer::Allowed(entries))) => {
                self.board.changed().await;
                let entries: Vec<_> = entries.iter().map(|entry| entry.entry.to_string()).collect();
                whole(
                    StatusCode::OK,
                    "application/json",
                    serde_json::json!({ "entries": entries }).to_string(),
                )
            }
            Ok(Ok(Answer::Refused(refusal))) => said(code(refusal.code), refusal.message),
            Ok(Ok(_) | Err(_)) => said(StatusCode::SERVICE_UNAVAILABLE, "the sensor is stopping"),
            Err(_) => said(
                StatusCode::SERVICE_UNAVAILABLE,
                "the sensor does not answer in time; its log may say why",
            ),
        }
    }
}

/// Who makes and lifts entries here, as lists and audit records name it: whoever has the token, at that end of a connection.
fn named(peer: Option<&SocketAddr>) -> String {
    peer.map_or_else(|| "console".to_owned(), |peer| format!("console, from {peer}"))
}

fn allow(bytes: &[u8], by: &str) -> Result<command::Request, String> {
    let Allow { finding, reason, days } =
        serde_json::from_slice(bytes).map_err(|error| format!("not a wish: {error}"))?;
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(format!("say why, in at most {MAX_REASON} characters"));
    }
    if days > MAX_DAYS {
        return Err(format!("at most {MAX_DAYS} days"));
    }
    Ok(command::Request::Allow(Wish {
        finding: Some(finding),
        reason: reason.to_owned(),
        expires_secs: (days > 0).then_some(days * 86_400),
        by: by.to_owned(),
        by_uid: own_uid(),
        ..Wish::default()
    }))
}

fn lift(bytes: &[u8], by: &str) -> Result<command::Request, String> {
    let Lift { entry } = serde_json::from_slice(bytes).map_err(|error| format!("not a wish: {error}"))?;
    let entry = entry.parse().map_err(|_| "an entry has a number".to_owned())?;
    Ok(command::Request::Unallow { entry, by: Asker { name: by.to_owned(), uid: own_uid() } })
}

const fn code(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::Bad => StatusCode::BAD_REQUEST,
        RefusalCode::NotFound => StatusCode::NOT_FOUND,
        RefusalCode::Denied => StatusCode::FORBIDDEN,
        RefusalCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        RefusalCode::Full => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// Whether a path could name a section: nothing is looked for by what could be anything else.
fn is_section(name: &str) -> bool {
    let is_finding =
        |id: &str| id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    live::SECTIONS.iter().any(|(id, _)| *id == name) || name.strip_prefix("f-").is_some_and(is_finding)
}

fn whole(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Full::new(text.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    whole(status, "text/plain; charset=utf-8", text.into() + "\n")
}

/// A refusal as the page's script reads it.
fn said(status: StatusCode, why: impl Into<String>) -> Response<Body> {
    whole(status, "application/json", serde_json::json!({ "error": why.into() }).to_string())
}
