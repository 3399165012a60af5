//! The event-time layer: kernel programs that tell of connections and processes in the context of the process.
//!
//! Needs neither kprobes nor fentry: `sockops` for TCP, `cgroup/sendmsg`, `recvmsg` and `sock_release` for datagrams, BTF
//! tracepoints for sends, receives and processes. The programs are in `agent/ebpf`; a program that does not load here loses only
//! what it would have told, and is named.
//!
//! **Time.** The kernel stamps records with the time since boot, sleep included. It becomes wall-clock time (that of packets) by
//! the difference of the two clocks at the moment of reading, so a clock that is set moves only what was not yet read: at most
//! one drain's worth of records. Starts of processes count from [`EbpfOptions::boot`], which never moves.

mod clock;
mod control_group;
mod events;
mod exchanges;
mod hooks;
mod record;
mod self_test;
#[cfg(test)]
mod tests;

use aya::maps::{MapData, PerCpuArray, RingBuf};
use sonde_common::live::{LiveEvent, Unavailable};
use sonde_common::process::Method;
use sonde_common::time::Timestamp;

use self::clock::Clock;
use self::events::Events;
use self::exchanges::Flows;
use self::hooks::Loaded;
use crate::live::layer::Layer;

/// Records taken in one drain at most, so that a flood cannot hold the sensor: the rest waits in the ring, or is counted there.
const MAX_DRAINED: usize = 1 << 17;

/// What the layer must be told.
#[derive(Clone, Copy, Debug)]
pub struct EbpfOptions {
    /// Room for records that were not read yet, in bytes; rounded up to a power of two that is at least a page. 5,000
    /// connections a second need about 150 KiB for each 125 ms.
    pub ring_bytes: u32,
    /// Wall-clock time of boot, fixed for one run of the sensor: starts of processes count from it.
    pub boot: Timestamp,
}

/// The kernel programs at work. They leave the kernel with this value, or with the process however it dies.
pub struct EbpfLayer {
    // Kept for the links in it.
    _programs: aya::Ebpf,
    ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    flows: Flows,
    events: Events,
    unavailable: Vec<Unavailable>,
    /// What came during the self-test and is none of it.
    early: Vec<LiveEvent>,
    tells_exchanges: bool,
    tells_datagrams: bool,
    tells_processes: bool,
}

impl std::fmt::Debug for EbpfLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EbpfLayer").field("unavailable", &self.unavailable).finish_non_exhaustive()
    }
}

impl EbpfLayer {
    /// Loads the programs and proves them with calls to loopback.
    ///
    /// # Errors
    /// When no TCP connection would be told of.
    pub fn open(options: &EbpfOptions) -> Result<Self, Unavailable> {
        let Loaded { programs, ring, lost, flows, mut unavailable, attached } =
            hooks::load(options.ring_bytes)?;
        let mut layer = Self {
            _programs: programs,
            ring,
            lost,
            flows: Flows::new(flows),
            events: Events::new(options.boot, true),
            unavailable: Vec::new(),
            early: Vec::new(),
            tells_exchanges: false,
            tells_datagrams: false,
            tells_processes: false,
        };
        let proven = self_test::run(&mut layer, &attached, &mut unavailable)?;
        layer.events = Events::new(options.boot, false);
        layer.tells_exchanges = proven.exchanges;
        layer.tells_datagrams = proven.datagrams;
        layer.tells_processes = proven.processes;
        layer.unavailable = unavailable;
        Ok(layer)
    }

    /// Whether exchanges inside connections are told; else another source has to.
    #[must_use]
    pub fn tells_exchanges(&self) -> bool {
        self.tells_exchanges
    }

    /// Whether datagrams of connected and unconnected sockets are told; else another source has to.
    #[must_use]
    pub fn tells_datagrams(&self) -> bool {
        self.tells_datagrams
    }

    /// Whether programs are told as they start, fork and end; else another source has to.
    #[must_use]
    pub fn tells_processes(&self) -> bool {
        self.tells_processes
    }

    /// Exchanges whose end could not be told, because too many were under way.
    #[must_use]
    pub fn exchanges_lost(&self) -> u64 {
        self.flows.lost()
    }

    /// Records that could not be read: none, unless kernel programs and sensor are of different versions.
    #[must_use]
    pub fn records_damaged(&self) -> u64 {
        self.events.damaged()
    }

    fn read(&mut self, out: &mut Vec<LiveEvent>) {
        let clock = Clock::now();
        for _ in 0..MAX_DRAINED {
            let Some(bytes) = self.ring.next() else { break };
            self.events.take(&bytes, clock, &mut self.flows, out);
        }
        self.flows.finish(clock, out);
    }
}

impl Layer for EbpfLayer {
    fn method(&self) -> Method {
        Method::Ebpf
    }

    fn drain(&mut self, _now: Timestamp, out: &mut Vec<LiveEvent>) {
        out.append(&mut self.early);
        self.read(out);
    }

    fn lost(&self) -> u64 {
        self.lost.get(&0, 0).map_or(0, |counts| counts.iter().sum())
    }

    fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }
}
