//! Watches that the sensor's thread is alive, and tells the service manager, which restarts a sensor that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::platform::service::{self, Notice};

/// How often the pulse is felt where no service manager asks for it.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Without a beat for so long, the sensor is said to hang.
const HANGS_AFTER: Duration = Duration::from_secs(15);

/// Shows that the sensor's thread is alive: it beats once in each round.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    /// One more round.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Feels the pulse for ever.
pub(super) async fn watch(heartbeat: Heartbeat) {
    let period = service::watchdog();
    // Twice within the manager's patience, as sd_watchdog_enabled(3) advises.
    let every = period.map_or(LOOK_EVERY, |period| (period / 2).min(LOOK_EVERY));
    let mut pulse = Pulse::new(heartbeat.count());
    loop {
        tokio::time::sleep(every).await;
        match pulse.feel(heartbeat.count(), every) {
            State::Alive => service::notify(Notice::Alive),
            State::Back(silent) => {
                tracing::warn!(secs = silent.as_secs(), "the sensor's thread goes on again");
                service::notify(Notice::Alive);
            }
            State::Silent => {}
            State::Hangs => {
                tracing::error!(secs = HANGS_AFTER.as_secs(), "the sensor's thread hangs: nothing is scored");
            }
        }
    }
}

#[derive(Debug)]
struct Pulse {
    count: u64,
    silent: Duration,
    said: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It beats.
    Alive,
    /// It beats again after it was said to hang.
    Back(Duration),
    /// It did not beat since the last look.
    Silent,
    /// It has not for long: said once.
    Hangs,
}

impl Pulse {
    const fn new(count: u64) -> Self {
        Self { count, silent: Duration::ZERO, said: false }
    }

    fn feel(&mut self, count: u64, since: Duration) -> State {
        if count != std::mem::replace(&mut self.count, count) {
            let silent = std::mem::take(&mut self.silent);
            return if std::mem::take(&mut self.said) { State::Back(silent) } else { State::Alive };
        }
        self.silent += since;
        if self.silent < HANGS_AFTER || std::mem::replace(&mut self.said, true) {
            return State::Silent;
        }
        State::Hangs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_is_said_once_and_so_is_its_end() {
        let mut pulse = Pulse::new(7);
        let five = Duration::from_secs(5);
        let counts = [8, 8, 8, 8, 8, 9, 10];
        let states: Vec<_> = counts.into_iter().map(|count| pulse.feel(count, five)).collect();
        assert_eq!(
            states,
            [
                State::Alive,
                State::Silent,
                State::Silent,
                State::Hangs,
                State::Silent,
                State::Back(Duration::from_secs(20)),
                State::Alive
            ]
        );
    }
}
