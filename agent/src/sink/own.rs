//! The sensor's own sockets: what it sends upstream is a beacon by every measure, and is told apart by the socket that it
//! opened, not by a name that others could bear.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most sockets remembered; the one that was opened first goes.
const MAX_SOCKETS: usize = 256;

/// How long a socket is remembered after its end: packets and the tracker's last word of a connection come later than the
/// close, and the system gives the port to others only when it has gone through all of them.
const LINGER: Duration = Duration::from_secs(120);

/// The sockets that the sensor opened itself, shared between the sinks and the sensor's thread.
#[derive(Clone, Debug, Default)]
pub struct OwnSockets(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    sockets: Vec<Socket>,
    next: u64,
}

#[derive(Debug)]
struct Socket {
    number: u64,
    /// Its address may be unspecified: it is bound before the system has chosen the way.
    local: SocketAddr,
    /// Where it leads; `None`: not said, so that only the local end is compared.
    remote: Option<SocketAddr>,
    closed: Option<Instant>,
}

/// A socket that is noted as ours as long as this lives, and some time longer.
#[derive(Debug)]
pub struct Noted {
    own: OwnSockets,
    number: u64,
}

impl OwnSockets {
    /// Notes a socket before it connects; it counts as ours until some time after what is returned is dropped.
    #[must_use]
    pub fn note(&self, local: SocketAddr, remote: Option<SocketAddr>) -> Noted {
        let number = self.add(local, remote);
        Noted { own: self.clone(), number }
    }

    /// Notes the local end of a socket that is never closed, or of which nobody tells when.
    pub fn opened(&self, local: SocketAddr) {
        self.add(local, None);
    }

    /// Whether a connection is one of ours.
    #[must_use]
    pub fn holds(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let local = canonical(local);
        table.sockets.iter().any(|socket| {
            let ip = socket.local.ip();
            let here = socket.local.port() == local.port() && (ip.is_unspecified() || ip == local.ip());
            here && socket.remote.is_none_or(|end| end == canonical(remote))
        })
    }

    fn add(&self, local: SocketAddr, remote: Option<SocketAddr>) -> u64 {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget(Instant::now());
        if table.sockets.len() == MAX_SOCKETS {
            // What is closed is worth less than what is open.
            let at = table.sockets.iter().position(|socket| socket.closed.is_some()).unwrap_or(0);
            table.sockets.remove(at);
        }
        let number = table.next;
        table.next += 1;
        let socket = Socket { number, local: canonical(local), remote: remote.map(canonical), closed: None };
        table.sockets.push(socket);
        number
    }
}

impl Table {
    fn forget(&mut self, now: Instant) {
        let over = |closed: Instant| now.saturating_duration_since(closed) >= LINGER;
        self.sockets.retain(|socket| !socket.closed.is_some_and(over));
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let mut table = self.own.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = table.sockets.iter_mut().find(|socket| socket.number == self.number) {
            socket.closed = Some(Instant::now());
        }
    }
}

/// An IPv4 address that is written as an IPv6 one is the same end.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_socket_is_ours_by_both_ends_and_for_some_time_after_its_end() {
        let own = OwnSockets::default();
        let noted = own.note(at("0.0.0.0:4000"), Some(at("192.0.2.1:443")));
        let ours = |local: &str, remote: &str| own.holds(at(local), at(remote));
        assert!(ours("10.0.0.1:4000", "192.0.2.1:443"));
        assert!(ours("[::ffff:10.0.0.1]:4000", "[::ffff:192.0.2.1]:443"));
        assert!(!ours("10.0.0.1:4001", "192.0.2.1:443") && !ours("10.0.0.1:4000", "192.0.2.2:443"));
        drop(noted);
        assert!(ours("10.0.0.1:4000", "192.0.2.1:443"));
        own.0.lock().unwrap().forget(Instant::now() + LINGER);
        assert!(!ours("10.0.0.1:4000", "192.0.2.1:443"));
    }

    #[test]
    fn a_full_table_forgets_closed_sockets_first() {
        let own = OwnSockets::default();
        own.opened(at("10.0.0.1:1"));
        drop(own.note(at("10.0.0.1:2"), None));
        for port in 3..=u16::try_from(MAX_SOCKETS).unwrap() + 1 {
            own.opened(at(&format!("10.0.0.1:{port}")));
        }
        let ours = |port: u16| own.holds(SocketAddr::from(([10, 0, 0, 1], port)), at("192.0.2.1:443"));
        assert!(ours(1) && !ours(2) && ours(3));
        own.opened(at("10.0.0.2:9"));
        assert!(!ours(1) && ours(3));
    }
}
