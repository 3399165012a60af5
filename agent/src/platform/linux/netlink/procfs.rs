//! `/proc` of one process: read with few system calls, parsed without trust.
//!
//! A directory of `/proc` that is held open belongs to that very process: after its end it answers nothing, even if the pid
//! is given out anew. So what is read through one directory is of one process.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, openat, readlinkat_raw, statat};
use sonde_common::live::{FileId, MAX_ARGUMENT_BYTES, ProcessStart};
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use super::cgroup::Cgroups;

/// `/proc/PID/stat` counts in hundredths of a second on all systems that Sonde is built for (`USER_HZ`).
const NANOS_PER_TICK: i64 = 10_000_000;
/// `PF_KTHREAD`: holds no descriptors.
const KERNEL_THREAD: u32 = 0x0020_0000;
/// `PF_FORKNOEXEC`: a copy of its parent that began no program of its own.
const COPY: u32 = 0x40;
/// Longest path that the kernel gives out.
const PATH_MAX: usize = 4096;
/// Room for directory entries: those of some 1,000 descriptors.
const ENTRIES: usize = 32 << 10;

/// What `/proc/PID/stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: u32,
    pub(super) kernel: bool,
    pub(super) copy: bool,
    /// Since boot, in ticks.
    start: u64,
}

impl Stat {
    /// Reads the line. A program's name may hold anything, so fields are counted from its last closing bracket.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let end = line.iter().rposition(|&b| b == b')')?;
        let mut fields = line.get(end + 1..)?.split(u8::is_ascii_whitespace).filter(|f| !f.is_empty());
        let parent = number(fields.nth(1)?)?;
        let flags: u32 = number(fields.nth(4)?)?;
        let start = number(fields.nth(12)?)?;
        Some(Self { parent, kernel: flags & KERNEL_THREAD != 0, copy: flags & COPY != 0, start })
    }
}

/// A decimal number and nothing else.
pub(super) fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    text.first().filter(|b| b.is_ascii_digit())?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The inode in a link's target such as `socket:[4711]` or `net:[4026531840]`.
pub(super) fn inode_in(target: &[u8], kind: &[u8]) -> Option<u64> {
    number(target.strip_prefix(kind)?.strip_prefix(b":[")?.strip_suffix(b"]")?)
}

/// A pid as a path below `/proc`, with what follows it.
pub(super) struct PidPath([u8; 24]);

impl PidPath {
    pub(super) fn new(pid: u32, rest: &str) -> Self {
        use std::io::Write as _;
        let mut bytes = [0; 24];
        // The last byte stays zero; the callers' rests are short.
        let _ = write!(bytes.get_mut(..23).unwrap_or_default(), "{pid}{rest}");
        Self(bytes)
    }

    pub(super) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// The process file system.
#[derive(Debug)]
pub(super) struct Proc {
    root: OwnedFd,
    boot: Timestamp,
}

impl Proc {
    /// Opens `/proc`. `boot` is the boot's wall-clock time, from which starts of processes are counted.
    pub(super) fn open(boot: Timestamp) -> io::Result<Self> {
        let root = openat(
            rustix::fs::CWD,
            c"/proc",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self { root, boot })
    }

    /// All pids, in the directory's order (ascending).
    pub(super) fn pids(&self) -> io::Result<Vec<u32>> {
        let dir =
            openat(&self.root, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut buffer = [MaybeUninit::uninit(); ENTRIES];
        let mut entries = RawDir::new(dir, &mut buffer);
        let mut pids = Vec::new();
        while let Some(entry) = entries.next() {
            pids.extend(number::<u32>(entry?.file_name().to_bytes()));
        }
        Ok(pids)
    }

    /// Holds a process by its directory.
    pub(super) fn process(&self, pid: u32) -> io::Result<Process<'_>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(&self.root, PidPath::new(pid, "").as_c_str(), flags, Mode::empty())?;
        Ok(Process { proc: self, pid, dir })
    }

    /// Network namespace of a process, by its inode.
    pub(super) fn net_namespace(&self, pid: u32) -> Option<u64> {
        let mut target = [0; 32];
        let length = readlinkat_raw(&self.root, PidPath::new(pid, "/ns/net").as_c_str(), &mut target).ok()?;
        inode_in(target.get(..length)?, b"net")
    }

    /// The file by which a process's network namespace is entered.
    pub(super) fn net_namespace_file(&self, pid: u32) -> io::Result<OwnedFd> {
        let path = PidPath::new(pid, "/ns/net");
        Ok(openat(&self.root, path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    pub(super) fn key(&self, pid: u32, stat: &Stat) -> ProcessKey {
        let since_boot = i64::try_from(stat.start).unwrap_or(i64::MAX).saturating_mul(NANOS_PER_TICK);
        ProcessKey { pid, start: self.boot.plus_nanos(since_boot) }
    }
}

impl AsFd for Proc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// One process, held by its directory.
#[derive(Debug)]
pub(super) struct Process<'a> {
    proc: &'a Proc,
    pid: u32,
    dir: OwnedFd,
}

impl Process<'_> {
    /// Its `stat` line.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        stat_in(&self.dir, c"stat")
    }

