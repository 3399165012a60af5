//! Pictures: figures in, SVG out.
//!
//! Each is drawn on a plane of whole units and stretched to its place (`preserveAspectRatio="none"`), with strokes that keep
//! their width; what is written beside it is HTML, so that letters keep their size on every screen. A picture is silent to
//! a screen reader: the table beside it says the same.

pub(crate) mod intervals;
pub(crate) mod lifeline;
pub(crate) mod points;
pub(crate) mod raster;
pub(crate) mod sizes;

use std::fmt::Write as _;

use maud::{Markup, html};
use sonde_common::alert::Severity;
use sonde_common::score;

/// Width of every plane.
pub(crate) const WIDTH: f64 = 1000.0;

/// A coordinate: a thousandth of the width is about what a screen can show. A number that is none is drawn at nought.
#[derive(Clone, Copy)]
pub(crate) struct Px(pub(crate) f64);

impl std::fmt::Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", if self.0.is_finite() { self.0.round() + 0.0 } else { 0.0 })
    }
}

impl maud::Render for Px {
    fn render_to(&self, out: &mut String) {
        let _ = write!(out, "{self}");
    }
}

/// The path of a shape.
#[derive(Default)]
pub(crate) struct Path(String);

impl Path {
    /// A vertical stroke.
    pub(crate) fn stroke(&mut self, x: f64, from: f64, to: f64) {
        let _ = write!(self.0, "M{} {}V{}", Px(x), Px(from), Px(to));
    }

    /// A horizontal one.
    pub(crate) fn level(&mut self, y: f64, from: f64, to: f64) {
        let _ = write!(self.0, "M{} {}H{}", Px(from), Px(y), Px(to));
    }

    /// A rectangle.
    pub(crate) fn bar(&mut self, x: f64, y: f64, width: f64, height: f64) {
        let _ = write!(self.0, "M{} {}h{}v{}h-{}z", Px(x), Px(y), Px(width), Px(height), Px(width));
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The element, if there is anything to draw.
    pub(crate) fn drawn(&self, class: &str) -> Markup {
        html! { @if !self.is_empty() { path class=(class) d=(self.0) {} } }
    }
}

/// A plane of so many units.
pub(crate) fn plane(class: &str, width: f64, height: f64, shapes: &Markup) -> Markup {
    html! {
        svg class=(class) viewBox={ "0 0 " (Px(width)) " " (Px(height)) } preserveAspectRatio="none" aria-hidden="true" {
            (shapes)
        }
    }
}

/// Where a value lies on an axis, 0..=1.
pub(crate) fn ratio(value: f64, low: f64, high: f64) -> f64 {
    if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 }
}

/// A count as a coordinate.
#[expect(clippy::cast_precision_loss, reason = "counts of what is drawn are small")]
pub(crate) const fn units(count: usize) -> f64 {
    count as f64
}

/// The score on its scale, with the thresholds of the severities.
pub(crate) fn gauge(score: f64, severity: Severity) -> Markup {
    let mut limits = Path::default();
    for limit in [0.5, 0.8, 0.95] {
        limits.stroke(limit * WIDTH, 0.0, 10.0);
    }
    let mut bar = Path::default();
    bar.bar(0.0, 0.0, score.clamp(0.0, 1.0) * WIDTH, 10.0);
    plane(
        &format!("gauge s-{severity}"),
        WIDTH,
        10.0,
        &html! { rect class="ground" width="1000" height="10" {} (bar.drawn("fill")) (limits.drawn("limit")) },
    )
}

/// Points at which a severity begins, for lines across the waterfall: the inverse of [`score::scale`].
pub(crate) fn thresholds() -> [(f64, &'static str); 3] {
    let critical = 1.5 * (0.95f64 / 0.05).log(4.0) - 0.5;
    [(score::ALERT_POINTS, "alert"), (1.0, "high"), (critical, "critical")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short_and_always_numbers() {
        for (value, text) in [(1.04, "1"), (2.6, "3"), (-0.2, "0"), (f64::NAN, "0"), (f64::INFINITY, "0")] {
            assert_eq!(Px(value).to_string(), text, "{value}");
        }
    }

    #[test]
    fn the_lines_of_the_waterfall_are_where_the_severities_begin() {
        for (points, name) in thresholds() {
            let above = score::severity_of(points + 1e-6);
            let name = if name == "alert" { "medium" } else { name };
            assert_eq!(above.as_str(), name);
            assert!(score::severity_of(points - 1e-6) < above, "{name}");
        }
    }
}
