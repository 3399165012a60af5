//! How even numbers are, by quartiles and medians: the statistic behind RITA's timestamp and data-size scores.

use super::parts::thousandths;

/// Spread of the quartiles below which their skew is not looked at.
const MIN_QUARTILE_SPREAD: f64 = 10.0;

/// Numbers in ascending order, each with how often it occurs.
#[derive(Debug)]
pub(super) struct Runs {
    runs: Vec<(f64, u64)>,
    len: u64,
}

impl Runs {
    /// From numbers in ascending order, each told once.
    #[expect(
        clippy::cast_precision_loss,
        reason = "sizes beyond 2^53 bytes are hostile, and rounding does them no harm"
    )]
    pub(super) fn new(runs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let runs: Vec<_> = runs.into_iter().map(|(number, count)| (number as f64, count)).collect();
        Self { len: total(&runs), runs }
    }

    /// How many numbers there are.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// The median of `len` numbers from number `start` on; 0 without any.
    fn median(&self, start: u64, len: u64) -> f64 {
        if len == 0 {
            return 0.0;
        }
        let middle = start + len / 2;
        let upper = self.at(middle);
        if len % 2 == 1 { upper } else { f64::midpoint(self.at(middle - 1), upper) }
    }

    fn at(&self, mut place: u64) -> f64 {
        for &(number, count) in &self.runs {
            if place < count {
                return number;
            }
            place -= count;
        }
        0.0
    }

    /// The distances from `center`.
    fn distances(&self, center: f64) -> Self {
        let mut runs: Vec<_> =
            self.runs.iter().map(|&(number, count)| ((number - center).abs(), count)).collect();
        runs.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        Self { runs, len: self.len }
    }
}

fn total(runs: &[(f64, u64)]) -> u64 {
    runs.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// ((1 - |skew|) + evenness)/2 in thousandths, each term rounded to them before.
///
/// skew is Bowley's (Q1 + Q3 - 2·Q2)/(Q3 - Q1), or 0 where the quartiles are closer than 10 or the median is one of them;
/// evenness is (median - MAD)/median, at least 0, and `when_tiny` where the median is below 1. Quartiles are the medians of
/// the halves, without the middle number.
pub(super) fn spread(numbers: &Runs, when_tiny: u32) -> u32 {
    let half = numbers.len() / 2;
    let low = numbers.median(0, half);
    let middle = numbers.median(0, numbers.len());
    let high = numbers.median(numbers.len() - half, half);
    let between = high - low;
    #[expect(clippy::float_cmp, reason = "the same number of the same list, not a computed one")]
    let lopsided = middle == low || middle == high;
    let skew = if between < MIN_QUARTILE_SPREAD || lopsided {
        0
    } else {
        thousandths(((low + high - 2.0 * middle) / between).abs())
    };
    let evenness = if middle < 1.0 {
        when_tiny
    } else {
        let mad = numbers.distances(middle).median(0, numbers.len());
        thousandths((middle - mad) / middle)
    };
    (1_000 - skew + evenness).div_ceil(2)
}
