//! Suricata's event log (EVE), one JSON object a line: `flow`, `tls`, `quic`, `http` and `dns` events of versions 3 to 8
//! become rows. It holds no flow and pairs no question with its answer: [`crate::format::row`] says who joins rows.

mod dns;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use super::flat::{self, Place};
use super::row::{
    ATTRIBUTES_LEAD, AttributesRow, Cause, ConnectionRow, ExchangeRow, Kind, Row, RowError, RowSink, Said,
};
use super::{fields, http_said};
use crate::event::{AppProtocol, Outcome};
use crate::net::{FiveTuple, Transport};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Reads EVE events. It has no state: each event says what it is.
///
/// - `flow`: the connection, opened by `src_ip`. Suricata counts frames with all their headers, so `ip_bytes_out` is
///   some 14 bytes a packet more than IP has (what is in front of IP is not told, so nothing is taken off), and payload
///   bytes are not known. `netflow` tells each direction apart and is passed over: the same connections are in `flow`.
/// - `tls`, `quic`: names and fingerprints of a flow. `http`: the same for the first transaction of a flow; each later one
///   is an exchange. Suricata logs a transaction when it is over.
/// - `dns`: the answer alone (`answer`, `response`), since it repeats the question: so a question with its answer counts
///   once, without memory. Questions that nobody answers are not seen. Version 1 writes one event for each record of an
///   answer, named after the record's owner: each is a row.
///
/// All other events, IP protocols and ICMP types are [`Kind::Other`].
#[derive(Clone, Debug, Default)]
pub struct Eve;

impl Eve {
    /// A reader.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Reads one line, which is one event; an empty one is nothing.
    pub fn record(&mut self, line: &[u8], sink: &mut dyn RowSink) {
        flat::line(line, place, sink, read);
    }

    /// Whether a file that begins so is one for this reader: an object with the keys that all events share.
    #[must_use]
    pub fn recognises(head: &[u8]) -> bool {
        // Events of a flow have its id and addresses; a file may begin with one that is about Suricata itself.
        let one = ["\"flow_id\"", "\"src_ip\"", "\"stats\"", "\"engine\""];
        flat::begins_with_keys(head, &["\"timestamp\"", "\"event_type\""], &one)
    }
}

/// The keys that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Field {
    Timestamp,
    EventType,
    FlowId,
    SrcIp,
    SrcPort,
    DestIp,
    DestPort,
    Proto,
    IcmpType,
    AppProto,
    TxId,
    FlowStart,
    FlowEnd,
    FlowState,
    PktsToClient,
    BytesToServer,
    FlagsToServer,
    FlagsToClient,
    TlsSni,
    TlsVersion,
    TlsJa4,
    TlsFingerprint,
    HttpHost,
    HttpUrl,
    HttpAgent,
    HttpMethod,
    HttpLength,
    DnsType,
    DnsVersion,
    DnsName,
    DnsKind,
    DnsCode,
    DnsData,
    DnsTtl,
    DnsQueries,
    DnsAnswers,
    DnsGrouped,
}

/// How many fields there are.
const FIELDS: usize = Field::DnsGrouped as usize + 1;

/// Groups of keys: the object itself is 0.
const FLOW: u8 = 1;
const TCP: u8 = 2;
const TLS: u8 = 3;
const HTTP: u8 = 4;
const DNS: u8 = 5;

