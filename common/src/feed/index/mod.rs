//! All indicators of all feeds, frozen, in bounded memory: what is looked up for every connection and every query.
//!
//! A [`Builder`] takes indicators in any order and freezes them to an [`Index`]. Nothing is probabilistic: what is found is on
//! a feed, letter by letter. Of several entries for one subject the best few are kept. What the memory has no room for is
//! refused and counted. docs/performance.md has the figures.

mod exact;
mod filter;
mod names;
mod notes;
mod ranges;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use self::exact::Exact;
use self::names::{Names, SUBDOMAINS};
use self::notes::Notes;
pub use self::notes::{DEFAULT_CONFIDENCE, EARLY, NoteRef, Validity};
use self::ranges::{Ranges, bytes_per_network};
use super::{Indicator, Subject};
use crate::domain::literal_address;
use crate::event::Ja4;
use crate::net::{is_internal, is_no_peer};

/// The entry is the host of a URL. The other bits of a tag are [`SUBDOMAINS`] and the number of its note.
const URL_HOST: u32 = 1 << 31;
/// Bits of a tag that are the number of a note.
const NOTE: u32 = SUBDOMAINS - 1;
/// Widest network that an entry may name: what holds more says nothing of who is in it.
const MIN_PREFIX_V4: u8 = 8;
/// The same for IPv6.
const MIN_PREFIX_V6: u8 = 16;
/// Part of the memory that links to read more may take, as a divisor; beyond it entries have none.
const LINKS_SHARE: usize = 4;
/// Memory for an index without a setting: 256 MiB.
pub const DEFAULT_MEMORY_BYTES: usize = 256 << 20;

/// What an entry of the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An address.
    Ip,
    /// A network.
    Network,
    /// An autonomous system.
    Asn,
    /// A name.
    Domain,
    /// The host of a URL.
    UrlHost,
    /// A client TLS fingerprint.
    Ja4,
    /// SHA-1 of a certificate.
    CertificateSha1,
    /// SHA-256 of a certificate.
    CertificateSha256,
}

impl Kind {
    /// Name as in alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Network => "cidr",
            Self::Asn => "asn",
            Self::Domain => "domain",
            Self::UrlHost => "url_host",
            Self::Ja4 => "ja4",
            Self::CertificateSha1 => "certificate_sha1",
            Self::CertificateSha256 => "certificate_sha256",
        }
    }
}

/// What an entry says, as the feed has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value<'a> {
    /// An address.
    Ip(IpAddr),
    /// A network.
    Network(IpAddr, u8),
    /// An autonomous system.
    Asn(u32),
    /// A name, and whether those below it are meant, too.
    Name(&'a str, bool),
    /// A client TLS fingerprint.
    Ja4(Ja4),
    /// A certificate's digest.
    Digest(&'a [u8]),
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Network(address, prefix) => write!(f, "{address}/{prefix}"),
            Self::Asn(number) => write!(f, "AS{number}"),
            Self::Name(name, _) => f.write_str(name),
            Self::Ja4(ja4) => f.write_str(ja4.as_str()),
            Self::Digest(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// An entry that something matched.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub value: Value<'a>,
    /// By whose word.
    pub note: NoteRef<'a>,
}

/// What an index holds, and what it had no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Addresses.
    pub addresses: u64,
    /// Networks.
    pub networks: u64,
    /// Autonomous systems.
    pub asns: u64,
    /// Names.
    pub domains: u64,
    /// Hosts of URLs.
    pub url_hosts: u64,
    /// Client TLS fingerprints.
    pub ja4s: u64,
    /// Certificates.
    pub certificates: u64,
    /// Entries that say what better ones of the same subject say.
    pub superseded: u64,
    /// Entries that name nothing: networks too wide, names too long.
    pub senseless: u64,
    /// Entries for which there was no room.
    pub refused: u64,
    /// Links that were left out for want of room.
    pub links_cut: u64,
    /// Memory that it takes, in bytes.
    pub memory_bytes: u64,
}

impl Counts {
    /// Entries that are looked up in.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.addresses
            + self.networks
            + self.asns
            + self.domains
            + self.url_hosts
            + self.ja4s
            + self.certificates
    }
}

