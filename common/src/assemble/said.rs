//! What clients said of themselves in rows of their own (server name, Host, User-Agent, fingerprint), kept until the row of
//! their connection comes, which is at most [`ATTRIBUTES_LEAD`] of data time.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::event::{
    AppProtocol, CLAIM_TEXT, DOMAIN_TEXT, MAX_NAME_BYTES, MAX_USER_AGENT_BYTES, Names, USER_AGENT_TEXT,
};
use crate::format::row::{ATTRIBUTES_LEAD, Said};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Longest that something said is kept, in nanoseconds: clocks of a log's rows differ by some.
const KEPT: i64 = ATTRIBUTES_LEAD + 5 * NANOS_PER_SEC;
/// What an entry takes beside its text.
const ENTRY_BYTES: usize = 96;

/// What was said, by the hash of its connection's uid.
#[derive(Debug, Default)]
pub(super) struct SaidTable {
    by_uid: HashMap<u64, Box<[u8]>, foldhash::fast::FixedState>,
    order: VecDeque<(Timestamp, u64)>,
    bytes: usize,
    /// Bytes that are kept at most; beyond it what was said first is forgotten.
    capacity: usize,
    pub(super) evicted: u64,
}

impl SaidTable {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(super) fn learn(&mut self, uid: u64, said: &Said<'_>, now: Timestamp) {
        self.expire(now);
        let known = self.by_uid.get(&uid);
        let merged = merged(capped(*said), known.map_or_else(Said::default, |bytes| decode(bytes)));
        let Ok(bytes) = postcard::to_allocvec(&merged) else { return };
        self.bytes += bytes.len() + ENTRY_BYTES;
        match self.by_uid.insert(uid, bytes.into()) {
            Some(old) => self.bytes -= old.len() + ENTRY_BYTES,
            None => self.order.push_back((now, uid)),
        }
        while self.bytes > self.capacity && self.forget_first() {
            self.evicted += 1;
        }
    }

    pub(super) fn get(&mut self, uid: u64, now: Timestamp) -> Option<&[u8]> {
        self.expire(now);
        self.by_uid.get(&uid).map(|bytes| &**bytes)
    }

    fn expire(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(learnt, _)| now.since(*learnt) > KEPT) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) -> bool {
        let Some((_, uid)) = self.order.pop_front() else { return false };
        if let Some(old) = self.by_uid.remove(&uid) {
            self.bytes -= old.len() + ENTRY_BYTES;
        }
        true
    }
}

/// What the table holds of a connection, or nothing if it is not readable, which it always is.
pub(super) fn decode(bytes: &[u8]) -> Said<'_> {
    postcard::from_bytes(bytes).unwrap_or_default()
}

/// No field longer than it will be kept.
fn capped(said: Said<'_>) -> Said<'_> {
    fn cap(text: &str, bytes: usize) -> &str {
        text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
    }
    Said {
        fqdn: cap(said.fqdn, MAX_NAME_BYTES),
        sni: cap(said.sni, MAX_NAME_BYTES),
        connect_host: cap(said.connect_host, MAX_NAME_BYTES),
        http_host: cap(said.http_host, MAX_NAME_BYTES),
        user_agent: cap(said.user_agent, MAX_USER_AGENT_BYTES),
        ja4: cap(said.ja4, 36),
        // Colons between the bytes.
        certificate_sha1: cap(said.certificate_sha1, 3 * 20),
        certificate_sha256: cap(said.certificate_sha256, 3 * 32),
        ..said
    }
}

/// Both together; where they differ, the first.
pub(super) fn merged<'a>(first: Said<'a>, second: Said<'a>) -> Said<'a> {
    fn text<'a>(first: &'a str, second: &'a str) -> &'a str {
        if first.is_empty() { second } else { first }
    }
    Said {
        fqdn: text(first.fqdn, second.fqdn),
        sni: text(first.sni, second.sni),
        connect_host: text(first.connect_host, second.connect_host),
        connect_port: if first.connect_port == 0 { second.connect_port } else { first.connect_port },
        http_host: text(first.http_host, second.http_host),
        user_agent: text(first.user_agent, second.user_agent),
        ja4: text(first.ja4, second.ja4),
        certificate_sha1: text(first.certificate_sha1, second.certificate_sha1),
        certificate_sha256: text(first.certificate_sha256, second.certificate_sha256),
        protocol: if first.protocol == AppProtocol::Unknown { second.protocol } else { first.protocol },
    }
}

/// Room for names that cannot be borrowed as they stand.
#[derive(Debug, Default)]
pub(super) struct Clean {
    pub(super) fqdn: String,
    sni: String,
    connect_host: String,
    http_host: String,
    user_agent: String,
}

impl Clean {
    /// The names as they are kept: lower case, harmless, no longer than their caps.
    pub(super) fn of<'t>(&'t mut self, said: &Said<'t>) -> Names<'t> {
        Names {
            fqdn: DOMAIN_TEXT.keep(said.fqdn, &mut self.fqdn),
            sni: CLAIM_TEXT.keep(said.sni, &mut self.sni),
            connect_host: CLAIM_TEXT.keep(said.connect_host, &mut self.connect_host),
            connect_port: said.connect_port,
            http_host: CLAIM_TEXT.keep(said.http_host, &mut self.http_host),
            user_agent: USER_AGENT_TEXT.keep(said.user_agent, &mut self.user_agent),
        }
    }
}
