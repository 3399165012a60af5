//! Microsoft Defender's `DeviceNetworkEvents` (and the DNS rows of `DeviceEvents`): rows of a table, whichever way they were
//! exported. [`DefenderCsv`] and [`DefenderJson`] find the columns; what a row means is decided here, once for both.
//!
//! Which actions are connections of this host follows Microsoft's descriptions of the action types:
//! - `ConnectionSuccess`, `ConnectionFailed` and `ConnectionRequest` are connections.
//! - What network inspection saw go out (`Ssl…`, `Http…`, `SshConnectionInspected`) tells of the same connections what their
//!   clients said. Nothing but the five-tuple joins it with them, so it is a connection too, without bytes or process, for
//!   the assembler to fold into its twin. A second request inside a connection is an exchange.
//! - `DnsConnectionInspected` that went out and `DnsQueryResponse` are DNS queries.
//! - All else is [`Kind::Other`]: what comes in (`ConnectionAttempt` and `ConnectionAcknowledged` are SYN and SYN-ACK of
//!   devices without a sensor, seen by this one), and what keeps the sensor's own time instead of the program's
//!   (`ConnectionFound`, the hourly `…AggregatedReport`s).

mod additional;
mod clock;
mod columns;
mod csv;
mod json;
mod raw;
#[cfg(test)]
mod tests;

pub use csv::DefenderCsv;
pub(super) use csv::{Form, cells, separator_line, unquote, without_end, without_mark};
pub use json::DefenderJson;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use additional::{Additional, Answers, Key};
use columns::{Cells, Column, empty};

use super::fields;
use super::row::{
    Cause, ConnectionRow, DnsRow, ExchangeRow, Hunted, Kind, ProcessRow, Row, RowError, RowSink, Said,
};
use crate::event::{AppProtocol, Outcome};
use crate::net::{FiveTuple, Transport};
use crate::time::Timestamp;

/// What a reader writes texts into that stand nowhere as they are needed.
#[derive(Clone, Debug, Default)]
struct Buffers {
    /// Path and account, put together.
    joined: String,
    /// What `AdditionalFields` had to escape.
    additional: String,
}

/// What an action is to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Success,
    Failed,
    /// Of which the outcome is not told.
    Request,
    Tls,
    Http,
    Ssh,
    InspectedDns,
    ClientDns,
    Other,
}

impl Action {
    fn of(cells: &Cells<'_>) -> Self {
        const ACTIONS: [(&str, Action); 8] = [
            ("ConnectionSuccess", Action::Success),
            ("ConnectionFailed", Action::Failed),
            ("ConnectionRequest", Action::Request),
            ("SslConnectionInspected", Action::Tls),
            ("HttpConnectionInspected", Action::Http),
            ("SshConnectionInspected", Action::Ssh),
            ("DnsConnectionInspected", Action::InspectedDns),
            ("DnsQueryResponse", Action::ClientDns),
        ];
        if !cells.present.has(Column::ActionType) {
            // An export that left the column out was filtered by it, most likely to connections.
            return Self::Request;
        }
        let text = cells.get(Column::ActionType).trim_ascii();
        ACTIONS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map_or(Self::Other, |&(_, action)| action)
    }
}

/// Where a row comes from, where that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Network,
    Events,
    /// Another table of Defender, as streams mix them.
    Foreign,
    Untold,
}

