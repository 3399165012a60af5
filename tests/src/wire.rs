//! A conversation packet by packet, for tests that care about each number: what is sent when, with which sequence number.
//!
//! [`Wire`] writes frames, [`follow`] hands them to the tracker and keeps what it says as [`Told`].

use std::net::{IpAddr, SocketAddr};

use sonde_common::conntrack::Tracker;
use sonde_common::conntrack::local::Locals;
use sonde_common::decode::packet;
use sonde_common::event::{AppProtocol, Event, Phase};
use sonde_common::format::{Frame, LinkType};
use sonde_common::net::Transport as Protocol;
use sonde_common::time::Timestamp;

use crate::packet::{Addresses, Extension, IpFields, Link, Packet, Tcp, Transport};
use crate::scenario::DAY;

/// Memory of a tracker in tests that are not about memory.
pub const MEMORY: usize = 16 << 20;

/// Frames with their times, of one link type.
pub type Frames = Vec<(Timestamp, Vec<u8>)>;

/// `ms` milliseconds into the day of every scenario.
#[must_use]
pub const fn at(ms: i64) -> Timestamp {
    DAY.plus_nanos(ms * 1_000_000)
}

/// Two parties on one link; each call adds one frame.
#[derive(Clone, Debug)]
pub struct Wire {
    client: SocketAddr,
    server: SocketAddr,
    link: Link,
    extensions: &'static [Extension],
    /// What was sent so far.
    pub frames: Frames,
}

impl Wire {
    /// Over Ethernet.
    ///
    /// # Panics
    /// If one is no address with port.
    #[must_use]
    pub fn new(client: &str, server: &str) -> Self {
        Self::over(Link::ethernet([2, 0, 0, 0, 0, 5], [2, 0, 0, 0, 0, 1]), client, server)
    }

    /// Over any link.
    ///
    /// # Panics
    /// If one is no address with port.
    #[must_use]
    pub fn over(link: Link, client: &str, server: &str) -> Self {
        let end = |text: &str| text.parse().expect("an address with port");
        Self { client: end(client), server: end(server), link, extensions: &[], frames: Vec::new() }
    }

    /// With these IPv6 extension headers in every packet.
    #[must_use]
    pub const fn with_extensions(mut self, extensions: &'static [Extension]) -> Self {
        self.extensions = extensions;
        self
    }

    /// The link type of the frames.
    #[must_use]
    pub const fn link_type(&self) -> LinkType {
        self.link.link_type()
    }

    /// A packet between the two, to change or to send.
    #[must_use]
    pub fn packet<'a>(&self, from_client: bool, transport: Transport<'a>, payload: &'a [u8]) -> Packet<'a> {
        let addresses = Addresses::new(self.client.ip(), self.server.ip());
        let (addresses, link) =
            if from_client { (addresses, self.link) } else { (addresses.reversed(), self.link.reversed()) };
        let ip = IpFields { extensions: self.extensions, ..IpFields::default() };
        Packet { link, addresses, ip, transport, payload }
    }

    /// Adds any packet.
    pub fn send(&mut self, ms: i64, packet: &Packet<'_>) -> &mut Self {
        self.frames.push((at(ms), packet.to_vec()));
        self
    }

    /// The transport header of a segment.
    #[must_use]
    pub fn tcp(&self, from_client: bool, seq: u32, flags: u8) -> Transport<'static> {
        let (mut source_port, mut destination_port) = (self.client.port(), self.server.port());
        if !from_client {
            (source_port, destination_port) = (destination_port, source_port);
        }
        Transport::Tcp(Tcp { source_port, destination_port, seq, ack: 0, flags, window: 501, options: &[] })
    }

    /// The client sends a segment.
    pub fn out(&mut self, ms: i64, seq: u32, flags: u8, data: &[u8]) -> &mut Self {
        let packet = self.packet(true, self.tcp(true, seq, flags), data);
        let frame = packet.to_vec();
        self.frames.push((at(ms), frame));
        self
    }

    /// The server sends a segment.
    pub fn back(&mut self, ms: i64, seq: u32, flags: u8, data: &[u8]) -> &mut Self {
        let packet = self.packet(false, self.tcp(false, seq, flags), data);
        let frame = packet.to_vec();
        self.frames.push((at(ms), frame));
        self
    }

    /// A datagram from the client, or from the server.
    pub fn udp(&mut self, ms: i64, from_client: bool, data: &[u8]) -> &mut Self {
        let (mut source_port, mut destination_port) = (self.client.port(), self.server.port());
        if !from_client {
            (source_port, destination_port) = (destination_port, source_port);
        }
        let frame = self.packet(from_client, Transport::Udp { source_port, destination_port }, data).to_vec();
        self.frames.push((at(ms), frame));
        self
    }
}

/// What the tracker said once, in words of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// News of a connection.
    Connection(Box<Connection>),
    /// A DNS query.
    Query(Box<Query>),
}

