//! One process as /proc shows it.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags};
use sonde_common::live::{FileId, MAX_ARGUMENT_BYTES, ProcessStart};
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use super::read_capped;
use crate::live::identity::facts::{ExecutableKey, Found};

/// Length of the ticks in which `/proc/PID/stat` counts: `USER_HZ` is 100 on every machine that we are built for.
const TICK_NANOS: i64 = 10_000_000;
/// Flag of a task that was forked and has not run a program since (`PF_FORKNOEXEC`, `include/linux/sched.h`).
const FORKED_ONLY: u64 = 0x40;
/// What the kernel appends to the path of a file without a name.
const DELETED: &[u8] = b" (deleted)";
/// Looks at the arguments until there are some.
const ARGUMENT_TRIES: usize = 3;
/// Longest small file of /proc that is read.
const SMALL: u64 = 16 << 10;

/// What `/proc/PID/stat` tells, as far as it is of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// State letter; `Z` and `X` are dead.
    pub state: u8,
    /// Parent's process id, 0 for none.
    pub parent: u32,
    /// Forked and has not run a program since.
    pub forked_only: bool,
    /// Start in ticks since boot.
    pub start_ticks: u64,
}

/// Reads the text of `/proc/PID/stat`. The name in it may hold anything, blanks and parentheses too.
#[must_use]
pub fn parse_stat(text: &[u8]) -> Option<Stat> {
    let name_end = memchr_last(b')', text)?;
    let mut fields = text.get(name_end + 1..)?.split(|b| *b == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let mut number = |skip: usize| -> Option<u64> {
        std::str::from_utf8(fields.nth(skip)?.trim_ascii()).ok()?.parse().ok()
    };
    let parent = u32::try_from(number(0)?).ok()?;
    let flags = number(4)?;
    let start_ticks = number(12)?;
    Some(Stat { state, parent, forked_only: flags & FORKED_ONLY != 0, start_ticks })
}

fn memchr_last(byte: u8, text: &[u8]) -> Option<usize> {
    text.iter().rposition(|b| *b == byte)
}

/// The effective account in the text of `/proc/PID/status`.
#[must_use]
pub fn parse_effective_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Path of a file in a process's folder.
pub(super) fn proc_path(pid: u32, file: &str) -> PathBuf {
    let mut path = String::with_capacity(24);
    let _ = write!(path, "/proc/{pid}/{file}");
    path.into()
}

/// The mount namespace of a process, by its inode.
pub(super) fn mount_namespace(pid: u32) -> Option<u64> {
    file_status(&proc_path(pid, "ns/mnt")).map(|status| status.stx_ino)
}

/// A path as this machine's processes mean it. A sandbox gives the sensor a view of its own, without their `/tmp` and home
/// folders; the first process has the machine's.
pub(super) fn of_machine(path: &Path) -> PathBuf {
    static SANDBOXED: OnceLock<bool> = OnceLock::new();
    let sandboxed = *SANDBOXED.get_or_init(|| {
        mount_namespace(1).is_some_and(|machine| mount_namespace(std::process::id()) != Some(machine))
    });
    match path.strip_prefix("/") {
        Ok(below) if sandboxed => Path::new("/proc/1/root").join(below),
        _ => path.to_owned(),
    }
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read_capped(&proc_path(pid, "stat"), SMALL).ok()?)
}

/// Start of a process in the form of its key.
fn start_time(boot: Timestamp, ticks: u64) -> Timestamp {
    boot.plus_nanos(i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(TICK_NANOS))
}

/// The key of the process that has this number now.
#[must_use]
pub fn process_key(pid: u32, boot: Timestamp) -> Option<ProcessKey> {
    Some(ProcessKey { pid, start: start_time(boot, stat(pid)?.start_ticks) })
}

/// Whether this very process still runs.
#[must_use]
pub fn is_running(process: ProcessKey, boot: Timestamp) -> bool {
    stat(process.pid).is_some_and(|stat| {
        !b"ZX".contains(&stat.state) && start_time(boot, stat.start_ticks) == process.start
    })
}

/// Its folder, while it runs.
#[must_use]
pub fn working_folder(process: ProcessKey, boot: Timestamp) -> Option<Vec<u8>> {
    let folder = std::fs::read_link(proc_path(process.pid, "cwd")).ok()?.into_os_string().into_vec();
    (folder.starts_with(b"/") && !folder.ends_with(DELETED) && is_running(process, boot)).then_some(folder)
}

