//! A series as a row: its cells, what it is sorted by, and what a filter finds in it.

use std::cmp::Ordering;

use sonde_common::alert::Alert;
use sonde_common::explain::facts::{cut, destination_text};
use sonde_common::human;
use sonde_common::process::image_name;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::super::output::Style;

/// A column of the table, in the order of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    /// The score.
    #[default]
    Score,
    /// Its name.
    Severity,
    /// Who calls.
    Program,
    /// Whom.
    Destination,
    /// The interval.
    Every,
    /// How far intervals are from it.
    Jitter,
    /// How often so far.
    Calls,
    /// How long ago the latest was.
    Latest,
    /// The beginning of the id; never sorted by.
    Id,
}

impl Column {
    /// All, from left to right.
    pub(super) const ALL: [Self; 9] = [
        Self::Score,
        Self::Severity,
        Self::Program,
        Self::Destination,
        Self::Every,
        Self::Jitter,
        Self::Calls,
        Self::Latest,
        Self::Id,
    ];
    /// Those that the table can be sorted by; the first has the key 1.
    pub(super) const SORTABLE: usize = 8;

    /// What stands above it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Score => "SCORE",
            Self::Severity => "SEVERITY",
            Self::Program => "PROGRAM",
            Self::Destination => "DESTINATION",
            Self::Every => "EVERY",
            Self::Jitter => "JITTER",
            Self::Calls => "CALLS",
            Self::Latest => "LATEST",
            Self::Id => "ID",
        }
    }

    /// Its cell.
    pub(super) fn cell(self, row: &Alert, now: Timestamp, style: Style) -> String {
        let evidence = &row.evidence;
        match self {
            Self::Score if row.score.is_finite() => format!("{:.2}", cut(row.score)),
            Self::Score => String::new(),
            // The mark beside the score says the severity all the same.
            Self::Severity => held_back(row).unwrap_or(row.severity.as_str()).to_owned(),
            Self::Program => style.clean(&program(row)),
            Self::Destination => style.clean(&destination_text(row)),
            Self::Every => human::interval(evidence.interval_median_secs),
            Self::Jitter if evidence.interval_median_secs > 0.0 => {
                format!("{} %", human::percent(evidence.jitter_mad_ratio))
            }
            Self::Jitter => String::new(),
            Self::Calls => human::short_count(evidence.callbacks.into()),
            Self::Latest => {
                human::span(u64::try_from(now.since(evidence.last_seen) / NANOS_PER_SEC).unwrap_or(0))
            }
            Self::Id => row.id.to_string().chars().take(8).collect(),
        }
    }

    /// What comes first when the table is sorted by this column: what an analyst would look at first.
    pub(super) fn compare(self, a: &Alert, b: &Alert) -> Ordering {
        let interval = |row: &Alert| match row.evidence.interval_median_secs {
            secs if secs > 0.0 => secs,
            _ => f64::INFINITY,
        };
        let by_column = match self {
            Self::Score | Self::Id => Ordering::Equal,
            Self::Severity => b.severity.cmp(&a.severity),
            Self::Program => program(a).cmp(&program(b)),
            Self::Destination => destination_text(a).cmp(&destination_text(b)),
            Self::Every => interval(a).total_cmp(&interval(b)),
            Self::Jitter => {
                let jitter = |row: &Alert| (interval(row).is_infinite(), row.evidence.jitter_mad_ratio);
                let (a, b) = (jitter(a), jitter(b));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            }
            Self::Calls => b.evidence.callbacks.cmp(&a.evidence.callbacks),
            Self::Latest => b.evidence.last_seen.cmp(&a.evidence.last_seen),
        };
        by_column.then(b.points.total_cmp(&a.points)).then(a.id.cmp(&b.id))
    }
}

/// Why it makes no alert, in the place of its severity.
pub(super) fn held_back(row: &Alert) -> Option<&'static str> {
    match (&row.suppressed_by, &row.profile) {
        (Some(_), _) => Some("allowed"),
        (None, Some(note)) if note.excused => Some("profile"),
        _ => None,
    }
}

fn program(row: &Alert) -> String {
    match &row.process {
        Some(process) if !process.info.script.is_empty() => {
            format!("{} {}", image_name(&process.info.image), image_name(&process.info.script))
        }
        Some(process) => image_name(&process.info.image).to_owned(),
        None => human::UNKNOWN.to_owned(),
    }
}

/// Whether every word of a filter (in lower case) stands somewhere in what names the series.
pub(super) fn matches(row: &Alert, filter: &str) -> bool {
    if filter.trim().is_empty() {
        return true;
    }
    let destination = &row.destination;
    let mut text = format!("{} {} {} ", row.severity, destination_text(row), row.id);
    let names = [&destination.fqdn, &destination.sni, &destination.http_host, &destination.connect_host];
    names.into_iter().chain(&destination.group).for_each(|name| push(&mut text, name));
    if let Some(ip) = destination.ip {
        push(&mut text, &ip.to_string());
    }
    if let Some(process) = &row.process {
        let info = &process.info;
        [&info.image, &info.script, &info.user, &info.package]
            .into_iter()
            .for_each(|name| push(&mut text, name));
    }
    push(&mut text, held_back(row).unwrap_or_default());
    let text = text.to_lowercase();
    filter.split_whitespace().all(|word| text.contains(word))
}

fn push(text: &mut String, name: &str) {
    text.push_str(name);
    text.push(' ');
}
