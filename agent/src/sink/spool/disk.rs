//! Where a spool keeps its files: a folder, or memory where the sensor keeps nothing on disk. Names are the spool's own; a
//! third implementation, in the tests, fails and forgets as disks do.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;

use crate::platform::{files, paths};

/// Files held open: two that are written, one that is read, two of the account.
const MAX_OPEN: usize = 6;

/// A flat folder of files.
pub trait Disk {
    /// Names and lengths of all files.
    ///
    /// # Errors
    /// As the system says; so of all others.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;
    /// Makes an empty file, which only its owner can read; one of that name is emptied.
    ///
    /// # Errors
    /// As the system says.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Writes at a place; how much was written, at least one byte.
    ///
    /// # Errors
    /// As the system says.
    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Reads from a place until the buffer is full or the file ends; how much.
    ///
    /// # Errors
    /// As the system says.
    fn read(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Cuts a file.
    ///
    /// # Errors
    /// As the system says.
    fn cut(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// Brings a file's content to the disk.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Brings the names of files to the disk.
    ///
    /// # Errors
    /// As the system says.
    fn sync_names(&mut self) -> io::Result<()>;
    /// Deletes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in place of one that has it.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&mut self, name: &str, to: &str) -> io::Result<()>;
    /// Whether what is written outlives the process.
    fn lasts(&self) -> bool;
}

/// Writes all of it.
///
/// # Errors
/// As the system says; a part may have been written.
pub(super) fn write_all(disk: &mut dyn Disk, name: &str, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(name, at, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                bytes = bytes.get(written..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a file of at most `most` bytes; `None` if it is longer.
///
/// # Errors
/// As the system says.
pub(super) fn read_all(
    disk: &mut dyn Disk,
    name: &str,
    length: u64,
    most: u64,
) -> io::Result<Option<Vec<u8>>> {
    let Some(length) = usize::try_from(length).ok().filter(|_| length <= most) else { return Ok(None) };
    let mut bytes = vec![0; length];
    let read = disk.read(name, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The latest used at the end.
    open: Vec<(String, File)>,
}

impl Folder {
    /// The folder, which is there.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, open: Vec::new() }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        if let Some(at) = self.open.iter().position(|(open, _)| open == name) {
            let file = self.open.remove(at);
            self.open.push(file);
        } else {
            let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
            self.hold(name, file);
        }
        self.open.last_mut().map(|(_, file)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn hold(&mut self, name: &str, file: File) {
        self.forget(name);
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push((name.to_owned(), file));
    }

    fn forget(&mut self, name: &str) {
        self.open.retain(|(open, _)| open != name);
    }
}

impl Disk for Folder {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let data = entry.metadata()?;
            if let (true, Ok(name)) = (data.is_file(), entry.file_name().into_string()) {
                files.push((name, data.len()));
            }
        }
        Ok(files)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        let file = match files::private(&path) {
            // Who deleted the folder of a sensor that runs loses what waited there, and not what comes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(above) = self.path.parent() {
                    paths::private_folder(above)?;
                }
                paths::private_folder(&self.path)?;
                files::private(&path)?
            }
            made => made?,
        };
        self.hold(name, file);
        Ok(())
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        files::write_at(self.file(name)?, at, bytes)
    }

    fn read(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file(name)?;
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match files::read_at(file, at + read as u64, rest) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.file(name)?.set_len(length)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let file = self.file(name)?;
        file.sync_data()?;
        // It can be read while it is open, and is gone with the process.
        if files::is_deleted(file)? {
            let place = self.path.join(name);
            let text = format!("{} was deleted while it was in use", place.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        files::sync_folder(&self.path)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.forget(name);
        fs::remove_file(self.path.join(name))
    }

    fn rename(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.forget(name);
        self.forget(to);
        fs::rename(self.path.join(name), self.path.join(to))
    }

    fn lasts(&self) -> bool {
        true
    }
}

/// Memory, for a sensor that keeps nothing on disk: the same rules and the same caps, until it stops.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<String, Vec<u8>>);

impl Memory {
    fn file(&mut self, name: &str) -> io::Result<&mut Vec<u8>> {
        self.0.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Memory {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.0.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.0.insert(name.to_owned(), Vec::new());
        Ok(())
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file(name)?;
        let at = usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = at + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        if let Some(place) = file.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn read(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file(name)?;
        let from = usize::try_from(at).ok().and_then(|at| file.get(at..)).unwrap_or_default();
        let count = from.len().min(into.len());
        into.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        Ok(count)
    }

    fn cut(&mut self, name: &str, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.file(name)?.resize(length, 0);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name).map(|_| ())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, name: &str, to: &str) -> io::Result<()> {
        let bytes = self.0.remove(name).ok_or(io::ErrorKind::NotFound)?;
        self.0.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn lasts(&self) -> bool {
        false
    }
}
