//! Finding -> [`Alert`]: the sentence that explains it, the parts of its score, the techniques that its evidence supports.

use crate::alert::{Alert, Class, Destination, Evidence, Level, Process, Severity, Technique};
use crate::context;
use crate::detect::Finding;
use crate::detect::beacon::evidence;
use crate::detect::beacon::label::Label;
use crate::detect::beacon::series::Series;
use crate::domain::registrable;
use crate::engine::Standing;
use crate::event::AppProtocol;
use crate::human;
use crate::masquerade::{self, Masquerade};
use crate::net::Transport;
use crate::process::{ProcessInfo, image_name};
use crate::score::{self, Fact, Facts};
use crate::time::NANOS_PER_SEC;

/// Name of the part that tells of a disguise.
const MASQUERADE: &str = "masquerade";
/// Part of the dwell, as a divisor, for which the sensor must have been blind to say so.
const BLIND_PART: i64 = 20;

/// The alert (or, below the threshold, the row) that a series makes.
#[must_use]
pub fn alert(host: &str, series: &Series, label: &Label, standing: &Standing) -> Alert {
    let evidence = evidence::of(series, label);
    let (facts, points) = label.peak.map_or_else(
        || (Facts::default(), score::points(evidence.bans, Facts::default())),
        |peak| (peak.facts, peak.points),
    );
    let severity = score::severity(evidence.bans, points, context::ceiling(label));
    let (mut parts, mut missing) = score::parts(evidence.bans, facts, rhythm(&evidence));
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
    Alert {
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
        reason: sentence(host, label, &destination, &evidence, facts, severity),
        process: label
            .program
            .as_ref()
            .map(|info| Process { key: label.process, info: ProcessInfo::clone(info) }),
        attribution: label.attribution,
        suppressed_by: None,
        techniques: techniques(label, facts, severity),
        destination,
        evidence,
        dns: None,
        indicators: Vec::new(),
        profile: None,
    }
}

/// The alert that something counted makes.
#[must_use]
pub fn counted(host: &str, finding: Finding, points: f64, severity: Severity, standing: &Standing) -> Alert {
    Alert {
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
        techniques: if severity < Severity::Medium { Vec::new() } else { finding.techniques },
    }
}

/// Notes where an alert's finding stands.
pub fn stand(alert: &mut Alert, standing: &Standing) {
    alert.revision = standing.revision;
    alert.change = standing.change;
    alert.time = standing.time.unwrap_or(alert.time);
    alert.detected = standing.detected;
    alert.detected_after_callbacks = standing.detected_after;
}

/// What kind of beacon it is: what most changes how it is looked into comes first.
fn class(label: &Label, evidence: &Evidence) -> Class {
    match label.level {
        Level::Dns => Class::DnsCallback,
        Level::Exchange => Class::InConnection,
        _ if is_dead(evidence) => Class::DeadCallback,
        _ if label.transport == Transport::Icmp => Class::IcmpCallback,
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
        autonomous_system: None,
        group,
    }
}

/// The rhythm in half a sentence.
fn rhythm(evidence: &Evidence) -> String {
    if evidence.test.is_empty() {
        return "no rhythm".to_owned();
    }
    let period = human::interval(evidence.period_secs);
    format!("{} of {} intervals fit {}, around {period}", evidence.matched, evidence.of, evidence.shape)
}

fn sentence(
    host: &str,
    label: &Label,
    destination: &Destination,
    evidence: &Evidence,
    facts: Facts,
    severity: Severity,
) -> String {
    let caller = match &label.program {
        Some(info) if !info.script.is_empty() => {
            format!("{} running {}", image_name(&info.image), image_name(&info.script))
        }
        Some(info) => image_name(&info.image).to_owned(),
        // Without a process, the host is all that is known of the caller.
        None => host.to_owned(),
    };
    let dwell = evidence.last_seen.since(evidence.first_seen) / NANOS_PER_SEC;
    let dwell = human::span(u64::try_from(dwell).unwrap_or(0));
    let whom = whom(label, destination);
    let calls = evidence.callbacks;
    if severity == Severity::Info {
        return format!("{caller} {} {whom} {calls} times in {dwell}, without a rhythm.", verb(label, false));
    }
    let period = human::interval(evidence.period_secs);
    let jitter = evidence.jitter_mad_ratio * 100.0;
    let how = if jitter < 0.5 { "almost to the tick".to_owned() } else { format!("± {jitter:.0} %") };
    let mut text = format!(
        "{caller} {} {whom} about every {period} ({how}), {calls} times in {dwell}: {} of {} intervals fit {}.",
        verb(label, true),
        evidence.matched,
        evidence.of,
        evidence.shape
    );
    let failed = evidence.refused.saturating_add(evidence.unanswered);
    let dead = is_dead(evidence);
    if dead {
        let what =
            if evidence.refused >= evidence.unanswered { "refuses the connection" } else { "never answers" };
        text.push_str(&format!(" The server {what} ({failed} times)."));
    } else if evidence.missed > 0 {
        text.push_str(&format!(" {} callbacks were missed.", evidence.missed));
    }
    let blind = i64::from(evidence.gap_secs);
    let lived = evidence.last_seen.since(evidence.first_seen) / NANOS_PER_SEC;
    if blind.saturating_mul(BLIND_PART) >= lived && blind > 0 {
        let times = if evidence.gaps == 1 { "once".to_owned() } else { format!("{} times", evidence.gaps) };
        let span = human::span(evidence.gap_secs.into());
        text.push_str(&format!(" The sensor was blind {times} in that time, for {span} in all."));
    }
    let mut why: Vec<_> = score::WEIGHTS
        .iter()
        .filter(|weight| weight.points > 0.0 && facts.get(weight.fact) == Some(true))
        // Of a server that is not there, sizes say nothing.
        .filter(|weight| !(dead && matches!(weight.fact, Fact::Small | Fact::ConstantReply)))
        .collect();
    why.sort_by(|a, b| b.points.total_cmp(&a.points));
    let detail = |weight: &score::Weight| match weight.fact {
        Fact::Masquerade => disguise(label).map_or(weight.detail, Masquerade::detail),
        _ => weight.detail,
    };
    let why: Vec<_> = why.iter().take(3).map(|weight| detail(weight)).collect();
    if let Some((last, rest)) = why.split_last() {
        let list =
            if rest.is_empty() { (*last).to_owned() } else { format!("{}, and {last}", rest.join(", ")) };
        let mut letters = list.chars();
        if let Some(first) = letters.next() {
            text.push_str(&format!(" {}{}.", first.to_uppercase(), letters.as_str()));
        }
    }
    if facts.get(Fact::Established) == Some(true) {
        text.push_str(" Both are long established here.");
    }
    text
}

