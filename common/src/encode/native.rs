//! Sonde's own form of an alert: one JSON object, Elastic Common Schema names where ECS has one, the rest below `sonde`.
//!
//! `docs/alerts.md` is the reference of every field; a test holds it to this file. A field that is not known is left
//! out. Numbers are rounded, so that the same alert is the same text on every machine.

use std::net::IpAddr;

use serde::Serialize;

use super::{json, rounded};
use crate::alert::{
    Alert, AutonomousSystem, Change, Class, DnsEvidence, Evidence, HISTOGRAM_BINS, IndicatorMatch, Level,
    Process, ProfileNote, Severity, Suppressed, Technique, Word,
};
use crate::certificate::{Certificate, hex};
use crate::event::AppProtocol;
use crate::guide::{self, Guidance};
use crate::net::Transport;
use crate::process::image_name;
use crate::process::{Attribution, ImageLocation, ParentClass};
use crate::time::Timestamp;

/// Version of the form: the first number rises when a field changes its meaning or goes, the second when one is added.
pub const SCHEMA_VERSION: &str = "2.0";
/// Version of the Elastic Common Schema whose names are used.
pub const ECS_VERSION: &str = "8.11.0";

/// Decimals of a score, of points and of ratios.
const SCORE_DECIMALS: i32 = 4;
/// Decimals of seconds, bans and bytes.
const SECS_DECIMALS: i32 = 3;

/// Writes the alert as one line of JSON, without the line's end, behind what `out` holds; with as much guidance as is wanted.
pub fn append(alert: &Alert, guidance: Guidance, out: &mut Vec<u8>) {
    let done = json::write(&mut *out, &Document::new(alert, guidance));
    debug_assert!(done.is_ok(), "a Vec takes every write and a Document has no keys but names: {done:?}");
}

/// The alert as one line of JSON, without the line's end and without guidance.
#[must_use]
pub fn to_json(alert: &Alert) -> String {
    to_json_with(alert, Guidance::None)
}

/// The same with guidance.
#[must_use]
pub fn to_json_with(alert: &Alert, guidance: Guidance) -> String {
    let mut out = Vec::with_capacity(16_384);
    append(alert, guidance, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "Alert of Sonde"))]
pub(super) struct Document<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
    ecs: Version,
    event: Event,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    rule: Rule,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Host<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<EcsProcess<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    orchestrator: Option<Orchestrator<'a>>,
    destination: EcsDestination<'a>,
    network: Network,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Dns<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Url<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<UserAgent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threat: Option<Threat<'a>>,
    sonde: Sonde<'a>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Version {
    version: &'static str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Event {
    #[cfg_attr(test, schemars(extend("enum" = ["alert", "event"])))]
    kind: &'static str,
    category: [&'static str; 2],
    r#type: [&'static str; 1],
    action: &'static str,
    id: String,
    module: &'static str,
    dataset: &'static str,
    start: Timestamp,
    end: Timestamp,
    severity: u8,
    risk_score: f64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Rule {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Host<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<[IpAddr; 1]>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct EcsProcess<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    executable: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    command_line: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hash<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Hash<'a> {
    sha256: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Parent<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    executable: &'a str,
    name: &'a str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct User<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) domain: &'a str,
    pub(super) name: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Container<'a> {
    id: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Orchestrator<'a> {
    resource: Resource<'a>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Resource<'a> {
    r#type: &'static str,
    id: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct EcsDestination<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    registered_domain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#as: Option<EcsAs<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct EcsAs<'a> {
    number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<Organization<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Organization<'a> {
    name: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Network {
    transport: Transport,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(extend("enum" = ["tls", "quic", "http", "ssh", "dns"])))]
    protocol: Option<&'static str>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Dns<'a> {
    question: Question<'a>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Question<'a> {
    registered_domain: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Tls<'a> {
    client: TlsClient<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<TlsServer>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct TlsServer {
    hash: TlsHash,
}

/// Upper-case hexadecimal, as ECS has it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct TlsHash {
    #[serde(skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl TlsServer {
    pub(super) fn new(certificate: &Certificate) -> Option<Self> {
        let hex = |digest: &[u8]| hex(digest).to_ascii_uppercase();
        let Certificate { sha1, sha256 } = certificate;
        (!certificate.is_none()).then(|| Self {
            hash: TlsHash {
                sha1: sha1.map(|digest| hex(&digest)),
                sha256: sha256.map(|digest| hex(&digest)),
            },
        })
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct TlsClient<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    server_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ja4: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Url<'a> {
    domain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct UserAgent<'a> {
    original: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Threat<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    framework: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    technique: Option<Techniques<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Reference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software: Option<Reference<'a>>,
}

/// Something that ATT&CK has a number for.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Reference<'a> {
    id: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Techniques<'a> {
    id: Vec<&'a str>,
    name: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Sonde<'a> {
    pub(super) schema: Version,
    pub(super) version: &'static str,
    pub(super) id: String,
    pub(super) revision: u32,
    pub(super) change: Change,
    pub(super) severity: Severity,
    #[cfg_attr(test, schemars(range(min = 0, max = 1)))]
    pub(super) score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) points: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) missing: &'a [Word],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) reason: &'a str,
    pub(super) evaluated: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detected: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detected_after_callbacks: Option<u32>,
    pub(super) class: Class,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) level: Option<Level>,
    pub(super) evidence: Measured<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dns: Option<Counted<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) indicators: Vec<OnFeed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<ProfileFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hosting: Option<bool>,
    pub(super) destination: Names<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) group: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Program<'a>>,
    #[serde(skip_serializing_if = "Attribution::is_none")]
    pub(super) attribution: Attribution,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suppressed_by: Option<&'a Suppressed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) guide: Option<guide::Guide>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queries: Option<guide::Queries>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Part<'a> {
    name: &'a str,
    points: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Measured<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bans: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    test: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    shape: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_median_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_mad_ratio: Option<f64>,
    callbacks: u32,
    missed: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    gaps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap_secs: Option<u32>,
    first_seen: Timestamp,
    last_seen: Timestamp,
    dwell_secs: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    histogram: Option<Bins<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    recent: &'a [Timestamp],
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out_median: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in_median: Option<f64>,
    bytes_out: u64,
    bytes_in: u64,
    refused: u32,
    unanswered: u32,
}

