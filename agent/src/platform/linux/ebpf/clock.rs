//! Time since boot, as the kernel programs stamp it, as wall-clock time.

use rustix::time::{ClockId, Timespec, clock_gettime};
use sonde_common::time::Timestamp;

/// Starts of processes are known to other sources only in ticks of this many nanoseconds.
const TICK: u64 = 10_000_000;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Nanoseconds since boot, sleep included.
    pub(super) since_boot: u64,
    /// Wall-clock time of boot, as the clock is set now.
    boot: i64,
}

impl Clock {
    /// Reads both.
    pub(super) fn now() -> Self {
        let before = nanos(clock_gettime(ClockId::Boottime));
        let wall = nanos(clock_gettime(ClockId::Realtime));
        let after = nanos(clock_gettime(ClockId::Boottime));
        let middle = before.midpoint(after);
        Self { since_boot: u64::try_from(after).unwrap_or(0), boot: wall.saturating_sub(middle) }
    }

    /// The wall-clock time of a kernel record.
    pub(super) fn wall(self, since_boot: u64) -> Timestamp {
        Timestamp::from_nanos(self.boot.saturating_add(i64::try_from(since_boot).unwrap_or(i64::MAX)))
    }
}

/// When a process started, as in its key: the same from these records and from `/proc/PID/stat`.
pub(super) fn process_start(boot: Timestamp, since_boot: u64) -> Timestamp {
    boot.plus_nanos(i64::try_from(since_boot / TICK * TICK).unwrap_or(i64::MAX))
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_time_of_now_is_now() {
        let clock = Clock::now();
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let wall = i64::try_from(wall).unwrap();
        assert!((clock.wall(clock.since_boot).nanos() - wall).abs() < 1_000_000_000);
    }

    #[test]
    fn process_starts_are_rounded_down_to_ticks() {
        let boot = Timestamp::from_nanos(5);
        assert_eq!(process_start(boot, 19_999_999), Timestamp::from_nanos(10_000_005));
        assert_eq!(process_start(boot, u64::MAX), Timestamp::MAX);
    }
}
