//! Data carried in names: very many bytes of distinct names below one domain within minutes (scorer specification 6, rule 4).
//!
//! What tells a tunnel from a service that is asked about many things is weighed, not presumed: how long the names are, which
//! record types carry the way back, what the answers are, whose the domain is, and who asks whom.

use serde::{Deserialize, Serialize};

use super::super::{Detector, Finding, Host, Seen, What};
use super::caller::{self, Parts};
use super::distinct::Distinct;
use super::names::{entropy, is_carrier, is_listed, type_name, wire_bytes, zone};
use super::resolvers::{Resolvers, Standing};
use super::services;
use super::table::{Saved, Table, Weigh, list_bytes};
use super::{MAX_SAMPLES, hash, octets, technique};
use crate::alert::{Class, Destination, DnsEvidence, Evidence, Severity};
use crate::domain::{is_popular, literal_address};
use crate::event::{DnsEvent, MAX_NAME_BYTES};
use crate::human;
use crate::net::{Transport, is_internal};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Queries are counted over so long.
const WINDOW: i64 = 600 * NANOS_PER_SEC;
/// Bytes of distinct sub-names within a window from which it may be a tunnel.
const MIN_BYTES: f64 = 4_000.0;
/// Distinct names of a tunnel whose names are not long and whose types are ordinary…
const MANY_NAMES: f64 = 100.0;
/// …the mean entropy of their characters, in bits…
const MIN_ENTROPY: f64 = 3.0;
/// …and their mean length, in bytes: hundreds of shorter names are numbered servers.
const MIN_LENGTH: f64 = 16.0;
/// Mean length of a sub-name from which it is long, in bytes.
const LONG_NAME: f64 = 40.0;
/// Distinct names below which nothing is called a tunnel.
const MIN_NAMES: f64 = 16.0;
/// What every count starts from: services that are asked about many things are more common than tunnels.
const BIAS: f64 = -1.0;
/// Samples are kept once a window holds so many bytes: most domains never do.
const SAMPLED_BYTES: f64 = 1_000.0;
/// Bytes sent in names from which their direction is worth a word.
const EXFILTRATION_BYTES: f64 = 20_000.0;
/// Record types that are told apart per window.
const MAX_TYPES: usize = 8;

/// Names, answers and types of one window.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Window {
    since: Timestamp,
    queries: u32,
    distinct: Distinct,
    names: f64,
    /// Bytes of distinct sub-names, and the sum of their entropies.
    bytes: f64,
    entropy: f64,
    /// Queries of a type that carries data back.
    carriers: u32,
    nxdomain: u32,
    answered: u32,
    /// Answers that lead to loopback, as lists of reputation answer, and to inside addresses.
    loopback: u32,
    inside: u32,
    address_bytes: u64,
    addresses: u32,
    ttl_min: Option<u32>,
    types: Vec<(u16, u32)>,
    /// Bytes at which it is looked at next.
    next: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    zone: Box<str>,
    window: Window,
    first: Timestamp,
    last: Timestamp,
    queries: u32,
    bytes: f64,
    /// Bytes in all when it was last handed out.
    told: Option<(f64, Timestamp)>,
    samples: Vec<Box<str>>,
}

impl Weigh for Entry {
    fn heap_bytes(&self) -> usize {
        let samples: usize = self.samples.iter().map(|name| name.len()).sum();
        self.zone.len()
            + self.window.distinct.heap_bytes()
            + list_bytes::<(u16, u32)>(self.window.types.len())
            + list_bytes::<Box<str>>(self.samples.len())
            + samples
    }

    fn is_sound(&self) -> bool {
        let Window { names, bytes, entropy, next, .. } = self.window;
        let numbers = [names, bytes, entropy, next, self.bytes, self.told.map_or(0.0, |(told, _)| told)];
        numbers.iter().all(|number| number.is_finite())
            && self.window.distinct.is_sound()
            && self.window.types.len() <= MAX_TYPES
            && self.samples.len() <= MAX_SAMPLES
            && self.samples.iter().chain([&self.zone]).all(|name| name.len() <= MAX_NAME_BYTES)
    }

    fn shift(&mut self, nanos: i64) {
        self.first = self.first.plus_nanos(nanos);
        self.last = self.last.plus_nanos(nanos);
        self.window.since = self.window.since.plus_nanos(nanos);
        if let Some((_, told)) = &mut self.told {
            *told = told.plus_nanos(nanos);
        }
    }
}

