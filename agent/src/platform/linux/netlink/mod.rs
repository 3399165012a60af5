//! The layers without kernel programs: netlink answers, and tables that are polled.

mod cgroup;
mod clock;
mod connector;
mod diag;
mod exchange;
mod finder;
mod holders;
mod meter;
mod processes;
mod procfs;
mod queue;
mod socket;
#[cfg(test)]
mod tests;
mod wire;

use std::io;

use sonde_common::live::Unavailable;

pub use self::meter::ExchangeMeter;

fn unavailable(what: &str, error: &io::Error, remedy: &str) -> Unavailable {
    Unavailable { what: what.to_owned(), reason: error.to_string(), remedy: remedy.to_owned() }
}
