//! The number of a control group: what kernel programs call its id is the inode of its folder in the unified hierarchy.

use std::collections::HashMap;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::platform::mounts;

/// Paths whose number is remembered; forgotten all together when there are more, as a host rarely has so many services.
const MAX_REMEMBERED: usize = 1024;

/// Numbers control groups.
#[derive(Debug)]
pub(super) struct Cgroups {
    mount: Option<PathBuf>,
    numbers: HashMap<Vec<u8>, u64>,
}

impl Cgroups {
    /// Finds where the unified hierarchy is mounted; without one every number is 0.
    pub(super) fn find() -> Self {
        let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self { mount: mounts::control_groups(&mounts).into_iter().next(), numbers: HashMap::new() }
    }

    /// Number of the group that `/proc/PID/cgroup` names.
    pub(super) fn number(&mut self, lines: &[u8]) -> u64 {
        let (Some(mount), Some(path)) = (&self.mount, unified_path(lines)) else { return 0 };
        if let Some(&number) = self.numbers.get(path) {
            return number;
        }
        let full = PathBuf::from(std::ffi::OsString::from_vec([mount.as_os_str().as_bytes(), path].concat()));
        // A group that is gone has no number any more, and a number may not be remembered that was not read.
        let Ok(folder) = std::fs::metadata(&full) else { return 0 };
        if self.numbers.len() >= MAX_REMEMBERED {
            self.numbers.clear();
        }
        self.numbers.insert(path.to_vec(), folder.ino());
        folder.ino()
    }
}

/// The line of the unified hierarchy is `0::/path`.
fn unified_path(lines: &[u8]) -> Option<&[u8]> {
    let path = lines.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    // Groups outside of our own root are shown as `/../…`, and lead nowhere.
    (path.starts_with(b"/") && !path.split(|&b| b == b'/').any(|part| part == b"..")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_by_its_unified_line_alone() {
        assert_eq!(
            unified_path(b"4:cpu:/a\n0::/system.slice/x.service\n").unwrap(),
            b"/system.slice/x.service"
        );
        assert_eq!(unified_path(b"4:cpu:/a\n"), None);
        assert_eq!(unified_path(b"0::/../../etc\n"), None);
    }
}
