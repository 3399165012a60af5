//! `[sinks.NAME.kafka]`: Kafka, by an idempotent producer.

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::stream_names::{HostPort, Topic};

/// Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// First brokers, as `host:port`, at most 16. The others are learnt from them.
    pub brokers: Vec<HostPort>,
    /// Topic, which has to exist: none is made. Default `sonde`.
    pub topic: Topic,
    /// Whether brokers are reached by TLS. Default false.
    pub secure: bool,
    /// How we prove who we are, where a user is given. Default `scram-sha-512`, which never shows the password.
    pub mechanism: KafkaMechanism,
    /// User of SASL; empty: none is wanted.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// How a user is proved (SASL).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KafkaMechanism {
    /// The password itself is sent: for connections by TLS.
    Plain,
    /// SCRAM with SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM with SHA-512.
    #[default]
    ScramSha512,
}
