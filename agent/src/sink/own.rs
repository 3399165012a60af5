//! The sensor's own sockets: what it sends upstream is a beacon by every measure, and is told apart by the socket that it
//! opened, not by a name that others could bear.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Most sockets remembered; the oldest goes.
const MAX_SOCKETS: usize = 256;

/// The sockets that the sensor opened itself, shared between the sinks and the sensor's thread.
#[derive(Clone, Debug, Default)]
pub struct OwnSockets(Arc<Mutex<Vec<SocketAddr>>>);

impl OwnSockets {
    /// Notes the local end of a socket before it connects.
    pub fn opened(&self, local: SocketAddr) {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sockets.len() == MAX_SOCKETS {
            sockets.remove(0);
        }
        sockets.push(local);
    }

    /// Whether a connection's local end is one of ours.
    #[must_use]
    pub fn holds(&self, local: SocketAddr) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&local)
    }
}
