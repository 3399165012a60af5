//! Puts together what records of several sessions told, in the order of time.
//!
//! Each session hands out its records in bursts of its own, so what came is held back for a moment and then sorted: a socket's
//! process is known by the time of its first deed. Whom no event named, the caller may look up.

use std::collections::VecDeque;

use super::dns::{Query, Stage};
use super::process::{Began, Launched};
use super::processes::Processes;
use super::sockets::{Sockets, Standing};
use super::{Flaw, Record, Told, decode};
use crate::event::DOMAIN_TEXT;
use crate::live::{LiveEvent, ProcessEvent, ProcessStart, Resolved, SocketOwner};
use crate::process::{Attribution, Method, ProcessKey, Quality};
use crate::time::{NANOS_PER_SEC, Timestamp};
use crate::windows::command_line;
use crate::windows::path::Volumes;

/// What came is held back for so long: a session hands out what it has after 20 ms, and a busy machine later.
const HOLD: i64 = NANOS_PER_SEC / 10;
/// Records that are held back; what comes beyond them is lost and counted.
const MAX_HELD: usize = 1 << 17;
/// Command lines and questions that wait for the other half of what is told of them.
const MAX_HALVES: usize = 4096;
/// A half is waited for so long.
const HALF_LIFE: i64 = 10 * NANOS_PER_SEC;
/// How sure the kernel's own word is.
const KERNEL: Attribution = Attribution { method: Method::Etw, quality: Quality::KernelExact };
const SEEN: Attribution = Attribution { method: Method::Etw, quality: Quality::Exact };

/// What the system can be asked for, where no event told of it.
pub trait Ask {
    /// When the process that has this number now was made.
    fn created(&mut self, pid: u32) -> Option<Timestamp>;
    /// The command line of a process that runs.
    fn command_line(&mut self, process: ProcessKey) -> Option<String>;
    /// The number under which the account of a process is known here.
    fn account(&mut self, process: ProcessKey, told: Option<&crate::windows::sid::Sid>) -> u32;
}

/// What was lost on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Records that could not be read.
    pub damaged: u64,
    /// Records that found no room.
    pub crowded: u64,
    /// Sockets and processes that are not followed for want of room.
    pub refused: u64,
}

impl Losses {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.damaged + self.crowded + self.refused
    }
}

/// Records in, live events out.
#[derive(Debug, Default)]
pub struct Assembler {
    held: Vec<(Timestamp, Told)>,
    volumes: Volumes,
    sockets: Sockets,
    processes: Processes,
    launched: VecDeque<(Timestamp, Launched)>,
    asked: VecDeque<(Timestamp, Query)>,
    losses: Losses,
}

impl Assembler {
    /// One that writes paths with these letters.
    #[must_use]
    pub fn new(volumes: Volumes) -> Self {
        Self { volumes, ..Self::default() }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// If it is damaged, which is counted too.
    pub fn record(&mut self, record: &Record<'_>) -> Result<(), Flaw> {
        match decode(record) {
            Ok(Some(told)) => self.told(record.time, told),
            Ok(None) => {}
            Err(flaw) => {
                self.losses.damaged += 1;
                return Err(flaw);
            }
        }
        Ok(())
    }

    /// Takes what a record told.
    pub fn told(&mut self, time: Timestamp, told: Told) {
        if self.held.len() >= MAX_HELD {
            self.losses.crowded += 1;
        } else {
            self.held.push((time, told));
        }
    }

    /// A process that was there before.
    pub fn found(&mut self, process: ProcessKey) {
        self.processes.began(process.pid, process.start);
    }

    /// Takes what the socket tables hold ([`Standing`]), read at `seen`. `first`: what was there before the
    /// sensor. `settling`: what is gone from them is told only after so many nanoseconds of silence.
    pub fn reconcile(
        &mut self,
        seen: Timestamp,
        standing: &[Standing],
        first: bool,
        settling: i64,
        out: &mut Vec<LiveEvent>,
    ) {
        self.sockets.reconcile(seen, standing, first, settling, out);
    }

    /// Hands out what happened until a moment ago.
    pub fn drain(&mut self, now: Timestamp, ask: &mut dyn Ask, out: &mut Vec<LiveEvent>) {
        // The kernel's own trace may tell of a start a little later than the other provider.
        for (time, told) in self.held.extract_if(.., |(_, told)| matches!(told, Told::Launched(_))) {
            if let Told::Launched(launched) = told {
                keep(&mut self.launched, time, launched);
            }
        }
        self.held.sort_by_key(|(time, told)| (*time, order(told)));
        let until = now.plus_nanos(-HOLD);
        let young = self.held.partition_point(|(time, _)| *time <= until);
        // A clock that was set back must not hold for ever what came before.
        let old = self.held.partition_point(|(time, _)| *time <= now.plus_nanos(HALF_LIFE));
        let later = self.held.split_off(old);
        let ready: Vec<_> = self.held.drain(..young).chain(later).collect();
        for (time, told) in ready {
            self.sockets.advance(time, out);
            match told {
                Told::Network(transfer) => {
                    let processes = &mut self.processes;
                    let owner = || {
                        let process = owner(processes, transfer.pid?, time, ask)?;
                        Some(SocketOwner { process, uid: ask.account(process, None), attribution: KERNEL })
                    };
                    self.sockets.take(time, &transfer, owner, out);
                }
                Told::Launched(_) => {}
                Told::Began(began) => self.began(time, began, ask, out),
                Told::Ended(ended) => {
                    let process = ProcessKey { pid: ended.pid, start: ended.created };
                    self.processes.ended(time, process);
                    out.push(LiveEvent::Process(ProcessEvent::Exited { time, process }));
                }
                Told::Dns(query) => self.query(time, query, ask, out),
            }
        }
        self.sockets.advance(until, out);
    }

    /// Forgets all sockets: the session was blind, and what it knew may be wrong.
    pub fn forget_sockets(&mut self) {
        self.sockets.forget();
    }

    /// Sockets followed now.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// What was lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        Losses { refused: self.sockets.refused + self.processes.refused, ..self.losses }
    }

