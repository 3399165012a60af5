//! `[alerts]`: what stands in an alert.

use serde::{Deserialize, Serialize};

use crate::guide::Guidance;

/// What stands in an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertSettings {
    /// How much guidance an alert carries as JSON: `full` (steps and queries, some 11 KB), `steps` (some 4 KB), `none`. Default
    /// `full`. Updates of an alert carry none.
    pub guidance: Guidance,
}
