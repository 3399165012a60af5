//! What the standard library offers of files on one system alone: reading and writing at a place, and files that nobody else
//! can read: those lie in folders that [`super::paths::private_folder`] made, whose rights they have.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_STANDARD_INFO, FileStandardInfo, GetFileInformationByHandleEx,
};

/// Makes an empty file; one of that name is emptied. A link is not followed.
///
/// # Errors
/// As the system says.
pub fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = no_link(options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?)?;
    file.set_len(0)?;
    Ok(file)
}

/// Opens a file to append to; makes it where there is none. A link is not followed.
///
/// # Errors
/// As the system says.
pub fn private_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    no_link(options.open(path)?)
}

/// What was opened, if it is a file and leads nowhere else.
pub(super) fn no_link(file: File) -> io::Result<File> {
    let data = file.metadata()?;
    if data.is_symlink() || !data.is_file() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is a link or no regular file"));
    }
    Ok(file)
}

/// Writes at a place; how much.
///
/// # Errors
/// As the system says.
pub fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<usize> {
    file.seek_write(bytes, at)
}

/// Reads from a place; how much.
///
/// # Errors
/// As the system says.
pub fn read_at(file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
    file.seek_read(into, at)
}

/// Whether no folder names an open file any more, or none will once it is closed.
///
/// # Errors
/// As the system says.
pub fn is_deleted(file: &File) -> io::Result<bool> {
    let mut info = FILE_STANDARD_INFO::default();
    let length = u32::try_from(size_of::<FILE_STANDARD_INFO>()).unwrap_or(0);
    // SAFETY: the handle is open for as long as `file` is, and the buffer is as long as is said.
    let done = unsafe {
        GetFileInformationByHandleEx(
            file.as_raw_handle(),
            FileStandardInfo,
            std::ptr::from_mut(&mut info).cast(),
            length,
        )
    };
    if done == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(info.DeletePending || info.NumberOfLinks == 0)
    }
}

/// Brings the names in a folder to the disk: the file system does so by itself, from its own log of changes.
///
/// # Errors
/// If there is no such folder.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    std::fs::metadata(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_and_read_at_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = private(&path).unwrap();
        assert_eq!(write_at(&file, 3, b"def").unwrap(), 3);
        assert_eq!(write_at(&file, 0, b"abc").unwrap(), 3);
        let mut all = [0; 8];
        assert_eq!(read_at(&file, 1, &mut all).unwrap(), 5);
        assert_eq!(&all[..5], b"bcdef");
        // Given another name while it is open, as a spool does.
        std::fs::rename(&path, folder.path().join("other")).unwrap();
        let mut more = private_append(&folder.path().join("other")).unwrap();
        std::io::Write::write_all(&mut more, b"g").unwrap();
        assert_eq!(std::fs::read(folder.path().join("other")).unwrap(), b"abcdefg");
        drop(file);
        assert_eq!(private(&folder.path().join("other")).unwrap().metadata().unwrap().len(), 0);
        assert!(private(folder.path()).is_err() && sync_folder(&path).is_err());
        sync_folder(folder.path()).unwrap();
    }
}
