//! What scoring needs to know of the host: its past, as its source told it or as it was learnt.

use std::net::IpAddr;

use hashbrown::HashMap;

use crate::alert::Alert;
use crate::detect::{Host, Seen, What};
use crate::domain::literal_address;
use crate::event::{HostFacts, Phase};
use crate::human;
use crate::learn::Learned;
use crate::program::Program;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Known destinations remembered per host; further ones are counted and taken for new.
const MAX_KNOWN_DESTINATIONS: usize = 65_536;
/// What a known destination takes beside its name: its place in a map that doubles.
const BYTES_PER_KNOWN: usize = 64;

/// A destination known for less than this is new…
const NEW_DESTINATION_DAYS: f64 = 2.0;
/// …as long as the observation itself is younger than this (scorer specification 2.5: dstnew).
const LEARNING: i64 = 7 * 86_400 * NANOS_PER_SEC;
/// Response code of a name that does not exist (RFC 1035 section 4.1.1).
const NXDOMAIN: u16 = 3;
/// What an alert misses where nothing was told of a destination's past.
const NO_HISTORY: &str = "history of the destination";

/// The host, its data time, and what it talked to before.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) host: String,
    pub(super) facts: HostFacts,
    pub(super) now: Timestamp,
    pub(super) known: HashMap<Box<str>, f64, foldhash::fast::RandomState>,
    pub(super) known_bytes: usize,
    pub(super) known_capacity: usize,
    /// What the engine has seen by itself.
    pub(super) learned: Learned,
}

impl Scope {
    pub(super) fn new(host: String, known_capacity: usize, learned: Learned) -> Self {
        Self {
            host,
            facts: HostFacts::default(),
            now: super::NEVER,
            known: HashMap::default(),
            known_bytes: 0,
            known_capacity,
            learned,
        }
    }

    /// Learns from an event, where the source has no history.
    pub(super) fn see(&mut self, seen: &Seen<'_>, period_days: u32) {
        if self.facts.history {
            return;
        }
        let now = self.now;
        self.learned.watch(now, period_days);
        let ip = match seen.what {
            // What does not exist is no destination: bursts of names are made up.
            What::Query(query) if query.response_code == Some(NXDOMAIN) => return,
            What::Query(_) => None,
            What::Connection(event) if matches!(event.phase, Phase::Certificate(_) | Phase::Closed(_)) => {
                return;
            }
            What::Connection(event) => literal_address(seen.name).or(Some(event.tuple.remote.ip())),
        };
        let named = !seen.name.is_empty() && literal_address(seen.name).is_none();
        self.learned.note_destination(if named { seen.registrable } else { "" }, ip, now);
        if let Some(program) = seen.program {
            self.learned.note_program(program, now);
        }
    }

    /// Says in an alert for how long the host had been watched, where that is why its past is not known. Only of a host that
    /// its source told of: a capture or log has no past to wait for.
    pub(super) fn annotate(&self, alert: &mut Alert) {
        let told = self.facts != HostFacts::default() && !self.facts.history;
        if told && alert.missing.iter().any(|what| what == NO_HISTORY) {
            let watched = human::span(self.learned.watched_secs(alert.time));
            alert.missing.push(format!("what is usual here (watched for {watched})").into());
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
    fn known_days(&self, name: &str, ip: Option<IpAddr>) -> Option<f64> {
        if !self.facts.history {
            return self.learned.destination_days(name, ip, self.now);
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

    fn is_new(&self, name: &str, ip: Option<IpAddr>) -> Option<bool> {
        if !self.facts.history {
            return self.learned.is_new(name, ip, self.now);
        }
        let young = self.now.since(self.facts.observed_since) < LEARNING;
        self.known_days(name, ip).map(|days| days < NEW_DESTINATION_DAYS && young)
    }

    fn program_days(&self, program: &Program) -> Option<f64> {
        let learned = || if self.facts.history { None } else { self.learned.program_days(program, self.now) };
        program.info.age_days.or_else(learned)
    }
}
