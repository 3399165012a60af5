//! What the standard library has no words for: an echo request, a long queue of callers, a connection that is cut.
//! `sockets_elsewhere` has the same functions for systems besides Linux.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

/// Sends a request; the bytes of its answer.
pub(super) fn exchange(remote: IpAddr, message: &[u8], patience: Duration) -> io::Result<usize> {
    let (family, protocol) = match remote {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    // Where ping sockets are not allowed, root still has raw ones.
    let open = |kind| rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol));
    let socket = open(SocketType::DGRAM).or_else(|_| open(SocketType::RAW))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(patience))?;
    rustix::net::connect(&socket, &SocketAddr::new(remote, 0))?;
    rustix::net::send(&socket, message, SendFlags::empty())?;
    let mut answer = vec![0; 64 << 10];
    let (_, length) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    Ok(length)
}

/// Lets more callers wait than the default of 128, which is too short for a flood: listening again sets a new length.
pub(super) fn lengthen(listener: &TcpListener) -> io::Result<()> {
    Ok(rustix::net::listen(listener, 4096)?)
}

/// Ends a connection with a reset.
pub(super) fn cut(stream: TcpStream) {
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
}
