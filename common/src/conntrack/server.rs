//! The certificate that a server shows, put together from the first bytes of its side of a TLS connection.
//!
//! Only while somebody wants to know ([`Tracker::expect_certificates`]): then, from the moment a connection was told of, its
//! server's bytes are gathered until the certificate is whole, the server says something else, or the bounds of a client's
//! stream are reached.

use super::table::{NONE, mark};
use super::{MAX_NAMING_WAIT, Tracker};
use crate::decode::packet::Packet;
use crate::decode::{Probe, tls};
use crate::event::{AppProtocol, Observation, Phase};
use crate::net::Transport;

use super::reassembly::Stream;

/// Servers' streams under reassembly at a time, each at most [`MAX_STREAM_BYTES`](super::reassembly::MAX_STREAM_BYTES).
pub(super) const MAX_SERVERS: u32 = 256;

/// The first bytes of a server's side.
#[derive(Debug, Default)]
pub(super) struct Server {
    stream: Stream,
    /// Sequence number of its first byte.
    base: u32,
    /// When it began, in nanoseconds.
    since: i64,
}

impl Server {
    pub(super) fn clear(&mut self) {
        self.stream.clear();
    }
}

impl Tracker {
    /// Whether servers' certificates are looked for from now on; they are told of as [`Phase::Certificate`].
    pub const fn expect_certificates(&mut self, wanted: bool) {
        self.certificates = wanted;
    }

    /// Waits for the certificate of a connection that was just told of, if it may show one.
    pub(super) fn await_certificate(&mut self, at: u32, protocol: AppProtocol) {
        if self.certificates
            && protocol == AppProtocol::Tls
            && let Some(slot) = self.table.get_mut(at)
            && slot.transport == Transport::Tcp
        {
            slot.marks |= mark::CERTIFICATE;
        }
    }

    /// Looks at what the server said. `expected`: the sequence number that was next on its side.
    pub(super) fn server_words(
        &mut self,
        packet: &Packet<'_>,
        at: u32,
        sequence: u32,
        expected: u32,
        sink: &mut impl FnMut(&Observation<'_>),
    ) {
        let cut = packet.payload.len() < packet.payload_len as usize;
        let Some(slot) = self.table.get_mut(at) else { return };
        let fresh = slot.stream == NONE;
        let (progress, last) = if fresh && sequence == expected {
            (tls::server_certificate(packet.payload), cut)
        } else {
            (Probe::NeedMore { at_least: 1 }, false)
        };
        let (progress, last) = match progress {
            Probe::NeedMore { .. } if !last => {
                if fresh {
                    let Some(taken) = self.servers.take() else {
                        self.counters.streams_refused += 1;
                        self.release_stream(at);
                        return;
                    };
                    slot.stream = taken;
                }
                let since = packet.time.nanos();
                let Some(server) = self.servers.get_mut(slot.stream) else { return };
                if fresh {
                    (server.base, server.since) = (expected, since);
                    self.table.schedule(at, since.saturating_add(MAX_NAMING_WAIT));
                }
                let offset = sequence.wrapping_sub(server.base);
                if offset.cast_signed() < 0 {
                    return; // said before the part that is looked at
                }
                server.stream.insert(offset as usize, packet.payload);
                (tls::server_certificate(server.stream.bytes()), cut || server.stream.is_full())
            }
            done => (done, last),
        };
        match progress {
            Probe::NeedMore { .. } if !last => return,
            Probe::NeedMore { .. } | Probe::Mismatch => {}
            Probe::Parsed(certificate) => self.emit(at, Phase::Certificate(certificate), false, sink),
        }
        self.release_stream(at);
    }

    /// When a certificate is not waited for any longer, however slowly the server speaks.
    pub(super) fn certificate_deadline(&mut self, at: u32) -> Option<i64> {
        let slot = self.table.get(at).filter(|slot| slot.is(mark::CERTIFICATE))?;
        let server = self.servers.get_mut(slot.stream)?;
        Some(server.since.saturating_add(MAX_NAMING_WAIT))
    }
}
