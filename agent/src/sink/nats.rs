//! NATS JetStream: each record is published under its id and acknowledged by the stream that keeps it.
//!
//! The library's own queue and reconnection are kept out of the way: a connection lives as long as it works, what is handed
//! to it is the batch of one call and no more, and what it had not acknowledged when it broke is the spool's to send again.
//! The stream knows by the id (`Nats-Msg-Id`) what it has already.

use std::future::IntoFuture as _;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::{
    Context, ContextBuilder, PublishAckFuture, PublishError, PublishErrorKind,
};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use sonde_common::config::{NatsSettings, SinkName, SinkSettings};
use sonde_common::record::Record;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use self::link::{Link, Linked};
use super::http::shown;
use super::{Delivering, Delivery, Outcome, SetupError, Sink};

pub mod link;

/// Most records on their way to the stream at once: JetStream answers each, and a window keeps both ends' buffers small.
const WINDOW: usize = 512;
/// Longest wait for a connection to end well.
const CLOSE: Duration = Duration::from_secs(2);

/// NATS JetStream.
pub(super) struct NatsSink {
    link: Link,
    subject: String,
    /// What one call may take, less what its end takes.
    budget: Duration,
    session: Option<Session>,
}

/// One connection, until it breaks.
struct Session {
    context: Context,
    fate: watch::Receiver<Option<String>>,
}

/// What became of a part of the batch.
#[derive(Default)]
struct Told {
    outcomes: Vec<Outcome>,
    stream: String,
    sequence: u64,
    acknowledged: usize,
    duplicates: usize,
    broken: bool,
}

impl NatsSink {
    pub(super) fn new(
        name: &SinkName,
        shared: &SinkSettings,
        settings: &NatsSettings,
    ) -> Result<Self, SetupError> {
        let error = |reason: String| SetupError { sink: name.clone(), reason };
        if shared.proxy.get().is_some() {
            return Err(error("nats is not reached through an HTTP proxy: leave proxy empty".to_owned()));
        }
        let link = Link::new(settings, &shared.tls).map_err(error)?;
        let whole = Duration::from_secs(u64::from(shared.timeout_secs.get()));
        Ok(Self {
            link,
            subject: settings.subject.as_str().to_owned(),
            budget: whole - whole / 10,
            session: None,
        })
    }

    async fn connect(&self) -> Result<Session, String> {
        let Linked { client, fate } = self.link.connect(self.budget / 2, WINDOW).await?;
        let context = ContextBuilder::new()
            .timeout(self.budget)
            .ack_timeout(CLOSE)
            .max_ack_inflight(WINDOW)
            .build(client);
        Ok(Session { context, fate })
    }

    async fn deliver_all(&mut self, batch: &[Record]) -> Delivery {
        let until = Instant::now() + self.budget;
        // Taken out: if this call is given up half-way, what its connection had to say is lost, and so is the connection.
        let taken = self.session.take().filter(|session| session.fate.borrow().is_none());
        let mut session = match taken {
            Some(session) => session,
            None => match timeout_at(until, self.connect()).await {
                Ok(Ok(session)) => session,
                Ok(Err(reason)) => {
                    return Delivery::all(&Outcome::Retry(reason.clone()), batch.len(), reason);
                }
                Err(_) => {
                    let reason = "no server took a connection in time";
                    return Delivery::all(&Outcome::Retry(reason.to_owned()), batch.len(), reason);
                }
            },
        };
        let mut told = Told::default();
        for part in batch.chunks(WINDOW) {
            session.publish(&self.subject, part, until, &mut told).await;
            if told.broken {
                break;
            }
        }
        let said = told.said(&session);
        if told.broken {
            let reason = session.reason("no acknowledgement in time");
            told.outcomes.resize(batch.len(), Outcome::Retry(reason));
        } else {
            self.session = Some(session);
        }
        Delivery { outcomes: told.outcomes, retry_after: None, said }
    }
}

impl Told {
    fn said(&self, session: &Session) -> String {
        if self.acknowledged == 0 {
            let kept = self.outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Retry(reason) | Outcome::Refused(reason) => Some(reason.clone()),
                Outcome::Acknowledged => None,
            });
            return kept.unwrap_or_else(|| session.reason("nothing was sent"));
        }
        let stream = shown(self.stream.as_bytes());
        let Self { acknowledged, duplicates, sequence, .. } = self;
        format!("stream {stream} took {acknowledged}, up to sequence {sequence}; {duplicates} it had already")
    }
}

