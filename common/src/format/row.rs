//! One row of somebody's log, in Sonde's words but not yet in Sonde's order: what every log reader hands out.
//!
//! A row borrows from the record it was read from and is as raw as that: names keep their case, texts are not escaped.
//! The assembler joins rows into [`Observation`](crate::event::Observation)s once they are sorted by
//! [`Row::time`], and is the one place that cleans them.

use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

use crate::event::{AppProtocol, Outcome};
use crate::net::FiveTuple;
use crate::text::escape;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// How much earlier than they happened [attributes](Kind::Attributes) are taken up, in nanoseconds: a connection is taken up
/// when it starts, and what its client said comes later. A minute is more than any handshake takes.
pub const ATTRIBUTES_LEAD: i64 = 60 * NANOS_PER_SEC;
/// Most addresses of one DNS answer that are kept.
pub const MAX_ADDRESSES: usize = 16;

/// Where a reader puts what it read.
pub trait RowSink {
    /// A row.
    fn row(&mut self, row: &Row<'_>);
    /// A row that cannot be used; it costs only itself.
    fn bad(&mut self, error: RowError);
}

/// One row. All texts are as the log has them; empty means "not told".
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row<'a> {
    /// When it is to be taken up. Rows are sorted by it.
    #[serde(with = "nanos")]
    pub time: Timestamp,
    /// Name of the host as the log has it; empty: the host is the local address.
    pub host: &'a str,
    /// The process that did it.
    #[serde(borrow)]
    pub process: Option<ProcessRow<'a>>,
    /// What the row tells.
    #[serde(borrow)]
    pub kind: Kind<'a>,
    /// The columns that the published hunting rule reads, where the log is the one it is written for.
    #[serde(borrow)]
    pub hunted: Option<Hunted<'a>>,
}

/// What a row tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Kind<'a> {
    /// Nothing that the engine follows (an inbound connection, a listener): only its time and its
    /// [`hunted`](Row::hunted) columns count.
    #[default]
    Other,
    /// A connection that this host made, as a whole. `time` is its start, or later where the row may have a better twin.
    Connection(#[serde(borrow)] ConnectionRow<'a>),
    /// What the client of the connection with this `uid` said. `time` is [`ATTRIBUTES_LEAD`] before it said so.
    Attributes(#[serde(borrow)] AttributesRow<'a>),
    /// A request inside a connection that had one before.
    Exchange(#[serde(borrow)] ExchangeRow<'a>),
    /// A DNS query.
    Dns(#[serde(borrow)] DnsRow<'a>),
    /// A process was started: [`Row::process`] has all that is known of it.
    Started,
}

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionRow<'a> {
    /// What joins it with its [`AttributesRow`]s; empty: nothing does.
    pub uid: &'a str,
    /// Who opened it (local) to whom (remote).
    pub tuple: FiveTuple,
    /// First packet.
    #[serde(with = "nanos")]
    pub start: Timestamp,
    /// Nanoseconds from the first packet to the last, where known.
    pub duration: Option<i64>,
    /// Payload bytes sent.
    pub bytes_out: Option<u64>,
    /// Payload bytes received.
    pub bytes_in: Option<u64>,
    /// Bytes sent with their IP headers, which RITA scores.
    pub ip_bytes_out: Option<u64>,
    /// How it went.
    pub outcome: Outcome,
    /// Whether the log says that the opener is one of ours; `None` where it does not say.
    pub opener_is_local: Option<bool>,
    /// What is known of names in the same row.
    #[serde(borrow)]
    pub said: Said<'a>,
}

/// Names and fingerprints, each as its own row tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Said<'a> {
    /// What the client resolved.
    pub fqdn: &'a str,
    /// Server name of TLS or QUIC.
    pub sni: &'a str,
    /// Target host of a proxy's CONNECT.
    pub connect_host: &'a str,
    /// Its port, 0 without one.
    pub connect_port: u16,
    /// HTTP Host header.
    pub http_host: &'a str,
    /// HTTP User-Agent header.
    pub user_agent: &'a str,
    /// JA4 of the client; a JA3 is no JA4.
    pub ja4: &'a str,
    /// SHA-1 of the server's certificate, hex.
    pub certificate_sha1: &'a str,
    /// SHA-256 of it, hex.
    pub certificate_sha256: &'a str,
    /// What the client spoke.
    pub protocol: AppProtocol,
}

/// What the client of a connection said, told in a row of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttributesRow<'a> {
    /// The connection's.
    pub uid: &'a str,
    /// Who opened it, where the log says.
    pub client: Option<IpAddr>,
    /// What it said.
    #[serde(borrow)]
    pub said: Said<'a>,
}

