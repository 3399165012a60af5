//! The netlink layer: what its threads found, what the kernel told of closed sockets and what tables show, as events.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sonde_common::live::{LiveEvent, SocketEvent, SocketId, SocketNews, SocketOwner, Unavailable};
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::process::{Attribution, Method, ProcessKey, Quality};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::closing::{Gone, destroyed, totals};
use super::connector::Connector;
use super::diag::{Row, state};
use super::introduce::Introductions;
use super::meter::{ExchangeMeter, listened, living, outgoing};
use super::processes::Processes;
use super::procfs::Proc;
use super::queue::{Queue, lock};
use super::socket::{DiagSocket, Heard, Listener};
use super::watch::{HolderThread, Seen, Shared, SynThread, Told, process_taker, start_in};
use super::{clock, connector, self_test, unavailable};
use crate::live::layer::Layer;
use crate::platform::linux::namespaces::Spaces;

/// Sockets whose end is waited for; of more the end is not told.
const MAX_SOCKETS: usize = 1 << 16;
/// Closed sockets that no call is known of yet: its thread may still be looking.
const MAX_GONE: usize = 4096;
/// How long these wait.
const GONE_KEPT: i64 = NANOS_PER_SEC;
/// How long a call whose socket was gone waits for the kernel's record of it and of its process.
const SETTLE: i64 = 30_000_000;
/// How often UDP sockets are read.
const UDP_INTERVAL: i64 = NANOS_PER_SEC / 4;
/// How often new and gone network namespaces are looked for, beside those that a new program shows.
const NAMESPACE_INTERVAL: i64 = 5 * NANOS_PER_SEC;
/// Messages taken from one namespace's listener per drain.
const MAX_MESSAGES: usize = 1 << 16;

/// What the layer needs to know.
#[derive(Clone, Copy, Debug)]
pub struct NetlinkOptions {
    /// Wall-clock time of the boot, fixed for the sensor's run: starts of processes are counted from it.
    pub boot: Timestamp,
    /// Events that may wait to be drained; what has no room is counted as lost.
    pub queue: usize,
}

/// What is open in one network namespace.
#[derive(Debug)]
struct Space {
    diag: DiagSocket,
    destroyed: Option<Listener>,
    /// Its sockets were read once.
    read: bool,
}

/// A socket that was told of.
#[derive(Clone, Copy, Debug)]
struct Known {
    tuple: FiveTuple,
    opened: Timestamp,
    /// The dump that it last stood in, where dumps tell its end (UDP).
    round: u32,
}

/// Sockets by what the kernel tells when they are opened and closed; owners by looking at once.
#[derive(Debug)]
pub struct NetlinkLayer {
    shared: Arc<Shared>,
    connector: Option<Connector>,
    watched: Arc<Mutex<Spaces<SynThread>>>,
    /// The connector saw a program in a namespace that was not watched.
    entered: Arc<AtomicBool>,
    holders: HolderThread,
    spaces: Spaces<Space>,
    meter: Option<ExchangeMeter>,
    proc: Proc,
    known: HashMap<(u64, SocketId), Known>,
    gone: HashMap<(u64, FiveTuple), Gone>,
    waiting: Vec<Seen>,
    round: u32,
    next_udp: Timestamp,
    next_namespaces: Timestamp,
    loopback: bool,
    lost: u64,
    unavailable: Vec<Unavailable>,
}

impl NetlinkLayer {
    /// Starts the layer, and proves it with connections of our own on the loopback interface.
    ///
    /// # Errors
    /// What is missing, where calls cannot be heard or their sockets not be looked up. What is missing beside that is in
    /// [`Layer::unavailable`].
    pub fn open(options: &NetlinkOptions) -> Result<Self, Unavailable> {
        self_test::open(options, false).map(|(layer, _)| layer)
    }

