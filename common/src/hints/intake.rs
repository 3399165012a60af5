//! Takes in documents as they come, and hands out a [`Table`] once an issue is whole. Never an older issue than one that was
//! seen, never an expired one, never half of one.

use std::collections::BTreeMap;

use super::document::{Document, DocumentError};
use super::key::{KeyId, PublicKey};
use super::table::Table;
use crate::time::Timestamp;

/// What is kept between documents: no more than one issue has, [`MAX_SHARDS`](super::document::MAX_SHARDS) documents.
#[derive(Debug, Default)]
pub struct Intake {
    /// The highest serial of an issue that was whole.
    latest: u64,
    /// The issue that is coming in.
    coming: BTreeMap<u8, Document>,
    issuer: KeyId,
}

/// What became of a document.
#[derive(Debug, PartialEq)]
pub enum Taken {
    /// It completes an issue: these are the hints from now on.
    Whole(Table),
    /// Other parts of its issue are to come.
    Part,
    /// It is known already.
    Known,
}

/// Why a document is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no document that may be used.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It is too old by its own word.
    #[error("it expired at {at}: publish anew (`sonde fleet hints publish`)")]
    Expired {
        /// Its expiry.
        at: Timestamp,
    },
    /// A newer issue was seen: whoever shows an older one plays it back.
    #[error("its serial {serial} is older than {seen}, which was seen: it is played back")]
    Rollback {
        /// Its serial.
        serial: u64,
        /// The highest that was seen.
        seen: u64,
    },
}

impl Refused {
    /// One word for counters.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Document(error) => error.cause(),
            Self::Expired { .. } => "expired",
            Self::Rollback { .. } => "rollback",
        }
    }
}

impl Intake {
    /// Nothing seen yet but what an earlier run of the sensor saw: issues up to `latest`.
    #[must_use]
    pub fn after(latest: u64) -> Self {
        Self { latest, ..Self::default() }
    }

    /// The highest serial of an issue that was whole.
    #[must_use]
    pub const fn latest(&self) -> u64 {
        self.latest
    }

    /// Takes in a document at `now`.
    ///
    /// # Errors
    /// [`Refused`] says why it is not used; what was in use stays.
    pub fn take(&mut self, bytes: &[u8], keys: &[PublicKey], now: Timestamp) -> Result<Taken, Refused> {
        let (issuer, document) = Document::verify(bytes, keys)?;
        if !document.holds_at(now) {
            return Err(Refused::Expired { at: document.expires });
        }
        let coming = self.coming.values().next().map_or(0, |one| one.serial);
        let seen = self.latest.max(coming);
        if document.serial < seen {
            return Err(Refused::Rollback { serial: document.serial, seen });
        }
        if self.coming.is_empty() || document.serial > coming {
            self.coming.clear();
            self.issuer = issuer;
        }
        let fits = |other: &Document| {
            let Document { of, made, expires, hosts, .. } = document;
            (other.of, other.made, other.expires, other.hosts) == (of, made, expires, hosts)
        };
        if issuer != self.issuer || !self.coming.values().all(fits) {
            return Err(DocumentError::Content("it contradicts another part of its issue").into());
        }
        if self.coming.contains_key(&document.shard) {
            return Ok(Taken::Known);
        }
        let of = usize::from(document.of);
        let serial = document.serial;
        self.coming.insert(document.shard, document);
        if self.coming.len() < of {
            return Ok(Taken::Part);
        }
        self.latest = serial;
        Ok(Taken::Whole(Table::of(issuer, self.coming.values())))
    }
}
