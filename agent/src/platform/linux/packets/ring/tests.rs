//! The ring on a live kernel: between two namespaces, and so small that it loses.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sonde_common::decode::packet::{Header, decode};
use sonde_common::format::{Frame, LinkType};
use sonde_tests::payload::ClientHello;

use super::super::live_tests::{ENDS, address, opened, wired};
use super::super::now;
use super::*;

/// A packet that came out.
#[derive(Debug)]
struct Seen {
    interface: u32,
    time: Timestamp,
    bytes: Vec<u8>,
    length: u32,
}

impl Seen {
    fn header(&self) -> Option<Header> {
        self.with_packet(|packet| packet.transport)
    }

    fn with_packet<T>(&self, read: impl FnOnce(sonde_common::decode::packet::Packet<'_>) -> T) -> Option<T> {
        let frame =
            Frame { time: self.time, link: LinkType::RawIp, data: &self.bytes, wire_len: self.length };
        decode(&frame).ok().map(read)
    }

    fn ports(&self) -> Option<(u16, u16)> {
        match self.header()? {
            Header::Tcp { source_port, destination_port, .. }
            | Header::Udp { source_port, destination_port } => Some((source_port, destination_port)),
            _ => None,
        }
    }
}

/// All that comes until a block's time has passed twice.
fn drained(source: &mut dyn PacketSource) -> Vec<Seen> {
    let mut seen = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < 3 * RETIRE {
        source.drain(now(), &mut |packet| {
            seen.push(Seen {
                interface: packet.interface,
                time: packet.time,
                bytes: packet.bytes.to_vec(),
                length: packet.length,
            });
        });
        std::thread::sleep(RETIRE / 10);
    }
    seen
}

const PORTS: [u16; 2] = [443, 53];

/// Answers at the far end: a byte for a connection, a datagram for a datagram, once for each family.
fn serve(listening: &AtomicBool) {
    let servers = ENDS.map(|(_, far)| {
        let [tcp, dns] = PORTS.map(|port| (address(far), port));
        (TcpListener::bind(tcp).unwrap(), UdpSocket::bind(dns).unwrap())
    });
    listening.store(true, Ordering::Release);
    for (listener, socket) in servers {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        stream.write_all(b"x").unwrap();
        drop(stream);
        let mut buffer = [0; 512];
        let (length, peer) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..length], peer).unwrap();
    }
}

/// Connects, says hello, sends a megabyte, and asks a question, at the far end of each family.
fn call(hello: &[u8], bulk: usize) {
    for (_, far) in ENDS {
        let [tcp, dns] = PORTS.map(|port| (address(far), port));
        let mut stream = TcpStream::connect(tcp).unwrap();
        stream.write_all(hello).unwrap();
        // Not the same segment as the hello.
        std::thread::sleep(Duration::from_millis(20));
        let mut record = vec![0u8; bulk];
        for chunk in record.chunks_mut(16_389) {
            let head = [23, 3, 3, 0x40, 0];
            let length = head.len().min(chunk.len());
            chunk[..length].copy_from_slice(&head[..length]);
        }
        stream.write_all(&record).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        let local = if far.contains(':') { "::" } else { "0.0.0.0" };
        let socket = UdpSocket::bind((address(local), 0)).unwrap();
        socket.send_to(b"a question of DNS", dns).unwrap();
        socket.recv(&mut [0; 512]).unwrap();
    }
}

#[test]
fn names_begin_and_end_come_out_from_the_network_header_on_and_bulk_data_does_not() {
    let mut hello = Vec::new();
    ClientHello { pad_to: 1900, ..ClientHello::browser("ring.example", [3; 32]) }.record(&mut hello);
    let (hello, listening) = (&hello, &AtomicBool::new(false));
    wired(
        |ip| {
            let Some(mut ring) = opened(Ring::open(&RingOptions::default())) else { return };
            while !listening.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(10));
            }
            call(hello, 1 << 20);
            let seen = drained(&mut ring);
            assert!(ip("link show near0"));
            for family in [4, 6] {
                let of_family: Vec<_> = seen
                    .iter()
                    .filter(|packet| packet.bytes.first().is_some_and(|byte| byte >> 4 == family))
                    .collect();
                let count =
                    |wanted: &dyn Fn(&Seen) -> bool| of_family.iter().filter(|packet| wanted(packet)).count();
                let syn = |packet: &Seen| matches!(packet.header(), Some(Header::Tcp { flags, .. }) if flags & 2 != 0);
                let end = |packet: &Seen| matches!(packet.header(), Some(Header::Tcp { flags, .. }) if flags & 5 != 0);
                assert_eq!((count(&syn), count(&end)), (2, 2), "SYN and SYN-ACK, a FIN each: {of_family:#?}");
                assert_eq!(count(&|packet| packet.ports().is_some_and(|(_, to)| to == 53)), 1);
                assert_eq!(count(&|packet| packet.ports().is_some_and(|(from, _)| from == 53)), 1);
                // In one packet or in two, as the interface segments by itself or not.
                let mut said = Vec::new();
                for packet in &of_family {
                    if packet.ports().is_some_and(|(_, to)| to == 443) {
                        packet.with_packet(|packet| said.extend_from_slice(packet.payload));
                    }
                }
                assert!(said.starts_with(hello), "{of_family:?}");
                assert!(of_family.len() < 14, "{} packets of a megabyte", of_family.len());
            }
            let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
            assert!(
                first.time <= last.time && now().since(first.time) < 10_000_000_000 && now() >= last.time
            );
            assert!(
                seen.iter().all(|packet| packet.interface == first.interface
                    && packet.length as usize >= packet.bytes.len())
            );
            assert_eq!(ring.lost(), 0);
        },
        || serve(listening),
    );
}