    /// Starts it without proof; calls to `port` on the loopback interface are heard.
    pub(super) fn start(
        options: &NetlinkOptions,
        port: Option<u16>,
        loopback: bool,
    ) -> Result<Self, Unavailable> {
        let failed = |error: io::Error| unavailable("netlink layer", &error, "mount /proc and run as root");
        let mut missing = vec![Unavailable {
            what: "UDP senders without a connected socket, and sockets that live less than 250 ms".to_owned(),
            reason: "the kernel tells no peer of them over netlink".to_owned(),
            remedy: "use the eBPF layer; their packets are seen all the same, without a process".to_owned(),
        }];
        let processes = Arc::new(Mutex::new(Processes::default()));
        let shared = Arc::new(Shared {
            boot: options.boot,
            processes: Arc::clone(&processes),
            queue: Queue::new(options.queue),
            told: AtomicBool::new(true),
            introductions: Mutex::new(Introductions::new(options.boot).map_err(failed)?),
            lost: 0.into(),
        });
        let watched = Arc::new(Mutex::new(Spaces::new().map_err(failed)?));
        let entered = Arc::new(AtomicBool::new(false));
        let take = process_taker(Arc::clone(&shared), Arc::clone(&watched), Arc::clone(&entered));
        let connector = take.and_then(|take| Connector::start(options.boot, processes, take));
        let connector = connector.map_err(|error| {
            shared.told.store(false, Ordering::Relaxed);
            missing.push(connector::missing(&error));
        });
        // The sensor's own namespace must work; the others are followed as they come.
        let first = SynThread::start(lock(&watched).own(), port, Arc::clone(&shared))?;
        {
            let mut watched = lock(&watched);
            let (own, first) = (watched.own(), Mutex::new(Some(first)));
            let again = || io::Error::other("opened twice");
            let open = |_| first.lock().ok().and_then(|mut first| first.take()).ok_or_else(again);
            watched.enter(own, || Err(again()), open).map_err(failed)?;
        }
        let meter = ExchangeMeter::with_loopback(loopback).map_err(|reason| missing.push(reason)).ok();
        let mut layer = Self {
            holders: HolderThread::start(Arc::clone(&shared)).map_err(failed)?,
            proc: Proc::open(options.boot).map_err(failed)?,
            spaces: Spaces::new().map_err(failed)?,
            shared,
            connector: connector.ok(),
            watched,
            entered,
            meter,
            known: HashMap::new(),
            gone: HashMap::new(),
            waiting: Vec::new(),
            round: 0,
            next_udp: Timestamp::from_nanos(i64::MIN),
            next_namespaces: Timestamp::from_nanos(i64::MIN),
            loopback,
            lost: 0,
            unavailable: missing,
        };
        layer.begin();
        Ok(layer)
    }

    /// Takes note of what is there already: the seed tells of it, this layer only of its end.
    fn begin(&mut self) {
        let now = clock::realtime();
        self.follow_namespaces();
        self.next_namespaces = now.plus_nanos(NAMESPACE_INTERVAL);
        self.read_new_spaces(now, false);
        self.read_udp(now, false, &mut Vec::new());
        if let Ok(mut finder) = self.shared.finder() {
            finder.look_at_all();
        }
        let silent = self.spaces.iter_mut().any(|(_, space)| space.destroyed.is_none());
        if silent {
            self.unavailable.push(Unavailable {
                what: "ends and bytes of TCP connections".to_owned(),
                reason: "the kernel does not tell of destroyed sockets".to_owned(),
                remedy: "Linux 4.4 or later with CONFIG_INET_DIAG".to_owned(),
            });
        }
        if let (refused @ 1.., reason) = lock(&self.watched).refused() {
            self.unavailable.push(Unavailable {
                what: format!("{refused} other network namespaces"),
                reason: reason.map_or_else(String::new, ToString::to_string),
                remedy: "run with CAP_SYS_ADMIN and CAP_SYS_PTRACE".to_owned(),
            });
        }
    }

    pub(super) fn end_self_test(&self) {
        lock(&self.watched).iter_mut().for_each(|(_, thread)| thread.end_self_test());
    }

    pub(super) fn add_unavailable(&mut self, missing: Unavailable) {
        self.unavailable.push(missing);
    }

    fn follow_namespaces(&mut self) {
        let living = living(&self.proc);
        let proc = &self.proc;
        let file = |pid| Ok(File::from(proc.net_namespace_file(pid)?));
        let shared = &self.shared;
        lock(&self.watched).follow(&living, file, |inode| start_in(inode, shared));
        self.spaces.follow(&living, file, |_| {
            Ok(Space {
                diag: DiagSocket::open()?,
                destroyed: Listener::destroyed_sockets().ok(),
                read: false,
            })
        });
        let living = |space: &u64| living.contains_key(space);
        self.known.retain(|(space, _), _| living(space));
    }

