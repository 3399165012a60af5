//! What is known of a finding, as names and values: the page of a terminal and that of a browser say the same.
//!
//! Values are as the alert has them, so whoever shows them escapes them ([`crate::text::escape`]). What is not known has no
//! row.

use crate::alert::{Alert, Change, IndicatorMatch, Process, Severity, Word};
use crate::certificate::hex;
use crate::encode::native;
use crate::human::{self, counted};
use crate::net::Transport;
use crate::process::{Attribution, Method, Quality, image_name};
use crate::score::severity_of;
use crate::time::Timestamp;

/// One thing that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is; empty where it goes on with the one before.
    pub name: Word,
    /// Its value, never empty.
    pub value: String,
}

/// Collects what is known: an empty value is none.
#[derive(Debug, Default)]
struct Facts(Vec<Fact>);

impl Facts {
    fn add(&mut self, name: impl Into<Word>, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push(Fact { name: name.into(), value });
        }
    }

    /// Several values of one name.
    fn list(&mut self, name: &'static str, values: &[String]) {
        for (index, value) in values.iter().enumerate() {
            self.add(if index == 0 { name } else { "" }, value);
        }
    }
}

/// Whether there is something to do about it.
#[must_use]
pub fn is_alert(alert: &Alert) -> bool {
    alert.severity >= Severity::Medium || alert.detected.is_some()
}

/// Why the severity is milder than the score by itself would make it, in half a sentence; `None` where it is not.
///
/// An alert does not carry its ceiling, so this is told from what sets it: [`context::ceiling`](crate::context::ceiling) for
/// beacons, and their like for what is counted.
#[must_use]
pub fn held_at(alert: &Alert) -> Option<String> {
    let severity = alert.severity;
    // Without a rhythm it is no alert, whatever its context.
    if severity == Severity::Info || severity >= severity_of(alert.points) {
        return None;
    }
    let why = if alert.process.is_none() {
        "which program calls is not known, and ordinary software can look the same"
    } else {
        "evidence of this kind alone supports no more"
    };
    Some(format!("{severity} at most: {why}"))
}

/// An entry of a feed that it matches.
#[must_use]
pub fn indicator(entry: &IndicatorMatch) -> Vec<Fact> {
    let mut facts = Facts::default();
    let matched = if entry.matched.is_empty() || entry.matched == entry.value {
        String::new()
    } else {
        format!(", matched by {}", entry.matched)
    };
    facts.add(entry.kind.clone(), format!("{}{matched}", entry.value));
    let confidence = entry.confidence.map_or_else(String::new, |of| format!(", confidence {of} of 100"));
    facts.add("feed", format!("{}{confidence}", entry.feed));
    facts.add("called", joined(&[&entry.label, &entry.group, &entry.software]));
    let since = entry.valid_from.map(|from| format!("from {}", seconds(from)));
    let until = entry.valid_until.map(|until| format!("until {}", seconds(until)));
    facts.add("valid", joined(&[since.as_deref().unwrap_or(""), until.as_deref().unwrap_or("")]));
    facts.add("more", entry.reference.as_str());
    if entry.retrospective {
        facts.add("note", "the entry came after this was seen: look back");
    }
    facts.0
}

/// Who calls: host, program, process.
#[must_use]
pub fn caller(alert: &Alert) -> Vec<Fact> {
    let mut facts = Facts::default();
    facts.add("host", alert.host.as_str());
    let Some(Process { key, info }) = &alert.process else {
        facts.add("process", "not known: the source did not tell");
        return facts.0;
    };
    facts.add("program", info.image.as_str());
    facts.add("script", info.script.as_str());
    facts.add("command line", info.command_line.as_str());
    facts.add("user", info.user.as_str());
    if let Some(key) = key {
        let since = if key.start == Timestamp::ZERO {
            String::new()
        } else {
            format!(", since {}", seconds(key.start))
        };
        facts.add("process", format!("{}{since}", key.pid));
    }
    facts.add("known by", known_by(alert.attribution));
    facts.0
}

/// Who started whom, the eldest first, the caller last; empty where no parent is known.
#[must_use]
pub fn chain(alert: &Alert) -> Vec<&str> {
    let Some(Process { info, .. }) = &alert.process else { return Vec::new() };
    let parents = std::iter::once(&info.parent_image).chain(&info.ancestors);
    let mut chain: Vec<&str> = parents.map(String::as_str).filter(|image| !image.is_empty()).collect();
    if chain.is_empty() {
        return chain;
    }
    chain.reverse();
    chain.push(image_name(&info.image));
    chain
}

