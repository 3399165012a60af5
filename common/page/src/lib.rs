//! Findings as HTML: the report of a replay, and the parts that a live page is made of.
//!
//! Pure: values in, text out. Markup is escaped by construction, names of others pass through [`Told`] besides, pictures are
//! SVG that is drawn here, so that the page works without its script, and prints. Nothing is loaded from anywhere: the content
//! security policy names the digests of the one style sheet and the one script.
#![forbid(unsafe_code)]

mod activity;
mod finding;
mod lists;
pub mod live;
mod overview;
mod picture;
mod ranking;
mod shell;
mod told;

use std::collections::BTreeSet;

use maud::Markup;
use sonde_common::activity::Activity;
use sonde_common::alert::{Alert, FindingId, Severity};
use sonde_common::explain::facts;
use sonde_common::time::Timestamp;

pub use told::{Lines, Told};

/// Findings that have a page of their own, at most.
pub const MAX_PAGES: usize = 100;
/// Findings that are no alerts and have a page all the same, at most: those with the highest scores.
pub const MAX_OTHER_PAGES: usize = 20;
/// Findings whose page has hunting queries, at most: they are long, and `sonde explain` prints them of each.
pub const MAX_WITH_QUERIES: usize = 5;
/// Rows of the ranking, at most.
pub const MAX_ROWS: usize = 10_000;

/// What a report is made of.
#[derive(Clone, Debug, Default)]
pub struct Report<'a> {
    /// Names of what was read.
    pub inputs: &'a [String],
    /// Version of the program.
    pub version: &'a str,
    /// First and latest data time.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The findings, highest score first.
    pub findings: &'a [Alert],
    /// How many series were scored.
    pub scored: u64,
    /// Hosts in the input.
    pub hosts: u64,
    /// What was read, in a sentence.
    pub seen: String,
    /// What of the input was left out, and why: one sentence each.
    pub left_out: Vec<String>,
    /// What had to be dropped, in a sentence.
    pub lost: Option<String>,
    /// How much happened when.
    pub activity: Option<&'a Activity>,
    /// The sensor that tells of it, where the page is a live one.
    pub live: Option<&'a live::Sensor>,
}

impl Report<'_> {
    /// How many findings are of a severity.
    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|alert| alert.severity == severity).count()
    }
}

/// A report, and which of its findings have a page.
struct View<'a> {
    report: &'a Report<'a>,
    pages: Vec<&'a Alert>,
    paged: BTreeSet<FindingId>,
}

impl<'a> View<'a> {
    /// What keeps no rhythm and is no alert has a row only: there is no more to say of it.
    fn new(report: &'a Report<'a>) -> Self {
        if report.live.is_some() {
            // One page is made at a time.
            let regular = |alert: &&Alert| facts::is_alert(alert) || alert.severity > Severity::Info;
            return Self::of(report, report.findings.iter().filter(regular).collect());
        }
        let mut others = 0;
        let mut is_worth = |alert: &&Alert| {
            let is_alert = facts::is_alert(alert);
            others += usize::from(!is_alert && alert.severity > Severity::Info);
            is_alert || alert.severity > Severity::Info && others <= MAX_OTHER_PAGES
        };
        Self::of(report, report.findings.iter().filter(|alert| is_worth(alert)).take(MAX_PAGES).collect())
    }

    fn of(report: &'a Report<'a>, pages: Vec<&'a Alert>) -> Self {
        let paged = pages.iter().map(|alert| alert.id).collect();
        Self { report, pages, paged }
    }

    /// A finding's destination, as a link where it has a page.
    fn link(&self, alert: &Alert) -> Markup {
        let text = facts::destination_text(alert);
        maud::html! {
            @if self.paged.contains(&alert.id) { a href={ "#" (anchor(alert)) } { (Told(&text)) } } @else { (Told(&text)) }
        }
    }
}

impl<'a> std::ops::Deref for View<'a> {
    type Target = Report<'a>;

    fn deref(&self) -> &Self::Target {
        self.report
    }
}

/// The whole page.
#[must_use]
pub fn html(report: &Report<'_>) -> String {
    let view = View::new(report);
    shell::document(&view, &sections(&view)).into_string()
}

fn sections(view: &View<'_>) -> Markup {
    maud::html! {
        (overview::section(view))
        (ranking::section(view))
        (lists::names(view))
        (lists::feeds(view))
        (lists::known_good(view))
        @for (index, alert) in view.pages.iter().enumerate() { (finding::section(view, index, alert)) }
    }
}

/// What a finding's section is found by.
fn anchor(alert: &Alert) -> String {
    format!("f-{}", alert.id)
}

#[cfg(test)]
use sonde_common as model;
#[cfg(test)]
#[allow(dead_code, reason = "shared with the encoders' tests")]
#[path = "../../src/encode/samples.rs"]
mod samples;
#[cfg(test)]
mod tests;
