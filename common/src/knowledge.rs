//! What people told Sonde beside its settings: feeds, profiles. All engines share one [`Knowledge`]; a change makes a new
//! one, which takes its place as a whole.

use std::sync::Arc;

use crate::config::DetectorSettings;
use crate::feed;
use crate::profile::Profiles;

/// What detection draws on.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Which detectors are on.
    pub detectors: DetectorSettings,
    /// Indicators of known-bad infrastructure.
    pub feeds: Arc<feed::Index>,
    /// Programs that tick by nature.
    pub profiles: Arc<Profiles>,
}
