//! What the spool promises, case by case; `model` holds it against a reference with crashes and a failing disk, `crash` kills a
//! process at each of its steps.

mod crash;
mod faulty;
mod model;

use sonde_common::alert::Severity;
use sonde_common::time::Timestamp;

use super::*;

/// A record that is known by its number.
pub(super) fn record(kind: Kind, number: u64, bytes: usize) -> Record {
    Record {
        kind,
        id: format!("id-{number}"),
        key: "key".to_owned(),
        time: Timestamp::from_secs_nanos(1_700_000_000, 0),
        severity: Severity::Medium,
        body: format!("{{\"text\":\"{}\"}}", "x".repeat(bytes)).into_bytes(),
    }
}

pub(super) fn number(record: &Record) -> u64 {
    record.id.strip_prefix("id-").unwrap().parse().unwrap()
}

fn folder() -> (tempfile::TempDir, impl Fn() -> Spool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, move || Spool::open(Box::new(Folder::new(path.clone())), 1 << 20).unwrap())
}

fn fill(spool: &mut Spool, kind: Kind, numbers: std::ops::Range<u64>) {
    for number in numbers {
        spool.append(&record(kind, number, 1_000)).unwrap();
    }
    spool.sync().unwrap();
}

pub(super) fn numbers(spool: &mut Spool) -> Vec<u64> {
    spool.rewind();
    let taken = spool.take(usize::MAX, usize::MAX).unwrap();
    taken.iter().map(|waiting| number(&waiting.record)).collect()
}

fn files(folder: &tempfile::TempDir, prefix: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix));
    files.sort();
    files
}

#[test]
fn what_waits_is_there_after_a_restart_and_what_is_settled_is_not() {
    let (folder, open) = folder();
    let mut spool = open();
    fill(&mut spool, Kind::Alert, 0..10);
    let taken = spool.take(4, usize::MAX).unwrap();
    assert_eq!(taken.iter().map(|one| number(&one.record)).collect::<Vec<_>>(), [0, 1, 2, 3]);
    // Out of order: the second is stuck.
    let fates =
        [0, 2, 3].map(|at: usize| (taken[at].ticket, if at == 3 { Fate::Dead } else { Fate::Acknowledged }));
    spool.settle(fates);
    assert_eq!(spool.take(1, usize::MAX).unwrap()[0].record.id, "id-4", "what was taken is not taken again");
    drop(spool);
    let mut spool = open();
    let counts = spool.counts();
    assert!(counts.is_even(), "{counts:?}");
    assert_eq!((counts.emitted, counts.acknowledged, counts.dead, counts.spooled), (10, 2, 1, 7));
    assert!(spool.problems().is_empty(), "{:?}", spool.problems());
    assert_eq!(numbers(&mut spool), [1, 4, 5, 6, 7, 8, 9]);
    spool.rewind();
    let all: Vec<_> =
        spool.take(99, usize::MAX).unwrap().iter().map(|one| (one.ticket, Fate::Acknowledged)).collect();
    spool.settle(all.clone());
    spool.settle(all);
    assert_eq!(spool.counts().acknowledged, 9, "twice is once");
    drop(spool);
    let spool = open();
    assert_eq!((spool.counts().spooled, files(&folder, "u-").len()), (0, 0));
}

#[test]
fn alerts_are_taken_before_summaries_and_a_batch_is_bounded() {
    let mut spool = Spool::open(Box::new(Memory::default()), 1 << 20).unwrap();
    fill(&mut spool, Kind::Summary, 0..3);
    fill(&mut spool, Kind::Alert, 10..13);
    assert!(!spool.presses(), "of medium severity");
    let ids = |taken: Vec<Waiting>| taken.iter().map(|one| number(&one.record)).collect::<Vec<_>>();
    assert_eq!(ids(spool.take(9, 2_500).unwrap()), [10, 11]);
    assert_eq!(ids(spool.take(9, 1).unwrap()), [12], "one alone may be longer");
    spool.append(&Record { severity: Severity::High, ..record(Kind::Alert, 13, 9) }).unwrap();
    assert!(spool.presses());
    assert_eq!(ids(spool.take(9, usize::MAX).unwrap()), [13, 0, 1, 2]);
    assert!(!spool.presses() && !spool.has_untaken() && !spool.lasts());
}

