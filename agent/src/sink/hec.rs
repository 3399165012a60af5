//! Splunk's HTTP event collector: events in envelopes, taken by a token, and by the indexers where the token allows to ask.
//!
//! A batch with one wrong event is refused as a whole; the server names the event where it can, and the others are sent again.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use sonde_common::config::{HecSettings, SinkName, SinkSettings};
use sonde_common::record::Record;
use tokio::time::{Instant, sleep};

use super::auth;
use super::batch::Parts;
use super::http::{HttpClient, HttpError, Reply, Request};
use super::own::OwnSockets;
use super::{Delivering, Delivery, Outcome, SetupError, Sink};

/// Largest answer that is read.
const MAX_REPLY_BYTES: usize = 64 << 10;
/// Where events go, where the URL names no path.
const EVENT_PATH: &str = "services/collector/event";
/// Where acknowledgements are asked for.
const ACK_PATH: &str = "services/collector/ack";
/// First wait for an acknowledgement; each is twice as long as the one before, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait between two questions for an acknowledgement.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Most events that one delivery finds wrong by being told their number; then the rest waits.
const MAX_NAMED: usize = 32;
/// The channel that acknowledgements are kept by.
const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");

/// An event collector.
#[derive(Debug)]
pub(super) struct Hec {
    client: HttpClient,
    event_path: String,
    ack_path: String,
    settings: HecSettings,
    gzip: bool,
    /// Of this run, where acknowledgements are wanted.
    channel: Option<HeaderValue>,
    /// How long acknowledgements are waited for: within the time of a call, which the core ends.
    patience: Duration,
}

/// What the collector answers.
struct Answer {
    code: Option<u64>,
    invalid: Option<u64>,
    ack: Option<u64>,
}

impl Answer {
    /// Each field by itself: one of an odd form does not hide the others.
    fn of(body: &[u8]) -> Self {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let number = |key: &str| answer.get(key).and_then(Value::as_u64);
        Self { code: number("code"), invalid: number("invalid-event-number"), ack: number("ackId") }
    }
}

/// What a call came to.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// All were taken; with a number to ask for the acknowledgement by.
    Taken(Option<u64>),
    /// One event is wrong: its index in the call.
    Wrong(usize, String),
    /// The part is too large, or something in it is wrong that the server does not name.
    Whole(String),
    /// Nothing was taken, and not because of the events.
    Later(String),
}

impl Hec {
    pub(super) fn new(
        name: &SinkName,
        settings: &SinkSettings,
        hec: &HecSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason| SetupError { sink: name.clone(), reason };
        let client = HttpClient::new(name, settings, own, "hec.url", &hec.url, MAX_REPLY_BYTES)?;
        let target = client.target();
        let event_path = if target.path == "/" { target.below(EVENT_PATH) } else { target.path.clone() };
        // Beside the path of events, behind whatever stands before it.
        let base = event_path.split("/services/").next().unwrap_or_default();
        let ack_path = format!("{}/{ACK_PATH}", base.trim_end_matches('/'));
        let channel = hec.acknowledgement.then(channel).transpose().map_err(error)?;
        let patience = Duration::from_secs(settings.timeout_secs.get().into()) * 7 / 10;
        let sink = Self {
            client,
            event_path,
            ack_path,
            settings: hec.clone(),
            gzip: settings.gzip,
            channel,
            patience,
        };
        // What cannot be read is told at once; it is read again for each batch.
        sink.authorization().map_err(error)?;
        Ok(sink)
    }

    fn authorization(&self) -> Result<HeaderValue, String> {
        auth::token("Splunk", "hec.token", &self.settings.token)
    }

    async fn ship(&mut self, batch: &[Record]) -> Delivery {
        let until = Instant::now() + self.patience;
        let mut parts = Parts::of(batch.len());
        let (mut retry_after, mut said) = (None, String::new());
        let authorization = match self.authorization() {
            Ok(authorization) => authorization,
            Err(reason) => return Delivery::all(&Outcome::Retry(reason.clone()), batch.len(), reason),
        };
        // Parts that were taken, with the number to ask for their acknowledgement by.
        let mut waiting: Vec<(Vec<usize>, u64)> = Vec::new();
        let mut named = 0;
        while let Some(part) = parts.next() {
            let records: Vec<_> = part.iter().filter_map(|at| batch.get(*at)).collect();
            let call = match self
                .call(&self.event_path.clone(), envelopes(&records, &self.settings.index), &authorization)
                .await
            {
                Ok(reply) => {
                    retry_after = reply.retry_after;
                    said = reply.said();
                    judge(&reply, part.len())
                }
                Err(error) => {
                    said = error.to_string();
                    Call::Later(said.clone())
                }
            };
            match call {
                Call::Taken(ack) => match (ack, self.channel.is_some()) {
                    (Some(ack), true) => waiting.push((part, ack)),
                    (None, true) => {
                        let reason = "the server gives no ackId: the token does not allow acknowledgement (hec.acknowledgement)";
                        parts.set_all(&part, &Outcome::Retry(reason.to_owned()));
                    }
                    (_, false) => parts.set_all(&part, &Outcome::Acknowledged),
                },
                Call::Wrong(index, reason) if named < MAX_NAMED => {
                    named += 1;
                    if let Some(at) = part.get(index) {
                        parts.set(*at, Outcome::Refused(reason));
                    }
                    parts.again(&part);
                }
                Call::Wrong(_, reason) | Call::Later(reason) => {
                    // Those that wait for their acknowledgement are not sent again.
                    let open = waiting.iter().flat_map(|(part, _)| part.clone());
                    let open: Vec<_> = open.collect();
                    parts.set_all(&open, &Outcome::Retry("not acknowledged yet".to_owned()));
                    parts.rest(&reason);
                    break;
                }
                Call::Whole(reason) => {
                    if !parts.halve(&part) {
                        parts.set_all(&part, &Outcome::Refused(reason));
                    }
                }
            }
        }
        if !waiting.is_empty() {
            said = self.acknowledged(waiting, &mut parts, &authorization, until).await;
        }
        parts.delivery(retry_after, said)
    }