/// Takes indicators, and freezes them.
#[derive(Debug)]
pub struct Builder {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u32)>,
    networks_v4: Vec<(u32, u8, u32)>,
    networks_v6: Vec<(u128, u8, u32)>,
    asns: Vec<(u32, u32)>,
    names: names::Gathered,
    ja4s: Vec<(Ja4, u32)>,
    sha1s: Vec<([u8; 20], u32)>,
    sha256s: Vec<([u8; 32], u32)>,
    notes: notes::Gathered,
    memory_bytes: usize,
    /// What the entries will take, without their notes.
    bytes: usize,
    counts: Counts,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new(DEFAULT_MEMORY_BYTES)
    }
}

impl Builder {
    /// Of an index that takes at most `memory_bytes`. While it is made it takes up to about twice as much.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        Self {
            v4: Vec::new(),
            v6: Vec::new(),
            networks_v4: Vec::new(),
            networks_v6: Vec::new(),
            asns: Vec::new(),
            names: names::Gathered::default(),
            ja4s: Vec::new(),
            sha1s: Vec::new(),
            sha256s: Vec::new(),
            notes: notes::Gathered::new(),
            memory_bytes,
            bytes: 0,
            counts: Counts::default(),
        }
    }

    /// Takes in an indicator; false if it names nothing, or there is no room for it. Both are counted.
    pub fn add(&mut self, indicator: &Indicator) -> bool {
        let Some(cost) = cost(&indicator.subject) else {
            self.counts.senseless += 1;
            return false;
        };
        // What a note takes is known once it is in: one more may lie a note's size above the limit, so that is kept free.
        let needed = self.bytes + self.notes.bytes() + cost + MAX_NOTE_BYTES;
        if needed > self.memory_bytes {
            self.counts.refused += 1;
            return false;
        }
        let links = self.notes.bytes() < self.memory_bytes / LINKS_SHARE;
        let note = self.notes.note(&indicator.note, links);
        if note > NOTE {
            self.counts.refused += 1;
            return false;
        }
        self.put(&indicator.subject, note);
        self.bytes += cost;
        true
    }

    fn put(&mut self, subject: &Subject, tag: u32) {
        match subject {
            Subject::Ip(ip) => self.address(*ip, tag),
            Subject::Network { address, prefix } => match (address.to_canonical(), *prefix) {
                (IpAddr::V4(ip), 32) => self.v4.push((ip.to_bits(), tag)),
                (IpAddr::V6(ip), 128) => self.v6.push((ip.to_bits(), tag)),
                (IpAddr::V4(ip), prefix) => {
                    // A mapped one has its prefix in the last 32 bits.
                    let prefix = if address.is_ipv6() { prefix.saturating_sub(96) } else { prefix };
                    let bits = ip.to_bits() & !u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
                    self.networks_v4.push((bits, prefix, tag));
                }
                (IpAddr::V6(ip), prefix) => {
                    let bits = ip.to_bits() & !u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                    self.networks_v6.push((bits, prefix, tag));
                }
            },
            Subject::Asn(number) => self.asns.push((*number, tag)),
            Subject::Domain { name, subdomains } => {
                self.name(name, tag | if *subdomains { SUBDOMAINS } else { 0 });
            }
            Subject::UrlHost(host) => self.name(host, tag | URL_HOST),
            Subject::Ja4(ja4) => self.ja4s.push((*ja4, tag)),
            Subject::CertificateSha1(digest) => self.sha1s.push((*digest, tag)),
            Subject::CertificateSha256(digest) => self.sha256s.push((*digest, tag)),
        }
    }

    fn address(&mut self, ip: IpAddr, tag: u32) {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.push((ip.to_bits(), tag)),
            IpAddr::V6(ip) => self.v6.push((ip.to_bits(), tag)),
        }
    }

    fn name(&mut self, name: &str, tag: u32) {
        // An address in the place of a name is one.
        if let Some(ip) = literal_address(name) {
            return self.address(ip, tag & !SUBDOMAINS);
        }
        let name = name.trim_end_matches('.');
        let taken = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.names.push(&name.to_ascii_lowercase(), tag)
        } else {
            self.names.push(name, tag)
        };
        self.counts.refused += u64::from(!taken);
    }

    /// Freezes what was taken in.
    #[must_use]
    pub fn finish(self) -> Index {
        let notes = self.notes;
        let mut counts = Counts { links_cut: notes.cut, ..self.counts };
        let notes = notes.freeze();
        let rank = |tag: u32| (notes.rank(tag & NOTE), tag & !NOTE);
        let mut dropped = 0;
        macro_rules! frozen {
            ($frozen:expr) => {{
                let (frozen, more) = $frozen;
                dropped += more;
                frozen
            }};
        }
        let mut index = Index {
            v4: frozen!(Exact::of(self.v4, rank)),
            v6: frozen!(Exact::of(self.v6, rank)),
            networks_v4: frozen!(Ranges::of(self.networks_v4, rank)),
            networks_v6: frozen!(Ranges::of(self.networks_v6, rank)),
            asns: frozen!(Exact::of(self.asns, rank)),
            names: frozen!(self.names.freeze(rank)),
            ja4s: frozen!(Exact::of(self.ja4s, rank)),
            sha1s: frozen!(Exact::of(self.sha1s, rank)),
            sha256s: frozen!(Exact::of(self.sha256s, rank)),
            notes: Notes::default(),
            counts: Counts::default(),
        };
        index.notes = notes;
        counts.superseded = dropped;
        counts.addresses = (index.v4.len() + index.v6.len()) as u64;
        counts.networks = (index.networks_v4.len() + index.networks_v6.len()) as u64;
        counts.asns = index.asns.len() as u64;
        counts.ja4s = index.ja4s.len() as u64;
        counts.certificates = (index.sha1s.len() + index.sha256s.len()) as u64;
        for tag in index.names.tags() {
            let of_url = tag & URL_HOST != 0;
            *(if of_url { &mut counts.url_hosts } else { &mut counts.domains }) += 1;
        }
        counts.memory_bytes = index.held() as u64;
        index.counts = counts;
        index
    }
}