#[test]
fn when_it_is_full_the_oldest_summaries_go_first_and_alerts_last() {
    let (_folder, open) = folder();
    let mut spool = open();
    fill(&mut spool, Kind::Summary, 0..600);
    fill(&mut spool, Kind::Alert, 1_000..1_400);
    let counts = spool.counts();
    let dropped = counts.dropped[&Cause::SpoolFull];
    assert!(counts.is_even() && dropped > 0 && spool.bytes() <= 1 << 20, "{counts:?}");
    let waiting = numbers(&mut spool);
    assert_eq!(waiting[..400], (1_000..1_400).collect::<Vec<_>>());
    assert_eq!(waiting[400..], (dropped..600).collect::<Vec<_>>(), "the oldest went");
    // Alerts alone: then the oldest of them go, and a summary finds no room.
    for number in 2_000..3_500 {
        spool.append(&record(Kind::Alert, number, 1_000)).unwrap();
    }
    assert_eq!(spool.append(&record(Kind::Summary, 9, 60_000)), Err(Cause::SpoolFull));
    spool.sync().unwrap();
    let waiting = numbers(&mut spool);
    assert!(
        waiting.is_sorted() && *waiting.last().unwrap() == 3_499 && waiting.iter().all(|one| *one >= 1_000)
    );
    assert!(spool.counts().is_even() && spool.bytes() <= 1 << 20);
    let counts = spool.counts();
    drop(spool);
    assert_eq!(open().counts(), counts, "the causes outlive a restart");
    let mut spool = open();
    spool.set_cap(200_000);
    assert!(spool.counts().is_even() && spool.bytes() <= 200_000);
    assert_eq!(numbers(&mut spool).last(), Some(&3_499));
}

#[test]
fn a_record_that_is_too_long_is_dropped_and_counted() {
    let (_folder, open) = folder();
    let mut spool = open();
    assert_eq!(spool.append(&record(Kind::Alert, 1, 300_000)), Err(Cause::TooLarge));
    spool.append(&record(Kind::Alert, 2, 200_000)).unwrap();
    spool.lose(Kind::Alert, 3, Cause::QueueFull);
    spool.append(&record(Kind::Alert, 3, 5)).unwrap();
    spool.sync().unwrap();
    drop(spool);
    let mut spool = open();
    assert_eq!(numbers(&mut spool), [2, 3]);
    let counts = spool.counts();
    assert!(counts.is_even());
    assert_eq!((counts.dropped[&Cause::TooLarge], counts.dropped[&Cause::QueueFull]), (1, 3));
}

#[test]
fn a_flipped_bit_or_a_cut_costs_the_damaged_record_and_is_said() {
    for flip in [true, false] {
        let (folder, open) = folder();
        let mut spool = open();
        fill(&mut spool, Kind::Alert, 0..40);
        drop(spool);
        let file = files(&folder, "u-").pop().unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        if flip {
            let middle = bytes.len() / 2;
            bytes[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0x55);
        } else {
            bytes.truncate(bytes.len() - 700);
        }
        std::fs::write(&file, bytes).unwrap();
        let mut spool = open();
        let counts = spool.counts();
        assert_eq!((counts.emitted, counts.spooled, counts.dropped[&Cause::Damaged]), (40, 39, 1));
        assert!(counts.is_even() && spool.problems().len() == 1, "{:?}", spool.problems());
        let waiting = numbers(&mut spool);
        let missing: Vec<u64> = (0..40).filter(|number| !waiting.contains(number)).collect();
        assert!(waiting.is_sorted() && missing.len() == 1 && (missing == [39]) != flip, "{missing:?}");
        fill(&mut spool, Kind::Alert, 40..41);
        drop(spool);
        assert_eq!(open().counts().emitted, 41, "and it is counted once");
    }
}

#[test]
fn damage_that_comes_while_it_waits_is_found_when_it_is_read() {
    let (folder, open) = folder();
    let mut spool = open();
    fill(&mut spool, Kind::Alert, 0..40);
    let file = files(&folder, "u-").pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    // The length of the first record, and the body of some other.
    bytes[32] ^= 0x20;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(numbers(&mut spool).len(), 38);
    let counts = spool.counts();
    assert!(counts.is_even() && counts.dropped[&Cause::Damaged] == 2, "{counts:?}");
}

#[test]
fn a_damaged_account_is_rebuilt_from_what_waits() {
    let (folder, open) = folder();
    let mut spool = open();
    for round in 0..8 {
        fill(&mut spool, Kind::Alert, round * 100..round * 100 + 100);
        let taken = spool.take(90, usize::MAX).unwrap();
        spool.settle(taken.iter().map(|one| (one.ticket, Fate::Acknowledged)));
    }
    let before = spool.counts();
    assert_eq!((before.acknowledged, before.spooled), (720, 80));
    drop(spool);
    for file in files(&folder, "cursor.") {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[30] ^= 0xff;
        std::fs::write(&file, bytes).unwrap();
    }
    let mut spool = open();
    let counts = spool.counts();
    assert!(counts.is_even() && counts.acknowledged == 0, "{counts:?}");
    assert_eq!(counts.emitted, 800);
    assert!(counts.dropped[&Cause::CountsLost] > 600, "{counts:?}");
    let waiting = numbers(&mut spool);
    assert_eq!(waiting, (800 - waiting.len() as u64..800).collect::<Vec<_>>());
    assert!(waiting.len() >= 80, "nothing that waited is missing");
    assert!(spool.problems().iter().any(|problem| problem.contains("account is damaged")));
}

