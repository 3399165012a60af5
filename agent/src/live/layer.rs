//! What the sensor needs of whatever tells of sockets, processes and packets.
//!
//! Everything is drained, some eight times a second: no source wakes the sensor, so an idle host costs nothing and a busy
//! one is read in batches. A source that has to act at once (a look-up while the socket still lives) has a thread of its own
//! and queues what it found.

use sonde_common::config::{CaptureMode, LayerChoice};
use sonde_common::live::{LiveEvent, SocketId, Unavailable};
use sonde_common::process::Method;
use sonde_common::time::Timestamp;

use crate::platform::privileges::Needs;

/// A source of socket and process events.
pub trait Layer: Send {
    /// Which it is.
    fn method(&self) -> Method;

    /// Appends what happened since the last call, in order of time as far as the source knows it.
    fn drain(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>);

    /// Records that the kernel or a full queue dropped since the start.
    fn lost(&self) -> u64;

    /// Parts of it that do not work here.
    fn unavailable(&self) -> &[Unavailable];
}

/// One packet as the kernel handed it out, from its network header on.
#[derive(Clone, Copy, Debug)]
pub struct LivePacket<'a> {
    /// When the kernel saw it.
    pub time: Timestamp,
    /// Interface that it passed, by the system's number.
    pub interface: u32,
    /// IPv4 or IPv6 header and what follows, maybe cut.
    pub bytes: &'a [u8],
    /// Its length on the wire from the network header on.
    pub length: u32,
}

/// A source of packets.
pub trait PacketSource: Send {
    /// What it is called: `ring`, `pnet`.
    fn name(&self) -> &'static str;

    /// Hands out the packets that came since the last call.
    fn drain(&mut self, now: Timestamp, take: &mut dyn FnMut(LivePacket<'_>));

    /// Packets that the kernel dropped for want of room since the start.
    fn lost(&self) -> u64;

    /// Parts of it that do not work here.
    fn unavailable(&self) -> &[Unavailable];
}

/// Tells of exchanges inside connections, where the layer does not.
pub trait Meter: Send {
    /// A connection is there from now on.
    fn opened(&mut self, socket: SocketId, time: Timestamp);

    /// Appends the exchanges since the last call.
    fn drain(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>);
}

/// What sources are opened with.
#[derive(Clone, Copy, Debug)]
pub struct SourceOptions {
    /// Bytes of the system's buffer for events of a layer.
    pub layer_bytes: u64,
    /// Bytes of the packet ring.
    pub ring_bytes: u64,
    /// Events that a layer with a thread of its own queues between two drains.
    pub queue: usize,
    /// The wall clock's time of the start of the machine.
    pub boot: Timestamp,
}

/// A layer that is open, and what goes with it.
#[expect(missing_debug_implementations, reason = "it holds trait objects")]
pub struct OpenLayer {
    /// Tells of sockets and processes.
    pub layer: Box<dyn Layer>,
    /// Tells of exchanges, if the layer does not.
    pub meter: Option<Box<dyn Meter>>,
    /// Whether its sockets tell of datagrams.
    pub datagrams: bool,
    /// What goes with it and does not work here.
    pub unavailable: Vec<Unavailable>,
    /// What it goes on to need.
    pub needs: Needs,
}

/// A source of packets that is open.
#[expect(missing_debug_implementations, reason = "it holds a trait object")]
pub struct OpenPackets {
    /// Hands out packets.
    pub source: Box<dyn PacketSource>,
    /// What it goes on to need.
    pub needs: Needs,
}

/// A way to know what happens on this system: what the sensor tries, and `sonde doctor` shows.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct Way<Choice, Open> {
    /// By which setting it is asked for.
    pub choice: Choice,
    /// What it is called.
    pub name: &'static str,
    /// What it costs when it is in use.
    pub cost: &'static str,
    /// What is missed without it.
    pub without: &'static str,
    /// Opens it, with its self-test.
    pub open: Box<dyn FnOnce() -> Result<Open, Unavailable>>,
}

/// A way to know of sockets and processes.
pub type LayerWay = Way<LayerChoice, OpenLayer>;
/// A way to packets.
pub type PacketWay = Way<CaptureMode, OpenPackets>;

/// What helps the sources and is no source: what `sonde doctor` asks the system besides.
#[derive(Clone, Copy, Debug)]
pub struct Aid {
    /// What it is called.
    pub name: &'static str,
    /// What it costs.
    pub cost: &'static str,
    /// What is missed without it.
    pub without: &'static str,
    /// In words how it works, and what of it does not.
    pub look: fn() -> Result<(String, Vec<Unavailable>), Unavailable>,
}
