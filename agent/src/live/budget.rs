//! Keeps the sensor's processor time within bounds: what it can do without is put off by name, one kind after the other,
//! and taken up again when there is room.
//!
//! It decides only; the sensor's thread measures, and asks before it does such work. Events are never skipped for it.

use std::time::Duration;

/// Over so long the processor time is measured.
const WINDOW: Duration = Duration::from_secs(30);
/// Windows of calm before work is taken up again.
const CALM_WINDOWS: u32 = 2;
/// Work is taken up again below this part of the budget.
const CALM_SHARE: f64 = 0.5;

/// Work that the sensor can do without for a while, in the order in which it is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Hashes of executables: a program is known by its path until then.
    Hashing,
    /// Which package a file belongs to, and whether it still matches.
    Packages,
    /// Bytes of open connections: they are told when the connection closes.
    SocketCounters,
}

impl Work {
    const ALL: [Self; 3] = [Self::Hashing, Self::Packages, Self::SocketCounters];

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hashing => "hashing of executables",
            Self::Packages => "package look-ups",
            Self::SocketCounters => "bytes of open connections",
        }
    }
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// This is put off from now on.
    Shed(Work),
    /// This is taken up again.
    Resumed(Work),
    /// All is put off, and it is still too much.
    Exhausted,
}

/// The budget.
#[derive(Clone, Debug)]
pub struct Budget {
    percent: f64,
    began: Option<(Duration, Duration)>,
    measured: f64,
    shed: usize,
    calm: u32,
}

impl Budget {
    /// So many percent of one processor.
    #[must_use]
    pub fn new(percent: u32) -> Self {
        Self { percent: f64::from(percent), began: None, measured: 0.0, shed: 0, calm: 0 }
    }

    /// Takes a new budget; what is put off stays so until the next measurement says otherwise.
    pub fn set(&mut self, percent: u32) {
        self.percent = f64::from(percent);
    }

    /// Takes in the processor time used so far and how long the sensor runs (both only grow); to be called about once a
    /// second. Returns what changed.
    pub fn measure(&mut self, cpu: Duration, running: Duration) -> Option<Shift> {
        let (cpu_began, began) = *self.began.get_or_insert((cpu, running));
        let wall = running.saturating_sub(began);
        if wall < WINDOW {
            return None;
        }
        self.began = Some((cpu, running));
        self.measured = cpu.saturating_sub(cpu_began).as_secs_f64() / wall.as_secs_f64() * 100.0;
        if self.measured > self.percent {
            self.calm = 0;
            let work = Work::ALL.get(self.shed).copied();
            self.shed = (self.shed + 1).min(Work::ALL.len());
            return Some(work.map_or(Shift::Exhausted, Shift::Shed));
        }
        if self.shed == 0 || self.measured > self.percent * CALM_SHARE {
            self.calm = 0;
            return None;
        }
        self.calm += 1;
        if self.calm < CALM_WINDOWS {
            return None;
        }
        self.calm = 0;
        self.shed -= 1;
        Work::ALL.get(self.shed).copied().map(Shift::Resumed)
    }

    /// Processor time in the latest window, in percent of one processor.
    #[must_use]
    pub const fn measured(&self) -> f64 {
        self.measured
    }

    /// Whether such work may be done now.
    #[must_use]
    pub fn allows(&self, work: Work) -> bool {
        !self.shed_work().contains(&work)
    }

    /// What is put off.
    #[must_use]
    pub fn shed_work(&self) -> &'static [Work] {
        Work::ALL.get(..self.shed).unwrap_or(&Work::ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs so many windows at a load in percent; what changed in each.
    fn run(budget: &mut Budget, at: &mut (f64, f64), percent: f64, windows: u32) -> Vec<Option<Shift>> {
        let mut shifts = Vec::new();
        for _ in 0..windows {
            let mut shift = None;
            for _ in 0..30 {
                at.0 += percent / 100.0;
                at.1 += 1.0;
                let news = budget.measure(Duration::from_secs_f64(at.0), Duration::from_secs_f64(at.1));
                shift = shift.or(news);
            }
            shifts.push(shift);
        }
        shifts
    }

    #[test]
    fn work_is_shed_in_order_and_taken_up_again_in_reverse() {
        let mut budget = Budget::new(25);
        let mut at = (0.0, 0.0);
        assert_eq!(budget.measure(Duration::ZERO, Duration::ZERO), None);
        assert_eq!(run(&mut budget, &mut at, 20.0, 3), [None, None, None]);
        assert_eq!(
            run(&mut budget, &mut at, 60.0, 4),
            [
                Some(Shift::Shed(Work::Hashing)),
                Some(Shift::Shed(Work::Packages)),
                Some(Shift::Shed(Work::SocketCounters)),
                Some(Shift::Exhausted)
            ]
        );
        assert!(!budget.allows(Work::Hashing) && !budget.allows(Work::SocketCounters));
        assert!((budget.measured() - 60.0).abs() < 0.5);
        // Neither too much nor calm: as it is.
        assert_eq!(run(&mut budget, &mut at, 20.0, 3), [None, None, None]);
        assert_eq!(
            run(&mut budget, &mut at, 5.0, 4),
            [None, Some(Shift::Resumed(Work::SocketCounters)), None, Some(Shift::Resumed(Work::Packages))]
        );
        assert_eq!(budget.shed_work(), [Work::Hashing]);
    }

    #[test]
    fn a_short_burst_is_let_be() {
        let mut budget = Budget::new(25);
        assert_eq!(budget.measure(Duration::ZERO, Duration::ZERO), None);
        assert_eq!(budget.measure(Duration::from_secs(5), Duration::from_secs(5)), None);
        assert_eq!(budget.measure(Duration::from_secs(5), Duration::from_secs(31)), None);
        assert!(budget.shed_work().is_empty());
    }
}
