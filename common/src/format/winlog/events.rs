//! What the events mean: texts of one event in, one row out. Both forms, JSON and EVTX, come through here.
//!
//! Times: Sysmon's `UtcTime` is when it happened, to the millisecond and in UTC. Security events have only the time of the
//! event log, and `NXLog` writes that in the local time of the collector; see [`system_time`].

use std::net::SocketAddr;

use super::texts::{Slot, Texts};
use crate::format::fields;
use crate::format::row::{Addresses, Cause, ConnectionRow, DnsRow, Kind, ProcessRow, Row, RowError, RowSink};
use crate::net::{FiveTuple, Transport};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// How much later than they happened connections of the filtering platform are taken up, in nanoseconds: Sysmon tells of the
/// same connection with the process as it calls itself, and must come first. Both are written within a second of the
/// connect; the event log's time may lie half a second before Sysmon's and has no fraction in some exports.
pub const FILTER_DELAY: i64 = 2 * NANOS_PER_SEC;

/// Offsets of time zones are multiples of this, in nanoseconds.
const ZONE_STEP: i64 = 15 * 60 * NANOS_PER_SEC;

/// The events that are read.
const WANTED: [u32; 6] = [1, 3, 22, 4688, 5156, 5158];

/// Whether events of this number may be of use.
pub(in crate::format) fn wanted(id: &str) -> bool {
    fields::count(id).is_some_and(|id| WANTED.iter().any(|&wanted| u64::from(wanted) == id))
}

/// Who wrote the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Sysmon,
    Security,
    Another,
}

fn writer(texts: &Texts) -> Writer {
    let has = |text: &str, part: &str| {
        text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
    };
    let told = [texts.told(Slot::Provider), texts.told(Slot::Channel)];
    for text in told {
        if has(text, "sysmon") {
            return Writer::Sysmon;
        }
        if has(text, "Security-Auditing") || text.eq_ignore_ascii_case("Security") {
            return Writer::Security;
        }
    }
    if told.iter().any(|text| !text.is_empty()) {
        return Writer::Another;
    }
    // An export without either: its fields tell.
    if !texts.told(Slot::UtcTime).is_empty() && !texts.told(Slot::Guid).is_empty() {
        Writer::Sysmon
    } else {
        Writer::Security
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Told {
    /// A row, or an error in its place.
    Row,
    /// An event that is read, but says nothing that is followed: inbound, a bind, a protocol without connections.
    Unused,
    /// Another event.
    Nothing,
}

/// Makes the row.
pub(in crate::format) fn tell(texts: &mut Texts, sink: &mut dyn RowSink) -> Told {
    let id = [Slot::Id, Slot::EcsId].into_iter().find_map(|slot| fields::count(texts.get(slot)));
    let Some(id) = id else { return Told::Nothing };
    let writer = writer(texts);
    if writer == Writer::Sysmon && !texts.get(Slot::EcsId).is_empty() {
        // Before ECS, `user` was the account that the event log ran under.
        texts.compose_user(Slot::EcsUser, Slot::EcsDomain);
    } else if id == 4688 {
        // A process that is started for another account says so in the target.
        texts.compose_user(Slot::TargetUser, Slot::TargetDomain);
        texts.compose_user(Slot::SubjectUser, Slot::SubjectDomain);
    }
    let row = match (writer, id) {
        (Writer::Sysmon, 1) => started(texts),
        (Writer::Sysmon, 3) => connection(texts),
        (Writer::Sysmon, 22) => dns(texts),
        (Writer::Security, 5156) => permitted(texts),
        (Writer::Security, 4688) => created(texts),
        (Writer::Security, 5158) => return Told::Unused,
        _ => return Told::Nothing,
    };
    match row {
        Ok(Some(row)) => sink.row(&row),
        Ok(None) => return Told::Unused,
        Err(error) => sink.bad(error),
    }
    Told::Row
}

type Outcomes<'a> = Result<Option<Row<'a>>, RowError>;

/// Sysmon 1.
fn started(texts: &Texts) -> Outcomes<'_> {
    let time = sysmon_time(texts)?;
    Ok(Some(Row {
        time,
        host: texts.told(Slot::Host),
        process: Some(ProcessRow { start: Some(time), ..process(texts)? }),
        kind: Kind::Started,
        hunted: None,
    }))
}

/// Sysmon 3. `DestinationHostname` is left out: Sysmon asks for it by reverse look-up of the address, so it is a name that
/// the address goes by and not one that the program asked for; taken for the latter, `ec2-…amazonaws.com` would excuse an
/// implant, and two callbacks to one server could go by different names.
fn connection(texts: &Texts) -> Outcomes<'_> {
    if !outbound(texts, "Initiated")? {
        return Ok(None);
    }
    let Some(tuple) = tuple(texts, ["SourceIp", "SourcePort", "DestinationIp", "DestinationPort"])? else {
        return Ok(None);
    };
    let start = sysmon_time(texts)?;
    Ok(Some(Row {
        time: start,
        host: texts.told(Slot::Host),
        process: Some(process(texts)?),
        kind: Kind::Connection(ConnectionRow::of_host(tuple, start)),
        hunted: None,
    }))
}

