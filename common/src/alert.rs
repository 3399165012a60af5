//! What comes out: an [`Alert`] is a scored finding with everything that explains it.
//!
//! The wire form (Elastic Common Schema names plus `sonde.*`) is made by [`crate::encode`]; the field comments here are
//! its reference.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::event::{AppProtocol, Ja4};
use crate::net::Transport;
use crate::process::{Attribution, ProcessInfo, ProcessKey};
use crate::time::Timestamp;

/// The name of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Severity {
    /// Scored, but not regular.
    Info,
    /// Regular, but below an alert: listed by `--all`.
    Low,
    /// Score from 0.5.
    Medium,
    /// Score from 0.8.
    High,
    /// Score from 0.95, or a confirmed indicator.
    Critical,
}

impl Severity {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Identity of a finding: the same beacon has the same id in every run and on every update.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingId(pub u128);

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for FindingId {
    /// As text: no JSON reader keeps 128 bits of a number.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FindingId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is not the id of a finding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a finding (32 hexadecimal digits)")]
pub struct ParseIdError;

impl std::str::FromStr for FindingId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let id = hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or(ParseIdError)
    }
}

/// A word of ours. Borrowed where an alert is made, owned where one was read.
pub type Word = Cow<'static, str>;

/// What kind of finding it is: the rule that raised it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Class {
    /// Connections to one destination in a rhythm.
    #[default]
    Beacon,
    /// The same of one process, where several of its program take turns.
    ProcessBeacon,
    /// One schedule over several destinations: rotation, fail-over, names of the day.
    Rotation,
    /// Exchanges in a rhythm inside connections that stay open.
    InConnection,
    /// Connections in a rhythm through a proxy.
    Proxied,
    /// Callbacks to a server that is not there: refused or never answered.
    DeadCallback,
    /// Ever new names below one domain, asked for in a rhythm.
    DnsCallback,
    /// ICMP echoes in a rhythm.
    IcmpCallback,
    /// One connection that stays open unusually long.
    LongConnection,
    /// Very many connections to one destination.
    Strobe,
    /// The destination, name, fingerprint or certificate is on a feed.
    Indicator,
    /// A burst of names that look generated.
    GeneratedNames,
    /// A burst of names that do not exist.
    NxdomainBurst,
    /// Data carried in names and answers below one domain.
    DnsTunnel,
    /// Another resolver than the host's own, asked by a program that is no browser.
    ResolverBypass,
    /// A name whose addresses change quickly.
    FastFlux,
    /// A public name that leads to a private address.
    Rebinding,
}

impl Class {
    /// All of them, in their order.
    pub const ALL: [Self; 17] = [
        Self::Beacon,
        Self::ProcessBeacon,
        Self::Rotation,
        Self::InConnection,
        Self::Proxied,
        Self::DeadCallback,
        Self::DnsCallback,
        Self::IcmpCallback,
        Self::LongConnection,
        Self::Strobe,
        Self::Indicator,
        Self::GeneratedNames,
        Self::NxdomainBurst,
        Self::DnsTunnel,
        Self::ResolverBypass,
        Self::FastFlux,
        Self::Rebinding,
    ];

    /// Name as in alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Beacon => "beacon",
            Self::ProcessBeacon => "process_beacon",
            Self::Rotation => "rotation",
            Self::InConnection => "in_connection",
            Self::Proxied => "proxied",
            Self::DeadCallback => "dead_callback",
            Self::DnsCallback => "dns_callback",
            Self::IcmpCallback => "icmp_callback",
            Self::LongConnection => "long_connection",
            Self::Strobe => "strobe",
            Self::Indicator => "indicator",
            Self::GeneratedNames => "generated_names",
            Self::NxdomainBurst => "nxdomain_burst",
            Self::DnsTunnel => "dns_tunnel",
            Self::ResolverBypass => "resolver_bypass",
            Self::FastFlux => "fast_flux",
            Self::Rebinding => "rebinding",
        }
    }

    /// Whether it was found by its rhythm, so that [`Evidence`] describes one.
    #[must_use]
    pub const fn is_beacon(self) -> bool {
        matches!(
            self,
            Self::Beacon
                | Self::ProcessBeacon
                | Self::Rotation
                | Self::InConnection
                | Self::Proxied
                | Self::DeadCallback
                | Self::DnsCallback
                | Self::IcmpCallback
        )
    }
}

