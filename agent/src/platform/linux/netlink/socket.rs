//! Netlink sockets: asking `sock_diag`, and listening to what the kernel tells of its own accord.
//!
//! A socket belongs to the network namespace in which its thread made it, for good: later any thread may use it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use sonde_common::net::{FiveTuple, Transport};

use super::diag::{self, BY_FAMILY, Family, Row};
use super::wire::{FLAG_INTERRUPTED, KIND_DONE, KIND_ERROR, Message, Messages};

/// Room for one datagram of answers: the kernel fills at most 32 KiB of a dump at a time.
const DATAGRAM: usize = 64 << 10;
/// Receive buffer of listeners: some 4,000 destroy records, the time between two drains at 30,000 closed connections a second.
const LISTENER_BUFFER: usize = 8 << 20;
/// Rows that one dump may have; more than a host has sockets.
const MAX_ROWS: usize = 1 << 20;
/// The kernel answers at once; a socket that does not is broken.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Group bits of destroyed sockets (`linux/sock_diag.h`): TCP and UDP, both families.
const DESTROY_GROUPS: u32 = 0b1111;
/// `CN_IDX_PROC`.
const PROCESS_GROUP: u32 = 1;

fn open(protocol: Protocol, groups: u32) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )?;
    // Groups are joined by the bind itself: joined before it, `sock_diag` would stay silent.
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Takes one datagram; `None` where it came from another process, which has nothing to say here.
fn receive<'a>(socket: &OwnedFd, buffer: &'a mut [u8], flags: RecvFlags) -> io::Result<Option<&'a [u8]>> {
    let (length, _, from) = rustix::net::recvfrom(socket, &mut *buffer, flags)?;
    let from_kernel =
        from.and_then(|a| SocketAddrNetlink::try_from(a).ok()).is_some_and(|address| address.pid() == 0);
    Ok(buffer.get(..length).filter(|_| from_kernel))
}

/// Asks the kernel for sockets of one network namespace.
#[derive(Debug)]
pub(super) struct DiagSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