#[test]
fn a_segment_of_another_version_is_set_aside_and_named() {
    let (folder, open) = folder();
    let mut spool = open();
    fill(&mut spool, Kind::Summary, 0..3);
    drop(spool);
    let mut later = segment::header(b'u', 500)[..28].to_vec();
    later[8] = 2;
    let sum = crc32c::crc32c(&later);
    later.extend_from_slice(&sum.to_le_bytes());
    later.extend_from_slice(&[1; 5_000]);
    std::fs::write(folder.path().join("u-00000000000000000500.log"), &later).unwrap();
    std::fs::write(folder.path().join("u-00000000000000000600.log"), [b'?'; 999]).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not ours").unwrap();
    let mut spool = open();
    assert_eq!(numbers(&mut spool), [0, 1, 2]);
    assert!(spool.counts().is_even());
    let told = spool.problems().join("\n");
    assert!(told.contains("its version is 2") && told.contains("no record is in it"), "{told}");
    let aside = files(&folder, "aside-");
    assert_eq!(aside.len(), 2);
    assert_eq!(std::fs::read(&aside[0]).unwrap(), later);
    fill(&mut spool, Kind::Alert, 7..8);
    assert_eq!(numbers(&mut spool), [7, 0, 1, 2]);
    assert!(folder.path().join("notes.txt").exists());
}

/// A real device that is always full, and a folder that cannot be written to, are in the case of the sinks; here the disk's
/// answers are.
#[test]
fn a_full_disk_takes_summaries_first_then_drops_and_recovers_by_itself() {
    let (mut disk, control) = faulty::disk();
    control.borrow_mut().room = Some(200_000);
    let mut spool = Spool::open(Box::new(disk.clone()), 1 << 20).unwrap();
    for number in 0..60 {
        spool.append(&record(Kind::Summary, number, 1_000)).unwrap();
    }
    for number in 100..400 {
        let _ = spool.append(&record(Kind::Alert, number, 1_000));
    }
    let counts = spool.counts();
    assert!(counts.is_even(), "{counts:?}");
    assert!(counts.dropped[&Cause::DiskFull] >= 60 && spool.failure().is_some());
    let waiting = numbers(&mut spool);
    assert_eq!(
        waiting,
        (100..100 + waiting.len() as u64).collect::<Vec<_>>(),
        "all summaries went before the first alert"
    );
    control.borrow_mut().room = None;
    spool.append(&record(Kind::Alert, 999, 1_000)).unwrap();
    spool.sync().unwrap();
    assert_eq!((numbers(&mut spool).last(), spool.failure()), (Some(&999), None));
    let counts = spool.counts();
    drop(spool);
    disk.crash(&mut || false);
    let spool = Spool::open(Box::new(disk), 1 << 20).unwrap();
    assert_eq!(spool.counts(), counts);
}

#[test]
fn a_disk_that_was_full_is_tried_again_when_there_is_nothing_to_write() {
    let (disk, control) = faulty::disk();
    let mut spool = Spool::open(Box::new(disk.clone()), 1 << 20).unwrap();
    control.borrow_mut().room = Some(30_000);
    let taken = (0..100).filter(|n| spool.append(&record(Kind::Alert, *n, 1_000)).is_ok()).count();
    // What was taken is on the disk, so that it counts as working, until the next record.
    let _ = spool.sync();
    assert_eq!(spool.append(&record(Kind::Alert, 100, 1_000)), Err(Cause::DiskFull));
    assert!(taken < 100 && spool.failure().is_some());
    let waiting = spool.take(usize::MAX, usize::MAX).unwrap();
    spool.settle(waiting.iter().map(|one| (one.ticket, Fate::Acknowledged)));
    spool.try_disk_again();
    assert_eq!(spool.bytes(), 0, "what is delivered takes no room on a full disk");
    assert!(spool.failure().is_some(), "there is still too little room");
    control.borrow_mut().room = None;
    spool.try_disk_again();
    assert_eq!(spool.failure(), None);
    spool.append(&record(Kind::Alert, 101, 1_000)).unwrap();
    spool.sync().unwrap();
    let counts = spool.counts();
    assert!(counts.is_even() && counts.acknowledged == taken as u64 && counts.spooled == 1, "{counts:?}");
    drop(spool);
    // One that was killed while it tried leaves nothing behind.
    let mut left = disk.clone();
    left.create("probe").unwrap();
    let spool = Spool::open(Box::new(disk), 1 << 20).unwrap();
    assert_eq!(spool.counts(), counts);
    assert!(!left.list().unwrap().iter().any(|(name, _)| name == "probe"));
}
