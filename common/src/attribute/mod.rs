//! Recorded attribution: whose a connection was, for sources that saw packets and no processes. What the capture itself
//! says ([`Told`]) and what the user's map says ([`ProcessMap`]) meet here, between the connection tracker and the engine.
//!
//! The answer depends on the five-tuple and the time at which the connection began, so all events of a connection get the
//! same one. Nothing here asks the system; that is a live sensor's business.

mod comment;
mod map;
mod sockets;
#[cfg(test)]
mod tests;
mod told;

use std::cell::Cell;

pub use map::{MapCounters, ProcessMap, ProcessMapBuilder};
pub use sockets::{Opener, SocketOwners};
pub use told::Told;

use crate::classify::classify;
use crate::decode::packet::Packet;
use crate::event::{ConnectionEvent, DnsEvent, Event, Observation};
use crate::format::pcapng::Note;
use crate::net::FiveTuple;
use crate::process::{PROCESS_TEXT, ProcessInfo, ProcessKey};
use crate::program::Program;
use crate::time::Timestamp;

/// A process instance and its program.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The instance.
    pub key: ProcessKey,
    /// What it runs.
    pub program: Program,
}

impl Owner {
    /// Of a process as a file tells of it; what paths and names tell is added.
    fn new(pid: u32, start: Option<Timestamp>, mut info: ProcessInfo) -> Self {
        classify(&mut info);
        let key = ProcessKey { pid, start: start.unwrap_or(Timestamp::ZERO) };
        Self { key, program: Program::of(info) }
    }

    fn is(&self, other: &Self) -> bool {
        self.key == other.key && self.program.key == other.program.key
    }
}

/// A text of a file as it is kept of a process.
fn kept(text: &str) -> String {
    let mut kept = String::new();
    PROCESS_TEXT.append(text, &mut kept);
    kept
}

/// What became of the connections and queries that came without a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttributionCounters {
    /// Events that were given a process.
    pub attributed: u64,
    /// Events that nobody knew a process for.
    pub unknown: u64,
    /// Connections whose process was forgotten for want of room.
    pub flows_evicted: u64,
    /// Processes forgotten for want of room.
    pub processes_evicted: u64,
}

/// Fills in the process of events that have none.
#[derive(Debug, Default)]
pub struct Attributor {
    map: Option<ProcessMap>,
    told: Told,
    attributed: Cell<u64>,
    unknown: Cell<u64>,
}

impl Attributor {
    /// With a map, if there is one. What captures tell is kept within `memory_bytes`.
    #[must_use]
    pub fn new(map: Option<ProcessMap>, memory_bytes: usize) -> Self {
        Self { map, told: Told::new(memory_bytes), ..Self::default() }
    }

    /// Takes note of what a capture says beside a packet, before the packet is tracked.
    #[inline]
    pub fn packet(&mut self, packet: &Packet<'_>, note: Option<Note<'_>>) {
        if note.is_some() || !self.told.is_empty() {
            self.told.packet(packet, note);
        }
    }

    /// Whether nothing is known of any process, so that [`attribute`](Self::attribute) has nothing to add.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.map.is_none() && self.told.is_empty()
    }

    /// The observation with its process, if that is known.
    #[must_use]
    pub fn attribute<'a>(&'a self, observation: &Observation<'a>) -> Observation<'a> {
        let event = match observation.event {
            Event::Connection(event) if event.process.is_none() && event.program.is_none() => {
                let Some(owner) = self.counted(&event.tuple, event.start) else { return *observation };
                let (process, program) = (Some(owner.key), Some(&owner.program));
                Event::Connection(ConnectionEvent { process, program, ..event })
            }
            Event::Dns(event) if event.process.is_none() && event.program.is_none() => {
                let Some(tuple) = &event.tuple else { return *observation };
                let Some(owner) = self.counted(tuple, event.start) else { return *observation };
                let (process, program) = (Some(owner.key), Some(&owner.program));
                Event::Dns(DnsEvent { process, program, ..event })
            }
            _ => return *observation,
        };
        Observation { event, ..*observation }
    }

    fn counted(&self, tuple: &FiveTuple, start: Timestamp) -> Option<&Owner> {
        let owner = self.owner(tuple, start);
        let counter = if owner.is_some() { &self.attributed } else { &self.unknown };
        counter.set(counter.get() + 1);
        owner
    }

    /// Whose a connection that began then was. What a capture says is as good as an entry with both ends; between two such,
    /// the map's is taken, because somebody wrote it for this capture.
    #[must_use]
    pub fn owner(&self, tuple: &FiveTuple, start: Timestamp) -> Option<&Owner> {
        let mapped = self.map.as_ref().and_then(|map| map.find(tuple, start));
        match mapped {
            Some((owner, true)) => Some(owner),
            other => self.told.find(tuple, start).or(other.map(|(owner, _)| owner)),
        }
    }

    /// What became of the events so far.
    #[must_use]
    pub fn counters(&self) -> AttributionCounters {
        let (flows_evicted, processes_evicted) = self.told.evicted();
        AttributionCounters {
            attributed: self.attributed.get(),
            unknown: self.unknown.get(),
            flows_evicted,
            processes_evicted,
        }
    }
}
