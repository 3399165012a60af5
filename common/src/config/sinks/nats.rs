//! `[sinks.NAME.nats]`: NATS JetStream.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// NATS JetStream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// Servers, such as `tls://nats.example:4222`.
    pub urls: Vec<String>,
    /// Begin of the subjects: records go to `SUBJECT.alert`, `SUBJECT.summary`, …
    pub subject: String,
    /// User, where a password is used.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// A credentials file (.creds).
    pub credentials: Secret,
}
