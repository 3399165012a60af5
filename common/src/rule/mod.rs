//! What others would say of the same traffic: the published hunting rule, RITA's scores, and both beside Sonde's.
//!
//! They are here so that a team can compare, and move over; the engine knows nothing of them. Each takes rows in any order
//! and is told the newest time of the data beforehand; none reads a clock. `docs/compare.md` is the reference of their columns.

mod budget;
pub mod compare;
mod groups;
pub mod observed;
pub mod record;
pub mod rita;
pub mod sentinel;
mod set;

use serde::Serialize;

use crate::time::NANOS_PER_SEC;

/// A day, in nanoseconds: how far back both rules look.
const DAY_NANOS: i64 = 24 * 3_600 * NANOS_PER_SEC;

/// How much a rule may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Groups, or pairs of source and destination.
    pub groups: usize,
    /// About how many bytes all of them may take.
    pub bytes: usize,
}

impl Default for Limits {
    /// A million groups in 256 MiB: beyond a day of a large fleet, and still a laptop's.
    fn default() -> Self {
        Self { groups: 1_000_000, bytes: 256 << 20 }
    }
}

/// What did not fit into the [`Limits`]. When they are reached, what is followed stays followed and what is new is turned
/// away: a group that is shown is then still exact, save for the parts counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Rows of groups that were not taken up.
    pub rows: u64,
    /// Ports, process names, times or sizes that groups did not take up; their rows were counted.
    pub details: u64,
}

impl Lost {
    /// Whether nothing was lost.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.rows == 0 && self.details == 0
    }
}
