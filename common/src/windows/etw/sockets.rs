//! Deeds of sockets -> news of sockets: begin, answer, exchanges, end, each with its process.
//!
//! The kernel tells of every transfer; what is of use is kept here, in a bounded table of the calls that this host made. A
//! call that another host made is known, so that its bytes are not taken for a call, and told to nobody. What the events left
//! out, a look at the socket tables tells ([`Sockets::reconcile`]).

use std::net::SocketAddr;

use hashbrown::HashMap;

use super::network::{Deed, Transfer};
use crate::conntrack::EXCHANGE_SILENCE;
use crate::event::{Outcome, Totals};
use crate::live::{LiveEvent, SocketEvent, SocketId, SocketNews, SocketOwner};
use crate::net::{FiveTuple, Transport};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Sockets that are followed at a time; a new one beyond them is not followed, but counted.
pub(super) const MAX_SOCKETS: usize = 1 << 16;
/// Nobody tells when a datagram socket is done with a peer: after so long, it is.
const DATAGRAM_SILENCE: i64 = 60 * NANOS_PER_SEC;
/// How far apart a table and an event may tell of one call.
const SAME_OPENING: i64 = 3 * NANOS_PER_SEC;
const DNS_PORT: u16 = 53;

#[derive(Clone, Copy, Debug)]
struct Socket {
    ours: bool,
    answered: bool,
    begun: Timestamp,
    last: Timestamp,
    bytes_out: u64,
    bytes_in: u64,
    exchange: Option<Exchange>,
}

#[derive(Clone, Copy, Debug)]
struct Exchange {
    start: Timestamp,
    bytes_out: u64,
    bytes_in: u64,
}

/// A connection that a socket table names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Both ends.
    pub tuple: FiveTuple,
    /// Whose it is.
    pub owner: Option<SocketOwner>,
    /// It only asks so far.
    pub asking: bool,
}

/// The sockets of this host.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    known: HashMap<FiveTuple, Socket, foldhash::fast::RandomState>,
    pub(super) refused: u64,
    swept: Timestamp,
}

impl Sockets {
    /// Takes a deed. `owner` is asked for whose it is if that is news.
    pub(super) fn take(
        &mut self,
        time: Timestamp,
        transfer: &Transfer,
        owner: impl FnOnce() -> Option<SocketOwner>,
        out: &mut Vec<LiveEvent>,
    ) {
        let Some(tuple) = self.tuple_of(transfer) else { return };
        let tell = |out: &mut Vec<LiveEvent>, news| push(out, time, tuple, news);
        match transfer.deed {
            Deed::Connected => {
                let young = |socket: &Socket| time.since(socket.begun).saturating_abs() <= SAME_OPENING;
                let known = self.known.get(&tuple).filter(|socket| socket.ours);
                if known.is_some_and(|socket| !socket.answered || young(socket)) {
                    // A table named it before.
                    return self.answer(time, &tuple, out);
                }
                self.end(time, &tuple, out);
                if self.enter(time, tuple, true) {
                    tell(out, SocketNews::Opened(owner()));
                    self.answer(time, &tuple, out);
                }
            }
            Deed::Accepted => {
                self.end(time, &tuple, out);
                self.enter(time, tuple, false);
            }
            Deed::Disconnected => self.end(time, &tuple, out),
            Deed::Sent if transfer.transport == Transport::Udp => {
                if !self.known.contains_key(&tuple) {
                    if !self.enter(time, tuple, true) {
                        return;
                    }
                    tell(out, SocketNews::Opened(owner()));
                }
                self.count(time, &tuple, u64::from(transfer.size), 0, out);
            }
            Deed::Sent => self.count(time, &tuple, u64::from(transfer.size), 0, out),
            Deed::Received => {
                if transfer.transport == Transport::Udp && !self.known.contains_key(&tuple) {
                    // Another host's first word: what is sent back is no call.
                    self.enter(time, tuple, false);
                }
                self.answer(time, &tuple, out);
                self.count(time, &tuple, 0, u64::from(transfer.size), out);
            }
            Deed::Retransmitted => {}
        }
    }

    /// Takes what the socket tables hold: all connections that this host made. `seen`: when they were read. Tells of those that
    /// no event told of, and of the end of those that are gone and were silent for longer than `settling`: events and tables are not
    /// of one moment.
    pub(super) fn reconcile(
        &mut self,
        seen: Timestamp,
        standing: &[Standing],
        first: bool,
        settling: i64,
        out: &mut Vec<LiveEvent>,
    ) {
        let mut there = hashbrown::HashSet::<FiveTuple, foldhash::fast::RandomState>::default();
        for row in standing {
            there.insert(row.tuple);
            if self.known.contains_key(&row.tuple)
                || !is_wanted(&row.tuple)
                || !self.enter(seen, row.tuple, true)
            {
                continue;
            }
            let news = if first { SocketNews::Found(row.owner) } else { SocketNews::Opened(row.owner) };
            push(out, seen, row.tuple, news);
            if !row.asking {
                self.answer(seen, &row.tuple, out);
            }
        }
        let gone = |tuple: &FiveTuple, socket: &Socket| {
            tuple.transport == Transport::Tcp && !there.contains(tuple) && seen.since(socket.last) > settling
        };
        let mut over: Vec<FiveTuple> = self
            .known
            .iter()
            .filter(|(tuple, socket)| gone(tuple, socket))
            .map(|(tuple, _)| *tuple)
            .collect();
        over.sort_by_key(|tuple| (tuple.local, tuple.remote));
        for tuple in over {
            self.end(seen, &tuple, out);
        }
    }

