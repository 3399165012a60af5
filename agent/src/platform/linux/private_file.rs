//! Files that hold secrets: opened only if nobody else can read or change them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Links that are followed to a secret; what mounts secrets by links uses two.
const MAX_LINKS: usize = 8;

/// Opens a file that holds a secret.
///
/// # Errors
/// If it cannot be opened, is no regular file, belongs to neither root nor us, others may read it or its group write it, or a
/// link that leads there belongs to somebody else. The error names the remedy.
pub fn open_private(path: &Path) -> io::Result<File> {
    let us = rustix::process::geteuid().as_raw();
    let trusted = |owner: u32| owner == 0 || owner == us;
    let denied = |text: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    let mut path: PathBuf = path.to_owned();
    for _ in 0..MAX_LINKS {
        let data = std::fs::symlink_metadata(&path)?;
        if !data.is_symlink() {
            break;
        }
        if !trusted(data.uid()) {
            return denied(format!(
                "it is a link of user {}, who could lead it elsewhere: name the file itself",
                data.uid()
            ));
        }
        let target = std::fs::read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    // A pipe would make us wait, and a link that came since is not followed.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return denied("it is no regular file".to_owned());
    }
    if !trusted(data.uid()) {
        return denied(format!("it belongs to user {}: chown it to root or the sensor's user", data.uid()));
    }
    if data.mode() & 0o027 != 0 {
        return denied(format!(
            "others may read it or its group may change it (mode {:o}): chmod 0640 it",
            data.mode() & 0o777
        ));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_secret_is_read_only_where_nobody_else_could() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "geheim").unwrap();
        for (mode, good) in
            [(0o600, true), (0o640, true), (0o400, true), (0o644, false), (0o660, false), (0o604, false)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(open_private(&path).is_ok(), good, "{mode:o}");
        }
        assert!(open_private(&path).unwrap_err().to_string().contains("chmod 0640"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let link = folder.path().join("link");
        symlink("secret", &link).unwrap();
        assert!(open_private(&link).is_ok(), "a link of our own leads there");
        let circle = folder.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(open_private(&circle).is_err());
        assert!(open_private(folder.path()).is_err() && open_private(&folder.path().join("none")).is_err());
    }

    #[test]
    fn what_belongs_to_others_is_not_believed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("secret"), folder.path().join("link"));
        std::fs::write(&path, "geheim").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&path, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12_345), None).unwrap();
        assert!(open_private(&link).unwrap_err().to_string().contains("link of user 12345"));
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        assert!(open_private(&path).unwrap_err().to_string().contains("belongs to user 12345"));
    }
}
