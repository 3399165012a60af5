//! Any lines as events: what can be read is written and read again as the same, in the same words.
#![no_main]

use sonde_common::format::events::{EventParser, looks_like_events, write_line};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (mut parser, mut again) = (EventParser::new(), EventParser::new());
    let (mut written, mut rewritten) = (Vec::new(), Vec::new());
    for line in data.split(|&byte| byte == b'\n').take(256) {
        match parser.parse_line(line) {
            Ok(Some(observation)) => {
                written.clear();
                write_line(&observation, &mut written);
                let text = written.strip_suffix(b"\n").expect("a line ends");
                assert!(!text.contains(&b'\n'));
                let read = again.parse_line(text).expect("what is written can be read").expect("an event");
                assert_eq!(format!("{observation:?}"), format!("{read:?}"));
                rewritten.clear();
                write_line(&read, &mut rewritten);
                assert_eq!(written, rewritten);
                assert!(looks_like_events(line));
            }
            Ok(None) => {}
            Err(error) => assert!(error.to_string().len() < 500, "{error}"),
        }
    }
    assert_eq!(again.cut(), 0, "what was cut once is short enough");
});
