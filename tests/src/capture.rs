//! Writes capture files: pcap (micro- and nanoseconds, both byte orders) and pcapng (sections, interfaces, resolutions).
//!
//! Writers stream to any `Write`, count what they wrote, and cut frames at the snapshot length as a capture would.

use std::io::{self, Write};

use sonde_common::format::LinkType;
use sonde_common::time::Timestamp;

use crate::packet::ByteOrder;

/// Snapshot length when frames are kept whole (what tcpdump writes).
pub const WHOLE_FRAMES: u32 = 262_144;

const PCAPNG_OPT_COMMENT: u16 = 1;
const PCAPNG_IF_NAME: u16 = 2;
const PCAPNG_PIB_NAME: u16 = 2;
const PCAPNG_PROCESS_INFORMATION: u32 = 0x8000_0001;
const PCAPNG_IF_TSRESOL: u16 = 9;

/// Unit of the fraction in a pcap file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// Magic `a1b2c3d4`.
    #[default]
    Micros,
    /// Magic `a1b23c4d`.
    Nanos,
}

/// Registry number of a link type.
#[must_use]
pub const fn link_number(link: LinkType) -> u16 {
    match link {
        LinkType::Null => 0,
        LinkType::Ethernet => 1,
        LinkType::RawIp => 101,
        LinkType::Loop => 108,
        LinkType::LinuxSll => 113,
        LinkType::LinuxSll2 => 276,
        LinkType::Other(number) => number,
    }
}

/// Numbers in the file's byte order.
#[derive(Clone, Copy, Debug)]
struct Order(ByteOrder);

impl Order {
    const fn u16(self, value: u16) -> [u8; 2] {
        match self.0 {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        }
    }

    const fn u32(self, value: u32) -> [u8; 4] {
        match self.0 {
            ByteOrder::Little => value.to_le_bytes(),
            ByteOrder::Big => value.to_be_bytes(),
        }
    }
}

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Packet records.
    pub packets: u64,
    /// Bytes that the frames had before they were cut.
    pub wire_bytes: u64,
}

impl Written {
    fn count(&mut self, frame: &[u8]) {
        self.packets += 1;
        self.wire_bytes += frame.len() as u64;
    }
}

/// The part of the frame that the snapshot length keeps, and both lengths for the record header.
fn cut(frame: &[u8], snaplen: u32) -> io::Result<(&[u8], u32, u32)> {
    let wire = u32::try_from(frame.len()).map_err(|_| io::Error::other("frame longer than 4 GiB"))?;
    let kept = wire.min(snaplen);
    let data = usize::try_from(kept).ok().and_then(|kept| frame.get(..kept)).unwrap_or(frame);
    Ok((data, kept, wire))
}

/// How a pcap file is laid out.
#[derive(Clone, Copy, Debug)]
pub struct PcapOptions {
    /// Link type of every frame.
    pub link: LinkType,
    /// Longest part of a frame that is kept.
    pub snaplen: u32,
    /// Unit of the fraction.
    pub unit: TimeUnit,
    /// Byte order of every number.
    pub order: ByteOrder,
}

impl Default for PcapOptions {
    fn default() -> Self {
        Self {
            link: LinkType::Ethernet,
            snaplen: WHOLE_FRAMES,
            unit: TimeUnit::default(),
            order: ByteOrder::default(),
        }
    }
}

/// Writes a pcap file.
#[derive(Debug)]
pub struct PcapWriter<W> {
    out: W,
    options: PcapOptions,
    written: Written,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(mut out: W, options: PcapOptions) -> io::Result<Self> {
        let order = Order(options.order);
        let magic = match options.unit {
            TimeUnit::Micros => 0xa1b2_c3d4,
            TimeUnit::Nanos => 0xa1b2_3c4d,
        };
        out.write_all(&order.u32(magic))?;
        out.write_all(&order.u16(2))?;
        out.write_all(&order.u16(4))?;
        out.write_all(&[0; 8])?;
        out.write_all(&order.u32(options.snaplen))?;
        out.write_all(&order.u32(u32::from(link_number(options.link))))?;
        Ok(Self { out, options, written: Written::default() })
    }

    /// Appends one frame. Times outside 1970–2106 do not fit the format and are refused.
    ///
    /// # Errors
    /// What the output says, or a time that the format cannot hold.
    pub fn write(&mut self, time: Timestamp, frame: &[u8]) -> io::Result<()> {
        let order = Order(self.options.order);
        let (data, kept, wire) = cut(frame, self.options.snaplen)?;
        let unfit = |_| io::Error::other("time does not fit a pcap record");
        let secs = u32::try_from(time.nanos().div_euclid(1_000_000_000)).map_err(unfit)?;
        let nanos = u32::try_from(time.nanos().rem_euclid(1_000_000_000)).map_err(unfit)?;
        let fraction = match self.options.unit {
            TimeUnit::Micros => nanos / 1_000,
            TimeUnit::Nanos => nanos,
        };
        let mut header = [0; 16];
        for (to, value) in header.chunks_mut(4).zip([secs, fraction, kept, wire]) {
            to.copy_from_slice(&order.u32(value));
        }
        self.out.write_all(&header)?;
        self.out.write_all(data)?;
        self.written.count(frame);
        Ok(())
    }

