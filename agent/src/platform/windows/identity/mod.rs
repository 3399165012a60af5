//! Who a process is: what the system, its services and the executable itself tell.
//!
//! Reading only; what is asked for, when, and what becomes of it is decided in `live::identity`. Nothing here calls out: no
//! revocation list is fetched and no domain controller asked, since a sensor that phones home at each look-up is a beacon itself.

mod accounts;
mod examine;
mod places;
mod process;
mod signature;
mod token;

pub use accounts::Accounts;
pub use examine::Examiner;
pub use places::Places;
pub use process::{
    command_line, created, executable_version, find_process, is_running, process_key, processes, volumes,
    working_folder,
};
pub use signature::{Signature, signature};
pub use token::{Owner, account_of, account_of_sid, owner};

use windows_sys::Win32::System::Registry::{
    HKEY_LOCAL_MACHINE, RRF_RT_REG_DWORD, RRF_RT_REG_SZ, RegGetValueW,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentThread, SetThreadPriority, THREAD_MODE_BACKGROUND_BEGIN,
};

use super::wide::{text, wide};

/// Lets everything else on this machine go first, on processor and disk: for the calling thread alone.
pub fn lower_priority() {
    // SAFETY: the pseudo-handle of the calling thread is always valid. Refused, we are a little less polite, that is all.
    unsafe {
        SetThreadPriority(GetCurrentThread(), THREAD_MODE_BACKGROUND_BEGIN);
    }
}

/// Names this boot of the machine: Windows counts its starts. Where it does not (that count is the prefetcher's, which servers
/// may lack), by when the service manager began, which lives as long as the system does.
#[must_use]
pub fn boot_id() -> Option<String> {
    const KEY: &str =
        r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters";
    let (key, name) = (wide(KEY).ok()?, wide("BootId").ok()?);
    let (mut number, mut length) = (0u32, 4u32);
    // SAFETY: both names end with a zero, and the number is four bytes that are ours.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_DWORD,
            std::ptr::null_mut(),
            (&raw mut number).cast(),
            &raw mut length,
        )
    };
    if code == 0 && number != 0 {
        return Some(format!("windows-{number}"));
    }
    let manager = process::first_named("services.exe")?;
    Some(format!("windows-since-{}", manager.start.nanos()))
}

/// A text of the machine's registry.
fn registry_text(key: &str, name: &str) -> Option<String> {
    let (key, name) = (wide(key).ok()?, wide(name).ok()?);
    let mut units = [0u16; 1024];
    let mut length = 2048u32;
    // SAFETY: both names end with a zero, and `length` bytes of the buffer are ours.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            RRF_RT_REG_SZ,
            std::ptr::null_mut(),
            units.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (code == 0).then(|| text(&units))
}
