//! The beacon statistics: slices of quantised intervals and sizes in, small structs out.
//!
//! Everything works on [quanta](quantise), 1024 to the octave, so that windows are exact integer comparisons and a
//! series fits in 288 bytes. No function here allocates, keeps state or looks at the clock.

use serde::{Deserialize, Serialize};

use crate::alert::{HISTOGRAM_BINS, Histogram};

/// Intervals that a series keeps, and the most that [`timing`] looks at (scorer specification 2.2).
pub const MAX_INTERVALS: usize = 64;
/// Quanta in one octave: a step of 0.068 % (scorer specification 2.2).
pub const QUANTA_PER_OCTAVE: u16 = 1024;
/// Fewest intervals, and fewest sizes, that a statistic is made of (scorer specification 2.4, 2.5).
pub const MIN_SAMPLE: usize = 3;

/// Milliseconds, or bytes, as quanta: `round(1024 * log2(max(1, value)))`, saturating (scorer specification 2.2).
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and the value is not negative"
)]
pub fn quantise(value: f64) -> u16 {
    (f64::from(QUANTA_PER_OCTAVE) * value.max(1.0).log2()).round() as u16
}

/// The milliseconds, or bytes, that quanta stand for. Zero quanta stand for anything up to one; this says one.
#[must_use]
pub fn dequantise(quanta: u16) -> f64 {
    (f64::from(quanta) / f64::from(QUANTA_PER_OCTAVE)).exp2()
}

/// A timing test. The order is that of precedence on equal evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Test {
    /// Most intervals within 1.1 %.
    W1,
    /// Most intervals within 4.4 %.
    W2,
    /// Most intervals within 19 %.
    W3,
    /// Most intervals within 52 %.
    W4,
    /// Most intervals within a factor of 2.
    W5,
    /// Most intervals within a factor of 3.
    W6,
    /// Most intervals within 1.1 % of one to six times a period.
    F1,
    /// Most intervals within 4.4 % of one to six times a period.
    F2,
    /// Most intervals within 19 % of one to four times a period.
    F3,
    /// Most intervals within 4.4 % of one of two values.
    T2,
    /// Most intervals within 19 % of one of two values.
    T3,
    /// Most intervals within 4.2 % of the one before.
    R2,
    /// Most intervals within 19 % of the one before.
    R3,
    /// Calls at random, but at one rate over hours. Not a test of the intervals kept, see the series' pace.
    Steady,
}

impl Test {
    /// All tests in order of precedence.
    pub const ALL: [Self; 14] = [
        Self::W1,
        Self::W2,
        Self::W3,
        Self::W4,
        Self::W5,
        Self::W6,
        Self::F1,
        Self::F2,
        Self::F3,
        Self::T2,
        Self::T3,
        Self::R2,
        Self::R3,
        Self::Steady,
    ];

    /// Short name, such as `w2`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::W1 => "w1",
            Self::W2 => "w2",
            Self::W3 => "w3",
            Self::W4 => "w4",
            Self::W5 => "w5",
            Self::W6 => "w6",
            Self::F1 => "f1",
            Self::F2 => "f2",
            Self::F3 => "f3",
            Self::T2 => "t2",
            Self::T3 => "t3",
            Self::R2 => "r2",
            Self::R3 => "r3",
            Self::Steady => "steady",
        }
    }

    /// What the test found, in plain words that complete "calls at …".
    #[must_use]
    pub const fn shape(self) -> &'static str {
        match self {
            Self::W1 => "one fixed interval",
            Self::W2 => "one interval with small jitter",
            Self::W3 => "one interval with moderate jitter",
            Self::W4 => "one interval with strong jitter",
            Self::W5 => "one interval that varies up to twofold",
            Self::W6 => "one interval that varies up to threefold",
            Self::F1 => "one fixed interval with callbacks missed",
            Self::F2 => "one interval with small jitter and callbacks missed",
            Self::F3 => "one interval with moderate jitter and callbacks missed",
            Self::T2 => "two intervals with small jitter",
            Self::T3 => "two intervals with moderate jitter",
            Self::R2 => "an interval that drifts slowly",
            Self::R3 => "an interval that drifts",
            Self::Steady => "a steady pace at random intervals",
        }
    }

    /// Whether the test assumes a single period, so that an interval of twice that period is a missed callback.
    const fn has_one_period(self) -> bool {
        !matches!(self, Self::T2 | Self::T3 | Self::R2 | Self::R3 | Self::Steady)
    }

    /// Whether the intervals vary by more than what delays a timer: as a sleep with jitter does.
    #[must_use]
    pub const fn is_jittered(self) -> bool {
        matches!(self, Self::W3 | Self::W4 | Self::W5 | Self::W6 | Self::F3 | Self::T3 | Self::Steady)
    }
}

