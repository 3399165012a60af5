//! Whether a series keeps its pace hour by hour: the evidence for what calls at random, but steadily.
//!
//! A memoryless sleep has no rhythm, and decoy calls between the callbacks hide one. Both still come at one rate, day and
//! night, while people work in bursts. The calls are counted in blocks of at least eight calls and half an hour, and the
//! blocks' rates are compared: their spread is the index of dispersion, 1 where chance alone varies them. Everything is
//! kept in running sums.

use serde::{Deserialize, Serialize};

use crate::time::{NANOS_PER_SEC, Timestamp};

/// Least calls of a block: below, chance alone varies the rates as much as people do.
const BLOCK_CALLS: u32 = 8;
/// Least length of a block, in nanoseconds: half an hour. A busy quarter of an hour is steady, too.
const BLOCK_NANOS: i64 = 1_800 * NANOS_PER_SEC;
/// A silence of more than so many usual intervals, and half an hour, is a pause: a machine asleep, working hours. By chance
/// it happens once in ten million intervals.
const PAUSE_INTERVALS: f64 = 16.0;
/// Bans that each pause takes away: what people do makes one after the other.
const PAUSE_BANS: f64 = 0.5;
/// Variance of the logarithm of the rates that ordinary traffic has: a factor of e up or down.
const ORDINARY_VARIANCE: f64 = 1.0;
/// Fewest blocks that a statement is made of.
const MIN_BLOCKS: u16 = 4;
/// Bans taken off for having looked.
const PENALTY: f64 = 0.5;
/// The most that steadiness counts, in bans: less than a rhythm, as a busy service is steady as well.
const MAX_BANS: f64 = 6.0;

/// Running sums over blocks of calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// Start of the open block…
    since: Timestamp,
    /// …and its calls.
    open: u32,
    /// Calls of all closed blocks.
    calls: u32,
    /// Mean of the logarithms of the blocks' rates (calls a second), weighted with their calls…
    mean: f32,
    /// …and the weighted sum of squares of what they differ from it.
    squares: f32,
    blocks: u16,
    pauses: u16,
}

/// What the pace says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Steadiness {
    /// Evidence in bans.
    pub(super) bans: f64,
    /// Blocks that it is made of.
    pub(super) blocks: u32,
    /// Mean interval in seconds.
    pub(super) interval_secs: f64,
}

impl Pace {
    /// From the first call on.
    pub(super) const fn new(first: Timestamp) -> Self {
        Self { since: first, open: 0, calls: 0, mean: 0.0, squares: 0.0, blocks: 0, pauses: 0 }
    }

    /// Takes in a call at `now`, `interval` nanoseconds after the one before; `blind` if that is not known to be silence.
    pub(super) fn call(&mut self, now: Timestamp, interval: i64, blind: bool) {
        if blind {
            self.begin(now);
            return;
        }
        let usual = if self.blocks > 0 { self.interval_secs() } else { f64::INFINITY };
        if interval > BLOCK_NANOS && secs(interval) > PAUSE_INTERVALS * usual {
            self.pauses = self.pauses.saturating_add(1);
            self.begin(now);
            return;
        }
        self.open = self.open.saturating_add(1);
        let length = now.since(self.since);
        if self.open >= BLOCK_CALLS && length >= BLOCK_NANOS {
            self.close(secs(length));
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Timestamp) {
        self.since = now;
        self.open = 0;
    }

    /// West's weighted mean and sum of squares, which lose no digits however many blocks there are.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a rate")]
    fn close(&mut self, length_secs: f64) {
        let weight = f64::from(self.open);
        let rate = (weight / length_secs).ln();
        self.calls = self.calls.saturating_add(self.open);
        let (before, mean) = (rate - f64::from(self.mean), f64::from(self.mean));
        let moved = mean + before * weight / f64::from(self.calls);
        self.mean = moved as f32;
        self.squares = (f64::from(self.squares) + weight * before * (rate - moved)) as f32;
        self.blocks = self.blocks.saturating_add(1);
    }

    fn interval_secs(&self) -> f64 {
        (-f64::from(self.mean)).exp()
    }

    /// The likelihood of blocks that only chance varies against that of ordinary ones, whose rates vary by a factor of e
    /// beside: with n blocks of c calls, r = 1 + c, and X the weighted sum of squares, ((n - 1) ln r - X (1 - 1/r)) / 2.
    pub(super) fn steadiness(&self) -> Steadiness {
        let blocks = f64::from(self.blocks);
        if self.blocks < MIN_BLOCKS {
            return Steadiness::default();
        }
        let ratio = 1.0 + ORDINARY_VARIANCE * f64::from(self.calls) / blocks;
        let chi = f64::from(self.squares).max(0.0);
        let nats = 0.5 * ((blocks - 1.0) * ratio.ln() - chi * (1.0 - 1.0 / ratio));
        let less = PENALTY + 0.5 * blocks.log10() + PAUSE_BANS * f64::from(self.pauses);
        Steadiness {
            bans: (nats / std::f64::consts::LN_10 - less).clamp(0.0, MAX_BANS),
            blocks: self.blocks.into(),
            interval_secs: self.interval_secs(),
        }
    }

    /// Moves all its times, when the clock was set.
    pub(super) fn shift(&mut self, nanos: i64) {
        self.since = self.since.plus_nanos(nanos);
    }

    /// Whether it is one that may have been saved.
    pub(super) fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.squares.is_finite()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time in seconds")]
fn secs(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A uniform draw from (0, 1], the same for the same number (SplitMix64).
    fn draw(state: &mut u64) -> f64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX) * (1.0 - 1e-9) + 1e-9
    }

