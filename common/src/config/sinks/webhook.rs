//! `[sinks.NAME.webhook]`: JSON to a URL, such as that of a chat tool.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// A URL that takes JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// The URL, where it is no secret.
    pub url: String,
    /// The URL, where knowing it is enough to post.
    pub secret_url: Secret,
    /// `slack`, `teams`, `native`, or a template of JSON with `{{…}}` for fields. Default `native`: the record as it is.
    pub template: String,
}

impl WebhookSettings {
    /// What is wrong between the keys, if anything is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match (!self.url.is_empty(), self.secret_url.is_set()) {
            (false, false) => Some("webhook needs a URL: set webhook.url or webhook.secret_url"),
            (true, true) => Some("webhook.url and webhook.secret_url are set: set only one"),
            _ => None,
        }
    }
}
