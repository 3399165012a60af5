//! The raster: a row for each minute, hour or day, and a stroke for each callback. A beacon shows as columns or slanting
//! lines, a person at work as clusters with nights between them.

use maud::{Markup, html};
use sonde_common::explain::facts::seconds;
use sonde_common::live::Gap;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::{Path, WIDTH, plane, units};
use crate::told::Told;

/// Height of a row.
const ROW: f64 = 20.0;
/// Most rows.
const MAX_ROWS: i64 = 14;
/// Lengths of a row in seconds, and into how many parts its axis is divided.
const LENGTHS: [(i64, i64); 13] = [
    (10, 5),
    (60, 4),
    (300, 5),
    (600, 5),
    (1_800, 6),
    (3_600, 6),
    (10_800, 6),
    (21_600, 6),
    (43_200, 6),
    (86_400, 8),
    (604_800, 7),
    (2_419_200, 4),
    (31_449_600, 4),
];
/// Most callbacks drawn between two that were seen, where some were missed.
const MAX_MISSED: f64 = 12.0;
const DAY: i64 = 86_400;
/// The epoch was a Thursday; rows of weeks begin on Mondays.
const WEEK_SHIFT: i64 = 3 * DAY;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Rows of one length.
struct Rows {
    /// Begin of the first, in seconds since the epoch.
    first: i64,
    length: i64,
    parts: i64,
    count: i64,
}

impl Rows {
    /// The shortest rows of which all callbacks need no more than [`MAX_ROWS`].
    fn of(first: Timestamp, last: Timestamp) -> Self {
        let (from, to) = (first.nanos().div_euclid(NANOS_PER_SEC), last.nanos().div_euclid(NANOS_PER_SEC));
        let rows = |(length, parts): (i64, i64)| {
            let shift = if length > DAY { WEEK_SHIFT } else { 0 };
            let begin = (from + shift).div_euclid(length) * length - shift;
            let count = (to - begin).div_euclid(length).saturating_add(1).max(1);
            Self { first: begin, length, parts, count }
        };
        let fits = LENGTHS.iter().copied().map(rows).find(|rows| rows.count <= MAX_ROWS);
        // Centuries: the last of them are not drawn.
        fits.unwrap_or(Self { count: MAX_ROWS, ..rows((31_449_600, 4)) })
    }

    fn end(&self) -> i64 {
        self.first + self.count * self.length
    }

    /// Where a moment lies: its row, and where in it.
    fn place(&self, nanos: i64) -> Option<(f64, f64)> {
        let offset = nanos.checked_sub(self.first.checked_mul(NANOS_PER_SEC)?)?;
        let length = self.length.checked_mul(NANOS_PER_SEC)?;
        let (row, within) = (offset.div_euclid(length), offset.rem_euclid(length));
        #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
        let place = (row as f64, within as f64 / length as f64 * WIDTH);
        (0..self.count).contains(&row).then_some(place)
    }

    /// The parts of rows from one moment to another, as rectangles.
    fn shade(&self, from: i64, to: i64, path: &mut Path) {
        for row in 0..self.count {
            let begin = self.first + row * self.length;
            let (from, to) = (from.max(begin), to.min(begin + self.length));
            if from < to {
                #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
                let at = |secs: i64| (secs - begin) as f64 / self.length as f64 * WIDTH;
                let top = units(usize::try_from(row).unwrap_or(0)) * ROW;
                path.bar(at(from), top + 1.0, at(to) - at(from), ROW - 2.0);
            }
        }
    }

    /// What a row is called: by its date where that is another than the row's before.
    fn names(&self) -> Vec<(String, String)> {
        let mut day = String::new();
        (0..self.count)
            .map(|row| {
                let begin = self.first + row * self.length;
                let text = seconds(Timestamp::from_secs_nanos(begin, 0));
                let date: String = text.chars().skip(5).take(5).collect();
                let weekday = usize::try_from(begin.div_euclid(DAY).rem_euclid(7)).unwrap_or(0);
                let weekday = WEEKDAYS.get(weekday).copied().unwrap_or_default();
                if self.length >= DAY {
                    return (String::new(), format!("{weekday} {date}"));
                }
                let clock: String =
                    text.chars().skip(11).take(if self.length < 60 { 8 } else { 5 }).collect();
                let shown = if date == day { String::new() } else { format!("{weekday} {date}") };
                day = date;
                (shown, clock)
            })
            .collect()
    }

    /// What stands below: the parts of a row.
    fn axis(&self) -> Vec<String> {
        let step = self.length / self.parts.max(1);
        (0..=self.parts)
            .map(|part| {
                let at = part * step;
                match self.length {
                    0..=60 => format!("{at} s"),
                    61..=3_600 => format!("{} min", at / 60),
                    3_601..=10_800 => format!("{}:{:02} h", at / 3_600, at / 60 % 60),
                    10_801..=DAY => format!("{} h", at / 3_600),
                    _ => format!("{} d", at / DAY),
                }
            })
            .collect()
    }
}

