//! An alert as a Detection Finding of the Open Cybersecurity Schema Framework (class 2004), for stores that speak it.
//!
//! `docs/ocsf.md` has the table of fields. What OCSF has a place for stands there; what it has none for is kept under
//! `unmapped.sonde`, in the words of the native form, so that nothing is lost. The published schema of the release is what
//! the cases hold it to.

mod attack;
mod document;
mod observables;

use std::net::IpAddr;

use self::document as o;
use super::{json, native, rounded};
use crate::alert::{Alert, Change, Class, IndicatorMatch, Severity};
use crate::guide::{self, Guidance, Step};
use crate::net::{Transport, is_internal};
use crate::process::{ProcessKey, image_name};
use crate::time::Timestamp;

/// Release of OCSF that is written.
pub const OCSF_VERSION: &str = "1.8.0";

/// Uid of the class, `detection_finding`.
const CLASS: u32 = 2004;
/// Uid of its category, `findings`.
const CATEGORY: u32 = 2;

/// Writes the alert as one line of JSON, without the line's end, behind what `out` holds; with as much guidance as is wanted.
pub fn append(alert: &Alert, guidance: Guidance, out: &mut Vec<u8>) {
    let done = json::write(&mut *out, &finding(alert, guidance));
    debug_assert!(done.is_ok(), "a Vec takes every write and a finding has no keys but names: {done:?}");
}

/// The alert as one line of JSON, without the line's end.
#[must_use]
pub fn to_json(alert: &Alert, guidance: Guidance) -> String {
    let mut out = Vec::with_capacity(16_384);
    append(alert, guidance, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn finding(alert: &Alert, guidance: Guidance) -> o::Finding<'_> {
    let rule = native::Rule::new(alert.class);
    let (activity_id, activity_name) = activity(alert.change);
    let evidence = evidence(alert);
    let device = device(&alert.host);
    let score = percent(native::score(alert));
    let osint: Vec<_> = alert.indicators.iter().map(osint).collect();
    let (severity_id, severity) = severity(alert.severity);
    let (confidence_id, confidence) = confidence(score);
    let (risk_level_id, risk_level) = risk(alert.severity);
    let status = status(alert);
    let attacks = attack::of(&alert.techniques);
    o::Finding {
        activity_id,
        activity_name,
        category_uid: CATEGORY,
        category_name: "Findings",
        class_uid: CLASS,
        class_name: "Detection Finding",
        type_uid: CLASS * 100 + u32::from(activity_id),
        type_name: match activity_id {
            2 => "Detection Finding: Update",
            3 => "Detection Finding: Close",
            _ => "Detection Finding: Create",
        },
        time: alert.time.millis(),
        start_time: alert.evidence.first_seen.millis(),
        end_time: alert.evidence.last_seen.millis(),
        count: alert.evidence.callbacks,
        severity_id,
        severity,
        confidence_id,
        confidence,
        confidence_score: score,
        risk_level_id,
        risk_level,
        risk_score: score,
        is_alert: native::is_alert(alert),
        status_id: status.map(|(id, _)| id),
        status: status.map(|(_, name)| name),
        message: &alert.reason,
        metadata: o::Metadata {
            uid: alert.emission_id(),
            version: OCSF_VERSION,
            product: o::Product {
                name: "Sonde",
                vendor_name: "Sonde",
                uid: "sonde",
                version: env!("CARGO_PKG_VERSION"),
            },
            profiles: if osint.is_empty() { &["host"] } else { &["host", "osint"] },
            event_code: rule.id,
            log_name: "sonde.alert",
            log_version: native::SCHEMA_VERSION,
            correlation_uid: alert.id.to_string(),
        },
        finding_info: o::FindingInfo {
            uid: alert.id.to_string(),
            title: rule.name,
            desc: &alert.reason,
            types: [alert.class.as_str()],
            analytic: o::Analytic {
                type_id: if alert.class == Class::Indicator { 9 } else { 2 },
                r#type: if alert.class == Class::Indicator { "Exact Data Match" } else { "Behavioral" },
                name: rule.name,
                uid: rule.id,
                desc: rule.description,
                version: env!("CARGO_PKG_VERSION"),
            },
            attacks,
            created_time: alert.detected.map(Timestamp::millis),
            modified_time: alert.time.millis(),
            first_seen_time: alert.evidence.first_seen.millis(),
            last_seen_time: alert.evidence.last_seen.millis(),
        },
        observables: observables::of(alert),
        evidences: [evidence],
        device,
        remediation: remediation(alert, guidance),
        osint,
        unmapped: o::Unmapped { sonde: unmapped(alert, guidance) },
    }
}

/// A listing at the end of a replay tells each finding once: for its reader it is made then.
const fn activity(change: Change) -> (u8, &'static str) {
    match change {
        Change::Created | Change::Final => (1, "Create"),
        Change::Updated => (2, "Update"),
        Change::Closed => (3, "Close"),
    }
}

const fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

const fn risk(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Info => (0, "Info"),
        Severity::Low => (1, "Low"),
        Severity::Medium => (2, "Medium"),
        Severity::High => (3, "High"),
        Severity::Critical => (4, "Critical"),
    }
}

