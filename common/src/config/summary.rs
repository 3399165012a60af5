//! `[summary]`: what the live sensor sums up for a fleet.

use serde::{Deserialize, Serialize};

use super::amount::Whole;

/// How often what the host does is summed up, and how much of it is told. Only where a sink takes `summary` records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SummarySettings {
    /// Seconds of one interval. Default 3,600, from 60 to 86,400.
    pub interval_secs: SummaryInterval,
    /// Most destinations of an interval that have a record of their own, beside those with a scored rhythm, which all have
    /// one. Default 500, from 0 to 10,000. The rest is counted.
    pub destinations: SummaryDestinations,
}

/// Seconds of one interval.
pub type SummaryInterval = Whole<3_600, 60, 86_400>;
/// Destinations that have a record of their own.
pub type SummaryDestinations = Whole<500, 0, 10_000>;
