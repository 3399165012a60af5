//! `sonde replay`: captures, logs and event files in, explained beacons out; or what other rules say of them.

mod report;
mod rules;
mod summary;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sonde_common::alert::{Alert, Severity};
use sonde_common::attribute::ProcessMap;
use sonde_common::conntrack::local::Cidr;

use self::rules::{Asked, RuleName};
use super::failure::Failure;
use super::output::{self, Format, Output, OutputError, Scored, Style};
use super::progress::Progress;
use super::settings;
use super::severity::Level;
use crate::capture::{CaptureError, Found, total_length};
use crate::exit::Exit;
use crate::replay::process_map::MapError;
use crate::replay::{self, Findings, InputFormat, Replay, ReplayError, Totals};
use sonde_common::format::Content;
use sonde_common::time::Timestamp;

/// Arguments of `sonde replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sonde replay capture.pcapng.gz                   a table of what calls on a schedule, and why it matters
  sonde replay day1.pcap day2.pcap --all           every scored series, merged by time
  tcpdump -w - | sonde replay - --stream           alerts as they come
  sonde replay capture.pcap --report report.html   the same and more as a page for a browser, in one file
  sonde replay x.pcap --format ndjson | jq .message
  sonde replay x.pcap --events x.events.ndjson     keep what was seen; replaying that file gives the same alerts
  sonde replay zeek/2026-11-*                      folders of Zeek logs, rotated, as one stream
  sonde replay x.pcap --process-map processes.csv  with the program behind each connection, from a map or ss -tunp
  sonde replay DeviceNetworkEvents.csv --rule sentinel --format csv     what the published hunting rule says
  sonde replay DeviceNetworkEvents.csv --compare   the rule, RITA's score and Sonde side by side

Exit codes: 0 done; 1 --exit-on was reached; 64 usage; 65 input damaged beyond use; 66 no such input;
70 internal; 74 output failed; 77 permission; 78 configuration.")]
pub(super) struct Arguments {
    /// Captures, logs (Zeek, Defender, Windows events, Suricata EVE) and Sonde's own events, plain, .gz or .zst, or in
    /// .zip and .tar; folders are walked; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How results are written [default: a table on a terminal, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Print alerts as the live sensor would have emitted them, not their final state
    #[arg(long)]
    stream: bool,
    /// Ask another rule instead of the engine: the published hunting rule, or RITA's scores
    #[arg(long, value_enum, conflicts_with_all = ["stream", "all", "min_severity", "exit_on", "events"])]
    rule: Option<RuleName>,
    /// One table of what the hunting rule, RITA's score and Sonde say of each host and destination; with --all also of
    /// those that none of them reports
    #[arg(long, conflicts_with_all = ["stream", "rule", "min_severity", "exit_on", "events"])]
    compare: bool,
    /// The hunting rule's "now" [default: the newest time in the input]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// List every scored series, not only alerts
    #[arg(long, conflicts_with = "stream")]
    all: bool,
    /// Leave out what is milder [default: medium, with --all everything]
    #[arg(long, value_name = "SEVERITY")]
    min_severity: Option<Level>,
    /// Exit with 1 if there is an alert at least so severe
    #[arg(long, value_name = "SEVERITY")]
    exit_on: Option<Level>,
    /// Write a page with every scored series, its pictures and what to do about it: one HTML file that loads nothing
    /// (docs/report.md)
    #[arg(long, value_name = "FILE.html", conflicts_with_all = ["rule", "compare"])]
    report: Option<PathBuf>,
    /// Write the normalised events to this file (`-` is stdout, then no alerts are printed)
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Whose the connections of a capture are: CSV, JSON or the output of `ss -tunp`; `-` is stdin (docs/process-map.md)
    #[arg(long, value_name = "FILE")]
    process_map: Option<PathBuf>,
    /// A file or folder of known-bad infrastructure, beside those of the configuration; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "rule")]
    feed: Vec<PathBuf>,
    /// A file of hints of a fleet (`sonde fleet hints publish --out`), signed by a key of hints.keys (docs/hints.md)
    #[arg(long, value_name = "FILE", conflicts_with = "rule")]
    hints: Option<PathBuf>,
    /// What the files hold [default: found out from their content]
    #[arg(long, value_enum)]
    input_format: Option<InputFormat>,
    /// An address block that is ours, such as 10.1.0.0/16; may be repeated [default: the host on which a capture was
    /// taken, else private addresses and whoever opens a connection]
    #[arg(long, value_name = "CIDR")]
    local: Vec<Cidr>,
    /// Threads for logs, which change nothing in the answer [default: as many as there are processors, up to 8]
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroU8>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that lies over the configuration, such as limits.memory="128 MiB"; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// No progress bar
    #[arg(long)]
    no_progress: bool,
}

