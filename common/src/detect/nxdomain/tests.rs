//! The detector by itself: what counts, what is told and when, and that memory holds.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::alert::{Class, Severity};
use crate::config::DetectorSettings;
use crate::domain::registrable;
use crate::engine::Engine;
use crate::event::{DnsEvent, Event, HostId, Observation};
use crate::knowledge::Knowledge;
use crate::process::{Attribution, ProcessInfo};
use crate::program::Program;
use crate::score;
use crate::time::{NANOS_PER_SEC, Timestamp};

struct Known(&'static [&'static str]);

impl Host for Known {
    fn known_days(&self, registrable: &str, _: Option<IpAddr>) -> Option<f64> {
        Some(if self.0.contains(&registrable) { 30.0 } else { 0.0 })
    }
}

struct Case {
    detector: MissingNames,
    host: Known,
    program: Option<Program>,
    found: Vec<Finding>,
}

impl Case {
    fn new(program: Option<Program>) -> Self {
        let mut detector = MissingNames::default();
        detector.set_memory(1 << 20);
        Self { detector, host: Known(&["known-here.com"]), program, found: Vec::new() }
    }

    fn ask(&mut self, secs: i64, query: &str, response_code: Option<u16>, addresses: &[IpAddr]) {
        let time = Timestamp::from_secs_nanos(1_700_000_000, 0).plus_nanos(secs * NANOS_PER_SEC);
        let event = DnsEvent {
            start: time,
            process: None,
            program: self.program.as_ref(),
            attribution: Attribution::NONE,
            tuple: None,
            resolver: None,
            query,
            query_type: 1,
            response_code,
            addresses,
            ttl_secs: 30,
        };
        let seen = Seen {
            time,
            process: None,
            program: self.program.as_ref(),
            name: query,
            fqdn: query,
            registrable: registrable(query),
            what: What::Query(&event),
        };
        self.detector.observe(&seen, &self.host, &mut |finding| self.found.push(finding));
    }

    fn missing(&mut self, secs: i64, query: &str) {
        self.ask(secs, query, Some(NXDOMAIN), &[]);
    }
}

fn program(image: &str) -> Program {
    Program::of(ProcessInfo { image: image.into(), ..ProcessInfo::default() })
}

/// Labels that no one would choose: a fixed multiplication, written in base 36.
fn label(number: u64) -> String {
    let mut rest = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..12)
        .map(|_| {
            let digit = u32::try_from(rest % 36).unwrap();
            rest /= 36;
            char::from_digit(digit, 36).unwrap()
        })
        .collect()
}

fn points(finding: &Finding) -> f64 {
    finding.parts.iter().map(|part| part.points).sum()
}

fn severity(finding: &Finding) -> Severity {
    score::severity_of(points(finding)).min(finding.ceiling)
}

const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

#[test]
fn a_burst_is_told_at_the_threshold_and_at_doublings_only() {
    let mut case = Case::new(Some(program("/tmp/x")));
    for number in 0..64 {
        case.missing(number, &format!("{}.com", label(number.unsigned_abs())));
        // The same again is no other name.
        case.missing(number, &format!("{}.com", label(number.unsigned_abs())));
    }
    let counts: Vec<_> = case.found.iter().map(|finding| finding.evidence.callbacks).collect();
    assert!(counts.len() <= 6 && counts[0] <= 5 && counts.is_sorted(), "{counts:?}");
    let last = case.found.last().unwrap();
    assert_eq!((last.class, last.subject.as_str()), (Class::GeneratedNames, ""));
    let dns = last.dns.as_ref().unwrap();
    assert_eq!(
        (dns.samples.len(), dns.names, dns.nxdomain),
        (8, last.evidence.callbacks, 2 * last.evidence.callbacks - 1)
    );
    assert!(dns.generated_score.unwrap() > 5.0);
    assert_eq!(severity(last), Severity::High, "critical only once a name answered");
}

#[test]
fn the_name_that_answers_after_them_is_told_and_lifts_the_severity() {
    for (who, before, after) in [
        (Some(program("/tmp/x")), Severity::High, Severity::Critical),
        (None, Severity::High, Severity::Critical),
    ] {
        let mut case = Case::new(who);
        for number in 0..20 {
            case.missing(number, &format!("{}.com", label(number.unsigned_abs())));
        }
        assert_eq!(severity(case.found.last().unwrap()), before);
        let told = case.found.len();
        // A site that a person looks at meanwhile, a widely used one, one known here, and one that is blocked.
        case.ask(20, "www.weather-report.com", Some(NO_ERROR), &[SERVER]);
        case.ask(20, "google.com", Some(NO_ERROR), &[SERVER]);
        case.ask(20, "known-here.com", Some(NO_ERROR), &[SERVER]);
        case.ask(20, &format!("{}.com", label(90)), Some(NO_ERROR), &["0.0.0.0".parse().unwrap()]);
        assert_eq!(case.found.len(), told, "{:?}", case.found.last());
        case.ask(21, &format!("{}.net", label(91)), Some(NO_ERROR), &[SERVER]);
        let found = case.found.last().unwrap();
        assert_eq!((case.found.len(), severity(found)), (told + 1, after));
        assert_eq!(found.destination.name, format!("{}.net", label(91)));
        assert_eq!(found.destination.ip, Some(SERVER));
        assert!(found.reason.contains("Then"), "{}", found.reason);
    }
}

