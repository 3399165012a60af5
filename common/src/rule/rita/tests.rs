//! RITA's scores: the published unit vectors, and the shape of the windows.

use proptest::prelude::*;

use super::parts::{by_heights, by_variation};
use super::spread::{Runs, spread};
use super::*;
use crate::rule::record::{all_csv, all_ndjson};

/// 2023-01-05T18:48:42Z, in the middle of an hour.
const NEWEST: i64 = 1_672_944_522;

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs_nanos(second, 913_119_000)
}

fn row(second: i64, bytes: u64) -> RitaRow<'static> {
    RitaRow { time: at(second), source: "10.0.0.5", destination: "c2.example", bytes: Some(bytes) }
}

fn run<'a>(rows: impl IntoIterator<Item = RitaRow<'a>>) -> Vec<RitaUnit> {
    let mut rita = Rita::new(at(NEWEST));
    for row in rows {
        rita.add(&row);
    }
    assert!(rita.lost().is_none());
    rita.finish()
}

/// Times with these intervals, ending at the newest.
fn spaced(intervals: &[i64]) -> Vec<RitaRow<'static>> {
    let mut second = NEWEST - intervals.iter().sum::<i64>();
    let mut rows = vec![row(second, 100)];
    for interval in intervals {
        second += interval;
        rows.push(row(second, 100));
    }
    rows
}

fn sizes(sizes: impl IntoIterator<Item = u64>) -> u32 {
    let mut counts = BTreeMap::new();
    for size in sizes {
        *counts.entry(size).or_default() += 1;
    }
    size_score(&counts)
}

fn bins(used: &[(usize, u32)]) -> [u32; BINS] {
    let mut bins = [0; BINS];
    for &(bin, count) in used {
        bins[bin] = count;
    }
    bins
}

#[test]
fn the_published_vectors_of_timestamps_are_met() {
    for (intervals, score) in [
        (vec![60; 12], 1.0),
        (vec![98, 99, 100, 101, 102], 0.995),
        ((0..12).map(|n| if n % 2 == 0 { 98 } else { 300 }).collect(), 0.746),
        (vec![60, 60], 0.0),
    ] {
        let units = run(spaced(&intervals));
        assert_eq!(units.first().map_or(0.0, |unit| unit.ts_score), score, "{intervals:?}");
    }
}

#[test]
fn the_published_vectors_of_sizes_are_met() {
    assert_eq!(sizes(1..=10), 773);
    assert_eq!(sizes([0; 8]), 500);
    assert_eq!(sizes([1_000; 357]), 1_000);
    // Quartiles 100 and 300, median 150, MAD 50: skew 0.5, evenness 0.667.
    assert_eq!(sizes([100, 100, 150, 300, 300]), 584);
    assert_eq!(sizes([]), 0, "no size is known");
}

/// Six hours of 24 in use, over the whole day: as RITA's own test has it for a benign destination behind a proxy, where the
/// histogram says nothing and the duration is complete.
#[test]
fn six_connections_of_a_day_have_a_duration_and_no_histogram() {
    let offsets = [-87_300, -78_000, -70_000, -13_000, -9_000, 0];
    let units = run(offsets.into_iter().map(|offset| row(NEWEST + offset, 100)));
    assert_eq!((units[0].hist_score, units[0].dur_score, units[0].connections), (0.0, 1.0, 6));
    let without_the_first = run(offsets.into_iter().skip(1).map(|offset| row(NEWEST + offset, 100)));
    assert_eq!(without_the_first[0].dur_score, 0.0);
}

#[test]
fn connections_count_from_the_hour_in_which_the_last_day_begins() {
    let hour = 1_672_855_200;
    assert_eq!((hour + 24 * 3_600) / 3_600, NEWEST / 3_600);
    for (second, counted) in
        [(hour - 1, 4), (hour, 5), (NEWEST - WINDOW_SECS, 5), (NEWEST, 5), (NEWEST + 1, 4), (i64::MIN, 4)]
    {
        let rows = spaced(&[600; 3]).into_iter().map(|mut row| {
            row.time = at(second_before(row.time));
            row
        });
        let units = run(rows.chain([row(second, 100)]));
        assert_eq!(units[0].connections, counted, "{second}");
    }
}

/// A minute earlier, so that the newest second is free.
fn second_before(time: Timestamp) -> i64 {
    second(time) - 60
}

#[test]
fn what_comes_before_the_last_24_hours_is_in_the_first_hour() {
    let mut rita = Rita::new(at(NEWEST));
    for second in [NEWEST - WINDOW_SECS - 2_000, NEWEST - WINDOW_SECS, NEWEST - WINDOW_SECS + 3_600, NEWEST] {
        rita.add(&row(second, 1));
    }
    let (_, unit) = rita.units.iter().next().unwrap();
    assert_eq!(unit.bins, bins(&[(0, 2), (1, 1), (23, 1)]));
}

