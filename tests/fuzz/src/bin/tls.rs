//! Any bytes as the start of a client's or a server's stream: a verdict stands whatever follows, and what is asked for is needed.
#![no_main]

use sonde_common::decode::Probe;
use sonde_common::decode::{ssh, tls};
use sonde_fuzz::input::Input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let split = usize::from(input.u16());
    let stream = input.rest();
    let prefix = stream.get(..split).unwrap_or(stream);
    let whole = tls::client_hello(stream);
    match tls::client_hello(prefix) {
        Probe::NeedMore { at_least } => {
            assert!(at_least > 0);
            let too_few = stream.get(..prefix.len() + at_least - 1).unwrap_or(prefix);
            // A record of another kind may end the hello before; then it is not whole.
            assert!(tls::client_hello(too_few).parsed().is_none_or(|hello| !hello.complete));
        }
        verdict => assert_eq!(verdict, whole),
    }
    let _ = tls::handshake_client_hello(prefix);
    let cut = [tls::truncated_client_hello(prefix), tls::truncated_handshake_client_hello(prefix)];
    for hello in cut.into_iter().flatten().chain(whole.parsed()) {
        assert!(hello.sni.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(hello.ja4.is_none_or(|ja4| ja4.as_str().len() == 36));
        assert!(hello.ja4.is_none() || hello.complete);
    }
    match tls::server_certificate(prefix) {
        Probe::NeedMore { at_least } => assert!(at_least > 0),
        verdict => assert_eq!(verdict, tls::server_certificate(stream)),
    }
    let _ = ssh::banner(prefix);
});
