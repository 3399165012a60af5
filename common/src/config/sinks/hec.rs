//! `[sinks.NAME.hec]`: Splunk's HTTP event collector.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Splunk's HTTP event collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HecSettings {
    /// Such as `https://splunk.example:8088`.
    pub url: String,
    /// The token.
    pub token: Secret,
    /// Index; empty: the default of the token.
    pub index: String,
    /// Whether to wait until the indexers acknowledge, which the token has to allow.
    pub acknowledgement: bool,
}