impl From<MapError> for Failure {
    fn from(error: MapError) -> Self {
        let exit = match error {
            MapError::NotFound { .. } => Exit::NoInput,
            MapError::PermissionDenied { .. } => Exit::Permission,
            _ => Exit::BadInput,
        };
        Self(exit, format!("--process-map {error}\n  {}", error.remedy()))
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        match &error {
            ReplayError::Events(_) | ReplayError::Spool(_) => Self(Exit::Output, error.to_string()),
            ReplayError::Folder { error: cause, .. } => {
                let denied = cause.kind() == io::ErrorKind::PermissionDenied;
                Self(if denied { Exit::Permission } else { Exit::NoInput }, error.to_string())
            }
        }
    }
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.replay())
    }

    /// Threads for logs: as told, else as many as the machine has, up to eight.
    fn threads(&self) -> usize {
        const MOST: usize = 8;
        self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from).min(MOST),
            |threads| usize::from(threads.get()),
        )
    }

    /// What the files hold.
    fn look(&self, files: &[PathBuf]) -> Result<Vec<Found>, Failure> {
        let mut inputs = Vec::new();
        let mut passed_over = None;
        let mut pass = |error: CaptureError| {
            tracing::warn!(%error, "passed over");
            passed_over.get_or_insert(error);
        };
        for path in files {
            let named = self.files.contains(path);
            match Found::look(path, self.input_format.is_some()) {
                Ok(look) => {
                    look.passed_over.into_iter().for_each(&mut pass);
                    for found in look.found {
                        if found.content() == Content::Json && self.input_format.is_none() {
                            let error =
                                CaptureError::Unknown { path: found.name().to_owned(), first: vec![b'{'] };
                            if named && files.len() == 1 {
                                return Err(Failure::of_input(&error));
                            }
                            pass(error);
                            continue;
                        }
                        inputs.push(found);
                    }
                }
                // In a folder, what is no input is passed over; what cannot be opened is missed.
                Err(
                    error @ (CaptureError::Empty { .. }
                    | CaptureError::Foreign { .. }
                    | CaptureError::Unknown { .. }
                    | CaptureError::TooDeep { .. }
                    | CaptureError::DamagedCompression { .. }),
                ) if !named => pass(error),
                Err(error) => return Err(Failure::of_input(&error)),
            }
        }
        match passed_over {
            _ if !inputs.is_empty() => Ok(inputs),
            Some(error) => Err(Failure::of_input(&error)),
            None => Err(Failure(Exit::NoInput, "no input: there is no file that can be read".to_owned())),
        }
    }

    /// The process map, which is of use only with captures: everything else brings its processes along.
    fn process_map(&self, inputs: &[Found]) -> Result<Option<ProcessMap>, Failure> {
        let Some(path) = &self.process_map else { return Ok(None) };
        let is_capture = |found: &Found| {
            let format = self.input_format.or_else(|| InputFormat::of(found.content()));
            matches!(format, Some(InputFormat::Capture))
        };
        if !inputs.iter().any(is_capture) {
            let text = "--process-map is of use only with a capture, and there is none among the inputs";
            return Err(Failure(Exit::Usage, text.to_owned()));
        }
        if path.as_os_str() == "-" && self.files.contains(path) {
            let text = "--process-map -: stdin is an input of this replay already";
            return Err(Failure(Exit::Usage, text.to_owned()));
        }
        Ok(Some(replay::process_map::read(path)?))
    }

    fn replay(&self) -> Result<Exit, Failure> {
        if self.at.is_some() && self.rule != Some(RuleName::Sentinel) && !self.compare {
            let text = "--at is of use only with --rule sentinel or --compare";
            return Err(Failure(Exit::Usage, text.to_owned()));
        }
        let config = settings::read(self.config.as_deref(), &self.set)?;
        let files = replay::walk(&self.files)?;
        // All inputs are looked at before the first is read: a wrong name should not cost an hour.
        let inputs = self.look(&files)?;
        let process_map = self.process_map(&inputs)?;
        if let Some(asked) = Asked::of(self.rule, self.compare) {
            return self.ask(asked, &config, inputs, process_map);
        }
        let knowledge = settings::knowledge(&config, &self.feed, self.hints.as_deref())?;
        let events_to_stdout = self.events.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let events: Option<Box<dyn Write>> = match &self.events {
            None => None,
            Some(_) if events_to_stdout => Some(Box::new(io::stdout())),
            Some(path) if files.iter().any(|file| same_file(file, path)) => {
                let path = path.display();
                return Err(Failure(Exit::Usage, format!("--events {path}: is an input of this replay")));
            }
            Some(path) => Some(Box::new(
                File::create(path)
                    .map_err(|error| Failure(Exit::Output, format!("{}: {error}", path.display())))?,
            )),
        };
        if let Some(path) = &self.report {
            if files.iter().any(|file| same_file(file, path)) {
                let path = path.display();
                return Err(Failure(Exit::Usage, format!("--report {path}: is an input of this replay")));
            }
            report::check(path)?;
        }
        let names: Vec<String> = inputs.iter().map(|input| input.name().to_owned()).collect();
        let style = Style::of_stdout();
        let format = self.format.unwrap_or_else(|| Format::by_default(io::stdout().is_terminal()));
        let mut out =
            Output::new(BufWriter::new(io::stdout()), format, style).with_guidance(config.alerts.guidance);
        let least = self
            .min_severity
            .map_or(if self.all { Severity::Info } else { Severity::Medium }, Severity::from);
        let total = total_length(&inputs);
        let mut progress = Progress::new(total, !self.no_progress);

        let mut told = false;
        let mut streamed = Ok(());
        let replay = Replay {
            config: &config,
            knowledge,
            local: self.local.clone(),
            events,
            input_format: self.input_format,
            process_map,
            threads: self.threads(),
            detect: true,
            all: self.all || self.report.is_some(),
            stream: self.stream,
            activity: self.report.is_some(),
            tap: None,
        };
        let mut emit = |alert: Alert| {
            told = true;
            if self.stream && !events_to_stdout && alert.severity >= least {
                streamed = out.write(&alert).and_then(|()| out.flush());
            }
            // Nobody reads on: neither does the replay.
            if streamed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let done = replay.run(inputs, &mut emit, &mut |at| progress.tick(at.bytes, at.records, at.events));
        progress.finish();
        let (findings, totals) = match done {
            // The reader of the events has seen enough: that is success.
            Err(ReplayError::Events(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Exit::Done);
            }
            done => done?,
        };
        if let Some(path) = &self.report {
            report::write(path, &names, &findings.series, findings.scored, &totals)?;
        }
        if !events_to_stdout {
            let written = if self.stream {
                // A CSV has its header even without an alert.
                streamed.and_then(|()| if told { Ok(()) } else { out.write_all(&[]) })
            } else {
                self.results(findings, least, &mut out, format, style, &totals)
            };
            match written.and_then(|()| out.flush()) {
                // The reader has seen enough: that is success.
                Ok(()) | Err(OutputError::Closed { .. }) => {}
                Err(error) => return Err(Failure(Exit::Output, error.to_string())),
            }
        }
        summary::tell(&totals, format == Format::Table && !events_to_stdout);
        if nothing_read(&totals) {
            return Ok(Exit::BadInput);
        }
        let found = self.exit_on.is_some_and(|level| totals.worst >= Some(level.into()));
        Ok(if found { Exit::Found } else { Exit::Done })
    }

    fn results(
        &self,
        findings: Findings,
        least: Severity,
        out: &mut Output<impl Write>,
        format: Format,
        style: Style,
        totals: &Totals,
    ) -> Result<(), OutputError> {
        let mut rows = if self.all { findings.series } else { findings.alerts };
        let before = rows.len();
        rows.retain(|alert| alert.severity >= least);
        if rows.is_empty() && format == Format::Table {
            let events = totals.engine.connections + totals.engine.exchanges + totals.engine.queries;
            let hidden = before as u64;
            let scored = Scored { events, series: findings.scored, hidden };
            return out.write_text(&output::no_alerts(&scored, style));
        }
        out.write_all(&rows)
    }
}

/// Whether the input held something, and none of it could be read.
fn nothing_read(totals: &Totals) -> bool {
    let nothing = totals.frames == 0 && totals.event_lines == 0 && totals.rows == 0;
    let bad = totals.bad_lines > 0 || !totals.bad_rows.is_empty();
    nothing && (totals.damaged > 0 || totals.unreadable > 0 || bad)
}

/// Whether two paths lead to one file.
fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
