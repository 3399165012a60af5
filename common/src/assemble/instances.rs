//! Which process a row means. Some rows tell everything of a process, some a path and a number, some another spelling of the
//! path: all of them become one [`Program`], so that one implant is one series.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

use hashbrown::HashMap;

use crate::classify::{classify, on_volume};
use crate::format::row::ProcessRow;
use crate::process::{PROCESS_TEXT, ProcessInfo, ProcessKey};
use crate::program::Program;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// What an instance takes: its places in two maps that double, and in the queue.
const INSTANCE_BYTES: usize = 2 * (size_of::<Instance>() + 8 + 24) + size_of::<(u64, u64, u32)>();
/// What a program takes beside its texts.
const PROGRAM_BYTES: usize = size_of::<ProcessInfo>() + 128;
/// Starts of one process as two logs tell them differ by no more than this, in nanoseconds: one writes whole seconds.
const TWIN: i64 = 2 * NANOS_PER_SEC;

/// A process that was told of.
#[derive(Clone, Debug)]
struct Instance {
    key: ProcessKey,
    /// Whether its log has a name for it that no other process gets.
    named: bool,
    /// Of its texts.
    program: u64,
}

/// A program that one or many processes run.
#[derive(Debug)]
struct Known {
    program: Program,
    bytes: usize,
}

/// The processes of all hosts.
#[derive(Debug, Default)]
pub(super) struct Instances {
    hasher: foldhash::fast::FixedState,
    /// By what names an instance for good: host and GUID, or host, pid and start.
    by_id: HashMap<u64, Instance, foldhash::fast::FixedState>,
    /// The latest of a host and pid.
    by_pid: HashMap<(u64, u32), u64, foldhash::fast::FixedState>,
    order: VecDeque<(u64, u64, u32)>,
    /// By the hash of their texts.
    programs: HashMap<u64, Known, foldhash::fast::FixedState>,
    program_order: VecDeque<u64>,
    program_bytes: usize,
    /// Instances that are kept at most; beyond it the one told of first is forgotten.
    capacity: usize,
    /// Bytes of texts that are kept at most; beyond it the program told of first is forgotten.
    program_capacity: usize,
    pub(super) evicted: u64,
}

impl Instances {
    pub(super) fn new(memory_bytes: usize) -> Self {
        Self {
            capacity: memory_bytes / 4 / INSTANCE_BYTES,
            program_capacity: memory_bytes - memory_bytes / 4,
            ..Self::default()
        }
    }

    /// Learns of a process that was started.
    pub(super) fn started(&mut self, host: u64, row: &ProcessRow<'_>, time: Timestamp) {
        let start = row.start.unwrap_or(time);
        // Two logs tell of it: the one without a name for the instance tells less.
        if row.guid.is_empty()
            && let Some(known) = self.by_pid.get(&(host, row.pid)).and_then(|id| self.by_id.get(id))
            && start.since(known.key.start).saturating_abs() <= TWIN
            && self
                .programs
                .get(&known.program)
                .is_some_and(|known| same_file(row.image, &known.program.info.image))
        {
            return;
        }
        let id = self.id(host, row);
        self.learn(host, id, ProcessKey { pid: row.pid, start }, row);
    }

    /// The process that a row means; `None` if the row has nothing to tell.
    pub(super) fn of(&mut self, host: u64, row: &ProcessRow<'_>) -> Option<(ProcessKey, Program)> {
        if row.image.is_empty() && row.pid == 0 {
            return None;
        }
        let id = self.id(host, row);
        let latest = self.by_pid.get(&(host, row.pid)).copied();
        // A row without a name for good means the latest process with its pid, if that runs the same file; so does one with
        // a name, where the log that told of the start has no such names.
        let bare = row.guid.is_empty() && row.start.is_none();
        let nameless = |id: &u64| self.by_id.get(id).is_some_and(|known| !known.named);
        let [first, second] = if bare {
            [latest, Some(id)]
        } else {
            [Some(id), latest.filter(nameless).filter(|_| !row.guid.is_empty())]
        };
        for id in [first, second].into_iter().flatten() {
            if let Some(known) = self.by_id.get(&id)
                && let Some(Known { program, .. }) = self.programs.get(&known.program)
                && (known.program == self.texts(row) || tells_no_more(row, &program.info))
            {
                return Some((known.key, program.clone()));
            }
        }
        if row.image.is_empty() {
            return None;
        }
        let key = ProcessKey { pid: row.pid, start: row.start.unwrap_or(Timestamp::ZERO) };
        Some((key, self.learn(host, id, key, row)))
    }