    /// Waits until the indexers have what was taken, or the time is over: then it is sent again.
    async fn acknowledged(
        &mut self,
        mut waiting: Vec<(Vec<usize>, u64)>,
        parts: &mut Parts,
        authorization: &HeaderValue,
        until: Instant,
    ) -> String {
        let mut wait = FIRST_WAIT;
        let mut said;
        loop {
            let acks: Vec<_> = waiting.iter().map(|(_, ack)| *ack).collect();
            let body = serde_json::json!({ "acks": acks }).to_string();
            match self.call(&self.ack_path.clone(), body.into(), authorization).await {
                Ok(reply) if reply.status.is_success() => {
                    said = reply.said();
                    let answer = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
                    waiting.retain(|(part, ack)| {
                        let said = answer.get("acks").and_then(|acks| acks.get(ack.to_string()));
                        let held = said == Some(&Value::Bool(true));
                        if held {
                            parts.set_all(part, &Outcome::Acknowledged);
                        }
                        !held
                    });
                }
                Ok(reply) => said = reply.said(),
                Err(error) => said = error.to_string(),
            }
            if waiting.is_empty() {
                return "acknowledged by the indexers".to_owned();
            }
            if Instant::now() + wait >= until {
                break;
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        let reason = format!("the indexers have not acknowledged it within {:?}: {said}", self.patience);
        for (part, _) in &waiting {
            parts.set_all(part, &Outcome::Retry(reason.clone()));
        }
        reason
    }

    async fn call(
        &mut self,
        path: &str,
        body: Bytes,
        authorization: &HeaderValue,
    ) -> Result<Reply, HttpError> {
        let mut headers = vec![
            (AUTHORIZATION, authorization.clone()),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ];
        headers.extend(self.channel.clone().map(|channel| (CHANNEL, channel)));
        let request = Request { method: Method::POST, path: path.to_owned(), headers, body, gzip: self.gzip };
        self.client.send(request).await
    }
}

impl Sink for Hec {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(self.ship(batch))
    }
}

/// A channel is named by a UUID of the caller's choice; this one is random.
fn channel() -> Result<HeaderValue, String> {
    let mut bytes = [0_u8; 16];
    let random = super::tls::provider().secure_random.fill(&mut bytes);
    random.map_err(|_| "the system gives no random bytes".to_owned())?;
    let mut number = u128::from_be_bytes(bytes);
    // RFC 9562, version 4.
    number = number & !(0xf << 76) | (4 << 76);
    number = number & !(0b11 << 62) | (0b10 << 62);
    let hex = format!("{number:032x}");
    let part = |range| hex.get(range).unwrap_or_default();
    let text = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-");
    HeaderValue::from_str(&text).map_err(|error| error.to_string())
}

/// The events of a call, one behind the other.
fn envelopes(records: &[&Record], index: &str) -> Bytes {
    let mut body = Vec::new();
    for record in records {
        let millis = record.time.millis();
        let (secs, rest) = (millis.div_euclid(1_000), millis.rem_euclid(1_000));
        let mut head = format!("{{\"time\":{secs}.{rest:03}");
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                head.push_str(&format!(",\"{key}\":{}", Value::from(value)));
            }
        };
        add("host", &host(&record.body));
        add("source", "sonde");
        add("sourcetype", &format!("sonde:{}", record.kind.as_str()));
        add("index", index);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b",\"event\":");
        body.extend_from_slice(&record.body);
        let fields = serde_json::json!({
            "id": record.id, "key": record.key, "severity": record.severity.as_str(),
        });
        body.extend_from_slice(format!(",\"fields\":{fields}}}\n").as_bytes());
    }
    body.into()
}

/// The host that a record tells of, in either form.
fn host(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Told {
        host: Named,
        device: Named,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        name: String,
        hostname: String,
    }
    let told: Told = serde_json::from_slice(body).unwrap_or_default();
    [told.host.name, told.device.hostname, told.device.name]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

/// What an answer says of a call with so many events. The codes are those of Splunk's documentation.
fn judge(reply: &Reply, count: usize) -> Call {
    let answer = Answer::of(&reply.body);
    let said = || reply.said();
    if reply.status.is_success() {
        return match answer.code {
            None | Some(0) => Call::Taken(answer.ack),
            Some(_) => Call::Later(said()),
        };
    }
    match (reply.status, answer.code) {
        (StatusCode::PAYLOAD_TOO_LARGE, _) => Call::Whole(said()),
        // No such index, or a channel that is wanted or not: the operator can mend it.
        (StatusCode::BAD_REQUEST, Some(7 | 10 | 11 | 14 | 16)) => Call::Later(said()),
        // A proxy's page, or some other server's: it says nothing of the events.
        (StatusCode::BAD_REQUEST, None) => Call::Later(said()),
        (StatusCode::BAD_REQUEST, Some(_)) => {
            let index = answer.invalid.and_then(|number| usize::try_from(number).ok());
            match index.filter(|index| *index < count) {
                Some(index) => Call::Wrong(index, said()),
                None => Call::Whole(said()),
            }
        }
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
            Call::Later(format!("the token is refused: {}", said()))
        }
        _ => Call::Later(said()),
    }
}

#[cfg(test)]
#[cfg(feature = "linux-tests")]
mod tests;
