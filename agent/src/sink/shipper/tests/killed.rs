//! The process that ships is killed, again and again, at any moment, while records flow to a file: nothing that was safe is
//! missing in the end, and the account comes out to the last record.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::super::super::spool::{Folder, Spool};
use super::*;

/// Tells the child which folder to work in, and with which number to begin.
const FOLDER: &str = "SONDE_TEST_SHIPPER";
const FIRST: &str = "SONDE_TEST_SHIPPER_FIRST";
/// How often it is killed.
const KILLS: u64 = 200;

/// Tells records and notes which of them are safe, until it is killed.
#[test]
#[ignore = "is started, and killed, by a_shipper_that_is_killed_two_hundred_times_loses_nothing_that_was_safe"]
fn child() {
    let (Some(folder), Ok(first)) = (std::env::var_os(FOLDER), std::env::var(FIRST)) else { return };
    let folder = PathBuf::from(folder);
    let outbox = Outbox::start(setup(Some(&folder), sinks(&to_file("out", &folder.join("out"))))).unwrap();
    let mut safe = std::fs::OpenOptions::new().append(true).create(true).open(folder.join("safe")).unwrap();
    let first: u64 = first.parse().unwrap();
    for number in (first..).step_by(4) {
        for number in number..number + 3 {
            outbox.word(record(Kind::Alert, number));
        }
        outbox.word(record(Kind::Summary, number + 3));
        if outbox.sync(PATIENCE) {
            let text: String = (number..number + 4).map(|number| format!("id-{number}\n")).collect();
            safe.write_all(text.as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_shipper_that_is_killed_two_hundred_times_loses_nothing_that_was_safe() {
    let folder = tempfile::tempdir().unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut random = 1_u64;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--test-threads=1", "--exact"])
            .arg(format!("{module}::child"))
            .env(FOLDER, folder.path())
            .env(FIRST, (kill * 1_000_000).to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Now and then it lives until something is safe, however busy the machine is.
        let began = Instant::now();
        let size = || std::fs::metadata(folder.path().join("safe")).map_or(0, |data| data.len());
        let before = size();
        while kill % 4 == 0 && size() == before {
            assert!(began.elapsed() < PATIENCE, "nothing becomes safe");
            std::thread::sleep(Duration::from_millis(5));
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(20 + (random >> 33) % 60));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let safe: BTreeSet<String> =
        std::fs::read_to_string(folder.path().join("safe")).unwrap().lines().map(str::to_owned).collect();
    let out = folder.path().join("out");
    let outbox = Outbox::start(setup(Some(folder.path()), sinks(&to_file("out", &out)))).unwrap();
    until(&outbox, "out", |health| health.counts.spooled == 0);
    outbox.stop();
    let there = ids(&out);
    let missing: Vec<_> = safe.difference(&there).collect();
    assert!(
        missing.is_empty() && safe.len() >= 200,
        "{} of {} are missing: {missing:?}",
        missing.len(),
        safe.len()
    );
    let counts =
        Spool::open(Box::new(Folder::new(folder.path().join("spool/out"))), 64 << 20).unwrap().counts();
    assert!(counts.is_even(), "{counts:?}");
    // Each that was told is acknowledged once and is there; a kill tears no write apart that was made at once.
    let expected =
        Counts { emitted: there.len() as u64, acknowledged: there.len() as u64, ..Counts::default() };
    assert_eq!(counts, expected, "{} lines", std::fs::read_to_string(&out).unwrap().lines().count());
}