    /// What was written so far.
    pub const fn written(&self) -> Written {
        self.written
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Resolution of an interface's times (`if_tsresol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// No option: microseconds by default.
    #[default]
    Unsaid,
    /// 10^-n seconds, n at most 9 here.
    Decimal(u8),
    /// 2^-n seconds, n at most 32 here.
    Binary(u8),
}

impl Resolution {
    /// Ticks since the epoch.
    fn ticks(self, time: Timestamp) -> io::Result<u64> {
        let nanos = i128::from(time.nanos());
        let ticks = match self {
            Self::Unsaid => nanos / 1_000,
            Self::Decimal(n) => nanos * 10_i128.pow(u32::from(n.min(9))) / 1_000_000_000,
            Self::Binary(n) => (nanos << n.min(32)) / 1_000_000_000,
        };
        u64::try_from(ticks).map_err(|_| io::Error::other("time before 1970"))
    }

    const fn code(self) -> Option<u8> {
        match self {
            Self::Unsaid => None,
            Self::Decimal(n) => Some(n),
            Self::Binary(n) => Some(0x80 | n),
        }
    }
}

/// An interface of a pcapng section.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// Link type of its frames.
    pub link: LinkType,
    /// Longest part of a frame that is kept; 0 is "no limit".
    pub snaplen: u32,
    /// Resolution of its times.
    pub resolution: Resolution,
    /// Its name, if told.
    pub name: Option<&'a str>,
}

impl Default for Interface<'_> {
    fn default() -> Self {
        Self { link: LinkType::Ethernet, snaplen: WHOLE_FRAMES, resolution: Resolution::Unsaid, name: None }
    }
}

/// Writes a pcapng file: sections, their interfaces, and enhanced packet blocks.
#[derive(Debug)]
pub struct PcapngWriter<W> {
    out: W,
    order: Order,
    /// Snapshot length and resolution of the current section's interfaces.
    interfaces: Vec<(u32, Resolution)>,
    body: Vec<u8>,
    written: Written,
}

