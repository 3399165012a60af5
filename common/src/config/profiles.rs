//! `[profiles]`: programs that tick by nature.

use serde::{Deserialize, Serialize};

use super::text::Place;

/// Which profiles are used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileSettings {
    /// Whether the profiles that come with Sonde are used. Default true.
    pub builtin: bool,
    /// Folder of further ones, absolute. Default "/etc/sonde/profiles.d"; one that is not there is no error.
    pub dir: Place,
}

impl Default for ProfileSettings {
    fn default() -> Self {
        Self { builtin: true, dir: Place::of("/etc/sonde/profiles.d") }
    }
}
