//! The ranking: every finding on a row, to sort, filter and search.

use std::collections::BTreeSet;

use maud::{Markup, html};
use sonde_common::alert::Alert;
use sonde_common::encode::native;
use sonde_common::explain::facts::{cut, destination_text, whole_secs};
use sonde_common::human::{self, counted};
use sonde_common::process::image_name;

use crate::overview::SEVERITIES;
use crate::picture::intervals;
use crate::told::Told;
use crate::{MAX_PAGES, MAX_ROWS, Report, anchor, shell};

/// Classes and hosts that can be chosen from, at most.
const MAX_CHOICES: usize = 200;

pub(crate) fn section(report: &Report<'_>) -> Markup {
    let rows = report.findings.get(..MAX_ROWS).unwrap_or(report.findings);
    html! {
        section #findings aria-labelledby="findings-title" {
            h1 #findings-title tabindex="-1" { "Findings" }
            p.lead {
                "Highest score first. " (counted(rows.len() as u64, "finding", "findings")) "; the first "
                (report.pages().len()) " have a page of their own."
                @if report.findings.len() > rows.len() {
                    " " b { (human::count((report.findings.len() - rows.len()) as u64)) " more are left out" } ": "
                    code { "sonde replay --all --format csv" } " lists them."
                }
            }
            @if rows.is_empty() {
                p.panel { "There was nothing to score: a series is scored once a program has called the same destination at least four
                    times." }
            } @else {
                (controls(rows))
                div.scroll.wide tabindex="0" role="region" aria-labelledby="findings-title" {
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
                        tbody { @for (index, alert) in rows.iter().enumerate() { (row(alert, index < MAX_PAGES)) } }
                    }
                }
                p #none .panel hidden { "No finding is like that. " button type="button" data-do="reset" { "Show all" } }
            }
        }
    }
}

/// What the script works with; without it there is nothing to click on.
fn controls(rows: &[Alert]) -> Markup {
    let classes: BTreeSet<_> = rows.iter().map(|alert| native::rule_name(alert.class)).collect();
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

fn row(alert: &Alert, has_page: bool) -> Markup {
    let evidence = &alert.evidence;
    let image = alert.process.as_ref().map_or("", |process| process.info.image.as_str());
    let median = evidence.interval_median_secs;
    let destination = destination_text(alert);
    html! {
        tr class={ "s-" (alert.severity) } {
            td { (shell::badge(alert.severity)) @if alert.suppressed_by.is_some() || alert.profile.as_ref().is_some_and(|note| note.excused) { " " span.tag { "held back" } } }
            td.num { (format!("{:.2}", cut(alert.score))) }
            td.to { @if has_page { a href={ "#" (anchor(alert)) } { (Told(&destination)) } } @else { (Told(&destination)) }
                @if alert.destination.group.len() > 1 { " " span.tag { "+" (alert.destination.group.len() - 1) } } }
            td.by { @if image.is_empty() { "\u{2013}" } @else { (Told(image_name(image))) } }
            td.num data-v=[(median > 0.0).then(|| format!("{median:.1}"))] {
                @if median > 0.0 { (human::interval(median)) span.soft { " ±" (human::percent(evidence.jitter_mad_ratio)) "\u{202f}%" } } }
            td { (intervals::small(&evidence.histogram)) }
            td.num data-v=(evidence.callbacks) { (human::count(evidence.callbacks.into())) }
            td.num data-v=(whole_secs(native::dwell_secs(evidence))) { (human::span(whole_secs(native::dwell_secs(evidence)))) }
            td { (native::rule_name(alert.class)) }
            td { (Told(&alert.host)) }
        }
    }
}