impl Table {
    fn of(cells: &Cells<'_>) -> Self {
        let text = cells.get(Column::Table).trim_ascii();
        let begins = |text: &str, with: &str| {
            text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        const STREAMED: &str = "AdvancedHunting-";
        let (streamed, name) = match text.get(STREAMED.len()..) {
            Some(name) if begins(text, STREAMED) => (true, name),
            _ => (false, text),
        };
        if begins(name, "DeviceNetworkEvents") {
            Self::Network
        } else if begins(name, "DeviceEvents") {
            Self::Events
        } else if streamed || begins(name, "Device") {
            Self::Foreign
        } else {
            Self::Untold
        }
    }
}

/// Hands out the row that the columns tell of.
///
/// An address or port that cannot be read makes no connection, but no bad row either: the hunting rule takes both as texts.
fn emit(cells: &Cells<'_>, buffers: &mut Buffers, sink: &mut dyn RowSink) -> Result<(), RowError> {
    let time = time(cells)?;
    let table = Table::of(cells);
    let action = if table == Table::Foreign { Action::Other } else { Action::of(cells) };
    let of_network = match table {
        Table::Network => true,
        Table::Events | Table::Foreign => false,
        Table::Untold => cells.present.may_be_network() && action != Action::ClientDns,
    };
    let hunted = of_network.then(|| hunted(cells));
    let mut row = Row { time, host: cells.get(Column::DeviceName), hunted, ..Row::default() };
    if action != Action::Other {
        empty(&mut buffers.additional);
        row.kind = kind(action, cells, time, &mut buffers.additional);
    }
    if row.kind != Kind::Other {
        empty(&mut buffers.joined);
        row.process = process(cells, &mut buffers.joined);
    }
    sink.row(&row);
    Ok(())
}

fn time(cells: &Cells<'_>) -> Result<Timestamp, RowError> {
    // A workspace keeps both, and only the first is when it happened.
    let column = match cells.get(Column::Timestamp) {
        "" => Column::TimeGenerated,
        _ => Column::Timestamp,
    };
    match cells.get(column) {
        "" => Err(RowError::field(Cause::Missing, Column::Timestamp.name(), "")),
        text => clock::read(text).ok_or_else(|| RowError::field(Cause::Time, column.name(), text)),
    }
}

fn hunted<'a>(cells: &Cells<'a>) -> Hunted<'a> {
    let account =
        if cells.present.has(Column::AccountName) { Column::AccountName } else { Column::ProcessAccountName };
    Hunted {
        device_name: cells.get(Column::DeviceName),
        account_name: cells.get(account),
        action_type: cells.get(Column::ActionType),
        remote_ip: cells.get(Column::RemoteIp),
        remote_ip_type: cells.get(Column::RemoteIpType),
        remote_url: cells.get(Column::RemoteUrl),
        remote_port: number(cells.get(Column::RemotePort)),
        process_name: cells.get(Column::ProcessFileName),
    }
}

/// A whole number, also as a spreadsheet or data frame that took it for a float writes it (`443.0`).
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let text = text.trim_ascii();
    text.strip_suffix(".0").unwrap_or(text).parse().ok()
}

fn kind<'a>(action: Action, cells: &Cells<'a>, time: Timestamp, kept: &'a mut String) -> Kind<'a> {
    let said = cells.get(Column::AdditionalFields);
    if action == Action::ClientDns {
        return client_query(&Additional::read(said, kept), time);
    }
    let Some(tuple) = tuple(cells) else { return Kind::Other };
    match action {
        Action::Success => connection(tuple, time, Outcome::Established, named(cells)),
        Action::Failed => connection(tuple, time, failure(said), named(cells)),
        Action::Request => connection(tuple, time, Outcome::Unknown, named(cells)),
        Action::Tls | Action::Http | Action::Ssh | Action::InspectedDns => {
            let additional = Additional::read(said, kept);
            if !additional.is_outgoing() {
                return Kind::Other;
            }
            match action {
                Action::InspectedDns => inspected_query(&additional, &tuple, time),
                Action::Http => request(&additional, tuple, time, named(cells)),
                Action::Ssh => {
                    let said = Said { protocol: AppProtocol::Ssh, ..named(cells) };
                    connection(tuple, time, Outcome::Established, said)
                }
                _ => handshake(&additional, tuple, time, named(cells)),
            }
        }
        Action::ClientDns | Action::Other => Kind::Other,
    }
}