/// Finds tunnels.
#[derive(Debug, Default)]
pub struct TunnelDetector {
    entries: Table<Entry>,
    resolvers: Resolvers,
}

impl Detector for TunnelDetector {
    fn name(&self) -> &'static str {
        "dns_tunnel"
    }

    fn class(&self) -> Class {
        Class::DnsTunnel
    }

    fn observe(&mut self, seen: &Seen<'_>, host: &dyn Host, found: &mut dyn FnMut(Finding)) {
        let What::Query(query) = seen.what else { return };
        let resolver = query.resolver.map(|resolver| resolver.ip());
        if resolver.is_some_and(|ip| ip.is_multicast()) || literal_address(query.query).is_some() {
            return;
        }
        if let Some(ip) = resolver {
            self.resolvers.note(seen.program, ip, seen.time);
        }
        let Some((zone, below)) = zone(seen.registrable, query.query) else { return };
        let standing = resolver.map_or(Standing::Unknown, |ip| self.resolvers.standing(seen.program, ip));
        // An own resolver passes the question on to whoever the zone belongs to; another one may be anybody.
        if standing != Standing::Odd && services::is_lookup(query.query) {
            return;
        }
        let program = seen.program.map_or(0, |program| program.key).to_le_bytes();
        // Names without a domain belong to whoever answers them.
        let asked = resolver.filter(|_| zone.is_empty()).map_or([0; 16], octets);
        let key = hash(&[&program, zone.as_bytes(), &asked]);
        let made = || Entry::new(zone, query.start);
        let Some(entry) = self.entries.entry(key, seen.time, made) else { return };
        if entry.count(below, query) {
            let fits = entry.judge(seen, query, standing, host, found);
            // Looked at again when it has grown by an eighth, or doubled once it was found.
            entry.window.next = entry.window.bytes * if fits { 2.0 } else { 1.125 };
        }
        self.entries.settle(key);
    }

    fn set_memory(&mut self, memory_bytes: usize) {
        self.entries.set_memory(memory_bytes);
    }

    fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes() + self.resolvers.heap_bytes()
    }

    fn evicted(&self) -> u64 {
        self.entries.evicted()
    }

    fn shift(&mut self, nanos: i64) {
        self.entries.shift(nanos);
        self.resolvers.shift(nanos);
    }

    fn save(&self) -> Vec<u8> {
        let saved = self.entries.saved().map(|entries| (entries, &self.resolvers));
        saved.and_then(|saved| postcard::to_allocvec(&saved).ok()).unwrap_or_default()
    }

    fn restore(&mut self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let Ok((entries, resolvers)) = postcard::from_bytes::<(Saved<Entry>, Resolvers)>(bytes) else {
            return false;
        };
        self.resolvers = resolvers;
        self.resolvers.is_sound() && self.entries.restore(entries)
    }
}

impl Entry {
    fn new(zone: &str, start: Timestamp) -> Self {
        Self {
            zone: zone.into(),
            window: Window { since: start, next: MIN_BYTES, ..Window::default() },
            first: start,
            last: start,
            queries: 0,
            bytes: 0.0,
            told: None,
            samples: Vec::new(),
        }
    }

