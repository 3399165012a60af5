//! Deliveries with a sink that does as it is told, in tokio's own time.

use std::sync::{Arc, Mutex};

use sonde_common::alert::Severity;
use sonde_common::record::Kind;

use super::super::Delivering;
use super::super::spool::{Counts, Memory};
use super::pace::LONGEST_WAIT;
use super::*;

/// When it was called, and with which records.
type Calls = Arc<Mutex<Vec<(Duration, Vec<u64>)>>>;
type Answer = dyn FnMut(&[u64]) -> Option<Delivery> + Send;

/// Asks a function what to answer; where that has no answer it does not answer at all.
struct Scripted {
    calls: Calls,
    began: Instant,
    answer: Box<Answer>,
    closed: Arc<Mutex<bool>>,
}

impl Sink for Scripted {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        let numbers: Vec<u64> = batch.iter().map(|one| one.id.parse().unwrap()).collect();
        let answer = (self.answer)(&numbers);
        self.calls.lock().unwrap().push((self.began.elapsed(), numbers));
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn close(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        *self.closed.lock().unwrap() = true;
        Box::pin(std::future::ready(()))
    }
}

fn record(number: u64, severity: Severity) -> Record {
    let time = Timestamp::from_secs_nanos(1, 0);
    Record {
        kind: Kind::Alert,
        id: number.to_string(),
        key: "k".into(),
        time,
        severity,
        body: b"{}".to_vec(),
    }
}

fn pace() -> Pace {
    Pace { records: 10, bytes: 1 << 20, flush: Duration::from_secs(5), timeout: Duration::from_secs(30) }
}

/// A sink's whole run: numbers are appended at once, and the task runs for so long.
struct Run {
    calls: Vec<(Duration, Vec<u64>)>,
    counts: Counts,
    progress: Progress,
    closed: bool,
    letters: String,
}

fn run(
    numbers: std::ops::Range<u64>,
    severity: Severity,
    secs: u64,
    answer: impl FnMut(&[u64]) -> Option<Delivery> + Send + 'static,
) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let dead = folder.path().join("dead.ndjson");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let spool = Rc::new(RefCell::new(Spool::open(Box::new(Memory::default()), 1 << 20).unwrap()));
        for number in numbers {
            spool.borrow_mut().append(&record(number, severity)).unwrap();
        }
        let (calls, closed) = (Arc::default(), Arc::default());
        let scripted = Scripted {
            calls: Arc::clone(&calls),
            began: Instant::now(),
            answer: Box::new(answer),
            closed: Arc::clone(&closed),
        };
        let mut scripted = Some(scripted);
        let open: Open = Box::new(move || Ok(Box::new(scripted.take().unwrap()) as Box<dyn Sink>));
        let progress = Rc::new(RefCell::new(Progress::default()));
        let inside = (Rc::clone(&spool), Rc::default());
        let core = Core::new(
            "one".into(),
            open,
            inside,
            DeadLetters::new(Some(dead.clone())),
            pace(),
            Rc::clone(&progress),
        );
        let (say, stage) = watch::channel(Stage::Run);
        let task = tokio::task::spawn_local(core.run(stage));
        tokio::time::sleep(Duration::from_secs(secs)).await;
        let told = progress.borrow().clone();
        say.send(Stage::Drain).unwrap();
        tokio::time::timeout(Duration::from_secs(100), task).await.expect("it ends").unwrap();
        let counts = spool.borrow().counts();
        assert!(counts.is_even(), "{counts:?}");
        Run {
            calls: calls.lock().unwrap().clone(),
            counts,
            progress: told,
            closed: *closed.lock().unwrap(),
            letters: std::fs::read_to_string(&dead).unwrap_or_default(),
        }
    })
}

fn all(outcome: &Outcome, numbers: &[u64]) -> Option<Delivery> {
    Some(Delivery::all(outcome, numbers.len(), ""))
}

fn retry(reason: &str) -> Outcome {
    Outcome::Retry(reason.into())
}

#[test]
fn what_is_in_no_hurry_waits_for_others_and_high_severity_does_not() {
    let calm = run(0..3, Severity::Medium, 20, |numbers| all(&Outcome::Acknowledged, numbers));
    assert_eq!(calm.calls, [(Duration::from_secs(5), vec![0, 1, 2])]);
    let full = run(0..12, Severity::Medium, 20, |numbers| all(&Outcome::Acknowledged, numbers));
    assert_eq!(full.calls[0], (Duration::ZERO, (0..10).collect()));
    assert_eq!(full.calls[1].1, [10, 11]);
    let high = run(0..3, Severity::High, 20, |numbers| all(&Outcome::Acknowledged, numbers));
    assert_eq!(high.calls, [(Duration::ZERO, vec![0, 1, 2])]);
    assert!(high.closed && high.counts.acknowledged == 3 && high.progress.last_acknowledged.is_some());
}

