//! Who a process is. Nothing is asked of the system yet: connections have no program until it is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sonde_common::live::Unavailable;
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use crate::live::identity::facts::{Answer, ExecutableFacts, ExecutableKey, Found, Place, Request, Unhashed};

/// Names of accounts.
#[derive(Debug, Default)]
pub struct Accounts {}

impl Accounts {
    /// The account's name, if it is known.
    pub fn name(&mut self, _uid: u32, _now: Timestamp) -> Option<&str> {
        None
    }
}

/// Services and packages that processes belong to.
#[derive(Debug, Default)]
pub struct Places {}

impl Places {
    /// The place of a process.
    pub fn of(
        &mut self,
        _process: ProcessKey,
        _boot: Timestamp,
        _number: u64,
        _now: Timestamp,
    ) -> Option<Arc<Place>> {
        None
    }
}

/// Looks at executables.
#[derive(Debug)]
pub struct Examiner {}

impl Examiner {
    /// One that hashes files of at most `largest` bytes.
    #[must_use]
    pub const fn new(_largest: u64) -> Self {
        Self {}
    }

    /// Answers one question.
    pub fn examine(&mut self, request: &Request, _stop: &AtomicBool) -> Answer {
        let facts = ExecutableFacts { unhashed: Some(Unhashed::Unreadable), ..Default::default() };
        Answer { id: request.id, key: None, facts: Arc::new(facts), edition: 0 }
    }

    /// What cannot be read here.
    #[must_use]
    pub const fn unavailable(&self) -> &[Unavailable] {
        &[]
    }
}

/// The key of the process that has this number now.
#[must_use]
pub const fn process_key(_pid: u32, _boot: Timestamp) -> Option<ProcessKey> {
    None
}

/// Whether this very process still runs.
#[must_use]
pub const fn is_running(_process: ProcessKey, _boot: Timestamp) -> bool {
    true
}

/// Its folder, while it runs.
#[must_use]
pub const fn working_folder(_process: ProcessKey, _boot: Timestamp) -> Option<Vec<u8>> {
    None
}

/// What the system tells of a process now.
#[must_use]
pub const fn find_process(_process: ProcessKey, _boot: Timestamp) -> Option<Found> {
    None
}

/// Which version of its file a process runs.
#[must_use]
pub const fn executable_version(
    _process: ProcessKey,
    _boot: Timestamp,
    _image: &[u8],
) -> Option<ExecutableKey> {
    None
}

/// Lets everything else on this machine go first: for the calling thread alone.
pub const fn lower_priority() {}

/// Names this boot of the machine.
#[must_use]
pub const fn boot_id() -> Option<String> {
    None
}
