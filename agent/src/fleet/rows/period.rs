//! Periods as tables keep and compare them.

/// Middle of class 0 of periods, in seconds.
const MIDDLE_PERIOD_SECS: f64 = 60.0;
/// Ratio between neighbouring classes of periods. With it the periods that people choose (5 s to 1 h) lie away from the borders.
const PERIOD_STEP: f64 = 1.12;

/// The class of a period: periods of one class count as equal.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "floats are cut to the range of the number")]
pub(super) fn period_class(period_secs: f64) -> i16 {
    if period_secs > 0.0 {
        ((period_secs / MIDDLE_PERIOD_SECS).ln() / PERIOD_STEP.ln()).round() as i16
    } else {
        0
    }
}

/// A period as tables keep it: thousandths of a second are enough, and equal on all machines.
pub(super) fn period(found: Option<f64>, median: Option<f64>) -> f64 {
    let known = |secs: Option<f64>| secs.filter(|secs| secs.is_finite() && *secs > 0.0);
    known(found).or_else(|| known(median)).unwrap_or_default()
}
