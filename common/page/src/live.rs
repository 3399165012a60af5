//! What a live page has besides a report: its frame, which holds no fact, single sections, the sensor's own page, and the forms
//! with which a finding is allowed and an entry lifted. Values in, text out, as for the report.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use sonde_common::alert::{Alert, FindingId};
use sonde_common::explain::facts::seconds;
use sonde_common::human::{self, counted};
use sonde_common::time::Timestamp;

use crate::shell::{self, SCRIPT, STYLE};
use crate::told::Told;
use crate::{Report, View, finding, lists, overview, ranking};

/// Fetches sections and puts them in place.
const LIVE: &str = include_str!("live.js");
/// Sections, in the order of the navigation: what each is found by, and what it is called.
pub const SECTIONS: [(&str, &str); 6] = [
    ("overview", "Overview"),
    ("findings", "Findings"),
    ("dns", "DNS"),
    ("feeds", "Feeds"),
    ("known-good", "Known good"),
    ("sensor", "Sensor"),
];
/// Longest reason that the form takes.
const MAX_REASON: usize = 200;
/// Days for which a finding can be allowed; nought: until it is lifted.
const DAYS: [(u64, &str); 4] =
    [(90, "for 90 days"), (30, "for 30 days"), (7, "for a week"), (0, "until it is lifted")];
/// The mark of the page in a browser's tab.
pub const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 28 28\"><rect width=\"28\" height=\"28\" rx=\"6\" \
                        fill=\"#0b6a80\"/><path d=\"M5 10v8M9.500 10v8M14 6v16M18.500 10v8M23 10v8\" stroke=\"#fff\" \
                        stroke-width=\"2.500\" stroke-linecap=\"round\"/></svg>";

/// The sensor that tells of its findings.
#[derive(Clone, Debug, Default)]
pub struct Sensor {
    /// In how far it can be relied on, in a word.
    pub verdict: String,
    /// Why it is no better, and what helps where that is known.
    pub reasons: Vec<Reason>,
    /// What is known of it, by subject.
    pub panels: Vec<Panel>,
    /// What people allowed.
    pub rules: Vec<Rule>,
    /// How often profiles held an alert back, by name.
    pub excused: Vec<(String, u64)>,
    /// Findings beyond those that are told of.
    pub omitted: u64,
}

/// Why a sensor is not all it could be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// What is wrong.
    pub what: String,
    /// What the operator can do; may be empty.
    pub remedy: String,
}

/// A subject of the sensor's own page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// Names and values.
    pub rows: Vec<(String, String)>,
}

/// A known-good entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub entry: u64,
    /// The program, in words.
    pub program: String,
    /// The destination, in words.
    pub destination: String,
    /// Why.
    pub reason: String,
    /// Who made it.
    pub by: String,
    /// When.
    pub created: Timestamp,
    /// Until when; never without.
    pub expires: Option<Timestamp>,
    /// Alerts that it kept back.
    pub suppressed: u64,
    /// When it last did.
    pub last: Option<Timestamp>,
}

impl Sensor {
    /// What is missing, and why.
    pub(crate) fn complaints(&self) -> Markup {
        html! {
            @if self.reasons.is_empty() { p { "Nothing: all of the sensor works, and it lost nothing since it began." } } @else {
                ul.missing { @for reason in &self.reasons {
                    li { (Told(&reason.what)) "." @if !reason.remedy.is_empty() { " " span.fine { "To mend it: " (Told(&reason.remedy)) "." } } }
                } }
            }
            p.onward { a href="#sensor" { "More of the sensor" } }
        }
    }

    /// Allow rules and profiles, with what they held back.
    pub(crate) fn rules(&self) -> Markup {
        let rows = html! {
            table {
                caption.vh { "Allow rules" }
                thead { tr {
                    th.num scope="col" { "Entry" } th scope="col" { "Program" } th scope="col" { "Destination" } th scope="col" { "Why" } th scope="col" { "By" }
                    th scope="col" { "Until" } th.num scope="col" { "Held back" } th scope="col" { "Latest" } th scope="col" { span.vh { "Lift" } }
                } }
                tbody { @for rule in &self.rules { tr {
                    td.num { (rule.entry) } td.to { (Told(&rule.program)) } td.to { (Told(&rule.destination)) } td.to { (Told(&rule.reason)) }
                    td { (Told(&rule.by)) " " span.soft { (seconds(rule.created)) } }
                    td { @match rule.expires { Some(end) => (seconds(end)), None => "it is lifted" } }
                    td.num { (human::count(rule.suppressed)) } td { @if let Some(last) = rule.last { (seconds(last)) } @else { "never" } }
                    td { (lift(rule.entry)) }
                } } }
            }
        };
        html! {
            h2 { "Allow rules" }
            @if self.rules.is_empty() { p.panel { "Nobody allowed anything yet. A finding's own page offers it." } }
            @else { (lists::scroll("Allow rules", &rows)) }
            h2 { "Profiles" }
            @if self.excused.is_empty() { p.panel { "No profile held an alert back yet." } } @else {
                div.panel { table.counts {
                    thead { tr { th scope="col" { "Profile" } th.num scope="col" { "Alerts held back" } } }
                    tbody { @for (name, count) in &self.excused { tr { td { (Told(name)) } td.num { (human::count(*count)) } } } }
                } }
            }
        }
    }

