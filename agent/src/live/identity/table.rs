//! The bounded table of processes, and the programs that they run.
//!
//! A process that forks shares its run with the copy: both are the same program by construction, and what is learnt of one
//! holds for the other. A run is forgotten with the last process that holds it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sonde_common::live::FileId;
use sonde_common::process::ProcessKey;
use sonde_common::program::Program;
use sonde_common::time::Timestamp;

use super::facts::{ExecutableFacts, Place};

/// Entries looked at to find one that is not needed.
const EVICTION_LOOKS: usize = 64;

/// A process.
#[derive(Debug)]
pub(super) struct Slot {
    /// Which run of a program it is in.
    pub(super) run: u32,
    /// It is a copy that has not run a program of its own.
    pub(super) copy: bool,
    /// When it ended.
    pub(super) ended: Option<Timestamp>,
}

/// A run of a program: from `execve` on, in one process and its copies.
#[derive(Debug)]
pub(super) struct Run {
    /// Tells it from an earlier one in the same place.
    pub(super) serial: u32,
    pub(super) holders: u32,
    /// The process that ran it first.
    pub(super) process: ProcessKey,
    pub(super) started: Timestamp,
    /// Path as the system told it, and the same fit to print.
    pub(super) path: Box<[u8]>,
    pub(super) image: Arc<str>,
    pub(super) arguments: Box<[u8]>,
    pub(super) uid: u32,
    pub(super) file: FileId,
    pub(super) unlinked: bool,
    pub(super) cgroup: u64,
    pub(super) place: Option<Arc<Place>>,
    pub(super) script: Box<str>,
    pub(super) parent: Option<ProcessKey>,
    pub(super) parent_image: Arc<str>,
    pub(super) ancestors: Vec<Arc<str>>,
    pub(super) executable: Executable,
    pub(super) program: Option<Program>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            serial: 0,
            holders: 0,
            process: ProcessKey::default(),
            started: Timestamp::ZERO,
            path: Box::default(),
            image: Arc::from(""),
            arguments: Box::default(),
            uid: 0,
            file: FileId::default(),
            unlinked: false,
            cgroup: 0,
            place: None,
            script: Box::default(),
            parent: None,
            parent_image: Arc::from(""),
            ancestors: Vec::new(),
            executable: Executable::NotAsked,
            program: None,
        }
    }
}

impl Run {
    fn text_bytes(&self) -> usize {
        self.path.len() + self.image.len() + self.arguments.len() + self.script.len()
    }
}

/// How far the executable is known.
#[derive(Debug)]
pub(super) enum Executable {
    NotAsked,
    Asked,
    Known(Arc<ExecutableFacts>),
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    slots: HashMap<ProcessKey, Slot, foldhash::fast::RandomState>,
    /// The latest process of each number.
    numbers: HashMap<u32, ProcessKey, foldhash::fast::RandomState>,
    runs: Vec<Run>,
    free: Vec<u32>,
    /// Every process once, in the order in which it came, or was last spared.
    order: VecDeque<ProcessKey>,
    /// In the order of their ends.
    ended: VecDeque<(Timestamp, ProcessKey)>,
    capacity: usize,
    text_bytes: usize,
    serial: u32,
    pub(super) evicted: u64,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: HashMap::default(),
            numbers: HashMap::default(),
            runs: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            ended: VecDeque::new(),
            capacity: capacity.max(1),
            text_bytes: 0,
            serial: 0,
            evicted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of paths and arguments that are kept.
    pub(super) const fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    pub(super) fn slot(&self, process: ProcessKey) -> Option<&Slot> {
        self.slots.get(&process)
    }

    pub(super) fn run(&self, at: u32) -> Option<&Run> {
        self.runs.get(at as usize)
    }

    pub(super) fn run_mut(&mut self, at: u32) -> Option<&mut Run> {
        self.runs.get_mut(at as usize)
    }

    pub(super) fn run_of(&self, process: ProcessKey) -> Option<&Run> {
        self.run(self.slots.get(&process)?.run)
    }

