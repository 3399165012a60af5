//! Which process holds a socket: descriptors in `/proc`, read with as few system calls as possible.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, RawDir, openat, readlinkat_raw};
use sonde_common::process::ProcessKey;

use super::procfs::{PidPath, Proc, Stat, inode_in, stat_in};

/// Room for the entries of some 500 descriptors at a time.
const ENTRIES: usize = 16 << 10;
/// Descriptors of one process that are looked at: a proxy's are many, but a hostile program's may be millions.
const MAX_DESCRIPTORS: usize = 65_536;

/// A process's table of descriptors, held open: it belongs to that very process, even after its pid is given out anew.
#[derive(Debug)]
pub(super) struct Table<'a> {
    proc: &'a Proc,
    pid: u32,
    dir: OwnedFd,
}

impl<'a> Table<'a> {
    pub(super) fn open(proc: &'a Proc, pid: u32) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(proc, PidPath::new(pid, "/fd").as_c_str(), flags, Mode::empty())?;
        Ok(Self { proc, pid, dir })
    }

    /// Hands out the inode of each socket in it until `take` has enough; returns whether it had.
    pub(super) fn sockets(&self, mut take: impl FnMut(u64) -> bool) -> bool {
        let mut buffer = [MaybeUninit::uninit(); ENTRIES];
        let mut entries = RawDir::new(&self.dir, &mut buffer);
        let mut seen = 0;
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            seen += 1;
            if seen > MAX_DESCRIPTORS {
                break;
            }
            // Longer targets are cut and then are no socket's.
            let mut target = [0u8; 32];
            let Ok(length) = readlinkat_raw(&self.dir, name, &mut target) else { continue };
            if target.get(..length).and_then(|t| inode_in(t, b"socket")).is_some_and(&mut take) {
                return true;
            }
        }
        false
    }

    /// Which process it belongs to, and its parent: read through the table's own folder, so of no other process.
    pub(super) fn owner(&self) -> io::Result<(ProcessKey, Stat)> {
        let stat = stat_in(&self.dir, c"../stat")?;
        Ok((self.proc.key(self.pid, &stat), stat))
    }
}

/// Whether a process holds a socket: if so, which process that is, and its `stat`.
pub(super) fn holds(proc: &Proc, pid: u32, inode: u32) -> Option<(ProcessKey, Stat)> {
    let table = Table::open(proc, pid).ok()?;
    if !table.sockets(|held| held == u64::from(inode)) {
        return None;
    }
    table.owner().ok()
}
