//! Elasticsearch and OpenSearch: `_bulk` with the action `create`, which data streams take too and which keeps a record that is
//! sent twice from being there twice. Each item has an answer of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use sonde_common::config::{ElasticSettings, SinkName, SinkSettings};
use sonde_common::record::Record;

use super::auth;
use super::batch::Parts;
use super::http::{HttpClient, HttpError, Reply, Request, shown};
use super::own::OwnSockets;
use super::{Delivering, Delivery, Outcome, SetupError, Sink};

/// Largest answer that is read: ten thousand refusals, each with its reason.
const MAX_REPLY_BYTES: usize = 16 << 20;
/// Only this is asked for; a server that does not know the parameter tells more.
const FILTER: &str =
    "items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason,error";

/// An index or a data stream.
#[derive(Debug)]
pub(super) struct Elastic {
    client: HttpClient,
    path: String,
    settings: ElasticSettings,
    gzip: bool,
}

/// What `_bulk` answers.
#[derive(Deserialize)]
struct Answer {
    items: Vec<BTreeMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    #[serde(default)]
    error: Value,
}

/// What a call came to.
enum Call {
    /// Each record of the part has its outcome.
    Each(Vec<Outcome>),
    /// The part is too large, or something in it is wrong that the server does not name.
    Whole(String),
    /// Nothing was taken, and not because of the records.
    Later(String),
}

impl Elastic {
    pub(super) fn new(
        name: &SinkName,
        settings: &SinkSettings,
        elastic: &ElasticSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let client = HttpClient::new(name, settings, own, "elastic.url", &elastic.url, MAX_REPLY_BYTES)?;
        let below = format!("{}/_bulk?filter_path={FILTER}", elastic.index.as_str());
        let path = client.target().below(&below);
        let sink = Self { client, path, settings: elastic.clone(), gzip: settings.gzip };
        // What cannot be read is told at once; it is read again for each batch.
        sink.authorization().map_err(|reason| SetupError { sink: name.clone(), reason })?;
        Ok(sink)
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let ElasticSettings { user, password, api_key, .. } = &self.settings;
        if api_key.is_set() {
            auth::token("ApiKey", "elastic.api_key", api_key).map(Some)
        } else if password.is_set() {
            auth::basic(user, "elastic.password", password).map(Some)
        } else {
            Ok(None)
        }
    }

    async fn ship(&mut self, batch: &[Record]) -> Delivery {
        let mut parts = Parts::of(batch.len());
        let (mut retry_after, mut said) = (None, String::new());
        let authorization = match self.authorization() {
            Ok(authorization) => authorization,
            Err(reason) => {
                return Delivery::all(&Outcome::Retry(reason.clone()), batch.len(), reason);
            }
        };
        while let Some(part) = parts.next() {
            let records: Vec<_> = part.iter().filter_map(|at| batch.get(*at)).collect();
            let call = match self.call(&records, authorization.clone()).await {
                Ok(reply) => {
                    retry_after = reply.retry_after;
                    let call = judge(&reply, part.len());
                    said = match &call {
                        Call::Each(outcomes) => tally(outcomes),
                        Call::Whole(_) | Call::Later(_) => reply.said(),
                    };
                    call
                }
                Err(error) => {
                    said = error.to_string();
                    Call::Later(said.clone())
                }
            };
            match call {
                Call::Each(outcomes) => {
                    for (at, outcome) in part.iter().zip(outcomes) {
                        parts.set(*at, outcome);
                    }
                }
                Call::Whole(reason) => {
                    if !parts.halve(&part) {
                        parts.set_all(&part, &Outcome::Refused(reason));
                    }
                }
                Call::Later(reason) => {
                    parts.rest(&reason);
                    break;
                }
            }
        }
        parts.delivery(retry_after, said)
    }

    async fn call(
        &mut self,
        records: &[&Record],
        authorization: Option<HeaderValue>,
    ) -> Result<Reply, HttpError> {
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ];
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let request = Request {
            method: Method::POST,
            path: self.path.clone(),
            headers,
            body: body(records),
            gzip: self.gzip,
        };
        self.client.send(request).await
    }
}

impl Sink for Elastic {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(self.ship(batch))
    }
}

/// One action and one document for each record.
fn body(records: &[&Record]) -> Bytes {
    let length: usize = records.iter().map(|record| record.body.len() + record.id.len() + 32).sum();
    let mut body = Vec::with_capacity(length);
    for record in records {
        let id = Value::from(record.id.as_str());
        body.extend_from_slice(format!("{{\"create\":{{\"_id\":{id}}}}}\n").as_bytes());
        // A line's end within would make the rest an action: between the parts of JSON a space says the same.
        body.extend(record.body.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        body.push(b'\n');
    }
    body.into()
}

/// What an answer says of a part of so many records.
fn judge(reply: &Reply, count: usize) -> Call {
    let said = || reply.said();
    match reply.status {
        status if status.is_success() => {
            let parsed = serde_json::from_slice::<Answer>(&reply.body);
            match parsed {
                Ok(Answer { items }) if items.len() == count => {
                    Call::Each(items.into_iter().map(outcome).collect())
                }
                Ok(Answer { items }) => {
                    Call::Later(format!("answered for {} of {count} records", items.len()))
                }
                // What was taken is known by its id when it is sent again, in smaller parts.
                Err(_) if reply.cut && count > 1 => Call::Whole("the answer is too long".to_owned()),
                Err(_) => Call::Later(format!("the answer is not that of _bulk: {}", said())),
            }
        }
        StatusCode::PAYLOAD_TOO_LARGE => Call::Whole(format!("too large for the server: {}", said())),
        // Only the server itself speaks of the records; a proxy's page (no client certificate…) says nothing of them.
        StatusCode::BAD_REQUEST if is_of_the_server(&reply.body) => Call::Whole(said()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Call::Later(format!("user, password or API key is refused: {}", said()))
        }
        _ => Call::Later(said()),
    }
}

/// Whether an error is Elasticsearch's own: an object with a type.
fn is_of_the_server(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body)
        .is_ok_and(|answer| answer.pointer("/error/type").is_some_and(Value::is_string))
}

/// What became of one record. What says nothing of the record itself (no rights, no such index, a full disk) is for later:
/// the operator can mend it.
fn outcome(item: BTreeMap<String, Item>) -> Outcome {
    let Some(Item { status, error }) = item.into_values().next() else {
        return Outcome::Retry("the server says nothing of it".to_owned());
    };
    let reason = || {
        let text = |at: &str| error.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let parts = ["/type", "/reason", "/caused_by/reason"].map(text);
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        shown(format!("{status} {}", parts.join(": ")).as_bytes())
    };
    match status {
        200..=299 | 409 => Outcome::Acknowledged,
        401 | 403 | 404 | 408 | 429 | 500.. => Outcome::Retry(reason()),
        _ => Outcome::Refused(reason()),
    }
}

/// For people.
fn tally(outcomes: &[Outcome]) -> String {
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
    let taken = count(|outcome| *outcome == Outcome::Acknowledged);
    let refused = count(|outcome| matches!(outcome, Outcome::Refused(_)));
    let mut said = format!("{taken} of {} records taken", outcomes.len());
    if refused > 0 {
        said.push_str(&format!(", {refused} refused"));
    }
    let why = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Refused(why) | Outcome::Retry(why) => Some(why),
        Outcome::Acknowledged => None,
    });
    if let Some(why) = why {
        said.push_str(&format!(": {why}"));
    }
    said
}

#[cfg(test)]
#[cfg(feature = "linux-tests")]
mod tests;
