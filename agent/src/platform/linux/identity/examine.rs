//! The executable itself: which version of the file it is, its digests, and what the package databases say of it.
//!
//! Everything goes through one descriptor. It is the process's own link as long as the process runs; after that the path,
//! and then only if it leads to the very file that the kernel named and which has not changed since.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, AtFlags, Mode, OFlags, StatxFlags};
use sonde_common::live::{FileId, Unavailable};

use super::digest::Digests;
use super::packages::{Algorithm, Databases};
use super::places::as_path;
use super::process::{file_status, is_running, mount_namespace, of_machine, proc_path, version_of};
use crate::live::identity::facts::{Answer, ExecutableFacts, ExecutableKey, Request, Unhashed};
use crate::live::identity::recent::Recent;

/// Versions of executables whose facts are kept.
const MAX_VERSIONS: usize = 4096;
/// Read at a time.
const CHUNK: usize = 256 << 10;
/// A file that was changed this long after its program began may be another one; clocks of files lag by up to a tick.
const CHANGE_SLACK: i64 = 100_000_000;
/// Pages of a longer file are given back after it was read, where no process has them mapped.
const LARGE: u64 = 16 << 20;

/// Looks at executables, one at a time.
#[derive(Debug)]
pub struct Examiner {
    largest: u64,
    root: PathBuf,
    known: Recent<KnownKey, Arc<ExecutableFacts>>,
    buffer: Vec<u8>,
    /// The databases of this machine, read when they are first needed.
    databases: Option<Databases>,
    /// Those of the container that was looked at last, by its mount namespace.
    container: Option<(u64, Databases)>,
    edition: u64,
}

/// Version, path, and whose databases were asked.
type KnownKey = (ExecutableKey, Box<[u8]>, Realm);

/// An executable that was opened.
struct Opened {
    file: File,
    key: ExecutableKey,
    links: u32,
    realm: Realm,
}

/// Whose package databases may speak of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Realm {
    /// Those of this machine: the process sees the files that we see, or those that the first process sees (a sandbox may have
    /// given us a view of our own).
    Host,
    /// Those of a container, by its mount namespace: only root can have made it.
    Container(u64),
    /// None: in a user namespace of their own, users mount what they like, and so could say that a package owns their files.
    User,
}

impl Examiner {
    /// One that hashes files of at most `largest` bytes.
    #[must_use]
    pub fn new(largest: u64) -> Self {
        Self::with_root(largest, PathBuf::from("/"))
    }

    /// The same with the package databases below another folder.
    #[must_use]
    pub fn with_root(largest: u64, root: PathBuf) -> Self {
        Self {
            largest,
            root,
            known: Recent::new(MAX_VERSIONS),
            buffer: Vec::new(),
            databases: None,
            container: None,
            edition: 0,
        }
    }

    /// Answers one question. `stop` ends the reading of a long file.
    pub fn examine(&mut self, request: &Request, stop: &AtomicBool) -> Answer {
        if self.databases.as_mut().is_some_and(Databases::refresh) {
            self.edition += 1;
            self.known.clear();
        }
        let answer = |key, facts, edition| Answer { id: request.id, key, facts, edition };
        let opened = match open(request) {
            Ok(opened) => opened,
            Err(cause) => {
                let in_memory = request.unlinked;
                let facts = ExecutableFacts { unhashed: Some(cause), in_memory, ..Default::default() };
                return answer(None, Arc::new(facts), self.edition);
            }
        };
        // What a container's databases say holds for that container alone: its answer goes without a key.
        let key = (opened.realm == Realm::Host).then_some(opened.key);
        let known = (opened.key, request.image.clone(), opened.realm);
        if let Some(facts) = self.known.get(&known) {
            return answer(key, Arc::clone(facts), self.edition);
        }
        let facts = Arc::new(self.facts(request, &opened, stop));
        if !matches!(facts.unhashed, Some(Unhashed::Changed | Unhashed::Busy)) {
            self.known.insert(known, Arc::clone(&facts));
        }
        answer(key, facts, self.edition)
    }

    /// What cannot be read here.
    #[must_use]
    pub fn unavailable(&self) -> &[Unavailable] {
        self.databases.as_ref().map_or(&[], Databases::unavailable)
    }

    fn facts(&mut self, request: &Request, opened: &Opened, stop: &AtomicBool) -> ExecutableFacts {
        let unlinked = opened.links == 0;
        let path = std::str::from_utf8(&request.image).unwrap_or_default();
        let databases = self.databases_of(request, opened);
        let complete = databases.is_some_and(Databases::complete);
        let owner = databases.filter(|_| !request.unlinked).and_then(|databases| databases.owner(path));
        // A file that a package owns and that lost its name while it ran was replaced by an update.
        let in_memory = unlinked && owner.is_none();
        let mut facts = ExecutableFacts { in_memory, ..Default::default() };
        let expected = owner.as_ref().and_then(|owner| owner.digest.as_ref());
        let matches = match self.hash(opened, expected.map(|(algorithm, _)| *algorithm), stop) {
            Ok((sha256, other)) => {
                facts.sha256 = sha256;
                expected.map(|(_, digest)| *digest == other)
            }
            Err(cause) => {
                facts.unhashed = Some(cause);
                None
            }
        };
        match owner {
            None => facts.signed = complete.then_some(false),
            Some(owner) if unlinked => facts.package = format!("{} (replaced)", owner.package),
            Some(owner) => {
                facts.signed = matches;
                facts.package = owner.package;
                if matches == Some(false) {
                    facts.package.push_str(" (modified)");
                }
            }
        }
        facts
    }

