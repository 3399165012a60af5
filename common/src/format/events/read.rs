//! One line of JSON as one [`Observation`], borrowed from the line where it can be.
//!
//! The file may come from anyone: texts are normalised and capped as if they came off the wire, and whatever does not fit
//! the format is an error that names the field, the column and the reason.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{DNS_PORT, HEADER_TYPE, MAX_ADDRESSES, MAX_LINE_BYTES, SHORT_TEXT, TYPES, VERSION};
use crate::certificate::{Certificate, digest};
use crate::event::{
    AppProtocol, CLAIM_TEXT, ConnectionEvent, DOMAIN_TEXT, DnsEvent, Event, HOST_TEXT, HostFacts, HostId,
    Ja4, MAX_RESOLVERS, Names, Observation, Outcome, Phase, Totals, USER_AGENT_TEXT,
};
use crate::live::{Gap, GapCause};
use crate::net::{FiveTuple, Transport};
use crate::process::{
    Attribution, ImageLocation, MAX_ANCESTORS, PROCESS_TEXT, ParentClass, ProcessInfo, ProcessKey,
};
use crate::text::{self, Rule};
use crate::time::Timestamp;

/// Why a line could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("line of {had} bytes; at most {limit} are read")]
    TooLong {
        /// Bytes of the line.
        had: usize,
        /// Bytes that are read.
        limit: usize,
    },
    /// Bytes that are no text.
    #[error("column {column}: not UTF-8")]
    NotUtf8 {
        /// Byte of the line, from 1.
        column: usize,
    },
    /// Not a JSON object.
    #[error("column {column}: {reason}")]
    Json {
        /// Byte of the line, from 1.
        column: usize,
        /// What the JSON parser says.
        reason: String,
    },
    /// A field whose value does not fit.
    #[error("column {column}: field `{field}`: {reason}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Byte of the line, from 1.
        column: usize,
        /// What was expected.
        reason: String,
    },
    /// A field that this type of event cannot do without.
    #[error("field `{field}` is missing in an event of type {event}")]
    Missing {
        /// Name of the field.
        field: &'static str,
        /// Type of the event.
        event: &'static str,
    },
    /// A file of a later format.
    #[error("format version {had}; this version of Sonde reads up to {limit}")]
    Version {
        /// Version of the file.
        had: u32,
        /// Latest version that is read.
        limit: u32,
    },
}

/// Whether a file that begins with this line holds Sonde's events (of any version).
#[must_use]
pub fn looks_like_events(line: &[u8]) -> bool {
    parse_kind(line) == Some(Kind::Header) || matches!(EventParser::new().parse_line(line), Ok(Some(_)))
}

/// `type` of a line, if it is an object with one.
fn parse_kind(line: &[u8]) -> Option<Kind> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: Kind,
    }
    let text = std::str::from_utf8(line).ok()?;
    serde_json::from_str::<Typed>(text.trim_start_matches('\u{feff}')).ok().map(|typed| typed.r#type)
}

/// Reads lines, and keeps the buffers that their texts live in.
#[derive(Debug, Default)]
pub struct EventParser {
    kept: Kept,
}

impl EventParser {
    /// A parser with empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many texts and address lists were longer than is kept, and so were cut.
    #[must_use]
    pub const fn cut(&self) -> u64 {
        self.kept.cut
    }

    /// The observation of one line, or `None` for a blank line and for the header.
    ///
    /// # Errors
    /// If the line is not an event of this version. The next line can be read all the same.
    pub fn parse_line<'a>(&'a mut self, line: &'a [u8]) -> Result<Option<Observation<'a>>, EventError> {
        if line.len() > MAX_LINE_BYTES {
            return Err(EventError::TooLong { had: line.len(), limit: MAX_LINE_BYTES });
        }
        let text = std::str::from_utf8(line)
            .map_err(|error| EventError::NotUtf8 { column: error.valid_up_to().saturating_add(1) })?;
        // Editors of Windows put a byte-order mark before the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        self.kept.clear();
        let mut record = Record::default();
        let mut at = None;
        let mut json = serde_json::Deserializer::from_str(text);
        RecordSeed { record: &mut record, kept: &mut self.kept, at: &mut at }
            .deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| explain(&error, at))?;
        record.observation(&self.kept)
    }
}

/// Longest reason that an error carries: it may quote the file.
const MAX_REASON_BYTES: usize = 200;

