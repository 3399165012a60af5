//! What the tests of all log readers put rows into.

use super::row::{Cause, ConnectionRow, DnsRow, Kind, Row, RowError, RowSink};

/// Keeps rows as the pipeline does, in their compact form, which owns its texts and must give the row back.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) rows: Vec<Vec<u8>>,
    pub(super) bad: Vec<RowError>,
}

impl RowSink for Kept {
    fn row(&mut self, row: &Row<'_>) {
        let bytes = row.encode(Vec::new());
        assert_eq!(Row::decode(&bytes).as_ref(), Some(row));
        self.rows.push(bytes);
    }

    fn bad(&mut self, error: RowError) {
        self.bad.push(error);
    }
}

impl Kept {
    /// The rows.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        self.rows.iter().map(|row| Row::decode(row).unwrap()).collect()
    }

    /// The rows, none being bad.
    pub(super) fn all(&self) -> Vec<Row<'_>> {
        assert_eq!(self.bad, []);
        self.rows()
    }

    /// The one row, none being bad.
    pub(super) fn only(&self) -> Row<'_> {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }

    /// The one row, which is a connection, taken up at its start.
    pub(super) fn connection(&self) -> ConnectionRow<'_> {
        let Row { kind: Kind::Connection(row), time, .. } = self.only() else { panic!("{:?}", self.only()) };
        assert_eq!(time, row.start);
        row
    }

    /// The one row, which is a look-up, taken up at its start.
    pub(super) fn dns(&self) -> DnsRow<'_> {
        let Row { kind: Kind::Dns(row), time, .. } = self.only() else { panic!("{:?}", self.only()) };
        assert_eq!(time, row.start);
        row
    }

    /// Why rows are bad.
    pub(super) fn causes(&self) -> Vec<Cause> {
        self.bad.iter().map(|error| error.cause).collect()
    }
}
