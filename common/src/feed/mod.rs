//! Feeds of known-bad infrastructure: their formats, and the index that everything seen is looked up in.

pub mod format;
mod indicator;

pub use self::indicator::{Indicator, Note, Subject};

/// All indicators of all feeds.
#[derive(Debug, Default)]
pub struct Index {}
