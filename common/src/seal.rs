//! What is kept across restarts carries a seal: what it is, which version, how long, and a checksum over it.
//!
//! The checksum tells damage (a torn write, a bad disk); it is no signature.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// Bytes of the seal in front of what it seals.
pub const SEAL_BYTES: usize = 36;

/// Why sealed bytes cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It begins with something else.
    #[error("it is something else")]
    Foreign,
    /// Another version, newer or no longer read.
    #[error("its version is {had}; this version of Sonde reads {reads}")]
    Version {
        /// Its version.
        had: u32,
        /// The version that is read.
        reads: u32,
    },
    /// Cut short, or something stands behind it.
    #[error("{had} bytes where {told} were written")]
    Length {
        /// Bytes there are.
        had: u64,
        /// Bytes that the seal tells of.
        told: u64,
    },
    /// Something in it has changed.
    #[error("its checksum does not fit: it is damaged")]
    Checksum,
}

/// Appends a seal, then what `write` appends, which it seals.
pub fn seal(kind: [u8; 8], version: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&[0; SEAL_BYTES - 12]);
    write(out);
    let content = out.get(start + SEAL_BYTES..).unwrap_or_default();
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX).to_le_bytes();
    let checksum = checksum(content);
    let written = [length.as_slice(), checksum.as_slice()].concat();
    if let Some(place) = out.get_mut(start + 12..start + SEAL_BYTES) {
        place.copy_from_slice(&written);
    }
}

/// What was sealed.
///
/// # Errors
/// If it is not of that kind and version, not whole, or not as it was written.
pub fn open(kind: [u8; 8], version: u32, bytes: &[u8]) -> Result<&[u8], SealError> {
    let rest = bytes.strip_prefix(&kind).ok_or(SealError::Foreign)?;
    let (had, rest) = rest.split_first_chunk::<4>().ok_or(SealError::Foreign)?;
    let had = u32::from_le_bytes(*had);
    if had != version {
        return Err(SealError::Version { had, reads: version });
    }
    let (told, rest) = rest.split_first_chunk::<8>().ok_or(SealError::Foreign)?;
    let (expected, content) = rest.split_first_chunk::<16>().ok_or(SealError::Foreign)?;
    let (told, had) = (u64::from_le_bytes(*told), u64::try_from(content.len()).unwrap_or(u64::MAX));
    if told != had {
        return Err(SealError::Length { had, told });
    }
    if checksum(content) == *expected { Ok(content) } else { Err(SealError::Checksum) }
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut hash = SipHasher24::new();
    hash.write(bytes);
    hash.finish128().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: [u8; 8] = *b"test-it!";

    #[test]
    fn what_was_sealed_is_opened_and_every_change_is_noticed() {
        let mut bytes = Vec::new();
        seal(KIND, 3, &mut bytes, |out| out.extend_from_slice(b"content"));
        assert_eq!(bytes.len(), SEAL_BYTES + 7);
        assert_eq!(open(KIND, 3, &bytes), Ok(b"content".as_slice()));
        assert_eq!(open(*b"another!", 3, &bytes), Err(SealError::Foreign));
        assert_eq!(open(KIND, 2, &bytes), Err(SealError::Version { had: 3, reads: 2 }));
        for at in 0..bytes.len() {
            assert!(open(KIND, 3, &bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(open(KIND, 3, &damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        bytes.push(0);
        assert_eq!(open(KIND, 3, &bytes), Err(SealError::Length { had: 8, told: 7 }));
    }
}
