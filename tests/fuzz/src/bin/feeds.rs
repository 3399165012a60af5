//! Any bytes as a feed of any form: pieces of any size give the same, what comes out is harmless, public and within bounds,
//! and every problem is counted.
#![no_main]

use sonde_common::feed::Subject;
use sonde_common::feed::format::{
    Format, Item, MAX_LABEL_BYTES, MAX_REFERENCE_BYTES, MAX_SHOWN_BYTES, Options, Reader, Report,
};
use sonde_common::net::is_internal;
use sonde_common::text::is_plain;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&choice, file)) = data.split_first() else { return };
    let format = Format::ALL.get(usize::from(choice & 7)).copied();
    let whole = read(file, file.len().max(1), format);
    // By a size that the input itself tells.
    let pieces = read(file, usize::from(choice >> 3) * 7 + 1, format);
    assert_eq!(whole, pieces);
    let (items, report) = whole;
    let mut problems = 0;
    for item in &items {
        match item {
            Item::Problem(problem) => {
                problems += 1;
                assert!(problem.text.len() <= MAX_SHOWN_BYTES + 4 && problem.text.chars().all(is_plain));
                assert!(problem.to_string().len() < 1_000);
            }
            Item::Indicator(indicator) => {
                let note = &indicator.note;
                for (text, most) in [
                    (&note.label, MAX_LABEL_BYTES),
                    (&note.group, MAX_LABEL_BYTES),
                    (&note.software, MAX_LABEL_BYTES),
                    (&note.reference, MAX_REFERENCE_BYTES),
                ] {
                    assert!(text.len() <= most && text.chars().all(is_plain));
                }
                assert!(note.confidence.is_none_or(|value| value <= 100));
                if let (Some(from), Some(until)) = (note.valid_from, note.valid_until) {
                    assert!(from < until);
                }
                match &indicator.subject {
                    Subject::Ip(ip) => assert!(!is_internal(*ip)),
                    Subject::Network { address, prefix } => {
                        assert!(!is_internal(*address) && *prefix >= 10 && *prefix < 128);
                    }
                    Subject::Domain { name, .. } | Subject::UrlHost(name) => {
                        let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
                        assert!(name.len() <= 253 && name.contains('.') && name.bytes().all(fits), "{name}");
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(report.reasons.values().sum::<u64>(), problems);
    assert_eq!(report.indicators() + problems, items.len() as u64);
});

fn read(file: &[u8], size: usize, format: Option<Format>) -> (Vec<Item>, Report) {
    let mut items = Vec::new();
    let mut reader = Reader::new("fuzz", Options { format, ..Options::default() }).without_duplicates();
    for piece in file.chunks(size) {
        reader.feed(piece, &mut |item| items.push(item));
    }
    let report = reader.finish(&mut |item| items.push(item));
    (items, report)
}
