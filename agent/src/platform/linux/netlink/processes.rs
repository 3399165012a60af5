//! The processes of the host as the proc connector told of them: who lives, in which order to ask for a socket, and who
//! died so recently that a socket without owner may have been theirs.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use sonde_common::process::ProcessKey;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::procfs::Proc;

/// Living processes that are remembered; the kernel's own limit is 4 M, but a host with more than these is ill.
const MAX_ALIVE: usize = 1 << 17;
/// Dead processes that are remembered, oldest forgotten first.
const MAX_DEAD: usize = 4096;
/// How long they are.
const DEAD_KEPT: i64 = 60 * NANOS_PER_SEC;
/// A process that began so short a time before is asked first for a socket, and alone may be inferred.
const FRESH: i64 = NANOS_PER_SEC;
/// Processes that began last, asked first.
const MAX_RECENT: usize = 128;
/// Processes that were found to own a socket last, asked next.
const MAX_OWNERS: usize = 64;
/// From the moment when the kernel takes a dying process's sockets to the one when it tells of its death, at most.
const DEATH_LAG: i64 = 3_000_000;
/// Deaths within a second beyond which none is inferred from: a process that lives on may have closed the socket itself, and
/// among so many deaths one falls into the same few milliseconds by chance in more than two of a hundred cases.
const MAX_DEATHS: usize = 4;

/// A process that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alive {
    pub(super) key: ProcessKey,
    pub(super) parent: u32,
    pub(super) uid: u32,
    /// Holds no descriptors.
    pub(super) kernel: bool,
    /// When it was copied from its parent, to the microsecond; `None` where only `key` tells, to ten milliseconds.
    pub(super) forked: Option<Timestamp>,
    /// When it was copied or last began a program.
    pub(super) began: Timestamp,
    /// It had no sockets when it was last looked at: it is asked last.
    pub(super) idle: bool,
}

#[derive(Clone, Copy, Debug)]
struct Dead {
    process: Alive,
    died: Timestamp,
}

/// The processes of the host.
#[derive(Debug, Default)]
pub(super) struct Processes {
    alive: HashMap<u32, Alive>,
    dead: VecDeque<Dead>,
    recent: VecDeque<u32>,
    owners: VecDeque<u32>,
    /// Processes that were not remembered for want of room.
    refused: u64,
}

impl Processes {
    /// Takes note of a process that began, by fork or by exec.
    pub(super) fn began(&mut self, process: Alive) {
        let pid = process.key.pid;
        if self.alive.len() >= MAX_ALIVE && !self.alive.contains_key(&pid) {
            self.refused += 1;
            return;
        }
        let forked = self.alive.get(&pid).filter(|old| old.key == process.key).and_then(|old| old.forked);
        self.alive.insert(pid, Alive { forked: process.forked.or(forked), ..process });
        push_front(&mut self.recent, pid, MAX_RECENT);
    }

    /// Takes note of a death; returns who it was, where that is known.
    pub(super) fn died(&mut self, pid: u32, time: Timestamp) -> Option<ProcessKey> {
        let process = self.alive.remove(&pid)?;
        self.dead.push_back(Dead { process, died: time });
        while self.dead.len() > MAX_DEAD
            || self.dead.front().is_some_and(|dead| time.since(dead.died) > DEAD_KEPT)
        {
            self.dead.pop_front();
        }
        Some(process.key)
    }

    pub(super) fn get(&self, pid: u32) -> Option<&Alive> {
        self.alive.get(&pid)
    }

    /// Processes not remembered for want of room.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Reads all processes anew: at the start, where the connector is not to be had, or after it lost records. Those that are
    /// gone are forgotten, as nobody knows when they died.
    pub(super) fn refresh(&mut self, proc: &Proc) {
        let Ok(pids) = proc.pids() else { return };
        let mut old = std::mem::take(&mut self.alive);
        for pid in pids.into_iter().take(MAX_ALIVE) {
            let Ok(process) = proc.process(pid) else { continue };
            let (Ok(stat), Ok(uid)) = (process.stat(), process.uid()) else { continue };
            let key = proc.key(pid, &stat);
            let known = old.remove(&pid).filter(|known| known.key == key);
            let fresh = Alive {
                key,
                parent: stat.parent,
                uid,
                kernel: stat.kernel,
                forked: None,
                began: key.start,
                idle: false,
            };
            self.alive.insert(pid, known.map_or(fresh, |known| Alive { uid, parent: stat.parent, ..known }));
        }
    }

