//! Where a secret is: never in the configuration itself, which is shown and copied around, and never in an argument.

use serde::{Deserialize, Serialize};

use crate::config::text::Place;

/// Where a secret is read from, each time it is needed, so that a new one is taken up without a restart. At most one may be
/// set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
