//! Hints of a fleet move a rank by a bounded weight, for as long as they hold, and nothing else.

use std::sync::Arc;

use super::calls::{Calls, MINUTE, secs};
use super::*;
use crate::alert::Class;
use crate::feed::{self, Builder, Indicator, Note};
use crate::hints::weigh::MAX_POINTS;
use crate::hints::{Document, Entry, KeyId, Subject, Table};
use crate::process::ImageLocation;

/// An issue of a fleet of 500 hosts, which expires at `expires`.
pub(super) fn hints(entries: &[(Subject, u32)], expires: i64) -> Arc<Table> {
    let mut entries: Vec<_> =
        entries.iter().map(|(subject, hosts)| Entry { subject: subject.clone(), hosts: *hosts }).collect();
    entries.sort_by(|a, b| a.subject.cmp(&b.subject));
    let document =
        Document { serial: 1, shard: 0, of: 1, made: secs(-60), expires: secs(expires), hosts: 500, entries };
    Arc::new(Table::of(KeyId::default(), [document].iter()))
}

fn common() -> [(Subject, u32); 2] {
    [(Subject::Name("c2.example".into()), 500), (Subject::Domain("c2.example".into()), 500)]
}

fn rare() -> [(Subject, u32); 2] {
    [
        (Subject::Domain("c2.example".into()), 1),
        (Subject::Rhythm { destination: "c2.example".into(), period_ms: 60_000 }, 3),
    ]
}

fn with(hints: Arc<Table>, feeds: Arc<crate::feed::Index>) -> Calls {
    let mut engine = Engine::new("h".into(), 1 << 20, (1, 2));
    let knowledge = Knowledge { hints, feeds, ..Knowledge::of(&Config::default()) };
    engine.set_knowledge(&Arc::new(knowledge), &mut |_| {});
    Calls::with(engine)
}

fn points(calls: &Calls) -> f64 {
    let row = calls.engine.series().into_iter().max_by_key(|row| row.evidence.callbacks).unwrap();
    assert!((row.parts.iter().map(|part| part.points).sum::<f64>() - row.points).abs() < 1e-9, "{row:?}");
    row.points
}

#[test]
fn hints_raise_and_lower_within_the_cap_and_say_so() {
    let run = |hints: Arc<Table>| {
        let mut calls = with(hints, Arc::default());
        calls.every(MINUTE, 0, 40);
        calls
    };
    let plain = run(Arc::default());
    let lower = run(hints(&common(), 86_400));
    let raised = run(hints(&rare(), 86_400));
    assert!((points(&lower) - points(&plain) + 0.5).abs() < 1e-9);
    assert!((points(&raised) - points(&plain) - MAX_POINTS).abs() < 1e-9);
    let alert = raised.only();
    assert!(
        alert.reason.ends_with("In the fleet, 3 of 500 hosts call its destination in this rhythm."),
        "{}",
        alert.reason
    );
    assert!(alert.parts.iter().any(|part| part.name == "fleet_rhythm" && part.points == 0.5), "{alert:?}");
    assert_eq!(alert.id, plain.only().id, "it is the same finding");
    // What hints said is not in the state: they come anew, or have expired.
    let mut bytes = Vec::new();
    raised.engine.save(&mut bytes);
    let mut back = Calls { engine: Engine::restore(&bytes, 1 << 20).unwrap(), emitted: Vec::new() };
    back.tell(40 * MINUTE, Event::Host(crate::event::HostFacts::default()));
    assert!((points(&back) - points(&plain)).abs() < 1e-9);
}

#[test]
fn nothing_comes_of_hints_where_nothing_is_regular() {
    let mut calls = with(hints(&rare(), 86_400), Arc::default());
    // As people call: no two intervals alike.
    for at in [0, 12, 313, 401, 1041, 1191, 1196, 1617, 1837, 1876, 1971] {
        calls.to("203.0.113.7:443", at);
    }
    assert!(calls.emitted.is_empty() && calls.engine.alerts().next().is_none(), "{:?}", calls.emitted);
}

#[test]
fn what_a_feed_names_stands_as_high_whatever_a_fleet_says() {
    let feeds = || {
        let mut builder = Builder::new(1 << 20);
        let subject = feed::Subject::Domain { name: "c2.example".into(), subdomains: true };
        let note = Note { feed: "list".into(), confidence: Some(90), ..Note::default() };
        assert!(builder.add(&Indicator { subject, note: Arc::new(note) }));
        Arc::new(builder.finish())
    };
    let run = |hints: Arc<Table>| {
        let mut calls = with(hints, feeds());
        calls.every(MINUTE, 0, 40);
        let mut told: Vec<_> =
            calls.engine.alerts().map(|alert| (alert.class, alert.severity, alert.points)).collect();
        told.sort_by(|a, b| a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)));
        (told, calls.emitted.len())
    };
    let (plain, emitted) = run(Arc::default());
    assert!(
        plain.iter().any(|(class, severity, _)| *class == Class::Beacon && *severity == Severity::Critical)
    );
    assert_eq!(run(hints(&common(), 86_400)), (plain, emitted));
}

#[test]
fn what_hints_kept_down_is_told_once_they_expire() {
    let run = |hints: Arc<Table>, signed, location| {
        let mut calls = with(hints, Arc::default());
        let info = ProcessInfo { image: "/tmp/.x/upd".into(), signed, location, ..ProcessInfo::default() };
        calls.tell(-9, Event::Process(ProcessKey { pid: 7, start: Timestamp::ZERO }, &info));
        calls.every(MINUTE, 0, 5);
        calls
    };
    // A program that is an alert with little to spare, whatever the facts weigh.
    let all = [Some(false), None, Some(true)].into_iter().flat_map(|signed| {
        [Some(ImageLocation::Temporary), None, Some(ImageLocation::Programs)]
            .map(|location| (signed, location))
    });
    let near = all.into_iter().find(|(signed, location)| {
        let spare = points(&run(Arc::default(), *signed, *location)) - crate::score::ALERT_POINTS;
        spare > 0.0 && spare < 0.5
    });
    let (signed, location) = near.expect("one of them is near the line");
    assert_eq!(run(Arc::default(), signed, location).emitted.len(), 1);
    let mut kept = run(hints(&common(), 30 * MINUTE), signed, location);
    assert!(kept.emitted.is_empty() && kept.engine.alerts().next().is_none(), "{:?}", kept.emitted);
    kept.tell(30 * MINUTE - 1, Event::Host(crate::event::HostFacts::default()));
    assert!(kept.emitted.is_empty());
    kept.tell(30 * MINUTE, Event::Host(crate::event::HostFacts::default()));
    assert_eq!(kept.emitted.len(), 1, "the moment of expiry is too late for the hints");
}

#[test]
fn new_hints_count_at_once_and_make_no_second_finding() {
    let mut calls = with(Arc::default(), Arc::default());
    calls.every(MINUTE, 0, 40);
    let before = calls.only();
    let knowledge = Knowledge { hints: hints(&rare(), 86_400), ..Knowledge::of(&Config::default()) };
    calls.engine.set_knowledge(&Arc::new(knowledge), &mut |alert| panic!("told twice: {alert:?}"));
    let after = calls.only();
    assert!(after.id == before.id && (after.points - before.points - MAX_POINTS).abs() < 1e-9);
}
