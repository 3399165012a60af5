//! Files inside files: gzip, zstd, zip and tar, as people pack the logs that they hand over.
//!
//! The zip writer is our own, so that the reader under test does not meet its own idea of the format.

use std::io::{self, Write as _};
use std::path::Path;

/// One gzip member.
///
/// # Errors
/// Never in memory.
pub fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// One zstd frame.
///
/// # Errors
/// Never in memory.
pub fn zstd(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::encode_all(bytes, 1)
}

/// A tar archive of named files.
///
/// # Errors
/// If a name is longer than tar takes.
pub fn tar(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        out.append_data(&mut header, Path::new(name), *bytes)?;
    }
    out.into_inner()
}

/// A zip archive of named files (APPNOTE.TXT sections 4.3.7, 4.3.12, 4.3.16): the first stored, the others deflated.
///
/// # Errors
/// If something is larger than a zip without extensions takes.
pub fn zip(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    const STORED: u16 = 0;
    const DEFLATED: u16 = 8;
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (index, (name, bytes)) in files.iter().enumerate() {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let (method, data) = if index == 0 { (STORED, bytes.to_vec()) } else { (DEFLATED, deflate(bytes)?) };
        let mut common = Vec::new();
        // Version 2.0, no flags, method, time, date.
        for word in [20, 0, method, 0, 0x21] {
            common.extend_from_slice(&u16::to_le_bytes(word));
        }
        for word in [crc.sum(), size(data.len())?, size(bytes.len())?] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        // Lengths of the name and of what is extra.
        common.extend_from_slice(&short(name.len())?.to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        let at = size(out.len())?;
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&data);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        // No comment, disk 0, no attributes.
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&at.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (at, len, count) = (size(out.len())?, size(directory.len())?, short(files.len())?);
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    Ok(out)
}

fn deflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn size(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(io::Error::other)
}

fn short(len: usize) -> io::Result<u16> {
    u16::try_from(len).map_err(io::Error::other)
}
