//! The samples' events and series as they are kept in `tests/data/golden/logs`: a new folder of samples is a new case.
//!
//! Renew them after a wanted change with `SONDE_BLESS=1 cargo test -p sonde-tests --test logs golden`.

use sonde_tests::golden;

use super::{ALL, EVENTS, replay, samples};

#[test]
fn every_sample_gives_the_events_and_series_that_are_kept() {
    let mut differences = Vec::new();
    for (name, folder) in samples() {
        for (what, arguments) in [("events", &EVENTS[..]), ("all", &ALL)] {
            let ran = replay(&[&folder], arguments);
            assert!(!ran.stdout.is_empty(), "{name}: no {what}: {}", ran.stderr);
            differences.extend(golden::check(&format!("logs/{name}.{what}.ndjson"), ran.text()).err());
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
