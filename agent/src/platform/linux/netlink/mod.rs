//! The layers without kernel programs: netlink answers, and tables that are polled.

mod cgroup;
mod clock;
mod closing;
mod connector;
mod diag;
mod exchange;
mod finder;
mod holders;
mod introduce;
mod layer;
mod meter;
mod poll;
mod processes;
mod procfs;
mod queue;
mod seed;
mod self_test;
mod snapshot;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::io;

use sonde_common::live::Unavailable;

pub use self::layer::{NetlinkLayer, NetlinkOptions};
pub use self::meter::ExchangeMeter;
pub use self::poll::PollLayer;
pub use self::seed::seed;

fn unavailable(what: &str, error: &io::Error, remedy: &str) -> Unavailable {
    Unavailable { what: what.to_owned(), reason: error.to_string(), remedy: remedy.to_owned() }
}
