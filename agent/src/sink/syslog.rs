//! Syslog, RFC 5424: by UDP (RFC 5426), TCP (RFC 6587, octet counting) or TLS (RFC 5425).
//!
//! None of them has receipts. By TCP and TLS a record counts as delivered when the other side's system has taken its bytes,
//! which is not yet its program: what was sent lately is kept and sent again when a connection dies (see `link`). By UDP it
//! counts when it was sent.

mod datagrams;
mod link;

use std::future::Future;
use std::io;
use std::pin::Pin;

use sonde_common::config::{SinkName, SinkSettings, SyslogSettings, TlsSettings};
use sonde_common::encode::syslog::{Content, Facility, Sender, append, frame};
use sonde_common::record::Record;

use self::datagrams::Datagrams;
use self::link::Link;
use super::dial::Dialer;
use super::own::OwnSockets;
use super::target::{self, Scheme};
use super::{Delivering, Delivery, Outcome, SetupError, Sink};

const SCHEMES: [Scheme; 3] = [
    Scheme { name: "udp", port: Some(514), secure: false },
    Scheme { name: "tcp", port: Some(601), secure: false },
    Scheme { name: "tls", port: Some(6_514), secure: true },
];

/// A syslog receiver.
#[derive(Debug)]
pub(super) struct SyslogSink {
    sender: Sender,
    content: Content,
    /// Longest message, in bytes.
    limit: usize,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Datagrams(Datagrams),
    Link(Box<Link>),
}

impl SyslogSink {
    /// Sets it up; nothing is connected yet.
    pub(super) fn open(
        name: &SinkName,
        settings: &SinkSettings,
        syslog: &SyslogSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason: String| SetupError { sink: name.clone(), reason };
        let at = target::parse("syslog.url", &syslog.url, &SCHEMES).map_err(error)?;
        if at.path != "/" {
            return Err(error("syslog.url has a path, which syslog does not".to_owned()));
        }
        let (way, limit) = if at.scheme == "udp" {
            if settings.tls != TlsSettings::default() {
                return Err(error("its tls table is set, but its URL is udp://: use tls://".to_owned()));
            }
            if settings.proxy != SinkSettings::default().proxy {
                return Err(error("its proxy is set, but a proxy does not pass on UDP".to_owned()));
            }
            (Way::Datagrams(Datagrams::new(at.host, at.port, own)), syslog.udp_bytes.size())
        } else {
            let dialer = Dialer::new(name, settings, at.secure, own)?;
            let link = Link::new(dialer, at.host, at.port, settings, syslog);
            (Way::Link(Box::new(link)), syslog.max_bytes.size())
        };
        Ok(Self { sender: sender(syslog.facility), content: syslog.format, limit, way })
    }

    /// The records as messages, and how many had to be cut.
    fn messages(&self, batch: &[Record]) -> (Vec<String>, usize) {
        let mut cut = 0;
        let messages = batch
            .iter()
            .map(|record| {
                let mut message = String::new();
                cut += usize::from(append(record, &self.sender, self.content, self.limit, &mut message));
                message
            })
            .collect();
        (messages, cut)
    }
}

fn sender(facility: Facility) -> Sender {
    Sender {
        facility,
        host: sysinfo::System::host_name().unwrap_or_default(),
        app: "sonde".to_owned(),
        process: std::process::id().to_string(),
    }
}

impl Sink for SyslogSink {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(async move {
            let (messages, cut) = self.messages(batch);
            let cut = if cut == 0 { String::new() } else { format!("; {cut} too long, cut") };
            let sent: io::Result<String> = match &mut self.way {
                Way::Datagrams(way) => way.send(&messages).await,
                Way::Link(link) => {
                    let frames = messages.iter().map(|message| {
                        let mut bytes = Vec::with_capacity(message.len() + 8);
                        frame(message, &mut bytes);
                        bytes
                    });
                    link.send(frames.collect()).await
                }
            };
            match sent {
                Ok(said) => Delivery::all(&Outcome::Acknowledged, batch.len(), said + &cut),
                Err(error) => {
                    let reason = error.to_string();
                    Delivery::all(&Outcome::Retry(reason.clone()), batch.len(), reason)
                }
            }
        })
    }

    fn close(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if let Way::Link(link) = &mut self.way
                && let Err(error) = link.close().await
            {
                tracing::warn!(%error, "a syslog receiver did not confirm the end of its connection");
            }
        })
    }
}
