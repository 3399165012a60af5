//! What the readers promise together: how a file is cut changes nothing, nothing panics, everything is bounded and counted.

use proptest::prelude::*;

use super::*;
use crate::feed::{Indicator, Subject};

/// Everything that came of a file, and the report.
fn read_in(pieces: &[&[u8]], options: &Options) -> (Vec<Item>, Report) {
    let mut items = Vec::new();
    let mut reader = Reader::new("test", options.clone()).without_duplicates();
    for piece in pieces {
        reader.feed(piece, &mut |item| items.push(item));
    }
    let report = reader.finish(&mut |item| items.push(item));
    (items, report)
}

fn read(text: &str) -> (Vec<Item>, Report) {
    read_in(&[text.as_bytes()], &Options::default())
}

fn indicators(items: &[Item]) -> Vec<&Indicator> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Indicator(indicator) => Some(indicator),
            Item::Problem(_) => None,
        })
        .collect()
}

fn problems(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Problem(problem) => Some(format!("{} {}", problem.place, problem.reason.as_str())),
            Item::Indicator(_) => None,
        })
        .collect()
}

fn holds(items: &[Item], report: &Report) {
    assert_eq!(report.indicators(), indicators(items).len() as u64);
    let counted: u64 = report.reasons.values().sum();
    assert_eq!(counted, problems(items).len() as u64);
    assert!(report.problems.len() <= MAX_PROBLEMS);
    for item in items {
        match item {
            Item::Problem(problem) => {
                assert!(problem.text.chars().all(crate::text::is_plain), "{problem:?}");
                assert!(problem.text.len() <= MAX_SHOWN_BYTES + 4, "{problem:?}");
            }
            Item::Indicator(Indicator { subject, note }) => {
                for text in [&note.label, &note.group, &note.software] {
                    assert!(text.len() <= MAX_LABEL_BYTES && text.chars().all(crate::text::is_plain));
                }
                assert!(note.reference.len() <= MAX_REFERENCE_BYTES);
                assert!(note.confidence.is_none_or(|value| value <= 100));
                match subject {
                    Subject::Ip(ip) => assert!(!crate::net::is_internal(*ip), "{ip}"),
                    Subject::Network { address, prefix } => {
                        let most = if address.is_ipv4() { 32 } else { 128 };
                        assert!((10..most).contains(prefix) && !crate::net::is_internal(*address));
                    }
                    Subject::Domain { name, .. } | Subject::UrlHost(name) => {
                        let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
                        assert!(name.len() <= 253 && name.contains('.') && name.bytes().all(fits), "{name}");
                        assert!(!name.starts_with('.') && !name.ends_with('.'), "{name}");
                    }
                    _ => {}
                }
            }
        }
    }
}

const STIX: &str = r#"{"type":"bundle","id":"bundle--1","objects":[
{"type":"indicator","id":"indicator--1","pattern_type":"stix","pattern":"[ipv4-addr:value = '198.51.100.7']","valid_from":"2026-01-01T00:00:00Z"},
{"type":"relationship","id":"relationship--1","relationship_type":"indicates","source_ref":"indicator--1","target_ref":"malware--1"},
{"type":"relationship","id":"relationship--2","relationship_type":"variant-of","source_ref":"malware--1","target_ref":"malware--2"},
{"type":"relationship","id":"relationship--3","relationship_type":"variant-of","source_ref":"malware--2","target_ref":"malware--1"},
{"type":"malware","id":"malware--1","name":"Beacon"},
{"type":"malware","id":"malware--2","name":"Ancestor","external_references":[{"source_name":"mitre-attack","external_id":"S0154"}]}
]}"#;

const MISP: &str = r#"{"Event":{"info":"x","Attribute":[{"type":"ip-dst","value":"198.51.100.7","to_ids":true},
{"type":"md5","value":"d41d8cd98f00b204e9800998ecf8427e","to_ids":true}]}}"#;

/// A file of any form, mostly nearly right.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("198.51.100.7".to_owned()),
        Just("0.0.0.0 bad.example".to_owned()),
        Just("# sonde: columns=address,label".to_owned()),
        Just("# Firstseen,DstIP,DstPort".to_owned()),
        Just("2026-01-01 00:00:00,198.51.100.8,443".to_owned()),
        Just("\"a\", \"hxxp://bad[.]example/x\"".to_owned()),
        Just("ioc_value,ioc_type,confidence".to_owned()),
        Just("bad.example,domain,75".to_owned()),
        Just("\u{feff}*.bücher.example ; x".to_owned()),
        Just("x".repeat(MAX_LINE_BYTES + 1)),
        "\\PC{0,40}",
        "[0-9a-f:./\\[\\]]{0,24}",
    ];
    let lines = proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n").into_bytes());
    let damaged = |text: &'static str| {
        (any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(move |(at, byte, cut)| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = byte;
            }
            bytes
        })
    };
    prop_oneof![
        4 => lines,
        2 => damaged(STIX),
        2 => damaged(MISP),
        1 => proptest::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #[test]
    fn how_a_file_is_cut_changes_nothing(
        file in any_file(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        format in proptest::option::of(0usize..5),
    ) {
        let options = Options { format: format.map(|at| Format::ALL[at]), ..Options::default() };
        let whole = read_in(&[&file], &options);
        holds(&whole.0, &whole.1);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(file.len() + 1)).collect();
        at.push(0);
        at.push(file.len());
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &file[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&read_in(&pieces, &options), &whole);
        if file.len() < 400 {
            let bytes: Vec<&[u8]> = file.chunks(1).collect();
            prop_assert_eq!(&read_in(&bytes, &options), &whole);
        }
    }
}

