//! One signed document of hints: eight bytes that say what it is, its version, who signed it, its length, what it says, and
//! the signature over all of that.
//!
//! The signature is checked before anything is read of what it says: who has no key reaches no further than a hash.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::issue::is_name;
use super::key::{KeyId, PublicKey, SIGNATURE_BYTES, SecretKey};
use crate::event::Ja4;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// What a document begins with.
const KIND: [u8; 8] = *b"SONDEHNT";
/// The version that is written and read.
pub const VERSION: u8 = 1;
/// Bytes in front of what it says: kind, version, who signed, length.
const HEAD_BYTES: usize = 8 + 1 + 8 + 4;

/// Longest document, in bytes: a quarter of what a NATS server takes by default.
pub const MAX_DOCUMENT_BYTES: usize = 256 << 10;
/// Most entries of one document.
pub const MAX_ENTRIES: usize = 4096;
/// Most documents that make up one issue.
pub const MAX_SHARDS: u8 = 8;
/// Longest name of a destination, in bytes (RFC 1035, section 2.3.4, as text).
pub const MAX_NAME_BYTES: usize = 253;
/// Most hosts of a fleet that are believed.
const MAX_HOSTS: u32 = 100_000_000;
/// Longest time from making to expiry, in nanoseconds: a key that was stolen and replaced must not speak for longer.
pub const MAX_LIFETIME: i64 = 31 * 86_400 * NANOS_PER_SEC;

/// What a hint is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A destination by the very name that is called, in lower case.
    Name(String),
    /// All that is called below a registrable domain.
    Domain(String),
    /// An address that is called without a name.
    Address(IpAddr),
    /// A TLS client fingerprint.
    Ja4(Ja4),
    /// A program, by the SHA-256 of its file.
    Program([u8; 32]),
    /// A rhythm that several hosts keep towards one destination (its name, or address as text).
    Rhythm {
        /// Towards which.
        destination: String,
        /// Its period, in milliseconds.
        period_ms: u32,
    },
}

/// On how many hosts something is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What.
    pub subject: Subject,
    /// On how many hosts, one at least.
    pub hosts: u32,
}

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Which issue it is part of: higher is newer.
    pub serial: u64,
    /// Which part of the issue, from 0…
    pub shard: u8,
    /// …of so many.
    pub of: u8,
    /// When it was made.
    pub made: Timestamp,
    /// From when on it is no longer used.
    pub expires: Timestamp,
    /// Hosts of the fleet.
    pub hosts: u32,
    /// What is seen where, each subject once, in their order.
    pub entries: Vec<Entry>,
}

/// Why a document is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It begins with something else.
    #[error("it is no document of hints")]
    Foreign,
    /// Another version.
    #[error("its version is {0}; this version of Sonde reads {VERSION}")]
    Version(u8),
    /// Cut short, too long, or something stands behind it.
    #[error("its length does not fit: {had} bytes where {wanted} are wanted")]
    Length {
        /// Bytes there are.
        had: usize,
        /// Bytes that its head tells of, or the most that are read.
        wanted: usize,
    },
    /// Signed by someone whose key is not among those that may.
    #[error("it is signed with the key {0}, which is not among hints.keys")]
    Stranger(KeyId),
    /// The signature does not fit.
    #[error("its signature by {0} does not fit: it is forged or damaged")]
    Forged(KeyId),
    /// It is signed, and holds what it must not.
    #[error("it is signed, but {0}")]
    Content(&'static str),
    /// More entries or bytes than a document may have.
    #[error("{0}")]
    Size(&'static str),
}

impl DocumentError {
    /// One word for counters.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Foreign | Self::Length { .. } | Self::Size(_) => "damaged",
            Self::Version(_) => "version",
            Self::Stranger(_) => "unknown_key",
            Self::Forged(_) => "signature",
            Self::Content(_) => "content",
        }
    }
}