    /// Lets time pass: exchanges end in silence, and so do datagram sockets.
    pub(super) fn advance(&mut self, now: Timestamp, out: &mut Vec<LiveEvent>) {
        if now.since(self.swept) < EXCHANGE_SILENCE / 4 && now >= self.swept {
            return;
        }
        self.swept = now;
        let mut quiet: Vec<(Timestamp, FiveTuple, bool)> = Vec::new();
        for (tuple, socket) in &self.known {
            let silence = now.since(socket.last);
            let over = tuple.transport == Transport::Udp && silence >= DATAGRAM_SILENCE;
            if over || (socket.exchange.is_some() && silence >= EXCHANGE_SILENCE) {
                quiet.push((socket.last, *tuple, over));
            }
        }
        quiet.sort_by_key(|(last, tuple, _)| (*last, tuple.local, tuple.remote));
        for (last, tuple, over) in quiet {
            if over {
                self.end(now, &tuple, out);
            } else if let Some(socket) = self.known.get_mut(&tuple) {
                finish(last.plus_nanos(EXCHANGE_SILENCE), &tuple, socket, out);
            }
        }
    }

    /// All that is under way is unknown from now on.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Both ends as this host has them. Events are not of one mind which end is the source: one that is known counts.
    fn tuple_of(&self, transfer: &Transfer) -> Option<FiveTuple> {
        let tuple = |(local, remote)| FiveTuple { transport: transfer.transport, local, remote };
        let (local, remote) = transfer.ends();
        let (usual, other) = (tuple((local, remote)), tuple((remote, local)));
        let chosen =
            if !self.known.contains_key(&usual) && self.known.contains_key(&other) { other } else { usual };
        is_wanted(&chosen).then_some(chosen)
    }

    fn enter(&mut self, time: Timestamp, tuple: FiveTuple, ours: bool) -> bool {
        if self.known.len() >= MAX_SOCKETS {
            self.refused += 1;
            return false;
        }
        let socket = Socket {
            ours,
            answered: false,
            begun: time,
            last: time,
            bytes_out: 0,
            bytes_in: 0,
            exchange: None,
        };
        self.known.insert(tuple, socket);
        true
    }

    fn answer(&mut self, time: Timestamp, tuple: &FiveTuple, out: &mut Vec<LiveEvent>) {
        if let Some(socket) = self.known.get_mut(tuple).filter(|socket| socket.ours && !socket.answered) {
            socket.answered = true;
            push(out, time, *tuple, SocketNews::Answered);
        }
    }

    fn count(
        &mut self,
        time: Timestamp,
        tuple: &FiveTuple,
        sent: u64,
        received: u64,
        out: &mut Vec<LiveEvent>,
    ) {
        let Some(socket) = self.known.get_mut(tuple) else { return };
        if time.since(socket.last) >= EXCHANGE_SILENCE {
            finish(socket.last.plus_nanos(EXCHANGE_SILENCE), tuple, socket, out);
        }
        socket.last = socket.last.max(time);
        if sent + received == 0 {
            return;
        }
        socket.bytes_out = socket.bytes_out.saturating_add(sent);
        socket.bytes_in = socket.bytes_in.saturating_add(received);
        let exchange = socket.exchange.get_or_insert(Exchange { start: time, bytes_out: 0, bytes_in: 0 });
        exchange.bytes_out = exchange.bytes_out.saturating_add(sent);
        exchange.bytes_in = exchange.bytes_in.saturating_add(received);
    }

    fn end(&mut self, time: Timestamp, tuple: &FiveTuple, out: &mut Vec<LiveEvent>) {
        let Some(mut socket) = self.known.remove(tuple) else { return };
        if !socket.ours {
            return;
        }
        finish(time, tuple, &mut socket, out);
        let end = match tuple.transport {
            Transport::Udp => socket.last,
            _ => time,
        };
        // Bytes before the sensor began are not known: then neither is the sum.
        let outcome = if socket.answered { Outcome::Established } else { Outcome::Unknown };
        let totals =
            Totals { end, bytes_out: Some(socket.bytes_out), bytes_in: Some(socket.bytes_in), outcome };
        push(out, time.max(socket.begun), *tuple, SocketNews::Closed(totals));
    }
}

/// Tells of the exchange that is over.
fn finish(time: Timestamp, tuple: &FiveTuple, socket: &mut Socket, out: &mut Vec<LiveEvent>) {
    if let Some(exchange) = socket.exchange.take().filter(|_| socket.ours) {
        let Exchange { start, bytes_out, bytes_in } = exchange;
        push(out, time.max(start), *tuple, SocketNews::Exchange { start, bytes_out, bytes_in });
    }
}

fn push(out: &mut Vec<LiveEvent>, time: Timestamp, tuple: FiveTuple, news: SocketNews) {
    out.push(LiveEvent::Socket(SocketEvent { time, socket: SocketId::default(), tuple, news }));
}

/// Whether a call may leave the host; a question to a resolver on it tells which process wants to know.
pub(super) fn is_wanted(tuple: &FiveTuple) -> bool {
    let ends = |end: SocketAddr| end.port() != 0 && !end.ip().is_unspecified();
    let remote = tuple.remote.ip();
    let here = remote.is_loopback() || remote == tuple.local.ip();
    ends(tuple.remote) && tuple.local.port() != 0 && (!here || tuple.remote.port() == DNS_PORT)
}
