//! The ways to sockets, processes and packets that Windows offers, best first.

use std::net::IpAddr;

use sonde_common::config::LayerChoice;
use sonde_common::live::{LiveEvent, Unavailable};
use sonde_common::time::Timestamp;

use super::privileges;
use crate::live::layer::{Aid, LayerWay, Looked, PacketWay, SourceOptions, Way};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its addresses, each with the length of its prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it leads back to this host.
    pub loopback: bool,
}

/// The ways to sockets and processes: none yet, which a sensor that is started says.
#[must_use]
pub fn layers(_options: &SourceOptions) -> Vec<LayerWay> {
    vec![Way {
        choice: LayerChoice::Poll,
        name: "poll",
        cost: "a reading of all sockets each second",
        without: "connections have no process",
        open: Box::new(|| {
            Err(Unavailable {
                what: "sockets and their processes".to_owned(),
                reason: "this version of Sonde cannot see them on Windows".to_owned(),
                remedy: "replay captures and logs with it (sonde replay), such as Sysmon's".to_owned(),
            })
        }),
    }]
}

/// The ways to packets: none yet.
#[must_use]
pub fn packets(_options: &SourceOptions) -> Vec<PacketWay> {
    Vec::new()
}

/// Connections that were there before.
#[must_use]
pub fn seed(_boot: Timestamp) -> Vec<LiveEvent> {
    Vec::new()
}

/// The machine's interfaces.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    Vec::new()
}

/// What helps the sources.
pub const AIDS: &[Aid] = &[Aid {
    name: "administrator",
    cost: "nothing",
    without: "processes of other accounts are known by their number alone",
    look: administrator,
}];

fn administrator() -> Looked {
    let account = privileges::account().unwrap_or_else(|| "an account without a name".to_owned());
    if privileges::elevated() {
        return Ok((format!("runs as {account}, with an administrator's rights"), Vec::new()));
    }
    Err(Unavailable {
        what: "administrator".to_owned(),
        reason: format!("runs as {account}, without an administrator's rights"),
        remedy: "run it as a service, or in a terminal that was started as administrator".to_owned(),
    })
}