const fn verb(label: &Label, present: bool) -> &'static str {
    match (label.level, present) {
        (Level::Dns, true) => "asks for new names below",
        (Level::Dns, false) => "asked for new names below",
        (Level::Exchange, true) => "exchanges data inside open connections to",
        (Level::Exchange, false) => "exchanged data inside open connections to",
        (_, true) => "calls",
        (_, false) => "called",
    }
}

fn whom(label: &Label, destination: &Destination) -> String {
    if !destination.group.is_empty() {
        let shown: Vec<_> = destination.group.iter().take(3).map(String::as_str).collect();
        let more = if destination.group.len() > 3 { " and others" } else { "" };
        return format!("{} destinations in turn ({}{more})", destination.group.len(), shown.join(", "));
    }
    if label.level == Level::Dns {
        return destination.name.clone();
    }
    if label.transport == Transport::Icmp {
        return format!("{} by ICMP echo", destination.name);
    }
    let name = if destination.name.contains(':') {
        format!("[{}]", destination.name)
    } else {
        destination.name.clone()
    };
    let through = if destination.connect_host.is_empty() { "" } else { " through a proxy" };
    format!("{name}:{}{through}", destination.port)
}

/// How the caller is disguised, as far as its path tells.
fn disguise(label: &Label) -> Option<Masquerade> {
    label.program.as_ref().and_then(|info| masquerade::of(&info.image))
}

/// Techniques that the evidence itself supports, by id. None below an alert.
fn techniques(label: &Label, facts: Facts, severity: Severity) -> Vec<Technique> {
    if severity < Severity::Medium {
        return Vec::new();
    }
    let mut list = Vec::new();
    let mut add = |id: &'static str, name: &'static str| {
        list.push(Technique { id: id.into(), name: name.into() });
    };
    match label.level {
        Level::Group if label.is_group() => add("T1008", "Fallback Channels"),
        _ => {}
    }
    match (label.level, label.protocol, label.transport) {
        (Level::Dns, ..) => add("T1071.004", "Application Layer Protocol: DNS"),
        (_, AppProtocol::Http | AppProtocol::Tls | AppProtocol::Quic, _) => {
            add("T1071.001", "Application Layer Protocol: Web Protocols");
        }
        (_, _, Transport::Icmp) => add("T1095", "Non-Application Layer Protocol"),
        _ => {}
    }
    if !label.connect_host.is_empty() {
        add("T1090", "Proxy");
    }
    if facts.get(Fact::Masquerade) == Some(true) {
        let (id, name) = disguise(label).unwrap_or(Masquerade::SystemName).technique();
        add(id, name);
    }
    if matches!(label.protocol, AppProtocol::Tls | AppProtocol::Quic) {
        add("T1573", "Encrypted Channel");
    }
    let usual: &[u16] = match label.protocol {
        AppProtocol::Tls | AppProtocol::Quic => {
            &[443, 465, 636, 853, 989, 990, 993, 995, 5061, 5223, 5228, 8443]
        }
        AppProtocol::Http => &[80, 3128, 8000, 8008, 8080, 8888],
        AppProtocol::Ssh => &[22],
        AppProtocol::Unknown => &[],
    };
    if !usual.is_empty() && label.level != Level::Dns && !usual.contains(&label.port) {
        add("T1571", "Non-Standard Port");
    }
    list.sort_unstable();
    list
}