#[test]
fn fewer_than_four_different_seconds_are_not_scored() {
    assert!(run(spaced(&[60, 60])).is_empty());
    assert!(run(spaced(&[60, 60, 0, 0, 0])).is_empty());
    let units = run(spaced(&[60, 60, 60, 0, 0]));
    assert_eq!((units[0].connections, units[0].ts_score), (6, 1.0), "connections of one second are one time");
}

#[test]
fn even_hours_score_by_their_variation_and_uneven_ones_by_their_heights() {
    assert_eq!(by_variation(&[15; BINS]), 1_000);
    assert_eq!(by_variation(&bins(&[(3, 9)])), 0);
    assert_eq!(by_variation(&[0; BINS]), 0);
    // Two heights, one an hour on, one an hour off: 1 - 1/3.
    let two: Vec<_> = (0..BINS).map(|bin| (bin, if bin % 2 == 0 { 10 } else { 20 })).collect();
    assert_eq!(histogram_score(&bins(&two)), 1_000);
    assert_eq!(by_variation(&bins(&two)), 667);
    // Eleven hours with three heights: (5 + 4) of 10.
    let three: Vec<_> = (0..11)
        .map(|bin| {
            (
                bin,
                if bin < 5 {
                    20
                } else if bin < 9 {
                    100
                } else {
                    60
                },
            )
        })
        .collect();
    assert_eq!(by_heights(&bins(&three)), 900);
    assert_eq!(by_heights(&bins(&three[..10])), 0, "ten hours are too few");
    // 100 and 101 share a step of 5 % of the tallest, which is 6.
    assert_eq!(
        by_heights(&bins(&(0..12).map(|bin| (bin, if bin < 6 { 100 } else { 101 })).collect::<Vec<_>>())),
        1_000
    );
}

#[test]
fn a_duration_is_covered_by_its_ends_or_by_an_unbroken_run() {
    let hours = |hours: &[usize]| bins(&hours.iter().map(|&hour| (hour, 1)).collect::<Vec<_>>());
    for (used, times, score) in [
        (&[0, 1, 2, 3, 4][..], &[0, 86_400][..], 0),
        (&[0, 1, 2, 3, 4, 5], &[0, 21_600], 500),
        (&[0, 1, 2, 3, 4, 5], &[0, 86_400], 1_000),
        (&[0, 4, 8, 12, 16, 20], &[0, 72_000], 833),
        (&[22, 23, 0, 1, 2, 3, 9], &[0, 100], 500),
        (&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], &[0, 100], 1_000),
        (&[0, 1, 2, 3, 4, 5], &[0, 90_000], 1_000),
    ] {
        assert_eq!(duration_score(&hours(used), times), score, "{used:?}");
    }
}

#[test]
fn a_regular_beacon_of_a_whole_day_scores_one() {
    let units = run(spaced(&[60; 1_440]));
    assert_eq!(
        units,
        [RitaUnit {
            source: "10.0.0.5".to_owned(),
            destination: "c2.example".to_owned(),
            connections: 1_441,
            score: 1.0,
            ts_score: 1.0,
            ds_score: 1.0,
            dur_score: 1.0,
            hist_score: 1.0,
            first_seen: at(NEWEST - 86_400),
            last_seen: at(NEWEST),
            bytes_out: 144_100,
        }]
    );
}

#[test]
fn the_highest_score_comes_first_then_the_most_connections_then_by_name() {
    let named = |source: &'static str, destination: &'static str, intervals: &[i64]| {
        spaced(intervals)
            .into_iter()
            .map(move |row| RitaRow { source, destination, ..row })
            .collect::<Vec<_>>()
    };
    let rows = [
        named("b", "x", &[60; 5]),
        named("a", "y", &[60; 5]),
        named("a", "x", &[60; 5]),
        named("c", "x", &[60; 6]),
        named("d", "x", &[10, 300, 2_000, 40, 900]),
        named("e", "x", &[60; 1_440]),
    ];
    let units = run(rows.into_iter().flatten());
    let order: Vec<_> = units.iter().map(|unit| format!("{}{}", unit.source, unit.destination)).collect();
    assert_eq!(order, ["ex", "cx", "ax", "ay", "bx", "dx"]);
}

#[test]
fn source_and_destination_are_not_run_together() {
    let mut rows = spaced(&[60; 4]);
    rows.extend(spaced(&[60; 4]).into_iter().map(|row| RitaRow {
        source: "10.0.0.5c",
        destination: "2.example",
        ..row
    }));
    assert_eq!(run(rows).len(), 2);
}

