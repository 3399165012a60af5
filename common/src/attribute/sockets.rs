//! Whose the sockets of this host are, by five-tuple, as the operating system told when they were opened.
//!
//! Bounded: when there is no room, the socket told of first is forgotten and counted; its connection then has no process,
//! since none is better than a wrong one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hashbrown::HashMap;

use super::AttributionCounters;
use crate::event::{ConnectionEvent, DnsEvent, Event, Observation};
use crate::net::{FiveTuple, Transport};
use crate::process::{Attribution, ProcessKey};
use crate::program::Program;
use crate::time::Timestamp;

/// What a socket takes: its entry in a map that doubles, and its place in line.
const BYTES_PER_SOCKET: usize = 2 * size_of::<(FiveTuple, Sockets)>() + size_of::<(FiveTuple, u64)>();

/// Part of the room that is for sockets that ask a resolver, as a divisor.
const QUESTIONS_SHARE: usize = 8;
const DNS_PORT: u16 = 53;

/// Who opened a socket.
#[derive(Clone, Debug)]
pub struct Opener {
    /// The process instance.
    pub process: ProcessKey,
    /// What it runs.
    pub program: Program,
    /// How that is known.
    pub attribution: Attribution,
}

/// Sockets of one pair of ends: the latest, and the one before it, of which there may still be something to tell.
#[derive(Debug)]
struct Sockets {
    since: Timestamp,
    opener: Option<Opener>,
    before: Option<(Timestamp, Option<Opener>)>,
    number: u64,
}

/// Openers by five-tuple.
#[derive(Debug)]
pub struct SocketOwners {
    connections: Table,
    /// Sockets that ask a resolver: there are many, nobody tells that they are gone, and they must not displace a connection
    /// that is open for days.
    questions: Table,
    attributed: Cell<u64>,
    unknown: Cell<u64>,
}

/// Openers by five-tuple, as many as fit.
#[derive(Debug)]
struct Table {
    sockets: HashMap<FiveTuple, Sockets, foldhash::fast::RandomState>,
    /// Oldest first; one whose number is not the entry's was opened again, or is gone.
    order: VecDeque<(FiveTuple, u64)>,
    next: u64,
    capacity: usize,
    evicted: u64,
}

impl Table {
    fn new(memory_bytes: usize) -> Self {
        Self {
            sockets: HashMap::default(),
            order: VecDeque::new(),
            next: 0,
            capacity: (memory_bytes / BYTES_PER_SOCKET).max(16),
            evicted: 0,
        }
    }

    fn opened(&mut self, tuple: &FiveTuple, since: Timestamp, opener: Option<Opener>) {
        let number = self.next;
        self.next += 1;
        let before = self.sockets.remove(tuple).map(|old| (old.since, old.opener));
        self.sockets.insert(*tuple, Sockets { since, opener, before, number });
        self.order.push_back((*tuple, number));
        while self.sockets.len() > self.capacity {
            self.forget_oldest();
        }
        // What is long gone should not hold a place in line.
        if self.order.len() > 2 * self.capacity {
            let sockets = &self.sockets;
            self.order
                .retain(|(tuple, number)| sockets.get(tuple).is_some_and(|socket| socket.number == *number));
        }
    }

    fn forget_oldest(&mut self) {
        while let Some((tuple, number)) = self.order.pop_front() {
            if self.sockets.get(&tuple).is_some_and(|socket| socket.number == number) {
                self.sockets.remove(&tuple);
                self.evicted += 1;
                return;
            }
        }
    }

    fn find(&self, tuple: &FiveTuple) -> Option<&Sockets> {
        self.sockets.get(tuple).or_else(|| self.sockets.get(&unbound(tuple)))
    }
}

