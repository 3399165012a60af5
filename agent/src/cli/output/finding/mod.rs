//! Everything that is known of one finding, as a page of text: the verdict first, then why, who, whom and how, and last what
//! to do, so that the next step stands right above the prompt.

mod bars;
pub mod markdown;
pub mod queries;

use sonde_common::alert::{Alert, Change, Process, Severity};
use sonde_common::certificate::hex;
use sonde_common::encode::native;
use sonde_common::explain::techniques;
use sonde_common::guide::{self, Step};
use sonde_common::human::{self, counted};
use sonde_common::process::{Attribution, Method, Quality, image_name};
use sonde_common::time::Timestamp;

use super::Style;
use super::table::{color, cut, push_port, sparkline, whole_secs};
use super::text::{push_left, push_spaces, width, wrap};

/// Where the values of a section begin.
const COLUMN: usize = 18;
/// Bins of the histogram.
const BINS: usize = sonde_common::alert::HISTOGRAM_BINS;
/// Columns of the score's bar, and of a part's.
const GAUGE: usize = 20;
const PART: usize = 10;
/// Most columns of a timeline.
const TIMELINE: usize = 64;
/// Length of an id that is told to be typed again.
const SHORT_ID: usize = 8;

/// The page, with a line feed at the end of each line.
#[must_use]
pub fn text(alert: &Alert, style: Style) -> String {
    let mut page = Page { style, out: String::new() };
    verdict(&mut page, alert);
    why(&mut page, alert);
    indicators(&mut page, alert);
    who(&mut page, alert);
    whom(&mut page, alert);
    how(&mut page, alert);
    names(&mut page, alert);
    allowed(&mut page, alert);
    attack(&mut page, alert);
    next(&mut page, alert);
    page.out
}

/// Whether there is something to do about it.
#[must_use]
pub fn is_alert(alert: &Alert) -> bool {
    alert.severity >= Severity::Medium || alert.detected.is_some()
}

fn verdict(page: &mut Page, alert: &Alert) {
    let style = page.style;
    let severity = format!("{} {}", style.mark(alert.severity), alert.severity.as_str().to_uppercase());
    let line = format!(
        "{}  {:.2}  {}\n",
        styled(style, color(alert.severity), &severity),
        cut(alert.score),
        styled(style, color(alert.severity), &bars::gauge(alert.score, GAUGE, style)),
    );
    page.out.push_str(&line);
    for line in wrap(&format!("{}, finding {}", native::rule_name(alert.class), alert.id), style.width) {
        page.out.push_str(&line);
        page.out.push('\n');
    }
    page.out.push('\n');
    for line in wrap(&style.clean(&alert.reason), style.width) {
        page.out.push_str(&line);
        page.out.push('\n');
    }
    if let Some(suppressed) = &alert.suppressed_by {
        page.section("Held back by a known-good entry");
        page.row("entry", &format!("{}: {}", suppressed.entry, suppressed.reason));
        page.row("lift it", &format!("sonde unallow {}", suppressed.entry));
    }
}

fn why(page: &mut Page, alert: &Alert) {
    page.section("Why this score");
    // The largest part that speaks for it fills its bar; what implants' rarity takes off is no evidence.
    let most = alert.parts.iter().map(|part| part.points).fold(0.0, f64::max);
    let longest = alert.parts.iter().map(|part| width(&part.name)).max().unwrap_or(0).clamp(8, COLUMN);
    for part in &alert.parts {
        let mut line = format!("{:+6.2} ", part.points);
        push_left(&mut line, &bars::bar(part.points / most.max(f64::EPSILON), PART, page.style), PART + 1);
        push_left(&mut line, &page.style.clean(&part.name.replace('_', " ")), longest + 2);
        page.folded(&line, &part.detail);
    }
    let points = format!("{:+6.2} = ", alert.points);
    let verdict = if is_alert(alert) { "" } else { ": no alert (that takes more than -0.50)" };
    page.folded(&points, &format!("a score of {:.2}{verdict}", cut(alert.score)));
    if !alert.missing.is_empty() {
        page.row("not known", &alert.missing.join(", "));
    }
}