fn explain(error: &serde_json::Error, at: Option<Field>) -> EventError {
    let text = error.to_string();
    // The parser adds the place to its text; we carry it apart.
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    let reason = reason.get(..reason.floor_char_boundary(MAX_REASON_BYTES)).unwrap_or_default();
    let (column, reason) = (error.column(), text::escape(reason).into_owned());
    match at.and_then(Field::name) {
        Some(field) => EventError::Field { field, column, reason },
        None => EventError::Json { column, reason },
    }
}

/// Declares the fields of a line once, for the reader and for the test that compares them with the documentation.
macro_rules! fields {
    ($($field:ident $name:literal)+) => {
        /// A field of a line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Field {
            $($field,)+
            /// One that this version does not know, which is skipped.
            Unknown,
        }

        /// The fields that are read.
        #[cfg(test)]
        pub(super) const FIELDS: &[&str] = &[$($name),+];

        impl Field {
            fn of(name: &str) -> Self {
                match name {
                    $($name => Self::$field,)+
                    _ => Self::Unknown,
                }
            }

            const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$field => Some($name),)+
                    Self::Unknown => None,
                }
            }
        }
    };
}

fields! {
    Time "time"
    Host "host"
    Type "type"
    Version "version"
    // Host
    History "history"
    ObservedSince "observed_since"
    // Process
    Process "process"
    Image "image"
    CommandLine "command_line"
    Sha256 "sha256"
    Script "script"
    ParentImage "parent_image"
    User "user"
    Container "container"
    Pod "pod"
    Service "service"
    Package "package"
    Ancestors "ancestors"
    Signed "signed"
    Location "location"
    ParentClass "parent_class"
    ScriptHost "script_host"
    Browser "browser"
    AgeDays "age_days"
    // Known destination
    Name "name"
    // Connection
    Phase "phase"
    Start "start"
    Transport "transport"
    LocalIp "local_ip"
    LocalPort "local_port"
    RemoteIp "remote_ip"
    RemotePort "remote_port"
    Attribution "attribution"
    Fqdn "fqdn"
    Sni "sni"
    ConnectHost "connect_host"
    ConnectPort "connect_port"
    HttpHost "http_host"
    UserAgent "user_agent"
    Protocol "protocol"
    Ja4 "ja4"
    CertificateSha1 "certificate_sha1"
    CertificateSha256 "certificate_sha256"
    ExchangeStart "exchange_start"
    End "end"
    BytesOut "bytes_out"
    BytesIn "bytes_in"
    Outcome "outcome"
    // DNS
    ResolverIp "resolver_ip"
    ResolverPort "resolver_port"
    Query "query"
    QueryType "query_type"
    ResponseCode "response_code"
    Addresses "addresses"
    TtlSecs "ttl_secs"
    // Gap
    Since "since"
    Until "until"
    Cause "cause"
    Lost "lost"
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Field, E> {
                Ok(Field::of(name))
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

/// `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Header,
    Host,
    Process,
    KnownDestination,
    Resolvers,
    Connection,
    Dns,
    Gap,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl Visitor<'_> for KindVisitor {
            type Value = Kind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "one of {TYPES}")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Kind, E> {
                Ok(match name {
                    HEADER_TYPE => Kind::Header,
                    "host" => Kind::Host,
                    "process" => Kind::Process,
                    "known_destination" => Kind::KnownDestination,
                    "resolvers" => Kind::Resolvers,
                    "connection" => Kind::Connection,
                    "dns" => Kind::Dns,
                    "gap" => Kind::Gap,
                    _ => {
                        let shown = name.get(..name.floor_char_boundary(40)).unwrap_or_default();
                        return Err(E::custom(format_args!("unknown type `{shown}`; known are {TYPES}")));
                    }
                })
            }
        }
        deserializer.deserialize_str(KindVisitor)
    }
}

/// `phase`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Opened,
    Joined,
    Exchange,
    Certificate,
    Closed,
    Whole,
}

/// `process`.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Owner {
    pid: u32,
    #[serde(default)]
    start: Timestamp,
}

impl Owner {
    const fn key(self) -> ProcessKey {
        ProcessKey { pid: self.pid, start: self.start }
    }
}

/// A text of the line, or of the parser's scratch where it had to be changed.
#[derive(Clone, Debug, Default)]
enum Text<'a> {
    #[default]
    Absent,
    Line(&'a str),
    Scratch(Range<usize>),
}