    /// Sockets of namespaces that were not read before: those that were opened before they were watched.
    fn read_new_spaces(&mut self, now: Timestamp, tell: bool) {
        let mut rows = Vec::new();
        for (inode, space) in self.spaces.iter_mut().filter(|(_, space)| !space.read) {
            rows.clear();
            let mask = state::CONNECTED | state::bit(state::LISTEN);
            space.read = space.diag.dump(Transport::Tcp, mask, false, &mut |row| rows.push(row)).is_ok();
            let listening = listened(&rows);
            for row in rows.iter().filter(|row| outgoing(row, &listening, self.loopback)) {
                if !tell {
                    self.known.insert((inode, row.socket), Known { tuple: row.tuple, opened: now, round: 0 });
                } else if !self.known.contains_key(&(inode, row.socket))
                    && !self.holders.ask(inode, *row, now, true)
                {
                    self.lost += 1;
                }
            }
        }
    }

    /// Connected UDP sockets: what is new in the table was opened, what is not in it any more is closed.
    fn read_udp(&mut self, now: Timestamp, tell: bool, out: &mut Vec<LiveEvent>) {
        const UNCONNECTED: u32 = state::bit(7);
        self.round = self.round.wrapping_add(1).max(1);
        let round = self.round;
        let mut rows = Vec::new();
        let mut whole = true;
        for (inode, space) in self.spaces.iter_mut() {
            rows.clear();
            let mask = state::bit(state::ESTABLISHED) | UNCONNECTED;
            whole &= space.diag.dump(Transport::Udp, mask, false, &mut |row| rows.push(row)).unwrap_or(false);
            // A port that any socket waits on without a peer is a server's.
            let serving =
                rows.iter().filter(|r| r.state != state::ESTABLISHED).map(|r| r.tuple.local.port()).collect();
            for row in
                rows.iter().filter(|r| r.state == state::ESTABLISHED && outgoing(r, &serving, self.loopback))
            {
                let key = (inode, row.socket);
                match self.known.get_mut(&key) {
                    Some(known) if known.tuple == row.tuple => {
                        known.round = round;
                        continue;
                    }
                    // Connected to another peer now: the old pair is over.
                    Some(known) => out.push(closed(row.socket, known, now, None)),
                    None => {}
                }
                if self.known.len() >= MAX_SOCKETS {
                    self.lost += 1;
                    continue;
                }
                self.known.insert(key, Known { tuple: row.tuple, opened: now, round });
                if tell && !self.holders.ask(inode, *row, now, false) {
                    self.lost += 1;
                }
            }
        }
        if whole {
            self.known.retain(|&(_, socket), known| {
                let there = known.tuple.transport != Transport::Udp || known.round == round;
                if !there {
                    out.push(closed(socket, known, now, None));
                }
                there
            });
        }
    }

    /// What the kernel told of closed sockets.
    fn read_destroyed(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        let mut all = Vec::new();
        for (inode, space) in self.spaces.iter_mut() {
            let Some(listener) = &mut space.destroyed else { continue };
            for _ in 0..MAX_MESSAGES {
                let heard = listener.hear(|message| {
                    if let Some(row) = destroyed(message.body) {
                        all.push((inode, row));
                    }
                });
                match heard {
                    Heard::Some => {}
                    Heard::Overrun => self.lost += 1,
                    Heard::Nothing => break,
                }
            }
        }
        for (space, row) in all {
            if self.known.contains_key(&(space, row.socket)) {
                self.close(space, &row, now, out);
            } else if row.tuple.remote.port() != 0 && self.gone.len() < MAX_GONE {
                self.gone.insert((space, row.tuple), Gone { row, time: now });
            }
        }
    }

    fn close(&mut self, space: u64, row: &Row, now: Timestamp, out: &mut Vec<LiveEvent>) {
        if let Some(meter) = &mut self.meter {
            meter.closed(space, row, now, out);
        }
        if let Some(known) = self.known.remove(&(space, row.socket)) {
            out.push(closed(row.socket, &known, now, Some(row)));
        }
    }

