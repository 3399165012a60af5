//! `sonde fleet`: the fleet's store and what it tells its sensors.

mod hints;
mod keys;
mod lists;
mod rows;

use super::failure::Failure;
use crate::exit::Exit;

/// Arguments of `sonde fleet`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the state of each finding of the fleet, the highest score first
    Alerts(lists::Alerts),
    /// List on how many hosts destinations, TLS fingerprints and programs are seen
    Prevalence(lists::Prevalence),
    /// List rhythms that several hosts keep towards one destination, or by one program
    Rhythm(lists::Rhythm),
    /// List what the fleet saw for the first time
    New(lists::New),
    /// List sensors that have fallen silent, or of which records are missing
    Silent(lists::Silent),
    /// Make hints of prevalence for the sensors, sign and publish them; show them
    Hints(hints::Arguments),
    /// Make keys that sign hints
    Keys(keys::Arguments),
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        match self.what {
            What::Alerts(list) => list.run(),
            What::Prevalence(list) => list.run(),
            What::Rhythm(list) => list.run(),
            What::New(list) => list.run(),
            What::Silent(list) => list.run(),
            What::Hints(arguments) => arguments.run(),
            What::Keys(arguments) => arguments.run(),
        }
    }
}

/// Says something on stderr that is no failure.
fn say(text: &str) {
    super::complain(&text);
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure(Exit::Internal, format!("no runtime: {error}")))
}