/// What a parser keeps between lines: buffers, and a counter.
#[derive(Debug, Default)]
struct Kept {
    scratch: String,
    addresses: Vec<IpAddr>,
    process: ProcessInfo,
    cut: u64,
}

impl Kept {
    fn clear(&mut self) {
        self.scratch.clear();
        self.addresses.clear();
        let info = &mut self.process;
        for text in [
            &mut info.image,
            &mut info.command_line,
            &mut info.sha256,
            &mut info.script,
            &mut info.parent_image,
            &mut info.user,
            &mut info.container,
            &mut info.pod,
            &mut info.service,
            &mut info.package,
        ] {
            text.clear();
        }
        info.ancestors.clear();
        info.signed = None;
        info.location = None;
        info.parent_class = None;
        info.script_host = None;
        info.browser = None;
        info.age_days = None;
    }
}

/// The fields of a line as they stand there, before they are an event.
#[derive(Debug, Default)]
struct Record<'a> {
    time: Option<Timestamp>,
    host: Text<'a>,
    kind: Option<Kind>,
    version: Option<u32>,
    history: Option<bool>,
    observed_since: Option<Timestamp>,
    process: Option<Owner>,
    attribution: Option<Attribution>,
    age_days: Option<f64>,
    name: Text<'a>,
    stage: Option<Stage>,
    start: Option<Timestamp>,
    transport: Option<Transport>,
    local_ip: Option<IpAddr>,
    local_port: Option<u16>,
    remote_ip: Option<IpAddr>,
    remote_port: Option<u16>,
    fqdn: Text<'a>,
    sni: Text<'a>,
    connect_host: Text<'a>,
    connect_port: Option<u16>,
    http_host: Text<'a>,
    user_agent: Text<'a>,
    protocol: Option<AppProtocol>,
    ja4: Option<Ja4>,
    certificate: Certificate,
    exchange_start: Option<Timestamp>,
    end: Option<Timestamp>,
    bytes_out: Option<u64>,
    bytes_in: Option<u64>,
    outcome: Option<Outcome>,
    resolver_ip: Option<IpAddr>,
    resolver_port: Option<u16>,
    query: Text<'a>,
    query_type: Option<u16>,
    response_code: Option<u16>,
    ttl_secs: Option<u32>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    cause: Option<GapCause>,
    lost: Option<u64>,
}

