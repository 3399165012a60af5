//! Findings as HTML: the report of a replay, and the parts that a live page is made of.
//!
//! Pure: values in, text out. Markup is escaped by construction, names of others pass through [`told`] besides, pictures are
//! SVG that is drawn here, so that the page works without its script, and prints. Nothing is loaded from anywhere: the content
//! security policy names the digests of the one style sheet and the one script.
#![forbid(unsafe_code)]

mod activity;
mod finding;
mod lists;
mod overview;
mod picture;
mod ranking;
mod shell;
mod told;

use maud::Markup;
use sonde_common::activity::Activity;
use sonde_common::alert::{Alert, Severity};
use sonde_common::time::Timestamp;

pub use told::{Lines, Told};

/// Findings that have a page of their own, at most.
pub const MAX_PAGES: usize = 100;
/// Findings whose page has hunting queries, at most: they are long, and `sonde explain` prints them of each.
pub const MAX_WITH_QUERIES: usize = 10;
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
}

impl Report<'_> {
    /// The findings that have a page: alerts first, as they are ranked.
    fn pages(&self) -> &[Alert] {
        self.findings.get(..MAX_PAGES).unwrap_or(self.findings)
    }

    /// How many findings are of a severity.
    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|alert| alert.severity == severity).count()
    }
}

/// The whole page.
#[must_use]
pub fn html(report: &Report<'_>) -> String {
    shell::document(report, &sections(report)).into_string()
}

fn sections(report: &Report<'_>) -> Markup {
    maud::html! {
        (overview::section(report))
        (ranking::section(report))
        (lists::names(report))
        (lists::feeds(report))
        (lists::known_good(report))
        @for (index, alert) in report.pages().iter().enumerate() {
            (finding::section(report, index, alert))
        }
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
