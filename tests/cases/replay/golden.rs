//! Whole outputs against files in `tests/data/golden`, so that no change of an alert goes unseen.
//!
//! Renew them after a wanted change with `SONDE_BLESS=1 cargo test -p sonde-tests --test replay`, and read the
//! difference before it is committed.

use sonde_tests::golden;

use super::{capture, replay};

/// Whole outputs, each small enough to be read.
const MAX_GOLDEN_BYTES: usize = 60_000;

fn assert_golden(name: &'static str, arguments: &[&str]) {
    let ran = replay(arguments, &capture(name).0);
    assert!(ran.stdout.len() <= MAX_GOLDEN_BYTES, "{name}: {} bytes", ran.stdout.len());
    golden::check(&format!("{name}.ndjson"), ran.text()).unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn fixed_60_is_as_kept() {
    assert_golden("fixed-60", &["--format", "ndjson"]);
}

#[test]
fn rotation_with_all_its_series_is_as_kept() {
    assert_golden("rotation", &["--format", "ndjson", "--all"]);
}

#[test]
fn in_connection_is_as_kept() {
    assert_golden("in-connection", &["--format", "ndjson"]);
}

#[test]
fn dead_as_a_stream_is_as_kept() {
    assert_golden("dead", &["--format", "ndjson", "--stream"]);
}

#[test]
fn dns_callback_with_all_its_series_is_as_kept() {
    assert_golden("dns-callback", &["--format", "ndjson", "--all"]);
}