    /// A process runs a program from now on.
    pub(super) fn start(&mut self, process: ProcessKey, mut run: Run) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        run.serial = self.serial;
        run.holders = 1;
        self.text_bytes += run.text_bytes();
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.runs.get_mut(at as usize) {
                    *place = run;
                }
                at
            }
            None => {
                self.runs.push(run);
                u32::try_from(self.runs.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.put(process, Slot { run: at, copy: false, ended: None });
        at
    }

    /// A process began as a copy of another; whether that one is known.
    pub(super) fn copy(&mut self, parent: ProcessKey, child: ProcessKey) -> bool {
        let Some(at) = self.slots.get(&parent).map(|slot| slot.run) else { return false };
        if self.slots.contains_key(&child) {
            return true;
        }
        if let Some(run) = self.run_mut(at) {
            run.holders += 1;
        }
        self.put(child, Slot { run: at, copy: true, ended: None });
        true
    }

    fn put(&mut self, process: ProcessKey, slot: Slot) {
        match self.slots.insert(process, slot) {
            // It was there, and runs something else now.
            Some(old) => self.release(old.run),
            None => {
                self.order.push_back(process);
                if let Some(before) = self.numbers.insert(process.pid, process) {
                    if before.start > process.start {
                        // An old one told late: the newer one keeps the number.
                        self.numbers.insert(before.pid, before);
                    } else {
                        self.end(before, process.start);
                    }
                }
                while self.slots.len() > self.capacity {
                    self.evict(process);
                }
            }
        }
    }

    /// A process ended.
    pub(super) fn end(&mut self, process: ProcessKey, at: Timestamp) {
        if let Some(slot) = self.slots.get_mut(&process)
            && slot.ended.is_none()
        {
            slot.ended = Some(at);
            self.ended.push_back((at, process));
        }
    }

    /// Forgets processes that ended before `limit`.
    pub(super) fn forget(&mut self, limit: Timestamp) {
        while let Some(&(at, process)) = self.ended.front() {
            if at >= limit {
                break;
            }
            self.ended.pop_front();
            self.remove(process);
        }
        // What was removed leaves its place in the queue behind.
        if self.order.len() > 2 * self.slots.len() + 64 {
            let slots = &self.slots;
            self.order.retain(|process| slots.contains_key(process));
        }
    }

    /// The process that came first, to be looked at whether it still lives; it goes to the end of the queue.
    pub(super) fn next_to_check(&mut self) -> Option<ProcessKey> {
        for _ in 0..EVICTION_LOOKS {
            let process = self.order.pop_front()?;
            if let Some(slot) = self.slots.get(&process) {
                self.order.push_back(process);
                return slot.ended.is_none().then_some(process);
            }
        }
        None
    }

    /// Frees one place: the process that ended first, else the oldest of which no program was asked.
    fn evict(&mut self, spare: ProcessKey) {
        while let Some((_, process)) = self.ended.pop_front() {
            if process != spare && self.slots.contains_key(&process) {
                self.remove(process);
                self.evicted += 1;
                return;
            }
        }
        for look in 0.. {
            let Some(process) = self.order.pop_front() else { return };
            let Some(run) = self.run_of(process) else { continue };
            if process == spare || (look < EVICTION_LOOKS && run.program.is_some()) {
                self.order.push_back(process);
                continue;
            }
            self.remove(process);
            self.evicted += 1;
            return;
        }
    }

    fn remove(&mut self, process: ProcessKey) {
        if let Some(slot) = self.slots.remove(&process) {
            self.release(slot.run);
        }
        if self.numbers.get(&process.pid) == Some(&process) {
            self.numbers.remove(&process.pid);
        }
    }

    fn release(&mut self, at: u32) {
        let Some(run) = self.runs.get_mut(at as usize) else { return };
        run.holders = run.holders.saturating_sub(1);
        if run.holders == 0 {
            self.text_bytes = self.text_bytes.saturating_sub(run.text_bytes());
            *run = Run::default();
            self.free.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pid: u32, start: i64) -> ProcessKey {
        ProcessKey { pid, start: Timestamp::from_nanos(start) }
    }

    fn run(image: &str) -> Run {
        Run { image: image.into(), path: image.as_bytes().into(), ..Run::default() }
    }

    #[test]
    fn a_copy_holds_its_parents_run_and_outlives_it() {
        let mut table = Table::new(10);
        table.start(key(1, 1), run("/a"));
        assert!(table.copy(key(1, 1), key(2, 2)));
        assert!(!table.copy(key(9, 9), key(3, 3)));
        table.end(key(1, 1), Timestamp::from_nanos(5));
        table.forget(Timestamp::from_nanos(6));
        assert!(table.slot(key(1, 1)).is_none());
        assert_eq!(&*table.run_of(key(2, 2)).unwrap().image, "/a");
        table.start(key(2, 2), run("/b"));
        assert_eq!(&*table.run_of(key(2, 2)).unwrap().image, "/b");
        assert_eq!(table.text_bytes(), 4, "the first run is forgotten with its last holder");
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_number_taken_anew_ends_its_old_process() {
        let mut table = Table::new(10);
        table.start(key(1, 1), run("/a"));
        table.start(key(1, 7), run("/b"));
        assert_eq!(table.slot(key(1, 1)).unwrap().ended, Some(Timestamp::from_nanos(7)));
        assert_eq!(table.slot(key(1, 7)).unwrap().ended, None);
    }

    #[test]
    fn the_capacity_holds_and_the_dead_go_first() {
        let mut table = Table::new(100);
        for pid in 0..100 {
            table.start(key(pid, 1), run("/a"));
        }
        table.end(key(50, 1), Timestamp::from_nanos(9));
        table.start(key(1000, 1), run("/a"));
        assert!(table.slot(key(50, 1)).is_none() && table.slot(key(0, 1)).is_some());
        for pid in 2000..5000u32 {
            table.start(key(pid, 1), run("/a"));
            table.copy(key(pid, 1), key(pid + 10_000, 1));
            assert!(table.len() <= 100);
        }
        assert_eq!(table.evicted, 5901 + 100);
        table.forget(Timestamp::MAX);
        assert!(table.order.len() <= 2 * table.len() + 64 && table.runs.len() <= 102);
    }
}
