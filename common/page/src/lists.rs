//! Findings looked at from one side: names that were asked for, entries of feeds, and what is known to be good.

use std::collections::BTreeMap;

use maud::{Markup, html};
use sonde_common::alert::{Alert, Class};
use sonde_common::encode::native;
use sonde_common::explain::facts::{is_alert, seconds};
use sonde_common::human::{self, counted};
use sonde_common::process::image_name;

use crate::told::Told;
use crate::{View, shell};

/// Rows of each list, at most.
const MAX_LISTED: usize = 500;

/// Findings about names.
pub(crate) fn about_names<'a>(report: &View<'a>) -> impl Iterator<Item = &'a Alert> {
    report.findings.iter().filter(|alert| {
        let regular =
            matches!(alert.class, Class::DnsCallback) && alert.severity > sonde_common::alert::Severity::Info;
        alert.dns.is_some() || regular
    })
}

/// Findings with an entry of a feed.
pub(crate) fn on_feeds<'a>(report: &View<'a>) -> impl Iterator<Item = &'a Alert> {
    report.findings.iter().filter(|alert| !alert.indicators.is_empty())
}

/// Whether an entry or a profile keeps it from being an alert.
pub(crate) fn is_held(alert: &Alert) -> bool {
    alert.suppressed_by.is_some() || alert.profile.as_ref().is_some_and(|note| note.matched && note.excused)
}

/// Findings that are held back.
pub(crate) fn held_back<'a>(report: &View<'a>) -> impl Iterator<Item = &'a Alert> {
    report.findings.iter().filter(|alert| is_held(alert))
}

/// A section with its title and what it says when there is nothing in it.
fn frame(id: &str, title: &str, lead: &str, count: usize, nothing: &str, content: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h1 id={ (id) "-title" } tabindex="-1" { (title) }
            p.lead { (lead) }
            @if count == 0 { p.panel { (nothing) } } @else { (content) }
            @if count > MAX_LISTED { p.note { (human::count((count - MAX_LISTED) as u64)) " more are left out of this list; the ranking has them." } }
        }
    }
}

pub(crate) fn scroll(label: &str, table: &Markup) -> Markup {
    html! { div.scroll.wide tabindex="0" role="region" aria-label=(label) { (table) } }
}

fn program(alert: &Alert) -> &str {
    alert.process.as_ref().map_or("\u{2013}", |process| image_name(&process.info.image))
}

pub(crate) fn names(report: &View<'_>) -> Markup {
    let count = about_names(report).count();
    let rows = html! {
        table {
            caption.vh { "Findings about names" }
            thead { tr {
                th scope="col" { "Severity" } th scope="col" { "What" } th scope="col" { "Below or at" } th scope="col" { "Program" }
                th.num scope="col" { "Queries" } th.num scope="col" { "Names" } th.num scope="col" { "Do not exist" } th scope="col" { "Types" } th scope="col" { "Such as" }
            } }
            tbody { @for alert in about_names(report).take(MAX_LISTED) {
                @let dns = alert.dns.clone().unwrap_or_default();
                tr {
                    td { (shell::badge(alert.severity)) } td { (native::rule_name(alert.class)) } td.to { (report.link(alert)) } td.by { (Told(program(alert))) }
                    td.num { (human::count(dns.queries.max(alert.evidence.callbacks).into())) }
                    td.num { @if dns.names > 0 { (human::count(dns.names.into())) } }
                    td.num { @if dns.queries > 0 { (human::count(dns.nxdomain.into())) } }
                    td { @for (index, (kind, count)) in dns.types.iter().enumerate() { @if index > 0 { ", " } (Told(kind)) " " (human::count((*count).into())) } }
                    td.to { @for name in dns.samples.iter().take(3) { div { (Told(name)) } } }
                }
            } }
        }
    };
    frame(
        "dns",
        "Names asked for",
        "Generated and missing names, tunnels, other resolvers, answers that change: what look-ups alone tell.",
        count,
        "Nothing suspicious was asked of a resolver, as far as look-ups were seen.",
        &scroll("Findings about names", &rows),
    )
}

