//! `sock_diag` in bytes: requests for sockets, and the rows that answer them (`linux/inet_diag.h`, `linux/tcp.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sonde_common::live::SocketId;
use sonde_common::net::{FiveTuple, Transport};

use super::wire::{
    Attributes, FLAG_DUMP, FLAG_REQUEST, address_at, be16_at, message, u16_at, u32_at, u64_at,
};

/// `SOCK_DIAG_BY_FAMILY`: type of requests and of rows.
pub(super) const BY_FAMILY: u16 = 20;
/// `INET_DIAG_INFO`, in a request as bit `1 << (n - 1)`.
const ATTRIBUTE_INFO: u16 = 2;
/// Bytes of `struct inet_diag_msg`.
const ROW: usize = 72;
/// `INET_DIAG_NOCOOKIE`.
const NO_COOKIE: u64 = u64::MAX;

/// Socket states as bits of a request's mask (`net/tcp_states.h`).
pub(super) mod state {
    pub(in super::super) const ESTABLISHED: u8 = 1;
    pub(in super::super) const SYN_SENT: u8 = 2;
    pub(in super::super) const TIME_WAIT: u8 = 6;
    pub(in super::super) const LISTEN: u8 = 10;
    /// A mask bit.
    pub(in super::super) const fn bit(state: u8) -> u32 {
        1 << state
    }
    /// All states of a socket that has two ends and somebody who may hold it.
    pub(in super::super) const CONNECTED: u32 =
        bit(ESTABLISHED) | bit(SYN_SENT) | bit(4) | bit(5) | bit(8) | bit(9) | bit(11);
}

/// One socket as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Both ends, an IPv4 peer of an IPv6 socket as IPv4.
    pub(super) tuple: FiveTuple,
    pub(super) state: u8,
    pub(super) uid: u32,
    /// 0 where no descriptor leads to it any more.
    pub(super) inode: u32,
    pub(super) socket: SocketId,
    pub(super) info: Option<TcpInfo>,
}

/// The counters of `struct tcp_info` that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpInfo {
    /// Payload bytes sent, repetitions left out; `None` before Linux 4.19.
    pub(super) bytes_out: Option<u64>,
    /// Payload bytes received.
    pub(super) bytes_in: u64,
    /// Sequence numbers that the other side has acknowledged: payload, SYN and FIN.
    pub(super) acknowledged: u64,
    /// Segments received.
    pub(super) segments_in: u32,
    /// Segments with payload, received and sent.
    pub(super) data_in: u32,
    pub(super) data_out: u32,
    /// Milliseconds since payload was last sent.
    pub(super) sent_ms: u32,
    /// Milliseconds since payload was last received.
    pub(super) received_ms: u32,
    /// Milliseconds since the last acknowledgement came.
    pub(super) acknowledged_ms: u32,
}

impl TcpInfo {
    /// Reads `struct tcp_info`, which grew over the years; `None` where it is too old to count bytes (before Linux 4.2).
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            sent_ms: u32_at(bytes, 44)?,
            received_ms: u32_at(bytes, 52)?,
            acknowledged_ms: u32_at(bytes, 56)?,
            acknowledged: u64_at(bytes, 120)?,
            bytes_in: u64_at(bytes, 128)?,
            segments_in: u32_at(bytes, 140)?,
            data_in: u32_at(bytes, 152).unwrap_or(0),
            data_out: u32_at(bytes, 156).unwrap_or(0),
            bytes_out: u64_at(bytes, 200).and_then(|sent| Some(sent.saturating_sub(u64_at(bytes, 208)?))),
        })
    }
}

impl Row {
    /// Reads a row; `None` where it is no TCP or UDP socket or too short.
    pub(super) fn parse(bytes: &[u8], transport: Transport) -> Option<Self> {
        let family = *bytes.first()?;
        let local = (address(family, bytes, 8)?, be16_at(bytes, 4)?).into();
        let remote = (address(family, bytes, 24)?, be16_at(bytes, 6)?).into();
        let info = Attributes::new(bytes.get(ROW..)?)
            .find(|&(kind, _)| kind == ATTRIBUTE_INFO)
            .filter(|_| transport == Transport::Tcp)
            .and_then(|(_, value)| TcpInfo::parse(value));
        Some(Self {
            tuple: FiveTuple { transport, local, remote },
            state: *bytes.get(1)?,
            uid: u32_at(bytes, 64)?,
            inode: u32_at(bytes, 68)?,
            socket: SocketId(u64::from(u32_at(bytes, 44)?) | u64::from(u32_at(bytes, 48)?) << 32),
            info,
        })
    }

