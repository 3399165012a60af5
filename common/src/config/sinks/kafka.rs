//! `[sinks.NAME.kafka]`: Kafka, by an idempotent producer.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// First brokers, as `host:port`.
    pub brokers: Vec<String>,
    /// Topic.
    pub topic: String,
    /// Whether brokers are reached by TLS.
    pub secure: bool,
    /// User of SASL, where one is wanted.
    pub user: String,
    /// Its password.
    pub password: Secret,
}
