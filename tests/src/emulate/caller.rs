//! A process that lives for milliseconds: makes one connection or sends one datagram, ends, and has written down who it was.
//!
//! It must start fast, so it parses nothing but its arguments and reads nothing but its own `/proc/self/stat`. For it there
//! is no time to look at routes: it only calls loopback and the documentation addresses that the labs use.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};
use sonde_common::time::Timestamp;

use super::raw;
use super::truth::now;

/// How a connection is ended, or not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Close {
    /// Closed in order.
    Graceful,
    /// Cut by the caller.
    Reset,
    /// The port is closed.
    Refused,
    /// Nothing ever answers.
    BlackHole,
}

impl Close {
    /// Every ending with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("graceful", Self::Graceful),
        ("reset", Self::Reset),
        ("refused", Self::Refused),
        ("blackhole", Self::BlackHole),
    ];
}

/// How the socket comes to the process, and how it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// Made and connected by the process itself.
    Plain,
    /// Connected through io_uring.
    Uring,
    /// Made by the parent, inherited, connected by the child.
    Inherited,
    /// Made by another process, passed over a Unix socket, connected here.
    Passed,
}

impl Means {
    /// Every way with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("plain", Self::Plain),
        ("io-uring", Self::Uring),
        ("inherited", Self::Inherited),
        ("passed", Self::Passed),
    ];
}

/// What a caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// TCP, or one UDP datagram.
    pub tcp: bool,
    /// Where to.
    pub remote: SocketAddr,
    /// How long the socket is held.
    pub life: Duration,
    /// How it ends.
    pub close: Close,
    /// How it begins.
    pub means: Means,
    /// Local port to have, 0 for any. A refused socket cannot be asked for its port any more.
    pub port: u16,
}

/// Who a caller was, in its own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// When it asked for the connection.
    pub time: Timestamp,
    /// Its process id as the host's `/proc` has it.
    pub pid: u32,
    /// When it started, in clock ticks (10 ms) since boot.
    pub start_ticks: u64,
    /// Its executable.
    pub program: String,
    /// `tcp` or `udp`.
    pub transport: String,
    /// Local port.
    pub local_port: u16,
    /// Where it called.
    pub remote: SocketAddr,
    /// How long it held the socket, in milliseconds.
    pub life_ms: u64,
    /// How it ended.
    pub close: Close,
    /// How it began.
    pub means: Means,
}

impl Errand {
    /// As arguments of the caller's program: `DESCRIPTION TRUTH-FILE`.
    #[must_use]
    pub fn describe(&self) -> String {
        let name =
            |close: Close| Close::ALL.iter().find(|(_, known)| *known == close).map_or("", |(name, _)| name);
        let means =
            |means: Means| Means::ALL.iter().find(|(_, known)| *known == means).map_or("", |(name, _)| name);
        let transport = if self.tcp { "tcp" } else { "udp" };
        let (remote, life, port) = (self.remote, self.life.as_millis(), self.port);
        format!("{transport},{remote},{life},{},{},{port}", name(self.close), means(self.means))
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        Some(Self {
            tcp: parts.next()? == "tcp",
            remote: parts.next()?.parse().ok()?,
            life: Duration::from_millis(parts.next()?.parse().ok()?),
            close: named(&Close::ALL, parts.next()?)?,
            means: named(&Means::ALL, parts.next()?)?,
            port: parts.next()?.parse().ok()?,
        })
    }

    fn family(&self) -> AddressFamily {
        if self.remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
    }

    /// A socket for it, not yet connected.
    ///
    /// # Errors
    /// What the system says.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        let kind = if self.tcp { SocketType::STREAM } else { SocketType::DGRAM };
        Ok(rustix::net::socket_with(self.family(), kind, SocketFlags::empty(), None)?)
    }
}

fn named<T: Copy>(all: &[(&str, T)], name: &str) -> Option<T> {
    all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// Whether a caller may call there: loopback, or the documentation ranges of the labs.
fn is_lab_or_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback() || matches!(v4.octets(), [203, 0, 113, _] | [198, 51, 100, _]),
        IpAddr::V6(v6) => v6.is_loopback() || matches!(v6.segments(), [0x2001, 0xdb8, ..]),
    }
}

