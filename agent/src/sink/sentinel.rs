//! Microsoft Sentinel by the Logs Ingestion API: rows of custom tables as JSON arrays, a call for each stream, let in by a token
//! that is fetched apart.
//!
//! A call is taken as a whole or not at all, and is at most 1 MB before it is packed. Nothing is known again at the other
//! side: what is sent twice is there twice, with the same `EmissionId`.

mod identity;
mod token;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::Value;
use sonde_common::config::{ProxyUrl, SentinelSettings, SinkName, SinkSettings, TlsSettings};
use sonde_common::encode::sentinel::{self as rows, Table};
use sonde_common::record::Record;
use tokio::time::{Instant, timeout_at};

use self::token::Tokens;
use super::batch::Parts;
use super::http::{HttpClient, Reply, Request};
use super::own::OwnSockets;
use super::target::{self, HTTP, Target};
use super::{Delivering, Delivery, Outcome, SetupError, Sink};

/// Version of the API that is spoken.
const API_VERSION: &str = "2023-01-01";
/// Most bytes of one call before it is packed. The documents say 1 MB; this is the smaller reading of it.
const MAX_CALL_BYTES: usize = 1_000_000;
/// Largest answer that is read: an error in words.
const MAX_REPLY_BYTES: usize = 64 << 10;
/// Words in the code of a 400 that is about the rule and not about the rows.
const OF_THE_RULE: [&str; 4] = ["stream", "rule", "dcr", "version"];

/// A data collection rule.
#[derive(Debug)]
pub(super) struct Sentinel {
    client: HttpClient,
    tokens: Tokens,
    settings: SentinelSettings,
    gzip: bool,
    /// How long one delivery may take: within the time that the core gives it, so that what was taken is known.
    patience: Duration,
}

/// What a call came to.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// All of it was taken.
    Taken,
    /// It is too large, or something in it is wrong that the server does not name.
    Whole(String),
    /// Nothing was taken, for a reason of this stream alone.
    Stream(String),
    /// Nothing was taken, and nothing else would be.
    Stop(String),
}

impl Sentinel {
    pub(super) fn new(
        name: &SinkName,
        settings: &SinkSettings,
        sentinel: &SentinelSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason| SetupError { sink: name.clone(), reason };
        guarded("sentinel.url", &sentinel.url, settings).map_err(error)?;
        let client = HttpClient::new(name, settings, own, "sentinel.url", &sentinel.url, MAX_REPLY_BYTES)?;
        let tokens = Tokens::new(name, settings, sentinel, own)?;
        let patience = Duration::from_secs(settings.timeout_secs.get().into()) * 9 / 10;
        Ok(Self { client, tokens, settings: sentinel.clone(), gzip: settings.gzip, patience })
    }

    async fn ship(&mut self, batch: &[Record]) -> Delivery {
        let until = Instant::now() + self.patience;
        let rows: Vec<_> = batch.iter().map(rows::row).collect();
        let mut outcomes = vec![Outcome::Retry("it was not sent".to_owned()); batch.len()];
        let (mut said, mut retry_after, mut stopped) = (String::new(), None, false);
        for table in Table::ALL {
            let of: Vec<_> =
                batch.iter().enumerate().filter(|(_, record)| Table::of(record.kind) == table).collect();
            let mut parts = Parts::of(of.len());
            let bytes =
                |at: &usize| of.get(*at).and_then(|(at, _)| rows.get(*at)?.as_ref()).map_or(0, Vec::len);
            for at in 0..of.len() {
                let long = bytes(&at) + 2;
                if long == 2 {
                    parts.set(at, Outcome::Refused("its body is no JSON object".to_owned()));
                } else if long > MAX_CALL_BYTES {
                    let why = format!("its row has {long} bytes, and a call takes {MAX_CALL_BYTES}");
                    parts.set(at, Outcome::Refused(why));
                }
            }
            while let Some(part) = parts.next() {
                if stopped {
                    parts.rest(&said);
                    break;
                }
                if part.iter().map(|at| bytes(at) + 1).sum::<usize>() + 1 > MAX_CALL_BYTES
                    && parts.halve(&part)
                {
                    continue;
                }
                let array = array(part.iter().filter_map(|at| rows.get(of.get(*at)?.0)?.as_deref()));
                let call = timeout_at(until, self.call(table, array, &mut retry_after)).await;
                let call =
                    call.unwrap_or_else(|_| Call::Stop(format!("no answer within {:?}", self.patience)));
                match call {
                    Call::Taken => parts.set_all(&part, &Outcome::Acknowledged),
                    Call::Whole(reason) => {
                        if !parts.halve(&part) {
                            parts.set_all(&part, &Outcome::Refused(reason.clone()));
                        }
                        said = reason;
                    }
                    Call::Stream(reason) => {
                        parts.rest(&reason);
                        said = reason;
                    }
                    Call::Stop(reason) => {
                        parts.rest(&reason);
                        (said, stopped) = (reason, true);
                    }
                }
            }
            for ((at, _), outcome) in of.iter().zip(parts.delivery(None, String::new()).outcomes) {
                if let Some(slot) = outcomes.get_mut(*at) {
                    *slot = outcome;
                }
            }
        }
        let taken = outcomes.iter().filter(|outcome| **outcome == Outcome::Acknowledged).count();
        let said = match said.as_str() {
            "" => format!("{taken} of {} rows taken", outcomes.len()),
            said => format!("{taken} of {} rows taken: {said}", outcomes.len()),
        };
        Delivery { outcomes, retry_after, said }
    }