impl<'a> Record<'a> {
    fn observation(&self, kept: &'a Kept) -> Result<Option<Observation<'a>>, EventError> {
        let kind = self.kind.ok_or(EventError::Missing { field: "type", event: "(none)" })?;
        let event = match kind {
            Kind::Header => "sonde.events",
            Kind::Host => "host",
            Kind::Process => "process",
            Kind::KnownDestination => "known_destination",
            Kind::Resolvers => "resolvers",
            Kind::Connection => "connection",
            Kind::Dns => "dns",
            Kind::Gap => "gap",
        };
        let missing = |field| EventError::Missing { field, event };
        if kind == Kind::Header {
            let had = self.version.ok_or_else(|| missing("version"))?;
            return if had > VERSION { Err(EventError::Version { had, limit: VERSION }) } else { Ok(None) };
        }
        let time = self.time.ok_or_else(|| missing("time"))?;
        let host = self.text(kept, &self.host);
        let event = match kind {
            Kind::Header | Kind::Host => Event::Host(HostFacts {
                history: self.history.unwrap_or_default(),
                observed_since: self.observed_since.unwrap_or(time),
            }),
            Kind::Process => {
                Event::Process(self.process.ok_or_else(|| missing("process"))?.key(), &kept.process)
            }
            Kind::KnownDestination => Event::KnownDestination {
                name: match self.text(kept, &self.name) {
                    "" => return Err(missing("name")),
                    name => name,
                },
                age_days: self.age_days.ok_or_else(|| missing("age_days"))?,
            },
            Kind::Resolvers => {
                Event::Resolvers(kept.addresses.get(..MAX_RESOLVERS).unwrap_or(&kept.addresses))
            }
            Kind::Connection => Event::Connection(self.connection(kept, time, missing)?),
            Kind::Dns => Event::Dns(DnsEvent {
                start: self.start.unwrap_or(time),
                process: self.process.map(Owner::key),
                program: None,
                attribution: self.attribution.unwrap_or_default(),
                tuple: None,
                resolver: self
                    .resolver_ip
                    .map(|ip| SocketAddr::new(ip, self.resolver_port.unwrap_or(DNS_PORT))),
                query: self.text(kept, &self.query),
                query_type: self.query_type.ok_or_else(|| missing("query_type"))?,
                response_code: self.response_code,
                addresses: &kept.addresses,
                ttl_secs: self.ttl_secs.unwrap_or_default(),
            }),
            Kind::Gap => Event::Gap(Gap {
                since: self.since.unwrap_or(time),
                until: self.until.unwrap_or(time),
                cause: self.cause.ok_or_else(|| missing("cause"))?,
                lost: self.lost.unwrap_or_default(),
            }),
        };
        let host = host.parse().map_or(HostId::Name(host), HostId::Address);
        Ok(Some(Observation { time, host, event }))
    }

    fn connection(
        &self,
        kept: &'a Kept,
        time: Timestamp,
        missing: impl Fn(&'static str) -> EventError,
    ) -> Result<ConnectionEvent<'a>, EventError> {
        let transport = self.transport.ok_or_else(|| missing("transport"))?;
        let remote_ip = self.remote_ip.ok_or_else(|| missing("remote_ip"))?;
        let local_ip = self.local_ip.unwrap_or(match remote_ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let totals = Totals {
            end: self.end.unwrap_or(time),
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            outcome: self.outcome.unwrap_or_default(),
        };
        Ok(ConnectionEvent {
            tuple: FiveTuple {
                transport,
                local: SocketAddr::new(local_ip, self.local_port.unwrap_or_default()),
                remote: SocketAddr::new(remote_ip, self.remote_port.unwrap_or_default()),
            },
            start: self.start.unwrap_or(time),
            process: self.process.map(Owner::key),
            program: None,
            attribution: self.attribution.unwrap_or_default(),
            names: Names {
                fqdn: self.text(kept, &self.fqdn),
                sni: self.text(kept, &self.sni),
                connect_host: self.text(kept, &self.connect_host),
                connect_port: self.connect_port.unwrap_or_default(),
                http_host: self.text(kept, &self.http_host),
                user_agent: self.text(kept, &self.user_agent),
            },
            protocol: self.protocol.unwrap_or_default(),
            ja4: self.ja4,
            phase: match self.stage.ok_or_else(|| missing("phase"))? {
                Stage::Opened => Phase::Opened,
                Stage::Joined => Phase::Joined,
                Stage::Exchange => Phase::Exchange {
                    start: self.exchange_start.unwrap_or(time),
                    bytes_out: self.bytes_out.unwrap_or_default(),
                    bytes_in: self.bytes_in.unwrap_or_default(),
                },
                Stage::Certificate if self.certificate.is_none() => {
                    return Err(missing("certificate_sha256"));
                }
                Stage::Certificate => Phase::Certificate(self.certificate),
                Stage::Closed => Phase::Closed(totals),
                Stage::Whole => Phase::Whole(totals),
            },
        })
    }

    /// The text, in the life of the line and the parser rather than of this record.
    fn text(&self, kept: &'a Kept, text: &Text<'a>) -> &'a str {
        match text {
            Text::Absent => "",
            Text::Line(text) => text,
            Text::Scratch(range) => kept.scratch.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// Fills a record from an object, and keeps track of the field it is at.
struct RecordSeed<'p, 'a> {
    record: &'p mut Record<'a>,
    kept: &'p mut Kept,
    at: &'p mut Option<Field>,
}

impl<'de> DeserializeSeed<'de> for RecordSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    /// A field that is `null` is as one left out; of a field that comes twice the last one counts.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { record, kept, at } = self;
        while let Some(field) = map.next_key::<Field>()? {
            *at = Some(field);
            match field {
                Field::Time => record.time = map.next_value()?,
                Field::Host => record.host = map.next_value_seed(TextSeed::host(kept))?,
                Field::Type => record.kind = map.next_value()?,
                Field::Version => record.version = map.next_value()?,
                Field::History => record.history = map.next_value()?,
                Field::ObservedSince => record.observed_since = map.next_value()?,
                Field::Process => record.process = map.next_value()?,
                Field::Image => map.next_value_seed(own(&mut kept.process.image, &mut kept.cut))?,
                Field::CommandLine => {
                    map.next_value_seed(own(&mut kept.process.command_line, &mut kept.cut))?
                }
                Field::Sha256 => {
                    map.next_value_seed(own(&mut kept.process.sha256, &mut kept.cut))?;
                    kept.process.sha256.make_ascii_lowercase();
                }
                Field::Script => map.next_value_seed(own(&mut kept.process.script, &mut kept.cut))?,
                Field::ParentImage => {
                    map.next_value_seed(own(&mut kept.process.parent_image, &mut kept.cut))?
                }
                Field::User => map.next_value_seed(own(&mut kept.process.user, &mut kept.cut))?,
                Field::Container => map.next_value_seed(own(&mut kept.process.container, &mut kept.cut))?,
                Field::Pod => map.next_value_seed(short(&mut kept.process.pod, &mut kept.cut))?,
                Field::Service => map.next_value_seed(short(&mut kept.process.service, &mut kept.cut))?,
                Field::Package => map.next_value_seed(short(&mut kept.process.package, &mut kept.cut))?,
                Field::Ancestors => map.next_value_seed(AncestorsSeed { kept })?,
                Field::Signed => kept.process.signed = map.next_value()?,
                Field::Location => kept.process.location = map.next_value::<Option<ImageLocation>>()?,
                Field::ParentClass => kept.process.parent_class = map.next_value::<Option<ParentClass>>()?,
                Field::ScriptHost => kept.process.script_host = map.next_value()?,
                Field::Browser => kept.process.browser = map.next_value()?,
                Field::AgeDays => {
                    record.age_days = map.next_value()?;
                    kept.process.age_days = record.age_days;
                }
                Field::Name => record.name = map.next_value_seed(TextSeed::domain(kept))?,
                Field::Phase => record.stage = map.next_value()?,
                Field::Start => record.start = map.next_value()?,
                Field::Transport => record.transport = map.next_value()?,
                Field::LocalIp => record.local_ip = map.next_value()?,
                Field::LocalPort => record.local_port = map.next_value()?,
                Field::RemoteIp => record.remote_ip = map.next_value()?,
                Field::RemotePort => record.remote_port = map.next_value()?,
                Field::Attribution => record.attribution = map.next_value()?,
                Field::Fqdn => record.fqdn = map.next_value_seed(TextSeed::domain(kept))?,
                Field::Sni => record.sni = map.next_value_seed(TextSeed::claim(kept))?,
                Field::ConnectHost => record.connect_host = map.next_value_seed(TextSeed::claim(kept))?,
                Field::ConnectPort => record.connect_port = map.next_value()?,
                Field::HttpHost => record.http_host = map.next_value_seed(TextSeed::claim(kept))?,
                Field::UserAgent => record.user_agent = map.next_value_seed(TextSeed::user_agent(kept))?,
                Field::Protocol => record.protocol = map.next_value()?,
                Field::Ja4 => record.ja4 = map.next_value::<Option<Fingerprint>>()?.map(|read| read.0),
                Field::CertificateSha1 => {
                    record.certificate.sha1 = map.next_value::<Option<Digest<20>>>()?.map(|read| read.0);
                }
                Field::CertificateSha256 => {
                    record.certificate.sha256 = map.next_value::<Option<Digest<32>>>()?.map(|read| read.0);
                }
                Field::ExchangeStart => record.exchange_start = map.next_value()?,
                Field::End => record.end = map.next_value()?,
                Field::BytesOut => record.bytes_out = map.next_value()?,
                Field::BytesIn => record.bytes_in = map.next_value()?,
                Field::Outcome => record.outcome = map.next_value()?,
                Field::ResolverIp => record.resolver_ip = map.next_value()?,
                Field::ResolverPort => record.resolver_port = map.next_value()?,
                Field::Query => record.query = map.next_value_seed(TextSeed::domain(kept))?,
                Field::QueryType => record.query_type = map.next_value()?,
                Field::ResponseCode => record.response_code = map.next_value()?,
                Field::Addresses => map.next_value_seed(AddressesSeed { kept })?,
                Field::TtlSecs => record.ttl_secs = map.next_value()?,
                Field::Since => record.since = map.next_value()?,
                Field::Until => record.until = map.next_value()?,
                Field::Cause => record.cause = map.next_value()?,
                Field::Lost => record.lost = map.next_value()?,
                Field::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            *at = None;
        }
        Ok(())
    }
}

/// `ja4`.
struct Fingerprint(Ja4);

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ja4Visitor;
        impl Visitor<'_> for Ja4Visitor {
            type Value = Fingerprint;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("36 printable ASCII characters")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Fingerprint, E> {
                Ja4::parse(text)
                    .map(Fingerprint)
                    .ok_or_else(|| E::custom("expected 36 printable ASCII characters"))
            }
        }
        deserializer.deserialize_str(Ja4Visitor)
    }
}

