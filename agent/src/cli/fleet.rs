//! `sonde fleet`: what many sensors say: carried to the store that counts it. One file for each subcommand.

mod carry;

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
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(match self.what {
            What::Carry(carry) => carry.done(),
        })
    }
}