/// What was counted of names.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Counted<'a> {
    queries: u32,
    names: u32,
    nxdomain: u32,
    name_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entropy_bits: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated_score: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<QueryType<'a>>,
    addresses: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_min_secs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolver: Option<std::net::SocketAddr>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    samples: &'a [String],
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct QueryType<'a> {
    name: &'a str,
    queries: u32,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct OnFeed<'a> {
    kind: &'a str,
    value: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    matched: &'a str,
    feed: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<u8>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Timestamp>,
    retrospective: bool,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ProfileFields<'a> {
    name: &'a str,
    class: &'a str,
    matched: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    mismatch: &'a str,
    excused: bool,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Bins<'a> {
    low_secs: f64,
    high_secs: f64,
    counts: &'a [u16; HISTOGRAM_BINS],
}

/// What the client resolved and what it claimed, kept apart.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Names<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    fqdn: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sni: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    connect_host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    http_host: &'a str,
}

/// What ECS has no name for.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Program<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    script: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ancestors: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    service: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    package: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<ImageLocation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_class: Option<ParentClass>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_host: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    browser: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_days: Option<f64>,
}

impl<'a> Document<'a> {
    fn new(alert: &'a Alert, guidance: Guidance) -> Self {
        let destination = &alert.destination;
        let level = alert.evidence.level;
        let process = alert.process.as_ref();
        let ja4 = destination.ja4.as_ref().map_or("", |ja4| ja4.as_str());
        let (url_domain, url_port) = split_host_port(&destination.http_host);
        Self {
            timestamp: alert.time,
            ecs: Version { version: ECS_VERSION },
            event: Event::new(alert),
            message: &alert.reason,
            rule: Rule::new(alert.class),
            host: (!alert.host.is_empty())
                .then(|| Host { name: &alert.host, ip: alert.host.parse().ok().map(|ip| [ip]) }),
            process: process.and_then(EcsProcess::new),
            user: process.and_then(|process| User::new(&process.info.user)),
            container: process
                .and_then(|process| some_text(&process.info.container))
                .map(|id| Container { id }),
            orchestrator: process
                .and_then(|process| some_text(&process.info.pod))
                .map(|id| Orchestrator { resource: Resource { r#type: "pod", id } }),
            destination: EcsDestination {
                address: &destination.name,
                ip: destination.ip,
                port: (destination.port != 0).then_some(destination.port),
                domain: if is_domain(&destination.name) { &destination.name } else { "" },
                registered_domain: &destination.registrable_domain,
                r#as: destination.autonomous_system.as_ref().map(EcsAs::new),
            },
            network: Network {
                transport: destination.transport,
                protocol: protocol(level, destination.protocol),
            },
            dns: some_text(&destination.registrable_domain)
                .filter(|_| level == Level::Dns || alert.dns.is_some())
                .map(|registered_domain| Dns { question: Question { registered_domain } }),
            tls: (!destination.sni.is_empty() || !ja4.is_empty() || !destination.certificate.is_none()).then(
                || Tls {
                    client: TlsClient { server_name: &destination.sni, ja4 },
                    server: TlsServer::new(&destination.certificate),
                },
            ),
            url: some_text(url_domain).map(|domain| Url { domain, port: url_port }),
            user_agent: some_text(&destination.user_agent).map(|original| UserAgent { original }),
            threat: Threat::new(alert),
            sonde: Sonde::new(alert, guidance),
        }
    }
}

impl Event {
    fn new(alert: &Alert) -> Self {
        Self {
            kind: if is_alert(alert) { "alert" } else { "event" },
            category: ["network", "intrusion_detection"],
            r#type: ["info"],
            action: match alert.change {
                Change::Created => "beacon-created",
                Change::Updated => "beacon-updated",
                Change::Closed => "beacon-closed",
                Change::Final => "beacon-final",
            },
            id: alert.emission_id(),
            module: "sonde",
            dataset: "sonde.alert",
            start: alert.evidence.first_seen,
            end: alert.evidence.last_seen,
            severity: severity_number(alert.severity),
            risk_score: rounded(score(alert) * 100.0, SCORE_DECIMALS - 2).unwrap_or(0.0),
        }
    }
}

impl Rule {
    pub(super) const fn new(class: Class) -> Self {
        let (id, name, description) = match class {
            Class::Beacon => (
                "sonde.beacon.connection",
                "Beacon: connections",
                "A program connects to one destination in a rhythm, and what is known of the two is suspicious.",
            ),
            Class::ProcessBeacon => (
                "sonde.beacon.process",
                "Beacon: connections of one process",
                "Several processes of a program connect to one destination in turn, one of them in a rhythm of its own, and what is known of the two is suspicious.",
            ),
            Class::Rotation => (
                "sonde.beacon.group",
                "Beacon: connections to several destinations",
                "A program connects in one rhythm to destinations that take turns, and what is known of them is suspicious.",
            ),
            Class::InConnection => (
                "sonde.beacon.exchange",
                "Beacon: exchanges inside a connection",
                "A program exchanges data in a rhythm inside connections that it keeps open, and what is known of it and its destination is suspicious.",
            ),
            Class::Proxied => (
                "sonde.beacon.proxied",
                "Beacon: connections through a proxy",
                "A program connects through a proxy to one destination in a rhythm, and what is known of the two is suspicious.",
            ),
            Class::DeadCallback => (
                "sonde.beacon.dead",
                "Beacon: callbacks to a server that is not there",
                "A program calls in a rhythm a server that refuses or never answers, and what is known of the two is suspicious.",
            ),
            Class::DnsCallback => (
                "sonde.beacon.dns",
                "Beacon: DNS queries",
                "A program asks in a rhythm for new names below one domain, and what is known of the two is suspicious.",
            ),
            Class::IcmpCallback => (
                "sonde.beacon.icmp",
                "Beacon: ICMP echoes",
                "A program sends ICMP echoes in a rhythm, and what is known of it and its destination is suspicious.",
            ),
            Class::LongConnection => (
                "sonde.connection.long",
                "Long connection",
                "A program keeps a connection open unusually long, and what is known of it and its destination is suspicious.",
            ),
            Class::Strobe => (
                "sonde.connection.strobe",
                "Strobe",
                "A program connects to one destination very often, and what is known of the two is suspicious.",
            ),
            Class::Indicator => (
                "sonde.indicator",
                "Known-bad infrastructure",
                "A destination, name, fingerprint or certificate is on a feed of known-bad ones.",
            ),
            Class::GeneratedNames => (
                "sonde.dns.generated",
                "Generated names",
                "A program asks for a burst of names that look generated, and most do not exist.",
            ),
            Class::NxdomainBurst => (
                "sonde.dns.nxdomain",
                "Burst of names that do not exist",
                "A program asks for many different domains that do not exist within a short time.",
            ),
            Class::DnsTunnel => (
                "sonde.dns.tunnel",
                "DNS tunnel",
                "Names below one domain, or their answers, carry more data than names do.",
            ),
            Class::ResolverBypass => (
                "sonde.dns.bypass",
                "Resolver bypassed",
                "A program that is no browser asks a resolver that is not this host's.",
            ),
            Class::FastFlux => (
                "sonde.dns.fast_flux",
                "Fast flux",
                "A name leads to ever other addresses in unrelated networks, each for a short time.",
            ),
            Class::Rebinding => (
                "sonde.dns.rebinding",
                "Private answer for a public name",
                "A public name leads to an address inside this network.",
            ),
        };
        Self { id, name, description }
    }
}

/// Name of the detection that raises a class.
#[must_use]
pub const fn rule_name(class: Class) -> &'static str {
    Rule::new(class).name
}

impl<'a> EcsProcess<'a> {
    fn new(process: &'a Process) -> Option<Self> {
        let info = &process.info;
        let (executable, name) = split_image(&info.image);
        let (parent_executable, parent_name) = split_image(&info.parent_image);
        let this = Self {
            executable,
            name,
            command_line: &info.command_line,
            // Nor has a source that knows no number any other than 0, which no program has.
            pid: process.key.map(|key| key.pid).filter(|&pid| pid != 0),
            // A source that knows no start time gives the epoch.
            start: process.key.map(|key| key.start).filter(|&start| start != Timestamp::ZERO),
            hash: some_text(&info.sha256).map(|sha256| Hash { sha256 }),
            parent: some_text(parent_name).map(|name| Parent { executable: parent_executable, name }),
        };
        let known = !this.name.is_empty()
            || !this.command_line.is_empty()
            || this.pid.is_some()
            || this.hash.is_some()
            || this.parent.is_some();
        known.then_some(this)
    }
}

impl<'a> User<'a> {
    /// Windows names an account `DOMAIN\name`; ECS wants the two apart.
    pub(super) fn new(account: &'a str) -> Option<Self> {
        let (domain, name) = account.split_once('\\').unwrap_or(("", account));
        let (domain, name) = if name.is_empty() { ("", account) } else { (domain, name) };
        some_text(name).map(|name| Self { domain, name })
    }
}

impl<'a> Threat<'a> {
    fn new(alert: &'a Alert) -> Option<Self> {
        let first = |id: fn(&IndicatorMatch) -> &str| {
            alert.indicators.iter().map(id).find(|id| !id.is_empty()).map(|id| Reference { id })
        };
        let this = Self {
            framework: (!alert.techniques.is_empty()).then_some("MITRE ATT&CK"),
            technique: Techniques::new(&alert.techniques),
            group: first(|indicator| &indicator.group),
            software: first(|indicator| &indicator.software),
        };
        (this.technique.is_some() || this.group.is_some() || this.software.is_some()).then_some(this)
    }
}

impl<'a> Techniques<'a> {
    fn new(techniques: &'a [Technique]) -> Option<Self> {
        (!techniques.is_empty()).then(|| Self {
            id: techniques.iter().map(|technique| &*technique.id).collect(),
            name: techniques.iter().map(|technique| &*technique.name).collect(),
        })
    }
}

impl<'a> EcsAs<'a> {
    fn new(network: &'a AutonomousSystem) -> Self {
        let organization = some_text(&network.organization).map(|name| Organization { name });
        Self { number: network.number, organization }
    }
}

impl<'a> Counted<'a> {
    pub(super) fn new(dns: &'a DnsEvidence) -> Self {
        let DnsEvidence { queries, names, nxdomain, name_bytes, entropy_bits, generated_score, .. } = dns;
        let DnsEvidence { types, addresses, ttl_min_secs, resolver, samples, .. } = dns;
        Self {
            queries: *queries,
            names: *names,
            nxdomain: *nxdomain,
            name_bytes: *name_bytes,
            entropy_bits: entropy_bits.and_then(|bits| rounded(bits, SECS_DECIMALS)),
            generated_score: generated_score.and_then(|score| rounded(score, SECS_DECIMALS)),
            types: types.iter().map(|(name, queries)| QueryType { name, queries: *queries }).collect(),
            addresses: *addresses,
            ttl_min_secs: *ttl_min_secs,
            resolver: *resolver,
            samples,
        }
    }
}

impl<'a> OnFeed<'a> {
    fn new(found: &'a IndicatorMatch) -> Self {
        Self {
            kind: &found.kind,
            value: &found.value,
            matched: if found.matched == found.value { "" } else { &found.matched },
            feed: &found.feed,
            label: &found.label,
            confidence: found.confidence,
            reference: &found.reference,
            valid_from: found.valid_from,
            valid_until: found.valid_until,
            retrospective: found.retrospective,
        }
    }
}

impl<'a> ProfileFields<'a> {
    fn new(profile: &'a ProfileNote) -> Self {
        let ProfileNote { name, class, matched, mismatch, excused } = profile;
        Self { name, class, matched: *matched, mismatch, excused: *excused }
    }
}

impl<'a> Sonde<'a> {
    pub(super) fn new(alert: &'a Alert, guidance: Guidance) -> Self {
        let destination = &alert.destination;
        Self {
            schema: Version { version: SCHEMA_VERSION },
            version: env!("CARGO_PKG_VERSION"),
            id: alert.id.to_string(),
            revision: alert.revision,
            change: alert.change,
            severity: alert.severity,
            score: score(alert),
            points: rounded(alert.points, SCORE_DECIMALS),
            parts: alert
                .parts
                .iter()
                .map(|part| Part {
                    name: &part.name,
                    points: rounded(part.points, SCORE_DECIMALS).unwrap_or(0.0),
                    detail: &part.detail,
                })
                .collect(),
            missing: &alert.missing,
            reason: &alert.reason,
            evaluated: alert.time,
            detected: alert.detected,
            detected_after_callbacks: alert.detected.map(|_| alert.detected_after_callbacks),
            class: alert.class,
            level: alert.class.is_beacon().then_some(alert.evidence.level),
            evidence: Measured::new(&alert.evidence, alert.class),
            dns: alert.dns.as_ref().map(Counted::new),
            indicators: alert.indicators.iter().map(OnFeed::new).collect(),
            profile: alert.profile.as_ref().map(ProfileFields::new),
            hosting: destination.autonomous_system.as_ref().map(|network| network.hosting),
            destination: Names {
                name: &destination.name,
                fqdn: &destination.fqdn,
                sni: &destination.sni,
                connect_host: &destination.connect_host,
                http_host: &destination.http_host,
            },
            group: &destination.group,
            process: alert.process.as_ref().and_then(Program::new),
            attribution: alert.attribution,
            suppressed_by: alert.suppressed_by.as_ref(),
            guide: (guidance != Guidance::None).then(|| guide::of(alert)),
            queries: (guidance == Guidance::Full)
                .then(|| guide::queries(alert))
                .filter(|queries| !queries.is_empty()),
        }
    }
}

impl<'a> Measured<'a> {
    pub(super) fn new(evidence: &'a Evidence, class: Class) -> Self {
        let Evidence {
            level: _,
            bans,
            test,
            shape,
            matched,
            of,
            period_secs,
            interval_median_secs,
            jitter_mad_ratio,
            callbacks,
            missed,
            gaps,
            gap_secs,
            first_seen,
            last_seen,
            histogram,
            recent,
            bytes_out_median,
            bytes_in_median,
            bytes_out,
            bytes_in,
            refused,
            unanswered,
            recent_sizes: _,
        } = evidence;
        let found = !test.is_empty();
        let measured = *interval_median_secs > 0.0;
        let edges = (rounded(histogram.low_secs, SECS_DECIMALS), rounded(histogram.high_secs, SECS_DECIMALS));
        Self {
            bans: rounded(*bans, SECS_DECIMALS).filter(|_| class.is_beacon()),
            test,
            shape,
            matched: found.then_some(*matched),
            of: found.then_some(*of),
            period_secs: rounded(*period_secs, SECS_DECIMALS).filter(|&period| period > 0.0),
            interval_median_secs: rounded(*interval_median_secs, SECS_DECIMALS).filter(|_| measured),
            jitter_mad_ratio: rounded(*jitter_mad_ratio, SCORE_DECIMALS).filter(|_| measured),
            callbacks: *callbacks,
            missed: *missed,
            gaps: Some(*gaps).filter(|&gaps| gaps > 0),
            gap_secs: Some(*gap_secs).filter(|_| *gaps > 0),
            first_seen: *first_seen,
            last_seen: *last_seen,
            dwell_secs: rounded(dwell_secs(evidence), SECS_DECIMALS).unwrap_or(0.0),
            histogram: match edges {
                (Some(low_secs), Some(high_secs)) if histogram.counts.iter().any(|&count| count > 0) => {
                    Some(Bins { low_secs, high_secs, counts: &histogram.counts })
                }
                _ => None,
            },
            recent,
            bytes_out_median: bytes_out_median.and_then(|bytes| rounded(bytes, SECS_DECIMALS)),
            bytes_in_median: bytes_in_median.and_then(|bytes| rounded(bytes, SECS_DECIMALS)),
            bytes_out: *bytes_out,
            bytes_in: *bytes_in,
            refused: *refused,
            unanswered: *unanswered,
        }
    }
}

impl<'a> Program<'a> {
    fn new(process: &'a Process) -> Option<Self> {
        let info = &process.info;
        let this = Self {
            script: &info.script,
            ancestors: &info.ancestors,
            service: &info.service,
            package: &info.package,
            signed: info.signed,
            location: info.location,
            parent_class: info.parent_class,
            script_host: info.script_host,
            browser: info.browser,
            age_days: info.age_days.and_then(|days| rounded(days, SECS_DECIMALS)),
        };
        let texts = [this.script, this.service, this.package];
        let known = texts.iter().any(|text| !text.is_empty())
            || !this.ancestors.is_empty()
            || this.signed.is_some()
            || this.location.is_some()
            || this.parent_class.is_some()
            || this.script_host.is_some()
            || this.browser.is_some()
            || this.age_days.is_some();
        known.then_some(this)
    }
}

/// ECS keeps "alert" for what a rule raised: a series that `--all` lists is an event.
pub(super) fn is_alert(alert: &Alert) -> bool {
    alert.detected.is_some() || alert.severity >= Severity::Medium
}

/// Seconds from the first callback to the latest.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a float of seconds is exact to a microsecond for 285 years")]
pub fn dwell_secs(evidence: &Evidence) -> f64 {
    evidence.last_seen.since(evidence.first_seen).max(0) as f64 / 1e9
}

/// The score as it is printed: always a number from 0 to 1.
pub(super) fn score(alert: &Alert) -> f64 {
    rounded(alert.score.clamp(0.0, 1.0), SCORE_DECIMALS).unwrap_or(0.0)
}

/// What was spoken, in ECS's words.
pub(super) const fn protocol(level: Level, protocol: AppProtocol) -> Option<&'static str> {
    match (level, protocol) {
        (Level::Dns, _) => Some("dns"),
        (_, AppProtocol::Tls) => Some("tls"),
        (_, AppProtocol::Quic) => Some("quic"),
        (_, AppProtocol::Http) => Some("http"),
        (_, AppProtocol::Ssh) => Some("ssh"),
        (_, AppProtocol::Unknown) => None,
    }
}

/// The figures that Elastic's detection engine gives its severities, so that alerts sort among its own.
const fn severity_number(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 21,
        Severity::Medium => 47,
        Severity::High => 73,
        Severity::Critical => 99,
    }
}

