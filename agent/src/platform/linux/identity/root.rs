//! Files below a root folder: ours, or that of a container, which is written by those we watch.
//!
//! Nothing below a root leads out of it, whatever its links say, and only regular files of bounded length are read: a pipe
//! would hold the reader for ever.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Entries of a folder that are read.
const MAX_ENTRIES: usize = 200_000;

/// A root folder.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
}

/// A version of a file: it changed if this did.
pub type Stamp = (u64, i64, u32, u64);

impl Root {
    /// That at a path.
    ///
    /// # Errors
    /// The system's own, if it is no folder that we may enter.
    pub fn at(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: rustix::fs::open(path, flags, Mode::empty())? })
    }

    fn open_as(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(self.folder.as_fd(), path, flags, Mode::empty(), resolve)?)
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// The system's own; invalid input for what is no regular file.
    pub fn open(&self, path: &str) -> io::Result<File> {
        let file = File::from(self.open_as(path, OFlags::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
        }
        Ok(file)
    }

    /// The whole of a file of at most `cap` bytes.
    ///
    /// # Errors
    /// As [`Root::open`]; too large for a longer one.
    pub fn read(&self, path: &str, cap: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(cap.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > cap {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than the limit"));
        }
        Ok(bytes)
    }

    /// Names in a folder.
    ///
    /// # Errors
    /// The system's own.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let folder = self.open_as(path, OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(folder)?.take(MAX_ENTRIES) {
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Which version of a file is there.
    #[must_use]
    pub fn stamp(&self, path: &str) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt as _;
        let data = self.open(path).ok()?.metadata().ok()?;
        Some((data.ino(), data.mtime(), u32::try_from(data.mtime_nsec()).unwrap_or(0), data.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_below_the_root_and_pipes_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), "inside").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../etc/passwd", folder.path().join("upward")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let root = Root::at(folder.path()).unwrap();
        assert_eq!(root.read("absolute", 100).unwrap(), b"inside");
        assert_eq!(root.read("upward", 100).unwrap(), b"inside");
        assert!(root.read("pipe", 100).is_err());
        assert!(root.read("etc/passwd", 5).is_err(), "longer than the limit");
        assert_eq!(root.names("etc").unwrap().iter().filter(|name| *name == "passwd").count(), 1);
        assert!(root.stamp("etc/passwd").is_some() && root.stamp("etc/none").is_none());
    }
}
