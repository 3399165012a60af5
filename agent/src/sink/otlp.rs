//! OpenTelemetry logs by HTTP (OTLP/HTTP, binary protobuf): each record is a log record with its body as a structure.
//!
//! A receiver may take a call in part, and says how many it left out but not which: then they go one by one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use sonde_common::config::{OtlpSettings, Secret, SinkName, SinkSettings};
use sonde_common::record::Record;
use tokio::time::{Instant, timeout_at};

use super::http::{HttpClient, Reply, Request};
use super::own::OwnSockets;
use super::{Delivering, Delivery, Outcome, SetupError, Sink, secret};

mod logs;
mod proto;

/// Largest answer that is read.
const MAX_REPLY: usize = 64 << 10;
/// Longest name of a header.
const MAX_HEADER: usize = 128;
/// The encoding (OTLP, "Binary Protobuf Encoding").
const PROTOBUF: &str = "application/x-protobuf";

/// An OTLP receiver.
pub(super) struct OtlpSink {
    client: HttpClient,
    path: String,
    token: Secret,
    header: Option<(HeaderName, Secret)>,
    gzip: bool,
    /// What one delivery may take, less what its end takes.
    budget: Duration,
}

/// What became of one call.
enum Answer {
    /// Taken, but for so many.
    Taken { rejected: u64, said: String },
    /// The records are not taken, or one of them is not.
    Refused(String),
    /// Nothing was taken, and it is not the records' fault.
    Later { reason: String, after: Option<Duration> },
}

impl OtlpSink {
    pub(super) fn new(
        name: &SinkName,
        shared: &SinkSettings,
        settings: &OtlpSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason: &str| SetupError { sink: name.clone(), reason: reason.to_owned() };
        let client = HttpClient::new(name, shared, own, "otlp.url", &settings.url, MAX_REPLY)?;
        let path = match client.target().path.as_str() {
            "" | "/" => "/v1/logs".to_owned(),
            path => path.to_owned(),
        };
        let header = match (settings.header.as_str(), settings.header_value.is_set()) {
            ("", false) => None,
            (header, true) if !header.is_empty() && header.len() <= MAX_HEADER => {
                let header =
                    HeaderName::try_from(header).map_err(|_| error("otlp.header is no header's name"))?;
                Some((header, settings.header_value.clone()))
            }
            _ => return Err(error("otlp.header and otlp.header_value go together")),
        };
        let whole = Duration::from_secs(u64::from(shared.timeout_secs.get()));
        Ok(Self {
            client,
            path,
            token: settings.token.clone(),
            header,
            gzip: shared.gzip,
            budget: whole - whole / 10,
        })
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let value = |text: &str| {
            let mut value =
                HeaderValue::try_from(text).map_err(|_| "a secret cannot stand in a header".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        let read = |secret: &Secret| secret::read(secret).map_err(|error| error.to_string());
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(PROTOBUF)),
            (ACCEPT, HeaderValue::from_static(PROTOBUF)),
        ];
        if self.token.is_set() {
            let text = zeroize::Zeroizing::new(format!("Bearer {}", read(&self.token)?.as_str()));
            headers.push((AUTHORIZATION, value(&text)?));
        }
        if let Some((name, secret)) = &self.header {
            headers.push((name.clone(), value(&read(secret)?)?));
        }
        Ok(headers)
    }

    async fn call(&mut self, records: &[&Record], until: Instant) -> Answer {
        let headers = match self.headers() {
            Ok(headers) => headers,
            Err(reason) => return Answer::Later { reason, after: None },
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or_default();
        let request = Request {
            method: Method::POST,
            path: self.path.clone(),
            headers,
            body: logs::request(records, now).into(),
            gzip: self.gzip,
        };
        match timeout_at(until, self.client.send(request)).await {
            Ok(Ok(reply)) => judge(&reply),
            Ok(Err(error)) => Answer::Later { reason: error.to_string(), after: None },
            Err(_) => Answer::Later { reason: "no answer in time".to_owned(), after: None },
        }
    }

    async fn deliver_all(&mut self, batch: &[Record]) -> Delivery {
        let until = Instant::now() + self.budget;
        let all: Vec<&Record> = batch.iter().collect();
        let missing = match self.call(&all, until).await {
            Answer::Taken { rejected: 0, said } => {
                let said = if said.is_empty() { format!("took {}", batch.len()) } else { said };
                return Delivery::all(&Outcome::Acknowledged, batch.len(), said);
            }
            Answer::Taken { rejected, said } if rejected >= batch.len() as u64 => {
                return Delivery::all(&Outcome::Refused(said.clone()), batch.len(), said);
            }
            Answer::Later { reason, after } => {
                let said = reason.clone();
                return Delivery {
                    retry_after: after,
                    ..Delivery::all(&Outcome::Retry(reason), batch.len(), said)
                };
            }
            Answer::Refused(reason) if batch.len() == 1 => {
                return Delivery::all(&Outcome::Refused(reason.clone()), 1, reason);
            }
            // How many it left out is told, and once so many are found the others are there.
            Answer::Taken { rejected, .. } => Some(rejected),
            // Nothing was taken because of at least one.
            Answer::Refused(_) => None,
        };
        self.one_by_one(batch, missing, until).await
    }

    async fn one_by_one(&mut self, batch: &[Record], missing: Option<u64>, until: Instant) -> Delivery {
        let mut delivery = Delivery::default();
        let mut found = 0;
        for record in batch {
            if missing == Some(found) {
                delivery.outcomes.push(Outcome::Acknowledged);
                continue;
            }
            let outcome = match self.call(&[record], until).await {
                Answer::Taken { rejected: 0, .. } => Outcome::Acknowledged,
                Answer::Taken { said: reason, .. } | Answer::Refused(reason) => {
                    found += 1;
                    delivery.said.clone_from(&reason);
                    Outcome::Refused(reason)
                }
                Answer::Later { reason, after } => {
                    // What is not known yet comes again, one by one if need be.
                    delivery.outcomes.resize(batch.len(), Outcome::Retry(reason.clone()));
                    return Delivery { retry_after: after, said: reason, ..delivery };
                }
            };
            delivery.outcomes.push(outcome);
        }
        delivery.said = format!("refused {found} of {}: {}", batch.len(), delivery.said);
        delivery
    }
}

/// What an answer means (OTLP, "OTLP/HTTP Response").
fn judge(reply: &Reply) -> Answer {
    let content_type =
        reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if reply.status.is_success() {
        let (rejected, said) = logs::read_reply(&reply.body, content_type.contains("json"));
        let said =
            if rejected > 0 && said.is_empty() { "rejected without a reason".to_owned() } else { said };
        return Answer::Taken { rejected, said };
    }
    let said = format!("{}: {}", reply.status, logs::read_error(&reply.body, content_type));
    match reply.status {
        // It is what was sent that is wrong.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Answer::Refused(said)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::Later {
            reason: format!("{said}; check the sink's token, header and certificate"),
            after: reply.retry_after,
        },
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Answer::Later {
            reason: format!("{said}; check the path of otlp.url: it is /v1/logs mostly"),
            after: reply.retry_after,
        },
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Answer::Later {
            reason: format!("{said}; the receiver does not take binary protobuf, or not with gzip"),
            after: reply.retry_after,
        },
        _ => Answer::Later { reason: said, after: reply.retry_after },
    }
}

impl Sink for OtlpSink {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(self.deliver_all(batch))
    }

    fn close(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.client.close();
        Box::pin(std::future::ready(()))
    }
}
