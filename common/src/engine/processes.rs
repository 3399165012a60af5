//! The programs of the processes that the source told of.

use std::cell::Cell;
use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::detect::beacon::texts;
use crate::process::ProcessKey;
use crate::program::Program;

/// Processes remembered per host; beyond it the one told of first is forgotten.
const MAX_PROCESSES: usize = 16_384;
/// What a process takes beside what is known of it.
const BYTES_PER_PROCESS: usize = 64;

/// The programs of the processes told of. When there are too many, the oldest that made no call since it was last in line
/// is forgotten: a long-lived implant stays known behind any number of short-lived processes.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub(super) programs: HashMap<ProcessKey, (Program, Cell<bool>), foldhash::fast::RandomState>,
    pub(super) order: VecDeque<ProcessKey>,
    pub(super) bytes: usize,
    pub(super) capacity: usize,
    pub(super) evicted: u64,
}

impl Processes {
    pub(super) fn learn(&mut self, key: ProcessKey, program: Program) {
        self.bytes += weight(&program);
        match self.programs.insert(key, (program, Cell::new(false))) {
            Some((before, _)) => self.bytes -= weight(&before),
            None => self.order.push_back(key),
        }
        self.make_room();
    }

    pub(super) fn make_room(&mut self) {
        while self.order.len() > MAX_PROCESSES || self.bytes > self.capacity {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.programs.get(&oldest).is_some_and(|(_, called)| called.replace(false)) {
                self.order.push_back(oldest);
            } else if let Some((program, _)) = self.programs.remove(&oldest) {
                self.bytes -= weight(&program);
                self.evicted += 1;
            }
        }
    }

    pub(super) fn get(&self, key: Option<ProcessKey>) -> Option<&Program> {
        let (program, called) = self.programs.get(&key?)?;
        called.set(true);
        Some(program)
    }
}

/// What a process is taken to weigh.
pub(super) fn weight(program: &Program) -> usize {
    texts::weight(&program.info) + BYTES_PER_PROCESS
}