impl DiagSocket {
    /// Opens one in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = open(netlink::SOCK_DIAG, 0)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_WAIT))?;
        Ok(Self { socket, buffer: vec![0; DATAGRAM], sequence: 0 })
    }

    /// The TCP socket with exactly these ends; `None` where there is none (any more).
    pub(super) fn look_up(&mut self, tuple: &FiveTuple, interface: u32) -> io::Result<Option<Row>> {
        let sequence = self.next();
        self.send(&diag::exact(sequence, tuple.local, tuple.remote, interface))?;
        let mut found = None;
        self.answers(sequence, |message| {
            if message.kind == BY_FAMILY {
                found = Row::parse(message.body, Transport::Tcp);
                return Ok(true);
            }
            match message.error() {
                0 | libc::ENOENT => Ok(true),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        })?;
        // Without a connection of this tuple the kernel answers with a listener on the port.
        Ok(found.filter(|row| row.tuple.local == tuple.local && row.tuple.remote == tuple.remote))
    }

    /// Hands out all sockets of a transport in the states of `mask`. Returns whether none was missed for certain.
    pub(super) fn dump(
        &mut self,
        transport: Transport,
        mask: u32,
        info: bool,
        take: &mut dyn FnMut(Row),
    ) -> io::Result<bool> {
        let mut whole = true;
        for family in [Family::V4, Family::V6] {
            let sequence = self.next();
            self.send(&diag::dump(sequence, family, transport, mask, info))?;
            let mut rows = 0usize;
            self.answers(sequence, |message| {
                whole &= message.flags & FLAG_INTERRUPTED == 0;
                match message.kind {
                    KIND_DONE => Ok(true),
                    KIND_ERROR => Err(io::Error::from_raw_os_error(message.error())),
                    _ if rows == MAX_ROWS => Err(io::ErrorKind::FileTooLarge.into()),
                    _ => {
                        rows += 1;
                        if let Some(row) = Row::parse(message.body, transport) {
                            take(row);
                        }
                        Ok(false)
                    }
                }
            })?;
        }
        Ok(whole)
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        rustix::net::sendto(&self.socket, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    /// Hands the answers to one request to `take` until it has enough.
    fn answers(
        &mut self,
        sequence: u32,
        mut take: impl FnMut(&Message<'_>) -> io::Result<bool>,
    ) -> io::Result<()> {
        loop {
            let bytes = match receive(&self.socket, &mut self.buffer, RecvFlags::empty()) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            // Left over from a request that failed midway: not ours.
            for message in Messages::new(bytes).filter(|message| message.sequence == sequence) {
                if take(&message)? {
                    return Ok(());
                }
            }
        }
    }
}

/// What a listener got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing is waiting.
    Nothing,
    /// Messages were handed out.
    Some,
    /// The kernel had no room: messages were lost, and how many it does not say.
    Overrun,
}

/// Listens to a netlink group.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    /// Sockets that are destroyed in the calling thread's network namespace.
    pub(super) fn destroyed_sockets() -> io::Result<Self> {
        Self::new(open(netlink::SOCK_DIAG, DESTROY_GROUPS)?)
    }

    /// Processes that fork, exec and exit. The kernel tells of them in the first network namespace alone.
    pub(super) fn processes() -> io::Result<Self> {
        let listener = Self::new(open(netlink::CONNECTOR, PROCESS_GROUP)?)?;
        let to = SocketAddrNetlink::new(0, PROCESS_GROUP);
        rustix::net::sendto(&listener.socket, &diag::listen_to_processes(), SendFlags::empty(), &to)?;
        Ok(listener)
    }

    fn new(socket: OwnedFd) -> io::Result<Self> {
        // Beyond the system's limit where we may, up to it where not.
        if sockopt::set_socket_recv_buffer_size_force(&socket, LISTENER_BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, LISTENER_BUFFER)?;
        }
        Ok(Self { socket, buffer: vec![0; 16 << 10] })
    }

    /// Takes what waits next, without waiting for it.
    pub(super) fn hear(&mut self, mut take: impl FnMut(&Message<'_>)) -> Heard {
        match receive(&self.socket, &mut self.buffer, RecvFlags::DONTWAIT) {
            Ok(bytes) => {
                Messages::new(bytes.unwrap_or_default()).for_each(|message| take(&message));
                Heard::Some
            }
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => Heard::Overrun,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Heard::Some,
            Err(_) => Heard::Nothing,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Instant;

    use sonde_common::net::FiveTuple;

    use super::super::diag::state;
    use super::*;

    fn pair(address: &str) -> (TcpStream, TcpStream, FiveTuple) {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let tuple = FiveTuple {
            transport: Transport::Tcp,
            local: client.local_addr().unwrap(),
            remote: client.peer_addr().unwrap(),
        };
        (client, server, tuple)
    }

    #[test]
    fn a_socket_is_found_by_its_ends_in_both_families() {
        let mut diag = DiagSocket::open().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (client, _server, tuple) = pair(address);
            let row = diag.look_up(&tuple, 1).unwrap().unwrap();
            assert_eq!((row.tuple, row.state, row.uid), (tuple, state::ESTABLISHED, 0));
            assert_ne!((row.inode, row.socket.0), (0, 0));
            drop(client);
        }
    }

    #[test]
    fn an_ipv6_socket_with_an_ipv4_peer_is_found_by_its_ipv4_ends() {
        use rustix::net::{SocketAddrV6, connect, getsockname};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let socket = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        let mapped = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        connect(&socket, &SocketAddrV6::new(mapped, remote.port(), 0, 0)).unwrap();
        let local = std::net::SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        let local = (local.ip().to_canonical(), local.port()).into();
        let tuple = FiveTuple { transport: Transport::Tcp, local, remote };
        let row = DiagSocket::open().unwrap().look_up(&tuple, 1).unwrap().unwrap();
        assert_eq!(row.tuple, tuple);
        assert_ne!(row.inode, 0);
    }

    #[test]
    fn a_listener_is_not_taken_for_a_connection_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let tuple =
            FiveTuple { transport: Transport::Tcp, local: remote, remote: "127.0.0.1:1".parse().unwrap() };
        assert_eq!(DiagSocket::open().unwrap().look_up(&tuple, 1).unwrap(), None);
    }

    #[test]
    fn a_dump_has_tcp_counters_and_udp_peers() {
        let mut diag = DiagSocket::open().unwrap();
        let (mut client, mut server, tuple) = pair("127.0.0.1:0");
        client.write_all(&[7; 517]).unwrap();
        server.read_exact(&mut [0; 517]).unwrap();
        server.write_all(&[1]).unwrap();
        client.read_exact(&mut [0]).unwrap();
        let mut rows = Vec::new();
        diag.dump(Transport::Tcp, state::bit(state::ESTABLISHED), true, &mut |row| rows.push(row)).unwrap();
        let info = rows.iter().find(|row| row.tuple == tuple).unwrap().info.unwrap();
        assert_eq!((info.bytes_out, info.bytes_in), (Some(517), 1));

        let (one, two) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        one.connect(two.local_addr().unwrap()).unwrap();
        rows.clear();
        diag.dump(Transport::Udp, state::bit(state::ESTABLISHED), false, &mut |row| rows.push(row)).unwrap();
        assert!(rows.iter().any(|row| row.tuple.local == one.local_addr().unwrap()
            && row.tuple.remote == two.local_addr().unwrap()));
        assert!(rows.iter().all(|row| row.tuple.local != two.local_addr().unwrap()));
    }

    #[test]
    fn a_destroyed_socket_is_told_with_exact_bytes_and_its_cookie() {
        let mut listener = Listener::destroyed_sockets().unwrap();
        let (mut client, mut server, tuple) = pair("127.0.0.1:0");
        let cookie = DiagSocket::open().unwrap().look_up(&tuple, 1).unwrap().unwrap().socket;
        client.write_all(&[7; 4_321]).unwrap();
        server.read_exact(&mut [0; 4_321]).unwrap();
        server.write_all(&[1; 99]).unwrap();
        client.read_exact(&mut [0; 99]).unwrap();
        drop(client);
        // The other side's FIN counts as a byte where it comes first; here it comes last.
        std::thread::sleep(Duration::from_millis(20));
        drop(server);
        let end = Instant::now() + Duration::from_secs(2);
        let mut found = None;
        while found.is_none() && Instant::now() < end {
            listener.hear(|message| {
                let row = Row::parse(message.body, Transport::Tcp);
                found = found.or(row.filter(|row| row.tuple == tuple));
                assert!(Row::protocol(message.body).is_some());
            });
        }
        let row = found.unwrap();
        let info = row.info.unwrap();
        assert_eq!((row.socket, row.inode), (cookie, 0));
        assert_eq!((info.bytes_out, info.bytes_in), (Some(4_321), 99));
    }
}
