//! Everything that is known of one finding, as a page of text.

use sonde_common::alert::{Alert, Change, Process};
use sonde_common::encode::native;
use sonde_common::human;
use sonde_common::process::{Attribution, Method, Quality};
use sonde_common::time::Timestamp;

use super::Style;
use super::table::{color, cut, push_port, sparkline, whole_secs};
use super::text::{push_left, push_spaces, wrap};

/// Where the values of a section begin.
const COLUMN: usize = 18;
/// Bins of the histogram.
const BINS: usize = sonde_common::alert::HISTOGRAM_BINS;

/// The page, with a line feed at the end of each line.
#[must_use]
pub fn text(alert: &Alert, style: Style) -> String {
    let mut page = Page { style, out: String::new() };
    let severity = format!("{} {}", style.mark(alert.severity), alert.severity);
    page.out.push_str(&styled(style, color(alert.severity), &severity));
    page.out.push_str(&format!("  {:.2}  {}\n\n", cut(alert.score), alert.id));
    for line in wrap(&style.clean(&alert.reason), style.width) {
        page.out.push_str(&line);
        page.out.push('\n');
    }
    if let Some(suppressed) = &alert.suppressed_by {
        page.section("Known-good");
        page.row("entry", &format!("{}: {}", suppressed.entry, suppressed.reason));
        page.row("lift it", &format!("sonde unallow {}", suppressed.entry));
    }
    profile(&mut page, alert);
    who(&mut page, alert);
    whom(&mut page, alert);
    rhythm(&mut page, alert);
    score(&mut page, alert);
    if !alert.techniques.is_empty() {
        page.section("Techniques (MITRE ATT&CK)");
        for technique in &alert.techniques {
            page.row(&technique.id, &technique.name);
        }
    }
    page.out
}

/// The profile that it falls under, or nearly does.
fn profile(page: &mut Page, alert: &Alert) {
    let Some(note) = &alert.profile else { return };
    page.section("Profile");
    let class = note.class.replace('_', " ");
    page.row("name", &format!("{} ({class})", note.name));
    let what = match (note.matched, note.excused) {
        (true, true) => "program and destination are its own: it is held back",
        (true, false) => "program and destination are its own: it is labelled, and not held back",
        (false, _) => &note.mismatch,
    };
    page.row(if note.matched { "matches" } else { "does not match" }, what);
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
        page.row("process", &format!("{}, since {}", key.pid, seconds(key.start)));
    }
    page.row("known by", known_by(alert.attribution));
    let chain: Vec<&str> = std::iter::once(info.parent_image.as_str())
        .chain(info.ancestors.iter().map(String::as_str))
        .filter(|image| !image.is_empty())
        .collect();
    page.row("started by", &chain.join(", started by "));
    page.row("service", &info.service);
    page.row("container", &info.container);
    page.row("pod", &info.pod);
    let trusted = match (info.package.as_str(), info.signed) {
        ("", Some(true)) => "signed by a trusted publisher".to_owned(),
        ("", Some(false)) => "belongs to no installed package".to_owned(),
        ("", None) => String::new(),
        (package, Some(true)) => format!("{package}, unchanged"),
        (package, Some(false)) => format!("{package}, but the file is not the package's"),
        (package, None) => package.to_owned(),
    };
    page.row("package", &trusted);
    page.row("sha256", &info.sha256);
    if let Some(days) = info.age_days {
        page.row("here for", &format!("{days:.1} days"));
    }
}

fn known_by(attribution: Attribution) -> &'static str {
    match (attribution.method, attribution.quality) {
        (Method::None, _) => "",
        (Method::Ebpf, _) => "a kernel program, in the context of the process",
        (_, Quality::Inferred) => "the kernel's socket table: the only process that it can have been",
        (Method::Netlink, _) => "the kernel, asked for the socket when its first packet left",
        (Method::Poll, _) => "the kernel's socket table, read now and then",
        (Method::Seed, _) => "the kernel's socket table when the sensor began",
    }
}

fn whom(page: &mut Page, alert: &Alert) {
    page.section("Whom it calls");
    let destination = &alert.destination;
    let mut name = destination.name.clone();
    if name.contains(':') {
        name = format!("[{name}]");
    }
    push_port(&mut name, destination.port, destination.transport);
    page.row("destination", &name);
    if let Some(ip) = destination.ip.map(|ip| ip.to_string()).filter(|ip| *ip != destination.name) {
        page.row("address", &ip);
    }
    let claims = [
        ("resolved", &destination.fqdn),
        ("server name (TLS)", &destination.sni),
        ("through a proxy", &destination.connect_host),
        ("host (HTTP)", &destination.http_host),
        ("user agent", &destination.user_agent),
    ];
    for (what, text) in claims {
        page.row(what, text);
    }
    if let Some(ja4) = &destination.ja4 {
        page.row("JA4", ja4.as_str());
    }
    if !destination.group.is_empty() {
        page.row("in turn with", &destination.group.join(", "));
    }
}

