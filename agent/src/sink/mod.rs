//! Where records go: one file per kind of sink, over one core that batches, retries and keeps account.
//!
//! A sink knows its server's protocol and nothing else: it takes a batch and says of each record what became of it. What
//! waits, for how long and how often, is the core's; what survives a crash is the spool's.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sonde_common::config::{Reach, SinkName, SinkSettings};
use sonde_common::record::Record;

use self::own::OwnSockets;

mod auth;
mod batch;
pub mod dial;
mod elastic;
mod hec;
mod file;
pub mod http;
mod notice;
pub mod own;
mod pins;
mod proxy;
pub mod secret;
mod syslog;
pub mod target;
pub mod tls;
mod webhook;
pub mod spool;

/// Something that takes records.
pub trait Sink: Send {
    /// Delivers a batch, in its order. Returns when the server has answered, or the connection failed; the core sees to it
    /// that a call ends, and may drop the future when its time is over.
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a>;

    /// Ends well: what is on its way is waited for, the connection is closed in the protocol's own way.
    fn close(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

/// A delivery under way.
pub type Delivering<'a> = Pin<Box<dyn Future<Output = Delivery> + Send + 'a>>;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Of each record of the batch, in its order. What is missing at the end is tried again.
    pub outcomes: Vec<Outcome>,
    /// The server asked to be left alone for so long.
    pub retry_after: Option<Duration>,
    /// What the server said, for people: the status and the begin of its answer.
    pub said: String,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has it, now or since an earlier attempt.
    Acknowledged,
    /// The server will never take it: it goes to the dead letters, with the reason.
    Refused(String),
    /// It may be taken later. The reason is told in health.
    Retry(String),
}

impl Delivery {
    /// The same for all of a batch.
    #[must_use]
    pub fn all(outcome: &Outcome, count: usize, said: impl Into<String>) -> Self {
        Self { outcomes: vec![outcome.clone(); count], retry_after: None, said: said.into() }
    }
}

/// A sink that cannot be set up as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("sinks.{sink}: {reason}")]
pub struct SetupError {
    /// Its name.
    pub sink: SinkName,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Sets up a sink. Nothing is connected yet: a server that is away is no error.
///
/// # Errors
/// When a file of TLS or a secret cannot be read, a URL is none, or no kind or more than one is given.
pub fn open(name: &SinkName, settings: &SinkSettings, own: &OwnSockets) -> Result<Box<dyn Sink>, SetupError> {
    let error = |reason: &str| SetupError { sink: name.clone(), reason: reason.to_owned() };
    match settings.reach() {
        None => {
            Err(error("exactly one table below it has to say how it is reached, such as [sinks.NAME.file]"))
        }
        // One arm for each kind.
        Some(Reach::Elastic(elastic)) => Ok(Box::new(elastic::Elastic::new(name, settings, elastic, own)?)),
        Some(Reach::File(file)) => Ok(Box::new(file::FileSink::open(name, file)?)),
        Some(Reach::Hec(hec)) => Ok(Box::new(hec::Hec::new(name, settings, hec, own)?)),
        Some(Reach::Notice(_)) => Ok(Box::new(notice::NoticeSink::open(name)?)),
        Some(Reach::Syslog(syslog)) => Ok(Box::new(syslog::SyslogSink::open(name, settings, syslog, own)?)),
        Some(Reach::Webhook(webhook)) => Ok(Box::new(webhook::Webhook::new(name, settings, webhook, own)?)),
        Some(
            Reach::Sentinel(_) | Reach::Otlp(_) | Reach::Nats(_) | Reach::Kafka(_),
        ) => Err(error("this kind is not built yet")),
    }
}
