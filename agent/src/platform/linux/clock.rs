//! The machine's clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use crate::live::clock::Clocks;

/// All clocks, now. They are read one after the other, microseconds apart.
#[must_use]
pub fn clocks() -> Clocks {
    Clocks {
        wall: Timestamp::from_nanos(nanos(clock_gettime(ClockId::Realtime))),
        awake: nanos(clock_gettime(ClockId::Monotonic)),
        since_boot: nanos(clock_gettime(ClockId::Boottime)),
    }
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(NANOS_PER_SEC).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_on_and_agree() {
        let before = clocks();
        let after = clocks();
        assert!(after.since_boot >= before.since_boot && after.awake >= before.awake);
        assert!(after.since_boot >= after.awake);
        assert_eq!(after.gap_since(&before), None);
    }
}
