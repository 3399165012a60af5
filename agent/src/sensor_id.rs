//! Which sensor this is: a number made at its first start and kept with its state, so that a fleet knows it again under another
//! name of its host. It tells nothing of the machine.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::path::Path;

use sonde_common::encode::record::SensorId;
use tracing::warn;

use crate::platform::files;

/// Name of the file in the state's folder.
const FILE: &str = "sensor.id";

/// The number that is kept in the folder; a new one where there is none, or it is none. Without a folder it is new at each
/// start.
#[must_use]
pub(crate) fn sensor_id(folder: Option<&Path>) -> SensorId {
    let fresh = || {
        let half = |which: u8| u128::from(RandomState::new().hash_one(which));
        half(0) << 64 | half(1)
    };
    let Some(file) = folder.map(|folder| folder.join(FILE)) else { return SensorId(fresh()) };
    let kept = std::fs::read_to_string(&file).ok();
    let kept = kept.as_deref().map(str::trim).filter(|text| text.len() == 32);
    if let Some(id) = kept.and_then(|text| u128::from_str_radix(text, 16).ok()) {
        return SensorId(id);
    }
    let id = SensorId(fresh());
    let saved = files::private(&file).and_then(|mut file| {
        writeln!(file, "{id}")?;
        file.sync_all()
    });
    if let Err(error) = saved {
        // A full disk leaves an empty file.
        let _ = std::fs::remove_file(&file);
        warn!(file = %file.display(), %error, "the sensor's id is not kept: it has another at its next start");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_and_a_damaged_one_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let id = sensor_id(Some(folder.path()));
        assert_eq!(sensor_id(Some(folder.path())), id);
        std::fs::write(folder.path().join(FILE), "xyz").unwrap();
        let other = sensor_id(Some(folder.path()));
        assert_ne!(other, id);
        assert_eq!(sensor_id(Some(folder.path())), other);
        assert_ne!(sensor_id(None), sensor_id(None));
    }
}