impl<W: Write> PcapngWriter<W> {
    /// Begins the first section.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(out: W, order: ByteOrder) -> io::Result<Self> {
        let mut writer = Self {
            out,
            order: Order(order),
            interfaces: Vec::new(),
            body: Vec::new(),
            written: Written::default(),
        };
        writer.section(order)?;
        Ok(writer)
    }

    /// Begins a new section; interfaces are numbered from 0 again.
    ///
    /// # Errors
    /// What the output says.
    pub fn section(&mut self, order: ByteOrder) -> io::Result<()> {
        self.order = Order(order);
        self.interfaces.clear();
        self.body.clear();
        self.body.extend(self.order.u32(0x1a2b_3c4d));
        self.body.extend(self.order.u16(1));
        self.body.extend(self.order.u16(0));
        // Section length not told.
        self.body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a)
    }

    /// Adds an interface to the section; the answer is its number.
    ///
    /// # Errors
    /// What the output says.
    pub fn interface(&mut self, interface: Interface<'_>) -> io::Result<u32> {
        self.body.clear();
        self.body.extend(self.order.u16(link_number(interface.link)));
        self.body.extend([0; 2]);
        self.body.extend(self.order.u32(interface.snaplen));
        if let Some(name) = interface.name {
            self.option(PCAPNG_IF_NAME, name.as_bytes())?;
        }
        if let Some(code) = interface.resolution.code() {
            self.option(PCAPNG_IF_TSRESOL, &[code])?;
        }
        if self.body.len() > 8 {
            self.body.extend([0; 4]);
        }
        self.block(1)?;
        let number =
            u32::try_from(self.interfaces.len()).map_err(|_| io::Error::other("too many interfaces"))?;
        let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        self.interfaces.push((snaplen, interface.resolution));
        Ok(number)
    }

    /// Appends one frame.
    ///
    /// # Errors
    /// What the output says, an unknown interface, or a time before 1970.
    pub fn write(&mut self, interface: u32, time: Timestamp, frame: &[u8]) -> io::Result<()> {
        self.write_commented(interface, time, frame, None)
    }

    /// Appends one frame with a comment beside it.
    ///
    /// # Errors
    /// As [`PcapngWriter::write`], or a comment longer than 65,535 bytes.
    pub fn write_commented(
        &mut self,
        interface: u32,
        time: Timestamp,
        frame: &[u8],
        comment: Option<&str>,
    ) -> io::Result<()> {
        let comment = comment.map(|comment| (PCAPNG_OPT_COMMENT, comment.as_bytes()));
        self.write_with_options(interface, time, frame, comment.as_slice())
    }

    /// Appends one frame with options (code and value) behind it.
    ///
    /// # Errors
    /// As [`PcapngWriter::write`], or an option longer than 65,535 bytes.
    pub fn write_with_options(
        &mut self,
        interface: u32,
        time: Timestamp,
        frame: &[u8],
        options: &[(u16, &[u8])],
    ) -> io::Result<()> {
        let known = usize::try_from(interface).ok().and_then(|index| self.interfaces.get(index).copied());
        let (snaplen, resolution) =
            known.ok_or_else(|| io::Error::other("no such interface in this section"))?;
        let (data, kept, wire) = cut(frame, snaplen)?;
        let ticks = resolution.ticks(time)?;
        let high = u32::try_from(ticks >> 32).map_err(|_| io::Error::other("time out of range"))?;
        let low = u32::try_from(ticks & 0xffff_ffff).map_err(|_| io::Error::other("time out of range"))?;
        self.body.clear();
        for value in [interface, high, low, kept, wire] {
            self.body.extend(self.order.u32(value));
        }
        self.body.extend_from_slice(data);
        pad4(&mut self.body);
        for (code, value) in options {
            self.option(*code, value)?;
        }
        if !options.is_empty() {
            self.body.extend([0; 4]);
        }
        self.block(6)?;
        self.written.count(frame);
        Ok(())
    }

    /// Appends a process block as Apple's tcpdump writes it; packets name it by its number in the section.
    ///
    /// # Errors
    /// What the output says, or a name longer than 65,535 bytes.
    pub fn process(&mut self, pid: u32, name: &str) -> io::Result<()> {
        self.body.clear();
        self.body.extend(self.order.u32(pid));
        self.option(PCAPNG_PIB_NAME, name.as_bytes())?;
        self.body.extend([0; 4]);
        self.block(PCAPNG_PROCESS_INFORMATION)
    }

    /// What was written so far, over all sections.
    pub const fn written(&self) -> Written {
        self.written
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn option(&mut self, code: u16, value: &[u8]) -> io::Result<()> {
        let length =
            u16::try_from(value.len()).map_err(|_| io::Error::other("option longer than 65,535 bytes"))?;
        self.body.extend(self.order.u16(code));
        self.body.extend(self.order.u16(length));
        self.body.extend_from_slice(value);
        pad4(&mut self.body);
        Ok(())
    }

    /// Writes the collected body as a block of type `kind`.
    fn block(&mut self, kind: u32) -> io::Result<()> {
        let length = u32::try_from(self.body.len() + 12).map_err(|_| io::Error::other("block too long"))?;
        self.out.write_all(&self.order.u32(kind))?;
        self.out.write_all(&self.order.u32(length))?;
        self.out.write_all(&self.body)?;
        self.out.write_all(&self.order.u32(length))
    }
}

fn pad4(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// File format of a generated capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureFormat {
    /// pcap, microseconds, little-endian: what most tools write.
    #[default]
    Pcap,
    /// pcap with nanoseconds.
    PcapNanos,
    /// pcap, microseconds, big-endian.
    PcapBig,
    /// pcap, nanoseconds, big-endian.
    PcapNanosBig,
    /// pcapng with one interface and microseconds.
    Pcapng,
}

impl CaptureFormat {
    /// Every format with its name on the command line.
    pub const ALL: [(&'static str, Self); 5] = [
        ("pcap", Self::Pcap),
        ("pcap-ns", Self::PcapNanos),
        ("pcap-be", Self::PcapBig),
        ("pcap-ns-be", Self::PcapNanosBig),
        ("pcapng", Self::Pcapng),
    ];

    /// By its name on the command line.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }
}

/// A capture file of one interface in any of the formats; what scenarios write to.
#[derive(Debug)]
pub enum CaptureWriter<W> {
    /// One of the pcap formats.
    Pcap(PcapWriter<W>),
    /// pcapng.
    Pcapng(PcapngWriter<W>),
}

impl<W: Write> CaptureWriter<W> {
    /// Writes the headers of `format`.
    ///
    /// # Errors
    /// What the output says.
    pub fn new(out: W, format: CaptureFormat, link: LinkType, snaplen: u32) -> io::Result<Self> {
        let (unit, order) = match format {
            CaptureFormat::Pcapng => {
                let mut writer = PcapngWriter::new(out, ByteOrder::Little)?;
                let name = Some("eth0");
                writer.interface(Interface { link, snaplen, resolution: Resolution::Decimal(6), name })?;
                return Ok(Self::Pcapng(writer));
            }
            CaptureFormat::Pcap => (TimeUnit::Micros, ByteOrder::Little),
            CaptureFormat::PcapNanos => (TimeUnit::Nanos, ByteOrder::Little),
            CaptureFormat::PcapBig => (TimeUnit::Micros, ByteOrder::Big),
            CaptureFormat::PcapNanosBig => (TimeUnit::Nanos, ByteOrder::Big),
        };
        PcapWriter::new(out, PcapOptions { link, snaplen, unit, order }).map(Self::Pcap)
    }

