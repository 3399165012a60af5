//! Classic pcap files: microseconds or nanoseconds, either byte order, and the "modified" layout of old Red Hat libpcap.
//!
//! Layout: draft-ietf-opsawg-pcap sections 4 and 5. The magic number tells byte order, resolution and record header.

use super::{ByteOrder, FormatError, FrameSpan, LinkType, MAX_RECORD_LEN, Step, index};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Microseconds.
const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
/// Nanoseconds.
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
/// Microseconds; record headers carry interface, protocol and packet type as well.
const MAGIC_MODIFIED: u32 = 0xa1b2_cd34;

const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;
const MODIFIED_RECORD_HEADER_LEN: usize = 24;

/// Incremental parser of one pcap file.
#[derive(Clone, Debug)]
pub struct PcapParser {
    order: ByteOrder,
    nanos_per_fraction: i64,
    record_header_len: usize,
    link: LinkType,
    /// Bytes used so far; the file header counts, so 0 means that it is still to come.
    offset: u64,
}

impl PcapParser {
    /// The parser for a file with these first four bytes, or `None` if they are not pcap's.
    #[must_use]
    pub fn new(magic: [u8; 4]) -> Option<Self> {
        [ByteOrder::Little, ByteOrder::Big].into_iter().find_map(|order| {
            let (nanos_per_fraction, record_header_len) = match order.u32(magic) {
                MAGIC_MICROS => (1000, RECORD_HEADER_LEN),
                MAGIC_NANOS => (1, RECORD_HEADER_LEN),
                MAGIC_MODIFIED => (1000, MODIFIED_RECORD_HEADER_LEN),
                _ => return None,
            };
            Some(Self { order, nanos_per_fraction, record_header_len, link: LinkType::Null, offset: 0 })
        })
    }

    /// Bytes used so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// See [`CaptureParser::step`](super::CaptureParser::step).
    ///
    /// # Errors
    /// [`FormatError::Version`] or [`FormatError::Length`].
    #[inline]
    pub fn step(&mut self, buf: &[u8]) -> Result<Step, FormatError> {
        if self.offset == 0 {
            return self.file_header(buf);
        }
        let Some(([secs, fraction, kept, wire], [])) =
            buf.first_chunk::<RECORD_HEADER_LEN>().map(|h| h.as_chunks::<4>())
        else {
            return Ok(Step::More { needed: self.record_header_len });
        };
        let kept = self.order.u32(*kept);
        if kept > MAX_RECORD_LEN {
            return Err(FormatError::Length {
                offset: self.offset,
                what: "a packet",
                had: kept,
                min: 0,
                max: MAX_RECORD_LEN,
            });
        }
        let len = index(kept);
        let used = self.record_header_len + len;
        if buf.len() < used {
            return Ok(Step::More { needed: used });
        }
        // Two unsigned 32-bit fields: at most 4.3e18 + 4.3e12 ns, which an i64 holds.
        let time = Timestamp::from_nanos(
            i64::from(self.order.u32(*secs)) * NANOS_PER_SEC
                + i64::from(self.order.u32(*fraction)) * self.nanos_per_fraction,
        );
        // Some writers leave the wire length at 0; there were never fewer bytes than were kept.
        let wire_len = self.order.u32(*wire).max(kept);
        self.offset += used as u64;
        Ok(Step::Frame {
            frame: FrameSpan { time, link: self.link, wire_len, at: self.record_header_len, len },
            used,
        })
    }

    #[cold]
    fn file_header(&mut self, buf: &[u8]) -> Result<Step, FormatError> {
        let Some(([_magic, version, _zone, _accuracy, _snaplen, network], [])) =
            buf.first_chunk::<FILE_HEADER_LEN>().map(|h| h.as_chunks::<4>())
        else {
            return Ok(Step::More { needed: FILE_HEADER_LEN });
        };
        let [a, b, c, d] = *version;
        let (major, minor) = (self.order.u16([a, b]), self.order.u16([c, d]));
        if major != 2 {
            return Err(FormatError::Version {
                offset: 0,
                format: "pcap",
                had_major: major,
                had_minor: minor,
                expected_major: 2,
            });
        }
        // The upper half tells the length of the frame check sequence, which decoders find past the packet and leave.
        let [.., high, low] = self.order.u32(*network).to_be_bytes();
        self.link = LinkType::from_number(u16::from_be_bytes([high, low]));
        self.offset = FILE_HEADER_LEN as u64;
        Ok(Step::Skip { used: FILE_HEADER_LEN })
    }
}
