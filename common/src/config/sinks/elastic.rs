//! `[sinks.NAME.elastic]`: Elasticsearch or OpenSearch, by `_bulk`.

use serde::{Deserialize, Deserializer, Serialize};

use super::secret::Secret;

/// Longest name of an index, in bytes: Elasticsearch takes 255.
const MAX_INDEX_BYTES: usize = 255;

/// Elasticsearch or OpenSearch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ElasticSettings {
    /// Such as `https://es.example:9200`; a path is kept before `/_bulk`.
    pub url: String,
    /// Index or data stream. Default `sonde-alerts`.
    pub index: Index,
    /// User, where a password is used.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// API key, as Elasticsearch gives it out (base64 of id:key), instead of user and password.
    pub api_key: Secret,
}

/// Name of an index or a data stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Index(String);

impl Index {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Index {
    fn default() -> Self {
        Self("sonde-alerts".to_owned())
    }
}

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What the server refuses, and what would lead out of the URL's path.
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        // A hidden index (of the server's own or of a data stream) begins with a dot, and `..` is none.
        let begins = begins || (text.starts_with('.') && !text.starts_with("..") && text.len() > 1);
        if text.len() > MAX_INDEX_BYTES || !begins || !text.chars().all(fits) {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            let error = format_args!("`{shown}` is no name of an index: a-z, 0-9, -, _ and . only");
            return Err(serde::de::Error::custom(error));
        }
        Ok(Self(text))
    }
}

impl ElasticSettings {
    /// What is wrong between the keys, if anything is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match (!self.user.is_empty(), self.password.is_set(), self.api_key.is_set()) {
            (true, false, _) => Some("elastic.user needs elastic.password"),
            (false, true, _) => Some("elastic.password needs elastic.user"),
            (true, true, true) => Some("elastic.user and elastic.api_key are two ways in: set only one"),
            _ if self.user.contains(':') || self.user.chars().any(char::is_control) => {
                Some("elastic.user holds a colon or control characters")
            }
            _ => None,
        }
    }
}
