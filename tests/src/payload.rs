//! Builds what transports carry: TLS, HTTP, DNS and QUIC messages that a strict parser accepts.
//!
//! Functions append to a caller's buffer. QUIC Initials are really encrypted (RFC 9001 section 5), because a sensor
//! that reads their ClientHello has to decrypt them; later packets are only shaped like QUIC.

use std::net::{Ipv4Addr, Ipv6Addr};

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::aead::AeadInOut;
use hkdf::Hkdf;
use sha2::Sha256;

use crate::packet::{length16, patch16};
use crate::rng::Rng;

/// Appends what `body` writes, preceded by its length in 16 bits.
fn prefixed16(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0; 2]);
    body(out);
    let length = length16(out.len() - at - 2);
    patch16(out, at, length);
}

/// Appends `bytes` preceded by their length in 8 bits.
fn prefixed8(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(u8::try_from(bytes.len()).expect("short strings have at most 255 bytes"));
    out.extend_from_slice(bytes);
}

/// Appends `length` bytes that look like anything but text, the same each time: they stand for encrypted data, and a
/// capture of them compresses, so that shipped captures stay small.
pub fn opaque(out: &mut Vec<u8>, length: usize) {
    let mut state = 0x9d_u8;
    out.extend((0..length).map(|_| {
        // Full-period generator modulo 256: no repeated run shorter than that.
        state = state.wrapping_mul(197).wrapping_add(91);
        state
    }));
}

/// Appends random bytes, which do not compress.
pub fn noise(out: &mut Vec<u8>, rng: &mut Rng, length: usize) {
    let end = out.len() + length;
    while out.len() < end {
        out.extend(rng.u64().to_le_bytes());
    }
    out.truncate(end);
}

// ---------------------------------------------------------------- TLS

/// Cipher suites of a browser (without GREASE, see [`ClientHello::grease`]).
pub const CIPHERS_BROWSER: &[u16] = &[
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
    0x002f, 0x0035,
];
/// Cipher suites of Windows' own library, which updaters and agents use.
pub const CIPHERS_SCHANNEL: &[u16] = &[
    0x1302, 0x1301, 0xc02c, 0xc02b, 0xc030, 0xc02f, 0xc024, 0xc023, 0xc028, 0xc027, 0xc00a, 0xc009, 0xc014,
    0xc013,
];
/// Cipher suites of Go's standard library, which many implants are written in (and many good programs).
pub const CIPHERS_GO: &[u16] =
    &[0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc009, 0xc013, 0xc00a, 0xc014, 0x1301, 0x1302, 0x1303];

/// What a ClientHello says (RFC 8446 section 4.1.2).
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    /// SNI; none when the client connects to an address.
    pub server_name: Option<&'a str>,
    /// Application protocols in order of preference; empty leaves the extension out.
    pub alpn: &'a [&'a str],
    /// Cipher suites in order of preference.
    pub cipher_suites: &'a [u16],
    /// Random; session id and key share repeat it: nobody reads them, and shipped captures stay small.
    pub random: [u8; 32],
    /// Puts a reserved value first in suites and extensions (RFC 8701), as browsers do.
    pub grease: bool,
    /// Pads the handshake message to this length (RFC 7685); 0 leaves the padding out.
    pub pad_to: usize,
    /// Source connection id of a QUIC client, which adds the transport parameters (RFC 9001 section 8.2).
    pub quic_source_id: Option<&'a [u8]>,
}

impl<'a> ClientHello<'a> {
    /// A browser's hello for `server_name`: HTTP/2, GREASE, padded to 512 bytes.
    #[must_use]
    pub const fn browser(server_name: &'a str, random: [u8; 32]) -> Self {
        Self {
            server_name: Some(server_name),
            alpn: &["h2", "http/1.1"],
            cipher_suites: CIPHERS_BROWSER,
            random,
            grease: true,
            pad_to: 512,
            quic_source_id: None,
        }
    }

    /// A plain program's hello: no GREASE, no padding, no ALPN.
    #[must_use]
    pub const fn program(server_name: Option<&'a str>, cipher_suites: &'a [u16], random: [u8; 32]) -> Self {
        Self { server_name, alpn: &[], cipher_suites, random, grease: false, pad_to: 0, quic_source_id: None }
    }

    /// Appends the TLS record that holds the hello.
    pub fn record(&self, out: &mut Vec<u8>) {
        out.extend([22, 3, 1]);
        prefixed16(out, |out| self.handshake(out));
    }

