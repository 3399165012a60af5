//! What became of all that was seen: nothing is left out of detection without being counted, by a reason that has a name.
//!
//! Two accounts, one behind the other, each kept where the thing happens and not computed from the other figures:
//!
//! - *records* of the sources: events of sockets and processes, packets. Each is handed on, waits in the queue, was dropped by its
//!   source for want of room, or is left out by a reason;
//! - *observations* that connections and queries are made into. Each is taken by the engine, or left out by a reason.
//!
//! What the engine took and forgot again for want of memory is told apart, as lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A packet that passed an interface which `capture.interfaces` does not name.
pub const OTHER_INTERFACE: &str = "other interface";
/// A packet whose headers cannot be read.
pub const UNDECODABLE: &str = "undecodable";
/// What the sensor does itself: calls to its sinks.
pub const OWN: &str = "own";
/// A question that a resolver of this host passed on for a program that was told of already.
pub const RELAYED: &str = "relayed";

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// All that came.
    pub seen: u64,
    /// What went into detection.
    pub aggregated: u64,
    /// What there was no room for.
    pub evicted: u64,
    /// What waits for its turn.
    pub waiting: u64,
    /// What was left out, by reason.
    pub ignored: BTreeMap<String, u64>,
}

impl Ledger {
    /// Notes something that is left out.
    pub fn ignore(&mut self, reason: &str) {
        if let Some(count) = self.ignored.get_mut(reason) {
            *count += 1;
        } else {
            self.ignored.insert(reason.to_owned(), 1);
        }
    }

    /// By how much the parts exceed the whole: 0, or something was counted twice or not at all.
    #[must_use]
    pub fn difference(&self) -> i128 {
        let ignored: i128 = self.ignored.values().map(|count| i128::from(*count)).sum();
        i128::from(self.aggregated) + i128::from(self.evicted) + i128::from(self.waiting) + ignored
            - i128::from(self.seen)
    }
}

/// Both accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Of what the sources told.
    pub records: Ledger,
    /// Of what was made of it.
    pub observations: Ledger,
}

impl Account {
    /// What does not add up, in words; empty: all does.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let both = [("records", &self.records), ("observations", &self.observations)];
        both.into_iter()
            .filter(|(_, ledger)| ledger.difference() != 0)
            .map(|(name, ledger)| {
                format!("of {} {name}, {} are not accounted for", ledger.seen, -ledger.difference())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_counted_twice_is_told() {
        let records = Ledger { seen: 10, aggregated: 5, evicted: 2, waiting: 1, ..Ledger::default() };
        let mut account = Account { records, ..Account::default() };
        account.records.ignore(OTHER_INTERFACE);
        account.records.ignore(OTHER_INTERFACE);
        assert!(account.complaints().is_empty(), "{account:?}");
        account.records.seen += 3;
        account.observations.aggregated = 1;
        let complaints = account.complaints();
        assert_eq!(
            complaints,
            ["of 13 records, 3 are not accounted for", "of 0 observations, -1 are not accounted for"]
        );
    }
}