/// In the steps of the score's severities: an alert begins at 0.5, a high one at 0.8.
const fn confidence(score: u8) -> (u8, &'static str) {
    match score {
        80.. => (3, "High"),
        50.. => (2, "Medium"),
        _ => (1, "Low"),
    }
}

/// The status is the reader's to set, but for what Sonde itself knows of it.
const fn status(alert: &Alert) -> Option<(u8, &'static str)> {
    match (&alert.suppressed_by, alert.change) {
        (Some(_), _) => Some((3, "Suppressed")),
        (None, Change::Created) => Some((1, "New")),
        _ => None,
    }
}

/// A share as a whole number from 0 to 100.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn percent(share: f64) -> u8 {
    rounded(share * 100.0, 0).unwrap_or(0.0).clamp(0.0, 100.0) as u8
}

fn device(host: &str) -> Option<o::Device<'_>> {
    (!host.is_empty()).then(|| o::Device {
        type_id: 0,
        r#type: "Unknown",
        hostname: host,
        ip: host.parse().ok(),
    })
}

fn evidence(alert: &Alert) -> o::Evidence<'_> {
    let destination = &alert.destination;
    let info = alert.process.as_ref().map(|process| &process.info);
    let protocol = native::protocol(alert.evidence.level, destination.protocol);
    let ja4 = destination.ja4.as_ref().map_or("", |ja4| ja4.as_str());
    let is_domain = native::is_domain(&destination.name);
    let user = info.and_then(|info| user(&info.user));
    o::Evidence {
        name: alert.class.as_str(),
        process: process(alert),
        actor: user.map(|user| o::Actor { user }),
        user,
        container: info.filter(|info| !info.container.is_empty()).map(|info| o::Container {
            uid: &info.container,
            pod_uuid: Some(info.pod.as_str()).filter(|pod| is_uuid(pod)),
        }),
        src_endpoint: (!alert.host.is_empty())
            .then(|| o::Source { hostname: &alert.host, ip: alert.host.parse().ok() }),
        dst_endpoint: o::Endpoint {
            name: &destination.name,
            hostname: if is_domain { &destination.name } else { "" },
            domain: &destination.registrable_domain,
            ip: destination.ip,
            port: (destination.port != 0).then_some(destination.port),
            svc_name: protocol,
            autonomous_system: destination
                .autonomous_system
                .as_ref()
                .map(|network| o::AutonomousSystem { number: network.number, name: &network.organization }),
        },
        connection_info: o::ConnectionInfo::new(destination.transport, destination.ip),
        query: query(alert),
        // What a client without a TLS fingerprint offers is not known, and OCSF wants a version.
        tls: (!destination.sni.is_empty() || !ja4.is_empty())
            .then(|| o::Tls { version: offered(ja4), sni: &destination.sni }),
        ja4_fingerprint_list: ja4_of(ja4),
        http_request: o::HttpRequest::new(&destination.http_host, &destination.user_agent),
        data: o::Data {
            class: alert.class,
            level: alert.class.is_beacon().then_some(alert.evidence.level),
            evidence: native::Measured::new(&alert.evidence, alert.class),
            dns: alert.dns.as_ref().map(native::Counted::new),
            tls_server: native::TlsServer::new(&destination.certificate),
        },
    }
}

