//! Any records as rows of Defender, after a header and as JSON: nothing panics, and what is read survives its compact form.
#![no_main]

use sonde_common::format::defender::{DefenderCsv, DefenderJson};
use sonde_common::format::row::{Row, RowError, RowSink};

/// Which columns there are must not be left to chance.
const HEADER: &str = "Timestamp,DeviceName,ActionType,RemoteIP,RemotePort,RemoteUrl,Protocol,AdditionalFields,\
                      InitiatingProcessFileName,InitiatingProcessFolderPath,InitiatingProcessAccountName";

#[derive(Default)]
struct Sink {
    taken: usize,
    bytes: Vec<u8>,
}

impl RowSink for Sink {
    fn row(&mut self, row: &Row<'_>) {
        self.taken += 1;
        self.bytes = row.encode(std::mem::take(&mut self.bytes));
        assert_eq!(Row::decode(&self.bytes).as_ref(), Some(row));
        self.bytes.clear();
    }

    fn bad(&mut self, error: RowError) {
        self.taken += 1;
        assert!(error.to_string().len() < 2000, "{error}");
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = (DefenderCsv::recognises(data), DefenderJson::recognises(data));
    let mut sink = Sink::default();
    let (mut bare, mut table, mut lines) = (DefenderCsv::new(), DefenderCsv::new(), DefenderJson::new());
    table.record(HEADER.as_bytes(), &mut sink);
    assert_eq!(sink.taken, 0, "a header is neither row nor error");
    for record in data.split(|&byte| byte == b'\n').take(256) {
        lines.record(record, &mut sink);
        for reader in [&mut bare, &mut table] {
            let before = sink.taken;
            let mut clone = reader.clone();
            reader.record(record, &mut sink);
            assert!(sink.taken <= before + 1, "a record is a row or an error, not both");
            let first = sink.taken - before;
            clone.record(record, &mut sink);
            assert_eq!(sink.taken - before, 2 * first, "clones agree");
        }
    }
});
