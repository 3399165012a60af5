//! Another resolver than the host's own, asked by a program that is neither a browser nor a resolver: over plain DNS, DNS over
//! TLS (RFC 7858) or DNS over HTTPS (RFC 8484).
//!
//! By itself it is a way around the site's resolver and its log, no more: medium at most. Nothing is found without a process,
//! because the rule is about who asks.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::{Detector, Finding, Host, Seen, What};
use super::caller::{self, Parts};
use super::resolvers::{Resolvers, Standing};
use super::services;
use super::table::{Saved, Table, Weigh};
use super::{hash, octets, technique};
use crate::alert::{Class, Destination, DnsEvidence, Evidence, Severity};
use crate::domain::registrable;
use crate::event::{ConnectionEvent, DnsEvent, Phase};
use crate::net::{Transport, is_internal, is_no_peer};
use crate::process::image_name;
use crate::program::Program;
use crate::time::Timestamp;

const DNS_PORT: u16 = 53;
/// DNS over TLS and over QUIC (RFC 7858 section 3.1, RFC 9250 section 4.1.1).
const TLS_PORT: u16 = 853;
const HTTPS_PORT: u16 = 443;
/// What every finding starts from: just an alert, for a program of which nothing speaks.
const BIAS: f64 = -0.25;

/// How a resolver is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
    Https,
}

impl Way {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain DNS",
            Self::Tls => "DNS over TLS",
            Self::Https => "DNS over HTTPS",
        }
    }

    /// Times it has to happen: a single packet may be a try, and a connection may carry thousands of questions.
    const fn enough(self) -> u32 {
        match self {
            Self::Plain => 5,
            Self::Tls => 2,
            Self::Https => 1,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    first: Timestamp,
    last: Timestamp,
    count: u32,
    /// Count when it was last handed out.
    told: u32,
}

impl Weigh for Entry {
    fn heap_bytes(&self) -> usize {
        0
    }

    fn is_sound(&self) -> bool {
        self.first <= self.last
    }

    fn shift(&mut self, nanos: i64) {
        self.first = self.first.plus_nanos(nanos);
        self.last = self.last.plus_nanos(nanos);
    }
}

/// One time that a program asked a resolver.
struct Asked<'a> {
    way: Way,
    start: Timestamp,
    ip: IpAddr,
    port: u16,
    transport: Transport,
    /// Name under which the resolver was called, if any.
    name: &'a str,
    /// The name asked for, where it can be seen.
    question: &'a str,
    attribution: crate::process::Attribution,
}

/// Finds programs that bypass the host's resolvers.
#[derive(Debug, Default)]
pub struct BypassDetector {
    entries: Table<Entry>,
    resolvers: Resolvers,
}

impl Detector for BypassDetector {
    fn name(&self) -> &'static str {
        "resolver_bypass"
    }

    fn class(&self) -> Class {
        Class::ResolverBypass
    }

    fn observe(&mut self, seen: &Seen<'_>, host: &dyn Host, found: &mut dyn FnMut(Finding)) {
        let asked = match seen.what {
            What::Query(query) => plain(query),
            What::Connection(event) => by_port(seen, event),
        };
        let Some(asked) = asked else { return };
        if asked.way != Way::Https {
            self.resolvers.note(seen.program, asked.ip, seen.time);
        }
        let Some(program) = seen.program else { return };
        let standing = self.resolvers.standing(Some(program), asked.ip);
        let exempt = services::is_browser(&program.info) || services::is_resolver_program(&program.info);
        if exempt || asked.ip.is_loopback() {
            return;
        }
        // That a resolver of one's own is asked over TLS is no bypass, and that another one is asked in plain is none before
        // the host's own are known.
        match (asked.way, standing) {
            (Way::Plain | Way::Tls, Standing::Usual) | (Way::Plain, Standing::Unknown) => return,
            _ => {}
        }
        let whom = if asked.name.is_empty() { "" } else { asked.name };
        let ip = if whom.is_empty() { octets(asked.ip) } else { [0; 16] };
        let key = hash(&[&program.key.to_le_bytes(), asked.way.as_str().as_bytes(), whom.as_bytes(), &ip]);
        let start = asked.start;
        let made = || Entry { first: start, last: start, count: 0, told: 0 };
        let Some(entry) = self.entries.entry(key, seen.time, made) else { return };
        entry.count = entry.count.saturating_add(1);
        entry.last = entry.last.max(start);
        let due = entry.count >= asked.way.enough() && entry.count >= entry.told.saturating_mul(2);
        if due {
            // A host that moved to another network asks its old resolvers no more.
            let own = self.resolvers.usual_since(Some(program), entry.first, seen.time);
            if asked.way != Way::Plain || own.is_some() {
                entry.told = entry.count;
                found(finding(seen, program, &asked, entry, own, standing, host));
            }
        }
        self.entries.settle(key);
    }

    fn resolvers(&mut self, addresses: &[IpAddr]) {
        self.resolvers.tell(addresses);
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
        self.resolvers.restore(resolvers);
        self.resolvers.is_sound() && self.entries.restore(entries)
    }
}

