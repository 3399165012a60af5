//! `[sinks.NAME.file]`: NDJSON to a file or to stdout.

use serde::{Deserialize, Serialize};

use crate::config::text::Place;

/// A file of NDJSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileSettings {
    /// The file, absolute; empty: stdout.
    pub path: Place,
}
