//! What an operator knows to be good is not emitted, is listed, and comes back.

use super::calls::{Calls, MINUTE, secs};
use super::*;
use crate::alert::Change;
use crate::event::HostFacts;
use crate::suppress::{ProgramFile, ProgramRule};

pub(super) fn draft(path: &str, expires: Option<Timestamp>) -> Draft {
    Draft {
        program: Some(ProgramRule { file: ProgramFile::Path(path.into()), user: None, script: None }),
        destination: None,
        reason: "our own updater".into(),
        created_by: 0,
        created_by_name: "root".into(),
        created: secs(-20),
        expires,
    }
}

#[test]
fn an_allowed_finding_is_not_emitted_but_counted_and_listed_and_comes_back_when_lifted() {
    let mut calls = Calls::new();
    let id = calls.engine.allow(draft("/tmp/.x/upd", None)).unwrap();
    calls.every(MINUTE, 0, 40);
    assert!(calls.emitted.is_empty() && calls.engine.alerts().next().is_none());
    let entry = calls.engine.allowed()[0].clone();
    assert!(entry.suppressed > 0 && entry.last > Some(secs(0)), "{entry:?}");
    let row = calls.engine.series().into_iter().find(|row| row.evidence.callbacks == 40).unwrap();
    let held = row.suppressed_by.unwrap();
    assert_eq!((held.entry, held.reason.as_str()), (id, "our own updater"));
    // The entry survives a restart.
    let mut bytes = Vec::new();
    calls.engine.save(&mut bytes);
    calls.engine = Engine::restore(&bytes, 1 << 20).unwrap();
    assert_eq!(calls.engine.allowed(), std::slice::from_ref(&entry));

    let mut back = Vec::new();
    assert_eq!(calls.engine.unallow(id, &mut |alert| back.push(alert)), Some(entry));
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!((back[0].revision, back[0].change), (1, Change::Created));
    assert_eq!(back[0].suppressed_by, None);
    assert_eq!(calls.only().id, back[0].id);
    assert_eq!(calls.engine.unallow(id, &mut |_| panic!("emitted twice")), None);
    let again = calls.engine.allow(draft("/tmp/other", None)).unwrap();
    assert!(calls.engine.unallow(again, &mut |_| panic!("emitted twice")).is_some());
}

#[test]
fn a_finding_comes_back_when_its_entry_expires() {
    let mut calls = Calls::new();
    calls.engine.allow(draft("/tmp/.x/upd", Some(secs(45 * MINUTE)))).unwrap();
    calls.every(MINUTE, 0, 45);
    assert!(calls.emitted.is_empty());
    // The next event of any kind brings the time.
    calls.tell(45 * MINUTE + 5, Event::Host(HostFacts::default()));
    assert_eq!(calls.emitted.len(), 1);
    assert_eq!(calls.emitted[0].time, secs(45 * MINUTE + 5));
    calls.every(MINUTE, 46 * MINUTE, 10);
    assert_eq!(calls.emitted.len(), 1);
}

#[test]
fn a_clock_set_beyond_the_expiry_brings_it_back_too() {
    let mut calls = Calls::new();
    calls.engine.allow(draft("/tmp/.x/upd", Some(secs(45 * MINUTE)))).unwrap();
    calls.every(MINUTE, 0, 30);
    calls.gap(30 * MINUTE, 90 * MINUTE, crate::live::GapCause::ClockSet);
    assert_eq!(calls.emitted.len(), 1);
}

#[test]
fn an_alert_that_was_emitted_is_marked_once_it_is_allowed_and_goes_on_afterwards() {
    let mut calls = Calls::new();
    calls.every(MINUTE, 0, 20);
    let emitted = calls.emitted.len();
    let id = calls.engine.allow(draft("/tmp/.x/upd", None)).unwrap();
    calls.every(MINUTE, 20 * MINUTE, 100);
    assert_eq!(calls.emitted.len(), emitted);
    assert_eq!(calls.only().suppressed_by.map(|held| held.entry), Some(id));
    assert!(calls.engine.unallow(id, &mut |_| panic!("it was told of before")).is_some());
    calls.every(MINUTE, 120 * MINUTE, 80);
    assert!(calls.emitted.len() > emitted, "its callbacks have doubled");
    assert!(calls.emitted.iter().all(|alert| alert.id == calls.emitted[0].id));
}
