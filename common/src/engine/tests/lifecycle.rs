//! The life of a finding: told once, told again when there is news, closed when nothing more comes, one id all along.

use super::calls::{Calls, HOUR, MINUTE, secs};
use super::*;
use crate::alert::Change;

impl Calls {
    /// Lets time pass, as the live sensor does.
    fn tick(&mut self, at: i64) {
        self.engine.tick(secs(at), &mut |alert| self.emitted.push(alert));
    }

    fn changes(&self) -> Vec<Change> {
        self.emitted.iter().map(|alert| alert.change).collect()
    }
}

/// Every emission has the id of the finding, the next revision, and an id of its own.
fn is_one_finding(emitted: &[Alert]) {
    let mut ids = BTreeSet::new();
    for (nth, alert) in emitted.iter().enumerate() {
        assert_eq!(alert.id, emitted[0].id);
        assert_eq!(alert.revision as usize, nth + 1, "{alert:?}");
        assert!(ids.insert(alert.emission_id()), "{alert:?}");
    }
}

#[test]
fn it_is_told_once_and_again_at_doubled_counts_and_at_steps_of_severity() {
    let mut calls = Calls::new();
    calls.every(MINUTE, 0, 200);
    let told: Vec<_> =
        calls.emitted.iter().map(|alert| (alert.evidence.callbacks, alert.severity)).collect();
    assert_eq!(calls.emitted[0].change, Change::Created);
    let is_news = |pair: &[(u32, Severity)]| pair[1].0 >= 2 * pair[0].0 || pair[1].1 > pair[0].1;
    assert!(told.windows(2).all(is_news), "{told:?}");
    assert!(told.len() > 2 && told.len() < 10, "{told:?}");
    is_one_finding(&calls.emitted);
}

#[test]
fn one_that_goes_on_is_told_once_a_day_however_seldom_its_series_is_evaluated() {
    let mut calls = Calls::new();
    // Hourly: beyond 64 intervals it is evaluated every 64 hours only.
    for hour in 0..24 * 12 {
        calls.every(HOUR, hour * HOUR, 1);
        calls.tick(hour * HOUR + MINUTE);
    }
    is_one_finding(&calls.emitted);
    assert!(calls.changes()[1..].iter().all(|change| *change == Change::Updated), "{:?}", calls.changes());
    let times: Vec<_> = calls.emitted.iter().map(|alert| alert.time).collect();
    for pair in times.windows(2) {
        assert!(pair[1].since(pair[0]) <= (24 * HOUR + 2 * HOUR) * NANOS_PER_SEC, "{times:?}");
    }
    let latest = calls.emitted.last().unwrap();
    assert!(latest.time >= secs((24 * 12 - 26) * HOUR));
    assert!(latest.evidence.callbacks > 24 * 10, "it shows what is known now: {}", latest.evidence.callbacks);
}

#[test]
fn one_that_went_silent_is_closed_once_and_goes_on_under_its_id_when_it_comes_back() {
    let mut calls = Calls::new();
    calls.every(MINUTE, 0, 60);
    calls.tick(HOUR);
    let told = calls.emitted.len();
    for hour in 1..24 {
        calls.tick(hour * HOUR);
    }
    assert_eq!(calls.emitted.len(), told, "a day of silence has not gone by");
    for hour in 25..80 {
        calls.tick(hour * HOUR);
    }
    assert_eq!(calls.emitted.len(), told + 1, "{:?}", calls.changes());
    let closed = calls.emitted[told].clone();
    assert_eq!(closed.change, Change::Closed);
    assert_eq!(closed.evidence.last_seen, secs(59 * MINUTE));
    assert_eq!(closed.time, secs(25 * HOUR));
    // Saved and restored it stays closed.
    let mut bytes = Vec::new();
    calls.engine.save(&mut bytes);
    calls.engine = Engine::restore(&bytes, 1 << 20).unwrap();
    calls.tick(90 * HOUR);
    assert_eq!(calls.emitted.len(), told + 1);
    // It comes back.
    calls.every(MINUTE, 100 * HOUR, 140);
    assert_eq!(calls.emitted[told + 1].change, Change::Updated);
    is_one_finding(&calls.emitted);
}

#[test]
fn a_slow_beacon_is_waited_for_as_long_as_its_calls_are_apart() {
    let mut calls = Calls::new();
    calls.every(8 * HOUR, 0, 40);
    let told = calls.emitted.len();
    assert!(told > 0);
    let last = 39 * 8;
    for hour in 1..63 {
        calls.tick((last + hour) * HOUR);
    }
    assert!(!calls.changes().contains(&Change::Closed), "{:?}", calls.changes());
    calls.tick((last + 66) * HOUR);
    assert_eq!(calls.changes().last(), Some(&Change::Closed));
}

#[test]
fn what_is_held_back_is_not_told_when_it_goes_silent() {
    let mut calls = Calls::new();
    calls.every(MINUTE, 0, 60);
    let told = calls.emitted.len();
    calls.engine.allow(super::suppressed::draft("/tmp/.x/upd", None)).unwrap();
    calls.tick(30 * HOUR);
    calls.tick(60 * HOUR);
    assert_eq!(calls.emitted.len(), told, "{:?}", calls.changes());
}
