//! The times in which the sensor was blind: what lies between two callbacks around one is no interval.

use std::collections::VecDeque;

use crate::live::{Gap, GapCause};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Blind times remembered per host; of more, the two oldest count as one that lasted from the one to the other.
const MAX_GAPS: usize = 256;
/// A time in which records were lost, or the sensor did not run, spoils an interval of which it is at least this part, as
/// a divisor. One callback more in a sixteenth of an interval would be as likely as a jitter of 6 %, and lost packets must not
/// hide a beacon that calls four times a day.
const LEAST_PART: i64 = 16;

/// The latest blind times of a host, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    list: VecDeque<Gap>,
}

impl Gaps {
    /// Takes in one that ended. A clock that was set is a moment by the new clock, once all older times were
    /// [moved](Self::shift).
    pub fn note(&mut self, gap: Gap) {
        let since = if gap.cause == GapCause::ClockSet { gap.until } else { gap.since.min(gap.until) };
        if self.list.len() >= MAX_GAPS
            && let Some(oldest) = self.list.pop_front()
            && let Some(next) = self.list.front_mut()
        {
            next.since = next.since.min(oldest.since);
            next.until = next.until.max(oldest.until);
        }
        // One that is told of late stands where it belongs.
        let place = self.list.partition_point(|other| other.until <= gap.until);
        self.list.insert(place, Gap { since, ..gap });
    }

    /// Whether the time from one callback to the next is no interval; then for how many seconds the sensor was blind in it.
    #[must_use]
    pub fn blind(&self, from: Timestamp, to: Timestamp) -> Option<u32> {
        let mut nanos = 0i64;
        let mut spoilt = false;
        for gap in self.list.iter().rev().take_while(|gap| gap.until > from) {
            if gap.since < to {
                spoilt |= matches!(gap.cause, GapCause::Suspended | GapCause::ClockSet);
                nanos = nanos.saturating_add(gap.until.min(to).since(gap.since.max(from)).max(0));
            }
        }
        spoilt |= nanos > 0 && nanos.saturating_mul(LEAST_PART) >= to.since(from);
        spoilt.then(|| u32::try_from(nanos / NANOS_PER_SEC).unwrap_or(u32::MAX))
    }

    /// Moves all times, when the clock was set.
    pub fn shift(&mut self, nanos: i64) {
        for gap in &mut self.list {
            gap.since = gap.since.plus_nanos(nanos);
            gap.until = gap.until.plus_nanos(nanos);
        }
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Gap> {
        self.list.iter()
    }

    /// Bytes in use now.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.list.capacity() * size_of::<Gap>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs_nanos(secs, 0)
    }

    fn gap(since: i64, until: i64, cause: GapCause) -> Gap {
        Gap { since: at(since), until: at(until), cause, lost: 0 }
    }

    #[test]
    fn an_interval_around_a_blind_time_is_none_and_its_neighbours_are() {
        let mut gaps = Gaps::default();
        gaps.note(gap(100, 400, GapCause::Suspended));
        assert_eq!(gaps.blind(at(90), at(420)), Some(300));
        assert_eq!(gaps.blind(at(90), at(200)), Some(100), "a callback that was told of late");
        assert_eq!(gaps.blind(at(30), at(100)), None);
        assert_eq!(gaps.blind(at(400), at(460)), None);
    }

    #[test]
    fn a_short_loss_spoils_a_short_interval_and_leaves_a_long_one() {
        let mut gaps = Gaps::default();
        gaps.note(gap(100, 105, GapCause::PacketsLost));
        assert_eq!(gaps.blind(at(60), at(120)), Some(5));
        assert_eq!(gaps.blind(at(0), at(14_400)), None);
        // Many of them do not.
        for start in 2..200 {
            gaps.note(gap(start * 60, start * 60 + 5, GapCause::EventsLost));
        }
        assert!(gaps.blind(at(0), at(14_400)).is_some());
        // However short, sleep stops the timer itself.
        gaps.note(gap(20_000, 20_001, GapCause::Suspended));
        assert_eq!(gaps.blind(at(15_000), at(29_400)), Some(1));
    }

    #[test]
    fn any_number_of_blind_times_stays_within_the_list_and_none_is_forgotten() {
        let mut gaps = Gaps::default();
        for hour in 0..10_000 {
            gaps.note(gap(hour * 3600, hour * 3600 + 60, GapCause::Stopped));
        }
        assert_eq!(gaps.list.len(), MAX_GAPS);
        for hour in 0..10_000 {
            assert!(gaps.blind(at(hour * 3600 - 60), at(hour * 3600 + 120)).is_some(), "{hour}");
        }
        assert_eq!(gaps.blind(at(9_999 * 3600 + 60), at(9_999 * 3600 + 120)), None);
    }
}
