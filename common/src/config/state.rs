//! `[state]`: what the live sensor remembers over a restart.

use serde::{Deserialize, Serialize};

use super::amount::Whole;
use super::text::Place;

/// What is remembered, so that a restart or reboot does not begin a slow beacon's count anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateSettings {
    /// Folder of the state, absolute. Default "/var/lib/sonde"; empty: nothing is kept. It takes about as much room as
    /// `limits.memory` at the most, twice while it is written.
    pub dir: Place,
    /// Seconds between two savings. Default 300, from 10 to 86,400; it is saved at the end, too. As much can be lost to a
    /// crash or power cut.
    pub interval_secs: SaveInterval,
}

/// Seconds between two savings.
pub type SaveInterval = Whole<300, 10, 86_400>;

impl Default for StateSettings {
    fn default() -> Self {
        Self { dir: Place::of("/var/lib/sonde"), interval_secs: SaveInterval::default() }
    }
}
