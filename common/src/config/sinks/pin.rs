//! Pins: SHA-256 of a public key, as `openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` gives it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// SHA-256 of a public key (SPKI).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The hash.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Pin {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let plain = text.strip_prefix("sha256/").unwrap_or(&text);
        let hash = STANDARD.decode(plain).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        hash.map(Self).ok_or_else(|| {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            let error = format_args!("`{shown}` is no pin: base64 of the 32 bytes of a public key's SHA-256");
            serde::de::Error::custom(error)
        })
    }
}
