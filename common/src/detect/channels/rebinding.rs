//! Rebinding: a public name whose answer leads inside, so that a page of that name reaches what only the inside can.
//!
//! Most such answers are honest: resolvers that block, sites that answer differently inside, devices at home with public
//! names. What tells an attack is the change: the same resolver gives the same name a public address and, minutes later, an
//! inside one, both to be forgotten at once; or one answer holds both. No ATT&CK technique fits it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::{Detector, Finding, Host, Seen, What};
use super::caller::{self, Parts};
use super::services;
use super::table::{Saved, Table, Weigh, list_bytes};
use super::{hash, octets};
use crate::alert::{Class, Destination, DnsEvidence, Evidence, Severity};
use crate::domain::is_popular;
use crate::event::DnsEvent;
use crate::human;
use crate::net::{Transport, is_internal, is_link_local};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// A change within this time is one of an attack: the page has to stay open.
const SOON: i64 = 3_600 * NANOS_PER_SEC;
/// Times to live from which a browser asks again soon…
const SHORT_TTL: u32 = 300;
/// …or at once.
const NO_TTL: u32 = 10;
/// An inside address that so many public domains lead to is a resolver's that blocks, or a gateway's that wants a login.
const DOMAINS_OF_A_FILTER: usize = 3;
/// Inside addresses of which the domains are remembered.
const MAX_INSIDE: usize = 64;
/// What every name starts from: inside answers are mostly honest.
const BIAS: f64 = -2.0;

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    first: Timestamp,
    answers: u32,
    /// The latest public answer: when, by which resolver, for how long.
    public: Option<(Timestamp, u64, u32)>,
    /// Changes from public to inside by one resolver within the hour, and the smallest time to live around them.
    changes: u32,
    ttl: u32,
    /// Fastest change so far, in nanoseconds.
    fastest: i64,
    was_inside: bool,
    told: u32,
}

impl Weigh for Entry {
    fn heap_bytes(&self) -> usize {
        0
    }

    fn is_sound(&self) -> bool {
        true
    }

    fn shift(&mut self, nanos: i64) {
        self.first = self.first.plus_nanos(nanos);
        if let Some((at, ..)) = &mut self.public {
            *at = at.plus_nanos(nanos);
        }
    }
}

/// Finds rebinding.
#[derive(Debug, Default)]
pub struct RebindingDetector {
    entries: Table<Entry>,
    /// Inside addresses, and fingerprints of the first domains that led to each; the oldest leaves.
    inside: Vec<(IpAddr, Vec<u64>)>,
}

impl Detector for RebindingDetector {
    fn name(&self) -> &'static str {
        "rebinding"
    }

    fn class(&self) -> Class {
        Class::Rebinding
    }

    fn observe(&mut self, seen: &Seen<'_>, host: &dyn Host, found: &mut dyn FnMut(Finding)) {
        let What::Query(query) = seen.what else { return };
        let name = query.query;
        let multicast = query.resolver.is_some_and(|resolver| resolver.ip().is_multicast());
        if query.addresses.is_empty() || multicast || !name.contains('.') || services::leads_inside(name) {
            return;
        }
        // Whoever owns a name below these does not attack with it, and blocklists answer with loopback addresses.
        if is_popular(seen.registrable) || services::is_shared(name) || services::is_lookup(name) {
            return;
        }
        let to = query.addresses.iter().copied().find(|&ip| is_inside(ip));
        let public = query.addresses.iter().any(|&ip| !is_internal(ip));
        if let Some(to) = to {
            self.note_inside(to, seen.registrable);
        }
        let key = hash(&[name.as_bytes()]);
        let start = query.start;
        let Some(entry) = self.entries.entry(key, seen.time, || Entry::new(start)) else { return };
        entry.answers = entry.answers.saturating_add(1);
        let resolver = query.resolver.map_or(0, |resolver| hash(&[&octets(resolver.ip())]));
        let changed = to.is_some() && entry.changed(query, resolver);
        if public {
            entry.public = Some((start, resolver, query.ttl_secs));
        }
        entry.was_inside = to.is_some() && !public;
        if let Some(to) = to
            && (changed || public || is_link_local(to))
            && !filters(&self.inside, to)
            && (entry.told == 0 || entry.changes >= entry.told.saturating_mul(2))
        {
            let parts = entry.parts(seen, to, public, host);
            if parts.points() > crate::score::ALERT_POINTS {
                entry.told = entry.changes.max(1);
                found(entry.finding(seen, query, to, public, parts));
            }
        }
        self.entries.settle(key);
    }

    fn set_memory(&mut self, memory_bytes: usize) {
        self.entries.set_memory(memory_bytes);
    }

    fn memory_bytes(&self) -> usize {
        let domains: usize = self.inside.iter().map(|(_, domains)| list_bytes::<u64>(domains.len())).sum();
        self.entries.memory_bytes() + list_bytes::<(IpAddr, Vec<u64>)>(self.inside.len()) + domains
    }

    fn evicted(&self) -> u64 {
        self.entries.evicted()
    }

    fn shift(&mut self, nanos: i64) {
        self.entries.shift(nanos);
    }

    fn save(&self) -> Vec<u8> {
        let saved = self.entries.saved().map(|entries| (entries, &self.inside));
        saved.and_then(|saved| postcard::to_allocvec(&saved).ok()).unwrap_or_default()
    }

    fn restore(&mut self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let Ok((entries, inside)) = postcard::from_bytes::<(Saved<Entry>, Vec<(IpAddr, Vec<u64>)>)>(bytes)
        else {
            return false;
        };
        self.inside = inside;
        let sound = self.inside.iter().all(|(_, domains)| domains.len() <= DOMAINS_OF_A_FILTER);
        sound && self.inside.len() <= MAX_INSIDE && self.entries.restore(entries)
    }
}

