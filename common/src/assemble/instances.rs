//! Which process a row means. Some rows tell everything of a process, some a path and a number, some another spelling of the
//! path: all of them become one [`Program`], so that one implant is one series.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

use hashbrown::HashMap;

use crate::classify::{classify, on_volume};
use crate::format::row::ProcessRow;
use crate::process::{PROCESS_TEXT, ProcessInfo, ProcessKey};
use crate::program::Program;
use crate::time::Timestamp;

/// What an instance takes beside its texts.
const INSTANCE_BYTES: usize = size_of::<ProcessInfo>() + 256;

/// A process that was told of.
#[derive(Clone, Debug)]
struct Instance {
    key: ProcessKey,
    program: Program,
    /// Of the row's texts, to know the same row again without making its program.
    texts: u64,
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
    bytes: usize,
    /// Bytes that are kept at most; beyond it the process told of first is forgotten.
    capacity: usize,
    pub(super) evicted: u64,
}

impl Instances {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Learns of a process that was started.
    pub(super) fn started(&mut self, host: u64, row: &ProcessRow<'_>, time: Timestamp) {
        let id = self.id(host, row);
        let key = ProcessKey { pid: row.pid, start: row.start.unwrap_or(time) };
        self.learn(host, id, key, row);
    }

    /// The process that a row means; `None` if the row has nothing to tell.
    pub(super) fn of(
        &mut self,
        host: u64,
        row: &ProcessRow<'_>,
        _time: Timestamp,
    ) -> Option<(ProcessKey, Program)> {
        if row.image.is_empty() && row.pid == 0 {
            return None;
        }
        let id = self.id(host, row);
        let texts = self.texts(row);
        if let Some(known) = self.by_id.get(&id)
            && (known.texts == texts || tells_no_more(row, &known.program.info))
        {
            return Some((known.key, known.program.clone()));
        }
        // A row without a name for good means the latest process with its pid, if that runs the same file.
        if row.guid.is_empty()
            && row.start.is_none()
            && let Some(known) = self.by_pid.get(&(host, row.pid)).and_then(|id| self.by_id.get(id))
            && tells_no_more(row, &known.program.info)
        {
            return Some((known.key, known.program.clone()));
        }
        if row.image.is_empty() {
            return None;
        }
        let key = ProcessKey { pid: row.pid, start: row.start.unwrap_or(Timestamp::ZERO) };
        Some((key, self.learn(host, id, key, row)))
    }

    fn learn(&mut self, host: u64, id: u64, key: ProcessKey, row: &ProcessRow<'_>) -> Program {
        let kept = |text: &str| {
            let mut kept = String::new();
            PROCESS_TEXT.append(text, &mut kept);
            kept
        };
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
        let texts = [&info.image, &info.command_line, &info.sha256, &info.parent_image, &info.user];
        let bytes = texts.iter().map(|text| text.len()).sum::<usize>() + INSTANCE_BYTES;
        let program = Program::of(info);
        let instance = Instance { key, program: program.clone(), texts: self.texts(row), bytes };
        self.bytes += bytes;
        match self.by_id.insert(id, instance) {
            Some(old) => self.bytes -= old.bytes,
            None => self.order.push_back((id, host, row.pid)),
        }
        self.by_pid.insert((host, row.pid), id);
        while self.bytes > self.capacity {
            let Some((id, host, pid)) = self.order.pop_front() else { break };
            if let Some(old) = self.by_id.remove(&id) {
                self.bytes -= old.bytes;
            }
            if self.by_pid.get(&(host, pid)) == Some(&id) {
                self.by_pid.remove(&(host, pid));
            }
            self.evicted += 1;
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
        let texts = (row.image, row.command_line, row.sha256, row.parent_image, row.user);
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
