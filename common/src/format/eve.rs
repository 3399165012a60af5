//! stub
use super::row::RowSink;
/// stub
#[derive(Clone, Debug, Default)]
pub struct Eve;
impl Eve {
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
