//! `Microsoft-Windows-Kernel-Process`, and the kernel's classic trace of processes: who began and who ended.
//!
//! The former tells when a process was made and which file it runs, the latter alone its command line and account. A version
//! that is newer than those known is read as the newest: manifests only grow at the end.

use super::{Flaw, Record, Told};
use crate::time::Timestamp;
use crate::windows::bytes::{Bytes, MAX_UNITS};
use crate::windows::sid::{Integrity, Sid};
use crate::windows::time::from_filetime;

/// A process that began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Began {
    /// Its number.
    pub pid: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Its parent's number.
    pub parent: u32,
    /// Its file, as the kernel names it: `\Device\HarddiskVolume3\…`.
    pub image: String,
    /// How far the system trusts it, from version 3 on.
    pub integrity: Option<Integrity>,
    /// Package that it belongs to, from version 2 on; empty without one.
    pub package: String,
    /// It was there before the session (event 15, told on request).
    pub found: bool,
}

/// A process that began, as the classic trace tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launched {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub parent: u32,
    /// Its account.
    pub user: Option<Sid>,
    /// Its command line, as it was started.
    pub command_line: String,
}

/// A process that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub pid: u32,
    /// When it was made.
    pub created: Timestamp,
}

const START: u16 = 1;
const STOP: u16 = 2;
const RUNDOWN: u16 = 15;

pub(super) fn decode(record: &Record<'_>) -> Result<Option<Told>, Flaw> {
    let mut bytes = Bytes::new(record.data);
    match record.id {
        START => began(&mut bytes, record.version).map(|began| Some(Told::Began(began))),
        // Its versions are those of starts, two lower (manifest: `ProcessRundownArgs`, `ProcessRundownArgs_V1`).
        RUNDOWN => {
            let version = record.version.saturating_add(2);
            began(&mut bytes, version).map(|began| Some(Told::Began(Began { found: true, ..began })))
        }
        STOP => ended(&mut bytes, record.version).map(|ended| Some(Told::Ended(ended))),
        _ => Ok(None),
    }
}

fn began(bytes: &mut Bytes<'_>, version: u8) -> Result<Began, Flaw> {
    let mut read = || {
        let pid = bytes.u32()?;
        if version >= 3 {
            // A number that is never used again.
            bytes.u64()?;
        }
        let created = from_filetime(bytes.u64()?);
        let parent = bytes.u32()?;
        if version >= 3 {
            bytes.u64()?;
        }
        bytes.u32()?; // Session.
        if version >= 1 {
            bytes.u32()?; // Flags.
        }
        let mut integrity = None;
        if version >= 3 {
            bytes.take(8)?; // Kind of elevation, and whether it is elevated.
            integrity = Sid::take(bytes)?.integrity();
        }
        let image = bytes.utf16()?;
        let mut package = String::new();
        if version >= 2 {
            bytes.take(8)?; // Checksum and time of the image.
            package = bytes.utf16()?;
        }
        Some(Began { pid, created, parent, image, integrity, package, found: false })
    };
    let began = read().ok_or(Flaw::Short)?;
    if began.pid == 0 { Err(Flaw::Invalid) } else { Ok(began) }
}

fn ended(bytes: &mut Bytes<'_>, version: u8) -> Result<Ended, Flaw> {
    let mut read = || {
        let pid = bytes.u32()?;
        if version >= 2 {
            bytes.u64()?;
        }
        Some(Ended { pid, created: from_filetime(bytes.u64()?) })
    };
    let ended = read().ok_or(Flaw::Short)?;
    if ended.pid == 0 { Err(Flaw::Invalid) } else { Ok(ended) }
}

/// Opcodes of classic events: a start, and one for each process that is there when the trace begins.
const CLASSIC_START: [u8; 2] = [1, 3];
/// The oldest layout that has a command line and the account in this order (class `Process_TypeGroup1`, since Windows 7).
const CLASSIC_OLDEST: u8 = 3;

/// Class `Process_TypeGroup1`: key, number, parent, session, exit status, page directory, flags (from version 4 on), account,
/// name (ANSI), command line (UTF-16).
pub(super) fn decode_classic(record: &Record<'_>) -> Result<Option<Launched>, Flaw> {
    if !CLASSIC_START.contains(&record.opcode) {
        return Ok(None);
    }
    if record.version < CLASSIC_OLDEST {
        return Err(Flaw::Version);
    }
    let mut bytes = Bytes::new(record.data);
    let mut read = || {
        bytes.pointer(record.wide)?;
        let (pid, parent) = (bytes.u32()?, bytes.u32()?);
        bytes.take(8)?;
        bytes.pointer(record.wide)?;
        if record.version >= 4 {
            bytes.u32()?;
        }
        let user = account(&mut bytes, record.wide)?;
        bytes.ansi()?;
        Some(Launched { pid, parent, user, command_line: cut_utf16(&mut bytes)? })
    };
    let launched = read().ok_or(Flaw::Short)?;
    if launched.pid == 0 { Ok(None) } else { Ok(Some(launched)) }
}

/// An identifier as classic events hold it: the kernel's `TOKEN_USER` (a pointer and attributes, two pointers wide) and the
/// identifier itself; a zero of 32 bits stands for none.
fn account(bytes: &mut Bytes<'_>, wide: bool) -> Option<Option<Sid>> {
    let mut next = *bytes;
    if next.u32()? == 0 {
        *bytes = next;
        return Some(None);
    }
    bytes.take(if wide { 16 } else { 8 })?;
    Sid::take(bytes).map(Some)
}

/// A command line may be as long as the event: without its zero, what is there counts.
fn cut_utf16(bytes: &mut Bytes<'_>) -> Option<String> {
    if let Some(text) = bytes.utf16() {
        return Some(text);
    }
    let units: Vec<u16> = bytes
        .rest()
        .chunks_exact(2)
        .take(MAX_UNITS)
        .filter_map(|pair| pair.try_into().ok().map(u16::from_le_bytes))
        .collect();
    (!units.is_empty()).then(|| String::from_utf16_lossy(&units))
}
