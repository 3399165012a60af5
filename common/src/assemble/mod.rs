//! Rows of logs, in the order of their time, to [`Observation`]s: joins what several rows tell of one connection, folds what
//! is told twice, finds the process behind a pid, and makes every text harmless.
//!
//! A log tells of whole connections, in rows of several files; a capture tells of packets. Behind this room the engine
//! cannot tell them apart.

mod connections;
mod instances;
mod said;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::net::SocketAddr;

use self::connections::{Connections, Verdict};
use self::instances::Instances;
use self::said::{Clean, SaidTable};
use crate::certificate::Certificate;
use crate::event::{
    ConnectionEvent, DOMAIN_TEXT, DnsEvent, Event, HOST_TEXT, HostId, Ja4, Names, Observation, Phase, Totals,
};
use crate::format::row::{ConnectionRow, DnsRow, ExchangeRow, Kind, Row, Said};
use crate::net::Transport;
use crate::process::{Attribution, ProcessKey};
use crate::program::Program;

/// Port of a resolver where a log does not say (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssembleCounters {
    /// Rows that told of a connection again: another log's row of it, or a snapshot of it while it was open.
    pub repeated: u64,
    /// Attempts folded into the one before: retransmissions and retries of a connection that was never made.
    pub retries: u64,
    /// Connections to a resolver: the look-ups in them count, and have rows of their own.
    pub resolver: u64,
    /// Rows that told more of a connection, such as its server name, and found it.
    pub joined: u64,
    /// What was said of connections and forgotten for want of room before the connection came.
    pub said_evicted: u64,
    /// Connections forgotten for want of room before their time to repeat was over.
    pub connections_evicted: u64,
    /// Processes forgotten for want of room.
    pub processes_evicted: u64,
}

impl AssembleCounters {
    /// Adds another's.
    pub const fn add(&mut self, other: &Self) {
        self.repeated += other.repeated;
        self.retries += other.retries;
        self.resolver += other.resolver;
        self.joined += other.joined;
        self.said_evicted += other.said_evicted;
        self.connections_evicted += other.connections_evicted;
        self.processes_evicted += other.processes_evicted;
    }
}

/// Turns rows into observations.
#[derive(Debug, Default)]
pub struct Assembler {
    hasher: foldhash::fast::FixedState,
    said: SaidTable,
    connections: Connections,
    instances: Instances,
    clean: Clean,
    host: String,
    resolver: u64,
    joined: u64,
}

