//! What the standard library offers of files on one system alone: reading and writing at a place, and files that nobody else
//! can read.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes an empty file that only its owner can read; one of that name is emptied. A link is not followed.
///
/// # Errors
/// As the system says.
pub fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Opens a file to append to, which only its owner can read; makes it where there is none. A link is not followed.
///
/// # Errors
/// As the system says.
pub fn private_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Writes at a place; how much.
///
/// # Errors
/// As the system says.
pub fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<usize> {
    file.write_at(bytes, at)
}

/// Reads from a place; how much.
///
/// # Errors
/// As the system says.
pub fn read_at(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    file.read_at(into, at)
}

/// Whether no folder names an open file any more.
///
/// # Errors
/// As the system says.
pub fn is_deleted(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() == 0)
}

/// Brings the names in a folder to the disk.
///
/// # Errors
/// As the system says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
