//! One callback: connects, says its piece, hears the answer, tells how it went.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use super::truth::{Callback, Outcome, now};
use super::{sockets, tls, wire};
use crate::rng::Rng;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Bytes over TCP.
    Tcp,
    /// The same inside TLS.
    Tls,
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 inside TLS.
    Https,
    /// Queries whose labels carry data.
    Dns,
    /// A datagram and its answer.
    Udp,
    /// An echo request with data.
    Icmp,
}

impl Transport {
    /// Every transport with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("tcp", Self::Tcp),
        ("tls", Self::Tls),
        ("http", Self::Http),
        ("https", Self::Https),
        ("dns", Self::Dns),
        ("udp", Self::Udp),
        ("icmp", Self::Icmp),
    ];

    /// A transport by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, transport)| *transport)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// How an agent calls.
#[derive(Clone, Debug)]
pub struct Manner {
    /// What it speaks.
    pub transport: Transport,
    /// Server name for TLS and HTTP, domain for DNS. Empty: the address.
    pub name: String,
    /// Payload bytes of one check-in.
    pub bytes_out: usize,
    /// Keep one connection open and check in inside it.
    pub keep_open: bool,
    /// Longest wait for a connection or an answer.
    pub patience: Duration,
    /// HTTP User-Agent.
    pub user_agent: String,
    /// Type of the DNS query.
    pub text_query: bool,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection that is kept open.
struct Kept {
    remote: SocketAddr,
    local: Option<SocketAddr>,
    stream: Box<dyn Stream>,
}

/// Makes the callbacks of one agent.
pub struct Caller {
    manner: Manner,
    rng: Rng,
    tls: Option<Arc<rustls::ClientConfig>>,
    kept: Option<Kept>,
    sequence: u16,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("manner", &self.manner).finish_non_exhaustive()
    }
}

impl Caller {
    /// A caller of that manner. Where it may call is for the caller of this to check.
    #[must_use]
    pub const fn new(manner: Manner, rng: Rng) -> Self {
        Self { manner, rng, tls: None, kept: None, sequence: 0 }
    }

    /// Calls once.
    pub fn call(&mut self, remote: SocketAddr) -> Callback {
        let mut callback = Callback {
            time: now(),
            pid: std::process::id(),
            transport: self.manner.transport.name().to_owned(),
            local: None,
            remote,
            bytes_out: 0,
            bytes_in: 0,
            outcome: Outcome::Established,
        };
        let result = match self.manner.transport {
            Transport::Dns | Transport::Udp => self.datagram(remote, &mut callback),
            Transport::Icmp => self.echo(remote.ip(), &mut callback),
            _ => self.stream(remote, &mut callback),
        };
        if let Err(error) = result {
            callback.outcome = Outcome::of(&error);
            self.kept = None;
        }
        callback
    }

    fn stream(&mut self, remote: SocketAddr, callback: &mut Callback) -> io::Result<()> {
        let mut open = match self.kept.take().filter(|kept| kept.remote == remote) {
            Some(kept) => kept,
            None => self.open(remote, callback)?,
        };
        callback.local = open.local;
        let payload: Vec<u8> = (0..self.manner.bytes_out).map(|_| self.rng.u16().to_le_bytes()[0]).collect();
        let http = matches!(self.manner.transport, Transport::Http | Transport::Https);
        let message = if http { self.request(remote, &payload) } else { wire::framed(&payload) };
        open.stream.write_all(&message)?;
        open.stream.flush()?;
        callback.bytes_out = u64::try_from(message.len()).unwrap_or(u64::MAX);
        let length = if http {
            wire::read_http(&mut open.stream)?.map(|(head, body)| head.len() + body.len())
        } else {
            wire::read_framed(&mut open.stream)?.map(|body| body.len() + 4)
        };
        let length = length.ok_or(io::ErrorKind::UnexpectedEof)?;
        callback.bytes_in = u64::try_from(length).unwrap_or(u64::MAX);
        if self.manner.keep_open {
            self.kept = Some(open);
        }
        Ok(())
    }

    fn open(&mut self, remote: SocketAddr, callback: &mut Callback) -> io::Result<Kept> {
        let stream = TcpStream::connect_timeout(&remote, self.manner.patience)?;
        callback.local = stream.local_addr().ok();
        stream.set_read_timeout(Some(self.manner.patience))?;
        stream.set_nodelay(true)?;
        let local = callback.local;
        if !matches!(self.manner.transport, Transport::Tls | Transport::Https) {
            return Ok(Kept { remote, local, stream: Box::new(stream) });
        }
        let config = match &self.tls {
            Some(config) => Arc::clone(config),
            None => Arc::clone(self.tls.insert(tls::client().map_err(io::Error::other)?)),
        };
        let stream = tls::connect(&config, &self.host(remote), stream).map_err(io::Error::other)?;
        Ok(Kept { remote, local, stream: Box::new(stream) })
    }

    fn host(&self, remote: SocketAddr) -> String {
        if self.manner.name.is_empty() { remote.ip().to_string() } else { self.manner.name.clone() }
    }

    fn request(&self, remote: SocketAddr, body: &[u8]) -> Vec<u8> {
        let (host, agent, length) = (self.host(remote), &self.manner.user_agent, body.len());
        let connection = if self.manner.keep_open { "keep-alive" } else { "close" };
        let head = format!(
            "POST /api/status HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nContent-Length: {length}\r\n\
             Connection: {connection}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }

    fn datagram(&mut self, remote: SocketAddr, callback: &mut Callback) -> io::Result<()> {
        let any: IpAddr = if remote.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(remote)?;
        callback.local = socket.local_addr().ok();
        socket.set_read_timeout(Some(self.manner.patience))?;
        let message = if self.manner.transport == Transport::Dns {
            // As much as fits a label; the name is the message.
            let data: String = (0..self.manner.bytes_out.clamp(1, 31))
                .map(|_| format!("{:02x}", self.rng.u16() >> 8))
                .collect();
            let kind = if self.manner.text_query { wire::TXT } else { wire::A };
            wire::query(self.rng.u16(), &format!("{data}.{}", self.manner.name), kind)
        } else {
            (0..self.manner.bytes_out).map(|_| self.rng.u16().to_le_bytes()[0]).collect()
        };
        socket.send(&message)?;
        callback.bytes_out = u64::try_from(message.len()).unwrap_or(u64::MAX);
        let mut answer = [0; 4096];
        callback.bytes_in = u64::try_from(socket.recv(&mut answer)?).unwrap_or(u64::MAX);
        Ok(())
    }

    fn echo(&mut self, remote: IpAddr, callback: &mut Callback) -> io::Result<()> {
        callback.remote = SocketAddr::new(remote, 0);
        self.sequence = self.sequence.wrapping_add(1);
        let data: Vec<u8> = (0..self.manner.bytes_out).map(|_| self.rng.u16().to_le_bytes()[0]).collect();
        let message = wire::echo_request(remote.is_ipv6(), self.rng.u16(), self.sequence, &data);
        let length = sockets::exchange(remote, &message, self.manner.patience)?;
        callback.bytes_out = u64::try_from(message.len()).unwrap_or(u64::MAX);
        callback.bytes_in = u64::try_from(length).unwrap_or(u64::MAX);
        Ok(())
    }
}
