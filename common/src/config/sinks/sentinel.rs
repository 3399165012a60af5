//! `[sinks.NAME.sentinel]`: Microsoft Sentinel's Logs Ingestion API.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Microsoft Sentinel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SentinelSettings {
    /// Logs ingestion endpoint of the data collection endpoint or rule.
    pub url: String,
    /// Immutable id of the data collection rule (`dcr-…`).
    pub rule: String,
    /// Tenant; empty: a managed identity is used.
    pub tenant: String,
    /// Application (client) id; with a managed identity that of a user-assigned one.
    pub client: String,
    /// Its secret.
    pub secret: Secret,
}
