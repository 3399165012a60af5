//! The layer of event tracing: sessions for network, processes and names, watched once a second, and reconciled with the
//! tables of sockets.
//!
//! A session that was started is not one that works: Wine starts it and hands out nothing. So the layer calls itself over
//! loopback, and is active only once an event came of it; it does so again whenever it heard nothing for a while.

use std::collections::HashSet;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use sonde_common::live::{Gap, GapCause, LiveEvent, Unavailable};
use sonde_common::net::FiveTuple;
use sonde_common::process::{Method, ProcessKey};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use sonde_common::windows::etw::{Ask, Assembler, DNS_CLIENT, KERNEL_NETWORK, KERNEL_PROCESS};
use sonde_common::windows::sid::Sid;

use super::session::{BUFFER_KB, Inbox, Plan, Session, Wanted};
use crate::live::layer::Layer;
use crate::platform::windows::identity;
use crate::platform::windows::poll::{Tables, now};

/// What a session has to say within this time, or it is deaf.
const PROOF: Duration = Duration::from_secs(3);
/// A silence after which the proof is asked for again.
const SILENCE: i64 = 60 * NANOS_PER_SEC;
/// Sessions are asked what they lost, and the tables are read, this often.
const WATCH_EVERY: i64 = NANOS_PER_SEC;
/// A session that was stopped is opened again after so long.
const RETRY: i64 = 5 * NANOS_PER_SEC;
/// What is gone from the tables is over only after so much silence.
const SETTLING: i64 = 3 * NANOS_PER_SEC;
/// Records that wait between two drains.
const INBOX: usize = 1 << 16;

/// IPv4 and IPv6 (manifest of the provider).
const NETWORK: [Wanted; 1] = [Wanted { provider: KERNEL_NETWORK, keywords: 0x10 | 0x20 }];
/// Starts and ends of processes; the names that programs have resolved.
const PROCESS: [Wanted; 2] =
    [Wanted { provider: KERNEL_PROCESS, keywords: 0x10 }, Wanted { provider: DNS_CLIENT, keywords: 0 }];

/// Sockets, processes and names by event tracing.
#[derive(Debug)]
pub struct EtwLayer {
    inbox: Arc<Inbox>,
    watched: Vec<Watched>,
    assembler: Assembler,
    tables: Tables,
    /// Connections that the tables named the last time: one that no event told of is told of the second time.
    before: HashSet<FiveTuple>,
    looked: Timestamp,
    heard: (u64, Timestamp),
    asked: Option<Timestamp>,
    unavailable: Vec<Unavailable>,
}

#[derive(Debug)]
struct Watched {
    plan: Plan,
    session: Option<Session>,
    /// What it, and those before it, lost.
    lost: u64,
    lost_before: u64,
    /// When it was last known to run.
    alive: Timestamp,
    tried: Timestamp,
}

impl EtwLayer {
    /// Opens the sessions, and waits for proof that events come. `bytes`: room for events that wait, of all sessions.
    ///
    /// # Errors
    /// If the network's session cannot be opened, or is deaf. What is missing of the others is named.
    pub fn open(bytes: u64) -> Result<Self, Unavailable> {
        let inbox = Arc::new(Inbox::new(INBOX));
        let buffers = u32::try_from(bytes / u64::from(BUFFER_KB << 10)).unwrap_or(u32::MAX).clamp(16, 256);
        let plan = |name, flush_ms, providers| Plan { name, flush_ms, buffers, providers };
        let network = plan("Sonde-Network", 20, &NETWORK);
        let start = now();
        let open = |plan: Plan, inbox: &Arc<Inbox>| {
            Session::open(&plan, inbox).map(|session| Watched {
                plan,
                session: Some(session),
                lost: 0,
                lost_before: 0,
                alive: start,
                tried: start,
            })
        };
        let mut watched =
            vec![open(network, &inbox).map_err(|error| refused("connections by event tracing", &error))?];
        prove(&inbox).map_err(|error| refused("connections by event tracing", &error))?;
        let mut unavailable = Vec::new();
        for (plan, what) in [
            (plan("Sonde-Process", 5, &PROCESS), "starts of processes, and names that programs resolve"),
            (plan("Sonde-Start", 5, &[]), "command lines of processes that end at once"),
        ] {
            match open(plan, &inbox) {
                Ok(session) => watched.push(session),
                Err(error) => unavailable.push(refused(what, &error)),
            }
        }
        let mut assembler = Assembler::new(identity::volumes());
        identity::processes().into_iter().for_each(|process| assembler.found(process));
        let mut layer = Self {
            heard: (inbox.records.load(Ordering::Relaxed), start),
            inbox,
            watched,
            assembler,
            tables: Tables::default(),
            before: HashSet::new(),
            looked: start,
            asked: None,
            unavailable,
        };
        // The seed tells of what was there before; here it is only known.
        if let Ok(Some(standing)) = layer.tables.take(start, Method::Seed, false) {
            layer.assembler.reconcile(start, &standing, true, SETTLING, &mut Vec::new());
        }
        Ok(layer)
    }

