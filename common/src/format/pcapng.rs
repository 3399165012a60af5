//! pcapng files: sections of either byte order, interfaces each with link type and clock, and the three packet blocks.
//!
//! Layout: draft-ietf-opsawg-pcapng sections 3 and 4. Blocks that carry no packet are passed over, save those that tell of
//! processes ([`Note`]).

mod notes;

pub use notes::Note;

use notes::{PROCESS_INFORMATION, Processes};

use super::{ByteOrder, FormatError, FrameSpan, LinkType, MAX_RECORD_LEN, Step, index};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Type of a Section Header Block: the same in both byte orders, hence usable as magic number.
pub const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Interfaces kept in one section; the 1025th is an error. Real captures have a handful, and each costs 32 bytes.
pub const MAX_INTERFACES: usize = 1024;

const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const OPTION_END: u16 = 0;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;

/// Type and length in front, length behind.
const BLOCK_OVERHEAD: u32 = 12;
const BLOCK_HEADER_LEN: usize = 8;
const SECTION_HEADER_MIN: u32 = 28;
const INTERFACE_DESCRIPTION_MIN: u32 = 20;
const SIMPLE_PACKET_MIN: u32 = 16;
const ENHANCED_PACKET_MIN: u32 = 32;

/// One tick of an interface's clock (option `if_tsresol`).
#[derive(Clone, Copy, Debug)]
enum Tick {
    /// So many nanoseconds.
    Nanos(u64),
    /// One so-manieth of a nanosecond.
    Fraction(u128),
    /// 2 to the minus this of a second.
    PowerOfTwo(u32),
}

impl Tick {
    fn from_option(value: u8) -> Self {
        let exponent = u32::from(value & 0x7f);
        if value & 0x80 != 0 {
            Self::PowerOfTwo(exponent)
        } else if exponent <= 9 {
            Self::Nanos(10u64.pow(9 - exponent))
        } else {
            Self::Fraction(10u128.saturating_pow(exponent - 9))
        }
    }

