//! Detectors: what a host did in, findings out. The engine resolves names and programs first, then asks each detector.
//!
//! The [beacon detector](beacon) times series and is scored by the engine. All others count something, and hand out a
//! [`Finding`] with its parts: they implement [`Detector`] and stand in [`all`].

pub mod beacon;
pub mod channels;
mod finding;
pub mod indicator;
mod long;
pub mod nxdomain;
mod strobe;
mod surroundings;

pub use self::finding::Finding;

use crate::alert::Class;
use crate::event::{ConnectionEvent, DnsEvent};
use crate::process::ProcessKey;
use crate::program::Program;
use crate::time::Timestamp;

/// An event with everything that the host knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When the sensor knew it.
    pub time: Timestamp,
    /// The process instance, where the source tells.
    pub process: Option<ProcessKey>,
    /// Its program, where the source tells.
    pub program: Option<&'a Program>,
    /// The name that counts: SNI, else CONNECT host, else what DNS led from; empty for a bare address.
    pub name: &'a str,
    /// What the client resolved; empty if it resolved nothing.
    pub fqdn: &'a str,
    /// Registrable domain of `name`.
    pub registrable: &'a str,
    /// What happened.
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// News of a connection.
    Connection(&'a ConnectionEvent<'a>),
    /// A DNS query.
    Query(&'a DnsEvent<'a>),
}

/// Something that a detector may ask of the host.
pub trait Host {
    /// Days for which a registrable domain, or an address where the domain is empty, was known here before; `None` if that
    /// cannot be told yet.
    fn known_days(&self, registrable: &str, ip: Option<std::net::IpAddr>) -> Option<f64>;

    /// Whether it is new here; `None` if that cannot be told (yet).
    fn is_new(&self, _registrable: &str, _ip: Option<std::net::IpAddr>) -> Option<bool> {
        None
    }

    /// Days for which a program is known here; `None` if that cannot be told (yet).
    fn program_days(&self, _program: &Program) -> Option<f64> {
        None
    }
}

/// A detector that counts.
pub trait Detector: std::fmt::Debug + Send {
    /// Short name, under which its state is saved.
    fn name(&self) -> &'static str;

    /// What it finds, or one class of that: all of them obey one switch, and with it off it is not asked.
    fn class(&self) -> Class;

    /// Takes an event in; hands out what it finds. One subject may be handed out again and again: the engine emits it only
    /// when there is news.
    fn observe(&mut self, seen: &Seen<'_>, host: &dyn Host, found: &mut dyn FnMut(Finding));

    /// Takes in the resolvers that the host is set up to ask.
    fn resolvers(&mut self, _addresses: &[std::net::IpAddr]) {}

    /// Keys its hashes, before the first event, so that nobody outside can aim at one place of a table.
    fn set_seed(&mut self, _seed: (u64, u64)) {}

    /// Changes its budget; what no longer fits leaves by its eviction rule.
    fn set_memory(&mut self, memory_bytes: usize);

    /// Memory held, in bytes.
    fn memory_bytes(&self) -> usize;

    /// What was forgotten for want of memory.
    fn evicted(&self) -> u64;

    /// Moves all times, when the clock was set.
    fn shift(&mut self, nanos: i64);

    /// What it knows, as bytes that [`restore`](Self::restore) takes; empty where forgetting it costs a few minutes.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes back what it knew. The bytes may be damaged: then it begins anew and says so.
    fn restore(&mut self, bytes: &[u8]) -> bool {
        bytes.is_empty()
    }
}

/// All detectors but the beacon detector, sharing `memory_bytes` equally.
#[must_use]
pub fn all(memory_bytes: usize) -> Vec<Box<dyn Detector>> {
    let mut all: Vec<Box<dyn Detector>> = vec![
        Box::new(channels::TunnelDetector::default()),
        Box::new(channels::BypassDetector::default()),
        Box::new(channels::FluxDetector::default()),
        Box::new(channels::RebindingDetector::default()),
        Box::new(nxdomain::MissingNames::default()),
        Box::new(long::LongConnections::default()),
        Box::new(strobe::Strobes::default()),
    ];
    let share = memory_bytes / all.len().max(1);
    all.iter_mut().for_each(|detector| detector.set_memory(share));
    all
}