/// A request in a connection that is kept open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExchangeRow<'a> {
    /// The connection's.
    pub uid: &'a str,
    /// The connection.
    pub tuple: FiveTuple,
    /// Payload bytes sent.
    pub bytes_out: u64,
    /// Payload bytes received.
    pub bytes_in: u64,
    /// Whether the log says that the opener is one of ours.
    pub opener_is_local: Option<bool>,
    /// What it said.
    #[serde(borrow)]
    pub said: Said<'a>,
}

/// A DNS query and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnsRow<'a> {
    /// The address that asked, where the log says.
    pub client: Option<IpAddr>,
    /// The resolver.
    pub resolver: Option<SocketAddr>,
    /// When it was asked.
    #[serde(with = "nanos")]
    pub start: Timestamp,
    /// The name.
    pub query: &'a str,
    /// Query type (1 = A…).
    pub query_type: u16,
    /// Response code; `None` without an answer.
    pub response_code: Option<u16>,
    /// Addresses of the answer.
    pub addresses: Addresses,
    /// Smallest time to live of the answer, in seconds; 0 where the log does not say.
    pub ttl_secs: u32,
    /// Whether the log says that who asked is one of ours.
    pub opener_is_local: Option<bool>,
}

/// At most [`MAX_ADDRESSES`] addresses; further ones are dropped, as the decoder of DNS messages does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Addresses {
    list: [Option<IpAddr>; MAX_ADDRESSES],
}

/// Who did it. A field that the log has not is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessRow<'a> {
    /// Process id.
    pub pid: u32,
    /// When it started, where the row says.
    #[serde(with = "nanos_option")]
    pub start: Option<Timestamp>,
    /// What the log calls this instance for good (Sysmon's `ProcessGuid`).
    pub guid: &'a str,
    /// Path of the executable, or its name where there is no more.
    pub image: &'a str,
    /// Command line.
    pub command_line: &'a str,
    /// SHA-256 of the executable, hex.
    pub sha256: &'a str,
    /// Path or name of the parent's executable.
    pub parent_image: &'a str,
    /// Account, with its domain where told: `DOMAIN\name`.
    pub user: &'a str,
    /// Whether a trusted publisher signed it.
    pub signed: Option<bool>,
}

/// The columns of `DeviceNetworkEvents` that the hunting rule reads, letter by letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hunted<'a> {
    /// `DeviceName`.
    pub device_name: &'a str,
    /// `AccountName`, or `InitiatingProcessAccountName` where no column has that name.
    pub account_name: &'a str,
    /// `ActionType`.
    pub action_type: &'a str,
    /// `RemoteIP`.
    pub remote_ip: &'a str,
    /// `RemoteIPType`.
    pub remote_ip_type: &'a str,
    /// `RemoteUrl`.
    pub remote_url: &'a str,
    /// `RemotePort`; `None` where it is empty or no port.
    pub remote_port: Option<u16>,
    /// `InitiatingProcessFileName`.
    pub process_name: &'a str,
}

impl Addresses {
    /// Adds one; false if it was there already or there is no room.
    pub fn push(&mut self, ip: IpAddr) -> bool {
        for place in &mut self.list {
            match place {
                Some(known) if *known == ip => return false,
                Some(_) => {}
                None => {
                    *place = Some(ip);
                    return true;
                }
            }
        }
        false
    }

    /// The addresses in their order.
    #[must_use]
    pub fn to_vec(&self) -> ArrayVec<IpAddr, MAX_ADDRESSES> {
        self.list.iter().map_while(|ip| *ip).collect()
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut all = Self::default();
        for ip in addresses {
            all.push(ip);
        }
        all
    }
}

impl Serialize for Addresses {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_vec().as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Addresses;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("addresses")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Addresses, A::Error> {
                let mut all = Addresses::default();
                while let Some(ip) = seq.next_element()? {
                    all.push(ip);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

impl Row<'_> {
    /// The address of our side, where the row has one.
    #[must_use]
    pub const fn local_ip(&self) -> Option<IpAddr> {
        match &self.kind {
            Kind::Connection(connection) => Some(connection.tuple.local.ip()),
            Kind::Exchange(exchange) => Some(exchange.tuple.local.ip()),
            Kind::Dns(dns) => dns.client,
            Kind::Attributes(attributes) => attributes.client,
            Kind::Started | Kind::Other => None,
        }
    }

    /// Appends the row in a compact form of our own to `out`; [`decode`](Self::decode) reads it back in the same build.
    pub fn encode(&self, out: Vec<u8>) -> Vec<u8> {
        postcard::to_extend(self, out)
            .expect("a vector takes what is written to it, and rows know their lengths")
    }

    /// Reads back what [`encode`](Self::encode) wrote; `None` if the bytes are something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Row<'_>> {
        postcard::from_bytes(bytes).ok()
    }
}

/// Why a row cannot be used. Rows are counted by [`cause`](Self::cause); the first few are named in full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {cause}{}", shown(.found))]
pub struct RowError {
    /// What is wrong.
    pub cause: Cause,
    /// The column or key, escaped; empty if it is the row as a whole.
    field: String,
    /// What stands there, cut and escaped; empty if nothing does.
    found: String,
}

fn shown(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(", found `{text}`") }
}

