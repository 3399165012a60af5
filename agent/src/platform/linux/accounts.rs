//! Users and groups by name and number, as the system's own library knows them (files, LDAP, sssd).

use std::ffi::{CStr, CString};

/// Room for one entry at first, and at most, in bytes.
const FIRST_BUFFER: usize = 1 << 10;
const LAST_BUFFER: usize = 1 << 20;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Number.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
    /// Name.
    pub name: String,
}

/// Calls with a growing buffer until the entry fits; `None` if there is none.
fn with_buffer<T>(mut call: impl FnMut(&mut [libc::c_char]) -> Result<Option<T>, i32>) -> Option<T> {
    let mut size = FIRST_BUFFER;
    loop {
        match call(&mut vec![0; size]) {
            Ok(found) => return found,
            Err(libc::ERANGE) if size < LAST_BUFFER => size *= 2,
            Err(_) => return None,
        }
    }
}

/// The number of a group, by its name or number.
#[must_use]
pub fn group(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let name = CString::new(name).ok()?;
    with_buffer(|buffer| {
        let mut entry = std::mem::MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are to live memory of the given size; the entry is read only if `found` points to it.
        let error = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match (error, found.is_null()) {
            (0, true) => Ok(None),
            // SAFETY: no error and a result: the library filled the entry in.
            (0, false) => Ok(Some(unsafe { entry.assume_init() }.gr_gid)),
            (error, _) => Err(error),
        }
    })
}

/// A user, by name or number.
#[must_use]
pub fn user(name: &str) -> Option<User> {
    if let Ok(number) = name.parse() {
        return Some(user_of(number).unwrap_or(User { uid: number, gid: number, name: name.to_owned() }));
    }
    let name = CString::new(name).ok()?;
    with_buffer(|buffer| {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: as in `group`.
        let error = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        filled(error, found, &entry)
    })
}

/// The user with this number.
#[must_use]
pub fn user_of(uid: u32) -> Option<User> {
    with_buffer(|buffer| {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: as in `group`.
        let error = unsafe {
            libc::getpwuid_r(uid, entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        filled(error, found, &entry)
    })
}

/// The user in an entry, if the library filled it in.
fn filled(
    error: i32,
    found: *mut libc::passwd,
    entry: &std::mem::MaybeUninit<libc::passwd>,
) -> Result<Option<User>, i32> {
    if error != 0 {
        return Err(error);
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: no error and a result: the library filled the entry in, and its texts lie in the caller's buffer.
    let (entry, name) = unsafe {
        let entry = entry.assume_init_ref();
        (entry, CStr::from_ptr(entry.pw_name))
    };
    Ok(Some(User { uid: entry.pw_uid, gid: entry.pw_gid, name: name.to_string_lossy().into_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_both_ways_and_nobody_else_is_made_up() {
        let root = user("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(user_of(0).unwrap().name, "root");
        assert_eq!(group("root"), Some(0));
        assert_eq!(group("4711"), Some(4711));
        assert_eq!((user("no such user\u{1}"), group("no-such-group-here")), (None, None));
        assert_eq!(user("nul\0"), None);
    }
}
