//! What had to be dropped is itself told, in an audit record to every sink that wants such: not at once for each record, but
//! by what it came to in a minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sonde_common::encode::record::Deed;
use sonde_common::record::Kind;

use super::super::spool::Cause;
use super::ship::Fleet;

/// Least time between two announcements of one sink.
const EVERY: Duration = Duration::from_secs(60);

/// By lane's kind and cause.
pub(super) type Dropped = BTreeMap<(Kind, Cause), u64>;

/// Remembers what was announced.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    told: BTreeMap<String, (Dropped, Option<Instant>)>,
}

impl Announcer {
    /// What is to be announced now.
    pub(super) fn look(&mut self, fleet: &Fleet, now: Instant) -> Vec<Deed> {
        let mut deeds = Vec::new();
        self.told.retain(|sink, _| fleet.has(sink));
        for (sink, dropped) in fleet.dropped() {
            let (told, last) = self.told.entry(sink.clone()).or_default();
            if *told == dropped || last.is_some_and(|last| now.duration_since(last) < EVERY) {
                continue;
            }
            for ((kind, cause), count) in &dropped {
                let records = count.saturating_sub(told.get(&(*kind, *cause)).copied().unwrap_or(0));
                if records > 0 {
                    let (sink, cause) = (sink.clone(), cause.as_str().to_owned());
                    deeds.push(Deed::Dropped { sink, kind: *kind, cause, records });
                }
            }
            (*told, *last) = (dropped, Some(now));
        }
        deeds
    }
}
