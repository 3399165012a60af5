//! `[sinks.NAME.syslog]`: syslog, RFC 5424, by UDP, TCP or TLS.

use serde::{Deserialize, Serialize};

/// A syslog receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogSettings {
    /// `udp://host:port`, `tcp://host:port` or `tls://host:port`.
    pub url: String,
}
