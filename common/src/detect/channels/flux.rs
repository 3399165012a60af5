//! Fast flux: one name whose answers lead to ever other addresses in unrelated networks, each for a short time, because they
//! are other people's machines (ATT&CK T1568.001).
//!
//! Content networks, clouds, time servers and seeds of peer-to-peer networks rotate, too: known ones are left out by name, the
//! networks of large operators count as one each, and a pool of fixed size is told by its addresses coming again.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::{Detector, Finding, Host, Seen, What};
use super::caller::{self, Parts};
use super::services;
use super::table::{Saved, Table, Weigh, list_bytes};
use super::{hash, octets, technique};
use crate::alert::{Class, Destination, DnsEvidence, Evidence, Severity};
use crate::domain::is_popular;
use crate::event::DnsEvent;
use crate::human;
use crate::net::{Transport, is_internal};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// A name's addresses are counted over so long.
const WINDOW: i64 = 86_400 * NANOS_PER_SEC;
/// A name must have changed for so long: a first answer may hold a whole pool.
const MIN_DWELL: i64 = 600 * NANOS_PER_SEC;
/// Answers that brought addresses not seen before.
const MIN_FRESH: u32 = 4;
/// Least addresses and networks. By the score of Holz et al. (NDSS 2008, "Measuring and Detecting Fast-Flux Service
/// Networks": 1.32 per address and 18.54 per autonomous system, above 142.38) ten addresses in eight networks are flux.
const MIN_ADDRESSES: usize = 10;
const MIN_NETWORKS: usize = 8;
/// Networks from which it is wide.
const WIDE_NETWORKS: usize = 16;
/// Times to live up to this are short: flux names have 0 to 600 s (the same paper, section 3), most of them at most 300.
const LONGEST_TTL: u32 = 1_800;
const SHORT_TTL: u32 = 300;
/// Addresses and networks that are told apart.
const MAX_TOLD_APART: usize = 64;
/// What every finding starts from.
const BIAS: f64 = -1.0;

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    since: Timestamp,
    last: Timestamp,
    /// Fingerprint of the latest answer's addresses.
    latest: u64,
    /// Addresses in answers that differed from the one before.
    shown: u32,
    fresh: u32,
    answers: u32,
    ttl_min: u32,
    ttl_max: u32,
    addresses: Vec<u64>,
    networks: Vec<u64>,
    /// Addresses when it was last handed out.
    told: u32,
}

impl Weigh for Entry {
    fn heap_bytes(&self) -> usize {
        list_bytes::<u64>(self.addresses.len()) + list_bytes::<u64>(self.networks.len())
    }

    fn is_sound(&self) -> bool {
        self.since <= self.last && self.addresses.len().max(self.networks.len()) <= MAX_TOLD_APART
    }

    fn shift(&mut self, nanos: i64) {
        self.since = self.since.plus_nanos(nanos);
        self.last = self.last.plus_nanos(nanos);
    }
}

/// Finds fast flux.
#[derive(Debug, Default)]
pub struct FluxDetector {
    entries: Table<Entry>,
}

impl Detector for FluxDetector {
    fn name(&self) -> &'static str {
        "fast_flux"
    }

    fn class(&self) -> Class {
        Class::FastFlux
    }

    fn observe(&mut self, seen: &Seen<'_>, host: &dyn Host, found: &mut dyn FnMut(Finding)) {
        let What::Query(query) = seen.what else { return };
        let public = query.addresses.iter().any(|&ip| !is_internal(ip));
        if !public || is_popular(seen.registrable) || services::is_shared(query.query) {
            return;
        }
        let program = seen.program.map_or(0, |program| program.key).to_le_bytes();
        let key = hash(&[&program, query.query.as_bytes()]);
        let start = query.start;
        let Some(entry) = self.entries.entry(key, seen.time, || Entry::new(start)) else { return };
        if entry.take(query) && entry.is_flux() && count(&entry.addresses) >= entry.told.saturating_mul(2) {
            let parts = entry.parts(seen, host);
            if parts.points() > crate::score::ALERT_POINTS {
                entry.told = count(&entry.addresses);
                found(entry.finding(seen, query, parts));
            }
        }
        self.entries.settle(key);
    }

    fn set_memory(&mut self, memory_bytes: usize) {
        self.entries.set_memory(memory_bytes);
    }

    fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes()
    }

    fn evicted(&self) -> u64 {
        self.entries.evicted()
    }

    fn shift(&mut self, nanos: i64) {
        self.entries.shift(nanos);
    }

    fn save(&self) -> Vec<u8> {
        let saved = self.entries.saved();
        saved.and_then(|saved| postcard::to_allocvec(&saved).ok()).unwrap_or_default()
    }

    fn restore(&mut self, bytes: &[u8]) -> bool {
        bytes.is_empty()
            || postcard::from_bytes::<Saved<Entry>>(bytes).is_ok_and(|saved| self.entries.restore(saved))
    }
}

