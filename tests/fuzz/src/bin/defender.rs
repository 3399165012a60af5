//! Any records as rows of Defender, after a header and as JSON: nothing panics, and what is read survives its compact form.
#![no_main]

use sonde_common::format::defender::{DefenderCsv, DefenderJson};
use sonde_fuzz::rows::Rows;

/// Which columns there are must not be left to chance.
const HEADER: &str = "Timestamp,DeviceName,ActionType,RemoteIP,RemotePort,RemoteUrl,Protocol,AdditionalFields,\
                      InitiatingProcessFileName,InitiatingProcessFolderPath,InitiatingProcessAccountName";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (DefenderCsv::recognises(data), DefenderJson::recognises(data));
    let mut rows = Rows::default();
    let (mut bare, mut table, mut lines) = (DefenderCsv::new(), DefenderCsv::new(), DefenderJson::new());
    table.record(HEADER.as_bytes(), &mut rows);
    assert_eq!(rows.count, 0, "a header is neither row nor error");
    for record in data.split(|&byte| byte == b'\n').take(256) {
        lines.record(record, &mut rows);
        for reader in [&mut bare, &mut table] {
            let before = rows.count;
            let mut clone = reader.clone();
            reader.record(record, &mut rows);
            assert!(rows.count <= before + 1, "a record is a row or an error, not both");
            let first = rows.count - before;
            clone.record(record, &mut rows);
            assert_eq!(rows.count - before, 2 * first, "clones agree");
        }
    }
});