/// Where the caller runs, and what there is to trust in it.
#[must_use]
pub fn trust(alert: &Alert) -> Vec<Fact> {
    let mut facts = Facts::default();
    let Some(Process { info, .. }) = &alert.process else { return facts.0 };
    facts.add("service", info.service.as_str());
    facts.add("container", info.container.as_str());
    facts.add("pod", info.pod.as_str());
    let trusted = match (info.package.as_str(), info.signed) {
        ("", Some(true)) => "signed by a trusted publisher, or a package's and unchanged".to_owned(),
        ("", Some(false)) => "neither signed nor owned by a package".to_owned(),
        ("", None) => String::new(),
        (package, Some(true)) => format!("{package}, unchanged"),
        (package, Some(false)) => format!("{package}, but the file is not the package's"),
        (package, None) => package.to_owned(),
    };
    facts.add("trusted", trusted);
    facts.add("sha256", info.sha256.as_str());
    if let Some(days) = info.age_days {
        facts.add("here for", format!("{days:.1} days"));
    }
    facts.0
}

fn known_by(attribution: Attribution) -> &'static str {
    match (attribution.method, attribution.quality) {
        (Method::None, _) => "",
        (Method::Ebpf, _) => "a kernel program, in the context of the process",
        (_, Quality::Inferred) => "the kernel's socket table: the only process that it can have been",
        (Method::Netlink, _) => "the kernel, asked for the socket when its first packet left",
        (Method::Poll, _) => "the kernel's socket table, read now and then",
        (Method::Etw, _) => "Windows' event tracing, in which the kernel names the process",
        (Method::Seed, _) => "the kernel's socket table when the sensor began",
    }
}

/// Whom it calls.
#[must_use]
pub fn called(alert: &Alert) -> Vec<Fact> {
    let mut facts = Facts::default();
    let destination = &alert.destination;
    facts.add("destination", destination_text(alert));
    if let Some(ip) = destination.ip.map(|ip| ip.to_string()).filter(|ip| *ip != destination.name) {
        facts.add("address", ip);
    }
    if let Some(network) = &destination.autonomous_system {
        let rents = if network.hosting { ", rents servers to anyone" } else { "" };
        facts.add("network", format!("AS{} {}{rents}", network.number, network.organization));
    }
    let claims = [
        ("resolved", &destination.fqdn),
        ("server name (TLS)", &destination.sni),
        ("asked of a proxy", &destination.connect_host),
        ("host (HTTP)", &destination.http_host),
        ("user agent", &destination.user_agent),
    ];
    for (what, text) in claims.into_iter().filter(|(_, text)| **text != destination.name) {
        facts.add(what, text.as_str());
    }
    if let Some(ja4) = &destination.ja4 {
        facts.add("JA4", ja4.as_str());
    }
    for digest in destination.certificate.digests() {
        facts.add("certificate", hex(digest));
    }
    facts.list("in turn", &destination.group);
    facts.0
}

/// Name or address with port, as it is called.
#[must_use]
pub fn destination_text(alert: &Alert) -> String {
    let destination = &alert.destination;
    let name = &destination.name;
    let mut text = if name.contains(':') { format!("[{name}]") } else { name.clone() };
    push_port(&mut text, destination.port, destination.transport);
    text
}

/// Appends port and transport, as far as they are no matter of course.
pub fn push_port(out: &mut String, port: u16, transport: Transport) {
    if port != 0 {
        out.push_str(&format!(":{port}"));
    }
    if transport != Transport::Tcp {
        out.push_str(&format!("/{transport}"));
    }
}

/// When it calls. `plus_minus` stands between an interval and its spread.
#[must_use]
pub fn timing(alert: &Alert, plus_minus: &str) -> Vec<Fact> {
    let mut facts = Facts::default();
    let evidence = &alert.evidence;
    let percent = human::percent(evidence.jitter_mad_ratio);
    if evidence.interval_median_secs > 0.0 {
        let interval = human::interval(evidence.interval_median_secs);
        facts.add("interval", format!("{interval}{plus_minus}{percent} % (median, MAD over median)"));
    }
    if !evidence.test.is_empty() {
        let (matched, of, shape) = (evidence.matched, evidence.of, &evidence.shape);
        let period = human::interval(evidence.period_secs);
        let bans = evidence.bans;
        let text = format!(
            "{matched} of {of} intervals fit {shape}, around {period} ({bans:.1} bans against chance)"
        );
        facts.add("rhythm", text);
    }
    let dwell = human::span(whole_secs(native::dwell_secs(evidence)));
    let mut calls = format!("{} in {dwell}", human::count(evidence.callbacks.into()));
    let failures =
        [(evidence.missed, "missed"), (evidence.refused, "refused"), (evidence.unanswered, "never answered")];
    for (count, what) in failures.into_iter().filter(|(count, _)| *count > 0) {
        calls.push_str(&format!(", {} {what}", human::count(count.into())));
    }
    facts.add(if alert.class.is_beacon() { "callbacks" } else { "events" }, calls);
    facts.add("first", seconds(evidence.first_seen));
    facts.add("latest", seconds(evidence.last_seen));
    if let Some(detected) = alert.detected {
        let after = counted(alert.detected_after_callbacks.into(), "callback", "callbacks");
        facts.add("detected", format!("{} after {after}", seconds(detected)));
    }
    if alert.change != Change::Final {
        facts.add("emitted", format!("revision {}", alert.revision));
    }
    if evidence.gaps > 0 {
        let blind = human::span(evidence.gap_secs.into());
        let intervals = counted(evidence.gaps.into(), "interval does", "intervals do");
        facts.add("gaps", format!("{intervals} not count: the sensor was blind for {blind}"));
    }
    facts.0
}