    /// Appends the handshake message alone, as QUIC's CRYPTO frames carry it.
    pub fn handshake(&self, out: &mut Vec<u8>) {
        let start = out.len();
        // Type 1; the 24-bit length never needs its first byte here.
        out.extend([1, 0]);
        prefixed16(out, |out| {
            out.extend([3, 3]);
            out.extend(self.random);
            if self.quic_source_id.is_some() {
                // RFC 9001 section 8.4: no compatibility mode.
                out.push(0);
            } else {
                out.push(32);
                out.extend(self.random);
            }
            prefixed16(out, |out| {
                if self.grease {
                    out.extend([0x3a, 0x3a]);
                }
                for suite in self.cipher_suites {
                    out.extend(suite.to_be_bytes());
                }
            });
            out.extend([1, 0]);
            prefixed16(out, |out| {
                self.extensions(out);
                let length = out.len() - start;
                if self.pad_to >= length + 4 {
                    out.extend([0, 21]);
                    prefixed16(out, |out| out.resize(out.len() + self.pad_to - length - 4, 0));
                }
            });
        });
    }

    fn extensions(&self, out: &mut Vec<u8>) {
        if self.grease {
            out.extend([0x6a, 0x6a, 0, 0]);
        }
        if let Some(name) = self.server_name {
            out.extend([0, 0]);
            prefixed16(out, |out| {
                prefixed16(out, |out| {
                    out.push(0);
                    prefixed16(out, |out| out.extend_from_slice(name.as_bytes()));
                });
            });
        }
        // extended_master_secret, renegotiation_info; supported_groups x25519, secp256r1, secp384r1; point formats.
        out.extend([0, 23, 0, 0, 0xff, 1, 0, 1, 0]);
        out.extend([0, 10, 0, 8, 0, 6, 0, 29, 0, 23, 0, 24]);
        out.extend([0, 11, 0, 2, 1, 0]);
        if !self.alpn.is_empty() {
            out.extend([0, 16]);
            prefixed16(out, |out| {
                prefixed16(out, |out| {
                    for protocol in self.alpn {
                        prefixed8(out, protocol.as_bytes());
                    }
                });
            });
        }
        // signature_algorithms; supported_versions 1.3 and 1.2; psk_key_exchange_modes.
        out.extend([0, 13, 0, 14, 0, 12, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1]);
        if self.quic_source_id.is_some() {
            out.extend([0, 43, 0, 3, 2, 3, 4]);
        } else {
            out.extend([0, 43, 0, 5, 4, 3, 4, 3, 3]);
        }
        out.extend([0, 45, 0, 2, 1, 1]);
        // key_share: one x25519 share.
        out.extend([0, 51, 0, 38, 0, 36, 0, 29, 0, 32]);
        out.extend(self.random);
        if let Some(source_id) = self.quic_source_id {
            out.extend([0, 57]);
            prefixed16(out, |out| {
                // initial_max_data 1 MiB (four-byte integer), then initial_source_connection_id.
                out.extend([4, 4, 0x80, 0x10, 0, 0, 15]);
                prefixed8(out, source_id);
            });
        }
    }
}

/// Appends a server's first flight: ServerHello, ChangeCipherSpec, and records of `length` encrypted bytes.
pub fn server_hello(out: &mut Vec<u8>, random: [u8; 32], length: usize) {
    out.extend([22, 3, 3]);
    prefixed16(out, |out| server_hello_message(out, random, Some(random)));
    out.extend([20, 3, 3, 0, 1, 1]);
    application_data(out, length);
}

/// Appends a server's first flight of TLS 1.2, in records of at most `size` bytes: hello, certificates in clear, done. The
/// certificates are bytes of any kind; real ones begin with 0x30.
pub fn server_hello_tls12(out: &mut Vec<u8>, random: [u8; 32], certificates: &[&[u8]], size: usize) {
    let mut messages = vec![2, 0];
    prefixed16(&mut messages, |out| {
        out.extend([3, 3]);
        out.extend(random);
        // No session id, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, no compression.
        out.extend([0, 0xc0, 0x2f, 0]);
    });
    let mut list = Vec::new();
    for der in certificates {
        list.push(0);
        prefixed16(&mut list, |out| out.extend_from_slice(der));
    }
    messages.extend([11, 0]);
    prefixed16(&mut messages, |out| {
        out.push(0);
        prefixed16(out, |out| out.extend_from_slice(&list));
    });
    messages.extend([14, 0, 0, 0]);
    for piece in messages.chunks(size.clamp(1, 16_384)) {
        out.extend([22, 3, 3]);
        prefixed16(out, |out| out.extend_from_slice(piece));
    }
}

