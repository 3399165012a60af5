//! Questions and connections of any kind through the detectors of channels in DNS: what they find is sound and finite, and
//! they stay within their memory.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sonde_common::detect::channels::{BypassDetector, FluxDetector, RebindingDetector, TunnelDetector};
use sonde_common::detect::{Detector, Finding, Host, Seen, What};
use sonde_common::domain::registrable;
use sonde_common::event::{AppProtocol, ConnectionEvent, DnsEvent, Names, Phase};
use sonde_common::net::{FiveTuple, Transport};
use sonde_common::process::{Attribution, ImageLocation, ProcessInfo};
use sonde_common::program::Program;
use sonde_common::time::Timestamp;
use sonde_fuzz::heap;
use sonde_fuzz::input::Input;

const MEMORY: usize = 32 << 10;
const ZONES: [&str; 10] = [
    "evil.example",
    "zen.spamhaus.org",
    "cloudfront.net",
    "dns.google",
    "plex.direct",
    "corp.local",
    "in-addr.arpa",
    "co.uk",
    "7",
    "",
];
const IMAGES: [&str; 5] =
    ["/usr/bin/curl", "/usr/sbin/unbound", "C:\\Users\\a\\b.exe", "", "/usr/bin/firefox"];
const TYPES: [u16; 8] = [1, 28, 16, 10, 5, 15, 12, 65_399];

/// A host that knows some things.
struct Known(u8);

impl Host for Known {
    fn known_days(&self, registrable: &str, _: Option<IpAddr>) -> Option<f64> {
        [None, Some(0.0), Some(f64::from(u32::try_from(registrable.len()).unwrap_or(0)))]
            [usize::from(self.0 % 3)]
    }
}

fn ip(input: &mut Input<'_>) -> IpAddr {
    match input.u8() {
        choice @ 0..96 => Ipv4Addr::new(203, 0, 113, choice & 7).into(),
        choice @ 96..128 => Ipv4Addr::new(10, 0, 0, choice & 7).into(),
        choice @ 128..144 => Ipv4Addr::new(127, 0, 0, choice & 7).into(),
        144 => Ipv4Addr::new(169, 254, 169, 254).into(),
        145 => Ipv4Addr::new(224, 0, 0, 251).into(),
        146..208 => Ipv4Addr::from(input.u32()).into(),
        _ => std::net::Ipv6Addr::from(u128::from(input.u64()) << 48).into(),
    }
}

fn name(input: &mut Input<'_>, into: &mut String) {
    into.clear();
    let bits = input.u8();
    for _ in 0..bits & 3 {
        let length = usize::from(input.u8() & 63);
        // A few bytes make a long label, and the next one another.
        let label = input.take(length.min(4));
        for at in 0..length {
            let byte = label.get(at % label.len().max(1)).copied().unwrap_or(b'a');
            let shifted = byte.wrapping_add(u8::try_from(at & 15).unwrap_or(0));
            into.push(char::from(b"abcdefghijklmnopqrstuvwxyz0123456789-_"[usize::from(shifted % 38)]));
        }
        into.push('.');
    }
    into.push_str(ZONES[usize::from(bits >> 2) % ZONES.len()]);
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let programs: Vec<Program> = (0..10)
        .map(|number: usize| {
            Program::of(ProcessInfo {
                image: IMAGES[number % 5].to_owned(),
                container: if number > 7 { "c".to_owned() } else { String::new() },
                signed: [None, Some(false), Some(true)][number % 3],
                browser: Some(number % 5 == 4),
                location: [None, Some(ImageLocation::Temporary), Some(ImageLocation::System)][number % 3],
                ..ProcessInfo::default()
            })
        })
        .collect();
    let before = heap::held();
    let mut detectors: [Box<dyn Detector>; 4] = [
        Box::new(TunnelDetector::default()),
        Box::new(BypassDetector::default()),
        Box::new(FluxDetector::default()),
        Box::new(RebindingDetector::default()),
    ];
    detectors.iter_mut().for_each(|detector| detector.set_memory(MEMORY));
    let mut now = Timestamp::from_secs_nanos(1_700_006_400, 0);
    let (mut text, mut events) = (String::new(), 0u32);
    while !input.is_empty() {
        let how = input.u8();
        now = input.moment(now);
        let program = programs.get(usize::from(how >> 4));
        let known = Known(how);
        name(&mut input, &mut text);
        let mut addresses = [IpAddr::from([0, 0, 0, 0]); 4];
        let count = usize::from(how & 3) + 1;
        addresses.iter_mut().take(count).for_each(|address| *address = ip(&mut input));
        let resolver =
            (how & 4 == 0).then(|| SocketAddr::new(ip(&mut input), input.pick(&[53, 53, 853, 5353, 0])));
        let query_type = input.pick(&TYPES);
        let query = DnsEvent {
            start: now,
            process: None,
            program,
            attribution: Attribution::NONE,
            tuple: None,
            resolver,
            query: &text,
            query_type,
            response_code: [None, Some(0), Some(3)][usize::from(how % 3)],
            addresses: addresses.get(..count - 1).unwrap_or_default(),
            ttl_secs: u32::from(input.u8()) * u32::from(how & 15),
        };
        let connection = ConnectionEvent {
            tuple: FiveTuple {
                transport: Transport::Tcp,
                local: ([10, 0, 0, 1], 50_000).into(),
                remote: SocketAddr::new(addresses[0], input.pick(&[443, 853, 53, 80])),
            },
            start: now,
            process: None,
            program,
            attribution: Attribution::NONE,
            names: Names { sni: &text, ..Names::default() },
            protocol: AppProtocol::Tls,
            ja4: None,
            phase: Phase::Opened,
        };
        let what = if how & 8 == 0 { What::Query(&query) } else { What::Connection(&connection) };
        let seen = Seen {
            time: now,
            process: None,
            program,
            name: &text,
            fqdn: "",
            registrable: registrable(&text),
            what,
        };
        events += 1;
        for detector in &mut detectors {
            let mut found: Vec<Finding> = Vec::new();
            detector.observe(&seen, &known, &mut |finding| found.push(finding));
            assert!(found.len() <= 1, "one event, one finding");
            for finding in found {
                let points: f64 = finding.parts.iter().map(|part| part.points).sum();
                assert!(points.is_finite() && !finding.reason.is_empty() && !finding.subject.is_empty());
                assert!(finding.evidence.callbacks > 0 && finding.evidence.callbacks <= events);
                let dns = finding.dns.as_ref().expect("what was counted of names");
                assert!(dns.samples.len() <= 8 && dns.types.len() <= 8);
                assert!(dns.entropy_bits.is_none_or(|bits| (0.0..=8.0).contains(&bits)));
            }
        }
        if how == 255 {
            let nanos = i64::from(input.u32()) << 8;
            detectors.iter_mut().for_each(|detector| detector.shift(nanos));
        }
    }
    let told: usize = detectors.iter().map(|detector| detector.memory_bytes()).sum();
    // Each has its budget, the resolvers of two of them and the inside addresses of the fourth.
    assert!(told <= 4 * MEMORY + (48 << 10), "{told} bytes by their own account");
    let held = heap::held().saturating_sub(before);
    assert!(held <= 2 * (4 * MEMORY + (48 << 10)), "{held} bytes held, {told} by their own account");
});
