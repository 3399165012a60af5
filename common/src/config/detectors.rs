//! `[detectors]`: which of the three prongs are on.

use serde::{Deserialize, Serialize};

/// The prongs, each with its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorSettings {
    /// Regular callbacks, of every class. Default true.
    pub beacons: bool,
    /// Destinations on the user's feeds. Default true.
    pub indicators: bool,
    /// Suspicious names, answers and resolvers. Default true.
    pub dns: bool,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self { beacons: true, indicators: true, dns: true }
    }
}
