//! Names that do not exist: bursts of them, and whether they look generated.
//!
//! Malware that makes up its server's name of the day asks for many names of which few are registered (ATT&CK T1568.002).
//! For each program, or each host where no program is known, the latest names that were answered NXDOMAIN are kept
//! (`watch`), what they have in common is tested (`pattern`, with the model of `look`), and the name that answers
//! after them is told as what they were to lead to. A query without an answer, or one that the resolver failed to
//! answer, says nothing about the name.

mod asked;
pub mod look;
mod pattern;
mod report;
mod watch;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use self::asked::Asked;
use self::report::Kind;
use self::watch::{News, Watch};
use super::{Detector, Finding, Host, Seen, What};
use crate::alert::Class;
use crate::domain::is_popular;

/// Response codes (RFC 1035 section 4.1.1).
const NO_ERROR: u16 = 0;
const NXDOMAIN: u16 = 3;
/// Programs watched at a time, however much memory there is.
const MAX_PROGRAMS: usize = 1024;
/// What a place in the map takes beside the watch.
const BYTES_PER_PLACE: usize = 24;

/// Follows the names that do not exist, program by program.
#[derive(Debug, Default)]
pub struct MissingNames {
    /// By key of the program, 0 where none is known.
    watches: HashMap<u64, Box<Watch>, RandomState>,
    bytes: usize,
    capacity: usize,
    evicted: u64,
}

impl MissingNames {
    /// Lets go of programs with the fewest names, then of the last one's oldest names, until the rest fits.
    fn make_room(&mut self, keep: Option<u64>) {
        while self.watches.len() > MAX_PROGRAMS || self.bytes > self.capacity {
            // The order of the map must not decide: of equals the lowest key leaves.
            let others = self.watches.iter().filter(|(key, _)| Some(**key) != keep);
            let weakest = others.min_by_key(|(key, watch)| (watch.worth(), **key)).map(|(key, _)| *key);
            if let Some(gone) = weakest.and_then(|key| self.watches.remove(&key)) {
                self.bytes = self.bytes.saturating_sub(gone.weight() + BYTES_PER_PLACE);
                self.evicted += 1;
                continue;
            }
            let Some(watch) = keep.and_then(|key| self.watches.get_mut(&key)) else { return };
            let before = watch.weight();
            if !watch.forget_one() {
                return;
            }
            self.bytes = (self.bytes + watch.weight()).saturating_sub(before);
            self.evicted += 1;
        }
    }
}

impl Detector for MissingNames {
    fn name(&self) -> &'static str {
        "missing_names"
    }

    fn class(&self) -> Class {
        Class::NxdomainBurst
    }

    fn observe(&mut self, seen: &Seen<'_>, host: &dyn Host, found: &mut dyn FnMut(Finding)) {
        let What::Query(query) = seen.what else { return };
        let missing = match query.response_code {
            Some(NXDOMAIN) => true,
            Some(NO_ERROR) => false,
            _ => return,
        };
        let key = seen.program.map_or(0, |program| program.key);
        // Whoever never asked in vain is not watched.
        if !missing && !self.watches.contains_key(&key) {
            return;
        }
        let Some(asked) = Asked::of(query, seen.registrable) else { return };
        let known = (!asked.dynamic && is_popular(asked.name))
            || host.known_days(asked.name, None).is_some_and(|days| days > 0.0);
        let bytes = &mut self.bytes;
        let watch = self.watches.entry(key).or_insert_with(|| {
            let watch = Box::<Watch>::default();
            *bytes += watch.weight() + BYTES_PER_PLACE;
            watch
        });
        let before = watch.weight();
        let news = if missing {
            watch.missing(&asked, query, known, seen.time)
        } else {
            watch.exists(&asked, query, !known, seen.time)
        };
        self.bytes = (self.bytes + watch.weight()).saturating_sub(before);
        if news != News::None {
            // Names that look generated are told as that, and not as a burst as well.
            let first = report::finding(Kind::Generated, watch, seen, query);
            let next =
                if watch.told_generated() { None } else { report::finding(Kind::Burst, watch, seen, query) };
            first.into_iter().chain(next).for_each(&mut *found);
        }
        self.make_room(Some(key));
    }

    fn set_memory(&mut self, memory_bytes: usize) {
        self.capacity = memory_bytes;
        self.make_room(None);
        self.watches.shrink_to_fit();
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn evicted(&self) -> u64 {
        self.evicted
    }

    fn shift(&mut self, nanos: i64) {
        self.watches.values_mut().for_each(|watch| watch.shift(nanos));
    }
}

#[cfg(test)]
mod tests;
