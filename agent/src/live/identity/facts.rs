//! The values that the system's reading room (`platform::identity`) and the policy beside this file exchange.

use sonde_common::live::{FileId, ProcessStart};
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

/// A process that the system was asked for, since no event told of its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What an event would have told. The time is that of the process's start, since that of the program's is not known.
    pub start: ProcessStart,
    /// It is a copy of its parent that never ran a program of its own.
    pub copy: bool,
}

/// Where a process belongs, by its control group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Container id or name.
    pub container: String,
    /// Kubernetes pod UID.
    pub pod: String,
    /// Unit of the service manager.
    pub unit: String,
}

/// A version of an executable file: another content has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExecutableKey {
    /// Which file.
    pub file: FileId,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the content, in nanoseconds since the epoch, as the file says.
    pub modified: i64,
    /// Last change of content or properties, in nanoseconds since the epoch; no one can set it back.
    pub changed: i64,
}

/// The question which file a process runs.
#[derive(Clone, Debug)]
pub struct Request {
    /// Comes back with the answer.
    pub id: u64,
    /// The process that began to run it.
    pub process: ProcessKey,
    /// When.
    pub started: Timestamp,
    /// When the machine began, as in the keys of processes.
    pub boot: Timestamp,
    /// Path as the system told it.
    pub image: Box<[u8]>,
    /// File as the system told it; zeros where it did not.
    pub file: FileId,
    /// It had no name already when it began to run.
    pub unlinked: bool,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// That of the question.
    pub id: u64,
    /// Which version of the file, where it could be opened.
    pub key: Option<ExecutableKey>,
    /// What is known of it.
    pub facts: std::sync::Arc<ExecutableFacts>,
    /// Version of the package databases that it was looked up in.
    pub edition: u64,
}

/// What a look at the executable and at the package databases told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutableFacts {
    /// Lower-case hex, empty if not hashed.
    pub sha256: String,
    /// Why it was not hashed.
    pub unhashed: Option<Unhashed>,
    /// Package with its version.
    pub package: String,
    /// Owned by a package and unchanged.
    pub signed: Option<bool>,
    /// It has no name any more and no package says that it was replaced, or it never had one.
    pub in_memory: bool,
}

/// Why an executable has no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unhashed {
    /// The process and the file ended before they could be looked at.
    Gone,
    /// The path leads to another file by now, or the file changed since.
    Changed,
    /// Larger than the limit.
    TooLarge,
    /// The system refused.
    Unreadable,
    /// Too many were waiting.
    Busy,
}
