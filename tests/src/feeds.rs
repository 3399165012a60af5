//! Feeds for tests: a list searched from top to bottom, which the index has to agree with; indicators from any bytes; and a
//! small database of networks, written as MaxMind's specification says.

#![expect(clippy::indexing_slicing, reason = "nodes and choices are counted here")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use sonde_common::feed::index::{DEFAULT_CONFIDENCE, Value};
use sonde_common::feed::{Builder, Hit, Index, Indicator, Note, Subject};
use sonde_common::net::{is_internal, is_no_peer};
use sonde_common::time::Timestamp;

/// Entries of one subject that the index keeps.
const KEPT: usize = 4;

/// An answer, in a form that compares: kind, value, feed.
pub type Answer = (String, String, String);

/// What the index says of an address or a name.
#[must_use]
pub fn asked(index: &Index, of: &Asked) -> Vec<Answer> {
    let mut all = Vec::new();
    let mut take = |hit: Hit<'_>| {
        let below = matches!(hit.value, Value::Name(_, true));
        let value = format!("{}{}", hit.value, if below { "/*" } else { "" });
        all.push((hit.kind.as_str().to_owned(), value, hit.note.feed().to_owned()));
    };
    match of {
        Asked::Ip(ip) => index.address(*ip, &mut take),
        Asked::Name(name) => index.name(name, &mut take),
    }
    all.sort();
    all
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Of an address.
    Ip(IpAddr),
    /// Of a name.
    Name(String),
}

/// The same, from a list.
#[must_use]
pub fn searched(list: &[Indicator], of: &Asked) -> Vec<Answer> {
    // The best few of each subject, as a feed's author would sort them by hand.
    let mut by_key: BTreeMap<String, Vec<(&Indicator, Subject)>> = BTreeMap::new();
    for indicator in list {
        let Some((key, subject)) = plain(&indicator.subject) else { continue };
        by_key.entry(key).or_default().push((indicator, subject));
    }
    let mut all = Vec::new();
    for entries in by_key.values_mut() {
        entries.sort_by_key(|(indicator, subject)| {
            let note = &indicator.note;
            let sure = note.confidence.map_or(DEFAULT_CONFIDENCE, |confidence| confidence.min(100));
            let until = note.valid_until.map_or(i64::MAX, Timestamp::nanos);
            let form = match subject {
                Subject::UrlHost(_) => 2,
                Subject::Domain { subdomains, .. } => u8::from(*subdomains),
                _ => 0,
            };
            (u8::MAX - sure, std::cmp::Reverse(until), note.feed.to_string(), form)
        });
        let same = |(a, x): &mut (&Indicator, Subject), (b, y): &mut (&Indicator, Subject)| {
            a.note == b.note && x == y
        };
        entries.dedup_by(same);
        for (indicator, subject) in entries.iter().take(KEPT) {
            all.extend(
                answer(subject, of).map(|(kind, value)| (kind, value, indicator.note.feed.to_string())),
            );
        }
    }
    all.sort();
    all
}

/// A subject as it is looked up, and by what entries of one thing are known.
fn plain(subject: &Subject) -> Option<(String, Subject)> {
    let of_name = |name: &str| {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        (!name.is_empty() && name.len() <= 253).then_some(name)
    };
    let subject = match subject {
        Subject::Ip(ip) => Subject::Ip(ip.to_canonical()),
        Subject::Network { address: IpAddr::V4(ip), prefix } if (8..=32).contains(prefix) => {
            let bits = ip.to_bits() & u32::MAX.checked_shl(32 - u32::from(*prefix)).unwrap_or(0);
            match prefix {
                32 => Subject::Ip(Ipv4Addr::from_bits(bits).into()),
                _ => Subject::Network { address: Ipv4Addr::from_bits(bits).into(), prefix: *prefix },
            }
        }
        Subject::Network { address: IpAddr::V6(ip), prefix } if (16..=128).contains(prefix) => {
            let bits = ip.to_bits() & u128::MAX.checked_shl(128 - u32::from(*prefix)).unwrap_or(0);
            match prefix {
                128 => Subject::Ip(Ipv6Addr::from_bits(bits).into()),
                _ => Subject::Network { address: Ipv6Addr::from_bits(bits).into(), prefix: *prefix },
            }
        }
        Subject::Network { .. } => return None,
        Subject::Domain { name, subdomains } => {
            Subject::Domain { name: of_name(name)?.into(), subdomains: *subdomains }
        }
        Subject::UrlHost(host) => match host.parse::<IpAddr>() {
            Ok(_) => Subject::UrlHost(host.clone()),
            Err(_) => Subject::UrlHost(of_name(host)?.into()),
        },
        other => other.clone(),
    };
    let key = match &subject {
        Subject::Ip(ip) => format!("ip {ip}"),
        Subject::Network { address, prefix } => format!("net {address}/{prefix}"),
        Subject::Domain { name, .. } => format!("name {name}"),
        Subject::UrlHost(host) => {
            host.parse::<IpAddr>().map_or_else(|_| format!("name {host}"), |ip| format!("ip {ip}"))
        }
        _ => return None,
    };
    Some((key, subject))
}

