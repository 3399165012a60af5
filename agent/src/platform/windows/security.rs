//! Who may open what the sensor makes, and who may change what it reads: security descriptors.

use std::io;
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use windows_sys::Win32::Foundation::{HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_FILE_OBJECT,
    SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACE_HEADER, ACL, DACL_SECURITY_INFORMATION, GetAce, GetSecurityDescriptorDacl,
    GetSecurityDescriptorOwner, INHERIT_ONLY_ACE, OWNER_SECURITY_INFORMATION,
    PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES,
};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_APPEND_DATA, FILE_DELETE_CHILD, FILE_READ_DATA, FILE_WRITE_DATA, WRITE_DAC, WRITE_OWNER,
};

use super::token::{Token, sid_text};
use super::wide::{check, wide};

/// Changing a file or what lies in a folder, or who may. In a folder "append" is making folders in it.
pub(super) const CHANGE: u32 = GENERIC_WRITE | GENERIC_ALL | FILE_WRITE_DATA | REPLACE;
/// Putting something else in the place of what lies in a folder.
pub(super) const REPLACE: u32 =
    GENERIC_WRITE | GENERIC_ALL | FILE_DELETE_CHILD | DELETE | WRITE_DAC | WRITE_OWNER;
/// Reading a file.
pub(super) const READ: u32 = GENERIC_READ | GENERIC_ALL | FILE_READ_DATA;
/// Adding to a file.
pub(super) const APPEND: u32 = FILE_APPEND_DATA;

const GENERIC_READ: u32 = 0x8000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;
const GENERIC_ALL: u32 = 0x1000_0000;
/// The type of an entry that allows (winnt.h, `ACCESS_ALLOWED_ACE_TYPE`).
const ALLOWS: u8 = 0;

/// Accounts that can do all anyway: SYSTEM, administrators, the installer of Windows.
const TRUSTED: [&str; 3] =
    ["S-1-5-18", "S-1-5-32-544", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"];

/// A security descriptor of our own making.
#[derive(Debug)]
pub(super) struct Descriptor(PSECURITY_DESCRIPTOR);

// SAFETY: it is memory that is read alone, until it is freed when dropped.
unsafe impl Send for Descriptor {}
// SAFETY: as above.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    /// For SYSTEM, administrators and our own account alone, with what is inherited from above shut out; `rights` in the
    /// letters of security descriptors (`FA`: all of a file), `below`: flags for what lies below (`OICI`).
    ///
    /// # Errors
    /// If the system does not take it.
    pub(super) fn private(rights: &str, below: &str) -> io::Result<Self> {
        let own = Token::own()?.sid()?;
        let entries = ["SY", "BA", &own].map(|who| format!("(A;{below};{rights};;;{who})"));
        Self::parse(&format!("D:P{}", entries.concat()))
    }

    /// For SYSTEM and administrators alone, who own it: what an administrator makes for a service, whose account would else
    /// find a stranger's folder.
    ///
    /// # Errors
    /// If the system does not take it.
    pub(super) fn of_the_system() -> io::Result<Self> {
        Self::parse("O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)")
    }

    /// Puts this in the place of who owns a folder and who may open it; what lies below inherits it.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn protect(&self, path: &Path) -> io::Result<()> {
        let name = wide(path)?;
        let (mut list, mut owner): (*mut ACL, PSID) = (std::ptr::null_mut(), std::ptr::null_mut());
        let (mut present, mut by_default) = (0, 0);
        // SAFETY: the descriptor is a whole one of the system's making; list and owner lie in it and live as long as it.
        let code = unsafe {
            check(GetSecurityDescriptorDacl(self.0, &raw mut present, &raw mut list, &raw mut by_default))?;
            check(GetSecurityDescriptorOwner(self.0, &raw mut owner, &raw mut by_default))?;
            SetNamedSecurityInfoW(
                name.as_ptr(),
                SE_FILE_OBJECT,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION,
                owner,
                std::ptr::null_mut(),
                list,
                std::ptr::null(),
            )
        };
        if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.cast_signed())) }
    }

    /// As its text in the Security Descriptor Definition Language says.
    fn parse(text: &str) -> io::Result<Self> {
        let text = wide(text)?;
        let mut place: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the text ends with a zero; the system allocates what it gives, which is freed when dropped.
        check(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut place,
                std::ptr::null_mut(),
            )
        })?;
        Ok(Self(place))
    }

    /// In the form in which calls that make something take it; not inherited by programs that are started. It may not outlive
    /// the descriptor.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the system allocated it for us, and nobody else has it.
        unsafe { LocalFree(self.0) };
    }
}