/// The figures of one test (scorer specification 2.4).
struct Figures {
    test: Test,
    /// Width of its window in quanta, rounded down: the intervals are whole quanta.
    width: u16,
    /// Chance that an unrelated interval obeys it.
    p0: f64,
    /// Bans taken off for having looked in many places.
    penalty: f64,
}

const fn figures(test: Test, width: u16, p0: f64, penalty: f64) -> Figures {
    Figures { test, width, p0, penalty }
}

/// One window: 1/64, 1/16, 0.25, 0.6, 1.0 and 1.6 octaves.
const WINDOWS: [Figures; 6] = [
    figures(Test::W1, 16, 0.020, 0.6),
    figures(Test::W2, 64, 0.06, 0.5),
    figures(Test::W3, 256, 0.14, 0.3),
    figures(Test::W4, 614, 0.30, 0.2),
    figures(Test::W5, 1024, 0.42, 0.1),
    figures(Test::W6, 1638, 0.60, 0.1),
];
/// A window and its multiples, with the largest multiple. The widths are those of the first three windows.
const FOLDS: [(Figures, usize); 3] = [
    (figures(Test::F1, 16, 0.050, 0.9), 6),
    (figures(Test::F2, 64, 0.14, 0.8), 6),
    (figures(Test::F3, 256, 0.32, 0.6), 4),
];
/// Two windows. The widths are those of the second and third window.
const TWO_WINDOWS: [Figures; 2] = [figures(Test::T2, 64, 0.14, 0.8), figures(Test::T3, 256, 0.30, 0.6)];
/// Neighbouring intervals: 0.06 and 0.25 octaves apart.
const NEIGHBOURS: [Figures; 2] = [figures(Test::R2, 61, 0.045, 0.6), figures(Test::R3, 256, 0.15, 0.4)];

/// Two windows need this many intervals (scorer specification 2.4).
const TWO_WINDOWS_MIN: usize = 8;
/// Neighbours need this many intervals (scorer specification 2.4).
const NEIGHBOURS_MIN: usize = 6;
/// Size window of [`size_mode`]: 1/32 octave, 2.2 % (scorer specification 2.5).
const SIZE_WIDTH: u16 = 32;

