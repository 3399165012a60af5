//! Setting a file aside: `NAME` becomes `NAME.1`, that `NAME.2`, and the last goes.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sonde_common::config::FileSettings;

use crate::platform::append;

const SECS_PER_HOUR: u64 = 3_600;

/// Whether the file is to be set aside before so many bytes more are written to it. An empty one never is: a batch that is
/// longer than a file may be gets a file of its own.
pub(super) fn is_due(data: &Metadata, more: usize, settings: &FileSettings, now: SystemTime) -> bool {
    if data.len() == 0 {
        return false;
    }
    let most = settings.rotate_bytes.get();
    let grown = data.len().saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
    if most > 0 && grown > most {
        return true;
    }
    let hours = u64::from(settings.rotate_hours.get());
    // A file system that does not know when a file was made knows when it was last written to, which is later: the file
    // then stays for longer than it should, if it is written to at all.
    let made = data.created().or_else(|_| data.modified());
    let age = made.ok().and_then(|made| now.duration_since(made).ok()).unwrap_or_default();
    hours > 0 && age >= Duration::from_secs(hours * SECS_PER_HOUR)
}

/// Moves the file and those set aside before by one, so that at most `keep` are left.
pub(crate) fn set_aside(path: &Path, keep: u32) -> io::Result<()> {
    // More than are kept may be there, since somebody made `keep` smaller.
    for number in keep.max(1).. {
        match fs::remove_file(numbered(path, number)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && number > keep => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for number in (1..keep).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if keep == 0 {
        fs::remove_file(path)?;
    } else {
        fs::rename(path, numbered(path, 1))?;
    }
    append::sync_folder(path.parent().unwrap_or_else(|| Path::new("/")))
}

/// The path of the file that was set aside so many times ago.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}
