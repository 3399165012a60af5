//! The account on disk: which numbers are done in each lane, and how. Two files are written in turn, in place, so that one is
//! always whole, and that a full disk does not keep the account from being written.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::counts::Cause;
use super::disk::{Disk, read_all, write_all};

/// Its two files.
const FILES: [&str; 2] = ["cursor.0", "cursor.1"];
/// Begin of their names.
pub(super) const PREFIX: &str = "cursor.";
/// Longest account that is read: 65,536 ranges take less than a MiB.
const MAX_BYTES: u64 = 4 << 20;
const MAGIC: [u8; 8] = *b"SondeCur";
const VERSION: u16 = 1;
/// Files are at least so long from the beginning, so that they need no room on a disk that is full.
const LEAST_BYTES: usize = 4_096;
/// Magic, version, turn, length.
const FRONT: usize = 8 + 2 + 8 + 4;

/// What is kept of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneAccount {
    /// The number that the next record is to get.
    pub(super) next: u64,
    /// Numbers that are done, as ranges.
    pub(super) done: Vec<(u64, u64)>,
    pub(super) acknowledged: u64,
    pub(super) dead: u64,
    pub(super) dropped: BTreeMap<Cause, u64>,
}

/// Writes and reads the account.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Counts the writings: the later file is the one that holds.
    turn: u64,
    there: [bool; 2],
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// The latest whole account.
    pub(super) lanes: Option<[LaneAccount; 2]>,
    /// A file is there that is not whole: what it held may have been later.
    pub(super) damaged: bool,
}

impl Cursor {
    /// Reads what is there. `files`: all names with their lengths.
    pub(super) fn open(disk: &mut dyn Disk, files: &[(String, u64)]) -> (Self, Read) {
        let mut cursor = Self::default();
        let mut read = Read::default();
        for (there, file) in cursor.there.iter_mut().zip(FILES) {
            let Some((_, length)) = files.iter().find(|(name, _)| name == file) else { continue };
            *there = true;
            // It was made, and the sensor was killed before anything was written.
            if *length == 0 {
                continue;
            }
            let bytes = read_all(disk, file, *length, MAX_BYTES).ok().flatten().unwrap_or_default();
            match decode(&bytes) {
                Some((turn, lanes)) => {
                    if read.lanes.is_none() || turn > cursor.turn {
                        cursor.turn = turn;
                        read.lanes = Some(lanes);
                    }
                }
                None => read.damaged = true,
            }
        }
        (cursor, read)
    }

    /// Whether both files are there.
    pub(super) fn is_there(&self) -> bool {
        self.there == [true; 2]
    }

    /// Brings the account to the disk.
    ///
    /// # Errors
    /// As the system says; the account that was there before still holds.
    pub(super) fn save(&mut self, disk: &mut dyn Disk, lanes: &[LaneAccount; 2]) -> io::Result<()> {
        let turn = self.turn + 1;
        let which = usize::from(turn % 2 == 1);
        let bytes = encode(turn, lanes)?;
        let (Some(file), Some(there)) = (FILES.get(which), self.there.get_mut(which)) else { return Ok(()) };
        let made = !*there;
        if made {
            disk.create(file)?;
            *there = true;
        }
        if let Err(error) = write_all(disk, file, 0, &bytes).and_then(|()| disk.sync(file)) {
            // Somebody deleted it: the next time it is made again.
            *there = error.kind() != io::ErrorKind::NotFound;
            return Err(error);
        }
        if made {
            disk.sync_names()?;
        }
        self.turn = turn;
        Ok(())
    }
}

fn encode(turn: u64, lanes: &[LaneAccount; 2]) -> io::Result<Vec<u8>> {
    let body = postcard::to_allocvec(lanes).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(FRONT + body.len() + 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&turn.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&body);
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.resize(bytes.len().max(LEAST_BYTES), 0);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<(u64, [LaneAccount; 2])> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let (turn, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (body, rest) = rest.split_at_checked(length)?;
    let (sum, _) = rest.split_first_chunk::<4>()?;
    let whole = crc32c::crc32c(bytes.get(..FRONT + length)?) == u32::from_le_bytes(*sum);
    if !whole || u16::from_le_bytes(*version) != VERSION {
        return None;
    }
    Some((u64::from_le_bytes(*turn), postcard::from_bytes(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::disk::Memory;
    use super::*;

    fn account(next: u64) -> [LaneAccount; 2] {
        let dropped = BTreeMap::from([(Cause::DiskFull, 2)]);
        [
            LaneAccount { next, done: vec![(0, 3), (5, 6)], acknowledged: 2, dead: 0, dropped },
            LaneAccount::default(),
        ]
    }

    fn read(disk: &mut Memory) -> Read {
        let files = disk.list().unwrap();
        Cursor::open(disk, &files).1
    }

    #[test]
    fn the_latest_whole_account_holds_whatever_is_damaged() {
        let mut disk = Memory::default();
        assert!(read(&mut disk).lanes.is_none() && !read(&mut disk).damaged);
        let mut cursor = Cursor::default();
        for next in 10..14 {
            cursor.save(&mut disk, &account(next)).unwrap();
            assert_eq!(read(&mut disk).lanes, Some(account(next)));
        }
        let files = disk.list().unwrap();
        assert_eq!(files.len(), 2);
        for (file, length) in files {
            for at in (0..length).take_while(|at| *at < 40) {
                let mut damaged = disk.clone();
                let mut byte = [0];
                damaged.read(&file, at, &mut byte).unwrap();
                damaged.write(&file, at, &[byte[0] ^ 4]).unwrap();
                let read = read(&mut damaged);
                assert!(read.damaged, "{file} at {at}");
                let before = if file == FILES[0] { 12 } else { 13 };
                assert_eq!(read.lanes, Some(account(before)), "{file} at {at}");
            }
        }
    }
}
