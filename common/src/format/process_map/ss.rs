//! Lines of `ss -tunp` (iproute2), with or without its header: what a person has at hand on Linux.
//!
//! ```text
//! udp   ESTAB  0  0  10.0.0.5%eth0:68     10.0.0.1:67   users:(("dhclient",pid=80,fd=6))
//! tcp   ESTAB  0  0  [2001:db8::5]:43210  [2001:db8::7]:443  users:(("curl",pid=123,fd=5))
//! ```
//!
//! A program is known by its name alone, which any program may choose.

use super::super::row::{Cause, RowError};
use super::MapEntry;
use super::columns::{address, checked, port};
use crate::net::Transport;

/// What `ss` calls the states of a socket, as far as they say that it has or seeks a peer.
const STATES: [&str; 11] = [
    "ESTAB",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "UNCONN",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
];

/// Whether a line is one of them, or the header above them.
pub(super) fn recognises(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let state = |word: &[u8]| STATES.iter().any(|state| state.as_bytes() == word);
    match words.next() {
        Some(b"Netid") => words.next() == Some(b"State"),
        Some(b"State") => words.next() == Some(b"Recv-Q"),
        Some(b"tcp" | b"udp") => words.next().is_some_and(state),
        Some(word) => state(word),
        None => false,
    }
}

/// What a line tells; `None` for the header, for sockets that make no connections, and where no process is named.
pub(super) fn line(line: &str) -> Result<Option<MapEntry<'_>>, RowError> {
    let mut words = line.split_ascii_whitespace();
    let mut first = words.next().unwrap_or_default();
    let transport = match first {
        "Netid" | "State" => return Ok(None),
        "tcp" => Some(Transport::Tcp),
        "udp" => Some(Transport::Udp),
        // With one kind of sockets asked for, the column is left out.
        _ => None,
    };
    if transport.is_some() {
        first = words.next().unwrap_or_default();
    }
    if !STATES.contains(&first) {
        return Err(RowError::field(Cause::Word, "State", first));
    }
    if matches!(first, "LISTEN" | "TIME-WAIT") {
        return Ok(None);
    }
    let Some((_, users)) = line.split_once("users:((\"") else { return Ok(None) };
    let (Some(_), Some(_), Some(local), Some(remote)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RowError::row(Cause::Columns, line));
    };
    // A name may hold anything, so it ends where its pid follows. Of several processes the first stands for all.
    let user = users.split_once("\",pid=").and_then(|(image, rest)| {
        let pid = rest.split([',', ')']).next()?.parse().ok()?;
        Some((image, pid))
    });
    let Some((image, pid)) = user else { return Err(RowError::field(Cause::Word, "users", users)) };
    let (local_ip, local_port) = end("local", local)?;
    let (remote_ip, remote_port) = end("peer", remote)?;
    let entry = MapEntry {
        transport,
        local_ip,
        local_port,
        remote_ip,
        remote_port,
        pid: Some(pid),
        image,
        ..MapEntry::default()
    };
    checked(entry).map(Some)
}

type End = (Option<std::net::IpAddr>, Option<u16>);

/// `10.0.0.5:443`, `10.0.0.5%eth0:68`, `[2001:db8::5]:443`, `0.0.0.0:*`, `*:*`.
fn end(name: &str, text: &str) -> Result<End, RowError> {
    let (ip, number) = text.rsplit_once(':').ok_or_else(|| RowError::field(Cause::Address, name, text))?;
    // Of `[fe80::5]%eth0` the zone stands behind the bracket.
    let ip = ip.split_once('%').map_or(ip, |(ip, _)| ip);
    let port = match number {
        "*" => None,
        number => Some(port(number).ok_or_else(|| RowError::field(Cause::Port, name, number))?),
    };
    Ok((address(name, ip)?, port))
}
