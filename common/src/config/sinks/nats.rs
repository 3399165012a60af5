//! `[sinks.NAME.nats]`: NATS JetStream.

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::stream_names::Subject;

/// NATS JetStream. At most one of `user` with `password`, `token` and `credentials` may be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// Servers, such as `tls://nats.example:4222`, at most 16. They are tried in turn, beginning with any of them, so that
    /// many sensors spread. `nats://` is without TLS unless the server asks for it.
    pub urls: Vec<String>,
    /// Begin of the subjects: records go to `SUBJECT.alert`, `SUBJECT.summary`, …, which a stream has to take. Default
    /// `sonde`.
    pub subject: Subject,
    /// User, where a password is used.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// A token, where the server wants one.
    pub token: Secret,
    /// A credentials file (`.creds`): a JWT and the seed of the key that signs for it.
    pub credentials: Secret,
}