/// An account other than SYSTEM, administrators and ours that owns what is open or has one of these rights to it, by its
/// identifier.
///
/// # Errors
/// If the system does not say.
pub(super) fn stranger(open: &impl AsRawHandle, rights: u32) -> io::Result<Option<String>> {
    other_than(Some(Token::own()?.sid()?), open, rights)
}

/// The same, for what SYSTEM is to believe: our own account is a stranger too.
///
/// # Errors
/// If the system does not say.
pub(super) fn outsider(open: &impl AsRawHandle, rights: u32) -> io::Result<Option<String>> {
    other_than(None, open, rights)
}

fn other_than(own: Option<String>, open: &impl AsRawHandle, rights: u32) -> io::Result<Option<String>> {
    let mut list: *mut ACL = std::ptr::null_mut();
    let mut owner: PSID = std::ptr::null_mut();
    let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
    // SAFETY: the handle is open; the system allocates the descriptor, in which the list lies; it is freed below.
    let error = unsafe {
        GetSecurityInfo(
            open.as_raw_handle() as HANDLE,
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION | OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            std::ptr::null_mut(),
            &raw mut list,
            std::ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error.cast_signed()));
    }
    let _freed = Descriptor(descriptor);
    let trusted = |sid: &String| own.as_ref() == Some(sid) || TRUSTED.contains(&sid.as_str());
    if !owner.is_null() {
        // Who owns it may give rights to anybody.
        // SAFETY: it lies in the descriptor, which lives until the end of this function.
        let owner = unsafe { sid_text(owner) }?;
        if !trusted(&owner) {
            return Ok(Some(owner));
        }
    }
    if list.is_null() {
        // Without a list everybody may do all.
        return Ok(Some("S-1-1-0".to_owned()));
    }
    // SAFETY: the list lies in the descriptor, which lives until the end of this function.
    let entries = unsafe { (*list).AceCount };
    for index in 0..u32::from(entries) {
        let mut entry = std::ptr::null_mut();
        // SAFETY: the index is within the list.
        check(unsafe { GetAce(list, index, &raw mut entry) })?;
        // SAFETY: every entry begins with its header.
        let header = unsafe { &*entry.cast::<ACE_HEADER>() };
        if header.AceType != ALLOWS || u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
            continue;
        }
        // SAFETY: an entry of this type is this structure, with the identifier at its end.
        let (mask, sid) = unsafe {
            let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
            ((*entry).Mask, sid_text((&raw mut (*entry).SidStart).cast())?)
        };
        if mask & rights != 0 && !trusted(&sid) {
            return Ok(Some(sid));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_read_and_nonsense_is_refused() {
        assert!(Descriptor::private("FA", "OICI").is_ok() && Descriptor::of_the_system().is_ok());
        assert!(Descriptor::parse("D:P(A;;GA;;;nobody-here)").is_err());
        assert!(Descriptor::parse("D:P(A;;GA\0;;;SY)").is_err());
    }

    #[test]
    fn what_everybody_may_read_has_a_stranger() {
        let file = tempfile::tempfile().unwrap();
        // Whatever the list says, it is read without an error.
        stranger(&file, READ | APPEND).unwrap();
        assert_eq!(stranger(&file, 0).unwrap(), None);
    }
}
