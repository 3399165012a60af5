//! A process is killed at each step of the spool, and once more in the middle of each write: what it had said to be safe is
//! there, and the account comes out.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::disk::{Disk, Folder};
use super::*;

/// Tells the child which folder to work in, and at which step to end.
const FOLDER: &str = "SONDE_TEST_SPOOL";
const STEP: &str = "SONDE_TEST_SPOOL_STEP";
/// Written beside the spool: what the child knows to be safe, and what it settled.
const SAFE: &str = "safe";

/// A folder that ends the process before, or in the middle of, its n-th step.
struct Deadly {
    folder: Folder,
    left: u64,
}

impl Deadly {
    fn step(&mut self) {
        if self.left == 0 {
            std::process::abort();
        }
        self.left -= 1;
    }
}

impl Disk for Deadly {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        self.step();
        self.folder.list()
    }
    fn create(&mut self, name: &str) -> io::Result<()> {
        self.step();
        self.folder.create(name)
    }
    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        self.step();
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        let written = self.folder.write(name, at, half)?;
        assert_eq!(written, half.len());
        self.step();
        Ok(written + self.folder.write(name, at + written as u64, rest)?)
    }
    fn read(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.step();
        self.folder.read(name, at, into)
    }
    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.step();
        self.folder.cut(name, length)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.step();
        self.folder.sync(name)
    }
    fn sync_names(&mut self) -> io::Result<()> {
        self.step();
        self.folder.sync_names()
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.step();
        self.folder.remove(name)
    }
    fn rename(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.step();
        self.folder.rename(name, to)
    }
    fn lasts(&self) -> bool {
        true
    }
}

fn note(folder: &Path, what: &str, numbers: impl IntoIterator<Item = u64>) {
    use std::io::Write as _;
    let text: String = numbers.into_iter().map(|number| format!("{what}{number}\n")).collect();
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(folder.join(SAFE)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// What the child does: two lanes, several segments, settled in and out of order, full.
fn work(folder: &Path, left: u64) {
    let disk = Deadly { folder: Folder::new(folder.join("spool")), left };
    let mut spool = Spool::open(Box::new(disk), 1 << 18).unwrap();
    for round in 0..9_u64 {
        for at in 0..4 {
            spool.append(&record(Kind::Alert, round * 10 + at, 9_000)).unwrap();
            spool.append(&record(Kind::Summary, 1_000 + round * 10 + at, 9_000)).unwrap();
        }
        spool.sync().unwrap();
        note(folder, "+", (0..4).map(|at| round * 10 + at));
        if round % 2 == 1 {
            let taken = spool.take(6, usize::MAX).unwrap();
            let fates: Vec<_> = taken.iter().skip(1).map(|one| (one.ticket, Fate::Acknowledged)).collect();
            // Said before: from the sync within it on, it may be gone.
            note(folder, "-", taken.iter().skip(1).map(|one| number(&one.record)));
            spool.settle(fates);
            spool.rewind();
        }
    }
    note(folder, "end", [0]);
}

#[test]
#[ignore = "is started by a_process_killed_at_any_step_loses_nothing_that_was_safe"]
fn child() {
    let (Some(folder), Ok(step)) = (std::env::var_os(FOLDER), std::env::var(STEP)) else { return };
    work(&PathBuf::from(folder), step.parse().unwrap());
}

#[test]
fn a_process_killed_at_any_step_loses_nothing_that_was_safe() {
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut steps = 0;
    for left in 0..u64::MAX {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("spool")).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--test-threads=1", "--exact"])
            .arg(format!("{module}::child"))
            .env(FOLDER, folder.path())
            .env(STEP, left.to_string())
            .output()
            .unwrap();
        let notes = std::fs::read_to_string(folder.path().join(SAFE)).unwrap_or_default();
        let of =
            |sign: char| notes.lines().filter_map(move |line| line.strip_prefix(sign)?.parse::<u64>().ok());
        let mut spool = Spool::open(Box::new(Folder::new(folder.path().join("spool"))), 1 << 18).unwrap();
        let counts = spool.counts();
        assert!(counts.is_even(), "killed at {left}: {counts:?}");
        assert!(!counts.dropped.contains_key(&Cause::CountsLost), "killed at {left}: {counts:?}");
        let waiting = numbers(&mut spool);
        let settled: Vec<u64> = of('-').collect();
        for safe in of('+').filter(|safe| !settled.contains(safe)) {
            assert!(waiting.contains(&safe), "killed at {left}: {safe} is missing, {counts:?}");
        }
        spool.append(&record(Kind::Alert, 9_999, 10)).unwrap();
        assert!(numbers(&mut spool).contains(&9_999) && spool.counts().is_even());
        if child.status.success() {
            assert!(notes.contains("end"), "the child did its work: {child:?}");
            break;
        }
        steps += 1;
    }
    assert!(steps > 200, "{steps}");
}