/// The whole life of a caller. `arguments` are those of the process: program, errand, truth file; or `idle`.
///
/// # Errors
/// Arguments that it does not understand, and what the system says.
pub fn live(mut arguments: impl Iterator<Item = String>) -> io::Result<()> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let program = arguments.next().unwrap_or_default();
    let errand = arguments.next().ok_or_else(|| wrong("no errand: this is run by sonde-emulate"))?;
    if errand == "idle" {
        // Until whoever started it is gone.
        io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let errand = Errand::read(&errand).ok_or_else(|| wrong("an errand that is none"))?;
    if !is_lab_or_loopback(errand.remote.ip()) {
        return Err(wrong("refused: callers call loopback and the addresses of labs only"));
    }
    let truth = arguments.next().ok_or_else(|| wrong("no truth file"))?;
    let (pid, start_ticks) = myself()?;
    let socket = match errand.means {
        Means::Plain | Means::Uring => errand.socket()?,
        Means::Inherited => io::stdin().as_fd().try_clone_to_owned()?,
        Means::Passed => receive()?,
    };
    let time = now();
    let local_port = call(&errand, &socket)?;
    thread::sleep(errand.life);
    if errand.close == Close::Reset {
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    }
    drop(socket);
    let life = Life {
        time,
        pid,
        start_ticks,
        program,
        transport: if errand.tcp { "tcp" } else { "udp" }.to_owned(),
        local_port,
        remote: errand.remote,
        life_ms: u64::try_from(errand.life.as_millis()).unwrap_or(u64::MAX),
        close: errand.close,
        means: errand.means,
    };
    let mut line = serde_json::to_string(&life)?;
    line.push('\n');
    // One write to a file opened to append: lines of many callers do not mix.
    OpenOptions::new().append(true).create(true).open(truth)?.write_all(line.as_bytes())
}

/// Connects and says something; gives the local port.
fn call(errand: &Errand, socket: &OwnedFd) -> io::Result<u16> {
    if errand.port != 0 {
        raw::choose_port(socket.as_fd(), errand.port)?;
    }
    if !errand.tcp {
        // Not connected first: a single datagram is the harder case.
        match rustix::net::sendto(socket, b"ping", SendFlags::empty(), &errand.remote) {
            Ok(_) | Err(rustix::io::Errno::CONNREFUSED) => {}
            Err(error) => return Err(error.into()),
        }
        return port_of(socket);
    }
    if errand.close == Close::BlackHole {
        rustix::io::ioctl_fionbio(socket, true)?;
    }
    let connected = if errand.means == Means::Uring {
        raw::uring_connect(socket.as_fd(), errand.remote)
    } else {
        rustix::net::connect(socket, &errand.remote).map_err(io::Error::from)
    };
    match connected {
        Ok(()) => {
            let _ = rustix::net::send(socket, b"p", SendFlags::NOSIGNAL);
        }
        Err(error) => match errand.close {
            Close::Refused if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(errand.port),
            Close::BlackHole if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            _ => return Err(error),
        },
    }
    port_of(socket)
}

fn port_of(socket: &OwnedFd) -> io::Result<u16> {
    let address = rustix::net::getsockname(socket)?;
    Ok(SocketAddr::try_from(address).map_err(io::Error::from)?.port())
}

/// Process id and start time as `/proc` tells them: also from inside a process namespace the host's, as long as `/proc`
/// is the host's.
fn myself() -> io::Result<(u32, u64)> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (before, after) = stat.rsplit_once(')').unwrap_or_default();
    let pid = before.split(' ').next().and_then(|pid| pid.parse().ok());
    // Field 22; the first one behind the name is the third.
    let start = after.split_whitespace().nth(19).and_then(|ticks| ticks.parse().ok());
    pid.zip(start).ok_or_else(|| io::Error::other("/proc/self/stat is not as expected"))
}

/// Takes the socket that comes over the Unix socket on stdin.
fn receive() -> io::Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(io::stdin(), &mut [io::IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut sockets) = message
            && let Some(socket) = sockets.next()
        {
            return Ok(socket);
        }
    }
    Err(io::Error::other("no socket came"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errands_come_back_as_they_were_described() {
        for (_, close) in Close::ALL {
            for (_, means) in Means::ALL {
                let remote = "[2001:db8::1]:443".parse().unwrap();
                let errand =
                    Errand { tcp: false, remote, life: Duration::from_millis(5), close, means, port: 40_000 };
                assert_eq!(Errand::read(&errand.describe()), Some(errand));
            }
        }
        assert_eq!(Errand::read("tcp,127.0.0.1:1"), None);
    }

    #[test]
    fn a_caller_refuses_all_but_labs_and_loopback() {
        let arguments = ["caller", "tcp,192.0.2.1:9,0,graceful,plain,0", "/dev/null"].map(str::to_owned);
        let error = live(arguments.into_iter()).unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
        for ip in ["8.8.8.8", "10.0.0.1", "::", "2606:4700::1"] {
            assert!(!is_lab_or_loopback(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn a_caller_knows_itself() {
        let (pid, start) = myself().unwrap();
        assert_eq!(pid, std::process::id());
        assert!(start > 0);
    }
}
