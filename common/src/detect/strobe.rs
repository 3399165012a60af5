//! Strobes: very many connections of one program to one destination. A client that calls once a second or more has no
//! rhythm that could be seen (calls within a second are one callback), and needs none.
//!
//! RITA calls 86,400 connections a day to one destination a strobe; the same rate over an hour is one here.

use std::hash::Hasher as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use super::surroundings::Parties;
use super::{Detector, Finding, Host, Seen, What};
use crate::alert::{Class, Evidence, ScorePart};
use crate::domain::literal_address;
use crate::event::Phase;
use crate::human;
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::ways::Ways;

/// So many connections within an hour are a strobe.
const MANY: u32 = 3_600;
/// Points for it…
const POINTS: f64 = 8.5;
/// …and for each doubling of the count…
const POINTS_PER_DOUBLING: f64 = 0.5;
/// …up to so many: 29,000 an hour.
const MAX_DOUBLINGS: u32 = 3;
/// The hour is counted in halves, of which the older one leaves as a whole.
const HALF_HOUR: i64 = 1_800 * NANOS_PER_SEC;

/// Most memory that it takes of its share: 8,192 pairs that call within the hour.
const MAX_BYTES: usize = 256 << 10;

/// Connections of one program to one destination.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Count {
    /// Half hours since 1970 of the newer count.
    half: u32,
    newer: u32,
    older: u32,
    /// Seconds since 1970 of the first that is counted.
    since: u32,
}

impl Count {
    /// What is counted most, and of late, stays.
    const fn worth(&self) -> (u32, u32) {
        (self.half, self.newer.saturating_add(self.older))
    }
}

/// Counts connections.
#[derive(Debug)]
pub(super) struct Strobes {
    counts: Ways<Count>,
    seed: (u64, u64),
    evicted: u64,
}

impl Default for Strobes {
    fn default() -> Self {
        Self { counts: Ways::new(0), seed: (0, 0), evicted: 0 }
    }
}

impl Strobes {
    fn key(&self, seen: &Seen<'_>, ip: IpAddr, port: u16) -> u64 {
        let mut hash = SipHasher24::new_with_keys(self.seed.0, self.seed.1);
        hash.write_u64(seen.program.map_or(0, |program| program.key));
        hash.write_u16(port);
        match (seen.name, ip) {
            ("", IpAddr::V4(ip)) => hash.write(&ip.octets()),
            ("", IpAddr::V6(ip)) => hash.write(&ip.octets()),
            (name, _) => hash.write(name.as_bytes()),
        }
        hash.finish()
    }

    /// Counts a connection; how many there are within the hour, and since when.
    fn count(&mut self, key: u64, start: Timestamp) -> (u32, Timestamp) {
        let half = u32::try_from(start.nanos().max(0) / HALF_HOUR).unwrap_or(u32::MAX);
        let secs = u32::try_from(start.nanos().max(0) / NANOS_PER_SEC).unwrap_or(u32::MAX);
        let Some(count) = self.counts.get_mut(key) else {
            let count = Count { half, newer: 1, older: 0, since: secs };
            let gone = self.counts.insert(key, count, Count::worth);
            // What was not counted within the hour is no loss.
            self.evicted += u64::from(gone.is_some_and(|gone| gone.half.saturating_add(1) >= half));
            return (1, start);
        };
        // A connection may be told of at its end: it counts for the latest half hour.
        match half.saturating_sub(count.half) {
            0 => count.newer = count.newer.saturating_add(1),
            1 => *count = Count { half, newer: 1, older: count.newer, since: count.since },
            _ => *count = Count { half, newer: 1, older: 0, since: secs },
        }
        let all = count.newer.saturating_add(count.older);
        (all, Timestamp::from_secs_nanos(count.since.into(), 0))
    }
}

impl Detector for Strobes {
    fn name(&self) -> &'static str {
        "strobe"
    }

    fn class(&self) -> Class {
        Class::Strobe
    }

    fn observe(&mut self, seen: &Seen<'_>, host: &dyn Host, found: &mut dyn FnMut(Finding)) {
        let What::Connection(event) = seen.what else { return };
        if !matches!(event.phase, Phase::Opened | Phase::Whole(_)) {
            return;
        }
        let ip = literal_address(seen.name).unwrap_or(event.tuple.remote.ip());
        let port = match event.names.connect_port {
            0 => event.tuple.remote.port(),
            port => port,
        };
        let (count, since) = self.count(self.key(seen, ip, port), event.start);
        // At the threshold and at its doublings.
        if !count.is_multiple_of(MANY) || !(count / MANY).is_power_of_two() {
            return;
        }
        let Some(parties) = Parties::of(seen, event) else { return };
        let doublings = (count / MANY).ilog2().min(MAX_DOUBLINGS);
        let span = human::span(u64::try_from(event.start.since(since) / NANOS_PER_SEC).unwrap_or(0).max(1));
        let counted = ScorePart {
            name: "volume".into(),
            points: POINTS + POINTS_PER_DOUBLING * f64::from(doublings),
            detail: format!("{} connections within an hour", human::count(count.into())),
        };
        let sentence = format!(
            "{} opens connections to {} without a pause: {} within an hour, for {span} so far.",
            parties.caller(),
            parties.whom(),
            human::count(count.into())
        );
        let evidence =
            Evidence { callbacks: count, first_seen: since, last_seen: event.start, ..Evidence::default() };
        found(parties.finding(Class::Strobe, counted, sentence, evidence, host));
    }

    fn set_seed(&mut self, seed: (u64, u64)) {
        self.seed = seed;
    }

    fn set_memory(&mut self, memory_bytes: usize) {
        self.evicted += self.counts.set_capacity(memory_bytes.min(MAX_BYTES), Count::worth);
    }

    fn memory_bytes(&self) -> usize {
        self.counts.memory_bytes()
    }

    fn evicted(&self) -> u64 {
        self.evicted
    }

    fn shift(&mut self, nanos: i64) {
        let by = |value: u32, unit: i64| {
            u32::try_from(i64::from(value).saturating_add(nanos / unit).max(0)).unwrap_or(u32::MAX)
        };
        for count in self.counts.iter_mut() {
            (count.half, count.since) = (by(count.half, HALF_HOUR), by(count.since, NANOS_PER_SEC));
        }
    }

    fn save(&self) -> Vec<u8> {
        let mut counts: Vec<_> = self.counts.iter().collect();
        counts.sort_unstable_by_key(|(key, _)| *key);
        postcard::to_allocvec(&(self.evicted, counts)).unwrap_or_default()
    }

    fn restore(&mut self, bytes: &[u8]) -> bool {
        let Ok((evicted, counts)) = postcard::from_bytes::<(u64, Vec<(u64, Count)>)>(bytes) else {
            return false;
        };
        self.evicted = evicted;
        for (key, count) in counts {
            if self.counts.get(key).is_none() {
                self.evicted += u64::from(self.counts.insert(key, count, Count::worth).is_some());
            }
        }
        true
    }
}