/// The most that one note adds: itself and five texts.
const MAX_NOTE_BYTES: usize = notes::BYTES_PER_NOTE + 5 * 514;

/// What an entry takes without its note; `None` if it names nothing that could be looked up.
fn cost(subject: &Subject) -> Option<usize> {
    const fn keyed<K>() -> usize {
        size_of::<K>() + exact::BYTES_PER_ENTRY
    }
    let of_name = |name: &str| {
        let length = name.trim_end_matches('.').len();
        let sound = (1..=names::MAX_BYTES).contains(&length);
        sound.then(|| keyed::<u128>().max(names::BYTES_PER_ENTRY + length))
    };
    match subject {
        Subject::Ip(IpAddr::V4(_)) => Some(keyed::<u32>()),
        Subject::Ip(IpAddr::V6(_)) => Some(keyed::<u128>()),
        Subject::Network { address, prefix } => {
            let wide = match (address.to_canonical(), address.is_ipv6()) {
                (IpAddr::V4(_), false) => *prefix < MIN_PREFIX_V4 || *prefix > 32,
                (IpAddr::V4(_), true) => *prefix < 96 + MIN_PREFIX_V4 || *prefix > 128,
                (IpAddr::V6(_), _) => *prefix < MIN_PREFIX_V6 || *prefix > 128,
            };
            let bytes = if address.to_canonical().is_ipv4() {
                bytes_per_network::<u32>()
            } else {
                bytes_per_network::<u128>()
            };
            (!wide).then_some(bytes)
        }
        Subject::Asn(_) => Some(keyed::<u32>()),
        Subject::Domain { name, .. } | Subject::UrlHost(name) => of_name(name),
        Subject::Ja4(_) => Some(keyed::<Ja4>()),
        Subject::CertificateSha1(_) => Some(keyed::<[u8; 20]>()),
        Subject::CertificateSha256(_) => Some(keyed::<[u8; 32]>()),
    }
}

/// All indicators of all feeds.
#[derive(Debug, Default)]
pub struct Index {
    v4: Exact<u32>,
    v6: Exact<u128>,
    networks_v4: Ranges<u32>,
    networks_v6: Ranges<u128>,
    asns: Exact<u32>,
    names: Names,
    ja4s: Exact<Ja4>,
    sha1s: Exact<[u8; 20]>,
    sha256s: Exact<[u8; 32]>,
    notes: Notes,
    counts: Counts,
}

