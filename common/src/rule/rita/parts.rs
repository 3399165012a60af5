//! The four parts of RITA's score, in thousandths.

use std::collections::BTreeMap;

use super::BINS;
use super::spread::{Runs, spread};

/// Intervals that a timestamp score needs.
const MIN_INTERVALS: u64 = 3;
/// Bins in use from which the heights of the bins count.
const MIN_BINS_FOR_HEIGHTS: usize = 11;
/// Bins in use from which a duration counts.
const MIN_BINS_FOR_DURATION: usize = 6;
/// Longest run of bins in use that a duration needs to be complete.
const COMPLETE_RUN: usize = 12;

/// A share as thousandths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the thousandths there are"
)]
pub(super) fn thousandths(share: f64) -> u32 {
    (share * 1_000.0).round().clamp(0.0, 1_000.0) as u32
}

/// How even the intervals between different seconds are; 0 with fewer than [`MIN_INTERVALS`].
pub(super) fn timestamp_score(times: &[u32]) -> u32 {
    let mut runs: BTreeMap<u64, u64> = BTreeMap::new();
    for (earlier, later) in times.iter().zip(times.iter().skip(1)) {
        *runs.entry(u64::from(later - earlier)).or_default() += 1;
    }
    let runs = Runs::new(runs);
    if runs.len() < MIN_INTERVALS { 0 } else { spread(&runs, 1_000) }
}

/// How even the sizes are; 0 where none is known.
pub(super) fn size_score(sizes: &BTreeMap<u64, u64>) -> u32 {
    let runs = Runs::new(sizes.iter().map(|(&size, &count)| (size, count)));
    if runs.len() == 0 { 0 } else { spread(&runs, 0) }
}

/// How even the bins are: by their coefficient of variation, or by how many share a height or two.
pub(super) fn histogram_score(bins: &[u32; BINS]) -> u32 {
    by_variation(bins).max(by_heights(bins))
}

pub(super) fn by_variation(bins: &[u32; BINS]) -> u32 {
    /// [`BINS`] as a float.
    const COUNT: f64 = 24.0;
    let mean = bins.iter().map(|&bin| f64::from(bin)).sum::<f64>() / COUNT;
    if mean <= 0.0 {
        return 0;
    }
    let variance = bins.iter().map(|&bin| (f64::from(bin) - mean).powi(2)).sum::<f64>() / COUNT;
    thousandths(1.0 - variance.sqrt() / mean)
}

pub(super) fn by_heights(bins: &[u32; BINS]) -> u32 {
    let used = used(bins);
    let tallest = bins.iter().copied().max().unwrap_or_default();
    if used < MIN_BINS_FOR_HEIGHTS {
        return 0;
    }
    let step = tallest.div_ceil(20).max(1);
    let mut groups: BTreeMap<u32, u32> = BTreeMap::new();
    for &bin in bins.iter().filter(|&&bin| bin > 0) {
        *groups.entry(bin / step).or_default() += 1;
    }
    let mut sizes: Vec<u32> = groups.into_values().collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let two: u32 = sizes.iter().take(2).sum();
    let of = u32::try_from(used - 1).unwrap_or(u32::MAX);
    thousandths(f64::from(two) / f64::from(of))
}

/// How much of the window lies between first and last, or how long they come hour after hour.
pub(super) fn duration_score(bins: &[u32; BINS], times: &[u32]) -> u32 {
    if used(bins) < MIN_BINS_FOR_DURATION {
        return 0;
    }
    let dwell = match (times.first(), times.last()) {
        (Some(&first), Some(&last)) => f64::from(last - first),
        _ => 0.0,
    };
    /// The window as a float.
    const WINDOW: f64 = 86_400.0;
    let run = u32::try_from(longest_run(bins).min(COMPLETE_RUN)).unwrap_or(0);
    /// The complete run as a float.
    const RUN: f64 = 12.0;
    thousandths(dwell / WINDOW).max(thousandths(f64::from(run) / RUN))
}

fn used(bins: &[u32; BINS]) -> usize {
    bins.iter().filter(|&&bin| bin > 0).count()
}

/// The longest run of bins in use, the last being next to the first.
fn longest_run(bins: &[u32; BINS]) -> usize {
    let (mut longest, mut run) = (0, 0);
    for &bin in bins.iter().chain(bins) {
        run = if bin > 0 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest.min(BINS)
}
