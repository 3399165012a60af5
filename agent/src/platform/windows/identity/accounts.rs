//! Names of accounts, from this machine alone: a name that only a domain controller knows is that of the account's profile.

use std::collections::HashMap;
use std::ffi::c_void;

use sonde_common::time::Timestamp;
use sonde_common::windows::sid::well_known;
use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::ConvertStringSidToSidW;
use windows_sys::Win32::Security::{LookupAccountSidW, PSID};

use super::super::wide::{check, text, wide};
use super::{registry_text, token};

/// Names that are kept; beyond them nothing is asked.
const MAX_NAMES: usize = 4096;

/// Account number -> name.
#[derive(Debug, Default)]
pub struct Accounts {
    names: HashMap<u32, String>,
}

impl Accounts {
    /// The account's name, or its identifier where it has none here.
    pub fn name(&mut self, number: u32, _: Timestamp) -> Option<&str> {
        if !self.names.contains_key(&number) {
            let sid = token::sid_of(number)?;
            if self.names.len() >= MAX_NAMES {
                return None;
            }
            let name = name_of(&sid).unwrap_or(sid);
            self.names.insert(number, name);
        }
        self.names.get(&number).map(String::as_str)
    }
}

fn name_of(sid: &str) -> Option<String> {
    if let Some(name) = well_known(sid) {
        return Some(name.to_owned());
    }
    // Accounts of people are those of this machine or of a domain. Only the former are looked up: for the latter the system
    // would ask a controller.
    if sid.starts_with("S-1-5-21-") || sid.starts_with("S-1-12-") {
        return profile_name(sid);
    }
    look_up(sid)
}

/// The folder of an account's profile is called as the account is.
fn profile_name(sid: &str) -> Option<String> {
    let key = format!(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList\{sid}");
    let folder = registry_text(&key, "ProfileImagePath")?;
    let name = folder.trim_end_matches('\\').rsplit('\\').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// The name that the system knows, for identifiers that every Windows has, of services and of groups.
fn look_up(sid: &str) -> Option<String> {
    let sid = wide(sid).ok()?;
    let mut place: PSID = std::ptr::null_mut();
    // SAFETY: the text ends with a zero; the identifier is allocated by the system and freed below.
    check(unsafe { ConvertStringSidToSidW(sid.as_ptr(), &raw mut place) }).ok()?;
    let (mut name, mut domain) = ([0u16; 512], [0u16; 512]);
    let (mut name_length, mut domain_length, mut kind) = (512u32, 512u32, 0);
    // SAFETY: the identifier is valid, and both buffers have the room that is told.
    let worked = unsafe {
        LookupAccountSidW(
            std::ptr::null(),
            place,
            name.as_mut_ptr(),
            &raw mut name_length,
            domain.as_mut_ptr(),
            &raw mut domain_length,
            &raw mut kind,
        )
    };
    // SAFETY: nobody holds the identifier any more.
    unsafe { LocalFree(place.cast::<c_void>()) };
    check(worked).ok()?;
    let (name, domain) = (text(&name), text(&domain));
    Some(if domain.is_empty() { name } else { format!(r"{domain}\{name}") })
}

#[cfg(test)]
mod tests {
    use sonde_common::windows::sid::Sid;

    use super::*;

    fn number(parts: &[u32]) -> u32 {
        let mut bytes = vec![1, u8::try_from(parts.len()).unwrap(), 0, 0, 0, 0, 0, 5];
        parts.iter().for_each(|part| bytes.extend(part.to_le_bytes()));
        token::account_of_sid(&Sid::read(&bytes).unwrap())
    }

    #[test]
    fn accounts_of_the_system_have_names_and_strangers_their_identifier() {
        let mut accounts = Accounts::default();
        let system = number(&[18]);
        assert_eq!(accounts.name(system, Timestamp::ZERO), Some(r"NT AUTHORITY\SYSTEM"));
        let stranger = number(&[21, 1, 2, 3, 4_000]);
        assert_eq!(accounts.name(stranger, Timestamp::ZERO), Some("S-1-5-21-1-2-3-4000"));
        assert_eq!(accounts.name(0, Timestamp::ZERO), None);
        assert!(look_up("S-1-1-0").is_some(), "everyone");
    }
}
