//! Windows' times: hundreds of nanoseconds since 1601 (`FILETIME`), and counts of the performance counter.

use crate::time::{NANOS_PER_SEC, Timestamp};

/// Hundreds of nanoseconds from 1601 to 1970 (Microsoft, "Converting a time_t value to a `FILETIME`").
const TO_UNIX: i64 = 116_444_736_000_000_000;

/// A `FILETIME` as a moment; saturates. 0, which stands for "never", is [`Timestamp::ZERO`].
#[must_use]
pub fn from_filetime(ticks: u64) -> Timestamp {
    if ticks == 0 {
        return Timestamp::ZERO;
    }
    let ticks = i64::try_from(ticks).unwrap_or(i64::MAX).saturating_sub(TO_UNIX);
    Timestamp::from_nanos(ticks.saturating_mul(100))
}

/// Both clocks of an event session, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterClock {
    /// The performance counter.
    pub counter: i64,
    /// The wall clock at that count.
    pub wall: Timestamp,
    /// Counts in a second.
    pub frequency: i64,
}

impl CounterClock {
    /// The wall clock's time of a count; of the reading itself if the frequency is none.
    #[must_use]
    pub fn wall_of(&self, counter: i64) -> Timestamp {
        if self.frequency <= 0 {
            return self.wall;
        }
        let counts = i128::from(counter) - i128::from(self.counter);
        let nanos = counts * i128::from(NANOS_PER_SEC) / i128::from(self.frequency);
        let limit = if nanos < 0 { i64::MIN } else { i64::MAX };
        self.wall.plus_nanos(i64::try_from(nanos).unwrap_or(limit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_filetime_is_a_moment() {
        // 2020-08-07T14:32:22.751Z.
        assert_eq!(from_filetime(132_412_843_427_510_000).to_string(), "2020-08-07T14:32:22.751000000Z");
        assert_eq!(from_filetime(116_444_736_000_000_000), Timestamp::ZERO);
        assert_eq!(from_filetime(0), Timestamp::ZERO);
        assert!(from_filetime(u64::MAX) > Timestamp::ZERO);
    }

    #[test]
    fn a_count_is_a_moment_before_or_after_the_reading() {
        let wall = Timestamp::from_secs_nanos(1_700_000_000, 0);
        let clock = CounterClock { counter: 50_000_000, wall, frequency: 10_000_000 };
        assert_eq!(clock.wall_of(65_000_000).since(wall), 1_500_000_000);
        assert_eq!(clock.wall_of(40_000_000).since(wall), -NANOS_PER_SEC);
        assert_eq!(CounterClock { frequency: 0, ..clock }.wall_of(7), wall);
    }

    proptest! {
        #[test]
        fn no_clock_overflows(counter: i64, at: i64, wall: i64, frequency: i64, ticks: u64) {
            let _ = CounterClock { counter, wall: Timestamp::from_nanos(wall), frequency }.wall_of(at);
            let _ = from_filetime(ticks);
        }
    }
}
