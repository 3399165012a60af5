//! Offline replay: captures and event files in, alerts out, through the same engine as the live sensor.
//!
//! Several inputs are merged by time. All captures share one connection tracker, so a capture rotated over several files
//! is one capture. What is damaged costs only itself: it is reported and the rest goes on.

use std::cell::Cell;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sonde_common::alert::Alert;
use sonde_common::config::Config;
use sonde_common::conntrack::local::{Cidr, Locals, Sample};
use sonde_common::conntrack::{TrackCounters, Tracker};
use sonde_common::decode::packet::{self, Undecoded};
use sonde_common::engine::{EngineCounters, Engines};
use sonde_common::event::Observation;
use sonde_common::format::Content;
use sonde_common::format::events::{self, EventParser};
use sonde_common::time::Timestamp;
use tracing::warn;

use crate::capture::{CaptureError, FrameReader, Input, LineReader, Progress};

/// Frames of each capture that are looked at to find out on which host it was taken.
const SAMPLE_FRAMES: usize = 4096;
/// Damaged lines of one event file that are named; the others are counted.
const MAX_NAMED_LINES: u64 = 5;
/// Bytes of events gathered before they are written.
const EVENTS_BUFFER: usize = 256 * 1024;
/// Frames between two looks at the progress bar.
const FRAMES_PER_TICK: u64 = 8192;
/// Keys the hash of a replay: the same input has to give the same answer twice, so it is fixed. A sensor draws its own.
const SEED: (u64, u64) = (0x736f_6e64_6520_7265, 0x706c_6179_2073_6565);

/// What to replay, and how.
#[expect(missing_debug_implementations, reason = "it holds a writer")]
pub struct Replay<'a> {
    /// Settings.
    pub config: &'a Config,
    /// Address blocks that are hosts; empty: find out.
    pub local: Vec<Cidr>,
    /// Where the normalised events go.
    pub events: Option<Box<dyn Write + 'a>>,
    /// What the input holds; `None`: find out.
    pub input_format: Option<InputFormat>,
}

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum InputFormat {
    /// A packet capture, pcap or pcapng.
    Capture,
    /// Sonde's own events, NDJSON.
    Events,
}

/// What ends a replay early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The events cannot be written.
    #[error("cannot write events: {0}")]
    Events(#[source] std::io::Error),
    /// A folder cannot be listed.
    #[error("{path}: cannot list the folder: {error}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames read.
    pub frames: u64,
    /// Frames without a packet in them, by cause.
    pub undecoded: UndecodedCounters,
    /// Lines of event files that could not be read.
    pub bad_lines: u64,
    /// Inputs that were damaged.
    pub damaged: u64,
    /// Inputs of which nothing could be read.
    pub unreadable: u64,
    /// What became of the packets.
    pub tracking: TrackCounters,
    /// What became of the events.
    pub engine: EngineCounters,
    /// Hosts in the input.
    pub hosts: usize,
    /// Memory held at the end by tables of known size, in bytes.
    pub memory_bytes: usize,
    /// First and latest data time.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// Frames that gave no packet, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UndecodedCounters {
    /// Link type that is not known.
    pub link: u64,
    /// Not IP.
    pub not_ip: u64,
    /// Cut within a header.
    pub truncated: u64,
    /// Later fragments.
    pub fragment: u64,
    /// Neither TCP, UDP nor ICMP echo.
    pub other_transport: u64,
}

