//! What the sensor needs of whatever tells of sockets, processes and packets.
//!
//! Everything is drained, some eight times a second: no source wakes the sensor, so an idle host costs nothing and a busy
//! one is read in batches. A source that has to act at once (a look-up while the socket still lives) has a thread of its own
//! and queues what it found.

use sonde_common::live::{LiveEvent, Unavailable};
use sonde_common::process::Method;
use sonde_common::time::Timestamp;

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
