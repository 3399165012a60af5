//! The index's bounds. That it finds what a list searched from top to bottom would is a case of its own (tests/cases/feeds.rs).

use std::sync::Arc;

use super::super::Note;
use super::*;
use crate::time::Timestamp;

fn note(feed: &str, confidence: Option<u8>) -> Arc<Note> {
    Arc::new(Note { feed: feed.into(), confidence, ..Note::default() })
}

fn domain(name: &str, subdomains: bool) -> Subject {
    Subject::Domain { name: name.into(), subdomains }
}

fn index(subjects: &[Subject]) -> Index {
    let note = note("list", None);
    let mut builder = Builder::default();
    for subject in subjects {
        builder.add(&Indicator { subject: subject.clone(), note: Arc::clone(&note) });
    }
    builder.finish()
}

fn by_name(index: &Index, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    index.name(name, &mut |hit| all.push(format!("{} {}", hit.kind.as_str(), hit.value)));
    all
}

fn by_address(index: &Index, ip: &str) -> Vec<String> {
    let mut all = Vec::new();
    index.address(ip.parse().unwrap(), &mut |hit| all.push(format!("{} {}", hit.kind.as_str(), hit.value)));
    all
}

#[test]
fn a_name_matches_itself_and_what_lies_below_only_where_that_is_meant() {
    let index = index(&[
        domain("evil.example", true),
        domain("exact.example", false),
        Subject::UrlHost("Files.Example.".into()),
        Subject::UrlHost("203.0.113.9".into()),
    ]);
    assert_eq!(by_name(&index, "evil.example"), ["domain evil.example"]);
    assert_eq!(by_name(&index, "a.b.evil.example."), ["domain evil.example"]);
    assert_eq!(by_name(&index, "exact.example"), ["domain exact.example"]);
    assert_eq!(by_name(&index, "files.example"), ["url_host files.example"]);
    for other in
        ["notevil.example", "evil.example.net", "a.exact.example", "a.files.example", "example", "", "."]
    {
        assert!(by_name(&index, other).is_empty(), "{other}");
    }
    assert_eq!(by_address(&index, "203.0.113.9"), ["url_host 203.0.113.9"]);
}

#[test]
fn networks_nest_and_the_smallest_comes_first() {
    let network = |address: &str, prefix| Subject::Network { address: address.parse().unwrap(), prefix };
    let index = index(&[
        network("203.0.0.0", 16),
        network("203.0.113.0", 24),
        network("203.0.113.128", 25),
        network("255.255.255.0", 24),
        network("2001:db8::", 32),
        Subject::Ip("203.0.113.200".parse().unwrap()),
        Subject::Ip("::ffff:198.51.100.1".parse().unwrap()),
    ]);
    assert_eq!(
        by_address(&index, "203.0.113.200"),
        ["ip 203.0.113.200", "cidr 203.0.113.128/25", "cidr 203.0.113.0/24", "cidr 203.0.0.0/16"]
    );
    assert_eq!(by_address(&index, "203.0.114.0"), ["cidr 203.0.0.0/16"]);
    assert_eq!(by_address(&index, "203.1.0.0"), Vec::<String>::new());
    assert_eq!(by_address(&index, "255.255.255.254"), ["cidr 255.255.255.0/24"]);
    assert_eq!(by_address(&index, "2001:db8:ffff::1"), ["cidr 2001:db8::/32"]);
    assert_eq!(by_address(&index, "198.51.100.1"), ["ip 198.51.100.1"], "a mapped address is the address");
}

#[test]
fn a_list_of_bogus_networks_does_not_match_ones_own() {
    let network = |address: &str, prefix| Subject::Network { address: address.parse().unwrap(), prefix };
    let index = index(&[
        network("10.0.0.0", 8),
        network("127.0.0.0", 8),
        network("0.0.0.0", 0),
        network("::", 0),
        Subject::Ip("10.1.2.3".parse().unwrap()),
        Subject::Ip("127.0.0.1".parse().unwrap()),
    ]);
    assert_eq!(by_address(&index, "10.9.9.9"), Vec::<String>::new());
    assert_eq!(by_address(&index, "10.1.2.3"), ["ip 10.1.2.3"], "named by itself, it is meant");
    assert_eq!(by_address(&index, "127.0.0.1"), Vec::<String>::new());
    assert_eq!(index.counts().senseless, 2, "half of the internet is no indicator");
}