fn place(group: u8, key: &str) -> Place {
    use Field as F;
    let field = match (group, key) {
        (0, "timestamp") => F::Timestamp,
        (0, "event_type") => F::EventType,
        (0, "flow_id") => F::FlowId,
        (0, "src_ip") => F::SrcIp,
        (0, "src_port") => F::SrcPort,
        (0, "dest_ip") => F::DestIp,
        (0, "dest_port") => F::DestPort,
        (0, "proto") => F::Proto,
        (0, "icmp_type") => F::IcmpType,
        (0, "app_proto") => F::AppProto,
        (0, "tx_id") => F::TxId,
        (0, "flow") => return Place::Inside(FLOW),
        (0, "tcp") => return Place::Inside(TCP),
        (0, "tls" | "quic") => return Place::Inside(TLS),
        (0, "http") => return Place::Inside(HTTP),
        (0, "dns") => return Place::Inside(DNS),
        (FLOW, "start") => F::FlowStart,
        (FLOW, "end") => F::FlowEnd,
        (FLOW, "state") => F::FlowState,
        (FLOW, "pkts_toclient") => F::PktsToClient,
        (FLOW, "bytes_toserver") => F::BytesToServer,
        (TCP, "tcp_flags_ts") => F::FlagsToServer,
        (TCP, "tcp_flags_tc") => F::FlagsToClient,
        (TLS, "sni") => F::TlsSni,
        (TLS, "version") => F::TlsVersion,
        (TLS, "ja4") => F::TlsJa4,
        (TLS, "fingerprint") => F::TlsFingerprint,
        (HTTP, "hostname") => F::HttpHost,
        (HTTP, "url") => F::HttpUrl,
        (HTTP, "http_user_agent") => F::HttpAgent,
        (HTTP, "http_method") => F::HttpMethod,
        (HTTP, "length") => F::HttpLength,
        (DNS, "type") => F::DnsType,
        (DNS, "version") => F::DnsVersion,
        (DNS, "rrname") => F::DnsName,
        (DNS, "rrtype") => F::DnsKind,
        (DNS, "rcode") => F::DnsCode,
        (DNS, "rdata") => F::DnsData,
        (DNS, "ttl") => F::DnsTtl,
        (DNS, "queries") => F::DnsQueries,
        (DNS, "answers") => F::DnsAnswers,
        (DNS, "grouped") => F::DnsGrouped,
        _ => return Place::Skip,
    };
    Place::Slot(field as usize)
}

fn read(fields: [&str; FIELDS], sink: &mut dyn RowSink) {
    let event = Event { fields };
    let done = match event.get(Field::EventType) {
        "" => Err(RowError::field(Cause::Missing, "event_type", "")),
        "flow" => event.flow(sink),
        "tls" => event.tls(AppProtocol::Tls, sink),
        "quic" => event.tls(AppProtocol::Quic, sink),
        "http" => event.http(sink),
        "dns" => event.dns(sink),
        _ => event.other(sink),
    };
    if let Err(error) = done {
        sink.bad(error);
    }
}

/// The raw values of one event.
struct Event<'a> {
    fields: [&'a str; FIELDS],
}

