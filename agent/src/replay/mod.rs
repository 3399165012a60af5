//! Offline replay: captures, logs and event files in, alerts out, through the same engine as the live sensor.
//!
//! Several inputs are merged by time. All captures share one connection tracker, so a capture rotated over several files
//! is one capture; all logs are sorted first (`spool`), and where there are only logs, hosts are shared out over threads
//! (`shards`). What is damaged costs only itself: it is reported and the rest goes on.

mod behind;
mod events;
mod logs;
mod merge;
pub mod process_map;
pub mod rules;
mod shards;
mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonde_common::activity::Activity;
use sonde_common::alert::{Alert, Severity};
use sonde_common::assemble::AssembleCounters;
use sonde_common::attribute::{AttributionCounters, Attributor, ProcessMap};
use sonde_common::config::Config;
use sonde_common::conntrack::local::Cidr;
use sonde_common::conntrack::{Ahead, TrackCounters, Tracker};
use sonde_common::decode::packet::{self, Undecoded};
use sonde_common::engine::EngineCounters;
use sonde_common::event::Observation;
use sonde_common::format::log::LogFormat;
use sonde_common::format::pcapng::Note;
use sonde_common::format::row::{Cause, Row};
use sonde_common::format::{Content, Frame};
use sonde_common::knowledge::Knowledge;
use sonde_common::text::escape;
use sonde_common::time::Timestamp;
use tracing::warn;

use self::events::EventLines;
use self::logs::{Log, Sorter};
use self::merge::{Merge, Take};
pub use self::shards::Findings;
use self::shards::{Outcome, Shard, Wish};
use self::spool::{BUCKETS, Rows, Spool};
use crate::capture::{BATCH, CaptureError, Found, Positions};
use crate::events::EventsWriter;

/// Records between two looks at the progress bar.
const RECORDS_PER_TICK: u64 = 8192;
/// Part of the tracker's memory that is allowed for what captures tell of processes; few captures do.
const ATTRIBUTION_SHARE: usize = 4;
/// Keys the hash of a replay: the same input has to give the same answer twice, so it is fixed. A sensor draws its own.
const SEED: (u64, u64) = (0x736f_6e64_6520_7265, 0x706c_6179_2073_6565);

/// What to replay, and how.
#[expect(missing_debug_implementations, reason = "it holds a writer")]
pub struct Replay<'a> {
    /// Settings.
    pub config: &'a Config,
    /// What detection draws on beside them: feeds, profiles.
    pub knowledge: Arc<Knowledge>,
    /// Address blocks that are hosts; empty: find out.
    pub local: Vec<Cidr>,
    /// Where the normalised events go.
    pub events: Option<Box<dyn Write + 'a>>,
    /// What the input holds; `None`: find out.
    pub input_format: Option<InputFormat>,
    /// Whose the connections of captures are, where the captures do not say.
    pub process_map: Option<ProcessMap>,
    /// Threads that read and follow logs; with more than one, captures are read and judged on two.
    pub threads: usize,
    /// Whether the engine is asked, too; else only the tap sees what is there.
    pub detect: bool,
    /// Whether every series is wanted, and not only alerts.
    pub all: bool,
    /// Whether the alerts are wanted as the live sensor would have sent them, and not only in their final state.
    pub stream: bool,
    /// Whether it is wanted how much happened when.
    pub activity: bool,
    /// Sees every row and every observation, in the order of time.
    pub tap: Option<&'a mut (dyn Tap + 'a)>,
}

