//! Where Sonde's files lie on Linux, and how its folders are made.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sonde_common::config::Config;

/// The configuration that `sonde run` reads where none is named, if it is there.
#[must_use]
pub fn config_file() -> PathBuf {
    PathBuf::from("/etc/sonde/sonde.toml")
}

/// Whether the system's configuration may be believed: only root makes files where it lies.
///
/// # Errors
/// None here.
pub const fn check_config(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Gives settings that were left at their default the places of this system: here they are those already.
pub const fn settle(_config: &mut Config) {}

/// Databases of installed packages, of the systems that have one.
const PACKAGE_DATABASES: [&str; 6] = [
    "/var/lib/dpkg/status",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages.db",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
];

/// The database of installed packages that this machine has and that we may read.
#[must_use]
pub fn package_database() -> Option<&'static str> {
    PACKAGE_DATABASES.into_iter().find(|path| std::fs::File::open(path).is_ok())
}

/// Makes a folder that only its owner can open, with those above it; one that is there is let be.
///
/// # Errors
/// If it cannot be made, or is no folder, or others may write to it: what lies in it would be believed.
pub fn private_folder(path: &Path) -> io::Result<()> {
    if !path.exists() {
        if let Some(above) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(above)?;
        }
        DirBuilder::new().mode(0o700).create(path)?;
    }
    let data = std::fs::metadata(path)?;
    if !data.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "is no folder"));
    }
    if data.mode() & 0o022 != 0 {
        let mode = data.mode() & 0o777;
        let text = format!(
            "others may write to it (mode {mode:o}): chmod go-w it, since what lies there is believed"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_is_made_for_its_owner_alone_and_an_open_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib/sonde");
        private_folder(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        private_folder(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(private_folder(&path).unwrap_err().to_string().contains("others may write"));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(private_folder(&file).is_err() && private_folder(&file.join("below")).is_err());
    }

    #[test]
    fn a_link_in_place_of_the_state_is_replaced_and_what_it_leads_to_is_left_alone() {
        use crate::state::{Sections, StateFile};
        let folder = tempfile::tempdir().unwrap();
        let (victim, path) = (folder.path().join("victim"), folder.path().join("sensor.state"));
        std::fs::write(&victim, "root:x:0:0").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let file = StateFile::new(path.clone(), 1 << 20);
        let now = sonde_common::time::Timestamp::ZERO;
        let loaded = file.load(now);
        assert!(loaded.sections.is_empty() && !loaded.damage.is_empty(), "what it leads to is no state");
        let mut sections = Sections::new();
        sections.put("engine", vec![7; 100]);
        file.save(&sections).unwrap();
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file(), "a file of its own");
        assert_eq!(file.load(now).sections, sections);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "root:x:0:0");
    }
}
