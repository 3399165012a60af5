//! What an operating system tells as it happens: of sockets, of processes, and of what it could not tell.
//!
//! Values only. The agent's platform code makes them; the connection tracker, the attributor and the engine take them. The
//! words are those of no one system: a socket event may come from a kernel program, a netlink answer or a polled table.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::event::Totals;
use crate::net::FiveTuple;
use crate::process::{Attribution, ProcessKey};
use crate::time::Timestamp;

/// Longest argument vector that is kept of a process, in bytes with its terminators.
pub const MAX_ARGUMENT_BYTES: usize = 4096;

/// One thing that the system told.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveEvent {
    /// Of a socket.
    Socket(SocketEvent),
    /// Of a process.
    Process(ProcessEvent),
    /// Of a name that a program had resolved.
    Resolved(Box<Resolved>),
    /// Nothing, for a while: what happened then is not known.
    Gap(Gap),
}

impl LiveEvent {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Socket(event) => event.time,
            Self::Process(event) => event.time(),
            Self::Resolved(event) => event.time,
            Self::Gap(gap) => gap.until,
        }
    }
}

/// Names a socket for as long as it lives; on Linux the kernel's socket cookie. 0: the source does not tell sockets apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// News of one socket that a local process uses to call out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SocketEvent {
    /// When it happened.
    pub time: Timestamp,
    /// Which socket.
    pub socket: SocketId,
    /// Both ends. A datagram socket that calls several peers gives events of several tuples.
    pub tuple: FiveTuple,
    /// What happened.
    pub news: SocketNews,
}

/// What happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SocketNews {
    /// A local process asked for the connection, or sent the first datagram to this peer.
    Opened(Option<SocketOwner>),
    /// It was there before the sensor was.
    Found(Option<SocketOwner>),
    /// The remote side answered.
    Answered,
    /// Payload after at least a second of silence in both directions, until the next silence: told when it is over.
    Exchange {
        /// First payload of it.
        start: Timestamp,
        /// Payload bytes sent.
        bytes_out: u64,
        /// Payload bytes received.
        bytes_in: u64,
    },
    /// It is gone.
    Closed(Totals),
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOwner {
    /// The process that asked for the connection.
    pub process: ProcessKey,
    /// Account that the socket belongs to, as the system numbers it.
    pub uid: u32,
    /// How that is known.
    pub attribution: Attribution,
}

/// News of one process.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessEvent {
    /// It runs a program from now on (`execve`).
    Started(Box<ProcessStart>),
    /// It began as a copy of another, and runs the same program.
    Forked {
        /// When.
        time: Timestamp,
        /// The one that was copied.
        parent: ProcessKey,
        /// The copy.
        child: ProcessKey,
    },
    /// It ended.
    Exited {
        /// When.
        time: Timestamp,
        /// Which.
        process: ProcessKey,
    },
}

impl ProcessEvent {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Started(start) => start.time,
            Self::Forked { time, .. } | Self::Exited { time, .. } => *time,
        }
    }
}

/// A program that a process began to run, as far as the system tells at that moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessStart {
    /// When it began to run.
    pub time: Timestamp,
    /// The process.
    pub process: ProcessKey,
    /// Its parent, where known.
    pub parent: Option<ProcessKey>,
    /// Effective account.
    pub uid: u32,
    /// Path of the executable as the system resolved it, never what the caller claimed. Bytes as the file system has them.
    pub image: Vec<u8>,
    /// Arguments, each ended by a zero byte, at most [`MAX_ARGUMENT_BYTES`].
    pub arguments: Vec<u8>,
    /// Which file it is.
    pub file: FileId,
    /// The file has no name any more, or never had one (`memfd_create`).
    pub unlinked: bool,
    /// Control group, by its number; 0 where the system has none.
    pub cgroup: u64,
    /// Network namespace, by its inode; 0 where the system has none.
    pub net_namespace: u64,
}

/// A question to the system's resolver and its answer, where the system tells of it and no packet has to be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// When the program had its answer.
    pub time: Timestamp,
    /// When it asked; the time of the answer where that is not known.
    pub start: Timestamp,
    /// The process that asked.
    pub process: Option<ProcessKey>,
    /// How that is known.
    pub attribution: Attribution,
    /// The name asked for, kept as [`crate::event::DOMAIN_TEXT`].
    pub query: String,
    /// Query type (1 = A, 28 = AAAA…).
    pub query_type: u16,
    /// Response code, `None` without an answer.
    pub response_code: Option<u16>,
    /// Addresses that the name leads to.
    pub addresses: Vec<IpAddr>,
}

/// A file by its place on its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number as `stat` gives it.
    pub device: u64,
    /// Inode.
    pub inode: u64,
}

/// A time in which the sensor was blind, wholly or in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last time of which it knows all.
    pub since: Timestamp,
    /// From when on it knows all again.
    pub until: Timestamp,
    /// Why.
    pub cause: GapCause,
    /// Records lost, where they were counted.
    pub lost: u64,
}

/// Why a sensor was blind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The sensor did not run.
    Stopped,
    /// The machine slept.
    Suspended,
    /// The clock was set.
    ClockSet,
    /// The sensor ran, but was not given the processor in time.
    Stalled,
    /// The kernel had no room for packets.
    PacketsLost,
    /// The kernel had no room for socket and process events.
    EventsLost,
}

impl GapCause {
    /// Name as in events, alerts and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Suspended => "suspended",
            Self::ClockSet => "clock_set",
            Self::Stalled => "stalled",
            Self::PacketsLost => "packets_lost",
            Self::EventsLost => "events_lost",
        }
    }
}

/// A capability that is not to be had here: what, why, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct Unavailable {
    /// The capability that is lost, such as `eBPF connect hooks (IPv6)`.
    pub what: String,
    /// The system's own reason.
    pub reason: String,
    /// What the operator can do.
    pub remedy: String,
}
