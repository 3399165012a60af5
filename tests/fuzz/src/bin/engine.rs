//! Observations of any order and any time through small engines: alerts are sound, ranked and in the order of time, and
//! memory stays within bounds.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use sonde_common::config::Config;
use sonde_common::engine::Engines;
use sonde_common::event::{
    AppProtocol, ConnectionEvent, DnsEvent, Event, HostFacts, HostId, Ja4, Names, Observation, Outcome,
    Phase, Totals,
};
use sonde_common::live::{Gap, GapCause};
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::process::{ImageLocation, ParentClass, ProcessInfo, ProcessKey};
use sonde_common::time::Timestamp;
use sonde_fuzz::alerts::{Emissions, is_ranked};
use sonde_fuzz::heap;
use sonde_fuzz::input::Input;

const NAMES: [&str; 8] = [
    "",
    "www.example.com",
    "c2.evil.example",
    "a.b.c.evil.example",
    "windowsupdate.com",
    "198.51.100.7",
    ".",
    "xn--bcher-kva.example\\046.co.uk",
];
const IMAGES: [&str; 4] = ["/usr/bin/curl", "C:\\Users\\a\\AppData\\b.exe", "", "/tmp/\u{202e}x"];
/// What the least budget allows for detection, twice: tables hold an old and a new half while they double.
const HEAP_LIMIT: usize = 2 * (3 << 20);

struct Source<'a> {
    input: Input<'a>,
    now: Timestamp,
    long: String,
}

