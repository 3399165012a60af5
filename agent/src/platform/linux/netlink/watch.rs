//! The threads that must act at once: one per network namespace that hears SYNs and looks their sockets up, and one that
//! looks for the holders of sockets that were found in tables.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sonde_common::live::{ProcessEvent, SocketId, Unavailable};
use sonde_common::net::FiveTuple;
use sonde_common::process::ProcessKey;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::clock;
use super::connector::Take;
use super::diag::{Row, state};
use super::finder::Finder;
use super::introduce::Introductions;
use super::processes::Processes;
use super::procfs::Proc;
use super::queue::{Queue, lock};
use super::socket::DiagSocket;
use crate::platform::linux::namespaces::Spaces;
use crate::platform::linux::packets::{Syn, SynWatch};

/// How long a thread waits for a SYN before it looks whether it is still wanted.
const WAIT: Duration = Duration::from_secs(1);
/// SYNs that are remembered to know them again: they come once per interface that lies on another, and anew when unanswered.
const MAX_REPEATED: usize = 64;
/// A SYN of the same ends within this time is the same call (RFC 6298: it is first repeated after a second).
const REPEAT: i64 = NANOS_PER_SEC * 9 / 10;
/// Sockets that wait for their holder to be looked for.
const MAX_WAITING: usize = 1024;

/// What the threads found.
#[derive(Debug)]
pub(super) enum Told {
    Process(ProcessEvent),
    /// A call went out.
    Syn(Seen),
    /// A socket stood in a table.
    Row {
        space: u64,
        row: Row,
        time: Timestamp,
        owner: Option<ProcessKey>,
        found: bool,
    },
}

/// An outgoing call and what was found of its socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) space: u64,
    pub(super) time: Timestamp,
    pub(super) tuple: FiveTuple,
    /// `None`: it was gone already.
    pub(super) row: Option<Row>,
    pub(super) owner: Option<ProcessKey>,
    /// When the search was over.
    pub(super) looked: Timestamp,
}

impl Seen {
    pub(super) fn socket(&self) -> SocketId {
        self.row.map_or_else(SocketId::default, |row| row.socket)
    }
}

/// What all threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) boot: Timestamp,
    pub(super) processes: Arc<Mutex<Processes>>,
    pub(super) queue: Queue<Told>,
    /// The proc connector works.
    pub(super) told: AtomicBool,
    /// Tells of callers where the connector does not.
    pub(super) introductions: Mutex<Introductions>,
    /// Calls that the kernel had no room for, or could not tell of.
    pub(super) lost: AtomicU64,
}

impl Shared {
    pub(super) fn finder(&self) -> io::Result<Finder> {
        let told = self.told.load(Ordering::Relaxed);
        Ok(Finder::new(Proc::open(self.boot)?, Arc::clone(&self.processes), told))
    }

    /// Tells who an owner is, where nothing else does.
    fn introduce(&self, owner: Option<ProcessKey>, time: Timestamp) {
        if let Some(owner) = owner.filter(|_| !self.told.load(Ordering::Relaxed))
            && let Some(event) = lock(&self.introductions).introduce(owner, time)
        {
            self.queue.push(Told::Process(event));
        }
    }
}

/// The thread of one namespace. It ends, within a second, after this is dropped.
#[derive(Debug)]
pub(super) struct SynThread {
    stop: Arc<AtomicBool>,
    self_test_over: Arc<AtomicBool>,
}

impl SynThread {
    /// Starts it in the calling thread's namespace, with calls to `port` on the loopback interface.
    pub(super) fn start(space: u64, port: Option<u16>, shared: Arc<Shared>) -> Result<Self, Unavailable> {
        let watch = port.map_or_else(SynWatch::open, SynWatch::open_for_self_test)?;
        let failed = |error: io::Error| {
            super::unavailable("owners by outgoing SYN", &error, "load the module tcp_diag")
        };
        let diag = DiagSocket::open().map_err(failed)?;
        let finder = shared.finder().map_err(failed)?;
        let (stop, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut thread = Watching {
            space,
            watch,
            diag,
            finder,
            shared,
            stop: Arc::clone(&stop),
            self_test_over: Arc::clone(&over),
            recent: VecDeque::with_capacity(MAX_REPEATED),
            lost: 0,
        };
        thread::Builder::new().name("syn-watch".into()).spawn(move || thread.run()).map_err(failed)?;
        Ok(Self { stop, self_test_over: over })
    }

    pub(super) fn end_self_test(&self) {
        self.self_test_over.store(true, Ordering::Relaxed);
    }
}

impl Drop for SynThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Watching {
    space: u64,
    watch: SynWatch,
    diag: DiagSocket,
    finder: Finder,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    self_test_over: Arc<AtomicBool>,
    recent: VecDeque<(SocketAddr, SocketAddr, Timestamp)>,
    lost: u64,
}

impl Watching {
    fn run(&mut self) {
        let mut heard = 0u32;
        while !self.stop.load(Ordering::Relaxed) {
            if self.self_test_over.swap(false, Ordering::Relaxed) {
                // Where the filter cannot be changed, calls on the loopback interface are left out further on.
                let _ = self.watch.end_self_test();
            }
            match self.watch.recv(WAIT) {
                Ok(Some(syn)) => {
                    self.heard(&syn);
                    heard = heard.wrapping_add(1);
                    if heard.is_multiple_of(64) {
                        self.count_lost();
                    }
                }
                Ok(None) => self.count_lost(),
                // An interface went down; the socket serves the others.
                Err(_) => thread::sleep(WAIT / 10),
            }
        }
    }

