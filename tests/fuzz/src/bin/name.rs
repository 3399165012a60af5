//! Any bytes as a name: it comes out plain, in one spelling, and its registrable domain is its end.
#![no_main]

use sonde_common::decode::name::{NameBuf, TextBuf};
use sonde_common::domain::{is_popular, literal_address, registrable};
use sonde_common::event::MAX_NAME_BYTES;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let name = NameBuf::from_host(data);
    let text = name.as_str();
    assert!(text.len() <= MAX_NAME_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(
        NameBuf::from_host(&data.to_ascii_uppercase()),
        NameBuf::from_host(&data.to_ascii_lowercase())
    );
    if !name.is_truncated() && !text.contains('\\') && text != "." {
        let stripped = NameBuf::from_host(text.as_bytes());
        assert!(stripped == name || text.ends_with('.'), "{name} becomes {stripped}");
    }
    let domain = registrable(text);
    assert!(text.trim_end_matches('.').ends_with(domain), "{domain} of {text}");
    let _ = is_popular(domain);
    if let Some(ip) = literal_address(text) {
        assert_eq!(literal_address(&ip.to_string()), Some(ip));
    }
    let free = TextBuf::<32>::from_text(data);
    assert!(free.as_str().len() <= 32 && free.as_str().bytes().all(|byte| matches!(byte, b' '..=b'~')));
    // Any text may stand in an event file.
    let wild = String::from_utf8_lossy(data);
    assert!(wild.contains(registrable(&wild)));
    let _ = is_popular(&wild);
});