    /// One call to the stream of a table. A token that is refused is renewed, once.
    async fn call(&mut self, table: Table, body: Bytes, retry_after: &mut Option<Duration>) -> Call {
        let stream = stream(&self.settings, table).to_owned();
        let below =
            format!("dataCollectionRules/{}/streams/{stream}?api-version={API_VERSION}", self.settings.rule);
        let path = self.client.target().below(&below);
        let mut renewed = false;
        loop {
            let bearer = match self.tokens.bearer().await {
                Ok(bearer) => bearer,
                Err(refusal) => {
                    *retry_after = refusal.retry_after;
                    return Call::Stop(refusal.reason);
                }
            };
            let headers =
                vec![(AUTHORIZATION, bearer), (CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            let (path, body) = (path.clone(), body.clone());
            let request = Request { method: Method::POST, path, headers, body, gzip: self.gzip };
            let reply = match self.client.send(request).await {
                Ok(reply) => reply,
                Err(error) => return Call::Stop(error.to_string()),
            };
            if reply.status == StatusCode::UNAUTHORIZED {
                self.tokens.forget();
                if !std::mem::replace(&mut renewed, true) {
                    continue;
                }
            }
            *retry_after = reply.retry_after;
            return judge(&reply, &stream);
        }
    }
}

impl Sink for Sentinel {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(self.ship(batch))
    }
}

fn stream(settings: &SentinelSettings, table: Table) -> &str {
    let SentinelSettings { alert_stream, summary_stream, sensor_stream, .. } = settings;
    match table {
        Table::Alert => alert_stream.as_str(),
        Table::Summary => summary_stream.as_str(),
        Table::Sensor => sensor_stream.as_str(),
    }
}

/// The rows of a call. An array even for a single one: an object is answered with 204 and goes nowhere.
fn array<'a>(rows: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut body = vec![b'['];
    for row in rows {
        if body.len() > 1 {
            body.push(b',');
        }
        body.extend_from_slice(row);
    }
    body.push(b']');
    body.into()
}

/// What an answer says of a call.
fn judge(reply: &Reply, stream: &str) -> Call {
    let said = reply.said();
    match reply.status {
        status if status.is_success() => Call::Taken,
        StatusCode::PAYLOAD_TOO_LARGE => Call::Whole(said),
        StatusCode::BAD_REQUEST => match code(reply) {
            // A proxy's page, or some other server's: it says nothing of the rows.
            None => Call::Stop(said),
            Some(code) if OF_THE_RULE.iter().any(|word| code.contains(word)) => Call::Stream(said),
            Some(_) => Call::Whole(said),
        },
        StatusCode::UNAUTHORIZED => {
            Call::Stop(format!("a fresh token is refused: check sentinel.scope: {said}"))
        }
        StatusCode::FORBIDDEN => Call::Stop(format!(
            "the identity may not write by this rule: give it the role Monitoring Metrics Publisher on the data collection \
             rule, which takes up to half an hour to hold: {said}"
        )),
        StatusCode::NOT_FOUND => Call::Stream(format!(
            "there is no such rule here, or it does not declare {stream}: sentinel.rule is the rule's immutable id, and \
             packaging/sentinel has its streams: {said}"
        )),
        _ => Call::Stop(said),
    }
}

/// The code of the service's own error, in small letters.
fn code(reply: &Reply) -> Option<String> {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let told = body.pointer("/error/code").and_then(Value::as_str);
    let header = || reply.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
    told.or_else(header).map(str::to_ascii_lowercase)
}

/// The target of a URL that a token or a secret goes to: by TLS, or to this very host and not by way of another.
fn guarded(key: &str, url: &str, settings: &SinkSettings) -> Result<Target, String> {
    let target = target::parse(key, url, &HTTP)?;
    if target.secure || (is_loopback(&target.host) && settings.proxy.get().is_none()) {
        return Ok(target);
    }
    Err(format!("{key} has to begin with https://: http:// is for loopback alone, without a proxy"))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The settings by which tokens are fetched: authorities and pins hold for that server, too; the name and the certificate are
/// those of the other.
fn of_tokens(settings: &SinkSettings, target: &Target) -> SinkSettings {
    let TlsSettings { ca, pins, .. } = settings.tls.clone();
    let tls = if target.secure {
        TlsSettings { ca, pins, ..TlsSettings::default() }
    } else {
        TlsSettings::default()
    };
    SinkSettings { tls, ..settings.clone() }
}

/// The same for a service of this very machine: no proxy stands before it, and there is no TLS.
fn of_machine(settings: &SinkSettings) -> SinkSettings {
    let (proxy, proxy_password, tls) = (ProxyUrl::default(), Default::default(), TlsSettings::default());
    SinkSettings { proxy, proxy_password, tls, ..settings.clone() }
}

#[cfg(test)]
#[cfg(feature = "linux-tests")]
mod tests;
