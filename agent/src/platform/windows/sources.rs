//! The ways to sockets, processes and packets that Windows offers, best first.

use sonde_common::config::{CaptureMode, LayerChoice};
use sonde_common::live::{LiveEvent, Unavailable};
use sonde_common::time::Timestamp;

use super::etw::EtwLayer;
use super::poll::{self, PollLayer};
use super::privileges::{self, Needs};
use super::wpcap::WpcapSource;
use crate::live::layer::{
    Aid, Layer, LayerWay, Looked, OpenLayer, OpenPackets, PacketWay, SourceOptions, Way,
};

pub use super::interfaces::interfaces;
pub use crate::platform::neutral::Interface;

/// The ways to sockets and processes.
#[must_use]
pub fn layers(options: &SourceOptions) -> Vec<LayerWay> {
    let bytes = options.layer_bytes;
    vec![
        Way {
            choice: LayerChoice::Etw,
            name: "etw",
            cost: "a record for each transfer, read by a thread",
            without: "connections have a process only if they live for a second, and datagrams have none",
            open: Box::new(move || EtwLayer::open(bytes).map(|layer| alone(layer, true))),
        },
        Way {
            choice: LayerChoice::Poll,
            name: "poll",
            cost: "a reading of all TCP sockets each second",
            without: "connections have no process",
            open: Box::new(|| PollLayer::open().map(|layer| alone(layer, false))),
        },
    ]
}

fn alone(layer: impl Layer + 'static, datagrams: bool) -> OpenLayer {
    let needs = Needs::default();
    OpenLayer { layer: Box::new(layer), meter: None, datagrams, unavailable: Vec::new(), needs }
}

/// The ways to packets.
#[must_use]
pub fn packets(_options: &SourceOptions) -> Vec<PacketWay> {
    vec![Way {
        choice: CaptureMode::Npcap,
        name: "npcap",
        cost: "a copy of every packet: much of a processor on a busy host",
        without: "connections have no names but those that the system resolved",
        open: Box::new(|| {
            Ok(OpenPackets { source: Box::new(WpcapSource::open()?), needs: Needs::default() })
        }),
    }]
}

/// Connections that were there before.
#[must_use]
pub fn seed(_boot: Timestamp) -> Vec<LiveEvent> {
    poll::seed()
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
