//! What is on a feed is found, weighed as docs/detection.md says, and told at doublings; a feed that comes later finds what
//! is remembered.

use std::net::IpAddr;
use std::sync::Arc;

use crate::alert::{Alert, Class, Severity};
use crate::certificate::{Certificate, hex};
use crate::config::DetectorSettings;
use crate::engine::Engine;
use crate::event::{
    AppProtocol, ConnectionEvent, DnsEvent, Event, HostId, Names, Observation, Phase, Totals,
};
use crate::feed::{Builder, Index, Indicator, Note, Subject};
use crate::knowledge::Knowledge;
use crate::net::{FiveTuple, Transport};
use crate::process::Attribution;
use crate::time::Timestamp;

const DAY: i64 = 86_400;
/// When everything here happens.
const NOW: i64 = 1_000 * DAY;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs_nanos(secs, 0)
}

fn domain(name: &str) -> Subject {
    Subject::Domain { name: name.into(), subdomains: true }
}

fn note() -> Note {
    Note { feed: "list".into(), label: "Family".into(), ..Note::default() }
}

fn index(entries: &[(Subject, Note)]) -> Arc<Index> {
    let mut builder = Builder::default();
    for (subject, note) in entries {
        builder.add(&Indicator { subject: subject.clone(), note: Arc::new(note.clone()) });
    }
    Arc::new(builder.finish())
}

fn knowing(feeds: &Arc<Index>) -> Arc<Knowledge> {
    Arc::new(Knowledge { feeds: Arc::clone(feeds), feeds_may_change: true, ..Knowledge::default() })
}

fn engine(entries: &[(Subject, Note)]) -> Engine {
    let mut engine = Engine::new("h".into(), 8 << 20, (1, 2));
    engine.set_knowledge(&knowing(&index(entries)), &mut |_| panic!("nothing is remembered yet"));
    engine
}

fn tell(engine: &mut Engine, secs: i64, event: Event<'_>) -> Vec<Alert> {
    let mut alerts = Vec::new();
    let observation = Observation { time: at(secs), host: HostId::Name("h"), event };
    engine.observe(&observation, &mut |alert| alerts.push(alert));
    alerts
}

fn call(engine: &mut Engine, secs: i64, sni: &str, ip: &str) -> Vec<Alert> {
    let remote = (ip.parse::<IpAddr>().unwrap(), 443).into();
    let totals = Totals { end: at(secs), bytes_out: Some(300), bytes_in: Some(900), ..Totals::default() };
    let event = ConnectionEvent {
        tuple: FiveTuple { transport: Transport::Tcp, local: "10.0.0.1:50000".parse().unwrap(), remote },
        start: at(secs),
        process: None,
        program: None,
        attribution: Attribution::NONE,
        names: Names { sni, ..Names::default() },
        protocol: AppProtocol::Tls,
        ja4: None,
        phase: Phase::Whole(totals),
    };
    tell(engine, secs, Event::Connection(event))
}

/// A connection, and the certificate that its server showed.
fn shown(engine: &mut Engine, secs: i64, certificate: Certificate) -> Vec<Alert> {
    let event = ConnectionEvent {
        tuple: FiveTuple {
            transport: Transport::Tcp,
            local: "10.0.0.1:50000".parse().unwrap(),
            remote: "203.0.113.7:443".parse().unwrap(),
        },
        start: at(secs),
        process: None,
        program: None,
        attribution: Attribution::NONE,
        names: Names { sni: "shop.example", ..Names::default() },
        protocol: AppProtocol::Tls,
        ja4: None,
        phase: Phase::Opened,
    };
    let mut alerts = tell(engine, secs, Event::Connection(event));
    let event = ConnectionEvent { phase: Phase::Certificate(certificate), ..event };
    alerts.extend(tell(engine, secs, Event::Connection(event)));
    alerts
}