    #[inline]
    fn nanos(self, ticks: u64) -> i64 {
        let nanos = match self {
            Self::Nanos(each) => return i64::try_from(ticks.saturating_mul(each)).unwrap_or(i64::MAX),
            Self::Fraction(parts) => u128::from(ticks) / parts,
            // At most 2^64 * 2^30, shifted by at most 127.
            Self::PowerOfTwo(exponent) => {
                (u128::from(ticks) * u128::from(NANOS_PER_SEC.unsigned_abs())) >> exponent
            }
        };
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// 0 is no limit.
    snaplen: u32,
    tick: Tick,
    /// Option `if_tsoffset`, in nanoseconds.
    epoch: i64,
}

impl Interface {
    #[inline]
    fn time(&self, high: u32, low: u32) -> Timestamp {
        Timestamp::from_nanos(self.tick.nanos(u64::from(high) << 32 | u64::from(low))).plus_nanos(self.epoch)
    }
}

/// Incremental parser of one pcapng file.
#[derive(Clone, Debug)]
pub struct PcapNgParser {
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// Time of the section's last packet that had one: simple packets carry none.
    last_time: Timestamp,
    /// Processes told of in the section.
    processes: Processes,
    /// Bytes used so far; a file starts with a section header, so 0 means that no section is open.
    offset: u64,
}

impl Default for PcapNgParser {
    fn default() -> Self {
        Self::new()
    }
}

impl PcapNgParser {
    /// The parser at the start of a file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            order: ByteOrder::Little,
            interfaces: Vec::new(),
            last_time: Timestamp::ZERO,
            processes: Processes::default(),
            offset: 0,
        }
    }

    /// Bytes used so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// See [`CaptureParser::step`](super::CaptureParser::step).
    ///
    /// # Errors
    /// Every [`FormatError`] but [`Truncated`](FormatError::Truncated).
    #[inline]
    pub fn step(&mut self, buf: &[u8]) -> Result<Step, FormatError> {
        let Some(([kind, length, third], [])) = buf.first_chunk::<12>().map(|h| h.as_chunks::<4>()) else {
            return Ok(Step::More { needed: index(BLOCK_OVERHEAD) });
        };
        if *kind == SECTION_HEADER {
            self.order = match third {
                [0x4d, 0x3c, 0x2b, 0x1a] => ByteOrder::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => ByteOrder::Big,
                &had => return Err(FormatError::ByteOrder { offset: self.offset, had }),
            };
        } else if self.offset == 0 {
            return Err(FormatError::NotACapture { offset: 0, had: *kind });
        }
        let length = self.order.u32(*length);
        if !(BLOCK_OVERHEAD..=MAX_RECORD_LEN).contains(&length) {
            return Err(self.bad_length("a block", length, BLOCK_OVERHEAD, MAX_RECORD_LEN));
        }
        let used = index(length);
        let Some(block) = buf.get(..used) else {
            return Ok(Step::More { needed: used });
        };
        let Some((front, trailing)) = block.split_last_chunk::<4>() else {
            return Ok(Step::More { needed: used });
        };
        let trailing = self.order.u32(*trailing);
        if trailing != length || !length.is_multiple_of(4) {
            return Err(FormatError::BlockLength { offset: self.offset, leading: length, trailing });
        }
        let body = front.get(BLOCK_HEADER_LEN..).unwrap_or_default();
        let frame = match self.order.u32(*kind) {
            kind @ (ENHANCED_PACKET | PACKET) => Some(self.packet(kind, body, length)?),
            SIMPLE_PACKET => Some(self.simple_packet(body, length)?),
            INTERFACE_DESCRIPTION => {
                self.interface_description(body, length)?;
                None
            }
            _ if *kind == SECTION_HEADER => {
                self.section_header(body, length)?;
                None
            }
            PROCESS_INFORMATION => {
                self.processes.learn(body, self.order);
                None
            }
            _ => None,
        };
        self.offset += u64::from(length);
        Ok(frame.map_or(Step::Skip { used }, |frame| Step::Frame { frame, used }))
    }

    /// What stands beside a packet, given its record as [`step`](Self::step) used it.
    #[inline]
    #[must_use]
    pub fn note<'a>(&'a self, record: &'a [u8], frame: &FrameSpan) -> Option<Note<'a>> {
        Note::of(record, frame, self.order, &self.processes)
    }

    /// Enhanced and old packet block: they differ in how the first word names the interface.
    #[inline]
    fn packet(&mut self, kind: u32, body: &[u8], length: u32) -> Result<FrameSpan, FormatError> {
        const FIELDS: usize = 20;
        let Some(([interface, high, low, kept, wire], [])) =
            body.first_chunk::<FIELDS>().map(|h| h.as_chunks::<4>())
        else {
            return Err(self.bad_length("a packet block", length, ENHANCED_PACKET_MIN, MAX_RECORD_LEN));
        };
        let number = match *interface {
            [a, b, _, _] if kind == PACKET => u32::from(self.order.u16([a, b])),
            number => self.order.u32(number),
        };
        let interface = self.interface(number)?;
        let kept = self.order.u32(*kept);
        if kept > length - ENHANCED_PACKET_MIN {
            return Err(self.bad_length("a packet", kept, 0, length - ENHANCED_PACKET_MIN));
        }
        let time = interface.time(self.order.u32(*high), self.order.u32(*low));
        let (link, wire_len) = (interface.link, self.order.u32(*wire).max(kept));
        self.last_time = time;
        Ok(FrameSpan { time, link, wire_len, at: BLOCK_HEADER_LEN + FIELDS, len: index(kept) })
    }

    /// Simple packet block: of the first interface, without a time, cut to that interface's snap length.
    fn simple_packet(&self, body: &[u8], length: u32) -> Result<FrameSpan, FormatError> {
        let Some(&wire) = body.first_chunk::<4>() else {
            return Err(self.bad_length("a simple packet block", length, SIMPLE_PACKET_MIN, MAX_RECORD_LEN));
        };
        let interface = self.interface(0)?;
        let wire_len = self.order.u32(wire);
        let room = length - SIMPLE_PACKET_MIN;
        let snaplen = if interface.snaplen == 0 { room } else { interface.snaplen };
        let len = index(wire_len.min(room).min(snaplen));
        Ok(FrameSpan { time: self.last_time, link: interface.link, wire_len, at: BLOCK_HEADER_LEN + 4, len })
    }

    #[inline]
    fn interface(&self, number: u32) -> Result<&Interface, FormatError> {
        self.interfaces.get(index(number)).ok_or(FormatError::Interface {
            offset: self.offset,
            had: number,
            known: self.interfaces.len(),
        })
    }

    #[cold]
    fn section_header(&mut self, body: &[u8], length: u32) -> Result<(), FormatError> {
        let Some(&[_, _, _, _, a, b, c, d]) =
            body.first_chunk::<8>().filter(|_| length >= SECTION_HEADER_MIN)
        else {
            return Err(self.bad_length("a section header", length, SECTION_HEADER_MIN, MAX_RECORD_LEN));
        };
        let (major, minor) = (self.order.u16([a, b]), self.order.u16([c, d]));
        if major != 1 {
            return Err(FormatError::Version {
                offset: self.offset,
                format: "pcapng",
                had_major: major,
                had_minor: minor,
                expected_major: 1,
            });
        }
        self.interfaces.clear();
        self.last_time = Timestamp::ZERO;
        self.processes.clear();
        Ok(())
    }

    #[cold]
    fn interface_description(&mut self, body: &[u8], length: u32) -> Result<(), FormatError> {
        let Some((&[a, b, _, _, c, d, e, f], mut options)) = body.split_first_chunk::<8>() else {
            return Err(self.bad_length(
                "an interface description",
                length,
                INTERFACE_DESCRIPTION_MIN,
                MAX_RECORD_LEN,
            ));
        };
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(FormatError::TooManyInterfaces { offset: self.offset, limit: MAX_INTERFACES });
        }
        let mut interface = Interface {
            link: LinkType::from_number(self.order.u16([a, b])),
            snaplen: self.order.u32([c, d, e, f]),
            // Section 4.2: microseconds unless if_tsresol says otherwise.
            tick: Tick::from_option(6),
            epoch: 0,
        };
        while let Some((&[a, b, c, d], rest)) = options.split_first_chunk::<4>() {
            let (code, len) = (self.order.u16([a, b]), self.order.u16([c, d]));
            if code == OPTION_END {
                break;
            }
            // A lost clock option would falsify every time of the interface, so a damaged list is not passed over.
            let Some((value, rest)) = rest.split_at_checked(usize::from(len)) else {
                let max = u32::try_from(rest.len()).unwrap_or(MAX_RECORD_LEN);
                return Err(self.bad_length("an interface option", u32::from(len), 0, max));
            };
            match (code, value) {
                (OPTION_TSRESOL, &[value]) => interface.tick = Tick::from_option(value),
                (OPTION_TSOFFSET, &[a, b, c, d, e, f, g, h]) => {
                    let secs = match self.order {
                        ByteOrder::Little => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
                        ByteOrder::Big => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
                    };
                    interface.epoch = secs.saturating_mul(NANOS_PER_SEC);
                }
                _ => {}
            }
            options = rest.get(usize::from(len).next_multiple_of(4) - usize::from(len)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    #[cold]
    const fn bad_length(&self, what: &'static str, had: u32, min: u32, max: u32) -> FormatError {
        FormatError::Length { offset: self.offset, what, had, min, max }
    }
}
