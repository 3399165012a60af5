//! The fault table: whatever befalls a sink's server, the way to it, the disk or the sensor itself, every record that was told
//! ends in exactly one way (`emitted = acknowledged + spooled + dead + dropped`), and what counts as delivered is there.
//!
//! The sensor's side is the real shipper in a process of its own, the servers are real but for Splunk's. Here a few cells run,
//! in which each sink and each fault stands at least once; `scripts/faults` runs them all, and kills the sensor 200 times. The
//! same servers are sent every hostile name.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::sync::Mutex;
use std::time::Duration;

use sonde_tests::program::say;

use self::cell::{Fault, Row};
use self::kinds::Kind;

#[path = "faults/cell.rs"]
mod cell;
#[path = "faults/feeder.rs"]
mod feeder;
#[path = "faults/kinds.rs"]
mod kinds;
#[path = "faults/names.rs"]
mod names;
#[path = "faults/relay.rs"]
mod relay;
#[path = "faults/sinks.rs"]
mod sinks;

/// Longest wait for anything: test machines have two busy processors, and a sink waits up to a minute after some failures.
const PATIENCE: Duration = Duration::from_secs(240);
/// Cells at once: they mostly wait.
const AT_ONCE: usize = 4;

/// Runs cells, some at once; prints what they came to, and fails if one did.
fn table(cells: Vec<(Kind, Fault)>) {
    let count = cells.len();
    let left = Mutex::new(cells.into_iter());
    let (rows, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((kind, fault)) = left.lock().unwrap().next() else { return };
                    match std::panic::catch_unwind(|| cell::run(kind, fault)) {
                        Ok(row) => {
                            say(&format!("{} ({:.0} s)", line(&row), row.took.as_secs_f64()));
                            rows.lock().unwrap().push(row);
                        }
                        Err(_) => failed.lock().unwrap().push(format!("{} × {}", kind.name(), fault.name())),
                    }
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|row| (row.kind, row.fault));
    let head = [
        "sink",
        "fault",
        "emitted",
        "acked",
        "dead",
        "dropped",
        "arrived",
        "twice",
        "missing",
        "what it said",
    ];
    let rule = head.map(|_| "---").join("|");
    let lines: String = rows.iter().map(|row| line(row) + "\n").collect();
    say(&format!("\n| {} |\n|{rule}|\n{lines}", head.join(" | ")));
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty() && rows.len() == count,
        "{} of {count} cells failed: {failed:#?}",
        failed.len()
    );
}

fn line(row: &Row) -> String {
    let counts = &row.health.counts;
    let dropped: Vec<String> =
        counts.dropped.iter().map(|(cause, count)| format!("{count} {}", cause.as_str())).collect();
    let dropped = if dropped.is_empty() { "0".to_owned() } else { dropped.join(", ") };
    // What differs from run to run says nothing.
    let said: String = row.said.replace('|', "/").split(" <html>").next().unwrap_or_default().to_owned();
    let said: String = said.chars().take(100).collect();
    format!(
        "| {} | {} | {} | {} | {} | {dropped} | {} | {} | {} | {said} |",
        row.kind.name(),
        row.fault.name(),
        counts.emitted,
        counts.acknowledged,
        counts.dead,
        row.arrived,
        row.twice,
        row.missing,
    )
}

#[test]
fn whatever_goes_wrong_the_account_comes_out() {
    table(vec![
        (Kind::Kafka, Fault::ServerKilled),
        (Kind::Nats, Fault::AgentKilled),
        (Kind::Elastic, Fault::Status(429)),
        (Kind::Hec, Fault::Status(503)),
        (Kind::Tls, Fault::ExpiredCertificate),
        (Kind::Otlp, Fault::HalfOpen),
        (Kind::Webhook, Fault::WrongCertificate),
        (Kind::Tcp, Fault::Refusing),
        (Kind::Nats, Fault::SpoolDiskFull),
        (Kind::File, Fault::FileDiskFull),
        (Kind::Elastic, Fault::ServerStopped),
        (Kind::Udp, Fault::ServerStopped),
        (Kind::Hec, Fault::Slow),
    ]);
}

#[test]
#[ignore = "takes long: scripts/faults runs it"]
fn the_whole_table() {
    let wanted = std::env::var("SONDE_FAULTS").unwrap_or_default();
    let all = Kind::ALL.into_iter().flat_map(|kind| Fault::ALL.map(|fault| (kind, fault)));
    let cells: Vec<_> = all
        .filter(|(kind, fault)| fault.befalls(*kind))
        .filter(|(kind, fault)| format!("{} {}", kind.name(), fault.name()).contains(&wanted))
        .collect();
    assert!(!cells.is_empty(), "no cell is named so: {wanted}");
    table(cells);
}