    fn began(&mut self, time: Timestamp, began: Began, ask: &mut dyn Ask, out: &mut Vec<LiveEvent>) {
        let process = ProcessKey { pid: began.pid, start: began.created };
        self.processes.began(process.pid, process.start);
        if began.found {
            return;
        }
        let launched = take(&mut self.launched, time, |launched| {
            launched.pid == began.pid && launched.parent == began.parent
        });
        let line = launched.as_ref().map(|(_, launched)| launched.command_line.clone());
        let line = line.filter(|line| !line.is_empty()).or_else(|| ask.command_line(process));
        let user = launched.as_ref().and_then(|(_, launched)| launched.user.as_ref());
        let start = ProcessStart {
            time,
            process,
            parent: owner(&mut self.processes, began.parent, began.created, ask),
            uid: ask.account(process, user),
            image: self.volumes.to_dos(&began.image).into_bytes(),
            arguments: line.map(|line| command_line::arguments(&line)).unwrap_or_default(),
            ..ProcessStart::default()
        };
        out.push(LiveEvent::Process(ProcessEvent::Started(Box::new(start))));
    }

    fn query(&mut self, time: Timestamp, query: Query, ask: &mut dyn Ask, out: &mut Vec<LiveEvent>) {
        match query.stage {
            Stage::Asked => return keep(&mut self.asked, time, query),
            Stage::Completed => {}
            // The same question is completed, and told of, in the process that asked.
            Stage::Cache | Stage::Server => return,
        }
        let asked = take(&mut self.asked, time, |asked| {
            (asked.pid, asked.query_type) == (query.pid, query.query_type) && asked.name == query.name
        });
        let mut name = String::new();
        DOMAIN_TEXT.append(&query.name, &mut name);
        let process = owner(&mut self.processes, query.pid, time, ask);
        out.push(LiveEvent::Resolved(Box::new(Resolved {
            time,
            start: asked.map_or(time, |(start, _)| start),
            process,
            attribution: if process.is_some() { SEEN } else { Attribution::NONE },
            query: name,
            query_type: query.query_type,
            response_code: query.response_code,
            addresses: query.addresses,
        })));
    }
}

/// Events of one moment in the order in which they make sense: who is it, what did it do, it is gone.
const fn order(told: &Told) -> u8 {
    match told {
        Told::Launched(_) => 0,
        Told::Began(_) => 1,
        Told::Network(_) | Told::Dns(_) => 2,
        Told::Ended(_) => 3,
    }
}

/// The process of a number, asked for if no event told of it; nobody is better than the wrong one.
fn owner(processes: &mut Processes, pid: u32, time: Timestamp, ask: &mut dyn Ask) -> Option<ProcessKey> {
    // 0 is no process, and what the kernel does for itself is done by 4.
    if pid == 0 {
        return None;
    }
    if let Some(process) = processes.at(pid, time) {
        return Some(process);
    }
    let start = ask.created(pid)?;
    processes.began(pid, start);
    processes.at(pid, time)
}

fn keep<T>(halves: &mut VecDeque<(Timestamp, T)>, time: Timestamp, half: T) {
    while halves.len() >= MAX_HALVES || halves.front().is_some_and(|(at, _)| time.since(*at) > HALF_LIFE) {
        halves.pop_front();
    }
    halves.push_back((time, half));
}

fn take<T>(
    halves: &mut VecDeque<(Timestamp, T)>,
    time: Timestamp,
    fits: impl Fn(&T) -> bool,
) -> Option<(Timestamp, T)> {
    let apart = |at: Timestamp| time.since(at).saturating_abs();
    let fitting = halves.iter().enumerate().filter(|(_, (at, half))| apart(*at) <= HALF_LIFE && fits(half));
    let (at, _) = fitting.min_by_key(|(_, (at, _))| apart(*at))?;
    halves.remove(at)
}
