//! Answers what is asked of the sensor: the only place where requests meet the engine.

use sonde_common::alert::{Alert, Severity};
use sonde_common::engine::{Engine, rank};
use sonde_common::time::Timestamp;

use super::command::{Answer, MAX_ROWS, Refusal, RefusalCode, Request, Rows};
use super::health::Health;

/// Digits of an id that are enough to ask for it.
const LEAST_DIGITS: usize = 4;
/// Digits of an id.
const ALL_DIGITS: usize = 32;

/// Answers a request. `now` is the sensor's time; `health` is up to date.
pub fn answer(engine: &mut Engine, health: &Health, request: &Request, now: Timestamp) -> Answer {
    let _ = now;
    match request {
        Request::Status => {
            let mut health = health.clone();
            health.judge();
            Answer::Status(Box::new(health))
        }
        Request::Beacons { least, most } => Answer::Alerts(rows(engine, engine.series(), *least, *most)),
        Request::Alerts { least, most } => {
            let alerts = engine.alerts().collect();
            Answer::Alerts(rows(engine, alerts, *least, *most))
        }
        Request::Explain { id } => match find(engine, id) {
            Ok(alert) => Answer::Finding(Box::new(alert)),
            Err(refusal) => Answer::Refused(refusal),
        },
        Request::Allow(_) | Request::Unallow { .. } | Request::Allowed => {
            Answer::Refused(Refusal::new(RefusalCode::Bad, "known-good entries are not there yet"))
        }
    }
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
        let Answer::Status(status) = answer(&mut engine, &health, &Request::Status, Timestamp::ZERO) else {
            panic!("no status");
        };
        assert!(!status.reasons.is_empty());
    }
}
