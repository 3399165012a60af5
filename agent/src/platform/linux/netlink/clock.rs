//! The machine's clocks as they are now.

use rustix::time::{ClockId, clock_gettime};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

fn nanos(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(NANOS_PER_SEC).saturating_add(time.tv_nsec)
}

/// Wall-clock time.
pub(super) fn realtime() -> Timestamp {
    Timestamp::from_nanos(nanos(ClockId::Realtime))
}

/// Wall-clock time of a moment that the kernel gave in monotonic nanoseconds.
pub(super) fn of_monotonic(moment: u64) -> Timestamp {
    let ago = nanos(ClockId::Monotonic).saturating_sub(i64::try_from(moment).unwrap_or(i64::MAX));
    realtime().plus_nanos(ago.max(0).saturating_neg())
}

/// Processor time that this thread has used, in nanoseconds.
pub(super) fn thread_cpu() -> i64 {
    nanos(ClockId::ThreadCPUTime)
}
