//! QUIC, as far as the client's ClientHello: opens its Initial packets and joins their CRYPTO frames.
//!
//! The keys of Initial packets follow from the packet itself (RFC 9001 section 5.2), so an observer may read them.
//! Versions 1, 2 (RFC 9369) and the drafts from 29. The server's side and everything later stays closed.

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut as _;
use hkdf::Hkdf;
use sha2::Sha256;

use super::cursor::Cursor;

/// Most bytes of CRYPTO data that are kept. A hello with post-quantum key shares has about 2 KiB.
pub const MAX_CRYPTO_BYTES: usize = 8192;
/// Longest Initial packet that is opened whole; a client sends no more than fits an Ethernet frame before it has
/// probed the path (RFC 9000 section 14). Of a longer one the beginning is read, as of a cut one.
pub const MAX_PACKET_BYTES: usize = 2048;
/// Longest connection id (RFC 9000 section 17.2).
const MAX_CONNECTION_ID_BYTES: usize = 20;
/// Authentication tag of AES-128-GCM.
const TAG_BYTES: usize = 16;

/// What is known after a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The whole ClientHello with its handshake header, for [`tls::handshake_client_hello`](super::tls::handshake_client_hello).
    Complete(&'a [u8]),
    /// An Initial packet of the client was read; the hello goes on in others.
    NeedMore,
    /// The hello is longer than [`MAX_CRYPTO_BYTES`]; [`InitialAssembler::prefix`] has its beginning.
    TooLong,
    /// The datagram holds no readable Initial packet of the client.
    Unreadable,
}

/// Joins the ClientHello of one connection. About 9 KiB; most hellos are complete after one datagram, so that one
/// assembler on the side serves many connections, and only an unfinished one must be kept.
#[derive(Clone)]
pub struct InitialAssembler {
    keys: Option<ClientKeys>,
    crypto: [u8; MAX_CRYPTO_BYTES],
    /// One bit for each byte of `crypto` that is there.
    present: [u64; MAX_CRYPTO_BYTES / 64],
}

impl fmt::Debug for InitialAssembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InitialAssembler").field("bytes", &self.prefix().len()).finish_non_exhaustive()
    }
}

impl Default for InitialAssembler {
    fn default() -> Self {
        Self::new()
    }
}

