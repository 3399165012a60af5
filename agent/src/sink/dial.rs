//! The one way by which sinks connect: own sockets noted before they speak, every address tried, limits on every wait, a
//! proxy where one is set, TLS where it is wanted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use sonde_common::config::{SinkName, SinkSettings};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::SetupError;
use super::own::{Noted, OwnSockets};
use super::proxy::Proxy;
use super::tls::Tls;
use crate::platform;
use crate::platform::unsent::Unsent;

/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Longest wait for one address.
const CONNECT: Duration = Duration::from_secs(10);
/// Shortest wait for one address, however many there are.
const LEAST_CONNECT: Duration = Duration::from_secs(1);

/// Connects as one sink is set up to.
#[derive(Clone, Debug)]
pub struct Dialer {
    own: OwnSockets,
    /// How long all of it may take.
    patience: Duration,
    proxy: Option<Proxy>,
    tls: Option<Tls>,
    /// The name that the server's certificate is to bear, where it is not the host's.
    name: Option<ServerName<'static>>,
}

/// A connection: plain or TLS, through a proxy or not.
pub struct Stream {
    // Before the note: the socket is closed first, and lingers from then on.
    inner: Box<dyn Bytes>,
    unsent: Unsent,
    _noted: Noted,
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

impl Dialer {
    /// As the settings say. `secure`: whether the server is reached by TLS, which the URL says.
    ///
    /// # Errors
    /// When files of TLS cannot be used, or the proxy's URL or the server's name is none.
    pub fn new(
        name: &SinkName,
        settings: &SinkSettings,
        secure: bool,
        own: &OwnSockets,
    ) -> Result<Self, SetupError> {
        let error = |reason| SetupError { sink: name.clone(), reason };
        let tls = if secure { Some(Tls::server(&settings.tls).map_err(error)?) } else { None };
        let of_proxy = settings.proxy.get().is_some_and(|proxy| proxy.starts_with("https:"));
        if !secure && !of_proxy && settings.tls != Default::default() {
            let reason = "its tls table is set, but its URL is not one of TLS: use https:// or tls://, or leave the table out";
            return Err(error(reason.to_owned()));
        }
        let expected = &settings.tls.server_name;
        let expected = match ServerName::try_from(expected.clone()) {
            _ if expected.is_empty() => None,
            Ok(name) => Some(name),
            Err(_) => return Err(error("tls.server_name is no name of a host and no address".to_owned())),
        };
        Ok(Self {
            own: own.clone(),
            patience: Duration::from_secs(settings.timeout_secs.get().into()),
            proxy: Proxy::of(settings).map_err(error)?,
            tls,
            name: expected,
        })
    }

    /// Whether the server is reached by TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects to a host.
    ///
    /// # Errors
    /// When it cannot be resolved or reached, the proxy does not lead there, or TLS is not agreed upon. The text says which.
    pub async fn dial(&self, host: &str, port: u16) -> io::Result<Stream> {
        match timeout(self.patience, self.connect(host, port)).await {
            Ok(result) => result,
            Err(_) => Err(late(format!("{host}:{port} was not reached within {:?}", self.patience))),
        }
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<Stream> {
        let Some(proxy) = &self.proxy else {
            let (socket, noted) = self.reach(host, port).await?;
            let unsent = Unsent::of(&socket)?;
            return Ok(Stream { inner: self.secured(socket, host).await?, unsent, _noted: noted });
        };
        let (socket, noted) =
            self.reach(&proxy.at.host, proxy.at.port).await.map_err(|error| said("proxy", &error))?;
        let unsent = Unsent::of(&socket)?;
        let inner = match &proxy.tls {
            None => {
                let mut socket = socket;
                proxy.connect(&mut socket, host, port).await?;
                self.secured(socket, host).await?
            }
            Some(tls) => {
                let name = server_name(&proxy.at.host)?;
                let mut socket = handshake(tls, name, socket).await.map_err(|error| said("proxy", &error))?;
                proxy.connect(&mut socket, host, port).await?;
                self.secured(socket, host).await?
            }
        };
        Ok(Stream { inner, unsent, _noted: noted })
    }

    async fn secured<S: Bytes + 'static>(&self, socket: S, host: &str) -> io::Result<Box<dyn Bytes>> {
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host)?,
        };
        Ok(Box::new(handshake(tls, name, socket).await?))
    }

    /// Tries the host's addresses in turn.
    async fn reach(&self, host: &str, port: u16) -> io::Result<(TcpStream, Noted)> {
        let addresses = tokio::net::lookup_host((host, port)).await;
        let addresses = addresses
            .map_err(|error| io::Error::new(error.kind(), format!("{host} cannot be resolved: {error}")))?;
        let addresses: Vec<_> = addresses.take(MAX_ADDRESSES).collect();
        let share = u32::try_from(addresses.len()).unwrap_or(1).max(1);
        let share = (self.patience / share).clamp(LEAST_CONNECT, CONNECT);
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for address in addresses {
            match timeout(share, self.knock(address)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
                Err(_) => last = late(format!("{address}: no answer within {share:?}")),
            }
        }
        Err(last)
    }

    /// Connects to one address. The port is taken and noted first: the sensor may see the first packet before we are told
    /// that it was sent.
    async fn knock(&self, address: SocketAddr) -> io::Result<(TcpStream, Noted)> {
        let (socket, any) = if address.is_ipv4() {
            (TcpSocket::new_v4()?, SocketAddr::from(([0; 4], 0)))
        } else {
            (TcpSocket::new_v6()?, SocketAddr::from(([0_u16; 8], 0)))
        };
        socket.bind(any)?;
        let noted = self.own.note(socket.local_addr()?, Some(address));
        let socket = socket.connect(address).await?;
        socket.set_nodelay(true)?;
        platform::keep_alive(&socket)?;
        Ok((socket, noted))
    }
}

async fn handshake<S: Bytes>(
    tls: &Tls,
    name: ServerName<'static>,
    socket: S,
) -> io::Result<tokio_rustls::client::TlsStream<S>> {
    let config = tls.config().map_err(io::Error::other)?;
    let connecting = TlsConnector::from(config).connect(name, socket);
    connecting.await.map_err(|error| said("TLS", &error))
}

fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| io::Error::other(format!("{host} cannot stand in a certificate: set tls.server_name")))
}

fn said(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn late(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, text)
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    /// Tells what was written and not confirmed yet; with a proxy, by that.
    #[must_use]
    pub const fn unsent(&self) -> &Unsent {
        &self.unsent
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, to)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[cfg(feature = "linux-tests")]
mod tests;
