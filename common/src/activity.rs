//! How much happened when: what a source saw, counted in equal slots whose width doubles as time goes on.
//!
//! For the overview of a report: it answers where the input has holes, and of how much of it the process is known.

use crate::event::{Event, Observation, Phase};
use crate::live::Gap;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Most slots. Half of them are in use at least, once the time is longer than so many seconds.
pub const MAX_SLOTS: usize = 240;
/// Most gaps that are kept one by one.
pub const MAX_GAPS: usize = 64;

/// What was seen in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Connections, exchanges inside open ones and DNS queries.
    pub events: u64,
    /// Those of them whose program is known.
    pub attributed: u64,
}

/// A time in which the sensor of one host was blind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGap {
    /// The host, as alerts name it.
    pub host: String,
    /// When, and why.
    pub gap: Gap,
}

/// What was seen over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Begin of the first slot, in multiples of the width since the epoch.
    first: i64,
    /// Width of a slot, in nanoseconds.
    width: i64,
    slots: Vec<Slot>,
    gaps: Vec<HostGap>,
    /// Gaps beyond [`MAX_GAPS`].
    gaps_left_out: u64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { first: 0, width: NANOS_PER_SEC, slots: Vec::new(), gaps: Vec::new(), gaps_left_out: 0 }
    }
}