    fn section(&self) -> Markup {
        html! {
            section #sensor aria-labelledby="sensor-title" {
                h1 #sensor-title tabindex="-1" { (match self.verdict.as_str() {
                    "ok" => "The sensor sees all it can see.",
                    "blind" => "The sensor is blind.",
                    _ => "The sensor works, with something missing.",
                }) }
                p.lead { "What it is made of, what it lost, what it costs. " code { "sonde status" } " says the same in a terminal." }
                div.panel { h2 { "What is missing, and why" }
                    @if self.reasons.is_empty() { p { "Nothing." } } @else { ul.missing { @for reason in &self.reasons {
                        li { (Told(&reason.what)) "." @if !reason.remedy.is_empty() { " " span.fine { "To mend it: " (Told(&reason.remedy)) "." } } }
                    } } }
                }
                div.pair { @for panel in &self.panels { div.panel {
                    h2 { (panel.title) }
                    // A list of terms begins with a term: what has no name stands before it.
                    @let unnamed = panel.rows.iter().take_while(|(name, _)| name.is_empty()).count();
                    @for (_, value) in panel.rows.iter().take(unnamed) { p { (Told(value)) } }
                    @if panel.rows.len() > unnamed { dl.facts { @for (name, value) in panel.rows.iter().skip(unnamed) { @if !name.is_empty() { dt { (Told(name)) } } dd { (Told(value)) } } } }
                } } }
            }
        }
    }
}

/// The button that lifts an entry.
pub(crate) fn lift(entry: u64) -> Markup {
    html! { button.lift type="button" data-lift=(entry) { "Lift" span.vh { " entry " (entry) } } }
}

/// The form that allows a finding; nothing where the sensor would refuse it.
pub(crate) fn allow_form(alert: &Alert) -> Markup {
    let bound = alert.process.is_some() && alert.destination.group.is_empty();
    html! {
        @if bound {
            form.allow data-allow=(alert.id) {
                label { "Why it is ours" input name="reason" required maxlength=(MAX_REASON) autocomplete="off" placeholder="our backup, ticket 4711"; }
                label { "Until when" select name="days" { @for (days, text) in DAYS { option value=(days) { (text) } } } }
                button type="submit" { "Allow it" }
                p.note role="status" {}
            }
            p.note { "Or in a terminal:" }
        }
    }
}

/// What the frame says of all sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Findings that are alerts and are not held back.
    pub alerts: usize,
    /// For each of [`SECTIONS`] that counts something: how much.
    pub of: [Option<usize>; 6],
}

/// Counts what the navigation shows.
#[must_use]
pub fn counts(report: &Report<'_>) -> Counts {
    let view = View::new(report);
    let rules = report.live.map_or(0, |live| live.rules.len());
    let alert = |alert: &&Alert| sonde_common::explain::facts::is_alert(alert) && !lists::is_held(alert);
    Counts {
        alerts: report.findings.iter().filter(alert).count(),
        of: [
            None,
            Some(report.findings.len()),
            Some(lists::about_names(&view).count()),
            Some(lists::on_feeds(&view).count()),
            Some(rules),
            None,
        ],
    }
}

/// One section, by what it is found by; `None`: there is none such.
#[must_use]
pub fn section(report: &Report<'_>, name: &str) -> Option<String> {
    let view = View::new(report);
    let markup = match name {
        "overview" => overview::section(&view),
        "findings" => ranking::section(&view),
        "dns" => lists::names(&view),
        "feeds" => lists::feeds(&view),
        "known-good" => lists::known_good(&view),
        "sensor" => report.live?.section(),
        _ => {
            let id = FindingId(
                u128::from_str_radix(name.strip_prefix("f-").filter(|id| id.len() == 32)?, 16).ok()?,
            );
            let (index, alert) = view.pages.iter().enumerate().find(|(_, alert)| alert.id == id)?;
            finding::section(&view, index, alert)
        }
    };
    Some(markup.into_string())
}

/// What the answer with the frame has to have as its policy: this style, these scripts, and talk with whom it came from.
#[must_use]
pub fn policy() -> String {
    format!(
        "default-src 'none'; style-src {}; script-src {} {}; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        shell::source(STYLE),
        shell::source(SCRIPT),
        shell::source(LIVE)
    )
}