impl InitialAssembler {
    /// Without a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { keys: None, crypto: [0; MAX_CRYPTO_BYTES], present: [0; MAX_CRYPTO_BYTES / 64] }
    }

    /// Forgets the connection, for the next one.
    pub fn reset(&mut self) {
        self.keys = None;
        self.present.fill(0);
    }

    /// Takes a UDP payload that the client sent.
    ///
    /// The first Initial packet gives the keys, by its destination connection id; they stay when the client takes over
    /// the id that the server chose, and are made anew after a Retry.
    pub fn push(&mut self, datagram: &[u8]) -> Progress<'_> {
        let mut read = false;
        let mut rest = datagram;
        while let Some(packet) = LongPacket::parse(rest) {
            rest = rest.get(packet.len..).unwrap_or_default();
            if packet.is_initial {
                read |= self.open(&packet);
            }
        }
        if read { self.progress() } else { Progress::Unreadable }
    }

    /// The hello from its start as far as it is without a gap, for
    /// [`tls::truncated_handshake_client_hello`](super::tls::truncated_handshake_client_hello).
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let mut len = 0;
        for word in &self.present {
            len += word.trailing_ones() as usize;
            if *word != u64::MAX {
                break;
            }
        }
        self.crypto.get(..len).unwrap_or_default()
    }

    fn progress(&self) -> Progress<'_> {
        let prefix = self.prefix();
        let Some(need) =
            Cursor::at(prefix, 1).u24().and_then(|len| usize::try_from(len).ok()).map(|len| len + 4)
        else {
            return Progress::NeedMore;
        };
        match prefix.get(..need) {
            Some(hello) => Progress::Complete(hello),
            None if need > MAX_CRYPTO_BYTES => Progress::TooLong,
            None => Progress::NeedMore,
        }
    }

    /// Whether the packet was the client's.
    fn open(&mut self, packet: &LongPacket<'_>) -> bool {
        let mut scratch = [0; MAX_PACKET_BYTES];
        if let Some(plain) = self.keys.as_ref().and_then(|keys| keys.open(packet, &mut scratch)) {
            self.read_frames(plain);
            return true;
        }
        let Some(keys) = ClientKeys::derive(packet.version, packet.destination) else { return false };
        if let Some(plain) = keys.open(packet, &mut scratch) {
            // The first packet, or the first after a Retry: then the hello is sent again from its start.
            self.reset();
            self.keys = Some(keys);
            self.read_frames(plain);
            return true;
        }
        // A packet that the capture cut cannot be authenticated. What there is of the first one is read, and counts
        // only if it is the beginning of a ClientHello (type 1, version 3.3 behind the length).
        if self.keys.is_some() {
            return false;
        }
        let Some(plain) = keys.open_cut(packet, &mut scratch) else { return false };
        self.read_frames(plain);
        let is_hello = matches!(self.prefix(), [1, _, _, _, 3, 3, ..]);
        if is_hello {
            self.keys = Some(keys);
        } else {
            self.reset();
        }
        is_hello
    }

    /// Takes the CRYPTO frames out of a packet, up to the first frame that does not belong into an Initial packet
    /// (RFC 9000 section 12.4) or is cut.
    fn read_frames(&mut self, plain: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(plain);
        while !cursor.is_empty() {
            match cursor.varint()? {
                // PADDING, PING
                0 | 1 => {}
                // ACK, with or without ECN counts
                kind @ (2 | 3) => {
                    cursor.varint()?;
                    cursor.varint()?;
                    let ranges = cursor.varint()?;
                    cursor.varint()?;
                    for _ in 0..ranges {
                        cursor.varint()?;
                        cursor.varint()?;
                    }
                    if kind == 3 {
                        cursor.varint()?;
                        cursor.varint()?;
                        cursor.varint()?;
                    }
                }
                // CRYPTO; of a cut one what there is
                6 => {
                    let offset = cursor.varint()?;
                    let len = usize::try_from(cursor.varint()?).ok()?;
                    let data = cursor.rest();
                    self.keep(usize::try_from(offset).ok()?, data.get(..len).unwrap_or(data));
                    cursor.take(len)?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// Puts CRYPTO data in its place; what lies beyond the cap is dropped.
    fn keep(&mut self, offset: usize, data: &[u8]) {
        let Some(room) = self.crypto.get_mut(offset..) else { return };
        let kept = room.len().min(data.len());
        for (to, from) in room.iter_mut().zip(data) {
            *to = *from;
        }
        let mut at = offset;
        let end = offset + kept;
        while at < end {
            let bit = at % 64;
            let span = (64 - bit).min(end - at);
            if let Some(word) = self.present.get_mut(at / 64) {
                *word |= (u64::MAX >> (64 - span)) << bit;
            }
            at += span;
        }
    }
}

/// A version's constants: salt of the first secret and names of the keys.
struct Version {
    salt: [u8; 20],
    key: &'static [u8],
    iv: &'static [u8],
    header: &'static [u8],
    /// The two bits that mark an Initial packet.
    initial_type: u8,
}

impl Version {
    /// `None` for a version whose Initial packets we cannot open.
    const fn of(number: u32) -> Option<Self> {
        // RFC 9001 section 5.2, and draft-ietf-quic-tls-29 for the drafts before it got its last salt in -33.
        const V1_SALT: [u8; 20] = [
            0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
            0xcc, 0xbb, 0x7f, 0x0a,
        ];
        const DRAFT_29_SALT: [u8; 20] = [
            0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0,
            0x43, 0x90, 0xa8, 0x99,
        ];
        // RFC 9369 section 3.3.1.
        const V2_SALT: [u8; 20] = [
            0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
            0xf9, 0xbd, 0x2e, 0xd9,
        ];
        let salt = match number {
            0x0000_0001 | 0xff00_0021 | 0xff00_0022 => V1_SALT,
            0xff00_001d..=0xff00_0020 => DRAFT_29_SALT,
            0x6b33_43cf => {
                return Some(Self {
                    salt: V2_SALT,
                    key: b"quicv2 key",
                    iv: b"quicv2 iv",
                    header: b"quicv2 hp",
                    initial_type: 1,
                });
            }
            _ => return None,
        };
        Some(Self { salt, key: b"quic key", iv: b"quic iv", header: b"quic hp", initial_type: 0 })
    }
}

/// A packet with a long header (RFC 9000 section 17.2) that tells its length; it may be cut.
struct LongPacket<'a> {
    version: u32,
    destination: &'a [u8],
    is_initial: bool,
    /// From its first byte, without the packets coalesced behind it.
    bytes: &'a [u8],
    packet_number_at: usize,
    /// Bytes that it should have.
    len: usize,
}

impl<'a> LongPacket<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let first = cursor.u8()?;
        // The fixed bit is not looked at: it may be greased (RFC 9287).
        if first & 0x80 == 0 {
            return None;
        }
        let version = cursor.u32()?;
        let initial_type = Version::of(version)?.initial_type;
        let destination = cursor.vec8()?;
        let source = cursor.vec8()?;
        if destination.len() > MAX_CONNECTION_ID_BYTES || source.len() > MAX_CONNECTION_ID_BYTES {
            return None;
        }
        // Counted from the Initial type on, both versions have Initial, 0-RTT, Handshake, Retry.
        let kind = (first >> 4 & 3).wrapping_sub(initial_type) & 3;
        if kind == 3 {
            return None; // a Retry has no length and is the server's
        }
        let is_initial = kind == 0;
        if is_initial {
            let token_len = cursor.varint()?;
            cursor.take(usize::try_from(token_len).ok()?)?;
        }
        let payload_len = usize::try_from(cursor.varint()?).ok()?;
        let packet_number_at = cursor.offset();
        let len = packet_number_at.checked_add(payload_len)?;
        let bytes = bytes.get(..len).unwrap_or(bytes);
        Some(Self { version, destination, is_initial, bytes, packet_number_at, len })
    }
}

