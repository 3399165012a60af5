//! What a reader says: items as they come, and a report of a file at its end.

use std::collections::BTreeMap;
use std::fmt;

use super::super::{Indicator, Subject};
use super::{Format, MAX_PROBLEMS};

/// What comes out of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An entry that can be looked up.
    Indicator(Indicator),
    /// Something that cannot be used, or should be looked at.
    Problem(Problem),
}

/// Where something stands in a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this line, counted from 1.
    Line(u64),
    /// In this object of a JSON document.
    Object {
        /// Line in which it begins, counted from 1.
        line: u64,
        /// Its path, such as `objects[3]`.
        path: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Object { line, path } => write!(f, "line {line}, {path}"),
        }
    }
}

/// An entry that is not taken as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Why.
    pub reason: Reason,
    /// The text that is meant, made harmless and cut; may be empty.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.text.is_empty() {
            write!(f, "{}: ", self.text)?;
        }
        f.write_str(self.reason.why())
    }
}

/// What becomes of an entry with a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// It is not used, and its author would want to know.
    Refused,
    /// It is used, but should be looked at.
    Warned,
    /// It is not meant for a network sensor, and rightly not used.
    PassedOver,
}

impl Weight {
    /// Its name in results.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Warned => "warned",
            Self::PassedOver => "passed_over",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal $weight:ident $why:literal $remedy:literal)*) => {
        /// Why an entry is not taken as it stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in results.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What becomes of the entry.
            #[must_use]
            pub const fn weight(self) -> Weight {
                match self { $(Self::$variant => Weight::$weight,)* }
            }

            /// What is wrong, as the beginning of a sentence.
            #[must_use]
            pub const fn why(self) -> &'static str {
                match self { $(Self::$variant => $why,)* }
            }

            /// What its author can do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

reasons! {
    /// Nothing that is known.
    Unknown "unknown" Refused
        "is no address, network, domain name, URL, AS number or JA4 fingerprint"
        "mend or remove it; if the file is CSV, name its columns: #sonde: columns=…"
    /// Not an address or network where one is due.
    Address "address" Refused "is no IP address or network" "write 198.51.100.7, 198.51.100.0/24 or 2001:db8::/32"
    /// Not a domain name where one is due.
    Name "name" Refused "is no domain name" "write bad.example, or *.bad.example with the names below it"
    /// Not a URL with a host where one is due.
    Url "url" Refused "is no URL with a host" "write http://bad.example/path"
    /// Not an AS number.
    Asn "asn" Refused "is no AS number of the public Internet" "write AS64496"
    /// Not a fingerprint of the right length.
    Fingerprint "fingerprint" Refused
        "is no fingerprint of that kind" "SHA-1 has 40 hexadecimal digits, SHA-256 64; JA4 looks like t13d1516h2_8daaf6152771_b186095e22b6"
    /// A hash, of nobody knows what.
    Hash "hash" Refused
        "is a hash, and nothing says of what" "if these are certificates: #sonde: hashes=certificate; hashes of files cannot be seen on the network"
    /// An address that every site has.
    Internal "internal" Refused
        "is not on the public Internet: private, loopback, link-local, multicast or reserved" "remove it: good programs call such addresses"
    /// A network that holds half the world.
    Overbroad "overbroad" Refused "is wider than /10 (IPv6: /19)" "name the networks in it that are meant"
    /// A name below which anybody registers.
    Suffix "public-suffix" Refused
        "is a top-level domain, or a public suffix below which anybody may register" "name the domains below it that are meant"
    /// A URL on a host that everybody uses.
    SharedHost "shared-host" Refused
        "is on a host that everybody uses, and of a URL only the host can be seen" "remove it, or list the host itself if every call to it is to be told"
    /// A line of a hosts file that leads somewhere.
    HostsAddress "hosts-address" Refused
        "leads names to an address that is none of 0.0.0.0, 127.0.0.1, :: and ::1" "if the address is meant, put it on a line of its own"
    /// A line longer than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES).
    LineTooLong "line-too-long" Refused "is a line of more than 16 KiB" "put one entry on each line"
    /// A row that does not fit its header.
    Columns "columns" Refused "is no row of this table" "check quotes and separators; a row is one line"
    /// A setting in the file that cannot be.
    Directive "directive" Refused "is no setting that is known here" "docs/feeds.md lists them; they stand before the first entry"
    /// A JSON document that cannot be read.
    Json "json" Refused "is no JSON that can be read" "export or download it again"
    /// JSON nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    Depth "depth" Refused "is nested deeper than 64 levels" "do not trust where it came from"
    /// More than [`MAX_LIST_BYTES`](super::MAX_LIST_BYTES) or [`MAX_DOCUMENT_BYTES`](super::MAX_DOCUMENT_BYTES).
    Size "size" Refused "is larger than 1 GiB (JSON: 128 MiB) once unpacked" "split it, if you trust where it came from"
    /// Bytes that are no text.
    NotText "not-text" Refused "is no text" "if it is UTF-16, convert it: iconv -f UTF-16 -t UTF-8 FILE"
    /// JSON that is no feed.
    NotAFeed "not-a-feed" Refused "is JSON, but neither a STIX bundle nor a MISP event" "see docs/feeds.md for what is read"
    /// More indicators or relationships than are kept.
    TooMany "too-many" Refused "is beyond what one file may hold" "split the file"
    /// An object whose fields are not what they should be.
    Object "object" Refused "is no object of this kind" "check it against the format's specification"
    /// A STIX pattern that cannot be parsed.
    Pattern "pattern" Refused "is no STIX pattern that can be read" "check it against STIX 2.1, section 9"
    /// A pattern in another language.
    PatternType "pattern-type" Refused "is a pattern in another language than STIX" "give it to the tool that it is for"
    /// A pattern that asks for something besides.
    Conjunction "conjunction" Refused
        "asks for more than one thing at once, and without the others it would say something else" "list what is bad by itself"
    /// A comparison that would have to be searched for.
    Comparison "comparison" Refused
        "compares with something else than =, IN or ISSUBSET, and only what is equal can be looked up" "list the values"
    /// A time that cannot be read, or an end before its beginning.
    Time "time" Refused "has a validity that cannot be read, or ends before it begins" "write times as 2026-11-23T08:00:00Z"
    /// A domain that many hosts ask for.
    Popular "popular" Warned "is a domain that very many hosts call" "remove it, unless every call to it is to be told"
    /// A public resolver.
    Resolver "resolver" Warned "is a public resolver, which good programs call" "remove it, unless every call to it is to be told"
    /// A network whose address has bits behind its prefix.
    HostBits "host-bits" Warned "has bits set behind its prefix; the whole network is taken" "write the network's own address"
    /// A confidence that is none.
    Confidence "confidence" Warned "has a confidence that is no number from 0 to 100; it is left out" "write 0 to 100"
    /// What no network sensor sees.
    Unseen "unseen" PassedOver "is about files, mail or something else that is not seen on the network" "nothing is wrong"
    /// Context, as its author says.
    NotForDetection "not-for-detection" PassedOver "is context and not for detection, says the feed" "nothing is wrong"
    /// Taken back, or replaced, or benign.
    Revoked "revoked" PassedOver "is revoked, deleted, replaced by a newer version, or benign" "nothing is wrong"
    /// Who comes, not where one goes.
    Source "source" PassedOver "is about who connects from outside, and Sonde watches where programs call" "nothing is wrong"
    /// A name of the host itself.
    OwnName "own-name" PassedOver "is a name of the host itself, as every hosts file has" "nothing is wrong"
    /// The same once more.
    Duplicate "duplicate" PassedOver "stands in this file already" "nothing is wrong"
}