    fn learn(&mut self, host: u64, id: u64, key: ProcessKey, row: &ProcessRow<'_>) -> Program {
        let texts = self.texts(row);
        let program = match self.programs.get(&texts) {
            Some(known) => known.program.clone(),
            None => self.learn_program(texts, row),
        };
        if self.by_id.insert(id, Instance { key, named: !row.guid.is_empty(), program: texts }).is_none() {
            self.order.push_back((id, host, row.pid));
        }
        self.by_pid.insert((host, row.pid), id);
        while self.order.len() > self.capacity {
            let Some((id, host, pid)) = self.order.pop_front() else { break };
            self.by_id.remove(&id);
            if self.by_pid.get(&(host, pid)) == Some(&id) {
                self.by_pid.remove(&(host, pid));
            }
            self.evicted += 1;
        }
        program
    }

    fn learn_program(&mut self, texts: u64, row: &ProcessRow<'_>) -> Program {
        fn kept(text: &str) -> String {
            if let Some(text) = PROCESS_TEXT.as_it_stands(text) {
                return text.to_owned();
            }
            let mut kept = String::new();
            PROCESS_TEXT.append(text, &mut kept);
            kept
        }
        let mut info = ProcessInfo {
            image: kept(row.image),
            command_line: kept(row.command_line),
            sha256: kept(row.sha256).to_ascii_lowercase(),
            parent_image: kept(row.parent_image),
            user: kept(row.user),
            signed: row.signed,
            ..ProcessInfo::default()
        };
        classify(&mut info);
        let lengths = [&info.image, &info.command_line, &info.sha256, &info.parent_image, &info.user];
        let bytes = lengths.iter().map(|text| text.len()).sum::<usize>() + PROGRAM_BYTES;
        let program = Program::of(info);
        self.program_bytes += bytes;
        self.programs.insert(texts, Known { program: program.clone(), bytes });
        self.program_order.push_back(texts);
        while self.program_bytes > self.program_capacity {
            let Some(first) = self.program_order.pop_front() else { break };
            if let Some(known) = self.programs.remove(&first) {
                self.program_bytes -= known.bytes;
                self.evicted += 1;
            }
        }
        program
    }

    fn id(&self, host: u64, row: &ProcessRow<'_>) -> u64 {
        let mut hash = self.hasher.build_hasher();
        hash.write_u64(host);
        if row.guid.is_empty() {
            hash.write_u32(row.pid);
            row.start.hash(&mut hash);
            if row.start.is_none() {
                row.image.hash(&mut hash);
            }
        } else {
            row.guid.hash(&mut hash);
        }
        hash.finish()
    }

    fn texts(&self, row: &ProcessRow<'_>) -> u64 {
        let texts = (row.image, row.command_line, row.sha256, row.parent_image, row.user, row.signed);
        self.hasher.hash_one(texts)
    }
}

/// Whether a row could be of a process that is known already: nothing in it says otherwise, and it adds nothing.
fn tells_no_more(row: &ProcessRow<'_>, known: &ProcessInfo) -> bool {
    let within = |told: &str, known: &str| told.is_empty() || told == known;
    (row.image.is_empty() || same_file(row.image, &known.image))
        && (row.command_line.is_empty() || !known.command_line.is_empty())
        && within(row.sha256, &known.sha256)
        && (row.parent_image.is_empty() || !known.parent_image.is_empty())
        && within(row.user, &known.user)
}

/// Whether two paths lead to one file, as far as their spelling tells: drive and volume are two names of one thing.
fn same_file(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (on_volume(one), on_volume(other)) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        // A bare name, or a kernel's.
        _ => one.eq_ignore_ascii_case(other),
    }
}