fn rhythm(page: &mut Page, alert: &Alert) {
    page.section("How");
    let evidence = &alert.evidence;
    if evidence.interval_median_secs > 0.0 {
        let jitter = human::percent(evidence.jitter_mad_ratio);
        let pm = page.style.plus_minus();
        page.row(
            "interval",
            &format!(
                "{}{pm}{jitter} % (median, MAD over median)",
                human::interval(evidence.interval_median_secs)
            ),
        );
    }
    if !evidence.test.is_empty() {
        page.row(
            "rhythm",
            &format!(
                "{} of {} intervals fit {}, around {} ({:.1} bans against chance)",
                evidence.matched,
                evidence.of,
                evidence.shape,
                human::interval(evidence.period_secs),
                evidence.bans
            ),
        );
    }
    let dwell = human::span(whole_secs(native::dwell_secs(evidence)));
    let mut calls = format!("{} in {dwell}", human::count(evidence.callbacks.into()));
    let counted =
        [(evidence.missed, "missed"), (evidence.refused, "refused"), (evidence.unanswered, "never answered")];
    for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
        calls.push_str(&format!(", {count} {what}"));
    }
    page.row("callbacks", &calls);
    page.row("first", &seconds(evidence.first_seen));
    page.row("latest", &seconds(evidence.last_seen));
    if let Some(detected) = alert.detected {
        let after = alert.detected_after_callbacks;
        page.row("detected", &format!("{} after {after} callbacks", seconds(detected)));
    }
    if alert.change != Change::Final {
        page.row("emitted", &format!("revision {}", alert.revision));
    }
    if evidence.gaps > 0 {
        let blind = human::span(evidence.gap_secs.into());
        page.row(
            "gaps",
            &format!("{} intervals do not count: the sensor was blind for {blind}", evidence.gaps),
        );
    }
    let histogram = &evidence.histogram;
    let bars = sparkline(&histogram.counts, BINS, page.style);
    if !bars.is_empty() && histogram.high_secs > 0.0 {
        let frame = page.style.frame();
        let (low, high) = (human::interval(histogram.low_secs), human::interval(histogram.high_secs));
        let mut text = format!("{low} {frame}{bars}");
        push_spaces(&mut text, BINS - bars.chars().count().min(BINS));
        text.push_str(&format!("{frame} {high}"));
        page.raw("intervals", &text);
    }
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

fn score(page: &mut Page, alert: &Alert) {
    page.section("Why this score");
    for part in &alert.parts {
        let mut line = format!("{:+6.2}  ", part.points);
        push_left(&mut line, &part.name.replace('_', " "), COLUMN);
        page.folded(&line, &part.detail);
    }
    let points = format!("{:+6.2}  ", alert.points);
    page.folded(&points, &format!("in all, which is a score of {:.2}", cut(alert.score)));
    if !alert.missing.is_empty() {
        page.row("not known", &alert.missing.join(", "));
    }
}

/// To the second, as people read it.
fn seconds(time: Timestamp) -> String {
    let text: String = time.to_string().chars().take(19).collect();
    format!("{}Z", text.replace('T', " "))
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
        let value = self.style.clean(value);
        self.raw(name, &value);
    }

    /// A line whose value is ours.
    fn raw(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            let mut line = String::new();
            push_left(&mut line, name, COLUMN);
            self.put(&line, value);
        }
    }

    fn folded(&mut self, head: &str, value: &str) {
        let value = self.style.clean(value);
        self.put(head, &value);
    }

    /// A head, and a value that is folded behind it.
    fn put(&mut self, head: &str, value: &str) {
        let indent = 2 + head.chars().count();
        let lines = wrap(value, self.style.width.saturating_sub(indent));
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
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::super::text::width;
    use super::*;

    fn page(alert: &Alert, width: usize, unicode: bool) -> String {
        text(alert, Style { width, color: false, unicode })
    }

    #[test]
    fn everything_that_is_known_is_said() {
        let alert = samples::implant();
        let text = page(&alert, 100, true).split_whitespace().collect::<Vec<_>>().join(" ");
        let process = alert.process.as_ref().unwrap();
        let mut wanted = vec![alert.id.to_string(), alert.reason.clone(), process.info.image.clone()];
        wanted.push(alert.destination.name.clone());
        wanted.extend(alert.parts.iter().map(|part| part.detail.clone()));
        wanted.extend(alert.techniques.iter().map(|technique| technique.id.to_string()));
        wanted.extend(process.info.ancestors.iter().cloned());
        for wanted in wanted {
            let wanted = wanted.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&wanted), "{wanted} is missing in:\n{}", page(&alert, 100, true));
        }
    }

    #[test]
    fn no_page_is_wider_than_the_terminal_or_moves_its_cursor() {
        for alert in samples::all() {
            for columns in [60, 80, 133] {
                for unicode in [true, false] {
                    let text = page(&alert, columns, unicode);
                    for line in text.lines() {
                        assert!(width(line) <= columns, "{} > {columns}: {line}", width(line));
                        assert!(line.chars().all(sonde_common::text::is_plain), "{line}");
                        assert!(unicode || line.is_ascii(), "{line}");
                    }
                }
            }
        }
    }
}