    /// Appends one frame.
    ///
    /// # Errors
    /// What the output says, or a time that the format cannot hold.
    pub fn write(&mut self, time: Timestamp, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Pcap(writer) => writer.write(time, frame),
            Self::Pcapng(writer) => writer.write(0, time, frame),
        }
    }

    /// What was written so far.
    pub const fn written(&self) -> Written {
        match self {
            Self::Pcap(writer) => writer.written(),
            Self::Pcapng(writer) => writer.written(),
        }
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Pcap(writer) => writer.finish(),
            Self::Pcapng(writer) => writer.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_parser::{Block, PcapBlockOwned, create_reader, traits::PcapNGPacketBlock};

    const TIME: Timestamp = Timestamp::from_secs_nanos(1_700_006_400, 123_456_789);

    #[test]
    fn pcap_of_every_unit_and_order_reads_back() {
        for (unit, fraction) in [(TimeUnit::Micros, 123_456), (TimeUnit::Nanos, 123_456_789)] {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                let options = PcapOptions { unit, order, snaplen: 4, ..PcapOptions::default() };
                let mut writer = PcapWriter::new(Vec::new(), options).unwrap();
                writer.write(TIME, b"0123456789").unwrap();
                assert_eq!(writer.written(), Written { packets: 1, wire_bytes: 10 });
                let file = writer.finish().unwrap();
                let (rest, header) = pcap_parser::parse_pcap_header(&file).unwrap();
                assert_eq!(header.is_nanosecond_precision(), unit == TimeUnit::Nanos);
                assert_eq!(header.is_bigendian(), order == ByteOrder::Big);
                let parse = if header.is_bigendian() {
                    pcap_parser::parse_pcap_frame_be
                } else {
                    pcap_parser::parse_pcap_frame
                };
                let (rest, frame) = parse(rest).unwrap();
                assert_eq!((frame.ts_sec, frame.ts_usec), (1_700_006_400, fraction));
                assert_eq!((frame.caplen, frame.origlen, frame.data), (4, 10, &b"0123"[..]));
                assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn pcapng_sections_interfaces_and_resolutions_read_back() {
        let mut writer = PcapngWriter::new(Vec::new(), ByteOrder::Little).unwrap();
        let mut expected = Vec::new();
        for order in [ByteOrder::Little, ByteOrder::Big] {
            if order == ByteOrder::Big {
                writer.section(order).unwrap();
            }
            for resolution in
                [Resolution::Unsaid, Resolution::Decimal(9), Resolution::Decimal(3), Resolution::Binary(20)]
            {
                let interface = Interface { resolution, name: Some("eth0"), ..Interface::default() };
                let number = writer.interface(interface).unwrap();
                writer.write_commented(number, TIME, b"abcde", Some("pid=7")).unwrap();
                expected.push((number, resolution.ticks(TIME).unwrap()));
            }
            assert!(writer.write(4, TIME, b"").is_err(), "interfaces of another section are unknown");
        }
        let file = writer.finish().unwrap();
        let mut reader = create_reader(65_536, &file[..]).unwrap();
        let mut seen = Vec::new();
        let mut sections = 0;
        while let Ok((used, block)) = reader.next() {
            match block {
                PcapBlockOwned::NG(Block::SectionHeader(_)) => sections += 1,
                PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                    assert_eq!(packet.packet_data(), b"abcde");
                    seen.push((packet.if_id, (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low)));
                }
                _ => {}
            }
            reader.consume(used);
        }
        assert_eq!(sections, 2);
        assert_eq!(seen, expected);
        assert_eq!(expected[0].1, 1_700_006_400_123_456);
        assert_eq!(expected[2].1, 1_700_006_400_123);
    }

    #[test]
    fn times_a_format_cannot_hold_are_refused() {
        let mut writer = PcapWriter::new(Vec::new(), PcapOptions::default()).unwrap();
        assert!(writer.write(Timestamp::from_nanos(-1), b"").is_err());
        assert!(writer.write(Timestamp::MAX, b"").is_err());
        assert_eq!(writer.written().packets, 0);
    }
}
