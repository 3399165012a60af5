//! Where a process belongs: from its own folder in /proc while it runs, else from the number of its control group.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
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
        Self::below(unified_mount(&mounts))
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

/// Where control groups of version 2 are mounted, by the text of `/proc/self/mountinfo` (proc(5)).
#[must_use]
pub fn unified_mount(mounts: &[u8]) -> Option<PathBuf> {
    mounts.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b' ');
        let mount = fields.nth(4)?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"cgroup2").then(|| OsString::from_vec(unescape(mount)).into())
    })
}

/// `\040` -> blank.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| u8::from_str_radix(digits, 8).ok())?
        });
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// Bytes of a path as text to open.
pub(super) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_mount_of_version_2_is_found_wherever_it_is() {
        let hybrid = b"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/odd\\040name rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(unified_mount(hybrid), Some(PathBuf::from("/sys/fs/odd name")));
        assert_eq!(unified_mount(b"1 2 3\n"), None);
    }

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

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "([ /\\\\0-9a-z-]|cgroup2|\n){0,200}") {
            let _ = unified_mount(text.as_bytes());
            prop_assert!(unescape(text.as_bytes()).len() <= text.len());
        }
    }
}
