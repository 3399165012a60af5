//! Finding -> [`Alert`]: puts together who, whom, the parts of the score, the sentence that explains them, and the
//! [techniques] that the evidence supports.

pub mod allow;
pub mod benign;
pub mod facts;
mod sentence;
pub mod techniques;

use crate::alert::{Alert, Class, Destination, Evidence, Level, Process, Severity, Technique};
use crate::certificate::Certificate;
use crate::context;
use crate::detect::Finding;
use crate::detect::beacon::evidence;
use crate::detect::beacon::label::Label;
use crate::detect::beacon::series::Series;
use crate::domain::registrable;
use crate::engine::Standing;
use crate::masquerade::{self, Masquerade};
use crate::net::Transport;
use crate::process::ProcessInfo;
use crate::score::{self, Fact, Facts};

/// Name of the part that tells of a disguise.
const MASQUERADE: &str = "masquerade";

/// The alert (or, below the threshold, the row) that a series makes.
#[must_use]
pub fn alert(host: &str, series: &Series, label: &Label, standing: &Standing) -> Alert {
    let evidence = evidence::of(series, label);
    let (facts, points) = label.peak.map_or_else(
        || (Facts::default(), score::points(evidence.bans, Facts::default())),
        |peak| (peak.facts, peak.points),
    );
    let severity = score::severity(evidence.bans, points, context::ceiling(label));
    let (mut parts, mut missing) = score::parts(evidence.bans, facts, sentence::rhythm(&evidence));
    if let Some(kind) = disguise(label)
        && let Some(part) = parts.iter_mut().find(|part| part.name == MASQUERADE)
    {
        part.detail = kind.detail().to_owned();
    }
    if label.program.is_none() {
        // One word for all that only a process tells.
        missing.retain(|what| {
            ["name of the internal address", "history of the destination"].contains(&what.as_ref())
        });
        missing.insert(0, "process".into());
    }
    let destination = destination(label);
    let mut alert = Alert {
        id: standing.id,
        revision: standing.revision,
        change: standing.change,
        class: class(label, &evidence),
        host: host.to_owned(),
        time: standing.time.unwrap_or_else(|| label.peak.map_or(evidence.last_seen, |peak| peak.time)),
        detected: standing.detected,
        detected_after_callbacks: standing.detected_after,
        severity,
        score: score::scale(points),
        points,
        parts,
        missing,
        reason: sentence::of(host, label, &destination, &evidence, facts, severity),
        process: label
            .program
            .as_ref()
            .map(|info| Process { key: label.process, info: ProcessInfo::clone(info) }),
        attribution: label.attribution,
        suppressed_by: None,
        techniques: disguised(label, facts).into_iter().collect(),
        destination,
        evidence,
        dns: None,
        indicators: Vec::new(),
        profile: None,
    };
    alert.techniques = techniques::of(&alert);
    alert
}

/// The alert that something counted makes.
#[must_use]
pub fn counted(host: &str, finding: Finding, points: f64, severity: Severity, standing: &Standing) -> Alert {
    let mut alert = Alert {
        id: standing.id,
        revision: standing.revision,
        change: standing.change,
        class: finding.class,
        host: host.to_owned(),
        time: standing.time.unwrap_or(finding.evidence.last_seen),
        detected: standing.detected,
        detected_after_callbacks: standing.detected_after,
        severity,
        score: score::scale(points),
        points,
        parts: finding.parts,
        missing: finding.missing,
        reason: finding.reason,
        process: finding
            .program
            .map(|info| Process { key: finding.process, info: ProcessInfo::clone(&info) }),
        attribution: finding.attribution,
        suppressed_by: None,
        destination: finding.destination,
        evidence: finding.evidence,
        dns: finding.dns,
        indicators: finding.indicators,
        profile: None,
        techniques: finding.techniques,
    };
    alert.techniques = techniques::of(&alert);
    alert
}

/// Notes where an alert's finding stands.
pub fn stand(alert: &mut Alert, standing: &Standing) {
    alert.revision = standing.revision;
    alert.change = standing.change;
    alert.time = standing.time.unwrap_or(alert.time);
    alert.detected = standing.detected;
    alert.detected_after_callbacks = standing.detected_after;
}

/// How the caller is disguised, as far as its path tells.
fn disguise(label: &Label) -> Option<Masquerade> {
    label.program.as_ref().and_then(|info| masquerade::of(&info.image))
}

/// The technique of its disguise, if it has one.
fn disguised(label: &Label, facts: Facts) -> Option<Technique> {
    let disguised = facts.get(Fact::Masquerade) == Some(true);
    let (id, name) = disguised.then(|| disguise(label).unwrap_or(Masquerade::SystemName).technique())?;
    Some(Technique { id: id.into(), name: name.into() })
}

/// What kind of beacon it is: what most changes how it is looked into comes first.
fn class(label: &Label, evidence: &Evidence) -> Class {
    match label.level {
        Level::Dns => Class::DnsCallback,
        // Echoes of one flow are exchanges to the tracker; what they are to people are echoes.
        _ if label.transport == Transport::Icmp => Class::IcmpCallback,
        Level::Exchange => Class::InConnection,
        _ if is_dead(evidence) => Class::DeadCallback,
        Level::Group if label.is_group() => Class::Rotation,
        _ if !label.connect_host.is_empty() => Class::Proxied,
        Level::Process => Class::ProcessBeacon,
        Level::Connection | Level::Group => Class::Beacon,
    }
}

/// Whether most callbacks failed.
fn is_dead(evidence: &Evidence) -> bool {
    let failed = evidence.refused.saturating_add(evidence.unanswered);
    failed > 0 && u64::from(failed) * 2 >= u64::from(evidence.callbacks)
}

fn destination(label: &Label) -> Destination {
    let name = if label.name.is_empty() {
        label.ip.map_or_else(String::new, |ip| ip.to_string())
    } else {
        label.name.clone()
    };
    let group = if label.is_group() {
        label.members.iter().map(|member| member.name.clone()).collect()
    } else {
        Vec::new()
    };
    Destination {
        registrable_domain: registrable(&label.name).to_owned(),
        name,
        fqdn: label.fqdn.clone(),
        sni: label.sni.clone(),
        connect_host: label.connect_host.clone(),
        http_host: label.http_host.clone(),
        user_agent: label.user_agent.clone(),
        ip: label.ip,
        port: label.port,
        transport: label.transport,
        protocol: label.protocol,
        ja4: label.ja4,
        certificate: Certificate::NONE,
        autonomous_system: None,
        group,
    }
}
