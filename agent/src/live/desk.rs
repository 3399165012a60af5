//! Answers what is asked of the sensor: the only place where requests meet the engine.

use sonde_common::alert::{Alert, Severity};
use sonde_common::engine::{Engine, rank};
use sonde_common::suppress::DraftError;
use sonde_common::time::Timestamp;

use super::command::{Answer, Entry, MAX_ROWS, Refusal, RefusalCode, Request, Rows, Stamp, Wish};
use super::health::Health;
use super::known_good;

/// Digits of an id that are enough to ask for it.
const LEAST_DIGITS: usize = 4;
/// Digits of an id.
const ALL_DIGITS: usize = 32;

/// Answers a request. `now` is the sensor's time; `health` is up to date; `sink` emits what a lifted entry had held back.
pub fn answer(
    engine: &mut Engine,
    health: &Health,
    request: &Request,
    now: Timestamp,
    sink: &mut dyn FnMut(Alert),
) -> Answer {
    let allowed = match request {
        Request::Status => {
            let mut health = health.clone();
            health.judge();
            return Answer::Status(Box::new(health));
        }
        Request::Beacons { least, most } => {
            return Answer::Alerts(rows(engine, engine.series(), *least, *most));
        }
        Request::Alerts { least, most } => {
            let alerts = engine.alerts().collect();
            return Answer::Alerts(rows(engine, alerts, *least, *most));
        }
        Request::Explain { id } => {
            return match find(engine, id) {
                Ok(alert) => Answer::Finding(Box::new(alert)),
                Err(refusal) => Answer::Refused(refusal),
            };
        }
        Request::Allow(wish) => allow(engine, wish, now),
        Request::Unallow { entry, .. } => unallow(engine, *entry, sink),
        Request::Allowed => Ok(engine.allowed().iter().map(known_good::entry).collect()),
    };
    allowed.map_or_else(Answer::Refused, Answer::Allowed)
}

/// What findings come from, in figures.
pub fn stamp(engine: &Engine, health: &Health) -> Stamp {
    let entries = engine.allowed();
    let made = entries.iter().fold(0_u64, |sum, entry| sum.wrapping_add(entry.id));
    Stamp {
        observations: engine.counters().events,
        alerts: health.counters.alerts_emitted,
        known_good: (entries.len(), made, entries.iter().map(|entry| entry.suppressed).sum()),
    }
}

/// What the console shows: each series and each alert, and of a finding that is both the row that says most.
pub fn findings(engine: &Engine, most: usize) -> Rows {
    let mut all = engine.series();
    let told: std::collections::BTreeSet<_> = all.iter().map(|row| row.id).collect();
    all.extend(engine.alerts().filter(|alert| !told.contains(&alert.id)));
    rows(engine, all, Severity::Info, most)
}

fn allow(engine: &mut Engine, wish: &Wish, now: Timestamp) -> Result<Vec<Entry>, Refusal> {
    let finding = wish.finding.as_deref().map(|id| find(engine, id)).transpose()?;
    let draft = known_good::draft(wish, finding.as_ref(), now)?;
    let id = engine.allow(draft).map_err(|error| {
        let code = if error == DraftError::Full { RefusalCode::Full } else { RefusalCode::Bad };
        Refusal::new(code, error.to_string())
    })?;
    Ok(engine.allowed().iter().filter(|entry| entry.id == id).map(known_good::entry).collect())
}

fn unallow(engine: &mut Engine, id: u64, mut sink: &mut dyn FnMut(Alert)) -> Result<Vec<Entry>, Refusal> {
    let entry = engine.unallow(id, &mut sink).ok_or_else(|| {
        Refusal::new(
            RefusalCode::NotFound,
            format!("there is no entry {id}; `sonde allow --list` shows them"),
        )
    })?;
    Ok(vec![known_good::entry(&entry)])
}

/// Best first, and no more than wanted.
fn rows(engine: &Engine, mut rows: Vec<Alert>, least: Severity, most: usize) -> Rows {
    let counters = engine.counters();
    rows.retain(|row| row.severity >= least);
    rank(&mut rows);
    let all = rows.len();
    rows.truncate(most.min(MAX_ROWS));
    Rows {
        omitted: (all - rows.len()) as u64,
        rows,
        events: counters.connections + counters.exchanges + counters.queries,
        series: counters.beacon.series,
    }
}

/// The finding with this id, or with an id that alone begins so.
fn find(engine: &Engine, id: &str) -> Result<Alert, Refusal> {
    let id = digits(id)?;
    pick(engine.series().into_iter().chain(engine.alerts()), &id)
}

/// What an id is asked for with, in lower case.
///
/// # Errors
/// If it is none.
pub fn digits(id: &str) -> Result<String, Refusal> {
    if (LEAST_DIGITS..=ALL_DIGITS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id.to_ascii_lowercase());
    }
    let message = format!("an id is {LEAST_DIGITS} to {ALL_DIGITS} hexadecimal digits");
    Err(Refusal::new(RefusalCode::Bad, message))
}

