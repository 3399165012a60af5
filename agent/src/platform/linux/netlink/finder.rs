//! From a socket to the process that opened it.
//!
//! A scan takes the processes in the order in which they are likely to be it. Several may hold one socket, since a child
//! inherits what its parent has open. A socket is handed down, not up, so it came from the topmost holder of a line. Where
//! that does not tell who called (the child lived already when the call went out), nobody is named.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;

use super::clock;
use super::holders::{Look, Table, holds, look};
use super::processes::Processes;
use super::procfs::{Proc, Stat};
use super::queue::lock;

/// Longest time that one scan may take: as much as 10,000 processes need.
const MAX_SCAN: Duration = Duration::from_millis(250);
/// How often processes are read anew where the kernel does not tell of them, while somebody calls.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Longest line of processes that inherit from each other.
const MAX_LINE: usize = 8;

/// Finds owners.
#[derive(Debug)]
pub(super) struct Finder {
    proc: Proc,
    processes: Arc<Mutex<Processes>>,
    /// The connector keeps `processes` up to date; without it they are read anew now and then.
    told: bool,
    read: Option<Instant>,
}

impl Finder {
    pub(super) const fn new(proc: Proc, processes: Arc<Mutex<Processes>>, told: bool) -> Self {
        Self { proc, processes, told, read: None }
    }

    /// The process that opened the socket of this inode, for which `uid` is the likely account. `asked` is when it called
    /// out, where that is known.
    pub(super) fn find(&self, inode: u32, uid: u32, asked: Option<Timestamp>) -> Option<ProcessKey> {
        if inode == 0 {
            return None;
        }
        let begun = Instant::now();
        let likely = || lock(&self.processes).first(uid, clock::realtime());
        // Where the connector tells of those that began, they are among the likely ones; where it does not, they are not known.
        let ways: [&dyn Fn() -> Vec<u32>; 2] =
            if self.told { [&likely, &|| self.unknown()] } else { [&|| self.unknown(), &likely] };
        let (mut tried, mut found) = (Vec::new(), None);
        for way in ways {
            if found.is_none() {
                let pids = way();
                found = self.any(&pids, inode, begun);
                tried.extend(pids);
            }
        }
        if found.is_none() {
            let rest = lock(&self.processes).rest(uid, &tried);
            found = self.any(&rest, inode, begun);
        }
        let (key, stat) = found?;
        let owner = self.opener(key, stat, inode, asked)?;
        lock(&self.processes).owned(owner.pid);
        Some(owner)
    }

    /// Who is in `/proc` and not known yet, newest first: such a process is newer than all that are.
    fn unknown(&self) -> Vec<u32> {
        let mut pids = self.proc.pids().unwrap_or_default();
        let processes = lock(&self.processes);
        pids.retain(|&pid| processes.get(pid).is_none());
        pids.reverse();
        pids
    }

    /// Reads all processes anew, where nothing else keeps them up to date and the last time is long ago: to be called when nobody
    /// waits for an answer.
    pub(super) fn keep_up(&mut self) {
        if !self.told && self.read.is_none_or(|read| read.elapsed() >= READ_EVERY) {
            lock(&self.processes).refresh(&self.proc);
            self.read = Some(Instant::now());
        }
    }

    fn any(&self, pids: &[u32], inode: u32, begun: Instant) -> Option<(ProcessKey, Stat)> {
        let mut idle = Vec::new();
        let mut found = None;
        for &pid in pids.iter().take_while(|_| begun.elapsed() < MAX_SCAN) {
            match look(&self.proc, pid, inode) {
                Look::Holds(key, stat) => {
                    found = Some((key, stat));
                    break;
                }
                Look::Idle => idle.push((pid, true)),
                Look::Others => idle.push((pid, false)),
                Look::Gone => {}
            }
        }
        let mut processes = lock(&self.processes);
        idle.into_iter().for_each(|(pid, idle)| processes.looked_at(pid, idle));
        found
    }

    /// Looks at every process once, so that the first search knows which have sockets.
    pub(super) fn look_at_all(&mut self) {
        self.keep_up();
        let all = lock(&self.processes).rest(0, &[]);
        // No socket has the inode 0.
        self.any(&all, 0, Instant::now());
    }

    /// Goes from a holder up to the one that it inherited the socket from.
    fn opener(
        &self,
        mut key: ProcessKey,
        mut stat: Stat,
        inode: u32,
        asked: Option<Timestamp>,
    ) -> Option<ProcessKey> {
        for _ in 0..MAX_LINE {
            // The first process opens sockets for its services to listen on, not to call out.
            let Some((parent, above)) =
                (stat.parent > 1).then(|| holds(&self.proc, stat.parent, inode)).flatten()
            else {
                return Some(key);
            };
            if asked.is_some_and(|asked| !self.began_after(key, asked)) {
                return None;
            }
            (key, stat) = (parent, above);
        }
        None
    }

    /// Whether a process began after a moment, for certain.
    fn began_after(&self, key: ProcessKey, moment: Timestamp) -> bool {
        let processes = lock(&self.processes);
        let forked = processes.get(key.pid).filter(|p| p.key == key).and_then(|p| p.forked);
        forked.map_or(key.start.since(moment) >= 0, |forked| forked.since(moment) > 0)
    }

    /// The processes that opened any of these sockets, in one pass over all descriptors of the host.
    pub(super) fn find_all(&self, inodes: &HashSet<u32>) -> HashMap<u32, ProcessKey> {
        let mut holders: HashMap<u32, Vec<(ProcessKey, u32)>> = HashMap::new();
        if inodes.is_empty() {
            return HashMap::new();
        }
        for pid in self.proc.pids().unwrap_or_default() {
            let Ok(table) = Table::open(&self.proc, pid) else { continue };
            let mut held = Vec::new();
            table.sockets(|inode| {
                held.extend(u32::try_from(inode).ok().filter(|inode| inodes.contains(inode)));
                false
            });
            if held.is_empty() {
                continue;
            }
            // Read after the descriptors and through their folder: of the same process, or not at all.
            let Ok((key, stat)) = table.owner() else { continue };
            held.sort_unstable();
            held.dedup();
            for inode in held {
                holders.entry(inode).or_default().push((key, stat.parent));
            }
        }
        holders.into_iter().filter_map(|(inode, holders)| Some((inode, topmost(&holders)?))).collect()
    }
}

/// The only one of several holders whose parent is none of them.
fn topmost(holders: &[(ProcessKey, u32)]) -> Option<ProcessKey> {
    let mut tops =
        holders.iter().filter(|(_, parent)| !holders.iter().any(|(other, _)| other.pid == *parent));
    let (top, _) = tops.next()?;
    tops.next().is_none().then_some(*top)
}
