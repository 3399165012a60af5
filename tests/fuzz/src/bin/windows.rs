//! Any bytes as records of event tracing and as tables of sockets: each is read or refused, alike every time, and what comes of
//! them together is sound.
#![no_main]

use sonde_common::live::{LiveEvent, SocketNews};
use sonde_common::net::Transport;
use sonde_common::process::ProcessKey;
use sonde_common::time::Timestamp;
use sonde_common::windows::etw::{
    Ask, Assembler, CLASSIC_PROCESS, DNS_CLIENT, KERNEL_NETWORK, KERNEL_PROCESS, Record, decode,
};
use sonde_common::windows::sid::Sid;
use sonde_common::windows::table::{Kind, length, outgoing, read};
use sonde_common::windows::{command_line, path::Volumes};
use sonde_fuzz::input::Input;

const PROVIDERS: [u128; 4] = [KERNEL_NETWORK, KERNEL_PROCESS, DNS_CLIENT, CLASSIC_PROCESS];

struct Nobody;

impl Ask for Nobody {
    fn created(&mut self, pid: u32) -> Option<Timestamp> {
        (pid & 1 == 1).then_some(Timestamp::ZERO)
    }

    fn command_line(&mut self, _: ProcessKey) -> Option<String> {
        None
    }

    fn account(&mut self, _: ProcessKey, _: Option<&Sid>) -> u32 {
        0
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let bits = data.first().copied().unwrap_or_default();
    let transport = if bits & 1 == 0 { Transport::Tcp } else { Transport::Udp };
    let kind = Kind { transport, v6: bits & 2 != 0, module: bits & 4 != 0 };
    let (rows, _) = read(kind, data);
    assert!(rows.len() <= data.len() / length(kind) && outgoing(&rows).count() <= rows.len());
    let text = String::from_utf8_lossy(data);
    assert!(command_line::arguments(&text).len() <= sonde_common::live::MAX_ARGUMENT_BYTES);
    let mut volumes = Volumes::new(r"C:\Windows");
    volumes.add("C:", r"\Device\HarddiskVolume3");
    let _ = volumes.to_dos(&text);

    let mut input = Input::new(data);
    let mut assembler = Assembler::new(volumes);
    let (mut now, mut out) = (0, Vec::new());
    for _ in 0..64 {
        let choice = input.u8();
        let size = usize::from(input.u8());
        let record = Record {
            provider: PROVIDERS[usize::from(choice & 3)],
            // The numbers that are read lie in three ranges.
            id: u16::from(input.u8() & 63) + if choice & 4 == 0 { 0 } else { 3000 },
            version: choice >> 5,
            opcode: choice >> 3 & 3,
            process: u32::from(choice),
            time: Timestamp::from_nanos(now),
            wide: choice & 8 == 0,
            data: input.take(size),
        };
        assert_eq!(decode(&record), decode(&record));
        let _ = assembler.record(&record);
        now += i64::from(input.u8()) << 24;
        if choice & 16 == 0 {
            assembler.drain(Timestamp::from_nanos(now), &mut Nobody, &mut out);
        }
    }
    assembler.drain(Timestamp::from_nanos(now + (1 << 40)), &mut Nobody, &mut out);
    let mut open = std::collections::HashSet::new();
    for event in &out {
        let LiveEvent::Socket(event) = event else { continue };
        match event.news {
            SocketNews::Opened(_) | SocketNews::Found(_) => assert!(open.insert(event.tuple)),
            SocketNews::Closed(_) => assert!(open.remove(&event.tuple)),
            _ => assert!(open.contains(&event.tuple)),
        }
    }
});
