//! Opening a spool: what the folder holds is taken up, what is damaged is counted, what is foreign is set aside.

use std::collections::BTreeMap;
use std::io;

use tracing::warn;

use super::counts::Cause;
use super::cursor::{self, Cursor, LaneAccount};
use super::disk::{Disk, Memory};
use super::lane::{Lane, Taken};
use super::ranges::Ranges;
use super::segment::HEADER;
use super::{LANES, Spool, Which, disk_back, pick};

/// What is set aside begins so.
const ASIDE: &str = "aside-";
/// Files set aside that are kept.
const MAX_ASIDE: usize = 8;
/// Problems of opening that are told.
const MAX_PROBLEMS: usize = 16;

impl Spool {
    /// Takes up what a folder holds. Nothing here is fatal: what is damaged is told in [`Self::problems`], and counted.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn open(mut disk: Box<dyn Disk>, cap: u64) -> io::Result<Self> {
        let files = disk.list()?;
        if files.iter().any(|(name, _)| name == disk_back::PROBE) {
            let _ = disk.remove(disk_back::PROBE);
        }
        let (cursor, read) = Cursor::open(disk.as_mut(), &files);
        let sound = read.lanes.filter(|lanes| lanes.iter().all(Lane::is_sound));
        let (known, mut problems) = (sound.is_some(), Vec::new());
        let cursor_there = files.iter().any(|(name, length)| name.starts_with(cursor::PREFIX) && *length > 0);
        if !known && cursor_there {
            problems.push(
                "the account is damaged: it is rebuilt from what waits, its counts are lost".to_owned(),
            );
        } else if read.damaged {
            problems.push("the latest account may be damaged: the one before it is used".to_owned());
        }
        let [urgent, bulk] = sound.unwrap_or_default();
        let mut spool = Self::empty(disk, cap);
        spool.lanes = [Lane::new('u', urgent), Lane::new('b', bulk)];
        (spool.cursor, spool.problems) = (cursor, problems);
        spool.before = spool.dropped();
        for lane in LANES {
            spool.take_up(lane, &files, known, read.damaged);
        }
        spool.urgent_until = spool.lane(Which::Urgent).next;
        spool.prune_aside(&files);
        spool.remove_done(true);
        for problem in &spool.problems {
            warn!(problem, "the spool");
        }
        // Who wrote them was perhaps killed before they were brought to the disk; what is taken up counts as safe.
        for lane in &spool.lanes {
            spool.dirty.extend(lane.segments.iter().map(|segment| lane.name(segment.first)));
        }
        spool.names_dirty = true;
        let _ = spool.sync();
        // Both files of the account now, while there is room.
        for _ in 0..2 {
            if !spool.cursor.is_there() {
                spool.save();
            }
        }
        Ok(spool)
    }

    /// One in memory, empty; `problem`: why it is not on disk, if it should be.
    #[must_use]
    pub fn in_memory(disk: Memory, cap: u64, problem: Option<String>) -> Self {
        let mut spool = Self::empty(Box::new(disk), cap);
        spool.problems.extend(problem);
        spool
    }

    fn empty(disk: Box<dyn Disk>, cap: u64) -> Self {
        Self {
            disk,
            cap,
            lanes: [Lane::new('u', LaneAccount::default()), Lane::new('b', LaneAccount::default())],
            cursor: Cursor::default(),
            dirty: Vec::new(),
            names_dirty: false,
            unsaved: false,
            failure: None,
            problems: Vec::new(),
            before: BTreeMap::new(),
            urgent_until: 0,
            buffer: Vec::new(),
        }
    }

    /// Takes up the segments of a lane.
    fn take_up(&mut self, which: Which, files: &[(String, u64)], known: bool, stale: bool) {
        let Self { disk, lanes, problems, unsaved, .. } = self;
        let lane = pick(lanes, which);
        let mut segments: Vec<(u64, u64)> =
            files.iter().filter_map(|(name, length)| Some((lane.first_of(name)?, *length))).collect();
        segments.sort_unstable();
        // What was there before the first segment is not known without an account.
        let begin = segments.first().map_or(0, |(first, _)| *first);
        let mut found = Ranges::default();
        let mut torn_at_end = false;
        for (at, &(first, length)) in segments.iter().enumerate() {
            let before = segments.get(at + 1).map_or(u64::MAX, |(next, _)| *next);
            let name = lane.name(first);
            match lane.take_up(disk.as_mut(), (first, length), before, &mut found) {
                Ok((Taken::Kept, torn)) => torn_at_end = torn,
                Ok((Taken::Empty, torn)) => {
                    lane.next = lane.next.max(first);
                    torn_at_end = torn && length > HEADER;
                    let _ = disk.remove(&name);
                }
                Ok((Taken::Foreign(why), _)) => {
                    // It held a record at least; and its name is not to be taken again.
                    lane.next = lane.next.max(first + 1);
                    torn_at_end = false;
                    let done = disk.rename(&name, &format!("{ASIDE}{name}"));
                    let done = done.map_or_else(
                        |error| format!("and cannot be set aside: {error}"),
                        |()| "set aside".into(),
                    );
                    problems.push(format!("{name}: {why}: {done}"));
                }
                Err(error) => {
                    lane.next = lane.next.max(first + 1);
                    torn_at_end = false;
                    problems.push(format!("{name}: it cannot be read: {error}"));
                }
            }
        }
        // A record was being written, or its end was lost.
        let end = found.iter().last().map_or(begin, |(_, to)| to);
        if torn_at_end {
            lane.next = lane.next.max(end + 1);
        }
        let gone = lane.settle_missing(&found, |from| match (known, stale) {
            (false, _) if from < begin => Cause::CountsLost,
            (_, true) => Cause::CountsLost,
            _ => Cause::Damaged,
        });
        if gone > 0 {
            *unsaved = true;
            problems.push(format!("{gone} records are not there any more, or were never known to be"));
        }
        problems.truncate(MAX_PROBLEMS);
    }

    /// Of what was set aside the latest are kept.
    fn prune_aside(&mut self, files: &[(String, u64)]) {
        let mut aside: Vec<&String> =
            files.iter().map(|(name, _)| name).filter(|name| name.starts_with(ASIDE)).collect();
        aside.sort_unstable();
        let surplus = aside.len().saturating_sub(MAX_ASIDE);
        for name in aside.into_iter().take(surplus) {
            let _ = self.disk.remove(name);
        }
    }
}