/// The raster of these callbacks, oldest first; `period` in seconds, 0 if none was found; `gaps` in which the sensor was
/// blind.
pub(crate) fn raster(callbacks: &[Timestamp], period: f64, gaps: &[Gap]) -> Markup {
    let (Some(first), Some(last)) = (callbacks.iter().min(), callbacks.iter().max()) else { return html! {} };
    let rows = Rows::of(*first, *last);
    let (mut strokes, mut missed, mut blind, mut before) =
        (Path::default(), Path::default(), Path::default(), Path::default());
    let stroke = |nanos: i64, path: &mut Path| {
        if let Some((row, x)) = rows.place(nanos) {
            path.stroke(x, row * ROW + 4.0, (row + 1.0) * ROW - 4.0);
        }
    };
    for time in callbacks {
        stroke(time.nanos(), &mut strokes);
    }
    for pair in callbacks.windows(2) {
        let [one, next] = pair else { continue };
        for nanos in between(*one, *next, period) {
            stroke(nanos, &mut missed);
        }
    }
    let secs = |time: Timestamp| time.nanos().div_euclid(NANOS_PER_SEC);
    for gap in gaps {
        rows.shade(secs(gap.since), secs(gap.until), &mut blind);
    }
    rows.shade(rows.first, secs(*first), &mut before);
    rows.shade(secs(*last) + 1, rows.end(), &mut before);
    let mut lines = Path::default();
    let count = usize::try_from(rows.count).unwrap_or(0);
    for row in 0..count {
        lines.level((units(row) + 0.5) * ROW, 0.0, WIDTH);
    }
    let mut parts = Path::default();
    for part in 0..=usize::try_from(rows.parts).unwrap_or(0) {
        let x = units(part) * WIDTH / units(usize::try_from(rows.parts).unwrap_or(1).max(1));
        parts.stroke(x, 0.0, units(count) * ROW);
    }
    let shapes = html! {
        (parts.drawn("part")) (before.drawn("before")) (blind.drawn("blind")) (lines.drawn("base"))
        (missed.drawn("missed")) (strokes.drawn("call"))
    };
    html! {
        div.raster aria-hidden="true" {
            ol.rows { @for (day, clock) in rows.names() { li { @if !day.is_empty() { b { (Told(&day)) } " " } (Told(&clock)) } } }
            (plane("plot", WIDTH, units(count) * ROW, &shapes))
            ol.axis { @for text in rows.axis() { li { (text) } } }
        }
        p.legend {
            span.key.call { "a callback" }
            @if !missed.is_empty() { span.key.missed { "expected, not seen" } }
            @if !blind.is_empty() { span.key.blind { "the sensor was blind" } }
            span.key.before { "before the first and after the last one drawn" }
        }
    }
}

/// When a steady period would have brought callbacks between two that were seen, if a whole number of them fits.
fn between(one: Timestamp, next: Timestamp, period: f64) -> Vec<i64> {
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    let interval = next.since(one) as f64 / 1e9;
    if period <= 0.0 || !interval.is_finite() {
        return Vec::new();
    }
    let times = (interval / period).round();
    let fits = (interval / period - times).abs() < 0.25;
    if !(2.0..=MAX_MISSED).contains(&times) || !fits {
        return Vec::new();
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and is drawn only within the rows")]
    let at = |part: f64| one.plus_nanos((interval * part / times * 1e9) as i64).nanos();
    std::iter::successors(Some(1.0), |part| Some(part + 1.0))
        .take_while(|part| *part < times)
        .map(at)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs_nanos(1_772_442_000 + secs, 0)
    }

    #[test]
    fn rows_are_as_long_as_they_have_to_be() {
        let length = |span: i64| {
            let rows = Rows::of(at(0), at(span));
            assert!((1..=MAX_ROWS).contains(&rows.count), "{span}: {}", rows.count);
            rows.length
        };
        assert_eq!(
            [0, 64 * 5, 64 * 60, 64 * 1860, 64 * 3600, 64 * 86_400].map(length),
            [10, 60, 300, 10_800, 21_600, 604_800]
        );
        assert_eq!(Rows::of(Timestamp::from_nanos(i64::MIN), Timestamp::MAX).count, MAX_ROWS);
    }

    #[test]
    fn each_callback_has_its_stroke_and_a_missing_one_its_ghost() {
        let calls: Vec<_> = (0..20).filter(|call| *call != 7).map(|call| at(call * 60)).collect();
        let text = raster(&calls, 60.0, &[]).into_string();
        let path = |class: &str| {
            let from = text.split(&format!("class=\"{class}\" d=\"")).nth(1).unwrap();
            from.split('"').next().unwrap().matches('M').count()
        };
        assert_eq!((path("call"), path("missed")), (19, 1));
        assert!(text.contains("expected, not seen") && !text.contains("blind"));
        let gap =
            Gap { since: at(300), until: at(500), cause: sonde_common::live::GapCause::Suspended, lost: 0 };
        assert!(raster(&calls, 60.0, &[gap]).into_string().contains("class=\"blind\""));
    }

    #[test]
    fn any_times_are_drawn() {
        for calls in [vec![], vec![at(0)], vec![Timestamp::from_nanos(i64::MIN), Timestamp::MAX]] {
            let text = raster(&calls, 60.0, &[]).into_string();
            assert!(!text.contains("NaN") && text.len() < 20_000, "{text}");
        }
        assert_eq!(between(at(0), at(1_000_000), 1.0), Vec::<i64>::new());
    }
}
