//! One process as the system shows it, by a handle that allows no more than such questions: so that even a protected process
//! can be named.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};

use sonde_common::live::{FileId, ProcessStart};
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;
use sonde_common::windows::bytes::{Bytes, MAX_UNITS};
use sonde_common::windows::command_line::arguments;
use sonde_common::windows::path::Volumes;
use sonde_common::windows::time::from_filetime;
use windows_sys::Wdk::System::Threading::{
    NtQueryInformationProcess, PROCESSINFOCLASS, ProcessBasicInformation, ProcessCommandLineInformation,
};
use windows_sys::Win32::Foundation::{FILETIME, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_BASIC_INFO, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    FileBasicInfo, GetFileInformationByHandle, GetFileInformationByHandleEx, QueryDosDeviceW,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::SystemInformation::GetWindowsDirectoryW;
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};

use super::super::wide::{check, length_of, text, wide};
use super::token;
use crate::live::identity::facts::{ExecutableKey, Found};

/// Processes that one snapshot hands out.
const MAX_PROCESSES: usize = 1 << 16;
/// Longest answer that is taken to a question about a process.
const MAX_ANSWER: u32 = 128 << 10;

/// A process that is open for questions.
#[derive(Debug)]
pub(super) struct Process {
    handle: OwnedHandle,
}

impl Process {
    /// The one that has this number now.
    ///
    /// # Errors
    /// If there is none, or it may not be asked.
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let handle = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call gave the handle to us alone.
        Ok(Self { handle: unsafe { OwnedHandle::from_raw_handle(handle) } })
    }

    /// The one that the key names, and no later one of the same number.
    pub(super) fn of(key: ProcessKey) -> Option<Self> {
        let process = Self::open(key.pid).ok()?;
        (process.times()?.0 == key.start).then_some(process)
    }

    pub(super) fn handle(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }

    /// When it was made, and whether it ended.
    pub(super) fn times(&self) -> Option<(Timestamp, bool)> {
        let [mut created, mut exited, mut kernel, mut user] = [FILETIME::default(); 4];
        // SAFETY: the handle is open, and the four times are ours.
        let worked = unsafe {
            GetProcessTimes(self.handle(), &raw mut created, &raw mut exited, &raw mut kernel, &raw mut user)
        };
        check(worked).ok()?;
        Some((from_filetime(ticks(created)), ticks(exited) != 0))
    }

    /// Path of its executable, as programs write it.
    pub(super) fn image(&self) -> Option<String> {
        let mut units = vec![0u16; MAX_UNITS + 1];
        let mut length = u32::try_from(units.len()).ok()?;
        // SAFETY: the handle is open, and `length` units are ours.
        let worked =
            unsafe { QueryFullProcessImageNameW(self.handle(), 0, units.as_mut_ptr(), &raw mut length) };
        check(worked).ok()?;
        Some(text(units.get(..length as usize)?))
    }

    /// What the kernel says of it, as bytes, and where they lie.
    fn query(&self, class: PROCESSINFOCLASS, length: u32) -> Option<(Vec<u64>, u32)> {
        let mut answer = vec![0u64; (length as usize).div_ceil(8)];
        let mut told = 0u32;
        // SAFETY: the handle is open, and `length` bytes are ours.
        let status = unsafe {
            NtQueryInformationProcess(self.handle(), class, answer.as_mut_ptr().cast(), length, &raw mut told)
        };
        if status >= 0 {
            Some((answer, told.min(length)))
        } else if told > length && told <= MAX_ANSWER {
            self.query(class, told)
        } else {
            None
        }
    }

    /// Its command line, which Windows keeps since 8.1.
    pub(super) fn command_line(&self) -> Option<String> {
        let (answer, told) = self.query(ProcessCommandLineInformation, 1024)?;
        let base = answer.as_ptr().addr() as u64;
        let bytes: Vec<u8> = answer.iter().flat_map(|word| word.to_ne_bytes()).take(told as usize).collect();
        counted_text(&bytes, base)
    }

    /// Its parent's number, as it was when it began.
    pub(super) fn parent(&self) -> Option<u32> {
        // `PROCESS_BASIC_INFORMATION`: six words, of which the last is the parent.
        let (answer, told) = self.query(ProcessBasicInformation, 48)?;
        (told == 48).then_some(())?;
        u32::try_from(*answer.get(5)?).ok().filter(|pid| *pid != 0)
    }
}

