//! Open DNS queries: a query waits here for its answer, and both leave as one event.
//!
//! Bounded: the oldest query leaves first, by time-out or for want of room, as an event without an answer.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::local::Locals;
use crate::decode::dns;
use crate::decode::packet::{Addr, Header, Packet};
use crate::event::{DnsEvent, Event, Observation};
use crate::net::{FiveTuple, Transport};
use crate::process::Attribution;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Open queries at a time.
const MAX_QUERIES: usize = 4096;
/// How long an answer is waited for: resolvers give up after 5 s (resolv.conf(5), timeout).
const ANSWER_WAIT: i64 = 5 * NANOS_PER_SEC;
/// A standard query (RFC 1035 section 4.1.1).
const OPCODE_QUERY: u8 = 0;

#[derive(Debug)]
struct Query {
    key: Key,
    start: i64,
    name: String,
    query_type: u16,
    answered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    client: Addr,
    client_port: u16,
    server: Addr,
    server_port: u16,
    id: u16,
    tcp: bool,
}

impl Key {
    fn tuple(&self) -> FiveTuple {
        FiveTuple {
            transport: if self.tcp { Transport::Tcp } else { Transport::Udp },
            local: SocketAddr::new(self.client.ip(), self.client_port),
            remote: SocketAddr::new(self.server.ip(), self.server_port),
        }
    }
}

/// Queries that wait for their answers.
#[derive(Debug, Default)]
pub(super) struct Queries {
    /// Oldest first; answered ones stay until they are the oldest.
    open: VecDeque<Query>,
    /// Sequence number of the oldest.
    first: u64,
    index: hashbrown::HashMap<Key, u64, foldhash::fast::RandomState>,
    spare: Vec<String>,
    evicted: u64,
}

impl Queries {
    /// Takes a DNS message. Returns whether it could be read.
    pub(super) fn message(
        &mut self,
        packet: &Packet<'_>,
        message: &[u8],
        now: i64,
        locals: &Locals,
        sink: &mut impl FnMut(&Observation<'_>),
    ) -> bool {
        let Ok(message) = dns::message(message) else { return false };
        let (source_port, destination_port, tcp) = match packet.transport {
            Header::Tcp { source_port, destination_port, .. } => (source_port, destination_port, true),
            Header::Udp { source_port, destination_port } => (source_port, destination_port, false),
            Header::Echo { .. } | Header::Unreachable { .. } => return true,
        };
        let (client, client_port, server, server_port) = if message.is_response {
            (packet.destination, destination_port, packet.source, source_port)
        } else {
            (packet.source, source_port, packet.destination, destination_port)
        };
        if message.opcode != OPCODE_QUERY || message.name.is_empty() || !locals.is_host(client, server) {
            return true;
        }
        let key = Key { client, client_port, server, server_port, id: message.id, tcp };
        let time = packet.time.nanos();
        if !message.is_response {
            self.ask(key, time, &message, now, locals, sink);
            return true;
        }
        // An answer to a question that was not seen still tells a name; only the question's own name is taken for it.
        let start = self.answered(&key, &message).unwrap_or(time);
        let event = DnsEvent {
            start: Timestamp::from_nanos(start),
            process: None,
            program: None,
            attribution: Attribution::NONE,
            tuple: Some(key.tuple()),
            resolver: Some(SocketAddr::new(server.ip(), server_port)),
            query: message.name.as_str(),
            query_type: message.query_type,
            response_code: Some(message.response_code),
            addresses: message.addresses(),
            ttl_secs: message.ttl_secs,
        };
        let host = locals.host(client);
        sink(&Observation { time: Timestamp::from_nanos(now), host, event: Event::Dns(event) });
        true
    }

    fn ask(
        &mut self,
        key: Key,
        time: i64,
        message: &dns::Message,
        now: i64,
        locals: &Locals,
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        if let Some(query) = self.index.get(&key).and_then(|&number| self.get(number))
            && !query.answered
            && query.name == message.name.as_str()
        {
            return; // asked again
        }
        if self.open.len() >= MAX_QUERIES {
            self.evicted += u64::from(self.open.front().is_some_and(|query| !query.answered));
            self.leave(now, locals, sink);
        }
        let mut name = self.spare.pop().unwrap_or_default();
        name.clear();
        name.push_str(message.name.as_str());
        self.index.insert(key, self.first + self.open.len() as u64);
        self.open.push_back(Query {
            key,
            start: time,
            name,
            query_type: message.query_type,
            answered: false,
        });
    }

    fn get(&self, number: u64) -> Option<&Query> {
        self.open.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Marks the query of an answer; gives its time.
    fn answered(&mut self, key: &Key, message: &dns::Message) -> Option<i64> {
        let at = usize::try_from(self.index.get(key)?.checked_sub(self.first)?).ok()?;
        let query = self.open.get_mut(at)?;
        if query.answered || query.name != message.name.as_str() {
            return None;
        }
        query.answered = true;
        Some(query.start)
    }

    /// The oldest query leaves, as an event if it was never answered.
    fn leave(&mut self, now: i64, locals: &Locals, sink: &mut impl FnMut(&Observation<'_>)) {
        let Some(query) = self.open.pop_front() else { return };
        if self.index.get(&query.key) == Some(&self.first) {
            self.index.remove(&query.key);
        }
        self.first += 1;
        if !query.answered {
            let event = DnsEvent {
                start: Timestamp::from_nanos(query.start),
                process: None,
                program: None,
                attribution: Attribution::NONE,
                tuple: Some(query.key.tuple()),
                resolver: Some(SocketAddr::new(query.key.server.ip(), query.key.server_port)),
                query: &query.name,
                query_type: query.query_type,
                response_code: None,
                addresses: &[],
                ttl_secs: 0,
            };
            let host = locals.host(query.key.client);
            sink(&Observation { time: Timestamp::from_nanos(now), host, event: Event::Dns(event) });
        }
        self.spare.push(query.name);
    }

    /// Lets go of queries that waited too long.
    pub(super) fn expire(&mut self, now: i64, locals: &Locals, sink: &mut impl FnMut(&Observation<'_>)) {
        while self.open.front().is_some_and(|query| now.saturating_sub(query.start) >= ANSWER_WAIT) {
            self.leave(now, locals, sink);
        }
    }

    /// Moves all times, as a clock that was set moves.
    pub(super) fn shift(&mut self, nanos: i64) {
        for query in &mut self.open {
            query.start = query.start.saturating_add(nanos);
        }
    }

    /// Lets go of all, at the end of the input.
    pub(super) fn finish(&mut self, now: i64, locals: &Locals, sink: &mut impl FnMut(&Observation<'_>)) {
        while !self.open.is_empty() {
            self.leave(now, locals, sink);
        }
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.open.capacity() * (size_of::<Query>() + 64) + self.index.capacity() * 64
    }
}
