//! What a connection came to, by the last counters that the kernel told of it.

use sonde_common::event::{Outcome, Totals};
use sonde_common::net::Transport;
use sonde_common::time::Timestamp;

use super::diag::Row;

/// A closed socket of which no call is known yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    pub(super) row: Row,
    pub(super) time: Timestamp,
}

/// The sum of a connection that was opened at `opened` and is over at `now`. Bytes received may be one too many: the kernel
/// counts the other side's FIN as one, where it came while the socket still stood.
pub(super) fn totals(row: Option<&Row>, opened: Timestamp, now: Timestamp) -> Totals {
    let unknown = Totals { end: now, ..Totals::default() };
    let Some((row, info)) = row.and_then(|row| Some((row, row.info?))) else { return unknown };
    if row.tuple.remote.port() == 0 {
        // Reset from here: by then the kernel has wiped the socket's peer and counters.
        return Totals { outcome: Outcome::Reset, ..unknown };
    }
    let quiet = info.sent_ms.min(info.received_ms).min(info.acknowledged_ms);
    let last = now.plus_nanos(-i64::from(quiet) * 1_000_000);
    let outcome = match (info.acknowledged, info.segments_in) {
        (1.., _) => Outcome::Established,
        (0, 1..) => Outcome::Refused,
        (0, 0) => Outcome::Unanswered,
    };
    // Without a segment of payload what was counted is the FIN.
    let bytes_in = if info.data_in == 0 { 0 } else { info.bytes_in };
    Totals {
        // Counters of a connection that never spoke count from the boot on.
        end: if last < opened { now } else { last },
        bytes_out: info.bytes_out,
        bytes_in: Some(bytes_in),
        outcome,
    }
}

/// A destroy record.
pub(super) fn destroyed(body: &[u8]) -> Option<Row> {
    let transport = match Row::protocol(body)? {
        6 => Transport::Tcp,
        17 => Transport::Udp,
        _ => return None,
    };
    Row::parse(body, transport)
}

#[cfg(test)]
mod tests {
    use sonde_common::live::SocketId;
    use sonde_common::net::FiveTuple;

    use super::super::diag::TcpInfo;
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_nanos(5_000_000_000 + ms * 1_000_000)
    }

    fn sum(remote: &str, info: TcpInfo) -> Totals {
        let local = "192.0.2.1:40000".parse().unwrap();
        let tuple = FiveTuple { transport: Transport::Tcp, local, remote: remote.parse().unwrap() };
        let row = Row { tuple, state: 7, uid: 0, inode: 0, socket: SocketId(1), info: Some(info) };
        totals(Some(&row), at(0), at(100))
    }

    #[test]
    fn the_outcome_follows_from_what_came_back() {
        let outcome = |acknowledged, segments_in| {
            sum("192.0.2.2:443", TcpInfo { acknowledged, segments_in, ..TcpInfo::default() }).outcome
        };
        assert_eq!(outcome(519, 7), Outcome::Established);
        assert_eq!(outcome(0, 1), Outcome::Refused);
        assert_eq!(outcome(0, 0), Outcome::Unanswered);
        assert_eq!(totals(None, at(0), at(10)).outcome, Outcome::Unknown);
        let reset = sum("0.0.0.0:0", TcpInfo::default());
        assert_eq!((reset.outcome, reset.bytes_out, reset.bytes_in), (Outcome::Reset, None, None));
    }

    #[test]
    fn a_fin_alone_is_no_byte_and_the_end_lies_within_the_connection() {
        let info = TcpInfo {
            bytes_in: 1,
            bytes_out: Some(9),
            acknowledged: 11,
            sent_ms: 40,
            received_ms: 900,
            acknowledged_ms: 39,
            ..TcpInfo::default()
        };
        let whole = sum("192.0.2.2:443", info);
        assert_eq!((whole.bytes_out, whole.bytes_in, whole.end), (Some(9), Some(0), at(61)));
        let far = TcpInfo { sent_ms: 90_000, received_ms: 90_000, acknowledged_ms: 90_000, ..info };
        assert_eq!(sum("192.0.2.2:443", far).end, at(100));
    }
}