impl RebindingDetector {
    fn note_inside(&mut self, ip: IpAddr, registrable: &str) {
        let domain = hash(&[registrable.as_bytes()]);
        match self.inside.iter_mut().find(|(known, _)| *known == ip) {
            Some((_, domains)) if domains.contains(&domain) || domains.len() >= DOMAINS_OF_A_FILTER => {}
            Some((_, domains)) => domains.push(domain),
            None => {
                if self.inside.len() >= MAX_INSIDE {
                    self.inside.remove(0);
                }
                self.inside.push((ip, vec![domain]));
            }
        }
    }
}

/// Whether so many domains lead to an inside address that it is a filter's.
fn filters(inside: &[(IpAddr, Vec<u64>)], ip: IpAddr) -> bool {
    inside.iter().any(|(known, domains)| *known == ip && domains.len() >= DOMAINS_OF_A_FILTER)
}

/// Whether a page that leads there reaches something inside. Multicast reaches nothing.
fn is_inside(ip: IpAddr) -> bool {
    is_internal(ip) && !ip.is_multicast()
}

impl Entry {
    const fn new(start: Timestamp) -> Self {
        Self {
            first: start,
            answers: 0,
            public: None,
            changes: 0,
            ttl: u32::MAX,
            fastest: i64::MAX,
            was_inside: false,
            told: 0,
        }
    }

    /// Whether an inside answer follows a public one of the same resolver soon enough; counts it. A site that answers
    /// differently inside does so through another resolver.
    fn changed(&mut self, query: &DnsEvent<'_>, resolver: u64) -> bool {
        let Some((at, by, ttl)) = self.public else { return false };
        let took = query.start.since(at);
        let ttl = ttl.max(query.ttl_secs);
        if self.was_inside || by != resolver || !(0..=SOON).contains(&took) || ttl > SHORT_TTL {
            return false;
        }
        self.changes = self.changes.saturating_add(1);
        self.ttl = self.ttl.min(ttl);
        self.fastest = self.fastest.min(took);
        true
    }

    fn parts(&self, seen: &Seen<'_>, to: IpAddr, both: bool, host: &dyn Host) -> Parts {
        let mut parts = Parts::default();
        if self.changes > 0 {
            let took = human::span(u64::try_from(self.fastest / NANOS_PER_SEC).unwrap_or(0));
            parts.add("change", 2.25, format!("the name led to a public address {took} before"));
            if self.ttl <= NO_TTL {
                parts.add("no_ttl", 0.5, "both answers are to be forgotten at once");
            }
        }
        if self.changes > 1 {
            parts.add("back_and_forth", 0.5, format!("it changed {} times", self.changes));
        }
        if both {
            parts.add("both", 1.75, "one answer holds a public and an inside address");
        }
        if is_link_local(to) {
            parts.add("link_local", 1.75, "the address is link-local, where clouds keep credentials");
        }
        if seen.program.is_some_and(|program| services::is_browser(&program.info)) {
            parts.add("browser", 0.25, "a browser asked, which runs pages of that name");
        }
        parts.context(seen.program, host.known_days(seen.registrable, None));
        parts.add("base", BIAS, "public names that lead inside are mostly honest");
        parts
    }

    fn finding(
        &self,
        seen: &Seen<'_>,
        query: &DnsEvent<'_>,
        to: IpAddr,
        both: bool,
        parts: Parts,
    ) -> Finding {
        let how = match (self.changes, both) {
            (0, true) => "in one answer with a public address".to_owned(),
            (0, false) => "although it is a public name".to_owned(),
            (1, _) => "after it led to a public address".to_owned(),
            (times, _) => format!("{times} times after it led to a public address"),
        };
        let reason =
            format!("{} asked for {}, which led to {to} {how}.", caller::name(seen.program), query.query);
        Finding {
            class: Class::Rebinding,
            subject: query.query.to_owned(),
            ceiling: if self.changes > 0 || both { Severity::High } else { Severity::Medium },
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
                ip: Some(to),
                port: query.resolver.map_or(53, |resolver| resolver.port()),
                transport: Transport::Udp,
                ..Destination::default()
            },
            evidence: Evidence {
                callbacks: self.answers,
                first_seen: self.first,
                last_seen: query.start.max(self.first),
                ..Evidence::default()
            },
            dns: Some(DnsEvidence {
                queries: self.answers,
                names: 1,
                addresses: u32::try_from(query.addresses.len()).unwrap_or(u32::MAX),
                ttl_min_secs: Some(query.ttl_secs),
                resolver: query.resolver,
                samples: vec![query.query.to_owned()],
                ..DnsEvidence::default()
            }),
            indicators: Vec::new(),
            techniques: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Question, Scene, at};
    use super::*;

