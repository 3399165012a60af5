//! What a host did in a time, destination by destination: what a fleet counts. Values only; [`crate::engine`] fills them in
//! and [`crate::encode::record`] writes them.

use std::net::IpAddr;

use crate::alert::{FindingId, Severity};
use crate::event::Ja4;
use crate::net::Transport;
use crate::time::Timestamp;

/// All of one interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summaries {
    /// When the interval began…
    pub since: Timestamp,
    /// …and when it ended.
    pub until: Timestamp,
    /// One for each program and destination, most connections first. Of more than were asked for, those without a score are
    /// in `rest`.
    pub rows: Vec<Summary>,
    /// What has no row.
    pub rest: Rest,
}

/// What one program did with one destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Path or name of the executable; empty where no process is known.
    pub image: String,
    /// SHA-256 of the executable, lower-case hex; empty where it is not known.
    pub sha256: String,
    /// The name that counts; empty for a bare address.
    pub name: String,
    /// Registrable domain of that name.
    pub registrable_domain: String,
    /// Latest address.
    pub ip: Option<IpAddr>,
    /// Port; 0 for ICMP.
    pub port: u16,
    /// Transport protocol.
    pub transport: Transport,
    /// Latest client TLS fingerprint.
    pub ja4: Option<Ja4>,
    /// Connections opened.
    pub connections: u64,
    /// Payload bytes sent by connections that ended in the interval.
    pub bytes_out: u64,
    /// Payload bytes received by them.
    pub bytes_in: u64,
    /// First sight in the interval.
    pub first_seen: Timestamp,
    /// Latest sight in the interval.
    pub last_seen: Timestamp,
    /// Their rhythm, if one was scored.
    pub rhythm: Option<Rhythm>,
}

/// The rhythm of a program's calls to a destination, at the evaluation with the highest score so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rhythm {
    /// Id that a finding of it has, or would have.
    pub finding: FindingId,
    /// Period found, in seconds; 0 if none.
    pub period_secs: f64,
    /// Median of the intervals, in seconds.
    pub interval_median_secs: f64,
    /// Median absolute deviation of the intervals over their median.
    pub jitter_mad_ratio: f64,
    /// Strength of the timing evidence, in bans.
    pub bans: f64,
    /// Callbacks in all.
    pub callbacks: u32,
    /// 0..=1.
    pub score: f64,
    /// Name of the score.
    pub severity: Severity,
}

/// What has no row of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Programs with a destination. One that left for want of room and came again counts twice.
    pub destinations: u64,
    /// Connections opened.
    pub connections: u64,
    /// Payload bytes sent.
    pub bytes_out: u64,
    /// Payload bytes received.
    pub bytes_in: u64,
}

impl Rest {
    /// Adds one that gets no row.
    pub const fn add(&mut self, row: &Summary) {
        self.destinations += 1;
        self.connections = self.connections.saturating_add(row.connections);
        self.bytes_out = self.bytes_out.saturating_add(row.bytes_out);
        self.bytes_in = self.bytes_in.saturating_add(row.bytes_in);
    }
}
