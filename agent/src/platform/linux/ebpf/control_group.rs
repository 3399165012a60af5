//! Where the version 2 control groups are mounted: the programs are attached at their root, wherever that is.

use std::fs::File;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use sonde_common::live::Unavailable;

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
    let places = mounts(&table);
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

/// Mount points of type `cgroup2` in a text as of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
fn mounts(table: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in table.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b' ');
        let place = fields.nth(4);
        // Optional fields end at a lone hyphen; the type of the file system follows.
        let kind = fields.skip_while(|field| *field != b"-").nth(1);
        if let (Some(place), Some(b"cgroup2")) = (place, kind) {
            found.push(PathBuf::from(std::ffi::OsString::from_vec(unescape(place))));
        }
    }
    found
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let escaped =
            after.get(..3).filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..b'8').contains(d)));
        if let Some(digits) = escaped {
            let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            plain.push(u8::try_from(value & 0xff).unwrap_or(b'?'));
            rest = after.get(3..).unwrap_or_default();
        } else {
            plain.push(first);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_mounts_are_found_wherever_they_are() {
        let table = b"31 23 0:28 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755\n\
            38 31 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            39 31 0:31 / /mnt/odd\\040place rw shared:1 master:2 - cgroup2 none rw\n\
            \n40 31 0:3\n41 31 0:1 / /x rw -\n42 31 0:1 / cgroup2 rw - ext4 cgroup2 rw";
        assert_eq!(mounts(table), [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/mnt/odd place")]);
        assert!(mounts(b"").is_empty());
    }

    #[test]
    fn half_an_escape_is_text() {
        assert_eq!(unescape(b"a\\04"), b"a\\04");
        assert_eq!(unescape(b"\\134\\777"), [b'\\', 0xff]);
    }
}
