//! How long each framework waits between two check-ins: its own formula, drawn from a seed.
//!
//! Formulas are facts about public programs; docs/emulator.md names where each is told. Pure: no clock, no sleeping.

use std::time::Duration;

use crate::rng::Rng;

/// A framework's way to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The interval, always.
    Fixed,
    /// Uniform in [S(1−j), S].
    CobaltStrike,
    /// S + uniform [0, J), J = S·j.
    Sliver,
    /// 10 ms more for each empty poll, ten times that from the tenth on, at most 10 s; S after a failed one.
    Meterpreter,
    /// S ± uniform [0, S·j), either side with equal odds.
    Havoc,
    /// Uniform in [S(1−j), S(1+j)].
    Empire,
    /// S + uniform [0, skew), skew = S·j.
    Merlin,
    /// A whole percentage p in [0, j): S(1+p) if p is even, S(1−p) if odd.
    Mythic,
    /// Exponential with mean S: memoryless.
    Exponential,
}

impl Shape {
    /// Every shape with its name and formula.
    pub const ALL: [(&'static str, Self, &'static str); 9] = [
        ("fixed", Self::Fixed, "S"),
        ("cobalt-strike", Self::CobaltStrike, "uniform in [S(1-j), S]"),
        ("sliver", Self::Sliver, "S + uniform [0, S*j)"),
        (
            "meterpreter",
            Self::Meterpreter,
            "10 ms * n empty polls (100 ms * n from n = 10), at most 10 s; S after a failure",
        ),
        ("havoc", Self::Havoc, "S plus or minus uniform [0, S*j)"),
        ("empire", Self::Empire, "uniform in [S(1-j), S(1+j)]"),
        ("merlin", Self::Merlin, "S + uniform [0, S*j)"),
        ("mythic", Self::Mythic, "p = whole percent below j: S(1+p) if p is even, S(1-p) if odd"),
        ("exponential", Self::Exponential, "exponential with mean S"),
    ];

    /// A shape by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, ..)| *known == name).map(|(_, shape, _)| *shape)
    }
}

/// How the last callback went, for shapes that mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Answered, nothing to do.
    Idle,
    /// Answered with a task.
    Tasked,
    /// Not answered.
    Failed,
}

/// Draws the waits of one agent.
#[derive(Clone, Debug)]
pub struct Waits {
    shape: Shape,
    interval: Duration,
    jitter: f64,
    rng: Rng,
    empty_polls: u32,
}

impl Waits {
    /// `jitter` is a share of the interval, 0 to 1.
    #[must_use]
    pub const fn new(shape: Shape, interval: Duration, jitter: f64, rng: Rng) -> Self {
        Self { shape, interval, jitter, rng, empty_polls: 0 }
    }

    /// The next wait.
    pub fn draw(&mut self, last: Last) -> Duration {
        let (sleep, jitter) = (self.interval.as_secs_f64(), self.jitter);
        let seconds = match self.shape {
            Shape::Fixed => sleep,
            Shape::CobaltStrike => sleep * (1.0 - jitter * self.rng.unit()),
            Shape::Sliver | Shape::Merlin => sleep * (1.0 + jitter * self.rng.unit()),
            Shape::Havoc => {
                let variation = sleep * jitter * self.rng.unit();
                if self.rng.one_in(2) { sleep + variation } else { sleep - variation }
            }
            Shape::Empire => sleep * (1.0 + jitter * (2.0 * self.rng.unit() - 1.0)),
            Shape::Mythic => self.mythic(sleep),
            Shape::Meterpreter => self.meterpreter(sleep, last),
            Shape::Exponential => self.rng.exponential(self.interval).as_secs_f64(),
        };
        Duration::from_secs_f64(seconds.max(0.0))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
    fn mythic(&mut self, sleep: f64) -> f64 {
        let percent = self.rng.below((self.jitter * 100.0).round() as u64);
        let change = f64::from(u32::try_from(percent).unwrap_or(0)) / 100.0;
        if percent.is_multiple_of(2) { sleep * (1.0 + change) } else { sleep * (1.0 - change) }
    }

    fn meterpreter(&mut self, sleep: f64, last: Last) -> f64 {
        match last {
            Last::Failed => return sleep,
            Last::Tasked => self.empty_polls = 0,
            Last::Idle => self.empty_polls = self.empty_polls.saturating_add(1),
        }
        let each = if self.empty_polls >= 10 { 0.1 } else { 0.01 };
        (each * f64::from(self.empty_polls)).min(10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(shape: Shape, jitter: f64, seed: u64) -> Vec<f64> {
        let mut waits = Waits::new(shape, Duration::from_secs(60), jitter, Rng::new(seed));
        (0..2_000).map(|_| waits.draw(Last::Idle).as_secs_f64()).collect()
    }

    fn range(drawn: &[f64]) -> (f64, f64) {
        drawn.iter().fold((f64::MAX, f64::MIN), |(low, high), wait| (low.min(*wait), high.max(*wait)))
    }

    #[test]
    fn each_shape_fills_its_own_range_and_no_more() {
        let expected = [
            (Shape::Fixed, 60.0, 60.0),
            (Shape::CobaltStrike, 48.0, 60.0),
            (Shape::Sliver, 60.0, 72.0),
            (Shape::Merlin, 60.0, 72.0),
            (Shape::Havoc, 48.0, 72.0),
            (Shape::Empire, 48.0, 72.0),
            // 19 is the greatest percentage below 20, and odd; 18 the greatest even one.
            (Shape::Mythic, 48.6, 70.8),
        ];
        for (shape, low, high) in expected {
            let (least, most) = range(&drawn(shape, 0.2, 7));
            assert!(least >= low - 1e-6 && least < low + 0.2, "{shape:?}: least {least}");
            assert!(most <= high + 1e-6 && most > high - 0.2, "{shape:?}: most {most}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_waits() {
        for (_, shape, _) in Shape::ALL {
            assert_eq!(drawn(shape, 0.3, 5), drawn(shape, 0.3, 5), "{shape:?}");
        }
        assert_ne!(drawn(Shape::Empire, 0.3, 5), drawn(Shape::Empire, 0.3, 6));
    }

    #[test]
    fn meterpreter_slows_down_while_idle_and_wakes_with_a_task() {
        let mut waits = Waits::new(Shape::Meterpreter, Duration::from_secs(10), 0.0, Rng::new(1));
        let idle: Vec<_> = (0..120).map(|_| waits.draw(Last::Idle).as_millis()).collect();
        assert_eq!(idle[..3], [10, 20, 30]);
        assert_eq!((idle[8], idle[9]), (90, 1_000));
        assert_eq!(idle[119], 10_000);
        assert_eq!(waits.draw(Last::Tasked).as_millis(), 0);
        assert_eq!(waits.draw(Last::Idle).as_millis(), 10);
        assert_eq!(waits.draw(Last::Failed).as_secs(), 10);
    }

    #[test]
    fn exponential_waits_have_their_mean() {
        let all = drawn(Shape::Exponential, 0.0, 3);
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!((mean - 60.0).abs() < 5.0, "{mean}");
    }
}