    /// Takes note of who owned a socket: it is likely to open the next one, too.
    pub(super) fn owned(&mut self, pid: u32) {
        push_front(&mut self.owners, pid, MAX_OWNERS);
    }

    /// The processes to ask first for a socket of `uid`: those that began within the last second, then those that owned one.
    pub(super) fn first(&self, uid: u32, now: Timestamp) -> Vec<u32> {
        let of_uid = |pid: &u32| self.alive.get(pid).is_some_and(|p| p.uid == uid && !p.kernel);
        let fresh = |pid: &u32| self.alive.get(pid).is_some_and(|p| now.since(p.began) < FRESH);
        let mut pids: Vec<u32> =
            self.recent.iter().copied().filter(|pid| of_uid(pid) && fresh(pid)).collect();
        let owners: Vec<u32> =
            self.owners.iter().copied().filter(|pid| of_uid(pid) && !pids.contains(pid)).collect();
        pids.extend(owners);
        pids
    }

    /// Takes note of whether a process has any socket.
    pub(super) fn looked_at(&mut self, pid: u32, idle: bool) {
        if let Some(process) = self.alive.get_mut(&pid) {
            process.idle = idle;
        }
    }

    #[cfg(test)]
    pub(super) fn forget_owners(&mut self) {
        self.owners.clear();
    }

    /// All others: those that had sockets before those that had none, those of `uid` before the others, and newest first.
    pub(super) fn rest(&self, uid: u32, asked: &[u32]) -> Vec<u32> {
        let mut all: Vec<&Alive> =
            self.alive.values().filter(|p| !p.kernel && !asked.contains(&p.key.pid)).collect();
        all.sort_unstable_by_key(|p| (p.idle, p.uid != uid, Reverse(p.key.start), Reverse(p.key.pid)));
        all.into_iter().map(|p| p.key.pid).collect()
    }

    /// Whose a socket was that had lost its holder when it was looked for: the only process of its account that died
    /// meanwhile, if it began less than a second before, on a host where few die. A process that lives on may have closed the
    /// socket itself, so none of the account may live that has sockets, or was never looked at. Without an account those of
    /// all are taken, so hardly ever is one inferred.
    pub(super) fn infer(&self, uid: Option<u32>, asked: Timestamp, looked: Timestamp) -> Option<ProcessKey> {
        let latest = looked.plus_nanos(DEATH_LAG);
        let of_uid = |dead: &&Dead| uid.is_none_or(|uid| uid == dead.process.uid);
        let lately = |dead: &&Dead| looked.since(dead.died) < FRESH && dead.died <= latest;
        let deaths = self.dead.iter().filter(of_uid).filter(lately).take(MAX_DEATHS + 1).count();
        let may_live = self.alive.values().any(|process| {
            !process.kernel
                && !process.idle
                && process.began <= asked
                && uid.is_none_or(|uid| uid == process.uid)
        });
        if may_live {
            return None;
        }
        let mut candidates = self
            .dead
            .iter()
            .filter(of_uid)
            .filter(|dead| dead.died >= asked && dead.died <= latest && dead.process.began <= asked);
        let only = candidates.next()?;
        let sure = candidates.next().is_none() && deaths <= MAX_DEATHS;
        (sure && asked.since(only.process.began) < FRESH).then_some(only.process.key)
    }
}

