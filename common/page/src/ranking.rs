//! The ranking: every finding on a row, to sort, filter and search.

use std::collections::BTreeSet;

use maud::{Markup, html};
use sonde_common::alert::{Alert, Severity};
use sonde_common::encode::native;
use sonde_common::explain::facts::{cut, whole_secs};
use sonde_common::human::{self, counted};
use sonde_common::process::image_name;

use crate::overview::SEVERITIES;
use crate::picture::intervals;
use crate::told::Told;
use crate::{MAX_ROWS, View, lists, shell};

/// Rows that are laid out at first: a browser takes seconds for ten thousand.
const SHOWN: usize = 300;
/// Classes and hosts that can be chosen from, at most.
const MAX_CHOICES: usize = 200;

pub(crate) fn section(report: &View<'_>) -> Markup {
    let rows = report.findings.get(..MAX_ROWS).unwrap_or(report.findings);
    html! {
        section #findings aria-labelledby="findings-title" {
            h1 #findings-title tabindex="-1" { "Findings" }
            p.lead {
                "Highest score first. " (counted(rows.len() as u64, "finding", "findings")) "; "
                (report.pages.len()) " have a page of their own: "
                (if report.live.is_some() { "alerts, and what is regular." } else { "alerts, and the highest of what is regular." })
                @let more = (report.findings.len() - rows.len()) as u64 + report.live.map_or(0, |live| live.omitted);
                @if more > 0 {
                    " " b { (human::count(more)) " more are left out" } ": "
                    code { (if report.live.is_some() { "sonde beacons" } else { "sonde replay --all --format csv" }) } " lists them."
                }
            }
            @if rows.is_empty() {
                p.panel { "There was nothing to score: a series is scored once a program has called the same destination at least four
                    times." }
            } @else {
                (controls(rows))
                @if rows.len() > SHOWN {
                    p #unscripted { label { input #all-rows type="checkbox"; " Show all " (human::count(rows.len() as u64)) " rows, which takes a while" } }
                }
                div.scroll.wide tabindex="0" role="region" aria-label="Ranking" {
                    table #ranking {
                        caption.vh { "Findings, highest score first" }
                        thead { tr {
                            th scope="col" { "Severity" }
                            th.num scope="col" { "Score" }
                            th scope="col" { "Destination" }
                            th scope="col" { "Program" }
                            th.num scope="col" { "Interval" }
                            th scope="col" { "Intervals" }
                            th.num scope="col" { "Callbacks" }
                            th.num scope="col" { "Over" }
                            th scope="col" { "Class" }
                            th scope="col" { "Host" }
                        } }
                        tbody { @for alert in rows.iter().take(SHOWN) { (row(report, alert)) } }
                        @if rows.len() > SHOWN { tbody.rest { @for alert in rows.iter().skip(SHOWN) { (row(report, alert)) } } }
                    }
                }
                p { button #further type="button" hidden { "Show more" } }
                p #none .panel hidden { "No finding is like that. " button type="button" data-do="reset" { "Show all" } }
            }
        }
    }
}

/// What the script works with; without it there is nothing to click on.
fn controls(rows: &[Alert]) -> Markup {
    let classes: BTreeSet<_> = rows.iter().map(short).collect();
    let hosts: BTreeSet<_> = rows.iter().map(|alert| alert.host.as_str()).take(MAX_ROWS).collect();
    html! {
        form.controls #controls hidden {
            label.search { span.vh { "Search" } input #search type="search" placeholder="Search names, programs, hosts   ( / )" autocomplete="off" spellcheck="false"; }
            fieldset.levels { legend.vh { "Severities" }
                @for severity in SEVERITIES {
                    @if rows.iter().any(|alert| alert.severity == severity) {
                        label class={ "s-" (severity) } { input type="checkbox" name="severity" value=(severity) checked; span { (severity) } }
                    }
                }
            }
            @if classes.len() > 1 {
                label { span.vh { "Class" } select #class { option value="" { "Every class" } @for class in classes { option { (class) } } } }
            }
            @if hosts.len() > 1 {
                label { span.vh { "Host" } select #host { option value="" { "Every host" } @for host in hosts.into_iter().take(MAX_CHOICES) { option { (Told(host)) } } } }
            }
            output #shown for="search" { (counted(rows.len() as u64, "finding", "findings")) }
            button type="button" data-do="export" { "Save as CSV" }
        }
    }
}

fn row(report: &View<'_>, alert: &Alert) -> Markup {
    let evidence = &alert.evidence;
    let image = alert.process.as_ref().map_or("", |process| process.info.image.as_str());
    let median = evidence.interval_median_secs;
    html! {
        tr class={ "s-" (alert.severity) } {
            td { (shell::badge(alert.severity)) @if lists::is_held(alert) { " " span.tag { "held back" } } }
            td.num { (format!("{:.2}", cut(alert.score))) }
            td.to { (report.link(alert))
                @if alert.destination.group.len() > 1 { " " span.tag { "+" (alert.destination.group.len() - 1) } } }
            td.by { @if image.is_empty() { "\u{2013}" } @else { (Told(image_name(image))) } }
            td.num data-v=[(median > 0.0).then(|| format!("{median:.1}"))] {
                @if median > 0.0 { (human::interval(median)) span.soft { " ±" (human::percent(evidence.jitter_mad_ratio)) "\u{202f}%" } } }
            td { @if alert.severity > Severity::Info { (intervals::small(&evidence.histogram)) } }
            td.num data-v=(evidence.callbacks) { (human::count(evidence.callbacks.into())) }
            td.num data-v=(whole_secs(native::dwell_secs(evidence))) { (human::span(whole_secs(native::dwell_secs(evidence)))) }
            td { (short(alert)) }
            td { (Told(&alert.host)) }
        }
    }
}

/// A class as a column has room for it.
fn short(alert: &Alert) -> String {
    alert.class.as_str().replace('_', " ")
}