/// Evidence, in bans (log10 of the odds), that `k` of `m` obey a pattern that each obeys by chance with probability
/// `p0`: the Chernoff bound of the binomial tail, less a constant penalty and one for the length (scorer
/// specification 2.4). Zero below half of the sample, and always finite for `0 < p0 < 1`.
#[must_use]
pub fn bans(k: usize, m: usize, p0: f64, penalty: f64) -> f64 {
    if m < MIN_SAMPLE || k > m || k.saturating_mul(2) < m {
        return 0.0;
    }
    let (matched, of) = (count_f64(k), count_f64(m));
    if matched <= p0 * of {
        return 0.0;
    }
    let fraction = matched / of;
    let rest = 1.0 - fraction;
    // The limit of x ln x at 0 is 0, which a float product does not give.
    let rest_term = if k == m { 0.0 } else { rest * (rest / (1.0 - p0)).ln() };
    let divergence = fraction * (fraction / p0).ln() + rest_term;
    (of * divergence / std::f64::consts::LN_10 - penalty - 0.5 * of.log10()).max(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of intervals are far below 2^53")]
const fn count_f64(count: usize) -> f64 {
    count as f64
}

/// The most points of `sorted` in a closed window of `width` quanta, and the index of the first of them; the first such
/// window if there are several. `(0, 0)` of nothing.
#[must_use]
pub fn best_window(sorted: &[u16], width: u16) -> (usize, usize) {
    let (mut count, mut first) = (0, 0);
    for (end, &high) in sorted.iter().enumerate() {
        // The window never shrinks: it moves on at its best size and grows whenever one point more fits.
        if sorted.get(end - count).is_some_and(|&low| high.saturating_sub(low) <= width) {
            count += 1;
            first = end + 1 - count;
        }
    }
    (count, first)
}

/// Where whole multiples of a period lie above it, in quanta: the first whole quantum from `1024 * log2(c)` on, and the
/// last one up to it. The slack of 1e-6 in the ratio (scorer specification 2.4) is less than a quantum.
const MULTIPLES: [(u32, u32); 6] =
    [(0, 0), (1024, 1024), (1624, 1623), (2048, 2048), (2378, 2377), (2648, 2647)];

/// How many points of `sorted` are 1 to `multiples` (at most 6) times a base period that lies in the closed window from
/// `low` of `width` quanta (scorer specification 2.4).
#[must_use]
pub fn fold_count(sorted: &[u16], low: u16, width: u16, multiples: usize) -> usize {
    let (low, width) = (u32::from(low), u32::from(width));
    let mut count = 0;
    let mut rest = sorted;
    for &(from, to) in MULTIPLES.iter().take(multiples) {
        let below = rest.partition_point(|&x| u32::from(x) < low + from);
        rest = rest.get(below..).unwrap_or_default();
        let inside = rest.partition_point(|&x| u32::from(x) <= low + to + width);
        rest = rest.get(inside..).unwrap_or_default();
        count += inside;
    }
    count
}

/// What the intervals of a series say about its rhythm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Evidence E in bans (log10 of the odds against chance); 0 = none.
    pub bans: f64,
    /// The test that found it; `None` if none did.
    pub test: Option<Test>,
    /// Intervals (for the drift tests: pairs of neighbours) that obey the test…
    pub matched: u32,
    /// …of so many.
    pub of: u32,
    /// Period found, in seconds; 0 if none.
    pub period_secs: f64,
}

/// The strongest test so far.
struct Best {
    bans: f64,
    found: Option<(Test, usize, usize, u16)>,
}

impl Best {
    /// Takes the evidence if it is more than that of every test before.
    fn offer(&mut self, bans: f64, test: Test, matched: usize, of: usize, period: u16) {
        if bans > self.bans {
            self.bans = bans;
            self.found = Some((test, matched, of, period));
        }
    }
}

/// Timing evidence of `intervals`: quanta of milliseconds in order of arrival (scorer specification 2.4). Of more than
/// [`MAX_INTERVALS`] the latest count.
#[must_use]
pub fn timing(intervals: &[u16]) -> Timing {
    let mut buffer = [0; MAX_INTERVALS];
    let (latest, sorted) = sort_latest(intervals, &mut buffer);
    let m = sorted.len();
    let of = u32::try_from(m).unwrap_or(u32::MAX);
    if m < MIN_SAMPLE {
        return Timing { of, ..Timing::default() };
    }
    let middle = |(count, first): (usize, usize)| {
        let index = (first + count / 2).min(m - 1);
        sorted.get(index).copied().unwrap_or_default()
    };
    let mut best = Best { bans: 0.0, found: None };

    let windows = WINDOWS.each_ref().map(|figures| best_window(sorted, figures.width));
    for (figures, window) in WINDOWS.iter().zip(windows) {
        let evidence = bans(window.0, m, figures.p0, figures.penalty);
        best.offer(evidence, figures.test, window.0, m, middle(window));
    }
    for ((figures, multiples), window) in FOLDS.iter().zip(windows) {
        let (count, first) = window;
        // The base window must hold at least three and 30 % of the intervals by itself.
        if count < MIN_SAMPLE || 10 * count < 3 * m {
            continue;
        }
        let low = sorted.get(first).copied().unwrap_or_default();
        let matched = fold_count(sorted, low, figures.width, *multiples);
        let evidence = bans(matched, m, figures.p0, figures.penalty);
        best.offer(evidence, figures.test, matched, m, middle(window));
    }
    if m >= TWO_WINDOWS_MIN {
        for (figures, window) in TWO_WINDOWS.iter().zip(windows.into_iter().skip(1)) {
            let (count, first) = window;
            // No window reaches across the one taken out: the point after it is more than a width from its first.
            let before = sorted.get(..first).unwrap_or_default();
            let after = sorted.get(first + count..).unwrap_or_default();
            let second = best_window(before, figures.width).0.max(best_window(after, figures.width).0);
            if 100 * second < 12 * m {
                continue;
            }
            let evidence = bans(count + second, m, figures.p0, figures.penalty);
            best.offer(evidence, figures.test, count + second, m, middle(window));
        }
    }
    if m >= NEIGHBOURS_MIN {
        let median = sorted.get(m / 2).copied().unwrap_or_default();
        for figures in &NEIGHBOURS {
            let pairs = latest.iter().zip(latest.iter().skip(1));
            let matched = pairs.filter(|(a, b)| a.abs_diff(**b) <= figures.width).count();
            // Halved: two windows that share an interval are not independent.
            let evidence = 0.5 * bans(matched, m - 1, figures.p0, figures.penalty);
            best.offer(evidence, figures.test, matched, m - 1, median);
        }
    }

    best.found.map_or(Timing { of, ..Timing::default() }, |(test, matched, of, period)| Timing {
        bans: best.bans,
        test: Some(test),
        matched: u32::try_from(matched).unwrap_or(u32::MAX),
        of: u32::try_from(of).unwrap_or(u32::MAX),
        period_secs: dequantise(period) / 1000.0,
    })
}

/// The latest [`MAX_INTERVALS`] values, as they are and sorted into the buffer.
fn sort_latest<'a, 'b>(values: &'a [u16], buffer: &'b mut [u16; MAX_INTERVALS]) -> (&'a [u16], &'b [u16]) {
    let latest = values.get(values.len().saturating_sub(MAX_INTERVALS)..).unwrap_or_default();
    let sorted = buffer.get_mut(..latest.len()).unwrap_or_default();
    sorted.copy_from_slice(latest);
    sorted.sort_unstable();
    (latest, sorted)
}

/// Largest fraction of the sizes (quanta of bytes) inside a window of 1/32 octave; 0 of fewer than three (scorer
/// specification 2.5, `isizec`). Of more than [`MAX_INTERVALS`] the latest count.
#[must_use]
pub fn size_mode(sizes: &[u16]) -> f64 {
    let mut buffer = [0; MAX_INTERVALS];
    let (_, sorted) = sort_latest(sizes, &mut buffer);
    if sorted.len() < MIN_SAMPLE {
        return 0.0;
    }
    count_f64(best_window(sorted, SIZE_WIDTH).0) / count_f64(sorted.len())
}

/// Upper median: the middle value, of an even number the upper of the two, so it is a value that occurred. `None` of
/// nothing. Of more than [`MAX_INTERVALS`] the latest count.
#[must_use]
pub fn upper_median(values: &[u16]) -> Option<u16> {
    let mut buffer = [0; MAX_INTERVALS];
    let (_, sorted) = sort_latest(values, &mut buffer);
    sorted.get(sorted.len() / 2).copied()
}

/// Centre and spread of intervals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// [Upper median](upper_median) of the intervals, in seconds; 0 of nothing.
    pub median_secs: f64,
    /// Upper median of the absolute deviations from that median, over it: 0 = equal intervals.
    pub jitter_mad_ratio: f64,
}

