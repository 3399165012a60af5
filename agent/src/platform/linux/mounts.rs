//! Where file systems are mounted, as the kernel tells it. Text in, paths out.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Mount points of type `cgroup2` in a text as of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), in its order.
#[must_use]
pub fn control_groups(table: &[u8]) -> Vec<PathBuf> {
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn group_mounts_are_found_wherever_they_are() {
        let table = b"31 23 0:28 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755\n\
            38 31 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            39 31 0:31 / /mnt/odd\\040place rw shared:1 master:2 - cgroup2 none rw\n\
            \n40 31 0:3\n41 31 0:1 / /x rw -\n42 31 0:1 / cgroup2 rw - ext4 cgroup2 rw";
        assert_eq!(
            control_groups(table),
            [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/mnt/odd place")]
        );
        assert!(control_groups(b"").is_empty());
    }

    #[test]
    fn what_is_cut_or_of_another_type_is_passed_over() {
        let mounts = b"36 32 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            43 32 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw\n";
        assert_eq!(control_groups(mounts), [PathBuf::from("/sys/fs/cgroup/unified")]);
        assert!(control_groups(b"36 32 0:31 / /x rw - tmpfs x rw\n - cgroup2\n").is_empty());
    }

    #[test]
    fn half_an_escape_is_text() {
        assert_eq!(unescape(b"a\\04"), b"a\\04");
        assert_eq!(unescape(b"\\134\\777"), [b'\\', 0xff]);
    }

    #[test]
    fn the_mount_of_version_2_is_found_wherever_it_is() {
        let hybrid = b"40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/odd\\040name rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(control_groups(hybrid), [PathBuf::from("/sys/fs/odd name")]);
        assert!(control_groups(b"1 2 3\n").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "([ /\\\\0-9a-z-]|cgroup2|\n){0,200}") {
            let _ = control_groups(text.as_bytes());
            prop_assert!(unescape(text.as_bytes()).len() <= text.len());
        }
    }
}