/// `certificate_sha1` and `certificate_sha256`.
struct Digest<const N: usize>([u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Digest<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HexVisitor<const N: usize>;
        impl<const N: usize> Visitor<'_> for HexVisitor<N> {
            type Value = Digest<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} hexadecimal digits", 2 * N)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest<N>, E> {
                digest(text)
                    .map(Digest)
                    .ok_or_else(|| E::custom(format_args!("expected {} hexadecimal digits", 2 * N)))
            }
        }
        deserializer.deserialize_str(HexVisitor)
    }
}

/// A text that is borrowed from the line if nothing has to change.
struct TextSeed<'p> {
    rule: Rule,
    kept: &'p mut Kept,
}

impl<'p> TextSeed<'p> {
    const fn host(kept: &'p mut Kept) -> Self {
        Self { rule: HOST_TEXT, kept }
    }

    const fn domain(kept: &'p mut Kept) -> Self {
        Self { rule: DOMAIN_TEXT, kept }
    }

    const fn claim(kept: &'p mut Kept) -> Self {
        Self { rule: CLAIM_TEXT, kept }
    }

    const fn user_agent(kept: &'p mut Kept) -> Self {
        Self { rule: USER_AGENT_TEXT, kept }
    }
}

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = Text<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text<'de>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for TextSeed<'_> {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Text<'de>, E> {
        Ok(Text::Absent)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        match self.rule.as_it_stands(text) {
            Some(text) => Ok(Text::Line(text)),
            None => self.visit_str(text),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        let from = self.kept.scratch.len();
        if self.rule.append(text, &mut self.kept.scratch) {
            self.kept.cut = self.kept.cut.saturating_add(1);
        }
        Ok(Text::Scratch(from..self.kept.scratch.len()))
    }
}

