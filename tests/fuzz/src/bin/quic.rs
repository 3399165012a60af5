//! Datagrams of one QUIC connection: as they come, or as frames that are protected as a client would.
#![no_main]

use sonde_common::decode::quic::{InitialAssembler, Progress};
use sonde_common::decode::tls;
use sonde_fuzz::input::Input;
use sonde_tests::payload::{QuicInitial, QuicSide};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mut assembler = InitialAssembler::new();
    let mut datagram = Vec::new();
    for number in 0..64 {
        if input.is_empty() {
            break;
        }
        let how = input.u8();
        let length = usize::from(input.u16() & 0x7ff);
        datagram.clear();
        if how & 1 == 0 {
            datagram.extend_from_slice(input.take(length));
        } else {
            let id = [how >> 2 & 3; 8];
            let (destination_id, source_id) =
                if how & 2 == 0 { (&id[..], &[][..]) } else { (&[9; 20][..], &id[..]) };
            let frames = input.take(length);
            let side = if how & 0x20 == 0 { QuicSide::Client } else { QuicSide::Server };
            let initial =
                QuicInitial { side, original_id: &id, destination_id, source_id, token: &[], number, frames };
            initial.protect(&mut datagram, 0);
            if how & 0x40 != 0 {
                // Another packet behind it in the same datagram.
                initial.protect(&mut datagram, usize::from(how));
            }
        }
        if how == 0x80 {
            assembler.reset();
        }
        let length = match assembler.push(&datagram) {
            Progress::Complete(message) => {
                let hello = tls::handshake_client_hello(message).parsed();
                assert!(
                    hello.is_none_or(|hello| hello.sni.as_str().bytes().all(|byte| byte.is_ascii_graphic()))
                );
                message.len()
            }
            Progress::TooLong => {
                let _ = tls::truncated_handshake_client_hello(assembler.prefix());
                0
            }
            Progress::NeedMore | Progress::Unreadable => 0,
        };
        assert!(length <= assembler.prefix().len());
    }
});
