//! Any bytes as a DNS message, and as a TCP stream of them.
#![no_main]

use sonde_common::decode::Probe;
use sonde_common::decode::dns::{MAX_ADDRESSES, message, tcp_message};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(read) = message(data) {
        assert!(read.addresses().len() <= MAX_ADDRESSES);
        assert!(read.name.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(read.is_response || read.addresses().is_empty(), "a question tells no address");
        assert!(!read.name.as_str().ends_with('.') || read.name.as_str() == ".");
    }
    let mut stream = data;
    loop {
        match tcp_message(stream) {
            Probe::Parsed((one, rest)) => {
                assert!(rest.len() < stream.len());
                let _ = message(one);
                stream = rest;
            }
            Probe::NeedMore { at_least } => {
                assert!(at_least > 0);
                break;
            }
            Probe::Mismatch => break,
        }
    }
});
