//! Known-bad infrastructure: what was seen, held against the user's feeds. Once for each connection and each query, not for
//! each packet; and once more for all that is remembered when a feed comes later.
//!
//! It stands beside [`Detector`](super::Detector)s because it draws on [`Knowledge`]. What an entry weighs is `weigh`'s.

mod past;
mod recent;
mod weigh;

use std::hash::Hasher as _;
use std::sync::Arc;

use hashbrown::HashMap;
use siphasher::sip::SipHasher24;

pub use self::past::all as of_the_past;
use self::recent::{Recent, Recents};
pub use self::weigh::{Match, Sight, matches};
use super::{Finding, Seen, What};
use crate::alert::{
    Alert, Class, Destination, Evidence, IndicatorMatch, Level, ScorePart, Severity, Technique,
};
use crate::certificate::Certificate;
use crate::domain::registrable;
use crate::event::{AppProtocol, ConnectionEvent, DnsEvent, Phase, Totals};
use crate::feed::Kind;
use crate::human;
use crate::knowledge::Knowledge;
use crate::net::Transport;
use crate::process::{Attribution, ProcessInfo, ProcessKey, image_name};
use crate::score;
use crate::time::Timestamp;

/// Matched destinations counted at a time; beyond it the one longest not seen begins anew.
const MAX_COUNTED: usize = 1024;
/// What one takes.
const BYTES_PER_COUNTED: usize = 2 * (8 + size_of::<Counted>());
/// What each further entry that agrees adds…
const AGREEMENT: f64 = 0.5;
/// …for so many of them.
const MAX_AGREEING: usize = 2;

/// Holds what is seen against the feeds.
#[derive(Debug, Default)]
pub struct IndicatorDetector {
    counted: HashMap<u64, Counted, foldhash::fast::RandomState>,
    recents: Recents,
    evicted: u64,
}

/// How often a listed destination was called.
#[derive(Clone, Copy, Debug)]
struct Counted {
    sights: u32,
    first: Timestamp,
    last: Timestamp,
    bytes_out: u64,
    bytes_in: u64,
    /// Something went there; until then its name was asked for.
    called: bool,
}

/// Who called, as far as it is known.
#[derive(Clone, Debug, Default)]
struct Caller {
    key: u64,
    process: Option<ProcessKey>,
    info: Option<Arc<ProcessInfo>>,
    attribution: Attribution,
}

impl Caller {
    fn of(seen: &Seen<'_>, attribution: Attribution) -> Self {
        Self {
            key: seen.program.map_or(0, |program| program.key),
            process: seen.process,
            info: seen.program.map(|program| Arc::clone(&program.info)),
            attribution,
        }
    }
}

