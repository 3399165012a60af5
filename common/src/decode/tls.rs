//! TLS, as far as the client's first message: who it asks for, what it offers, and its fingerprint. Of the server's side,
//! `server` reads the certificate.
//!
//! Reads a TCP stream from its first byte, or the handshake bytes that QUIC carries. Says how much is missing; a hello
//! that will never be whole still gives its server name. Nothing is decrypted.

mod server;

use super::Probe;
use super::cursor::Cursor;
use super::ja4::{self, Carrier};
use super::name::{NameBuf, TextBuf};
use crate::event::Ja4;

pub use self::server::{MAX_CERTIFICATE_BYTES, server_certificate};

/// Longest ClientHello that is read, in bytes: what one record can hold (RFC 8446 section 5.1).
pub const MAX_HELLO_BYTES: usize = 1 << 14;
/// Longest ALPN protocol that is kept, in bytes; the longest registered one has 20.
pub const MAX_ALPN_BYTES: usize = 32;

/// Record type `handshake` (RFC 8446 section 5.1).
const RECORD_HANDSHAKE: u8 = 22;
/// Handshake type `client_hello` (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;
/// Type, version and length of a record.
const RECORD_HEADER_BYTES: usize = 5;
/// Type and length of a handshake message.
const MESSAGE_HEADER_BYTES: usize = 4;
/// Server name of type `host_name` (RFC 6066 section 3).
const HOST_NAME: u8 = 0;

/// What a ClientHello says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// Server name that the client claims; empty without one.
    pub sni: NameBuf,
    /// First protocol of ALPN, escaped; empty without one.
    pub alpn: TextBuf<MAX_ALPN_BYTES>,
    /// Version field of the message, which stays at TLS 1.2 (0x0303) for newer ones.
    pub legacy_version: u16,
    /// Highest version offered, GREASE left out.
    pub version: u16,
    /// Fingerprint; only of a whole hello.
    pub ja4: Option<Ja4>,
    /// Whether the message was there to its end and well formed.
    pub complete: bool,
}

/// Reads the ClientHello at the start of a TCP stream; it may be spread over several records.
///
/// A hello longer than [`MAX_HELLO_BYTES`] asks for more than the caller will gather; then, and when the stream ends
/// early, [`truncated_client_hello`] gives what can be had.
#[must_use]
pub fn client_hello(stream: &[u8]) -> Probe<ClientHello> {
    match first_record(stream) {
        First::Whole(message) => hello(message, Carrier::Tcp, true),
        First::Cut { missing, .. } => Probe::NeedMore { at_least: missing },
        First::Spread => spread_hello(stream, false),
        First::Mismatch => Probe::Mismatch,
    }
}

/// What can be had of a ClientHello whose stream ends too early: the server name if it was there, no fingerprint.
#[must_use]
pub fn truncated_client_hello(stream: &[u8]) -> Option<ClientHello> {
    match first_record(stream) {
        First::Whole(message) => hello(message, Carrier::Tcp, true),
        First::Cut { message, .. } => hello(message, Carrier::Tcp, false),
        First::Spread => spread_hello(stream, true),
        First::Mismatch => Probe::Mismatch,
    }
    .parsed()
}

/// Reads a ClientHello that has no record layer: the CRYPTO data of QUIC from offset 0.
#[must_use]
pub fn handshake_client_hello(message: &[u8]) -> Probe<ClientHello> {
    match message_need(message) {
        Some(need) => match message.get(..need) {
            Some(message) => hello(message, Carrier::Quic, true),
            None => Probe::NeedMore { at_least: need - message.len() },
        },
        None => Probe::Mismatch,
    }
}

/// What can be had of a ClientHello of QUIC that will never be whole.
#[must_use]
pub fn truncated_handshake_client_hello(message: &[u8]) -> Option<ClientHello> {
    match message_need(message)? {
        need if need <= message.len() => hello(message.get(..need)?, Carrier::Quic, true),
        _ => hello(message, Carrier::Quic, false),
    }
    .parsed()
}

/// How the first record holds the message.
enum First<'a> {
    /// To its end.
    Whole(&'a [u8]),
    /// It would, but the stream ends first.
    Cut { message: &'a [u8], missing: usize },
    /// Not alone: more records follow, or it is too short to tell.
    Spread,
    /// It does not hold a ClientHello.
    Mismatch,
}

fn first_record(stream: &[u8]) -> First<'_> {
    let mut cursor = Cursor::new(stream);
    let Some(record) = record_header(&mut cursor) else { return First::Mismatch };
    let Some(record_len) = record else {
        return First::Cut {
            message: &[],
            missing: RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES - stream.len(),
        };
    };
    let rest = cursor.rest();
    let available = rest.get(..record_len).unwrap_or(rest);
    let Some(need) = message_need(available) else { return First::Mismatch };
    if need > record_len {
        return First::Spread;
    }
    match available.get(..need) {
        Some(message) => First::Whole(message),
        None => First::Cut { message: available, missing: need - available.len() },
    }
}

