//! Where a secret is: never in the configuration itself, which is shown and copied around, and never in an argument.

use serde::{Deserialize, Deserializer, Serialize};

use crate::config::text::Place;

/// Longest name of a credential or of a variable, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Where a secret is read from, each time it is needed, so that a new one is taken up without a restart. At most one may be
/// set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// A file that holds it, absolute; what follows the first line's end is not read. It may be readable by its owner and
    /// group alone.
    pub file: Place,
    /// The name of a systemd credential (`LoadCredential=`), which is a file in `$CREDENTIALS_DIRECTORY`.
    pub credential: String,
    /// The name of an environment variable.
    pub env: String,
}

impl Secret {
    /// Whether one is named at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.file.get().is_some() || !self.credential.is_empty() || !self.env.is_empty()
    }
}

/// As it stands in the file, not checked yet.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table that names file, credential or env")]
struct Named {
    file: Place,
    credential: String,
    env: String,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Named { file, credential, env } = Named::deserialize(deserializer)?;
        let set = [file.get().is_some(), !credential.is_empty(), !env.is_empty()];
        if set.into_iter().filter(|set| *set).count() > 1 {
            let error = "a secret comes from one place: set only one of file, credential and env";
            return Err(serde::de::Error::custom(error));
        }
        // A name with a slash would lead out of the folder of credentials.
        let fits = |name: &str| {
            name.len() <= MAX_NAME_BYTES
                && !name.starts_with('.')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        for (key, name) in [("credential", &credential), ("env", &env)] {
            if !fits(name) {
                let shown: String = name.chars().take(80).flat_map(char::escape_default).collect();
                let error = format_args!(
                    "`{shown}` is no name for {key}: letters, digits, _, - and . only (the name, not the secret itself)"
                );
                return Err(serde::de::Error::custom(error));
            }
        }
        Ok(Self { file, credential, env })
    }
}