/// What /proc tells of a process now, if it is the one that the key names; `None` too for a kernel thread, a zombie, and a
/// process that may not be looked at.
#[must_use]
pub fn find_process(process: ProcessKey, boot: Timestamp) -> Option<Found> {
    let before = stat(process.pid)?;
    if start_time(boot, before.start_ticks) != process.start {
        return None;
    }
    let link = proc_path(process.pid, "exe");
    let mut image = std::fs::read_link(&link).ok()?.into_os_string().into_vec();
    let version = file_status(&link);
    let unlinked = version.as_ref().is_some_and(|status| status.stx_nlink == 0);
    if unlinked && image.ends_with(DELETED) {
        image.truncate(image.len() - DELETED.len());
    }
    let file = version.as_ref().map(file_id).unwrap_or_default();
    let cap = u64::try_from(MAX_ARGUMENT_BYTES).unwrap_or(u64::MAX);
    let mut arguments = Vec::new();
    for _ in 0..ARGUMENT_TRIES {
        arguments = read_capped(&proc_path(process.pid, "cmdline"), cap).unwrap_or_default();
        if !arguments.is_empty() {
            break;
        }
        // In the midst of `execve` a process has its new image, but no arguments yet.
        std::thread::yield_now();
    }
    let uid = parse_effective_uid(&read_capped(&proc_path(process.pid, "status"), SMALL).ok()?)?;
    let net_namespace = file_status(&proc_path(process.pid, "ns/net")).map_or(0, |status| status.stx_ino);
    // Its number is no one else's by now, and it has not begun another life meanwhile.
    let after = stat(process.pid)?;
    if after.start_ticks != before.start_ticks {
        return None;
    }
    let parent = (after.parent != 0).then_some(after.parent).and_then(|pid| {
        let start = start_time(boot, stat(pid)?.start_ticks);
        // A parent that began later took the number of the true one.
        (start <= process.start).then_some(ProcessKey { pid, start })
    });
    let start = ProcessStart {
        time: process.start,
        process,
        parent,
        uid,
        image,
        arguments,
        file,
        unlinked,
        cgroup: 0,
        net_namespace,
    };
    Some(Found { start, copy: after.forked_only })
}

/// Status without asking a server for it: a hanging network file system must not stop the sensor.
pub(super) fn file_status(path: &Path) -> Option<Statx> {
    rustix::fs::statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS).ok()
}

/// The file's place in the form of `stat`.
pub(super) fn file_id(status: &Statx) -> FileId {
    FileId { device: rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor), inode: status.stx_ino }
}

/// The version of a file.
pub(super) fn version_of(status: &Statx) -> ExecutableKey {
    let nanos = |time: rustix::fs::StatxTimestamp| {
        Timestamp::from_secs_nanos(time.tv_sec, i64::from(time.tv_nsec)).nanos()
    };
    ExecutableKey {
        file: file_id(status),
        size: status.stx_size,
        modified: nanos(status.stx_mtime),
        changed: nanos(status.stx_ctime),
    }
}

/// Which version of which file a process runs: by its link while it runs, else by the path.
#[must_use]
pub fn executable_version(process: ProcessKey, boot: Timestamp, image: &[u8]) -> Option<ExecutableKey> {
    use std::os::unix::ffi::OsStrExt as _;
    if let Some(status) = file_status(&proc_path(process.pid, "exe"))
        && is_running(process, boot)
    {
        return Some(version_of(&status));
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(image));
    path.is_absolute().then(|| file_status(&of_machine(path))).flatten().map(|status| version_of(&status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_full_of_parentheses_and_blanks_does_not_shift_the_fields() {
        let line = b"812 (a) S 1 (b)) S 7 812 812 0 -1 4194368 1 0 0 0 0 0 0 0 20 0 1 0 2467654 1 1 1\n";
        assert_eq!(
            parse_stat(line),
            Some(Stat { state: b'S', parent: 7, forked_only: true, start_ticks: 2_467_654 })
        );
        assert_eq!(parse_stat(b"812 (a"), None);
        assert_eq!(parse_effective_uid(b"Name:\tx\nUid:\t1000\t33\t33\t33\nGid:\t1\t1\t1\t1\n"), Some(33));
        assert_eq!(parse_effective_uid(b"Name:\tUid:\t1\t2\n"), None);
    }

    #[test]
    fn this_process_is_found_and_its_number_with_another_start_is_not() {
        let pid = std::process::id();
        let boot = Timestamp::from_secs_nanos(1_700_000_000, 0);
        let start = start_time(boot, stat(pid).unwrap().start_ticks);
        let own = ProcessKey { pid, start };
        let found = find_process(own, boot).unwrap();
        let image = std::env::current_exe().unwrap();
        assert_eq!(found.start.image, image.into_os_string().into_vec());
        assert!(!found.start.unlinked && !found.copy);
        assert!(found.start.parent.is_some());
        assert!(is_running(own, boot));
        assert_eq!(executable_version(own, boot, b"").unwrap().file, found.start.file);
        let reused = ProcessKey { pid, start: start.plus_nanos(-TICK_NANOS) };
        assert_eq!(find_process(reused, boot), None);
        assert!(!is_running(reused, boot) && working_folder(reused, boot).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_stat(&text);
            let _ = parse_effective_uid(&text);
        }
    }
}