    /// Counts a query; whether it brought the window to where it is looked at.
    fn count(&mut self, below: &str, query: &DnsEvent<'_>) -> bool {
        self.queries = self.queries.saturating_add(1);
        self.first = self.first.min(query.start);
        self.last = self.last.max(query.start);
        if !(0..WINDOW).contains(&query.start.since(self.window.since)) {
            self.window = Window { since: query.start, next: MIN_BYTES, ..Window::default() };
        }
        let Window { distinct, types, .. } = &mut self.window;
        let stands_for = distinct.insert(hash(&[below.as_bytes()]));
        if let Some((_, count)) = types.iter_mut().find(|(known, _)| *known == query.query_type) {
            *count = count.saturating_add(1);
        } else if types.len() < MAX_TYPES {
            types.push((query.query_type, 1));
        }
        let window = &mut self.window;
        window.queries = window.queries.saturating_add(1);
        window.carriers = window.carriers.saturating_add(u32::from(is_carrier(query.query_type)));
        window.nxdomain = window.nxdomain.saturating_add(u32::from(query.response_code == Some(3)));
        window.answered = window.answered.saturating_add(u32::from(query.response_code.is_some()));
        if let Some(first) = query.addresses.first() {
            window.ttl_min =
                Some(window.ttl_min.map_or(query.ttl_secs, |smallest| smallest.min(query.ttl_secs)));
            window.loopback = window.loopback.saturating_add(u32::from(is_listed(*first)));
            window.inside =
                window.inside.saturating_add(u32::from(!is_listed(*first) && is_internal(*first)));
        }
        let carried: u64 = query.addresses.iter().map(|ip| if ip.is_ipv4() { 4 } else { 16 }).sum();
        window.address_bytes = window.address_bytes.saturating_add(carried);
        window.addresses =
            window.addresses.saturating_add(u32::try_from(query.addresses.len()).unwrap_or(u32::MAX));
        if stands_for == 0.0 {
            return false;
        }
        let length = wire_bytes(below);
        window.names += stands_for;
        window.bytes += stands_for * length;
        window.entropy += stands_for * entropy(below);
        self.bytes += stands_for * length;
        if window.bytes >= SAMPLED_BYTES && self.samples.len() < MAX_SAMPLES {
            let end = query.query.floor_char_boundary(MAX_NAME_BYTES);
            self.samples.push(query.query.get(..end).unwrap_or_default().into());
        }
        self.window.bytes >= self.window.next
    }

    /// Whether the window is a tunnel's by volume; hands it out if there is news.
    fn judge(
        &mut self,
        seen: &Seen<'_>,
        query: &DnsEvent<'_>,
        standing: Standing,
        host: &dyn Host,
        found: &mut dyn FnMut(Finding),
    ) -> bool {
        let Window { names, bytes, queries, carriers, .. } = self.window;
        let (mean, entropy) = (bytes / names, self.window.entropy / names);
        let carried = carriers.saturating_mul(2) >= queries;
        let many = names >= MANY_NAMES && entropy >= MIN_ENTROPY && mean >= MIN_LENGTH;
        let long = mean >= LONG_NAME;
        if names < MIN_NAMES || !(many || long || carried) {
            return false;
        }
        let news = self.told.is_none_or(|(told, when)| {
            self.bytes >= told * 2.0 || seen.time.since(when) >= 86_400 * NANOS_PER_SEC
        });
        if !news {
            return true;
        }
        let parts = self.parts(seen, standing, host, mean, many, long, carried);
        if parts.points() <= crate::score::ALERT_POINTS {
            return false;
        }
        self.told = Some((self.bytes, seen.time));
        found(self.finding(seen, query, parts, entropy));
        true
    }

    #[expect(clippy::too_many_arguments, reason = "what was measured, once more by name")]
    fn parts(
        &self,
        seen: &Seen<'_>,
        standing: Standing,
        host: &dyn Host,
        mean: f64,
        many: bool,
        long: bool,
        carried: bool,
    ) -> Parts {
        let Window { bytes, names, answered, loopback, nxdomain, inside, .. } = self.window;
        let mut parts = Parts::default();
        let volume = ((bytes / MIN_BYTES).log2() / 2.0).clamp(0.0, 1.5);
        let detail = format!("{} of distinct names {}", human::bytes(whole(bytes)), self.within(seen.time));
        parts.add("name_volume", volume, detail);
        if long {
            parts.add("long_names", 1.0, format!("the names are long: {mean:.0} bytes on average"));
        }
        if carried {
            let detail = "at least half of the queries are of types that carry data back (such as TXT)";
            parts.add("carrier_types", 1.0, detail);
        }
        if many {
            let detail = format!("{} distinct names that look like no words", human::count(whole(names)));
            parts.add("many_names", 0.5, detail);
        }
        // What a service of look-ups answers. Its volume says nothing, so it is taken back, too.
        let half = |count: u32, of: u32| of > 0 && count.saturating_mul(2) >= of;
        let most = |count: u32, of: u32| of > 0 && u64::from(count) * 5 >= u64::from(of) * 4;
        if half(loopback, answered) && !carried {
            let detail = "most answers are loopback addresses, as lists of reputation answer";
            parts.add("look_ups", -2.0 - volume, detail);
        } else if most(nxdomain.saturating_add(loopback), answered) && !long && !carried {
            parts.add("look_ups", -1.0 - volume, "nearly all names do not exist, as in look-ups of lists");
        } else if half(inside, answered) && !long && !carried {
            parts.add("inside", -2.0 - volume, "most names lead to inside addresses");
        } else if standing != Standing::Odd && (is_popular(&self.zone) || services::is_shared(&self.zone)) {
            parts.add("popular", -2.0 - volume, "the domain is widely used");
        }
        if standing == Standing::Odd {
            parts.add("odd_resolver", 0.5, "the resolver that is asked is not this host's");
        }
        if seen.program.is_some_and(|program| services::is_resolver_program(&program.info)) {
            parts.add("resolver", -0.5, "the program asks on behalf of others");
        }
        parts.context(seen.program, host.known_days(&self.zone, None));
        if volume > 0.0 && parts.list.iter().any(|part| part.name == "established") {
            parts.add("known_here", -volume, "what both have long been here for may be much");
        }
        parts.add("base", BIAS, "services that are asked about many things are more common than tunnels");
        parts
    }