fn connection(tuple: FiveTuple, start: Timestamp, outcome: Outcome, said: Said<'_>) -> Kind<'_> {
    Kind::Connection(ConnectionRow { outcome, said, ..ConnectionRow::of_host(tuple, start) })
}

/// Both ends; `None` if the remote one cannot be told.
fn tuple(cells: &Cells<'_>) -> Option<FiveTuple> {
    let transport = transport(cells.get(Column::Protocol));
    let port = |column: Column| match cells.get(column).trim_ascii() {
        "" => Some(0),
        text => number(text),
    };
    let remote = fields::address(cells.get(Column::RemoteIp))?;
    let remote_port = port(Column::RemotePort)?;
    let unspecified = match remote {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let local = fields::address(cells.get(Column::LocalIp))
        .filter(|local| local.is_ipv4() == remote.is_ipv4())
        .unwrap_or(unspecified);
    let local_port = port(Column::LocalPort).unwrap_or(0);
    let ports = if transport == Transport::Icmp { (0, 0) } else { (local_port, remote_port) };
    Some(FiveTuple {
        transport,
        local: SocketAddr::new(local, ports.0),
        remote: SocketAddr::new(remote, ports.1),
    })
}

/// `Tcp`, `TcpV4`, `Udp`, `Icmp`… or its number; TCP where nothing else is said, as nearly all rows are.
fn transport(text: &str) -> Transport {
    let text = text.trim_ascii();
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    match text {
        "17" => Transport::Udp,
        "1" | "58" => Transport::Icmp,
        _ if begins("udp") => Transport::Udp,
        _ if begins("icmp") => Transport::Icmp,
        _ => Transport::Tcp,
    }
}

/// The name in `RemoteUrl`, unless it is the address again.
fn named<'a>(cells: &Cells<'a>) -> Said<'a> {
    let host = fields::url_host(cells.get(Column::RemoteUrl).trim());
    let fqdn = if host.is_empty() || fields::address(host).is_some() { "" } else { host };
    Said { fqdn, ..Said::default() }
}

/// Why a connection failed: mostly nothing is said, and then nobody answered.
fn failure(additional: &str) -> Outcome {
    // Windows error 10061 and NTSTATUS C0000236 are "connection refused".
    const REFUSED: [&str; 3] = ["refused", "10061", "c0000236"];
    let holds = |word: &str| {
        additional.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    if REFUSED.into_iter().any(holds) { Outcome::Refused } else { Outcome::Unanswered }
}

fn handshake<'a>(additional: &Additional<'a>, tuple: FiveTuple, time: Timestamp, said: Said<'a>) -> Kind<'a> {
    let broken = additional.get(Key::Established).eq_ignore_ascii_case("false");
    let said = Said {
        sni: additional.get(Key::ServerName),
        ja4: additional.get(Key::Ja4),
        protocol: AppProtocol::Tls,
        ..said
    };
    // TCP stood even where the handshake on it did not come to its end, but then the log may have begun in the middle.
    connection(tuple, time, if broken { Outcome::Unknown } else { Outcome::Established }, said)
}

fn request<'a>(additional: &Additional<'a>, tuple: FiveTuple, time: Timestamp, said: Said<'a>) -> Kind<'a> {
    let mut said = Said {
        http_host: additional.get(Key::Host),
        user_agent: additional.get(Key::UserAgent),
        protocol: AppProtocol::Http,
        ..said
    };
    if additional.get(Key::Method) == "CONNECT" {
        let target = additional.get(Key::Uri);
        said.connect_host = fields::url_host(target);
        said.connect_port = target.rsplit_once(':').and_then(|(_, port)| fields::port(port)).unwrap_or(0);
    }
    if number::<u32>(additional.get(Key::Depth)).is_some_and(|depth| depth > 1) {
        let bytes = |key| number(additional.get(key)).unwrap_or(0);
        return Kind::Exchange(ExchangeRow {
            uid: "",
            tuple,
            bytes_out: bytes(Key::RequestLen),
            bytes_in: bytes(Key::ResponseLen),
            opener_is_local: Some(true),
            said,
        });
    }
    connection(tuple, time, Outcome::Established, said)
}

fn inspected_query<'a>(additional: &Additional<'a>, tuple: &FiveTuple, time: Timestamp) -> Kind<'a> {
    let query = additional.get(Key::Query);
    if query.is_empty() {
        return Kind::Other;
    }
    let answers = Answers::read(additional.get(Key::Answers));
    let query_type = additional::query_type(additional.get(Key::QueryType));
    // What looks like an address in the answer to another question is none of the name's.
    let is_address = query_type.is_none_or(|kind| matches!(kind, 1 | 28 | 255));
    Kind::Dns(DnsRow {
        client: Some(tuple.local.ip()).filter(|ip| !ip.is_unspecified()),
        resolver: Some(tuple.remote),
        start: time,
        query,
        query_type: query_type.unwrap_or_else(|| answers.query_type()),
        response_code: additional.response_code(),
        addresses: if is_address { answers.addresses } else { Default::default() },
        ttl_secs: additional.smallest_ttl(),
        opener_is_local: Some(true),
    })
}