/// Puts a pid in front, once, and drops the last ones beyond `cap`.
fn push_front(list: &mut VecDeque<u32>, pid: u32, cap: usize) {
    if list.front() == Some(&pid) {
        return;
    }
    list.retain(|&other| other != pid);
    list.push_front(pid);
    list.truncate(cap);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_nanos(1_000 * NANOS_PER_SEC + ms * 1_000_000)
    }

    fn process(pid: u32, uid: u32, began_ms: i64) -> Alive {
        let key = ProcessKey { pid, start: at(began_ms) };
        Alive {
            key,
            parent: 1,
            uid,
            kernel: false,
            forked: Some(at(began_ms)),
            began: at(began_ms),
            idle: false,
        }
    }

    fn with(processes: &[Alive]) -> Processes {
        let mut all = Processes::default();
        processes.iter().for_each(|&p| all.began(p));
        all
    }

    #[test]
    fn the_only_one_that_died_meanwhile_is_inferred_and_one_of_two_is_not() {
        let mut all = with(&[process(10, 1000, 0), process(11, 1000, 0), process(12, 0, 0)]);
        all.looked_at(11, true);
        all.died(10, at(12));
        all.died(12, at(12));
        assert_eq!(all.infer(Some(1000), at(10), at(11)).unwrap().pid, 10);
        assert_eq!(all.infer(Some(0), at(10), at(11)).unwrap().pid, 12);
        assert_eq!(all.infer(None, at(10), at(11)), None, "two, where the account is not known");
        all.died(11, at(13));
        assert_eq!(all.infer(Some(1000), at(10), at(11)), None);
    }

    #[test]
    fn who_died_before_or_long_after_or_lives_or_is_old_is_not_inferred() {
        let all = |began, died| {
            let mut all = with(&[process(10, 0, began), process(11, 0, 0)]);
            all.looked_at(11, true);
            all.died(10, at(died));
            all.infer(Some(0), at(5_000), at(5_001))
        };
        assert!(all(4_500, 5_002).is_some());
        assert_eq!(all(4_500, 4_999), None, "died before the call");
        assert_eq!(all(4_500, 5_100), None, "still lived when the socket had gone");
        assert_eq!(all(3_000, 5_002), None, "began long before");
        assert_eq!(all(5_001, 5_002), None, "began after the call");
    }

    #[test]
    fn beside_a_process_that_lives_on_and_has_sockets_none_is_inferred() {
        let mut all = with(&[process(10, 7, 4_900), process(11, 7, 0), process(12, 8, 0)]);
        all.died(10, at(5_002));
        let infer = |all: &Processes| all.infer(Some(7), at(5_000), at(5_001));
        assert_eq!(infer(&all), None, "never looked at");
        all.looked_at(11, true);
        assert!(infer(&all).is_some());
        all.looked_at(11, false);
        assert_eq!(infer(&all), None, "it may have closed the socket itself");
    }

    #[test]
    fn among_many_deaths_none_is_inferred_from() {
        let infer = |others: u32| {
            let mut all = with(&[process(10, 0, 4_900)]);
            for pid in 20..20 + others {
                all.began(process(pid, 0, 4_000));
                all.died(pid, at(4_100 + i64::from(pid)));
            }
            all.died(10, at(5_002));
            all.infer(Some(0), at(5_000), at(5_001))
        };
        assert!(infer(3).is_some());
        assert_eq!(infer(4), None);
    }

    #[test]
    fn the_newest_are_asked_first_and_other_accounts_last() {
        let mut all = with(&[process(1, 0, 0), process(2, 7, 1), process(3, 7, 2), process(4, 7, 9_990)]);
        assert_eq!(all.first(7, at(10_000)), [4]);
        all.owned(2);
        assert_eq!(all.first(7, at(10_000)), [4, 2]);
        assert_eq!(all.rest(7, &[4, 2]), [3, 1]);
        all.looked_at(3, true);
        assert_eq!(all.rest(7, &[4, 2]), [1, 3], "who had no socket comes last");
    }

    #[test]
    fn memory_is_bounded() {
        let mut all = Processes::default();
        for pid in 0..20_000 {
            all.began(process(pid, 0, i64::from(pid)));
            all.died(pid, at(i64::from(pid)));
        }
        assert!(all.dead.len() <= MAX_DEAD && all.recent.len() <= MAX_RECENT && all.alive.is_empty());
        all.began(process(5, 0, 20_000));
        all.died(5, at(200_000));
        assert_eq!(all.dead.len(), 1, "the rest died more than a minute before");
    }
}
