//! The fields of one Zeek record, as either form has them, and the row they make.
//!
//! A number, time or address that cannot be read makes the row a bad one; an unset one is just not known. Zeek's `history`
//! is not read: where Zeek thinks that it saw a connection from the wrong side (`^`), it has turned the columns already.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::{FIELDS, Field, Log};
use crate::event::{AppProtocol, Outcome};
use crate::format::row::{
    ATTRIBUTES_LEAD, Addresses, AttributesRow, Cause, ConnectionRow, DnsRow, ExchangeRow, Kind, Row,
    RowError, RowSink, Said,
};
use crate::format::{dns_names, fields, flat, http_said};
use crate::net::{FiveTuple, Transport};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// How the fields of a record are written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    /// Columns, already empty where unset; lists are split at this.
    Tsv { set_separator: &'a str },
    /// Raw JSON values.
    Json,
}

/// The fields of one record.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) fields: [&'a str; FIELDS],
    pub(super) form: Form<'a>,
}

impl<'a> Record<'a> {
    /// What stands there, escapes unresolved; empty if unset or no scalar.
    pub(super) fn raw(&self, field: Field) -> &'a str {
        let raw = self.fields.get(field.slot()).copied().unwrap_or_default();
        match self.form {
            Form::Tsv { .. } => raw,
            // Converters from tab-separated logs keep its marks of unset and empty.
            Form::Json => {
                Some(flat::scalar(raw)).filter(|raw| !matches!(*raw, "-" | "(empty)")).unwrap_or_default()
            }
        }
    }

    /// Whether the record has the field, set or not.
    pub(super) fn has(&self, field: Field) -> bool {
        self.fields.get(field.slot()).is_some_and(|raw| !raw.is_empty())
    }

    /// The first element of a set or vector.
    fn first(&self, field: Field) -> &'a str {
        let mut first = None;
        self.each(field, |element| first = first.or(Some(element)));
        first.unwrap_or_default()
    }

    /// What stands there as text.
    fn text(&self, field: Field) -> Cow<'a, str> {
        let raw = self.raw(field);
        match self.form {
            _ if !raw.contains('\\') => Cow::Borrowed(raw),
            Form::Tsv { .. } => unescape(raw),
            Form::Json => flat::text(self.fields.get(field.slot()).copied().unwrap_or_default()),
        }
    }

    /// The elements of a set or vector.
    fn each(&self, field: Field, mut take: impl FnMut(&'a str)) {
        let raw = self.fields.get(field.slot()).copied().unwrap_or_default();
        match self.form {
            Form::Tsv { set_separator } => raw.split(set_separator).for_each(take),
            Form::Json if raw.starts_with('[') => flat::each(raw, |element| take(flat::scalar(element))),
            Form::Json => flat::scalar(raw).split(',').for_each(take),
        }
    }

    fn read<T>(
        &self,
        field: Field,
        cause: Cause,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Result<Option<T>, RowError> {
        match self.raw(field) {
            "" => Ok(None),
            raw => parse(raw).map(Some).ok_or_else(|| RowError::field(cause, field.name(), raw)),
        }
    }

    fn needed<T>(
        &self,
        field: Field,
        cause: Cause,
        parse: impl Fn(&'a str) -> Option<T>,
    ) -> Result<T, RowError> {
        self.read(field, cause, parse)?.ok_or_else(|| RowError::field(Cause::Missing, field.name(), ""))
    }

    fn time(&self) -> Result<Timestamp, RowError> {
        self.needed(Field::Ts, Cause::Time, time)
    }

    fn count(&self, field: Field) -> Result<Option<u64>, RowError> {
        self.read(field, Cause::Number, count)
    }

    fn ends(&self) -> Result<(SocketAddr, SocketAddr), RowError> {
        let end = |host, port| -> Result<SocketAddr, RowError> {
            let ip: IpAddr = self.needed(host, Cause::Address, fields::address)?;
            Ok((ip, self.needed(port, Cause::Port, |raw| fields::port(whole(raw)))?).into())
        };
        Ok((end(Field::OrigH, Field::OrigP)?, end(Field::RespH, Field::RespP)?))
    }

    /// What the `local_orig` column says. Sensors that were not told their networks say `F` of everyone, so `F` of both
    /// ends says nothing.
    fn opener_is_local(&self) -> Option<bool> {
        let told = |field| match self.raw(field) {
            "T" | "true" => Some(true),
            "F" | "false" => Some(false),
            _ => None,
        };
        match (told(Field::LocalOrig), told(Field::LocalResp)) {
            (Some(false), Some(false)) => None,
            (opener, _) => opener,
        }
    }

    /// Who opened the connection; a row without it cannot be joined across hosts, and is passed on all the same.
    fn client(&self) -> Option<IpAddr> {
        fields::address(self.raw(Field::OrigH))
    }

    /// Hands the row to `sink`, or says what is wrong with it. Records that the engine does not follow (other logs, ICMP
    /// that is no echo, DNS without a question) are [`Kind::Other`]; those of other logs that have no time are nothing.
    pub(super) fn emit(&self, log: Log, sink: &mut dyn RowSink) {
        let done = match log {
            Log::Conn => self.connection(sink),
            Log::Dns => self.dns(sink),
            Log::Http => self.http(sink),
            Log::Ssl | Log::Quic => self.tls(log, sink),
            Log::Files => self.file(sink),
            Log::Unused => {
                if let Ok(time) = self.time() {
                    other(time, sink);
                }
                Ok(())
            }
        };
        if let Err(error) = done {
            sink.bad(error);
        }
    }

    fn connection(&self, sink: &mut dyn RowSink) -> Result<(), RowError> {
        let start = self.time()?;
        let (mut local, mut remote) = self.ends()?;
        let transport = match self.raw(Field::Proto) {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            // Zeek has the type in the one port and the code in the other. Only an echo request is somebody calling.
            "icmp" if local.port() == if local.is_ipv4() { 8 } else { 128 } => {
                local.set_port(0);
                remote.set_port(0);
                Transport::Icmp
            }
            "" => return Err(RowError::field(Cause::Missing, Field::Proto.name(), "")),
            _ => {
                other(start, sink);
                return Ok(());
            }
        };
        let outcome = match transport {
            // Zeek calls every ICMP exchange OTH.
            Transport::Icmp => match self.count(Field::RespPkts)? {
                Some(0) => Outcome::Unanswered,
                Some(_) => Outcome::Established,
                None => Outcome::Unknown,
            },
            _ => outcome(self.raw(Field::ConnState)),
        };
        let ja4 = self.text(Field::Ja4);
        let said = Said { ja4: &ja4, protocol: self.service(), ..Said::default() };
        let connection = ConnectionRow {
            uid: self.raw(Field::Uid),
            tuple: FiveTuple { transport, local, remote },
            start,
            duration: self.read(Field::Duration, Cause::Number, fields::seconds)?,
            bytes_out: self.count(Field::OrigBytes)?,
            bytes_in: self.count(Field::RespBytes)?,
            ip_bytes_out: self.count(Field::OrigIpBytes)?,
            outcome,
            opener_is_local: self.opener_is_local(),
            said,
        };
        sink.row(&Row { time: start, kind: Kind::Connection(connection), ..Row::default() });
        Ok(())
    }

    /// What was spoken: the innermost that Zeek found. QUIC holds TLS, and TLS through a proxy follows HTTP's CONNECT. An
    /// analyzer that gave up is listed with a minus in front.
    fn service(&self) -> AppProtocol {
        let mut protocol = AppProtocol::Unknown;
        self.each(Field::Service, |service| {
            let rank = |protocol| match protocol {
                AppProtocol::Unknown => 0,
                AppProtocol::Http => 1,
                AppProtocol::Ssh => 2,
                AppProtocol::Tls => 3,
                AppProtocol::Quic => 4,
            };
            let next = match service {
                "ssl" => AppProtocol::Tls,
                "http" => AppProtocol::Http,
                "ssh" => AppProtocol::Ssh,
                "quic" => AppProtocol::Quic,
                _ => AppProtocol::Unknown,
            };
            if rank(next) > rank(protocol) {
                protocol = next;
            }
        });
        protocol
    }

    fn dns(&self, sink: &mut dyn RowSink) -> Result<(), RowError> {
        let start = self.time()?;
        let query = self.text(Field::Query);
        if query.is_empty() {
            other(start, sink);
            return Ok(());
        }
        let (client, resolver) = self.ends()?;
        let number = |raw| count(raw).and_then(|number| u16::try_from(number).ok());
        let query_type = match self.read(Field::Qtype, Cause::Number, number)? {
            Some(number) => number,
            None => dns_names::record_type(self.raw(Field::QtypeName)).unwrap_or(0),
        };
        let response_code = match self.read(Field::Rcode, Cause::Number, number)? {
            Some(number) => Some(number),
            None => dns_names::response_code(self.raw(Field::RcodeName)),
        };
        let mut addresses = Addresses::default();
        self.each(Field::Answers, |answer| {
            // Names and texts stand between the addresses.
            if answer.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')
                && let Some(ip) = fields::address(answer)
            {
                addresses.push(ip);
            }
        });
        let mut ttl: Option<i64> = None;
        self.each(Field::Ttls, |raw| {
            if let Some(nanos) = fields::seconds(raw) {
                ttl = Some(ttl.map_or(nanos, |least| least.min(nanos)));
            }
        });
        let ttl_secs = ttl.map_or(0, |nanos| u32::try_from(nanos / NANOS_PER_SEC).unwrap_or(0));
        let dns = DnsRow {
            client: Some(client.ip()),
            resolver: Some(resolver),
            start,
            query: &query,
            query_type,
            response_code,
            addresses,
            ttl_secs,
            opener_is_local: self.opener_is_local(),
        };
        sink.row(&Row { time: start, kind: Kind::Dns(dns), ..Row::default() });
        Ok(())
    }

    /// The first request of a connection says what the connection is; the ones behind it are callbacks of their own.
    fn http(&self, sink: &mut dyn RowSink) -> Result<(), RowError> {
        let time = self.time()?;
        let (host, uri, user_agent) =
            (self.text(Field::Host), self.text(Field::Uri), self.text(Field::UserAgent));
        let said = http_said::said(self.raw(Field::Method), &uri, &host, &user_agent);
        let uid = self.raw(Field::Uid);
        if self.count(Field::TransDepth)?.is_none_or(|depth| depth <= 1) {
            attributes(time, AttributesRow { uid, client: self.client(), said }, sink);
            return Ok(());
        }
        let (local, remote) = self.ends()?;
        let exchange = ExchangeRow {
            uid,
            tuple: FiveTuple { transport: Transport::Tcp, local, remote },
            bytes_out: self.count(Field::RequestLen)?.unwrap_or(0),
            bytes_in: self.count(Field::ResponseLen)?.unwrap_or(0),
            opener_is_local: self.opener_is_local(),
            said,
        };
        sink.row(&Row { time, kind: Kind::Exchange(exchange), ..Row::default() });
        Ok(())
    }

    fn tls(&self, log: Log, sink: &mut dyn RowSink) -> Result<(), RowError> {
        let time = self.time()?;
        let protocol = match self.raw(Field::Version) {
            _ if log == Log::Quic => AppProtocol::Quic,
            version if version.starts_with("QUIC") => AppProtocol::Quic,
            // Over datagrams: media and tunnels, not what TLS stands for here.
            version if version.starts_with("DTLS") => AppProtocol::Unknown,
            _ => AppProtocol::Tls,
        };
        let (sni, ja4) = (self.text(Field::ServerName), self.text(Field::Ja4));
        // The server's own comes first.
        let certificate_sha256 = self.first(Field::CertChain);
        let said = Said { sni: &sni, ja4: &ja4, certificate_sha256, protocol, ..Said::default() };
        attributes(time, AttributesRow { uid: self.raw(Field::Uid), client: self.client(), said }, sink);
        Ok(())
    }

    /// A server's own certificate; of other files only the time is told. The digests are there where Zeek was told to make
    /// them.
    fn file(&self, sink: &mut dyn RowSink) -> Result<(), RowError> {
        /// As Zeek calls the first certificate of a chain; the others are `application/x-x509-ca-cert`.
        const OWN: &str = "application/x-x509-user-cert";
        let time = self.time()?;
        let of_client = matches!(self.raw(Field::IsOrig), "T" | "true");
        let (certificate_sha1, certificate_sha256) = (self.raw(Field::Sha1), self.raw(Field::Sha256));
        if self.raw(Field::MimeType) != OWN || of_client || (certificate_sha1, certificate_sha256) == ("", "")
        {
            other(time, sink);
            return Ok(());
        }
        // From Zeek 5.1 on a file belongs to one connection, and is told with its ends.
        let (uid, client) = match self.raw(Field::Uid) {
            "" => (self.first(Field::ConnUids), fields::address(self.first(Field::RxHosts))),
            uid => (uid, self.client()),
        };
        let said =
            Said { certificate_sha1, certificate_sha256, protocol: AppProtocol::Tls, ..Said::default() };
        attributes(time, AttributesRow { uid, client, said }, sink);
        Ok(())
    }
}

fn attributes(time: Timestamp, attributes: AttributesRow<'_>, sink: &mut dyn RowSink) {
    let time = time.plus_nanos(-ATTRIBUTES_LEAD);
    sink.row(&Row { time, kind: Kind::Attributes(attributes), ..Row::default() });
}

fn other(time: Timestamp, sink: &mut dyn RowSink) {
    sink.row(&Row { time, ..Row::default() });
}

/// Zeek's `conn_state` (Zeek, "base/protocols/conn/main.zeek").
fn outcome(state: &str) -> Outcome {
    match state {
        // Answered with SYN+ACK; closed, half closed or still open at the end.
        "SF" | "S1" | "S2" | "S3" => Outcome::Established,
        // No SYN+ACK was seen: nothing behind the SYN, or its sender gave up with RST or FIN.
        "S0" | "RSTOS0" | "SH" => Outcome::Unanswered,
        "REJ" => Outcome::Refused,
        "RSTO" | "RSTR" => Outcome::Reset,
        // RSTRH, SHR, OTH: no SYN was seen, so the beginning is not known.
        _ => Outcome::Unknown,
    }
}

/// `ts`: seconds, or as JSON writers are told also RFC 3339 or milliseconds (`JSON::TS_MILLIS`).
fn time(raw: &str) -> Option<Timestamp> {
    fields::epoch(raw).or_else(|| millis(raw)).or_else(|| fields::date_time(raw))
}

/// Milliseconds with or without decimals, if they are so many that a moment of as many seconds could not be told.
fn millis(raw: &str) -> Option<Timestamp> {
    let (whole, fraction) = raw.split_once('.').unwrap_or((raw, "0"));
    let millis: i64 = whole.parse().ok()?;
    if millis <= i64::MAX / NANOS_PER_SEC || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part: i64 = fraction
        .bytes()
        .take(6)
        .zip([100_000, 10_000, 1000, 100, 10, 1])
        .map(|(b, scale)| i64::from(b - b'0') * scale)
        .sum();
    Some(Timestamp::from_nanos(millis.checked_mul(1_000_000)?.checked_add(part)?))
}

/// A count. Table programs write whole numbers with a decimal where a column has gaps.
fn count(raw: &str) -> Option<u64> {
    fields::count(whole(raw))
}

fn whole(raw: &str) -> &str {
    raw.strip_suffix(".0").unwrap_or(raw)
}

/// Resolves `\xNN` and `\\`. What is no text then (a name in raw bytes) stays as Zeek wrote it, which is as telling.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, next)) = rest.split_first() {
        let (byte, next) = match (byte, next) {
            (b'\\', [b'\\', next @ ..]) => (b'\\', next),
            (b'\\', [b'x', high, low, next @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, next),
                _ => (byte, rest.get(1..).unwrap_or_default()),
            },
            _ => (byte, next),
        };
        bytes.push(byte);
        rest = next;
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(raw), Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
