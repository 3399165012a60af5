//! Offline replay: captures and event files in, alerts out, through the same engine as the live sensor.
//!
//! Several inputs are merged by time. All captures share one connection tracker, so a capture rotated over several files
//! is one capture. What is damaged costs only itself: it is reported and the rest goes on.

use std::io::Write;
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
    /// An input cannot be opened.
    #[error(transparent)]
    Input(#[from] CaptureError),
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

/// The lines of an event file; one observation is read ahead as text, so that files can be merged by time.
struct EventLines {
    lines: LineReader,
    parser: EventParser,
    /// The next line and its time.
    next: Option<(Vec<u8>, Timestamp)>,
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
    /// Reads ahead to the next line that is an observation.
    fn peek_time(&mut self) -> Result<Option<Timestamp>, CaptureError> {
        if let Some((_, time)) = self.next {
            return Ok(Some(time));
        }
        let mut text = Vec::new();
        loop {
            let Some(line) = self.lines.next_line()? else { return Ok(None) };
            match self.parser.parse_line(line.text) {
                Ok(Some(observation)) => {
                    let time = observation.time;
                    text.extend_from_slice(line.text);
                    self.next = Some((text, time));
                    return Ok(Some(time));
                }
                Ok(None) => {}
                Err(error) => {
                    self.bad += 1;
                    if self.bad <= MAX_NAMED_LINES {
                        let number = line.number;
                        let file = self.lines.name();
                        warn!(file, line = number, %error, "line left out");
                    }
                }
            }
        }
    }
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
    /// Replays the inputs to their end. `emit` gets the alerts as the live sensor would have sent them; `tick` is called
    /// now and then.
    ///
    /// # Errors
    /// If an input cannot be opened or the events cannot be written. Damage inside an input is no error: it is logged and
    /// counted.
    pub fn run(
        mut self,
        inputs: Vec<Input>,
        emit: &mut dyn FnMut(Alert),
        tick: &mut dyn FnMut(Position),
    ) -> Result<(Engines, Totals), ReplayError> {
        let mut totals = Totals::default();
        let mut sources = Vec::new();
        for input in inputs {
            match self.open(input) {
                Ok(source) => sources.push(source),
                Err(error) => {
                    warn!(%error, "input left out");
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
        let observed = std::cell::Cell::new(0u64);
        let mut seen = |observation: &Observation<'_>| {
            let first = span.map_or(observation.time, |(first, _)| first.min(observation.time));
            let last = span.map_or(observation.time, |(_, last)| last.max(observation.time));
            span = Some((first, last));
            observed.set(observed.get() + 1);
            events.write(observation);
            engines.observe(observation, &mut |alert| emit(alert));
        };
        loop {
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
                Some(Source::Events(lines)) => {
                    if let Some((text, _)) = lines.next.take()
                        && let Ok(Some(observation)) = lines.parser.parse_line(&text)
                    {
                        seen(&observation);
                    }
                }
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
            InputFormat::Events => Source::Events(Box::new(EventLines {
                lines: input.into_lines(),
                parser: EventParser::new(),
                next: None,
                bad: 0,
            })),
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
    // A single capture is the common case, and needs no look ahead.
    if let [Source::Frames(_)] = sources.as_slice() {
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
                    let skipped = lines.lines.skipped();
                    if skipped.count > 0 {
                        let file = lines.lines.name();
                        warn!(
                            file,
                            lines = skipped.count,
                            first = skipped.first,
                            "lines left out: longer than 1 MiB"
                        );
                    }
                    if lines.bad > MAX_NAMED_LINES {
                        let file = lines.lines.name();
                        warn!(file, lines = lines.bad, "damaged lines in all");
                    }
                    totals.bad_lines += lines.bad + skipped.count;
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