impl<'a> ConnectionRow<'a> {
    /// A connection as a log of the host itself tells it: who called whom, and when.
    #[must_use]
    pub fn of_host(tuple: FiveTuple, start: Timestamp) -> Self {
        Self {
            uid: "",
            tuple,
            start,
            duration: None,
            bytes_out: None,
            bytes_in: None,
            ip_bytes_out: None,
            outcome: Outcome::Unknown,
            opener_is_local: Some(true),
            said: Said::default(),
        }
    }
}

impl RowError {
    /// A field that cannot be used, with what stands there.
    #[must_use]
    pub fn field(cause: Cause, field: &str, found: &str) -> Self {
        /// Bytes of a field's name or content that are shown.
        const SHOWN: usize = 80;
        let short =
            |text: &str| escape(text.get(..text.floor_char_boundary(SHOWN)).unwrap_or_default()).into_owned();
        Self { cause, field: short(field), found: short(found) }
    }

    /// A row that is wrong as a whole.
    #[must_use]
    pub fn row(cause: Cause, found: &str) -> Self {
        Self::field(cause, "row", found)
    }
}

/// What makes a row useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Cause {
    /// Bytes that are no UTF-8 text.
    #[error("not UTF-8")]
    Encoding,
    /// Text that is no JSON, or not of the expected shape.
    #[error("not the expected JSON")]
    Json,
    /// Another number of columns than the header says.
    #[error("number of columns differs from the header's")]
    Columns,
    /// A row before any header that names its columns.
    #[error("no header names the columns")]
    Header,
    /// A field that must be there is not.
    #[error("missing")]
    Missing,
    /// A time that cannot be read.
    #[error("not a time")]
    Time,
    /// An address that cannot be read.
    #[error("not an IP address")]
    Address,
    /// A port that cannot be.
    #[error("not a port")]
    Port,
    /// A number that cannot be read.
    #[error("not a number")]
    Number,
    /// A word that is none of those expected there.
    #[error("not a word that is known here")]
    Word,
    /// A binary record that cannot be read.
    #[error("damaged record")]
    Record,
}

mod nanos {
    use super::{Deserialize, Timestamp};

    pub(super) fn serialize<S: serde::Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.nanos())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_nanos)
    }
}

mod nanos_option {
    use super::{Deserialize, Serialize, Timestamp};

    pub(super) fn serialize<S: serde::Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::nanos).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_survives_its_compact_form() {
        let dns = DnsRow {
            client: Some([10, 0, 0, 1].into()),
            resolver: Some(([10, 0, 0, 53], 53).into()),
            start: Timestamp::from_nanos(-5),
            query: "a.example",
            query_type: 1,
            response_code: Some(0),
            addresses: (0..40u8).map(|n| IpAddr::from([192, 0, 2, n])).collect(),
            ttl_secs: 60,
            opener_is_local: Some(true),
        };
        let process =
            ProcessRow { pid: 7, start: Some(Timestamp::ZERO), image: r"C:\a.exe", ..Default::default() };
        let row = Row {
            time: Timestamp::from_nanos(1_600_000_000_000_000_001),
            host: "pc-ü",
            process: Some(process),
            kind: Kind::Dns(dns),
            hunted: Some(Hunted { remote_port: Some(443), ..Default::default() }),
        };
        let bytes = row.encode(vec![1, 2]);
        assert_eq!(Row::decode(&bytes[2..]), Some(row));
        let Some(Row { kind: Kind::Dns(back), .. }) = Row::decode(&bytes[2..]) else { panic!() };
        assert_eq!(back.addresses.to_vec().len(), MAX_ADDRESSES);
        assert_eq!(Row::decode(&bytes[2..bytes.len() - 9]), None);
    }

    #[test]
    fn a_bad_row_names_its_field_and_what_stands_there() {
        let error = RowError::field(Cause::Port, "id.orig_p", &format!("70000\x1b{}", "9".repeat(500)));
        let text = error.to_string();
        assert!(text.starts_with("id.orig_p: not a port, found `70000\\u{1b}99"), "{text}");
        assert!(text.len() < 150);
        assert_eq!(RowError::field(Cause::Missing, "ts", "").to_string(), "ts: missing");
    }
}