impl<'a> Event<'a> {
    fn raw(&self, field: Field) -> &'a str {
        self.fields.get(field as usize).copied().unwrap_or_default()
    }

    fn get(&self, field: Field) -> &'a str {
        flat::scalar(self.raw(field))
    }

    fn time(&self, field: Field, name: &str) -> Result<Timestamp, RowError> {
        match self.get(field) {
            "" => Err(RowError::field(Cause::Missing, name, "")),
            raw => time(raw).ok_or_else(|| RowError::field(Cause::Time, name, raw)),
        }
    }

    fn timestamp(&self) -> Result<Timestamp, RowError> {
        self.time(Field::Timestamp, "timestamp")
    }

    fn count(&self, field: Field, name: &str) -> Result<Option<u64>, RowError> {
        match self.get(field) {
            "" => Ok(None),
            raw => match fields::count(raw) {
                Some(count) => Ok(Some(count)),
                None => Err(RowError::field(Cause::Number, name, raw)),
            },
        }
    }

    /// Both ends; without ports where the protocol has none.
    fn ends(&self, ports: bool) -> Result<(SocketAddr, SocketAddr), RowError> {
        let end = |host, host_name, port, port_name| -> Result<SocketAddr, RowError> {
            let ip = match self.get(host) {
                "" => return Err(RowError::field(Cause::Missing, host_name, "")),
                raw => fields::address(raw).ok_or_else(|| RowError::field(Cause::Address, host_name, raw))?,
            };
            let port = match self.get(port) {
                _ if !ports => 0,
                "" => return Err(RowError::field(Cause::Missing, port_name, "")),
                raw => fields::port(raw).ok_or_else(|| RowError::field(Cause::Port, port_name, raw))?,
            };
            Ok((ip, port).into())
        };
        Ok((
            end(Field::SrcIp, "src_ip", Field::SrcPort, "src_port")?,
            end(Field::DestIp, "dest_ip", Field::DestPort, "dest_port")?,
        ))
    }

    fn other(&self, sink: &mut dyn RowSink) -> Result<(), RowError> {
        sink.row(&Row { time: self.timestamp()?, ..Row::default() });
        Ok(())
    }

    fn flow(&self, sink: &mut dyn RowSink) -> Result<(), RowError> {
        let transport = match self.get(Field::Proto) {
            "" => return Err(RowError::field(Cause::Missing, "proto", "")),
            "TCP" => Transport::Tcp,
            "UDP" => Transport::Udp,
            // Of ICMP, only an echo request is somebody calling.
            "ICMP" if self.get(Field::IcmpType) == "8" => Transport::Icmp,
            "IPv6-ICMP" if self.get(Field::IcmpType) == "128" => Transport::Icmp,
            _ => return self.other(sink),
        };
        let (local, remote) = self.ends(transport != Transport::Icmp)?;
        let start = self.time(Field::FlowStart, "flow.start")?;
        let end = match self.get(Field::FlowEnd) {
            "" => None,
            _ => Some(self.time(Field::FlowEnd, "flow.end")?),
        };
        let protocol = match self.get(Field::AppProto) {
            "tls" => AppProtocol::Tls,
            "quic" => AppProtocol::Quic,
            "http" | "http1" | "http2" => AppProtocol::Http,
            "ssh" => AppProtocol::Ssh,
            _ => AppProtocol::Unknown,
        };
        let connection = ConnectionRow {
            uid: self.get(Field::FlowId),
            tuple: FiveTuple { transport, local, remote },
            start,
            duration: end.map(|end| end.since(start)).filter(|&nanos| nanos >= 0),
            bytes_out: None,
            bytes_in: None,
            ip_bytes_out: self.count(Field::BytesToServer, "flow.bytes_toserver")?,
            outcome: self.outcome(transport)?,
            opener_is_local: None,
            said: Said { protocol, ..Said::default() },
        };
        sink.row(&Row { time: start, kind: Kind::Connection(connection), ..Row::default() });
        Ok(())
    }

    /// From the TCP flags that each side sent, else from whether anything came back.
    fn outcome(&self, transport: Transport) -> Result<Outcome, RowError> {
        /// TCP header flags (RFC 9293 section 3.1).
        const FIN: u8 = 1;
        const SYN: u8 = 2;
        const RST: u8 = 4;
        let answered = self.count(Field::PktsToClient, "flow.pkts_toclient")?.map(|packets| packets > 0);
        let flags = |field| u8::from_str_radix(self.get(field), 16).ok();
        let flags = (flags(Field::FlagsToServer), flags(Field::FlagsToClient));
        Ok(match (transport, flags) {
            // The beginning was not seen.
            (Transport::Tcp, (Some(sent), Some(_))) if sent & SYN == 0 => Outcome::Unknown,
            (Transport::Tcp, (Some(sent), Some(received))) if received & SYN != 0 => {
                // A reset behind an orderly close is how some clients save the wait.
                let (reset, closed) = ((sent | received) & RST != 0, sent & received & FIN != 0);
                if reset && !closed { Outcome::Reset } else { Outcome::Established }
            }
            (Transport::Tcp, (Some(_), Some(received))) if received & RST != 0 => Outcome::Refused,
            (Transport::Tcp, (Some(_), Some(0))) => Outcome::Unanswered,
            (Transport::Tcp, (Some(_), Some(_))) => Outcome::Unknown,
            _ => match (self.get(Field::FlowState), answered) {
                (_, Some(false)) => Outcome::Unanswered,
                // One side's SYN and something back that did not make it a connection.
                ("new", Some(true)) if transport == Transport::Tcp => Outcome::Unknown,
                (_, Some(true)) | ("established" | "closed", None) => Outcome::Established,
                (_, None) => Outcome::Unknown,
            },
        })
    }

    fn tls(&self, protocol: AppProtocol, sink: &mut dyn RowSink) -> Result<(), RowError> {
        // Over datagrams: media and tunnels, not what TLS stands for here.
        let datagrams = protocol == AppProtocol::Tls && self.get(Field::TlsVersion).starts_with("DTLS");
        let protocol = if datagrams { AppProtocol::Unknown } else { protocol };
        let (sni, ja4) = (flat::text(self.raw(Field::TlsSni)), flat::text(self.raw(Field::TlsJa4)));
        // SHA-1 of the server's certificate.
        let certificate_sha1 = self.get(Field::TlsFingerprint);
        self.attributes(Said { sni: &sni, ja4: &ja4, certificate_sha1, protocol, ..Said::default() }, sink)
    }

    fn http(&self, sink: &mut dyn RowSink) -> Result<(), RowError> {
        let text = |field| flat::text(self.raw(field));
        let (host, url, agent) = (text(Field::HttpHost), text(Field::HttpUrl), text(Field::HttpAgent));
        let said = http_said::said(self.get(Field::HttpMethod), &url, &host, &agent);
        if self.count(Field::TxId, "tx_id")?.is_none_or(|transaction| transaction == 0) {
            return self.attributes(said, sink);
        }
        let (local, remote) = self.ends(true)?;
        let exchange = ExchangeRow {
            uid: self.get(Field::FlowId),
            tuple: FiveTuple { transport: Transport::Tcp, local, remote },
            // Of bodies, Suricata counts the answer's.
            bytes_out: 0,
            bytes_in: self.count(Field::HttpLength, "http.length")?.unwrap_or(0),
            opener_is_local: None,
            said,
        };
        sink.row(&Row { time: self.timestamp()?, kind: Kind::Exchange(exchange), ..Row::default() });
        Ok(())
    }

    fn attributes(&self, said: Said<'_>, sink: &mut dyn RowSink) -> Result<(), RowError> {
        let time = self.timestamp()?.plus_nanos(-ATTRIBUTES_LEAD);
        let client = fields::address(self.get(Field::SrcIp));
        let attributes = AttributesRow { uid: self.get(Field::FlowId), client, said };
        sink.row(&Row { time, kind: Kind::Attributes(attributes), ..Row::default() });
        Ok(())
    }
}

/// A time as Suricata writes it, with an offset without colon (`2024-01-01T10:00:00.123456+0000`), or any other date.
fn time(raw: &str) -> Option<Timestamp> {
    if let Some((date, offset)) = raw.len().checked_sub(5).and_then(|at| raw.split_at_checked(at))
        && let Some(minutes) = offset_minutes(offset)
        && let Some(time) = fields::date_time(date)
    {
        return Some(time.plus_nanos(-minutes * 60 * NANOS_PER_SEC));
    }
    fields::date_time(raw)
}

/// `+hhmm` or `-hhmm`.
fn offset_minutes(text: &str) -> Option<i64> {
    let &[sign @ (b'+' | b'-'), h1, h2, m1, m2] = text.as_bytes() else { return None };
    let digit = |b: u8| b.is_ascii_digit().then(|| i64::from(b - b'0'));
    let minutes = (digit(h1)? * 10 + digit(h2)?) * 60 + digit(m1)? * 10 + digit(m2)?;
    Some(if sign == b'-' { -minutes } else { minutes })
}