/// What was counted of names and their answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsEvidence {
    /// Queries.
    pub queries: u32,
    /// Distinct names among them, as far as they were counted.
    pub names: u32,
    /// Queries answered that the name does not exist (RFC 1035 section 4.1.1, code 3).
    pub nxdomain: u32,
    /// Bytes of the names' parts below the registrable domain.
    pub name_bytes: u64,
    /// Mean entropy of those parts, in bits per character.
    pub entropy_bits: Option<f64>,
    /// Mean score of how generated the names look (see docs/detection.md).
    pub generated_score: Option<f64>,
    /// Queries by type, most frequent first, at most eight: `A`, `TXT`, `TYPE65`.
    pub types: Vec<(String, u32)>,
    /// Distinct addresses in the answers.
    pub addresses: u32,
    /// Smallest time to live of the answers, in seconds.
    pub ttl_min_secs: Option<u32>,
    /// The resolver that was asked.
    pub resolver: Option<std::net::SocketAddr>,
    /// Some of the names, oldest first, at most eight.
    pub samples: Vec<String>,
}

/// An entry of a feed that something matched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndicatorMatch {
    /// Kind of indicator: `ip`, `cidr`, `asn`, `domain`, `url_host`, `ja4`, `certificate_sha1`, `certificate_sha256`.
    pub kind: Word,
    /// The entry, as the feed has it.
    pub value: String,
    /// What matched it, as it was seen.
    pub matched: String,
    /// Name of the feed.
    pub feed: String,
    /// What the feed calls it (a malware family, a campaign).
    pub label: String,
    /// The feed's confidence, 0..=100.
    pub confidence: Option<u8>,
    /// MITRE ATT&CK group, such as `G0016`.
    pub group: String,
    /// MITRE ATT&CK software, such as `S0154`.
    pub software: String,
    /// Where to read more.
    pub reference: String,
    /// The entry holds from then…
    pub valid_from: Option<Timestamp>,
    /// …until then.
    pub valid_until: Option<Timestamp>,
    /// The entry came after what it matches was seen.
    pub retrospective: bool,
}

/// The profile that an alert has to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileNote {
    /// Its name, such as `datadog-agent`.
    pub name: String,
    /// What class of program it describes, such as `monitoring`.
    pub class: String,
    /// Whether program and destination are the profile's: if so and the profile excuses, the alert is held back.
    pub matched: bool,
    /// What does not fit, where it nearly matched.
    pub mismatch: String,
    /// Whether the alert is held back for it.
    pub excused: bool,
}

/// The network that an address belongs to, where a database was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutonomousSystem {
    /// Its number.
    pub number: u32,
    /// Its organisation.
    pub organization: String,
    /// Whether it rents servers to anyone: weak context, never a finding by itself.
    pub hosting: bool,
}

/// Why an alert is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Change {
    /// First emission.
    Created,
    /// Severity rose, the callbacks doubled, a day went by, or it began again after it was closed.
    Updated,
    /// Nothing more was seen of it for long: see docs/alerts.md.
    Closed,
    /// The state at the end of a replay.
    Final,
}

