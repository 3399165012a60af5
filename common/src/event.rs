//! What a source tells the engine: [`Observation`]s, in the order in which the sensor knew them.
//!
//! Names are borrowed from the source, which has already lower-cased and escaped them: nothing here is raw wire bytes.
//! An empty string means "not seen".

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::live::Gap;
use crate::net::FiveTuple;
use crate::process::{Attribution, ProcessInfo, ProcessKey};
use crate::program::Program;
use crate::text::Rule;
use crate::time::Timestamp;

/// Longest name (FQDN, SNI, Host, label of a host) that is kept, in bytes: RFC 1035 section 3.1 allows 253.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest User-Agent that is kept, in bytes.
pub const MAX_USER_AGENT_BYTES: usize = 256;
/// Resolvers of a host that are kept: most systems take three, Windows a few for each interface.
pub const MAX_RESOLVERS: usize = 32;
/// How the name of a host is kept.
pub const HOST_TEXT: Rule = Rule { cap: MAX_NAME_BYTES, lower_case: false, strip_dot: false };
/// … a name that was resolved.
pub const DOMAIN_TEXT: Rule = Rule { cap: MAX_NAME_BYTES, lower_case: true, strip_dot: true };
/// … a name that a client claimed.
pub const CLAIM_TEXT: Rule = Rule { cap: MAX_NAME_BYTES, lower_case: true, strip_dot: false };
/// … a User-Agent.
pub const USER_AGENT_TEXT: Rule = Rule { cap: MAX_USER_AGENT_BYTES, lower_case: false, strip_dot: false };

/// One thing a source saw.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// When the sensor knew it. Never goes back within one host.
    pub time: Timestamp,
    /// The host it happened on.
    pub host: HostId<'a>,
    /// What happened.
    pub event: Event<'a>,
}

/// A host, as its source names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostId<'a> {
    /// The local address in a capture.
    Address(IpAddr),
    /// The name in a log.
    Name(&'a str),
}

impl std::fmt::Display for HostId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// What is known of the host before the first event.
    Host(HostFacts),
    /// A process that later events refer to.
    Process(ProcessKey, &'a ProcessInfo),
    /// A destination that this host knew before the observation began: registrable domain or address, and for how many days.
    KnownDestination {
        /// Registrable domain or address.
        name: &'a str,
        /// Days known.
        age_days: f64,
    },
    /// The resolvers that this host is set up to ask, all of them: an earlier list holds no more.
    Resolvers(&'a [IpAddr]),
    /// A connection, or news of it.
    Connection(ConnectionEvent<'a>),
    /// A DNS query and what came back.
    Dns(DnsEvent<'a>),
    /// The source was blind for a while: an interval over this time is no interval.
    Gap(Gap),
}

/// What is known of a host before its first event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// Whether the source knows what this host talked to before, so that a destination not named by
    /// [`Event::KnownDestination`] is new. Without it, newness is unknown.
    pub history: bool,
    /// When the observation of this host began.
    pub observed_since: Timestamp,
}

/// News of one connection that this host opened.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionEvent<'a> {
    /// Both ends.
    pub tuple: FiveTuple,
    /// First packet of the connection: the callback's time.
    pub start: Timestamp,
    /// The process that opened it, where the source tells.
    pub process: Option<ProcessKey>,
    /// Its program, where the source knows it by itself; else an [`Event::Process`] told of it.
    pub program: Option<&'a Program>,
    /// How the process is known, where a live sensor found it.
    pub attribution: Attribution,
    /// What the connection was called.
    pub names: Names<'a>,
    /// What the client spoke first.
    pub protocol: AppProtocol,
    /// Client TLS fingerprint (JA4).
    pub ja4: Option<Ja4>,
    /// What is new.
    pub phase: Phase,
}

/// The names a connection goes by, kept apart: what the client resolved and what it claimed are not the same evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// What the client resolved, where the source says so; the engine fills it from DNS where it is empty.
    pub fqdn: &'a str,
    /// Server name of TLS or QUIC.
    pub sni: &'a str,
    /// Target host of a proxy's CONNECT: then this is the destination, not the proxy.
    pub connect_host: &'a str,
    /// Target port of CONNECT, 0 without one.
    pub connect_port: u16,
    /// HTTP Host header.
    pub http_host: &'a str,
    /// HTTP User-Agent header.
    pub user_agent: &'a str,
}

/// The stage of a connection that an event tells of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// It was opened (or an attempt was made) and is named as well as it will be.
    Opened,
    /// It was found already open: its start was not seen, so it is no callback, but exchanges inside it count.
    Joined,
    /// Payload after at least a second of silence in both directions, until the next silence.
    Exchange {
        /// First packet of the exchange.
        start: Timestamp,
        /// Payload bytes sent.
        bytes_out: u64,
        /// Payload bytes received.
        bytes_in: u64,
    },
    /// The server showed its certificate, within a connection that was told of before.
    Certificate(Certificate),
    /// It ended, or was forgotten; an `Opened` or `Joined` went before.
    Closed(Totals),
    /// The source tells only of whole connections: opened and closed in one.
    Whole(Totals),
}

/// What a connection came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Last packet.
    pub end: Timestamp,
    /// Payload bytes sent; `None` where the source does not count.
    pub bytes_out: Option<u64>,
    /// Payload bytes received; `None` where the source does not count.
    pub bytes_in: Option<u64>,
    /// How it went.
    pub outcome: Outcome,
}

/// How a connection went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The source does not say, or saw only a part.
    #[default]
    Unknown,
    /// The server answered.
    Established,
    /// The server refused (RST, ICMP unreachable).
    Refused,
    /// No answer.
    Unanswered,
    /// Opened, then reset.
    Reset,
}

/// What the client spoke first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppProtocol {
    /// Nothing that was recognised.
    #[default]
    Unknown,
    /// TLS over TCP.
    Tls,
    /// QUIC.
    Quic,
    /// HTTP/1 in clear.
    Http,
    /// SSH.
    Ssh,
}

/// A JA4 client TLS fingerprint: 36 ASCII bytes such as `t13d1516h2_8daaf6152771_e5627efa2ab1` (FoxIO, BSD-3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ja4(pub [u8; 36]);

impl Ja4 {
    /// The fingerprint as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }

    /// From text of exactly 36 printable ASCII bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 36] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_graphic).then_some(Self(bytes))
    }
}

impl Serialize for Ja4 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Ja4 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected 36 printable ASCII characters"))
    }
}

impl std::fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A DNS query with its answer, or without one once it was waited for in vain.
#[derive(Clone, Copy, Debug)]
pub struct DnsEvent<'a> {
    /// When the query was sent.
    pub start: Timestamp,
    /// The process that asked, where the source tells.
    pub process: Option<ProcessKey>,
    /// Its program, as in [`ConnectionEvent::program`].
    pub program: Option<&'a Program>,
    /// As in [`ConnectionEvent::attribution`].
    pub attribution: Attribution,
    /// Both ends, where packets told of them: what the process is found by. The engine has no use for it.
    pub tuple: Option<FiveTuple>,
    /// The resolver that was asked.
    pub resolver: Option<SocketAddr>,
    /// The name asked for: lower case, no trailing dot.
    pub query: &'a str,
    /// Query type (1 = A, 28 = AAAA, 16 = TXT…).
    pub query_type: u16,
    /// Response code, `None` without an answer.
    pub response_code: Option<u16>,
    /// Addresses that the name leads to, CNAME chains already followed.
    pub addresses: &'a [IpAddr],
    /// Smallest time to live of the answer, in seconds.
    pub ttl_secs: u32,
}