impl IndicatorDetector {
    /// A detector within `memory_bytes`.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        let mut this = Self::default();
        this.set_memory(memory_bytes);
        this
    }

    /// Changes its budget.
    pub fn set_memory(&mut self, memory_bytes: usize) {
        self.recents.set_memory(memory_bytes.saturating_sub(self.counted.len() * BYTES_PER_COUNTED));
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.counted.len() * BYTES_PER_COUNTED + self.recents.memory_bytes()
    }

    /// What was forgotten for want of memory.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted + self.recents.evicted()
    }

    /// Moves all times, when the clock was set.
    pub fn shift(&mut self, nanos: i64) {
        for counted in self.counted.values_mut() {
            counted.first = counted.first.plus_nanos(nanos);
            counted.last = counted.last.plus_nanos(nanos);
        }
        self.recents.shift(nanos);
    }

    /// The destinations seen of late, as bytes. What was counted is forgotten: the finding itself is kept elsewhere.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.recents.save()
    }

    /// Takes them back; false if the bytes make no sense.
    pub fn restore(&mut self, bytes: &[u8]) -> bool {
        self.recents.restore(bytes)
    }

    /// Takes an event; hands out what is on a feed, when it is seen first and at each doubling.
    pub fn observe(&mut self, seen: &Seen<'_>, knowledge: &Knowledge, found: &mut dyn FnMut(Finding)) {
        match seen.what {
            What::Connection(event) => match event.phase {
                Phase::Opened | Phase::Joined => {
                    self.connection(seen, event, Totals::default(), knowledge, found);
                }
                Phase::Whole(totals) => self.connection(seen, event, totals, knowledge, found),
                Phase::Certificate(certificate) => {
                    self.certificate(seen, event, certificate, knowledge, found);
                }
                // What there was to look up was told when it opened.
                Phase::Exchange { .. } | Phase::Closed(_) => {}
            },
            What::Query(query) => self.query(seen, query, knowledge, found),
        }
    }

    fn connection(
        &mut self,
        seen: &Seen<'_>,
        event: &ConnectionEvent<'_>,
        totals: Totals,
        knowledge: &Knowledge,
        found: &mut dyn FnMut(Finding),
    ) {
        let names = &event.names;
        let remote = event.tuple.remote;
        if knowledge.feeds_may_change {
            let (transport, process) = (event.tuple.transport, event.process);
            let mut recent = Recent::new(
                Level::Connection,
                seen.name,
                Some(remote.ip()),
                port(event),
                transport,
                seen.program,
                process,
                event.start,
            );
            (recent.protocol, recent.ja4) = (event.protocol, event.ja4);
            self.recents.note(recent, seen.program);
        }
        let sight = Sight {
            ip: Some(remote.ip()),
            names: &[seen.name, seen.fqdn, names.sni, names.connect_host, names.http_host],
            answers: &[],
            ja4: event.ja4,
            certificate: Certificate::NONE,
            since: event.start,
            until: event.start,
        };
        let matches = matches(&knowledge.feeds, &sight, false);
        if matches.is_empty() {
            return;
        }
        let (bytes_out, bytes_in) = (totals.bytes_out.unwrap_or(0), totals.bytes_in.unwrap_or(0));
        let caller = Caller::of(seen, event.attribution);
        let Some(evidence) =
            self.count(&matches, caller.key, Level::Connection, event.start, bytes_out, bytes_in)
        else {
            return;
        };
        let destination = Self::destination(seen, event);
        finding(matches, caller, destination, evidence, found);
    }

    /// Where a connection goes.
    fn destination(seen: &Seen<'_>, event: &ConnectionEvent<'_>) -> Destination {
        let names = &event.names;
        let remote = event.tuple.remote;
        Destination {
            name: if seen.name.is_empty() { remote.ip().to_string() } else { seen.name.to_owned() },
            registrable_domain: seen.registrable.to_owned(),
            fqdn: seen.fqdn.to_owned(),
            sni: names.sni.to_owned(),
            connect_host: names.connect_host.to_owned(),
            http_host: names.http_host.to_owned(),
            user_agent: names.user_agent.to_owned(),
            ip: Some(remote.ip()),
            port: port(event),
            transport: event.tuple.transport,
            protocol: event.protocol,
            ja4: event.ja4,
            ..Destination::default()
        }
    }

    /// A certificate that came after its connection was told of: by itself, so that nothing is counted twice.
    fn certificate(
        &mut self,
        seen: &Seen<'_>,
        event: &ConnectionEvent<'_>,
        certificate: Certificate,
        knowledge: &Knowledge,
        found: &mut dyn FnMut(Finding),
    ) {
        if knowledge.feeds_may_change {
            let (ip, program) = (event.tuple.remote.ip(), seen.program.map_or(0, |program| program.key));
            self.recents.showed(Level::Connection, program, seen.name, Some(ip), port(event), certificate);
        }
        let start = event.start;
        let matches = matches(&knowledge.feeds, &Sight::of_certificate(certificate, start, start), false);
        if matches.is_empty() {
            return;
        }
        let caller = Caller::of(seen, event.attribution);
        let Some(evidence) = self.count(&matches, caller.key, Level::Connection, start, 0, 0) else { return };
        let destination = Destination { certificate, ..Self::destination(seen, event) };
        finding(matches, caller, destination, evidence, found);
    }

    fn query(
        &mut self,
        seen: &Seen<'_>,
        query: &DnsEvent<'_>,
        knowledge: &Knowledge,
        found: &mut dyn FnMut(Finding),
    ) {
        if knowledge.feeds_may_change {
            let answer = query.addresses.first().copied();
            let recent = Recent::new(
                Level::Dns,
                query.query,
                answer,
                53,
                Transport::Udp,
                seen.program,
                query.process,
                query.start,
            );
            self.recents.note(recent, seen.program);
        }
        let sight = Sight {
            ip: None,
            names: &[query.query],
            answers: query.addresses,
            ja4: None,
            certificate: Certificate::NONE,
            since: query.start,
            until: query.start,
        };
        let matches = matches(&knowledge.feeds, &sight, false);
        if matches.is_empty() {
            return;
        }
        let caller = Caller::of(seen, query.attribution);
        let Some(evidence) = self.count(&matches, caller.key, Level::Dns, query.start, 0, 0) else { return };
        finding(matches, caller, asked_for(query.query), evidence, found);
    }

    /// Counts a sight of what matched; the evidence if there is news to tell: at first, and at each doubling. Once something
    /// went there, that it is asked for is no news.
    fn count(
        &mut self,
        matches: &[Match],
        program: u64,
        level: Level,
        start: Timestamp,
        bytes_out: u64,
        bytes_in: u64,
    ) -> Option<Evidence> {
        let best = matches.first().filter(|best| best.speaks())?;
        let mut hash = SipHasher24::new();
        hash.write_u64(program);
        hash.write(subject(best).as_bytes());
        let key = hash.finish();
        if self.counted.len() >= MAX_COUNTED && !self.counted.contains_key(&key) {
            let oldest = self.counted.iter().min_by_key(|(key, counted)| (counted.last, **key));
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.counted.remove(&key);
                self.evicted += 1;
            }
        }
        let counted = self.counted.entry(key).or_insert(Counted {
            sights: 0,
            first: start,
            last: start,
            bytes_out: 0,
            bytes_in: 0,
            called: false,
        });
        match (level, counted.called) {
            (Level::Dns, true) => return None,
            (Level::Dns, false) | (_, true) => {}
            (_, false) => (counted.called, counted.sights) = (true, 0),
        }
        counted.sights = counted.sights.saturating_add(1);
        counted.last = counted.last.max(start);
        counted.bytes_out = counted.bytes_out.saturating_add(bytes_out);
        counted.bytes_in = counted.bytes_in.saturating_add(bytes_in);
        let Counted { sights, first, last, bytes_out, bytes_in, .. } = *counted;
        let evidence = Evidence { bytes_out, bytes_in, ..evidence(level, sights, first, last) };
        sights.is_power_of_two().then_some(evidence)
    }
}

