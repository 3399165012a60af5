//! The spool against a reference: any order of appending, syncing, taking, settling, failing disks, crashes and restarts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::faulty;
use super::*;

/// Small, so that it is full now and then.
const CAP: u64 = 200_000;

#[derive(Clone, Debug)]
enum Step {
    Append {
        urgent: bool,
        bytes: usize,
        count: u64,
    },
    Sync,
    Take {
        most: usize,
    },
    /// Of what was taken, those whose bit is set.
    Settle {
        which: u64,
        fate: u8,
    },
    Rewind,
    Room(Option<u64>),
    FailIn(u32),
    Short(usize),
    /// The process is killed: what it wrote is there.
    Kill,
    /// The power goes.
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), 0_usize..9_000, 1_u64..12).prop_map(|(urgent, bytes, count)| Step::Append { urgent, bytes, count }),
        6 => Just(Step::Sync),
        5 => (1_usize..30).prop_map(|most| Step::Take { most }),
        5 => (any::<u64>(), 0_u8..3).prop_map(|(which, fate)| Step::Settle { which, fate }),
        1 => Just(Step::Rewind),
        1 => prop::option::of(20_000_u64..150_000).prop_map(Step::Room),
        1 => (0_u32..12).prop_map(Step::FailIn),
        1 => (400_usize..3_000).prop_map(Step::Short),
        2 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

/// What the reference knows of a record.
#[derive(Clone, Debug, Default)]
struct Known {
    record: Option<Record>,
    synced: bool,
    settled: bool,
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut disk, control) = faulty::disk();
    let open = |disk: &faulty::Faulty| Spool::open(Box::new(disk.clone()), CAP).unwrap();
    let mut spool = open(&disk);
    let mut known: BTreeMap<u64, Known> = BTreeMap::new();
    let mut taken: Vec<Waiting> = Vec::new();
    let mut next = 0;
    let mut failed = false;
    for step in steps.into_iter().chain([Step::Room(None), Step::Sync, Step::Kill]) {
        match step {
            Step::Append { urgent, bytes, count } => {
                for _ in 0..count {
                    let kind = if urgent { Kind::Alert } else { Kind::Summary };
                    let record = record(kind, next, bytes);
                    let kept = spool.append(&record).is_ok();
                    known.insert(next, Known { record: kept.then_some(record), ..Known::default() });
                    next += 1;
                }
            }
            Step::Sync => {
                if spool.sync().is_ok() {
                    known.values_mut().for_each(|one| one.synced = one.record.is_some());
                }
            }
            Step::Take { most } => taken.extend(spool.take(most, 50_000).unwrap_or_default()),
            Step::Settle { which, fate } => {
                let fate = [Fate::Acknowledged, Fate::Dead, Fate::Dropped(Cause::DeadLetterFailed)]
                    [usize::from(fate)];
                let mut at = 0;
                let mut fates = Vec::new();
                taken.retain(|waiting| {
                    at += 1;
                    let settle = which >> (at % 64) & 1 == 1;
                    if settle {
                        known.get_mut(&number(&waiting.record)).unwrap().settled = true;
                        fates.push((waiting.ticket, fate));
                    }
                    !settle
                });
                spool.settle(fates);
            }
            Step::Rewind => {
                taken.clear();
                spool.rewind();
            }
            Step::Room(room) => control.borrow_mut().room = room,
            Step::FailIn(count) => {
                failed = true;
                control.borrow_mut().fail_in = Some(count);
            }
            Step::Short(short) => control.borrow_mut().short = Some(short),
            Step::Kill | Step::Crash(_) => {
                let before = spool.counts();
                let saved = !spool.unsaved;
                drop(spool);
                let power = matches!(step, Step::Crash(_));
                if let Step::Crash(mut luck) = step {
                    disk.crash(&mut || {
                        luck = luck.rotate_left(1);
                        luck & 1 == 1
                    });
                }
                *control.borrow_mut() = faulty::Control::default();
                spool = open(&disk);
                taken.clear();
                let after = spool.counts();
                if saved && !failed {
                    prop_assert_eq!((after.acknowledged, after.dead), (before.acknowledged, before.dead));
                    if !power {
                        prop_assert_eq!(&after.dropped, &before.dropped, "nothing is lost by being killed");
                        prop_assert_eq!(after.emitted, before.emitted);
                    }
                }
                // Each that waits once, in order, as it was; and none is missing that is not counted as dropped.
                let waiting = {
                    spool.rewind();
                    spool.take(usize::MAX, usize::MAX).unwrap()
                };
                let mut seen = BTreeSet::new();
                let mut last = [None, None];
                for one in &waiting {
                    let id = number(&one.record);
                    prop_assert!(seen.insert(id), "{} twice", id);
                    prop_assert!(
                        last[usize::from(one.ticket.lane == Which::Bulk)]
                            .replace(id)
                            .is_none_or(|last| last < id),
                        "order"
                    );
                    if let Some(Known { record: Some(record), .. }) = known.get(&id) {
                        prop_assert_eq!(record, &one.record);
                    }
                }
                spool.rewind();
                let missing = known
                    .iter()
                    .filter(|(id, one)| {
                        one.record.is_some() && one.synced && !one.settled && !seen.contains(id)
                    })
                    .count() as u64;
                prop_assert!(missing <= after.dropped_in_all(), "{} missing, {:?}", missing, after);
                if !failed && !after.dropped.contains_key(&Cause::Damaged) {
                    let room = [Cause::SpoolFull, Cause::DiskFull]
                        .iter()
                        .filter_map(|cause| after.dropped.get(cause))
                        .sum::<u64>();
                    prop_assert!(missing <= room, "{} missing, {:?}", missing, after);
                }
                // What is gone is not expected again.
                known.retain(|id, _| seen.contains(id));
                known.values_mut().for_each(|one| (one.synced, one.settled) = (true, false));
                // What a failed sync left is read back after a kill, and gone after a power cut.
                failed = failed && !power;
            }
        }
        let counts = spool.counts();
        prop_assert!(counts.is_even(), "{:?}", counts);
        prop_assert!(spool.bytes() <= CAP, "{} bytes", spool.bytes());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn it_does_what_the_reference_does(steps in prop::collection::vec(step(), 1..60)) {
        run(steps)?;
    }
}

/// A sync that had nothing to do after one that failed once said that all was safe, and a crash lost it without a trace.
#[test]
fn what_a_failed_sync_left_is_in_the_account_once_a_sync_succeeds() {
    let append = Step::Append { urgent: false, bytes: 0, count: 1 };
    run(vec![append, Step::FailIn(0), Step::Sync, Step::Sync, Step::Crash(0)]).unwrap();
}

/// More of the same, for a long evening: `scripts/bench-internals --long`.
#[test]
#[ignore = "takes minutes: scripts/bench-internals --long runs it"]
fn it_does_what_the_reference_does_many_times() {
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 5_000, ..ProptestConfig::default() });
    runner.run(&prop::collection::vec(step(), 1..80), run).unwrap();
}