fn indicators(page: &mut Page, alert: &Alert) {
    if alert.indicators.is_empty() {
        return;
    }
    page.section("On a feed of known-bad infrastructure");
    for entry in &alert.indicators {
        let matched = if entry.matched.is_empty() || entry.matched == entry.value {
            String::new()
        } else {
            format!(", matched by {}", entry.matched)
        };
        page.row(&entry.kind, &format!("{}{matched}", entry.value));
        let confidence = entry.confidence.map_or_else(String::new, |of| format!(", confidence {of} of 100"));
        page.row("feed", &format!("{}{confidence}", entry.feed));
        page.row("called", &joined(&[&entry.label, &entry.group, &entry.software]));
        let since = entry.valid_from.map(|from| format!("from {}", seconds(from)));
        let until = entry.valid_until.map(|until| format!("until {}", seconds(until)));
        page.row("valid", &joined(&[since.as_deref().unwrap_or(""), until.as_deref().unwrap_or("")]));
        page.row("more", &entry.reference);
        if entry.retrospective {
            page.row("note", "the entry came after this was seen: look back");
        }
    }
}

fn who(page: &mut Page, alert: &Alert) {
    page.section("Who calls");
    page.row("host", &alert.host);
    let Some(Process { key, info }) = &alert.process else {
        page.row("process", "not known: the source did not tell");
        return;
    };
    page.row("program", &info.image);
    page.row("script", &info.script);
    page.row("command line", &info.command_line);
    page.row("user", &info.user);
    if let Some(key) = key {
        let since = if key.start == Timestamp::ZERO {
            String::new()
        } else {
            format!(", since {}", seconds(key.start))
        };
        page.row("process", &format!("{}{since}", key.pid));
    }
    page.row("known by", known_by(alert.attribution));
    chain(page, alert);
    page.row("service", &info.service);
    page.row("container", &info.container);
    page.row("pod", &info.pod);
    let trusted = match (info.package.as_str(), info.signed) {
        ("", Some(true)) => "signed by a trusted publisher, or a package's and unchanged".to_owned(),
        ("", Some(false)) => "neither signed nor owned by a package".to_owned(),
        ("", None) => String::new(),
        (package, Some(true)) => format!("{package}, unchanged"),
        (package, Some(false)) => format!("{package}, but the file is not the package's"),
        (package, None) => package.to_owned(),
    };
    page.row("trusted", &trusted);
    page.row("sha256", &info.sha256);
    if let Some(days) = info.age_days {
        page.row("here for", &format!("{days:.1} days"));
    }
}