#[test]
fn of_many_entries_for_one_subject_the_surest_are_kept_whatever_their_order() {
    let entries: Vec<_> = (0..9)
        .map(|n| Indicator {
            subject: domain("a.example", n % 2 == 0),
            note: note(&format!("f{n}"), Some(10 * n)),
        })
        .collect();
    let feeds = |entries: &mut dyn Iterator<Item = &Indicator>| {
        let mut builder = Builder::default();
        entries.for_each(|entry| assert!(builder.add(entry)));
        let index = builder.finish();
        let mut feeds = Vec::new();
        index.name("a.example", &mut |hit| feeds.push(hit.note.feed().to_owned()));
        assert_eq!(index.counts().superseded, 5);
        feeds
    };
    assert_eq!(feeds(&mut entries.iter()), ["f8", "f7", "f6", "f5"]);
    assert_eq!(feeds(&mut entries.iter().rev()), ["f8", "f7", "f6", "f5"]);
}

#[test]
fn what_there_is_no_room_for_is_refused_and_counted() {
    const ROOM: usize = 1 << 20;
    let mut builder = Builder::new(ROOM);
    let mut taken = 0u64;
    for n in 0..200_000u32 {
        let note = Note {
            feed: "big".into(),
            label: format!("family {}", n % 7),
            reference: format!("https://feed.example/ioc/{n}"),
            valid_from: Some(Timestamp::from_nanos(i64::from(n))),
            ..Note::default()
        };
        let subject = match n % 4 {
            0 => domain(&format!("host{n}.example"), true),
            1 => Subject::Ip(std::net::Ipv6Addr::from_bits(u128::from(n) << 64).into()),
            2 => Subject::Network { address: IpAddr::V4((n << 8).into()), prefix: 24 },
            _ => Subject::Ip(IpAddr::V4(n.into())),
        };
        taken += u64::from(builder.add(&Indicator { subject, note: Arc::new(note) }));
    }
    let index = builder.finish();
    let counts = index.counts();
    assert!(taken > 5_000, "{counts:?}");
    assert_eq!((counts.entries(), counts.refused), (taken, 200_000 - taken));
    assert!(counts.links_cut > 0, "links go before entries do");
    assert!(counts.memory_bytes <= ROOM as u64, "{counts:?}");
    assert!(counts.memory_bytes > ROOM as u64 / 2, "the estimate is no excuse: {counts:?}");
}

#[test]
fn an_entry_holds_in_its_window_and_a_little_before() {
    let day = |n: i64| Timestamp::from_nanos(n * 86_400 * crate::time::NANOS_PER_SEC);
    let note = Note { valid_from: Some(day(100)), valid_until: Some(day(200)), ..Note::default() };
    let mut builder = Builder::default();
    builder.add(&Indicator { subject: Subject::Asn(64_496), note: Arc::new(note) });
    let index = builder.finish();
    let mut seen = Vec::new();
    for (since, until) in [(100, 100), (90, 110), (80, 80), (60, 60), (199, 300), (201, 300)] {
        index.asn(64_496, &mut |hit| seen.push(hit.note.validity(day(since), day(until))));
    }
    use Validity::{Current, Early, Outside};
    assert_eq!(seen, [Current, Current, Early, Outside, Current, Outside]);
}

#[test]
fn texts_of_a_feed_are_made_harmless() {
    let note = Note { feed: "a\u{1b}[31m".into(), label: "x".repeat(9_000), ..Note::default() };
    let mut builder = Builder::default();
    builder.add(&Indicator { subject: Subject::Asn(1), note: Arc::new(note) });
    let index = builder.finish();
    index.asn(1, &mut |hit| {
        assert_eq!((hit.note.feed(), hit.note.label().len()), ("a\\u{1b}[31m", 512));
        assert_eq!((hit.note.confidence(), hit.note.sureness()), (None, DEFAULT_CONFIDENCE));
    });
}
