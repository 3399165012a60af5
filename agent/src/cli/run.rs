//! `sonde run`: the live sensor, as a service or in a terminal. Alerts go to stdout as they are emitted, the log to stderr.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sonde_common::alert::{Alert, Severity};
use sonde_common::config::Config;
use sonde_common::guide::Guidance;
use sonde_common::live::Unavailable;
use sonde_common::time::Timestamp;
use tracing::{error, info, warn};

use super::failure::Failure;
use super::output::{Format, Output, Style};
use super::settings;
use crate::console::{self, Console, ConsoleError};
use crate::control::{self, Heartbeat, Reread, Setup};
use crate::exit::Exit;
use crate::live::command;
use crate::live::feeds::FeedReader;
use crate::live::flow::{Emit, Flow};
use crate::live::health::{Health, Role};
use crate::live::hints::HintReader;
use crate::live::host::HostFacts;
use crate::live::keep::Keeper;
use crate::live::sensor::{Parts, Sensor};
use crate::live::sources::{Sources, Wanted};
use crate::platform::privileges::Needs;
use crate::platform::service::{self, Notice};
use crate::platform::{self, privileges, sandbox};
use crate::sensor_id::sensor_id;
use crate::sink;
use crate::sink::own::OwnSockets;
use crate::sink::shipper::{self, Outbox};
use crate::telemetry;

/// Options of `sonde run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo sonde run                             everything that works here; alerts as they happen
  sudo sonde run --console                   the same, and a live page for a browser on this machine
  sudo sonde run --attribution netlink       without kernel programs
  sudo sonde run --events seen.ndjson        keep what was seen; `sonde replay seen.ndjson` gives the same alerts

In another terminal: sonde status, sonde top, sonde alerts, sonde explain ID")]
pub(super) struct Arguments {
    /// How connections are given their process: auto is the best that works here
    #[arg(long, value_name = "LAYER", value_parser = ["auto", "ebpf", "netlink", "etw", "poll"])]
    attribution: Option<String>,
    /// Where packets come from, which give connections their names: auto is the best that works here
    #[arg(long, value_name = "SOURCE", value_parser = ["auto", "ring", "pnet", "npcap", "none"])]
    capture: Option<String>,
    /// Write the normalised events to this file (docs/events.md)
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Form of alerts on stdout; the default is a table on a terminal, else ndjson
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Configuration file (TOML); without one the defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lay a setting over the configuration, such as state.dir=""
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Serve a live page on this machine's loopback; the address with its token is printed [default: any free port]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = console::DEFAULT)]
    console: Option<String>,
    /// Started by the service manager of Windows
    #[arg(long, hide = true)]
    service: bool,
}

impl Arguments {
    pub(super) fn run(self, verbose: u8) -> Exit {
        if !self.service {
            return Failure::tell(self.start(verbose));
        }
        let work = Box::new(move || Failure::tell(self.start(verbose)));
        Failure::tell(
            service::host(work).map_err(|error| Failure(Exit::Usage, format!("--service: {error}"))),
        )
    }

    /// The configuration, with what the options lay over it.
    fn config(&self) -> Result<Config, Failure> {
        let mut set = self.set.clone();
        set.extend(self.attribution.iter().map(|layer| format!("attribution.layer={layer}")));
        set.extend(self.capture.iter().map(|mode| format!("capture.mode={mode}")));
        settings::read(settings::file(self.config.as_deref()).as_deref(), &set)
    }

