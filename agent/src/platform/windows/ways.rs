//! What the sensor tries on Windows, best first: event tracing, then the tables; Npcap where it is installed.

use sonde_common::config::{CaptureMode, LayerChoice};

use super::etw::EtwLayer;
use super::poll::PollLayer;
use super::privileges::Needs;
use super::wpcap::WpcapSource;
use crate::live::layer::{Layer, LayerWay, OpenLayer, OpenPackets, PacketWay, SourceOptions, Way};

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
    OpenLayer { layer: Box::new(layer), meter: None, datagrams, unavailable: Vec::new(), needs: Needs::default() }
}

/// The ways to packets.
#[must_use]
pub fn packets() -> Vec<PacketWay> {
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