/// The network of an address: its large operator, else the half of the address that registries mostly give out at once. Of
/// which autonomous system it is, is not known here.
fn network(ip: IpAddr) -> u64 {
    match (services::operator(ip), ip.to_canonical()) {
        (Some(operator), _) => hash(&[operator.as_bytes()]),
        (None, IpAddr::V4(v4)) => hash(&[v4.octets().get(..2).unwrap_or_default()]),
        (None, IpAddr::V6(v6)) => hash(&[v6.octets().get(..4).unwrap_or_default(), &[6]]),
    }
}

/// Puts a value into a short list; whether it is new.
fn push(list: &mut Vec<u64>, value: u64) -> bool {
    let new = list.len() < MAX_TOLD_APART && !list.contains(&value);
    if new {
        list.push(value);
    }
    new
}

fn count(list: &[u64]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

impl Entry {
    const fn new(start: Timestamp) -> Self {
        Self {
            since: start,
            last: start,
            latest: 0,
            shown: 0,
            fresh: 0,
            answers: 0,
            ttl_min: u32::MAX,
            ttl_max: 0,
            addresses: Vec::new(),
            networks: Vec::new(),
            told: 0,
        }
    }

    /// Takes an answer in; whether it brought addresses not seen before.
    fn take(&mut self, query: &DnsEvent<'_>) -> bool {
        if !(0..WINDOW).contains(&query.start.since(self.since)) {
            *self = Self::new(query.start);
        }
        let public = || query.addresses.iter().filter(|&&ip| !is_internal(ip));
        // The same set in another order is the same answer.
        let latest = public().fold(1, |sum: u64, &ip| sum.wrapping_add(hash(&[&octets(ip)])));
        self.last = self.last.max(query.start);
        self.answers = self.answers.saturating_add(1);
        self.ttl_min = self.ttl_min.min(query.ttl_secs);
        self.ttl_max = self.ttl_max.max(query.ttl_secs);
        if latest == self.latest {
            return false;
        }
        self.latest = latest;
        let mut fresh = false;
        for &ip in public() {
            self.shown = self.shown.saturating_add(1);
            fresh |= push(&mut self.addresses, hash(&[&octets(ip)]));
            push(&mut self.networks, network(ip));
        }
        self.fresh = self.fresh.saturating_add(fresh.into());
        fresh
    }

    /// Whether what was seen is flux: many addresses, nearly as many networks, ever new ones, each for a short time.
    fn is_flux(&self) -> bool {
        self.addresses.len() >= MIN_ADDRESSES
            && self.networks.len() >= MIN_NETWORKS
            && self.fresh >= MIN_FRESH
            && self.last.since(self.since) >= MIN_DWELL
            && count(&self.addresses).saturating_mul(2) >= self.shown
            && self.ttl_max <= LONGEST_TTL
    }

    fn parts(&self, seen: &Seen<'_>, host: &dyn Host) -> Parts {
        let mut parts = Parts::default();
        let (addresses, networks) = (self.addresses.len(), self.networks.len());
        let detail = format!("{addresses} addresses in {networks} networks, ever new ones");
        parts.add("many_networks", 0.5, detail);
        if networks >= WIDE_NETWORKS {
            parts.add("wide", 0.5, "they lie in sixteen networks or more");
        }
        if self.ttl_max == 0 {
            // A source that tells none writes zero.
            parts.missing.push("time to live".into());
        } else if self.ttl_min <= SHORT_TTL {
            parts.add("short_ttl", 0.25, format!("answers hold for {} s only", self.ttl_min));
        }
        parts.context(seen.program, host.known_days(seen.registrable, None));
        parts.add("base", BIAS, "names with many addresses are mostly services with many servers");
        parts
    }

    fn finding(&self, seen: &Seen<'_>, query: &DnsEvent<'_>, parts: Parts) -> Finding {
        let dwell = u64::try_from(self.last.since(self.since) / NANOS_PER_SEC).unwrap_or(0);
        let reason = format!(
            "{} asks for {}, which led to {} addresses in {} networks within {}: ever other machines answer for it.",
            caller::name(seen.program),
            query.query,
            self.addresses.len(),
            self.networks.len(),
            human::span(dwell),
        );
        Finding {
            class: Class::FastFlux,
            subject: query.query.to_owned(),
            ceiling: Severity::High,
            missing: parts.missing,
            parts: parts.list,
            reason,
            program_key: seen.program.map_or(0, |program| program.key),
            process: seen.process,
            program: seen.program.map(|program| program.info.clone()),
            attribution: query.attribution,
            destination: Destination {
                name: query.query.to_owned(),
                registrable_domain: seen.registrable.to_owned(),
                fqdn: query.query.to_owned(),
                ip: query.addresses.first().copied(),
                port: query.resolver.map_or(53, |resolver| resolver.port()),
                transport: Transport::Udp,
                ..Destination::default()
            },
            evidence: Evidence {
                callbacks: self.answers,
                first_seen: self.since,
                last_seen: self.last,
                ..Evidence::default()
            },
            dns: Some(DnsEvidence {
                queries: self.answers,
                names: 1,
                addresses: count(&self.addresses),
                ttl_min_secs: (self.ttl_max > 0).then_some(self.ttl_min),
                resolver: query.resolver,
                samples: vec![query.query.to_owned()],
                ..DnsEvidence::default()
            }),
            indicators: Vec::new(),
            techniques: vec![technique("T1568.001", "Dynamic Resolution: Fast Flux DNS")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{self, Question, Scene};
    use super::*;

    /// Asks a name every `step` seconds; `answer` gives the addresses of each time.
    fn ask(
        name: &str,
        step: f64,
        times: u32,
        ttl: u32,
        answer: impl Fn(u32) -> Vec<String>,
    ) -> Scene<FluxDetector> {
        let mut scene = Scene::new(FluxDetector::default());
        for nth in 0..times {
            let answer = answer(nth);
            let addresses: Vec<&str> = answer.iter().map(String::as_str).collect();
            let at = f64::from(nth) * step;
            scene.ask(&Question { at, name, addresses: &addresses, ttl, ..Question::default() });
        }
        scene
    }

    /// The n-th home address of a made-up botnet: a network of its own each.
    fn home(nth: u32) -> String {
        let mixed = nth.wrapping_mul(2_654_435_761);
        format!("{}.{}.{}.{}", 77 + nth % 9, mixed >> 24, mixed >> 16 & 255, 1 + (mixed & 127))
    }

    #[test]
    fn ever_new_addresses_in_unrelated_networks_are_found_within_minutes() {
        let scene =
            ask("www.flux.example", 180.0, 20, 120, |nth| (0..4).map(|at| home(nth * 4 + at)).collect());
        assert_eq!(scene.severity(), Some(Severity::Medium));
        let first = &scene.found[0];
        assert!(first.evidence.last_seen.since(first.evidence.first_seen) <= 15 * 60 * NANOS_PER_SEC);
        assert!(first.dns.as_ref().unwrap().addresses >= 10);
        assert_eq!(first.techniques[0].id, "T1568.001");
        let mut known = Scene::new(FluxDetector::default());
        let implant = scene::implant();
        for nth in 0..20 {
            let answer = home(nth);
            let at = f64::from(nth) * 120.0;
            let addresses = [answer.as_str()];
            let question = Question {
                at,
                program: Some(&implant),
                name: "f.flux.example",
                addresses: &addresses,
                ..Question::default()
            };
            known.ask(&question);
        }
        assert_eq!(known.severity(), Some(Severity::High), "one address at a time, asked by an implant");
    }

    #[test]
    fn content_networks_clouds_pools_and_round_robin_are_quiet() {
        // A content network within one operator.
        let cdn = ask("www.shop.example", 60.0, 300, 60, |nth| {
            (0..2).map(|at| format!("104.{}.{}.{at}", 16 + nth % 15, nth % 250)).collect()
        });
        // A load balancer in a cloud: addresses all over the cloud's blocks.
        let cloud = ask("api.shop.example", 60.0, 300, 60, |nth| {
            (0..3)
                .map(|at| {
                    format!(
                        "{}.{}.{}.{at}",
                        [3, 18, 34, 52, 54][(nth % 5) as usize],
                        200 + nth % 40,
                        nth % 250
                    )
                })
                .collect()
        });
        // Two operators and the site's own servers, at weights.
        let mixed = ask("cdn.shop.example", 60.0, 300, 30, |nth| match nth % 3 {
            0 => vec![format!("151.101.{}.7", nth % 200)],
            1 => vec![format!("104.64.{}.9", nth % 200)],
            _ => vec![format!("192.0.2.{}", nth % 200)],
        });
        // Time servers: really all over the world.
        let time =
            ask("2.debian.pool.ntp.org", 60.0, 300, 130, |nth| (0..4).map(|at| home(nth * 4 + at)).collect());
        // A fixed pool of twelve servers, four at a time and all at once.
        let pool = ask("irc.chat.example", 300.0, 300, 300, |nth| {
            (0..4).map(|at| home((nth * 4 + at * 5) % 12)).collect()
        });
        let whole =
            ask("irc.chat.example", 300.0, 300, 300, |nth| (0..12).map(|at| home((nth + at) % 12)).collect());
        // Long times to live: an honest move of servers.
        let slow = ask("old.site.example", 7_200.0, 20, 86_400, |nth| vec![home(nth)]);
        for scene in [cdn, cloud, mixed, time, pool, whole, slow] {
            assert_eq!(scene.severity(), None, "{:#?}", scene.found);
        }
    }
}
