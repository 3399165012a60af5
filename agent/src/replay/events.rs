//! Sonde's own events as a source and as a result: files of them read line by line, and written.

use std::hash::BuildHasher as _;
use std::io::Write;

use sonde_common::event::{Event, HostId, Observation};
use sonde_common::format::events::{self, EventParser};
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;
use tracing::warn;

use super::Totals;
use crate::capture::{CaptureError, LineReader, Progress};

/// Damaged lines of one event file that are named; the others are counted.
const MAX_NAMED_LINES: u64 = 5;
/// Bytes of events gathered before they are written.
const EVENTS_BUFFER: usize = 256 * 1024;
/// Processes whose line was written and is not repeated; beyond it the places are shared.
const TOLD_PROCESSES: usize = 16_384;

/// The lines of an event file. To merge files by time one observation is read ahead, as text.
pub(super) struct EventLines {
    lines: LineReader,
    parser: EventParser,
    /// The line read ahead, and its time.
    ahead: Option<Timestamp>,
    text: Vec<u8>,
    bad: u64,
}

impl EventLines {
    pub(super) fn new(lines: LineReader) -> Self {
        Self { lines, parser: EventParser::new(), ahead: None, text: Vec::new(), bad: 0 }
    }

    pub(super) const fn progress(&self) -> &Progress {
        self.lines.progress()
    }

    /// Reads ahead to the next line that is an observation.
    pub(super) fn peek_time(&mut self) -> Result<Option<Timestamp>, CaptureError> {
        while self.ahead.is_none() {
            let text = &mut self.text;
            let mut ahead = None;
            let more = next_line(&mut self.lines, &mut self.parser, &mut self.bad, |line, observation| {
                ahead = Some(observation.time);
                text.clear();
                text.extend_from_slice(line);
            })?;
            if !more {
                return Ok(None);
            }
            self.ahead = ahead;
        }
        Ok(self.ahead)
    }

    /// Hands out the next observation, if the next line is one; false at the end.
    pub(super) fn next(&mut self, seen: &mut dyn FnMut(&Observation<'_>)) -> Result<bool, CaptureError> {
        if self.ahead.take().is_some() {
            if let Ok(Some(observation)) = self.parser.parse_line(&self.text) {
                seen(&observation);
            }
            return Ok(true);
        }
        next_line(&mut self.lines, &mut self.parser, &mut self.bad, |_, observation| seen(observation))
    }

    /// Says what was left out, once the file is at its end.
    pub(super) fn finish(&self, totals: &mut Totals) {
        let file = self.lines.name();
        let skipped = self.lines.skipped();
        if skipped.count > 0 {
            warn!(file, lines = skipped.count, first = skipped.first, "lines left out: longer than 1 MiB");
        }
        if self.bad > MAX_NAMED_LINES {
            warn!(file, lines = self.bad, "damaged lines in all");
        }
        totals.bad_lines += self.bad + skipped.count;
    }
}

/// Reads one line; `take` gets it if it is an observation. False at the end.
fn next_line(
    lines: &mut LineReader,
    parser: &mut EventParser,
    bad: &mut u64,
    take: impl FnOnce(&[u8], &Observation<'_>),
) -> Result<bool, CaptureError> {
    let Some(line) = lines.next_line()? else { return Ok(false) };
    let number = line.number;
    match parser.parse_line(line.text) {
        Ok(Some(observation)) => take(line.text, &observation),
        Ok(None) => {}
        Err(error) => {
            *bad += 1;
            if *bad <= MAX_NAMED_LINES {
                let error = error.to_string();
                warn!(file = lines.name(), line = number, error, "line left out");
            }
        }
    }
    Ok(true)
}

/// Writes the normalised events; the first failure is kept and told at the end.
pub(super) struct EventsWriter<'a> {
    out: Option<Box<dyn Write + 'a>>,
    buffer: Vec<u8>,
    /// Processes that a line told of, as hashes of host, process and program, each in the place that its hash names.
    told: Vec<u64>,
    hasher: foldhash::fast::FixedState,
    failed: Option<std::io::Error>,
}

impl<'a> EventsWriter<'a> {
    pub(super) fn new(out: Option<Box<dyn Write + 'a>>) -> Self {
        let mut buffer = Vec::new();
        if out.is_some() {
            events::write_header(&mut buffer);
        }
        Self { out, buffer, told: Vec::new(), hasher: foldhash::fast::FixedState::default(), failed: None }
    }

    /// Whether anyone reads them.
    pub(super) const fn is_wanted(&self) -> bool {
        self.out.is_some()
    }

    pub(super) fn write(&mut self, observation: &Observation<'_>) {
        if self.out.is_none() || self.failed.is_some() {
            return;
        }
        self.tell_process(observation);
        events::write_line(observation, &mut self.buffer);
        if self.buffer.len() >= EVENTS_BUFFER {
            self.flush();
        }
    }

    /// A source that knows the program of each event by itself tells of no processes; the file has to.
    fn tell_process(&mut self, observation: &Observation<'_>) {
        let (key, program) = match &observation.event {
            Event::Connection(event) => (event.process, event.program),
            Event::Dns(event) => (event.process, event.program),
            _ => return,
        };
        let (Some(key), Some(program)) = (key, program) else { return };
        if self.told.is_empty() {
            self.told = vec![0; TOLD_PROCESSES];
        }
        // The place is the process's, the mark is of the program, too: a pid that is another program now is told again.
        let process: (HostId<'_>, ProcessKey) = (observation.host, key);
        let place = self.hasher.hash_one(process);
        let info = &program.info;
        let texts = (&info.image, &info.command_line, &info.sha256, &info.parent_image, &info.user);
        let more = (&info.script, &info.container);
        let mark = self.hasher.hash_one((process, texts, more)).max(1);
        let place = usize::try_from(place % TOLD_PROCESSES as u64).unwrap_or(0);
        if let Some(told) = self.told.get_mut(place)
            && *told != mark
        {
            *told = mark;
            let process = Observation { event: Event::Process(key, info), ..*observation };
            events::write_line(&process, &mut self.buffer);
        }
    }

    fn flush(&mut self) {
        if let Some(out) = &mut self.out {
            self.failed =
                self.failed.take().or_else(|| out.write_all(&self.buffer).and_then(|()| out.flush()).err());
        }
        self.buffer.clear();
    }

    pub(super) fn finish(mut self) -> Result<(), std::io::Error> {
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }
}
