//! What went either way with each of the latest callbacks: up is sent, down is received, on one logarithmic scale. Implants that
//! wait show as a comb; work shows as a tooth that stands out.

use maud::{Markup, html};
use sonde_common::human;

use super::{Path, WIDTH, plane, units};

/// Half of the plane's height.
const HALF: f64 = 100.0;
/// Least and most places, so that a few bars are not as wide as walls.
const PLACES: (usize, usize) = (12, 24);

/// How tall a size is, of a plane in which `most` is nearly all.
fn tall(bytes: u64, most: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a length in a picture")]
    let log = |bytes: u64| (bytes as f64 + 1.0).ln();
    if bytes == 0 { 0.0 } else { (log(bytes) / log(most.max(1)) * (HALF - 6.0)).max(2.0) }
}

/// Whether any size is known.
pub(crate) fn are_known(sizes: &[Option<(u64, u64)>]) -> bool {
    sizes.iter().any(Option::is_some)
}

/// The sizes of the latest callbacks, oldest first.
pub(crate) fn sizes(sizes: &[Option<(u64, u64)>]) -> Markup {
    if !are_known(sizes) {
        return html! {};
    }
    let sizes = sizes.get(sizes.len().saturating_sub(PLACES.1)..).unwrap_or_default();
    let most = sizes.iter().flatten().map(|&(out, into)| out.max(into)).max().unwrap_or(0);
    let places = sizes.len().max(PLACES.0);
    let width = WIDTH / units(places);
    let (mut sent, mut received, mut unknown, mut ground) =
        (Path::default(), Path::default(), Path::default(), Path::default());
    for (index, size) in sizes.iter().enumerate() {
        let x = (units(index + places - sizes.len()) + 0.12) * width;
        match size {
            Some((out, into)) => {
                let (up, down) = (tall(*out, most), tall(*into, most));
                if up > 0.0 {
                    sent.bar(x, HALF - 1.0 - up, width * 0.76, up);
                }
                if down > 0.0 {
                    received.bar(x, HALF + 1.0, width * 0.76, down);
                }
            }
            None => unknown.stroke(x + width * 0.38, HALF - 5.0, HALF + 5.0),
        }
    }
    ground.level(HALF, 0.0, WIDTH);
    let shapes = html! {
        (ground.drawn("base")) (sent.drawn("sent")) (received.drawn("received")) (unknown.drawn("unknown"))
    };
    html! {
        div.chart.sizes aria-hidden="true" {
            (plane("plot", WIDTH, 2.0 * HALF, &shapes))
            ol.axis { li { "earlier" } li { "largest: " (human::bytes(most)) ", logarithmic" } li { "latest" } }
        }
        p.legend {
            span.key.sent { "sent" }
            span.key.received { "received" }
            @if !unknown.is_empty() { span.key.unknown { "not known" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_drawn_and_what_is_not_known_is_marked() {
        let text = sizes(&[Some((100, 0)), None, Some((5, 1_000_000))]).into_string();
        let bars = |class: &str| {
            text.split(&format!("class=\"{class}\" d=\""))
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .matches('z')
                .count()
        };
        assert_eq!((bars("sent"), bars("received")), (2, 1), "{text}");
        assert!(text.contains("976 KiB") && text.contains("class=\"unknown\""), "{text}");
        assert_eq!(sizes(&[None, None]).into_string(), "");
        assert!(!sizes(&[Some((u64::MAX, 0))]).into_string().contains("NaN"));
    }
}