    /// The evidence after `hours` of intervals that `next` draws, in seconds.
    fn after(hours: f64, mut next: impl FnMut(&mut u64, f64) -> f64) -> Steadiness {
        let mut state = 7;
        let mut pace = Pace::new(Timestamp::from_nanos(0));
        let mut now = 0.0;
        while now < hours * 3600.0 {
            let interval = next(&mut state, now);
            now += interval;
            #[expect(clippy::cast_possible_truncation, reason = "a few days")]
            let nanos = |secs: f64| (secs * 1e9) as i64;
            pace.call(Timestamp::from_nanos(nanos(now)), nanos(interval), false);
        }
        pace.steadiness()
    }

    fn memoryless(mean: f64) -> impl FnMut(&mut u64, f64) -> f64 {
        move |state, _| -mean * draw(state).ln()
    }

    #[test]
    fn memoryless_sleep_is_found_within_hours() {
        assert!(after(5.0, memoryless(30.0)).bans > 3.0);
        assert!(after(8.0, memoryless(60.0)).bans > 3.0);
        assert!(after(36.0, memoryless(300.0)).bans > 3.0);
        let found = after(24.0, memoryless(60.0));
        assert!((55.0..65.0).contains(&found.interval_secs) && found.bans <= MAX_BANS, "{found:?}");
    }

    #[test]
    fn sleep_with_ninety_percent_jitter_is_found() {
        let found = after(12.0, |state, _| 300.0 * (1.0 - 0.9 * draw(state)));
        assert!(found.bans > 3.0, "{found:?}");
    }

    #[test]
    fn bursts_and_days_of_work_are_not_steady() {
        // A person: a few clicks seconds apart, then a break of minutes to an hour.
        let clicks = after(48.0, |state, _| {
            if draw(state) < 0.8 { 2.0 + 10.0 * draw(state) } else { 60.0 + 3600.0 * draw(state).powi(2) }
        });
        assert_eq!(clicks.bans, 0.0, "{clicks:?}");
        // A rate that follows the day, at random within it.
        let day = after(72.0, |state, now| {
            let rate = 1.05 - (now / 86_400.0 * std::f64::consts::TAU).cos();
            -120.0 * draw(state).ln() / rate
        });
        assert_eq!(day.bans, 0.0, "{day:?}");
    }

    #[test]
    fn nights_of_a_machine_asleep_are_pauses_and_not_part_of_the_rate() {
        let found = after(96.0, |state, now| {
            let interval = -60.0 * draw(state).ln();
            if (now + interval) % 86_400.0 < 10.0 * 3600.0 { interval } else { 14.0 * 3600.0 }
        });
        assert!(found.bans > 3.0, "{found:?}");
    }

    #[test]
    fn an_interval_in_which_the_sensor_was_blind_begins_a_new_block() {
        let mut pace = Pace::new(Timestamp::from_nanos(0));
        pace.call(Timestamp::from_nanos(10 * BLOCK_NANOS), 10 * BLOCK_NANOS, true);
        assert_eq!((pace.open, pace.pauses, pace.since), (0, 0, Timestamp::from_nanos(10 * BLOCK_NANOS)));
    }
}