/// A scored finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Same beacon, same id.
    pub id: FindingId,
    /// Counts the emissions of this id, from 1.
    pub revision: u32,
    /// Why it is emitted.
    pub change: Change,
    /// What kind of finding it is.
    pub class: Class,
    /// The host, as its source names it.
    pub host: String,
    /// Data time of the evaluation that this alert shows.
    pub time: Timestamp,
    /// Data time at which the finding first was an alert; `None` if it never was.
    pub detected: Option<Timestamp>,
    /// Callbacks seen when it first was an alert; 0 if it never was.
    pub detected_after_callbacks: u32,
    /// Name of the score.
    pub severity: Severity,
    /// 0..=1, from `points` (DESIGN section 4).
    pub score: f64,
    /// The raw score S of the scorer, sum of the parts.
    pub points: f64,
    /// What the score is made of; their points add up to `points`.
    pub parts: Vec<ScorePart>,
    /// Facts that the source could not tell; each adds its neutral expectation to the score.
    pub missing: Vec<Word>,
    /// One plain sentence.
    pub reason: String,
    /// Who called, where the source told.
    pub process: Option<Process>,
    /// How the process of the latest callback is known, where a live sensor found it.
    pub attribution: Attribution,
    /// The known-good entry that keeps it from being emitted.
    pub suppressed_by: Option<Suppressed>,
    /// Who was called.
    pub destination: Destination,
    /// What was measured. Of a class that is no beacon: how often and when it was seen, and the bytes.
    pub evidence: Evidence,
    /// What was counted of names, where the finding is about names.
    pub dns: Option<DnsEvidence>,
    /// Entries of feeds that it matches.
    pub indicators: Vec<IndicatorMatch>,
    /// The profile that matched, or nearly did.
    pub profile: Option<ProfileNote>,
    /// ATT&CK techniques that the evidence supports.
    pub techniques: Vec<Technique>,
}

impl Alert {
    /// Id of this emission: no two emissions share it, and the same data gives the same one. Printable ASCII, 60 bytes or fewer.
    ///
    /// The revision alone would not do: a sensor that lost its state counts from 1 again.
    #[must_use]
    pub fn emission_id(&self) -> String {
        format!("{}-{}-{:016x}", self.id, self.revision, self.time.nanos())
    }
}

/// Which known-good entry an alert falls under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Suppressed {
    /// Number of the entry.
    pub entry: u64,
    /// Why it was made.
    pub reason: String,
}

/// One part of a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScorePart {
    /// Short name, such as `regularity` or `bare_address`.
    pub name: Word,
    /// Points that it adds.
    pub points: f64,
    /// What it says, in words.
    pub detail: String,
}

/// The process behind a finding: that of its latest callback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Instance, where the source tells.
    pub key: Option<ProcessKey>,
    /// What is known of it.
    pub info: ProcessInfo,
}

/// Where the callbacks go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// What a defender would call it: FQDN where known, else the address; for a group the first of its members.
    pub name: String,
    /// Registrable domain, empty for a bare address.
    pub registrable_domain: String,
    /// What the client resolved.
    pub fqdn: String,
    /// Server name that the client claimed in TLS or QUIC.
    pub sni: String,
    /// Target of a proxy's CONNECT.
    pub connect_host: String,
    /// Host header that the client claimed.
    pub http_host: String,
    /// User-Agent that the client claimed.
    pub user_agent: String,
    /// Latest address.
    pub ip: Option<IpAddr>,
    /// Port; 0 for ICMP.
    pub port: u16,
    /// Transport protocol.
    pub transport: Transport,
    /// What the client spoke first.
    pub protocol: AppProtocol,
    /// Client TLS fingerprint.
    pub ja4: Option<Ja4>,
    /// Certificate that the server showed, where it was looked for.
    pub certificate: Certificate,
    /// Network of the address.
    pub autonomous_system: Option<AutonomousSystem>,
    /// The destinations of one program's schedule (rotation, fail-over): at most six, sorted. Empty for a single one.
    pub group: Vec<String>,
}

/// At which level the rhythm was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Level {
    /// Connections of one program to one destination and port.
    #[default]
    Connection,
    /// Connections of one process, where several processes of its program call one destination in turn.
    Process,
    /// Connections of one program to all destinations that share its TLS fingerprint or service.
    Group,
    /// Exchanges inside open connections.
    Exchange,
    /// DNS queries of one program below one registrable domain.
    Dns,
}

impl Level {
    /// Lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Process => "process",
            Self::Group => "group",
            Self::Exchange => "exchange",
            Self::Dns => "dns",
        }
    }
}

