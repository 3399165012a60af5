//! Which packets are of use, and where they begin: bytes only.

use std::ffi::c_int;

/// Link types, as the library numbers them on every system (pcap/dlt.h).
mod link {
    use std::ffi::c_int;
    pub(super) const NULL: c_int = 0;
    pub(super) const ETHERNET: c_int = 1;
    pub(super) const RAW: c_int = 12;
    pub(super) const RAW_OTHER: c_int = 101;
}

/// Whether packets of this link can be read.
pub(super) const fn is_known(link: c_int) -> bool {
    matches!(link, link::NULL | link::ETHERNET | link::RAW | link::RAW_OTHER)
}

/// A packet from its network header on, if it is one of IP.
pub(super) fn network(link: c_int, bytes: &[u8]) -> Option<&[u8]> {
    let packet = match link {
        link::NULL => bytes.get(4..)?,
        link::ETHERNET => {
            let (mut kind, mut rest) = (bytes.get(12..14)?, bytes.get(14..)?);
            for _ in 0..2 {
                // A tag of a virtual network.
                if matches!(kind, [0x81, 0x00] | [0x88, 0xa8]) {
                    (kind, rest) = (rest.get(2..4)?, rest.get(4..)?);
                }
            }
            matches!(kind, [0x08, 0x00] | [0x86, 0xdd]).then_some(rest)?
        }
        _ => bytes,
    };
    matches!(packet.first()? >> 4, 4 | 6).then_some(packet)
}

/// Whether a packet begins, ends or names a connection: TCP's marks for that, a client's or server's first words, DNS, QUIC's
/// long headers. All else is counted by sockets.
pub(super) fn names(packet: &[u8]) -> bool {
    let told = |packet: &[u8]| -> Option<bool> {
        let (protocol, transport) = match packet.first()? >> 4 {
            4 => (*packet.get(9)?, packet.get(usize::from(packet.first()? & 15) * 4..)?),
            _ => (*packet.get(6)?, packet.get(40..)?),
        };
        let port = |at: usize| Some(u16::from_be_bytes([*transport.get(at)?, *transport.get(at + 1)?]));
        let ports = [port(0)?, port(2)?];
        match protocol {
            6 => {
                let marks = *transport.get(13)?;
                let payload = transport.get(usize::from(*transport.get(12)? >> 4) * 4..).unwrap_or_default();
                const BEGIN_OR_END: u8 = 0b111;
                const WORDS: [&[u8]; 8] =
                    [b"\x16\x03", b"GET ", b"POST", b"PUT ", b"HEAD", b"CONN", b"OPTI", b"SSH-"];
                Some(
                    marks & BEGIN_OR_END != 0
                        || ports.contains(&53)
                        || WORDS.iter().any(|word| payload.starts_with(word)),
                )
            }
            17 => Some(ports.contains(&53) || transport.get(8).is_some_and(|first| first & 0xc0 == 0xc0)),
            _ => Some(false),
        }
    };
    told(packet).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_connection_is_kept_and_all_else_is_not() {
        let tcp = |marks: u8, payload: &[u8]| {
            let mut packet =
                vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0xc3, 0x50, 1, 0xbb];
            packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, marks, 0, 0, 0, 0, 0, 0]);
            packet.extend(payload);
            packet
        };
        assert!(names(&tcp(0x02, b"")) && names(&tcp(0x11, b"")) && names(&tcp(0x04, b"")));
        assert!(names(&tcp(0x18, b"\x16\x03\x01\x02\x00")) && names(&tcp(0x18, b"GET / HTTP/1.1\r\n")));
        assert!(!names(&tcp(0x18, b"anything else")) && !names(&tcp(0x10, b"")));
        for length in 0..40 {
            let _ = names(&tcp(0x02, b"")[..length]);
        }
        let mut ethernet = vec![0; 12];
        ethernet.extend([0x81, 0, 0, 7, 8, 0]);
        ethernet.extend(tcp(2, b""));
        assert_eq!(network(link::ETHERNET, &ethernet), Some(&tcp(2, b"")[..]));
        assert_eq!(network(link::ETHERNET, &ethernet[..15]), None);
        assert_eq!(network(link::NULL, &[2, 0, 0, 0, 0x60]), Some(&[0x60][..]));
        assert_eq!(network(link::RAW, &[0x10]), None);
    }
}
