//! Alerts in the form a reader wants: pure functions with golden tests.

pub mod csv;
pub mod journal;
pub mod json;
pub mod native;
pub mod ocsf;
pub mod record;
pub mod syslog;
pub mod told;

/// `value` with so many decimals and without a negative zero, so that text made of it is stable; `None` unless finite.
pub(crate) fn rounded(value: f64, decimals: i32) -> Option<f64> {
    let scale = 10f64.powi(decimals);
    let scaled = (value * scale).round() / scale;
    // A huge value overflows the scaling, and has no decimals to lose.
    let kept = if scaled.is_finite() { scaled } else { value };
    kept.is_finite().then_some(kept + 0.0)
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod schema;

#[cfg(test)]
use crate as model;
#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_text_stable() {
        assert_eq!(rounded(0.123_456, 4), Some(0.1235));
        assert_eq!(rounded(-0.000_01, 3).map(|value| value.to_string()), Some("0".to_owned()));
        assert_eq!(rounded(1e308, 4), Some(1e308));
        assert_eq!(rounded(f64::NAN, 4), None);
        assert_eq!(rounded(f64::INFINITY, 4), None);
    }
}
