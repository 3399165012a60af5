//! The spool: what waits for one sink, on disk, bounded, in two lanes, so that of what has no room the oldest summaries go
//! first and alerts last.
//!
//! Every record gets a number of its lane when it is appended. Each number ends in exactly one way, or waits:
//! `emitted = acknowledged + spooled + dead + dropped(cause)` holds after every call, and after any crash. What cannot be
//! found again at opening is `dropped(damaged)`. A record is safe once [`Spool::sync`] returned; until its fate is on the
//! disk it is read again after a crash, so that a server may get it twice, and knows it by its id.

mod counts;
mod cursor;
mod disk;
mod lane;
mod ranges;
mod segment;

use std::io;

use sonde_common::record::{Kind, Record};
use tracing::{error, info, warn};

pub use self::counts::{Cause, Counts, Fate};
pub use self::disk::{Disk, Folder, Memory};

use self::cursor::{Cursor, LaneAccount};
use self::lane::{Lane, Taken};
use self::ranges::Ranges;
use self::segment::{HEADER, MAX_PAYLOAD, RECORD_HEADER};

/// Segments have a sixteenth of the spool's room, from …
const MIN_SEGMENT: u64 = 64 << 10;
/// … to.
const MAX_SEGMENT: u64 = 4 << 20;
/// What is set aside begins so.
const ASIDE: &str = "aside-";
/// Files set aside that are kept.
const MAX_ASIDE: usize = 8;
/// Problems of opening that are told.
const MAX_PROBLEMS: usize = 16;
/// Where alerts and audit records wait, …
const URGENT: usize = 0;
/// … and health and summaries.
const BULK: usize = 1;

/// Which record of a spool: its lane, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    lane: usize,
    seq: u64,
}

/// A record that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// To say what became of it.
    pub ticket: Ticket,
    /// The record.
    pub record: Record,
}

/// What waits for one sink.
#[expect(missing_debug_implementations, reason = "it holds a trait object")]
pub struct Spool {
    disk: Box<dyn Disk>,
    cap: u64,
    lanes: [Lane; 2],
    cursor: Cursor,
    /// Segments that were written to and are not on the disk yet.
    dirty: Vec<String>,
    names_dirty: bool,
    /// Whether the account has changed since it was saved.
    unsaved: bool,
    /// Why the disk does not take what it should, until it does again.
    failure: Option<String>,
    problems: Vec<String>,
    /// Records of high severity have numbers below this in their lane.
    urgent_until: u64,
    buffer: Vec<u8>,
}