/// Sees what a replay reads, beside the engine.
pub trait Tap {
    /// A row of a log, before what it tells.
    fn row(&mut self, row: &Row<'_>);
    /// An observation, with the row that told of it if it came from a log.
    fn observation(&mut self, observation: &Observation<'_>, row: Option<&Row<'_>>);
}

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum InputFormat {
    /// A packet capture, pcap or pcapng.
    Capture,
    /// Sonde's own events, NDJSON.
    Events,
    /// Zeek logs (conn, dns, http, ssl), columns parted by tabs.
    ZeekTsv,
    /// Zeek logs, JSON.
    ZeekJson,
    /// Defender DeviceNetworkEvents, CSV.
    DefenderCsv,
    /// Defender DeviceNetworkEvents and DeviceEvents, JSON.
    DefenderJson,
    /// Windows events (Sysmon, Security), JSON.
    WinlogJson,
    /// Windows event log file.
    Evtx,
    /// Suricata EVE.
    Eve,
}

impl InputFormat {
    /// What a content is read as, if it can be read.
    pub(crate) const fn of(content: Content) -> Option<Self> {
        Some(match content {
            Content::Pcap | Content::PcapNg => Self::Capture,
            Content::Events => Self::Events,
            Content::Log(format) => match format {
                LogFormat::ZeekTsv => Self::ZeekTsv,
                LogFormat::ZeekJson => Self::ZeekJson,
                LogFormat::DefenderCsv => Self::DefenderCsv,
                LogFormat::DefenderJson => Self::DefenderJson,
                LogFormat::WinlogJson => Self::WinlogJson,
                LogFormat::Evtx => Self::Evtx,
                LogFormat::Eve => Self::Eve,
            },
            _ => return None,
        })
    }

    const fn log(self) -> Option<LogFormat> {
        Some(match self {
            Self::Capture | Self::Events => return None,
            Self::ZeekTsv => LogFormat::ZeekTsv,
            Self::ZeekJson => LogFormat::ZeekJson,
            Self::DefenderCsv => LogFormat::DefenderCsv,
            Self::DefenderJson => LogFormat::DefenderJson,
            Self::WinlogJson => LogFormat::WinlogJson,
            Self::Evtx => LogFormat::Evtx,
            Self::Eve => LogFormat::Eve,
        })
    }
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
    /// The temporary file in which rows are sorted.
    #[error(
        "cannot sort rows in the temporary folder: {0}; free some space or name another folder with TMPDIR (on Windows TMP)"
    )]
    Spool(#[source] std::io::Error),
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of logs, as they lie on disk.
    pub log_bytes: u64,
    /// Records of logs.
    pub records: u64,
    /// Rows that they gave.
    pub rows: u64,
    /// Rows that could not be used, by cause.
    pub bad_rows: BTreeMap<Cause, u64>,
    /// Rows of connections that were opened from outside.
    pub foreign_rows: u64,
    /// Rows of connections to no peer: multicast, broadcast, loopback.
    pub no_peer_rows: u64,
    /// What became of the rows.
    pub assembled: AssembleCounters,
    /// Bytes of rows that were sorted in a temporary file.
    pub spilled: u64,
    /// Frames read.
    pub frames: u64,
    /// Frames without a packet in them, by cause.
    pub undecoded: UndecodedCounters,
    /// Events of event files.
    pub event_lines: u64,
    /// Lines of event files that could not be read.
    pub bad_lines: u64,
    /// Inputs that were damaged.
    pub damaged: u64,
    /// Inputs of which nothing could be read.
    pub unreadable: u64,
    /// What became of the packets.
    pub tracking: TrackCounters,
    /// What became of the events of captures that came without a process; `None` where nothing told of any.
    pub attribution: Option<AttributionCounters>,
    /// What became of the events.
    pub engine: EngineCounters,
    /// Hosts in the input.
    pub hosts: usize,
    /// Memory held at the end by tables of known size, in bytes.
    pub memory_bytes: usize,
    /// Severity of the worst alert.
    pub worst: Option<Severity>,
    /// First and latest data time.
    pub span: Option<(Timestamp, Timestamp)>,
    /// How much happened when, if that was asked for.
    pub activity: Option<Box<Activity>>,
}

