//! Where a process belongs: from its own folder in /proc while it runs, else from the number of its control group.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonde_common::process::ProcessKey;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::cgroup::{place_of_path, place_of_process, unified_path};
use super::process::{is_running, proc_path};
use super::read_capped;
use crate::live::identity::facts::Place;
use crate::live::identity::recent::Recent;
use crate::platform::mounts;

/// Control groups whose place is kept.
const MAX_PLACES: usize = 4096;
/// Folders that one walk looks at.
const MAX_FOLDERS: usize = 16_384;
/// Depth of such a walk.
const MAX_DEPTH: usize = 32;
/// Time between two walks.
const WALK_EVERY: i64 = NANOS_PER_SEC;
/// Longest text of /proc that is read here.
const MAX_TEXT: u64 = 1 << 20;

/// Control group -> place.
#[derive(Debug)]
pub struct Places {
    root: Option<PathBuf>,
    known: Recent<u64, Arc<Place>>,
    walked: Timestamp,
}

impl Default for Places {
    fn default() -> Self {
        let mounts = read_capped(Path::new("/proc/self/mountinfo"), MAX_TEXT).unwrap_or_default();
        Self::below(mounts::control_groups(&mounts).into_iter().next())
    }
}

impl Places {
    /// Those below a mount of version 2, where there is one.
    #[must_use]
    pub fn below(root: Option<PathBuf>) -> Self {
        Self { root, known: Recent::new(MAX_PLACES), walked: Timestamp::from_nanos(i64::MIN) }
    }

    /// The place of a process; `None` if neither it nor its group can be looked at any more.
    pub fn of(
        &mut self,
        process: ProcessKey,
        boot: Timestamp,
        number: u64,
        now: Timestamp,
    ) -> Option<Arc<Place>> {
        if number != 0
            && let Some(place) = self.known.get(&number)
        {
            return Some(Arc::clone(place));
        }
        if let Ok(text) = read_capped(&proc_path(process.pid, "cgroup"), MAX_TEXT)
            && is_running(process, boot)
        {
            let place = Arc::new(place_of_process(&text));
            // The root group tells nothing where version 1 holds the processes: it is no key for them.
            if number != 0 && unified_path(&text).is_some_and(|path| path != "/") {
                self.known.insert(number, Arc::clone(&place));
            }
            return Some(place);
        }
        if number != 0 && (now.since(self.walked) >= WALK_EVERY || now < self.walked) {
            self.walked = now;
            self.walk();
        }
        self.known.get(&number).cloned()
    }

    /// Learns the numbers of all groups: one walk costs little more than the search for one of them.
    fn walk(&mut self) {
        let Some(root) = self.root.clone() else { return };
        let mut open = vec![(root.clone(), 0)];
        let mut seen = 0;
        while let Some((folder, depth)) = open.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                seen += 1;
                if seen > MAX_FOLDERS {
                    return;
                }
                let path = entry.path();
                if let Ok(below) = path.strip_prefix(&root) {
                    let place = place_of_path(&below.to_string_lossy());
                    self.known.insert(entry.ino(), Arc::new(place));
                }
                if depth < MAX_DEPTH {
                    open.push((path, depth + 1));
                }
            }
        }
    }
}

/// Bytes of a path as text to open.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_dead_process_is_placed_by_the_number_of_its_group() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("system.slice/cron.service");
        std::fs::create_dir_all(&folder).unwrap();
        let number = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&folder).unwrap());
        let mut places = Places::below(Some(root.path().into()));
        let dead = ProcessKey { pid: u32::MAX - 1, start: Timestamp::ZERO };
        let at = |secs| Timestamp::from_secs_nanos(secs, 0);
        assert_eq!(places.of(dead, Timestamp::ZERO, number, at(1)).unwrap().unit, "cron.service");
        assert_eq!(places.of(dead, Timestamp::ZERO, 1, at(1)), None);
        assert_eq!(places.of(dead, Timestamp::ZERO, 0, at(9)), None);
    }
}
