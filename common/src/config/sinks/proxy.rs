//! An HTTP proxy on the way to a sink. That the host can be reached is not asked here.

use serde::{Deserialize, Deserializer, Serialize};

/// Longest URL, in bytes: a host's name has at most 253.
const MAX_BYTES: usize = 512;

/// `http://[user@]host:port` or `https://…`, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// The URL; `None` where there is no proxy.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for ProxyUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match fault(&text) {
            None => Ok(Self(text)),
            // Not shown: what is wrong may hold a password.
            Some(fault) => Err(serde::de::Error::custom(format_args!("the proxy's URL {fault}"))),
        }
    }
}

fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return None;
    }
    if text.len() > MAX_BYTES || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("is too long, or holds spaces or control characters");
    }
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return Some("begins with neither http:// nor https://");
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let host = match rest.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            return Some("holds a password: name its file or credential in proxy_password instead");
        }
        Some((_, host)) => host,
        None => rest,
    };
    (host.is_empty() || host.contains(['/', '?', '#']))
        .then_some("is not of the form http://[user@]host:port")
}
