//! Packets of all interfaces from one ring that the kernel fills behind its filter: no copy, no wake-up, no call per packet.

use std::io;
use std::time::Duration;

use sonde_common::live::Unavailable;
use sonde_common::time::Timestamp;

use crate::live::layer::{LivePacket, PacketSource};

use super::block::{Walked, walk};
use super::filter;
use super::self_test;
use super::socket::{Blocks, PacketSocket, page_bytes, unavailable};

/// A block that is not full is handed out after this time.
const RETIRE: Duration = Duration::from_millis(100);
/// Bytes of a block where the ring has room for eight of them.
const BLOCK_BYTES: usize = 64 << 10;
/// Room for the headers of a block and its first packet.
const HEADERS_BYTES: usize = 256;
/// Largest ring, in bytes.
const MAX_RING_BYTES: usize = 256 << 20;
const WHAT: &str = "packet ring";

/// How a [`Ring`] is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// Memory for packets that wait, in bytes; rounded to whole blocks, at least two, at most 256 MiB. The default holds about
    /// 10,000 connections' packets.
    pub bytes: usize,
    /// Bytes kept of a packet from its network header on: 128 to 65,535. A ClientHello with post-quantum key shares takes about
    /// 2 KiB.
    pub snap: u32,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self { bytes: 2 << 20, snap: 4096 }
    }
}

impl RingOptions {
    /// Bytes of a block, and how many of them.
    fn blocks(self) -> (usize, usize) {
        let page = page_bytes().max(1);
        let bytes = self.bytes.min(MAX_RING_BYTES);
        let least = (self.snap() as usize + HEADERS_BYTES).next_multiple_of(page);
        let block = if bytes / 8 >= BLOCK_BYTES { BLOCK_BYTES.next_multiple_of(page) } else { page };
        let block = block.max(least);
        (block, (bytes / block).max(2))
    }

    fn snap(self) -> u32 {
        self.snap.clamp(128, 65_535)
    }
}

/// Packets of all interfaces of a network namespace, those that come later included. A packet that passes several of them (a VLAN
/// and what carries it, a bond and its parts, a container's bridge and the way out, there with another address) comes once for
/// each.
#[derive(Debug)]
pub struct Ring {
    // Unmapped before the socket is closed.
    blocks: Blocks,
    socket: PacketSocket,
    /// The block that is handed out next.
    next: usize,
    lost: u64,
}

impl Ring {
    /// Opens the ring in the calling thread's network namespace, and proves by a datagram on the loopback interface that packets
    /// come out.
    ///
    /// # Errors
    /// The kernel's reason, such as a missing CAP_NET_RAW, and what helps.
    pub fn open(options: &RingOptions) -> Result<Self, Unavailable> {
        let failed = |doing: &'static str| move |error: io::Error| unavailable(WHAT, doing, &error);
        let socket = PacketSocket::open(&filter::capture(options.snap())).map_err(failed("packet socket"))?;
        let (block_bytes, count) = options.blocks();
        let blocks = Blocks::map(&socket, block_bytes, count, RETIRE).map_err(failed("ring of version 3"))?;
        socket.bind_all().map_err(failed("bind to all interfaces"))?;
        let mut ring = Self { blocks, socket, next: 0, lost: 0 };
        self_test::run(&mut ring).map_err(failed("self-test"))?;
        ring.lost = 0;
        Ok(ring)
    }
}

impl PacketSource for Ring {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn drain(&mut self, _now: Timestamp, take: &mut dyn FnMut(LivePacket<'_>)) {
        // Once around at most: under a flood the rest waits for the next time.
        for _ in 0..self.blocks.count() {
            let Some(block) = self.blocks.ready(self.next) else { break };
            let Walked { damaged, .. } = walk(block, take);
            self.lost += u64::from(damaged);
            self.blocks.give_back(self.next);
            self.next = (self.next + 1) % self.blocks.count();
        }
        // The kernel's counter begins anew whenever it is read. An error leaves what was counted.
        self.lost += self.socket.take_drops().map_or(0, u64::from);
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn unavailable(&self) -> &[Unavailable] {
        &[]
    }
}

#[cfg(test)]
mod tests;
