//! pnet on a live kernel, beside the ring.

use std::net::UdpSocket;

use std::net::IpAddr;

use super::super::live_tests::{ENDS, address, opened, wired};
use super::super::ring::Ring;
use super::*;

#[test]
fn the_loopback_interface_is_listed_with_its_address() {
    let found = interfaces();
    let loopback = found.iter().find(|interface| interface.loopback).expect("every Linux has one");
    assert_eq!(loopback.name, "lo");
    assert!(loopback.index > 0 && loopback.up);
    assert!(loopback.addresses.contains(&(IpAddr::from([127, 0, 0, 1]), 8)), "{loopback:?}");
}

#[test]
fn pnet_and_the_ring_give_the_same_packets() {
    wired(
        |_| {
            let Some(mut pnet) = opened(PnetSource::open()) else { return };
            let Some(mut ring) = opened(Ring::open(&RingOptions::default())) else { return };
            let take = |source: &mut dyn PacketSource| {
                let mut seen = Vec::new();
                for _ in 0..40 {
                    source.drain(now(), &mut |packet| {
                        seen.push((packet.interface, packet.bytes.to_vec(), packet.length));
                    });
                    std::thread::sleep(Duration::from_millis(10));
                }
                // What the interfaces say of their own accord is not part of it.
                seen.retain(|(_, bytes, _)| bytes.ends_with(b"of DNS") || bytes.get(9) == Some(&6));
                seen.sort();
                seen
            };
            take(&mut pnet);
            take(&mut ring);
            for (near, far) in ENDS {
                let socket = UdpSocket::bind((address(near), 0)).unwrap();
                socket.send_to(b"a question of DNS", (address(far), 53)).unwrap();
                socket.send_to(b"no question of DNS", (address(far), 9999)).unwrap();
                let _ = std::net::TcpStream::connect((address(far), 443));
            }
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"a local question of DNS", "127.0.0.53:53").unwrap();
            let (pnet_saw, ring_saw) = (take(&mut pnet), take(&mut ring));
            // A question of each family and a local one, SYN and RST of IPv4; and what the far end says of closed ports.
            assert!(pnet_saw.len() >= 5, "{pnet_saw:?}");
            assert_eq!(pnet_saw, ring_saw);
            assert_eq!((pnet.lost(), pnet.unavailable().len()), (0, 1));
        },
        || {},
    );
}

#[test]
fn an_interface_that_comes_later_is_listened_to() {
    wired(
        |ip| {
            let Some(mut pnet) = opened(PnetSource::open()) else { return };
            if !ip("link add late0 type bridge") {
                return;
            }
            assert!(ip("address add 198.51.100.1/24 dev late0") && ip("link set late0 up"));
            let listening = pnet.listeners.len();
            pnet.drain(now(), &mut |_| {});
            assert_eq!(pnet.listeners.len(), listening, "not at every call");
            pnet.drain(now().plus_nanos(LIST_EVERY), &mut |_| {});
            assert_eq!((pnet.listeners.len(), pnet.unavailable().len()), (listening + 1, ALWAYS_UNAVAILABLE));
        },
        || {},
    );
}

#[test]
fn a_full_queue_loses_and_counts() {
    let mut queue = Queue::default();
    let packet = [0; 1500];
    for _ in 0..3000 {
        queue.push(&packet, 1000, 1);
    }
    assert!(queue.bytes.len() <= MAX_QUEUED_BYTES && queue.bytes.capacity() <= 2 * MAX_QUEUED_BYTES);
    assert_eq!(queue.packets.len() as u64 + queue.lost, 3000);
    assert!(
        queue.lost > 900 && queue.packets.iter().all(|packet| packet.kept == 1000 && packet.length == 1500)
    );
}

#[test]
fn the_second_copy_on_the_loopback_interface_is_told_from_a_repetition() {
    let mut pairs = Pairs::default();
    let seen: Vec<bool> =
        [b"a", b"b", b"a", b"b", b"a", b"a"].iter().map(|packet| pairs.is_second(*packet)).collect();
    assert_eq!(seen, [false, false, true, true, false, true]);
}