impl Activity {
    /// Counts an observation.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        let attributed = match &observation.event {
            Event::Connection(connection) => {
                if matches!(connection.phase, Phase::Closed(_) | Phase::Joined | Phase::Certificate(_)) {
                    return;
                }
                connection.process.is_some() || connection.program.is_some()
            }
            Event::Dns(dns) => dns.process.is_some() || dns.program.is_some(),
            Event::Gap(gap) => return self.gap(HostGap { host: observation.host.to_string(), gap: *gap }),
            _ => return,
        };
        self.add(observation.time, Slot { events: 1, attributed: u64::from(attributed) });
    }

    fn gap(&mut self, gap: HostGap) {
        if self.gaps.len() < MAX_GAPS {
            self.gaps.push(gap);
        } else {
            self.gaps_left_out += 1;
        }
    }

    fn add(&mut self, time: Timestamp, seen: Slot) {
        let mut at = time.nanos().div_euclid(self.width);
        if self.slots.is_empty() {
            self.first = at;
        }
        while self.reach(at) > MAX_SLOTS {
            self.coarsen();
            at = time.nanos().div_euclid(self.width);
        }
        if at < self.first {
            let more = usize::try_from(self.first - at).unwrap_or(0);
            self.slots.splice(0..0, std::iter::repeat_n(Slot::default(), more));
            self.first = at;
        }
        let index = usize::try_from(at - self.first).unwrap_or(usize::MAX);
        if index >= self.slots.len() {
            self.slots.resize(index.saturating_add(1), Slot::default());
        }
        if let Some(slot) = self.slots.get_mut(index) {
            slot.events += seen.events;
            slot.attributed += seen.attributed;
        }
    }

    /// How many slots it takes, with one at this place.
    fn reach(&self, at: i64) -> usize {
        let end = self.first.saturating_add_unsigned(self.slots.len() as u64);
        let reach = end.max(at.saturating_add(1)).saturating_sub(self.first.min(at));
        usize::try_from(reach).unwrap_or(usize::MAX)
    }

    /// Makes slots twice as wide.
    fn coarsen(&mut self) {
        let first = self.first.div_euclid(2);
        let mut slots: Vec<Slot> = Vec::with_capacity(self.slots.len() / 2 + 1);
        for (offset, slot) in (self.first..).zip(&self.slots) {
            let index = usize::try_from(offset.div_euclid(2) - first).unwrap_or(0);
            if index >= slots.len() {
                slots.resize(index + 1, Slot::default());
            }
            if let Some(wide) = slots.get_mut(index) {
                wide.events += slot.events;
                wide.attributed += slot.attributed;
            }
        }
        self.first = first;
        self.width = self.width.saturating_mul(2);
        self.slots = slots;
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        while !self.slots.is_empty() && self.width < other.width {
            self.coarsen();
        }
        if self.slots.is_empty() {
            (self.width, self.first) = (other.width, other.first);
        }
        for (index, slot) in (other.first..).zip(&other.slots).filter(|(_, slot)| slot.events > 0) {
            self.add(Timestamp::from_nanos(index.saturating_mul(other.width)), *slot);
        }
        // The earliest are kept, in whatever order parts are put together.
        self.gaps.extend_from_slice(&other.gaps);
        self.gaps
            .sort_by(|a, b| (a.gap.since, &a.host, a.gap.until).cmp(&(b.gap.since, &b.host, b.gap.until)));
        self.gaps_left_out += other.gaps_left_out + self.gaps.len().saturating_sub(MAX_GAPS) as u64;
        self.gaps.truncate(MAX_GAPS);
    }

    /// When the first slot begins.
    #[must_use]
    pub const fn begins(&self) -> Timestamp {
        Timestamp::from_nanos(self.first.saturating_mul(self.width))
    }

    /// Width of a slot, in seconds.
    #[must_use]
    pub const fn slot_secs(&self) -> u64 {
        (self.width / NANOS_PER_SEC).unsigned_abs()
    }

    /// The slots, the oldest first.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The first gaps, and how many more there were.
    #[must_use]
    pub fn gaps(&self) -> (&[HostGap], u64) {
        (&self.gaps, self.gaps_left_out)
    }

    /// All slots in one.
    #[must_use]
    pub fn total(&self) -> Slot {
        let add = |all: Slot, slot: &Slot| Slot {
            events: all.events + slot.events,
            attributed: all.attributed + slot.attributed,
        };
        self.slots.iter().fold(Slot::default(), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(times: &[i64]) -> Activity {
        let mut activity = Activity::default();
        for &secs in times {
            activity.add(Timestamp::from_secs_nanos(secs, 0), Slot { events: 1, attributed: 0 });
        }
        activity
    }

    #[test]
    fn slots_double_until_the_time_fits() {
        let day: Vec<i64> = (0..86_400).step_by(60).collect();
        let activity = of(&day);
        assert_eq!((activity.total().events, activity.slot_secs()), (1_440, 512));
        assert!((MAX_SLOTS / 2..=MAX_SLOTS).contains(&activity.slots().len()), "{}", activity.slots().len());
        assert_eq!(activity.begins(), Timestamp::ZERO);
        let counts: Vec<u64> = of(&[10, 10, 12, 8]).slots().iter().map(|slot| slot.events).collect();
        assert_eq!(counts, [1, 0, 2, 0, 1]);
    }

    #[test]
    fn the_earliest_gaps_are_kept_whatever_is_merged_first() {
        let blind = |host: &str, secs: i64| {
            let since = Timestamp::from_secs_nanos(secs, 0);
            let gap = Gap { since, until: since, cause: crate::live::GapCause::Suspended, lost: 0 };
            HostGap { host: host.to_owned(), gap }
        };
        let (mut one, mut other) = (Activity::default(), Activity::default());
        (0..50).for_each(|at| one.gap(blind("a", at * 2)));
        (0..70).for_each(|at| other.gap(blind("b", at * 2 + 1)));
        let (mut first, mut second) = (one.clone(), other.clone());
        first.merge(&other);
        second.merge(&one);
        assert_eq!(first.gaps(), second.gaps());
        assert_eq!((first.gaps().0.len(), first.gaps().1), (MAX_GAPS, 120 - MAX_GAPS as u64));
        assert_eq!(first.gaps().0[MAX_GAPS - 1], blind("b", 63));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_grows(one in prop::collection::vec(any::<i64>(), 0..40), other in prop::collection::vec(any::<i64>(), 0..40)) {
            let fill = |times: &[i64]| {
                let mut activity = Activity::default();
                for &nanos in times {
                    activity.add(Timestamp::from_nanos(nanos), Slot { events: 1, attributed: 1 });
                }
                activity
            };
            let mut all = fill(&one);
            all.merge(&fill(&other));
            prop_assert!(all.slots().len() <= MAX_SLOTS);
            let count = (one.len() + other.len()) as u64;
            prop_assert_eq!(all.total(), Slot { events: count, attributed: count });
        }
    }
}
