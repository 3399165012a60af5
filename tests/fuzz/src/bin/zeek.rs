//! Any lines as Zeek's text and as Zeek's JSON: each is at most one row or one error, and a row survives its compact form.
#![no_main]

use sonde_common::format::zeek::{ZeekJson, ZeekTsv};
use sonde_fuzz::rows::Rows;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (mut text, mut json) = (ZeekTsv::new(), ZeekJson::new());
    let _ = (ZeekTsv::recognises(data), ZeekJson::recognises(data));
    let mut rows = Rows::default();
    for line in data.split(|&byte| byte == b'\n').take(256) {
        let before = rows.count;
        // Blocks of a file are read by clones.
        text.clone().record(line, &mut rows);
        assert!(rows.count <= before + 1);
        let before = rows.count;
        json.record(line, &mut rows);
        assert!(rows.count <= before + 1);
        text.record(line, &mut rows);
        let _ = text.unused();
    }
});
