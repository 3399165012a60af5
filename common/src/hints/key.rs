//! Ed25519 keys of those who sign hints, as text that can be copied into a configuration or a file.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Bytes of a key, public or secret (RFC 8032, section 5.1.5).
pub const KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// What a file of a secret key begins with, so that nothing else is taken for one.
const SECRET_PREFIX: &str = "sonde-hints-key:";

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes in base64.
    #[error("is no public key: 32 bytes in base64 are wanted, as `sonde fleet keys new` prints them")]
    Public,
    /// A point under which anything verifies.
    #[error("is a weak key: make one with `sonde fleet keys new`")]
    Weak,
    /// Not what `keys new` wrote. The text is never shown.
    #[error("holds no secret key of hints: make one with `sonde fleet keys new`")]
    Secret,
}

/// Which key signed: the first eight bytes of the SHA-256 of the public key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The key that signatures are checked with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Its short name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let digest = Sha256::digest(self.0.as_bytes());
        KeyId(std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default()))
    }

    /// Whether `signature` is this key's, over `message`. Strictly: one message has one signature.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(&decode(text).ok_or(KeyError::Public)?);
        let key = key.map_err(|_| KeyError::Public)?;
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self(key)) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            serde::de::Error::custom(format_args!("`{shown}` {error}"))
        })
    }
}

/// The key that signs. It is wiped when it is dropped, and no message shows it.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From 32 bytes of chance.
    #[must_use]
    pub fn of_seed(seed: &[u8; KEY_BYTES]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// From the text of its file.
    ///
    /// # Errors
    /// If it is none.
    pub fn of_text(text: &str) -> Result<Self, KeyError> {
        let key = text.trim().strip_prefix(SECRET_PREFIX).and_then(decode).ok_or(KeyError::Secret)?;
        Ok(Self::of_seed(&key))
    }

    /// As its file holds it.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{SECRET_PREFIX}{}\n", STANDARD.encode(self.0.as_bytes()))
    }

    /// The key that its signatures are checked with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public().id())
    }
}

fn decode(text: &str) -> Option<[u8; KEY_BYTES]> {
    // 32 bytes take 44 digits; a longer text is not even looked at.
    let text = text.trim();
    (text.len() <= 44).then(|| STANDARD.decode(text).ok()?.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_vector_of_rfc_8032_is_signed_as_there() {
        let unhex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = SecretKey::of_seed(&seed.try_into().unwrap());
        let signature = key.sign(b"");
        assert_eq!(
            signature.to_vec(),
            unhex(
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            )
        );
        assert!(key.public().verifies(b"", &signature) && !key.public().verifies(b"x", &signature));
    }

    #[test]
    fn keys_go_through_text_and_what_is_none_is_refused_without_showing_a_secret() {
        let key = SecretKey::of_seed(&[7; 32]);
        assert_eq!(SecretKey::of_text(&key.to_text()).unwrap().public(), key.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        assert_eq!(key.public().id().to_string().len(), 16);
        assert!(!format!("{key:?}").contains(&STANDARD.encode([7; 32])));
        for bad in ["", "x", &"A".repeat(44), &"A".repeat(9_000), &key.to_text()] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
        // The neutral point: every signature of a certain form would verify.
        let neutral = STANDARD.encode(std::array::from_fn::<u8, 32, _>(|at| u8::from(at == 0)));
        assert_eq!(neutral.parse::<PublicKey>(), Err(KeyError::Weak));
        assert!(SecretKey::of_text(&key.public().to_string()).is_err());
    }
}