impl Spool {
    /// Takes up what a folder holds. Nothing here is fatal: what is damaged is told in [`Self::problems`], and counted.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn open(mut disk: Box<dyn Disk>, cap: u64) -> io::Result<Self> {
        let files = disk.list()?;
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
        let lanes = [Lane::new('u', urgent), Lane::new('b', bulk)];
        let mut spool = Self {
            disk,
            cap,
            lanes,
            cursor,
            dirty: Vec::new(),
            names_dirty: false,
            unsaved: false,
            failure: None,
            problems,
            urgent_until: 0,
            buffer: Vec::new(),
        };
        for lane in [URGENT, BULK] {
            spool.take_up(lane, &files, known, read.damaged);
        }
        spool.urgent_until = spool.lanes[URGENT].next;
        spool.prune_aside(&files);
        spool.remove_done(true);
        for problem in &spool.problems {
            warn!(problem, "the spool");
        }
        if spool.unsaved {
            spool.save();
        }
        Ok(spool)
    }

    /// Takes up the segments of a lane.
    fn take_up(&mut self, index: usize, files: &[(String, u64)], known: bool, stale: bool) {
        let lane = &mut self.lanes[index];
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
            match lane.take_up(self.disk.as_mut(), (first, length), before, &mut found) {
                Ok((Taken::Kept, torn)) => torn_at_end = torn,
                Ok((Taken::Empty, torn)) => {
                    lane.next = lane.next.max(first);
                    torn_at_end = torn && length > HEADER;
                    let _ = self.disk.remove(&name);
                }
                Ok((Taken::Foreign(why), _)) => {
                    // It held a record at least; and its name is not to be taken again.
                    lane.next = lane.next.max(first + 1);
                    torn_at_end = false;
                    let done = self.disk.rename(&name, &format!("{ASIDE}{name}"));
                    let done = done.map_or_else(
                        |error| format!("and cannot be set aside: {error}"),
                        |()| "set aside".into(),
                    );
                    self.problems.push(format!("{name}: {why}: {done}"));
                }
                Err(error) => {
                    lane.next = lane.next.max(first + 1);
                    torn_at_end = false;
                    self.problems.push(format!("{name}: it cannot be read: {error}"));
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
            self.unsaved = true;
            self.problems.push(format!("{gone} records are not there any more, or were never known to be"));
        }
        self.problems.truncate(MAX_PROBLEMS);
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

    /// Takes a record; the cause if there is no room for it, which is counted. It is safe after the next [`Self::sync`].
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn append(&mut self, record: &Record) -> Result<(), Cause> {
        let index = lane_of(record.kind);
        let done = match postcard::to_allocvec(record) {
            Ok(payload) if payload.len() <= self.max_payload() => {
                self.buffer.clear();
                segment::encode(self.lanes[index].next, &payload, &mut self.buffer);
                self.place(index)
            }
            _ => Err(Cause::TooLarge),
        };
        let lane = &mut self.lanes[index];
        lane.next += 1;
        match done {
            Ok(()) if index == URGENT && record.severity >= sonde_common::alert::Severity::High => {
                self.urgent_until = lane.next;
            }
            Ok(()) => {}
            Err(cause) => {
                lane.settle(lane.next - 1, lane.next, Fate::Dropped(cause));
                self.unsaved = true;
            }
        }
        done
    }

    /// Counts a record that was lost before it came here.
    pub fn lose(&mut self, kind: Kind, count: u64, cause: Cause) {
        let lane = &mut self.lanes[lane_of(kind)];
        let from = lane.next;
        lane.next += count;
        // The next record does not follow on the last one.
        lane.settle(from, lane.next, Fate::Dropped(cause));
        self.unsaved = true;
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD.min(usize::try_from(self.cap / 4).unwrap_or(MAX_PAYLOAD))
    }

    fn segment_bytes(&self) -> u64 {
        (self.cap / 16).clamp(MIN_SEGMENT, MAX_SEGMENT)
    }

    /// Writes the encoded record to its lane.
    fn place(&mut self, index: usize) -> Result<(), Cause> {
        if !self.make_room(index) {
            return Err(Cause::SpoolFull);
        }
        let segment_bytes = self.segment_bytes();
        loop {
            let Self { disk, lanes, buffer, .. } = self;
            match lanes[index].write(disk.as_mut(), buffer, segment_bytes) {
                Ok((name, made)) => {
                    self.names_dirty |= made;
                    if !self.dirty.contains(&name) {
                        self.dirty.push(name);
                    }
                    return Ok(());
                }
                Err(error) if is_full(&error) => {
                    self.fails(&error);
                    if !self.remove_done(true) && !self.drop_oldest(BULK, Cause::DiskFull) {
                        return Err(Cause::DiskFull);
                    }
                }
                Err(error) => {
                    self.fails(&error);
                    self.lanes[index].retire();
                    return Err(Cause::DiskError);
                }
            }
        }
    }

    /// Makes room for the encoded record; whether there is.
    fn make_room(&mut self, index: usize) -> bool {
        let needed = |spool: &Self| {
            spool.bytes() + spool.lanes[index].growth(spool.buffer.len() as u64, spool.segment_bytes())
        };
        if needed(self) > self.cap {
            self.remove_done(true);
        }
        while needed(self) > self.cap {
            if !self.drop_oldest(BULK, Cause::SpoolFull)
                && (index == BULK || !self.drop_oldest(URGENT, Cause::SpoolFull))
            {
                return false;
            }
        }
        true
    }

    /// Gives up the oldest segment of a lane; whether there was one.
    fn drop_oldest(&mut self, index: usize, cause: Cause) -> bool {
        let Some(name) = self.lanes[index].take_out_oldest(cause) else { return false };
        // The account first: killed between the two, a later start still knows why.
        self.save();
        self.delete(&name);
        true
    }

    fn delete(&mut self, name: &str) {
        self.dirty.retain(|dirty| dirty != name);
        if let Err(error) = self.disk.remove(name) {
            self.fails(&error);
        }
    }

    /// Deletes segments of which all is done; whether there were any.
    fn remove_done(&mut self, all: bool) -> bool {
        let names: Vec<String> = self.lanes.iter_mut().flat_map(|lane| lane.take_out_done(all)).collect();
        if names.is_empty() {
            return false;
        }
        if self.unsaved {
            self.save();
        }
        for name in &names {
            self.delete(name);
        }
        true
    }

    /// Brings all that was appended to the disk.
    ///
    /// # Errors
    /// When the disk says that it did not work: what was appended since the last time may not outlive a power cut.
    pub fn sync(&mut self) -> io::Result<()> {
        let mut done = Ok(());
        for name in std::mem::take(&mut self.dirty) {
            if let Err(error) = self.disk.sync(&name) {
                // What the disk failed to take once it does not take later: go on in another file.
                self.lanes.iter_mut().for_each(Lane::retire);
                done = Err(error);
            }
        }
        if std::mem::take(&mut self.names_dirty)
            && let Err(error) = self.disk.sync_names()
        {
            self.names_dirty = true;
            done = Err(error);
        }
        match &done {
            Ok(()) => {
                if self.unsaved {
                    self.save();
                } else if self.failure.take().is_some() {
                    info!("the spool's disk works again");
                }
            }
            Err(error) => self.fails(error),
        }
        done
    }

    /// Saves the account.
    fn save(&mut self) {
        let accounts: [LaneAccount; 2] = [self.lanes[URGENT].account(), self.lanes[BULK].account()];
        match self.cursor.save(self.disk.as_mut(), &accounts) {
            Ok(()) => {
                self.unsaved = false;
                if self.failure.take().is_some() {
                    info!("the spool's disk works again");
                }
            }
            Err(error) => {
                self.unsaved = true;
                self.fails(&error);
            }
        }
    }

    fn fails(&mut self, error: &io::Error) {
        if self.failure.is_none() {
            error!(%error, "the spool's disk does not take what it should");
        }
        self.failure = Some(error.to_string());
    }

    /// The oldest records that were not taken yet, alerts first: at most so many, of at most so many bytes unless one alone
    /// has more. Each is to be settled; after [`Self::rewind`] what is not settled is taken again.
    ///
    /// # Errors
    /// When the disk cannot be read. Trying again is worth it: what stays unreadable is given up and counted.
    pub fn take(&mut self, most: usize, most_bytes: usize) -> io::Result<Vec<Waiting>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let before = lane.counts();
            while taken.len() < most {
                let read = match lane.read(self.disk.as_mut()) {
                    Ok(Some(read)) => read,
                    Ok(None) => break,
                    Err(_) if !taken.is_empty() => break,
                    Err(error) => return Err(error),
                };
                let (seq, payload) = read;
                // Whole, and yet none: of a version that wrote otherwise.
                let Ok(record) = postcard::from_bytes::<Record>(&payload) else {
                    lane.settle(seq, seq + 1, Fate::Dropped(Cause::Damaged));
                    continue;
                };
                bytes += record.body.len();
                if bytes > most_bytes && !taken.is_empty() {
                    lane.unread_one(seq);
                    return Ok(taken);
                }
                taken.push(Waiting { ticket: Ticket { lane: index, seq }, record });
            }
            self.unsaved |= lane.counts() != before;
        }
        Ok(taken)
    }

    /// What was taken and not settled is taken again.
    pub fn rewind(&mut self) {
        self.lanes.iter_mut().for_each(Lane::rewind);
    }

    /// Notes what became of records, and brings that to the disk. What had to be dropped meanwhile stays dropped.
    pub fn settle(&mut self, fates: impl IntoIterator<Item = (Ticket, Fate)>) {
        for (Ticket { lane, seq }, fate) in fates {
            if let Some(lane) = self.lanes.get_mut(lane) {
                self.unsaved |= lane.settle(seq, seq + 1, fate) > 0;
            }
        }
        if self.unsaved {
            self.save();
            self.remove_done(false);
        }
    }

    /// Another cap holds from now on; what has no room any more goes.
    pub fn set_cap(&mut self, cap: u64) {
        self.cap = cap;
        self.remove_done(true);
        while self.bytes() > cap
            && (self.drop_oldest(BULK, Cause::SpoolFull) || self.drop_oldest(URGENT, Cause::SpoolFull))
        {
        }
    }

    /// The account.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lanes.iter().fold(Counts::default(), |sum, lane| sum.plus(&lane.counts()))
    }

    /// How many wait that were not taken yet.
    #[must_use]
    pub fn untaken(&self) -> u64 {
        self.lanes.iter().map(Lane::unread).sum()
    }

    /// Whether something waits that was not taken yet.
    #[must_use]
    pub fn has_untaken(&self) -> bool {
        self.lanes.iter().any(Lane::has_unread)
    }

    /// Whether a record of high severity waits that was not taken yet.
    #[must_use]
    pub fn presses(&self) -> bool {
        let lane = &self.lanes[URGENT];
        lane.has_unread() && lane.reading() < self.urgent_until
    }

    /// Bytes of the segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.bytes).sum()
    }

    /// What was wrong when it was opened.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Why the disk does not take what it should, until it does again.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether what waits outlives the sensor.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.disk.lasts()
    }
}

const fn lane_of(kind: Kind) -> usize {
    match kind {
        Kind::Alert | Kind::Audit => URGENT,
        Kind::Health | Kind::Summary => BULK,
    }
}

/// Bytes that a record with a body of so many takes in a segment, about.
#[must_use]
pub const fn overhead() -> usize {
    RECORD_HEADER
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero
    )
}

#[cfg(test)]
mod tests;