    fn take_told(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        for told in self.shared.queue.take() {
            match told {
                Told::Process(event) => out.push(LiveEvent::Process(event)),
                Told::Syn(seen) if seen.owner.is_some() => self.call(&seen, now, out),
                Told::Syn(seen) => self.waiting.push(seen),
                Told::Row { space, row, time, owner, found } => {
                    let owner = owner.map(|process| Self::owner(process, row.uid, Quality::Exact));
                    let news = if found { SocketNews::Found(owner) } else { SocketNews::Opened(owner) };
                    out.push(LiveEvent::Socket(SocketEvent {
                        time,
                        socket: row.socket,
                        tuple: row.tuple,
                        news,
                    }));
                    if found {
                        self.remember((space, row.socket), row.tuple, time);
                    }
                }
            }
        }
        // Calls without owner: by now the kernel told who died meanwhile.
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|seen| {
            let settled = now.since(seen.looked).abs() >= SETTLE;
            if settled {
                self.call(seen, now, out);
            }
            !settled
        });
        self.waiting = waiting;
    }

    /// A call went out: tells it with its owner, and its end if that came already.
    fn call(&mut self, seen: &Seen, now: Timestamp, out: &mut Vec<LiveEvent>) {
        let gone = self.gone.remove(&(seen.space, seen.tuple)).filter(|gone| {
            // Only the record of this very call, not of an earlier one between the same ends.
            gone.time >= seen.time && seen.row.is_none_or(|row| row.socket == gone.row.socket)
        });
        let row = seen.row.or(gone.map(|gone| gone.row));
        let socket = row.map_or_else(|| seen.socket(), |row| row.socket);
        if socket.0 != 0
            && self.known.get(&(seen.space, socket)).is_some_and(|known| known.tuple == seen.tuple)
        {
            return; // a SYN that was sent again
        }
        let owner = match (seen.owner, row) {
            (Some(process), Some(row)) => Some(Self::owner(process, row.uid, Quality::Exact)),
            (_, row) => {
                // Before Linux 6.17 a socket that lost its holder is told as root's.
                let uid = row.map(|row| row.uid).filter(|&uid| uid != 0);
                let inferred = lock(&self.shared.processes).infer(uid, seen.time, seen.looked);
                inferred.map(|process| Self::owner(process, uid.unwrap_or(0), Quality::Inferred))
            }
        };
        let news = SocketNews::Opened(owner);
        out.push(LiveEvent::Socket(SocketEvent { time: seen.time, socket, tuple: seen.tuple, news }));
        if let Some(meter) = &mut self.meter {
            meter.opened(socket, seen.time);
        }
        if socket.0 != 0 {
            self.remember((seen.space, socket), seen.tuple, seen.time);
        }
        if let Some(gone) = gone {
            self.close(seen.space, &gone.row, now, out);
        }
    }

    fn remember(&mut self, key: (u64, SocketId), tuple: FiveTuple, opened: Timestamp) {
        if self.known.len() >= MAX_SOCKETS && !self.known.contains_key(&key) {
            self.lost += 1;
            return;
        }
        self.known.insert(key, Known { tuple, opened, round: self.round });
    }

    const fn owner(process: ProcessKey, uid: u32, quality: Quality) -> SocketOwner {
        SocketOwner { process, uid, attribution: Attribution { method: Method::Netlink, quality } }
    }
}

impl Layer for NetlinkLayer {
    fn method(&self) -> Method {
        Method::Netlink
    }

    fn drain(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        let entered = self.entered.swap(false, Ordering::Relaxed);
        if entered || due(now, self.next_namespaces, NAMESPACE_INTERVAL) {
            self.next_namespaces = now.plus_nanos(NAMESPACE_INTERVAL);
            self.follow_namespaces();
            self.read_new_spaces(now, true);
        }
        // Exchanges first: the end of a connection comes behind what was said in it.
        if let Some(meter) = &mut self.meter {
            meter.drain(now, out);
        }
        self.read_destroyed(now, out);
        self.take_told(now, out);
        if due(now, self.next_udp, UDP_INTERVAL) {
            self.next_udp = now.plus_nanos(UDP_INTERVAL);
            self.read_udp(now, true, out);
        }
        self.gone.retain(|_, gone| now.since(gone.time).abs() < GONE_KEPT);
    }

    fn lost(&self) -> u64 {
        self.lost
            + self.shared.queue.lost()
            + self.shared.lost.load(Ordering::Relaxed)
            + self.connector.as_ref().map_or(0, Connector::lost)
            + lock(&self.shared.processes).refused()
            + self.meter.as_ref().map_or(0, ExchangeMeter::lost)
    }

    fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }
}

/// Whether it is time; a clock that was set back does not stop what is done each `interval`.
fn due(now: Timestamp, next: Timestamp, interval: i64) -> bool {
    now >= next || next.since(now) > interval
}

fn closed(socket: SocketId, known: &Known, now: Timestamp, row: Option<&Row>) -> LiveEvent {
    let news = SocketNews::Closed(totals(row, known.opened, now));
    LiveEvent::Socket(SocketEvent { time: now, socket, tuple: known.tuple, news })
}
