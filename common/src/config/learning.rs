//! `[learning]`: how a host learns what is new on it.

use serde::{Deserialize, Serialize};

use super::amount::Whole;

/// How a host learns what is new on it, where its source has no history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningSettings {
    /// Days of watching for which nothing is called new, since nothing is known yet. Default 7, from 0 (everything is new at
    /// once) to 90. Alerts are made all the same; they say what is not known yet.
    pub period_days: PeriodDays,
}

/// Days of watching.
pub type PeriodDays = Whole<7, 0, 90>;
