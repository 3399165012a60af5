//! What really happened, written down by who did it: one JSON line for each callback.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sonde_common::time::Timestamp;

/// How a callback ended, in the words of Sonde's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server answered.
    Established,
    /// It refused.
    Refused,
    /// It did not answer in time.
    Unanswered,
    /// It answered, then cut the connection.
    Reset,
    /// The machine itself would not let it out.
    Failed,
}

impl Outcome {
    /// What an error of a socket comes to.
    #[must_use]
    pub fn of(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Self::Reset,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::Unanswered,
            _ => Self::Failed,
        }
    }
}

/// One callback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Callback {
    /// When it began.
    pub time: Timestamp,
    /// Process that made it.
    pub pid: u32,
    /// How: `tcp`, `tls`, `http`, `https`, `dns`, `udp`, `icmp`.
    pub transport: String,
    /// The caller's end, where the system tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The end that was called; port 0 for ICMP.
    pub remote: SocketAddr,
    /// Payload bytes sent, before encryption.
    pub bytes_out: u64,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// The time of this machine.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