impl SocketOwners {
    /// None yet, and never more than fit into `memory_bytes`.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        let questions = memory_bytes / QUESTIONS_SHARE;
        Self {
            connections: Table::new(memory_bytes - questions),
            questions: Table::new(questions),
            attributed: Cell::new(0),
            unknown: Cell::new(0),
        }
    }

    /// Takes note of a socket, before the tracker is told of it.
    pub fn opened(&mut self, tuple: &FiveTuple, since: Timestamp, opener: Option<Opener>) {
        let table = if is_question(tuple) { &mut self.questions } else { &mut self.connections };
        table.opened(tuple, since, opener);
    }

    /// Forgets a connection of which all was told.
    pub fn closed(&mut self, tuple: &FiveTuple, start: Timestamp) {
        let sockets = &mut self.connections.sockets;
        if let Some(socket) = sockets.get_mut(tuple) {
            if socket.is_latest(start) {
                sockets.remove(tuple);
            } else {
                socket.before = None;
            }
        }
    }

    /// The observation with its process, if that is known.
    #[must_use]
    pub fn attribute<'a>(&'a self, observation: &Observation<'a>) -> Observation<'a> {
        let event = match observation.event {
            Event::Connection(event) => {
                let Some(opener) = self.counted(&event.tuple, event.start) else { return *observation };
                Event::Connection(ConnectionEvent {
                    process: Some(opener.process),
                    program: Some(&opener.program),
                    attribution: opener.attribution,
                    ..event
                })
            }
            Event::Dns(event) => {
                let Some(tuple) = &event.tuple else { return *observation };
                let Some(opener) = self.counted(tuple, event.start) else { return *observation };
                Event::Dns(DnsEvent {
                    process: Some(opener.process),
                    program: Some(&opener.program),
                    attribution: opener.attribution,
                    ..event
                })
            }
            _ => return *observation,
        };
        Observation { event, ..*observation }
    }

    fn counted(&self, tuple: &FiveTuple, start: Timestamp) -> Option<&Opener> {
        let opener = self.opener(tuple, start);
        let counter = if opener.is_some() { &self.attributed } else { &self.unknown };
        counter.set(counter.get() + 1);
        opener
    }

    /// Who opened the connection that began then.
    #[must_use]
    pub fn opener(&self, tuple: &FiveTuple, start: Timestamp) -> Option<&Opener> {
        let socket = if is_question(tuple) { &self.questions } else { &self.connections }.find(tuple)?;
        match &socket.before {
            Some((_, before)) if !socket.is_latest(start) => before.as_ref(),
            _ => socket.opener.as_ref(),
        }
    }

    /// The machine's clock was set by so much.
    pub fn clock_set(&mut self, nanos: i64) {
        for socket in self.connections.sockets.values_mut().chain(self.questions.sockets.values_mut()) {
            socket.since = socket.since.plus_nanos(nanos);
            if let Some((since, _)) = &mut socket.before {
                *since = since.plus_nanos(nanos);
            }
        }
    }

    /// What became of the events so far.
    #[must_use]
    pub fn counters(&self) -> AttributionCounters {
        AttributionCounters {
            attributed: self.attributed.get(),
            unknown: self.unknown.get(),
            flows_evicted: self.connections.evicted + self.questions.evicted,
            processes_evicted: 0,
        }
    }

    /// Sockets remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.sockets.len() + self.questions.sockets.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Sockets {
    /// Whether a connection that began then is the latest: the one whose opening was told of nearest to that time.
    fn is_latest(&self, start: Timestamp) -> bool {
        let off = |since: Timestamp| start.nanos().saturating_sub(since.nanos()).unsigned_abs();
        start >= self.since || self.before.as_ref().is_none_or(|(before, _)| off(self.since) <= off(*before))
    }
}

/// Whether it asks a resolver and is no connection that the tracker follows to its end: datagrams, and what stays here.
fn is_question(tuple: &FiveTuple) -> bool {
    let followed = tuple.transport != Transport::Udp && !tuple.remote.ip().is_loopback();
    tuple.remote.port() == DNS_PORT && !followed
}

