//! What hints weigh: a bounded part of the score, with its words. Where the numbers come from stands in docs/hints.md.
//!
//! Three things never happen here, whatever a document says: a finding out of nothing (what has no regularity stays as it
//! is), a lower rank for what a feed names, and a step of more than [`MAX_POINTS`].

use super::document::Subject;
use super::table::Table;
use crate::alert::{Alert, Class, Level, ScorePart, Severity};
use crate::score;
use crate::time::Timestamp;

/// The most that all hints together add or take: the odds are doubled or halved, since 1.5 points are a factor of four
/// ([`score::scale`]). It is what `new_destination` weighs, the host's own word on the same question, and half of what lies
/// between medium and high.
pub const MAX_POINTS: f64 = 0.75;
/// A fleet of fewer hosts has no say: a share of a handful tells nothing.
pub const MIN_FLEET: u32 = 20;

/// Seen on so large a part of the fleet, in percent, a destination or program is common…
const COMMON_PERCENT: u64 = 50;
/// …and a destination is shared.
const SHARED_PERCENT: u64 = 10;
/// Seen on no larger part of it, in percent…
const RARE_PERCENT: u64 = 2;
/// …and on no more hosts, something is rare.
const RARE_HOSTS: u32 = 3;
/// So many hosts keep one rhythm, at least, where it is worth a word.
const RHYTHM_HOSTS: u32 = 2;

/// Points of a common destination, a shared one, …
const COMMON_DESTINATION: f64 = -0.5;
const SHARED_DESTINATION: f64 = -0.25;
/// … a common program. A fingerprint is common because libraries are, and implants use them: that lowers nothing.
const COMMON_PROGRAM: f64 = -0.25;
/// Points of what is rare, each.
const RARE: f64 = 0.25;
/// Points of one rhythm on several hosts towards a destination that few of the fleet call.
const RHYTHM: f64 = 0.5;

/// Lays the hints over an alert: its parts, points, score and severity. `ceiling`: the highest severity that the source's
/// blind spots allow. The points added, 0 where nothing changes.
pub fn complete(alert: &mut Alert, table: &Table, now: Timestamp, ceiling: Severity) -> f64 {
    let silent = table.is_empty() || table.hosts < MIN_FLEET || !table.holds_at(now);
    // What a feed found by itself is no rhythm; what has none is not listed as an alert, whatever its context.
    if silent || alert.class == Class::Indicator || alert.severity == Severity::Info {
        return 0.0;
    }
    let mut parts = of(alert, table);
    if !alert.indicators.is_empty() {
        parts.retain(|part| part.points > 0.0);
    }
    let sum: f64 = parts.iter().map(|part| part.points).sum();
    let lift = sum.clamp(-MAX_POINTS, MAX_POINTS);
    if parts.is_empty() || table.weight_percent == 0 {
        return 0.0;
    }
    if lift != sum {
        parts.push(ScorePart {
            name: "fleet_cap".into(),
            points: lift - sum,
            detail: format!("hints of the fleet count for no more than {MAX_POINTS} in all"),
        });
    }
    let weight = f64::from(table.weight_percent.min(100)) / 100.0;
    for part in &mut parts {
        part.points *= weight;
    }
    let lift = lift * weight;
    // The base stands last; hints come before it, behind what the host knows itself.
    let at = alert.parts.iter().position(|part| part.name == "base").unwrap_or(alert.parts.len());
    if alert.severity >= Severity::Medium
        && let Some(part) = parts.iter().max_by(|a, b| a.points.abs().total_cmp(&b.points.abs()))
    {
        alert.reason.push_str(&format!(" In the fleet, {}.", part.detail));
    }
    alert.parts.splice(at..at, parts);
    alert.points += lift;
    alert.score = score::scale(alert.points);
    let by_points = score::severity_of(alert.points).min(ceiling);
    alert.severity = if lift > 0.0 {
        alert.severity.max(by_points)
    } else {
        alert.severity.min(by_points.max(Severity::Low))
    };
    lift
}

