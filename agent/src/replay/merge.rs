//! Captures, event files and sorted log rows as one stream in the order of time.
//!
//! A capture is opened when its first frame is due, so that a capture rotated over a thousand files takes a few descriptors.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use sonde_common::conntrack::local::{Cidr, Locals, Sample};
use sonde_common::decode::packet;
use sonde_common::format::Frame;
use sonde_common::format::pcapng::Note;
use sonde_common::time::Timestamp;
use tracing::warn;

use super::events::EventLines;
use super::spool::Rows;
use super::{ReplayError, Totals, report_damage};
use crate::capture::{CaptureError, Found, FrameReader, Positions};

/// Frames of each capture that are looked at to find out on which host it was taken.
const SAMPLE_FRAMES: usize = 4096;
/// Captures that stay open from the start, whenever they begin: few enough for any limit of descriptors.
const KEPT_OPEN: usize = 64;

/// What takes the records, one at a time.
pub(super) trait Take {
    /// Frames of one capture, at most [`BATCH`](crate::capture::BATCH), and what it says beside the first.
    fn frames(&mut self, frames: &[Frame<'_>], note: Option<Note<'_>>);
    /// The next line of an event file.
    fn line(&mut self, lines: &mut EventLines) -> Result<bool, CaptureError>;
    /// The next row of the logs.
    fn row(&mut self, rows: &mut Rows) -> Result<bool, ReplayError>;
    /// Whether nobody wants more.
    fn is_done(&self) -> bool;
    /// So many records were taken.
    fn progress(&mut self, records: usize, positions: &Positions);
}

/// What is to be opened.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Capture,
    Events,
}

/// One source, opened.
enum Source {
    Frames(Box<FrameReader>),
    Events(Box<EventLines>),
    Rows(Box<Rows>),
}

/// All sources.
pub(super) struct Merge {
    sources: Vec<Option<Source>>,
    /// Time of the next record of each open source.
    due: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// Captures and event files that are not open yet, in the order of their first records.
    waiting: VecDeque<(Timestamp, Found, Kind)>,
    positions: Positions,
}

impl Merge {
    pub(super) fn new() -> Self {
        Self {
            sources: Vec::new(),
            due: BinaryHeap::new(),
            waiting: VecDeque::new(),
            positions: Positions::default(),
        }
    }

    /// Adds the captures, and finds out which addresses in them are hosts: as the user says, else by their first frames.
    pub(super) fn captures(&mut self, captures: Vec<Found>, local: &[Cidr], totals: &mut Totals) -> Locals {
        let mut sample = Sample::default();
        let few = captures.len() <= KEPT_OPEN;
        let mut waiting = Vec::new();
        for capture in captures {
            let keep = few || capture.is_pipe();
            let (opened, capture) = if keep {
                (capture.open(), None)
            } else {
                match capture.open_again() {
                    Some(opened) => (opened, Some(capture)),
                    None => continue,
                }
            };
            let reader = opened.and_then(crate::capture::Input::into_frames);
            let mut reader = match reader {
                Ok(reader) => reader,
                Err(error) => {
                    warn!(%error, remedy = error.remedy(), "input left out");
                    totals.unreadable += 1;
                    continue;
                }
            };
            if local.is_empty() {
                reader.sample(SAMPLE_FRAMES, |frame| {
                    if let Ok(packet) = packet::decode(&frame) {
                        sample.add(&packet);
                    }
                });
            }
            match capture {
                None => self.add(Source::Frames(Box::new(reader))),
                Some(capture) => match reader.peek_time() {
                    Ok(Some(time)) => waiting.push((time, capture, Kind::Capture)),
                    // Empty, or damaged from its start: told when it is read.
                    _ => self.add(Source::Frames(Box::new(reader))),
                },
            }
        }
        self.wait(waiting);
        if local.is_empty() { sample.locals() } else { Locals::blocks(local.to_vec()) }
    }

    /// Adds the event files.
    pub(super) fn events(&mut self, files: Vec<Found>, totals: &mut Totals) {
        let few = files.len() <= KEPT_OPEN;
        let mut waiting = Vec::new();
        for file in files {
            let again = if few { None } else { file.open_again() };
            let (opened, file) = match again {
                Some(opened) => (opened, Some(file)),
                None => (file.open(), None),
            };
            let mut lines = match opened {
                Ok(input) => EventLines::new(input.into_lines()),
                Err(error) => {
                    warn!(%error, remedy = error.remedy(), "input left out");
                    totals.unreadable += 1;
                    continue;
                }
            };
            match file.map(|file| (file, lines.peek_time())) {
                Some((file, Ok(Some(time)))) => waiting.push((time, file, Kind::Events)),
                _ => self.add(Source::Events(Box::new(lines))),
            }
        }
        self.wait(waiting);
    }

    fn wait(&mut self, waiting: Vec<(Timestamp, Found, Kind)>) {
        self.waiting.extend(waiting);
        self.waiting.make_contiguous().sort_by_key(|(time, ..)| *time);
    }

    /// Adds the rows of all logs.
    pub(super) fn rows(&mut self, rows: Rows) {
        self.add(Source::Rows(Box::new(rows)));
    }