impl Session {
    fn reason(&self, otherwise: &str) -> String {
        self.fate.borrow().clone().unwrap_or_else(|| otherwise.to_owned())
    }

    /// Publishes a part and waits for what the stream says of each of it.
    async fn publish(&mut self, subject: &str, part: &[Record], until: Instant, told: &mut Told) {
        let mut sent: Vec<Result<PublishAckFuture, Outcome>> = Vec::with_capacity(part.len());
        for record in part {
            let Ok(id) = record.id.parse::<HeaderValue>() else {
                sent.push(Err(Outcome::Refused("its id cannot stand in a header".to_owned())));
                continue;
            };
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, id);
            let subject = format!("{subject}.{}", record.kind.as_str());
            let body = Bytes::copy_from_slice(&record.body);
            let published = tokio::select! {
                biased;
                published = timeout_at(until, self.context.publish_with_headers(subject, headers, body)) => published,
                _ = self.fate.wait_for(Option::is_some) => break,
            };
            match published {
                Ok(Ok(on_its_way)) => sent.push(Ok(on_its_way)),
                Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    let most = self.context.client().max_payload();
                    sent.push(Err(Outcome::Refused(format!(
                        "{} bytes are more than the server takes (max_payload {most})",
                        record.body.len()
                    ))));
                }
                // The connection's task is gone, or its queue stays full.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        told.broken |= sent.len() < part.len();
        for (sent, record) in sent.into_iter().zip(part) {
            let acknowledgement = match sent {
                Ok(acknowledgement) => acknowledgement,
                Err(outcome) => {
                    told.outcomes.push(outcome);
                    continue;
                }
            };
            // What has arrived is taken even when time is over or the connection broke since.
            let reply = tokio::select! {
                biased;
                reply = timeout_at(until, acknowledgement.into_future()) => reply.ok(),
                _ = self.fate.wait_for(Option::is_some) => None,
            };
            told.outcomes.push(match reply {
                Some(Ok(reply)) => {
                    told.acknowledged += 1;
                    told.duplicates += usize::from(reply.duplicate);
                    told.sequence = told.sequence.max(reply.sequence);
                    told.stream = reply.stream;
                    Outcome::Acknowledged
                }
                Some(Err(error)) => {
                    told.broken |=
                        matches!(error.kind(), PublishErrorKind::BrokenPipe | PublishErrorKind::TimedOut);
                    refusal(&error, subject, record, self)
                }
                None => {
                    told.broken = true;
                    Outcome::Retry(self.reason("no acknowledgement in time"))
                }
            });
        }
    }
}

/// What an error of the stream means for the record.
fn refusal(error: &PublishError, subject: &str, record: &Record, session: &Session) -> Outcome {
    let kind = record.kind.as_str();
    match error.kind() {
        PublishErrorKind::StreamNotFound => Outcome::Retry(format!(
            "no stream takes {subject}.{kind}, or it has no leader now: see `nats stream ls`; define one with the subjects \
             {subject}.>"
        )),
        PublishErrorKind::BrokenPipe | PublishErrorKind::TimedOut => {
            Outcome::Retry(session.reason("no acknowledgement in time"))
        }
        _ => {
            let said =
                std::error::Error::source(error).and_then(|source| source.downcast_ref::<jetstream::Error>());
            let Some(said) = said else {
                return Outcome::Retry(format!(
                    "an acknowledgement that is none: {}",
                    shown(error.to_string().as_bytes())
                ));
            };
            let text = format!("JetStream: {}", shown(said.to_string().as_bytes()));
            if said.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM {
                Outcome::Refused(text)
            } else {
                Outcome::Retry(text)
            }
        }
    }
}

impl Sink for NatsSink {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(self.deliver_all(batch))
    }

    fn close(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let session = self.session.take();
        Box::pin(async move {
            if let Some(session) = session {
                // Everything was acknowledged or given up: this only says goodbye.
                let _ = timeout(CLOSE, session.context.client().drain()).await;
            }
        })
    }
}
