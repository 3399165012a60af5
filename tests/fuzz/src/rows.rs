//! What every reader of logs owes: each row survives its compact form, and each error is short.

use sonde_common::format::row::{Row, RowError, RowSink};

/// Checks rows as they come, and counts them.
#[derive(Debug, Default)]
pub struct Checked {
    bytes: Vec<u8>,
    /// Rows and errors so far.
    pub told: usize,
}

impl RowSink for Checked {
    fn row(&mut self, row: &Row<'_>) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.bytes = row.encode(bytes);
        assert_eq!(Row::decode(&self.bytes).as_ref(), Some(row));
        self.told += 1;
    }

    fn bad(&mut self, error: RowError) {
        assert!(error.to_string().len() < 2_500, "{error}");
        self.told += 1;
    }
}
