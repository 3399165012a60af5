//! The executable itself: which version of the file it is, its digest, and who signed it.
//!
//! Everything goes through one handle, opened by the path: Windows lets nobody change a file that runs, but lets it be renamed
//! and another put into its place. So the path is asked for again while the process runs; after that the file must be older
//! than the process.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};
use sonde_common::live::Unavailable;

use super::places::package;
use super::process::{Process, open_file, version};
use super::signature::signature;
use crate::live::identity::facts::{Answer, ExecutableFacts, ExecutableKey, Request, Unhashed};
use crate::live::identity::recent::Recent;

/// Versions of executables whose facts are kept.
const MAX_VERSIONS: usize = 4096;
/// Read at a time.
const CHUNK: usize = 256 << 10;
/// A file that was written this long after its program began may be another one.
const CHANGE_SLACK: i64 = 100_000_000;

/// Looks at executables, one at a time.
#[derive(Debug)]
pub struct Examiner {
    largest: u64,
    known: Recent<(ExecutableKey, Box<[u8]>), Arc<ExecutableFacts>>,
}

impl Examiner {
    /// One that hashes files of at most `largest` bytes.
    #[must_use]
    pub fn new(largest: u64) -> Self {
        Self { largest, known: Recent::new(MAX_VERSIONS) }
    }

    /// Answers one question. `stop` ends the reading of a long file.
    pub fn examine(&mut self, request: &Request, stop: &AtomicBool) -> Answer {
        let answer = |key, facts| Answer { id: request.id, key, facts, edition: 0 };
        let (file, path, key) = match open(request) {
            Ok(opened) => opened,
            Err(cause) => {
                let facts = ExecutableFacts { unhashed: Some(cause), ..Default::default() };
                return answer(None, Arc::new(facts));
            }
        };
        // A package holds a file for all its users: what is said of the file holds for every process.
        let known = (key, request.image.clone());
        if let Some(facts) = self.known.get(&known) {
            return answer(Some(key), Arc::clone(facts));
        }
        let mut facts = ExecutableFacts::default();
        match self.hash(&file, key, stop) {
            Ok(sha256) => {
                facts.sha256 = sha256;
                facts.signed = signature(&file, &path).trusted;
            }
            Err(cause) => facts.unhashed = Some(cause),
        }
        facts.package = Process::of(request.process).map(|process| package(&process)).unwrap_or_default();
        let facts = Arc::new(facts);
        if !matches!(facts.unhashed, Some(Unhashed::Changed | Unhashed::Busy)) {
            self.known.insert(known, Arc::clone(&facts));
        }
        answer(Some(key), facts)
    }

    /// What cannot be read here.
    #[must_use]
    pub const fn unavailable(&self) -> &[Unavailable] {
        &[]
    }

    /// SHA-256 of the whole file, if it stayed the same meanwhile.
    fn hash(&self, mut file: &File, key: ExecutableKey, stop: &AtomicBool) -> Result<String, Unhashed> {
        if key.size > self.largest {
            return Err(Unhashed::TooLarge);
        }
        let mut digest = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut left = key.size;
        while left > 0 {
            if stop.load(Ordering::Relaxed) {
                return Err(Unhashed::Busy);
            }
            let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let chunk = buffer.get_mut(..want).unwrap_or_default();
            let read = match file.read(chunk) {
                Ok(0) => return Err(Unhashed::Changed),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Unhashed::Unreadable),
            };
            digest.update(chunk.get(..read).unwrap_or_default());
            left = left.saturating_sub(read as u64);
        }
        let after = version(file).ok_or(Unhashed::Unreadable)?;
        if (after.file, after.size, after.modified) != (key.file, key.size, key.modified) {
            return Err(Unhashed::Changed);
        }
        Ok(hex(&digest.finalize()))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Opens the executable of a process.
fn open(request: &Request) -> Result<(File, String, ExecutableKey), Unhashed> {
    let mut path = std::str::from_utf8(&request.image).map_err(|_| Unhashed::Unreadable)?.to_owned();
    let runs =
        Process::of(request.process).filter(|process| process.times().is_some_and(|(_, ended)| !ended));
    // A path whose device has no letter, or one that was renamed since: the system knows where the file is now.
    let renamed = match runs.as_ref().and_then(Process::image) {
        Some(now) => !std::mem::replace(&mut path, now).eq_ignore_ascii_case(&path),
        None => false,
    };
    let file = match open_file(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Unhashed::Unreadable);
        }
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return Err(Unhashed::Unreadable),
        Err(_) => return Err(Unhashed::Gone),
    };
    let key = version(&file).ok_or(Unhashed::Unreadable)?;
    let young = key.modified > request.started.plus_nanos(CHANGE_SLACK).nanos();
    let other = request.file != sonde_common::live::FileId::default() && request.file != key.file;
    if other || (runs.is_none() && young) || (renamed && young) {
        return Err(Unhashed::Changed);
    }
    Ok((file, path, key))
}

#[cfg(test)]
mod tests {
    use sonde_common::live::FileId;
    use sonde_common::process::ProcessKey;
    use sonde_common::time::Timestamp;

    use super::super::process::process_key;
    use super::*;

    fn request(process: ProcessKey, image: &str, started: Timestamp) -> Request {
        Request {
            id: 7,
            process,
            started,
            boot: Timestamp::ZERO,
            image: image.as_bytes().into(),
            file: FileId::default(),
            unlinked: false,
        }
    }

    #[test]
    fn the_digest_is_that_of_the_file_and_is_kept() {
        let own = process_key(std::process::id(), Timestamp::ZERO).unwrap();
        let image = std::env::current_exe().unwrap();
        let mut examiner = Examiner::new(1 << 30);
        let stop = AtomicBool::new(false);
        let answer = examiner.examine(&request(own, image.to_str().unwrap(), own.start), &stop);
        let expected = hex(&Sha256::digest(std::fs::read(&image).unwrap()));
        assert_eq!((answer.id, answer.facts.sha256.as_str()), (7, expected.as_str()));
        assert_ne!(answer.facts.signed, Some(true));
        let again = examiner.examine(&request(own, image.to_str().unwrap(), own.start), &stop);
        assert!(Arc::ptr_eq(&again.facts, &answer.facts), "it was not read twice");
        assert_eq!(again.key, answer.key);
    }

    #[test]
    fn a_file_that_is_too_large_gone_or_newer_than_its_process_is_not_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.exe");
        std::fs::write(&path, b"abc").unwrap();
        let path = path.to_str().unwrap();
        // "abc", FIPS 180-4.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let dead = |started| request(ProcessKey { pid: u32::MAX - 3, start: started }, path, started);
        let stop = AtomicBool::new(false);
        let why = |examiner: &mut Examiner, request| examiner.examine(&request, &stop).facts.unhashed;
        let late = Timestamp::from_secs_nanos(4_000_000_000, 0);
        assert_eq!(Examiner::new(100).examine(&dead(late), &stop).facts.sha256, digest);
        assert_eq!(why(&mut Examiner::new(2), dead(late)), Some(Unhashed::TooLarge));
        let early = Timestamp::from_secs_nanos(1_000_000_000, 0);
        assert_eq!(why(&mut Examiner::new(100), dead(early)), Some(Unhashed::Changed));
        std::fs::remove_file(path).unwrap();
        assert_eq!(why(&mut Examiner::new(100), dead(late)), Some(Unhashed::Gone));
        stop.store(true, Ordering::Relaxed);
        std::fs::write(path, b"abc").unwrap();
        assert_eq!(why(&mut Examiner::new(100), dead(late)), Some(Unhashed::Busy));
    }
}
