//! One entry of a feed, whatever the feed's format.

use std::net::IpAddr;
use std::sync::Arc;

use crate::event::Ja4;
use crate::time::Timestamp;

/// What is known to be bad, and by whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indicator {
    /// What.
    pub subject: Subject,
    /// By whose word. Entries of one feed mostly share theirs.
    pub note: Arc<Note>,
}

/// What an indicator names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// An address.
    Ip(IpAddr),
    /// A network; the bits behind the prefix are zero.
    Network {
        /// Its address.
        address: IpAddr,
        /// Bits that count.
        prefix: u8,
    },
    /// An autonomous system.
    Asn(u32),
    /// A name: lower case, ASCII (punycode), no dot at its end.
    Domain {
        /// The name.
        name: Box<str>,
        /// Whether the names below it are meant, too.
        subdomains: bool,
    },
    /// The host of a URL, which is bad for what it serves: the URL itself cannot be seen in TLS.
    UrlHost(Box<str>),
    /// A client TLS fingerprint.
    Ja4(Ja4),
    /// SHA-1 of a server's certificate (DER).
    CertificateSha1([u8; 20]),
    /// SHA-256 of a server's certificate (DER).
    CertificateSha256([u8; 32]),
}

/// By whose word, how sure, since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Name of the feed.
    pub feed: Arc<str>,
    /// What the feed calls it: a malware family, a campaign.
    pub label: String,
    /// The feed's confidence, 0..=100.
    pub confidence: Option<u8>,
    /// MITRE ATT&CK group, such as `G0016`.
    pub group: String,
    /// MITRE ATT&CK software, such as `S0154`.
    pub software: String,
    /// Where to read more.
    pub reference: String,
    /// It holds from then…
    pub valid_from: Option<Timestamp>,
    /// …until then.
    pub valid_until: Option<Timestamp>,
}
