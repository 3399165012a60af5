//! One lane of a spool: its segments in order, which of its numbers are done, and where it is read.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::counts::{Cause, Counts, Fate};
use super::cursor::LaneAccount;
use super::disk::{Disk, read_all, write_all};
use super::ranges::Ranges;
use super::segment::{self, Front, HEADER, RECORD_HEADER};

/// A segment that is longer is none of ours: one record more than a segment's bytes at the most.
pub(super) const MAX_FILE: u64 = 8 << 20;
/// Ranges of done numbers between which records wait, at most: beyond, damage counts for all that follows it in its segment.
const MAX_FRAGMENTS: usize = 1 << 16;
/// Reads that may fail at one place before what is there is given up.
const MAX_READ_FAILURES: u32 = 5;

/// A file of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: u64,
    /// The number behind its last.
    pub(super) end: u64,
    pub(super) bytes: u64,
}

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    /// `u` or `b`: begin of its files' names.
    letter: char,
    /// The number that the next record gets.
    pub(super) next: u64,
    done: Ranges,
    acknowledged: u64,
    dead: u64,
    dropped: BTreeMap<Cause, u64>,
    pub(super) segments: VecDeque<Segment>,
    /// Whether the last segment takes more.
    open: bool,
    /// Bytes of all segments.
    pub(super) bytes: u64,
    /// The number to read next, …
    read: u64,
    /// … and the segment and place where it is looked for.
    place: Option<(u64, u64)>,
    read_failures: u32,
}

/// What a file of a lane turned out to be.
pub(super) enum Taken {
    /// It holds records.
    Kept,
    /// It holds none, and may go.
    Empty,
    /// It is none of ours, and why.
    Foreign(String),
}

impl Lane {
    /// An empty lane, with the account that was found.
    pub(super) fn new(letter: char, account: LaneAccount) -> Self {
        let LaneAccount { next, done, acknowledged, dead, dropped } = account;
        let done = Ranges::of(&done).unwrap_or_default();
        let segments = VecDeque::new();
        let (open, bytes, read, place, read_failures) = (false, 0, 0, None, 0);
        Self {
            letter,
            next,
            done,
            acknowledged,
            dead,
            dropped,
            segments,
            open,
            bytes,
            read,
            place,
            read_failures,
        }
    }

    /// Whether an account fits together.
    pub(super) fn is_sound(account: &LaneAccount) -> bool {
        let mut told =
            [account.acknowledged, account.dead].into_iter().chain(account.dropped.values().copied());
        let sum = told.try_fold(0_u64, u64::checked_add);
        let end = account.done.last().map_or(0, |(_, to)| *to);
        end <= account.next && Ranges::of(&account.done).is_some_and(|done| sum == Some(done.len()))
    }

    /// What is to be kept on disk.
    pub(super) fn account(&self) -> LaneAccount {
        LaneAccount {
            next: self.next,
            done: self.done.iter().collect(),
            acknowledged: self.acknowledged,
            dead: self.dead,
            dropped: self.dropped.clone(),
        }
    }

