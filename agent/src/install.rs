//! What `sonde service` asks for and is told, whichever system has the service: no calls here, those are each system's own
//! `platform::install`.

use std::io;
use std::path::PathBuf;

use sonde_common::time::Timestamp;

/// What is to be installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The configuration that the service reads, as a whole path; `None`: the system's.
    pub config: Option<PathBuf>,
    /// Whether it is started at once.
    pub start: bool,
}

/// How the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is not installed.
    Absent,
    /// It is installed and does not run.
    Stopped,
    /// It runs, or is about to.
    Running {
        /// Its process, where the system tells.
        pid: Option<u32>,
        /// Since when, where the system tells.
        since: Option<Timestamp>,
    },
}

/// Why the service manager could not be told.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Nothing is installed that could be started, stopped or removed.
    #[error("the service is not installed\n  sonde service install")]
    Absent,
    /// The account may not.
    #[error("{what}: not permitted\n  {remedy}")]
    Denied {
        /// What was tried.
        what: String,
        /// What helps.
        remedy: String,
    },
    /// It cannot be done here.
    #[error("{what}\n  {remedy}")]
    Unsupported {
        /// What cannot be done, and why.
        what: String,
        /// What helps.
        remedy: String,
    },
    /// It did not come about in time, or ended at once.
    #[error("{what}\n  {remedy}")]
    Failed {
        /// What did not come about.
        what: String,
        /// Where to look.
        remedy: String,
    },
    /// What the system said.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}
