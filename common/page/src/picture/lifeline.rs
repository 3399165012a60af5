//! The life of a series on the time of the whole input: from its first callback to its latest, which part of it the raster shows,
//! when it was detected, and when the sensor was blind.

use maud::{Markup, html};
use sonde_common::alert::Alert;
use sonde_common::explain::facts::seconds;
use sonde_common::live::Gap;
use sonde_common::time::Timestamp;

use super::{Path, WIDTH, plane, ratio};

/// Height of the plane.
const HEIGHT: f64 = 20.0;
/// Least width of a part, so that it shows.
const LEAST: f64 = 3.0;

/// The strip; nothing where the input is one moment.
pub(crate) fn lifeline(alert: &Alert, span: (Timestamp, Timestamp), gaps: &[Gap]) -> Markup {
    let (begin, end) = span;
    if end <= begin {
        return html! {};
    }
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    let x = |time: Timestamp| ratio(time.since(begin) as f64, 0.0, end.since(begin) as f64) * WIDTH;
    let part = |from: Timestamp, to: Timestamp, top: f64, path: &mut Path| {
        let (from, to) = (x(from), x(to));
        path.bar(from.min(WIDTH - LEAST), top, (to - from).max(LEAST), HEIGHT - 2.0 * top);
    };
    let evidence = &alert.evidence;
    let (mut life, mut drawn, mut blind, mut detected) =
        (Path::default(), Path::default(), Path::default(), Path::default());
    part(evidence.first_seen, evidence.last_seen, 6.0, &mut life);
    if let (Some(first), Some(last)) = (evidence.recent.first(), evidence.recent.last()) {
        part(*first, *last, 6.0, &mut drawn);
    }
    for gap in gaps.iter().filter(|gap| gap.until > gap.since) {
        part(gap.since, gap.until, 0.0, &mut blind);
    }
    if let Some(time) = alert.detected {
        detected.stroke(x(time), 0.0, HEIGHT);
    }
    let shapes = html! {
        rect class="ground" y="6" width="1000" height="8" {}
        (life.drawn("life")) (drawn.drawn("drawn")) (blind.drawn("blind")) (detected.drawn("detected"))
    };
    html! {
        div.lifeline aria-hidden="true" {
            (plane("plot", WIDTH, HEIGHT, &shapes))
            ol.axis { li { (seconds(begin)) } li { (seconds(end)) } }
        }
        p.legend {
            span.key.life { "its life, within all that was read" }
            @if !drawn.is_empty() { span.key.drawn { "drawn below" } }
            @if !detected.is_empty() { span.key.detected { "detected" } }
            @if !blind.is_empty() { span.key.blind { "the sensor was blind" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn life_and_detection_lie_where_they_were() {
        let alert = samples::implant();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let span = (at("2026-03-02T09:00:00Z"), at("2026-03-02T12:00:00Z"));
        let text = lifeline(&alert, span, &[]).into_string();
        // Half an hour of three, and 2 h 10 min from there.
        assert!(text.contains(r#"class="life" d="M167 6h722v8h-722z""#), "{text}");
        assert!(text.contains(r#"class="detected" d="M234 0V20""#) && !text.contains("blind"), "{text}");
        assert_eq!(lifeline(&alert, (span.0, span.0), &[]).into_string(), "");
    }
}
