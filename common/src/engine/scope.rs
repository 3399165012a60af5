//! What scoring needs to know of the host: what its source told of its past.

use std::net::IpAddr;

use hashbrown::HashMap;

use crate::detect::Host;
use crate::event::HostFacts;
use crate::time::Timestamp;

/// Known destinations remembered per host; further ones are counted and taken for new.
const MAX_KNOWN_DESTINATIONS: usize = 65_536;
/// What a known destination takes beside its name: its place in a map that doubles.
const BYTES_PER_KNOWN: usize = 64;

/// The host, its data time, and what it talked to before.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) host: String,
    pub(super) facts: HostFacts,
    pub(super) now: Timestamp,
    pub(super) known: HashMap<Box<str>, f64, foldhash::fast::RandomState>,
    pub(super) known_bytes: usize,
    pub(super) known_capacity: usize,
}

impl Scope {
    pub(super) fn new(host: String, known_capacity: usize) -> Self {
        Self {
            host,
            facts: HostFacts::default(),
            now: super::NEVER,
            known: HashMap::default(),
            known_bytes: 0,
            known_capacity,
        }
    }

    /// Takes in a destination; returns whether there was room for it.
    pub(super) fn learn(&mut self, name: &str, age_days: f64) -> bool {
        if let Some(known) = self.known.get_mut(name) {
            *known = age_days;
            return true;
        }
        let bytes = self.known_bytes + name.len() + BYTES_PER_KNOWN;
        let room = self.known.len() < MAX_KNOWN_DESTINATIONS && bytes <= self.known_capacity;
        if room {
            self.known_bytes = bytes;
            self.known.insert(name.into(), age_days);
        }
        room
    }
}

impl Host for Scope {
    /// Days for which a registrable domain or address was known before the observation began; `None` if the source has
    /// no history.
    fn known_days(&self, name: &str, ip: Option<IpAddr>) -> Option<f64> {
        if !self.facts.history {
            return None;
        }
        let known = if name.is_empty() {
            ip.and_then(|ip| self.known.get(ip.to_string().as_str()))
        } else {
            // A source may cut names shorter than the public suffix list does: what it knows above counts below.
            let parents =
                std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent));
            parents.take_while(|name| name.contains('.')).find_map(|name| self.known.get(name))
        };
        Some(known.copied().unwrap_or(0.0))
    }
}
