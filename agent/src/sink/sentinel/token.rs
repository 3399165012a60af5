//! Tokens: fetched by an application's secret (OAuth 2 client credentials) or from the machine's managed identity, kept until
//! shortly before their end, wiped then, and never part of a message.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use sonde_common::config::{Secret, SentinelSettings, SinkName, SinkSettings};
use tokio::time::Instant;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::identity::Identity;
use super::{guarded, of_tokens};
use crate::sink::http::{HttpClient, Reply, Request, shown};
use crate::sink::own::OwnSockets;
use crate::sink::{SetupError, auth, secret};

/// Largest answer that is read: tokens of an application in many groups have some thousand bytes.
pub(super) const MAX_REPLY_BYTES: usize = 64 << 10;
/// So long before its end a token is given up, or a fifth of its life where that is shorter.
const MARGIN: Duration = Duration::from_secs(300);
/// How long a token holds that does not say.
const UNSAID: u64 = 300;
/// Longest that a token is believed to hold: those of managed identities hold for a day.
const LONGEST: u64 = 86_400;

/// Gives out tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    way: Way,
    held: Option<Held>,
}

#[derive(Debug)]
enum Way {
    Application(Application),
    Identity(Identity),
}

/// An application with a secret.
#[derive(Debug)]
struct Application {
    client: HttpClient,
    path: String,
    /// What is said besides the secret, encoded.
    form: String,
    secret: Secret,
}

struct Held {
    token: Zeroizing<String>,
    until: Instant,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Debug)]
pub(super) struct Refusal {
    /// In words, with what an operator can do.
    pub(super) reason: String,
    /// The server asked to be left alone for so long.
    pub(super) retry_after: Option<Duration>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, retry_after: None }
    }
}

impl Tokens {
    pub(super) fn new(
        name: &SinkName,
        settings: &SinkSettings,
        sentinel: &SentinelSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let way = if sentinel.tenant.is_empty() {
            Way::Identity(Identity::new(name, settings, sentinel, own)?)
        } else {
            Way::Application(Application::new(name, settings, sentinel, own)?)
        };
        Ok(Self { way, held: None })
    }

    /// The header of a token that holds.
    pub(super) async fn bearer(&mut self) -> Result<HeaderValue, Refusal> {
        let now = Instant::now();
        let held = match self.held.take().filter(|held| now < held.until) {
            Some(held) => held,
            None => {
                let reply = match &mut self.way {
                    Way::Application(application) => application.ask().await?,
                    Way::Identity(identity) => identity.ask().await?,
                };
                read(reply, now)?
            }
        };
        let header = auth::bearer(&held.token).ok_or_else(|| "the token holds what no header may".to_owned());
        self.held = Some(held);
        Ok(header?)
    }

    /// Takes files of Arc's challenges from this folder instead.
    #[cfg(test)]
    #[cfg(feature = "linux-tests")]
    pub(super) fn with_keys(&mut self, folder: &std::path::Path) {
        if let Way::Identity(identity) = &mut self.way {
            identity.with_keys(folder);
        }
    }

    /// Gives the token up: it was refused.
    pub(super) fn forget(&mut self) {
        self.held = None;
    }
}

impl Application {
    fn new(
        name: &SinkName,
        settings: &SinkSettings,
        sentinel: &SentinelSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason| SetupError { sink: name.clone(), reason };
        let key = "sentinel.authority";
        let target = guarded(key, &sentinel.authority, settings).map_err(error)?;
        let settings = of_tokens(settings, &target);
        let client = HttpClient::new(name, &settings, own, key, &sentinel.authority, MAX_REPLY_BYTES)?;
        let path = target.below(&format!("{}/oauth2/v2.0/token", sentinel.tenant));
        let mut form = "grant_type=client_credentials".to_owned();
        for (key, value) in [("client_id", &sentinel.client), ("scope", &sentinel.scope)] {
            form.extend(["&", key, "="].into_iter().chain(byte_serialize(value.as_bytes())));
        }
        let this = Self { client, path, form, secret: sentinel.secret.clone() };
        // What cannot be read is told at once; it is read again for each token.
        this.secret().map_err(|reason| SetupError { sink: name.clone(), reason })?;
        Ok(this)
    }

    fn secret(&self) -> Result<Zeroizing<String>, String> {
        secret::read(&self.secret).map_err(|error| format!("sentinel.secret: {error}"))
    }

