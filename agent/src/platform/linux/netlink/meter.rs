//! Exchanges of all sockets, by reading the kernel's counters about once a second.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;

use sonde_common::live::{LiveEvent, SocketEvent, SocketId, SocketNews, Unavailable};
use sonde_common::net::{FiveTuple, Transport, is_no_peer};
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::clock;
use super::diag::{Row, TcpInfo, state};
use super::exchange::{Activity, Exchange, Reading};
use super::procfs::Proc;
use super::socket::DiagSocket;
use super::unavailable;
use crate::platform::linux::namespaces::Spaces;

/// Shortest time between two readings.
const MIN_INTERVAL: i64 = NANOS_PER_SEC;
/// Longest: a check-in each half a minute is still told from the next.
const MAX_INTERVAL: i64 = 15 * NANOS_PER_SEC;
/// A reading may take this share of the time: one part of so many.
const COST_SHARE: i64 = 100;
/// How often new network namespaces are looked for.
const NAMESPACE_INTERVAL: i64 = 5 * NANOS_PER_SEC;
/// Sockets that are followed; more are counted.
const MAX_SOCKETS: usize = 1 << 16;
/// Openings that were told and whose socket was not read yet.
const MAX_OPENED: usize = 1 << 14;

/// Reads the counters of all outgoing TCP connections, of all network namespaces, and tells when they spoke after a silence.
#[derive(Debug)]
pub struct ExchangeMeter {
    proc: Proc,
    spaces: Spaces<DiagSocket>,
    sockets: HashMap<(u64, SocketId), Followed>,
    /// When sockets were opened, by those who know it.
    opened: HashMap<SocketId, Timestamp>,
    /// Namespaces that were read once: what is new in them is new.
    known: HashSet<u64>,
    round: u32,
    next: Timestamp,
    next_namespaces: Timestamp,
    interval: i64,
    loopback: bool,
    lost: u64,
}

#[derive(Debug)]
struct Followed {
    tuple: FiveTuple,
    activity: Activity,
    round: u32,
}

impl ExchangeMeter {
    /// Begins with the next drain.
    ///
    /// # Errors
    /// The kernel's reason, where it does not tell of sockets.
    pub fn new() -> Result<Self, Unavailable> {
        Self::with_loopback(false)
    }

    pub(super) fn with_loopback(loopback: bool) -> Result<Self, Unavailable> {
        let failed = |error: io::Error| {
            unavailable("exchanges within a connection", &error, "load the module tcp_diag")
        };
        DiagSocket::open()
            .and_then(|mut diag| diag.dump(Transport::Tcp, state::bit(state::LISTEN), false, &mut |_| {}))
            .map_err(failed)?;
        Ok(Self {
            proc: Proc::open(Timestamp::ZERO).map_err(failed)?,
            spaces: Spaces::new().map_err(failed)?,
            sockets: HashMap::new(),
            opened: HashMap::new(),
            known: HashSet::new(),
            round: 0,
            next: Timestamp::from_nanos(i64::MIN),
            next_namespaces: Timestamp::from_nanos(i64::MIN),
            interval: MIN_INTERVAL,
            loopback,
            lost: 0,
        })
    }

    /// Tells when a socket called out: payload within its first second is no exchange.
    pub fn opened(&mut self, socket: SocketId, time: Timestamp) {
        if self.opened.len() >= MAX_OPENED {
            // Sockets that came and went between two readings.
            self.opened.retain(|_, opened| time.since(*opened) < MAX_INTERVAL);
        }
        if socket.0 != 0 && self.opened.len() < MAX_OPENED {
            self.opened.insert(socket, time);
        }
    }

    /// Appends the exchanges that are over, if it is time to read again. `now` is wall-clock time.
    pub fn drain(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        // A clock that was set back must not stop the reading for long.
        if now < self.next && self.next.since(now) <= MAX_INTERVAL {
            return;
        }
        let cpu = clock::thread_cpu();
        if now >= self.next_namespaces || self.next_namespaces.since(now) > NAMESPACE_INTERVAL {
            self.next_namespaces = now.plus_nanos(NAMESPACE_INTERVAL);
            self.follow_namespaces();
        }
        self.round = self.round.wrapping_add(1);
        let mut spaces = std::mem::take(&mut self.known);
        let mut rows = Vec::new();
        let mut read = HashSet::new();
        for (space, diag) in self.spaces.iter_mut() {
            rows.clear();
            let mask = state::bit(state::ESTABLISHED) | state::bit(state::LISTEN);
            // A namespace that does not answer is asked again next time.
            if diag.dump(Transport::Tcp, mask, true, &mut |row| rows.push(row)).is_ok() {
                let listening = listened(&rows);
                let fresh = spaces.remove(&space);
                let now = clock::realtime();
                for row in rows.iter().filter(|row| outgoing(row, &listening, self.loopback)) {
                    read_row(
                        &mut self.sockets,
                        &mut self.opened,
                        &mut self.lost,
                        (space, self.round),
                        row,
                        fresh,
                        now,
                        out,
                    );
                }
                read.insert(space);
            }
        }
        self.known = read;
        let round = self.round;
        // What was not read any more is closed; a namespace that is gone takes its sockets along.
        self.sockets.retain(|&(_, socket), followed| {
            let there = followed.round == round;
            if !there {
                followed.activity.end(&mut |over| out.push(told(now, socket, followed.tuple, over)));
            }
            there
        });
        let cost = clock::thread_cpu().saturating_sub(cpu);
        self.interval = cost.saturating_mul(COST_SHARE).clamp(MIN_INTERVAL, MAX_INTERVAL);
        self.next = now.plus_nanos(self.interval);
    }