/// News of a connection.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as the fields of `ConnectionEvent` of the same names")]
pub struct Connection {
    pub time: Timestamp,
    pub host: String,
    pub transport: Protocol,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub start: Timestamp,
    pub protocol: AppProtocol,
    pub sni: String,
    pub connect_host: String,
    pub connect_port: u16,
    pub http_host: String,
    pub user_agent: String,
    pub ja4: String,
    pub phase: Phase,
}

/// A DNS query.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as the fields of `DnsEvent` of the same names")]
pub struct Query {
    pub time: Timestamp,
    pub start: Timestamp,
    pub resolver: Option<SocketAddr>,
    pub query: String,
    pub query_type: u16,
    pub response_code: Option<u16>,
    pub addresses: Vec<IpAddr>,
    pub ttl_secs: u32,
}

/// A tracker, and what it said.
#[derive(Debug)]
pub struct Follow {
    /// The tracker.
    pub tracker: Tracker,
    /// What it said so far.
    pub told: Vec<Told>,
    /// Frames in which there was no packet, by cause.
    pub undecoded: Vec<packet::Undecoded>,
}

impl Default for Follow {
    fn default() -> Self {
        Self::within(MEMORY)
    }
}

impl Follow {
    /// A tracker with so much memory; private addresses are hosts.
    #[must_use]
    pub fn within(memory_bytes: usize) -> Self {
        Self {
            tracker: Tracker::new(Locals::default(), memory_bytes),
            told: Vec::new(),
            undecoded: Vec::new(),
        }
    }

    /// Takes one frame.
    pub fn frame(&mut self, link: LinkType, time: Timestamp, data: &[u8]) {
        let wire_len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.cut_frame(link, time, data, wire_len);
    }

    /// Takes one frame of which the capture kept only the beginning.
    pub fn cut_frame(&mut self, link: LinkType, time: Timestamp, data: &[u8], wire_len: u32) {
        let Self { tracker, told, undecoded } = self;
        match packet::decode(&Frame { time, link, data, wire_len }) {
            Ok(packet) => tracker.packet(&packet, &mut |observation| told.extend(keep(observation))),
            Err(cause) => undecoded.push(cause),
        }
    }

    /// Lets time pass.
    pub fn wait_until(&mut self, ms: i64) {
        let Self { tracker, told, .. } = self;
        tracker.tick(at(ms), &mut |observation| told.extend(keep(observation)));
    }

    /// Ends the input.
    pub fn finish(&mut self) {
        let Self { tracker, told, .. } = self;
        tracker.finish(&mut |observation| told.extend(keep(observation)));
    }

    /// What was said of connections.
    #[must_use]
    pub fn connections(&self) -> Vec<&Connection> {
        let mut connections = Vec::new();
        for told in &self.told {
            if let Told::Connection(connection) = told {
                connections.push(&**connection);
            }
        }
        connections
    }

    /// What was said of DNS queries.
    #[must_use]
    pub fn queries(&self) -> Vec<&Query> {
        let mut queries = Vec::new();
        for told in &self.told {
            if let Told::Query(query) = told {
                queries.push(&**query);
            }
        }
        queries
    }

    /// The stages of all connections, in the order told.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        self.connections().iter().map(|connection| connection.phase).collect()
    }
}

fn keep(observation: &sonde_common::event::Observation<'_>) -> Option<Told> {
    let time = observation.time;
    match observation.event {
        Event::Connection(event) => Some(Told::Connection(Box::new(Connection {
            time,
            host: observation.host.to_string(),
            transport: event.tuple.transport,
            local: event.tuple.local,
            remote: event.tuple.remote,
            start: event.start,
            protocol: event.protocol,
            sni: event.names.sni.to_owned(),
            connect_host: event.names.connect_host.to_owned(),
            connect_port: event.names.connect_port,
            http_host: event.names.http_host.to_owned(),
            user_agent: event.names.user_agent.to_owned(),
            ja4: event.ja4.map_or_else(String::new, |ja4| ja4.as_str().to_owned()),
            phase: event.phase,
        }))),
        Event::Dns(event) => Some(Told::Query(Box::new(Query {
            time,
            start: event.start,
            resolver: event.resolver,
            query: event.query.to_owned(),
            query_type: event.query_type,
            response_code: event.response_code,
            addresses: event.addresses.to_vec(),
            ttl_secs: event.ttl_secs,
        }))),
        Event::Host(_)
        | Event::Process(..)
        | Event::KnownDestination { .. }
        | Event::Resolvers(_)
        | Event::Gap(_) => None,
    }
}

/// Follows Ethernet frames to the end of the input. They come in order of time, whatever order they were added in.
#[must_use]
pub fn follow(mut frames: Frames) -> Follow {
    frames.sort_by_key(|(time, _)| *time);
    let mut follow = Follow::default();
    for (time, frame) in &frames {
        follow.frame(LinkType::Ethernet, *time, frame);
    }
    follow.finish();
    follow
}
