//! Any lines as Suricata's events: each is at most one row or one error, and a row survives its compact form.
#![no_main]

use sonde_common::format::eve::Eve;
use sonde_fuzz::rows::Rows;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut reader = Eve::new();
    let _ = Eve::recognises(data);
    let mut rows = Rows::default();
    for line in data.split(|&byte| byte == b'\n').take(256) {
        let before = rows.count;
        reader.record(line, &mut rows);
        assert!(rows.count <= before + 1);
    }
});