/// The port that was meant: behind a proxy the one that it was asked for.
fn port(event: &ConnectionEvent<'_>) -> u16 {
    if event.names.connect_port == 0 { event.tuple.remote.port() } else { event.names.connect_port }
}

fn evidence(level: Level, sights: u32, first: Timestamp, last: Timestamp) -> Evidence {
    Evidence { level, callbacks: sights, first_seen: first, last_seen: last, ..Evidence::default() }
}

/// A name that was asked for, as a destination.
fn asked_for(name: &str) -> Destination {
    Destination {
        name: name.to_owned(),
        registrable_domain: registrable(name).to_owned(),
        fqdn: name.to_owned(),
        port: 53,
        transport: Transport::Udp,
        ..Destination::default()
    }
}

/// What a finding is about: the entry that speaks for it.
fn subject(best: &Match) -> String {
    format!("{} {}", best.shown.kind, best.shown.value)
}

/// Hands out what the matches come to, if they speak at all.
fn finding(
    mut matches: Vec<Match>,
    caller: Caller,
    destination: Destination,
    evidence: Evidence,
    found: &mut dyn FnMut(Finding),
) {
    let Some(best) = matches.first().filter(|best| best.speaks()).cloned() else { return };
    let mut parts = best.parts.clone();
    let agrees =
        |other: &&Match| other.speaks() && (other.shown.feed != best.shown.feed || other.kind != best.kind);
    let agreeing: Vec<_> =
        matches.iter().skip(1).filter(agrees).take(MAX_AGREEING).map(Match::in_words).collect();
    if !agreeing.is_empty() {
        #[expect(clippy::cast_precision_loss, reason = "two at the most")]
        let points = AGREEMENT * agreeing.len() as f64;
        parts.push(ScorePart { name: "agreement".into(), points, detail: agreeing.join("; ") });
    }
    let reason = sentence(&best, &caller, &destination, &evidence);
    let techniques = techniques(&best, destination.protocol, evidence.level);
    found(Finding {
        class: Class::Indicator,
        subject: subject(&best),
        parts,
        missing: if caller.info.is_some() { Vec::new() } else { vec!["process".into()] },
        ceiling: match best.kind {
            Kind::Ja4 => Severity::Medium,
            Kind::UrlHost | Kind::Network | Kind::Asn => Severity::High,
            _ => Severity::Critical,
        },
        reason,
        program_key: caller.key,
        process: caller.process,
        program: caller.info,
        attribution: caller.attribution,
        destination,
        evidence,
        dns: None,
        indicators: matches.drain(..).map(|one| one.shown).collect(),
        techniques,
    });
}