    fn within(&self, now: Timestamp) -> String {
        let secs = now.since(self.window.since) / NANOS_PER_SEC;
        format!("within {}", human::span(u64::try_from(secs).unwrap_or(0).max(1)))
    }

    fn finding(&self, seen: &Seen<'_>, query: &DnsEvent<'_>, parts: Parts, entropy: f64) -> Finding {
        let window = &self.window;
        let caller = caller::name(seen.program);
        let resolver = query.resolver.map(|resolver| resolver.to_string()).unwrap_or_default();
        let (subject, whom) = match &*self.zone {
            "" => {
                (format!("no domain, at {resolver}"), format!("names without a domain, asked of {resolver}"))
            }
            zone => (zone.to_owned(), format!("names below {zone}")),
        };
        let mut types = window.types.clone();
        types.sort_unstable_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
        let reason = format!(
            "{caller} carries data in {whom}: {} distinct names with {} {}, most of type {}.",
            human::count(whole(window.names)),
            human::bytes(whole(window.bytes)),
            self.within(seen.time),
            types.first().map_or_else(String::new, |&(kind, _)| type_name(kind)),
        );
        let mut techniques = vec![
            technique("T1071.004", "Application Layer Protocol: DNS"),
            technique("T1572", "Protocol Tunneling"),
        ];
        // Only addresses came back, and a quarter of what was sent at most: whatever it is, it goes out.
        let back = u32::try_from(window.address_bytes).map_or(f64::INFINITY, f64::from);
        if window.carriers == 0 && window.bytes >= EXFILTRATION_BYTES && back * 4.0 <= window.bytes {
            let name = "Exfiltration Over Unencrypted Non-C2 Protocol";
            techniques.insert(0, technique("T1048.003", name));
        }
        Finding {
            class: Class::DnsTunnel,
            subject,
            ceiling: if seen.program.is_some() { Severity::Critical } else { Severity::High },
            missing: parts.missing,
            parts: parts.list,
            reason,
            program_key: seen.program.map_or(0, |program| program.key),
            process: seen.process,
            program: seen.program.map(|program| program.info.clone()),
            attribution: query.attribution,
            destination: Destination {
                name: if self.zone.is_empty() { resolver } else { self.zone.to_string() },
                registrable_domain: self.zone.to_string(),
                ip: query.resolver.map(|resolver| resolver.ip()),
                port: query.resolver.map_or(53, |resolver| resolver.port()),
                transport: Transport::Udp,
                ..Destination::default()
            },
            evidence: Evidence {
                callbacks: self.queries,
                first_seen: self.first,
                last_seen: self.last,
                bytes_out: whole(self.bytes),
                ..Evidence::default()
            },
            dns: Some(DnsEvidence {
                queries: window.queries,
                names: u32::try_from(whole(window.names)).unwrap_or(u32::MAX),
                nxdomain: window.nxdomain,
                name_bytes: whole(window.bytes),
                entropy_bits: Some((entropy * 1000.0).round() / 1000.0),
                generated_score: None,
                types: types.into_iter().map(|(kind, count)| (type_name(kind), count)).collect(),
                addresses: window.addresses,
                ttl_min_secs: window.ttl_min,
                resolver: query.resolver,
                samples: self.samples.iter().map(|name| name.to_string()).collect(),
            }),
            indicators: Vec::new(),
            techniques,
        }
    }
}

/// Rounded to a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that is cast saturates, and counts are not negative"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests;
