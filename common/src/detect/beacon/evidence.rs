//! A series -> [`Evidence`]: what was measured, for the alert and its picture.

use super::label::{Label, Peak};
use super::series::{MAX_CALLBACKS, Series};
use super::stats::{self, MAX_INTERVALS};
use crate::alert::Evidence;

/// What was measured of a series so far. The timing is that of its highest score, the rest is the latest state.
#[must_use]
pub fn of(series: &Series, label: &Label) -> Evidence {
    let mut buffer = [0; MAX_INTERVALS];
    let intervals = series.intervals(&mut buffer);
    let timing = label.peak.map_or_else(|| stats::timing(intervals), |Peak { timing, .. }| timing);
    let spread = stats::spread(intervals);
    let medians = series.size_medians();
    let mut recent = Vec::with_capacity(MAX_CALLBACKS);
    recent.extend(series.recent_callbacks());
    recent.reverse();
    let mut recent_sizes: Vec<_> = series.recent_sizes().collect();
    recent_sizes.reverse();
    Evidence {
        level: label.level,
        bans: timing.bans,
        test: timing.test.map_or("", stats::Test::name).into(),
        shape: timing.test.map_or("", stats::Test::shape).into(),
        matched: timing.matched,
        of: timing.of,
        period_secs: timing.period_secs,
        interval_median_secs: spread.median_secs,
        jitter_mad_ratio: spread.jitter_mad_ratio,
        callbacks: series.check_ins(),
        missed: stats::missed_callbacks(intervals, &timing),
        gaps: series.gaps(),
        gap_secs: series.gap_secs(),
        first_seen: series.first_seen(),
        last_seen: series.last_seen(),
        histogram: stats::histogram(intervals),
        recent,
        bytes_out_median: medians.map(|medians| medians.bytes_out),
        bytes_in_median: medians.map(|medians| medians.bytes_in),
        bytes_out: label.bytes_out,
        bytes_in: label.bytes_in,
        refused: label.refused,
        unanswered: label.unanswered,
        recent_sizes,
    }
}
