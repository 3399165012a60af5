//! The IP Helper's tables of sockets: asked for here, read by `sonde_common::windows::table`.

use std::io;

use sonde_common::net::Transport;
use sonde_common::windows::table::{self, Kind, Row};
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, GetExtendedUdpTable, TCP_TABLE_OWNER_MODULE_ALL, TCP_TABLE_OWNER_PID_ALL,
    UDP_TABLE_OWNER_MODULE, UDP_TABLE_OWNER_PID,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};

/// A table may grow between the question for its length and the one for its rows.
const TRIES: usize = 8;
/// Bytes beyond the length that was told, for rows that come meanwhile.
const SPARE: u32 = 16 << 10;
/// Longest table that is taken, in bytes: some 300,000 rows with their modules.
const MAX_BYTES: u32 = 64 << 20;

/// The rows of a table, and whether those were all.
///
/// # Errors
/// The system's.
pub fn read(kind: Kind) -> io::Result<(Vec<Row>, bool)> {
    let family = u32::from(if kind.v6 { AF_INET6 } else { AF_INET });
    // In 64-bit numbers, since rows hold such.
    let mut buffer: Vec<u64> = Vec::new();
    let mut length = 0u32;
    for _ in 0..TRIES {
        let place = if buffer.is_empty() { std::ptr::null_mut() } else { buffer.as_mut_ptr().cast() };
        let code = match (kind.transport, kind.module) {
            // SAFETY: `place` is null with length 0, or leads to `length` bytes that are ours.
            (Transport::Tcp, module) => unsafe {
                let class = if module { TCP_TABLE_OWNER_MODULE_ALL } else { TCP_TABLE_OWNER_PID_ALL };
                GetExtendedTcpTable(place, &raw mut length, 0, family, class, 0)
            },
            // SAFETY: as above.
            (_, module) => unsafe {
                let class = if module { UDP_TABLE_OWNER_MODULE } else { UDP_TABLE_OWNER_PID };
                GetExtendedUdpTable(place, &raw mut length, 0, family, class, 0)
            },
        };
        match code {
            NO_ERROR => {
                let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
                return Ok(table::read(kind, &bytes));
            }
            ERROR_INSUFFICIENT_BUFFER if length <= MAX_BYTES => {
                length += SPARE;
                buffer = vec![0; (length as usize).div_ceil(8)];
            }
            code => return Err(io::Error::from_raw_os_error(code.cast_signed())),
        }
    }
    Err(io::Error::other("the table grew faster than it could be read"))
}

/// All rows of TCP, of both families, and whether those were all.
///
/// # Errors
/// The system's; a machine without IPv6 has no table of it, which is none.
pub fn tcp() -> io::Result<(Vec<Row>, bool)> {
    let kind = Kind { transport: Transport::Tcp, v6: false, module: false };
    let (mut rows, mut whole) = read(kind)?;
    if let Ok((more, all)) = read(Kind { v6: true, ..kind }) {
        rows.extend(more);
        whole &= all;
    }
    Ok((rows, whole))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

    use sonde_common::windows::table::state;
    use windows_sys::Win32::NetworkManagement::IpHelper::*;

    use super::*;

    const TCP: Kind = Kind { transport: Transport::Tcp, v6: false, module: false };
    const UDP: Kind = Kind { transport: Transport::Udp, v6: false, module: false };

    /// A connection over loopback that has moved a byte: before that, Wine does not know whose it is.
    fn connected(address: &str) -> (TcpStream, TcpStream, TcpListener) {
        let listener = TcpListener::bind(address).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        (client, server, listener)
    }

    fn find(rows: &[Row], local: SocketAddr, remote: SocketAddr) -> Row {
        *rows.iter().find(|row| (row.local, row.remote) == (local, remote)).unwrap()
    }

    #[test]
    fn rows_are_as_long_as_the_system_makes_them() {
        for (transport, v6, module, length) in [
            (Transport::Tcp, false, false, size_of::<MIB_TCPROW_OWNER_PID>()),
            (Transport::Tcp, false, true, size_of::<MIB_TCPROW_OWNER_MODULE>()),
            (Transport::Tcp, true, false, size_of::<MIB_TCP6ROW_OWNER_PID>()),
            (Transport::Tcp, true, true, size_of::<MIB_TCP6ROW_OWNER_MODULE>()),
            (Transport::Udp, false, false, size_of::<MIB_UDPROW_OWNER_PID>()),
            (Transport::Udp, false, true, size_of::<MIB_UDPROW_OWNER_MODULE>()),
            (Transport::Udp, true, false, size_of::<MIB_UDP6ROW_OWNER_PID>()),
            (Transport::Udp, true, true, size_of::<MIB_UDP6ROW_OWNER_MODULE>()),
        ] {
            let kind = Kind { transport, v6, module };
            assert_eq!(table::length(kind), length, "{kind:?}");
        }
        assert_eq!(std::mem::offset_of!(MIB_TCPTABLE_OWNER_MODULE, table), 8);
        assert_eq!(std::mem::offset_of!(MIB_UDPTABLE_OWNER_MODULE, table), 8);
        assert_eq!(std::mem::offset_of!(MIB_TCPTABLE_OWNER_PID, table), 4);
        assert_eq!(std::mem::offset_of!(MIB_UDPROW_OWNER_MODULE, liCreateTimestamp), 16);
    }

    #[test]
    fn a_connection_of_this_process_is_found_with_its_owner() {
        let (client, _server, listener) = connected("127.0.0.1:0");
        let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        for module in [false, true] {
            let (rows, whole) = read(Kind { module, ..TCP }).unwrap();
            assert!(whole && !rows.is_empty());
            let row = find(&rows, local, remote);
            assert_eq!(
                (row.state, row.pid),
                (state::ESTABLISHED, Some(std::process::id())),
                "module: {module}"
            );
            let listens = rows.iter().find(|row| row.local == listener.local_addr().unwrap()).unwrap();
            assert!(listens.state == state::LISTEN || listens.remote == local);
        }
        let (rows, _) = tcp().unwrap();
        assert!(table::outgoing(&rows).any(|row| row.local == local));
        assert!(!table::outgoing(&rows).any(|row| row.local == remote), "the other end was called");
    }

    #[test]
    fn a_connection_over_ipv6_is_found() {
        // A machine may be without it.
        let Ok(_) = TcpListener::bind("[::1]:0") else { return };
        let (client, _server, _listener) = connected("[::1]:0");
        let (rows, _) = read(Kind { v6: true, ..TCP }).unwrap();
        let row = find(&rows, client.local_addr().unwrap(), client.peer_addr().unwrap());
        assert_eq!(row.state, state::ESTABLISHED);
        assert!(row.pid.is_none_or(|pid| pid == std::process::id()), "nobody rather than another: {row:?}");
    }

    #[test]
    fn a_datagram_socket_is_found_with_its_owner() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", "127.0.0.1:9").unwrap();
        let local = socket.local_addr().unwrap();
        let (rows, _) = read(UDP).unwrap();
        let row = rows.iter().find(|row| row.local == local).unwrap();
        assert_eq!(row.pid, Some(std::process::id()));
    }
}
