//! The machine's clocks, read together, and what they tell of the time between two readings: that the machine slept, that
//! its clock was set, that the sensor was not given the processor.

use sonde_common::live::{Gap, GapCause};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

/// A clock that moved by so much between two readings was set; less is the slewing of time synchronisation.
const STEP: i64 = NANOS_PER_SEC;
/// Sleep shorter than this loses nothing that matters.
const SLEEP: i64 = NANOS_PER_SEC;
/// A sensor that was away so long may have missed what only the moment tells.
pub const STALL: i64 = 2 * NANOS_PER_SEC;

/// The clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Wall clock.
    pub wall: Timestamp,
    /// Nanoseconds that the machine was awake since it started.
    pub awake: i64,
    /// Nanoseconds since it started, asleep or not.
    pub since_boot: i64,
}

impl Clocks {
    /// The wall clock's time of the start of the machine.
    #[must_use]
    pub fn boot(&self) -> Timestamp {
        Timestamp::from_nanos(self.wall.nanos().saturating_sub(self.since_boot))
    }

    /// Nanoseconds by which the wall clock was set between two readings.
    #[must_use]
    pub const fn stepped_since(&self, before: &Self) -> i64 {
        let passed = self.since_boot.saturating_sub(before.since_boot);
        self.wall.nanos().saturating_sub(before.wall.nanos()).saturating_sub(passed)
    }

    /// In what way the sensor was blind between two readings.
    #[must_use]
    pub fn gap_since(&self, before: &Self) -> Option<Gap> {
        let passed = self.since_boot.saturating_sub(before.since_boot);
        let awake = self.awake.saturating_sub(before.awake);
        let cause = if self.stepped_since(before).abs() > STEP {
            GapCause::ClockSet
        } else if passed.saturating_sub(awake) > SLEEP {
            GapCause::Suspended
        } else if awake > STALL {
            GapCause::Stalled
        } else {
            return None;
        };
        // A clock that was set: from what it said before to what it says now, at the same moment.
        let since = match cause {
            GapCause::ClockSet => self.wall.plus_nanos(-self.stepped_since(before)),
            _ => before.wall,
        };
        Some(Gap { since, until: self.wall, cause, lost: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = NANOS_PER_SEC;

    fn clocks(wall: i64, awake: i64, since_boot: i64) -> Clocks {
        Clocks {
            wall: Timestamp::from_nanos(1_700_000_000 * SECOND + wall * SECOND / 1000),
            awake: awake * SECOND / 1000,
            since_boot: since_boot * SECOND / 1000,
        }
    }

    #[test]
    fn sleep_steps_and_stalls_are_told_apart() {
        let before = clocks(0, 0, 0);
        let cause = |wall, awake, boot| clocks(wall, awake, boot).gap_since(&before).map(|gap| gap.cause);
        assert_eq!(cause(125, 125, 125), None);
        assert_eq!(cause(900, 125, 125), None, "time synchronisation slews");
        assert_eq!(cause(3_600_000, 200, 3_600_000), Some(GapCause::Suspended));
        assert_eq!(cause(3_600_125, 125, 125), Some(GapCause::ClockSet));
        assert_eq!(cause(-60_000, 125, 125), Some(GapCause::ClockSet));
        assert_eq!(cause(5_000, 5_000, 5_000), Some(GapCause::Stalled));
        assert_eq!(clocks(500, 0, 200).boot(), clocks(300, 0, 0).wall);
    }
}
