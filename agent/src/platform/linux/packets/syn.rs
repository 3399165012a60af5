//! The first packet of each outgoing TCP connection, at once: for who must look up its owner while the socket still lives.
//!
//! A plain packet socket in blocking use, for a thread of its own: a ring hands out packets by the block, which is too late.
//! UDP is not here: which datagram is the first cannot be told without state.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sonde_common::decode::packet::{Header, decode};
use sonde_common::format::{Frame, LinkType};
use sonde_common::live::Unavailable;
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::time::Timestamp;

use super::socket::{PacketSocket, unavailable};
use super::{filter, now};

/// Bytes kept of a packet: both headers, with room for IPv6 extension headers.
const SNAP_BYTES: usize = 256;
/// Kernel memory for packets that wait, in bytes. One takes about 1 KiB of it.
const BUFFER_BYTES: i32 = 4 << 20;
const WHAT: &str = "owners by outgoing SYN";

/// An outgoing SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// When it left.
    pub time: Timestamp,
    /// Who asked whom.
    pub tuple: FiveTuple,
    /// Interface that it left through, by the system's number.
    pub interface: u32,
}

/// Hears the SYNs that leave through any interface of one network namespace. A SYN comes again when it is sent again, and
/// once for each interface if one lies on another (VLAN, bond).
#[derive(Debug)]
pub struct SynWatch {
    socket: PacketSocket,
    lost: u64,
}

impl SynWatch {
    /// Begins to listen in the calling thread's network namespace. SYNs on the loopback interface are left out.
    ///
    /// # Errors
    /// The kernel's reason, such as a missing CAP_NET_RAW.
    pub fn open() -> Result<Self, Unavailable> {
        Self::open_with(None)
    }

    /// The same, with SYNs on the loopback interface that go to this port: by them a self-test is seen. They end with
    /// [`Self::end_self_test`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for_self_test(port: u16) -> Result<Self, Unavailable> {
        Self::open_with(Some(port))
    }

    /// From now on no SYN on the loopback interface is handed out.
    ///
    /// # Errors
    /// If the kernel does not take the filter; then the old one stays.
    pub fn end_self_test(&mut self) -> io::Result<()> {
        self.socket.filter(&program(None))
    }

    fn open_with(loopback_port: Option<u16>) -> Result<Self, Unavailable> {
        let failed = |doing: &'static str| move |error: io::Error| unavailable(WHAT, doing, &error);
        let socket = PacketSocket::open(&program(loopback_port)).map_err(failed("packet socket"))?;
        // The forced form goes beyond the system's limit and needs CAP_NET_ADMIN; without, as much as the limit allows.
        socket
            .set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &BUFFER_BYTES)
            .or_else(|_| socket.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &BUFFER_BYTES))
            .map_err(failed("receive buffer"))?;
        socket.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1i32).map_err(failed("time stamps"))?;
        socket.bind_all().map_err(failed("bind to all interfaces"))?;
        Ok(Self { socket, lost: 0 })
    }

    /// The next SYN; `None` if none came within `timeout`, or what came could not be read.
    ///
    /// # Errors
    /// The kernel's, if the socket is of no more use.
    pub fn recv(&mut self, timeout: Duration) -> io::Result<Option<Syn>> {
        let mut buffer = [0; SNAP_BYTES];
        let received = match self.socket.receive(&mut buffer)? {
            Some(received) => received,
            None if !self.socket.wait(timeout)? => return Ok(None),
            None => match self.socket.receive(&mut buffer)? {
                Some(received) => received,
                None => return Ok(None),
            },
        };
        let packet = buffer.get(..received.length).unwrap_or_default();
        let time = received.time.unwrap_or_else(now);
        Ok(tuple_of(packet).map(|tuple| Syn { time, tuple, interface: received.interface }))
    }

    /// SYNs that the kernel dropped since the start for want of room.
    pub fn lost(&mut self) -> u64 {
        // A socket whose counter cannot be read has no other use for an error: what was counted stays.
        self.lost += self.socket.take_drops().map_or(0, u64::from);
        self.lost
    }
}

fn program(loopback_port: Option<u16>) -> Vec<super::bpf::Instruction> {
    filter::outgoing_syn(loopback_port, u32::try_from(SNAP_BYTES).unwrap_or(u32::MAX))
}

/// The ends of an outgoing TCP packet, from its network header on.
fn tuple_of(packet: &[u8]) -> Option<FiveTuple> {
    let frame = Frame {
        time: Timestamp::ZERO,
        link: LinkType::RawIp,
        data: packet,
        wire_len: u32::try_from(packet.len()).unwrap_or(u32::MAX),
    };
    let packet = decode(&frame).ok()?;
    let Header::Tcp { source_port, destination_port, .. } = packet.transport else { return None };
    Some(FiveTuple {
        transport: Transport::Tcp,
        local: SocketAddr::new(packet.source.ip(), source_port),
        remote: SocketAddr::new(packet.destination.ip(), destination_port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use super::super::live_tests::{ENDS, address, opened, wired};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn an_outgoing_syn_is_heard_at_once_and_loopback_ones_only_for_the_self_test() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = server.local_addr().unwrap();
        let Some(mut watch) = opened(SynWatch::open_for_self_test(remote.port())) else { return };
        let before = now();
        let client = TcpStream::connect(remote).unwrap();
        let local = client.local_addr().unwrap();
        let syn = watch.recv(Duration::from_secs(2)).unwrap().expect("a SYN within two seconds");
        assert_eq!(syn.tuple, FiveTuple { transport: Transport::Tcp, local, remote });
        assert!(syn.time.since(before).abs() < 1_000_000_000, "{} {before}", syn.time);
        assert_ne!(syn.interface, 0);

        watch.end_self_test().unwrap();
        let _client = TcpStream::connect(remote).unwrap();
        let heard = watch.recv(Duration::from_millis(200)).unwrap();
        assert!(heard.is_none_or(|syn| syn.tuple.remote != remote), "{heard:?}");
        assert_eq!(watch.lost(), 0);
    }

    #[test]
    fn what_nobody_hears_in_time_is_counted_and_nothing_comes_twice() {
        const CALLS: u64 = 8000;
        wired(
            |_| {
                let Some(mut watch) = opened(SynWatch::open()) else { return };
                for (_, far) in ENDS {
                    for _ in 0..CALLS / 2 {
                        let remote = SocketAddr::new(address(far), 9);
                        TcpStream::connect(remote).expect_err("nobody listens there");
                    }
                }
                let mut heard = std::collections::HashSet::new();
                while let Some(syn) = watch.recv(Duration::from_millis(100)).unwrap() {
                    assert!(ENDS.iter().any(|(near, _)| syn.tuple.local.ip() == address(near)));
                    heard.insert((syn.tuple, syn.time));
                }
                assert!(heard.len() > 500);
                assert_eq!(heard.len() as u64 + watch.lost(), CALLS, "{} lost", watch.lost());
            },
            || {},
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..SNAP_BYTES)) {
            let _ = tuple_of(&bytes);
        }
    }
}