    /// The databases that the executable may be listed in.
    fn databases_of(&mut self, request: &Request, opened: &Opened) -> Option<&Databases> {
        let namespace = match opened.realm {
            Realm::Container(namespace) => namespace,
            Realm::User => return None,
            Realm::Host => {
                if self.databases.is_none() {
                    self.databases = Databases::at(&self.root).ok();
                }
                return self.databases.as_ref();
            }
        };
        let kept =
            self.container.as_mut().is_some_and(|(of, databases)| *of == namespace && !databases.refresh());
        if !kept {
            self.container = None;
            let databases = Databases::of_container(&proc_path(request.process.pid, "root")).ok()?;
            // The root was that of this process, if it still runs.
            if !is_running(request.process, request.boot) {
                return None;
            }
            self.container = Some((namespace, databases));
        }
        self.container.as_ref().map(|(_, databases)| databases)
    }

    /// SHA-256 and the other digest of the whole file, if it stayed the same meanwhile.
    fn hash(
        &mut self,
        opened: &Opened,
        other: Option<Algorithm>,
        stop: &AtomicBool,
    ) -> Result<(String, String), Unhashed> {
        if opened.key.size > self.largest {
            return Err(Unhashed::TooLarge);
        }
        self.buffer.resize(CHUNK, 0);
        let mut digests = Digests::new(other);
        // A file that grows while it is read does not hold the reader.
        let mut left = opened.key.size;
        let mut file = &opened.file;
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
        while left > 0 {
            if stop.load(Ordering::Relaxed) {
                return Err(Unhashed::Busy);
            }
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let chunk = self.buffer.get_mut(..want).unwrap_or_default();
            let read = match file.read(chunk) {
                Ok(0) => return Err(Unhashed::Changed),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Unhashed::Unreadable),
            };
            digests.update(chunk.get(..read).unwrap_or_default());
            left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        }
        if opened.key.size >= LARGE {
            let _ = rustix::fs::fadvise(file, 0, None::<NonZeroU64>, Advice::DontNeed);
        }
        match version(file) {
            Some((key, _)) if same_content(key, opened.key) => Ok(digests.finish()),
            _ => Err(Unhashed::Changed),
        }
    }
}

/// Whether the kernel's own record and `stat` name one file. File systems without a device of their own (btrfs, overlays) give
/// out other device numbers than the kernel keeps, but the same inodes.
fn same_file(a: FileId, b: FileId) -> bool {
    let unnamed = |file: FileId| rustix::fs::major(file.device) == 0;
    a == b || (a.inode == b.inode && unnamed(a) && unnamed(b))
}

/// Whether a file was left alone: an unlink changes the times of its properties, not its content.
fn same_content(a: ExecutableKey, b: ExecutableKey) -> bool {
    (a.file, a.size, a.modified) == (b.file, b.size, b.modified)
}

fn version(file: &File) -> Option<(ExecutableKey, u32)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let status = rustix::fs::statx(file, c"", flags, StatxFlags::BASIC_STATS).ok()?;
    let regular = rustix::fs::FileType::from_raw_mode(status.stx_mode.into()).is_file();
    regular.then(|| (version_of(&status), status.stx_nlink))
}

fn realm(pid: u32) -> Realm {
    let user_namespace = |pid| file_status(&proc_path(pid, "ns/user")).map(|status| status.stx_ino);
    let (user, own) = (user_namespace(pid), std::process::id());
    if user.is_none() || user != user_namespace(own) {
        return Realm::User;
    }
    match mount_namespace(pid) {
        None => Realm::User,
        mount if mount == mount_namespace(own) => Realm::Host,
        mount if mount == mount_namespace(1) && user == user_namespace(1) => Realm::Host,
        Some(mount) => Realm::Container(mount),
    }
}

/// Opens the executable of a process.
fn open(request: &Request) -> Result<Opened, Unhashed> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut cause = Unhashed::Gone;
    let link = proc_path(request.process.pid, "exe");
    match rustix::fs::open(&link, flags, Mode::empty()) {
        // It is this process's, since this process still runs after it was opened.
        Ok(file) if is_running(request.process, request.boot) => {
            let file = File::from(file);
            let (key, links) = version(&file).ok_or(Unhashed::Unreadable)?;
            // Layered file systems number a file otherwise than the kernel's own record of it: then the path decides.
            let same_path = std::fs::read_link(&link).is_ok_and(|path| {
                std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()) == &*request.image
            });
            if request.file == FileId::default() || request.file == key.file || same_path {
                return Ok(Opened { file, key, links, realm: realm(request.process.pid) });
            }
            cause = Unhashed::Changed;
        }
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => cause = Unhashed::Unreadable,
        _ => {}
    }
    let path = as_path(&request.image);
    if request.unlinked || request.file == FileId::default() || !path.is_absolute() {
        return Err(cause);
    }
    let file = match rustix::fs::open(of_machine(path), flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => return Err(Unhashed::Unreadable),
        Err(_) => return Err(cause),
    };
    let (key, links) = version(&file).ok_or(Unhashed::Unreadable)?;
    let latest = request.started.plus_nanos(CHANGE_SLACK).nanos();
    if !same_file(key.file, request.file) || key.changed > latest {
        return Err(Unhashed::Changed);
    }
    Ok(Opened { file, key, links, realm: Realm::Host })
}
