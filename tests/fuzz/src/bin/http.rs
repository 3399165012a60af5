//! Any bytes as the start of a client's stream: a verdict stands whatever follows, and names come out plain.
#![no_main]

use sonde_common::decode::Probe;
use sonde_common::decode::http::{MAX_HEAD_BYTES, request, truncated_request};
use sonde_fuzz::input::Input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let split = usize::from(input.u16());
    let stream = input.rest();
    let prefix = stream.get(..split).unwrap_or(stream);
    let whole = request(stream);
    match request(prefix) {
        Probe::NeedMore { at_least } => assert!(at_least > 0 && prefix.len() < MAX_HEAD_BYTES),
        // What was cut at the cap may end differently.
        verdict if prefix.len() < MAX_HEAD_BYTES => assert_eq!(verdict, whole),
        _ => {}
    }
    for read in truncated_request(prefix).into_iter().chain(whole.parsed()) {
        for name in [&read.host, &read.proxied_host] {
            assert!(name.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
        }
        assert!(read.user_agent.as_str().bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }
});
