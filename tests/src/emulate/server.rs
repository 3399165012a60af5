//! The side that answers: one thread for each listener, one for each connection. For labs, so it is simple and unhurried.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::{guard, sockets, tls, wire};

/// What a listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Answers framed messages.
    Tcp,
    /// The same inside TLS.
    Tls,
    /// Answers HTTP requests.
    Http,
    /// The same inside TLS.
    Https,
    /// Answers queries.
    Dns,
    /// Answers datagrams.
    Udp,
    /// Accepts, reads to the end, says nothing.
    Mute,
    /// Accepts and cuts the connection.
    Reset,
}

impl Service {
    /// Every service with its name.
    pub const ALL: [(&'static str, Self); 8] = [
        ("tcp", Self::Tcp),
        ("tls", Self::Tls),
        ("http", Self::Http),
        ("https", Self::Https),
        ("dns", Self::Dns),
        ("udp", Self::Udp),
        ("mute", Self::Mute),
        ("reset", Self::Reset),
    ];

    /// A service by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, service)| *service)
    }
}

/// What a server answers.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Bytes of an answer.
    pub bytes: usize,
    /// Addresses of names, for the resolver.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Seconds for which the resolver's answers hold.
    pub ttl_secs: u32,
}

struct Server {
    answers: Answers,
    tls: Arc<rustls::ServerConfig>,
}

/// A connection that says nothing for so long is let go.
const IDLE: Duration = Duration::from_secs(600);

/// Binds every service and answers for ever, on threads of its own; returns once all are bound.
///
/// # Errors
/// An address that the emulator may not listen at, or that cannot be bound.
pub fn serve(services: &[(Service, SocketAddr)], answers: Answers) -> anyhow::Result<()> {
    for (_, address) in services {
        guard::may_listen(address.ip()).context("refused")?;
    }
    let names: Vec<String> = answers.names.keys().cloned().chain(["localhost".to_owned()]).collect();
    let server = Arc::new(Server { tls: tls::server(names)?, answers });
    for (service, address) in services {
        let (service, server) = (*service, Arc::clone(&server));
        let at = || format!("listening at {address}");
        if matches!(service, Service::Dns | Service::Udp) {
            let socket = UdpSocket::bind(address).with_context(at)?;
            thread::spawn(move || server.datagrams(service, &socket));
        } else {
            let listener = TcpListener::bind(address).with_context(at)?;
            sockets::lengthen(&listener)?;
            thread::spawn(move || connections(&server, service, &listener));
        }
    }
    Ok(())
}

fn connections(server: &Arc<Server>, service: Service, listener: &TcpListener) {
    for stream in listener.incoming() {
        // Out of descriptors for a moment, say: the next one may do.
        let Ok(stream) = stream else { continue };
        if service == Service::Reset {
            sockets::cut(stream);
            continue;
        }
        let server = Arc::clone(server);
        // A client that goes away in the middle ends its own connection and nothing else.
        thread::spawn(move || {
            let _ = server.connection(service, stream);
        });
    }
}

impl Server {
    fn connection(&self, service: Service, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_nodelay(true)?;
        match service {
            Service::Tls => self.framed(tls::accept(&self.tls, stream)?)?,
            Service::Https => self.http(tls::accept(&self.tls, stream)?)?,
            Service::Http => self.http(stream)?,
            Service::Mute => {
                io::copy(&mut stream, &mut io::sink())?;
            }
            _ => self.framed(stream)?,
        }
        Ok(())
    }

    fn framed(&self, mut stream: impl Read + Write) -> io::Result<()> {
        while wire::read_framed(&mut stream)?.is_some() {
            stream.write_all(&wire::framed(&vec![b'.'; self.answers.bytes]))?;
            stream.flush()?;
        }
        Ok(())
    }

    fn http(&self, mut stream: impl Read + Write) -> io::Result<()> {
        while let Some((head, _)) = wire::read_http(&mut stream)? {
            let (length, body) = (self.answers.bytes, vec![b'.'; self.answers.bytes]);
            let close = head.to_ascii_lowercase().contains("connection: close");
            let connection = if close { "close" } else { "keep-alive" };
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &body].concat())?;
            stream.flush()?;
            if close {
                break;
            }
        }
        Ok(())
    }

    fn datagrams(&self, service: Service, socket: &UdpSocket) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            // An ICMP error of an earlier answer is told here; the next datagram may be fine.
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let message = buffer.get(..length).unwrap_or_default();
            let answer = if service == Service::Dns {
                let name = wire::question(message).map(|(name, _)| name).unwrap_or_default();
                let addresses = self.answers.names.get(&name).map_or(&[][..], Vec::as_slice);
                let text = vec![b'.'; self.answers.bytes.min(255)];
                wire::answer(message, addresses, &text, self.answers.ttl_secs)
            } else {
                Some(vec![b'.'; self.answers.bytes])
            };
            if let Some(answer) = answer {
                let _ = socket.send_to(&answer, from);
            }
        }
    }
}
