//! How fast a sink goes: what a call holds, and how long is waited after a failure.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use sonde_common::config::SinkSettings;

/// The wait after a first failure, at most; it doubles with each further one, up to …
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// … this.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How fast it goes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most records of a call.
    pub records: usize,
    /// Most bytes of a call.
    pub bytes: usize,
    /// How long records below severity high may wait for others.
    pub flush: Duration,
    /// How long a call may take.
    pub timeout: Duration,
}

impl Pace {
    /// As the settings say.
    #[must_use]
    pub fn of(settings: &SinkSettings) -> Self {
        Self {
            records: usize::try_from(settings.batch_records.get()).unwrap_or(1),
            bytes: usize::try_from(settings.batch_bytes.get()).unwrap_or(usize::MAX),
            flush: Duration::from_secs(u64::from(settings.flush_secs.get())),
            timeout: Duration::from_secs(u64::from(settings.timeout_secs.get())),
        }
    }
}

/// Draws waits.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Default for Chance {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl Chance {
    /// A wait by chance, from none to the longest that is due after so many failures: those who failed together do not come
    /// back together.
    pub(super) fn wait(&mut self, failures: u32) -> Duration {
        let longest = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_WAIT);
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(mixed % (longest + 1))
    }
}
