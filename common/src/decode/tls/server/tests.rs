//! Built handshakes of servers: whole, cut anywhere, spread over records, with lengths that lie.

use proptest::prelude::*;
use tls_parser::{TlsMessage, TlsMessageHandshake};

use super::*;

fn u24(length: usize) -> [u8; 3] {
    let [_, a, b, c] = u32::try_from(length).unwrap().to_be_bytes();
    [a, b, c]
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u24(body.len()), body].concat()
}

fn certificate(size: usize) -> Vec<u8> {
    let mut der: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
    der[0] = SEQUENCE;
    der
}

fn chain(certificates: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = certificates.iter().flat_map(|der| [&u24(der.len())[..], der].concat()).collect();
    message(CERTIFICATE, &[&u24(list.len())[..], &list].concat())
}

/// A server's hello of TLS 1.2 without extensions.
fn hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0xc0, 0x2f, 0]);
    message(SERVER_HELLO, &body)
}

fn records(messages: &[u8], size: usize) -> Vec<u8> {
    let header = |piece: &[u8]| {
        let [high, low] = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [22, 3, 3, high, low]
    };
    messages.chunks(size).flat_map(|piece| [&header(piece)[..], piece].concat()).collect()
}

fn flight(leaf: &[u8], size: usize) -> Vec<u8> {
    records(&[hello(), chain(&[leaf, &certificate(900)]), message(14, b"")].concat(), size)
}

#[test]
fn the_first_certificate_is_told_as_an_independent_reader_sees_it() {
    let leaf = certificate(1200);
    let stream = flight(&leaf, 16_384);
    let wanted = Certificate::of([leaf.as_slice()].into_iter());
    assert_eq!(server_certificate(&stream), Probe::Parsed(wanted));
    let (_, record) = tls_parser::parse_tls_plaintext(&stream).unwrap();
    let seen = record.msg.iter().find_map(|message| match message {
        TlsMessage::Handshake(TlsMessageHandshake::Certificate(chain)) => chain.cert_chain.first(),
        _ => None,
    });
    assert_eq!(seen.unwrap().data, leaf);
}

#[test]
fn messages_in_records_of_their_own_or_of_a_few_bytes_are_joined() {
    let leaf = certificate(700);
    let wanted = Probe::Parsed(Certificate::of([leaf.as_slice()].into_iter()));
    for size in [1, 2, 3, 5, 42, 43, 44, 100, 1000] {
        assert_eq!(server_certificate(&flight(&leaf, size)), wanted, "{size}");
    }
    let apart = [records(&hello(), 16_384), records(&chain(&[&leaf]), 16_384)].concat();
    assert_eq!(server_certificate(&apart), wanted);
    // What else may come between (RFC 4680).
    let between = [hello(), message(SUPPLEMENTAL_DATA, &[0; 9]), chain(&[&leaf])].concat();
    assert_eq!(server_certificate(&records(&between, 16_384)), wanted);
}

#[test]
fn every_cut_asks_for_more_until_the_certificate_is_whole() {
    let leaf = certificate(300);
    for size in [50, 16_384] {
        let stream = flight(&leaf, size);
        let whole = (0..=stream.len()).find(|&cut| server_certificate(&stream[..cut]).parsed().is_some());
        let whole = whole.unwrap();
        for cut in 0..whole {
            let Probe::NeedMore { at_least } = server_certificate(&stream[..cut]) else { panic!("{cut}") };
            assert!((1..=whole - cut).contains(&at_least), "{at_least} of {}", whole - cut);
        }
        assert!(whole < stream.len(), "what follows is not waited for");
    }
}

#[test]
fn a_server_without_a_certificate_in_clear_is_known_at_once() {
    let change_cipher = [20, 3, 3, 0, 1, 1];
    let encrypted = [23, 3, 3, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let hello_record = records(&hello(), 16_384);
    for stream in [
        [&hello_record[..], &change_cipher].concat(),
        [&hello_record[..], &encrypted].concat(),
        records(&[hello(), message(12, &[0; 40])].concat(), 16_384),
        records(&[hello(), hello()].concat(), 16_384),
        records(&chain(&[&certificate(9)]), 16_384),
        // No certificate, a raw key (RFC 7250), one that is no DER.
        records(&[hello(), chain(&[])].concat(), 16_384),
        records(&[hello(), chain(&[b""])].concat(), 16_384),
        records(&[hello(), chain(&[b"text"])].concat(), 16_384),
        b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
        vec![21, 3, 3, 0, 2, 2, 40],
    ] {
        assert_eq!(server_certificate(&stream), Probe::Mismatch, "{}", stream.escape_ascii());
    }
}

#[test]
fn lengths_that_lie_are_no_certificate_and_ask_for_nothing_endless() {
    let long = |message, list, leaf| {
        let mut body = [&[CERTIFICATE][..], &u24(message), &u24(list), &u24(leaf)].concat();
        body.resize(2000, SEQUENCE);
        server_certificate(&records(&[hello(), body].concat(), 16_384))
    };
    assert!(matches!(long(1306, 1303, 1300), Probe::Parsed(_)));
    assert_eq!(long(1306, 1304, 1300), Probe::Mismatch);
    assert_eq!(long(1306, 1303, 1301), Probe::Mismatch);
    assert_eq!(long(1306, 1303, 0), Probe::Mismatch);
    let most = MAX_CERTIFICATE_BYTES;
    assert!(matches!(long(0xff_ffff, 0xff_fffc, most), Probe::NeedMore { .. }), "a long chain");
    assert_eq!(long(0xff_ffff, 0xff_fffc, most + 1), Probe::Mismatch);
    assert_eq!(long(0xff_ffff, 0xff_fffc, 0xff_fff9), Probe::Mismatch);
    let hello = records(&[&[SERVER_HELLO, 0xff, 0xff, 0xff][..], &[0; 40]].concat(), 16_384);
    assert_eq!(server_certificate(&hello), Probe::Mismatch);
    let idle = records(&[hello_requests(), hello_requests()].concat(), 16_384);
    assert_eq!(server_certificate(&idle), Probe::Mismatch);
}

fn hello_requests() -> Vec<u8> {
    [hello(), message(HELLO_REQUEST, b"").repeat(100)].concat()
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = server_certificate(&bytes);
    }

    #[test]
    fn a_damaged_flight_is_no_panic_and_more_bytes_change_no_verdict(
        size in 1usize..400,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut stream = flight(&certificate(250), size);
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let whole = server_certificate(&stream);
        match server_certificate(&stream[..cut.index(stream.len())]) {
            Probe::NeedMore { at_least } => prop_assert!(at_least > 0),
            verdict => prop_assert_eq!(verdict, whole),
        }
    }
}
