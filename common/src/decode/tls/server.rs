//! The certificate that a server shows in clear: TLS 1.2 and before (RFC 5246 section 7.4.2). In TLS 1.3 it is encrypted, and a
//! session that is resumed shows none; both are said at once.
//!
//! Only the server's own certificate, the first of its list, is looked at, and of that only the digests are kept.

use super::{MAX_HELLO_BYTES, record_header};
use crate::certificate::Certificate;
use crate::decode::Probe;
use crate::decode::cursor::Cursor;

/// Longest certificate that is looked at, in bytes. Most have 1 to 2 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = MAX_HELLO_BYTES;

/// Handshake types (RFC 5246 section 7.4; RFC 4680).
const HELLO_REQUEST: u8 = 0;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SUPPLEMENTAL_DATA: u8 = 23;
/// Messages before the certificate: the server's hello, and two that hardly anybody sends.
const MAX_BEFORE: usize = 4;
/// First byte of a DER certificate: a SEQUENCE.
const SEQUENCE: u8 = 0x30;

/// Reads the certificate from the first bytes that a server sends; messages may be spread over several records, and
/// several messages stand in one.
#[must_use]
pub fn server_certificate(stream: &[u8]) -> Probe<Certificate> {
    match Records::new(stream).certificate() {
        Ok(certificate) => Probe::Parsed(certificate),
        Err(Stop::More(missing)) => Probe::NeedMore { at_least: missing.max(1) },
        Err(Stop::Other) => Probe::Mismatch,
    }
}

/// Why reading stops.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// So many bytes are missing, at least.
    More(usize),
    /// Something else stands there.
    Other,
}

/// The bytes of handshake messages, whatever records they stand in.
#[derive(Clone, Copy, Debug)]
struct Records<'a> {
    stream: Cursor<'a>,
    /// Bytes of the record that is being read.
    left: usize,
}

impl<'a> Records<'a> {
    const fn new(stream: &'a [u8]) -> Self {
        Self { stream: Cursor::new(stream), left: 0 }
    }

    fn certificate(mut self) -> Result<Certificate, Stop> {
        for at in 0..=MAX_BEFORE {
            let [kind, a, b, c] = self.array()?;
            let length = length([a, b, c]);
            match kind {
                _ if kind != CERTIFICATE && length > MAX_CERTIFICATE_BYTES => return Err(Stop::Other),
                SERVER_HELLO if at == 0 => {}
                HELLO_REQUEST | SUPPLEMENTAL_DATA if at > 0 => {}
                CERTIFICATE if at > 0 => return self.leaf(length),
                _ => return Err(Stop::Other),
            }
            self.skip(length)?;
        }
        Err(Stop::Other)
    }

    /// The first certificate of a message of so many bytes.
    fn leaf(mut self, message: usize) -> Result<Certificate, Stop> {
        let list = length(self.array()?);
        // A list without any certificate is short, too.
        if list + 3 != message || list <= 3 {
            return Err(Stop::Other);
        }
        let length = length(self.array()?);
        if length + 3 > list || !(1..=MAX_CERTIFICATE_BYTES).contains(&length) {
            return Err(Stop::Other);
        }
        // Digests cost the most: they are made once, when all of it is there.
        let mut ahead = self;
        if ahead.array()? != [SEQUENCE] {
            return Err(Stop::Other);
        }
        ahead.skip(length - 1)?;
        let mut left = length;
        Ok(Certificate::of(std::iter::from_fn(|| {
            let piece = self.piece(left).ok().filter(|_| left > 0)?;
            left -= piece.len();
            Some(piece)
        })))
    }

    /// The next bytes, at least one and at most `most`, as far as one record holds them.
    fn piece(&mut self, most: usize) -> Result<&'a [u8], Stop> {
        if self.left == 0 {
            match record_header(&mut self.stream) {
                None => return Err(Stop::Other),
                Some(None) => return Err(Stop::More(most)),
                Some(Some(length)) => self.left = length,
            }
        }
        let rest = self.stream.rest();
        let length = most.min(self.left).min(rest.len());
        if length == 0 {
            return Err(Stop::More(most));
        }
        self.left -= length;
        self.stream.take(length).ok_or(Stop::More(most))
    }

    fn skip(&mut self, mut length: usize) -> Result<(), Stop> {
        while length > 0 {
            length -= self.piece(length)?.len();
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut out = [0; N];
        let mut room = out.iter_mut();
        while room.len() > 0 {
            let piece = self.piece(room.len())?;
            for (byte, to) in piece.iter().zip(room.by_ref()) {
                *to = *byte;
            }
        }
        Ok(out)
    }
}

fn length([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

#[cfg(test)]
mod tests;
