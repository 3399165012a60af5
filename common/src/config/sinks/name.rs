//! Names of sinks: a folder of the spool and a label of figures are named after them.

use serde::{Deserialize, Deserializer, Serialize};

/// Longest name, in bytes.
const MAX_BYTES: usize = 32;

/// A sink's name: lower-case letters, digits and `-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SinkName(String);

impl SinkName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SinkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for SinkName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.len() > MAX_BYTES
            || !text.starts_with(|c: char| c.is_ascii_lowercase())
            || !text.chars().all(fits)
        {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            let error = format_args!(
                "`{shown}` is no name of a sink: at most {MAX_BYTES} of a-z, 0-9 and -, beginning with a letter"
            );
            return Err(serde::de::Error::custom(error));
        }
        Ok(Self(text))
    }
}