#[test]
fn a_certificate_is_found_by_either_digest_and_shown() {
    let certificate = Certificate::of([&b"der"[..]].into_iter());
    let other = Certificate::of([&b"other"[..]].into_iter());
    let (sha1, sha256) = (certificate.sha1.unwrap(), certificate.sha256.unwrap());
    for (subject, kind, value) in [
        (Subject::CertificateSha1(sha1), "certificate_sha1", hex(&sha1)),
        (Subject::CertificateSha256(sha256), "certificate_sha256", hex(&sha256)),
    ] {
        let mut engine = engine(&[(subject, note())]);
        assert_eq!(shown(&mut engine, NOW, other), []);
        let alerts = shown(&mut engine, NOW + 1, certificate);
        let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
        assert_eq!((alert.class, alert.severity), (Class::Indicator, Severity::Critical));
        assert_eq!((&*alert.indicators[0].kind, &alert.indicators[0].matched), (kind, &value));
        assert_eq!(alert.destination.certificate, certificate);
        assert_eq!(alert.destination.name, "shop.example");
        assert!(alert.reason.contains(&format!("the certificate {value} is on the feed `list` (Family)")));
        let ids: Vec<_> = alert.techniques.iter().map(|technique| &*technique.id).collect();
        assert_eq!(ids, ["T1071.001", "T1573.002", "T1583.004"]);
        // Told at doublings, counted once a connection.
        assert_eq!(shown(&mut engine, NOW + 2, certificate)[0].evidence.callbacks, 2);
        assert_eq!(shown(&mut engine, NOW + 3, certificate), []);
        assert_eq!(shown(&mut engine, NOW + 4, certificate)[0].evidence.callbacks, 4);
    }
}

#[test]
fn a_certificate_is_remembered_for_feeds_that_come_later_while_any_is_looked_for() {
    let certificate = Certificate::of([&b"der"[..]].into_iter());
    let entry = || (Subject::CertificateSha1(certificate.sha1.unwrap()), note());
    let any = (Subject::CertificateSha256([7; 32]), note());
    let mut engine = engine(&[any]);
    let before = engine.memory_bytes();
    assert_eq!(shown(&mut engine, NOW, certificate), []);
    assert!(engine.memory_bytes() > before);
    let mut bytes = Vec::new();
    engine.save(&mut bytes);
    let mut engine = Engine::restore(&bytes, 8 << 20).unwrap();
    let mut found = Vec::new();
    engine.set_knowledge(&knowing(&index(&[entry()])), &mut |alert| found.push(alert));
    let [alert] = found.as_slice() else { panic!("{found:?}") };
    assert!(alert.indicators[0].retrospective && alert.reason.contains("listed after"), "{alert:?}");
    assert_eq!(alert.destination.certificate, certificate);

    // Without any certificate on a feed, none is looked at.
    let mut engine = self::engine(&[(domain("evil.example"), note())]);
    shown(&mut engine, NOW, certificate);
    engine.set_knowledge(&knowing(&index(&[entry()])), &mut |alert| panic!("{alert:?}"));
}

fn ask(engine: &mut Engine, secs: i64, query: &str, addresses: &[IpAddr]) -> Vec<Alert> {
    let event = DnsEvent {
        start: at(secs),
        process: None,
        program: None,
        attribution: Attribution::NONE,
        tuple: None,
        resolver: None,
        query,
        query_type: 1,
        response_code: Some(0),
        addresses,
        ttl_secs: 60,
    };
    tell(engine, secs, Event::Dns(event))
}

/// Severity of the one finding that a call brings, if it brings one.
fn severity(entries: &[(Subject, Note)], sni: &str, ip: &str) -> Option<Severity> {
    let mut alerts = call(&mut engine(entries), NOW, sni, ip);
    assert!(alerts.len() <= 1, "{alerts:?}");
    alerts.pop().map(|alert| alert.severity)
}

#[test]
fn what_an_entry_weighs_depends_on_its_kind_and_how_sure_it_is() {
    use Severity::{Critical, High, Medium};
    let sure = |confidence| Note { confidence: Some(confidence), ..note() };
    let network = |prefix| Subject::Network { address: "203.0.113.0".parse().unwrap(), prefix };
    let ip = || Subject::Ip("203.0.113.7".parse().unwrap());
    for (subject, note, wanted) in [
        (domain("evil.example"), note(), Some(Critical)),
        (domain("evil.example"), sure(90), Some(Critical)),
        (domain("evil.example"), sure(60), Some(High)),
        (domain("evil.example"), sure(30), Some(Medium)),
        (domain("evil.example"), sure(5), None),
        (ip(), note(), Some(Critical)),
        (ip(), sure(60), Some(High)),
        (network(24), note(), Some(High)),
        (network(20), note(), Some(Medium)),
        (network(12), note(), None),
        (Subject::UrlHost("c2.evil.example".into()), note(), Some(Medium)),
        (Subject::Asn(64_496), note(), None),
        (domain("other.example"), note(), None),
    ] {
        let shown = format!("{subject:?} {:?}", note.confidence);
        assert_eq!(severity(&[(subject, note)], "c2.evil.example", "203.0.113.7"), wanted, "{shown}");
    }
}