    fn answers(list: &[(f64, &str, &str, &[&str], u32)]) -> Scene<RebindingDetector> {
        let mut scene = Scene::new(RebindingDetector::default());
        for &(at, resolver, name, addresses, ttl) in list {
            scene.ask(&Question { at, resolver, name, addresses, ttl, ..Question::default() });
        }
        scene
    }

    const OWN: &str = "192.168.0.1";
    const OTHER: &str = "10.8.0.1";

    #[test]
    fn a_name_that_turns_inside_is_found() {
        let name = "x7.rebind.example";
        let quick = answers(&[(0.0, OWN, name, &["203.0.113.7"], 1), (8.0, OWN, name, &["192.168.0.1"], 1)]);
        assert_eq!(quick.severity(), Some(Severity::High));
        let slow = answers(&[(0.0, OWN, name, &["203.0.113.7"], 60), (300.0, OWN, name, &["127.0.0.1"], 60)]);
        assert_eq!(slow.severity(), Some(Severity::Medium));
        let both = answers(&[(0.0, OWN, name, &["203.0.113.7", "0.0.0.0"], 30)]);
        assert_eq!(both.severity(), Some(Severity::Medium));
        let metadata = answers(&[(0.0, OWN, name, &["169.254.169.254"], 300)]);
        assert_eq!(metadata.severity(), Some(Severity::Medium));
        assert!(quick.found[0].techniques.is_empty(), "no technique fits");
        assert_eq!(quick.found[0].evidence.last_seen, at(8.0));
    }

    #[test]
    fn a_name_that_goes_back_and_forth_is_handed_out_at_doublings() {
        let name = "7f000001.cb007107.rbndr.example";
        let mut scene = Scene::new(RebindingDetector::default());
        for nth in 0..64 {
            let addresses = [["203.0.113.7"], ["127.0.0.1"]][nth % 2];
            let question = Question {
                at: f64::from(u32::try_from(nth).unwrap()),
                resolver: OWN,
                name,
                addresses: &addresses,
                ttl: 1,
                ..Question::default()
            };
            scene.ask(&question);
        }
        assert_eq!(scene.found.len(), 6, "after 1, 2, 4, 8, 16 and 32 changes");
    }

    #[test]
    fn honest_inside_answers_are_quiet() {
        let office = "intranet.corp-site.example";
        let sites = answers(&[
            // Only ever inside.
            (0.0, OWN, office, &["10.1.2.3"], 60),
            (9.0, OWN, office, &["10.1.2.3"], 60),
            // Outside before the tunnel to the office, inside within it: another resolver.
            (20.0, OWN, "mail.corp-site.example", &["203.0.113.7"], 60),
            (80.0, OTHER, "mail.corp-site.example", &["10.1.2.4"], 60),
            // The next morning in the office, whose router has the address of the one at home.
            (90.0, OWN, "vpn.corp-site.example", &["203.0.113.8"], 60),
            (50_000.0, OWN, "vpn.corp-site.example", &["10.1.2.5"], 60),
            // Devices at home.
            (100.0, OWN, "192-168-0-9.ab12.plex.direct", &["203.0.113.9"], 60),
            (101.0, OWN, "192-168-0-9.ab12.plex.direct", &["192.168.0.9"], 60),
            (102.0, OWN, "10.0.0.1.nip.io", &["10.0.0.1"], 60),
            // A list of reputation, and what blocks.
            (103.0, OWN, "2.0.0.127.zen.spamhaus.org", &["127.0.0.2"], 60),
            (104.0, OWN, "ads.tracker.example", &["0.0.0.0"], 2),
            (105.0, OWN, "s3.amazonaws.com", &["203.0.113.9"], 5),
            (106.0, OWN, "s3.amazonaws.com", &["10.0.0.9"], 5),
        ]);
        assert_eq!(sites.severity(), None, "{:#?}", sites.found);
    }

    /// A portal answers every name with its own address until someone logs in. Its first answers may look like an attack.
    #[test]
    fn a_filter_is_known_by_the_many_domains_that_lead_to_it() {
        let mut scene = answers(&[
            (0.0, OWN, "a.one.example", &["10.0.0.1"], 1),
            (1.0, OWN, "b.two.example", &["10.0.0.1"], 1),
            (2.0, OWN, "c.three.example", &["10.0.0.1"], 1),
        ]);
        for (at, ip) in [(3.0, "203.0.113.7"), (4.0, "10.0.0.1")] {
            let question = Question {
                at,
                resolver: OWN,
                name: "d.four.example",
                addresses: &[ip],
                ttl: 1,
                ..Question::default()
            };
            scene.ask(&question);
        }
        assert_eq!(scene.severity(), None);
    }
}