/// Appends a ServerHello alone; TLS over TCP echoes a session id, QUIC has none.
fn server_hello_message(out: &mut Vec<u8>, random: [u8; 32], session_id: Option<[u8; 32]>) {
    out.extend([2, 0]);
    prefixed16(out, |out| {
        out.extend([3, 3]);
        out.extend(random);
        match session_id {
            Some(id) => prefixed8(out, &id),
            None => out.push(0),
        }
        out.extend([0x13, 1, 0]);
        // supported_versions 1.3 and one x25519 key share.
        out.extend([0, 46, 0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 29, 0, 32]);
        out.extend(random);
    });
}

/// Appends application-data records that carry `length` bytes together.
pub fn application_data(out: &mut Vec<u8>, length: usize) {
    let mut left = length;
    while left > 0 {
        // RFC 8446 section 5.1: at most 2^14 bytes a record.
        let part = left.min(16_384);
        out.extend([23, 3, 3]);
        prefixed16(out, |out| opaque(out, part));
        left -= part;
    }
}

// ---------------------------------------------------------------- HTTP

/// Appends an HTTP/1.1 GET.
pub fn http_get(out: &mut Vec<u8>, host: &str, path: &str, agent: &str) {
    for part in ["GET ", path, " HTTP/1.1\r\nHost: ", host, "\r\nUser-Agent: ", agent] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n");
}

/// Appends a 200 response with a body of `length` bytes.
pub fn http_ok(out: &mut Vec<u8>, length: usize) {
    http_ok_head(out, length);
    opaque(out, length);
}

/// Appends the head of such a response alone.
pub fn http_ok_head(out: &mut Vec<u8>, length: usize) {
    let head =
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/octet-stream\r\nContent-Length: ";
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(length.to_string().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends the CONNECT request that opens a tunnel through a proxy.
pub fn http_connect(out: &mut Vec<u8>, authority: &str, agent: &str) {
    for part in ["CONNECT ", authority, " HTTP/1.1\r\nHost: ", authority, "\r\nUser-Agent: ", agent] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b"\r\nProxy-Connection: Keep-Alive\r\n\r\n");
}

/// What a proxy answers when the tunnel stands.
pub const HTTP_TUNNEL_READY: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

// ---------------------------------------------------------------- DNS

/// Record types that scenarios ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Alias.
    Cname,
    /// Text.
    Txt,
}

impl RecordType {
    const fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Cname => 5,
            Self::Txt => 16,
            Self::Aaaa => 28,
        }
    }
}

/// Response codes (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rcode {
    /// Answered.
    #[default]
    NoError,
    /// The server failed.
    ServFail,
    /// No such name.
    NxDomain,
}

impl Rcode {
    const fn number(self) -> u8 {
        match self {
            Self::NoError => 0,
            Self::ServFail => 2,
            Self::NxDomain => 3,
        }
    }
}

/// One record of an answer section.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// IPv4 address of `owner`.
    A {
        /// Whose address.
        owner: &'a str,
        /// The address.
        address: Ipv4Addr,
    },
    /// IPv6 address of `owner`.
    Aaaa {
        /// Whose address.
        owner: &'a str,
        /// The address.
        address: Ipv6Addr,
    },
    /// `owner` is an alias of `target`.
    Cname {
        /// The alias.
        owner: &'a str,
        /// What it stands for.
        target: &'a str,
    },
    /// A text of `owner`, cut into strings of 255 bytes.
    Txt {
        /// Whose text.
        owner: &'a str,
        /// The text.
        text: &'a [u8],
    },
}

/// Names written so far and where, for compression pointers (RFC 1035 section 4.1.4).
struct NameTable<'a> {
    start: usize,
    seen: Vec<(&'a str, u16)>,
}

impl<'a> NameTable<'a> {
    fn write(&mut self, out: &mut Vec<u8>, name: &'a str) {
        let mut rest = name;
        while !rest.is_empty() {
            if let Some((_, at)) = self.seen.iter().find(|(known, _)| *known == rest) {
                out.extend((0xc000 | at).to_be_bytes());
                return;
            }
            let at = length16(out.len() - self.start);
            if at < 0x4000 {
                self.seen.push((rest, at));
            }
            let (label, tail) = rest.split_once('.').unwrap_or((rest, ""));
            assert!(label.len() < 64, "a DNS label has at most 63 bytes");
            prefixed8(out, label.as_bytes());
            rest = tail;
        }
        out.push(0);
    }
}

