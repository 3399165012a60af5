//! Where a process belongs: the services that run in it, and the package that it is part of.

use std::collections::HashMap;
use std::sync::Arc;

use sonde_common::process::ProcessKey;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use windows_sys::Win32::Foundation::ERROR_MORE_DATA;
use windows_sys::Win32::Storage::Packaging::Appx::GetPackageFullName;
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ENUM_SERVICE_STATUS_PROCESSW, EnumServicesStatusExW, OpenSCManagerW,
    SC_ENUM_PROCESS_INFO, SC_HANDLE, SC_MANAGER_ENUMERATE_SERVICE, SERVICE_ACTIVE, SERVICE_WIN32,
};

use super::super::wide::{text, text_at};
use super::process::Process;
use crate::live::identity::facts::Place;

/// Services that one list holds.
const MAX_SERVICES: usize = 16_384;
/// Bytes of one answer; the system gives no more at a time.
const ANSWER: u32 = 256 << 10;
/// Services of one process that are named.
const MAX_NAMED: usize = 8;
/// The list is read again after so long, when a process is not in it.
const LIST_EVERY: i64 = 10 * NANOS_PER_SEC;

/// Process -> place.
#[derive(Debug, Default)]
pub struct Places {
    services: HashMap<u32, Vec<String>>,
    listed: Option<Timestamp>,
}

impl Places {
    /// The place of a process: the services that run in it. A service host with many of them is not told apart further.
    pub fn of(&mut self, process: ProcessKey, _: Timestamp, _: u64, now: Timestamp) -> Option<Arc<Place>> {
        let due = self.listed.is_none_or(|listed| now.since(listed) >= LIST_EVERY || now < listed);
        // A process that began since the list was read may be a service.
        let unseen = self.listed.is_none_or(|listed| process.start.plus_nanos(LIST_EVERY) >= listed);
        if due && (unseen || self.services.contains_key(&process.pid)) {
            self.listed = Some(now);
            self.services = services();
        }
        let unit = self.services.get(&process.pid).map(|names| names.join(" ")).unwrap_or_default();
        Some(Arc::new(Place { unit, ..Place::default() }))
    }
}

struct Manager(SC_HANDLE);

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: the handle is open and ours.
        unsafe { CloseServiceHandle(self.0) };
    }
}

/// The running services by their process, in the order of their names.
fn services() -> HashMap<u32, Vec<String>> {
    let mut by_process: HashMap<u32, Vec<String>> = HashMap::new();
    // SAFETY: null stands for this machine and its own list.
    let manager = unsafe { OpenSCManagerW(std::ptr::null(), std::ptr::null(), SC_MANAGER_ENUMERATE_SERVICE) };
    if manager.is_null() {
        return by_process;
    }
    let manager = Manager(manager);
    let mut answer = vec![0u64; (ANSWER / 8) as usize];
    let (mut resume, mut taken) = (0u32, 0usize);
    loop {
        let (mut needed, mut count) = (0u32, 0u32);
        // SAFETY: the handle is open, and `ANSWER` bytes are ours.
        let worked = unsafe {
            EnumServicesStatusExW(
                manager.0,
                SC_ENUM_PROCESS_INFO,
                SERVICE_WIN32,
                SERVICE_ACTIVE,
                answer.as_mut_ptr().cast(),
                ANSWER,
                &raw mut needed,
                &raw mut count,
                &raw mut resume,
                std::ptr::null(),
            )
        };
        let more = worked == 0
            && std::io::Error::last_os_error().raw_os_error() == Some(ERROR_MORE_DATA.cast_signed());
        if worked == 0 && !more {
            break;
        }
        // SAFETY: the system wrote so many rows to the front of the answer, whose names lie behind them in it.
        let rows = unsafe {
            std::slice::from_raw_parts(answer.as_ptr().cast::<ENUM_SERVICE_STATUS_PROCESSW>(), count as usize)
        };
        for row in rows {
            // SAFETY: the system ends the names with zeros.
            let name = unsafe { text_at(row.lpServiceName) };
            let names = by_process.entry(row.ServiceStatusProcess.dwProcessId).or_default();
            if names.len() < MAX_NAMED {
                names.push(name);
            }
        }
        taken += rows.len();
        if !more || rows.is_empty() || taken >= MAX_SERVICES {
            break;
        }
    }
    by_process.remove(&0);
    by_process.values_mut().for_each(|names| names.sort());
    by_process
}

/// The package that a process is part of; empty for an ordinary program.
pub(super) fn package(process: &Process) -> String {
    let mut units = [0u16; 256];
    let mut length = 256u32;
    // SAFETY: the handle is open, and `length` units are ours.
    let code = unsafe { GetPackageFullName(process.handle(), &raw mut length, units.as_mut_ptr()) };
    if code == 0 { text(&units) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::super::process::process_key;
    use super::*;

    #[test]
    fn services_are_listed_with_their_process_and_we_are_none() {
        let services = services();
        assert!(!services.is_empty(), "every Windows runs some, and so does Wine");
        assert!(services.keys().all(|pid| process_key(*pid, Timestamp::ZERO).is_some()), "{services:?}");
        let own = process_key(std::process::id(), Timestamp::ZERO).unwrap();
        let mut places = Places::default();
        let now = own.start.plus_nanos(NANOS_PER_SEC);
        assert_eq!(*places.of(own, Timestamp::ZERO, 0, now).unwrap(), Place::default());
        let (pid, names) = services.iter().next().unwrap();
        let service = process_key(*pid, Timestamp::ZERO).unwrap();
        assert_eq!(places.of(service, Timestamp::ZERO, 0, now).unwrap().unit, names.join(" "));
        assert_eq!(package(&Process::of(own).unwrap()), "");
    }
}