impl Totals {
    /// Takes over the counters of an outcome; returns the findings, and the alerts as they were emitted.
    fn take(&mut self, outcome: Outcome) -> (Findings, Vec<Alert>) {
        self.assembled = outcome.assembled;
        self.engine = outcome.engine;
        self.hosts = outcome.hosts;
        self.memory_bytes = outcome.memory_bytes;
        self.span = outcome.span;
        self.worst = outcome.worst;
        self.activity = outcome.activity;
        (outcome.findings, outcome.emitted)
    }
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
    const fn add(&mut self, cause: Undecoded) {
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
    /// Frames, lines and rows so far.
    pub records: u64,
    /// Observations so far.
    pub events: u64,
}

/// Files and folders as given -> files, folders walked in the order of their names.
///
/// # Errors
/// If a folder cannot be listed.
pub fn walk(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ReplayError> {
    let mut walk = Walk::default();
    for path in paths {
        if path.is_dir() {
            walk.enter(path)
                .map_err(|error| ReplayError::Folder { path: path.display().to_string(), error })?;
        } else {
            walk.files.push(path.clone());
        }
    }
    Ok(walk.files)
}

/// Files on the way, and the folders entered: links may lead to one again, or round in a circle.
#[derive(Default)]
struct Walk {
    files: Vec<PathBuf>,
    entered: BTreeSet<PathBuf>,
}

impl Walk {
    fn enter(&mut self, folder: &Path) -> std::io::Result<()> {
        if !self.entered.insert(folder.canonicalize()?) {
            return Ok(());
        }
        let mut entries: Vec<_> = std::fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())?;
        entries.sort();
        for entry in entries {
            let missed = match std::fs::metadata(&entry) {
                Ok(data) if data.is_dir() => self.enter(&entry).err(),
                Ok(data) if data.is_file() => {
                    self.files.push(entry);
                    continue;
                }
                // A pipe or device would keep us waiting.
                Ok(_) => continue,
                Err(error) => Some(error),
            };
            if let Some(error) = missed {
                warn!(path = %escape(&entry.to_string_lossy()), %error, "passed over");
            }
        }
        Ok(())
    }
}

impl Replay<'_> {
    const fn wish(&self) -> Wish {
        Wish { all: self.all, stream: self.stream, activity: self.activity }
    }

    /// Replays the inputs to their end. `emit` gets the alerts as the live sensor would have sent them, and may end the
    /// replay; `tick` is called now and then.
    ///
    /// # Errors
    /// If the events cannot be written, or the rows of logs not be sorted. An input that is damaged or cannot be read is no
    /// error: it is logged and counted.
    pub fn run(
        self,
        inputs: Vec<Found>,
        emit: &mut dyn FnMut(Alert) -> ControlFlow<()>,
        tick: &mut dyn FnMut(Position),
    ) -> Result<(Findings, Totals), ReplayError> {
        let mut totals = Totals::default();
        let (mut logs, mut captures, mut event_files) = (Vec::new(), Vec::new(), Vec::new());
        for found in inputs {
            match self.input_format.or_else(|| InputFormat::of(found.content())) {
                Some(InputFormat::Events) => event_files.push(found),
                Some(InputFormat::Capture) | None => captures.push(found),
                Some(format) => logs.extend(format.log().map(|format| Log { found, format })),
            }
        }
        let only_logs = captures.is_empty() && event_files.is_empty();
        let rows =
            if logs.is_empty() { None } else { Some(self.read_logs(logs, only_logs, &mut totals, tick)?) };
        match rows {
            Some((spool, hosts)) if only_logs => self.run_logs(&spool, &hosts, totals, emit, tick),
            rows => self.run_merged(captures, event_files, rows, totals, emit, tick),
        }
    }

    fn read_logs(
        &self,
        logs: Vec<Log>,
        only_logs: bool,
        totals: &mut Totals,
        tick: &mut dyn FnMut(Position),
    ) -> Result<(Spool, [u64; BUCKETS]), ReplayError> {
        let sorter = Sorter {
            local: &self.local,
            buckets: if only_logs { BUCKETS } else { 1 },
            threads: self.threads.max(1),
            hunted: self.tap.is_some(),
        };
        let (spool, census) = sorter
            .read(logs, &mut |bytes, records| tick(Position { bytes, records, events: 0 }))
            .map_err(ReplayError::Spool)?;
        totals.log_bytes = census.bytes;
        totals.records = census.records;
        totals.rows = census.rows;
        totals.bad_rows = census.bad;
        totals.bad_lines += census.too_long;
        totals.foreign_rows = census.foreign;
        totals.no_peer_rows = census.no_peer;
        totals.damaged += census.damaged;
        totals.unreadable += census.unreadable;
        totals.spilled = spool.spilled();
        Ok((spool, census.hosts))
    }