/// What was measured of a series of callbacks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// At which level the rhythm was found.
    pub level: Level,
    /// Strength of the timing evidence, in bans (log10 of the odds against chance); 0 = none.
    pub bans: f64,
    /// Timing test that found it, such as `w2`; empty if none did.
    pub test: Word,
    /// That test in words, such as "one interval with small jitter"; empty if none did.
    pub shape: Word,
    /// Intervals that obey the test…
    pub matched: u32,
    /// …of so many.
    pub of: u32,
    /// Period found, in seconds; 0 if none.
    pub period_secs: f64,
    /// Median of the intervals kept, in seconds.
    pub interval_median_secs: f64,
    /// Median absolute deviation of the intervals over their median.
    pub jitter_mad_ratio: f64,
    /// Check-ins so far (events within a second of each other are one).
    pub callbacks: u32,
    /// Callbacks that a steady period would have brought, but that were not seen, among the intervals kept.
    pub missed: u32,
    /// Intervals that are not counted, because the sensor was blind in them.
    pub gaps: u32,
    /// Seconds for which it was, in all.
    pub gap_secs: u32,
    /// First callback.
    pub first_seen: Timestamp,
    /// Latest callback.
    pub last_seen: Timestamp,
    /// Histogram of the intervals kept.
    pub histogram: Histogram,
    /// Latest callbacks, oldest first, at most 65.
    pub recent: Vec<Timestamp>,
    /// Median payload bytes sent per callback; `None` with fewer than three sizes known.
    pub bytes_out_median: Option<f64>,
    /// Median payload bytes received per callback; `None` with fewer than three sizes known.
    pub bytes_in_median: Option<f64>,
    /// Payload bytes sent in all.
    pub bytes_out: u64,
    /// Payload bytes received in all.
    pub bytes_in: u64,
    /// Connections that the server refused.
    pub refused: u32,
    /// Connections that were never answered.
    pub unanswered: u32,
    /// Payload bytes sent and received by the latest of [`recent`](Self::recent), oldest first, where they are known: at most
    /// [`MAX_SIZES`](crate::detect::beacon::series::MAX_SIZES) and the open one. For a picture on the machine that measured
    /// them: neither told on the wire nor kept in a state, nor of a series that has left its table.
    #[serde(skip)]
    pub recent_sizes: Vec<Option<(u64, u64)>>,
}

/// Number of bins of an interval [`Histogram`].
pub const HISTOGRAM_BINS: usize = 24;

/// Intervals in equal bins of a logarithmic axis from `low_secs` to `high_secs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower edge of the first bin, in seconds.
    pub low_secs: f64,
    /// Upper edge of the last bin, in seconds.
    pub high_secs: f64,
    /// Intervals per bin.
    pub counts: [u16; HISTOGRAM_BINS],
}

/// A MITRE ATT&CK technique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Technique {
    /// Id such as `T1071.001`.
    pub id: Word,
    /// Its name.
    pub name: Word,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::samples;

    #[test]
    fn an_alert_comes_back_equal_from_json_and_from_postcard() {
        for alert in samples::all() {
            let json = serde_json::to_string(&alert).unwrap();
            assert_eq!(serde_json::from_str::<Alert>(&json).unwrap(), alert);
            let bytes = postcard::to_allocvec(&alert).unwrap();
            assert_eq!(postcard::from_bytes::<Alert>(&bytes).unwrap(), alert);
        }
    }

    #[test]
    fn an_emission_has_an_id_of_its_own_even_from_a_sensor_that_lost_its_state() {
        let first = samples::implant();
        let later = Alert { time: first.time.plus_nanos(1), ..first.clone() };
        let revised = Alert { revision: 3, ..first.clone() };
        assert_eq!(first.emission_id(), samples::implant().emission_id());
        assert_ne!(first.emission_id(), later.emission_id());
        assert_ne!(first.emission_id(), revised.emission_id());
        let longest = Alert { revision: u32::MAX, time: Timestamp::from_nanos(i64::MIN), ..first };
        let id = longest.emission_id();
        assert!(id.len() <= 60 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    }

    #[test]
    fn only_what_an_id_is_written_as_is_read_as_one() {
        let id = FindingId(0x2a);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "2a", "+000000000000000000000000000002a", "0000000000000000000000000000002g"] {
            assert_eq!(bad.parse::<FindingId>(), Err(ParseIdError), "{bad}");
        }
    }
}