fn dns_header(out: &mut Vec<u8>, id: u16, flags: [u8; 2], answers: usize) {
    out.extend(id.to_be_bytes());
    out.extend(flags);
    out.extend([0, 1]);
    out.extend(length16(answers).to_be_bytes());
    out.extend([0; 4]);
}

/// Appends a recursive query.
pub fn dns_query(out: &mut Vec<u8>, id: u16, name: &str, kind: RecordType) {
    let mut names = NameTable { start: out.len(), seen: Vec::new() };
    dns_header(out, id, [1, 0], 0);
    names.write(out, name);
    out.extend(kind.number().to_be_bytes());
    out.extend([0, 1]);
}

/// Appends the response to such a query; all records get the same time to live.
pub fn dns_response<'a>(
    out: &mut Vec<u8>,
    id: u16,
    name: &'a str,
    kind: RecordType,
    rcode: Rcode,
    ttl_secs: u32,
    answers: &[Answer<'a>],
) {
    let mut names = NameTable { start: out.len(), seen: Vec::with_capacity(8) };
    dns_header(out, id, [0x81, 0x80 | rcode.number()], answers.len());
    names.write(out, name);
    out.extend(kind.number().to_be_bytes());
    out.extend([0, 1]);
    for answer in answers {
        let (owner, kind) = match answer {
            Answer::A { owner, .. } => (owner, RecordType::A),
            Answer::Aaaa { owner, .. } => (owner, RecordType::Aaaa),
            Answer::Cname { owner, .. } => (owner, RecordType::Cname),
            Answer::Txt { owner, .. } => (owner, RecordType::Txt),
        };
        names.write(out, owner);
        out.extend(kind.number().to_be_bytes());
        out.extend([0, 1]);
        out.extend(ttl_secs.to_be_bytes());
        prefixed16(out, |out| match answer {
            Answer::A { address, .. } => out.extend(address.octets()),
            Answer::Aaaa { address, .. } => out.extend(address.octets()),
            Answer::Cname { target, .. } => names.write(out, target),
            Answer::Txt { text, .. } => text.chunks(255).for_each(|part| prefixed8(out, part)),
        });
    }
}

// ---------------------------------------------------------------- QUIC

/// Salt of QUIC version 1 (RFC 9001 section 5.2).
const QUIC_V1_SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
    0xbb, 0x7f, 0x0a,
];

/// Smallest datagram that may carry a client's Initial (RFC 9000 section 14.1).
pub const QUIC_INITIAL_BYTES: usize = 1_200;

/// Packet-number length used here, and that of the authentication tag.
const QUIC_NUMBER_BYTES: usize = 4;
const QUIC_TAG_BYTES: usize = 16;

/// Who protects an Initial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuicSide {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// Keys of one direction's Initials.
#[derive(Clone, Debug)]
struct InitialKeys {
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

impl InitialKeys {
    /// From the client's first destination connection id (RFC 9001 section 5.2).
    fn derive(destination_id: &[u8], side: QuicSide) -> Self {
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&QUIC_V1_SALT), destination_id);
        let label: &[u8] = match side {
            QuicSide::Client => b"client in",
            QuicSide::Server => b"server in",
        };
        let secret: [u8; 32] = expand_label(&initial, label);
        let secret = Hkdf::<Sha256>::from_prk(&secret).expect("a SHA-256 secret is long enough");
        Self {
            key: expand_label(&secret, b"quic key"),
            iv: expand_label(&secret, b"quic iv"),
            header: expand_label(&secret, b"quic hp"),
        }
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand_label<const N: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> [u8; N] {
    let mut info = Vec::with_capacity(32);
    info.extend(length16(N).to_be_bytes());
    prefixed8(&mut info, &[b"tls13 ", label].concat());
    info.push(0);
    let mut key = [0; N];
    secret.expand(&info, &mut key).expect("keys are far shorter than 255 hashes");
    key
}

/// An Initial packet of QUIC version 1 before protection.
#[derive(Clone, Copy, Debug)]
pub struct QuicInitial<'a> {
    /// Who sends it.
    pub side: QuicSide,
    /// The client's first destination connection id: the keys come from it.
    pub original_id: &'a [u8],
    /// Destination connection id of this packet.
    pub destination_id: &'a [u8],
    /// Source connection id of this packet.
    pub source_id: &'a [u8],
    /// Retry or resumption token, usually empty (at most 63 bytes).
    pub token: &'a [u8],
    /// Packet number.
    pub number: u32,
    /// Frames in the clear.
    pub frames: &'a [u8],
}

