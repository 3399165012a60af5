//! `sonde fleet`: what many sensors say: carried to the store that counts it, asked of it, and told back to the sensors. One file
//! for each subcommand.

mod carry;
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
    /// Carry the sensors' records from the stream (NATS JetStream) to the store (ClickHouse)
    Carry(carry::Arguments),
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
        Failure::tell(match self.what {
            What::Carry(carry) => carry.done(),
            What::Alerts(list) => list.done(),
            What::Prevalence(list) => list.done(),
            What::Rhythm(list) => list.done(),
            What::New(list) => list.done(),
            What::Silent(list) => list.done(),
            What::Hints(hints) => hints.done(),
            What::Keys(keys) => keys.done(),
        })
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
