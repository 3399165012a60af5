//! Records of the kernel programs, from bytes: the layouts of `agent/ebpf/record.h`. Any bytes are taken; what does not fit is
//! `None`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sonde_common::event::Outcome;
use sonde_common::live::FileId;
use sonde_common::net::{FiveTuple, Transport};

/// Key of a flow in the kernel's map: cookie, peer, port.
pub(super) type FlowKey = [u8; 32];
/// A flow in the kernel's map: last payload; start, last, out, in, untold of its exchange; out, in; two marks.
pub(super) type FlowValue = [u64; 9];

const MAX_PATH_BYTES: usize = 1024 + 256;
const BY_KERNEL: u8 = 1;
const UNTOLD: u8 = 2;
const UNLINKED: u8 = 1;
const PATH_CUT: u8 = 2;

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record<'a> {
    /// A process called, or (`None`) the kernel did by itself.
    Opened(Head, Option<Owner>),
    Answered(Head),
    /// An exchange began; the one before it, if there was one, is over.
    Exchange(Head, Exchange),
    Closed(Head, Closed),
    Exec(Exec<'a>),
    Fork(Lineage),
    Exit(Lineage),
}

/// What all records of sockets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Nanoseconds since boot, here and below.
    pub(super) time: u64,
    pub(super) cookie: u64,
    pub(super) tuple: FiveTuple,
    /// Under which the kernel keeps the exchange that is under way.
    pub(super) key: FlowKey,
}

/// Payload between two silences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exchange {
    /// 0: none.
    pub(super) start: u64,
    pub(super) last: u64,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    /// The record of its beginning found no room.
    pub(super) untold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Closed {
    pub(super) outcome: Outcome,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    pub(super) under_way: Exchange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) start: u64,
    pub(super) cgroup: u64,
    pub(super) file: FileId,
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) net_namespace: u32,
    /// The program that it runs could not be told when it started.
    pub(super) untold: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exec<'a> {
    pub(super) time: u64,
    pub(super) owner: Owner,
    pub(super) parent_start: u64,
    pub(super) parent_pid: u32,
    pub(super) unlinked: bool,
    /// As in an absolute path; `None` where the kernel program stopped before the root.
    pub(super) path: Option<Vec<u8>>,
    pub(super) arguments: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lineage {
    pub(super) time: u64,
    pub(super) start: u64,
    pub(super) parent_start: u64,
    pub(super) pid: u32,
    pub(super) parent_pid: u32,
}

/// Reads one record.
pub(super) fn parse(bytes: &[u8]) -> Option<Record<'_>> {
    Some(match u8_at(bytes, 8)? {
        1 => {
            let flags = u8_at(bytes, 11)?;
            let owner = Owner { untold: flags & UNTOLD != 0, ..owner(bytes, 64)? };
            Record::Opened(head(bytes)?, (flags & BY_KERNEL == 0).then_some(owner))
        }
        2 => Record::Answered(head(bytes)?),
        3 => Record::Exchange(head(bytes)?, exchange(bytes, 64)?),
        4 => {
            let outcome = match u8_at(bytes, 10)? {
                1 => Outcome::Established,
                2 => Outcome::Refused,
                3 => Outcome::Unanswered,
                4 => Outcome::Reset,
                _ => Outcome::Unknown,
            };
            let closed = Closed {
                outcome,
                bytes_out: u64_at(bytes, 64)?,
                bytes_in: u64_at(bytes, 72)?,
                under_way: exchange(bytes, 80)?,
            };
            Record::Closed(head(bytes)?, closed)
        }
        16 => Record::Exec(exec(bytes)?),
        17 => Record::Fork(lineage(bytes)?),
        18 => Record::Exit(lineage(bytes)?),
        _ => return None,
    })
}

