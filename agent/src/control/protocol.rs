//! What is said over the control socket: one line of JSON asks, a line of JSON says what follows, and so many lines of
//! JSON follow. One request a connection.

use serde::{Deserialize, Serialize};

use crate::live::command::{Answer, Refusal, Request};

/// Longest request, in bytes.
pub(super) const MAX_REQUEST_BYTES: usize = 16 << 10;
/// Longest line of an answer, in bytes: an alert with the longest texts of a process, escaped.
pub(super) const MAX_ANSWER_LINE_BYTES: usize = 4 << 20;

/// The line that asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// What is asked.
    pub(super) ask: Request,
}

/// The line that says what follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Head {
    /// A line of health.
    Status,
    /// Rows of findings.
    Alerts {
        /// Lines that follow.
        lines: usize,
        /// Findings left out.
        omitted: u64,
        /// What was looked at.
        events: u64,
        /// Series that were scored.
        series: u64,
    },
    /// A line with one finding.
    Finding,
    /// Known-good entries.
    Allowed {
        /// Lines that follow.
        lines: usize,
    },
    /// Nothing.
    Refused(Refusal),
}

impl Head {
    /// How an answer begins.
    pub(super) fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Status(_) => Self::Status,
            Answer::Alerts(rows) => Self::Alerts {
                lines: rows.rows.len(),
                omitted: rows.omitted,
                events: rows.events,
                series: rows.series,
            },
            Answer::Finding(_) => Self::Finding,
            Answer::Allowed(entries) => Self::Allowed { lines: entries.len() },
            Answer::Refused(refusal) => Self::Refused(refusal.clone()),
        }
    }
}
