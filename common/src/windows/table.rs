//! The tables of sockets that the IP Helper hands out (`GetExtendedTcpTable`, `GetExtendedUdpTable`): a count of 32 bits, then
//! rows of fixed length; ports and addresses as on the wire, all else little-endian (Microsoft, `MIB_TCPTABLE_OWNER_MODULE` and
//! its kin). A process number of 0 is nobody: the row's process ended, or is not known yet.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bytes::Bytes;
use super::time::from_filetime;
use crate::net::{FiveTuple, Transport};
use crate::time::Timestamp;

/// Rows of one table that are read; Windows has some 64,000 ports for each address.
pub const MAX_ROWS: usize = 1 << 18;
/// Numbers that name the owner's module (iprtrmib.h: `TCPIP_OWNING_MODULE_SIZE`).
const MODULE_BYTES: usize = 16 * 8;

/// State of a TCP row, by the number that Windows gives it (`MIB_TCP_STATE`).
pub mod state {
    /// Waits for calls.
    pub const LISTEN: u32 = 2;
    /// Called, and was not answered yet.
    pub const SYN_SENT: u32 = 3;
    /// Was called, and answered.
    pub const SYN_RECEIVED: u32 = 4;
    /// Stands.
    pub const ESTABLISHED: u32 = 5;
    /// Closed, and kept for a while.
    pub const TIME_WAIT: u32 = 11;
    /// Being taken away.
    pub const DELETE: u32 = 12;
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// TCP or UDP.
    pub transport: Transport,
    /// IPv6.
    pub v6: bool,
    /// With owner's module and time of creation (`…_OWNER_MODULE`), or with the owner alone (`…_OWNER_PID`).
    pub module: bool,
}

/// A row of TCP, or of UDP, which has no other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end; unspecified for UDP and for what listens.
    pub remote: SocketAddr,
    /// [`state`] of TCP, 0 for UDP.
    pub state: u32,
    /// Owner, where there is one.
    pub pid: Option<u32>,
    /// When the socket was made, where the table tells.
    pub created: Option<Timestamp>,
}

impl Row {
    /// Both ends, if there are two.
    #[must_use]
    pub fn tuple(&self, transport: Transport) -> Option<FiveTuple> {
        let two = self.remote.port() != 0 && !self.remote.ip().is_unspecified();
        two.then_some(FiveTuple { transport, local: self.local, remote: self.remote })
    }
}

