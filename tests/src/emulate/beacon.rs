//! One agent at work: calls, writes down the truth, waits, and calls again.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::call::Caller;
use super::guard;
use super::schedule::Schedule;
use super::shape::Last;
use super::truth::{Callback, Outcome};

/// An agent.
#[derive(Debug)]
pub struct Beacon {
    /// When it calls, and which of the destinations.
    pub schedule: Schedule,
    /// How it calls.
    pub caller: Caller,
    /// Where it may call, in order of rotation.
    pub destinations: Vec<SocketAddr>,
    /// How many times faster than the clock it waits.
    pub speed: f64,
    /// Callbacks until it ends.
    pub count: Option<u64>,
    /// Real time until it ends.
    pub run_for: Option<Duration>,
    /// Callback that brings a task, each so many; 0: none does.
    pub task_every: u64,
}

impl Beacon {
    /// Runs until the count or the time is reached, and hands each callback to `told`.
    ///
    /// # Errors
    /// A destination that the emulator may not call; nothing is sent then. What `told` says.
    pub fn run(&mut self, mut told: impl FnMut(&Callback) -> anyhow::Result<()>) -> anyhow::Result<()> {
        for destination in &self.destinations {
            guard::may_call(destination.ip())
                .map_err(|why| anyhow::anyhow!("refused to call {destination}: {why}"))?;
        }
        self.schedule.destinations = self.destinations.len();
        let began = Instant::now();
        let (mut last, mut calls) = (Last::Idle, 0);
        // From the beginning of one callback to the beginning of the next is the wait plus what the call took: as agents
        // do, which sleep after they have called.
        while self.count.is_none_or(|count| calls < count) {
            let at = self.schedule.next_destination(last);
            let Some(destination) = self.destinations.get(at) else { break };
            let callback = self.caller.call(*destination);
            calls += 1;
            told(&callback)?;
            last = match callback.outcome {
                Outcome::Established if self.task_every > 0 && calls % self.task_every == 0 => Last::Tasked,
                Outcome::Established => Last::Idle,
                _ => Last::Failed,
            };
            if self.count == Some(calls) {
                break;
            }
            let wait = self.schedule.next_wait(last).div_f64(self.speed);
            if self.run_for.is_some_and(|limit| began.elapsed() + wait > limit) {
                break;
            }
            thread::sleep(wait);
        }
        Ok(())
    }
}
