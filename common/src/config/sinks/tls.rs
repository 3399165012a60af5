//! `[sinks.NAME.tls]`: how the other side is known, and how it knows us.

use serde::{Deserialize, Serialize};

use crate::config::text::Place;

/// TLS of one sink. The least version is 1.2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificates of the authorities that may vouch for the other side (PEM); empty: those that the machine trusts.
    pub ca: Place,
    /// Our certificate with its chain (PEM), where the other side wants one.
    pub certificate: Place,
    /// Its key (PEM), readable by its owner and group alone.
    pub key: Place,
    /// The name that the other side's certificate is to bear, where it is not the host of the URL.
    pub server_name: String,
    /// SHA-256 of the public keys (SPKI, base64) of which the other side's chain has to hold one, besides being valid.
    pub pins: Vec<String>,
}
