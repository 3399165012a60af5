//! Hints of a fleet in a file: the documents of one issue, one behind the other, as `sonde fleet hints publish --out` writes
//! them. What a replay weighs is what a live sensor would.

use std::io::Read as _;
use std::path::Path;

use sonde_common::config::HintSettings;
use sonde_common::hints::document::{MAX_DOCUMENT_BYTES, MAX_SHARDS, split};
use sonde_common::hints::{Intake, Table, Taken};
use sonde_common::time::Timestamp;

/// Largest file that is read: an issue as long as it may be.
const MAX_FILE_BYTES: u64 = MAX_DOCUMENT_BYTES as u64 * MAX_SHARDS as u64;

/// The bytes of a file of hints.
///
/// # Errors
/// If it cannot be read or is longer than an issue: the text names the file.
pub fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let place = path.display();
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{place}: {error}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{place}: it is longer than 2 MiB, which no issue of hints is"));
    }
    Ok(bytes)
}

/// The issue in a file, if a key of the settings signed it. Whether it has expired is judged by the data, event by event:
/// here it is read as of its making.
///
/// # Errors
/// Why it cannot be used, with the file.
pub fn read(path: &Path, settings: &HintSettings) -> Result<Table, String> {
    let place = path.display();
    if settings.keys.is_empty() {
        return Err(format!(
            "{place}: hints.keys names no key, so that nobody's hints are taken: set it, such as --set hints.keys='[\"…\"]'"
        ));
    }
    let bytes = bytes(path)?;
    let refused = |why: &dyn std::fmt::Display| format!("{place}: {why}");
    let mut intake = Intake::default();
    let mut whole = None;
    for document in split(&bytes).map_err(|error| refused(&error))? {
        match intake.take(document, &settings.keys, Timestamp::from_nanos(i64::MIN)) {
            Ok(Taken::Whole(table)) => whole = Some(table),
            Ok(Taken::Part | Taken::Known) => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    let mut table = whole.ok_or_else(|| refused(&"parts of the issue are missing"))?;
    table.weight_percent = u8::try_from(settings.weight_percent.get()).unwrap_or(100);
    Ok(table)
}
