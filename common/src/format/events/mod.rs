//! Sonde's own events as NDJSON: what `--events` writes and `replay` reads, one [`Observation`](crate::event::Observation) a line.
//!
//! Writing and reading back gives equal observations, to the nanosecond, so a replay of the file gives the same alerts.
//! `docs/events.md` is the reference of the format; a test holds it against this code.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{EventError, EventParser, looks_like_events};
pub use write::{write_header, write_line};

pub use crate::process::MAX_PROCESS_TEXT_BYTES;

use crate::text::Rule;

/// Version of the format. It rises when a reader of the version before would misunderstand a line, not with each new
/// field: unknown fields are skipped.
pub const VERSION: u32 = 1;
/// `type` of the line that opens a file and names its version.
pub const HEADER_TYPE: &str = "sonde.events";
/// Longest line that is read, in bytes. The longest that is written is below it: every text in it is capped.
pub const MAX_LINE_BYTES: usize = 2 << 20;
/// Most addresses of one DNS answer that are kept: an A record takes 16 bytes, so that a message of 64 KiB (RFC 1035
/// section 4.2.2) cannot hold more.
pub const MAX_ADDRESSES: usize = 4096;
/// How the texts of a process are kept that are names of a few bytes, or paths: Linux allows a path 4,096 bytes. Fourteen
/// texts of 32 KiB would not fit into a line.
const SHORT_TEXT: Rule = Rule { cap: 4 << 10, lower_case: false, strip_dot: false };
/// Port of a DNS resolver where a line does not say (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// The values of `type`, as errors list them.
const TYPES: &str = "host, process, known_destination, resolvers, connection, dns, gap";