    /// Asks each session what it lost, and opens again what was stopped.
    fn watch(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        for watched in &mut self.watched {
            match watched.session.as_ref().map(Session::lost) {
                Some(Ok(lost)) => {
                    watched.lost = lost;
                    watched.alive = now;
                }
                Some(Err(error)) => {
                    tracing::warn!(session = watched.plan.name, %error, "an event session was stopped");
                    watched.lost_before += std::mem::take(&mut watched.lost);
                    watched.session = None;
                    watched.tried = now;
                    watched.reopen(&self.inbox, now, out);
                }
                None if now.since(watched.tried) >= RETRY || now < watched.tried => {
                    watched.tried = now;
                    watched.reopen(&self.inbox, now, out);
                }
                None => {}
            }
        }
        self.listen(now, out);
    }

    /// Whether the network's session still hears: silence may be an idle host, or deafness.
    fn listen(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        let records = self.inbox.records.load(Ordering::Relaxed);
        if records != self.heard.0 || now < self.heard.1 {
            self.heard = (records, now);
            self.asked = None;
            return;
        }
        match self.asked {
            None if now.since(self.heard.1) >= SILENCE => {
                self.asked = call_ourselves().ok().map(|()| now);
            }
            Some(asked) if now.since(asked) >= 3 * NANOS_PER_SEC => {
                tracing::warn!("the event sessions are deaf and are opened again");
                self.asked = None;
                let since = std::mem::replace(&mut self.heard.1, now);
                out.push(gap(since, now));
                for watched in &mut self.watched {
                    watched.lost_before += std::mem::take(&mut watched.lost);
                    watched.session = None;
                    watched.reopen(&self.inbox, now, out);
                }
            }
            _ => {}
        }
    }

    fn reconcile(&mut self, seen: Timestamp, out: &mut Vec<LiveEvent>) {
        let Ok(Some(mut standing)) = self.tables.take(seen, Method::Poll, true) else { return };
        let there: HashSet<FiveTuple> = standing.iter().map(|row| row.tuple).collect();
        let before = std::mem::replace(&mut self.before, there);
        // What is in the tables for the first time may be in a record that is still held back.
        standing.retain(|row| before.contains(&row.tuple));
        self.assembler.reconcile(seen, &standing, false, SETTLING, out);
    }
}

impl Watched {
    fn reopen(&mut self, inbox: &Arc<Inbox>, now: Timestamp, out: &mut Vec<LiveEvent>) {
        match Session::open(&self.plan, inbox) {
            Ok(session) => {
                self.session = Some(session);
                out.push(gap(self.alive, now));
                tracing::info!(session = self.plan.name, "an event session was opened again");
            }
            Err(error) => {
                tracing::warn!(session = self.plan.name, %error, "an event session cannot be opened")
            }
        }
    }
}

const fn gap(since: Timestamp, until: Timestamp) -> LiveEvent {
    LiveEvent::Gap(Gap { since, until, cause: GapCause::EventsLost, lost: 0 })
}

impl Layer for EtwLayer {
    fn method(&self) -> Method {
        Method::Etw
    }

    fn drain(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        self.inbox.set_clock();
        for (time, told) in self.inbox.take() {
            self.assembler.told(time, told);
        }
        self.assembler.drain(now, &mut System, out);
        if now.since(self.looked) >= WATCH_EVERY || now < self.looked {
            self.looked = now;
            self.watch(now, out);
            self.reconcile(now, out);
        }
    }

    fn lost(&self) -> u64 {
        let sessions: u64 = self.watched.iter().map(|watched| watched.lost + watched.lost_before).sum();
        let (crowded, damaged) = (&self.inbox.crowded, &self.inbox.damaged);
        sessions
            + crowded.load(Ordering::Relaxed)
            + damaged.load(Ordering::Relaxed)
            + self.assembler.losses().total()
    }

    fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }
}

/// The system, as the assembler asks it.
struct System;

impl Ask for System {
    fn created(&mut self, pid: u32) -> Option<Timestamp> {
        identity::created(pid)
    }

    fn command_line(&mut self, process: ProcessKey) -> Option<String> {
        identity::command_line(process)
    }

    fn account(&mut self, process: ProcessKey, told: Option<&Sid>) -> u32 {
        told.map_or_else(|| identity::account_of(process), identity::account_of_sid)
    }
}

/// Sends a datagram to ourselves, over loopback.
fn call_ourselves() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.send_to(b"sonde", socket.local_addr()?)?;
    Ok(())
}

/// Waits for an event of a call to ourselves.
fn prove(inbox: &Inbox) -> io::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < PROOF {
        call_ourselves()?;
        thread::sleep(Duration::from_millis(50));
        if inbox.records.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "the session was started, but no event came of a call to ourselves",
    ))
}

fn refused(what: &str, error: &io::Error) -> Unavailable {
    Unavailable {
        what: what.to_owned(),
        reason: error.to_string(),
        remedy: "run as SYSTEM, as the service does; `logman query -ets` lists the sessions, of which Windows has 64".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_without_events_is_not_taken_for_one_that_works() {
        // Wine starts sessions and hands out nothing; Windows hands out events to SYSTEM, and refuses others.
        match EtwLayer::open(8 << 20) {
            Ok(layer) => assert!(layer.inbox.records.load(Ordering::Relaxed) > 0),
            Err(refused) => assert!(!refused.reason.is_empty() && refused.remedy.contains("SYSTEM")),
        }
    }
}