/// Sysmon 22. The type of the query is not in the event: taken to be A, unless the answer can only be another's.
fn dns(texts: &Texts) -> Outcomes<'_> {
    let start = sysmon_time(texts)?;
    let query = texts.told(Slot::QueryName);
    if query.is_empty() {
        return Err(RowError::field(Cause::Missing, "QueryName", ""));
    }
    let (addresses, query_type) = answer(texts.told(Slot::QueryResults));
    Ok(Some(Row {
        time: start,
        host: texts.told(Slot::Host),
        process: Some(process(texts)?),
        kind: Kind::Dns(DnsRow {
            client: None,
            resolver: None,
            start,
            query,
            query_type,
            response_code: response_code(texts.told(Slot::QueryStatus)),
            addresses,
            ttl_secs: 0,
            opener_is_local: Some(true),
        }),
        hunted: None,
    }))
}

/// Addresses of `type:  5 edge.example.net;::ffff:192.0.2.7;`, and the type that was asked for.
pub(crate) fn answer(results: &str) -> (Addresses, u16) {
    const A: u16 = 1;
    const CNAME: u16 = 5;
    const AAAA: u16 = 28;
    let (mut addresses, mut other) = (Addresses::default(), None);
    let (mut v4, mut v6) = (false, false);
    for part in results.split(';') {
        let part = part.trim();
        if let Some(record) = part.strip_prefix("type:") {
            let number = record.split_ascii_whitespace().next().and_then(fields::port);
            other = other.or(number.filter(|&number| number != CNAME));
        } else if let Some(ip) = fields::address(part) {
            // An A record is written as IPv4 in IPv6.
            *(if ip.is_ipv4() { &mut v4 } else { &mut v6 }) = true;
            addresses.push(ip);
        }
    }
    let query_type = match (v4, v6) {
        (true, _) => A,
        (false, true) => AAAA,
        (false, false) => other.unwrap_or(A),
    };
    (addresses, query_type)
}

/// Windows' status of a query as the response code of its answer (winerror.h: `DNS_ERROR_RCODE_*` is 9000 + code);
/// `None` where no server answered (1460 is a timeout) or the query was none.
fn response_code(status: &str) -> Option<u16> {
    // Winlogbeat's Sysmon module writes the names of winerror.h.
    let status = match status {
        "SUCCESS" => 0,
        "DNS_ERROR_RCODE_FORMAT_ERROR" => 9001,
        "DNS_ERROR_RCODE_SERVER_FAILURE" => 9002,
        "DNS_ERROR_RCODE_NAME_ERROR" => 9003,
        "DNS_ERROR_RCODE_NOT_IMPLEMENTED" => 9004,
        "DNS_ERROR_RCODE_REFUSED" => 9005,
        "DNS_INFO_NO_RECORDS" => 9501,
        number => fields::port(number)?,
    };
    status_code(status)
}

/// The same for a status that is a number.
pub(crate) const fn status_code(status: u16) -> Option<u16> {
    match status {
        // 9501: the name is there, but has no record of the type.
        0 | 9501 => Some(0),
        9001..=9010 => Some(status - 9000),
        _ => None,
    }
}