fn client_query<'a>(additional: &Additional<'a>, time: Timestamp) -> Kind<'a> {
    let query = match additional.get(Key::DnsQuery) {
        "" => additional.get(Key::Query),
        query => query,
    };
    if query.is_empty() {
        return Kind::Other;
    }
    let result = additional.get(Key::DnsResult);
    let answers = Answers::read(result);
    let answered = !answers.addresses.to_vec().is_empty() || answers.record_type.is_some();
    Kind::Dns(DnsRow {
        client: None,
        resolver: None,
        start: time,
        query,
        query_type: additional::query_type(additional.get(Key::DnsType))
            .unwrap_or_else(|| answers.query_type()),
        response_code: additional.client_response_code().or(answered.then_some(0)),
        addresses: answers.addresses,
        ttl_secs: 0,
        opener_is_local: Some(true),
    })
}

/// The initiating process. A SHA-1 is no SHA-256, so where there is no other hash there is none; the columns of version
/// information are what the file says of itself, and no signature.
fn process<'a>(cells: &Cells<'a>, joined: &'a mut String) -> Option<ProcessRow<'a>> {
    let (path, name) = (cells.get(Column::ProcessFolderPath), cells.get(Column::ProcessFileName));
    let (domain, account) = (cells.get(Column::ProcessAccountDomain), cells.get(Column::ProcessAccountName));
    let pid = number(cells.get(Column::ProcessId)).unwrap_or(0);
    if pid == 0 && path.is_empty() && name.is_empty() {
        return None;
    }
    let whole_path = path.is_empty() || name.is_empty() || ends_with_name(path, name);
    if !whole_path {
        joined.push_str(path);
        let separator = if path.contains('/') && !path.contains('\\') { '/' } else { '\\' };
        if !path.ends_with(separator) {
            joined.push(separator);
        }
        joined.push_str(name);
    }
    let image_len = joined.len();
    if !domain.is_empty() && !account.is_empty() {
        joined.extend([domain, "\\", account]);
    }
    let (image, user) = joined.split_at(image_len);
    Some(ProcessRow {
        pid,
        start: clock::read(cells.get(Column::ProcessCreationTime)),
        guid: cells.get(Column::ProcessUniqueId),
        image: match () {
            () if !whole_path => image,
            () if path.is_empty() => name,
            () => path,
        },
        command_line: cells.get(Column::ProcessCommandLine),
        sha256: cells.get(Column::ProcessSha256),
        parent_image: cells.get(Column::ProcessParentFileName),
        user: if user.is_empty() { account } else { user },
        signed: None,
    })
}

/// Whether the last part of a path is this name. Defender writes the whole path where the column's name says folder.
fn ends_with_name(path: &str, name: &str) -> bool {
    let Some((folder, last)) = path.len().checked_sub(name.len()).and_then(|at| path.split_at_checked(at))
    else {
        return false;
    };
    let separate = folder.is_empty() || folder.ends_with(['\\', '/']);
    separate && last.eq_ignore_ascii_case(name)
}
