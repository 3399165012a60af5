//! Connections whose other side vanished without a word: the system asks, and tells of it.

use std::io;
use std::os::windows::io::{AsRawSocket, AsSocket};

use windows_sys::Win32::Networking::WinSock::{
    IPPROTO_TCP, SO_KEEPALIVE, SOCKET_ERROR, SOL_SOCKET, TCP_KEEPCNT, TCP_KEEPIDLE, TCP_KEEPINTVL, setsockopt,
};

/// Has the system ask the other side of an idle TCP connection whether it is there: after a minute, then four times every
/// quarter of one, where the system lets the times be set (Windows 10 1709).
///
/// # Errors
/// If it is no TCP socket.
pub fn keep_alive(socket: impl AsSocket) -> io::Result<()> {
    set(&socket, SOL_SOCKET, SO_KEEPALIVE, 1)?;
    for (option, value) in [(TCP_KEEPIDLE, 60), (TCP_KEEPINTVL, 15), (TCP_KEEPCNT, 4)] {
        // Else the system's own times hold: two hours, and then every second.
        if let Err(error) = set(&socket, IPPROTO_TCP, option, value) {
            tracing::debug!(%error, option, "the system's own times of keep-alive hold");
        }
    }
    Ok(())
}

/// Sets an option of a socket that is one number.
pub(super) fn set(socket: &impl AsSocket, level: i32, option: i32, value: u32) -> io::Result<()> {
    let bytes = value.to_ne_bytes();
    let socket = socket.as_socket().as_raw_socket();
    // SAFETY: the socket is open while it is borrowed; the value is live, and its length is told.
    let result = unsafe {
        setsockopt(usize::try_from(socket).unwrap_or(usize::MAX), level, option, bytes.as_ptr(), 4)
    };
    if result == SOCKET_ERROR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_alive() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        keep_alive(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()).unwrap();
        assert!(
            set(&std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), IPPROTO_TCP, TCP_KEEPCNT, 4).is_err()
        );
    }
}
