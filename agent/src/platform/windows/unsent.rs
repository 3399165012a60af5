//! What the other side of a TCP connection has not confirmed yet: for protocols that have no receipts of their own.

use std::io;
use std::os::windows::io::{AsRawSocket as _, AsSocket, OwnedSocket};
use std::time::Duration;

use windows_sys::Win32::Networking::WinSock::{
    IPPROTO_TCP, SIO_TCP_INFO, SOCKET_ERROR, TCP_INFO_v0, TCP_MAXRT, WSAIoctl,
};

use super::keep_alive::set;

/// A second handle of a connection, by which the system is asked.
#[derive(Debug)]
pub struct Unsent(OwnedSocket);

impl Unsent {
    /// Of a TCP socket.
    ///
    /// # Errors
    /// If the system gives no second handle.
    pub fn of(socket: impl AsSocket) -> io::Result<Self> {
        Ok(Self(socket.as_socket().try_clone_to_owned()?))
    }

    /// How many bytes are under way that the other side's system has not confirmed (Windows 10 1703). Bytes that the other
    /// side had no room for and that wait here are not among them: the system does not tell of those.
    ///
    /// # Errors
    /// If it is no TCP socket, or the system does not tell.
    pub fn bytes(&self) -> io::Result<usize> {
        let version = 0_u32;
        let mut told = TCP_INFO_v0::default();
        let mut length = 0;
        // SAFETY: the socket is ours and open; question and answer are live, and their lengths are told.
        let result = unsafe {
            WSAIoctl(
                usize::try_from(self.0.as_raw_socket()).unwrap_or(usize::MAX),
                SIO_TCP_INFO,
                (&raw const version).cast(),
                4,
                (&raw mut told).cast(),
                u32::try_from(size_of::<TCP_INFO_v0>()).unwrap_or(0),
                &raw mut length,
                std::ptr::null_mut(),
                None,
            )
        };
        if result == SOCKET_ERROR {
            return Err(io::Error::last_os_error());
        }
        Ok(usize::try_from(told.BytesInFlight).unwrap_or(usize::MAX))
    }

    /// Has the connection end when nothing is confirmed for so long, whatever the system's own patience, which holds where
    /// it cannot be set.
    ///
    /// # Errors
    /// None here: a connection with the system's patience is better than none.
    pub fn give_up_after(&self, time: Duration) -> io::Result<()> {
        let secs = u32::try_from(time.as_secs().max(1)).unwrap_or(u32::MAX);
        if let Err(error) = set(&self.0, IPPROTO_TCP, TCP_MAXRT, secs) {
            tracing::debug!(%error, "the system's own patience with a silent connection holds");
        }
        Ok(())
    }
}
