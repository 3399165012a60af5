//! The machine's clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use sonde_common::time::Timestamp;
use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::WindowsProgramming::QueryUnbiasedInterruptTime;

use crate::live::clock::Clocks;

const NANOS_PER_MILLI: i64 = 1_000_000;
/// The system counts in units of 100 ns.
const NANOS_PER_UNIT: i64 = 100;

/// All clocks, now. They are read one after the other; that of the time asleep goes on every 16 ms.
#[must_use]
pub fn clocks() -> Clocks {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut awake = 0;
    // SAFETY: one number is written, to a live one.
    if unsafe { QueryUnbiasedInterruptTime(&raw mut awake) } == 0 {
        awake = 0;
    }
    let awake = i64::try_from(awake).unwrap_or(i64::MAX).saturating_mul(NANOS_PER_UNIT);
    // SAFETY: no memory is passed.
    let ticks = unsafe { GetTickCount64() };
    let since_boot = i64::try_from(ticks).unwrap_or(i64::MAX).saturating_mul(NANOS_PER_MILLI);
    Clocks {
        wall: Timestamp::from_nanos(i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX)),
        awake,
        // The finer clock may be ahead of the coarser one.
        since_boot: since_boot.max(awake),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_on_and_agree() {
        let before = clocks();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let after = clocks();
        assert!(after.since_boot >= before.since_boot && after.awake > before.awake);
        assert!(after.wall > before.wall && after.since_boot >= after.awake);
        assert_eq!(after.gap_since(&before), None);
    }
}