/// The text of a `UNICODE_STRING` at the front of bytes that lie at `base`: length, room, a gap, the place of the units, which
/// has to be within the bytes.
fn counted_text(bytes: &[u8], base: u64) -> Option<String> {
    let mut head = Bytes::new(bytes);
    let length = usize::from(head.u16()?);
    head.take(6)?;
    let place = usize::try_from(head.u64()?.checked_sub(base)?).ok()?;
    let units = bytes.get(place..place.checked_add(length)?)?;
    let units: Vec<u16> =
        units.chunks_exact(2).filter_map(|pair| pair.try_into().ok().map(u16::from_le_bytes)).collect();
    Some(String::from_utf16_lossy(&units))
}

fn ticks(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// When the process that has this number now was made.
#[must_use]
pub fn created(pid: u32) -> Option<Timestamp> {
    Some(Process::open(pid).ok()?.times()?.0)
}

/// The command line of a process that runs.
#[must_use]
pub fn command_line(process: ProcessKey) -> Option<String> {
    Process::of(process)?.command_line()
}

/// The key of the process that has this number now.
#[must_use]
pub fn process_key(pid: u32, _: Timestamp) -> Option<ProcessKey> {
    Some(ProcessKey { pid, start: created(pid)? })
}

/// Whether this very process still runs.
#[must_use]
pub fn is_running(process: ProcessKey, _: Timestamp) -> bool {
    Process::of(process).and_then(|process| process.times()).is_some_and(|(_, ended)| !ended)
}

/// Its folder: to read it takes more rights than the sensor asks for.
#[must_use]
pub const fn working_folder(_: ProcessKey, _: Timestamp) -> Option<Vec<u8>> {
    None
}

/// What the system tells of a process now, if it is the one that the key names.
#[must_use]
pub fn find_process(key: ProcessKey, _: Timestamp) -> Option<Found> {
    let process = Process::of(key)?;
    let parent = process.parent().and_then(|pid| {
        let start = created(pid)?;
        // A parent that began later took the number of the true one.
        (start <= key.start).then_some(ProcessKey { pid, start })
    });
    let start = ProcessStart {
        time: key.start,
        process: key,
        parent,
        uid: token::account_of_process(&process),
        image: process.image()?.into_bytes(),
        arguments: process.command_line().map(|line| arguments(&line)).unwrap_or_default(),
        ..ProcessStart::default()
    };
    let file = open_file(&String::from_utf8_lossy(&start.image))
        .ok()
        .and_then(|file| version(&file))
        .map(|key| key.file);
    Some(Found { start: ProcessStart { file: file.unwrap_or_default(), ..start }, copy: false })
}

/// Which version of which file a process runs.
#[must_use]
pub fn executable_version(_: ProcessKey, _: Timestamp, image: &[u8]) -> Option<ExecutableKey> {
    version(&open_file(std::str::from_utf8(image).ok()?).ok()?)
}

/// All processes that run, as the kernel lists them.
#[must_use]
pub fn processes() -> Vec<ProcessKey> {
    listed().filter_map(|entry| key_of(&entry)).collect()
}

/// Of the processes that run under this name, the one that began first.
pub(super) fn first_named(name: &str) -> Option<ProcessKey> {
    let named = listed().filter(|entry| text(&entry.szExeFile).eq_ignore_ascii_case(name));
    named.filter_map(|entry| key_of(&entry)).min_by_key(|key| (key.start, key.pid))
}

fn key_of(entry: &PROCESSENTRY32W) -> Option<ProcessKey> {
    process_key(entry.th32ProcessID, Timestamp::ZERO)
}

/// The kernel's list of processes.
fn listed() -> impl Iterator<Item = PROCESSENTRY32W> {
    // SAFETY: no memory is passed.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    // SAFETY: the call gave the handle to us alone.
    let snapshot =
        (snapshot != INVALID_HANDLE_VALUE).then(|| unsafe { OwnedHandle::from_raw_handle(snapshot) });
    let mut entry = PROCESSENTRY32W { dwSize: length_of::<PROCESSENTRY32W>(), ..Default::default() };
    let mut first = true;
    let next = move || {
        let snapshot = snapshot.as_ref()?;
        let call = if std::mem::take(&mut first) { Process32FirstW } else { Process32NextW };
        // SAFETY: the handle is that of a snapshot, and the entry says how long it is.
        let more = unsafe { call(snapshot.as_raw_handle(), &raw mut entry) };
        (more != 0).then_some(entry)
    };
    std::iter::from_fn(next).take(MAX_PROCESSES)
}

/// The letters of this machine's volumes, and the folder of Windows.
#[must_use]
pub fn volumes() -> Volumes {
    let mut units = [0u16; 261];
    // SAFETY: 260 units are ours, and a zero is behind them.
    unsafe { GetWindowsDirectoryW(units.as_mut_ptr(), 260) };
    let mut volumes = Volumes::new(&text(&units));
    for letter in b'A'..=b'Z' {
        let letter = format!("{}:", char::from(letter));
        let Ok(name) = wide(&letter) else { continue };
        let mut device = [0u16; 1025];
        // SAFETY: the name ends with a zero, and 1024 units are ours.
        if unsafe { QueryDosDeviceW(name.as_ptr(), device.as_mut_ptr(), 1024) } != 0 {
            volumes.add(&letter, &text(&device));
        }
    }
    volumes
}

/// Opens an executable without standing in anyone's way.
pub(super) fn open_file(path: &str) -> io::Result<File> {
    // A device, a pipe or a share is no file of this machine: to open one could wait, or call out.
    if path.starts_with(r"\\") && !path.starts_with(r"\\?\") || !path.contains('\\') {
        return Err(io::ErrorKind::Unsupported.into());
    }
    OpenOptions::new()
        .read(true)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
        .open(path)
}

/// Which version of which file is open: volume and number of the file, size, and both times.
pub(super) fn version(file: &File) -> Option<ExecutableKey> {
    let mut information = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is ours.
    check(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut information) }).ok()?;
    let mut basic = FILE_BASIC_INFO::default();
    // SAFETY: as above, with its length.
    let worked = unsafe {
        GetFileInformationByHandleEx(
            file.as_raw_handle(),
            FileBasicInfo,
            (&raw mut basic).cast(),
            length_of::<FILE_BASIC_INFO>(),
        )
    };
    check(worked).ok()?;
    let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let nanos = |ticks: i64| from_filetime(ticks.cast_unsigned()).nanos();
    Some(ExecutableKey {
        file: FileId {
            device: information.dwVolumeSerialNumber.into(),
            inode: join(information.nFileIndexHigh, information.nFileIndexLow),
        },
        size: join(information.nFileSizeHigh, information.nFileSizeLow),
        modified: nanos(basic.LastWriteTime),
        changed: nanos(basic.ChangeTime),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_its_number_with_another_start_is_not() {
        let pid = std::process::id();
        let own = process_key(pid, Timestamp::ZERO).unwrap();
        let found = find_process(own, Timestamp::ZERO).unwrap();
        let image = String::from_utf8(found.start.image.clone()).unwrap();
        let expected = std::env::current_exe().unwrap();
        assert!(image.eq_ignore_ascii_case(&expected.to_string_lossy()), "{image} and {expected:?}");
        assert!(!found.copy && found.start.uid != 0);
        assert!(is_running(own, Timestamp::ZERO));
        assert_eq!(
            executable_version(own, Timestamp::ZERO, image.as_bytes()).unwrap().file,
            found.start.file
        );
        let reused = ProcessKey { pid, start: own.start.plus_nanos(-100) };
        assert_eq!(find_process(reused, Timestamp::ZERO), None);
        assert!(!is_running(reused, Timestamp::ZERO));
        assert!(processes().contains(&own));
    }

    #[test]
    fn a_child_has_its_parent_and_ends() {
        let mut child = std::process::Command::new(r"C:\windows\system32\cmd.exe")
            .args(["/c", "pause"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let key = process_key(child.id(), Timestamp::ZERO).unwrap();
        let found = find_process(key, Timestamp::ZERO).unwrap();
        assert_eq!(found.start.parent.map(|parent| parent.pid), Some(std::process::id()));
        assert!(String::from_utf8_lossy(&found.start.image).to_ascii_lowercase().ends_with(r"\cmd.exe"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_running(key, Timestamp::ZERO), "its handle is still open, but it ended");
    }

    #[test]
    fn what_may_not_be_asked_is_nobody() {
        assert!(Process::open(4).is_err());
        assert_eq!(created(u32::MAX - 3), None);
        assert!(open_file(r"\\server\share\x.exe").is_err(), "nothing calls out");
        assert!(open_file("System").is_err());
    }

    #[test]
    fn a_counted_text_lies_within_its_bytes_or_is_none() {
        let mut bytes = vec![4, 0, 6, 0, 0, 0, 0, 0];
        bytes.extend(0x1010u64.to_le_bytes());
        bytes.extend(b"a\0b\0");
        assert_eq!(counted_text(&bytes, 0x1000).as_deref(), Some("ab"));
        assert_eq!(counted_text(&bytes, 0x0fff), None, "one byte further it ends too early");
        assert_eq!(counted_text(&bytes, 0x2000), None);
        assert_eq!(counted_text(&bytes[..9], 0x1000), None);
    }

    #[test]
    fn the_volume_of_windows_has_a_letter() {
        assert!(!volumes().is_empty());
    }
}