impl Source<'_> {
    fn name(&mut self) -> &str {
        match self.input.u8() {
            choice @ 0..224 => NAMES[usize::from(choice) % NAMES.len()],
            choice => {
                // One of many, and as long as names get.
                let number = self.input.u16();
                self.long.clear();
                self.long.push_str(&"l".repeat(usize::from(choice & 3) * 80));
                let suffix = if number.is_multiple_of(2) { "example" } else { "com" };
                self.long.push_str(&format!("{number}.{suffix}"));
                &self.long
            }
        }
    }

    fn ip(&mut self) -> IpAddr {
        match self.input.u8() {
            choice @ 0..128 => Ipv4Addr::new(198, 51, 100, choice & 7).into(),
            choice @ 128..192 => Ipv4Addr::new(10, 0, 0, choice & 7).into(),
            192..224 => Ipv4Addr::from(self.input.u32()).into(),
            _ => std::net::Ipv6Addr::from(u128::from(self.input.u64()) | 0x2001 << 112).into(),
        }
    }

    fn process(&mut self) -> Option<ProcessKey> {
        let pid = u32::from(self.input.u8());
        (pid < 192).then_some(ProcessKey { pid: pid & 7, start: Timestamp::ZERO })
    }

    fn size(&mut self) -> u64 {
        match self.input.u8() {
            255 => self.input.u64(),
            small => u64::from(small) * 10,
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut source = Source {
        input: Input::new(data),
        now: Timestamp::from_secs_nanos(1_700_006_400, 0),
        long: String::new(),
    };
    let config = Config::parse("[limits]\nmemory = \"4 MiB\"", &[]).expect("a configuration");
    let before = heap::held();
    let mut engines = Engines::new(&config, (1, 2));
    let mut emissions = Emissions::default();
    let mut latest = Timestamp::from_nanos(i64::MIN);
    while !source.input.is_empty() {
        let how = source.input.u8();
        let host = match how >> 6 {
            0 | 1 => HostId::Name("host"),
            2 => HostId::Address(Ipv4Addr::new(10, 0, 0, 1).into()),
            _ => HostId::Address(Ipv4Addr::new(10, 0, 1, source.input.u8()).into()),
        };
        let host_facts = HostFacts { history: how & 64 == 0, observed_since: source.now };
        let mut give = |time: Timestamp, event| {
            if time < latest {
                emissions.time_goes_back();
            }
            latest = time;
            engines.observe(&Observation { time, host, event }, &mut |alert| emissions.take(&alert));
        };
        match how & 15 {
            0 => give(source.now, Event::Host(host_facts)),
            1 => {
                let bits = source.input.u16();
                let third = |shift: u32, yes: bool| match bits >> shift & 3 {
                    0 => Some(yes),
                    1 => Some(!yes),
                    _ => None,
                };
                let image = source.input.pick(&IMAGES);
                let key = ProcessKey { pid: u32::from(source.input.u8()) & 7, start: Timestamp::ZERO };
                let info = ProcessInfo {
                    image: image.to_owned(),
                    command_line: String::from_utf8_lossy(source.input.take(usize::from(bits & 7)))
                        .into_owned(),
                    signed: third(0, true),
                    script_host: third(2, true),
                    browser: third(4, true),
                    location: [None, Some(ImageLocation::Home), Some(ImageLocation::System)]
                        [usize::from(bits % 3)],
                    parent_class: (bits & 256 != 0).then_some(ParentClass::Office),
                    age_days: (bits & 512 != 0).then(|| f64::from_bits(source.input.u64())),
                    ..Default::default()
                };
                give(source.now, Event::Process(key, &info));
            }
            2 => {
                let age_days = f64::from_bits(source.input.u64());
                let now = source.now;
                give(now, Event::KnownDestination { name: source.name(), age_days });
            }
            5 => {
                let since = source.now;
                source.now = source.input.moment(source.now);
                let cause =
                    source.input.pick(&[GapCause::Suspended, GapCause::ClockSet, GapCause::PacketsLost]);
                give(source.now, Event::Gap(Gap { since, until: source.now, cause, lost: 0 }));
            }
            3 | 4 => {
                source.now = source.input.moment(source.now);
                let addresses = [source.ip(), source.ip()];
                let (process, now) = (source.process(), source.now);
                let query_type = u16::from(how) - 2;
                let response_code = source.input.pick(&[Some(0), Some(3), Some(3), None]);
                let event = DnsEvent {
                    start: now,
                    process,
                    program: None,
                    attribution: sonde_common::process::Attribution::NONE,
                    tuple: None,
                    resolver: None,
                    query: source.name(),
                    query_type,
                    response_code,
                    addresses: &addresses,
                    ttl_secs: 1,
                };
                give(now, Event::Dns(event));
            }
            _ => {
                // A run of callbacks: one choice of interval, jitter and destination.
                let count = if how & 8 == 0 { 1 } else { source.input.u8() & 63 };
                let (interval, jitter) = (source.input.u8(), source.input.u8());
                let remote = source.ip();
                let port = source.input.pick(&[443, 80, 4444, 0, 53]);
                let process = source.process();
                let (bytes_out, bytes_in) = (source.size(), source.size());
                let bits = source.input.u16();
                let name = source.name().to_owned();
                let claimed = source.name().to_owned();
                let told = |bit: u16, text| if bits & bit == 0 { text } else { "" };
                let names = Names {
                    fqdn: told(1, &name),
                    sni: told(2, &claimed),
                    connect_host: told(4, ""),
                    connect_port: bits >> 15,
                    http_host: told(8, &name),
                    user_agent: told(16, "agent/1"),
                };
                let totals = |end| Totals {
                    end,
                    bytes_out: (bits & 32 == 0).then_some(bytes_out),
                    bytes_in: (bits & 64 == 0).then_some(bytes_in),
                    outcome: [Outcome::Established, Outcome::Refused, Outcome::Unanswered, Outcome::Unknown]
                        [usize::from(bits >> 7 & 3)],
                };
                let tuple = FiveTuple {
                    transport: [Transport::Tcp, Transport::Udp, Transport::Icmp][usize::from(bits >> 9) % 3],
                    local: ([10, 0, 0, 1], 50_000).into(),
                    remote: (remote, port).into(),
                };
                for nth in 0..count.max(1) {
                    source.now = Input::new(&[interval]).moment(source.now);
                    source.now =
                        source.now.plus_nanos(i64::from(jitter) * (i64::from(nth) * 37 % 16) * 20_000_000);
                    let now = source.now;
                    // A source may tell of a start that lies anywhere.
                    let start = if bits & 4096 == 0 { now } else { source.input.moment(now) };
                    let event = |phase| {
                        Event::Connection(ConnectionEvent {
                            tuple,
                            start,
                            process,
                            program: None,
                            attribution: sonde_common::process::Attribution::NONE,
                            names,
                            protocol: AppProtocol::Tls,
                            ja4: (bits & 8192 == 0).then_some(Ja4([b'a'; 36])),
                            phase,
                        })
                    };
                    match how >> 4 & 3 {
                        0 => give(now, event(Phase::Whole(totals(now)))),
                        1 => {
                            give(now, event(Phase::Opened));
                            give(now, event(Phase::Exchange { start, bytes_out, bytes_in }));
                            give(now, event(Phase::Closed(totals(now))));
                        }
                        2 => give(now, event(Phase::Exchange { start, bytes_out, bytes_in })),
                        _ => {
                            give(now, event(Phase::Joined));
                            give(now, event(Phase::Closed(totals(now))));
                        }
                    }
                }
            }
        }
    }
    let told = engines.memory_bytes();
    assert!(told < HEAP_LIMIT, "{told} bytes by its own account, {} hosts", engines.len());
    let held = heap::held().saturating_sub(before);
    assert!(held < 2 * HEAP_LIMIT, "{held} bytes held, {told} by its own account, {} hosts", engines.len());
    let alerts = engines.alerts();
    is_ranked(&alerts);
    is_ranked(&engines.series());
    assert!(emissions.count >= alerts.len(), "an alert was listed that was never emitted");
});