impl Assembler {
    /// An assembler whose tables hold no more than `memory_bytes`.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        Self {
            said: SaidTable::new(memory_bytes / 4),
            connections: Connections::new(memory_bytes / 4),
            instances: Instances::new(memory_bytes / 2),
            ..Self::default()
        }
    }

    /// Takes the next row; hands what it tells to `seen`. Rows come sorted by their time.
    pub fn take(&mut self, row: &Row<'_>, seen: &mut dyn FnMut(&Observation<'_>)) {
        let host = self.host_key(row);
        let doer = match &row.process {
            Some(process) if matches!(row.kind, Kind::Started) => {
                self.instances.started(host, process, row.time);
                None
            }
            Some(process) => self.instances.of(host, process),
            None => None,
        };
        match &row.kind {
            Kind::Other | Kind::Started => {}
            Kind::Attributes(attributes) => {
                if !attributes.uid.is_empty() {
                    self.said.learn(self.hasher.hash_one(attributes.uid), &attributes.said, row.time);
                }
            }
            Kind::Connection(connection) => self.connection(row, host, connection, doer, seen),
            Kind::Exchange(exchange) => self.exchange(row, exchange, doer, seen),
            Kind::Dns(dns) => self.dns(row, dns, doer, seen),
        }
    }

    /// What became of the rows so far.
    #[must_use]
    pub const fn counters(&self) -> AssembleCounters {
        AssembleCounters {
            repeated: self.connections.repeated,
            retries: self.connections.retries,
            resolver: self.resolver,
            joined: self.joined,
            said_evicted: self.said.evicted,
            connections_evicted: self.connections.evicted,
            processes_evicted: self.instances.evicted,
        }
    }

    /// Stands for the host of a row in the tables here.
    fn host_key(&self, row: &Row<'_>) -> u64 {
        let mut hash = self.hasher.build_hasher();
        row.host.hash(&mut hash);
        if row.host.is_empty()
            && let Some(ip) = row.local_ip()
        {
            ip.hash(&mut hash);
        }
        hash.finish()
    }

    fn connection(
        &mut self,
        row: &Row<'_>,
        host: u64,
        connection: &ConnectionRow<'_>,
        doer: Option<(ProcessKey, Program)>,
        seen: &mut dyn FnMut(&Observation<'_>),
    ) {
        // As in packets: a datagram to a resolver is a look-up, and nothing else.
        if connection.tuple.transport == Transport::Udp && connection.tuple.remote.port() == DNS_PORT {
            self.resolver += 1;
            return;
        }
        if self.connections.judge(host, row.time, connection) != Verdict::New {
            return;
        }
        let told;
        let mut said = connection.said;
        if !connection.uid.is_empty()
            && let Some(bytes) = self.said.get(self.hasher.hash_one(connection.uid), row.time)
        {
            told = bytes;
            said = said::merged(said, said::decode(told));
            self.joined += 1;
        }
        let totals = Totals {
            end: connection.start.plus_nanos(connection.duration.unwrap_or(0).max(0)),
            bytes_out: connection.bytes_out,
            bytes_in: connection.bytes_in,
            outcome: connection.outcome,
        };
        let clean = self.clean.of(&said);
        let event =
            event(clean, connection.tuple, connection.start, doer.as_ref(), &said, Phase::Whole(totals));
        tell(row, &mut self.host, Event::Connection(event), seen);
        let certificate = Certificate::told(said.certificate_sha1, said.certificate_sha256);
        if !certificate.is_none() {
            let event = ConnectionEvent { phase: Phase::Certificate(certificate), ..event };
            tell(row, &mut self.host, Event::Connection(event), seen);
        }
    }

    fn exchange(
        &mut self,
        row: &Row<'_>,
        exchange: &ExchangeRow<'_>,
        doer: Option<(ProcessKey, Program)>,
        seen: &mut dyn FnMut(&Observation<'_>),
    ) {
        let phase =
            Phase::Exchange { start: row.time, bytes_out: exchange.bytes_out, bytes_in: exchange.bytes_in };
        let clean = self.clean.of(&exchange.said);
        let event = event(clean, exchange.tuple, row.time, doer.as_ref(), &exchange.said, phase);
        tell(row, &mut self.host, Event::Connection(event), seen);
    }

    fn dns(
        &mut self,
        row: &Row<'_>,
        dns: &DnsRow<'_>,
        doer: Option<(ProcessKey, Program)>,
        seen: &mut dyn FnMut(&Observation<'_>),
    ) {
        let addresses = dns.addresses.to_vec();
        let query = DOMAIN_TEXT.keep(dns.query, &mut self.clean.fqdn);
        if query.is_empty() {
            return;
        }
        let event = DnsEvent {
            start: dns.start,
            process: doer.as_ref().map(|(key, _)| *key),
            program: doer.as_ref().map(|(_, program)| program),
            attribution: Attribution::NONE,
            tuple: None,
            resolver: dns
                .resolver
                .map(|to| SocketAddr::new(to.ip(), if to.port() == 0 { DNS_PORT } else { to.port() })),
            query,
            query_type: dns.query_type,
            response_code: dns.response_code,
            addresses: &addresses,
            ttl_secs: dns.ttl_secs,
        };
        tell(row, &mut self.host, Event::Dns(event), seen);
    }
}

fn event<'a>(
    names: Names<'a>,
    tuple: crate::net::FiveTuple,
    start: crate::time::Timestamp,
    doer: Option<&'a (ProcessKey, Program)>,
    said: &Said<'_>,
    phase: Phase,
) -> ConnectionEvent<'a> {
    ConnectionEvent {
        tuple,
        start,
        process: doer.map(|(key, _)| *key),
        program: doer.map(|(_, program)| program),
        attribution: Attribution::NONE,
        names,
        protocol: said.protocol,
        ja4: Ja4::parse(said.ja4),
        phase,
    }
}

fn tell(row: &Row<'_>, scratch: &mut String, event: Event<'_>, seen: &mut dyn FnMut(&Observation<'_>)) {
    let host = if row.host.is_empty() {
        let Some(ip) = row.local_ip() else { return };
        HostId::Address(ip)
    } else {
        HostId::Name(HOST_TEXT.keep(row.host, scratch))
    };
    seen(&Observation { time: row.time, host, event });
}
