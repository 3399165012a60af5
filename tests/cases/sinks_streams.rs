//! What is shipped to streaming servers arrives: delivered by the sinks themselves to real servers, and read back from them.
//!
//! No server here leaves records out of a call to OTLP, or answers 429: for those there is a double, said to be one.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::time::{Duration, Instant};

use sonde::sink::own::OwnSockets;
use sonde::sink::{Delivery, Outcome, Sink};
use sonde_common::alert::Severity;
use sonde_common::config::Config;
use sonde_common::record::{Kind, Record};
use sonde_common::time::Timestamp;

#[path = "sinks_streams/kafka.rs"]
mod kafka;
#[path = "sinks_streams/nats.rs"]
mod nats;
#[path = "sinks_streams/nats_login.rs"]
mod nats_login;
#[path = "sinks_streams/otlp.rs"]
mod otlp;

/// Longest time that a server may take to come round: CI has two busy processors.
const PATIENCE: Duration = Duration::from_secs(120);

/// A sink and the runtime that drives it.
struct Shipping {
    runtime: tokio::runtime::Runtime,
    sink: Box<dyn Sink>,
}

impl Shipping {
    /// Sets up the sink that these settings say: what stands below `[sinks.a]`.
    fn new(settings: &str) -> Self {
        let config = Config::parse(&format!("[sinks.a]\n{settings}"), &[]).expect("the settings are valid");
        let (name, settings) = config.sinks.iter().next().expect("there is one");
        let sink = sonde::sink::open(name, settings, &OwnSockets::default()).expect("it can be set up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, sink }
    }

    fn deliver(&mut self, batch: &[Record]) -> Delivery {
        let delivery = self.runtime.block_on(self.sink.deliver(batch));
        assert_eq!(delivery.outcomes.len(), batch.len(), "{delivery:?}");
        delivery
    }

    /// Delivers as the core does: what is to be tried again comes again, until all is acknowledged.
    fn deliver_until_acknowledged(&mut self, batch: &[Record]) {
        let since = Instant::now();
        let mut left = batch.to_vec();
        while !left.is_empty() {
            let delivery = self.deliver(&left);
            let mut outcomes = delivery.outcomes.iter();
            left.retain(|_| !matches!(outcomes.next(), Some(Outcome::Acknowledged)));
            if !left.is_empty() {
                assert!(since.elapsed() < PATIENCE, "{} left: {delivery:?}", left.len());
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    fn close(mut self) {
        self.runtime.block_on(self.sink.close());
    }
}

/// A record with something of everything that bodies hold.
fn record(n: u32) -> Record {
    let kind = [Kind::Alert, Kind::Audit, Kind::Health, Kind::Summary][n as usize % 4];
    let body = serde_json::json!({
        "@timestamp": "2026-11-23T12:00:00Z",
        "event": { "id": format!("emission-{n:05}"), "risk_score": 93.5, "sequence": n, "ok": true },
        "destination": { "domain": "evil.example", "port": 443, "addresses": ["192.0.2.7", "2001:db8::7"] },
        "process": { "name": "a\u{1b}[31m\u{202e}\u{2028}=cmd|']\"\\<script>\r\n\u{fffd}" },
    });
    Record {
        kind,
        id: format!("emission-{n:05}"),
        key: format!("finding-{}", n % 7),
        time: Timestamp::from_nanos(1_795_000_000_123_456_789 + i64::from(n) * 1_000_000),
        severity: Severity::High,
        body: body.to_string().into_bytes(),
    }
}

fn records(range: std::ops::Range<u32>) -> Vec<Record> {
    range.map(record).collect()
}

fn is_all(delivery: &Delivery, outcome: &Outcome) -> bool {
    delivery.outcomes.iter().all(|found| found == outcome)
}

/// Whether all are to be tried again, for a reason that says this.
fn is_later(delivery: &Delivery, why: &str) -> bool {
    delivery.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry(reason) if reason.contains(why)))
}

/// Sends a signal by its name. Of `STOP` it is waited for that all threads stand still: each stops where it is next looked at,
/// and until then may answer.
fn signal(pid: u32, name: &str) {
    let done = std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(done.expect("kill runs").success());
    let since = Instant::now();
    while name == "STOP" && !stands_still(pid) {
        assert!(since.elapsed() < PATIENCE, "{pid} does not stop");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn stands_still(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the program's name, which stands in brackets.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}