/// The length of the handshake record at the cursor; `None` if it is none, `Some(None)` if its header is cut but
/// may become one.
fn record_header(cursor: &mut Cursor<'_>) -> Option<Option<usize>> {
    let rest = cursor.rest();
    let plausible = rest.first().is_none_or(|&kind| kind == RECORD_HANDSHAKE)
        && rest.get(1).is_none_or(|&major| major == 3)
        && rest.get(2).is_none_or(|&minor| minor <= 4);
    if !plausible {
        return None;
    }
    let Some([_, _, _, high, low]) = cursor.array() else { return Some(None) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    (1..=MAX_HELLO_BYTES).contains(&len).then_some(Some(len))
}

/// Bytes of the handshake message with its header, as far as can be told; `None` if it is not a ClientHello.
fn message_need(message: &[u8]) -> Option<usize> {
    if message.first().is_some_and(|&kind| kind != CLIENT_HELLO) {
        return None;
    }
    let body = Cursor::at(message, 1).u24();
    Some(MESSAGE_HEADER_BYTES + body.map_or(0, |len| usize::try_from(len).unwrap_or(usize::MAX >> 1)))
}

/// The slow way, apart so that the fast one needs no buffer: joins the pieces of several records.
#[inline(never)]
fn spread_hello(stream: &[u8], last: bool) -> Probe<ClientHello> {
    let mut joined = [0; MAX_HELLO_BYTES];
    let mut len = 0;
    let mut cut = 0; // bytes of the last record that are not here
    let mut cursor = Cursor::new(stream);
    let missing = loop {
        let message = joined.get(..len).unwrap_or_default();
        let Some(need) = message_need(message) else { return Probe::Mismatch };
        if let Some(message) = message.get(..need) {
            return hello(message, Carrier::Tcp, true);
        }
        let wanted = need - len;
        if cut > 0 {
            break if wanted > cut { wanted + RECORD_HEADER_BYTES } else { wanted };
        }
        let before = cursor.rest().len();
        match record_header(&mut cursor) {
            // Another record breaks it off: what there is.
            None => return hello(message, Carrier::Tcp, false),
            Some(None) => break RECORD_HEADER_BYTES - before + wanted,
            Some(Some(record_len)) => {
                let piece = cursor.rest();
                let piece = piece.get(..record_len).unwrap_or(piece);
                let Some(room) = joined.get_mut(len..).filter(|room| !room.is_empty()) else { break wanted };
                len += piece.len().min(room.len());
                for (to, from) in room.iter_mut().zip(piece) {
                    *to = *from;
                }
                cut = record_len - piece.len();
                cursor = Cursor::at(stream, cursor.offset() + piece.len());
            }
        }
    };
    if last {
        hello(joined.get(..len).unwrap_or_default(), Carrier::Tcp, false)
    } else {
        Probe::NeedMore { at_least: missing }
    }
}

/// What a hello is made of, as far as it could be read.
#[derive(Default)]
struct Parts<'a> {
    legacy_version: u16,
    ciphers: &'a [u8],
    extensions: &'a [u8],
    host: Option<&'a [u8]>,
    alpn: Option<&'a [u8]>,
    signature_algorithms: Option<&'a [u8]>,
    highest_version: u16,
}

fn hello(message: &[u8], carrier: Carrier, whole: bool) -> Probe<ClientHello> {
    let mut parts = Parts::default();
    let well_formed = read_parts(message, &mut parts).is_some();
    // A version that is not 3.x, or none at all, is no hello that we know.
    if parts.legacy_version >> 8 != 3 {
        return Probe::Mismatch;
    }
    let version = if parts.highest_version == 0 { parts.legacy_version } else { parts.highest_version };
    let complete = whole && well_formed;
    let fields = ja4::Fields {
        carrier,
        version,
        ciphers: parts.ciphers,
        extensions: parts.extensions,
        alpn: parts.alpn.unwrap_or_default(),
        signature_algorithms: parts.signature_algorithms.unwrap_or_default(),
    };
    Probe::Parsed(ClientHello {
        sni: parts.host.map(NameBuf::from_host).unwrap_or_default(),
        alpn: parts.alpn.map(TextBuf::from_text).unwrap_or_default(),
        legacy_version: parts.legacy_version,
        version,
        ja4: if complete { ja4::fingerprint(&fields) } else { None },
        complete,
    })
}

/// Fills the parts in the order of the message (RFC 8446 section 4.1.2); `None` where it breaks off or is malformed.
fn read_parts<'a>(message: &'a [u8], parts: &mut Parts<'a>) -> Option<()> {
    let mut cursor = Cursor::at(message, MESSAGE_HEADER_BYTES);
    parts.legacy_version = cursor.u16()?;
    cursor.take(32)?; // random
    cursor.vec8()?; // session id
    parts.ciphers = cursor.vec16()?;
    cursor.vec8()?; // compression methods
    if cursor.is_empty() {
        return Some(()); // a hello without extensions
    }
    let len = usize::from(cursor.u16()?);
    let rest = cursor.rest();
    parts.extensions = rest.get(..len).unwrap_or(rest);
    let mut extensions = Cursor::new(parts.extensions);
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let body = extensions.vec16()?;
        // The first of a kind counts: a second one is forbidden.
        match kind {
            ja4::EXTENSION_SERVER_NAME if parts.host.is_none() => parts.host = host_name(body),
            ja4::EXTENSION_ALPN if parts.alpn.is_none() => {
                parts.alpn = Cursor::new(body).vec16().and_then(|list| Cursor::new(list).vec8());
            }
            ja4::EXTENSION_SIGNATURE_ALGORITHMS if parts.signature_algorithms.is_none() => {
                parts.signature_algorithms = Cursor::new(body).vec16();
            }
            ja4::EXTENSION_SUPPORTED_VERSIONS if parts.highest_version == 0 => {
                let offered = Cursor::new(body).vec8().unwrap_or_default();
                parts.highest_version = ja4::values(offered).max().unwrap_or(0);
            }
            _ => {}
        }
    }
    (rest.len() >= len).then_some(())
}

/// The first host name of a `server_name` extension.
fn host_name(body: &[u8]) -> Option<&[u8]> {
    let mut names = Cursor::new(Cursor::new(body).vec16()?);
    loop {
        let kind = names.u8()?;
        let name = names.vec16()?;
        if kind == HOST_NAME {
            return Some(name);
        }
    }
}

#[cfg(test)]
mod tests;
