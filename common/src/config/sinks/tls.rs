//! `[sinks.NAME.tls]`: how the other side is known, and how it knows us.

use serde::{Deserialize, Serialize};

use super::pin::Pin;
use crate::config::text::Place;

/// Most pins of one sink: a key in use, its successor, and those of a few authorities.
const MAX_PINS: usize = 16;

/// TLS of one sink. The least version is 1.2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificates of the authorities that may vouch for the other side (PEM); empty: those that the machine trusts.
    pub ca: Place,
    /// Our certificate with its chain (PEM), where the other side wants one. It is read for each connection, so that a
    /// renewed one is taken up.
    pub certificate: Place,
    /// Its key (PEM), readable by its owner and group alone.
    pub key: Place,
    /// The name that the other side's certificate is to bear, where it is not the host of the URL.
    pub server_name: String,
    /// SHA-256 of the public keys (SPKI, base64) of which the other side's chain has to hold one, besides being valid.
    pub pins: Vec<Pin>,
}

impl TlsSettings {
    /// What is wrong between the keys, if anything is.
    pub(in crate::config) fn fault(&self) -> Option<&'static str> {
        match (self.certificate.get(), self.key.get()) {
            (Some(_), None) => return Some("tls.certificate needs tls.key, the file of its key"),
            (None, Some(_)) => return Some("tls.key needs tls.certificate, the file of its certificate"),
            _ => {}
        }
        (self.pins.len() > MAX_PINS).then_some("tls.pins holds more than 16 pins")
    }
}