fn some_text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Path and name of an executable; without a path where the source has only the name.
fn split_image(image: &str) -> (&str, &str) {
    let name = image_name(image);
    (if name.len() < image.len() { image } else { "" }, name)
}

pub(super) fn is_domain(name: &str) -> bool {
    !name.is_empty() && name.parse::<IpAddr>().is_err()
}

/// Host and port of a Host header (RFC 9112 section 3.2); the port is left on the host where it is not a number.
fn split_host_port(header: &str) -> (&str, Option<u16>) {
    match header.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            port.parse().map_or((header, None), |port| (host, Some(port)))
        }
        _ => (header, None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::encode::samples;

    /// The reference of the fields.
    const DOC: &str = include_str!("../../../docs/alerts.md");

    fn parsed(alert: &Alert) -> Value {
        serde_json::from_str(&to_json(alert)).unwrap()
    }

    /// The paths of all values, `[]` behind the name of an array.
    fn paths(value: &Value, path: &str, out: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    paths(value, &path, out);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{path}[]"), out)),
            _ => {
                out.insert(path.to_owned());
            }
        }
    }

    /// JSON without the white space between its tokens.
    fn compact(json: &str) -> String {
        let (mut quoted, mut escaped) = (false, false);
        json.chars()
            .filter(|&c| {
                let keep = quoted || !c.is_whitespace();
                if c == '"' && !escaped {
                    quoted = !quoted;
                }
                escaped = quoted && c == '\\' && !escaped;
                keep
            })
            .collect()
    }

    #[test]
    fn sample_of_the_reference_is_what_the_encoder_writes() {
        let (_, rest) = DOC.split_once("```json\n").unwrap();
        let (sample, _) = rest.split_once("```").unwrap();
        let written = to_json(&samples::implant());
        // The sample need not be made anew for each release.
        let version = |number| format!(r#""version":"{number}","id""#);
        let line = written.replace(&version(env!("CARGO_PKG_VERSION")), &version("0.1.0"));
        assert_eq!(compact(sample), line, "docs/alerts.md is to show:\n{line}");
    }

    #[test]
    fn reference_lists_every_field_and_no_other() {
        let mut written = BTreeSet::new();
        for mut alert in samples::all() {
            alert.change = Change::Created;
            let line = to_json_with(&alert, Guidance::Full);
            paths(&serde_json::from_str(&line).unwrap(), "", &mut written);
        }
        let documented: BTreeSet<String> = DOC
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(path, _)| path.to_owned())
            .collect();
        let missing: Vec<_> = written.difference(&documented).collect();
        let stale: Vec<_> = documented.difference(&written).collect();
        assert!(missing.is_empty(), "not in docs/alerts.md: {missing:?}");
        assert!(stale.is_empty(), "in docs/alerts.md, but never written: {stale:?}");
    }

    /// Holds a value to the few words of JSON Schema that ours is written in; a field that it does not know is wrong here, though
    /// readers are to skip it.
    fn obeys(value: &Value, schema: &Value, path: &str) {
        let kind = schema["type"].as_str().unwrap();
        let holds = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            other => panic!("{path}: no such type {other}"),
        };
        assert!(holds, "{path} is no {kind}: {value}");
        if let Some(words) = schema["enum"].as_array() {
            assert!(words.contains(value), "{path}: {value} is none of {words:?}");
        }
        for (bound, holds) in
            [("minimum", std::cmp::Ordering::Less), ("maximum", std::cmp::Ordering::Greater)]
        {
            let beyond = schema[bound].as_f64().and_then(|bound| value.as_f64()?.partial_cmp(&bound));
            assert_ne!(beyond, Some(holds), "{path}: {value}");
        }
        if schema["format"] == "date-time" {
            assert!(value.as_str().unwrap().parse::<Timestamp>().is_ok(), "{path}: {value}");
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(value.get(name.as_str().unwrap()).is_some(), "{path} has no {name}");
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            obeys(
                value,
                schema["properties"].get(name).unwrap_or_else(|| panic!("{path} is not in the schema")),
                &path,
            );
        }
        value.as_array().into_iter().flatten().for_each(|item| obeys(item, &schema["items"], path));
    }

    #[test]
    fn every_alert_obeys_the_schema() {
        let schema: Value = serde_json::from_str(include_str!("../../../docs/alert.schema.json")).unwrap();
        for alert in samples::all() {
            for guidance in [Guidance::None, Guidance::Full] {
                obeys(&serde_json::from_str(&to_json_with(&alert, guidance)).unwrap(), &schema, "");
            }
        }
    }

    #[test]
    fn the_schema_has_the_fields_of_the_reference() {
        fn leaves(schema: &Value, path: &str, out: &mut BTreeSet<String>) {
            if let Some(fields) = schema["properties"].as_object() {
                for (name, field) in fields {
                    leaves(
                        field,
                        &if path.is_empty() { name.clone() } else { format!("{path}.{name}") },
                        out,
                    );
                }
            } else if schema["type"] == "array" {
                leaves(&schema["items"], &format!("{path}[]"), out);
            } else {
                out.insert(path.to_owned());
            }
        }
        let mut found = BTreeSet::new();
        let schema = include_str!("../../../docs/alert.schema.json");
        leaves(&serde_json::from_str(schema).unwrap(), "", &mut found);
        let rows = DOC.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let documented: BTreeSet<String> = rows.map(|(path, _)| path.to_owned()).collect();
        // Any step may have commands; which do have, the templates say.
        found.retain(|path| {
            let commands = path.starts_with("sonde.guide.") && path.ends_with("].commands[]");
            !commands || documented.contains(path)
        });
        assert_eq!(found, documented, "renew it with SONDE_BLESS=1");
    }

    #[test]
    fn reference_names_the_versions() {
        assert!(DOC.contains(&format!("schema version {SCHEMA_VERSION}")));
        assert!(DOC.contains(&format!("ECS {ECS_VERSION}")));
    }

    #[test]
    fn score_and_severity_stand_where_scripts_look_for_them() {
        for alert in samples::all() {
            let value = parsed(&alert);
            assert!(value["sonde"]["score"].is_f64(), "{value}");
            assert_eq!(value["sonde"]["severity"].as_str(), Some(alert.severity.as_str()));
        }
        let mut broken = samples::implant();
        broken.score = f64::NAN;
        assert_eq!(parsed(&broken)["sonde"]["score"].as_f64(), Some(0.0));
    }

    #[test]
    fn guidance_is_given_with_the_first_and_the_last_word_of_an_alert() {
        let has = |alert: &Alert, guidance: Guidance| {
            let line = to_json_with(alert, guidance.of_emission(alert));
            let value: Value = serde_json::from_str(&line).unwrap();
            (value["sonde"].get("guide").is_some(), value["sonde"].get("queries").is_some())
        };
        let created = Alert { change: Change::Created, ..samples::implant() };
        assert_eq!(has(&created, Guidance::Full), (true, true));
        assert_eq!(has(&created, Guidance::Steps), (true, false));
        assert_eq!(has(&created, Guidance::None), (false, false));
        assert_eq!(has(&samples::implant(), Guidance::Full), (false, false), "an update repeats nothing");
        let row = Alert { change: Change::Final, ..samples::long_names() };
        assert_eq!(has(&row, Guidance::Full), (false, false), "no alert, nothing to do");
        // What docs/alerts.md says of sizes: some collectors cut an event at 10,000 bytes.
        let bytes = |guidance| to_json_with(&created, guidance).len();
        assert!(
            bytes(Guidance::Steps) < 10_000 && bytes(Guidance::Full) < 20_000,
            "{}",
            bytes(Guidance::Full)
        );
    }

    #[test]
    fn bare_alert_has_no_empty_fields() {
        let alert = samples::bare();
        let golden = concat!(
            r#"{"@timestamp":"2026-03-02T09:00:00.000000000Z","ecs":{"version":"8.11.0"},"#,
            r#""event":{"kind":"event","category":["network","intrusion_detection"],"type":["info"],"#,
            r#""action":"beacon-final","id":"0000000000000000000000000000000b-1-1898fa9bb2fba000","module":"sonde","#,
            r#""dataset":"sonde.alert","start":"2026-03-02T08:00:00.000000000Z","#,
            r#""end":"2026-03-02T08:30:00.000000000Z","severity":1,"risk_score":0.52},"#,
            r#""rule":{"id":"sonde.beacon.connection","name":"Beacon: connections","description":"A program connects "#,
            r#"to one destination in a rhythm, and what is known of the two is suspicious."},"#,
            r#""destination":{"address":"198.51.100.9","ip":"198.51.100.9"},"network":{"transport":"icmp"},"#,
            r#""sonde":{"schema":{"version":"2.0"},"version":"VERSION","id":"0000000000000000000000000000000b","#,
            r#""revision":1,"change":"final","severity":"info","score":0.0052,"points":-6.1875,"#,
            r#""evaluated":"2026-03-02T09:00:00.000000000Z","class":"beacon","level":"connection","#,
            r#""evidence":{"bans":0.0,"callbacks":3,"missed":0,"first_seen":"2026-03-02T08:00:00.000000000Z","#,
            r#""last_seen":"2026-03-02T08:30:00.000000000Z","dwell_secs":1800.0,"bytes_out":0,"bytes_in":0,"#,
            r#""refused":0,"unanswered":0},"destination":{"name":"198.51.100.9"}}}"#,
        );
        assert_eq!(to_json(&alert), golden.replace("VERSION", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn unmeasured_figures_are_left_out_not_null() {
        let mut alert = samples::implant();
        alert.points = f64::NAN;
        alert.evidence.period_secs = f64::NAN;
        alert.evidence.jitter_mad_ratio = f64::INFINITY;
        alert.evidence.histogram.high_secs = f64::NAN;
        alert.evidence.bytes_in_median = Some(f64::NAN);
        let line = to_json(&alert);
        assert!(!line.contains("null"), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["sonde"].get("points"), None);
        assert_eq!(value["sonde"]["evidence"].get("histogram"), None);
    }

    #[test]
    fn hostile_names_leave_the_line_plain_and_read_back() {
        let alert = samples::hostile();
        let line = to_json(&alert);
        assert!(line.chars().all(crate::text::is_plain), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["user_agent"]["original"].as_str(), Some(alert.destination.user_agent.as_str()));
        assert_eq!(
            value["process"]["command_line"].as_str(),
            Some(alert.process.unwrap().info.command_line.as_str())
        );
    }

    #[test]
    fn only_an_alert_is_called_one() {
        let mut alert = samples::implant();
        assert_eq!(parsed(&alert)["event"]["kind"], "alert");
        (alert.severity, alert.detected) = (Severity::Low, None);
        assert_eq!(parsed(&alert)["event"]["kind"], "event");
    }

    #[test]
    fn windows_account_is_split_into_domain_and_name() {
        let split = |account| User::new(account).map(|user| (user.domain, user.name));
        assert_eq!(split(r"CORP\alice"), Some(("CORP", "alice")));
        assert_eq!(split("alice"), Some(("", "alice")));
        assert_eq!(split("odd\\"), Some(("", "odd\\")));
        assert_eq!(split(""), None);
    }

    #[test]
    fn host_header_gives_its_port() {
        assert_eq!(split_host_port("a.example:8080"), ("a.example", Some(8080)));
        assert_eq!(split_host_port("a.example"), ("a.example", None));
        assert_eq!(split_host_port("a.example:port"), ("a.example:port", None));
        assert_eq!(split_host_port("[2001:db8::1]:81"), ("[2001:db8::1]", Some(81)));
        assert_eq!(split_host_port("2001:db8::1"), ("2001:db8::1", None));
        assert_eq!(split_host_port("a:99999"), ("a:99999", None));
    }
}
