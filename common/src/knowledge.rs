//! What people told Sonde beside its settings: feeds, profiles. All engines share one [`Knowledge`]; a change makes a new
//! one, which takes its place as a whole.

use std::sync::Arc;

use crate::config::{CommandLines, Config, DetectorSettings, LearningSettings};
use crate::feed;
use crate::hints;
use crate::profile::Profiles;

/// What detection draws on.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Which detectors are on.
    pub detectors: DetectorSettings,
    /// How the host learns what is new.
    pub learning: LearningSettings,
    /// How command lines are told.
    pub command_lines: CommandLines,
    /// Indicators of known-bad infrastructure.
    pub feeds: Arc<feed::Index>,
    /// Feeds may change later: what is seen is remembered, to be matched against what comes.
    pub feeds_may_change: bool,
    /// Which network an address belongs to.
    pub networks: Option<Arc<feed::Networks>>,
    /// What a fleet tells of what it sees.
    pub hints: Arc<hints::Table>,
    /// Programs that tick by nature.
    pub profiles: Arc<Profiles>,
}

impl Knowledge {
    /// What the settings alone say: no feeds and no profiles.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            detectors: config.detectors,
            learning: config.learning,
            command_lines: config.attribution.command_lines,
            ..Self::default()
        }
    }
}