#[test]
fn what_many_share_weighs_less() {
    use Severity::{Critical, Medium};
    let of = |name: &str, sni: &str| severity(&[(domain(name), note())], sni, "203.0.113.7");
    assert_eq!(of("github.io", "someone.github.io"), Some(Medium), "a hosting company's suffix");
    assert_eq!(of("evil.github.io", "evil.github.io"), Some(Critical), "a customer's name is his own");
    assert_eq!(of("google.com", "docs.google.com"), Some(Medium));
    let ip = [(Subject::Ip("203.0.113.7".parse().unwrap()), note())];
    assert_eq!(severity(&ip, "www.google.com", "203.0.113.7"), Some(Medium), "a shared address");
}

#[test]
fn an_entry_counts_in_its_time_by_the_clock_of_the_data() {
    use Severity::{Critical, High};
    let of = |from: i64, until: i64| {
        let note = Note { valid_from: Some(at(from)), valid_until: Some(at(until)), ..note() };
        severity(&[(domain("evil.example"), note)], "evil.example", "203.0.113.7")
    };
    assert_eq!(of(NOW - DAY, NOW + DAY), Some(Critical));
    assert_eq!(of(NOW + DAY, NOW + 9 * DAY), Some(High), "listed a day later");
    assert_eq!(of(NOW + 60 * DAY, NOW + 90 * DAY), None, "listed much later");
    assert_eq!(of(NOW - 9 * DAY, NOW - DAY), None, "it holds no more");
}

#[test]
fn a_finding_is_told_at_doublings_and_says_all_that_the_feed_does() {
    let software = Note { group: "G0016".into(), software: "S0154".into(), confidence: Some(90), ..note() };
    let mut engine = engine(&[(domain("evil.example"), software)]);
    let told: Vec<_> = (0..20)
        .flat_map(|n| call(&mut engine, NOW + n * 7 * (n % 5 + 1), "c2.evil.example", "203.0.113.7"))
        .filter(|alert| alert.class == Class::Indicator)
        .collect();
    let counts: Vec<_> = told.iter().map(|alert| alert.evidence.callbacks).collect();
    assert_eq!(counts, [1, 2, 4, 8, 16]);
    let first = &told[0];
    let shown = &first.indicators[0];
    assert_eq!((&*shown.kind, &*shown.value, &*shown.matched), ("domain", "evil.example", "c2.evil.example"));
    assert_eq!((&*shown.group, &*shown.software, shown.retrospective), ("G0016", "S0154", false));
    assert_eq!(
        first.reason,
        "This host called c2.evil.example:443: the domain evil.example is on the feed `list` (Family, confidence 90)."
    );
    let techniques: Vec<_> = first.techniques.iter().map(|technique| &*technique.id).collect();
    assert_eq!(techniques, ["T1071.001", "T1573.002", "T1583.001"]);
    assert_eq!(first.missing, ["process"]);
    let sum: f64 = first.parts.iter().map(|part| part.points).sum();
    assert!((sum - first.points).abs() < 1e-9);
}

#[test]
fn a_name_asked_for_is_found_and_an_answer_alone_weighs_less() {
    let ip: IpAddr = "203.0.113.7".parse().unwrap();
    let mut engine = engine(&[(domain("evil.example"), note()), (Subject::Ip(ip), note())]);
    let asked = ask(&mut engine, NOW, "x.evil.example", &[]);
    assert_eq!((asked.len(), asked[0].severity), (1, Severity::Critical));
    let answered = ask(&mut engine, NOW, "harmless.example", &[ip]);
    assert_eq!((answered.len(), answered[0].severity), (1, Severity::Medium));
    let called = call(&mut engine, NOW + 1, "harmless.example", "203.0.113.7");
    assert_eq!((called.len(), called[0].severity), (1, Severity::Critical), "now something went there");
    assert_eq!(called[0].id, answered[0].id, "one finding");
}