    fn add(&mut self, source: Source) {
        match &source {
            Source::Frames(reader) => self.positions.add(reader.progress().clone()),
            Source::Events(lines) => self.positions.add(lines.progress().clone()),
            Source::Rows(_) => {}
        }
        self.sources.push(Some(source));
    }

    /// Hands out all records in the order of their times; of equal times in the order of the inputs.
    pub(super) fn run(mut self, take: &mut dyn Take, totals: &mut Totals) -> Result<(), ReplayError> {
        // A single source is the common case, and needs no look ahead.
        let single = self.sources.len() == 1 && self.waiting.is_empty();
        if single {
            self.drain(0, None, take, totals)?;
            return Ok(());
        }
        for index in 0..self.sources.len() {
            self.look_ahead(index, totals)?;
        }
        loop {
            self.open_due(totals)?;
            let Some(Reverse((_, index))) = self.due.pop() else { return Ok(()) };
            // As long as it is its turn.
            let next = self.due.peek().map(|Reverse((time, index))| (*time, *index));
            let opens = self.waiting.front().map(|(time, ..)| (*time, usize::MAX));
            let until = [next, opens].into_iter().flatten().min();
            self.drain(index, until, take, totals)?;
            if take.is_done() {
                return Ok(());
            }
        }
    }

    /// Opens the captures whose time has come.
    fn open_due(&mut self, totals: &mut Totals) -> Result<(), ReplayError> {
        loop {
            let due = match (self.waiting.front(), self.due.peek()) {
                (Some((time, ..)), Some(Reverse((next, _)))) => time <= next,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if !due {
                return Ok(());
            }
            let Some((_, found, kind)) = self.waiting.pop_front() else { return Ok(()) };
            let source = found.open().and_then(|input| {
                Ok(match kind {
                    Kind::Capture => Source::Frames(Box::new(input.into_frames()?)),
                    Kind::Events => Source::Events(Box::new(EventLines::new(input.into_lines()))),
                })
            });
            match source {
                Ok(source) => {
                    self.add(source);
                    self.look_ahead(self.sources.len() - 1, totals)?;
                }
                Err(error) => {
                    warn!(%error, remedy = error.remedy(), "input left out");
                    totals.unreadable += 1;
                }
            }
        }
    }

    /// Notes when a source is due next; it leaves at its end.
    fn look_ahead(&mut self, index: usize, totals: &mut Totals) -> Result<Option<Timestamp>, ReplayError> {
        let Some(place) = self.sources.get_mut(index) else { return Ok(None) };
        let time = match place {
            Some(Source::Frames(reader)) => reader.peek_time(),
            Some(Source::Events(lines)) => lines.peek_time(),
            Some(Source::Rows(rows)) => Ok(rows.peek_time().map_err(ReplayError::Spool)?),
            None => return Ok(None),
        };
        match time {
            Ok(Some(time)) => {
                self.due.push(Reverse((time, index)));
                return Ok(Some(time));
            }
            Ok(None) => {}
            Err(error) => report_damage(&error, &mut totals.damaged),
        }
        leave(place, totals);
        Ok(None)
    }

    /// Takes the records of one source as long as they come before `until`; then notes when it is due next.
    fn drain(
        &mut self,
        index: usize,
        until: Option<(Timestamp, usize)>,
        take: &mut dyn Take,
        totals: &mut Totals,
    ) -> Result<(), ReplayError> {
        let Some(place) = self.sources.get_mut(index) else { return Ok(()) };
        while !take.is_done() {
            let mut records = 1;
            let more = match place {
                // Nothing else has its turn before the end.
                Some(Source::Frames(reader)) if until.is_none() => {
                    let taken = reader.next_batch(&mut |frames, note| take.frames(frames, note));
                    records = *taken.as_ref().unwrap_or(&0);
                    taken.map(|taken| taken > 0)
                }
                Some(Source::Frames(reader)) => match reader.next_noted() {
                    Ok(Some((frame, note))) => {
                        take.frames(&[frame], note);
                        Ok(true)
                    }
                    Ok(None) => Ok(false),
                    Err(error) => Err(error),
                },
                Some(Source::Events(lines)) => take.line(lines),
                Some(Source::Rows(rows)) => Ok(take.row(rows)?),
                None => Ok(false),
            };
            take.progress(records, &self.positions);
            match more {
                Ok(true) => {}
                ended => {
                    if let Err(error) = ended {
                        report_damage(&error, &mut totals.damaged);
                    }
                    leave(place, totals);
                    return Ok(());
                }
            }
            let Some(until) = until else { continue };
            let next = match place {
                Some(Source::Frames(reader)) => reader.peek_time(),
                Some(Source::Events(lines)) => lines.peek_time(),
                Some(Source::Rows(rows)) => Ok(rows.peek_time().map_err(ReplayError::Spool)?),
                None => Ok(None),
            };
            match next {
                Ok(Some(time)) if (time, index) <= until => {}
                Ok(Some(time)) => {
                    self.due.push(Reverse((time, index)));
                    return Ok(());
                }
                ended => {
                    if let Err(error) = ended {
                        report_damage(&error, &mut totals.damaged);
                    }
                    leave(place, totals);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A source that is at its end.
fn leave(place: &mut Option<Source>, totals: &mut Totals) {
    if let Some(Source::Events(lines)) = place.take() {
        lines.finish(totals);
    }
}