/// Security 5156.
fn permitted(texts: &Texts) -> Outcomes<'_> {
    if !outbound(texts, "Direction")? {
        return Ok(None);
    }
    let Some(tuple) = tuple(texts, ["SourceAddress", "SourcePort", "DestAddress", "DestPort"])? else {
        return Ok(None);
    };
    let start = system_time(texts)?;
    let image = [Slot::Application, Slot::Image].map(|slot| texts.told(slot));
    let image = image.into_iter().find(|image| !image.is_empty()).unwrap_or_default();
    Ok(Some(Row {
        time: start.plus_nanos(FILTER_DELAY),
        host: texts.told(Slot::Host),
        process: Some(ProcessRow {
            pid: pid(texts, Slot::Pid, "ProcessID")?,
            image,
            ..ProcessRow::default()
        }),
        kind: Kind::Connection(ConnectionRow::of_host(tuple, start)),
        hunted: None,
    }))
}

/// Security 4688. `ProcessId` is the creator's.
fn created(texts: &Texts) -> Outcomes<'_> {
    let time = system_time(texts)?;
    Ok(Some(Row {
        time,
        host: texts.told(Slot::Host),
        process: Some(ProcessRow {
            pid: pid(texts, Slot::NewPid, "NewProcessId")?,
            start: Some(time),
            image: texts.told(Slot::NewImage),
            command_line: texts.told(Slot::CommandLine),
            parent_image: texts.told(Slot::ParentImage),
            user: texts.told(Slot::User),
            ..ProcessRow::default()
        }),
        kind: Kind::Started,
        hunted: None,
    }))
}

/// The process of a Sysmon event.
fn process(texts: &Texts) -> Result<ProcessRow<'_>, RowError> {
    let guid = texts.told(Slot::Guid);
    let sha256 = match texts.told(Slot::Sha256) {
        "" => sha256(texts.told(Slot::Hashes)),
        told => told,
    };
    Ok(ProcessRow {
        pid: pid(texts, Slot::Pid, "ProcessId")?,
        start: guid_start(guid),
        guid,
        image: texts.told(Slot::Image),
        command_line: texts.told(Slot::CommandLine),
        sha256,
        parent_image: texts.told(Slot::ParentImage),
        user: texts.told(Slot::User),
        signed: None,
    })
}

/// `SHA1=…,MD5=…,SHA256=…,IMPHASH=…`
fn sha256(hashes: &str) -> &str {
    let pairs = hashes.split(',').filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(|(name, _)| name.eq_ignore_ascii_case("SHA256"))
        .map(|(_, hash)| hash)
        .next()
        .unwrap_or_default()
}

/// When the process of a Sysmon GUID started, to the second: `{297bc33e-65d0-5f2d-8207-…}` holds the machine, then the Unix
/// seconds 0x5f2d65d0, low half first. In the 324 process creations of eight OTRF sets (Sysmon 9 to 14, 2019 to 2023) the
/// creation's `UtcTime` is 0 to 0.987 s later. Zeros stand for processes that Sysmon did not see start.
fn guid_start(guid: &str) -> Option<Timestamp> {
    let mut parts = guid.trim_start_matches('{').split('-').skip(1);
    let mut half =
        || parts.next().filter(|part| part.len() == 4).and_then(|part| i64::from_str_radix(part, 16).ok());
    let (low, high) = (half()?, half()?);
    let secs = high << 16 | low;
    (secs > 0).then(|| Timestamp::from_secs_nanos(secs, 0))
}

/// A process id, decimal or as `0x1968`. An event without one has 0.
fn pid(texts: &Texts, slot: Slot, name: &str) -> Result<u32, RowError> {
    let text = texts.told(slot);
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.is_empty() => Some(0),
        None => text.parse().ok(),
    };
    number.ok_or_else(|| RowError::field(Cause::Number, name, text))
}

/// Whether the host opened the connection.
fn outbound(texts: &Texts, name: &str) -> Result<bool, RowError> {
    // %%14592 and %%14593 are the message-table entries "Inbound" and "Outbound" of the Security log.
    const OUT: [&str; 5] = ["true", "1", "%%14593", "outbound", "egress"];
    const IN: [&str; 5] = ["false", "0", "%%14592", "inbound", "ingress"];
    let text = texts.told(Slot::Direction);
    let is = |list: [&str; 5]| list.iter().any(|word| word.eq_ignore_ascii_case(text));
    match text {
        "" => Err(RowError::field(Cause::Missing, name, "")),
        _ if is(OUT) => Ok(true),
        // Other directions (forwarded, of both ways) are not the host's own calls.
        _ if is(IN) || text.starts_with("%%") => Ok(false),
        _ => Err(RowError::field(Cause::Missing, name, text)),
    }
}

