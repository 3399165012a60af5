//! What `sonde replay` promises of logs, told by running the program on the samples in `tests/data/logs` (one folder for each
//! format) and on generated days whose truth is known.
//!
//! The parts: `golden` holds whole outputs against files, `sameness` shows that the form of a log changes no answer, `zeek`
//! that rows find each other and their host, `damage` what bad rows and bad files cost, `words` that nothing hostile in a
//! log reaches a terminal. Captures are `replay.rs`, the hunting rules `rules.rs`, memory `memory.rs`.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

#[path = "logs/damage.rs"]
mod damage;
#[path = "logs/golden.rs"]
mod golden;
#[path = "logs/sameness.rs"]
mod sameness;
#[path = "logs/words.rs"]
mod words;
#[path = "logs/zeek.rs"]
mod zeek;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sonde_tests::logs::{Call, Story, days};
use sonde_tests::program::{Ran, run};

const NDJSON: [&str; 2] = ["--format", "ndjson"];
/// Without the guidance, which templates make of the rest.
const ALL: [&str; 5] = ["--format", "ndjson", "--all", "--set", "alerts.guidance=none"];
const EVENTS: [&str; 2] = ["--events", "-"];

/// The folders of samples, by their names.
fn samples() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/logs");
    let mut found: Vec<(String, PathBuf)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect();
    found.sort();
    assert!(found.len() >= 3, "{found:?}");
    found
}

/// The files of a folder, by their names.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs a replay of these files, whatever it comes to.
fn run_on<P: AsRef<Path>>(files: &[P], arguments: &[&str]) -> Ran {
    let mut all: Vec<PathBuf> = vec!["replay".into()];
    all.extend(files.iter().map(|file| file.as_ref().to_owned()));
    all.extend(arguments.iter().map(PathBuf::from));
    run(all, b"")
}

/// Runs a replay of these files that is to succeed.
fn replay<P: AsRef<Path>>(files: &[P], arguments: &[&str]) -> Ran {
    run_on(files, arguments).expect(0)
}

fn rows(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

fn text<'a>(row: &'a Value, pointer: &str) -> &'a str {
    row.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn number(row: &Value, pointer: &str) -> u64 {
    row.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} of {row}"))
}

/// Three hosts for two hours: small enough to be told many times.
fn three_hosts() -> Vec<Call> {
    days(Story { hosts: 3, span: Duration::from_secs(7200), browsing: 40 }, 11)
}
