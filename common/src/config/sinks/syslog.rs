//! `[sinks.NAME.syslog]`: syslog, RFC 5424, by UDP, TCP or TLS.

use serde::{Deserialize, Serialize};

use crate::config::amount::{Bytes, Whole};
use crate::encode::syslog::{Content, Facility};

/// A syslog receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogSettings {
    /// `udp://host:port`, `tcp://host:port` or `tls://host:port`; without a port 514, 601 and 6514.
    pub url: String,
    /// What stands in a message behind its structured data: `json`, the whole record, `text`, the sentence that tells the
    /// finding, or `cef`, ArcSight's Common Event Format. Default `json`.
    pub format: Content,
    /// The part of the system that messages are said to be from: `user`, `daemon`, `auth`, `syslog`, `authpriv`, `audit`,
    /// `alert`, `local0` to `local7`. Default `local0`.
    pub facility: Facility,
    /// Longest message by UDP. Default 2048 bytes, from 1 KiB to 63 KiB: every receiver takes 480, most take 2,048, and
    /// what is longer than a packet of the network is lost as a whole with any part of it.
    pub udp_bytes: Bytes<2_048, 1_024, { 63 << 10 }>,
    /// Longest message by TCP and TLS. Default 64 KiB, from 2 KiB to 1 MiB. A receiver may take less and cut the rest:
    /// rsyslog 8 KiB, unless `maxMessageSize` is raised.
    pub max_bytes: Bytes<{ 64 << 10 }, { 2 << 10 }, { 1 << 20 }>,
    /// How many of the latest records are sent again when a connection died, since the protocol has no receipt. Default
    /// 2,000, from 0 to 100,000.
    pub replay: Whole<2_000, 0, 100_000>,
    /// Most memory that they take. Default 8 MiB, from 64 KiB to 256 MiB.
    pub replay_bytes: Bytes<{ 8 << 20 }, { 64 << 10 }, { 256 << 20 }>,
}