/// Centre and spread of `intervals` (quanta of milliseconds). Of more than [`MAX_INTERVALS`] the latest count.
#[must_use]
pub fn spread(intervals: &[u16]) -> Spread {
    let mut buffer = [0; MAX_INTERVALS];
    let (_, sorted) = sort_latest(intervals, &mut buffer);
    let Some(&middle) = sorted.get(sorted.len() / 2) else { return Spread::default() };
    let median = dequantise(middle);
    let mut deviations = [0.0; MAX_INTERVALS];
    let deviations = deviations.get_mut(..sorted.len()).unwrap_or_default();
    for (deviation, &interval) in deviations.iter_mut().zip(sorted) {
        *deviation = (dequantise(interval) - median).abs();
    }
    deviations.sort_unstable_by(f64::total_cmp);
    let mad = deviations.get(deviations.len() / 2).copied().unwrap_or_default();
    // Quanta stand for at least one millisecond, so the median is not 0.
    Spread { median_secs: median / 1000.0, jitter_mad_ratio: mad / median }
}

/// An interval of more periods than this is a pause, such as a machine asleep, not missed callbacks: the largest
/// multiple that the folding tests take (scorer specification 2.4).
const MAX_MISSED_MULTIPLE: f64 = 6.0;
/// How far, in periods, an interval may lie from a multiple: halfway to "between two multiples".
const MISSED_TOLERANCE: f64 = 0.25;

/// Callbacks that the period of `timing` would have brought, but that were not seen: an interval of about k periods,
/// 2 to 6, lacks k - 1. Zero where no single period was found.
#[must_use]
pub fn missed_callbacks(intervals: &[u16], timing: &Timing) -> u32 {
    let period_ms = timing.period_secs * 1000.0;
    if !timing.test.is_some_and(Test::has_one_period) || period_ms <= 0.0 {
        return 0;
    }
    let missed = |&interval: &u16| {
        let periods = dequantise(interval) / period_ms;
        let multiple = periods.round();
        let is_multiple = (periods - multiple).abs() <= MISSED_TOLERANCE;
        if !is_multiple || !(2.0..=MAX_MISSED_MULTIPLE).contains(&multiple) {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 1 to 5"
        )]
        let lacking = (multiple - 1.0) as u32;
        lacking
    };
    intervals.iter().map(missed).fold(0, u32::saturating_add)
}

