//! Network namespaces: which there are, and doing something inside of one.
//!
//! A socket stays in the namespace in which it was made, so a thread that enters one, makes a socket and ends is enough.
//! A namespace without processes is not seen. An open socket keeps a namespace alive, so what was opened in one must be closed
//! when its last process is gone.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Namespaces that are watched at a time; the rest is named as not watched.
pub const MAX_NAMESPACES: usize = 64;

/// What was opened in each namespace, by its inode.
#[derive(Debug)]
pub struct Spaces<T> {
    opened: HashMap<u64, T>,
    own: u64,
    /// Namespaces that could not be entered for want of room or right.
    refused: usize,
    /// Why, the last time.
    reason: Option<io::Error>,
}

impl<T: Send> Spaces<T> {
    /// Nothing opened yet. `own` is the calling thread's namespace.
    ///
    /// # Errors
    /// If `/proc` does not tell it.
    pub fn new() -> io::Result<Self> {
        let own = File::open("/proc/thread-self/ns/net")?.metadata()?.ino();
        Ok(Self { opened: HashMap::new(), own, refused: 0, reason: None })
    }

    /// Opens with `open` in every namespace that is new among `living` (inode, and a process that is in it), and drops what
    /// was opened in those that are gone. `open` gets the namespace's inode.
    pub fn follow(
        &mut self,
        living: &HashMap<u64, u32>,
        file_of: impl Fn(u32) -> io::Result<File>,
        open: impl Fn(u64) -> io::Result<T> + Sync,
    ) {
        self.opened.retain(|inode, _| living.contains_key(inode) || *inode == self.own);
        self.refused = 0;
        for (&inode, &pid) in living {
            if self.opened.contains_key(&inode) {
                continue;
            }
            if let Err(error) = self.enter(inode, || file_of(pid), &open) {
                self.refused += 1;
                self.reason = Some(error);
            }
        }
    }

    /// Opens in one namespace, if it is not open yet. Returns whether it was opened.
    ///
    /// # Errors
    /// If it cannot be entered, or nothing can be opened in it, or too many are open.
    pub fn enter(
        &mut self,
        inode: u64,
        file: impl FnOnce() -> io::Result<File>,
        open: impl Fn(u64) -> io::Result<T> + Sync,
    ) -> io::Result<bool> {
        if self.opened.contains_key(&inode) {
            return Ok(false);
        }
        if self.opened.len() >= MAX_NAMESPACES {
            return Err(io::Error::other("more network namespaces than are watched"));
        }
        let opened = if inode == self.own {
            open(inode)?
        } else {
            let file = file()?;
            if file.metadata()?.ino() != inode {
                return Err(io::Error::other("the process left the network namespace"));
            }
            run_in(&file, || open(inode))??
        };
        self.opened.insert(inode, opened);
        Ok(true)
    }

    /// Inode of the namespace that this was made in.
    #[must_use]
    pub const fn own(&self) -> u64 {
        self.own
    }

    /// All that is open.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.opened.iter_mut().map(|(&inode, opened)| (inode, opened))
    }

    /// What is open in one.
    pub fn get_mut(&mut self, inode: u64) -> Option<&mut T> {
        self.opened.get_mut(&inode)
    }

    /// Namespaces that exist and are not watched, and why the last of them is not.
    #[must_use]
    pub fn refused(&self) -> (usize, Option<&io::Error>) {
        (self.refused, self.reason.as_ref())
    }
}

/// Runs `work` in a thread that has entered a network namespace.
///
/// # Errors
/// If the namespace cannot be entered (it needs CAP_SYS_ADMIN), or no thread can be made.
pub fn run_in<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".into()).spawn_scoped(scope, || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace failed")))
    })
}