    /// A socket is gone, and these were its last counters: tells what it said last.
    pub(super) fn closed(&mut self, space: u64, row: &Row, now: Timestamp, out: &mut Vec<LiveEvent>) {
        let opened = self.opened.remove(&row.socket);
        let followed = self.sockets.remove(&(space, row.socket)).map(|followed| followed.activity);
        let Some(mut activity) = followed.or_else(|| opened.map(Activity::opened)) else { return };
        let mut over = |exchange| out.push(told(now, row.socket, row.tuple, exchange));
        if let Some(info) = &row.info {
            activity.read(now, reading(info, now), &mut over);
        }
        activity.end(&mut over);
    }

    /// Time between two readings at present, in nanoseconds.
    #[must_use]
    pub const fn interval(&self) -> i64 {
        self.interval
    }

    /// Sockets that were not followed, as too many were.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    fn follow_namespaces(&mut self) {
        let living = living(&self.proc);
        let proc = &self.proc;
        self.spaces.follow(
            &living,
            |pid| Ok(File::from(proc.net_namespace_file(pid)?)),
            |_| DiagSocket::open(),
        );
    }
}

/// The network namespaces that have processes, each with one of them.
pub(super) fn living(proc: &Proc) -> HashMap<u64, u32> {
    let pids = proc.pids().unwrap_or_default();
    pids.into_iter().filter_map(|pid| Some((proc.net_namespace(pid)?, pid))).collect()
}

/// Local ports that are listened on.
pub(super) fn listened(rows: &[Row]) -> HashSet<u16> {
    rows.iter().filter(|row| row.state == state::LISTEN).map(|row| row.tuple.local.port()).collect()
}

/// Whether a connection was opened from here to somewhere else: its port is not one that calls come in on.
pub(super) fn outgoing(row: &Row, listening: &HashSet<u16>, loopback: bool) -> bool {
    let remote = row.tuple.remote;
    row.state != state::LISTEN
        && remote.port() != 0
        && !listening.contains(&row.tuple.local.port())
        && (loopback || !is_no_peer(remote.ip()) && row.tuple.local.ip() != remote.ip())
}

#[expect(
    clippy::too_many_arguments,
    reason = "the meter's parts, borrowed apart from its sockets to the kernel"
)]
fn read_row(
    sockets: &mut HashMap<(u64, SocketId), Followed>,
    opened: &mut HashMap<SocketId, Timestamp>,
    lost: &mut u64,
    (space, round): (u64, u32),
    row: &Row,
    fresh: bool,
    now: Timestamp,
    out: &mut Vec<LiveEvent>,
) {
    let Some(info) = &row.info else { return };
    let next = reading(info, now);
    let opened = opened.remove(&row.socket);
    let room = sockets.len() < MAX_SOCKETS;
    let followed = match sockets.entry((space, row.socket)) {
        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::hash_map::Entry::Vacant(entry) if room => {
            let activity = opened.map_or_else(|| Activity::found(now, next, fresh), Activity::opened);
            entry.insert(Followed { tuple: row.tuple, activity, round })
        }
        std::collections::hash_map::Entry::Vacant(_) => {
            *lost += 1;
            return;
        }
    };
    followed.round = round;
    followed.activity.read(now, next, &mut |over| out.push(told(now, row.socket, row.tuple, over)));
}

fn told(time: Timestamp, socket: SocketId, tuple: FiveTuple, exchange: Exchange) -> LiveEvent {
    let Exchange { start, bytes_out, bytes_in } = exchange;
    LiveEvent::Socket(SocketEvent {
        time,
        socket,
        tuple,
        news: SocketNews::Exchange { start, bytes_out, bytes_in },
    })
}

fn reading(info: &TcpInfo, now: Timestamp) -> Reading {
    let before = |ms: u32| now.plus_nanos(-i64::from(ms) * 1_000_000);
    Reading {
        // Before Linux 4.19: what the other side has, the SYN left out.
        bytes_out: info.bytes_out.unwrap_or_else(|| info.acknowledged.saturating_sub(1)),
        bytes_in: info.bytes_in,
        segments_out: info.data_out,
        segments_in: info.data_in,
        sent: before(info.sent_ms),
        received: before(info.received_ms),
    }
}