    /// Protocol of a destroy record: the kernel puts it into an attribute (`INET_DIAG_PROTOCOL`).
    pub(super) fn protocol(bytes: &[u8]) -> Option<u8> {
        const ATTRIBUTE_PROTOCOL: u16 = 10;
        Attributes::new(bytes.get(ROW..)?)
            .find(|&(kind, _)| kind == ATTRIBUTE_PROTOCOL)
            .and_then(|(_, value)| value.first().copied())
    }
}

fn address(family: u8, bytes: &[u8], at: usize) -> Option<IpAddr> {
    let raw = address_at(bytes, at)?;
    match i32::from(family) {
        libc::AF_INET => {
            let [a, b, c, d, ..] = raw;
            Some(Ipv4Addr::new(a, b, c, d).into())
        }
        libc::AF_INET6 => Some(Ipv6Addr::from(raw).to_canonical()),
        _ => None,
    }
}

/// Which sockets are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Asks for all sockets of a family in the states of `mask`.
pub(super) fn dump(sequence: u32, family: Family, transport: Transport, mask: u32, info: bool) -> Vec<u8> {
    let mut body = head(family, transport, info, mask);
    body.extend_from_slice(&[0; 48]);
    message(BY_FAMILY, FLAG_REQUEST | FLAG_DUMP, sequence, &body)
}

