//! Any bytes as a process map, in each form, and as comments beside packets: nothing panics, what is read keeps its
//! promises, and what is kept stays within bounds.
#![no_main]

use std::net::IpAddr;

use sonde_common::attribute::{Attributor, ProcessMapBuilder};
use sonde_common::decode::packet;
use sonde_common::format::process_map::{MapFormat, MapReader};
use sonde_common::format::split::Splitter;
use sonde_common::format::{CaptureParser, Step};
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::time::Timestamp;

/// Which columns there are must not be left to chance.
const HEADER: &[u8] =
    b"transport,local_ip,local_port,remote_ip,remote_port,start,end,pid,image,signed,location";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut builder = ProcessMapBuilder::new();
    let mut tuples = Vec::new();
    for format in MapFormat::detect(data).into_iter().chain([MapFormat::Csv, MapFormat::Json, MapFormat::Ss])
    {
        let mut reader = MapReader::new(format);
        if format == MapFormat::Csv && MapFormat::detect(data) != Some(format) {
            assert_eq!(reader.record(HEADER, &mut |_| panic!("a header is no entry")), Ok(()));
        }
        let mut records = Vec::new();
        Splitter::new(format.framing(data)).split(data, true, &mut records);
        for (_, range) in records.into_iter().take(256) {
            let Some(record) = data.get(range) else { continue };
            let mut taken = 0;
            let read = reader.record(record, &mut |entry| {
                taken += 1;
                assert!(!entry.image.is_empty());
                assert!(entry.local_port.is_some() || entry.remote_ip.is_some());
                let any = IpAddr::from([10, 0, 0, 5]);
                let tuple = FiveTuple {
                    transport: entry.transport.unwrap_or(Transport::Tcp),
                    local: (entry.local_ip.unwrap_or(any), entry.local_port.unwrap_or(7)).into(),
                    remote: (entry.remote_ip.unwrap_or(any), entry.remote_port.unwrap_or(7)).into(),
                };
                tuples.push((tuple, entry.start.or(entry.end).unwrap_or(Timestamp::ZERO)));
                builder.add(entry);
            });
            match read {
                Ok(()) => assert!(taken <= 1, "a record is one entry at most"),
                Err(error) => assert!(taken == 0 && error.to_string().len() < 2000, "{error}"),
            }
        }
    }
    let (map, counters) = builder.build();
    assert!(counters.entries <= tuples.len() && counters.processes <= counters.entries);
    for (tuple, start) in &tuples {
        assert!(
            map.find(tuple, *start).is_some(),
            "an entry covers a connection of its own: {tuple:?} {start}"
        );
    }
    // The same bytes as comments, and as the options of a packet.
    let mut attributor = Attributor::new(Some(map), 4096);
    for (at, piece) in data.split(|byte| *byte == 0).take(32).enumerate() {
        read(&capture(piece, at % 2 == 0), &mut attributor);
    }
    let counters = attributor.counters();
    assert!(counters.attributed == 0 && counters.unknown == 0);
});

/// A capture of one datagram with these bytes as a comment, or as whatever options and process block they are.
fn capture(bytes: &[u8], comment: bool) -> Vec<u8> {
    let bytes = bytes.get(..1024).unwrap_or(bytes);
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[&[u8]]| {
        let mut body = body.concat();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = u32::try_from(body.len() + 12).unwrap_or(12).to_le_bytes();
        file.extend([&kind.to_le_bytes()[..], &len, &body, &len].concat());
    };
    block(0x0a0d_0d0a, &[&0x1a2b_3c4du32.to_le_bytes(), &[1, 0, 0, 0], &[0xff; 8]]);
    // Raw IP.
    block(1, &[&[101, 0, 0, 0, 0, 0, 0, 0]]);
    block(0x8000_0001, &[bytes]);
    let datagram =
        [69, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 5, 192, 0, 2, 7, 3, 232, 1, 187, 0, 8, 0, 0];
    let packet = [[0; 12], [28, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0]].concat();
    let head = packet.get(..20).unwrap_or_default();
    if comment {
        let len = u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
        block(6, &[head, &datagram, &[1, 0], &len, bytes]);
    } else {
        block(6, &[head, &datagram, bytes]);
    }
    file
}

/// Feeds a capture's packets with their notes.
fn read(file: &[u8], attributor: &mut Attributor) {
    let Ok(mut parser) = CaptureParser::new(file) else { return };
    let mut rest = file;
    loop {
        match parser.step(rest) {
            Ok(Step::Frame { frame, used }) => {
                let record = rest.get(..used).unwrap_or_default();
                if let Some(bytes) = frame.frame(rest)
                    && let Ok(packet) = packet::decode(&bytes)
                {
                    attributor.packet(&packet, parser.note(record, &frame));
                }
                rest = rest.get(used..).unwrap_or_default();
            }
            Ok(Step::Skip { used }) => rest = rest.get(used..).unwrap_or_default(),
            Ok(Step::More { .. }) | Err(_) => return,
        }
    }
}
