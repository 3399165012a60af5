//! Files that hold secrets: opened only if nobody else can read or change them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OPEN_REPARSE_POINT;

use super::files::no_link;
use super::security::{APPEND, CHANGE, READ, stranger};

/// Opens a file that holds a secret.
///
/// # Errors
/// If it cannot be opened, is a link or no regular file, or accounts other than SYSTEM, administrators and ours may read or
/// change it. The error names the remedy.
pub fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = no_link(options.read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?)?;
    if let Some(who) = stranger(&file, READ | CHANGE | APPEND)? {
        let text = format!(
            "{who} may read or change it: leave it to SYSTEM and Administrators (icacls FILE /inheritance:r /grant:r *S-1-5-18:F *S-1-5-32-544:F)"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_secret_in_a_private_folder_is_read_and_a_folder_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let private = folder.path().join("private");
        crate::platform::paths::private_folder(&private).unwrap();
        assert!(open_private(&private).is_err() && open_private(&private.join("none")).is_err());
        std::fs::write(private.join("secret"), "geheim").unwrap();
        // Whether rights are inherited is the file system's; what is opened is what was meant.
        if let Ok(mut file) = open_private(&private.join("secret")) {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "geheim");
        }
    }
}
