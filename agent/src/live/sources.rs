//! Chooses where the sensor's knowledge comes from: the best layer and packet source that work here, or the ones that were
//! asked for. What does not work is named with its reason and remedy.

use std::net::IpAddr;

use sonde_common::config::{CaptureMode, Interface, LayerChoice};
use sonde_common::live::{LiveEvent, Unavailable};
use sonde_common::process::Method;
use sonde_common::time::Timestamp;
use tracing::{info, warn};

use super::health::{Health, Role};
use super::layer::{Layer, Meter, OpenLayer, OpenPackets, PacketSource, SourceOptions};
use crate::platform;
use crate::platform::privileges::Needs;

/// Events that a layer with a thread of its own queues between two drains: an eighth of a second at 100,000 connections a
/// second.
const LAYER_QUEUE: usize = 16_384;

/// Everything that the sensor drains.
#[expect(missing_debug_implementations, reason = "it holds trait objects")]
pub struct Sources {
    /// Tells of sockets and processes.
    pub layer: Option<Box<dyn Layer>>,
    /// Tells of exchanges inside connections, where the layer does not.
    pub meter: Option<Box<dyn Meter>>,
    /// Whether sockets tell of datagrams.
    pub datagrams: bool,
    /// Hands out packets.
    pub packets: Option<Box<dyn PacketSource>>,
    /// Connections that were there before.
    pub seed: Vec<LiveEvent>,
    /// What does not work here.
    pub unavailable: Vec<Unavailable>,
    /// What they go on to need.
    pub needs: Needs,
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
            needs: Needs::default(),
        };
        // Packets first: what the layer's self-test calls is on loopback and seen by nobody.
        let options = SourceOptions {
            layer_bytes: wanted.layer_bytes,
            ring_bytes: wanted.ring_bytes,
            queue: LAYER_QUEUE,
            boot: wanted.boot,
        };
        sources.open_packets(wanted.capture, &options);
        sources.open_layer(wanted.layer, &options);
        let asked_for_layer = wanted.layer != LayerChoice::Auto && sources.layer.is_none();
        let asked_for_packets =
            !matches!(wanted.capture, CaptureMode::Auto | CaptureMode::None) && sources.packets.is_none();
        if asked_for_layer || asked_for_packets || (sources.layer.is_none() && sources.packets.is_none()) {
            return Err(sources.unavailable);
        }
        sources.seed = platform::sources::seed(wanted.boot);
        Ok(sources)
    }

    /// Says what is in use, and what is lost.
    pub fn tell(&self, health: &mut Health) {
        if let Some(layer) = &self.layer {
            let name = layer.method().as_str();
            match layer.method() {
                Method::Poll => health.degraded(Role::Connections, name, "short connections are missed"),
                _ => health.active(Role::Connections, name),
            }
        }
        if let Some(packets) = &self.packets {
            match packets.name() {
                "pnet" => health.degraded(Role::Packets, "pnet", "what the kernel drops is not counted"),
                name => health.active(Role::Packets, name),
            }
        }
        for lost in &self.unavailable {
            health.lost(Role::Aid, lost);
        }
    }

    fn open_layer(&mut self, wanted: LayerChoice, options: &SourceOptions) {
        let ways = platform::sources::layers(options);
        if wanted != LayerChoice::Auto && ways.iter().all(|way| way.choice != wanted) {
            self.lose(not_here("layer", wanted.as_str(), ways.iter().map(|way| way.name)));
        }
        for way in ways {
            if wanted != LayerChoice::Auto && wanted != way.choice {
                continue;
            }
            match (way.open)() {
                Ok(OpenLayer { layer, meter, datagrams, unavailable, needs }) => {
                    info!(layer = layer.method().as_str(), "attribution is active");
                    self.unavailable.extend_from_slice(layer.unavailable());
                    self.layer = Some(layer);
                    (self.meter, self.datagrams) = (meter, datagrams);
                    self.needs |= needs;
                    unavailable.into_iter().for_each(|reason| self.lose(reason));
                    return;
                }
                Err(reason) => self.lose(reason),
            }
        }
    }

    fn open_packets(&mut self, wanted: CaptureMode, options: &SourceOptions) {
        let ways = platform::sources::packets(options);
        let any = matches!(wanted, CaptureMode::Auto | CaptureMode::None);
        if !any && ways.iter().all(|way| way.choice != wanted) {
            self.lose(not_here("capture", wanted.as_str(), ways.iter().map(|way| way.name)));
        }
        for way in ways {
            if wanted != CaptureMode::Auto && wanted != way.choice {
                continue;
            }
            match (way.open)() {
                Ok(OpenPackets { source, needs }) => {
                    info!(source = source.name(), "packets are captured");
                    self.unavailable.extend_from_slice(source.unavailable());
                    self.packets = Some(source);
                    self.needs |= needs;
                    return;
                }
                Err(reason) => self.lose(reason),
            }
        }
    }

    fn lose(&mut self, reason: Unavailable) {
        warn!(lost = reason.what, reason = reason.reason, remedy = reason.remedy, "not available here");
        self.unavailable.push(reason);
    }
}

/// What another system has.
fn not_here(what: &str, wanted: &str, ways: impl Iterator<Item = &'static str>) -> Unavailable {
    Unavailable {
        what: format!("{what} {wanted}"),
        reason: "this system has none of that name".to_owned(),
        remedy: format!("one of: auto, {}", ways.collect::<Vec<_>>().join(", ")),
    }
}

/// The machine's interfaces, as they are now.
#[derive(Debug)]
pub struct Interfaces {
    /// Addresses of all of them.
    pub addresses: Vec<IpAddr>,
    /// Numbers of those that are wanted; `None`: all.
    pub wanted: Option<Vec<u32>>,
}

impl Interfaces {
    /// Looks at them; `names`: those that are wanted, none for all.
    #[must_use]
    pub fn look(names: &[Interface]) -> Self {
        let there = platform::sources::interfaces();
        let is_wanted = |name: &str| names.iter().any(|wanted| wanted.as_str() == name);
        let wanted = there.iter().filter(|interface| is_wanted(&interface.name));
        Self {
            wanted: (!names.is_empty()).then(|| wanted.map(|interface| interface.index).collect()),
            addresses: there.iter().flat_map(|interface| &interface.addresses).map(|(ip, _)| *ip).collect(),
        }
    }
}
