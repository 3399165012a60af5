//! A sensor without history learns what is usual, and says what it does not know yet.

use super::calls::{Calls, HOUR, MINUTE, secs};
use super::*;
use crate::config::Config;
use crate::event::HostFacts;

const DAY: i64 = 24 * HOUR;

/// A live sensor's host, watched from the beginning.
fn watched() -> Calls {
    let mut calls = Calls::new();
    calls.tell(-9, Event::Host(HostFacts { history: false, observed_since: secs(-9) }));
    calls
}

/// Someone asks for names every half hour.
fn usual(calls: &mut Calls, from: i64, until: i64) {
    for nth in 0..(until - from) / (30 * MINUTE) {
        calls.query_for(from + nth * 30 * MINUTE, "www.usual.example", "192.0.2.9".parse().unwrap());
    }
}

fn part(alert: &Alert, name: &str) -> Option<f64> {
    alert.parts.iter().find(|part| part.name == name).map(|part| part.points)
}

#[test]
fn an_alert_while_learning_says_for_how_long_the_host_was_watched() {
    let mut calls = watched();
    usual(&mut calls, 0, 3 * HOUR);
    calls.every(MINUTE, 3 * HOUR, 30);
    let alert = &calls.emitted[0];
    assert!(alert.missing.iter().any(|what| what == "history of the destination"), "{:?}", alert.missing);
    let watched = alert.missing.last().unwrap();
    assert!(watched.starts_with("what is usual here (watched for 3 h"), "{watched}");
    assert_eq!(part(alert, "new_destination"), None);
    let listed = calls.only();
    let watched = listed.missing.last().unwrap();
    assert!(watched.starts_with("what is usual here (watched for 3 h"), "{watched}");
}

#[test]
fn what_comes_after_the_learning_period_is_new_and_a_restart_forgets_nothing() {
    let mut calls = watched();
    usual(&mut calls, 0, 8 * DAY);
    let mut bytes = Vec::new();
    calls.engine.save(&mut bytes);
    calls.engine = Engine::restore(&bytes, 1 << 20).unwrap();
    calls.exchanges(MINUTE, 8 * DAY, 30);
    let alert = calls.only();
    assert_eq!(part(&alert, "new_destination"), Some(0.75), "{:?}", alert.parts);
    assert!(alert.missing.iter().all(|what| !what.contains("usual here") && !what.contains("history")));
}

#[test]
fn without_a_learning_period_all_is_new_at_once() {
    let mut calls = watched();
    let config = Config::parse("[learning]\nperiod_days = 0", &[]).unwrap();
    calls.engine.set_knowledge(&Arc::new(Knowledge::of(&config)), &mut |_| {});
    calls.exchanges(MINUTE, 0, 30);
    assert_eq!(part(&calls.only(), "new_destination"), Some(0.75));
}

#[test]
fn a_source_with_a_history_is_believed_and_nothing_is_learnt_beside_it() {
    let mut calls = Calls::new();
    calls.tell(-8, Event::Host(HostFacts { history: true, observed_since: secs(-8) }));
    calls.tell(-7, Event::KnownDestination { name: "c2.example", age_days: 30.0 });
    let before = calls.engine.memory_bytes();
    usual(&mut calls, 0, 9 * DAY);
    calls.every(MINUTE, 9 * DAY, 30);
    assert_eq!(part(&calls.only(), "new_destination"), None);
    assert!(!calls.only().missing.iter().any(|what| what == "history of the destination"));
    assert_eq!(calls.engine.judge.scope.learned.watched_secs(secs(9 * DAY)), 0, "{before}");
}