    async fn ask(&mut self) -> Result<Reply, Refusal> {
        let secret = self.secret()?;
        // Of its full size from the start: text that grew would leave copies behind.
        let mut form = Zeroizing::new(Vec::with_capacity(self.form.len() + 16 + 3 * secret.len()));
        form.extend_from_slice(self.form.as_bytes());
        form.extend_from_slice(b"&client_secret=");
        let encoded_from = form.len();
        byte_serialize(secret.as_bytes()).for_each(|part| form.extend_from_slice(part.as_bytes()));
        let encoded = Zeroizing::new(form.get(encoded_from..).unwrap_or_default().to_vec());
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
        let body = Bytes::from_owner(form);
        let request = Request { method: Method::POST, path: self.path.clone(), headers, body, gzip: false };
        let reply = self.client.send(request).await;
        // An hour passes until the next.
        self.client.close();
        let reply = reply.map_err(|error| format!("no token: {error}"))?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        let said = without(&complaint(&reply), &[secret.as_bytes(), &encoded]);
        let what = if reply.status.is_client_error() && reply.status.as_u16() != 429 {
            "no token: check sentinel.tenant, client, secret and scope"
        } else {
            "no token"
        };
        Err(Refusal { reason: format!("{what}: {said}"), retry_after: reply.retry_after })
    }
}

/// What the server says of its refusal: error and description, where it has them.
fn complaint(reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("error"), text("error_description")) {
        ("", "") => reply.said(),
        (error, description) => shown(format!("{} {error}: {description}", reply.status).as_bytes()),
    }
}

/// The text unless it holds one of these: a server that repeats what it was sent does not bring it into a log.
fn without(text: &str, secrets: &[&[u8]]) -> String {
    let holds = |secret: &&[u8]| {
        !secret.is_empty() && text.as_bytes().windows(secret.len()).any(|part| part == *secret)
    };
    if secrets.iter().any(holds) { "(the answer repeats the secret)".to_owned() } else { text.to_owned() }
}

/// The token of an answer.
fn read(mut reply: Reply, now: Instant) -> Result<Held, Refusal> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        #[serde(default)]
        expires_in: Value,
    }
    let body = Zeroizing::new(std::mem::take(&mut reply.body));
    // Not with the error: it could show a piece of the answer.
    let Ok(answer) = serde_json::from_slice::<Answer>(&body) else {
        return Err("no token: the answer is not that of a token service".to_owned().into());
    };
    let token = Zeroizing::new(answer.access_token);
    if token.is_empty() || reply.cut {
        return Err("no token: the answer holds none".to_owned().into());
    }
    // A number, or of managed identities the text of one.
    let text = answer.expires_in.as_str().and_then(|text| text.parse().ok());
    let secs = answer.expires_in.as_u64().or(text).unwrap_or(UNSAID).min(LONGEST);
    let life = Duration::from_secs(secs);
    Ok(Held { token, until: now + (life - MARGIN.min(life / 5)) })
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use serde_json::json;

    use super::*;

    fn reply(body: &Value) -> Reply {
        let body = body.to_string().into_bytes();
        Reply {
            status: StatusCode::OK,
            retry_after: None,
            headers: hyper::HeaderMap::new(),
            body,
            cut: false,
        }
    }

    #[test]
    fn a_token_is_given_up_before_its_end() {
        let now = Instant::now();
        let held = |expires: Value| {
            read(reply(&json!({"access_token": "a.b.c", "expires_in": expires})), now).unwrap().until - now
        };
        assert_eq!(held(json!(3599)), Duration::from_secs(3299));
        assert_eq!(held(json!("86399")), Duration::from_secs(86_099));
        assert_eq!(held(json!(10)), Duration::from_secs(8));
        assert_eq!(held(json!(0)), Duration::ZERO);
        for odd in [Value::Null, json!(-1), json!("soon"), json!([])] {
            assert_eq!(held(odd), Duration::from_secs(240));
        }
        assert_eq!(held(json!(u64::MAX)), Duration::from_secs(86_100));
    }

    #[test]
    fn what_is_no_token_is_told_without_showing_it() {
        for body in [json!({}), json!({"access_token": ""}), json!({"access_token": 5}), json!("geheim")] {
            let refusal = read(reply(&body), Instant::now()).unwrap_err();
            assert!(
                refusal.reason.starts_with("no token") && !refusal.reason.contains("geheim"),
                "{refusal:?}"
            );
        }
        let held = read(reply(&json!({"access_token": "geheim"})), Instant::now()).unwrap();
        assert!(!format!("{held:?}").contains("geheim"));
    }

    #[test]
    fn a_server_that_repeats_the_secret_is_not_repeated() {
        assert_eq!(without("bad a+b", &[b"a+b", b"a%2Bb"]), "(the answer repeats the secret)");
        assert_eq!(without("bad a%2Bb", &[b"a+b", b"a%2Bb"]), "(the answer repeats the secret)");
        assert_eq!(without("bad", &[b"a+b", b""]), "bad");
    }
}