    fn count_lost(&mut self) {
        let lost = self.watch.lost();
        self.shared.lost.fetch_add(lost.saturating_sub(self.lost), Ordering::Relaxed);
        self.lost = lost;
    }

    fn heard(&mut self, syn: &Syn) {
        let (local, remote, time) = (syn.tuple.local, syn.tuple.remote, syn.time);
        if self.recent.iter().any(|&(l, r, t)| (l, r) == (local, remote) && time.since(t) < REPEAT) {
            return;
        }
        if self.recent.len() == MAX_REPEATED {
            self.recent.pop_front();
        }
        self.recent.push_back((local, remote, time));
        let row = self.diag.look_up(&syn.tuple, syn.interface).unwrap_or_else(|_| {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            None
        });
        let row = row.filter(|row| row.state != state::TIME_WAIT);
        let owner = row.and_then(|row| self.finder.find(row.inode, row.uid, Some(time)));
        let looked = clock::realtime();
        self.shared.introduce(owner, time);
        let seen = Seen { space: self.space, time, tuple: syn.tuple, row, owner, looked };
        self.shared.queue.push(Told::Syn(seen));
        self.finder.keep_up();
    }
}

/// The thread that looks for the holders of sockets out of tables. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct HolderThread(SyncSender<(u64, Row, Timestamp, bool)>);

impl HolderThread {
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (send, receive): (_, Receiver<(u64, Row, Timestamp, bool)>) = sync_channel(MAX_WAITING);
        let mut finder = shared.finder()?;
        thread::Builder::new().name("socket-holders".into()).spawn(move || {
            for (space, row, time, found) in receive {
                let owner = finder.find(row.inode, row.uid, None);
                shared.introduce(owner, time);
                shared.queue.push(Told::Row { space, row, time, owner, found });
                finder.keep_up();
            }
        })?;
        Ok(Self(send))
    }

    /// Asks for a socket's holder; returns whether there was room for the question.
    pub(super) fn ask(&self, space: u64, row: Row, time: Timestamp, found: bool) -> bool {
        self.0.try_send((space, row, time, found)).is_ok()
    }
}

/// Starts a thread in a namespace that was found later.
pub(super) fn start_in(space: u64, shared: &Arc<Shared>) -> io::Result<SynThread> {
    SynThread::start(space, None, Arc::clone(shared)).map_err(|missing| io::Error::other(missing.reason))
}

/// What the connector's thread does with an event: queues it, and begins to watch a namespace as soon as a program runs in it.
pub(super) fn process_taker(
    shared: Arc<Shared>,
    watched: Arc<Mutex<Spaces<SynThread>>>,
    entered: Arc<AtomicBool>,
) -> io::Result<Take> {
    let proc = Proc::open(shared.boot)?;
    let mut last = lock(&watched).own();
    Ok(Box::new(move |event| {
        if let ProcessEvent::Started(start) = &event
            && start.net_namespace != 0
            && start.net_namespace != last
        {
            last = start.net_namespace;
            let pid = start.process.pid;
            let file = || Ok(File::from(proc.net_namespace_file(pid)?));
            // What cannot be entered is tried again, and counted, when namespaces are next looked for.
            let fresh = lock(&watched).enter(start.net_namespace, file, |inode| start_in(inode, &shared));
            if matches!(fresh, Ok(true)) {
                entered.store(true, Ordering::Relaxed);
            }
        }
        shared.queue.push(Told::Process(event));
    }))
}