/// What indicators are about, for counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Addresses.
    Address,
    /// Networks.
    Network,
    /// Autonomous systems.
    Asn,
    /// Domain names.
    Domain,
    /// Hosts of URLs.
    UrlHost,
    /// TLS fingerprints of clients.
    Ja4,
    /// SHA-1 of certificates.
    CertificateSha1,
    /// SHA-256 of certificates.
    CertificateSha256,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Address,
        Self::Network,
        Self::Asn,
        Self::Domain,
        Self::UrlHost,
        Self::Ja4,
        Self::CertificateSha1,
        Self::CertificateSha256,
    ];

    /// What an indicator is about.
    #[must_use]
    pub const fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Ip(_) => Self::Address,
            Subject::Network { .. } => Self::Network,
            Subject::Asn(_) => Self::Asn,
            Subject::Domain { .. } => Self::Domain,
            Subject::UrlHost(_) => Self::UrlHost,
            Subject::Ja4(_) => Self::Ja4,
            Subject::CertificateSha1(_) => Self::CertificateSha1,
            Subject::CertificateSha256(_) => Self::CertificateSha256,
        }
    }

    /// Its name in results.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Network => "network",
            Self::Asn => "asn",
            Self::Domain => "domain",
            Self::UrlHost => "url_host",
            Self::Ja4 => "ja4",
            Self::CertificateSha1 => "certificate_sha1",
            Self::CertificateSha256 => "certificate_sha256",
        }
    }
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its form; `None` if nothing told it.
    pub format: Option<Format>,
    /// Bytes that were read.
    pub bytes: u64,
    /// Indicators handed out, by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Problems, by reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// The first of those that are refused or warned of.
    pub problems: Vec<Problem>,
    /// Why reading ended before the end, if it did.
    pub fatal: Option<Problem>,
}

impl Report {
    /// Indicators handed out.
    #[must_use]
    pub fn indicators(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Problems of this weight.
    #[must_use]
    pub fn count(&self, weight: Weight) -> u64 {
        self.reasons.iter().filter(|(reason, _)| reason.weight() == weight).map(|(_, count)| count).sum()
    }

    /// Whether nothing came of it though something should have: it ended early without an indicator, or all was refused.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        self.indicators() == 0 && self.count(Weight::Refused) > 0
    }

    pub(super) fn note(&mut self, problem: &Problem) {
        *self.reasons.entry(problem.reason).or_default() += 1;
        if problem.reason.weight() != Weight::PassedOver && self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem.clone());
        }
    }
}
