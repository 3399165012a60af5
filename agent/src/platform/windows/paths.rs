//! Where Sonde's files lie on Windows, and how its folders are made.

use std::ffi::c_void;
use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sonde_common::config::{Config, Place};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
};
use windows_sys::core::GUID;

use super::privileges::elevated;
use super::security::{CHANGE, Descriptor, stranger};
use super::wide::{check, text_at, wide};

/// Where the sensor is asked.
const CONTROL_PIPE: &str = r"\\.\pipe\sonde";
/// knownfolders.h.
const PROGRAM_DATA: GUID = GUID::from_u128(0x62ab_5d82_fdc1_4dc3_a9dd_070d_1d49_5d97);
/// winnt.h.
pub(super) const READ_CONTROL: u32 = 0x2_0000;

// Declared here: all of the shell's and COM's interfaces would have to be compiled for these two.
#[link(name = "shell32")]
unsafe extern "system" {
    fn SHGetKnownFolderPath(id: *const GUID, flags: u32, token: HANDLE, path: *mut *mut u16) -> i32;
}
#[link(name = "ole32")]
unsafe extern "system" {
    fn CoTaskMemFree(memory: *const c_void);
}

/// The folder that all of Sonde's lies in: `Sonde` in the system's folder of data, as the system knows it and not as a
/// variable says, which a user may have set for a program that is then run as administrator.
pub(super) fn folder() -> PathBuf {
    let mut place: *mut u16 = std::ptr::null_mut();
    // SAFETY: the identifier is a constant; the system allocates the text, which is freed with its own function.
    let data = unsafe {
        let result = SHGetKnownFolderPath(&PROGRAM_DATA, 0, std::ptr::null_mut(), &raw mut place);
        let data = text_at(place);
        CoTaskMemFree(place.cast());
        if result == 0 { data } else { String::new() }
    };
    Path::new(if data.is_empty() { r"C:\ProgramData" } else { &data }).join("Sonde")
}

/// Where a service's log lies, since nobody reads its stderr.
#[must_use]
pub fn log_folder() -> PathBuf {
    folder().join("log")
}

/// Makes the folders of a service, or takes away what others may do in them; which they are.
///
/// # Errors
/// If they cannot be made, or another account made one: what lies in it may be meant to be believed.
pub(super) fn service_folders() -> io::Result<Vec<PathBuf>> {
    let descriptor = Descriptor::of_the_system()?;
    let folders = vec![folder(), folder().join("state"), log_folder()];
    for path in &folders {
        let name = wide(path)?;
        let attributes = descriptor.attributes();
        // SAFETY: the name ends with a zero, and the descriptor outlives the call.
        match check(unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) }) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made?;
                continue;
            }
        }
        let mut options = OpenOptions::new();
        let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT;
        let open = options.access_mode(READ_CONTROL).custom_flags(flags).open(path)?;
        let data = open.metadata()?;
        let why = if data.is_symlink() || !data.is_dir() {
            "it is no folder, or leads elsewhere".to_owned()
        } else if let Some(who) = stranger(&open, 0)? {
            format!("{who} owns it")
        } else {
            descriptor.protect(path)?;
            continue;
        };
        let text = format!("{}: {why}: look at what lies there, and move it away", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(folders)
}

/// The configuration that `sonde run` reads where none is named, if it is there.
#[must_use]
pub fn config_file() -> PathBuf {
    folder().join("sonde.toml")
}

/// Whether the system's configuration may be believed: in the system's folder of data, every user may make files.
///
/// # Errors
/// If others may change it, or put another in its place.
pub fn check_config(path: &Path) -> io::Result<()> {
    if path != config_file() {
        return Ok(());
    }
    for path in [path, &folder()] {
        let mut options = OpenOptions::new();
        let open = options.access_mode(READ_CONTROL).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
        if let Some(who) = stranger(&open, CHANGE)? {
            let text = format!(
                "{who} may change {}: leave it to SYSTEM and Administrators (icacls), since what it says is done",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
    }
    Ok(())
}

/// Gives settings that were left at their default the places of this system.
pub fn settle(config: &mut Config) {
    let default = Config::default();
    let below = |name: &str| Place::of(&folder().join(name).to_string_lossy());
    if config.state.dir == default.state.dir {
        config.state.dir = below("state");
    }
    if config.profiles.dir == default.profiles.dir {
        config.profiles.dir = below("profiles.d");
    }
    if config.control.socket == default.control.socket {
        config.control.socket = Place::of(CONTROL_PIPE);
    }
}

/// Makes a folder that only SYSTEM, administrators and its owner can open, with those above it; one that is there is let be.
///
/// # Errors
/// If it cannot be made, or is no folder, or others may write to it: what lies in it would be believed.
pub fn private_folder(path: &Path) -> io::Result<()> {
    let all = folder();
    if path != all && path.starts_with(&all) {
        // Else every user could make files beside.
        private_folder(&all)?;
    }
    if !path.exists() {
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        let name = wide(path)?;
        // An administrator's own account in the list would be a stranger to the service that finds the folder later.
        let systems = path.starts_with(&all) && elevated();
        let descriptor =
            if systems { Descriptor::of_the_system()? } else { Descriptor::private("FA", "OICI")? };
        let attributes = descriptor.attributes();
        // SAFETY: the name ends with a zero, and the descriptor outlives the call.
        check(unsafe { CreateDirectoryW(name.as_ptr(), &raw const attributes) })?;
    }
    if !std::fs::metadata(path)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "is no folder"));
    }
    let mut options = OpenOptions::new();
    let folder = options.access_mode(READ_CONTROL).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)?;
    if let Some(who) = stranger(&folder, CHANGE)? {
        let text = format!(
            "others may write to it ({who}): take that right away (icacls), since what lies there is believed"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib").join("sonde");
        private_folder(&path).unwrap();
        private_folder(&path).unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(private_folder(&file).is_err() && private_folder(&file.join("below")).is_err());
    }

    #[test]
    fn the_folder_is_the_systems_and_other_configurations_are_their_owners_affair() {
        assert!(folder().is_absolute() && folder().ends_with("Sonde"), "{}", folder().display());
        assert!(check_config(Path::new(r"C:\nowhere\sonde.toml")).is_ok());
        assert!(config_file().exists() || check_config(&config_file()).is_err());
    }

    #[test]
    fn places_that_were_set_stay_and_others_are_windows_own() {
        let mut config = Config::parse("[state]\ndir = 'D:\\x'", &[]).unwrap();
        settle(&mut config);
        assert_eq!(config.state.dir.get(), Some(r"D:\x"));
        assert_eq!(config.control.socket.get(), Some(CONTROL_PIPE));
        assert!(config.profiles.dir.get().unwrap().ends_with(r"\Sonde\profiles.d"));
        let mut none = Config::parse("[control]\nsocket = ''", &[]).unwrap();
        settle(&mut none);
        assert_eq!(none.control.socket.get(), None);
    }
}