#[test]
fn programs_are_told_apart() {
    let mut case = Case::new(None);
    for number in 0..30 {
        case.program = Some(program(&format!("/usr/bin/p{number}")));
        case.missing(number, &format!("{}.com", label(number.unsigned_abs())));
    }
    assert_eq!(case.found.len(), 0);
}

#[test]
fn only_an_answer_that_says_so_makes_a_name_missing() {
    for code in [None, Some(2), Some(5), Some(NO_ERROR)] {
        let mut case = Case::new(None);
        for number in 0..100 {
            case.ask(number, &format!("{}.com", label(number.unsigned_abs())), code, &[]);
        }
        assert_eq!(case.found.len(), 0, "{code:?}");
    }
}

#[test]
fn a_name_that_exists_is_none_that_is_missing() {
    let mut case = Case::new(None);
    for number in 0..100 {
        // Some name servers deny one type of what they have of another.
        case.ask(number, &format!("{}.com", label(number.unsigned_abs())), Some(NO_ERROR), &[SERVER]);
        case.missing(number, &format!("{}.com", label(number.unsigned_abs())));
    }
    let alerts = case.found.iter().filter(|finding| finding.class == Class::NxdomainBurst).count();
    assert_eq!(alerts, 0);
}

#[test]
fn one_label_below_many_suffixes_is_one_choice_of_letters() {
    let mut case = Case::new(Some(program("/usr/bin/whois")));
    for suffix in ["com", "net", "org", "info", "biz", "de", "fr", "it", "es", "nl", "be", "at"] {
        case.missing(1, &format!("xkqzvwpj.{suffix}"));
    }
    assert!(case.found.is_empty(), "{:?}", case.found);
}

#[test]
fn a_silence_ends_a_burst() {
    let mut case = Case::new(Some(program("/tmp/x")));
    for number in 0..3 {
        case.missing(number, &format!("{}.com", label(number.unsigned_abs())));
    }
    for number in 10..13 {
        case.missing(5_000 + number, &format!("{}.com", label(number.unsigned_abs())));
    }
    assert!(case.found.is_empty(), "{:?}", case.found);
    case.missing(5_020, &format!("{}.com", label(20)));
    assert_eq!(case.found.len(), 1);
    // A clock that was set moves them with it, and one that went back forgets them.
    case.detector.shift(-3_600 * NANOS_PER_SEC);
    case.missing(1_500, &format!("{}.com", label(21)));
    assert_eq!(case.detector.watches.values().map(|watch| watch.distinct).sum::<u32>(), 5);
    case.missing(-9_000, &format!("{}.com", label(22)));
    assert_eq!(case.detector.watches.values().map(|watch| watch.distinct).sum::<u32>(), 1);
}

#[test]
fn words_in_a_burst_are_told_once_there_are_twenty() {
    let words = ["river", "stone", "green", "cloud", "happy", "table", "north"];
    let mut case = Case::new(Some(program("/usr/bin/x")));
    for number in 0..40_usize {
        let (a, b) = (words[number % 7], words[number / 7 % 7]);
        case.missing(i64::try_from(number).unwrap() * 10, &format!("{a}{b}.com"));
    }
    assert!(case.found.iter().all(|finding| finding.class == Class::NxdomainBurst), "{:?}", case.found);
    assert_eq!(case.found.first().map(|finding| finding.evidence.callbacks), Some(20));
    assert!(case.found[0].techniques.iter().all(|technique| technique.id == "T1568"));
}

#[test]
fn memory_holds_and_what_left_is_counted() {
    for memory in [0, 2_000, 40_000] {
        let mut case = Case::new(None);
        case.detector.set_memory(memory);
        for number in 0..3_000_u64 {
            case.program = Some(program(&format!("/usr/bin/p{}", number % 50)));
            case.missing(i64::try_from(number).unwrap(), &format!("{}{}.com", label(number), "a".repeat(40)));
            // One watch without names is what remains where nothing fits.
            let least = size_of::<Watch>() + 64;
            let held = case.detector.memory_bytes();
            assert!(held <= memory.max(least), "{held} of {memory}");
        }
        let sum: usize = case.detector.watches.values().map(|watch| watch.weight() + BYTES_PER_PLACE).sum();
        assert_eq!(case.detector.memory_bytes(), sum, "what it says it holds");
        assert!(case.detector.evicted() > 0);
    }
}

#[test]
fn the_switch_of_the_prong_is_obeyed() {
    for dns in [true, false] {
        let mut engine = Engine::new("h".into(), 16 << 20, (1, 2));
        let detectors = DetectorSettings { dns, ..DetectorSettings::default() };
        engine.set_knowledge(&Arc::new(Knowledge { detectors, ..Knowledge::default() }), &mut |_| {});
        let mut alerts = 0;
        for number in 0..12_u64 {
            let time = Timestamp::from_secs_nanos(1_700_000_000, 0)
                .plus_nanos(i64::try_from(number).unwrap() * NANOS_PER_SEC);
            let query = format!("{}.com", label(number));
            let event = DnsEvent {
                start: time,
                process: None,
                program: None,
                attribution: Attribution::NONE,
                tuple: None,
                resolver: None,
                query: &query,
                query_type: 1,
                response_code: Some(NXDOMAIN),
                addresses: &[],
                ttl_secs: 0,
            };
            let observation = Observation { time, host: HostId::Name("h"), event: Event::Dns(event) };
            engine.observe(&observation, &mut |alert| {
                assert_eq!(alert.class, Class::GeneratedNames);
                alerts += 1;
            });
        }
        assert_eq!(alerts > 0, dns, "{alerts} alerts");
    }
}
