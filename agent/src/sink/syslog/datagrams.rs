//! Syslog by UDP: sent, and hoped for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::sleep;

use crate::sink::own::{Noted, OwnSockets};

/// So many datagrams go out at once; then there is a pause. A receiver's buffer holds a hundred or so.
const BURST: usize = 32;
const PAUSE: Duration = Duration::from_millis(5);
/// How long a machine that has no such receiver has to say so (ICMP): the only thing that it ever says.
const REFUSAL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Datagrams {
    host: String,
    port: u16,
    own: OwnSockets,
}

impl Datagrams {
    pub(super) fn new(host: String, port: u16, own: &OwnSockets) -> Self {
        Self { host, port, own: own.clone() }
    }

    /// Sends messages, one datagram each. An error is that of all: what was sent of them may come twice.
    pub(super) async fn send(&mut self, messages: &[String]) -> io::Result<String> {
        let (socket, _noted) = self.socket().await?;
        for burst in messages.chunks(BURST) {
            for message in burst {
                socket.send(message.as_bytes()).await.map_err(|error| self.told(&error))?;
            }
            sleep(PAUSE).await;
        }
        sleep(REFUSAL).await;
        match socket.take_error()? {
            Some(error) => Err(self.told(&error)),
            None => Ok(format!("sent to {}:{} by UDP, which has no receipt", self.host, self.port)),
        }
    }

    /// A socket of its own for each batch: the name is resolved anew, and nothing has to be noticed about an old one.
    async fn socket(&self) -> io::Result<(UdpSocket, Noted)> {
        let mut addresses =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(|error| {
                io::Error::new(error.kind(), format!("{} cannot be resolved: {error}", self.host))
            })?;
        let address = addresses.next().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", self.host))
        })?;
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
            SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        let noted = self.own.note(socket.local_addr()?, Some(address));
        socket.connect(address).await.map_err(|error| self.told(&error))?;
        Ok((socket, noted))
    }

    fn told(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}:{}: {error}", self.host, self.port))
    }
}
