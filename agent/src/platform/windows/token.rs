//! Whose a process is, by its token.

use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{
    GetTokenInformation, LookupAccountSidW, PSID, SID_AND_ATTRIBUTES, SID_NAME_USE, TOKEN_INFORMATION_CLASS,
    TOKEN_QUERY, TokenElevation, TokenUser,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION,
};

use super::wide::{check, text, text_at};

/// Most that is read of a token, in bytes.
const MAX_TOKEN_BYTES: u32 = 1 << 16;

/// The token of a process.
#[derive(Debug)]
pub(super) struct Token(OwnedHandle);

impl Token {
    /// Our own.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn own() -> io::Result<Self> {
        // SAFETY: the pseudo-handle of the own process is always valid.
        unsafe { Self::of_handle(GetCurrentProcess()) }
    }

    /// That of a process.
    ///
    /// # Errors
    /// If it is gone or not ours to ask.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        // SAFETY: no memory is passed; the handle is owned at once.
        let process = unsafe {
            let handle = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid);
            if handle.is_null() {
                return Err(io::Error::last_os_error());
            }
            OwnedHandle::from_raw_handle(handle)
        };
        // SAFETY: the handle is open for as long as `process` lives.
        unsafe { Self::of_handle(process.as_raw_handle()) }
    }

    /// # Safety
    /// The handle has to be one of a process.
    unsafe fn of_handle(process: HANDLE) -> io::Result<Self> {
        let mut token: HANDLE = std::ptr::null_mut();
        // SAFETY: the process' handle is valid by contract, and the token's is written to a live variable.
        check(unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) })?;
        // SAFETY: the call gave us the handle, which nobody else owns.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(token) }))
    }

    /// What the token says of one thing, in memory that is aligned for any of its structures.
    fn information(&self, class: TOKEN_INFORMATION_CLASS) -> io::Result<Vec<u64>> {
        let mut bytes: u32 = 256;
        loop {
            let mut memory = vec![0_u64; bytes.div_ceil(8) as usize];
            let mut needed = 0;
            // SAFETY: the memory is live and has room for `bytes`.
            let worked = unsafe {
                GetTokenInformation(
                    self.0.as_raw_handle(),
                    class,
                    memory.as_mut_ptr().cast(),
                    bytes,
                    &raw mut needed,
                )
            };
            match check(worked) {
                Ok(()) => return Ok(memory),
                Err(error)
                    if error.raw_os_error() == Some(ERROR_INSUFFICIENT_BUFFER.cast_signed())
                        && needed > bytes
                        && needed <= MAX_TOKEN_BYTES =>
                {
                    bytes = needed;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The account, as a security identifier in text (`S-1-5-18`).
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn sid(&self) -> io::Result<String> {
        let memory = self.information(TokenUser)?;
        // SAFETY: the system filled in a TOKEN_USER, which begins with the pointer to an identifier in the same memory.
        unsafe {
            let user = &*memory.as_ptr().cast::<SID_AND_ATTRIBUTES>();
            sid_text(user.Sid)
        }
    }

    /// The account's name (`HOST\alice`), where the system knows one.
    pub(super) fn account(&self) -> Option<String> {
        let memory = self.information(TokenUser).ok()?;
        // SAFETY: as in `sid`.
        unsafe {
            let user = &*memory.as_ptr().cast::<SID_AND_ATTRIBUTES>();
            account_name(user.Sid)
        }
    }

    /// Whether it has an administrator's rights now.
    pub(super) fn elevated(&self) -> bool {
        let low_half = |word: &u64| *word & u64::from(u32::MAX) != 0;
        self.information(TokenElevation).is_ok_and(|memory| memory.first().is_some_and(low_half))
    }
}

/// An identifier as text.
///
/// # Safety
/// It has to be a valid one.
pub(super) unsafe fn sid_text(sid: PSID) -> io::Result<String> {
    let mut place: *mut u16 = std::ptr::null_mut();
    // SAFETY: valid by contract; the system allocates the text, which is freed below.
    unsafe {
        check(ConvertSidToStringSidW(sid, &raw mut place))?;
        let text = text_at(place);
        LocalFree(place.cast());
        Ok(text)
    }
}

/// The name of the account with this identifier.
///
/// # Safety
/// It has to be a valid one.
unsafe fn account_name(sid: PSID) -> Option<String> {
    let (mut name, mut domain) = ([0_u16; 512], [0_u16; 512]);
    let (mut name_units, mut domain_units) = (512_u32, 512_u32);
    let mut kind: SID_NAME_USE = 0;
    // SAFETY: the identifier is valid by contract, and both buffers have the room that is told.
    let worked = unsafe {
        LookupAccountSidW(
            std::ptr::null(),
            sid,
            name.as_mut_ptr(),
            &raw mut name_units,
            domain.as_mut_ptr(),
            &raw mut domain_units,
            &raw mut kind,
        )
    };
    check(worked).ok()?;
    let (name, domain) = (text(&name), text(&domain));
    Some(if domain.is_empty() { name } else { format!("{domain}\\{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_account_is_told_alike_by_both_ways() {
        let own = Token::own().unwrap();
        let sid = own.sid().unwrap();
        assert!(sid.starts_with("S-1-5-"), "{sid}");
        assert_eq!(Token::of(std::process::id()).unwrap().sid().unwrap(), sid);
        assert!(own.account().is_some_and(|name| !name.is_empty()));
        assert!(Token::of(0).is_err());
    }
}