impl QuicInitial<'_> {
    /// Appends the protected packet, its frames padded so that it has at least `min_bytes`.
    pub fn protect(&self, out: &mut Vec<u8>, min_bytes: usize) {
        let keys = InitialKeys::derive(self.original_id, self.side);
        let start = out.len();
        // Long header, type Initial, packet number of four bytes (RFC 9000 section 17.2.2).
        out.extend([0xc0 | 0x03, 0, 0, 0, 1]);
        prefixed8(out, self.destination_id);
        prefixed8(out, self.source_id);
        assert!(self.token.len() < 64, "tokens fit a one-byte length");
        prefixed8(out, self.token);
        let head = out.len() - start + 2 + QUIC_NUMBER_BYTES;
        let padded = self.frames.len().max(min_bytes.saturating_sub(head + QUIC_TAG_BYTES));
        let length = length16(QUIC_NUMBER_BYTES + padded + QUIC_TAG_BYTES);
        assert!(length < 0x4000, "lengths fit a two-byte variable integer");
        out.extend((0x4000 | length).to_be_bytes());
        let number_at = out.len();
        out.extend(self.number.to_be_bytes());
        let payload_at = out.len();
        out.extend_from_slice(self.frames);
        out.resize(payload_at + padded, 0);

        let mut nonce = keys.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(self.number.to_le_bytes()) {
            *byte ^= number;
        }
        let (header, payload) = out.split_at_mut(payload_at);
        let header = header.get(start..).unwrap_or_default();
        let cipher = aes_gcm::Aes128Gcm::new(&keys.key.into());
        let sealed = cipher.encrypt_inout_detached(&nonce.into(), header, payload.into());
        out.extend(sealed.expect("a packet is far below the cipher's limit"));

        // Header protection (RFC 9001 section 5.4): the sample begins where a four-byte packet number would end.
        let mut mask: [u8; 16] =
            *out.get(number_at + 4..).and_then(<[u8]>::first_chunk).expect("the tag follows");
        aes::Aes128::new(&keys.header.into()).encrypt_block((&mut mask).into());
        let [first_mask, number_mask @ ..] = mask;
        if let Some(first) = out.get_mut(start) {
            *first ^= first_mask & 0x0f;
        }
        for (byte, mask) in out.iter_mut().skip(number_at).take(QUIC_NUMBER_BYTES).zip(number_mask) {
            *byte ^= mask;
        }
    }
}

/// Appends a CRYPTO frame (RFC 9000 section 19.6).
pub fn quic_crypto_frame(out: &mut Vec<u8>, offset: u16, data: &[u8]) {
    assert!(offset < 0x4000 && data.len() < 0x4000, "both fit two-byte variable integers");
    out.push(6);
    out.extend((0x4000 | offset).to_be_bytes());
    out.extend((0x4000 | length16(data.len())).to_be_bytes());
    out.extend_from_slice(data);
}

/// Appends a client's first datagram: an Initial of 1,200 bytes with the hello in one CRYPTO frame.
pub fn quic_client_initial(
    out: &mut Vec<u8>,
    destination_id: &[u8],
    source_id: &[u8],
    hello: ClientHello<'_>,
) {
    let mut message = Vec::with_capacity(512);
    ClientHello { quic_source_id: Some(source_id), ..hello }.handshake(&mut message);
    let mut frames = Vec::with_capacity(message.len() + 8);
    quic_crypto_frame(&mut frames, 0, &message);
    let initial = QuicInitial {
        side: QuicSide::Client,
        original_id: destination_id,
        destination_id,
        source_id,
        token: &[],
        number: 0,
        frames: &frames,
    };
    initial.protect(out, QUIC_INITIAL_BYTES);
}

