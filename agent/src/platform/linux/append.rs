//! Files that are appended to in folders where others may write too: opened without following links, told apart from
//! what others put in their place.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::io::Errno;

/// Whether a path still leads to this file, and by no link.
#[must_use]
pub fn lies_at(file: &File, path: &Path) -> bool {
    let place = |data: Metadata| (data.dev(), data.ino());
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    place(ours) == place(there)
}

/// Opens a file to append to and to read its end; makes it with these rights if there is none. Whether it was made.
///
/// # Errors
/// What the system says; a link is not followed, and a pipe is not waited for.
pub fn open(path: &Path, mode: u32) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(mode).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            // The mask of the process took rights away.
            file.set_permissions(Permissions::from_mode(mode))?;
            Ok((file, true))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((options.open(path)?, false)),
        Err(error) => Err(error),
    }
}

/// Why a file is not to be written to, if so: it is no file, or others decide over it.
#[must_use]
pub fn objection(data: &Metadata) -> Option<String> {
    let ours = rustix::process::geteuid().as_raw();
    if data.is_symlink() {
        Some("it is a symbolic link, which could lead anywhere".to_owned())
    } else if !data.is_file() {
        Some("it is no regular file".to_owned())
    } else if data.uid() != ours && data.uid() != 0 {
        Some(format!("it belongs to another user (uid {}, this one is {ours})", data.uid()))
    } else if data.mode() & 0o002 != 0 {
        Some("everybody may write to it".to_owned())
    } else if data.nlink() > 1 {
        Some("it has a second name (a hard link), which could be another's file".to_owned())
    } else {
        None
    }
}

/// Why a folder is no place for such a file, if so: anybody could put another file in its place.
#[must_use]
pub fn folder_objection(_path: &Path, data: &Metadata) -> Option<&'static str> {
    const STICKY: u32 = 0o1000;
    let open_to_all = data.mode() & 0o002 != 0 && data.mode() & STICKY == 0;
    open_to_all.then_some("everybody may rename and delete files there")
}

/// Brings the names of a folder to the disk.
///
/// # Errors
/// What the system says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = fs::File::open(path)?;
    match rustix::fs::fsync(&folder) {
        // Some file systems have no such thing.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Brings to the disk what was written to stdout, where it is a file.
///
/// # Errors
/// What the system says.
pub fn sync_stdout() -> io::Result<()> {
    match rustix::fs::fdatasync(std::io::stdout()) {
        // A pipe or a terminal.
        Ok(()) | Err(Errno::INVAL | Errno::ROFS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
