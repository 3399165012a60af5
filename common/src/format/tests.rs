//! Hand-made captures of every variant, the damage they may have, and pcap-parser as second opinion.
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths of hand-made captures; ticks are cut on purpose"
)]

use pcap_parser::traits::PcapNGPacketBlock as _;
use proptest::prelude::*;

use super::pcapng::MAX_INTERFACES;
use super::*;

/// A frame that owns its bytes: (time, link, bytes, wire length).
type Owned = (i64, LinkType, Vec<u8>, u32);

fn owned(frame: Frame<'_>) -> Owned {
    (frame.time.nanos(), frame.link, frame.data.to_vec(), frame.wire_len)
}

/// Every frame of a capture in memory, and the error that ended it.
fn read(bytes: &[u8]) -> (Vec<Owned>, Option<FormatError>) {
    match frames(bytes) {
        Err(error) => (Vec::new(), Some(error)),
        Ok(all) => {
            let (mut good, mut failed) = (Vec::new(), None);
            for frame in all {
                match frame {
                    Ok(frame) => good.push(owned(frame)),
                    Err(error) => failed = Some(error),
                }
            }
            (good, failed)
        }
    }
}

fn read_whole(bytes: &[u8]) -> Vec<Owned> {
    let (frames, error) = read(bytes);
    assert_eq!(error, None);
    frames
}

