//! Feeds of known-bad infrastructure: their formats, and the index that everything seen is looked up in.

pub mod format;
pub mod index;
mod indicator;
pub mod networks;

pub use self::index::{Builder, Hit, Index, Kind};
pub use self::indicator::{Indicator, Note, Subject};
pub use self::networks::Networks;
