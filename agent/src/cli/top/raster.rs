//! The latest callbacks as a raster of characters: a row for so many seconds, minutes or hours, a mark for each callback. A
//! beacon shows as columns or slanting lines, a person at work as clusters.

use sonde_common::explain::facts::seconds;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::super::output::Style;
use super::super::output::finding::bars::level;

/// Lengths of a row, in seconds: those that a clock has.
const LENGTHS: [i64; 13] =
    [10, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_419_200, YEAR];
const DAY: i64 = 86_400;
const YEAR: i64 = 31_449_600;

/// The rows of a raster: when each begins, and its marks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Raster {
    pub(super) rows: Vec<(String, String)>,
    /// Seconds in a row.
    pub(super) length: i64,
}

/// At most so many rows of so many columns; the shortest rows that will do. Where even the longest do not, the latest are
/// shown.
pub(super) fn raster(times: &[Timestamp], most: usize, columns: usize, style: Style) -> Option<Raster> {
    let (first, last) = (times.iter().min()?, times.iter().max()?);
    let most = i64::try_from(most).ok().filter(|&most| most > 0)?;
    let width = i64::try_from(columns).ok().filter(|&columns| columns > 0)?;
    let row_of = |time: &Timestamp, length: i64| time.nanos().div_euclid(NANOS_PER_SEC).div_euclid(length);
    let needed = |length: i64| row_of(last, length) - row_of(first, length) + 1;
    let length = LENGTHS.into_iter().find(|&length| needed(length) <= most).unwrap_or(YEAR);
    let end = row_of(last, length);
    let begin = end - needed(length).min(most) + 1;
    let count = usize::try_from(end - begin + 1).unwrap_or(0);
    let mut counts = vec![vec![0usize; columns]; count];
    for time in times {
        let within = time.nanos().rem_euclid(length * NANOS_PER_SEC);
        // In 128 bits: nanoseconds of a year times columns are more than 64 hold.
        let at = i128::from(within) * i128::from(width) / i128::from(length * NANOS_PER_SEC);
        let row = usize::try_from(row_of(time, length) - begin).ok().and_then(|row| counts.get_mut(row));
        if let Some(cell) = row.and_then(|row| row.get_mut(usize::try_from(at).ok()?)) {
            *cell += 1;
        }
    }
    let rows = (begin..=end).zip(counts).map(|(row, counts)| {
        let name = name(Timestamp::from_secs_nanos(row.saturating_mul(length), 0), length);
        (name, counts.into_iter().map(|count| level(count, style)).collect())
    });
    Some(Raster { rows: rows.collect(), length })
}

/// When a row begins: its date where rows are days, else its time.
fn name(begin: Timestamp, length: i64) -> String {
    let text = seconds(begin);
    let (skip, take) = match length {
        ..60 => (11, 8),
        60..3_600 => (11, 5),
        3_600..DAY => (5, 11),
        _ => (0, 10),
    };
    text.chars().skip(skip).take(take).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Style = Style { width: 80, color: false, unicode: true };

    fn every(secs: i64, count: i64) -> Vec<Timestamp> {
        // 2024-03-01 10:00:00.
        (0..count).map(|at| Timestamp::from_secs_nanos(1_709_287_200 + at * secs, 0)).collect()
    }

    #[test]
    fn a_beacon_stands_in_columns() {
        let raster = raster(&every(20, 12), 5, 30, UNICODE).unwrap();
        let row = "·         ·         ·         ".to_owned();
        let names = ["10:00", "10:01", "10:02", "10:03"];
        assert_eq!(raster.rows, names.map(|name| (name.to_owned(), row.clone())));
        assert_eq!(raster.length, 60);
    }

    #[test]
    fn rows_are_as_short_as_the_room_allows_and_the_latest_are_kept() {
        assert_eq!(raster(&every(60, 60), 6, 40, UNICODE).unwrap().length, 600);
        assert_eq!(raster(&every(60, 60), 1, 40, UNICODE).unwrap().length, 3_600);
        let long = every(86_400 * 3, 65);
        let few = raster(&long, 2, 10, UNICODE).unwrap();
        assert!(few.rows.len() <= 2, "{few:?}");
        assert!(raster(&long, 0, 10, UNICODE).is_none() && raster(&[], 5, 10, UNICODE).is_none());
    }

    #[test]
    fn times_at_the_ends_of_time_break_nothing() {
        let ends = [Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX)];
        let drawn = raster(&ends, 4, 60, UNICODE).unwrap();
        assert!(drawn.rows.len() <= 4);
        assert!(drawn.rows.last().unwrap().1.contains('·'), "the latest is shown: {drawn:?}");
    }
}