fn answer(subject: &Subject, of: &Asked) -> Option<(String, String)> {
    let told = |kind: &str, value: String| Some((kind.to_owned(), value));
    match (subject, of) {
        (_, Asked::Ip(ip)) if is_no_peer(ip.to_canonical()) => None,
        (Subject::Ip(entry), Asked::Ip(ip)) if *entry == ip.to_canonical() => told("ip", entry.to_string()),
        (Subject::UrlHost(host), Asked::Ip(ip)) if host.parse() == Ok(ip.to_canonical()) => {
            told("url_host", host.to_string())
        }
        (Subject::Network { address, prefix }, Asked::Ip(ip)) => {
            let ip = ip.to_canonical();
            let inside = match (address, ip) {
                (IpAddr::V4(net), IpAddr::V4(ip)) => {
                    (0..*prefix).all(|bit| (net.to_bits() ^ ip.to_bits()) >> (31 - bit) & 1 == 0)
                }
                (IpAddr::V6(net), IpAddr::V6(ip)) => {
                    (0..*prefix).all(|bit| (net.to_bits() ^ ip.to_bits()) >> (127 - bit) & 1 == 0)
                }
                _ => false,
            };
            (inside && !is_internal(ip)).then(|| ("cidr".to_owned(), format!("{address}/{prefix}")))
        }
        (Subject::Domain { name, subdomains }, Asked::Name(asked)) => {
            let asked = asked.trim_end_matches('.');
            let below = *subdomains && asked.ends_with(&format!(".{name}"));
            (asked == &**name || below)
                .then(|| ("domain".to_owned(), format!("{name}{}", if *subdomains { "/*" } else { "" })))
        }
        (Subject::UrlHost(host), Asked::Name(asked)) if asked.trim_end_matches('.') == &**host => {
            told("url_host", host.to_string())
        }
        _ => None,
    }
}

/// Indicators and questions from any bytes: from a small world, so that they meet.
#[must_use]
pub fn made_of(bytes: &[u8]) -> (Vec<Indicator>, Vec<Asked>) {
    let (mut list, mut questions) = (Vec::new(), Vec::new());
    for (at, chunk) in bytes.chunks(6).enumerate() {
        let byte = |n: usize| chunk.get(n).copied().unwrap_or(0);
        let labels = ["a", "b", "evil", "www", "example", "com", "B"];
        let name: Vec<_> = (1..=1 + usize::from(byte(1) % 4))
            .map(|n| labels.get(usize::from(byte(n)) % labels.len()).copied().unwrap_or("x"))
            .collect();
        let name = name.join(".");
        let v4: IpAddr =
            Ipv4Addr::new([203, 10, 198, 127][usize::from(byte(1) % 4)], byte(2) % 3, byte(3), byte(4))
                .into();
        let v6: IpAddr =
            Ipv6Addr::new(0x2001, byte(1).into(), 0, 0, 0, 0, byte(2).into(), byte(3).into()).into();
        let ip = if byte(0) & 64 == 0 { v4 } else { v6 };
        if byte(0) & 128 != 0 {
            questions.push(Asked::Name(name.to_ascii_lowercase()));
            questions.push(Asked::Ip(ip));
            continue;
        }
        let subject = match byte(0) % 7 {
            0 => Subject::Ip(ip),
            1 | 2 => Subject::Network { address: ip, prefix: byte(5) % 130 },
            3 => Subject::Domain { name: name.into(), subdomains: false },
            4 => Subject::Domain { name: name.into(), subdomains: true },
            5 => Subject::UrlHost(name.into()),
            _ => Subject::UrlHost(ip.to_string().into()),
        };
        let note = Note {
            // Each entry has a feed of its own, so that it is told which of several are kept.
            feed: format!("feed{at:03}").into(),
            confidence: Some(byte(5)).filter(|confidence| *confidence < 120),
            ..Note::default()
        };
        list.push(Indicator { subject, note: Arc::new(note) });
    }
    (list, questions)
}