fn head(bytes: &[u8]) -> Option<Head> {
    let transport = match u8_at(bytes, 9)? {
        6 => Transport::Tcp,
        17 => Transport::Udp,
        _ => return None,
    };
    let (local, remote): ([u8; 16], [u8; 16]) = (array_at(bytes, 16)?, array_at(bytes, 32)?);
    let (local_port, remote_port) = (u16_at(bytes, 48)?, u16_at(bytes, 50)?);
    let cookie = u64_at(bytes, 56)?;
    let tuple = FiveTuple {
        transport,
        local: SocketAddr::new(address(local), local_port),
        remote: SocketAddr::new(address(remote), remote_port),
    };
    // Padding is zero: the kernel compares keys byte by byte.
    let mut key = [0; 32];
    let (cookie_part, peer_part) = key.split_at_mut(8);
    cookie_part.copy_from_slice(&cookie.to_ne_bytes());
    if transport == Transport::Udp {
        let (address_part, rest) = peer_part.split_at_mut(16);
        address_part.copy_from_slice(&remote);
        rest.split_at_mut(4).0.copy_from_slice(&u32::from(remote_port).to_ne_bytes());
    }
    Some(Head { time: u64_at(bytes, 0)?, cookie, tuple, key })
}

fn address(bytes: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
}

fn owner(bytes: &[u8], at: usize) -> Option<Owner> {
    Some(Owner {
        start: u64_at(bytes, at)?,
        cgroup: u64_at(bytes, at + 8)?,
        file: FileId { inode: u64_at(bytes, at + 16)?, device: stat_device(u32_at(bytes, at + 24)?) },
        pid: u32_at(bytes, at + 28)?,
        uid: u32_at(bytes, at + 32)?,
        net_namespace: u32_at(bytes, at + 36)?,
        untold: false,
    })
}

fn exchange(bytes: &[u8], at: usize) -> Option<Exchange> {
    Some(Exchange {
        start: u64_at(bytes, at)?,
        last: u64_at(bytes, at + 8)?,
        bytes_out: u64_at(bytes, at + 16)?,
        bytes_in: u64_at(bytes, at + 24)?,
        untold: u64_at(bytes, at + 32)? != 0,
    })
}

/// The exchange of a flow as the kernel's map holds it.
pub(super) fn exchange_of(value: &FlowValue) -> Exchange {
    let [_, start, last, bytes_out, bytes_in, untold, ..] = *value;
    Exchange { start, last, bytes_out, bytes_in, untold: untold != 0 }
}

fn exec(bytes: &[u8]) -> Option<Exec<'_>> {
    let flags = u8_at(bytes, 9)?;
    let path_bytes = usize::from(u16_at(bytes, 10)?);
    let argument_bytes = usize::from(u16_at(bytes, 12)?);
    if path_bytes > MAX_PATH_BYTES {
        return None;
    }
    let text = bytes.get(72..)?;
    let (names, rest) = text.split_at_checked(path_bytes)?;
    Some(Exec {
        time: u64_at(bytes, 0)?,
        owner: owner(bytes, 16)?,
        parent_start: u64_at(bytes, 56)?,
        parent_pid: u32_at(bytes, 64)?,
        unlinked: flags & UNLINKED != 0,
        path: if flags & PATH_CUT == 0 { path(names) } else { None },
        arguments: rest.get(..argument_bytes)?,
    })
}

/// Joins names that stand from the file up to the root, each ended by a zero byte.
fn path(names: &[u8]) -> Option<Vec<u8>> {
    let names = names.strip_suffix(&[0])?;
    let mut path = Vec::with_capacity(names.len() + 1);
    for name in names.rsplit(|&byte| byte == 0) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Some(path)
}

fn lineage(bytes: &[u8]) -> Option<Lineage> {
    Some(Lineage {
        time: u64_at(bytes, 0)?,
        start: u64_at(bytes, 16)?,
        parent_start: u64_at(bytes, 24)?,
        pid: u32_at(bytes, 32)?,
        parent_pid: u32_at(bytes, 36)?,
    })
}

