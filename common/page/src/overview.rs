//! The overview: what was found, what was seen, and what is missing and why.

use std::collections::BTreeMap;

use maud::{Markup, html};
use sonde_common::alert::{Alert, Severity};
use sonde_common::encode::native;
use sonde_common::explain::facts::{cut, destination_text, is_alert, seconds, whole_secs};
use sonde_common::human::{self, counted};
use sonde_common::process::image_name;

use crate::picture::{gauge, intervals};
use crate::told::Told;
use crate::{View, activity, anchor, lists, shell};

/// Findings that are shown as cards.
const CARDS: usize = 6;
/// Facts that are listed as missing.
const MAX_MISSING: usize = 8;
/// Severities, the worst first.
pub(crate) const SEVERITIES: [Severity; 5] =
    [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info];

pub(crate) fn section(report: &View<'_>) -> Markup {
    let alerts = report.findings.iter().filter(|alert| is_alert(alert) && !lists::is_held(alert)).count();
    html! {
        section #overview aria-labelledby="overview-title" {
            h1 #overview-title tabindex="-1" { (headline(alerts)) }
            p.lead {
                (counted(report.scored, "series was", "series were")) " scored on " (counted(report.hosts, "host", "hosts"))
                @if report.live.is_some() {
                    @if let Some((first, _)) = report.span { " since the sensor began, at " (seconds(first)) }
                } @else if let Some((first, last)) = report.span {
                    ", from " (seconds(first)) " to " (seconds(last)) " (" (human::span(last.since(first).unsigned_abs() / 1_000_000_000)) ")"
                }
                "."
            }
            (severities(report))
            @if !report.pages.is_empty() {
                h2 { "What speaks loudest" }
                ol.cards { @for alert in report.pages.iter().take(CARDS) { li { (card(alert)) } } }
                p.onward { a href="#findings" { "All findings, to sort and filter" } }
            }
            @if let Some(activity) = report.activity { (activity::figure(activity)) }
            div.pair {
                div.panel { h2 { "What was seen" } (seen(report)) }
                div.panel { h2 { "What is missing, and why" } (missing(report)) }
            }
        }
    }
}

fn headline(alerts: usize) -> String {
    match alerts {
        0 => "Nothing here calls home in a way that alarms.".to_owned(),
        1 => "One finding calls home in a way that alarms.".to_owned(),
        many => format!("{} findings call home in a way that alarms.", human::count(many as u64)),
    }
}

/// How many of each severity: a bar in proportion, and the counts.
fn severities(report: &View<'_>) -> Markup {
    html! {
        ul.tiles {
            @for severity in SEVERITIES {
                @let count = report.count(severity);
                li class={ "tile s-" (severity) @if count == 0 { " none" } } {
                    span.figure { (human::count(count as u64)) }
                    (shell::badge(severity))
                    span.what { (match severity {
                        Severity::Critical => "score from 0.95, or on a feed",
                        Severity::High => "score from 0.80",
                        Severity::Medium => "score from 0.50",
                        Severity::Low => "regular, but no alert",
                        Severity::Info => "not regular",
                    }) }
                }
            }
        }
    }
}

fn card(alert: &Alert) -> Markup {
    let program = alert.process.as_ref().map(|process| image_name(&process.info.image));
    html! {
        a class={ "card s-" (alert.severity) } href={ "#" (anchor(alert)) } {
            span.head { (shell::badge(alert.severity)) span.score { (format!("{:.2}", cut(alert.score))) } }
            (gauge(alert.score, alert.severity))
            strong.name { (Told(&destination_text(alert))) }
            span.by { (Told(native::rule_name(alert.class))) ", " @if let Some(program) = program { (Told(program)) " on " } (Told(&alert.host)) }
            span.beat {
                (intervals::small(&alert.evidence.histogram))
                span { (rhythm(alert)) }
            }
        }
    }
}

/// Interval, callbacks and time, as a card has room for them.
fn rhythm(alert: &Alert) -> String {
    let evidence = &alert.evidence;
    let calls = counted(evidence.callbacks.into(), "time", "times");
    let dwell = human::span(whole_secs(native::dwell_secs(evidence)));
    if evidence.interval_median_secs > 0.0 {
        let every = human::interval(evidence.interval_median_secs);
        format!("every {every}, {calls} in {dwell}")
    } else {
        format!("{calls} in {dwell}")
    }
}

fn seen(report: &View<'_>) -> Markup {
    html! {
        p { (Told(&report.seen)) }
        @if !report.inputs.is_empty() {
            details open[report.inputs.len() <= 3] {
                summary { (counted(report.inputs.len() as u64, "input", "inputs")) }
                ul.names { @for input in report.inputs.iter().take(200) { li { (Told(input)) } } }
                @if report.inputs.len() > 200 { p.note { "… and " (report.inputs.len() - 200) " more." } }
            }
        }
    }
}

fn missing(report: &View<'_>) -> Markup {
    let all = report.findings.len();
    let mut facts: BTreeMap<&str, usize> = BTreeMap::new();
    for what in report.findings.iter().flat_map(|alert| &alert.missing) {
        *facts.entry(what.as_ref()).or_default() += 1;
    }
    let mut facts: Vec<_> = facts.into_iter().collect();
    facts.sort_by_key(|(what, count)| (std::cmp::Reverse(*count), *what));
    facts.truncate(MAX_MISSING);
    let total = report.activity.map(|activity| activity.total()).unwrap_or_default();
    let (gaps, more_gaps) = report.activity.map(|activity| activity.gaps()).unwrap_or_default();
    html! {
        @if let Some(live) = report.live { (live.complaints()) } @else {
        ul.missing {
            @if total.events > 0 && total.attributed < total.events {
                li {
                    b { "Programs. " } "The program behind " (activity::share(total)) " of the events is known. "
                    @if total.attributed == 0 {
                        "A capture says nothing of programs, so severity mostly stops at medium: give " code { "--process-map" }
                        ", replay logs that name them, or run the sensor on the host."
                    }
                }
            }
            @if !gaps.is_empty() {
                li { b { "Blind times. " } "The sensor was blind " (counted(gaps.len() as u64 + more_gaps, "time", "times")) ", first from "
                    (gaps.first().map(|first| seconds(first.gap.since)).unwrap_or_default()) ": intervals over such a time do not count." }
            }
            @if let Some(lost) = &report.lost { li { b { "Losses. " } (Told(lost)) } }
            @for left_out in &report.left_out { li { (Told(left_out)) } }
            @if report.lost.is_none() { li.fine { "Nothing was dropped to stay within bounds." } }
        }
        }
        @if !facts.is_empty() {
            h3 { "Facts that could not be told" }
            p.note { "Each adds what it adds on average: unknown is not benign." }
            table.counts {
                thead { tr { th scope="col" { "Fact" } th.num scope="col" { "Findings without it" } } }
                tbody { @for (what, count) in facts { tr { td { (Told(what)) } td.num { (count) " of " (all) } } } }
            }
        }
    }
}