/// Asks for the one TCP socket with these ends. `interface` is the one that its packet passed: a socket that is bound to an
/// interface is found through that alone.
pub(super) fn exact(sequence: u32, local: SocketAddr, remote: SocketAddr, interface: u32) -> Vec<u8> {
    let family = match (local.ip(), remote.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => Family::V4,
        _ => Family::V6,
    };
    let mut body = head(family, Transport::Tcp, false, u32::MAX);
    body.extend_from_slice(&local.port().to_be_bytes());
    body.extend_from_slice(&remote.port().to_be_bytes());
    for ip in [local.ip(), remote.ip()] {
        let raw = match (family, ip) {
            (Family::V4, IpAddr::V4(v4)) => {
                let [a, b, c, d] = v4.octets();
                [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
            }
            (_, IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
            (_, IpAddr::V6(v6)) => v6.octets(),
        };
        body.extend_from_slice(&raw);
    }
    body.extend_from_slice(&interface.to_ne_bytes());
    body.extend_from_slice(&NO_COOKIE.to_ne_bytes());
    message(BY_FAMILY, FLAG_REQUEST, sequence, &body)
}

/// The part of `struct inet_diag_req_v2` before the socket's ends.
fn head(family: Family, transport: Transport, info: bool, mask: u32) -> Vec<u8> {
    let family = match family {
        Family::V4 => 2u8,
        Family::V6 => 10,
    };
    let protocol = if transport == Transport::Udp { 17u8 } else { 6 };
    let extensions = if info { 1u8 << (ATTRIBUTE_INFO - 1) } else { 0 };
    let mut body = Vec::with_capacity(56);
    body.extend_from_slice(&[family, protocol, extensions, 0]);
    body.extend_from_slice(&mask.to_ne_bytes());
    body
}

/// What the proc connector tells (`linux/cn_proc.h`), as far as it matters here. Threads are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcNews {
    Fork { parent: u32, child: u32 },
    Exec { pid: u32 },
    Exit { pid: u32 },
}

/// Reads one connector message: what happened, and when in monotonic nanoseconds.
pub(super) fn proc_event(body: &[u8]) -> Option<(u64, ProcNews)> {
    /// `struct cn_msg`, before its data.
    const CONNECTOR: usize = 20;
    let (index, value) = (u32_at(body, 0)?, u32_at(body, 4)?);
    if (index, value) != (1, 1) {
        return None; // not CN_IDX_PROC, CN_VAL_PROC
    }
    let length = usize::from(u16_at(body, 16)?);
    let event = body.get(CONNECTOR..CONNECTOR.checked_add(length)?)?;
    let time = u64_at(event, 8)?;
    let field = |n: usize| u32_at(event, 16 + 4 * n);
    let (pid, group) = (field(0)?, field(1)?);
    let news = match u32_at(event, 0)? {
        // PROC_EVENT_FORK: parent pid, parent's group, child pid, child's group. A child in a group of its own is a process.
        1 if field(2)? == field(3)? => ProcNews::Fork { parent: group, child: field(3)? },
        // PROC_EVENT_EXEC: whatever thread asked, the group goes on under its own number.
        2 => ProcNews::Exec { pid: group },
        // PROC_EVENT_EXIT: the group's leader; a thread's end is none of a process.
        0x8000_0000 if pid == group => ProcNews::Exit { pid },
        _ => return None,
    };
    Some((time, news))
}

/// Of a message of the proc connector: the thread that began, and its process.
pub(super) fn new_thread(body: &[u8]) -> Option<(u32, u32)> {
    /// `struct cn_msg` and the head of `struct proc_event`, with which the fields begin.
    const FIELDS: usize = 20 + 16;
    let field = |n: usize| u32_at(body, FIELDS + 4 * n);
    // CN_IDX_PROC, CN_VAL_PROC, PROC_EVENT_FORK.
    (u32_at(body, 0)? == 1 && u32_at(body, 4)? == 1 && u32_at(body, 20)? == 1).then_some(())?;
    Some((field(2)?, field(3)?))
}

/// Asks the proc connector to begin (`PROC_CN_MCAST_LISTEN`).
pub(super) fn listen_to_processes() -> Vec<u8> {
    let mut body = Vec::with_capacity(24);
    for word in [1u32, 1, 0, 0] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    body.extend_from_slice(&4u16.to_ne_bytes());
    body.extend_from_slice(&0u16.to_ne_bytes());
    body.extend_from_slice(&1u32.to_ne_bytes());
    message(super::wire::KIND_DONE, 0, 0, &body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::Messages;
    use super::*;

    /// A row as the kernel makes it, with `tcp_info` of `info` bytes.
    fn row(family: u8, local: [u8; 16], remote: [u8; 16], info: usize) -> Vec<u8> {
        let mut bytes = vec![family, 1, 0, 0];
        bytes.extend_from_slice(&40_000u16.to_be_bytes());
        bytes.extend_from_slice(&443u16.to_be_bytes());
        bytes.extend_from_slice(&local);
        bytes.extend_from_slice(&remote);
        for word in [3u32, 0x1122_3344, 0x55, 0, 0, 0, 1000, 98_765] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        let mut value = vec![0u8; info];
        for (at, number) in [(120usize, 519u64), (128, 1), (200, 600), (208, 83)] {
            if let Some(place) = value.get_mut(at..at + 8) {
                place.copy_from_slice(&number.to_ne_bytes());
            }
        }
        bytes.extend_from_slice(&u16::try_from(info + 4).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&ATTRIBUTE_INFO.to_ne_bytes());
        bytes.extend(value);
        bytes
    }

    #[test]
    fn a_row_is_read_with_its_bytes_and_repetitions_left_out() {
        let mut local = [0u8; 16];
        local[..4].copy_from_slice(&[192, 0, 2, 1]);
        let mut remote = [0u8; 16];
        remote[..4].copy_from_slice(&[198, 51, 100, 7]);
        let row = Row::parse(&row(2, local, remote, 240), Transport::Tcp).unwrap();
        assert_eq!(row.tuple.local, "192.0.2.1:40000".parse().unwrap());
        assert_eq!(row.tuple.remote, "198.51.100.7:443".parse().unwrap());
        assert_eq!((row.uid, row.inode, row.socket), (1000, 98_765, SocketId(0x55_1122_3344)));
        let info = row.info.unwrap();
        assert_eq!((info.bytes_out, info.bytes_in, info.acknowledged), (Some(517), 1, 519));
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_ipv4() {
        let mapped = |last| Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped().octets();
        let row = Row::parse(&row(10, mapped(1), mapped(2), 240), Transport::Tcp).unwrap();
        assert_eq!(row.tuple.remote, "192.0.2.2:443".parse().unwrap());
        assert!(row.tuple.local.is_ipv4());
    }

    #[test]
    fn an_old_kernels_shorter_info_tells_what_it_has() {
        let info = Row::parse(&row(2, [0; 16], [0; 16], 160), Transport::Tcp).unwrap().info.unwrap();
        assert_eq!((info.bytes_out, info.acknowledged), (None, 519));
        assert_eq!(Row::parse(&row(2, [0; 16], [0; 16], 104), Transport::Tcp).unwrap().info, None);
    }

    #[test]
    fn requests_have_the_kernels_layout() {
        let bytes = exact(9, "192.0.2.1:40000".parse().unwrap(), "198.51.100.7:443".parse().unwrap(), 5);
        let message = Messages::new(&bytes).next().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence, message.body.len()), (20, 1, 9, 56));
        assert_eq!(&message.body[..4], [2, 6, 0, 0]);
        assert_eq!(&message.body[8..16], [0x9c, 0x40, 1, 0xbb, 192, 0, 2, 1]);
        assert_eq!(&message.body[28..32], [198, 51, 100, 7]);
        let bytes = dump(1, Family::V6, Transport::Udp, 2, true);
        let message = Messages::new(&bytes).next().unwrap();
        assert_eq!((message.flags, message.body.len()), (0x301, 56));
        assert_eq!(&message.body[..3], [10, 17, 2]);
    }

    fn connector(what: u32, words: [u32; 4]) -> Vec<u8> {
        let mut body = Vec::new();
        for word in [1u32, 1, 5, 0] {
            body.extend_from_slice(&word.to_ne_bytes());
        }
        body.extend_from_slice(&40u16.to_ne_bytes());
        body.extend_from_slice(&0u16.to_ne_bytes());
        body.extend_from_slice(&what.to_ne_bytes());
        body.extend_from_slice(&1u32.to_ne_bytes());
        body.extend_from_slice(&77_000u64.to_ne_bytes());
        for word in words {
            body.extend_from_slice(&word.to_ne_bytes());
        }
        body.extend_from_slice(&[0; 8]);
        body
    }

    #[test]
    fn processes_are_told_and_threads_are_not() {
        let read = |what, words| {
            proc_event(&connector(what, words)).map(|(time, news)| {
                assert_eq!(time, 77_000);
                news
            })
        };
        assert_eq!(read(1, [11, 10, 20, 20]), Some(ProcNews::Fork { parent: 10, child: 20 }));
        assert_eq!(read(1, [11, 10, 21, 20]), None, "a new thread");
        assert_eq!(new_thread(&connector(1, [11, 10, 21, 20])), Some((21, 20)));
        assert_eq!(new_thread(&connector(2, [11, 10, 21, 20])), None);
        assert_eq!(read(2, [21, 20, 0, 0]), Some(ProcNews::Exec { pid: 20 }));
        assert_eq!(read(0x8000_0000, [20, 20, 0, 0]), Some(ProcNews::Exit { pid: 20 }));
        assert_eq!(read(0x8000_0000, [21, 20, 0, 0]), None, "a thread's end");
        assert_eq!(read(4, [20, 20, 0, 0]), None, "a change of account");
    }

    proptest! {
        #[test]
        fn any_bytes_into_any_reader_return(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Row::parse(&bytes, Transport::Tcp);
            let _ = Row::protocol(&bytes);
            let _ = TcpInfo::parse(&bytes);
            let _ = (proc_event(&bytes), new_thread(&bytes));
        }

        #[test]
        fn a_cut_row_is_none_or_itself(cut in 0usize..330) {
            let whole = row(2, [9; 16], [8; 16], 240);
            let cut = cut.min(whole.len());
            match Row::parse(&whole[..cut], Transport::Tcp) {
                None => prop_assert!(cut < ROW),
                Some(row) => {
                    prop_assert!(cut >= ROW);
                    prop_assert_eq!(row.uid, 1000);
                    prop_assert_eq!(row.info.is_some(), cut == whole.len());
                }
            }
        }

        #[test]
        fn a_cut_connector_message_is_none(cut in 0usize..60) {
            let whole = connector(2, [20, 20, 0, 0]);
            prop_assert_eq!(proc_event(&whole[..cut.min(whole.len() - 1)]), None);
        }
    }
}
