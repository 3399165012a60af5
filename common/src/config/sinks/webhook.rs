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
    /// `slack`, `teams`, `native`, or a template of JSON with `{{…}}` for fields.
    pub template: String,
}