/// The frame: no fact is in it, so whoever gets it has learnt nothing.
#[must_use]
pub fn document() -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "Sonde console" }
                link rel="icon" type="image/svg+xml" href="/icon.svg";
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#overview" { "To the overview" }
                header.top {
                    a.brand href="#overview" { (shell::mark()) span { "Sonde" } }
                    p.of { "Live on " b #where { "…" } }
                    nav aria-label="Pages" { @for (id, name) in SECTIONS { a href={ "#" (id) } { (name) " " span.count data-count=(id) {} } } }
                    button #live type="button" aria-pressed="false" { "Connecting" }
                }
                p.vh #notice role="status" {}
                main.live {
                    @for (id, name) in SECTIONS { section id=(id) { h1 tabindex="-1" { (name) } p.lead { "Waiting for the sensor." } } }
                    section #gate { h1 tabindex="-1" { "Which sensor?" }
                        p.lead #gate-why { "This page needs the token that " code { "sonde run --console" } " printed when it started." }
                        form.allow #gate-form { label { "Token, or the whole address" input #token name="token" required autocomplete="off" spellcheck="false"; }
                            button type="submit" { "Open" } }
                    }
                    noscript { p.panel { "This page is live, which takes its script. Without one: " code { "sonde status" } ", " code { "sonde beacons" } ", "
                        code { "sonde explain ID" } "." } }
                }
                footer { p { "Served by the sensor on this machine to this machine alone, and loads nothing from elsewhere. Names in it are told as
                    they were seen, with whatever could steer a screen written out." } }
                script { (PreEscaped(SCRIPT)) }
                script { (PreEscaped(LIVE)) }
            }
        }
    };
    page.into_string()
}

/// What the sensor saw, in a sentence.
#[must_use]
pub fn seen(connections: u64, exchanges: u64, queries: u64, series: u64) -> String {
    format!(
        "{}, {}, {}; {}.",
        counted(connections, "connection", "connections"),
        counted(exchanges, "exchange inside an open one", "exchanges inside open ones"),
        counted(queries, "DNS query", "DNS queries"),
        counted(series, "series", "series"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn live() -> Sensor {
        Sensor {
            verdict: "degraded".to_owned(),
            reasons: vec![Reason {
                what: "ring is lost: <b>no</b>".to_owned(),
                remedy: "run as root".to_owned(),
            }],
            panels: vec![Panel {
                title: "Parts".to_owned(),
                rows: vec![("ring".to_owned(), "\u{202e}lost".to_owned())],
            }],
            rules: vec![Rule {
                entry: 7,
                reason: "<script>ours".to_owned(),
                suppressed: 3,
                ..Rule::default()
            }],
            excused: vec![("updates".to_owned(), 2)],
            omitted: 5,
        }
    }

    #[test]
    fn the_frame_tells_nothing_and_its_policy_names_what_is_in_it() {
        let (frame, policy) = (document(), policy());
        assert!(
            policy.contains("connect-src 'self'")
                && policy.contains("frame-ancestors 'none'")
                && !policy.contains("unsafe")
        );
        assert_eq!(policy.matches("sha256-").count(), 3);
        assert!(frame.matches("<script>").count() == 2 && !LIVE.contains("</") && !LIVE.contains("<!--"));
        for bad in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "http:",
            "https:",
            "localStorage",
        ] {
            assert!(!LIVE.contains(bad), "{bad}");
        }
    }

    #[test]
    fn every_section_can_be_had_alone_and_nothing_else() {
        let (alerts, sensor) = (samples::all(), live());
        let report =
            Report { findings: &alerts, scored: 3, hosts: 1, live: Some(&sensor), ..Report::default() };
        for (name, _) in SECTIONS {
            let text = section(&report, name).unwrap_or_default();
            assert!(text.starts_with(&format!("<section id=\"{name}\"")), "{name}");
            assert_eq!(text.matches("<section").count(), 1, "{name}");
        }
        let worth = alerts.iter().find(|alert| sonde_common::explain::facts::is_alert(alert)).unwrap();
        let text = section(&report, &format!("f-{}", worth.id)).unwrap_or_default();
        assert!(text.contains(&worth.id.to_string()) && text.contains("data-allow"), "{text}");
        for name in [
            "",
            "f-",
            "f-1",
            "f-+0000000000000000000000000000001",
            "gate",
            "../overview",
            &format!("f-{}", "0".repeat(32)),
        ] {
            assert!(section(&report, name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_is_missing_and_what_is_allowed_is_told_as_text() {
        let sensor = live();
        let report = Report { live: Some(&sensor), hosts: 1, ..Report::default() };
        let overview = section(&report, "overview").unwrap_or_default();
        assert!(overview.contains("ring is lost: &lt;b&gt;no&lt;/b&gt;") && overview.contains("run as root"));
        let known = section(&report, "known-good").unwrap_or_default();
        assert!(
            known.contains("data-lift=\"7\"")
                && known.contains("&lt;script&gt;ours")
                && known.contains("updates")
        );
        let own = section(&report, "sensor").unwrap_or_default();
        assert!(own.contains("something missing") && own.contains("\\u{202e}lost"));
        assert_eq!(counts(&report).of[4], Some(1));
    }
}
