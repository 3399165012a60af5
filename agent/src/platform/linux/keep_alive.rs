//! Connections whose other side vanished without a word: the system asks, and tells of it.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// Has the system ask the other side of an idle TCP connection whether it is there: after a minute, then four times every
/// quarter of one.
///
/// # Errors
/// If it is no TCP socket.
pub fn keep_alive(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(&socket, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(&socket, 4)?;
    Ok(())
}