    fn start(self, verbose: u8) -> Result<Exit, Failure> {
        let config = self.config()?;
        let (log, wrong) = telemetry::start_for_sensor(&config.log, verbose).map_err(|error| {
            Failure(Exit::Config, format!("journald is not to be had (log.target): {error}"))
        })?;
        if let Some(wrong) = wrong {
            warn!(wrong, "SONDE_LOG is ignored");
        }
        let clocks = platform::clock::clocks();
        let host = HostFacts::read().name;
        let events = self.events()?;

        // The socket first: a second sensor is to end before it touches anything.
        let (commander, commands) = command::channel();
        let console_at = self.console.as_deref().map(console::address).transpose().map_err(no_console)?;
        let (feeds_to, hints_to, looks) = (commander.clone(), commander.clone(), commander.clone());
        let heartbeat = Heartbeat::default();
        let path = settings::file(self.config.as_deref());
        let stdout = self.stdout(config.alerts.guidance);
        let reread: Reread = Box::new(move || self.config().map_err(|Failure(_, reason)| reason));
        let control = Setup::of(&config, commander, heartbeat.clone(), reread)
            .and_then(control::start)
            .map_err(|error| Failure(Exit::Permission, error.to_string()))?;

        // Before rights are given up: a port below 1,024 takes one.
        let console =
            console_at.map(|address| console::start(address, looks)).transpose().map_err(no_console)?;

        let (keeper, kept) = Keeper::open(&config, &host, &clocks);
        let wanted = Wanted {
            layer: config.attribution.layer,
            layer_bytes: config.attribution.ring_bytes.get(),
            capture: config.capture.mode,
            ring_bytes: config.capture.ring_bytes.get(),
            boot: kept.boot,
        };
        let sources = Sources::open(&wanted).map_err(|lost| Failure(Exit::Permission, blind(&lost)))?;
        let mut health = Health::new(host.clone(), clocks.wall);
        health.config.path = path.map(|path| path.display().to_string());
        health.config.loaded = clocks.wall;
        sources.tell(&mut health);
        let needs = sources.needs;
        let report = privileges::reduce(needs, config.run.user.get());
        if let Some(failure) = &report.failure {
            warn!(failure, "privileges are not dropped");
        }
        health.privileges = report.into();
        confine(config.run.filter, needs, &mut health);

        // With the rights that the sensor goes on with: what it writes now it has to be able to write later.
        let own = OwnSockets::default();
        let outbox = outbox(&config, &host, &own, clocks.wall)
            .map_err(|error| Failure(Exit::Internal, format!("no thread for the sinks: {error}")))?;
        let outbox = Arc::new(outbox);
        let bell = console.as_ref().map(Console::bell);
        let emit = emit(stdout, Arc::clone(&outbox), bell);

        let memory = config.limits.memory;
        let mut flow = Flow::new(host, memory.tracking_bytes(), kept.engine, events, emit);
        flow.own().set_sockets(own);
        if let Some(console) = &console {
            flow.keep_activity();
            health.active(Role::Aid, console::PART);
            tell(console, config.state.dir.get().map(Path::new));
        }
        let feeds = FeedReader::start(config.feeds.clone(), feeds_to)
            .map_err(|error| Failure(Exit::Internal, format!("no thread to read feeds: {error}")))?;
        let state = config.state.dir.get().map(PathBuf::from);
        let hints = HintReader::start(config.hints.clone(), state, hints_to)
            .map_err(|error| Failure(Exit::Internal, format!("no thread to take hints: {error}")))?;
        let (log, feeds, hints) = (Some(log), Some(feeds), Some(hints));
        let (boot, gap, outbox) = (kept.boot, kept.gap, Some(outbox));
        let parts = Parts { flow, keeper, boot, gap, log, feeds, hints, outbox };
        let mut sensor = Sensor::new(&config, sources, parts, health);
        service::notify(Notice::Ready);
        info!("the sensor is running");
        sensor.run(&commands, &heartbeat);
        drop(console);
        control.finish();
        Ok(Exit::Done)
    }

    fn events(&self) -> Result<Option<Box<dyn Write>>, Failure> {
        let Some(path) = &self.events else { return Ok(None) };
        let file = std::fs::File::create(path).map_err(|error| {
            Failure(Exit::Output, format!("{}: cannot be written: {error}", path.display()))
        })?;
        Ok(Some(Box::new(file)))
    }

