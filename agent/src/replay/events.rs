//! Sonde's own events as a source: files of them read line by line.

use sonde_common::event::Observation;
use sonde_common::format::events::EventParser;
use sonde_common::time::Timestamp;
use tracing::warn;

use super::Totals;
use crate::capture::{CaptureError, LineReader, Progress};

/// Damaged lines of one event file that are named; the others are counted.
const MAX_NAMED_LINES: u64 = 5;

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
