//! What a connection is called: read from the client's first words, kept as short as its later events need.

use super::Pool;
use super::table::NONE;
use crate::decode::quic::{self, InitialAssembler};
use crate::decode::{Probe, http, ssh, tls};
use crate::event::{AppProtocol, Ja4, Names};

/// Names of one connection.
#[derive(Debug, Default)]
pub(super) struct Label {
    sni: String,
    connect_host: String,
    connect_port: u16,
    http_host: String,
    user_agent: String,
    pub(super) protocol: AppProtocol,
    pub(super) ja4: Option<Ja4>,
}

/// How far reading got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes are needed.
    More,
    /// All is said that will be.
    Done,
    /// The client asked a proxy to connect; what it says next belongs to the connection inside.
    Tunnel,
}

impl Label {
    /// Reads the client's stream from its start. `last`: there will be no more of it.
    pub(super) fn read(&mut self, stream: &[u8], last: bool) -> Progress {
        let mut need = false;
        match tls::client_hello(stream) {
            Probe::Parsed(hello) => return self.hello(&hello, AppProtocol::Tls),
            Probe::NeedMore { .. } if last => {
                if let Some(hello) = tls::truncated_client_hello(stream) {
                    return self.hello(&hello, AppProtocol::Tls);
                }
            }
            Probe::NeedMore { .. } => need = true,
            Probe::Mismatch => {}
        }
        // Inside a tunnel only a hello matters: a request there is one to the inner server.
        match http::request(stream) {
            Probe::Parsed(request) => return self.request(&request),
            Probe::NeedMore { .. } if last => {
                if let Some(request) = http::truncated_request(stream) {
                    return self.request(&request);
                }
            }
            Probe::NeedMore { .. } => need = true,
            Probe::Mismatch => {}
        }
        match ssh::banner(stream) {
            Probe::Parsed(()) => self.protocol = AppProtocol::Ssh,
            Probe::NeedMore { .. } => need |= !last,
            Probe::Mismatch => {}
        }
        if need { Progress::More } else { Progress::Done }
    }

    /// Reads a datagram of a QUIC handshake; returns whether all is said.
    pub(super) fn read_quic(&mut self, assembler: &mut InitialAssembler, datagram: &[u8]) -> bool {
        let hello = match assembler.push(datagram) {
            quic::Progress::Complete(message) => tls::handshake_client_hello(message).parsed(),
            quic::Progress::NeedMore => {
                self.protocol = AppProtocol::Quic;
                return false;
            }
            quic::Progress::TooLong => tls::truncated_handshake_client_hello(assembler.prefix()),
            quic::Progress::Unreadable => return true,
        };
        self.protocol = AppProtocol::Quic;
        if let Some(hello) = hello {
            self.hello(&hello, AppProtocol::Quic);
        }
        true
    }

    fn hello(&mut self, hello: &tls::ClientHello, protocol: AppProtocol) -> Progress {
        set(&mut self.sni, hello.sni.as_str());
        self.ja4 = hello.ja4;
        self.protocol = protocol;
        Progress::Done
    }

    fn request(&mut self, request: &http::Request) -> Progress {
        self.protocol = AppProtocol::Http;
        set(&mut self.http_host, request.host.as_str());
        set(&mut self.user_agent, request.user_agent.as_str());
        if request.proxied_host.is_empty() || !self.connect_host.is_empty() {
            return Progress::Done;
        }
        set(&mut self.connect_host, request.proxied_host.as_str());
        self.connect_port = request.proxied_port;
        if request.method == http::Method::Connect { Progress::Tunnel } else { Progress::Done }
    }

    /// The names; `all` with those that only the opening tells.
    pub(super) fn names(&self, all: bool) -> Names<'_> {
        let told = |text| if all { text } else { "" };
        Names {
            fqdn: "",
            sni: &self.sni,
            connect_host: &self.connect_host,
            connect_port: self.connect_port,
            http_host: told(&self.http_host),
            user_agent: told(&self.user_agent),
        }
    }

    fn clear(&mut self) {
        for text in [&mut self.sni, &mut self.connect_host, &mut self.http_host, &mut self.user_agent] {
            text.clear();
        }
        self.connect_port = 0;
        self.protocol = AppProtocol::Unknown;
        self.ja4 = None;
    }

    /// Whether later events need nothing of it.
    fn is_idle(&self) -> bool {
        self.sni.is_empty()
            && self.connect_host.is_empty()
            && self.ja4.is_none()
            && self.protocol == AppProtocol::Unknown
    }
}

fn set(text: &mut String, new: &str) {
    text.clear();
    text.push_str(new);
}

/// Whether a datagram begins as a QUIC client's first one does: a long header of the Initial type (RFC 9000 section
/// 17.2.2; RFC 9369 numbers it otherwise).
pub(super) fn may_be_quic(datagram: &[u8]) -> bool {
    datagram.len() >= 7 && datagram.first().is_some_and(|byte| byte & 0xc0 == 0xc0)
}

/// All labels of a tracker; the texts' memory is used again.
#[derive(Debug)]
pub(super) struct Labels {
    pool: Pool<Label>,
}

impl Default for Labels {
    fn default() -> Self {
        // Each belongs to a connection, and connections are bounded.
        Self { pool: Pool::new(NONE) }
    }
}

impl Labels {
    /// The label of a connection, made if it has none.
    pub(super) fn of(&mut self, at: &mut u32) -> Option<&mut Label> {
        if *at == NONE {
            *at = self.pool.take()?;
        }
        self.pool.get_mut(*at)
    }

    pub(super) fn get(&self, at: u32) -> Option<&Label> {
        self.pool.items.get(at as usize)
    }

    /// Keeps what the events after the opening need; a label without any of it goes back.
    pub(super) fn keep_identity(&mut self, at: &mut u32) {
        let Some(label) = self.pool.get_mut(*at) else { return };
        label.http_host.clear();
        label.user_agent.clear();
        if label.is_idle() {
            self.give_back(at);
        }
    }

    pub(super) fn give_back(&mut self, at: &mut u32) {
        if let Some(label) = self.pool.get_mut(*at) {
            label.clear();
            self.pool.give_back(*at);
            *at = NONE;
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let text = |label: &Label| {
            label.sni.capacity()
                + label.connect_host.capacity()
                + label.http_host.capacity()
                + label.user_agent.capacity()
        };
        self.pool.items.iter().map(|label| size_of::<Label>() + text(label)).sum()
    }
}
