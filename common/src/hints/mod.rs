//! Hints of a fleet: on how many hosts a destination, a TLS fingerprint or a program is seen, and where several hosts keep
//! one rhythm. They come as signed documents that expire, and move a rank by a bounded weight.
//!
//! A hint is what others saw, told by someone whose key may be stolen: it never makes a finding, never touches what a feed
//! names, and moves the odds at most by a factor of two ([`weigh::MAX_POINTS`]; docs/hints.md).

pub mod document;
pub mod intake;
pub mod issue;
pub mod key;
pub mod table;
pub mod weigh;

pub use self::document::{Document, DocumentError, Entry, Subject};
pub use self::intake::{Intake, Taken};
pub use self::key::{KeyId, PublicKey, SecretKey};
pub use self::table::Table;

#[cfg(test)]
mod tests;