/// The same through pieces of the given sizes, as a reader with a small buffer feeds the parser.
fn read_in_pieces(bytes: &[u8], sizes: &[usize]) -> (Vec<Owned>, Option<FormatError>) {
    let mut parser = match CaptureParser::new(bytes) {
        Ok(parser) => parser,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let (mut out, mut start, mut end) = (Vec::new(), 0, 0);
    let mut sizes = sizes.iter().copied().chain(std::iter::repeat(usize::MAX));
    loop {
        let buf = &bytes[start..end];
        match parser.step(buf) {
            Ok(Step::Frame { frame, used }) => {
                out.push(owned(frame.frame(buf).expect("a frame lies inside its buffer")));
                start += used;
            }
            Ok(Step::Skip { used }) => start += used,
            Ok(Step::More { needed }) => {
                assert!(needed > buf.len(), "asks for more than there is");
                if end == bytes.len() {
                    return (out, parser.end(buf).err());
                }
                end = end.saturating_add(sizes.next().unwrap()).min(bytes.len());
            }
            Err(error) => return (out, Some(error)),
        }
        assert_eq!(parser.offset(), start as u64);
    }
}

/// Writes numbers in one byte order.
#[derive(Clone)]
struct Out {
    order: ByteOrder,
    bytes: Vec<u8>,
}

impl Out {
    const fn new(order: ByteOrder) -> Self {
        Self { order, bytes: Vec::new() }
    }

    fn u16(mut self, value: u16) -> Self {
        match self.order {
            ByteOrder::Little => self.bytes.extend(value.to_le_bytes()),
            ByteOrder::Big => self.bytes.extend(value.to_be_bytes()),
        }
        self
    }

    fn u32(mut self, value: u32) -> Self {
        match self.order {
            ByteOrder::Little => self.bytes.extend(value.to_le_bytes()),
            ByteOrder::Big => self.bytes.extend(value.to_be_bytes()),
        }
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn padded(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn pcap(order: ByteOrder, magic: u32, link: u32) -> Self {
        Self::new(order).u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(link)
    }

    fn record(self, secs: u32, fraction: u32, data: &[u8], wire: u32) -> Self {
        self.u32(secs).u32(fraction).u32(data.len() as u32).u32(wire).raw(data)
    }

    fn block(self, kind: u32, body: impl FnOnce(Self) -> Self) -> Self {
        let body = body(Self::new(self.order)).bytes;
        let length = (body.len() + 12) as u32;
        self.u32(kind).u32(length).raw(&body).u32(length)
    }

    fn section(self) -> Self {
        self.block(0x0a0d_0d0a, |o| o.u32(0x1a2b_3c4d).u16(1).u16(0).u32(u32::MAX).u32(u32::MAX))
    }

    fn interface(self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Self {
        self.block(1, |o| {
            let mut o = o.u16(link).u16(0).u32(snaplen);
            for (code, value) in options {
                o = o.u16(*code).u16(value.len() as u16).padded(value);
            }
            if options.is_empty() { o } else { o.u32(0) }
        })
    }

    fn enhanced(self, interface: u32, ticks: u64, data: &[u8], wire: u32) -> Self {
        self.block(6, |o| {
            let (high, low) = ((ticks >> 32) as u32, ticks as u32);
            o.u32(interface).u32(high).u32(low).u32(data.len() as u32).u32(wire).padded(data)
        })
    }
}

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

#[test]
fn pcap_of_either_byte_order_and_resolution_gives_the_same_frames() {
    for order in ORDERS {
        for (magic, fraction) in [(0xa1b2_c3d4, 250_000), (0xa1b2_3c4d, 250_000_000)] {
            let file =
                Out::pcap(order, magic, 1).record(1_700_000_000, fraction, b"abc", 60).record(1, 0, b"", 0);
            let expected = [
                (1_700_000_000_250_000_000, LinkType::Ethernet, b"abc".to_vec(), 60),
                (1_000_000_000, LinkType::Ethernet, Vec::new(), 0),
            ];
            assert_eq!(read_whole(&file.bytes), expected);
        }
    }
}

#[test]
fn modified_pcap_skips_its_longer_record_header() {
    for order in ORDERS {
        let file = Out::pcap(order, 0xa1b2_cd34, 101);
        let file = file.u32(5).u32(6).u32(2).u32(9).u32(3).u16(0x800).raw(&[4, 0]).raw(b"hi");
        assert_eq!(read_whole(&file.bytes), [(5_000_006_000, LinkType::RawIp, b"hi".to_vec(), 9)]);
    }
}

#[test]
fn pcap_link_type_is_the_low_half_and_times_reach_2106() {
    let file = Out::pcap(ByteOrder::Big, 0xa1b2_c3d4, 0x5400_0071).record(u32::MAX, u32::MAX, b"x", 0);
    let nanos = i64::from(u32::MAX) * 1_000_000_000 + i64::from(u32::MAX) * 1000;
    assert_eq!(
        read_whole(&file.bytes),
        [(nanos, LinkType::LinuxSll, b"x".to_vec(), 1)],
        "never fewer on the wire than kept"
    );
}

#[test]
fn packet_longer_than_the_snap_length_is_taken() {
    let data = vec![7; 100_000];
    let pcap = Out::pcap(ByteOrder::Little, 0xa1b2_c3d4, 1).record(0, 0, &data, 100_000);
    assert_eq!(read_whole(&pcap.bytes)[0].2, data);
    let ng = Out::new(ByteOrder::Little).section().interface(1, 64, &[]).enhanced(0, 0, &data, 100_000);
    assert_eq!(read_whole(&ng.bytes)[0].2, data);
}

#[test]
fn impossible_pcap_length_names_offset_value_and_bounds() {
    let file = Out::pcap(ByteOrder::Little, 0xa1b2_c3d4, 1)
        .record(0, 0, b"good", 4)
        .u32(0)
        .u32(0)
        .u32(0xffff_ffff)
        .u32(0);
    let (frames, error) = read(&file.bytes);
    assert_eq!(frames.len(), 1);
    let error = error.unwrap();
    assert_eq!(
        error,
        FormatError::Length { offset: 44, what: "a packet", had: u32::MAX, min: 0, max: MAX_RECORD_LEN }
    );
    assert_eq!(error.to_string(), "byte 44: length of a packet reads 4294967295, expected 0 to 16777216");
}

#[test]
fn cut_tail_costs_the_tail_alone_and_says_what_was_missing() {
    let pcap = Out::pcap(ByteOrder::Little, 0xa1b2_c3d4, 1)
        .record(1, 0, b"first", 5)
        .record(2, 0, b"second", 6)
        .bytes;
    let ng = Out::new(ByteOrder::Big)
        .section()
        .interface(1, 0, &[])
        .enhanced(0, 1, b"1", 1)
        .enhanced(0, 2, b"2", 2)
        .bytes;
    for file in [pcap, ng] {
        let whole = read_whole(&file);
        let mut boundaries = 0;
        for cut in 4..file.len() {
            let (frames, error) = read(&file[..cut]);
            assert!(whole.starts_with(&frames));
            match error {
                None => boundaries += 1,
                Some(FormatError::Truncated { offset, needed, had }) => {
                    assert_eq!(offset as usize + had, cut);
                    assert!(needed > had && offset as usize + needed <= file.len());
                }
                Some(other) => panic!("{other}"),
            }
        }
        assert!((2..=3).contains(&boundaries), "only between records may a file end: {boundaries}");
    }
}

#[test]
fn other_contents_and_versions_are_refused() {
    assert_eq!(read(b"GIF89a").1, Some(FormatError::NotACapture { offset: 0, had: *b"GIF8" }));
    assert_eq!(read(b"\xd4\xc3").1, Some(FormatError::Truncated { offset: 0, needed: 4, had: 2 }));
    let old = Out::new(ByteOrder::Little).u32(0xa1b2_c3d4).u16(1).u16(9).raw(&[0; 16]);
    assert!(matches!(
        read(&old.bytes).1,
        Some(FormatError::Version { format: "pcap", had_major: 1, had_minor: 9, .. })
    ));
    let next = Out::new(ByteOrder::Big).block(0x0a0d_0d0a, |o| o.u32(0x1a2b_3c4d).u16(2).u16(0).raw(&[0; 8]));
    assert!(matches!(read(&next.bytes).1, Some(FormatError::Version { format: "pcapng", had_major: 2, .. })));
}

#[test]
fn sections_have_their_own_byte_order_interfaces_and_clock() {
    let first = Out::new(ByteOrder::Little)
        .section()
        .interface(1, 0, &[])
        .interface(113, 0, &[(9, &[9])])
        .enhanced(1, 7, b"nanos", 5)
        .enhanced(0, 7, b"micros", 1500);
    let second =
        Out::new(ByteOrder::Big).section().interface(276, 0, &[(9, &[3])]).enhanced(0, 7, b"millis", 6);
    let file = [first.bytes, second.bytes.clone()].concat();
    assert_eq!(
        read_whole(&file),
        [
            (7, LinkType::LinuxSll, b"nanos".to_vec(), 5),
            (7_000, LinkType::Ethernet, b"micros".to_vec(), 1500),
            (7_000_000, LinkType::LinuxSll2, b"millis".to_vec(), 6),
        ]
    );
    let orphan = [second.bytes, Out::new(ByteOrder::Little).section().enhanced(0, 7, b"", 0).bytes].concat();
    assert!(
        matches!(read(&orphan), (frames, Some(FormatError::Interface { had: 0, known: 0, .. })) if frames.len() == 1)
    );
}

#[test]
fn clock_options_cover_decimal_binary_and_offset() {
    let cases: [(u8, i64, u64, i64); 9] = [
        (0, 0, 3, 3_000_000_000),
        (6, 0, 3, 3_000),
        (9, 0, 3, 3),
        (12, 0, 3_999, 3),
        (127, 0, u64::MAX, 0),
        (0x80 | 1, 0, 3, 1_500_000_000),
        (0x80 | 32, 0, (5 << 32) + (1 << 31), 5_500_000_000),
        (6, 1_700_000_000, 1, 1_700_000_000_000_001_000),
        (6, -2, 1, -1_999_999_000),
    ];
    for order in ORDERS {
        for (resolution, offset, ticks, nanos) in cases {
            let offset = if order == ByteOrder::Little { offset.to_le_bytes() } else { offset.to_be_bytes() };
            let options: [(u16, &[u8]); 3] = [(2, b"eth0\0"), (9, &[resolution]), (14, &offset)];
            let file = Out::new(order).section().interface(1, 0, &options).enhanced(0, ticks, b"", 0);
            assert_eq!(read_whole(&file.bytes)[0].0, nanos, "resolution {resolution:#x}");
        }
    }
}

#[test]
fn hostile_clocks_saturate() {
    for (resolution, offset, expected) in
        [(0, 0, i64::MAX), (0x80, i64::MAX, i64::MAX), (12, i64::MIN, i64::MIN + 18_446_744_073_709_551)]
    {
        let options: [(u16, &[u8]); 2] = [(9, &[resolution]), (14, &i64::to_le_bytes(offset))];
        let file =
            Out::new(ByteOrder::Little).section().interface(1, 0, &options).enhanced(0, u64::MAX, b"", 0);
        assert_eq!(read_whole(&file.bytes)[0].0, expected);
    }
}

#[test]
fn simple_packets_take_the_last_known_time_and_the_snap_length() {
    let file = Out::new(ByteOrder::Little)
        .section()
        .interface(1, 4, &[])
        .block(3, |o| o.u32(900).raw(b"abcd"))
        .enhanced(0, 5, b"", 0)
        .block(3, |o| o.u32(3).padded(b"xyz"))
        .section()
        .interface(1, 0, &[])
        .block(3, |o| o.u32(4000).padded(b"12345678"));
    assert_eq!(
        read_whole(&file.bytes),
        [
            (0, LinkType::Ethernet, b"abcd".to_vec(), 900),
            (5_000, LinkType::Ethernet, Vec::new(), 0),
            (5_000, LinkType::Ethernet, b"xyz".to_vec(), 3),
            (0, LinkType::Ethernet, b"12345678".to_vec(), 4000),
        ]
    );
}

#[test]
fn old_packet_block_names_its_interface_in_sixteen_bits() {
    for order in ORDERS {
        let file = Out::new(order).section().interface(1, 0, &[]).interface(108, 0, &[]);
        let file = file.block(2, |o| o.u16(1).u16(99).u32(0).u32(8).u32(3).u32(70).padded(b"old"));
        assert_eq!(read_whole(&file.bytes), [(8_000, LinkType::Loop, b"old".to_vec(), 70)]);
    }
}

#[test]
fn blocks_without_packets_are_passed_over() {
    let mut file = Out::new(ByteOrder::Little).section().interface(1, 0, &[]);
    for kind in [4, 5, 10, 0xbad, 0x4000_0bad, 0x8000_0001, 0x1234_5678] {
        file = file.block(kind, |o| o.raw(&[0xff; 32]));
    }
    let file = file.enhanced(0, 1, b"x", 1);
    assert_eq!(read_whole(&file.bytes).len(), 1);
}

#[test]
fn impossible_block_lengths_are_named_with_their_offset() {
    let good = Out::new(ByteOrder::Little).section().interface(1, 0, &[]);
    let at = good.bytes.len() as u64;
    let fail = |o: Out| read(&o.raw(&[0; 64]).bytes).1.unwrap();
    for length in [0, 8, MAX_RECORD_LEN + 4, u32::MAX] {
        let error = fail(good.clone().u32(6).u32(length));
        assert_eq!(
            error,
            FormatError::Length { offset: at, what: "a block", had: length, min: 12, max: MAX_RECORD_LEN }
        );
    }
    let error = fail(good.clone().u32(6).u32(16).u32(0).u32(20));
    assert_eq!(error, FormatError::BlockLength { offset: at, leading: 16, trailing: 20 });
    let error = fail(good.clone().u32(99).u32(13).raw(&[0]).u32(13));
    assert_eq!(error, FormatError::BlockLength { offset: at, leading: 13, trailing: 13 });
    for (kind, min) in [(6, 32), (2, 32), (3, 16), (1, 20)] {
        let error = fail(good.clone().block(kind, |o| o));
        assert!(matches!(error, FormatError::Length { had: 12, min: m, .. } if m == min), "{error}");
    }
    let error = fail(good.clone().block(6, |o| o.u32(0).u32(0).u32(0).u32(5).u32(5).raw(&[0; 4])));
    assert_eq!(error, FormatError::Length { offset: at, what: "a packet", had: 5, min: 0, max: 4 });
    let error = fail(
        good.clone().interface(1, 0, &[(9, &[6])]).u32(1).u32(24).u16(1).u16(0).u32(0).u16(9).u16(60).u32(24),
    );
    assert!(
        matches!(error, FormatError::Length { what: "an interface option", had: 60, max: 0, .. }),
        "{error}"
    );
    let error = fail(good.u32(0x0a0d_0d0a).u32(28).u32(7));
    assert_eq!(error, FormatError::ByteOrder { offset: at, had: [7, 0, 0, 0] });
    assert_eq!(error.offset(), at);
}

#[test]
fn interfaces_are_capped_per_section() {
    let section =
        |count| (0..count).fold(Out::new(ByteOrder::Little).section(), |o, _| o.interface(1, 0, &[])).bytes;
    assert_eq!(read(&section(MAX_INTERFACES).repeat(2)), (Vec::new(), None));
    let (_, error) = read(&section(MAX_INTERFACES + 1));
    assert!(matches!(error, Some(FormatError::TooManyInterfaces { limit: MAX_INTERFACES, .. })));
}

#[test]
fn contents_are_told_apart_by_their_first_bytes() {
    let pcap = Out::pcap(ByteOrder::Big, 0xa1b2_3c4d, 1).bytes;
    let ng = Out::new(ByteOrder::Little).section().bytes;
    let cases: [(&[u8], Content); 10] = [
        (b"", Content::Empty),
        (&pcap, Content::Pcap),
        (&ng, Content::PcapNg),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", Content::Gzip),
        (b"\x28\xb5\x2f\xfd\0\0\0\0", Content::Zstd),
        (b"\x5a\x2a\x4d\x18\x04\0\0\0", Content::Zstd),
        (b"{}", Content::Json),
        (b"\xef\xbb\xbf\r\n {\"a\":1}", Content::Json),
        (b"hello, world", Content::Unknown),
        (b"   ", Content::Unknown),
    ];
    for (bytes, content) in cases {
        assert_eq!(detect(bytes, true), Some(content), "{bytes:?}");
    }
    assert!(matches!(detect(b"BZh91AY&SY", true), Some(Content::Foreign { name: "bzip2", .. })));
    assert_eq!(detect(b"", false), None);
    assert_eq!(detect(&pcap[..4], false), None, "a reader may bring the header in pieces");
    assert_eq!(
        detect(&[b' '; DETECT_LEN], false),
        Some(Content::Unknown),
        "white space is not read for ever"
    );
}

prop_compose! {
    fn packet()(ticks in any::<u64>(), data in prop::collection::vec(any::<u8>(), 0..80), more in 0u32..2000) -> (u64, Vec<u8>, u32) {
        (ticks, data.clone(), data.len() as u32 + more)
    }
}

fn order() -> impl Strategy<Value = ByteOrder> {
    prop_oneof![Just(ByteOrder::Little), Just(ByteOrder::Big)]
}

prop_compose! {
    fn pcap_file()(order in order(), nanos in any::<bool>(), packets in prop::collection::vec(packet(), 0..20)) -> Vec<u8> {
        let magic = if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        packets.iter().fold(Out::pcap(order, magic, 1), |o, (ticks, data, wire)| {
            o.record((ticks >> 32) as u32, (*ticks as u32) % 1_000_000, data, *wire)
        }).bytes
    }
}

prop_compose! {
    fn pcapng_file()(sections in prop::collection::vec((order(), 0u8..=9, prop::collection::vec((packet(), 0u8..4), 0..12)), 1..4)) -> Vec<u8> {
        sections.into_iter().flat_map(|(order, resolution, packets)| {
            let start = Out::new(order).section().interface(1, 0, &[(9, &[resolution])]).interface(101, 0, &[]);
            packets.into_iter().fold(start, |o, ((ticks, data, wire), kind)| match kind {
                0 => o.block(3, |o| o.u32(data.len() as u32).padded(&data)),
                // pcap-parser takes a block without a body for the end of the file.
                1 => o.block(0xbad, |o| o.u32(7).padded(&data)),
                _ => o.enhanced(u32::from(kind & 1), ticks % (1 << 40), &data, wire),
            }).bytes
        }).collect()
    }
}

/// What pcap-parser reads: time in nanoseconds where the packet has one, bytes, wire length.
fn oracle(bytes: &[u8]) -> Vec<(Option<i64>, Vec<u8>, u32)> {
    use pcap_parser::{Block, PcapBlockOwned, PcapError};
    let mut reader = pcap_parser::create_reader(1 << 20, std::io::Cursor::new(bytes)).unwrap();
    let (mut out, mut nanos_per_fraction, mut ticks_per_sec) = (Vec::new(), 0, Vec::new());
    loop {
        let used = match reader.next() {
            Err(PcapError::Eof) => return out,
            // It notices the end of a capture without packets only when asked to read on.
            Err(PcapError::Incomplete(_)) => {
                reader.refill().unwrap();
                continue;
            }
            Err(error) => panic!("{error}"),
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        nanos_per_fraction = if header.is_nanosecond_precision() { 1 } else { 1000 };
                    }
                    PcapBlockOwned::Legacy(packet) => {
                        let time = i64::from(packet.ts_sec) * 1_000_000_000
                            + i64::from(packet.ts_usec) * nanos_per_fraction;
                        out.push((Some(time), packet.data.to_vec(), packet.origlen));
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => ticks_per_sec.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        ticks_per_sec.push(i64::try_from(interface.ts_resolution().unwrap()).unwrap());
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let ticks = i64::from(packet.ts_high) << 32 | i64::from(packet.ts_low);
                        let each = 1_000_000_000 / ticks_per_sec[packet.if_id as usize];
                        out.push((
                            Some(ticks.saturating_mul(each)),
                            packet.packet_data().to_vec(),
                            packet.origlen,
                        ));
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        let kept = packet.data.len().min(packet.origlen as usize);
                        out.push((None, packet.data[..kept].to_vec(), packet.origlen));
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                used
            }
        };
        reader.consume(used);
    }
}

proptest! {
    #[test]
    fn frames_equal_those_of_pcap_parser(file in prop_oneof![pcap_file(), pcapng_file()]) {
        let (ours, theirs) = (read_whole(&file), oracle(&file));
        prop_assert_eq!(ours.len(), theirs.len());
        for ((time, _, data, wire_len), (their_time, their_data, their_wire_len)) in ours.into_iter().zip(theirs) {
            prop_assert_eq!(time, their_time.unwrap_or(time));
            prop_assert_eq!((data, wire_len), (their_data, their_wire_len));
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_frames_of_the_whole(
        file in prop_oneof![pcap_file(), pcapng_file()],
        sizes in prop::collection::vec(1usize..200, 0..60),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = file;
        for (at, value) in damage {
            let at = at.index(file.len());
            file[at] = value;
        }
        prop_assert_eq!(read_in_pieces(&file, &sizes), read(&file));
        file.truncate(cut.index(file.len()));
        prop_assert_eq!(read_in_pieces(&file, &sizes), read(&file));
    }

    #[test]
    fn any_bytes_behind_any_magic_return(
        magic in prop::sample::select(vec![[0xd4, 0xc3, 0xb2, 0xa1], [0xa1, 0xb2, 0x3c, 0x4d], [0x34, 0xcd, 0xb2, 0xa1], [0x0a, 0x0d, 0x0d, 0x0a], [0; 4]]),
        rest in prop::collection::vec(any::<u8>(), 0..400),
        sizes in prop::collection::vec(1usize..50, 0..20),
    ) {
        let file = [&magic[..], &rest].concat();
        prop_assert_eq!(read_in_pieces(&file, &sizes), read(&file));
        let _ = (detect(&file, true), detect(&rest, true), detect(&rest, false));
    }
}
