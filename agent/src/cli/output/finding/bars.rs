//! Figures as bars: the score, the parts of it, and when the callbacks came.

use sonde_common::time::Timestamp;

use super::super::Style;

/// Eighths of a column, from one to all.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/// How full a column of the timeline is.
const LEVELS: [char; 4] = ['·', '▪', '■', '█'];
const ASCII_LEVELS: [char; 4] = ['.', ':', '+', '#'];

/// A ratio of 0 to 1 as a bar of so many columns, full or empty.
pub(in crate::cli) fn gauge(ratio: f64, columns: usize, style: Style) -> String {
    let (full, empty) = if style.unicode { ('█', '░') } else { ('#', '.') };
    let filled = eighths(ratio, columns) / 8;
    (0..columns).map(|column| if column < filled { full } else { empty }).collect()
}

/// A ratio of 0 to 1 as a bar of at most so many columns; to an eighth of a column where the terminal can show it.
pub(in crate::cli) fn bar(ratio: f64, columns: usize, style: Style) -> String {
    let eighths = eighths(ratio, columns);
    if !style.unicode {
        return "#".repeat(eighths.div_ceil(8));
    }
    let mut bar = "█".repeat(eighths / 8);
    bar.extend((eighths % 8).checked_sub(1).and_then(|part| EIGHTHS.get(part)));
    bar
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a ratio of some hundred columns; a cast of what is no number gives none"
)]
fn eighths(ratio: f64, columns: usize) -> usize {
    (ratio.clamp(0.0, 1.0) * (columns * 8) as f64).round() as usize
}

/// Moments on an axis of so many columns from the first to the last: how many fall into each.
pub(in crate::cli) fn timeline(times: &[Timestamp], columns: usize, style: Style) -> String {
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return String::new() };
    let span = u128::from(last.since(*first).unsigned_abs());
    if span == 0 || columns == 0 {
        return String::new();
    }
    let mut counts = vec![0usize; columns];
    for time in times {
        let at = u128::from(time.since(*first).unsigned_abs()) * (columns as u128 - 1) / span;
        if let Some(count) = usize::try_from(at).ok().and_then(|at| counts.get_mut(at)) {
            *count += 1;
        }
    }
    counts.into_iter().map(|count| level(count, style)).collect()
}

/// What stands for so many moments in one column.
pub(in crate::cli) fn level(count: usize, style: Style) -> char {
    let levels = if style.unicode { LEVELS } else { ASCII_LEVELS };
    match count {
        0 => ' ',
        count => levels.get(count - 1).or(levels.last()).copied().unwrap_or(' '),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Style = Style { width: 80, color: false, unicode: true };
    const ASCII: Style = Style { width: 80, color: false, unicode: false };

    #[test]
    fn bars_are_as_long_as_their_ratio() {
        assert_eq!(gauge(0.5, 10, UNICODE), "█████░░░░░");
        assert_eq!(gauge(0.99, 10, ASCII), "#########.", "full only if it is");
        assert_eq!(bar(0.55, 10, UNICODE), "█████▌");
        assert_eq!(bar(0.01, 10, ASCII), "#");
        assert_eq!((bar(0.0, 10, UNICODE), bar(f64::NAN, 10, UNICODE)), (String::new(), String::new()));
        assert_eq!(bar(7.0, 4, UNICODE), "████");
    }

    #[test]
    fn a_timeline_shows_gaps_and_clusters() {
        let at = |secs: i64| Timestamp::from_secs_nanos(secs, 0);
        assert_eq!(timeline(&[at(0), at(10), at(20), at(90)], 10, UNICODE), "···      ·");
        assert_eq!(timeline(&[at(0), at(0), at(0), at(0), at(0), at(9)], 10, ASCII), "#        .");
        assert_eq!(timeline(&[at(5)], 10, UNICODE), "", "one moment is no line");
        assert_eq!(timeline(&[], 10, UNICODE), "");
    }
}