    /// Effective account.
    pub(super) fn uid(&self) -> io::Result<u32> {
        Ok(statat(&self.dir, c"", AtFlags::EMPTY_PATH)?.st_uid)
    }

    /// Which it is.
    pub(super) fn key(&self) -> io::Result<ProcessKey> {
        Ok(self.proc.key(self.pid, &self.stat()?))
    }

    /// What it runs, as far as it still tells: a process that is gone or about to leaves fields empty.
    pub(super) fn start(&self, time: Timestamp, cgroups: &mut Cgroups) -> ProcessStart {
        // In the order in which an exiting process loses them.
        let mut path = [0u8; PATH_MAX];
        let image =
            readlinkat_raw(&self.dir, c"exe", &mut path).ok().and_then(|n| path.get(..n)).unwrap_or_default();
        let image = image.strip_suffix(b" (deleted)").unwrap_or(image).to_vec();
        let file = statat(&self.dir, c"exe", AtFlags::empty()).ok();
        let mut arguments = vec![0; MAX_ARGUMENT_BYTES];
        let length = self.read(c"cmdline", &mut arguments).unwrap_or(0);
        arguments.truncate(length);
        let mut target = [0; 32];
        let space = readlinkat_raw(&self.dir, c"ns/net", &mut target).ok();
        let net_namespace = space.and_then(|n| inode_in(target.get(..n)?, b"net")).unwrap_or(0);
        let mut lines = [0; PATH_MAX];
        let cgroup = self
            .read(c"cgroup", &mut lines)
            .ok()
            .and_then(|n| lines.get(..n))
            .map_or(0, |l| cgroups.number(l));
        let stat = self.stat().ok();
        ProcessStart {
            time,
            process: stat.map_or(ProcessKey { pid: self.pid, start: Timestamp::ZERO }, |s| {
                self.proc.key(self.pid, &s)
            }),
            parent: None,
            uid: self.uid().unwrap_or(0),
            image,
            arguments,
            file: file
                .as_ref()
                .map_or_else(FileId::default, |f| FileId { device: f.st_dev, inode: f.st_ino }),
            unlinked: file.is_some_and(|f| f.st_nlink == 0),
            cgroup,
            net_namespace,
        }
    }

    fn read(&self, name: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
        read_in(&self.dir, name, buffer)
    }
}

/// Reads a `stat` file that lies at `path` below `dir`.
pub(super) fn stat_in(dir: impl AsFd, path: &CStr) -> io::Result<Stat> {
    let mut line = [0; 1024];
    let length = read_in(dir, path, &mut line)?;
    line.get(..length).and_then(Stat::parse).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read_in(dir: impl AsFd, path: &CStr, buffer: &mut [u8]) -> io::Result<usize> {
    let file = openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&file, rest)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &[u8] = b"4711 (a) R 1 (b)) S 17 4711 17 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0 18446744073709551615\n";

    #[test]
    fn a_name_full_of_brackets_hides_no_field() {
        let stat = Stat::parse(LINE).unwrap();
        assert_eq!(stat, Stat { parent: 17, kernel: false, copy: false, start: 123_456 });
        let kernel = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 7 0";
        assert!(Stat::parse(kernel).unwrap().kernel);
        let worker = b"9 (nginx) S 8 8 8 0 -1 4194624 0 0 0 0 0 0 0 0 20 0 1 0 7 0";
        assert!(Stat::parse(worker).unwrap().copy);
    }

    #[test]
    fn links_of_sockets_and_namespaces_give_their_inode() {
        assert_eq!(inode_in(b"socket:[4711]", b"socket"), Some(4711));
        assert_eq!(inode_in(b"net:[4026531840]", b"net"), Some(4_026_531_840));
        for wrong in
            [&b"socket:[]"[..], b"socket:[+1]", b"socket:[4711", b"pipe:[4711]", b"/tmp/socket:[1]", b""]
        {
            assert_eq!(inode_in(wrong, b"socket"), None);
        }
    }

    #[test]
    fn this_process_is_read_as_it_is() {
        let boot = Timestamp::from_secs_nanos(1_000, 0);
        let proc = Proc::open(boot).unwrap();
        let pid = std::process::id();
        assert!(proc.pids().unwrap().contains(&pid));
        let process = proc.process(pid).unwrap();
        let start = process.start(boot, &mut Cgroups::find());
        assert_eq!(start.process, process.key().unwrap());
        assert_eq!(start.process.start.nanos() % NANOS_PER_TICK, 0);
        assert_eq!(start.image, std::env::current_exe().unwrap().as_os_str().as_encoded_bytes());
        assert_eq!(start.arguments.last(), Some(&0));
        assert!(start.file.inode != 0 && !start.unlinked && start.net_namespace != 0);
        assert_eq!(proc.net_namespace(pid), Some(start.net_namespace));
    }

    proptest! {
        #[test]
        fn any_stat_line_is_read_or_refused(mut line in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..100) {
            let _ = Stat::parse(&line);
            let _ = Stat::parse(&LINE[..cut.min(LINE.len())]);
            line.extend_from_slice(b") S 1 2 3 4 5 6 7");
            prop_assert_eq!(Stat::parse(&line), None);
        }
    }
}
