//! Where `beacons`, `alerts` and `explain` get their findings: from the running sensor, or from files that are replayed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sonde_common::alert::{Alert, Severity};

use super::failure::Failure;
use super::progress::Progress;
use super::settings;
use crate::capture::{Found, total_length};
use crate::control::client;
use crate::exit::Exit;
use crate::live::command::{Answer, Request, Rows};
use crate::live::desk;
use crate::replay::{self, Replay};

/// Threads for logs.
const MOST_THREADS: usize = 8;

/// Which sensor is asked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Sensor {
    /// The sensor's control socket [default: control.socket of the configuration]
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// Configuration file (TOML) [default: the system's, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl Sensor {
    /// The sensor's socket.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.socket {
            return Ok(path.clone());
        }
        // A configuration that others may not read does not keep them from asking where the sensor listens by default.
        let file = settings::file(self.config.as_deref());
        let readable = file.filter(|path| self.config.is_some() || std::fs::read(path).is_ok());
        let config = settings::read(readable.as_deref(), &[])?;
        config.control.socket.get().map(PathBuf::from).ok_or_else(|| {
            let text = "the configuration sets control.socket to nothing: this sensor cannot be asked";
            Failure(Exit::Config, text.to_owned())
        })
    }

    /// Asks it.
    pub(super) fn ask(&self, request: Request) -> Result<Answer, Failure> {
        Ok(client::ask(&self.path()?, request)?)
    }
}

/// The running sensor, or files.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Source {
    #[command(flatten)]
    pub(super) sensor: Sensor,
    /// Replay these captures, logs or events instead of asking the running sensor; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub(super) from: Vec<PathBuf>,
}

impl Source {
    /// Findings, best first: every scored series, or only those that are alerts.
    pub(super) fn rows(&self, all: bool, least: Severity, most: usize) -> Result<Rows, Failure> {
        if self.from.is_empty() {
            let request =
                if all { Request::Beacons { least, most } } else { Request::Alerts { least, most } };
            return match self.sensor.ask(request)? {
                Answer::Alerts(rows) => Ok(rows),
                _ => Err(unexpected()),
            };
        }
        let mut found = self.replay()?;
        if !all {
            found.rows = found.alerts;
        }
        found.rows.retain(|row| row.severity >= least);
        let omitted = found.rows.len().saturating_sub(most);
        found.rows.truncate(most);
        Ok(Rows { rows: found.rows, omitted: omitted as u64, events: found.events, series: found.series })
    }

    /// The finding whose id begins so.
    pub(super) fn finding(&self, id: &str) -> Result<Alert, Failure> {
        if self.from.is_empty() {
            return match self.sensor.ask(Request::Explain { id: id.to_owned() })? {
                Answer::Finding(alert) => Ok(*alert),
                _ => Err(unexpected()),
            };
        }
        let digits = desk::digits(id)?;
        let found = self.replay()?;
        Ok(desk::pick(found.rows.into_iter().chain(found.alerts), &digits)?)
    }

    fn replay(&self) -> Result<Replayed, Failure> {
        let config = settings::read(self.sensor.config.as_deref(), &[])?;
        let knowledge = settings::knowledge(&config, &[], None)?;
        let mut inputs = Vec::new();
        for file in replay::walk(&self.from)? {
            inputs.extend(Found::look(&file, false).map_err(|error| Failure::of_input(&error))?.found);
        }
        let mut progress = Progress::new(total_length(&inputs), true);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let replay = Replay {
            config: &config,
            knowledge,
            local: Vec::new(),
            events: None,
            input_format: None,
            process_map: None,
            threads,
            detect: true,
            all: true,
            stream: false,
            activity: false,
            tap: None,
        };
        let mut ignore = |_| ControlFlow::Continue(());
        let mut tick = |at: replay::Position| progress.tick(at.bytes, at.records, at.events);
        let done = replay.run(inputs, &mut ignore, &mut tick);
        progress.finish();
        let (findings, totals) = done?;
        let engine = totals.engine;
        Ok(Replayed {
            rows: findings.series,
            alerts: findings.alerts,
            events: engine.connections + engine.exchanges + engine.queries,
            series: findings.scored,
        })
    }
}

struct Replayed {
    rows: Vec<Alert>,
    alerts: Vec<Alert>,
    events: u64,
    series: u64,
}

/// The sensor answered another question.
pub(super) fn unexpected() -> Failure {
    Failure(
        Exit::Internal,
        "the sensor's answer does not fit the question: is it of another version?".to_owned(),
    )
}

/// Whether a path is one that a sensor listens on, for messages.
pub(super) fn shown(path: &Path) -> String {
    sonde_common::text::escape(&path.to_string_lossy()).into_owned()
}