#[test]
fn a_server_that_is_away_is_tried_ever_less_and_gets_all_in_order_when_it_is_back() {
    let mut calls = 0;
    let run = run(0..25, Severity::High, 4_000, move |numbers| {
        calls += 1;
        let outcome = if calls <= 12 { retry("connection refused") } else { Outcome::Acknowledged };
        all(&outcome, numbers)
    });
    assert_eq!((run.counts.acknowledged, run.counts.spooled), (25, 0));
    let sizes: Vec<_> = run.calls.iter().map(|(_, numbers)| numbers.len()).collect();
    assert_eq!(sizes[..6], [10, 5, 2, 1, 1, 1], "smaller, then one at a time");
    let probed: std::collections::BTreeSet<_> =
        run.calls[5..12].iter().map(|(_, numbers)| numbers[0]).collect();
    assert!(probed.len() > 3, "not always the same: {probed:?}");
    let waits = run.calls.windows(2).map(|two| two[1].0 - two[0].0);
    for (at, wait) in waits.enumerate().take(12) {
        assert!(wait <= Duration::from_secs(1 << at.min(9)).min(LONGEST_WAIT), "{at}: {wait:?}");
    }
    let order: Vec<u64> = run.calls[13..].iter().flat_map(|(_, numbers)| numbers.clone()).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(run.calls.len() < 20, "batches grow again: {sizes:?}");
    assert_eq!((run.progress.circuit, run.progress.failures), (Circuit::Closed, 0));
}

#[test]
fn while_it_is_away_health_says_so() {
    let run = run(0..3, Severity::High, 600, |numbers| all(&retry("no route\u{1b}[2J"), numbers));
    assert_eq!((run.progress.circuit, run.counts.spooled), (Circuit::Open, 3));
    assert!(run.progress.failures > 5 && run.calls.len() < 40, "{}", run.calls.len());
    let said = run.progress.last_error.unwrap().reason;
    assert!(said.contains("no route") && !said.contains('\u{1b}'), "{said}");
    assert!(run.closed, "and it is closed in the end");
}

#[test]
fn a_server_that_asks_to_be_left_alone_is() {
    let mut first = true;
    let run = run(0..3, Severity::High, 1_000, move |numbers| {
        let outcome = if std::mem::take(&mut first) { retry("429") } else { Outcome::Acknowledged };
        Some(Delivery { retry_after: Some(Duration::from_secs(90)), ..all(&outcome, numbers).unwrap() })
    });
    assert!(run.calls[1].0 >= Duration::from_secs(90), "{:?}", run.calls);
    assert_eq!(run.counts.acknowledged, 3);
}

#[test]
fn what_is_refused_goes_to_the_dead_letters_with_the_reason_and_the_rest_goes_on() {
    let run = run(0..10, Severity::High, 60, |numbers| {
        let refused = Outcome::Refused("mapper_parsing_exception: no ip".into());
        let outcomes =
            numbers.iter().map(|one| if *one == 4 { refused.clone() } else { Outcome::Acknowledged });
        Some(Delivery { outcomes: outcomes.collect(), ..Delivery::default() })
    });
    assert_eq!((run.counts.acknowledged, run.counts.dead, run.calls.len()), (9, 1, 1));
    assert!(
        run.letters.contains("mapper_parsing_exception") && run.letters.contains("\"id\":\"4\""),
        "{}",
        run.letters
    );
    assert!(run.progress.last_error.unwrap().reason.contains("4 is refused"));
}

#[test]
fn one_that_is_turned_away_for_ever_holds_up_nobody() {
    let run = run(0..30, Severity::High, 900, |numbers| {
        let outcomes = numbers.iter().map(|one| if *one == 3 { retry("429") } else { Outcome::Acknowledged });
        Some(Delivery { outcomes: outcomes.collect(), ..Delivery::default() })
    });
    assert_eq!((run.counts.acknowledged, run.counts.spooled), (29, 1));
    assert!(run.calls.iter().filter(|(_, numbers)| numbers.contains(&3)).count() > 3, "and is tried again");
    assert_eq!(run.progress.deferred, 1);
}

#[test]
fn one_that_the_server_chokes_on_is_found_and_holds_up_nobody() {
    let run = run(0..30, Severity::High, 3_000, |numbers| {
        let outcome = if numbers.contains(&3) { retry("500") } else { Outcome::Acknowledged };
        all(&outcome, numbers)
    });
    assert_eq!((run.counts.acknowledged, run.counts.spooled), (29, 1), "{:?}", run.calls);
    assert_eq!((run.progress.circuit, run.progress.deferred), (Circuit::Closed, 1));
}

#[test]
fn a_server_that_is_slow_with_many_gets_fewer() {
    let run = run(0..20, Severity::High, 2_000, |numbers| {
        if numbers.len() > 3 { None } else { all(&Outcome::Acknowledged, numbers) }
    });
    assert_eq!(run.counts.acknowledged, 20, "{:?}", run.calls);
}

#[test]
fn an_answer_that_is_too_short_is_no_acknowledgement() {
    let mut first = true;
    let run = run(0..10, Severity::High, 600, move |numbers| {
        let told = if std::mem::take(&mut first) { 4 } else { numbers.len() };
        Some(Delivery { outcomes: vec![Outcome::Acknowledged; told], ..Delivery::default() })
    });
    assert_eq!(run.counts.acknowledged, 10);
    assert_eq!(run.calls[1].1, (4..10).collect::<Vec<_>>());
}
