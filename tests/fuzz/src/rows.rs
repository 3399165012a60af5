//! A sink for rows of logs, which holds each against what must be true of any.

use sonde_common::format::row::{Row, RowError, RowSink};

/// Counts what it was given, and keeps the compact form's buffer.
#[derive(Debug, Default)]
pub struct Rows {
    /// Rows and bad rows so far.
    pub count: usize,
    buffer: Vec<u8>,
}

impl RowSink for Rows {
    fn row(&mut self, row: &Row<'_>) {
        self.count += 1;
        self.buffer.clear();
        self.buffer = row.encode(std::mem::take(&mut self.buffer));
        assert_eq!(Row::decode(&self.buffer).as_ref(), Some(row));
    }

    fn bad(&mut self, error: RowError) {
        self.count += 1;
        assert!(error.to_string().len() < 2_500, "{error}");
    }
}
