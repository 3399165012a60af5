//! The kernel's socket tables as text: `/proc/net/{tcp,tcp6,udp,udp6}`, for where netlink is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sonde_common::live::SocketId;
use sonde_common::net::{FiveTuple, Transport};

use super::diag::Row;
use super::procfs::number;

/// Rows that one table may have; more than a host has sockets.
const MAX_ROWS: usize = 1 << 20;

/// Reads a table. Lines that do not read as a socket are left out. The kernel's cookie is not in it.
pub(super) fn parse(text: &[u8], transport: Transport) -> impl Iterator<Item = Row> {
    text.split(|&b| b == b'\n').take(MAX_ROWS).filter_map(move |line| row(line, transport))
}

/// One line: `sl local remote state tx:rx tr:when retrnsmt uid timeout inode …`.
fn row(line: &[u8], transport: Transport) -> Option<Row> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    fields.next()?.strip_suffix(b":")?;
    let local = end(fields.next()?)?;
    let remote = end(fields.next()?)?;
    let state = u8::try_from(hex(fields.next()?, 2)?).ok()?;
    let uid = number(fields.nth(3)?)?;
    let inode = number(fields.nth(1)?)?;
    let tuple = FiveTuple { transport, local, remote };
    Some(Row { tuple, state, uid, inode, socket: SocketId::default(), info: None })
}

/// `ADDRESS:PORT` in hexadecimal: the address as 32-bit words in the machine's byte order, the port as a number.
fn end(field: &[u8]) -> Option<SocketAddr> {
    let colon = field.iter().position(|&b| b == b':')?;
    let (address, port) = field.split_at_checked(colon)?;
    let port = u16::try_from(hex(port.get(1..)?, 4)?).ok()?;
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(hex(address, 8)?.to_ne_bytes())),
        32 => {
            let mut octets = [0; 16];
            for (word, place) in address.chunks_exact(8).zip(octets.chunks_exact_mut(4)) {
                place.copy_from_slice(&hex(word, 8)?.to_ne_bytes());
            }
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some((ip, port).into())
}

/// A number of exactly so many hexadecimal digits.
fn hex(text: &[u8], digits: usize) -> Option<u32> {
    if text.len() != digits || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::diag::state;
    use super::*;

    const TCP: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21501 1 0000000000000000 100 0 0 10 0
   1: 010200C0:9C40 076433C6:01BB 01 00000000:00000000 02:000003E8 00000000  1000        0 98765 2 0000000000000000 20 4 30 10 -1
   2: 010200C0:9C41 076433C6:01BB 06 00000000:00000000 03:000003E8 00000000     0        0 0 3 0000000000000000
";
    const TCP6: &[u8] = b"  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0000000000000000FFFF0000010200C0:9C42 0000000000000000FFFF0000076433C6:01BB 01 00000000:00000000 00:00000000 00000000   33        0 4711 1 0000000000000000 20 4 30 10 -1
   1: B80D0120000000000000000001000000:9C43 B80D0120000000000000000002000000:0050 02 00000001:00000000 01:00000000 00000000   33        0 4712 1 0000000000000000 20 4 30 10 -1
";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_read() {
        let rows: Vec<_> = parse(TCP, Transport::Tcp).collect();
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[0].state, rows[0].inode), (state::LISTEN, 21_501));
        assert_eq!(rows[1].tuple.local, "192.0.2.1:40000".parse().unwrap());
        assert_eq!(rows[1].tuple.remote, "198.51.100.7:443".parse().unwrap());
        assert_eq!((rows[1].uid, rows[1].inode, rows[1].state), (1000, 98_765, state::ESTABLISHED));
        assert_eq!((rows[2].state, rows[2].inode), (state::TIME_WAIT, 0));
        let rows: Vec<_> = parse(TCP6, Transport::Tcp).collect();
        assert_eq!(rows[0].tuple.remote, "198.51.100.7:443".parse().unwrap(), "an IPv4 peer is IPv4");
        assert_eq!(rows[1].tuple.remote, "[2001:db8::2]:80".parse().unwrap());
        assert_eq!(rows[1].state, state::SYN_SENT);
    }

    #[test]
    fn this_machines_own_table_is_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = std::fs::read("/proc/self/net/tcp").unwrap();
        let address = listener.local_addr().unwrap();
        let row = parse(&text, Transport::Tcp).find(|row| row.tuple.local == address).unwrap();
        assert_eq!(row.state, state::LISTEN);
        assert_ne!(row.inode, 0);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_left_out(
            noise in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0usize..500,
            byte: u8,
        ) {
            let _ = parse(&noise, Transport::Udp).count();
            let mut text = TCP.to_vec();
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
            prop_assert!(parse(&text, Transport::Tcp).count() <= 4);
        }
    }
}