/// The finding whose id begins so. Of several rows of one finding the best speaks for it; of several findings none.
///
/// # Errors
/// If there is none, or more than one.
pub fn pick(rows: impl Iterator<Item = Alert>, id: &str) -> Result<Alert, Refusal> {
    let mut fitting: Vec<Alert> = rows.filter(|row| row.id.to_string().starts_with(id)).collect();
    rank(&mut fitting);
    let Some(best) = fitting.first() else {
        let message = format!("no finding has an id that begins with {id}; `sonde beacons` lists them");
        return Err(Refusal::new(RefusalCode::NotFound, message));
    };
    let mut others: Vec<_> = fitting.iter().map(|row| row.id).filter(|other| *other != best.id).collect();
    others.sort_unstable();
    others.dedup();
    if !others.is_empty() {
        let message =
            format!("{} findings have an id that begins with {id}: give more of it", others.len() + 1);
        return Err(Refusal::new(RefusalCode::Bad, message));
    }
    Ok(fitting.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use sonde_common::alert::FindingId;

    use super::*;
    use crate::cli::output::samples;

    fn with_id(id: u128) -> Alert {
        Alert { id: FindingId(id), ..samples::implant() }
    }

    #[test]
    fn a_finding_is_found_by_the_beginning_of_its_id() {
        let top = |digits: u128| digits << 96;
        let rows =
            || [with_id(top(0xaaaa_1111)), with_id(top(0xaaaa_2222)), with_id(top(0xaaaa_2222))].into_iter();
        assert_eq!(pick(rows(), "aaaa1").unwrap().id, FindingId(top(0xaaaa_1111)));
        assert_eq!(pick(rows(), "aaaa2").unwrap().id, FindingId(top(0xaaaa_2222)), "two rows of one finding");
        assert_eq!(pick(rows(), "aaaa").unwrap_err().code, RefusalCode::Bad);
        assert_eq!(pick(rows(), "bbbb").unwrap_err().code, RefusalCode::NotFound);
        let engine = Engine::new("h".into(), 4 << 20, (1, 2));
        for bad in ["", "abc", "xyzw", "aaaa'", &"a".repeat(33)] {
            assert_eq!(find(&engine, bad).unwrap_err().code, RefusalCode::Bad, "{bad}");
        }
    }

    #[test]
    fn an_answer_is_bounded_and_says_what_it_leaves_out() {
        let engine = Engine::new("h".into(), 4 << 20, (1, 2));
        let all: Vec<Alert> = (0..5_000).map(with_id).collect();
        let some = rows(&engine, all.clone(), Severity::Info, 10);
        assert_eq!((some.rows.len(), some.omitted), (10, 4_990));
        assert_eq!(rows(&engine, all.clone(), Severity::Info, usize::MAX).rows.len(), MAX_ROWS);
        assert_eq!(rows(&engine, all, Severity::Critical, 10).omitted, 0);
    }

    #[test]
    fn status_comes_judged() {
        let mut engine = Engine::new("h".into(), 4 << 20, (1, 2));
        let health = Health::new("h".into(), Timestamp::ZERO);
        let status = answer(&mut engine, &health, &Request::Status, Timestamp::ZERO, &mut |_| {});
        assert!(matches!(status, Answer::Status(status) if !status.reasons.is_empty()));
    }

    #[test]
    fn an_entry_is_made_listed_and_lifted() {
        let mut engine = Engine::new("h".into(), 4 << 20, (1, 2));
        let health = Health::new("h".into(), Timestamp::ZERO);
        let mut ask =
            |request: &Request| match answer(&mut engine, &health, request, Timestamp::ZERO, &mut |_| {}) {
                Answer::Allowed(entries) => Ok(entries),
                Answer::Refused(refusal) => Err(refusal.code),
                _ => panic!("another answer"),
            };
        let wish = Wish {
            program: Some("/opt/agent".into()),
            destination: Some("a.example".into()),
            reason: "ours".into(),
            by: "alice".into(),
            ..Wish::default()
        };
        let made = ask(&Request::Allow(wish.clone())).unwrap();
        assert_eq!((made.len(), made[0].by.as_str()), (1, "alice"));
        assert_eq!(ask(&Request::Allowed), Ok(made.clone()));
        assert_eq!(ask(&Request::unallow(made[0].entry)), Ok(made));
        assert_eq!(ask(&Request::unallow(1)), Err(RefusalCode::NotFound));
        assert_eq!(ask(&Request::Allowed), Ok(Vec::new()));
        let bad = [
            Wish { program: Some("agent".into()), ..wish.clone() },
            Wish { reason: " ".into(), ..wish.clone() },
            Wish { destination: Some("*.example".into()), ..wish.clone() },
            Wish { destination: Some("203.0.113.0/64".into()), ..wish.clone() },
            Wish { sha256: Some("ab".into()), program: None, ..wish.clone() },
        ];
        for wish in bad {
            assert_eq!(ask(&Request::Allow(wish.clone())), Err(RefusalCode::Bad), "{wish:?}");
        }
        let unknown = Wish { finding: Some("abcd".into()), program: None, destination: None, ..wish };
        assert_eq!(ask(&Request::Allow(unknown)), Err(RefusalCode::NotFound));
    }
}
