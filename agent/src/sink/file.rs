//! NDJSON to a file or to stdout, one record a line.
//!
//! The file is opened for each batch and closed behind it: so a file that logrotate renamed, a file system that was mounted
//! anew and a folder that came back need no signal and no state here. A record is acknowledged once the disk has it. A batch
//! is in the file as a whole or not at all, as far as the system lets us cut off what was written of it.

mod rotate;

pub(crate) use self::rotate::set_aside;
#[cfg(test)]
#[cfg(feature = "linux-tests")]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sonde_common::config::{FileSettings, SinkName};
use sonde_common::record::Record;

use super::{Delivering, Delivery, Outcome, SetupError, Sink};
use crate::platform::append;

/// How often a file is opened again that another renamed in between.
const OPEN_ATTEMPTS: usize = 3;

/// Why a batch is not written, and what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// There is no folder for it.
    #[error("the folder {folder} is missing: make it, or set another path")]
    NoFolder {
        /// The folder.
        folder: String,
    },
    /// It is there, and not to be written to.
    #[error("{path} is not written to: {why}")]
    Unsafe {
        /// The file or folder.
        path: String,
        /// Why not.
        why: String,
    },
    /// Another process holds it.
    #[error("another process holds {path}: two sinks, or two sensors, write to the same file")]
    Held {
        /// The file.
        path: String,
    },
    /// There is no room left.
    #[error("no room on the disk of {path}: {error}")]
    Full {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The system refuses.
    #[error("{path}: {what}: {error}")]
    System {
        /// The file.
        path: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// A file, or stdout.
#[derive(Debug)]
pub(super) struct FileSink(Arc<Mutex<Target>>);

#[derive(Debug)]
enum Target {
    File(Writer),
    /// Whether a write to stdout failed somewhere within a line.
    Stdout {
        torn: bool,
        sync: bool,
    },
}

/// Writes batches to one path.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    settings: FileSettings,
}

impl FileSink {
    /// Sets it up, and looks whether what is there may be written to. Nothing is made yet.
    pub(super) fn open(name: &SinkName, settings: &FileSettings) -> Result<Self, SetupError> {
        let target = match settings.path.get() {
            None => Target::Stdout { torn: false, sync: settings.sync },
            Some(path) => {
                let writer = Writer { path: PathBuf::from(path), settings: settings.clone() };
                writer
                    .check()
                    .map_err(|error| SetupError { sink: name.clone(), reason: error.to_string() })?;
                Target::File(writer)
            }
        };
        Ok(Self(Arc::new(Mutex::new(target))))
    }
}

impl Sink for FileSink {
    fn deliver<'a>(&'a mut self, batch: &'a [Record]) -> Delivering<'a> {
        Box::pin(async move {
            let lines = lines(batch);
            let target = Arc::clone(&self.0);
            // A disk can take its time, and a pipe for ever: neither may hold up the other sinks. If the caller gives up on
            // us the batch may still be written, and comes twice: a reader knows it by its id.
            let write = tokio::task::spawn_blocking(move || {
                let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
                target.write(&lines, SystemTime::now())
            });
            match write.await {
                Ok(Ok(said)) => Delivery::all(&Outcome::Acknowledged, batch.len(), said),
                Ok(Err(error)) => {
                    let reason = error.to_string();
                    Delivery::all(&Outcome::Retry(reason.clone()), batch.len(), reason)
                }
                Err(error) => {
                    let reason = format!("the writing thread ended: {error}");
                    Delivery::all(&Outcome::Retry(reason.clone()), batch.len(), reason)
                }
            }
        })
    }
}

/// The records, each as one line. A body has no line's end by contract; between the tokens of JSON a blank is as good.
fn lines(batch: &[Record]) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.iter().map(|record| record.body.len() + 1).sum());
    for record in batch {
        out.extend(record.body.iter().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b }));
        out.push(b'\n');
    }
    out
}

impl Target {
    fn write(&mut self, lines: &[u8], now: SystemTime) -> Result<String, FileError> {
        match self {
            Self::File(writer) => writer.write(lines, now),
            Self::Stdout { torn, sync } => {
                let error = |what| move |error| FileError::System { path: "stdout".to_owned(), what, error };
                let mut out = io::stdout().lock();
                if *torn {
                    out.write_all(b"\n").map_err(error("ending a torn line"))?;
                }
                *torn = true;
                out.write_all(lines).and_then(|()| out.flush()).map_err(error("writing"))?;
                *torn = false;
                if *sync {
                    append::sync_stdout().map_err(error("bringing it to the disk"))?;
                }
                Ok("written to stdout".to_owned())
            }
        }
    }
}