/// Who started whom, the eldest first, each below its parent.
fn chain(page: &mut Page, alert: &Alert) {
    let Some(Process { info, .. }) = &alert.process else { return };
    let parents = std::iter::once(&info.parent_image).chain(&info.ancestors);
    let mut chain: Vec<&str> = parents.map(String::as_str).filter(|image| !image.is_empty()).collect();
    if chain.is_empty() {
        return;
    }
    chain.reverse();
    chain.push(image_name(&info.image));
    for (depth, image) in chain.into_iter().enumerate() {
        let branch = match (depth, page.style.unicode) {
            (0, _) => String::new(),
            (_, true) => format!("{}└ ", " ".repeat(2 * (depth - 1))),
            (_, false) => format!("{}` ", " ".repeat(2 * (depth - 1))),
        };
        let mut line = String::new();
        push_left(&mut line, if depth == 0 { "started by" } else { "" }, COLUMN);
        line.push_str(&branch);
        page.folded(&line, image);
    }
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

fn whom(page: &mut Page, alert: &Alert) {
    page.section("Whom it calls");
    let destination = &alert.destination;
    page.row("destination", &destination_text(alert));
    if let Some(ip) = destination.ip.map(|ip| ip.to_string()).filter(|ip| *ip != destination.name) {
        page.row("address", &ip);
    }
    if let Some(network) = &destination.autonomous_system {
        let rents = if network.hosting { ", rents servers to anyone" } else { "" };
        page.row("network", &format!("AS{} {}{rents}", network.number, network.organization));
    }
    let claims = [
        ("resolved", &destination.fqdn),
        ("server name (TLS)", &destination.sni),
        ("asked of a proxy", &destination.connect_host),
        ("host (HTTP)", &destination.http_host),
        ("user agent", &destination.user_agent),
    ];
    for (what, text) in claims.into_iter().filter(|(_, text)| **text != destination.name) {
        page.row(what, text);
    }
    if let Some(ja4) = &destination.ja4 {
        page.row("JA4", ja4.as_str());
    }
    for digest in destination.certificate.digests() {
        page.row("certificate", &hex(digest));
    }
    for (index, name) in destination.group.iter().enumerate() {
        page.row(if index == 0 { "in turn" } else { " " }, name);
    }
}

fn destination_text(alert: &Alert) -> String {
    let destination = &alert.destination;
    let name = &destination.name;
    let mut text = if name.contains(':') { format!("[{name}]") } else { name.clone() };
    push_port(&mut text, destination.port, destination.transport);
    text
}

fn how(page: &mut Page, alert: &Alert) {
    page.section(if alert.class.is_beacon() { "How it calls" } else { "When" });
    let evidence = &alert.evidence;
    let percent = human::percent(evidence.jitter_mad_ratio);
    if evidence.interval_median_secs > 0.0 {
        let (pm, interval) = (page.style.plus_minus(), human::interval(evidence.interval_median_secs));
        page.row("interval", &format!("{interval}{pm}{percent} % (median, MAD over median)"));
    }
    if !evidence.test.is_empty() {
        let (matched, of, shape) = (evidence.matched, evidence.of, &evidence.shape);
        let period = human::interval(evidence.period_secs);
        let bans = evidence.bans;
        page.row(
            "rhythm",
            &format!(
                "{matched} of {of} intervals fit {shape}, around {period} ({bans:.1} bans against chance)"
            ),
        );
    }
    let dwell = human::span(whole_secs(native::dwell_secs(evidence)));
    let mut calls = format!("{} in {dwell}", human::count(evidence.callbacks.into()));
    let failures =
        [(evidence.missed, "missed"), (evidence.refused, "refused"), (evidence.unanswered, "never answered")];
    for (count, what) in failures.into_iter().filter(|(count, _)| *count > 0) {
        calls.push_str(&format!(", {} {what}", human::count(count.into())));
    }
    page.row(if alert.class.is_beacon() { "callbacks" } else { "events" }, &calls);
    page.row("first", &seconds(evidence.first_seen));
    page.row("latest", &seconds(evidence.last_seen));
    if let Some(detected) = alert.detected {
        let after = counted(alert.detected_after_callbacks.into(), "callback", "callbacks");
        page.row("detected", &format!("{} after {after}", seconds(detected)));
    }
    if alert.change != Change::Final {
        page.row("emitted", &format!("revision {}", alert.revision));
    }
    if evidence.gaps > 0 {
        let blind = human::span(evidence.gap_secs.into());
        let intervals = counted(evidence.gaps.into(), "interval does", "intervals do");
        page.row("gaps", &format!("{intervals} not count: the sensor was blind for {blind}"));
    }
    histogram(page, alert);
    latest(page, alert);
    for (what, median, all) in [
        ("sent", evidence.bytes_out_median, evidence.bytes_out),
        ("received", evidence.bytes_in_median, evidence.bytes_in),
    ] {
        let each = median.map_or_else(String::new, |median| format!(", {median:.0} B each time (median)"));
        if all > 0 || !each.is_empty() {
            page.row(what, &format!("{}{each}", human::bytes(all)));
        }
    }
}

/// The intervals on their logarithmic axis.
fn histogram(page: &mut Page, alert: &Alert) {
    let histogram = &alert.evidence.histogram;
    let bars = sparkline(&histogram.counts, BINS, page.style);
    if bars.is_empty() || histogram.high_secs <= 0.0 {
        return;
    }
    let frame = page.style.frame();
    let (low, high) = (human::interval(histogram.low_secs), human::interval(histogram.high_secs));
    let mut text = format!("{frame}{bars}");
    push_spaces(&mut text, BINS - bars.chars().count().min(BINS));
    text.push(frame);
    page.fixed("intervals", &text);
    page.fixed(" ", &format!("{low} to {high}, logarithmic"));
}

/// When the latest callbacks came.
fn latest(page: &mut Page, alert: &Alert) {
    let recent = &alert.evidence.recent;
    let (Some(first), Some(last)) = (recent.first(), recent.last()) else { return };
    let room = page.style.width.saturating_sub(COLUMN + 4).min(TIMELINE);
    let line = bars::timeline(recent, room, page.style);
    if line.is_empty() {
        return;
    }
    let frame = page.style.frame();
    page.fixed("latest calls", &format!("{frame}{line}{frame}"));
    let count = counted(recent.len() as u64, "call", "calls");
    let clock = |time: Timestamp| seconds(time).chars().skip(11).collect::<String>();
    let span = human::span(last.since(*first).unsigned_abs() / 1_000_000_000);
    page.fixed(" ", &format!("{} to {}: {count} in {span}", clock(*first), clock(*last)));
}

fn names(page: &mut Page, alert: &Alert) {
    let Some(dns) = &alert.dns else { return };
    page.section("Names asked for");
    page.row(
        "queries",
        &format!("{} for {}", human::count(dns.queries.into()), counted(dns.names.into(), "name", "names")),
    );
    if dns.nxdomain > 0 {
        page.row("do not exist", &human::count(dns.nxdomain.into()));
    }
    if dns.name_bytes > 0 {
        let entropy = dns
            .entropy_bits
            .map_or_else(String::new, |bits| format!(", {bits:.2} bits of entropy a character"));
        page.row("in names", &format!("{}{entropy}", human::bytes(dns.name_bytes)));
    }
    if let Some(score) = dns.generated_score {
        page.row("look generated", &format!("{score:.2} (docs/detection.md)"));
    }
    let types: Vec<_> =
        dns.types.iter().map(|(name, count)| format!("{name} {}", human::count((*count).into()))).collect();
    page.row("types", &types.join(", "));
    if dns.addresses > 0 {
        let ttl = dns.ttl_min_secs.map_or_else(String::new, |ttl| format!(", time to live from {ttl} s"));
        page.row("answers", &format!("{}{ttl}", counted(dns.addresses.into(), "address", "addresses")));
    }
    if let Some(resolver) = dns.resolver {
        page.row("resolver", &resolver.to_string());
    }
    for (index, name) in dns.samples.iter().enumerate() {
        page.row(if index == 0 { "such as" } else { " " }, name);
    }
}

fn allowed(page: &mut Page, alert: &Alert) {
    let Some(profile) = &alert.profile else { return };
    page.section("Profile");
    page.row("name", &format!("{} ({})", profile.name, profile.class.replace('_', " ")));
    let what = match (profile.matched, profile.excused) {
        (true, true) => "program and destination are its own: it is held back",
        (true, false) => "program and destination are its own: it is labelled, and not held back",
        (false, _) => &profile.mismatch,
    };
    page.row(if profile.matched { "matches" } else { "does not match" }, what);
}

fn attack(page: &mut Page, alert: &Alert) {
    if alert.techniques.is_empty() {
        return;
    }
    page.section("Techniques that the evidence supports (MITRE ATT&CK)");
    for technique in &alert.techniques {
        let reason =
            techniques::reason(alert, &technique.id).map_or_else(String::new, |why| format!(": {why}"));
        page.row(&technique.id, &format!("{}{reason}", technique.name));
    }
}

/// What to do.
fn next(page: &mut Page, alert: &Alert) {
    let id: String = alert.id.to_string().chars().take(SHORT_ID).collect();
    if !is_alert(alert) {
        page.section("Next");
        page.row("nothing", "It is no alert: it is listed so that a hunt can find it.");
        return;
    }
    let guide = guide::of(alert);
    for (title, steps) in guide.sections().into_iter().filter(|(_, steps)| !steps.is_empty()) {
        page.section(title);
        for (index, step) in steps.iter().enumerate() {
            page.step(index + 1, step);
        }
    }
    page.section("Hunt on other hosts");
    page.row("queries", &format!("sonde explain {id} --queries kql (or spl, esql, sigma, all)"));
    page.row("a ticket", &format!("sonde explain {id} --format markdown"));
}

/// To the second, as people read it.
fn seconds(time: Timestamp) -> String {
    let text: String = time.to_string().chars().take(19).collect();
    format!("{}Z", text.replace('T', " "))
}

/// What is not empty, parted by commas.
fn joined(texts: &[&str]) -> String {
    texts.iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>().join(", ")
}

fn styled(style: Style, code: &str, text: &str) -> String {
    if style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

struct Page {
    style: Style,
    out: String,
}

impl Page {
    fn section(&mut self, title: &str) {
        self.out.push('\n');
        self.out.push_str(&styled(self.style, "1", title));
        self.out.push('\n');
    }

    /// A line of a section; none without a value.
    fn row(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let mut line = String::new();
            push_left(&mut line, &self.style.clean(name), COLUMN);
            self.folded(&line, value);
        }
    }

    /// A line whose value is ours, and keeps its spaces.
    fn fixed(&mut self, name: &str, value: &str) {
        let mut line = String::from("  ");
        push_left(&mut line, name, COLUMN);
        self.out.push_str(&line);
        self.out.push_str(value);
        self.out.push('\n');
    }

    /// A head, and a value that is folded behind it.
    fn folded(&mut self, head: &str, value: &str) {
        let value = self.style.clean(value);
        let indent = 2 + width(head);
        let lines = wrap(&value, self.style.width.saturating_sub(indent));
        for (index, line) in lines.iter().enumerate() {
            if index == 0 {
                self.out.push_str("  ");
                self.out.push_str(head);
            } else {
                push_spaces(&mut self.out, indent);
            }
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    /// A step: its number, what to do, and the commands below, which are never folded: they are to be copied.
    fn step(&mut self, number: usize, step: &Step) {
        let text = self.style.clean(&step.text);
        self.folded(&format!("{number:>2}. "), &text);
        // What the terminal cannot show as it is cannot be copied from it either.
        for command in step.commands.iter().filter(|command| self.style.clean(command) == **command) {
            self.out.push_str(&styled(self.style, "2", &format!("        {command}")));
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests;
