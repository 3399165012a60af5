//! Any text through the escaper: what comes out is plain, and plain text comes out as it went in.
#![no_main]

use sonde_common::text::{escape, is_plain};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let escaped = escape(&text);
    assert!(escaped.chars().all(is_plain));
    assert_eq!(escape(&escaped), escaped);
});
