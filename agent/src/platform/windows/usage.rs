//! What this process costs, as the system counts it.

use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::{FILETIME, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount, GetProcessTimes};

/// What this process costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory resident (working set), in bytes.
    pub rss_bytes: u64,
    /// … at the most.
    pub rss_peak_bytes: u64,
    /// Handles open.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// Processor time of all threads so far.
#[must_use]
pub fn cpu_time() -> Duration {
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the pseudo-handle is always valid, and the times are written to live variables.
    let worked = unsafe {
        GetProcessTimes(GetCurrentProcess(), &raw mut created, &raw mut ended, &raw mut kernel, &raw mut user)
    };
    if worked == 0 {
        return Duration::ZERO;
    }
    let units = |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_nanos(units(kernel).saturating_add(units(user)).saturating_mul(100))
}

/// Memory, handles and threads now: for once a second, not for each batch.
#[must_use]
pub fn usage() -> Usage {
    let mut memory = PROCESS_MEMORY_COUNTERS::default();
    memory.cb = u32::try_from(size_of::<PROCESS_MEMORY_COUNTERS>()).unwrap_or(0);
    let mut handles = 0;
    // SAFETY: the pseudo-handle is always valid; both structures are live, and the length of the first is told.
    unsafe {
        K32GetProcessMemoryInfo(GetCurrentProcess(), &raw mut memory, memory.cb);
        GetProcessHandleCount(GetCurrentProcess(), &raw mut handles);
    }
    Usage {
        rss_bytes: memory.WorkingSetSize as u64,
        rss_peak_bytes: memory.PeakWorkingSetSize as u64,
        descriptors: u64::from(handles),
        threads: threads().unwrap_or(0),
    }
}

/// Threads of this process, by the system's list of processes.
fn threads() -> Option<u64> {
    // SAFETY: no memory is passed; the handle is owned at once.
    let list = unsafe {
        let handle = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
        if handle == INVALID_HANDLE_VALUE {
            return None;
        }
        OwnedHandle::from_raw_handle(handle)
    };
    let mut entry = PROCESSENTRY32W::default();
    entry.dwSize = u32::try_from(size_of::<PROCESSENTRY32W>()).unwrap_or(0);
    // SAFETY: the list is open, and the entry says its length.
    let mut found = unsafe { Process32FirstW(list.as_raw_handle(), &raw mut entry) };
    while found != 0 {
        if entry.th32ProcessID == std::process::id() {
            return Some(u64::from(entry.cntThreads));
        }
        // SAFETY: as above.
        found = unsafe { Process32NextW(list.as_raw_handle(), &raw mut entry) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_cost_something() {
        let usage = usage();
        assert!(
            usage.rss_bytes > 0 && usage.rss_peak_bytes >= usage.rss_bytes && usage.threads > 0,
            "{usage:?}"
        );
        assert!(usage.descriptors >= 3, "{usage:?}");
        let began = std::time::Instant::now();
        while cpu_time() == Duration::ZERO {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
    }
}