/// How much went either way.
#[must_use]
pub fn sizes(alert: &Alert) -> Vec<Fact> {
    let mut facts = Facts::default();
    let evidence = &alert.evidence;
    for (what, median, all) in [
        ("sent", evidence.bytes_out_median, evidence.bytes_out),
        ("received", evidence.bytes_in_median, evidence.bytes_in),
    ] {
        let each = median.map_or_else(String::new, |median| format!(", {median:.0} B each time (median)"));
        if all > 0 || !each.is_empty() {
            facts.add(what, format!("{}{each}", human::bytes(all)));
        }
    }
    facts.0
}

/// Names that were asked for; empty where the finding is not about names.
#[must_use]
pub fn names(alert: &Alert) -> Vec<Fact> {
    let mut facts = Facts::default();
    let Some(dns) = &alert.dns else { return facts.0 };
    let names = counted(dns.names.into(), "name", "names");
    facts.add("queries", format!("{} for {names}", human::count(dns.queries.into())));
    if dns.nxdomain > 0 {
        facts.add("do not exist", human::count(dns.nxdomain.into()));
    }
    if dns.name_bytes > 0 {
        let entropy = dns
            .entropy_bits
            .map_or_else(String::new, |bits| format!(", {bits:.2} bits of entropy a character"));
        facts.add("in names", format!("{}{entropy}", human::bytes(dns.name_bytes)));
    }
    if let Some(score) = dns.generated_score {
        facts.add("look generated", format!("{score:.2} (docs/detection.md)"));
    }
    let types: Vec<_> =
        dns.types.iter().map(|(name, count)| format!("{name} {}", human::count((*count).into()))).collect();
    facts.add("types", types.join(", "));
    if dns.addresses > 0 {
        let ttl = dns.ttl_min_secs.map_or_else(String::new, |ttl| format!(", time to live from {ttl} s"));
        facts.add("answers", format!("{}{ttl}", counted(dns.addresses.into(), "address", "addresses")));
    }
    if let Some(resolver) = dns.resolver {
        facts.add("resolver", resolver.to_string());
    }
    facts.list("such as", &dns.samples);
    facts.0
}

/// The profile that it matches, or nearly does.
#[must_use]
pub fn profile(alert: &Alert) -> Vec<Fact> {
    let mut facts = Facts::default();
    let Some(profile) = &alert.profile else { return facts.0 };
    facts.add("name", format!("{} ({})", profile.name, profile.class.replace('_', " ")));
    let what = match (profile.matched, profile.excused) {
        (true, true) => "program and destination are its own: it is held back",
        (true, false) => "program and destination are its own: it is labelled, and not held back",
        (false, _) => &profile.mismatch,
    };
    facts.add(if profile.matched { "matches" } else { "does not match" }, what);
    facts.0
}

/// To the second, as people read it.
#[must_use]
pub fn seconds(time: Timestamp) -> String {
    let text: String = time.to_string().chars().take(19).collect();
    format!("{}Z", text.replace('T', " "))
}

/// What is not empty, parted by commas.
#[must_use]
pub fn joined(texts: &[&str]) -> String {
    texts.iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>().join(", ")
}

/// Two decimals, cut: 0.7999 is not yet 0.80, which is the severity above.
#[must_use]
pub fn cut(score: f64) -> f64 {
    // A score of 0.29 is a little less in binary.
    ((score * 100.0) + 1e-6).floor() / 100.0
}

/// Whole seconds of a span.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; a dwell is never negative"
)]
pub const fn whole_secs(secs: f64) -> u64 {
    secs as u64
}