/// Reads a table: the rows that are whole, and whether those were all that it claims to have.
#[must_use]
pub fn read(kind: Kind, table: &[u8]) -> (Vec<Row>, bool) {
    let mut bytes = Bytes::new(table);
    let Some(count) = bytes.u32() else { return (Vec::new(), false) };
    // Where a row holds a 64-bit number, the rows begin at a multiple of eight.
    if kind.module && bytes.take(4).is_none() {
        return (Vec::new(), count == 0);
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let length = length(kind);
    let rows: Vec<Row> = bytes
        .rest()
        .chunks_exact(length)
        .take(count.min(MAX_ROWS))
        .filter_map(|row| one(kind, row))
        .collect();
    let whole = rows.len() == count;
    (rows, whole)
}

/// Bytes of one row.
#[must_use]
pub const fn length(kind: Kind) -> usize {
    let module = MODULE_BYTES;
    match (kind.transport, kind.v6, kind.module) {
        (Transport::Tcp, false, false) => 24,
        (Transport::Tcp, false, true) => 32 + module,
        (Transport::Tcp, true, false) => 56,
        (Transport::Tcp, true, true) => 64 + module,
        (_, false, false) => 12,
        (_, false, true) => 32 + module,
        (_, true, false) => 28,
        (_, true, true) => 48 + module,
    }
}

fn one(kind: Kind, row: &[u8]) -> Option<Row> {
    let mut bytes = Bytes::new(row);
    let nowhere: IpAddr = if kind.v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let unspecified = || SocketAddr::from((nowhere, 0));
    let (local, remote, state, pid) = match (kind.transport, kind.v6) {
        (Transport::Tcp, false) => {
            let state = bytes.u32()?;
            let local = end4(&mut bytes)?;
            let remote = end4(&mut bytes)?;
            (local, remote, state, bytes.u32()?)
        }
        (Transport::Tcp, true) => {
            let local = end6(&mut bytes)?;
            let remote = end6(&mut bytes)?;
            let state = bytes.u32()?;
            (local, remote, state, bytes.u32()?)
        }
        (_, false) => (end4(&mut bytes)?, unspecified(), 0, bytes.u32()?),
        (_, true) => (end6(&mut bytes)?, unspecified(), 0, bytes.u32()?),
    };
    let mut created = None;
    if kind.module {
        if kind.transport != Transport::Tcp {
            // Up to the next multiple of eight.
            bytes.take(4)?;
        }
        created = Some(bytes.u64()?).filter(|ticks| *ticks != 0).map(from_filetime);
    }
    Some(Row { local, remote, state, pid: (pid != 0).then_some(pid), created })
}

fn end4(bytes: &mut Bytes<'_>) -> Option<SocketAddr> {
    let ip: [u8; 4] = bytes.array()?;
    Some((Ipv4Addr::from(ip), port(bytes)?).into())
}

/// Address, zone, port. What is IPv4 in IPv6 is IPv4.
fn end6(bytes: &mut Bytes<'_>) -> Option<SocketAddr> {
    let ip: [u8; 16] = bytes.array()?;
    bytes.u32()?;
    Some((Ipv6Addr::from(ip).to_canonical(), port(bytes)?).into())
}

/// The first two of four bytes; the others hold anything.
fn port(bytes: &mut Bytes<'_>) -> Option<u16> {
    let port = bytes.port()?;
    bytes.u16()?;
    Some(port)
}

/// The connections that this host made, of the rows of TCP tables of both families: those whose port is not listened on, and
/// that have not ended.
pub fn outgoing(rows: &[Row]) -> impl Iterator<Item = &Row> {
    let listening: HashSet<u16> =
        rows.iter().filter(|row| row.state == state::LISTEN).map(|row| row.local.port()).collect();
    let over = [state::LISTEN, state::SYN_RECEIVED, state::TIME_WAIT, state::DELETE];
    rows.iter().filter(move |row| !over.contains(&row.state) && !listening.contains(&row.local.port()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds a TCP row of a table with the owner alone.
    fn tcp4(table: &mut Vec<u8>, state: u32, local: &str, remote: &str, pid: u32) {
        let end = |end: &str| {
            let end: std::net::SocketAddrV4 = end.parse().unwrap();
            // The upper half of a port's field holds anything.
            [&end.ip().octets()[..], &end.port().to_be_bytes(), &[0xaa, 0xbb]].concat()
        };
        table.extend(state.to_le_bytes());
        table.extend(end(local));
        table.extend(end(remote));
        table.extend(pid.to_le_bytes());
    }

    fn tcp6(table: &mut Vec<u8>, state: u32, local: &str, remote: &str, pid: u32) {
        for end in [local, remote] {
            let end: std::net::SocketAddrV6 = end.parse().unwrap();
            table.extend(end.ip().octets());
            table.extend(7u32.to_le_bytes());
            table.extend(end.port().to_be_bytes());
            table.extend([0, 0]);
        }
        table.extend(state.to_le_bytes());
        table.extend(pid.to_le_bytes());
    }

    const TCP4: Kind = Kind { transport: Transport::Tcp, v6: false, module: false };

    #[test]
    fn rows_of_both_families_are_read() {
        let mut table = 2u32.to_le_bytes().to_vec();
        tcp4(&mut table, state::ESTABLISHED, "192.0.2.10:50000", "198.51.100.7:443", 4711);
        tcp4(&mut table, state::TIME_WAIT, "192.0.2.10:50001", "198.51.100.7:443", 0);
        let (rows, whole) = read(TCP4, &table);
        assert!(whole);
        assert_eq!(rows[0].tuple(Transport::Tcp).unwrap().remote, "198.51.100.7:443".parse().unwrap());
        assert_eq!((rows[0].local, rows[0].pid), ("192.0.2.10:50000".parse().unwrap(), Some(4711)));
        assert_eq!((rows[1].state, rows[1].pid), (state::TIME_WAIT, None), "nobody's any more");
        let mut table = 1u32.to_le_bytes().to_vec();
        tcp6(&mut table, state::SYN_SENT, "[2001:db8::1]:50000", "[::ffff:198.51.100.7]:443", 9);
        let (rows, _) = read(Kind { v6: true, ..TCP4 }, &table);
        assert_eq!(rows[0].remote, "198.51.100.7:443".parse().unwrap());
        assert_eq!((rows[0].state, rows[0].pid), (state::SYN_SENT, Some(9)));
    }

    #[test]
    fn the_time_of_a_socket_comes_with_its_module() {
        let kind = Kind { module: true, ..TCP4 };
        let mut table = vec![1, 0, 0, 0, 0xee, 0xee, 0xee, 0xee];
        tcp4(&mut table, state::ESTABLISHED, "192.0.2.10:50000", "198.51.100.7:443", 4711);
        table.extend(132_412_843_427_510_000u64.to_le_bytes());
        table.extend([0; MODULE_BYTES]);
        let (rows, whole) = read(kind, &table);
        assert!(whole);
        assert_eq!(rows[0].created.unwrap().to_string(), "2020-08-07T14:32:22.751000000Z");
        // UDP: address, port, owner, a gap, the time, flags, a gap, the module.
        let udp = Kind { transport: Transport::Udp, v6: false, module: true };
        let mut table = vec![1, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 10, 0, 53, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        table.extend(132_412_843_427_510_000u64.to_le_bytes());
        table.extend([0; 8 + MODULE_BYTES]);
        let (rows, whole) = read(udp, &table);
        assert!(whole);
        assert_eq!((rows[0].local, rows[0].pid), ("192.0.2.10:53".parse().unwrap(), Some(7)));
        assert_eq!(rows[0].tuple(Transport::Udp), None, "a datagram socket has one end");
        assert!(rows[0].created.is_some());
    }

    #[test]
    fn a_count_is_not_believed() {
        let mut table = u32::MAX.to_le_bytes().to_vec();
        tcp4(&mut table, state::ESTABLISHED, "192.0.2.10:50000", "198.51.100.7:443", 1);
        let (rows, whole) = read(TCP4, &table);
        assert_eq!((rows.len(), whole), (1, false));
        assert_eq!(read(TCP4, &[1, 0, 0]), (Vec::new(), false));
        // What lies behind the last row is none.
        let mut table = 0u32.to_le_bytes().to_vec();
        tcp4(&mut table, state::ESTABLISHED, "192.0.2.10:50000", "198.51.100.7:443", 1);
        assert_eq!(read(TCP4, &table), (Vec::new(), true));
    }

    #[test]
    fn only_calls_of_this_host_are_outgoing() {
        let mut table = 6u32.to_le_bytes().to_vec();
        tcp4(&mut table, state::LISTEN, "0.0.0.0:443", "0.0.0.0:0", 8);
        tcp4(&mut table, state::ESTABLISHED, "192.0.2.10:443", "198.51.100.7:40000", 8);
        tcp4(&mut table, state::ESTABLISHED, "192.0.2.10:50000", "198.51.100.7:443", 9);
        tcp4(&mut table, state::SYN_SENT, "192.0.2.10:50001", "198.51.100.7:443", 9);
        tcp4(&mut table, state::TIME_WAIT, "192.0.2.10:50002", "198.51.100.7:443", 0);
        tcp4(&mut table, state::SYN_RECEIVED, "192.0.2.10:444", "198.51.100.7:40001", 0);
        let (rows, _) = read(TCP4, &table);
        let ports: Vec<u16> = outgoing(&rows).map(|row| row.local.port()).collect();
        assert_eq!(ports, [50_000, 50_001]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_table_or_less(
            data in proptest::collection::vec(any::<u8>(), 0..600),
            udp: bool, v6: bool, module: bool,
        ) {
            let kind = Kind { transport: if udp { Transport::Udp } else { Transport::Tcp }, v6, module };
            let (rows, _) = read(kind, &data);
            prop_assert!(rows.len() <= data.len() / length(kind));
            prop_assert!(outgoing(&rows).count() <= rows.len());
        }
    }
}
