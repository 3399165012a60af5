//! `sonde run`: the live sensor, as a service or in a terminal. Alerts go to stdout as they are emitted, the log to stderr.

use std::io::Write;
use std::path::PathBuf;

use sonde_common::alert::{Alert, Severity};
use sonde_common::config::Config;
use sonde_common::engine::Engine;
use sonde_common::live::Unavailable;
use tracing::{error, info};

use super::complain;
use super::output::{Format, Output, Style};
use crate::exit::Exit;
use crate::live::command::channel;
use crate::live::flow::{Emit, Flow};
use crate::live::health::{Health, Role};
use crate::live::sensor::Sensor;
use crate::live::sources::{Sources, Wanted};
use crate::platform;

/// Options of `sonde run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo sonde run                             everything that works here; alerts as they happen
  sudo sonde run --attribution netlink       without kernel programs
  sudo sonde run --events seen.ndjson        keep what was seen; `sonde replay seen.ndjson` gives the same alerts

In another terminal: sonde status, sonde top, sonde alerts, sonde explain ID")]
pub(super) struct Arguments {
    /// How connections are given their process: auto is the best that works here
    #[arg(long, value_name = "LAYER", value_parser = ["auto", "ebpf", "netlink", "poll"])]
    attribution: Option<String>,
    /// Where packets come from, which give connections their names: auto is the best that works here
    #[arg(long, value_name = "SOURCE", value_parser = ["auto", "ring", "pnet", "none"])]
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
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        match self.start() {
            Ok(exit) => exit,
            Err((exit, message)) => {
                complain(&message);
                exit
            }
        }
    }

    fn config(&self) -> Result<Config, (Exit, String)> {
        let text = match &self.config {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| (Exit::Config, format!("{}: {error}", path.display())))?,
            None => String::new(),
        };
        let mut settings = self.set.clone();
        settings.extend(self.attribution.iter().map(|layer| format!("attribution.layer={layer}")));
        settings.extend(self.capture.iter().map(|mode| format!("capture.mode={mode}")));
        let place = self.config.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default();
        Config::parse(&text, &settings).map_err(|error| (Exit::Config, format!("{place}{error}")))
    }

    fn start(self) -> Result<Exit, (Exit, String)> {
        let config = self.config()?;
        let clocks = platform::clock::clocks();
        let boot = clocks.boot();
        let events: Option<Box<dyn Write>> = match &self.events {
            Some(path) => Some(Box::new(std::fs::File::create(path).map_err(|error| {
                (Exit::Output, format!("{}: cannot be written: {error}", path.display()))
            })?)),
            None => None,
        };
        let wanted = Wanted {
            layer: config.attribution.layer,
            layer_bytes: config.attribution.ring_bytes.get(),
            capture: config.capture.mode,
            ring_bytes: config.capture.ring_bytes.get(),
            boot,
        };
        let sources = Sources::open(&wanted).map_err(|lost| (Exit::Permission, blind(&lost)))?;
        let host = sysinfo::System::host_name().unwrap_or_default();
        let mut health = Health::new(host.clone(), clocks.wall);
        match &sources.layer {
            Some(layer) => health.active(Role::Connections, layer.method().as_str()),
            None => health.judge(),
        }
        if let Some(packets) = &sources.packets {
            health.active(Role::Packets, packets.name());
        }
        let memory = config.limits.memory;
        let engine = Engine::new(host.clone(), memory.detection_bytes(), (1, 2));
        let flow = Flow::new(host, memory.tracking_bytes(), engine, events, self.emit());
        let (commander, commands) = channel();
        let _ = commander;
        let mut sensor = Sensor::new(&config, boot, sources, flow, health);
        info!("the sensor is running");
        sensor.run(&commands, &mut |_| {});
        Ok(Exit::Done)
    }

    /// Writes alerts to stdout. A reader that went away or a full disk ends the output, not the sensor.
    fn emit(&self) -> Emit {
        let style = Style::of_stdout();
        let format = self
            .format
            .unwrap_or_else(|| Format::by_default(std::io::IsTerminal::is_terminal(&std::io::stdout())));
        let mut out = Some(Output::new(std::io::stdout(), format, style));
        Box::new(move |alert: Alert| {
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
}

/// Why nothing can be seen, with what helps.
fn blind(lost: &[Unavailable]) -> String {
    let mut text = "the sensor would see nothing here:".to_owned();
    for Unavailable { what, reason, remedy } in lost {
        text.push_str(&format!("\n  {what}: {reason}\n    {remedy}"));
    }
    text
}
