//! The executable itself: which version of the file it is, its digests, and what the package databases say of it.
//!
//! Everything goes through one descriptor. It is the process's own link as long as the process runs; after that the path,
//! and then only if it leads to the very file that the kernel named and which has not changed since.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, AtFlags, Mode, OFlags, StatxFlags};
use sha2::Digest as _;
use sonde_common::live::FileId;

use super::places::as_path;
use super::process::{is_running, proc_path, version_of};
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
    known: Recent<(ExecutableKey, Box<[u8]>), Arc<ExecutableFacts>>,
    buffer: Vec<u8>,
}

/// An executable that was opened.
struct Opened {
    file: File,
    key: ExecutableKey,
    links: u32,
}

impl Examiner {
    /// One that hashes files of at most `largest` bytes.
    #[must_use]
    pub fn new(largest: u64) -> Self {
        Self { largest, known: Recent::new(MAX_VERSIONS), buffer: Vec::new() }
    }

    /// Answers one question. `stop` ends the reading of a long file.
    pub fn examine(&mut self, request: &Request, stop: &AtomicBool) -> Answer {
        let edition = 0;
        let opened = match open(request) {
            Ok(opened) => opened,
            Err(cause) => {
                let facts = ExecutableFacts {
                    unhashed: Some(cause),
                    in_memory: request.unlinked,
                    ..Default::default()
                };
                return Answer { id: request.id, key: None, facts: Arc::new(facts), edition };
            }
        };
        let known = (opened.key, request.image.clone());
        if let Some(facts) = self.known.get(&known) {
            return Answer { id: request.id, key: Some(opened.key), facts: Arc::clone(facts), edition };
        }
        let mut facts = ExecutableFacts { in_memory: opened.links == 0, ..Default::default() };
        match self.sha256(&opened, stop) {
            Ok(sha256) => facts.sha256 = sha256,
            Err(cause) => facts.unhashed = Some(cause),
        }
        let facts = Arc::new(facts);
        if !matches!(facts.unhashed, Some(Unhashed::Changed | Unhashed::Busy)) {
            self.known.insert(known, Arc::clone(&facts));
        }
        Answer { id: request.id, key: Some(opened.key), facts, edition }
    }

    fn sha256(&mut self, opened: &Opened, stop: &AtomicBool) -> Result<String, Unhashed> {
        if opened.key.size > self.largest {
            return Err(Unhashed::TooLarge);
        }
        self.buffer.resize(CHUNK, 0);
        let mut hash = sha2::Sha256::new();
        // A file that grows while it is read does not end the reader.
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
            hash.update(chunk.get(..read).unwrap_or_default());
            left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        }
        if opened.key.size >= LARGE {
            let _ = rustix::fs::fadvise(file, 0, None::<NonZeroU64>, Advice::DontNeed);
        }
        match version(file) {
            Some((key, _)) if same_content(key, opened.key) => Ok(hex(&hash.finalize())),
            _ => Err(Unhashed::Changed),
        }
    }
}

/// Whether a file was left alone: an unlink changes the times of its properties, not its content.
fn same_content(a: ExecutableKey, b: ExecutableKey) -> bool {
    (a.file, a.size, a.modified) == (b.file, b.size, b.modified)
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn version(file: &File) -> Option<(ExecutableKey, u32)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let status = rustix::fs::statx(file, c"", flags, StatxFlags::BASIC_STATS).ok()?;
    let regular = rustix::fs::FileType::from_raw_mode(status.stx_mode.into()).is_file();
    regular.then(|| (version_of(&status), status.stx_nlink))
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
                return Ok(Opened { file, key, links });
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
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => return Err(Unhashed::Unreadable),
        Err(_) => return Err(cause),
    };
    let (key, links) = version(&file).ok_or(Unhashed::Unreadable)?;
    let latest = request.started.plus_nanos(CHANGE_SLACK).nanos();
    if key.file != request.file || key.changed > latest {
        return Err(Unhashed::Changed);
    }
    Ok(Opened { file, key, links })
}
