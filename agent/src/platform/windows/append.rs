//! Files that are appended to in folders where others may write too: opened without following links, told apart from
//! what others put in their place.
//!
//! What is locked here, others cannot read for as long: the lock is held for one batch.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_GENERIC_READ,
    FILE_GENERIC_WRITE, GetFileInformationByHandle,
};

use super::security::{REPLACE, stranger};
use super::wide::check;

/// Whether a path still leads to this file, and by no link.
#[must_use]
pub fn lies_at(file: &File, path: &Path) -> bool {
    let there = OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path);
    let (Ok(ours), Ok(there)) = (place(file), there.and_then(|there| place(&there))) else { return false };
    ours == there
}

/// Volume and number of a file, and how many names it has.
fn information(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut information = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is live.
    check(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut information) })?;
    Ok(information)
}

fn place(file: &File) -> io::Result<(u32, u32, u32)> {
    let found = information(file)?;
    Ok((found.dwVolumeSerialNumber, found.nFileIndexHigh, found.nFileIndexLow))
}

/// Opens a file to append to and to read its end; makes it if there is none. Whether it was made. Its rights are those of
/// its folder.
///
/// # Errors
/// What the system says; a link is not followed.
pub fn open(path: &Path, _mode: u32) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    // Not only to append: what was written of a batch that failed is cut off again.
    options
        .append(true)
        .access_mode(FILE_GENERIC_READ | FILE_GENERIC_WRITE)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    let (mut file, made) = match options.clone().create_new(true).open(path) {
        Ok(file) => (file, true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (options.open(path)?, false),
        Err(error) => return Err(error),
    };
    io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
    Ok((file, made))
}

/// Why a file is not to be written to, if so: it is no file, or leads elsewhere.
#[must_use]
pub fn objection(data: &Metadata) -> Option<String> {
    if data.is_symlink() {
        Some("it is a symbolic link, which could lead anywhere".to_owned())
    } else if !data.is_file() {
        Some("it is no regular file".to_owned())
    } else {
        None
    }
}

/// Why a folder is no place for such a file, if so: others could put another file in its place.
#[must_use]
pub fn folder_objection(path: &Path, _data: &Metadata) -> Option<&'static str> {
    let mut options = OpenOptions::new();
    // To read whose it is, and no more.
    options.access_mode(READ_CONTROL).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
    match options.open(path).and_then(|folder| stranger(&folder, REPLACE)) {
        Ok(None) => None,
        Ok(Some(_)) => Some("others may rename and delete files there"),
        Err(_) => Some("the system does not say who may change files there"),
    }
}

/// winnt.h.
const READ_CONTROL: u32 = 0x2_0000;

/// Brings the names of a folder to the disk, which the file system does by itself.
///
/// # Errors
/// If there is no such folder.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    super::files::sync_folder(path)
}

/// Brings to the disk what was written to stdout, where it is a file: the system tells of none that failed.
///
/// # Errors
/// None here.
pub const fn sync_stdout() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    #[test]
    fn a_file_is_told_from_another_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("alerts"), folder.path().join("alerts.1"));
        let (mut file, made) = open(&path, 0).unwrap();
        assert!(made && lies_at(&file, &path));
        file.write_all(b"one\n").unwrap();
        // While it is open, as when it is set aside.
        std::fs::rename(&path, &aside).unwrap();
        let (mut second, made) = open(&path, 0).unwrap();
        assert!(made && !lies_at(&file, &path) && lies_at(&file, &aside));
        second.write_all(b"two\n").unwrap();
        drop(second);
        let (mut again, made) = open(&path, 0).unwrap();
        again.write_all(b"three\n").unwrap();
        assert!(!made);
        again.rewind().unwrap();
        let mut text = String::new();
        again.read_to_string(&mut text).unwrap();
        assert_eq!(text, "two\nthree\n");
        again.set_len(4).unwrap();
        assert_eq!(again.metadata().unwrap().len(), 4);
        assert!(open(folder.path(), 0).is_err());
    }

    #[test]
    fn a_lock_keeps_others_out_until_it_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts");
        let (first, _) = open(&path, 0).unwrap();
        first.try_lock().unwrap();
        let (second, _) = open(&path, 0).unwrap();
        assert!(matches!(second.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
        first.unlock().unwrap();
        second.try_lock().unwrap();
    }
}
