//! Which process a number stands for, and when: numbers are used again, so each has the lives that it had lately.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::process::ProcessKey;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Numbers that are known at a time.
const MAX_PROCESSES: usize = 1 << 16;
/// A process that ended is known for so long: events of its sockets come after its end.
const REMEMBER: i64 = 120 * NANOS_PER_SEC;
/// Clocks of the two providers are one, but a process is numbered a moment before it is told of.
const SLACK: i64 = NANOS_PER_SEC / 10;

#[derive(Clone, Copy, Debug)]
struct Life {
    start: Timestamp,
    before: Option<Timestamp>,
}

/// The processes of this host.
#[derive(Debug, Default)]
pub(super) struct Processes {
    lives: HashMap<u32, Life, foldhash::fast::RandomState>,
    ended: VecDeque<(Timestamp, ProcessKey)>,
    pub(super) refused: u64,
}

impl Processes {
    pub(super) fn began(&mut self, pid: u32, start: Timestamp) {
        if self.lives.len() >= MAX_PROCESSES && !self.lives.contains_key(&pid) {
            self.refused += 1;
            return;
        }
        let life = self.lives.entry(pid).or_insert(Life { start, before: None });
        if life.start != start {
            *life = Life { start, before: Some(life.start) };
        }
    }

    pub(super) fn ended(&mut self, time: Timestamp, process: ProcessKey) {
        self.ended.push_back((time, process));
        let over = self.ended.len() > MAX_PROCESSES;
        while let Some((at, _)) = self.ended.front()
            && (over || time.since(*at) > REMEMBER)
        {
            let Some((_, process)) = self.ended.pop_front() else { break };
            if self.lives.get(&process.pid).is_some_and(|life| life.start == process.start) {
                self.lives.remove(&process.pid);
            }
            if over {
                break;
            }
        }
    }

    /// The process that had the number then.
    pub(super) fn at(&self, pid: u32, time: Timestamp) -> Option<ProcessKey> {
        let life = self.lives.get(&pid)?;
        let start = [Some(life.start), life.before].into_iter().flatten();
        let start = start.into_iter().find(|start| *start <= time.plus_nanos(SLACK))?;
        Some(ProcessKey { pid, start })
    }
}
