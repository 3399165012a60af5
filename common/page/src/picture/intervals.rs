//! The histogram of intervals, with the period that was found, how far half of them stray, and its multiples, which missed
//! callbacks leave behind.

use maud::{Markup, html};
use sonde_common::alert::{Evidence, HISTOGRAM_BINS, Histogram};
use sonde_common::human;

use super::{Path, WIDTH, plane, ratio, units};

/// Height of the plane.
const HEIGHT: f64 = 100.0;
/// Part of a bin that its bar fills.
const BAR: f64 = 0.82;
/// Labels below the axis, less one.
const PARTS: u32 = 4;
/// Multiples of the period that are marked.
const MULTIPLES: [f64; 4] = [2.0, 3.0, 4.0, 5.0];

/// Where an interval lies on the logarithmic axis.
fn place(histogram: &Histogram, secs: f64) -> Option<f64> {
    let inside = secs >= histogram.low_secs && secs <= histogram.high_secs;
    inside.then(|| ratio(secs.ln(), histogram.low_secs.ln(), histogram.high_secs.ln()) * WIDTH)
}

/// Whether there is anything to draw.
pub(crate) fn is_drawn(histogram: &Histogram) -> bool {
    histogram.low_secs > 0.0
        && histogram.high_secs > histogram.low_secs
        && histogram.high_secs.is_finite()
        && histogram.counts.iter().any(|count| *count > 0)
}

/// Lower and upper edge of a bin, in seconds.
pub(crate) fn edges(histogram: &Histogram, bin: usize) -> (f64, f64) {
    let step = (histogram.high_secs / histogram.low_secs).ln() / units(HISTOGRAM_BINS);
    let at = |bin: usize| histogram.low_secs * (step * units(bin)).exp();
    (at(bin), at(bin + 1))
}

/// The histogram, large.
pub(crate) fn intervals(evidence: &Evidence) -> Markup {
    let histogram = &evidence.histogram;
    if !is_drawn(histogram) {
        return html! {};
    }
    let (mut period, mut multiples, mut window) = (Path::default(), Path::default(), Path::default());
    if let Some(x) = place(histogram, evidence.period_secs) {
        period.stroke(x, 0.0, HEIGHT);
    }
    for x in MULTIPLES.into_iter().filter_map(|times| place(histogram, evidence.period_secs * times)) {
        multiples.stroke(x, 0.0, HEIGHT);
    }
    let (median, jitter) = (evidence.interval_median_secs, evidence.jitter_mad_ratio);
    if median > 0.0 && jitter > 0.0 {
        let edge = |secs: f64| {
            ratio(secs.max(f64::MIN_POSITIVE).ln(), histogram.low_secs.ln(), histogram.high_secs.ln()) * WIDTH
        };
        let (from, to) = (edge(median * (1.0 - jitter)), edge(median * (1.0 + jitter)));
        window.bar(from, 0.0, to - from, HEIGHT);
    }
    let shapes = html! {
        (window.drawn("window")) (bars(histogram, HEIGHT).drawn("bars")) (multiples.drawn("multiple")) (period.drawn("period"))
    };
    let label = |part: u32| {
        let to = f64::from(part) / f64::from(PARTS);
        human::interval(histogram.low_secs * (histogram.high_secs / histogram.low_secs).powf(to))
    };
    html! {
        div.chart aria-hidden="true" {
            (plane("plot", WIDTH, HEIGHT, &shapes))
            ol.axis { @for part in 0..=PARTS { li { (label(part)) } } }
        }
        p.legend {
            @if !period.is_empty() { span.key.period { "period " (human::interval(evidence.period_secs)) } }
            @if !window.is_empty() { span.key.window { "half of them: ± " (human::percent(jitter)) " %" } }
            @if !multiples.is_empty() { span.key.multiple { "its multiples" } }
        }
    }
}

/// The histogram as a mark in a row.
pub(crate) fn small(histogram: &Histogram) -> Markup {
    if !is_drawn(histogram) {
        return html! {};
    }
    let mut bars = Path::default();
    let most = f64::from(histogram.counts.iter().copied().max().unwrap_or(1).max(1));
    for (bin, count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (f64::from(*count) / most * 20.0).max(2.0).round();
        bars.stroke(units(bin) * 4.0 + 2.0, 20.0, 20.0 - height);
    }
    plane("spark", units(HISTOGRAM_BINS) * 4.0, 20.0, &bars.drawn("mark"))
}

/// The bars, from the ground of a plane of this height; a bin with any interval shows.
fn bars(histogram: &Histogram, height: f64) -> Path {
    let most = f64::from(histogram.counts.iter().copied().max().unwrap_or(1).max(1));
    let width = WIDTH / units(HISTOGRAM_BINS);
    let mut bars = Path::default();
    for (bin, count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let tall = (f64::from(*count) / most * (height - 4.0)).max(2.0);
        bars.bar((units(bin) + (1.0 - BAR) / 2.0) * width, height - tall, width * BAR, tall);
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn period_window_and_multiples_are_marked_where_they_lie() {
        let evidence = samples::implant().evidence;
        let text = intervals(&evidence).into_string();
        // ln(60.0184 / 50) / ln(125 / 50) of 1000; its double, 120.04 s, lies inside, too.
        assert!(text.contains(r#"class="period" d="M199 0V100""#), "{text}");
        assert!(text.contains(r#"class="multiple" d="M956 0V100""#), "{text}");
        assert!(text.contains("class=\"window\"") && text.contains("period 60.0 s"), "{text}");
        assert_eq!(text.matches("h34v").count(), 9, "a bar for each bin with intervals: {text}");
        let (low, high) = edges(&evidence.histogram, 0);
        assert!((low - 50.0).abs() < 1e-9 && (high - 51.946).abs() < 1e-3, "{high}");
    }

    #[test]
    fn no_histogram_is_no_picture() {
        assert_eq!(intervals(&samples::bare().evidence).into_string(), "");
        let mut evidence = samples::implant().evidence;
        (evidence.histogram.low_secs, evidence.histogram.high_secs) = (f64::NAN, f64::INFINITY);
        assert_eq!(small(&evidence.histogram).into_string(), "");
    }
}
