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
mod disk_back;
mod lane;
mod open;
mod ranges;
mod segment;

use std::collections::BTreeMap;
use std::io;

use sonde_common::record::{Kind, Record};
use tracing::{error, info};

pub use self::counts::{Cause, Counts, Fate};
pub use self::disk::{Disk, Folder, Memory};

use self::cursor::Cursor;
use self::lane::Lane;
use self::segment::MAX_PAYLOAD;

/// Segments have a sixteenth of the spool's room, from …
const MIN_SEGMENT: u64 = 64 << 10;
/// … to.
const MAX_SEGMENT: u64 = 4 << 20;
/// The lanes, in the order of their worth.
const LANES: [Which; 2] = [Which::Urgent, Which::Bulk];

/// A lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Which {
    /// Alerts and audit records.
    Urgent,
    /// Health and summaries.
    Bulk,
}

/// Which record of a spool: its lane, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    lane: Which,
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
    /// What had been dropped before it was opened.
    before: BTreeMap<(Kind, Cause), u64>,
    /// Records of high severity have numbers below this in their lane.
    urgent_until: u64,
    buffer: Vec<u8>,
}

impl Spool {
    /// Takes a record; the cause if there is no room for it, which is counted. It is safe after the next [`Self::sync`].
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn append(&mut self, record: &Record) -> Result<(), Cause> {
        let which = lane_of(record.kind);
        let done = match postcard::to_allocvec(record) {
            Ok(payload) if payload.len() <= self.max_payload() => {
                self.buffer.clear();
                let seq = self.lane(which).next;
                segment::encode(seq, &payload, &mut self.buffer);
                self.place(which)
            }
            _ => Err(Cause::TooLarge),
        };
        let lane = pick(&mut self.lanes, which);
        lane.next += 1;
        match done {
            Ok(()) if which == Which::Urgent && record.severity >= sonde_common::alert::Severity::High => {
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
        let lane = pick(&mut self.lanes, lane_of(kind));
        let from = lane.next;
        lane.next += count;
        // The next record does not follow on the last one.
        lane.settle(from, lane.next, Fate::Dropped(cause));
        self.unsaved = true;
    }

    const fn lane(&self, which: Which) -> &Lane {
        let [urgent, bulk] = &self.lanes;
        match which {
            Which::Urgent => urgent,
            Which::Bulk => bulk,
        }
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD.min(usize::try_from(self.cap / 4).unwrap_or(MAX_PAYLOAD))
    }

    fn segment_bytes(&self) -> u64 {
        (self.cap / 16).clamp(MIN_SEGMENT, MAX_SEGMENT)
    }

    /// Writes the encoded record to its lane.
    fn place(&mut self, which: Which) -> Result<(), Cause> {
        if !self.make_room(which) {
            return Err(Cause::SpoolFull);
        }
        let segment_bytes = self.segment_bytes();
        loop {
            let Self { disk, lanes, buffer, .. } = self;
            match pick(lanes, which).write(disk.as_mut(), buffer, segment_bytes) {
                Ok((name, made)) => {
                    self.names_dirty |= made;
                    if !self.dirty.contains(&name) {
                        self.dirty.push(name);
                    }
                    return Ok(());
                }
                Err(error) if is_full(&error) => {
                    // A segment that was begun for this record frees nothing.
                    let more = self.lane(Which::Bulk).holds_any();
                    let freed =
                        self.remove_done(true) || (more && self.drop_oldest(Which::Bulk, Cause::DiskFull));
                    if !freed {
                        self.fails(&error);
                        return Err(Cause::DiskFull);
                    }
                }
                Err(error) => {
                    self.fails(&error);
                    pick(&mut self.lanes, which).retire();
                    return Err(Cause::DiskError);
                }
            }
        }
    }

    /// Makes room for the encoded record; whether there is.
    fn make_room(&mut self, which: Which) -> bool {
        let needed = |spool: &Self| {
            spool.bytes() + spool.lane(which).growth(spool.buffer.len() as u64, spool.segment_bytes())
        };
        if needed(self) > self.cap {
            self.remove_done(true);
        }
        while needed(self) > self.cap {
            if !self.drop_oldest(Which::Bulk, Cause::SpoolFull)
                && (which == Which::Bulk || !self.drop_oldest(Which::Urgent, Cause::SpoolFull))
            {
                return false;
            }
        }
        true
    }

    /// Gives up the oldest segment of a lane; whether there was one.
    fn drop_oldest(&mut self, which: Which, cause: Cause) -> bool {
        let Some(name) = pick(&mut self.lanes, which).take_out_oldest(cause) else { return false };
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
        let (mut done, wrote) = (Ok(()), !self.dirty.is_empty());
        for name in std::mem::take(&mut self.dirty) {
            if let Err(error) = self.disk.sync(&name) {
                // What the disk failed to take once it does not take later: go on in another file.
                self.lanes.iter_mut().for_each(Lane::retire);
                // The next sync has nothing to do there, and says well: the account has to know by then what may be lost.
                self.unsaved = true;
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
            Ok(()) if wrote => self.works(),
            Ok(()) => {}
            Err(error) => self.fails(error),
        }
        if done.is_ok() && self.unsaved && !self.save() {
            return Err(io::Error::other("the account cannot be saved"));
        }
        done
    }

    /// Saves the account; whether that worked.
    fn save(&mut self) -> bool {
        let accounts = LANES.map(|which| self.lane(which).account());
        let saved = self.cursor.save(self.disk.as_mut(), &accounts);
        self.unsaved = saved.is_err();
        if let Err(error) = saved {
            self.fails(&error);
        }
        !self.unsaved
    }

    fn fails(&mut self, error: &io::Error) {
        if self.failure.is_none() {
            error!(%error, "the spool's disk does not take what it should");
        }
        self.failure = Some(error.to_string());
    }

    /// What was appended is on the disk.
    fn works(&mut self) {
        if self.failure.take().is_some() {
            info!("the spool's disk works again");
        }
    }

    /// The oldest records that were not taken yet, alerts first: at most so many, of at most so many bytes unless one alone
    /// has more. Each is to be settled; after [`Self::rewind`] what is not settled is taken again.
    ///
    /// # Errors
    /// When the disk cannot be read. Trying again is worth it: what stays unreadable is given up and counted.
    pub fn take(&mut self, most: usize, most_bytes: usize) -> io::Result<Vec<Waiting>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        for (which, lane) in LANES.into_iter().zip(&mut self.lanes) {
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
                taken.push(Waiting { ticket: Ticket { lane: which, seq }, record });
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
            self.unsaved |= pick(&mut self.lanes, lane).settle(seq, seq + 1, fate) > 0;
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
            && (self.drop_oldest(Which::Bulk, Cause::SpoolFull)
                || self.drop_oldest(Which::Urgent, Cause::SpoolFull))
        {}
    }

    /// The account.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lanes.iter().fold(Counts::default(), |sum, lane| sum.plus(&lane.counts()))
    }

    /// What was dropped, by cause and by the worthiest kind of its lane: `alert` stands for alerts and audit records,
    /// `summary` for summaries and health.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<(Kind, Cause), u64> {
        let lanes = self.lanes.iter().zip([Kind::Alert, Kind::Summary]);
        let of = |(lane, kind): (&Lane, Kind)| {
            let dropped = lane.counts().dropped;
            dropped.into_iter().map(move |(cause, count)| ((kind, cause), count))
        };
        lanes.flat_map(of).collect()
    }

    /// The same as it was before this opening.
    #[must_use]
    pub fn dropped_before(&self) -> BTreeMap<(Kind, Cause), u64> {
        self.before.clone()
    }

    /// Gives up all that waits.
    pub fn give_up(&mut self, cause: Cause) {
        for lane in &mut self.lanes {
            self.unsaved |= lane.settle(0, lane.next, Fate::Dropped(cause)) > 0;
        }
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
        let lane = self.lane(Which::Urgent);
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

const fn lane_of(kind: Kind) -> Which {
    match kind {
        Kind::Alert | Kind::Audit => Which::Urgent,
        Kind::Health | Kind::Summary => Which::Bulk,
    }
}

fn pick(lanes: &mut [Lane; 2], which: Which) -> &mut Lane {
    let [urgent, bulk] = lanes;
    match which {
        Which::Urgent => urgent,
        Which::Bulk => bulk,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero
    )
}

#[cfg(test)]
mod tests;
