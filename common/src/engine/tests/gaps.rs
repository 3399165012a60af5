//! What a sensor that runs for months must get right: it stops, the machine sleeps, the clock is set.

use super::calls::{Calls, HOUR, MINUTE, secs};
use super::*;
use crate::live::GapCause;

#[test]
fn a_beacon_followed_over_a_restart_keeps_its_count_and_its_id() {
    let mut calls = Calls::new();
    calls.every(MINUTE, 0, 30);
    let before = calls.only();
    calls.gap(30 * MINUTE, 33 * MINUTE + 20, GapCause::Stopped);
    calls.every(MINUTE, 33 * MINUTE + 25, 40);
    let after = calls.only();
    assert_eq!((before.id, before.evidence.callbacks), (after.id, 30));
    assert_eq!(after.evidence.callbacks, 70);
    assert_eq!(after.evidence.first_seen, secs(0));
    assert_eq!((after.evidence.missed, after.evidence.gaps, after.evidence.gap_secs), (0, 1, 200));
    assert_eq!(calls.emitted.iter().filter(|alert| alert.revision == 1).count(), 1, "found once");
    assert!(!after.reason.contains("blind"), "200 s of more than an hour do not matter: {}", after.reason);
}

#[test]
fn a_beacon_on_a_machine_that_sleeps_every_night_is_scored() {
    let mut calls = Calls::new();
    for day in 0..20 {
        // Two calls in the morning, then it sleeps: no other interval of the day counts.
        let morning = day * 24 * HOUR;
        calls.every(HOUR, morning, 2);
        calls.gap(morning + HOUR + 60, morning + 24 * HOUR - 5, GapCause::Suspended);
    }
    let alert = calls.only();
    assert_eq!((alert.evidence.callbacks, alert.evidence.gaps), (40, 19));
    assert!((alert.evidence.period_secs - 3600.0).abs() < 2.0, "{:?}", alert.evidence);
    assert!(alert.evidence.histogram.high_secs < 2.0 * 3600.0, "no interval holds a night");
    assert!(alert.reason.contains("The sensor was blind 19 times in that time, for 18"), "{}", alert.reason);
    // The callbacks themselves are told with the nights between them.
    let recent = &alert.evidence.recent;
    assert_eq!(recent.len(), 40);
    assert!(recent.iter().zip(recent.iter().skip(1)).any(|(a, b)| b.since(*a) > 22 * HOUR * NANOS_PER_SEC));
}

#[test]
fn nights_alone_are_no_rhythm() {
    // One call a day at an odd time, and a night between any two: nothing is an interval.
    let mut calls = Calls::new();
    for day in 0..60 {
        calls.every(1, day * 24 * HOUR + day * day * 97 % (8 * HOUR), 1);
        calls.gap(day * 24 * HOUR + 8 * HOUR, day * 24 * HOUR + 24 * HOUR, GapCause::Suspended);
    }
    assert!(calls.emitted.is_empty() && calls.engine.alerts().next().is_none());
    // The same calls at the same time of day: a timer, but not one that was seen.
    let mut calls = Calls::new();
    for day in 0..60 {
        calls.every(1, day * 24 * HOUR, 1);
        calls.gap(day * 24 * HOUR + 60, day * 24 * HOUR + 23 * HOUR, GapCause::Stopped);
    }
    assert!(calls.emitted.is_empty());
}

/// A gap never makes regular what is not: irregular calls with gaps of any kind among them.
#[test]
fn a_gap_makes_nothing_regular() {
    let mut state = 7u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below).cast_signed()
    };
    for run in 0..40 {
        let mut calls = Calls::new();
        let mut time = 0;
        for _ in 0..120 {
            // From seconds to days, each as likely.
            time += 2 + (1 << draw(17)) + draw(1000);
            calls.every(1, time, 1);
            if draw(3) == 0 {
                calls.gap(time + 1, time + 1 + draw(5_000), GapCause::Suspended);
            }
        }
        assert!(calls.emitted.is_empty(), "run {run}: {:?}", calls.emitted);
    }
}

#[test]
fn a_clock_that_is_set_moves_what_is_known_and_throws_nothing_away() {
    let mut steady = Calls::new();
    steady.every(MINUTE, 0, 70);
    // Forward by three years (a clock that began in the past), back by one, and back by half an hour.
    for step in [3 * 365 * 24 * HOUR, -365 * 24 * HOUR, -1800] {
        let mut calls = Calls::new();
        calls.every(MINUTE, 0, 30);
        let before = calls.only();
        calls.gap(30 * MINUTE, 30 * MINUTE + step, GapCause::ClockSet);
        calls.every(MINUTE, 30 * MINUTE + step + 20, 40);
        let after = calls.only();
        assert_eq!((after.id, after.evidence.callbacks, after.evidence.gaps), (before.id, 70, 1), "{step}");
        assert_eq!(after.evidence.first_seen, secs(step), "{step}");
        assert_eq!(after.detected, before.detected.map(|time| time.plus_nanos(step * NANOS_PER_SEC)));
        assert!(after.evidence.histogram.high_secs < 120.0, "{step}: the step is no interval");
        // A name learnt before the step holds after it.
        assert_eq!(after.destination.fqdn, "c2.example", "{step}");
        // Nothing is emitted anew for the day that did not go by.
        assert_eq!(calls.emitted.len(), steady.emitted.len(), "{step}");
    }
}

#[test]
fn exchanges_queries_and_groups_have_no_interval_around_a_gap_either() {
    let mut calls = Calls::new();
    for (from, count) in [(0, 30), (2 * HOUR, 30)] {
        calls.exchanges(MINUTE, from, count);
        calls.queries(MINUTE, from, count);
        calls.rotation(MINUTE, from, count);
        calls.gap(from + 30 * MINUTE, from + 2 * HOUR - 10, GapCause::Suspended);
    }
    let mut levels: Vec<_> = calls
        .engine
        .series()
        .into_iter()
        .map(|row| (row.evidence.level, row.evidence.gaps, row.evidence.histogram.high_secs < 300.0))
        .collect();
    levels.sort_unstable();
    levels.dedup();
    for level in [Level::Group, Level::Exchange, Level::Dns] {
        assert!(levels.contains(&(level, 1, true)), "{level:?}: {levels:?}");
    }
    assert!(levels.iter().all(|(_, gaps, short)| *gaps == 1 && *short), "{levels:?}");
}
