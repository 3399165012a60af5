//! The waterfall of a score: from how rare implants are, part by part, to the points in all, across the lines at which
//! severities begin. It is a table, in which each row has its bar.

use maud::{Markup, html};
use sonde_common::alert::{Alert, ScorePart};
use sonde_common::explain::facts::cut;

use super::{Path, WIDTH, plane, ratio, thresholds};
use crate::told::Told;

/// Height of a row's plane.
const HEIGHT: f64 = 20.0;
/// Room left and right of the bars, as a part of what they take.
const MARGIN: f64 = 0.04;

/// The parts in the order in which they add up: what is given first, then what speaks for it, then what speaks against it.
fn ordered(alert: &Alert) -> Vec<&ScorePart> {
    let mut parts: Vec<_> = alert.parts.iter().collect();
    parts.sort_by_key(|part| match part.name.as_ref() {
        "base" => 0,
        "regularity" => 1,
        "unknown" => 3,
        _ if part.points < 0.0 => 4,
        _ => 2,
    });
    parts
}

/// The table.
pub(crate) fn waterfall(alert: &Alert) -> Markup {
    let parts = ordered(alert);
    let mut sums = vec![0.0];
    for part in &parts {
        let before = sums.last().copied().unwrap_or(0.0);
        sums.push(before + if part.points.is_finite() { part.points } else { 0.0 });
    }
    let lines = thresholds();
    let ends = || sums.iter().copied().chain(lines.iter().map(|(points, _)| *points));
    let (low, high) = (ends().fold(0.0, f64::min), ends().fold(0.0, f64::max));
    let margin = (high - low) * MARGIN;
    let x = |points: f64| ratio(points, low - margin, high + margin) * WIDTH;
    let mut marks = Path::default();
    for (points, _) in lines {
        marks.stroke(x(points), 0.0, HEIGHT);
    }
    let ground = |shapes: Markup| html! { (marks.drawn("line")) (shapes) };
    let bar = |from: f64, to: f64, class: &str| {
        let (left, right) = (x(from.min(to)), x(from.max(to)));
        let mut bar = Path::default();
        bar.bar(left, 4.0, (right - left).max(2.0), HEIGHT - 8.0);
        plane("fall", WIDTH, HEIGHT, &ground(bar.drawn(class)))
    };
    let mut total = Path::default();
    total.stroke(x(alert.points), 0.0, HEIGHT);
    html! {
        table.waterfall {
            caption.vh { "Parts of the score" }
            thead { tr { th scope="col" { "Part" } th.num scope="col" { "Points" } th.picture scope="col" { span.vh { "As a bar" } } th scope="col" { "Why" } } }
            tbody {
                @for (part, sums) in parts.iter().zip(sums.windows(2)) {
                    @if let [from, to] = sums {
                        tr {
                            th scope="row" { (Told(&part.name.replace('_', " "))) }
                            td.num { (signed(part.points)) }
                            td.picture { (bar(*from, *to, if part.points < 0.0 { "less" } else { "more" })) }
                            td.why { (Told(&part.detail)) }
                        }
                    }
                }
            }
            tfoot {
                tr {
                    th scope="row" { "in all" }
                    td.num { (signed(alert.points)) }
                    td.picture { (plane("fall", WIDTH, HEIGHT, &ground(total.drawn("sum")))) }
                    td.why { "a score of " (format!("{:.2}", cut(alert.score))) }
                }
            }
        }
        p.legend {
            span.key.more { "speaks for it" }
            span.key.less { "speaks against it" }
            span.key.line { @for (index, (points, name)) in lines.iter().enumerate() { @if index > 0 { ", " } (name) " above " (signed(*points)) } }
        }
    }
}

/// Points with their sign, and a real minus.
pub(crate) fn signed(points: f64) -> String {
    format!("{points:+.2}").replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn every_part_has_its_row_and_its_bar() {
        let alert = samples::implant();
        let text = waterfall(&alert).into_string();
        for part in &alert.parts {
            assert!(
                text.contains(&signed(part.points)) && text.contains(&part.name.replace('_', " ")),
                "{text}"
            );
        }
        assert_eq!(
            text.matches("class=\"more\" d=").count() + text.matches("class=\"less\" d=").count(),
            alert.parts.len()
        );
        assert!(text.contains("+2.44") && text.contains("a score of 0.93"), "{text}");
    }

    #[test]
    fn what_is_given_comes_first() {
        let mut alert = samples::implant();
        alert.parts.push(ScorePart { name: "base".into(), points: -11.5, detail: String::new() });
        assert_eq!(ordered(&alert).first().map(|part| part.name.as_ref()), Some("base"));
        alert.parts.first_mut().unwrap().points = f64::NAN;
        assert!(!waterfall(&alert).into_string().contains("\"NaN"));
    }
}
