//! `[sinks.NAME.otlp]`: OpenTelemetry logs by HTTP.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// An OTLP receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpSettings {
    /// Such as `https://collector.example:4318/v1/logs`. Without a path it is `/v1/logs`.
    pub url: String,
    /// A bearer token, where one is wanted.
    pub token: Secret,
    /// A header that is sent besides, such as `api-key`; empty: none.
    pub header: String,
    /// Its value.
    pub header_value: Secret,
}