impl Writer {
    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn system(&self, what: &'static str) -> impl FnOnce(io::Error) -> FileError {
        let path = self.shown();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileError::Full { path, error },
            _ => FileError::System { path, what, error },
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or_else(|| Path::new("/"))
    }

    /// Whether the folder and what lies at the path may be used.
    fn check(&self) -> Result<(), FileError> {
        let folder = self.folder();
        let shown = || folder.display().to_string();
        match fs::metadata(folder) {
            Ok(data) if data.is_dir() => {
                if let Some(why) = append::folder_objection(folder, &data) {
                    return Err(FileError::Unsafe { path: shown(), why: why.to_owned() });
                }
            }
            Ok(_) => return Err(FileError::NoFolder { folder: shown() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FileError::NoFolder { folder: shown() });
            }
            Err(error) => return Err(self.system("looking at its folder")(error)),
        }
        match fs::symlink_metadata(&self.path) {
            Ok(data) => match append::objection(&data) {
                Some(why) => Err(FileError::Unsafe { path: self.shown(), why }),
                None => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.system("looking at it")(error)),
        }
    }

    /// Opens the file and keeps other Sondes from it. What is opened is looked at again: it may have changed since
    /// [`Self::check`], which says it better.
    fn open(&self) -> Result<Locked, FileError> {
        for _ in 0..OPEN_ATTEMPTS {
            let (file, made) =
                append::open(&self.path, self.settings.mode.bits()).map_err(self.system("opening it"))?;
            let data = file.metadata().map_err(self.system("looking at it"))?;
            if let Some(why) = append::objection(&data) {
                return Err(FileError::Unsafe { path: self.shown(), why });
            }
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Err(FileError::Held { path: self.shown() }),
                Err(fs::TryLockError::Error(error)) => return Err(self.system("locking it")(error)),
            }
            let file = Locked(file);
            // Whoever held the lock until now may have set the file aside.
            if !append::lies_at(&file, &self.path) {
                continue;
            }
            if made {
                append::sync_folder(self.folder()).map_err(self.system("bringing its name to the disk"))?;
            }
            return Ok(file);
        }
        Err(FileError::Held { path: self.shown() })
    }

    /// Appends whole lines; the disk has them when this returns.
    fn write(&self, lines: &[u8], now: SystemTime) -> Result<String, FileError> {
        self.check()?;
        let mut file = self.open()?;
        let data = file.metadata().map_err(self.system("looking at it"))?;
        let mut said = format!("written to {}", self.path.display());
        if rotate::is_due(&data, lines.len(), &self.settings, now) {
            end_torn_line(&mut file, data.len()).map_err(self.system("ending a torn line"))?;
            match rotate::set_aside(&self.path, self.settings.keep.get()) {
                Ok(()) => {
                    // The old one stays locked until the new one is.
                    let old = std::mem::replace(&mut file, self.open()?);
                    drop(old);
                    said.push_str("; the old file was set aside");
                }
                // A file that is too long is better than an alert that is nowhere.
                Err(error) => said.push_str(&format!("; it is to be set aside, and cannot be: {error}")),
            }
        }
        let begin = file.metadata().map_err(self.system("looking at it"))?.len();
        let written = end_torn_line(&mut file, begin)
            .and_then(|()| file.write_all(lines))
            .and_then(|()| if self.settings.sync { file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            self.take_back(&mut file, begin);
            return Err(self.system("writing")(error));
        }
        Ok(said)
    }

    /// Cuts off what was written of a batch that failed, so that no half line stays and none comes twice. Where even that
    /// fails the torn line is ended before the next batch.
    fn take_back(&self, file: &mut File, begin: u64) {
        let cut =
            file.set_len(begin).and_then(|()| if self.settings.sync { file.sync_data() } else { Ok(()) });
        if let Err(error) = cut {
            tracing::warn!(file = %self.path.display(), %error, "what was written of a batch that failed stays in the file");
        }
    }
}

/// A file that is ours alone until this is dropped. It is unlocked, not merely closed: a child that is being started has a copy
/// of the descriptor until it becomes another program, and the lock would last as long as that copy.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // What cannot be unlocked is closed now, which does the same but for that child.
        let _ = self.0.unlock();
    }
}

impl std::ops::Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

/// Ends the last line of a file with a newline, where a crash or another writer left it without.
fn end_torn_line(file: &mut File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    // Nothing there: it was cut by another in between, and its end is not torn.
    if file.read(&mut last)? == 0 || last == [b'\n'] {
        return Ok(());
    }
    file.write_all(b"\n")
}
