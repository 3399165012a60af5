//! The capture that ships with the project is what the generator makes, so its truth stays known.
//!
//! To renew it after a change of the generator: `cargo run -p sonde-tests --bin sonde-gen -- office-day
//! tests/data/demo.pcapng.gz`.

use std::io::Read;

use flate2::read::GzDecoder;

const DEMO: &[u8] = include_bytes!("../data/demo.pcapng.gz");

#[test]
fn demo_capture_is_reproducible() {
    let mut shipped = Vec::new();
    let mut decoder = GzDecoder::new(DEMO);
    decoder.read_to_end(&mut shipped).unwrap();
    assert_eq!(decoder.header().unwrap().mtime(), 0);
    // Compared as a whole, but not printed: a difference of megabytes helps nobody.
    assert!(
        shipped == sonde_tests::scenario::demo(),
        "renew tests/data/demo.pcapng.gz, see the head of this file"
    );
}

#[test]
fn demo_capture_is_small_enough_to_ship() {
    assert!(DEMO.len() < 400 * 1024, "{} bytes", DEMO.len());
}
