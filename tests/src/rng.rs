//! The generator's only source of chance: SplitMix64, seeded by the caller.
//!
//! Every byte of generated traffic depends on the seed and on nothing else (no clock, no hash order, no library whose
//! stream may change between versions). Not for secrets.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A stream of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A second stream that does not overlap in practice, so that adding draws to one actor leaves others unchanged.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.u64())
    }

    /// The next 64 bits.
    pub const fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next 32 bits.
    pub const fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    /// The next 16 bits.
    pub const fn u16(&mut self) -> u16 {
        (self.u64() >> 48) as u16
    }

    /// Uniform in `0..bound` (0 if `bound` is 0), by multiplication: its bias is under `bound` / 2^64.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.u64() as u128 * bound as u128) >> 64) as u64
    }

    /// Uniform in `0..bound`, for counts and small numbers.
    #[expect(clippy::cast_possible_truncation, reason = "below a u32 bound")]
    pub const fn below32(&mut self, bound: u32) -> u32 {
        self.below(bound as u64) as u32
    }

    /// Uniform in `low..high`, for lengths.
    #[expect(clippy::cast_possible_truncation, reason = "below a usize bound")]
    pub const fn length(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) as u64) as usize
    }

    /// True once in `n` draws.
    pub const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Uniform in [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal (Box–Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Log-normal with the given median; `sigma` is the deviation of the logarithm.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// Uniform between two durations.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        low + high.saturating_sub(low).mul_f64(self.unit())
    }

    /// Exponential waiting time.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.unit()).ln())
    }

    /// One of `items`, which is not empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let at = self.length(0, items.len());
        items.get(at).expect("callers pass lists that are not empty")
    }

    /// Random bytes, as nonces and keys look.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let word = self.u64().to_le_bytes();
            for (byte, random) in chunk.iter_mut().zip(word) {
                *byte = random;
            }
        }
        bytes
    }

    /// A dynamic client port (IANA: 49152–65535).
    pub const fn client_port(&mut self) -> u16 {
        49_152 + (self.u16() >> 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_splitmix64() {
        // Reference values of the published algorithm for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut rng = Rng::new(1);
        for _ in 0..10_000 {
            assert!(rng.below(7) < 7);
            assert!((3..9).contains(&rng.length(3, 9)));
            assert!(rng.client_port() >= 49_152);
            let wait = rng.between(Duration::from_secs(48), Duration::from_secs(60));
            assert!(wait >= Duration::from_secs(48) && wait < Duration::from_secs(60));
        }
        assert_eq!(rng.below(0), 0);
    }
}