/// A text of a process, which is copied into the parser's [`ProcessInfo`].
struct OwnSeed<'p> {
    to: &'p mut String,
    cut: &'p mut u64,
    rule: Rule,
}

const fn own<'p>(to: &'p mut String, cut: &'p mut u64) -> OwnSeed<'p> {
    OwnSeed { to, cut, rule: PROCESS_TEXT }
}

const fn short<'p>(to: &'p mut String, cut: &'p mut u64) -> OwnSeed<'p> {
    OwnSeed { to, cut, rule: SHORT_TEXT }
}

impl<'de> DeserializeSeed<'de> for OwnSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OwnSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.to.clear();
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.to.clear();
        if self.rule.append(text, self.to) {
            *self.cut = self.cut.saturating_add(1);
        }
        Ok(())
    }
}

/// `addresses`, which are copied into the parser.
struct AddressesSeed<'p> {
    kept: &'p mut Kept,
}

impl<'de> DeserializeSeed<'de> for AddressesSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for AddressesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of addresses")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.kept.addresses.clear();
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.kept.addresses.clear();
        let mut cut = false;
        while let Some(ip) = list.next_element::<IpAddr>()? {
            if self.kept.addresses.len() < MAX_ADDRESSES {
                self.kept.addresses.push(ip);
            } else {
                cut = true;
            }
        }
        self.kept.cut = self.kept.cut.saturating_add(u64::from(cut));
        Ok(())
    }
}

/// `ancestors`, which are copied into the parser.
struct AncestorsSeed<'p> {
    kept: &'p mut Kept,
}

impl<'de> DeserializeSeed<'de> for AncestorsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for AncestorsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.kept.process.ancestors.clear();
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Kept { process, cut, .. } = self.kept;
        process.ancestors.clear();
        let mut text = String::new();
        let mut more = false;
        while list.next_element_seed(short(&mut text, cut))?.is_some() {
            if process.ancestors.len() < MAX_ANCESTORS {
                process.ancestors.push(std::mem::take(&mut text));
            } else {
                more = true;
            }
        }
        *cut = cut.saturating_add(u64::from(more));
        Ok(())
    }
}
