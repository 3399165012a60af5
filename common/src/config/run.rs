//! `[run]`: as whom the live sensor runs.

use serde::{Deserialize, Serialize};

use super::text::Account;

/// As whom the live sensor runs once its sources are open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunSettings {
    /// Account that the sensor changes to once its sources are open; it keeps the few capabilities that it goes on to need.
    /// Default none: it stays as it was started. The state's folder has to belong to that account.
    pub user: Account,
    /// Whether system calls that the sensor does not need are refused to it from then on, on Linux. Default yes.
    pub filter: bool,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self { user: Account::default(), filter: true }
    }
}
