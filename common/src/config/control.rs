//! `[control]`: how others talk to the live sensor.

use serde::{Deserialize, Serialize};

use super::text::{Account, Place};

/// The local socket that `sonde status`, `beacons`, `alerts`, `explain`, `allow` and `top` talk to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    /// The socket, an absolute path of at most 107 bytes. Default "/run/sonde/control.sock"; empty: no socket, and the
    /// sensor cannot be asked.
    pub socket: Place,
    /// Group whose members may read: status, beacons, alerts. Default none: only root and the sensor's own account. What is
    /// known-good is changed by these two alone.
    pub group: Account,
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self { socket: Place::of("/run/sonde/control.sock"), group: Account::default() }
    }
}