    /// Only logs: each bucket of hosts by itself, unless somebody wants to see the events in their order.
    fn run_logs(
        mut self,
        spool: &Spool,
        hosts: &[u64; BUCKETS],
        mut totals: Totals,
        emit: &mut dyn FnMut(Alert) -> ControlFlow<()>,
        tick: &mut dyn FnMut(Position),
    ) -> Result<(Findings, Totals), ReplayError> {
        let mut events = EventsWriter::new(self.events.take());
        let mut tap = self.tap.take();
        let (bytes, records) = (totals.log_bytes, totals.records);
        let mut ticked = |rows| tick(Position { bytes, records, events: rows });
        if events.is_wanted() || tap.is_some() {
            let mut seen =
                |row: &Row<'_>, observation: Option<&Observation<'_>>| match (observation, &mut tap) {
                    (Some(observation), tap) => {
                        events.write(observation);
                        if let Some(tap) = tap {
                            tap.observation(observation, Some(row));
                        }
                    }
                    (None, Some(tap)) => tap.row(row),
                    (None, None) => {}
                };
            totals.assembled =
                shards::watch(self.config, spool, &mut seen, &mut ticked).map_err(ReplayError::Spool)?;
        }
        events.finish().map_err(ReplayError::Events)?;
        if !self.detect {
            return Ok((Findings::default(), totals));
        }
        let outcome =
            shards::run((self.config, &self.knowledge), spool, hosts, self.threads, self.wish(), &mut ticked)
                .map_err(ReplayError::Spool)?;
        let (findings, emitted) = totals.take(outcome);
        // What nobody wants any more is not told.
        let _ = emitted.into_iter().try_for_each(emit);
        Ok((findings, totals))
    }

    /// Captures and event files, and logs with them: one stream.
    fn run_merged(
        mut self,
        captures: Vec<Found>,
        event_files: Vec<Found>,
        rows: Option<(Spool, [u64; BUCKETS])>,
        mut totals: Totals,
        emit: &mut dyn FnMut(Alert) -> ControlFlow<()>,
        tick: &mut dyn FnMut(Position),
    ) -> Result<(Findings, Totals), ReplayError> {
        let mut merge = Merge::new();
        let locals = merge.captures(captures, &self.local, &mut totals);
        if let Some(host) = locals.endpoint() {
            tracing::info!(%host, "the capture was taken on this host");
        }
        merge.events(event_files, &mut totals);
        if let Some((spool, _)) = &rows {
            merge.rows(spool.rows(0..BUCKETS).map_err(ReplayError::Spool)?);
        }
        let memory = self.config.limits.memory;
        let mut tracker = Tracker::new(locals, memory.tracking_bytes());
        // To look for them costs something, and only a feed has a use for them.
        tracker.expect_certificates(self.knowledge.feeds.counts().certificates > 0);
        let mut stream = Stream {
            tracker,
            attributor: Attributor::new(self.process_map.take(), memory.tracking_bytes() / ATTRIBUTION_SHARE),
            shard: Shard::new(self.config, &self.knowledge, 1, self.wish()).behind(self.threads),
            detect: self.detect,
            events: EventsWriter::new(self.events.take()),
            tap: self.tap.take(),
            emit,
            tick,
            stopped: false,
            frames: 0,
            lines: 0,
            undecoded: UndecodedCounters::default(),
            records: 0,
        };
        merge.run(&mut stream, &mut totals)?;
        stream.finish();
        let Stream {
            tracker, attributor, mut shard, events, emit, stopped, frames, lines, undecoded, ..
        } = stream;
        if !stopped {
            // What nobody wants any more is not told.
            let _ = shard.drain_alerts().try_for_each(emit);
        }
        events.finish().map_err(ReplayError::Events)?;
        totals.frames = frames;
        totals.event_lines = lines;
        totals.undecoded = undecoded;
        totals.tracking = tracker.counters();
        totals.attribution = (!attributor.is_idle()).then(|| attributor.counters());
        let (findings, _) = totals.take(shard.outcome(self.all));
        totals.memory_bytes += tracker.memory_bytes();
        Ok((findings, totals))
    }
}

/// One stream of everything, through one tracker, one assembler, one set of engines.
struct Stream<'a, 'r> {
    tracker: Tracker,
    attributor: Attributor,
    shard: Shard,
    detect: bool,
    events: EventsWriter<'r>,
    tap: Option<&'r mut (dyn Tap + 'r)>,
    emit: &'a mut dyn FnMut(Alert) -> ControlFlow<()>,
    tick: &'a mut dyn FnMut(Position),
    stopped: bool,
    frames: u64,
    lines: u64,
    undecoded: UndecodedCounters,
    records: u64,
}

