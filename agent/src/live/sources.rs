//! Chooses where the sensor's knowledge comes from: the best layer and packet source that work here, or the ones that were
//! asked for. What does not work is named with its reason and remedy.

use sonde_common::config::{CaptureMode, LayerChoice};
use sonde_common::live::{LiveEvent, Unavailable};
use sonde_common::time::Timestamp;
use tracing::{info, warn};

use super::layer::{Layer, PacketSource};
use crate::platform::ebpf::{EbpfLayer, EbpfOptions};
//N use crate::platform::netlink::{ExchangeMeter, NetlinkLayer, NetlinkOptions, PollLayer};
use crate::platform::packets;
use crate::platform::packets::{PnetSource, Ring, RingOptions};
pub struct ExchangeMeter;
impl ExchangeMeter {
    pub fn new(_: Timestamp) -> Self {
        Self
    }
    pub fn drain(&mut self, _: Timestamp, _: &mut Vec<LiveEvent>) {}
}

/// Events that the netlink layer queues between two drains: an eighth of a second at 100,000 connections a second.
const NETLINK_QUEUE: usize = 16_384;

/// Everything that the sensor drains.
#[expect(missing_debug_implementations, reason = "it holds trait objects")]
pub struct Sources {
    /// Tells of sockets and processes.
    pub layer: Option<Box<dyn Layer>>,
    /// Tells of exchanges inside connections, where the layer does not.
    pub meter: Option<ExchangeMeter>,
    /// Whether sockets tell of datagrams.
    pub datagrams: bool,
    /// Hands out packets.
    pub packets: Option<Box<dyn PacketSource>>,
    /// Connections that were there before.
    pub seed: Vec<LiveEvent>,
    /// What does not work here.
    pub unavailable: Vec<Unavailable>,
}

/// How to open them.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which layer.
    pub layer: LayerChoice,
    /// Bytes of the kernel's buffer for its events.
    pub layer_bytes: u64,
    /// Which packets.
    pub capture: CaptureMode,
    /// Bytes of the packet ring.
    pub ring_bytes: u64,
    /// The wall clock's time of the start of the machine.
    pub boot: Timestamp,
}

impl Sources {
    /// Opens what is wanted.
    ///
    /// # Errors
    /// If what was asked for by name does not work, or nothing at all does: a sensor that sees nothing must not look as if it
    /// did.
    pub fn open(wanted: &Wanted) -> Result<Self, Vec<Unavailable>> {
        let mut sources = Self {
            layer: None,
            meter: None,
            datagrams: false,
            packets: None,
            seed: Vec::new(),
            unavailable: Vec::new(),
        };
        // Packets first: what the layer's self-test calls is on loopback and seen by nobody.
        sources.open_packets(wanted);
        sources.open_layer(wanted);
        let asked_for_layer = wanted.layer != LayerChoice::Auto && sources.layer.is_none();
        let asked_for_packets =
            !matches!(wanted.capture, CaptureMode::Auto | CaptureMode::None) && sources.packets.is_none();
        if asked_for_layer || asked_for_packets || (sources.layer.is_none() && sources.packets.is_none()) {
            return Err(sources.unavailable);
        }
        //N        sources.seed = netlink::seed(wanted.boot);
        Ok(sources)
    }

    fn open_layer(&mut self, wanted: &Wanted) {
        let tries = |choice| wanted.layer == LayerChoice::Auto || wanted.layer == choice;
        let ring_bytes = u32::try_from(wanted.layer_bytes).unwrap_or(u32::MAX);
        if tries(LayerChoice::Ebpf) {
            match EbpfLayer::open(&EbpfOptions { ring_bytes, boot: wanted.boot }) {
                Ok(layer) => {
                    self.datagrams = layer.tells_datagrams();
                    let exchanges = layer.tells_exchanges();
                    self.set_layer(Box::new(layer));
                    if !exchanges {
                        self.meter = Some(ExchangeMeter::new(wanted.boot));
                    }
                    return;
                }
                Err(reason) => self.lose(reason),
            }
        }
        /*N        if tries(LayerChoice::Netlink) {
                    match NetlinkLayer::open(&NetlinkOptions { boot: wanted.boot, queue: NETLINK_QUEUE }) {
                        Ok(layer) => return self.set_layer(Box::new(layer)),
                        Err(reason) => self.lose(reason),
                    }
                }
                if tries(LayerChoice::Poll) {
                    match PollLayer::open(wanted.boot) {
                        Ok(layer) => self.set_layer(Box::new(layer)),
                        Err(reason) => self.lose(reason),
                    }
                }
        N*/
    }

    fn set_layer(&mut self, layer: Box<dyn Layer>) {
        info!(layer = ?layer.method(), "attribution is active");
        self.unavailable.extend_from_slice(layer.unavailable());
        self.layer = Some(layer);
    }

    fn open_packets(&mut self, wanted: &Wanted) {
        let tries = |mode| wanted.capture == CaptureMode::Auto || wanted.capture == mode;
        if tries(CaptureMode::Ring) {
            match Ring::open(&RingOptions {
                bytes: usize::try_from(wanted.ring_bytes).unwrap_or(usize::MAX),
                ..RingOptions::default()
            }) {
                Ok(ring) => return self.set_packets(Box::new(ring)),
                Err(reason) => self.lose(reason),
            }
        }
        if tries(CaptureMode::Pnet) {
            match PnetSource::open() {
                Ok(source) => self.set_packets(Box::new(source)),
                Err(reason) => self.lose(reason),
            }
        }
    }

    fn set_packets(&mut self, packets: Box<dyn PacketSource>) {
        info!(source = packets.name(), "packets are captured");
        self.unavailable.extend_from_slice(packets.unavailable());
        self.packets = Some(packets);
    }

    fn lose(&mut self, reason: Unavailable) {
        warn!(lost = reason.what, reason = reason.reason, remedy = reason.remedy, "not available here");
        self.unavailable.push(reason);
    }
}

/// The machine's addresses, as they are now.
#[must_use]
pub fn addresses() -> Vec<std::net::IpAddr> {
    packets::interfaces()
        .into_iter()
        .flat_map(|interface| interface.addresses)
        .map(|(address, _)| address)
        .collect()
}