/// Holds the index against the list.
///
/// # Panics
/// If they do not agree.
pub fn agree(list: &[Indicator], questions: &[Asked]) {
    let mut builder = Builder::default();
    list.iter().for_each(|indicator| _ = builder.add(indicator));
    let index = builder.finish();
    for question in questions {
        assert_eq!(asked(&index, question), searched(list, question), "{question:?} in {list:?}");
    }
}

/// A network of a database: address, prefix, number, organisation.
pub type AsNetwork<'a> = (IpAddr, u8, u32, &'a str);

/// A database of networks (IPv6 tree, 24-bit records), by MaxMind DB File Format Specification 2.0.
///
/// # Panics
/// If two networks overlap.
#[must_use]
pub fn asn_database(networks: &[AsNetwork<'_>]) -> Vec<u8> {
    // A record is the number of a node, nothing, or a network.
    #[derive(Clone, Copy)]
    enum To {
        Nothing,
        Node(usize),
        Data(usize),
    }
    let mut nodes = vec![[To::Nothing; 2]];
    let mut data = Vec::new();
    for (address, prefix, number, organisation) in networks {
        let (bits, prefix) = match address {
            // IPv4 lies at the zeros of the tree.
            IpAddr::V4(ip) => (u128::from(ip.to_bits()), prefix + 96),
            IpAddr::V6(ip) => (ip.to_bits(), *prefix),
        };
        let offset = data.len();
        map(&mut data, 2);
        text(&mut data, "autonomous_system_number");
        // Type 6, four bytes.
        data.push(0xc4);
        data.extend_from_slice(&number.to_be_bytes());
        text(&mut data, "autonomous_system_organization");
        text(&mut data, organisation);
        let mut node = 0;
        for depth in 0..prefix {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            let next = nodes.len();
            let record = &mut nodes[node][side];
            if depth + 1 == prefix {
                assert!(matches!(record, To::Nothing), "networks overlap");
                *record = To::Data(offset);
            } else if let To::Node(next) = *record {
                node = next;
            } else {
                *record = To::Node(next);
                nodes.push([To::Nothing; 2]);
                node = next;
            }
        }
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match record {
            To::Nothing => count,
            To::Node(node) => *node,
            To::Data(offset) => count + 16 + offset,
        };
        file.extend_from_slice(&u32::try_from(value).expect("a small database").to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    map(&mut file, 9);
    let mut number = |name: &str, kind: u8, value: u32| {
        text(&mut file, name);
        // Types above 7 are written in a second byte, less seven.
        if kind > 7 {
            file.extend_from_slice(&[4, kind - 7])
        } else {
            file.push(kind << 5 | 4)
        };
        file.extend_from_slice(&value.to_be_bytes());
    };
    number("node_count", 6, u32::try_from(count).expect("a small database"));
    number("build_epoch", 9, 1_767_225_600);
    for (name, value) in [
        ("record_size", 24u8),
        ("ip_version", 6),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ] {
        text(&mut file, name);
        // Type 5, one byte.
        file.extend_from_slice(&[0xa1, value]);
    }
    text(&mut file, "database_type");
    text(&mut file, "Test-ASN");
    text(&mut file, "languages");
    // An empty array: type 11.
    file.extend_from_slice(&[0, 4]);
    text(&mut file, "description");
    map(&mut file, 1);
    text(&mut file, "en");
    text(&mut file, "made for a test");
    file
}

fn map(to: &mut Vec<u8>, pairs: u8) {
    to.push(0xe0 | pairs);
}

fn text(to: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()).expect("a short text") {
        short @ ..29 => to.push(0x40 | short),
        long => to.extend_from_slice(&[0x5d, long - 29]),
    }
    to.extend_from_slice(text.as_bytes());
}
