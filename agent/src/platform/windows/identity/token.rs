//! Whose a process is: account and integrity level, by its token.
//!
//! Sonde's values number accounts, and Windows does not: so each identifier gets a number here, in the order in which they are
//! met. The numbers hold as long as the sensor runs, and are told to nobody.

use std::collections::HashMap;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::sync::{Mutex, PoisonError};

use sonde_common::process::ProcessKey;
use sonde_common::windows::sid::{Integrity, Sid};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{
    GetLengthSid, GetTokenInformation, IsValidSid, SID_AND_ATTRIBUTES, TOKEN_INFORMATION_CLASS, TOKEN_QUERY,
    TokenIntegrityLevel, TokenUser,
};
use windows_sys::Win32::System::Threading::OpenProcessToken;

use super::super::wide::check;
use super::process::Process;

/// Accounts that are numbered; what comes beyond has the number of the unknown.
const MAX_ACCOUNTS: usize = 65_536;
/// The number of an account that is not known.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// Whose a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its account.
    pub sid: Sid,
    /// How far the system trusts it.
    pub integrity: Option<Integrity>,
}

/// Whose a process is, while it runs.
#[must_use]
pub fn owner(process: ProcessKey) -> Option<Owner> {
    of(&Process::of(process)?)
}

fn of(process: &Process) -> Option<Owner> {
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: the process' handle is open, and the token's is written to a variable of ours.
    check(unsafe { OpenProcessToken(process.handle(), TOKEN_QUERY, &raw mut token) }).ok()?;
    // SAFETY: the call gave the handle to us alone.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let integrity = identifier(&token, TokenIntegrityLevel).and_then(|label| label.integrity());
    Some(Owner { sid: identifier(&token, TokenUser)?, integrity })
}

/// The identifier with which a token's answer begins.
fn identifier(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS) -> Option<Sid> {
    // An identifier has 68 bytes at most, and a pointer and attributes before it.
    let mut memory = [0u64; 32];
    let mut told = 0u32;
    // SAFETY: the handle is open, and 256 bytes are ours.
    let worked = unsafe {
        GetTokenInformation(token.as_raw_handle(), class, memory.as_mut_ptr().cast(), 256, &raw mut told)
    };
    check(worked).ok()?;
    // SAFETY: the system filled in a structure that begins with the place of an identifier within the same memory.
    let bytes = unsafe {
        let place = (*memory.as_ptr().cast::<SID_AND_ATTRIBUTES>()).Sid;
        if place.is_null() || IsValidSid(place) == 0 {
            return None;
        }
        std::slice::from_raw_parts(place.cast::<u8>(), GetLengthSid(place) as usize)
    };
    Sid::read(bytes)
}

#[derive(Default)]
struct Numbers {
    of: HashMap<String, u32>,
    sids: Vec<String>,
}

static NUMBERS: Mutex<Option<Numbers>> = Mutex::new(None);

/// The number of an account.
#[must_use]
pub fn account_of_sid(sid: &Sid) -> u32 {
    let mut numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    let Numbers { of, sids } = numbers.get_or_insert_default();
    let text = sid.to_string();
    if let Some(number) = of.get(&text) {
        return *number;
    }
    if sids.len() >= MAX_ACCOUNTS {
        return UNKNOWN;
    }
    sids.push(text.clone());
    // From 1 on: 0 is what Linux calls the administrator.
    let number = u32::try_from(sids.len()).unwrap_or(UNKNOWN);
    of.insert(text, number);
    number
}

/// The identifier that has this number, as text.
pub(super) fn sid_of(number: u32) -> Option<String> {
    let numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    numbers.as_ref()?.sids.get((number as usize).checked_sub(1)?).cloned()
}

/// The number of a process' account.
#[must_use]
pub fn account_of(process: ProcessKey) -> u32 {
    owner(process).map_or(UNKNOWN, |owner| account_of_sid(&owner.sid))
}

pub(super) fn account_of_process(process: &Process) -> u32 {
    of(process).map_or(UNKNOWN, |owner| account_of_sid(&owner.sid))
}

#[cfg(test)]
mod tests {
    use sonde_common::time::Timestamp;

    use super::super::process::process_key;
    use super::*;

    #[test]
    fn our_own_account_has_an_identifier_and_a_number() {
        let own = process_key(std::process::id(), Timestamp::ZERO).unwrap();
        let owner = owner(own).unwrap();
        assert!(owner.sid.to_string().starts_with("S-1-5-"), "{}", owner.sid);
        let number = account_of(own);
        assert_eq!(number, account_of_sid(&owner.sid));
        assert_eq!(sid_of(number), Some(owner.sid.to_string()));
        assert_eq!((sid_of(0), sid_of(UNKNOWN)), (None, None));
    }
}
