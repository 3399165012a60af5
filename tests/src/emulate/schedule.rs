//! What an operator lays over an agent's waits: working hours, missed calls, bursts of tasking, and where to call next.
//!
//! Pure: it is told the emulated time of day and gives the next wait.

use std::collections::VecDeque;
use std::time::Duration;

use super::shape::{Last, Waits};
use crate::rng::Rng;

const DAY: Duration = Duration::from_secs(86_400);

/// Fast check-ins while an operator works: after every `every` callbacks, `count` waits of `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Callbacks between bursts.
    pub every: u32,
    /// Fast check-ins of a burst.
    pub count: u32,
    /// Wait between them.
    pub interval: Duration,
}

/// Hours of the day in which the agent calls, as offsets from midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Begin.
    pub from: Duration,
    /// End, after the begin.
    pub to: Duration,
}

/// Which destination is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// The next one after so many failures in a row.
    FailOver(u32),
}

/// The waits and destinations of one agent.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its framework's own waits.
    pub waits: Waits,
    /// Bursts, if any.
    pub burst: Option<Burst>,
    /// Working hours, if any.
    pub hours: Option<Hours>,
    /// Share of callbacks that are left out, 0 to 1.
    pub missed: f64,
    /// Waits that are used up, one by one, before any is drawn.
    pub exact: VecDeque<Duration>,
    /// How destinations take turns.
    pub rotation: Rotation,
    /// How many destinations there are.
    pub destinations: usize,
    rng: Rng,
    /// Emulated time since midnight of the first day.
    clock: Duration,
    since_burst: u32,
    left_in_burst: u32,
    at: usize,
    failures: u32,
    begun: bool,
}

impl Schedule {
    /// Waits alone, to one destination; `clock` is the emulated time of day at the start.
    #[must_use]
    pub const fn new(waits: Waits, rng: Rng, clock: Duration) -> Self {
        Self {
            waits,
            burst: None,
            hours: None,
            missed: 0.0,
            exact: VecDeque::new(),
            rotation: Rotation::RoundRobin,
            destinations: 1,
            rng,
            clock,
            since_burst: 0,
            left_in_burst: 0,
            at: 0,
            failures: 0,
            begun: false,
        }
    }

    /// Waits until the next callback, in emulated time. A missed one adds another wait.
    pub fn next_wait(&mut self, last: Last) -> Duration {
        let before = self.clock;
        loop {
            let wait = self.one_wait(last);
            self.clock += wait;
            if let Some(hours) = self.hours {
                self.clock += until_open(self.clock, hours);
            }
            if self.rng.unit() >= self.missed {
                return self.clock - before;
            }
        }
    }

    fn one_wait(&mut self, last: Last) -> Duration {
        if let Some(wait) = self.exact.pop_front() {
            return wait;
        }
        let Some(burst) = self.burst else { return self.waits.draw(last) };
        if self.left_in_burst > 0 {
            self.left_in_burst -= 1;
            return burst.interval;
        }
        self.since_burst += 1;
        if self.since_burst >= burst.every {
            self.since_burst = 0;
            self.left_in_burst = burst.count;
        }
        self.waits.draw(last)
    }

    /// Index of the destination to call now, after a callback that went as `last`.
    pub fn next_destination(&mut self, last: Last) -> usize {
        let first = !std::mem::replace(&mut self.begun, true);
        match self.rotation {
            Rotation::RoundRobin if first => {}
            Rotation::RoundRobin => self.at = (self.at + 1) % self.destinations.max(1),
            Rotation::Random => self.at = self.rng.length(0, self.destinations.max(1)),
            Rotation::FailOver(after) => {
                self.failures = if last == Last::Failed { self.failures + 1 } else { 0 };
                if self.failures >= after {
                    self.failures = 0;
                    self.at = (self.at + 1) % self.destinations.max(1);
                }
            }
        }
        self.at
    }
}

/// How long it is from `clock` until the hours are open; zero if they are.
fn until_open(clock: Duration, hours: Hours) -> Duration {
    let of_day = Duration::from_nanos(u64::try_from(clock.as_nanos() % DAY.as_nanos()).unwrap_or(0));
    if of_day < hours.from {
        hours.from - of_day
    } else if of_day >= hours.to {
        DAY - of_day + hours.from
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulate::shape::Shape;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn fixed(minutes: u64) -> Schedule {
        let waits = Waits::new(Shape::Fixed, Duration::from_secs(minutes * 60), 0.0, Rng::new(1));
        Schedule::new(waits, Rng::new(2), 9 * HOUR)
    }

    #[test]
    fn nothing_calls_outside_working_hours() {
        let mut schedule = fixed(45);
        schedule.hours = Some(Hours { from: 9 * HOUR, to: 17 * HOUR });
        let mut clock = 9 * HOUR;
        for _ in 0..100 {
            clock += schedule.next_wait(Last::Idle);
            let hour = clock.as_secs() % 86_400 / 3_600;
            assert!((9..17).contains(&hour), "{hour}");
        }
        assert!(clock > 5 * DAY);
    }

    #[test]
    fn missed_calls_double_some_waits() {
        let mut schedule = fixed(1);
        schedule.missed = 0.2;
        let waits: Vec<_> = (0..1_000).map(|_| schedule.next_wait(Last::Idle).as_secs()).collect();
        assert!(waits.iter().all(|wait| wait % 60 == 0));
        let missed = waits.iter().filter(|wait| **wait > 60).count();
        assert!((150..250).contains(&missed), "{missed}");
    }

    #[test]
    fn a_burst_is_fast_and_ends() {
        let mut schedule = fixed(1);
        schedule.burst = Some(Burst { every: 3, count: 2, interval: Duration::from_secs(1) });
        let waits: Vec<_> = (0..8).map(|_| schedule.next_wait(Last::Idle).as_secs()).collect();
        assert_eq!(waits, [60, 60, 60, 1, 1, 60, 60, 60]);
    }

    #[test]
    fn destinations_take_turns_and_fail_over() {
        let mut schedule = fixed(1);
        schedule.destinations = 3;
        let turns: Vec<_> = (0..5).map(|_| schedule.next_destination(Last::Idle)).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1]);
        let mut schedule = fixed(1);
        (schedule.destinations, schedule.rotation) = (2, Rotation::FailOver(2));
        let lasts = [Last::Idle, Last::Failed, Last::Failed, Last::Idle, Last::Failed, Last::Failed];
        let turns: Vec<_> = lasts.into_iter().map(|last| schedule.next_destination(last)).collect();
        assert_eq!(turns, [0, 0, 1, 1, 1, 0]);
    }
}
