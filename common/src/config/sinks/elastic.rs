//! `[sinks.NAME.elastic]`: Elasticsearch or OpenSearch, by `_bulk`.

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// Elasticsearch or OpenSearch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElasticSettings {
    /// Such as `https://es.example:9200`.
    pub url: String,
    /// Index or data stream.
    pub index: String,
    /// User, where a password is used.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// API key, as Elasticsearch gives it out (base64 of id:key).
    pub api_key: Secret,
}