/// The client's keys for Initial packets (RFC 9001 section 5.2).
#[derive(Clone)]
struct ClientKeys {
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

impl ClientKeys {
    fn derive(version: u32, destination: &[u8]) -> Option<Self> {
        let version = Version::of(version)?;
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&version.salt), destination);
        let mut secret = [0; 32];
        expand_label(&initial, b"client in", &mut secret)?;
        let client = Hkdf::<Sha256>::from_prk(&secret).ok()?;
        let mut keys = Self { key: [0; 16], iv: [0; 12], header: [0; 16] };
        expand_label(&client, version.key, &mut keys.key)?;
        expand_label(&client, version.iv, &mut keys.iv)?;
        expand_label(&client, version.header, &mut keys.header)?;
        Some(keys)
    }

    /// The frames of a packet, if it is whole and sealed with these keys.
    fn open<'s>(&self, packet: &LongPacket<'_>, scratch: &'s mut [u8; MAX_PACKET_BYTES]) -> Option<&'s [u8]> {
        if packet.bytes.len() < packet.len {
            return None;
        }
        let (nonce, header, payload) = self.unprotect(packet, scratch)?;
        let (sealed, tag) = payload.split_last_chunk_mut::<TAG_BYTES>()?;
        Aes128Gcm::new(&self.key.into())
            .decrypt_inout_detached(&nonce.into(), header, (&mut *sealed).into(), &(*tag).into())
            .ok()?;
        Some(sealed)
    }

    /// The beginning of a packet that is cut or over-long, without authentication: plain counter mode from 2 on
    /// (NIST SP 800-38D section 7.1).
    fn open_cut<'s>(
        &self,
        packet: &LongPacket<'_>,
        scratch: &'s mut [u8; MAX_PACKET_BYTES],
    ) -> Option<&'s [u8]> {
        let beginning = packet.bytes.get(..MAX_PACKET_BYTES).unwrap_or(packet.bytes);
        if beginning.len() + TAG_BYTES > packet.len {
            return None; // whole, so it was not authentic; or cut in the tag, which is not worth the care
        }
        let (nonce, _, payload) = self.unprotect(&LongPacket { bytes: beginning, ..*packet }, scratch)?;
        let cipher = Aes128::new(&self.key.into());
        for (block, counter) in payload.chunks_mut(16).zip(2u32..) {
            let mut mask = [0; 16];
            let (head, tail) = mask.split_at_mut(nonce.len());
            head.copy_from_slice(&nonce);
            tail.copy_from_slice(&counter.to_be_bytes());
            let mut mask = mask.into();
            cipher.encrypt_block(&mut mask);
            for (byte, mask) in block.iter_mut().zip(mask) {
                *byte ^= mask;
            }
        }
        Some(payload)
    }

    /// Copies the packet and takes off its header protection (RFC 9001 section 5.4): nonce, header and payload.
    fn unprotect<'s>(
        &self,
        packet: &LongPacket<'_>,
        scratch: &'s mut [u8; MAX_PACKET_BYTES],
    ) -> Option<([u8; 12], &'s [u8], &'s mut [u8])> {
        let sample = *packet.bytes.get(packet.packet_number_at + 4..)?.first_chunk::<16>()?;
        let mut mask = sample.into();
        Aes128::new(&self.header.into()).encrypt_block(&mut mask);
        let [first_mask, number_mask @ ..] = mask.0;

        let bytes = scratch.get_mut(..packet.bytes.len())?;
        bytes.copy_from_slice(packet.bytes);
        let first = bytes.first_mut()?;
        *first ^= first_mask & 0x0f;
        let number_len = usize::from(*first & 3) + 1;
        let header_len = packet.packet_number_at + number_len;
        let (header, payload) = bytes.split_at_mut_checked(header_len)?;
        let mut number = 0u64;
        for (byte, mask) in header.get_mut(packet.packet_number_at..)?.iter_mut().zip(number_mask) {
            *byte ^= mask;
            number = number << 8 | u64::from(*byte);
        }
        // Before the server acknowledged anything the number is sent whole (RFC 9000 section 17.1).
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= number;
        }
        Some((nonce, header, payload))
    }
}

/// HKDF-Expand-Label of TLS 1.3 with an empty context (RFC 8446 section 7.1).
fn expand_label(secret: &Hkdf<Sha256>, label: &[u8], out: &mut [u8]) -> Option<()> {
    const PREFIX: &[u8] = b"tls13 ";
    let out_len = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_len = u8::try_from(PREFIX.len() + label.len()).ok()?;
    secret.expand_multi_info(&[&out_len, &[label_len], PREFIX, label, &[0]], out).ok()
}

#[cfg(test)]
mod tests;
