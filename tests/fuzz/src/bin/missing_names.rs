//! Questions of any name, answer, program and time through the detector of missing names: what it finds is an alert whose
//! figures are sound, it says what it holds, and holds no more than it may.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use sonde_common::detect::nxdomain::{MissingNames, look};
use sonde_common::detect::{Detector, Host, Seen, What};
use sonde_common::domain::registrable;
use sonde_common::event::{DOMAIN_TEXT, DnsEvent};
use sonde_common::process::{Attribution, ProcessInfo};
use sonde_common::program::Program;
use sonde_common::score::ALERT_POINTS;
use sonde_common::time::Timestamp;
use sonde_fuzz::input::Input;

/// What one program takes at most that may not be let go of: itself without a name.
const LEAST: usize = 1 << 10;
const SUFFIXES: [&str; 6] = ["com", "co.uk", "ddns.net", "local", "arpa", "google.com"];

struct Some30(bool);

impl Host for Some30 {
    fn known_days(&self, registrable: &str, _: Option<IpAddr>) -> Option<f64> {
        self.0.then(|| if registrable.len() % 7 == 0 { 30.0 } else { 0.0 })
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let memory = usize::from(input.u16());
    let mut detector = MissingNames::default();
    detector.set_memory(memory);
    let programs = ["/usr/bin/a", "/tmp/b", ""].map(|image| {
        Program::of(ProcessInfo { image: image.into(), signed: Some(true), ..ProcessInfo::default() })
    });
    let mut now = Timestamp::from_secs_nanos(1_700_006_400, 0);
    let mut text = String::new();
    while !input.is_empty() {
        let how = input.u8();
        if how == 255 {
            detector.shift(i64::from(input.u32()) - i64::from(u32::MAX / 2));
        }
        now = input.moment(now);
        let length = usize::from(how & 31);
        let label = String::from_utf8_lossy(input.take(length)).into_owned();
        if let Some(look) = look::look(&label) {
            assert!(look.score.is_finite() && usize::from(look.length) == label.len(), "{label:?}");
        }
        let name = format!("{label}.{}", input.pick(&SUFFIXES));
        let query = DOMAIN_TEXT.keep(&name, &mut text);
        let addresses = [Ipv4Addr::from(input.u32()).into()];
        let program = programs.get(usize::from(how >> 5 & 3));
        let event = DnsEvent {
            start: now,
            process: None,
            program,
            attribution: Attribution::NONE,
            tuple: None,
            resolver: None,
            query,
            query_type: input.pick(&[1, 28, 16, 0]),
            response_code: input.pick(&[Some(3), Some(3), Some(0), None]),
            addresses: &addresses,
            ttl_secs: 1,
        };
        let seen = Seen {
            time: now,
            process: None,
            program,
            name: query,
            fqdn: query,
            registrable: registrable(query),
            what: What::Query(&event),
        };
        detector.observe(&seen, &Some30(how & 128 == 0), &mut |found| {
            let points: f64 = found.parts.iter().map(|part| part.points).sum();
            assert!(points.is_finite() && points > ALERT_POINTS, "{found:?}");
            assert!(found.evidence.first_seen <= found.evidence.last_seen, "{found:?}");
            let dns = found.dns.expect("it is about names");
            assert!(dns.names <= dns.nxdomain && dns.nxdomain <= dns.queries, "{dns:?}");
            assert!(dns.samples.len() <= 8 && !dns.samples.is_empty(), "{dns:?}");
            assert!(found.reason.chars().all(sonde_common::text::is_plain), "{}", found.reason);
        });
        assert!(detector.memory_bytes() <= memory.max(LEAST), "{} of {memory}", detector.memory_bytes());
    }
});