/// The five-tuple, from the host's side; `None` for protocols that have no connections.
fn tuple(texts: &Texts, names: [&str; 4]) -> Result<Option<FiveTuple>, RowError> {
    let protocol = texts.told(Slot::Protocol);
    let is = |list: &[&str]| list.iter().any(|word| word.eq_ignore_ascii_case(protocol));
    let transport = match protocol {
        "" => return Err(RowError::field(Cause::Missing, "Protocol", "")),
        _ if is(&["tcp", "6"]) => Transport::Tcp,
        _ if is(&["udp", "17"]) => Transport::Udp,
        _ if is(&["icmp", "1", "ipv6-icmp", "icmpv6", "58"]) => Transport::Icmp,
        _ => return Ok(None),
    };
    let [source_ip, source_port, destination_ip, destination_port] = names;
    let end = |ip: Slot, ip_name: &str, port: Slot, port_name: &str| {
        let text = texts.told(ip);
        let cause = if text.is_empty() { Cause::Missing } else { Cause::Address };
        let ip = fields::address(text).ok_or_else(|| RowError::field(cause, ip_name, text))?;
        if transport == Transport::Icmp {
            return Ok(SocketAddr::new(ip, 0));
        }
        let text = texts.told(port);
        let cause = if text.is_empty() { Cause::Missing } else { Cause::Port };
        let port = fields::port(text).ok_or_else(|| RowError::field(cause, port_name, text))?;
        Ok(SocketAddr::new(ip, port))
    };
    Ok(Some(FiveTuple {
        transport,
        local: end(Slot::SourceIp, source_ip, Slot::SourcePort, source_port)?,
        remote: end(Slot::DestinationIp, destination_ip, Slot::DestinationPort, destination_port)?,
    }))
}

/// When it happened, by Sysmon; by the event log, where an exporter has moved `UtcTime` there.
fn sysmon_time(texts: &Texts) -> Result<Timestamp, RowError> {
    match texts.told(Slot::UtcTime) {
        "" => system_time(texts),
        text => fields::date_time(text).ok_or_else(|| RowError::field(Cause::Time, "UtcTime", text)),
    }
}

/// When the event log says that it happened.
///
/// `TimeCreated` is that. Beats puts it into `@timestamp`. `NXLog`'s flat form has instead `EventTime` and
/// `EventReceivedTime`, both in the local time of the collector, and in `@timestamp`, where Logstash stands behind it, when it
/// was collected in UTC: the zone is what lies between the last two (between `EventTime` and `@timestamp`, where there is
/// no more), rounded to a quarter of an hour; without `@timestamp`, `EventTime` is taken for UTC.
fn system_time(texts: &Texts) -> Result<Timestamp, RowError> {
    let read = |slot: Slot, name: &str| match texts.told(slot) {
        "" => Ok(None),
        text => moment(text).map(Some).ok_or_else(|| RowError::field(Cause::Time, name, text)),
    };
    if let Some(time) = read(Slot::Created, "TimeCreated")? {
        return Ok(time);
    }
    let stamp = read(Slot::Stamp, "@timestamp")?;
    let Some(local) = read(Slot::EventTime, "EventTime")? else {
        return stamp.ok_or_else(|| RowError::field(Cause::Missing, "TimeCreated", ""));
    };
    let Some(stamp) = stamp else { return Ok(local) };
    let same_moment = read(Slot::Received, "EventReceivedTime")?.unwrap_or(local);
    let zone = stamp.since(same_moment).saturating_add(ZONE_STEP / 2).div_euclid(ZONE_STEP) * ZONE_STEP;
    Ok(local.plus_nanos(zone))
}

/// A date and time, seconds since the epoch (Velociraptor), or `/Date(ms)/` (PowerShell 5).
fn moment(text: &str) -> Option<Timestamp> {
    if let Some(inner) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) {
        let millis: i64 = inner.parse().ok()?;
        return Some(Timestamp::from_nanos(millis.checked_mul(1_000_000)?));
    }
    fields::date_time(text).or_else(|| fields::epoch(text))
}