/// Hands an observation of the tracker on, with its process where something tells of it.
#[inline]
fn attributed(
    attributor: &Attributor,
    observation: &Observation<'_>,
    take: &mut dyn FnMut(&Observation<'_>),
) {
    if attributor.is_idle() {
        take(observation);
    } else {
        take(&attributor.attribute(observation));
    }
}

/// Hands an observation to all who want it.
fn tell(
    observation: &Observation<'_>,
    events: &mut EventsWriter<'_>,
    tap: &mut Option<&mut (dyn Tap + '_)>,
    detect: bool,
    shard: &mut Shard,
) {
    events.write(observation);
    if let Some(tap) = tap {
        tap.observation(observation, None);
    }
    if detect {
        shard.observe(observation);
    }
}

impl Stream<'_, '_> {
    /// Tells what is still under way, at the end of the inputs.
    fn finish(&mut self) {
        let Self { tracker, attributor, shard, detect, events, tap, .. } = self;
        tracker.finish(&mut |observation| {
            attributed(attributor, observation, &mut |observation| {
                tell(observation, events, tap, *detect, shard);
            });
        });
    }

    fn emit(&mut self) {
        if !self.stopped && self.shard.has_alerts() {
            self.stopped = self.shard.drain_alerts().try_for_each(&mut *self.emit).is_break();
        }
    }
}

impl Take for Stream<'_, '_> {
    fn frames(&mut self, frames: &[Frame<'_>], note: Option<Note<'_>>) {
        self.frames += frames.len() as u64;
        let Self { tracker, attributor, shard, detect, events, tap, undecoded, .. } = self;
        // First all are decoded and looked up, then each is taken: see `Tracker::look_ahead`.
        let mut packets = [None; BATCH];
        for (place, frame) in packets.iter_mut().zip(frames) {
            match packet::decode(frame) {
                Ok(packet) => *place = Some((packet, Ahead::default())),
                Err(cause) => undecoded.add(cause),
            }
        }
        if frames.len() > 1 {
            for (packet, ahead) in packets.iter_mut().flatten() {
                *ahead = tracker.look_ahead(packet);
            }
        }
        for (packet, ahead) in packets.iter().take(frames.len()).flatten() {
            attributor.packet(packet, note);
            tracker.packet_at(packet, *ahead, &mut |observation| {
                attributed(attributor, observation, &mut |observation| {
                    tell(observation, events, tap, *detect, shard);
                });
            });
        }
        self.emit();
    }

    fn line(&mut self, lines: &mut EventLines) -> Result<bool, CaptureError> {
        let Self { shard, detect, events, tap, lines: read, .. } = self;
        let more = lines.next(&mut |observation| {
            *read += 1;
            tell(observation, events, tap, *detect, shard);
        });
        self.emit();
        more
    }

    fn row(&mut self, rows: &mut Rows) -> Result<bool, ReplayError> {
        let Some((_, _, bytes)) = rows.next_row().map_err(ReplayError::Spool)? else { return Ok(false) };
        let Some(row) = Row::decode(bytes) else { return Ok(true) };
        let Self { shard, events, tap, .. } = self;
        if let Some(tap) = tap {
            tap.row(&row);
        }
        shard.take(&row, &mut |observation| {
            events.write(observation);
            if let Some(tap) = tap {
                tap.observation(observation, Some(&row));
            }
        });
        self.emit();
        Ok(true)
    }

    fn is_done(&self) -> bool {
        self.stopped
    }

    fn progress(&mut self, records: usize, positions: &Positions) {
        let before = self.records / RECORDS_PER_TICK;
        self.records += records as u64;
        if self.records / RECORDS_PER_TICK > before {
            let events = self.shard.observations();
            (self.tick)(Position { bytes: positions.bytes(), records: self.records, events });
        }
    }
}

fn report_damage(error: &CaptureError, damaged: &mut u64) {
    *damaged += 1;
    warn!(%error, "the rest of this input is left out");
}