#[test]
fn csv_and_ndjson_have_rounded_scores() {
    let units = run(spaced(&[98, 99, 100, 101, 102]));
    let (mut csv, mut json) = (Vec::new(), Vec::new());
    all_csv(&units, &mut csv);
    all_ndjson(&units, &mut json);
    assert_eq!(
        String::from_utf8(csv).unwrap(),
        "source,destination,connections,score,ts_score,ds_score,dur_score,hist_score,first_seen,last_seen,bytes_out\n\
         10.0.0.5,c2.example,6,0.499,0.995,1,0,0,2023-01-05T18:40:22.913119000Z,2023-01-05T18:48:42.913119000Z,600\n"
    );
    assert!(
        json.starts_with(
            br#"{"source":"10.0.0.5","destination":"c2.example","connections":6,"score":0.499,"#
        )
    );
}

#[test]
fn a_flood_of_destinations_times_and_sizes_stays_within_the_limits() {
    let limits = Limits { groups: 100, bytes: 1 << 18 };
    let mut rita = Rita::with_limits(at(NEWEST), limits);
    let names: Vec<String> = (0..1_000).map(|n| format!("{n}.example")).collect();
    for (n, name) in (0i64..).zip(names.iter().cycle().take(200_000)) {
        let second = NEWEST - n % WINDOW_SECS;
        rita.add(&RitaRow { destination: name, ..row(second, n.unsigned_abs()) });
    }
    assert_eq!(rita.units(), 100);
    assert!(rita.lost().rows > 0 && rita.lost().details > 0);
    let kept: usize = rita.units.iter().map(|(_, unit)| unit.sizes.len() * SIZE_BYTES).sum();
    assert!(kept <= limits.bytes);
}

#[test]
fn both_ends_of_time_and_of_sizes_do_no_harm() {
    for newest in [i64::MIN, 0, i64::MAX] {
        let mut rita = Rita::new(Timestamp::from_nanos(newest));
        for n in 0..40 {
            for time in [i64::MIN, 0, i64::MAX] {
                let nudge = n * NANOS_PER_SEC;
                rita.add(&RitaRow {
                    time: Timestamp::from_nanos(time.saturating_add(nudge)),
                    bytes: Some(u64::MAX),
                    ..row(0, 0)
                });
                rita.add(&RitaRow {
                    time: Timestamp::from_nanos(time.saturating_sub(nudge)),
                    bytes: None,
                    ..row(0, 0)
                });
            }
        }
        for unit in rita.finish() {
            assert!((0.0..=1.0).contains(&unit.score), "{unit:?}");
        }
    }
}

/// The spread of a list by the definition: sorted, halved, and the medians of both.
fn by_definition(list: &[u64], when_tiny: u32) -> f64 {
    let median = |list: &[f64]| match list.len() {
        0 => 0.0,
        n if n % 2 == 1 => list[n / 2],
        n => (list[n / 2 - 1] + list[n / 2]) / 2.0,
    };
    let mut list: Vec<f64> = list.iter().map(|&number| number as f64).collect();
    list.sort_by(f64::total_cmp);
    let half = list.len() / 2;
    let (q1, q2, q3) = (median(&list[..half]), median(&list), median(&list[list.len() - half..]));
    let skew = if q3 - q1 < 10.0 || q2 == q1 || q2 == q3 { 0.0 } else { (q1 + q3 - 2.0 * q2) / (q3 - q1) };
    let mut distances: Vec<f64> = list.iter().map(|number| (number - q2).abs()).collect();
    distances.sort_by(f64::total_cmp);
    let even = if q2 < 1.0 { f64::from(when_tiny) / 1e3 } else { ((q2 - median(&distances)) / q2).max(0.0) };
    let round = |share: f64| (share * 1e3).round();
    (((1e3 - round(skew.abs())) + round(even)) / 2.0).round()
}

proptest! {
    #[test]
    fn counted_numbers_spread_as_a_sorted_list_does(
        list in proptest::collection::vec(prop_oneof![0u64..40, 0u64..5_000], 1..60),
    ) {
        let mut counts = BTreeMap::new();
        for &number in &list {
            *counts.entry(number).or_default() += 1;
        }
        for when_tiny in [0, 1_000] {
            prop_assert_eq!(f64::from(spread(&Runs::new(counts.clone()), when_tiny)), by_definition(&list, when_tiny));
        }
    }

    #[test]
    fn any_rows_in_any_order_score_alike_and_within_bounds(
        rows in proptest::collection::vec((-90_000i64..10, 0u64..3_000, 0u8..3), 0..200),
    ) {
        let names = ["a.example", "b.example", "198.51.100.1"];
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(second, bytes, name)| RitaRow {
                destination: names[usize::from(name)],
                ..row(NEWEST + second, bytes)
            })
            .collect();
        let units = run(rows.iter().copied());
        let mut sorted = rows;
        sorted.sort_by_key(|row| row.time);
        prop_assert_eq!(&units, &run(sorted));
        for unit in units {
            for score in [unit.score, unit.ts_score, unit.ds_score, unit.hist_score, unit.dur_score] {
                prop_assert!((0.0..=1.0).contains(&score));
            }
        }
    }
}
