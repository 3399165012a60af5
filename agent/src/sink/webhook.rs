//! JSON to a URL, one call for each record: chat tools, and whatever else takes a POST.
//!
//! What the body looks like is said by a template of JSON; that of a chat tool is small, and names nothing that the tool would
//! act upon.

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use sonde_common::config::{SinkName, SinkSettings, WebhookSettings};
use sonde_common::record::Record;

use self::template::Template;
use super::batch::Parts;
use super::http::{HttpClient, Reply, Request};
use super::own::OwnSockets;
use super::{Delivering, Delivery, Outcome, SetupError, Sink, secret};

mod template;

/// Largest answer that is read: only its status counts.
const MAX_REPLY_BYTES: usize = 16 << 10;

/// A URL that takes JSON.
#[derive(Debug)]
pub(super) struct Webhook {
    name: SinkName,
    settings: SinkSettings,
    own: OwnSockets,
    /// The client, and the URL that it is for.
    client: HttpClient,
    url: zeroize::Zeroizing<String>,
    /// `None`: the record as it is.
    template: Option<Template>,
}

impl Webhook {
    pub(super) fn new(
        name: &SinkName,
        settings: &SinkSettings,
        webhook: &WebhookSettings,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason| SetupError { sink: name.clone(), reason };
        let template = match webhook.template.as_str() {
            "" | "native" => None,
            other => Some(Template::of(other).map_err(|e| error(format!("webhook.template: {e}")))?),
        };
        let url = url(webhook).map_err(error)?;
        let client = HttpClient::new(name, settings, own, "webhook.url", &url, MAX_REPLY_BYTES)?;
        Ok(Self { name: name.clone(), settings: settings.clone(), own: own.clone(), client, url, template })
    }

    /// Takes up another URL, if the secret is another by now.
    fn refresh(&mut self) -> Result<(), String> {
        let Some(webhook) = &self.settings.webhook else { return Ok(()) };
        let url = url(webhook)?;
        if url != self.url {
            let client =
                HttpClient::new(&self.name, &self.settings, &self.own, "webhook.url", &url, MAX_REPLY_BYTES);
            self.client = client.map_err(|error| error.reason)?;
            self.url = url;
        }
        Ok(())
    }

    async fn ship(&mut self, batch: &[Record]) -> Delivery {
        if let Err(reason) = self.refresh() {
            return Delivery::all(&Outcome::Retry(reason.clone()), batch.len(), reason);
        }
        let mut parts = Parts::of(batch.len());
        let (mut retry_after, mut said) = (None, String::new());
        for (at, record) in batch.iter().enumerate() {
            let body = match &self.template {
                None => Ok(Bytes::copy_from_slice(&record.body)),
                Some(template) => template.fill(record).map(Bytes::from),
            };
            let outcome = match body {
                Err(reason) => Outcome::Refused(reason),
                Ok(body) => match self.client.send(self.request(body)).await {
                    Ok(reply) => {
                        retry_after = reply.retry_after;
                        said = reply.said();
                        judge(&reply)
                    }
                    Err(error) => {
                        said = error.to_string();
                        Outcome::Retry(said.clone())
                    }
                },
            };
            if let Outcome::Retry(reason) = &outcome {
                // The next would fare no better, and order is kept.
                parts.rest(reason);
                break;
            }
            parts.set(at, outcome);
        }
        parts.delivery(retry_after, said)
    }

    fn request(&self, body: Bytes) -> Request {
        Request {
            method: Method::POST,
            path: self.client.target().path.clone(),
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body,
            // Chat tools do not unpack.
            gzip: self.settings.gzip && self.template.is_none(),
        }
    }
}

impl Sink for Webhook {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(self.ship(batch))
    }
}

fn url(webhook: &WebhookSettings) -> Result<zeroize::Zeroizing<String>, String> {
    if webhook.secret_url.is_set() {
        secret::read(&webhook.secret_url).map_err(|error| format!("webhook.secret_url: {error}"))
    } else {
        Ok(zeroize::Zeroizing::new(webhook.url.clone()))
    }
}

/// What an answer says of a record. What only says that the URL is not valid, or not any more, is for later: the operator can
/// mend it.
fn judge(reply: &Reply) -> Outcome {
    match reply.status.as_u16() {
        200..=299 => Outcome::Acknowledged,
        400 | 402 | 405..=407 | 409..=424 | 426..=428 | 430..=499 => Outcome::Refused(reply.said()),
        _ => Outcome::Retry(reply.said()),
    }
}

#[cfg(test)]
#[cfg(feature = "linux-tests")]
mod tests;
