//! Any lines as events of Windows in JSON: one line tells one thing at most, and the same one at every reading.
#![no_main]

use sonde_common::format::winlog::WinlogJson;
use sonde_fuzz::rows::Rows;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = WinlogJson::recognises(data);
    let (mut reader, mut rows) = (WinlogJson::new(), Rows::default());
    for line in data.split(|&byte| byte == b'\n').take(256) {
        let before = (rows.count, reader.unused());
        reader.record(line, &mut rows);
        let (told, unused) = (rows.count - before.0, reader.unused() - before.1);
        assert!(told as u64 + unused <= 1);
        let (mut fresh, mut again) = (WinlogJson::new(), Rows::default());
        fresh.record(line, &mut again);
        assert_eq!((again.count, fresh.unused()), (told, unused), "nothing is left from the line before");
    }
});