/// All that the hints say of an alert, each with its points.
fn of(alert: &Alert, table: &Table) -> Vec<ScorePart> {
    let fleet = Fleet(table.hosts);
    let mut parts = Vec::new();
    let mut part = |name: &'static str, points: f64, detail: String| {
        if points != 0.0 {
            parts.push(ScorePart { name: name.into(), points, detail });
        }
    };
    let destination = &alert.destination;
    let of_dns = alert.evidence.level == Level::Dns || alert.class == Class::DnsCallback;
    // Common is a name, not its domain: below a common domain anyone may rent a name. Rare is a domain, not its name: many
    // services give each host a name of its own.
    let (name, domain) = match (destination.registrable_domain.as_str(), destination.ip) {
        ("", Some(ip)) if !of_dns => {
            let address = Subject::Address(ip.to_canonical());
            (Some(address.clone()), Some(address))
        }
        ("", _) => (None, None),
        (domain, _) => {
            (Some(Subject::Name(destination.name.clone())), Some(Subject::Domain(domain.to_owned())))
        }
    };
    let of_name = name.as_ref().and_then(|name| table.hosts_of(name));
    let of_domain = domain.as_ref().and_then(|domain| table.hosts_of(domain));
    // Of a schedule over several destinations, one that all know says nothing of the others.
    let alone = destination.group.len() < 2;
    if let Some(hosts) = of_domain.filter(|hosts| fleet.is_rare(*hosts)) {
        part("fleet_destination", RARE, fleet.says(hosts, "calls", "call", "its destination"));
    } else if let Some(hosts) = of_name.filter(|hosts| alone && fleet.is_part(*hosts, SHARED_PERCENT)) {
        let common = fleet.is_part(hosts, COMMON_PERCENT);
        let points = if common { COMMON_DESTINATION } else { SHARED_DESTINATION };
        part("fleet_destination", points, fleet.says(hosts, "calls", "call", "its destination"));
    }
    if let Some(name) = &name
        && !of_name.is_some_and(|hosts| fleet.is_part(hosts, SHARED_PERCENT))
        && let Some(hosts) = table.in_rhythm(&name.to_string(), alert.evidence.period_secs)
        && hosts >= RHYTHM_HOSTS
    {
        part("fleet_rhythm", RHYTHM, fleet.says(hosts, "calls", "call", "its destination in this rhythm"));
    }
    if let Some(hosts) = destination.ja4.and_then(|ja4| table.hosts_of(&Subject::Ja4(ja4)))
        && fleet.is_rare(hosts)
    {
        part("fleet_fingerprint", RARE, fleet.says(hosts, "shows", "show", "its TLS fingerprint"));
    }
    let hash = alert.process.as_ref().and_then(|process| digest(&process.info.sha256));
    if let Some(hosts) = hash.and_then(|hash| table.hosts_of(&Subject::Program(hash))) {
        let points = match () {
            () if fleet.is_rare(hosts) => RARE,
            () if fleet.is_part(hosts, COMMON_PERCENT) => COMMON_PROGRAM,
            () => 0.0,
        };
        part("fleet_program", points, fleet.says(hosts, "runs", "run", "its program"));
    }
    parts
}

/// A fleet, by its hosts.
#[derive(Clone, Copy)]
struct Fleet(u32);

impl Fleet {
    /// Whether so many are at least so many percent.
    fn is_part(self, hosts: u32, percent: u64) -> bool {
        u64::from(hosts) * 100 >= u64::from(self.0) * percent
    }

    fn is_rare(self, hosts: u32) -> bool {
        hosts <= RARE_HOSTS && u64::from(hosts) * 100 <= u64::from(self.0) * RARE_PERCENT
    }

    fn says(self, hosts: u32, one: &str, several: &str, what: &str) -> String {
        format!("{hosts} of {} hosts {} {what}", self.0, if hosts == 1 { one } else { several })
    }
}

/// The SHA-256 that a text of 64 digits is.
#[must_use]
pub fn digest(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}