    /// Where alerts are written in this terminal or to whoever reads stdout.
    fn stdout(&self, guidance: Guidance) -> Output<std::io::Stdout> {
        let style = Style::of_stdout();
        let format = self
            .format
            .unwrap_or_else(|| Format::by_default(std::io::IsTerminal::is_terminal(&std::io::stdout())));
        Output::new(std::io::stdout(), format, style).with_guidance(guidance)
    }
}

/// Has the system refuse what the sensor goes on without, or says that it does not.
fn confine(wanted: bool, needs: Needs, health: &mut Health) {
    if !wanted {
        return health.degraded(Role::Aid, "system call filter", "switched off (run.filter)");
    }
    match sandbox::confine(needs) {
        Ok(Some(name)) => health.active(Role::Aid, name),
        Ok(None) => {}
        Err(lost) => {
            warn!(lost = lost.what, reason = lost.reason, remedy = lost.remedy, "not available here");
            health.lost(Role::Aid, &lost);
        }
    }
}

/// Hands alerts to the sinks, and writes them to stdout. A reader that went away or a full disk ends the output, not the
/// sensor.
fn emit(
    stdout: Output<std::io::Stdout>,
    outbox: Arc<Outbox>,
    bell: Option<Arc<tokio::sync::Notify>>,
) -> Emit {
    let mut out = Some(stdout);
    Box::new(move |alert: Alert| {
        outbox.alert(&alert);
        if let Some(bell) = &bell {
            bell.notify_one();
        }
        if alert.severity < Severity::Medium {
            return;
        }
        let Some(output) = &mut out else { return };
        if let Err(failure) = output.write(&alert).and_then(|()| output.flush()) {
            error!(error = %failure, "alerts can no longer be written to stdout; the sensor goes on");
            out = None;
        }
    })
}

/// Starts the sinks of the configuration. What one of them lacks is told here, at the start, too.
fn outbox(config: &Config, host: &str, own: &OwnSockets, since: Timestamp) -> std::io::Result<Outbox> {
    for (name, settings) in &config.sinks {
        if let Err(error) = sink::open(name, settings, own) {
            error!(%error, "records wait until it can be set up");
        }
    }
    let state = config.state.dir.get().map(Path::new);
    Outbox::start(shipper::Setup {
        id: sensor_id(state),
        host: host.to_owned(),
        since,
        folder: state.map(|state| state.join("spool")),
        sinks: config.sinks.clone(),
        guidance: config.alerts.guidance,
        own: own.clone(),
    })
}

/// Says where the console is. The token is for whoever started the sensor: it goes to stderr, and where that is a log that others
/// read, to a file that only the sensor's account can.
#[expect(clippy::print_stderr, reason = "the log may be kept and shipped, and the token is in no log")]
fn tell(console: &Console, state: Option<&Path>) {
    let address = console.address();
    if !service::stderr_is_journal() && service::log_file().is_none() {
        eprintln!("Console: {}", console.url());
        info!(%address, "the console is open; its token is not logged");
        return;
    }
    let Some(file) = state.map(|state| state.join("console.url")) else {
        warn!(%address, "the console's token is nowhere to be put: set state.dir, or run it in a terminal");
        return;
    };
    let written =
        crate::platform::files::private(&file).and_then(|mut file| writeln!(file, "{}", console.url()));
    match written {
        Ok(()) => {
            info!(%address, file = %file.display(), "the console is open; the file has its address with the token")
        }
        Err(error) => {
            warn!(%address, file = %file.display(), %error, "the console's token cannot be written")
        }
    }
}

fn no_console(error: ConsoleError) -> Failure {
    let exit = if matches!(error, ConsoleError::Address { .. }) { Exit::Usage } else { Exit::Permission };
    Failure(exit, error.to_string())
}

/// Why nothing can be seen, with what helps.
fn blind(lost: &[Unavailable]) -> String {
    let mut text = "the sensor would see nothing here:".to_owned();
    for Unavailable { what, reason, remedy } in lost {
        text.push_str(&format!("\n  {what}: {reason}\n    {remedy}"));
    }
    text
}