#[test]
fn a_beacon_to_a_listed_destination_says_so_and_is_critical() {
    let mut engine = engine(&[(domain("evil.example"), note())]);
    let alerts: Vec<_> =
        (0..40).flat_map(|n| call(&mut engine, NOW + n * 60, "evil.example", "203.0.113.7")).collect();
    let beacon = alerts.iter().rfind(|alert| alert.class == Class::Beacon).expect("it beacons");
    assert_eq!(beacon.severity, Severity::Critical);
    assert_eq!(beacon.indicators.len(), 1);
    let part = beacon.parts.iter().find(|part| part.name == "indicator").unwrap();
    assert!((part.points - 4.0).abs() < 1e-9);
    let sum: f64 = beacon.parts.iter().map(|part| part.points).sum();
    assert!((sum - beacon.points).abs() < 1e-9, "parts add up");
    assert!(beacon.reason.contains("the domain evil.example is on the feed `list` (Family)"));
    let last = engine.alerts().find(|alert| alert.class == Class::Beacon).unwrap();
    assert_eq!((last.severity, last.indicators.len()), (Severity::Critical, 1), "in the final state, too");
}

#[test]
fn a_feed_that_comes_later_finds_series_one_off_calls_and_names() {
    let mut engine = engine(&[]);
    let mut before = Vec::new();
    for n in 0..40 {
        before.extend(call(&mut engine, NOW + n * 60, "evil.example", "203.0.113.7"));
    }
    before.extend(call(&mut engine, NOW + 2_500, "once.example", "198.51.100.9"));
    before.extend(ask(&mut engine, NOW + 2_600, "asked.example", &["198.51.100.77".parse().unwrap()]));
    assert!(before.iter().all(|alert| alert.indicators.is_empty()));

    let feeds = index(&[
        (domain("evil.example"), note()),
        (domain("once.example"), note()),
        (domain("asked.example"), note()),
        (Subject::Ip("198.51.100.9".parse().unwrap()), Note { feed: "other".into(), ..note() }),
    ]);
    let mut found = Vec::new();
    engine.set_knowledge(&knowing(&feeds), &mut |alert| found.push(alert));
    let of =
        |class, name: &str| found.iter().filter(|a| a.class == class && a.destination.name == name).count();
    assert_eq!(of(Class::Indicator, "evil.example"), 1);
    assert_eq!(of(Class::Indicator, "once.example"), 1);
    assert_eq!(of(Class::Indicator, "asked.example"), 1);
    assert_eq!(of(Class::Beacon, "evil.example"), 1, "the beacon rises");
    assert_eq!(found.len(), 4);
    for alert in &found {
        assert!(alert.indicators.iter().all(|shown| shown.retrospective), "{alert:?}");
        assert_eq!(alert.severity, Severity::Critical, "{alert:?}");
    }
    let once = found.iter().find(|alert| alert.destination.name == "once.example").unwrap();
    assert_eq!(once.evidence.first_seen, at(NOW + 2_500));
    assert!(once.parts.iter().any(|part| part.name == "agreement"), "two feeds name it");

    // The same feeds read anew bring nothing new.
    let again = index(&[(domain("evil.example"), note()), (domain("once.example"), note())]);
    engine.set_knowledge(&knowing(&again), &mut |alert| panic!("told once more: {alert:?}"));
}

#[test]
fn what_is_remembered_outlives_a_restart() {
    let mut engine = engine(&[]);
    call(&mut engine, NOW, "once.example", "198.51.100.9");
    let mut bytes = Vec::new();
    engine.save(&mut bytes);
    let mut back = Engine::restore(&bytes, 8 << 20).unwrap();
    let mut found = Vec::new();
    let feeds = index(&[(domain("once.example"), note())]);
    back.set_knowledge(&knowing(&feeds), &mut |alert| found.push(alert));
    assert_eq!(found.len(), 1);
}

#[test]
fn the_switch_turns_it_off() {
    let mut engine = Engine::new("h".into(), 8 << 20, (1, 2));
    let feeds = index(&[(domain("evil.example"), note())]);
    let detectors = DetectorSettings { indicators: false, ..DetectorSettings::default() };
    let off = Knowledge { feeds, detectors, ..Knowledge::default() };
    engine.set_knowledge(&Arc::new(off), &mut |_| panic!("it is off"));
    assert!(call(&mut engine, NOW, "evil.example", "203.0.113.7").is_empty());
}

#[test]
fn a_flood_of_destinations_stays_within_the_memory() {
    let mut engine = engine(&[(domain("evil.example"), note())]);
    for n in 0..30_000i64 {
        call(&mut engine, NOW + n, &format!("{n}.flood.example"), "203.0.113.7");
        call(&mut engine, NOW + n, &format!("{n}.evil.example"), "203.0.113.7");
    }
    assert!(engine.memory_bytes() <= 8 << 20, "{}", engine.memory_bytes());
    assert!(engine.counters().counts_evicted > 0);
}
