//! What the other side of a TCP connection has not confirmed yet: for protocols that have no receipts of their own.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt;

/// A second handle of a connection, by which the system is asked.
#[derive(Debug)]
pub struct Unsent(OwnedFd);

impl Unsent {
    /// Of a TCP socket.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        Ok(Self(socket.as_fd().try_clone_to_owned()?))
    }

    /// How many bytes were written that the other side's system has not confirmed.
    ///
    /// # Errors
    /// If it is no TCP socket.
    pub fn bytes(&self) -> io::Result<usize> {
        let mut count: libc::c_int = 0;
        // SAFETY: the descriptor is ours and open; TIOCOUTQ writes one int, to a live one.
        let failed = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Has the connection end when nothing is confirmed for so long (`TCP_USER_TIMEOUT`), whatever the system's own patience.
    ///
    /// # Errors
    /// If it is no TCP socket.
    pub fn give_up_after(&self, time: Duration) -> io::Result<()> {
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Ok(sockopt::set_tcp_user_timeout(&self.0, millis)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_the_other_side_has_no_room_for_is_unsent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let unsent = Unsent::of(&near).unwrap();
        unsent.give_up_after(Duration::from_secs(30)).unwrap();
        assert_eq!(unsent.bytes().unwrap(), 0);
        near.set_nonblocking(true).unwrap();
        while near.write(&[0; 65_536]).is_ok() {}
        assert!(unsent.bytes().unwrap() > 0);
        far.set_nonblocking(true).unwrap();
        let since = std::time::Instant::now();
        while unsent.bytes().unwrap() > 0 {
            let _ = far.read(&mut [0; 1 << 20]);
            assert!(since.elapsed() < Duration::from_secs(30));
        }
    }
}