impl Index {
    /// What it holds.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether nothing is on a feed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.counts.entries() == 0
    }

    fn held(&self) -> usize {
        self.v4.memory_bytes()
            + self.v6.memory_bytes()
            + self.networks_v4.memory_bytes()
            + self.networks_v6.memory_bytes()
            + self.asns.memory_bytes()
            + self.names.memory_bytes()
            + self.ja4s.memory_bytes()
            + self.sha1s.memory_bytes()
            + self.sha256s.memory_bytes()
            + self.notes.memory_bytes()
    }

    fn hit<'a>(&'a self, kind: Kind, value: Value<'a>, tag: u32) -> Hit<'a> {
        let kind = if tag & URL_HOST == 0 { kind } else { Kind::UrlHost };
        Hit { kind, value, note: self.notes.get(tag & NOTE) }
    }

    /// Calls `found` with each entry for an address, and each for a network around it, smallest first. An address that is
    /// nobody's (loopback, multicast…) matches nothing, and one of a site's own only an entry for itself: lists of bogus
    /// networks hold them all.
    pub fn address<'a>(&'a self, ip: IpAddr, found: &mut impl FnMut(Hit<'a>)) {
        let ip = ip.to_canonical();
        if is_no_peer(ip) {
            return;
        }
        match ip {
            IpAddr::V4(v4) => {
                self.v4.get(&v4.to_bits()).for_each(|tag| found(self.hit(Kind::Ip, Value::Ip(ip), tag)));
            }
            IpAddr::V6(v6) => {
                self.v6.get(&v6.to_bits()).for_each(|tag| found(self.hit(Kind::Ip, Value::Ip(ip), tag)));
            }
        }
        if is_internal(ip) {
            return;
        }
        let mut network = |address: IpAddr, prefix, tag| {
            found(self.hit(Kind::Network, Value::Network(address, prefix), tag));
        };
        match ip {
            IpAddr::V4(v4) => self.networks_v4.get(v4.to_bits(), &mut |start, prefix, tag| {
                network(IpAddr::V4(start.into()), prefix, tag);
            }),
            IpAddr::V6(v6) => self.networks_v6.get(v6.to_bits(), &mut |start, prefix, tag| {
                network(IpAddr::V6(start.into()), prefix, tag);
            }),
        }
    }

    /// Calls `found` with each entry for a name, and each for a name above it that stands for those below. The name is lower
    /// case; a dot at its end says nothing.
    pub fn name<'a>(&'a self, name: &str, found: &mut impl FnMut(Hit<'a>)) {
        self.names.get(name.trim_end_matches('.'), &mut |entry, tag| {
            found(self.hit(Kind::Domain, Value::Name(entry, tag & SUBDOMAINS != 0), tag));
        });
    }

    /// Calls `found` with each entry for an autonomous system.
    pub fn asn<'a>(&'a self, number: u32, found: &mut impl FnMut(Hit<'a>)) {
        self.asns.get(&number).for_each(|tag| found(self.hit(Kind::Asn, Value::Asn(number), tag)));
    }

    /// Calls `found` with each entry for a client TLS fingerprint.
    pub fn ja4<'a>(&'a self, ja4: Ja4, found: &mut impl FnMut(Hit<'a>)) {
        self.ja4s.get(&ja4).for_each(|tag| found(self.hit(Kind::Ja4, Value::Ja4(ja4), tag)));
    }

    /// Calls `found` with each entry for a certificate, by its SHA-1 (20 bytes) or SHA-256 (32).
    pub fn certificate<'a>(&'a self, digest: &'a [u8], found: &mut impl FnMut(Hit<'a>)) {
        if let Ok(sha1) = digest.try_into() {
            self.sha1s
                .get(sha1)
                .for_each(|tag| found(self.hit(Kind::CertificateSha1, Value::Digest(digest), tag)));
        } else if let Ok(sha256) = digest.try_into() {
            self.sha256s
                .get(sha256)
                .for_each(|tag| found(self.hit(Kind::CertificateSha256, Value::Digest(digest), tag)));
        }
    }
}