/// A question in plain.
fn plain<'a>(query: &DnsEvent<'a>) -> Option<Asked<'a>> {
    let resolver = query.resolver.filter(|resolver| resolver.port() == DNS_PORT)?;
    let ip = resolver.ip();
    if is_no_peer(ip) && !ip.is_loopback() {
        return None;
    }
    Some(Asked {
        way: Way::Plain,
        start: query.start,
        ip,
        port: DNS_PORT,
        transport: Transport::Udp,
        name: "",
        question: query.query,
        attribution: query.attribution,
    })
}

/// A connection to a resolver, as far as its port and name tell one.
fn by_port<'a>(seen: &Seen<'a>, event: &ConnectionEvent<'_>) -> Option<Asked<'a>> {
    if !matches!(event.phase, Phase::Opened | Phase::Whole(_)) {
        return None;
    }
    let proxied = event.names.connect_port;
    let port = if proxied == 0 { event.tuple.remote.port() } else { proxied };
    let ip = event.tuple.remote.ip();
    let way = match port {
        // Where the source shows no questions, as most logs of connections.
        DNS_PORT if proxied == 0 && (ip.is_loopback() || !is_no_peer(ip)) => Way::Plain,
        TLS_PORT if event.tuple.transport != Transport::Icmp => Way::Tls,
        // By name; by address only where nothing else is said.
        HTTPS_PORT if services::is_resolver_name(seen.name) => Way::Https,
        HTTPS_PORT if seen.name.is_empty() || crate::domain::literal_address(seen.name).is_some() => {
            services::is_resolver_address(ip).then_some(Way::Https)?
        }
        _ => return None,
    };
    Some(Asked {
        way,
        start: event.start,
        ip,
        port,
        transport: event.tuple.transport,
        name: if way == Way::Plain { "" } else { seen.name },
        question: "",
        attribution: event.attribution,
    })
}

/// Tools that ask any resolver they are told to. Used by hand, and by attackers: they weigh less, not nothing.
fn is_diagnostic(program: &Program) -> bool {
    let name = image_name(&program.info.image).to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    ["dig", "nslookup", "host", "drill", "kdig", "delv", "dog", "q"].contains(&name)
        && program.in_bad_location() != Some(true)
        && program.info.signed != Some(false)
}

fn finding(
    seen: &Seen<'_>,
    program: &Program,
    asked: &Asked<'_>,
    entry: &Entry,
    own: Option<IpAddr>,
    standing: Standing,
    host: &dyn Host,
) -> Finding {
    let resolver = if asked.name.is_empty() { asked.ip.to_string() } else { asked.name.to_owned() };
    let mut parts = Parts::default();
    let detail =
        format!("{} to {resolver}, by a program that is no browser and no resolver", asked.way.as_str());
    parts.add("bypass", 0.0, detail);
    if standing == Standing::Usual {
        let detail = "the same resolver is this host's, so that only its encryption is new";
        parts.add("same_operator", -1.0, detail);
    }
    if asked.way == Way::Plain && is_internal(asked.ip) {
        parts.add("inside", -1.0, "the resolver lies inside the site");
    }
    if is_diagnostic(program) {
        parts.add("diagnostic", -1.0, "the program is a tool to ask resolvers with");
    }
    let domain = if asked.name.is_empty() { "" } else { registrable(asked.name) };
    parts.context(Some(program), host.known_days(domain, Some(asked.ip)));
    parts.add("base", BIAS, "a resolver of one's own choice is mostly a setting");
    let own = own.map(|own| format!(", although this host's resolver is {own}")).unwrap_or_default();
    let times = if entry.count == 1 { "once".to_owned() } else { format!("{} times", entry.count) };
    let reason = format!(
        "{} asks {resolver} for names over {} ({times}){own}.",
        caller::name(Some(program)),
        asked.way.as_str()
    );
    let mut techniques = vec![technique("T1071.004", "Application Layer Protocol: DNS")];
    match asked.way {
        Way::Plain => {}
        Way::Tls => techniques.push(technique("T1573", "Encrypted Channel")),
        Way::Https => techniques.push(technique("T1572", "Protocol Tunneling")),
    }
    let samples = if asked.question.is_empty() { Vec::new() } else { vec![asked.question.to_owned()] };
    // Medium by itself: what is known of the program must say more.
    let context: f64 = (parts.list.iter())
        .filter(|part| ["location", "script_host", "parent", "unsigned"].contains(&part.name.as_ref()))
        .map(|part| part.points)
        .sum();
    Finding {
        class: Class::ResolverBypass,
        subject: format!("{} {resolver}", asked.way.as_str()),
        ceiling: if context > 0.0 { Severity::High } else { Severity::Medium },
        missing: parts.missing,
        parts: parts.list,
        reason,
        program_key: program.key,
        process: seen.process,
        program: Some(program.info.clone()),
        attribution: asked.attribution,
        destination: Destination {
            name: resolver,
            registrable_domain: domain.to_owned(),
            fqdn: seen.fqdn.to_owned(),
            ip: Some(asked.ip),
            port: asked.port,
            transport: asked.transport,
            ..Destination::default()
        },
        evidence: Evidence {
            callbacks: entry.count,
            first_seen: entry.first,
            last_seen: entry.last,
            ..Evidence::default()
        },
        dns: Some(DnsEvidence {
            queries: if asked.way == Way::Plain { entry.count } else { 0 },
            resolver: Some(std::net::SocketAddr::new(asked.ip, asked.port)),
            samples,
            ..DnsEvidence::default()
        }),
        indicators: Vec::new(),
        techniques,
    }
}

#[cfg(test)]
mod tests;
