//! The name under which the Event Log knows our entries, and where it finds their wording.

use std::io;

use windows_sys::Win32::Foundation::ERROR_FILE_NOT_FOUND;
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_SET_VALUE, REG_DWORD, REG_EXPAND_SZ, REG_OPTION_NON_VOLATILE, RegCloseKey,
    RegCreateKeyExW, RegDeleteTreeW, RegSetValueExW,
};

use crate::platform::windows::wide::wide;

const KEY: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application\Sonde";
/// The system's own program for entries made by hand: its messages 1 to 1000 are the first text of an entry, and no more.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
/// Errors, warnings and information.
const TYPES: u32 = 7;

/// Registers it.
///
/// # Errors
/// As the system says.
pub(super) fn register() -> io::Result<()> {
    let name = wide(KEY)?;
    let mut key: HKEY = std::ptr::null_mut();
    // SAFETY: the name ends with a zero, and the key is written to a live variable.
    check(unsafe {
        RegCreateKeyExW(
            HKEY_LOCAL_MACHINE,
            name.as_ptr(),
            0,
            std::ptr::null(),
            REG_OPTION_NON_VOLATILE,
            KEY_SET_VALUE,
            std::ptr::null(),
            &raw mut key,
            std::ptr::null_mut(),
        )
    })?;
    let messages: Vec<u8> = wide(MESSAGES)?.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let done = set(key, "EventMessageFile", REG_EXPAND_SZ, &messages)
        .and_then(|()| set(key, "TypesSupported", REG_DWORD, &TYPES.to_le_bytes()));
    // SAFETY: the key is open and ours.
    unsafe { RegCloseKey(key) };
    done
}

/// Takes it away again.
///
/// # Errors
/// As the system says; that there is none is no error.
pub(super) fn remove() -> io::Result<()> {
    let name = wide(KEY)?;
    // SAFETY: the name ends with a zero.
    match unsafe { RegDeleteTreeW(HKEY_LOCAL_MACHINE, name.as_ptr()) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        code => check(code),
    }
}

fn set(key: HKEY, name: &str, kind: u32, value: &[u8]) -> io::Result<()> {
    let name = wide(name)?;
    let length = u32::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the key is open, the name ends with a zero, and the value is as long as is said.
    check(unsafe { RegSetValueExW(key, name.as_ptr(), 0, kind, value.as_ptr(), length) })
}

fn check(code: u32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_can_be_removed_twice() {
        register().unwrap();
        register().unwrap();
        remove().unwrap();
        remove().unwrap();
    }
}