pub(crate) fn feeds(report: &View<'_>) -> Markup {
    let count = on_feeds(report).count();
    let rows = html! {
        table {
            caption.vh { "Entries of feeds that were met" }
            thead { tr {
                th scope="col" { "Severity" } th scope="col" { "Entry" } th scope="col" { "Kind" } th scope="col" { "Feed" } th scope="col" { "Called" }
                th.num scope="col" { "Confidence" } th scope="col" { "Who, whom" } th scope="col" { "First" } th.num scope="col" { "Times" }
            } }
            tbody { @for alert in on_feeds(report).take(MAX_LISTED) { @for entry in &alert.indicators {
                tr {
                    td { (shell::badge(alert.severity)) } td.to { (Told(&entry.value)) } td { (Told(&entry.kind)) } td { (Told(&entry.feed)) }
                    td { (Told(&entry.label)) } td.num { @if let Some(confidence) = entry.confidence { (confidence) } }
                    td.to { (Told(program(alert))) " → " (report.link(alert)) @if entry.retrospective { " " span.tag { "looked back" } } }
                    td { (seconds(alert.evidence.first_seen)) } td.num { (human::count(alert.evidence.callbacks.into())) }
                }
            } } }
        }
    };
    frame(
        "feeds",
        "Known-bad infrastructure",
        "What was called and stands on a list of known-bad addresses, names, fingerprints or certificates.",
        count,
        "Nothing that was called stands on a feed, as far as feeds were given (--feed, docs/feeds.md).",
        &scroll("Entries of feeds that were met", &rows),
    )
}

/// What holds findings back: its kind, its name, and why.
type Holder = (&'static str, String, String);

pub(crate) fn known_good(report: &View<'_>) -> Markup {
    let count = held_back(report).count();
    let mut holders: BTreeMap<Holder, Vec<&Alert>> = BTreeMap::new();
    for alert in held_back(report) {
        let holder = match (&alert.suppressed_by, &alert.profile) {
            (Some(entry), _) => ("allow rule", entry.entry.to_string(), entry.reason.clone()),
            (None, Some(note)) => ("profile", note.name.clone(), note.class.replace('_', " ")),
            (None, None) => continue,
        };
        holders.entry(holder).or_default().push(alert);
    }
    let rows = html! {
        table {
            caption.vh { "What holds findings back" }
            thead { tr {
                th scope="col" { "By" } th scope="col" { "Which" } th scope="col" { "Why" } th.num scope="col" { "Findings" }
                th.num scope="col" { "Would alert" } th.num scope="col" { "Callbacks" } th scope="col" { "Such as" }
            } }
            tbody { @for ((kind, name, why), held) in holders.iter().take(MAX_LISTED) {
                tr {
                    td { (kind) } td.to { (Told(name)) } td { (Told(why)) } td.num { (held.len()) }
                    td.num { (held.iter().filter(|alert| is_alert(alert)).count()) }
                    td.num { (human::count(held.iter().map(|alert| u64::from(alert.evidence.callbacks)).sum())) }
                    td.to { @for alert in held.iter().take(3) { div { (Told(program(alert))) " → " (report.link(alert)) } }
                        @if held.len() > 3 { span.soft { "and " (counted(held.len() as u64 - 3, "other", "others")) } } }
                }
            } }
        }
    };
    if let Some(live) = report.live {
        let list = html! { @if count > 0 { h2 { "What they hold back" } (scroll("What holds findings back", &rows)) } };
        return html! {
            section #known-good aria-labelledby="known-good-title" {
                h1 #known-good-title tabindex="-1" { "Known good" }
                p.lead { "What people allowed and what profiles excuse, with how often each held an alert back. Either excuses a program only where it
                    calls its own destinations." }
                (live.rules()) (list)
            }
        };
    }
    frame(
        "known-good",
        "Known good",
        "What is held back, by whom, and how often: an allow rule or a profile excuses a program only where it calls its own destinations.",
        count,
        "Nothing was held back.",
        &scroll("What holds findings back", &rows),
    )
}