/// Appends a server's answer: an Initial that acknowledges packet 0 and carries the ServerHello.
pub fn quic_server_initial(
    out: &mut Vec<u8>,
    original_id: &[u8],
    client_id: &[u8],
    server_id: &[u8],
    random: [u8; 32],
) {
    // ACK of packet 0: largest 0, delay 0, no further ranges, first range 0.
    let mut frames = vec![2, 0, 0, 0, 0];
    let mut hello = Vec::with_capacity(96);
    server_hello_message(&mut hello, random, None);
    quic_crypto_frame(&mut frames, 0, &hello);
    let initial = QuicInitial {
        side: QuicSide::Server,
        original_id,
        destination_id: client_id,
        source_id: server_id,
        token: &[],
        number: 0,
        frames: &frames,
    };
    initial.protect(out, QUIC_INITIAL_BYTES);
}

/// Appends what a 1-RTT packet looks like from outside: short header, connection id, opaque bytes; `length` in all.
pub fn quic_short(out: &mut Vec<u8>, destination_id: &[u8], length: usize) {
    out.push(0x43);
    out.extend_from_slice(destination_id);
    opaque(out, length.saturating_sub(1 + destination_id.len()));
}

/// Appends an NTP version 4 packet (RFC 5905) of a client or a server.
pub fn ntp(out: &mut Vec<u8>, from_server: bool, rng: &mut Rng) {
    // Version 4 with mode 3 (client) or 4 (server); the rest is stratum, poll, precision and times.
    out.extend(if from_server { [0x24, 2, 6, 0xe9] } else { [0x23, 0, 6, 0xe9] });
    out.extend([0; 12]);
    out.extend(rng.bytes::<32>());
}

#[cfg(test)]
mod tests {
    use super::*;
    use tls_parser::{TlsExtension, TlsMessage, TlsMessageHandshake};

