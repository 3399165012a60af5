//! `sonde metrics`: the running sensor's figures as Prometheus reads them.

use std::io;

use super::failure::{Failure, written};
use super::output::{Format, Output, Style};
use super::source::{Sensor, unexpected};
use crate::exit::Exit;
use crate::live::command::{Answer, Request};
use crate::live::metrics;

/// Arguments of `sonde metrics`.
#[derive(Debug, clap::Args)]
#[command(after_help = "For node_exporter's collector of text files, from a timer:\n  \
        sonde metrics >/var/lib/node_exporter/sonde.prom.new && mv /var/lib/node_exporter/sonde.prom.new /var/lib/node_exporter/sonde.prom\n\n\
        Exit codes: 0 it runs; 66 no sensor runs here; 77 permission.")]
pub(super) struct Arguments {
    #[command(flatten)]
    sensor: Sensor,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        let Answer::Status(health) = self.sensor.ask(Request::Status)? else { return Err(unexpected()) };
        let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
        written(out.write_text(&metrics::text(&health)).and_then(|()| out.flush()))
    }
}
