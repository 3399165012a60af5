//! Whole outputs against files in `tests/data/golden`, so that no change of an alert goes unseen.
//!
//! Renew them after a wanted change with `SONDE_BLESS=1 cargo test -p sonde-tests --test replay`, and read the
//! difference before it is committed.

use std::path::Path;

use super::{capture, replay};

/// Whole outputs, each small enough to be read.
const MAX_GOLDEN_BYTES: usize = 60_000;

fn assert_golden(name: &'static str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/golden").join(format!("{name}.ndjson"));
    let ran = replay(arguments, &capture(name).0);
    // A release alone changes no alert.
    let version = concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"");
    let found = ran.text().replace(version, "\"version\":\"*\"");
    assert!(found.len() <= MAX_GOLDEN_BYTES, "{name}: {} bytes", found.len());
    if std::env::var_os("SONDE_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; see the head of golden.rs", path.display()));
    let mut lines = kept.lines().zip(found.lines()).enumerate();
    if let Some((number, (kept, found))) = lines.find(|(_, (kept, found))| kept != found) {
        let same = kept.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
        let from = |text: &str| text.chars().skip(same.saturating_sub(60)).take(160).collect::<String>();
        panic!(
            "{name}, line {}, byte {same}:\n   kept …{}…\n  found …{}…\nRenew: see the head of golden.rs",
            number + 1,
            from(kept),
            from(found)
        );
    }
    assert_eq!(kept.lines().count(), found.lines().count(), "{name}: rows");
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
