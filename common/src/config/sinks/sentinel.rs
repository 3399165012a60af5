//! `[sinks.NAME.sentinel]`: Microsoft Sentinel's Logs Ingestion API.

use serde::{Deserialize, Deserializer, Serialize};

use super::secret::Secret;

/// Longest id of a rule, a tenant or a client, in bytes: `dcr-` and a GUID take forty; a tenant may be named by a domain.
const MAX_ID_BYTES: usize = 255;
/// Longest name of a stream, in bytes.
const MAX_STREAM_BYTES: usize = 128;
/// How every stream of a custom table begins.
const CUSTOM: &str = "Custom-";

/// Microsoft Sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SentinelSettings {
    /// Logs ingestion endpoint of the data collection rule or endpoint. https, or http to loopback.
    pub url: String,
    /// Immutable id of the data collection rule (`dcr-…`).
    pub rule: String,
    /// Tenant; empty: a managed identity is used.
    pub tenant: String,
    /// Application (client) id; with a managed identity that of a user-assigned one.
    pub client: String,
    /// Its secret.
    pub secret: Secret,
    /// Where tokens are given out. Default that of the public cloud. https, or http to loopback.
    pub authority: String,
    /// What tokens are asked for. Default that of the public cloud; of a managed identity what stands before `/.default`.
    pub scope: String,
    /// Where a managed identity is asked for. Default that of Azure's machines; on those that Azure Arc connects
    /// `http://localhost:40342/metadata/identity/oauth2/token`. Only these two hosts are taken, and the other names of loopback.
    pub identity_url: String,
    /// Stream of alerts. Default `Custom-SondeAlert_CL`.
    pub alert_stream: Stream,
    /// Stream of summaries. Default `Custom-SondeSummary_CL`.
    pub summary_stream: Stream,
    /// Stream of health and audit. Default `Custom-SondeSensor_CL`.
    pub sensor_stream: Stream,
}

impl Default for SentinelSettings {
    fn default() -> Self {
        let stream = |name: &str| Stream(name.to_owned());
        Self {
            url: String::new(),
            rule: String::new(),
            tenant: String::new(),
            client: String::new(),
            secret: Secret::default(),
            authority: "https://login.microsoftonline.com".to_owned(),
            // Two slashes: what is asked for is `https://monitor.azure.com/`.
            scope: "https://monitor.azure.com//.default".to_owned(),
            identity_url: "http://169.254.169.254/metadata/identity/oauth2/token".to_owned(),
            alert_stream: stream("Custom-SondeAlert_CL"),
            summary_stream: stream("Custom-SondeSummary_CL"),
            sensor_stream: stream("Custom-SondeSensor_CL"),
        }
    }
}

/// Name of a stream: `Custom-` and letters, digits, `_`, `-`, which stand in a URL as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Stream(String);

impl Stream {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = text.strip_prefix(CUSTOM).unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || text.len() > MAX_STREAM_BYTES || !name.chars().all(fits) {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            let error = format_args!("`{shown}` is no stream: Custom- and letters, digits, _ and -");
            return Err(serde::de::Error::custom(error));
        }
        Ok(Self(text))
    }
}

impl SentinelSettings {
    /// What is wrong between the keys, if anything is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let plain = |id: &str, more: &[char]| {
            id.len() <= MAX_ID_BYTES && id.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
        };
        if !self.rule.starts_with("dcr-") || !plain(&self.rule, &['-']) {
            return Some(
                "sentinel.rule has to be the immutable id of the data collection rule, dcr- and hexadecimal digits",
            );
        }
        if !plain(&self.tenant, &['-', '.']) || self.tenant.starts_with('.') {
            return Some("sentinel.tenant has to be the id of a tenant or one of its domains");
        }
        if !plain(&self.client, &['-']) {
            return Some("sentinel.client has to be the id of an application or an identity");
        }
        match (self.tenant.is_empty(), self.client.is_empty(), self.secret.is_set()) {
            (false, true, _) => Some("sentinel.tenant needs sentinel.client, the application's id"),
            (false, false, false) => Some("sentinel.client needs sentinel.secret"),
            (true, _, true) => {
                Some("sentinel.secret needs sentinel.tenant; a managed identity has no secret")
            }
            _ if !self.scope.ends_with("/.default") => Some("sentinel.scope has to end in /.default"),
            _ => None,
        }
    }
}