    /// The account for people.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            emitted: self.next,
            acknowledged: self.acknowledged,
            spooled: self.next - self.done.len().min(self.next),
            dead: self.dead,
            dropped: self.dropped.clone(),
        }
    }

    /// Name of the segment that begins with a number.
    pub(super) fn name(&self, first: u64) -> String {
        format!("{}-{first:020}.log", self.letter)
    }

    /// The number that a segment of this lane begins with, by its name.
    pub(super) fn first_of(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(self.letter)?.strip_prefix('-')?.strip_suffix(".log")?;
        if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().filter(|first| *first < u64::MAX / 2)
    }

    fn letter_byte(&self) -> u8 {
        u8::try_from(self.letter).unwrap_or(b'?')
    }

    /// Takes up a segment that was found. `before`: the first number of the segment behind it; `u64::MAX` for the last.
    /// Notes in `found` what is there; tells whether something stands at its end that is no record.
    pub(super) fn take_up(
        &mut self,
        disk: &mut dyn Disk,
        (first, length): (u64, u64),
        before: u64,
        found: &mut Ranges,
    ) -> io::Result<(Taken, bool)> {
        let name = self.name(first);
        let Some(bytes) = read_all(disk, &name, length, MAX_FILE)? else {
            return Ok((Taken::Foreign(format!("it is longer than {MAX_FILE} bytes")), false));
        };
        let header = segment::check_header(&bytes, self.letter_byte(), first);
        if let segment::Header::Foreign(version) = header {
            return Ok((
                Taken::Foreign(format!("its version is {version}, and 1 is what can be read")),
                false,
            ));
        }
        let (mut at, mut expect) = (usize::try_from(HEADER).unwrap_or(0), first);
        while found.fragments() < MAX_FRAGMENTS
            && let Some(record) = segment::next(&bytes, at, expect, before)
        {
            found.insert(record.seq, record.seq + 1);
            (at, expect) = (record.end, record.seq + 1);
        }
        let torn = bytes.len() > at;
        if expect == first {
            let foreign = header == segment::Header::Damaged
                && !bytes.is_empty()
                && !b"SondeSpl".starts_with(bytes.get(..8).unwrap_or(&bytes));
            let why = || "it begins as none of ours, and no record is in it".to_owned();
            return Ok((if foreign { Taken::Foreign(why()) } else { Taken::Empty }, torn));
        }
        self.segments.push_back(Segment { first, end: expect, bytes: length });
        self.bytes += length;
        self.next = self.next.max(expect);
        Ok((Taken::Kept, torn))
    }

    /// Notes that all that is neither done nor found is gone. Returns how many.
    pub(super) fn settle_missing(&mut self, found: &Ranges, cause: impl Fn(u64) -> Cause) -> u64 {
        let mut gone = Vec::new();
        found.each_missing(0, self.next, |from, to| gone.push((from, to)));
        gone.into_iter().map(|(from, to)| self.settle(from, to, Fate::Dropped(cause(from)))).sum()
    }

    /// Notes what became of numbers, unless it was noted before; how many.
    pub(super) fn settle(&mut self, from: u64, to: u64, fate: Fate) -> u64 {
        let fresh = self.done.insert(from, to.min(self.next));
        match fate {
            Fate::Acknowledged => self.acknowledged += fresh,
            Fate::Dead => self.dead += fresh,
            Fate::Dropped(_) if fresh == 0 => {}
            Fate::Dropped(cause) => *self.dropped.entry(cause).or_default() += fresh,
        }
        fresh
    }

    /// The bytes that the segments grow by when a record of so many is written.
    pub(super) fn growth(&self, record: u64, segment_bytes: u64) -> u64 {
        if self.has_room(record, segment_bytes) { record } else { record + HEADER }
    }

    fn has_room(&self, record: u64, segment_bytes: u64) -> bool {
        self.open
            && self
                .segments
                .back()
                .is_some_and(|last| last.bytes == HEADER || last.bytes + record <= segment_bytes)
    }

    /// Writes an encoded record with the number `next`, which stays as it is. Returns the segment's name, and whether it was
    /// made for this.
    pub(super) fn write(
        &mut self,
        disk: &mut dyn Disk,
        record: &[u8],
        segment_bytes: u64,
    ) -> io::Result<(String, bool)> {
        let made = !self.has_room(record.len() as u64, segment_bytes);
        if made {
            self.begin(disk)?;
        }
        let end = self.next + 1;
        let letter = self.letter;
        let Some(last) = self.segments.back_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let name = format!("{letter}-{:020}.log", last.first);
        if let Err(error) = write_all(disk, &name, last.bytes, record) {
            // A part may be there: it is cut off, or the file is left as it is.
            self.open = disk.cut(&name, last.bytes).is_ok();
            return Err(error);
        }
        last.bytes += record.len() as u64;
        last.end = end;
        self.bytes += record.len() as u64;
        Ok((name, made))
    }

    fn begin(&mut self, disk: &mut dyn Disk) -> io::Result<()> {
        self.open = false;
        // One that took nothing has the same name.
        if let Some(last) = self.segments.back().filter(|last| last.first == self.next) {
            self.bytes -= last.bytes;
            self.segments.pop_back();
        }
        let name = self.name(self.next);
        disk.create(&name)?;
        if let Err(error) = write_all(disk, &name, 0, &segment::header(self.letter_byte(), self.next)) {
            let _ = disk.remove(&name);
            return Err(error);
        }
        self.segments.push_back(Segment { first: self.next, end: self.next, bytes: HEADER });
        self.bytes += HEADER;
        self.open = true;
        Ok(())
    }

    /// The next record goes to another segment.
    pub(super) fn retire(&mut self) {
        self.open = false;
    }

    /// Whether its oldest segment took any record.
    pub(super) fn holds_any(&self) -> bool {
        self.segments.front().is_some_and(|oldest| oldest.first < oldest.end)
    }

    /// Takes out the oldest segment, noting that what waits in it is gone; its name.
    pub(super) fn take_out_oldest(&mut self, cause: Cause) -> Option<String> {
        let segment = self.segments.pop_front()?;
        self.open = self.open && !self.segments.is_empty();
        self.bytes -= segment.bytes;
        self.settle(segment.first, segment.end, Fate::Dropped(cause));
        Some(self.name(segment.first))
    }

    /// Takes out the segments of which all is done, and tells their names. `all`: also the one that takes more.
    pub(super) fn take_out_done(&mut self, all: bool) -> Vec<String> {
        let active = if self.open { self.segments.back().map(|last| last.first) } else { None };
        let mut names = Vec::new();
        let mut kept = VecDeque::new();
        for segment in std::mem::take(&mut self.segments) {
            let is_active = active == Some(segment.first);
            if (is_active && (!all || segment.first == segment.end))
                || self.done.missing(segment.first, segment.end) > 0
            {
                kept.push_back(segment);
            } else {
                self.open = self.open && !is_active;
                self.bytes -= segment.bytes;
                names.push(self.name(segment.first));
            }
        }
        self.segments = kept;
        names
    }

    /// What was read and is not done is read again.
    pub(super) fn rewind(&mut self) {
        (self.read, self.place) = (0, None);
    }

    /// Whether something waits that was not read yet.
    pub(super) fn has_unread(&self) -> bool {
        self.done.next_missing(self.read) < self.next
    }

    /// How many wait that were not read yet.
    pub(super) fn unread(&self) -> u64 {
        self.done.missing(self.read, self.next)
    }

    /// The number to be read next.
    pub(super) fn reading(&self) -> u64 {
        self.read
    }

    /// Goes back to a record that was read last.
    pub(super) fn unread_one(&mut self, seq: u64) {
        (self.read, self.place) = (seq, None);
    }

    /// The next record that waits. What turns out to be damaged on the way is noted.
    pub(super) fn read(&mut self, disk: &mut dyn Disk) -> io::Result<Option<(u64, Vec<u8>)>> {
        match self.try_read(disk) {
            Ok(read) => {
                self.read_failures = 0;
                Ok(read)
            }
            Err(error) => {
                self.read_failures += 1;
                if self.read_failures >= MAX_READ_FAILURES {
                    self.read_failures = 0;
                    let end =
                        self.segments.iter().find(|one| one.end > self.read).map_or(self.next, |one| one.end);
                    self.settle(self.read, end, Fate::Dropped(Cause::DiskError));
                }
                Err(error)
            }
        }
    }

    fn try_read(&mut self, disk: &mut dyn Disk) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            self.read = self.done.next_missing(self.read);
            if self.read >= self.next {
                return Ok(None);
            }
            let at = self.segments.partition_point(|one| one.end <= self.read);
            let Some(segment) = self.segments.get(at).cloned() else {
                self.settle(self.read, self.next, Fate::Dropped(Cause::Damaged));
                continue;
            };
            if segment.first > self.read {
                self.settle(self.read, segment.first, Fate::Dropped(Cause::Damaged));
                continue;
            }
            let at = self.place.filter(|(first, _)| *first == segment.first).map_or(HEADER, |(_, at)| at);
            let name = self.name(segment.first);
            let mut front = [0; RECORD_HEADER];
            let got = disk.read(&name, at, &mut front)?;
            if let Some(front) = Front::read(front.get(..got).unwrap_or_default()) {
                let end = at + (RECORD_HEADER + front.length) as u64;
                if (segment.first..self.read).contains(&front.seq) && end <= segment.bytes {
                    self.place = Some((segment.first, end));
                    continue;
                }
                if (self.read..segment.end).contains(&front.seq) {
                    let mut payload = vec![0; front.length];
                    let got = disk.read(&name, at + RECORD_HEADER as u64, &mut payload)?;
                    if got == payload.len() && front.fits(&payload) {
                        self.settle(self.read, front.seq, Fate::Dropped(Cause::Damaged));
                        self.place = Some((segment.first, end));
                        self.read = front.seq;
                        if self.done.contains(front.seq) {
                            continue;
                        }
                        self.read += 1;
                        return Ok(Some((front.seq, payload)));
                    }
                }
            }
            self.find_again(disk, &name, &segment, at)?;
        }
    }

    /// Goes to the next whole record behind damage; what cannot be read before it is gone.
    fn find_again(&mut self, disk: &mut dyn Disk, name: &str, segment: &Segment, at: u64) -> io::Result<()> {
        let bytes = read_all(disk, name, segment.bytes, MAX_FILE)?.unwrap_or_default();
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(found) = segment::next(&bytes, from, self.read, segment.end) {
            self.settle(self.read, found.seq, Fate::Dropped(Cause::Damaged));
            self.place = Some((segment.first, found.at as u64));
        } else {
            // Perhaps the way here was wrong: a damaged length leads astray.
            let start = usize::try_from(HEADER).unwrap_or(0);
            let again =
                segment::next(&bytes, start, self.read, segment.end).filter(|found| (found.at as u64) < at);
            match again {
                Some(found) => {
                    self.settle(self.read, found.seq, Fate::Dropped(Cause::Damaged));
                    self.place = Some((segment.first, found.at as u64));
                }
                None => {
                    self.settle(self.read, segment.end, Fate::Dropped(Cause::Damaged));
                }
            }
        }
        Ok(())
    }
}
