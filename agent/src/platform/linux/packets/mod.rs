//! Packets of the host, filtered: what names connections, and what tells of their begin and end.
//!
//! [`Ring`] is the way to have them, [`PnetSource`] the portable one; both run the program of `filter`, the one in the kernel, the
//! other here. [`SynWatch`] hears outgoing SYNs at once.

mod block;
mod bpf;
mod datalink;
mod filter;
mod interpret;
#[cfg(test)]
mod live_tests;
mod ring;
mod self_test;
mod socket;
mod syn;

pub use crate::platform::neutral::Interface;
pub use datalink::{PnetSource, interfaces};
pub use ring::{Ring, RingOptions};
pub use syn::{Syn, SynWatch};

use std::time::SystemTime;

use sonde_common::time::Timestamp;

/// The wall clock, for packets that the kernel gave no time.
fn now() -> Timestamp {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}