fn sentence(best: &Match, caller: &Caller, destination: &Destination, evidence: &Evidence) -> String {
    let who = caller.info.as_ref().map_or("This host", |info| image_name(&info.image));
    let name = &destination.name;
    let whom = match (evidence.level, name.contains(':')) {
        (Level::Dns, _) => format!("asked for {name}"),
        (_, true) => format!("called [{name}]:{}", destination.port),
        (_, false) => format!("called {name}:{}", destination.port),
    };
    let times = match evidence.callbacks {
        0 | 1 => String::new(),
        count => format!(" {} times", human::count(count.into())),
    };
    let later = if best.shown.retrospective { " It was listed after this was seen." } else { "" };
    format!("{who} {whom}{times}: {}.{later}", best.in_words())
}

/// What a match supports: that somebody has infrastructure there, if the entry can be taken at its word; and how it was
/// spoken to.
fn techniques(best: &Match, protocol: AppProtocol, level: Level) -> Vec<Technique> {
    let mut list = Vec::new();
    let mut add = |id: &'static str, name: &'static str| {
        list.push(Technique { id: id.into(), name: name.into() });
    };
    if !best.confirmed {
        return list;
    }
    if level != Level::Dns && matches!(protocol, AppProtocol::Http | AppProtocol::Tls | AppProtocol::Quic) {
        add("T1071.001", "Application Layer Protocol: Web Protocols");
    }
    match best.kind {
        Kind::Domain => add("T1583.001", "Acquire Infrastructure: Domains"),
        Kind::Ip | Kind::CertificateSha1 | Kind::CertificateSha256 => {
            add("T1583.004", "Acquire Infrastructure: Server");
        }
        _ => {}
    }
    list
}

/// Adds to an alert what is known of its destination: its network, and, where it was not found by the feeds alone, what they
/// say, with its part of the score. `retrospective`: when the feeds came, if they came later.
pub fn complete(alert: &mut Alert, knowledge: &Knowledge, feeds_since: Timestamp) {
    let of_dns = alert.evidence.level == Level::Dns || alert.class == Class::DnsCallback;
    let ip = alert.destination.ip.filter(|_| !of_dns);
    if let (Some(networks), Some(ip)) = (&knowledge.networks, ip) {
        alert.destination.autonomous_system = networks.of(ip);
    }
    if !knowledge.detectors.indicators || knowledge.feeds.is_empty() || alert.class == Class::Indicator {
        return;
    }
    let Destination {
        name,
        fqdn,
        sni,
        connect_host,
        http_host,
        group,
        ja4,
        certificate,
        autonomous_system,
        ..
    } = &alert.destination;
    let mut names: Vec<&str> = vec![name, fqdn, sni, connect_host, http_host];
    names.extend(group.iter().map(String::as_str));
    let (since, until) = (alert.evidence.first_seen, alert.evidence.last_seen);
    let sight = Sight { ip, names: &names, answers: &[], ja4: *ja4, certificate: *certificate, since, until };
    let mut all = matches(&knowledge.feeds, &sight, until < feeds_since);
    if let Some(network) = autonomous_system {
        all.extend(weigh::of_network(&knowledge.feeds, network, &sight));
        weigh::in_order(&mut all);
    }
    let Some(best) = all.first() else { return };
    let (points, speaks, confirmed) = (best.boost(), best.speaks(), best.confirmed);
    let part = ScorePart { name: "indicator".into(), points, detail: best.in_words() };
    let place = alert.parts.iter().position(|part| part.points < points).unwrap_or(alert.parts.len());
    alert.parts.insert(place, part);
    alert.points += points;
    alert.score = score::scale(alert.points);
    // Without a process severity stops at medium, unless a feed speaks.
    let ceiling = if speaks || alert.process.is_some() { Severity::Critical } else { Severity::Medium };
    let by_points = score::severity_of(alert.points);
    alert.severity = match alert.severity {
        Severity::Info => Severity::Info,
        before if confirmed && by_points >= Severity::Medium => before.max(Severity::Critical),
        before => before.max(by_points.min(ceiling)),
    };
    if speaks && alert.severity >= Severity::Medium {
        alert.reason.push_str(&format!(" Of its destination, {}.", best.in_words()));
        for technique in techniques(best, AppProtocol::Unknown, alert.evidence.level) {
            if !alert.techniques.contains(&technique) {
                alert.techniques.push(technique);
            }
        }
        alert.techniques.sort_unstable();
    }
    alert.indicators = all.into_iter().map(|one| one.shown).collect::<Vec<IndicatorMatch>>();
}

#[cfg(test)]
mod tests;
