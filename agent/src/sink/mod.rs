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

pub(crate) mod auth;
mod batch;
pub mod core;
pub mod dead;
pub mod dial;
mod elastic;
mod file;
pub mod health;
mod hec;
pub mod http;
mod kafka;
#[cfg(test)]
#[cfg(feature = "linux-tests")]
mod lab;
pub mod nats;
mod notice;
mod otlp;
pub mod own;
mod pins;
mod proxy;
pub mod secret;
mod sentinel;
pub mod shipper;
pub mod spool;
mod syslog;
pub mod target;
pub mod tls;
mod webhook;

pub(crate) use self::file::set_aside;

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

/// What kind of sink the settings name.
#[must_use]
pub fn kind_of(settings: &SinkSettings) -> &'static str {
    match settings.reach() {
        None => "none",
        Some(Reach::File(_)) => "file",
        Some(Reach::Elastic(_)) => "elastic",
        Some(Reach::Hec(_)) => "hec",
        Some(Reach::Sentinel(_)) => "sentinel",
        Some(Reach::Syslog(_)) => "syslog",
        Some(Reach::Otlp(_)) => "otlp",
        Some(Reach::Nats(_)) => "nats",
        Some(Reach::Kafka(_)) => "kafka",
        Some(Reach::Webhook(_)) => "webhook",
        Some(Reach::Notice(_)) => "notice",
    }
}

/// Sets up a sink. Nothing is connected yet: a server that is away is no error.
///
/// # Errors
/// When a file of TLS or a secret cannot be read, a URL is none, or no kind or more than one is given.
pub fn open(name: &SinkName, settings: &SinkSettings, own: &OwnSockets) -> Result<Box<dyn Sink>, SetupError> {
    match settings.reach() {
        None => {
            let reason = "exactly one table below it has to say how it is reached, such as [sinks.NAME.file]";
            Err(SetupError { sink: name.clone(), reason: reason.to_owned() })
        }
        // One arm for each kind.
        Some(Reach::Elastic(reach)) => Ok(Box::new(elastic::Elastic::new(name, settings, reach, own)?)),
        Some(Reach::File(reach)) => Ok(Box::new(file::FileSink::open(name, reach)?)),
        Some(Reach::Hec(reach)) => Ok(Box::new(hec::Hec::new(name, settings, reach, own)?)),
        Some(Reach::Kafka(reach)) => Ok(Box::new(kafka::KafkaSink::new(name, settings, reach, own)?)),
        Some(Reach::Nats(reach)) => Ok(Box::new(nats::NatsSink::new(name, settings, reach)?)),
        Some(Reach::Notice(_)) => Ok(Box::new(notice::NoticeSink::open(name)?)),
        Some(Reach::Otlp(reach)) => Ok(Box::new(otlp::OtlpSink::new(name, settings, reach, own)?)),
        Some(Reach::Sentinel(reach)) => Ok(Box::new(sentinel::Sentinel::new(name, settings, reach, own)?)),
        Some(Reach::Syslog(reach)) => Ok(Box::new(syslog::SyslogSink::open(name, settings, reach, own)?)),
        Some(Reach::Webhook(reach)) => Ok(Box::new(webhook::Webhook::new(name, settings, reach, own)?)),
    }
}
