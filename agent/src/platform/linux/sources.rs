//! The ways to sockets, processes and packets that Linux offers, best first.

use sonde_common::config::{CaptureMode, LayerChoice};
use sonde_common::live::{LiveEvent, SocketId, Unavailable};
use sonde_common::time::Timestamp;

use super::ebpf::{EbpfLayer, EbpfOptions};
use super::netlink::{ExchangeMeter, NetlinkLayer, NetlinkOptions, PollLayer};
use super::packets::{PnetSource, Ring, RingOptions};
use super::paths;
use super::privileges::{self, Capability, Needs};
use super::sandbox;
use crate::live::layer::{
    Aid, Layer, LayerWay, Looked, Meter, OpenLayer, OpenPackets, PacketWay, SourceOptions, Way,
};

pub use super::netlink::seed;
pub use super::packets::{Interface, interfaces};

/// The ways to sockets and processes.
#[must_use]
pub fn layers(options: &SourceOptions) -> Vec<LayerWay> {
    let SourceOptions { layer_bytes, queue, boot, .. } = *options;
    let ring_bytes = u32::try_from(layer_bytes).unwrap_or(u32::MAX);
    vec![
        Way {
            choice: LayerChoice::Ebpf,
            name: "ebpf",
            cost: "a fraction of a microsecond for each connection, in the kernel",
            without: "connections of processes that live for less than a few milliseconds have no process",
            open: Box::new(move || EbpfLayer::open(&EbpfOptions { ring_bytes, boot }).map(with_meter)),
        },
        Way {
            choice: LayerChoice::Netlink,
            name: "netlink",
            cost: "a look-up and a search through /proc for each connection: some tenths of a millisecond",
            without: "connections have a process only if it lives for seconds, by polling",
            open: Box::new(move || {
                let needs = Needs { enter_namespaces: true, open_packet_sockets: true, ..Needs::default() };
                NetlinkLayer::open(&NetlinkOptions { boot, queue }).map(|layer| alone(layer, needs))
            }),
        },
        Way {
            choice: LayerChoice::Poll,
            name: "poll",
            cost: "a reading of all sockets each second",
            without: "connections have no process",
            open: Box::new(move || {
                let needs = Needs { enter_namespaces: true, ..Needs::default() };
                PollLayer::open(&NetlinkOptions { boot, queue }).map(|layer| alone(layer, needs))
            }),
        },
    ]
}

/// The ways to packets.
#[must_use]
pub fn packets(options: &SourceOptions) -> Vec<PacketWay> {
    let bytes = usize::try_from(options.ring_bytes).unwrap_or(usize::MAX);
    vec![
        Way {
            choice: CaptureMode::Ring,
            name: "ring",
            cost: "nothing for packets that give no name: a filter in the kernel drops them",
            without: "packets come from pnet, which is handed every one",
            open: Box::new(move || {
                let ring = Ring::open(&RingOptions { bytes, ..RingOptions::default() })?;
                Ok(OpenPackets { source: Box::new(ring), needs: Needs::default() })
            }),
        },
        Way {
            choice: CaptureMode::Pnet,
            name: "pnet",
            cost: "a copy of every packet: much of a processor on a busy host",
            without: "connections have no names but those of other sources",
            open: Box::new(|| {
                let needs = Needs { open_packet_sockets: true, ..Needs::default() };
                Ok(OpenPackets { source: Box::new(PnetSource::open()?), needs })
            }),
        },
    ]
}

fn alone(layer: impl Layer + 'static, needs: Needs) -> OpenLayer {
    OpenLayer { layer: Box::new(layer), meter: None, datagrams: false, unavailable: Vec::new(), needs }
}

/// Kernel programs, with counters read beside them where they do not tell of exchanges.
fn with_meter(layer: EbpfLayer) -> OpenLayer {
    let (datagrams, exchanges) = (layer.tells_datagrams(), layer.tells_exchanges());
    let mut open = OpenLayer { datagrams, ..alone(layer, Needs::default()) };
    if !exchanges {
        match ExchangeMeter::new() {
            Ok(meter) => {
                open.meter = Some(Box::new(meter));
                open.needs.enter_namespaces = true;
            }
            Err(reason) => open.unavailable.push(reason),
        }
    }
    open
}

impl Meter for ExchangeMeter {
    fn opened(&mut self, socket: SocketId, time: Timestamp) {
        Self::opened(self, socket, time);
    }

    fn drain(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        Self::drain(self, now, out);
    }
}

/// What helps the sources.
pub const AIDS: &[Aid] = &[
    Aid {
        name: "capabilities",
        cost: "most are given up once the sources are open",
        without: "",
        look: capabilities,
    },
    Aid {
        name: sandbox::NAME,
        cost: "nothing that can be measured: the kernel remembers what is always allowed",
        without: "whoever took over the sensor could start programs as its account",
        look: sandbox::look,
    },
    Aid {
        name: "packages",
        cost: "one reading at start, look-ups for new programs",
        without: "programs of the system are not told from others: more alerts, and less sure",
        look: packages,
    },
];

fn packages() -> Looked {
    match paths::package_database() {
        Some(path) => Ok((format!("{path} is read"), Vec::new())),
        None => Err(Unavailable {
            what: "packages".to_owned(),
            reason: "no database of dpkg, rpm or apk can be read".to_owned(),
            remedy: String::new(),
        }),
    }
}

fn capabilities() -> Looked {
    let wanted = [
        (Capability::Bpf, "kernel programs: owners of short-lived connections"),
        (Capability::Perfmon, "kernel programs that look at processes"),
        (Capability::NetAdmin, "kernel programs on sockets; counters of connections"),
        (Capability::NetRaw, "packets, and with them names"),
        (Capability::Ptrace, "executables and sockets of other users' processes"),
        (Capability::ReadAll, "hashes of executables that only their owner may read"),
    ];
    let lost: Vec<_> = wanted
        .into_iter()
        .filter(|(capability, _)| !privileges::has(*capability))
        .map(|(capability, what)| Unavailable {
            what: capability.name().to_owned(),
            reason: format!("not held; it is for {what}"),
            remedy: "start the sensor as root, or have the service manager give it".to_owned(),
        })
        .collect();
    Ok((format!("{} of {} held", wanted.len() - lost.len(), wanted.len()), lost))
}