/// Narrowest bin of a histogram in quanta: 24 of them are half an octave, so that equal intervals show as one bar in
/// the middle of an axis of about ± 19 %.
const MIN_BIN_QUANTA: i32 = 21;
/// Bins between the smallest and the largest interval; one is left free on either side.
const INNER_BINS: i32 = 22;

const _: () = assert!(INNER_BINS.unsigned_abs() as usize + 2 == HISTOGRAM_BINS, "two bins are margin");

/// `intervals` (quanta of milliseconds) in equal bins of a logarithmic axis that reaches one bin beyond them. The same
/// intervals always give the same axis; none give an empty axis from 0 to 0.
#[must_use]
pub fn histogram(intervals: &[u16]) -> Histogram {
    let mut counts = [0u16; HISTOGRAM_BINS];
    let (Some(&min), Some(&max)) = (intervals.iter().min(), intervals.iter().max()) else {
        return Histogram { low_secs: 0.0, high_secs: 0.0, counts };
    };
    let (min, max) = (i32::from(min), i32::from(max));
    let bin = (max - min + INNER_BINS - 1).div_euclid(INNER_BINS).max(MIN_BIN_QUANTA);
    // The middle of the intervals is the middle of a bin: a steady period does not straddle two.
    let low = min.midpoint(max) - bin * (INNER_BINS / 2 + 1) - bin / 2;
    for &interval in intervals {
        let index = usize::try_from((i32::from(interval) - low).div_euclid(bin)).unwrap_or(0);
        if let Some(count) = counts.get_mut(index.min(HISTOGRAM_BINS - 1)) {
            *count = count.saturating_add(1);
        }
    }
    let secs = |quanta: i32| (f64::from(quanta) / f64::from(QUANTA_PER_OCTAVE)).exp2() / 1000.0;
    Histogram { low_secs: secs(low), high_secs: secs(low + bin * (INNER_BINS + 2)), counts }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quanta(intervals_ms: &[u32]) -> Vec<u16> {
        intervals_ms.iter().map(|&ms| quantise(f64::from(ms))).collect()
    }

    /// A check vector of scorer specification 3: E to three digits, the test, the period to two digits.
    fn check(name: &str, intervals_ms: &[u32], bans: f64, test: Option<Test>, period_secs: f64) {
        let timing = timing(&quanta(intervals_ms));
        assert!((timing.bans - bans).abs() <= 0.0005, "{name}: E {}", timing.bans);
        assert_eq!(timing.test, test, "{name}");
        assert!((timing.period_secs - period_secs).abs() <= 0.005, "{name}: period {}", timing.period_secs);
    }

    #[test]
    fn check_vectors_of_the_specification_hold() {
        check("A", &[60000; 3], 4.258, Some(Test::W1), 60.02);
        check("B", &[60000; 8], 12.540, Some(Test::W1), 60.02);
        check("C", &[60000; 64], 107.231, Some(Test::W1), 60.02);
        check("D", &[60000; 2], 0.0, None, 0.0);
        let jitter_20 = [58211, 49877, 55120, 51904, 59333, 48620, 53048, 57402];
        check("E", &jitter_20, 3.982, Some(Test::W3), 55.11);
        let jitter_37 = [58211, 39877, 45120, 51904, 59333, 38620, 43048, 57402, 49120, 41555];
        check("F", &jitter_37, 3.168, Some(Test::W5), 49.12);
        let jitter_50 = [58211, 31877, 45120, 51904, 59333, 30620, 33048, 57402, 49120, 41555, 36001, 53777];
        check("G", &jitter_50, 3.881, Some(Test::W5), 49.12);
        let missed = [60000, 120000, 60100, 59900, 180200, 60050, 59950, 120100, 60010, 60020];
        check("H", &missed, 11.610, Some(Test::F1), 60.02);
        let alternating = [60000, 360000, 60100, 359800, 60050, 360200, 59980, 360100, 60020, 359900];
        check("I", &alternating, 7.239, Some(Test::T2), 60.02);
        let two = [30000, 30050, 240000, 30020, 29990, 240100, 240050, 30010, 30040, 239900, 30030, 240020];
        check("J", &two, 8.907, Some(Test::T2), 30.03);
        let drift = [60000, 63000, 66150, 69458, 72930, 76577, 80406, 84426, 88647, 93080, 97734, 102620];
        check("K", &drift, 4.071, Some(Test::R3), 80.40);
        let poisson = [12000, 301000, 88000, 640000, 150000, 5000, 421000, 220000, 39000, 95000];
        check("L", &poisson, 0.0, None, 0.0);
        let human = [1500, 2200, 90000, 1800, 3100, 600000, 1200, 45000, 2500, 1900000];
        check("M", &human, 0.0, None, 0.0);
        let outlier = [60000, 60010, 59990, 43200000, 60005, 59995, 60002, 60001];
        check("N", &outlier, 9.541, Some(Test::W1), 60.02);
    }

    #[test]
    fn bans_of_the_specification_hold() {
        let values = [
            (8, 8, 0.14, 0.3, 6.0794),
            (6, 8, 0.14, 0.3, 2.5489),
            (4, 8, 0.14, 0.3, 0.5177),
            (3, 8, 0.14, 0.3, 0.0),
            (10, 10, 0.42, 0.1, 3.1675),
            (64, 64, 0.02, 0.6, 107.2310),
        ];
        for (k, m, p0, penalty, expected) in values {
            assert!((bans(k, m, p0, penalty) - expected).abs() <= 0.00005, "{k} of {m}");
        }
        assert_eq!(bans(9, 8, 0.14, 0.3), 0.0, "more than all is nonsense, not evidence");
    }

    #[test]
    fn size_windows_and_folding_of_the_specification_hold() {
        assert_eq!(size_mode(&quanta(&[500, 500, 501, 499, 2000])), 0.8);
        assert_eq!(size_mode(&quanta(&[100, 200, 400, 800])), 0.25);
        assert_eq!(size_mode(&quanta(&[512, 520, 530, 512])), 0.75);
        assert_eq!(size_mode(&quanta(&[512, 512])), 0.0);
        let mut octaves = [16.0f64, 17.02, 17.60, 18.03, 16.5, 15.9].map(|octaves| quantise(octaves.exp2()));
        octaves.sort_unstable();
        assert_eq!(fold_count(&octaves, 16 * 1024, 64, 6), 4);
    }

    #[test]
    fn quantised_values_come_back_within_half_a_step() {
        for value in [1.0, 2.0, 999.0, 60_000.0, 86_400_000.0, 1e12] {
            let error = dequantise(quantise(value)) / value;
            assert!((error.log2() * 1024.0).abs() <= 0.5 + 1e-6, "{value}");
        }
        assert_eq!([quantise(0.0), quantise(-5.0), quantise(f64::NAN), quantise(1.0)], [0; 4]);
        assert_eq!([quantise(f64::INFINITY), quantise(f64::MAX)], [u16::MAX; 2]);
    }

    #[test]
    fn names_and_words_tell_the_tests_apart() {
        let unique = |words: [&str; 14]| words.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(unique(Test::ALL.map(Test::name)), 14);
        assert_eq!(unique(Test::ALL.map(Test::shape)), 14);
        for test in Test::ALL {
            assert_eq!(serde_json::to_string(&test).unwrap(), format!("\"{}\"", test.name()));
            assert_eq!(format!("{test:?}").to_lowercase(), test.name());
        }
    }

    #[test]
    fn only_the_latest_intervals_count() {
        let mut intervals = vec![quantise(5.0), quantise(7e7)];
        intervals.extend(quanta(&[60000; 64]));
        assert_eq!(timing(&intervals), timing(&quanta(&[60000; 64])));
    }

    /// Folding by the definition of the specification, one point at a time.
    fn fold_by_definition(distance: f64, width: f64, multiples: f64) -> bool {
        if distance <= width + 1e-9 {
            return true;
        }
        let ratio = distance.exp2();
        let multiple = (ratio / width.exp2() - 1e-6).ceil().max(2.0);
        multiple <= multiples && multiple <= ratio + 1e-6
    }

    #[test]
    fn integer_folding_is_the_definition_at_every_distance() {
        for (figures, multiples) in &FOLDS {
            for distance in 0..=u16::MAX {
                let expected = fold_by_definition(
                    f64::from(distance) / 1024.0,
                    f64::from(figures.width) / 1024.0,
                    count_f64(*multiples),
                );
                let counted = fold_count(&[distance], 0, figures.width, *multiples) == 1;
                assert_eq!(counted, expected, "{:?} at {distance}", figures.test);
            }
        }
    }

    /// The timing test again, written from the specification in floats and without a shortcut.
    fn timing_by_definition(quanta: &[u16]) -> (f64, Option<Test>, usize, f64) {
        const EPSILON: f64 = 1e-9;
        fn best(s: &[f64], width: f64) -> (usize, usize) {
            let mut found = (0, 0);
            for i in 0..s.len() {
                let count = s[i..].iter().take_while(|&&x| x - s[i] <= width + EPSILON).count();
                if count > found.0 {
                    found = (count, i);
                }
            }
            found
        }
        let x: Vec<f64> = quanta.iter().map(|&q| f64::from(q) / 1024.0).collect();
        let mut s = x.clone();
        s.sort_by(f64::total_cmp);
        let m = x.len();
        let mut found = (0.0, None, 0, 0.0);
        if m < 3 {
            return found;
        }
        let mut offer = |bans: f64, test, k, period: f64| {
            if bans > found.0 {
                found = (bans, Some(test), k, period.exp2() / 1000.0);
            }
        };
        let widths = [1.0 / 64.0, 1.0 / 16.0, 0.25, 0.6, 1.0, 1.6];
        let w = [(0.02, 0.6), (0.06, 0.5), (0.14, 0.3), (0.3, 0.2), (0.42, 0.1), (0.6, 0.1)];
        for ((&width, (p0, penalty)), test) in widths.iter().zip(w).zip(Test::ALL) {
            let (k, i) = best(&s, width);
            offer(bans(k, m, p0, penalty), test, k, s[(m - 1).min(i + k / 2)]);
        }
        let f = [(0.05, 0.9, 6.0), (0.14, 0.8, 6.0), (0.32, 0.6, 4.0)];
        for ((&width, (p0, penalty, multiples)), test) in widths.iter().zip(f).zip(&Test::ALL[6..]) {
            let (k, i) = best(&s, width);
            if count_f64(k) >= (0.3 * count_f64(m)).max(3.0) {
                let folds = |&&x: &&f64| x >= s[i] && fold_by_definition(x - s[i], width, multiples);
                let matched = s.iter().filter(folds).count();
                offer(bans(matched, m, p0, penalty), *test, matched, s[(m - 1).min(i + k / 2)]);
            }
        }
        for ((&width, (p0, penalty)), test) in
            widths[1..].iter().zip([(0.14, 0.8), (0.3, 0.6)]).zip(&Test::ALL[9..])
        {
            let (k, i) = best(&s, width);
            let rest: Vec<f64> = [&s[..i], &s[i + k..]].concat();
            let second = best(&rest, width).0;
            if m >= 8 && count_f64(second) >= 0.12 * count_f64(m) {
                offer(bans(k + second, m, p0, penalty), *test, k + second, s[(m - 1).min(i + k / 2)]);
            }
        }
        for ((width, p0, penalty), test) in
            [(0.06, 0.045, 0.6), (0.25, 0.15, 0.4)].iter().zip(&Test::ALL[11..])
        {
            let k = x.windows(2).filter(|pair| (pair[1] - pair[0]).abs() <= *width).count();
            if m >= 6 {
                offer(0.5 * bans(k, m - 1, *p0, *penalty), *test, k, s[m / 2]);
            }
        }
        found
    }

    /// Intervals of every kind that the tests tell apart, and of none.
    fn any_intervals() -> impl Strategy<Value = Vec<u16>> {
        let multiple = prop::sample::select(vec![0u16, 0, 0, 1024, 1623, 2048, 2378, 2647, 3000]);
        let rhythmic = (2000u16..40_000, 0u16..1200).prop_flat_map(move |(base, jitter)| {
            prop::collection::vec((0..=jitter, multiple.clone()), 0..=MAX_INTERVALS)
                .prop_map(move |parts| parts.iter().map(|(j, c)| base + j + c).collect())
        });
        let walk = prop::collection::vec(-300i32..300, 0..=MAX_INTERVALS).prop_map(|steps| {
            let mut at = 16_000i32;
            let mut step = |step: &i32| {
                at = (at + step).clamp(0, 65_535);
                u16::try_from(at).unwrap()
            };
            steps.iter().map(&mut step).collect()
        });
        prop_oneof![3 => rhythmic, 1 => walk, 1 => prop::collection::vec(any::<u16>(), 0..=MAX_INTERVALS)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn timing_equals_the_straightforward_implementation(intervals in any_intervals()) {
            let timing = timing(&intervals);
            let (bans, test, matched, period_secs) = timing_by_definition(&intervals);
            prop_assert!((timing.bans - bans).abs() <= 1e-9, "{} {}", timing.bans, bans);
            prop_assert_eq!(timing.test, test);
            prop_assert_eq!(timing.matched as usize, matched);
            prop_assert!((timing.period_secs - period_secs).abs() <= 1e-9 * period_secs.max(1.0));
        }

        #[test]
        fn any_input_gives_finite_figures(values in prop::collection::vec(any::<u16>(), 0..200)) {
            let timing = timing(&values);
            prop_assert!(timing.bans.is_finite() && timing.bans >= 0.0 && timing.period_secs.is_finite());
            prop_assert!(timing.matched <= timing.of && timing.of as usize <= MAX_INTERVALS);
            prop_assert_eq!(timing.test.is_some(), timing.bans > 0.0);
            prop_assert!((0.0..=1.0).contains(&size_mode(&values)));
            let spread = spread(&values);
            prop_assert!(spread.median_secs.is_finite() && spread.jitter_mad_ratio.is_finite());
            prop_assert!(missed_callbacks(&values, &timing) as usize <= 5 * values.len());
            let histogram = histogram(&values);
            prop_assert_eq!(histogram.counts.iter().map(|&count| usize::from(count)).sum::<usize>(), values.len());
            prop_assert!(histogram.high_secs > histogram.low_secs || values.is_empty());
            prop_assert!(histogram.high_secs.is_finite());
            // The helpers take unsorted input without harm, too.
            prop_assert!(best_window(&values, 64).0 <= values.len());
            prop_assert!(fold_count(&values, values.first().copied().unwrap_or(0), 64, 9) <= values.len());
        }
    }

    #[test]
    fn spread_is_the_mad_over_the_median() {
        // Median 60 s, deviations 0 0 6 6 12: MAD 6 s.
        let spread = spread(&quanta(&[60000, 66000, 54000, 60000, 72000]));
        assert!((spread.median_secs - 60.0).abs() < 0.05);
        assert!((spread.jitter_mad_ratio - 0.1).abs() < 0.001, "{}", spread.jitter_mad_ratio);
        assert_eq!(super::spread(&[]), Spread::default());
        assert_eq!(upper_median(&[4, 1, 3, 2]), Some(3));
        assert_eq!(upper_median(&[]), None);
    }

    #[test]
    fn missed_callbacks_are_counted_in_gaps_but_not_in_pauses() {
        let gaps = quanta(&[60000, 120000, 60100, 59900, 180200, 60050, 59950, 120100, 60010, 60020]);
        assert_eq!(missed_callbacks(&gaps, &timing(&gaps)), 1 + 2 + 1);
        let night = quanta(&[60000, 60010, 59990, 43200000, 60005, 59995, 60002, 60001]);
        assert_eq!(missed_callbacks(&night, &timing(&night)), 0);
        let alternating =
            quanta(&[60000, 360000, 60100, 359800, 60050, 360200, 59980, 360100, 60020, 359900]);
        assert_eq!(missed_callbacks(&alternating, &timing(&alternating)), 0, "two sleeps by design");
        assert_eq!(missed_callbacks(&gaps, &Timing::default()), 0);
    }

    #[test]
    fn equal_intervals_are_one_bar_in_the_middle_of_a_narrow_axis() {
        let histogram = histogram(&quanta(&[60000; 20]));
        assert_eq!(histogram.counts.iter().filter(|&&count| count > 0).count(), 1);
        assert_eq!(histogram.counts[12], 20);
        assert!(histogram.low_secs > 45.0 && histogram.high_secs < 75.0, "{histogram:?}");
    }

    #[test]
    fn histogram_reaches_from_the_smallest_to_the_largest_interval() {
        let histogram = histogram(&quanta(&[30000, 30050, 240000, 30020, 240100]));
        assert!(histogram.low_secs < 30.0 && histogram.high_secs > 240.0);
        assert!(histogram.low_secs > 20.0 && histogram.high_secs < 360.0, "{histogram:?}");
        let bars: Vec<u16> = histogram.counts.into_iter().filter(|&count| count > 0).collect();
        assert_eq!(bars, [3, 2]);
    }
}
