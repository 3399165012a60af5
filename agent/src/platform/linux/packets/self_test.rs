//! Proves that a packet source works before it counts as one: a datagram on the loopback interface must come out of it.
//!
//! The datagram goes to port 53 of a loopback address that nobody uses, and looks like a DNS answer: a resolver that listens on all
//! addresses drops it, as it asked for nothing.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::live::layer::PacketSource;

use super::now;

/// Where the datagram goes.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 83, 79, 78);
const PORT: u16 = 53;
/// How long it may take: many times what a ring waits before it hands out a block.
const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(10);

/// Sends the datagram and waits for it. Packets that come out before it are not handed on: the source has not begun yet.
pub(super) fn run(source: &mut dyn PacketSource) -> io::Result<()> {
    let label = format!("{:016x}", RandomState::new().build_hasher().finish());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.send_to(&answer(label.as_bytes()), (ADDRESS, PORT))?;
    let begin = Instant::now();
    loop {
        let mut seen = false;
        source.drain(now(), &mut |packet| {
            seen |= packet.bytes.windows(label.len()).any(|bytes| bytes == label.as_bytes());
        });
        if seen {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "a datagram on the loopback interface did not come out",
            ));
        }
        std::thread::sleep(STEP);
    }
}

/// A DNS answer "no such name" about `<label>.sonde-self-test.invalid` (RFC 2606 keeps that domain empty).
fn answer(label: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 0, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0];
    for part in [label, b"sonde-self-test", b"invalid", b""] {
        message.push(u8::try_from(part.len()).unwrap_or(0));
        message.extend_from_slice(part);
    }
    message.extend([0, 1, 0, 1]);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_datagram_is_an_answer_that_asks_for_nothing() {
        let message = sonde_common::decode::dns::message(&answer(b"0123456789abcdef")).unwrap();
        assert!(message.is_response);
        assert_eq!(message.name.as_str(), "0123456789abcdef.sonde-self-test.invalid");
        assert!(message.addresses().is_empty());
    }
}