    fn parse_hello(
        record: &[u8],
        check: impl FnOnce(&tls_parser::TlsClientHelloContents<'_>, &[TlsExtension<'_>]),
    ) {
        let (rest, parsed) = tls_parser::parse_tls_plaintext(record).unwrap();
        assert!(rest.is_empty());
        let [TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello))] = &parsed.msg[..] else {
            panic!("not one ClientHello: {parsed:?}")
        };
        let (rest, extensions) = tls_parser::parse_tls_client_hello_extensions(hello.ext.unwrap()).unwrap();
        assert!(rest.is_empty());
        check(hello, &extensions);
    }

    #[test]
    fn client_hello_says_what_it_was_given() {
        let mut record = Vec::new();
        ClientHello::browser("www.example.org", [7; 32]).record(&mut record);
        assert_eq!(record.len(), 517);
        parse_hello(&record, |hello, extensions| {
            assert_eq!(hello.ciphers.len(), CIPHERS_BROWSER.len() + 1);
            assert!(extensions.iter().any(|extension| {
                matches!(extension, TlsExtension::SNI(names) if names[0].1 == b"www.example.org")
            }));
            assert!(extensions.iter().any(|extension| {
                matches!(extension, TlsExtension::ALPN(list) if *list == [&b"h2"[..], b"http/1.1"])
            }));
        });
    }

    #[test]
    fn plain_hello_leaves_out_what_it_was_not_given() {
        let mut record = Vec::new();
        ClientHello::program(None, CIPHERS_GO, [7; 32]).record(&mut record);
        parse_hello(&record, |hello, extensions| {
            assert_eq!(hello.ciphers.len(), CIPHERS_GO.len());
            let absent = |extension: &TlsExtension<'_>| {
                !matches!(extension, TlsExtension::SNI(_) | TlsExtension::ALPN(_) | TlsExtension::Padding(_))
            };
            assert!(extensions.iter().all(absent));
        });
    }

    #[test]
    fn server_flight_is_three_records() {
        let mut flight = Vec::new();
        server_hello(&mut flight, [1; 32], 1_000);
        let (rest, _) = tls_parser::parse_tls_plaintext(&flight).unwrap();
        let (rest, _) = tls_parser::parse_tls_plaintext(rest).unwrap();
        let (rest, last) = tls_parser::parse_tls_raw_record(rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!(last.data.len(), 1_000);
    }

    #[test]
    fn dns_chain_is_compressed() {
        let (name, alias) = ("www.example.org", "edge.cdn.example.org");
        let mut response = Vec::new();
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let answers = [Answer::Cname { owner: name, target: alias }, Answer::A { owner: alias, address }];
        dns_response(&mut response, 0x1234, name, RecordType::A, Rcode::NoError, 60, &answers);
        let question_end = 12 + 17 + 4;
        assert_eq!(response[..12], [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
        // First owner points to the question; the alias ends in a pointer to "example.org" at offset 16.
        assert_eq!(response[question_end..question_end + 4], [0xc0, 12, 0, 5]);
        let rdata = &response[question_end + 12..];
        assert_eq!(rdata[..11], *b"\x04edge\x03cdn\xc0\x10");
        // The second owner points to that rdata.
        assert_eq!(rdata[11..15], [0xc0, 45, 0, 1]);
        assert!(response.ends_with(&address.octets()));
    }

    #[test]
    fn dns_failures_and_texts_are_formed() {
        let mut response = Vec::new();
        dns_response(&mut response, 1, "no.example", RecordType::Aaaa, Rcode::NxDomain, 60, &[]);
        assert_eq!(response[3] & 0x0f, 3);
        assert_eq!(response.len(), 12 + 12 + 4);
        response.clear();
        let answer = Answer::Txt { owner: "t.example", text: &[b'x'; 300] };
        dns_response(&mut response, 1, "t.example", RecordType::Txt, Rcode::NoError, 60, &[answer]);
        assert_eq!(response.len(), 12 + 11 + 4 + 12 + 302);
    }

    #[test]
    fn initial_keys_are_those_of_rfc_9001_appendix_a() {
        let id = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let keys = InitialKeys::derive(&id, QuicSide::Client);
        assert_eq!(keys.key, 0x1f36_9613_dd76_d546_7730_efcb_e3b1_a22d_u128.to_be_bytes());
        assert_eq!(keys.iv, [0xfa, 0x04, 0x4b, 0x2f, 0x42, 0xa3, 0xfd, 0x3b, 0x46, 0xfb, 0x25, 0x5c]);
        assert_eq!(keys.header, 0x9f50_449e_04a0_e810_283a_1e99_33ad_edd2_u128.to_be_bytes());
    }

    #[test]
    fn quic_initial_decrypts_to_the_hello() {
        let (destination, source) = ([9; 8], [5; 4]);
        let mut datagram = Vec::new();
        let hello = ClientHello { pad_to: 0, ..ClientHello::browser("quic.example.org", [3; 32]) };
        quic_client_initial(&mut datagram, &destination, &source, hello);
        assert_eq!(datagram.len(), QUIC_INITIAL_BYTES);

        // Undo the protection step by step, as RFC 9001 section 5.4.1 tells a receiver.
        let keys = InitialKeys::derive(&destination, QuicSide::Client);
        let number_at = 5 + 1 + 8 + 1 + 4 + 1 + 2;
        let mut mask: [u8; 16] = datagram[number_at + 4..number_at + 20].try_into().unwrap();
        aes::Aes128::new(&keys.header.into()).encrypt_block((&mut mask).into());
        datagram[0] ^= mask[0] & 0x0f;
        for i in 0..4 {
            datagram[number_at + i] ^= mask[1 + i];
        }
        assert_eq!(datagram[0], 0xc3);
        assert_eq!(datagram[number_at..number_at + 4], [0; 4]);
        let (head, sealed) = datagram.split_at_mut(number_at + 4);
        let (body, tag) = sealed.split_at_mut(sealed.len() - 16);
        let tag: [u8; 16] = tag.try_into().unwrap();
        let cipher = aes_gcm::Aes128Gcm::new(&keys.key.into());
        cipher.decrypt_inout_detached(&keys.iv.into(), head, (&mut *body).into(), &tag.into()).unwrap();

        assert_eq!(body[0], 6);
        let length = usize::from(u16::from_be_bytes([body[3] & 0x3f, body[4]]));
        let mut record = vec![22, 3, 1];
        record.extend(length16(length).to_be_bytes());
        record.extend(&body[5..5 + length]);
        parse_hello(&record, |_, extensions| {
            assert!(extensions.iter().any(|extension| {
                matches!(extension, TlsExtension::SNI(names) if names[0].1 == b"quic.example.org")
            }));
        });
        assert!(body[5 + length..].iter().all(|byte| *byte == 0), "the rest is PADDING");
    }

    #[test]
    fn opaque_data_is_not_text_and_has_the_length() {
        let mut data = Vec::new();
        opaque(&mut data, 600);
        assert_eq!(data.len(), 600);
        assert_eq!(data[..256], data[256..512]);
        let mut counts = [0; 256];
        data[..256].iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        assert!(counts.iter().all(|count| *count == 1), "every value once a period");
    }
}