impl UndecodedCounters {
    fn add(&mut self, cause: Undecoded) {
        *match cause {
            Undecoded::Link => &mut self.link,
            Undecoded::NotIp => &mut self.not_ip,
            Undecoded::Truncated => &mut self.truncated,
            Undecoded::Fragment => &mut self.fragment,
            Undecoded::OtherTransport => &mut self.other_transport,
        } += 1;
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Position {
    /// Bytes read of all inputs, as they lie on disk.
    pub bytes: u64,
    /// Frames and lines so far.
    pub records: u64,
    /// Observations so far.
    pub events: u64,
}

/// One input, opened.
enum Source {
    Frames(Box<FrameReader>),
    Events(Box<EventLines>),
}

/// The lines of an event file. To merge files by time one observation is read ahead, as text.
struct EventLines {
    lines: LineReader,
    parser: EventParser,
    /// The line read ahead, and its time.
    ahead: Option<Timestamp>,
    text: Vec<u8>,
    bad: u64,
}

impl Source {
    fn progress(&self) -> &Progress {
        match self {
            Self::Frames(reader) => reader.progress(),
            Self::Events(events) => events.lines.progress(),
        }
    }
}

impl EventLines {
    fn new(lines: LineReader) -> Self {
        Self { lines, parser: EventParser::new(), ahead: None, text: Vec::new(), bad: 0 }
    }

    /// Reads ahead to the next line that is an observation.
    fn peek_time(&mut self) -> Result<Option<Timestamp>, CaptureError> {
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
    fn next(&mut self, seen: &mut impl FnMut(&Observation<'_>)) -> Result<bool, CaptureError> {
        if self.ahead.take().is_some() {
            if let Ok(Some(observation)) = self.parser.parse_line(&self.text) {
                seen(&observation);
            }
            return Ok(true);
        }
        next_line(&mut self.lines, &mut self.parser, &mut self.bad, |_, observation| seen(observation))
    }

    /// Says what was left out, once the file is at its end.
    fn finish(&self, totals: &mut Totals) {
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

/// Files and folders as given -> files, folders walked in the order of their names.
///
/// # Errors
/// If a folder cannot be listed.
pub fn walk(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReplayError> {
    /// Folders within folders that are entered; deeper ones are a loop or a mistake.
    const MAX_DEPTH: usize = 32;
    fn enter(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), ReplayError> {
        let failed = |error| ReplayError::Folder { path: path.display().to_string(), error };
        let mut entries: Vec<_> = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(failed)?;
        entries.sort();
        for entry in entries {
            if entry.is_dir() {
                if depth < MAX_DEPTH {
                    enter(&entry, depth + 1, files)?;
                }
            } else {
                files.push(entry);
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { enter(path, 0, &mut files)? } else { files.push(path.clone()) }
    }
    Ok(files)
}

impl Replay<'_> {
    /// Replays the inputs to their end. `emit` gets the alerts as the live sensor would have sent them, and may end the
    /// replay; `tick` is called now and then.
    ///
    /// # Errors
    /// If the events cannot be written. An input that is damaged or cannot be read is no error: it is logged and counted.
    pub fn run(
        mut self,
        inputs: Vec<Input>,
        emit: &mut dyn FnMut(Alert) -> ControlFlow<()>,
        tick: &mut dyn FnMut(Position),
    ) -> Result<(Engines, Totals), ReplayError> {
        let mut totals = Totals::default();
        let mut sources = Vec::new();
        for input in inputs {
            match self.open(input) {
                Ok(source) => sources.push(source),
                Err(error) => {
                    warn!(%error, remedy = error.remedy(), "input left out");
                    totals.unreadable += 1;
                }
            }
        }
        let locals = self.locals(&mut sources);
        if let Some(host) = locals.endpoint() {
            tracing::info!(%host, "the capture was taken on this host");
        }
        let memory = self.config.limits.memory;
        let mut tracker = Tracker::new(locals, memory.tracking_bytes());
        let mut engines = Engines::new(self.config, SEED);
        let mut events = EventsWriter::new(self.events.take());
        let mut span: Option<(Timestamp, Timestamp)> = None;
        let mut records = 0u64;
        let observed = Cell::new(0u64);
        let stopped = Cell::new(false);
        let mut seen = |observation: &Observation<'_>| {
            let first = span.map_or(observation.time, |(first, _)| first.min(observation.time));
            let last = span.map_or(observation.time, |(_, last)| last.max(observation.time));
            span = Some((first, last));
            observed.set(observed.get() + 1);
            events.write(observation);
            engines.observe(observation, &mut |alert| {
                if emit(alert).is_break() {
                    stopped.set(true);
                }
            });
        };
        while !stopped.get() {
            records += 1;
            if records.is_multiple_of(FRAMES_PER_TICK) {
                let bytes = sources.iter().map(|source| source.progress().position()).sum();
                tick(Position { bytes, records, events: observed.get() });
            }
            let Some(at) = next_source(&mut sources, &mut totals) else { break };
            match sources.get_mut(at) {
                Some(Source::Frames(reader)) => match reader.next_frame() {
                    Ok(Some(frame)) => {
                        totals.frames += 1;
                        match packet::decode(&frame) {
                            Ok(packet) => tracker.packet(&packet, &mut seen),
                            Err(cause) => totals.undecoded.add(cause),
                        }
                    }
                    Ok(None) => {
                        sources.remove(at);
                    }
                    Err(error) => {
                        report_damage(&error, &mut totals);
                        sources.remove(at);
                    }
                },
                Some(Source::Events(lines)) => match lines.next(&mut seen) {
                    Ok(true) => {}
                    ended => {
                        if let Err(error) = ended {
                            report_damage(&error, &mut totals);
                        }
                        lines.finish(&mut totals);
                        sources.remove(at);
                    }
                },
                None => break,
            }
        }
        tracker.finish(&mut seen);
        events.finish().map_err(ReplayError::Events)?;
        totals.tracking = tracker.counters();
        totals.engine = engines.counters();
        totals.hosts = engines.len();
        totals.memory_bytes = engines.memory_bytes() + tracker.memory_bytes();
        totals.span = span;
        Ok((engines, totals))
    }

    fn open(&self, input: Input) -> Result<Source, CaptureError> {
        let format = self.input_format.unwrap_or(match input.content() {
            Content::Json => InputFormat::Events,
            _ => InputFormat::Capture,
        });
        Ok(match format {
            InputFormat::Capture => Source::Frames(Box::new(input.into_frames()?)),
            InputFormat::Events => Source::Events(Box::new(EventLines::new(input.into_lines()))),
        })
    }

    /// Which addresses are hosts: as the user says, else by the first frames of the captures.
    fn locals(&self, sources: &mut [Source]) -> Locals {
        if !self.local.is_empty() {
            return Locals::blocks(self.local.clone());
        }
        let mut sample = Sample::default();
        for source in sources {
            if let Source::Frames(reader) = source {
                reader.sample(SAMPLE_FRAMES, |frame| {
                    if let Ok(packet) = packet::decode(&frame) {
                        sample.add(&packet);
                    }
                });
            }
        }
        sample.locals()
    }
}

/// The source whose next record is the oldest; sources that are at their end leave.
fn next_source(sources: &mut Vec<Source>, totals: &mut Totals) -> Option<usize> {
    // A single input is the common case, and needs no look ahead.
    if sources.len() == 1 {
        return Some(0);
    }
    let mut best: Option<(Timestamp, usize)> = None;
    let mut at = 0;
    while let Some(source) = sources.get_mut(at) {
        let time = match source {
            Source::Frames(reader) => reader.peek_time(),
            Source::Events(lines) => lines.peek_time(),
        };
        match time {
            Ok(Some(time)) => {
                if best.is_none_or(|(oldest, _)| time < oldest) {
                    best = Some((time, at));
                }
                at += 1;
            }
            ended => {
                if let Err(error) = ended {
                    report_damage(&error, totals);
                }
                if let Source::Events(lines) = source {
                    lines.finish(totals);
                }
                sources.remove(at);
            }
        }
    }
    best.map(|(_, at)| at)
}

fn report_damage(error: &CaptureError, totals: &mut Totals) {
    totals.damaged += 1;
    warn!(%error, "the rest of this input is left out");
}

/// Writes the normalised events; the first failure is kept and told at the end.
struct EventsWriter<'a> {
    out: Option<Box<dyn Write + 'a>>,
    buffer: Vec<u8>,
    failed: Option<std::io::Error>,
}

impl<'a> EventsWriter<'a> {
    fn new(out: Option<Box<dyn Write + 'a>>) -> Self {
        let mut buffer = Vec::new();
        if out.is_some() {
            events::write_header(&mut buffer);
        }
        Self { out, buffer, failed: None }
    }

    fn write(&mut self, observation: &Observation<'_>) {
        if self.out.is_none() || self.failed.is_some() {
            return;
        }
        events::write_line(observation, &mut self.buffer);
        if self.buffer.len() >= EVENTS_BUFFER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(out) = &mut self.out {
            self.failed =
                self.failed.take().or_else(|| out.write_all(&self.buffer).and_then(|()| out.flush()).err());
        }
        self.buffer.clear();
    }

    fn finish(mut self) -> Result<(), std::io::Error> {
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }
}