/// The same socket where it is bound to no address: it sends from whichever fits.
fn unbound(tuple: &FiveTuple) -> FiveTuple {
    let any = match tuple.local.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    FiveTuple { local: SocketAddr::new(any, tuple.local.port()), ..*tuple }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{HostId, Names, Phase};
    use crate::process::ProcessInfo;

    const HOST: HostId<'static> = HostId::Name("host");

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs_nanos(1_700_000_000 + seconds, 0)
    }

    fn opener(pid: u32) -> Option<Opener> {
        let program = Program::of(ProcessInfo { image: format!("/bin/{pid}"), ..Default::default() });
        Some(Opener { process: ProcessKey { pid, start: at(0) }, program, attribution: Attribution::NONE })
    }

    fn tuple(local: &str) -> FiveTuple {
        let remote = "203.0.113.7:443".parse().unwrap();
        FiveTuple { transport: Transport::Tcp, local: local.parse().unwrap(), remote }
    }

    fn event(tuple: FiveTuple, start: Timestamp, phase: Phase) -> Observation<'static> {
        let event = ConnectionEvent {
            tuple,
            start,
            process: None,
            program: None,
            attribution: Attribution::NONE,
            names: Names::default(),
            protocol: Default::default(),
            ja4: None,
            phase,
        };
        Observation { time: start, host: HOST, event: Event::Connection(event) }
    }

    fn pid(owners: &SocketOwners, tuple: &FiveTuple, start: Timestamp) -> Option<u32> {
        owners.opener(tuple, start).map(|opener| opener.process.pid)
    }

    #[test]
    fn a_port_that_is_used_again_belongs_to_its_new_owner_from_then_on() {
        let mut owners = SocketOwners::new(1 << 20);
        let tuple = tuple("192.0.2.1:40000");
        owners.opened(&tuple, at(0), opener(1));
        owners.opened(&tuple, at(60), opener(2));
        assert_eq!(pid(&owners, &tuple, at(0)), Some(1));
        assert_eq!(pid(&owners, &tuple, at(60)), Some(2));
        owners.closed(&tuple, at(0));
        assert_eq!(pid(&owners, &tuple, at(60)), Some(2));
        owners.closed(&tuple, at(60));
        assert!(owners.is_empty());
    }

    #[test]
    fn a_socket_without_an_owner_takes_none_from_the_one_before() {
        let mut owners = SocketOwners::new(1 << 20);
        let tuple = tuple("192.0.2.1:40000");
        owners.opened(&tuple, at(0), opener(1));
        owners.opened(&tuple, at(60), None);
        let seen = event(tuple, at(60), Phase::Opened);
        let Event::Connection(attributed) = owners.attribute(&seen).event else { panic!() };
        assert_eq!(attributed.process, None);
        assert_eq!(owners.counters().unknown, 1);
    }

    #[test]
    fn a_socket_bound_to_no_address_is_found_by_its_port() {
        let mut owners = SocketOwners::new(1 << 20);
        owners.opened(&tuple("0.0.0.0:5000"), at(0), opener(1));
        assert_eq!(pid(&owners, &tuple("192.0.2.9:5000"), at(1)), Some(1));
        assert_eq!(pid(&owners, &tuple("192.0.2.9:5001"), at(1)), None);
    }

    #[test]
    fn beyond_the_limit_the_oldest_goes_and_is_counted() {
        let mut owners = SocketOwners::new(800 * BYTES_PER_SOCKET);
        for port in 1..=1_000_u16 {
            owners.opened(&tuple(&format!("192.0.2.1:{port}")), at(0), opener(1));
        }
        assert_eq!((owners.len(), owners.counters().flows_evicted), (700, 300));
        assert!(owners.connections.order.len() <= 1_400);
        assert_eq!(pid(&owners, &tuple("192.0.2.1:1000"), at(0)), Some(1));
        assert_eq!(pid(&owners, &tuple("192.0.2.1:1"), at(0)), None);
    }
    #[test]
    fn questions_do_not_displace_connections() {
        let mut owners = SocketOwners::new(800 * BYTES_PER_SOCKET);
        owners.opened(&tuple("192.0.2.1:40000"), at(0), opener(1));
        let question = |port: u16| FiveTuple {
            transport: Transport::Udp,
            local: ([192, 0, 2, 1], port).into(),
            remote: ([192, 0, 2, 53], 53).into(),
        };
        for port in 1..=10_000 {
            owners.opened(&question(port), at(1), opener(2));
        }
        assert_eq!(pid(&owners, &tuple("192.0.2.1:40000"), at(0)), Some(1));
        assert_eq!(pid(&owners, &question(10_000), at(1)), Some(2));
        assert_eq!(owners.len(), 101);
    }
}