/// The process of the latest callback. A source that knows no number names the program; then the finding, which is of this
/// program on this host, stands for it.
fn process(alert: &Alert) -> Option<o::Process<'_>> {
    let process = alert.process.as_ref()?;
    let info = &process.info;
    let key = process.key.filter(|key| key.pid != 0);
    let name = image_name(&info.image);
    let hashes = (!info.sha256.is_empty()).then(|| o::Fingerprint {
        algorithm_id: 3,
        algorithm: "SHA-256",
        value: &info.sha256,
    });
    let has_path = name.len() < info.image.len();
    let lineage = std::iter::once(&info.parent_image).chain(&info.ancestors);
    let known = key.is_some()
        || !info.image.is_empty()
        || !info.command_line.is_empty()
        || !info.parent_image.is_empty()
        || hashes.is_some();
    known.then(|| o::Process {
        pid: key.map(|key| key.pid),
        uid: match key {
            Some(ProcessKey { pid, start }) => format!("{pid}-{:016x}", start.nanos()),
            None => alert.id.to_string(),
        },
        name,
        path: if has_path { &info.image } else { "" },
        cmd_line: &info.command_line,
        created_time: key.filter(|key| key.start != Timestamp::ZERO).map(|key| key.start.millis()),
        file: (!name.is_empty()).then(|| o::File {
            name,
            path: if has_path { &info.image } else { "" },
            type_id: 1,
            r#type: "Regular File",
            hashes: hashes.into_iter().collect(),
        }),
        user: user(&info.user),
        ancestry: lineage
            .filter(|image| !image.is_empty())
            .map(|image| o::Ancestor { name: image_name(image), path: image })
            .collect(),
    })
}

fn user(account: &str) -> Option<o::User<'_>> {
    native::User::new(account).map(|user| o::User { name: user.name, domain: user.domain })
}

/// What was asked for: names below a domain, or one of the names that were counted.
fn query(alert: &Alert) -> Option<o::Query<'_>> {
    let dns = alert.dns.as_ref();
    let level = alert.evidence.level == crate::alert::Level::Dns;
    let domain = Some(&alert.destination.registrable_domain).filter(|domain| !domain.is_empty());
    let sample = dns.and_then(|dns| dns.samples.first());
    let hostname = domain.or(sample).filter(|_| level || dns.is_some())?;
    let r#type = dns.and_then(|dns| dns.types.first()).map_or("", |(name, _)| name);
    Some(o::Query { hostname, r#type })
}

/// The highest version that a client offered, from its JA4 (two digits behind the transport).
fn offered(ja4: &str) -> &'static str {
    match ja4.get(1..3) {
        Some("13") => "1.3",
        Some("12") => "1.2",
        Some("11") => "1.1",
        Some("10") => "1.0",
        _ => "unknown",
    }
}

