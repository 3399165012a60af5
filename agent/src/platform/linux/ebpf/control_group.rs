//! Where the version 2 control groups are mounted: the programs are attached at their root, wherever that is.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use sonde_common::live::Unavailable;

use crate::platform::mounts;

/// The kernel numbers the root of all version 2 groups 1; a container that sees only its own part sees another number.
const ROOT_INODE: u64 = 1;

/// Opens the root of the version 2 control groups.
pub(super) fn open_root() -> Result<File, Unavailable> {
    let fail = |reason: String| Unavailable {
        what: "eBPF connect hooks".to_owned(),
        reason,
        remedy: "mount the version 2 control groups: mount -t cgroup2 none /sys/fs/cgroup/unified".to_owned(),
    };
    let table =
        std::fs::read("/proc/self/mountinfo").map_err(|e| fail(format!("/proc/self/mountinfo: {e}")))?;
    let places = mounts::control_groups(&table);
    if places.is_empty() {
        return Err(fail("no version 2 control groups are mounted".to_owned()));
    }
    let mut reason = String::new();
    for place in places {
        match File::open(&place).and_then(|file| Ok((file.metadata()?.ino(), file))) {
            Ok((ROOT_INODE, file)) => return Ok(file),
            Ok(_) => reason = format!("{} is not the root of the host's control groups", place.display()),
            Err(error) => reason = format!("{}: {error}", place.display()),
        }
    }
    Err(Unavailable {
        remedy: "run the sensor on the host, or give its container the host's control groups (cgroupns=host)"
            .to_owned(),
        ..fail(reason)
    })
}
