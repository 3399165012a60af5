//! stub
use super::row::RowSink;
/// stub
#[derive(Clone, Debug, Default)]
pub struct DefenderCsv;
impl DefenderCsv {
    /// stub
    #[must_use]
    pub fn new() -> Self {
        Self
    }
    /// stub
    pub fn record(&mut self, _bytes: &[u8], _sink: &mut dyn RowSink) {}
    /// stub
    #[must_use]
    pub fn recognises(_head: &[u8]) -> bool {
        false
    }
}
/// stub
#[derive(Clone, Debug, Default)]
pub struct DefenderJson;
impl DefenderJson {
    /// stub
    #[must_use]
    pub fn new() -> Self {
        Self
    }
    /// stub
    pub fn record(&mut self, _bytes: &[u8], _sink: &mut dyn RowSink) {}
    /// stub
    #[must_use]
    pub fn recognises(_head: &[u8]) -> bool {
        false
    }
}