fn ja4_of(value: &str) -> Option<[o::Ja4<'_>; 1]> {
    let mut sections = value.splitn(3, '_');
    let mut section = || sections.next().unwrap_or_default();
    (!value.is_empty()).then(|| {
        let (section_a, section_b, section_c) = (section(), section(), section());
        [o::Ja4 { type_id: 1, r#type: "JA4", value, section_a, section_b, section_c }]
    })
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn osint(found: &IndicatorMatch) -> o::Osint<'_> {
    let (type_id, r#type) = match &*found.kind {
        "ip" => (1, "IP Address"),
        "domain" => (2, "Domain"),
        "url_host" => (3, "Hostname"),
        "certificate_sha1" | "certificate_sha256" => (7, "Digital Certificate"),
        other => (99, other),
    };
    let confidence = found.confidence.map(confidence);
    let some = |text: &str| !text.is_empty();
    o::Osint {
        type_id,
        r#type,
        value: &found.value,
        name: &found.label,
        vendor_name: &found.feed,
        comment: if found.matched == found.value { "" } else { &found.matched },
        src_url: &found.reference,
        confidence_id: confidence.map(|(id, _)| id),
        confidence: confidence.map(|(_, name)| name),
        created_time: found.valid_from.map(Timestamp::millis),
        expiration_time: found.valid_until.map(Timestamp::millis),
        intrusion_sets: Some([found.group.as_str()]).filter(|[group]| some(group)),
        malware: Some(found.software.as_str())
            .filter(|uid| some(uid))
            .map(|uid| [o::Malware { classification_ids: [0], uid }]),
        labels: found.retrospective.then_some(["retrospective"]),
    }
}

/// The guide as a text: OCSF keeps what to do as one.
fn remediation(alert: &Alert, guidance: Guidance) -> Option<o::Remediation> {
    if guidance == Guidance::None {
        return None;
    }
    let guide = guide::of(alert);
    let mut desc = String::new();
    for (title, steps) in [
        ("Assess", &guide.assess),
        ("Contain", &guide.contain),
        ("Collect", &guide.collect),
        ("Eradicate", &guide.eradicate),
        ("Recover", &guide.recover),
        ("Avoid", &guide.avoid),
    ] {
        if steps.is_empty() {
            continue;
        }
        desc.push_str(title);
        desc.push_str(":\n");
        for Step { text, commands } in steps {
            desc.push_str("- ");
            desc.push_str(text);
            desc.push('\n');
            for command in commands {
                desc.push_str("  $ ");
                desc.push_str(command);
                desc.push('\n');
            }
        }
    }
    (!desc.is_empty()).then_some(o::Remediation { desc })
}

/// What OCSF has no place for.
fn unmapped(alert: &Alert, guidance: Guidance) -> o::Kept<'_> {
    let native = native::Sonde::new(alert, guidance);
    o::Kept {
        schema: native.schema,
        revision: native.revision,
        change: native.change,
        score: native.score,
        points: native.points,
        parts: native.parts,
        missing: native.missing,
        detected_after_callbacks: native.detected_after_callbacks,
        hosting: native.hosting,
        destination: native.destination,
        group: native.group,
        process: native.process,
        pod: alert
            .process
            .as_ref()
            .map(|process| process.info.pod.as_str())
            .filter(|pod| !pod.is_empty() && !is_uuid(pod)),
        attribution: native.attribution,
        profile: native.profile,
        suppressed_by: native.suppressed_by,
        queries: native.queries,
    }
}

impl o::ConnectionInfo {
    fn new(transport: Transport, ip: Option<IpAddr>) -> Self {
        let is_v6 = ip.is_some_and(|ip| ip.is_ipv6());
        let internal = ip.map(is_internal);
        Self {
            direction_id: 2,
            direction: "Outbound",
            protocol_name: match transport {
                Transport::Icmp if is_v6 => "ipv6-icmp",
                transport => transport.as_str(),
            },
            protocol_num: match transport {
                Transport::Tcp => 6,
                Transport::Udp => 17,
                Transport::Icmp if is_v6 => 58,
                Transport::Icmp => 1,
            },
            protocol_ver_id: ip.map(|_| if is_v6 { 6 } else { 4 }),
            boundary_id: internal.map(|internal| if internal { 2 } else { 3 }),
            boundary: internal.map(|internal| if internal { "Internal" } else { "External" }),
        }
    }
}

impl<'a> o::HttpRequest<'a> {
    fn new(host: &'a str, user_agent: &'a str) -> Option<Self> {
        (!host.is_empty() || !user_agent.is_empty()).then(|| Self {
            user_agent,
            http_headers: (!host.is_empty()).then_some([o::Header { name: "Host", value: host }]),
        })
    }
}