#[test]
fn a_tagged_interface_and_one_that_comes_later_give_packets_like_others() {
    wired(
        |ip| {
            let Some(mut ring) = opened(Ring::open(&RingOptions::default())) else { return };
            if !ip("link add link near0 name near0.5 type vlan id 5") {
                return;
            }
            assert!(ip("address add 198.51.100.1/24 dev near0.5") && ip("link set near0.5 up"));
            assert!(ip("neighbour add 198.51.100.2 lladdr 02:00:00:00:00:01 dev near0.5"));
            let socket = UdpSocket::bind("198.51.100.1:0").unwrap();
            socket.send_to(b"tagged", "198.51.100.2:53").unwrap();
            let seen = drained(&mut ring);
            let tagged: Vec<_> =
                seen.iter().filter(|packet| packet.ports().is_some_and(|(_, to)| to == 53)).collect();
            // Once on the interface of the VLAN, once more on the one that carries it.
            assert!((1..=2).contains(&tagged.len()), "{seen:?}");
            assert!(
                tagged.iter().all(|packet| packet.with_packet(|packet| packet.payload == b"tagged").unwrap())
            );
        },
        || {},
    );
}

/// A tunnel without a link header, whose other end is the file.
fn tunnel(name: &str) -> io::Result<std::fs::File> {
    let file = std::fs::File::options().read(true).write(true).open("/dev/net/tun")?;
    // `struct ifreq` with a name and flags: a layer-3 tunnel without packet information.
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap();
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the request has the size of `struct ifreq` and lives through the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

#[test]
fn a_tunnel_without_link_header_gives_packets_of_both_directions() {
    wired(
        |ip| {
            let Some(mut ring) = opened(Ring::open(&RingOptions::default())) else { return };
            let Some(mut tunnel) =
                opened(tunnel("tun0").map_err(|error| unavailable("tunnel", "open", &error)))
            else {
                return;
            };
            assert!(ip("address add 203.0.113.1/24 dev tun0") && ip("link set tun0 up"));
            let socket = UdpSocket::bind("203.0.113.1:4000").unwrap();
            socket.send_to(b"out", "203.0.113.9:53").unwrap();
            let packet = sonde_tests::packet::Packet {
                link: sonde_tests::packet::Link::RawIp,
                addresses: sonde_tests::packet::Addresses::new(
                    address("203.0.113.9"),
                    address("203.0.113.1"),
                ),
                ip: sonde_tests::packet::IpFields::default(),
                transport: sonde_tests::packet::Transport::Udp { source_port: 53, destination_port: 4000 },
                payload: b"in",
            };
            tunnel.write_all(&packet.to_vec()).unwrap();
            let mut seen = drained(&mut ring);
            seen.retain(|packet| packet.ports().is_some_and(|(from, to)| from == 53 || to == 53));
            let said: Vec<_> =
                seen.iter().map(|packet| packet.with_packet(|packet| packet.payload.to_vec())).collect();
            assert_eq!(said, [Some(b"out".to_vec()), Some(b"in".to_vec())]);
        },
        || {},
    );
}

#[test]
fn of_the_loopback_interface_a_question_comes_out_once() {
    wired(
        |_| {
            let Some(mut ring) = opened(Ring::open(&RingOptions::default())) else { return };
            let resolver = UdpSocket::bind("127.0.0.53:53").unwrap();
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
            drop(TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap());
            socket.send_to(b"once", resolver.local_addr().unwrap()).unwrap();
            let seen = drained(&mut ring);
            assert_eq!(seen.len(), 1, "{seen:?}");
            assert_eq!(seen[0].with_packet(|packet| packet.payload == b"once"), Some(true));
        },
        || {},
    );
}

#[test]
fn a_ring_too_small_says_how_many_packets_it_lost() {
    const SENT: u64 = 5000;
    wired(
        |_| {
            let options = RingOptions { bytes: 1, snap: 128 };
            let Some(mut ring) = opened(Ring::open(&options)) else { return };
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            for number in 0..SENT {
                socket.send_to(&number.to_be_bytes(), "127.0.0.9:53").unwrap();
            }
            let seen = drained(&mut ring).len() as u64;
            assert!(seen > 10 && ring.lost() > 0, "{seen} of {SENT}");
            assert_eq!(seen + ring.lost(), SENT);
            // And goes on afterwards.
            let lost = ring.lost();
            socket.send_to(b"later", "127.0.0.9:53").unwrap();
            assert_eq!((drained(&mut ring).len(), ring.lost()), (1, lost));
        },
        || {},
    );
}

#[test]
fn sizes_are_whole_blocks_that_hold_a_packet() {
    for (bytes, snap) in
        [(0, 0), (1, u32::MAX), (16 << 10, 2048), (2 << 20, 4096), (usize::MAX, 65_535), (600 << 10, 128)]
    {
        let options = RingOptions { bytes, snap };
        let (block, count) = options.blocks();
        assert!(
            block.is_multiple_of(page_bytes())
                && block >= options.snap() as usize + HEADERS_BYTES
                && count >= 2
        );
        assert!(block * count <= MAX_RING_BYTES.max(2 * block));
    }
    assert_eq!(RingOptions::default().blocks(), (64 << 10, 32));
}