/// A device number of the kernel (12 bits major, 20 minor) as `stat` gives it (`new_encode_dev` of linux/kdev_t.h).
const fn stat_device(device: u32) -> u64 {
    let (major, minor) = (device >> 20, device & 0xf_ffff);
    ((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)) as u64
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    fn socket_record(kind: u8, protocol: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        put(&mut bytes, 0, &77_u64.to_ne_bytes());
        bytes[8] = kind;
        bytes[9] = protocol;
        put(&mut bytes, 16, &"::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap().octets());
        put(&mut bytes, 32, &"::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets());
        put(&mut bytes, 48, &4000_u16.to_ne_bytes());
        put(&mut bytes, 50, &443_u16.to_ne_bytes());
        put(&mut bytes, 56, &9_u64.to_ne_bytes());
        bytes
    }

    #[test]
    fn mapped_addresses_are_those_of_ipv4() {
        let Some(Record::Answered(head)) = parse(&socket_record(2, 6, 64)).map(|r| r.clone()) else {
            panic!()
        };
        assert_eq!(head.tuple.local, "10.0.0.1:4000".parse().unwrap());
        assert_eq!(head.tuple.remote, "192.0.2.7:443".parse().unwrap());
        assert_eq!((head.time, head.cookie), (77, 9));
        assert!(head.key[8..].iter().all(|&byte| byte == 0), "TCP is kept by its cookie alone");
    }

    #[test]
    fn records_cut_short_are_refused() {
        for (kind, length) in [(1, 104), (2, 64), (3, 104), (4, 120), (17, 40), (18, 40)] {
            let whole = socket_record(kind, 17, length.max(64));
            assert!(parse(&whole[..length]).is_some(), "kind {kind}");
            assert!(parse(&whole[..length - 1]).is_none(), "kind {kind}");
        }
    }

    #[test]
    fn other_protocols_and_kinds_are_refused() {
        assert!(parse(&socket_record(2, 1, 64)).is_none());
        assert!(parse(&socket_record(99, 6, 64)).is_none());
    }

    #[test]
    fn names_become_a_path() {
        assert_eq!(path(b"curl\0bin\0usr\0").unwrap(), b"/usr/bin/curl");
        assert_eq!(path(b"memfd:x\0").unwrap(), b"/memfd:x");
        assert_eq!(path(b""), None);
        assert_eq!(path(b"curl"), None);
    }

    #[test]
    fn lengths_of_a_program_record_are_not_trusted() {
        let mut bytes = vec![0; 72 + 8];
        bytes[8] = 16;
        put(&mut bytes, 10, &4_u16.to_ne_bytes());
        put(&mut bytes, 12, &4_u16.to_ne_bytes());
        put(&mut bytes, 72, b"abc\0x\0y\0");
        let Some(Record::Exec(exec)) = parse(&bytes) else { panic!() };
        assert_eq!((exec.path.as_deref(), exec.arguments), (Some(&b"/abc"[..]), &b"x\0y\0"[..]));
        put(&mut bytes, 12, &5_u16.to_ne_bytes());
        assert_eq!(parse(&bytes), None);
        put(&mut bytes, 10, &u16::MAX.to_ne_bytes());
        assert_eq!(parse(&bytes), None);
    }

    #[test]
    fn devices_are_those_of_stat() {
        assert_eq!(stat_device((8 << 20) | 1), 0x801);
        assert_eq!(stat_device((259 << 20) | 0x12345), 0x1231_0345);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), kind in 0_u8..20) {
            if let Some(byte) = bytes.get_mut(8) {
                *byte = kind;
            }
            if let Some(byte) = bytes.get_mut(9) && kind < 5 {
                *byte = 17;
            }
            if let Some(Record::Exec(exec)) = parse(&bytes) {
                prop_assert!(exec.arguments.len() <= bytes.len());
                prop_assert!(exec.path.is_none_or(|path| path.len() <= MAX_PATH_BYTES));
            }
        }
    }
}