impl Document {
    /// The document with its signature.
    ///
    /// # Errors
    /// If it holds what no reader takes.
    pub fn sign(&self, key: &SecretKey) -> Result<Vec<u8>, DocumentError> {
        self.check()?;
        let body = postcard::to_allocvec(self).map_err(|_| DocumentError::Content("it cannot be written"))?;
        if HEAD_BYTES + body.len() + SIGNATURE_BYTES > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::Size("it is longer than 256 KiB"));
        }
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(HEAD_BYTES + body.len() + SIGNATURE_BYTES);
        out.extend_from_slice(&KIND);
        out.push(VERSION);
        out.extend_from_slice(&key.public().id().0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&body);
        let signature = key.sign(&out);
        out.extend_from_slice(&signature);
        Ok(out)
    }

    /// Reads a document that one of `keys` signed; with the key's name.
    ///
    /// # Errors
    /// [`DocumentError`] says why it is not used.
    pub fn verify(bytes: &[u8], keys: &[PublicKey]) -> Result<(KeyId, Self), DocumentError> {
        let (signed, signature, issuer) = cut(bytes)?;
        let key = keys.iter().find(|key| key.id() == issuer).ok_or(DocumentError::Stranger(issuer))?;
        if !key.verifies(signed, signature) {
            return Err(DocumentError::Forged(issuer));
        }
        Self::read(signed.get(HEAD_BYTES..).unwrap_or_default()).map(|this| (issuer, this))
    }

    /// Reads what a document says. Public for the fuzzer: whoever uses hints [verifies](Self::verify) them.
    ///
    /// # Errors
    /// If it is not what [`Self::sign`] writes.
    pub fn read(body: &[u8]) -> Result<Self, DocumentError> {
        let (this, rest) = postcard::take_from_bytes::<Self>(body)
            .map_err(|_| DocumentError::Content("it cannot be read"))?;
        if !rest.is_empty() {
            return Err(DocumentError::Content("something stands behind what it says"));
        }
        this.check().map(|()| this)
    }

    /// Whether it is used at `now`: the moment of its expiry is already too late.
    #[must_use]
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now < self.expires
    }

    fn check(&self) -> Result<(), DocumentError> {
        let wrong = |why| Err(DocumentError::Content(why));
        let lifetime = self.expires.since(self.made);
        if self.of == 0 || self.of > MAX_SHARDS || self.shard >= self.of {
            return wrong("its number of parts is out of range");
        }
        if lifetime <= 0 || lifetime > MAX_LIFETIME {
            return wrong("it does not expire within 31 days of its making");
        }
        if self.hosts == 0 || self.hosts > MAX_HOSTS {
            return wrong("its number of hosts is out of range");
        }
        if self.entries.len() > MAX_ENTRIES {
            return Err(DocumentError::Size("it has more than 4,096 entries"));
        }
        if self.entries.iter().any(|entry| entry.hosts == 0 || entry.hosts > self.hosts) {
            return wrong("something is seen on no host, or on more than there are");
        }
        if !self.entries.iter().all(|entry| entry.subject.is_sound()) {
            return wrong("one of its names is none");
        }
        if !self.entries.windows(2).all(|two| matches!(two, [a, b] if a.subject < b.subject)) {
            return wrong("its entries are not in order, or name something twice");
        }
        Ok(())
    }
}

impl Subject {
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Name(name) | Self::Domain(name) => is_name(name),
            Self::Rhythm { destination, period_ms } => is_name(destination) && *period_ms > 0,
            Self::Address(_) | Self::Ja4(_) | Self::Program(_) => true,
        }
    }

    /// Which kind, in one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::Domain(_) => "domain",
            Self::Address(_) => "address",
            Self::Ja4(_) => "ja4",
            Self::Program(_) => "program",
            Self::Rhythm { .. } => "rhythm",
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) | Self::Domain(name) => f.write_str(name),
            Self::Address(ip) => write!(f, "{ip}"),
            Self::Ja4(ja4) => f.write_str(ja4.as_str()),
            Self::Program(hash) => f.write_str(&crate::certificate::hex(hash)),
            Self::Rhythm { destination, period_ms } => {
                write!(f, "{destination} every {:.3} s", f64::from(*period_ms) / 1000.0)
            }
        }
    }
}

/// What is signed, the signature, and whose it claims to be.
fn cut(bytes: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE_BYTES], KeyId), DocumentError> {
    let wanted = length(bytes)?;
    let short = DocumentError::Length { had: bytes.len(), wanted };
    if bytes.len() != wanted {
        return Err(short);
    }
    let (signed, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(short.clone())?;
    let issuer = signed.get(9..).and_then(|rest| rest.first_chunk::<8>()).ok_or(short)?;
    Ok((signed, signature, KeyId(*issuer)))
}

/// How long the document at the begin of `bytes` is, by its head.
fn length(bytes: &[u8]) -> Result<usize, DocumentError> {
    let rest = bytes.strip_prefix(&KIND).ok_or(DocumentError::Foreign)?;
    let short = || DocumentError::Length { had: bytes.len(), wanted: HEAD_BYTES + SIGNATURE_BYTES };
    let (&version, rest) = rest.split_first().ok_or_else(short)?;
    if version != VERSION {
        return Err(DocumentError::Version(version));
    }
    let told = rest.get(8..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(short)?;
    let told = usize::try_from(u32::from_le_bytes(*told)).unwrap_or(usize::MAX);
    let whole = told.saturating_add(HEAD_BYTES + SIGNATURE_BYTES);
    if whole > MAX_DOCUMENT_BYTES {
        return Err(DocumentError::Length { had: whole, wanted: MAX_DOCUMENT_BYTES });
    }
    Ok(whole)
}

/// Cuts a file of several documents, one behind the other, into them.
///
/// # Errors
/// If it holds anything else, or more than an issue has.
pub fn split(mut bytes: &[u8]) -> Result<Vec<&[u8]>, DocumentError> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        if all.len() == usize::from(MAX_SHARDS) {
            return Err(DocumentError::Size("it has more than 8 documents"));
        }
        let wanted = length(bytes)?;
        let had = bytes.len();
        let (one, rest) = bytes.split_at_checked(wanted).ok_or(DocumentError::Length { had, wanted })?;
        all.push(one);
        bytes = rest;
    }
    if all.is_empty() { Err(DocumentError::Foreign) } else { Ok(all) }
}