#[test]
fn relationships_in_a_circle_end_and_tell_what_they_can() {
    let (items, report) = read(STIX);
    let [indicator] = indicators(&items)[..] else { panic!("{report:?}") };
    assert_eq!((indicator.note.label.as_str(), indicator.note.software.as_str()), ("Ancestor", "S0154"));
    assert_eq!(report.format, Some(Format::Stix));
}

#[test]
fn hostile_documents_are_refused_with_a_reason() {
    let deep = "{\"a\":".repeat(100_000);
    let deep_list = "[".repeat(100_000);
    for (text, expected) in [
        (deep.as_str(), vec!["line 1 depth"]),
        ("[{}", vec!["line 1 json"]),
        (deep_list.as_str(), vec!["line 1 line-too-long"]),
        ("{\"type\":\"bundle\",\n\"objects\":[}", vec!["line 2 json"]),
        ("{\"objects\":5}", vec!["line 1 not-a-feed"]),
        ("{\"a\":1}", vec!["line 1 not-a-feed"]),
        ("[]", vec!["line 1 not-a-feed"]),
        ("{\"objects\":[],\"objects\":[]}", vec![]),
        (
            "{\"objects\":[5,\n{\"type\":\"indicator\",\"id\":\"i\",\"pattern\":\"x\"}]}",
            vec!["line 1, objects[0] object", "line 2, objects[1] i pattern"],
        ),
        ("a\0b\n198.51.100.7", vec!["line 1 not-text"]),
    ] {
        let (items, report) = read(text);
        assert_eq!(problems(&items), expected, "{:.80}", text);
        assert_eq!(report.indicators(), 0);
    }
    let (items, report) = read_in(&[b"{\"type\":\"bundle\",\"id\":\"\xff\"}"], &Options::default());
    assert_eq!(problems(&items), ["line 1 not-text"]);
    assert!(report.fatal.is_some() && report.is_unusable());
}

#[test]
fn megabyte_lines_cost_themselves() {
    let long = "a".repeat(3 << 20);
    let text = format!("198.51.100.7\n{long}\n198.51.100.8\n{long}");
    let (items, _) = read(&text);
    assert_eq!(indicators(&items).len(), 2);
    assert_eq!(problems(&items), ["line 2 line-too-long", "line 4 line-too-long"]);
}

#[test]
fn duplicates_are_told_only_where_that_is_asked_for() {
    let text = b"198.51.100.7\n198[.]51.100.7:443\nbad.example\nBAD.example.\n";
    let (items, report) = read_in(&[text], &Options::default());
    assert_eq!(indicators(&items).len(), 2);
    assert_eq!(report.reasons.get(&Reason::Duplicate), Some(&2));
    let mut all = 0;
    let mut reader = Reader::new("x", Options::default());
    reader.feed(text, &mut |_| all += 1);
    assert_eq!((reader.finish(&mut |_| {}).indicators(), all), (4, 4));
}

#[test]
fn notes_are_shared_and_cut() {
    let label = "x".repeat(1_000);
    let text: String = (1..200).map(|n| format!("198.51.100.{n} # {label}\u{1b}[2J\n")).collect();
    let (items, report) = read(&text);
    holds(&items, &report);
    let all = indicators(&items);
    assert!(all.windows(2).all(|pair| std::sync::Arc::ptr_eq(&pair[0].note, &pair[1].note)));
    assert_eq!((&*all[0].note.feed, all[0].note.label.len()), ("test", MAX_LABEL_BYTES));
}

#[test]
fn settings_of_a_feed_fill_what_its_entries_leave_out() {
    let text = "#sonde: label=ours confidence=60 group=G0016 subdomains=yes\nwww.bad.example\n198.51.100.7 # theirs\n";
    let (items, _) = read(text);
    let [name, ip] = indicators(&items)[..] else { panic!("{items:?}") };
    assert!(matches!(&name.subject, Subject::Domain { subdomains: true, .. }));
    assert_eq!((name.note.label.as_str(), ip.note.label.as_str()), ("ours", "theirs"));
    assert_eq!((ip.note.confidence, ip.note.group.as_str()), (Some(60), "G0016"));
    let (items, _) = read("198.51.100.7\n#sonde: label=late\n#sonde: name=x\n");
    assert_eq!(problems(&items), ["line 2 directive", "line 3 directive"]);
    let (items, _) = read("#sonde: colums=x\n198.51.100.7\n");
    assert_eq!(problems(&items), ["line 1 directive"]);
}

#[test]
fn only_the_newest_version_of_an_indicator_counts() {
    let one = |modified: &str, ip: &str, revoked: bool| {
        format!(
            r#"{{"type":"indicator","id":"indicator--1","modified":"{modified}","revoked":{revoked},"pattern":"[ipv4-addr:value='{ip}']"}}"#
        )
    };
    let bundle = |objects: &[String]| format!(r#"{{"type":"bundle","objects":[{}]}}"#, objects.join(",\n"));
    let old = one("2026-01-01T00:00:00Z", "198.51.100.7", false);
    let new = one("2026-02-01T00:00:00.000Z", "198.51.100.8", false);
    let gone = one("2026-03-01T00:00:00Z", "198.51.100.8", true);
    let (items, report) = read(&bundle(&[new.clone(), old.clone()]));
    assert_eq!((indicators(&items).len(), report.reasons.get(&Reason::Revoked)), (1, Some(&1)));
    let (items, _) = read(&bundle(&[new, gone, old]));
    assert_eq!(indicators(&items).len(), 0);
}
