//! Tests of the ClientHello parser: built hellos, every cut of them, an independent parser, published fingerprints.

use proptest::prelude::*;
use tls_parser::{TlsExtension, TlsMessage, TlsMessageHandshake};

use super::*;

fn vec16(body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap();
    [&len.to_be_bytes()[..], body].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vec16(body)].concat()
}

fn u16s(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn server_name(host: &[u8]) -> Vec<u8> {
    extension(0, &vec16(&[&[HOST_NAME][..], &vec16(host)].concat()))
}

fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> =
        protocols.iter().flat_map(|p| [&[u8::try_from(p.len()).unwrap()][..], p].concat()).collect();
    extension(16, &vec16(&list))
}

fn supported_versions(versions: &[u16]) -> Vec<u8> {
    let list = u16s(versions);
    extension(0x2b, &[&[u8::try_from(list.len()).unwrap()][..], &list].concat())
}

fn message(ciphers: &[u16], extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([4, 9, 9, 9, 9]);
    body.extend(vec16(&u16s(ciphers)));
    body.extend([1, 0]);
    body.extend(extensions.map(vec16).unwrap_or_default());
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO, len[1], len[2], len[3]][..], &body].concat()
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|piece| [&[RECORD_HANDSHAKE, 3, 1][..], &vec16(piece)].concat()).collect()
}

fn typical() -> Vec<u8> {
    let extensions = [
        extension(0x2a2a, &[]),
        server_name(b"WWW.Example.com"),
        extension(0x17, &[]),
        alpn(&[b"h2", b"http/1.1"]),
        extension(0x0d, &vec16(&u16s(&[0x0403, 0x0804]))),
        supported_versions(&[0x4a4a, 0x0304, 0x0303]),
    ]
    .concat();
    message(&[0x1a1a, 0x1301, 0x1302, 0xc02b], Some(&extensions))
}

#[test]
fn a_hello_tells_name_protocol_versions_and_fingerprint() {
    let hello = client_hello(&records(&typical(), 1 << 14)).parsed().unwrap();
    assert_eq!(hello.sni.as_str(), "www.example.com");
    assert_eq!(hello.alpn.as_str(), "h2");
    assert_eq!((hello.legacy_version, hello.version), (0x0303, 0x0304));
    assert!(hello.complete);
    assert!(hello.ja4.unwrap().as_str().starts_with("t13d0305h2_"), "{:?}", hello.ja4);
    let quic = handshake_client_hello(&typical()).parsed().unwrap().ja4.unwrap();
    assert_eq!(quic.as_str()[1..], hello.ja4.unwrap().as_str()[1..]);
    assert!(quic.as_str().starts_with('q'));
}

#[test]
fn a_hello_without_extensions_is_whole() {
    let hello = client_hello(&records(&message(&[0x002f], None), 1 << 14)).parsed().unwrap();
    assert!(hello.complete && hello.sni.is_empty());
    assert!(hello.ja4.unwrap().as_str().ends_with("_000000000000"));
    assert!(hello.ja4.unwrap().as_str().starts_with("t12i010000_"));
}

#[test]
fn what_is_missing_is_told_exactly_within_one_record() {
    let stream = records(&typical(), 1 << 14);
    for len in 9..stream.len() {
        let missing = stream.len() - len;
        assert_eq!(client_hello(&stream[..len]), Probe::NeedMore { at_least: missing });
    }
}

/// Reading on by what is asked for always gets there and never beyond, however the records are cut.
#[test]
fn following_need_more_never_overshoots() {
    for size in [1, 2, 3, 5, 50, 64, 1000] {
        let stream = records(&typical(), size);
        let mut len = 0;
        let hello = loop {
            match client_hello(&stream[..len]) {
                Probe::Parsed(hello) => break hello,
                Probe::NeedMore { at_least } => {
                    assert!(
                        at_least > 0 && len + at_least <= stream.len(),
                        "size {size}, len {len}, {at_least}"
                    );
                    len += at_least;
                }
                Probe::Mismatch => panic!("size {size}, len {len}"),
            }
        };
        assert_eq!(len, stream.len());
        assert_eq!(Some(hello), client_hello(&records(&typical(), 1 << 14)).parsed());
    }
}

#[test]
fn truncated_hello_is_partial_not_error() {
    for size in [40, 1 << 14] {
        let stream = records(&typical(), size);
        let whole = client_hello(&stream).parsed().unwrap();
        let mut named = 0;
        for len in 0..stream.len() {
            let Some(hello) = truncated_client_hello(&stream[..len]) else { continue };
            assert!(!hello.complete && hello.ja4.is_none());
            assert!(hello.sni.is_empty() || hello.sni == whole.sni, "never half a name");
            named += usize::from(!hello.sni.is_empty());
        }
        assert!(named > 30, "{named}");
        assert_eq!(truncated_client_hello(&stream), Some(whole));
    }
}

#[test]
fn a_hello_longer_than_the_cap_still_gives_its_name() {
    let extensions = [server_name(b"big.example"), extension(0x15, &[0; 20_000])].concat();
    let stream = records(&message(&[0x1301], Some(&extensions)), 1 << 14);
    assert!(
        matches!(client_hello(&stream[..MAX_HELLO_BYTES]), Probe::NeedMore { at_least } if at_least > 3_000)
    );
    for part in [&stream[..MAX_HELLO_BYTES], &stream[..]] {
        let hello = truncated_client_hello(part).unwrap();
        assert_eq!(hello.sni.as_str(), "big.example");
        assert!(!hello.complete);
    }
}

#[test]
fn another_record_in_the_middle_leaves_what_there_is() {
    let message = typical();
    let mut stream = records(&message[..message.len() - 20], 1 << 14);
    stream.extend([21, 3, 1, 0, 2, 2, 40]);
    let hello = client_hello(&stream).parsed().unwrap();
    assert_eq!(hello.sni.as_str(), "www.example.com");
    assert!(!hello.complete && hello.ja4.is_none());
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    for stream in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x",
        &[22, 2],
        &[22, 3, 9],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0xff, 0xff],
        &[23, 3, 3, 0, 9],
        &[22, 3, 3, 0, 90, 2, 0, 0, 86],
        &[22, 3, 1, 0, 6, 1, 0, 0, 2, 9, 9],
    ] {
        assert_eq!(client_hello(stream), Probe::Mismatch, "{stream:x?}");
        assert_eq!(truncated_client_hello(stream), None);
    }
    assert_eq!(client_hello(&[]), Probe::NeedMore { at_least: 9 });
}

#[test]
fn lists_that_overrun_their_extension_do_not_hide_the_name() {
    let extensions = [
        extension(0x2b, &[200, 3, 4]),
        extension(0x10, &[0, 90, 2, b'h']),
        extension(0x0d, &[0, 99]),
        server_name(b"still.example"),
    ]
    .concat();
    let hello = handshake_client_hello(&message(&[0x1301], Some(&extensions))).parsed().unwrap();
    assert_eq!(hello.sni.as_str(), "still.example");
    assert_eq!(hello.version, 0x0303);
    assert!(hello.alpn.is_empty());
}

fn any_hello() -> impl Strategy<Value = (Vec<u16>, Vec<Vec<u8>>)> {
    let extension = prop_oneof![
        "[a-z0-9.-]{1,60}".prop_map(|host| server_name(host.as_bytes())),
        proptest::collection::vec("[a-z0-9/.]{1,9}", 1..4)
            .prop_map(|list| alpn(&list.iter().map(String::as_bytes).collect::<Vec<_>>())),
        proptest::collection::vec(any::<u16>(), 1..20).prop_map(|list| extension(0x0d, &vec16(&u16s(&list)))),
        proptest::collection::vec(0x0300u16..0x0306, 1..6).prop_map(|list| supported_versions(&list)),
        // Extensions that the oracle reads by their own form, and stops at where it is broken: renegotiation_info, encrypted_server_name.
        (0x4000u16.., proptest::collection::vec(any::<u8>(), 0..30))
            .prop_filter("a form of its own", |(kind, _)| ![0xff01, 0xffce].contains(kind))
            .prop_map(|(kind, body)| extension(kind, &body)),
    ];
    (proptest::collection::vec(any::<u16>(), 0..40), proptest::collection::vec(extension, 0..12))
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = client_hello(&bytes);
        let _ = truncated_client_hello(&bytes);
        let _ = handshake_client_hello(&bytes);
        let _ = truncated_handshake_client_hello(&bytes);
    }

    #[test]
    fn any_damage_returns(
        at in 0usize..200, value in any::<u8>(), cut in 0usize..200, size in 1usize..300,
    ) {
        let mut stream = records(&typical(), size);
        if let Some(byte) = stream.get_mut(at) {
            *byte = value;
        }
        let stream = &stream[..cut.min(stream.len())];
        if let Probe::NeedMore { at_least } = client_hello(stream) {
            prop_assert!(at_least > 0);
        }
        let _ = truncated_client_hello(stream);
    }

    #[test]
    fn record_boundaries_change_nothing((ciphers, extensions) in any_hello(), size in 1usize..400) {
        let message = message(&ciphers, Some(&extensions.concat()));
        let one = client_hello(&records(&message, 1 << 14)).parsed();
        prop_assert!(one.as_ref().is_some_and(|hello| hello.complete && hello.ja4.is_some()));
        prop_assert_eq!(client_hello(&records(&message, size)).parsed(), one);
    }

    /// Extensions in another order are the same client, unless one of a kind that counts by position is doubled.
    #[test]
    fn order_of_ciphers_and_extensions_does_not_change_the_fingerprint((mut ciphers, mut extensions) in any_hello()) {
        extensions.sort();
        extensions.dedup_by_key(|extension| extension[..2].to_vec());
        let before = handshake_client_hello(&message(&ciphers, Some(&extensions.concat()))).parsed().unwrap().ja4;
        extensions.reverse();
        ciphers.reverse();
        let after = handshake_client_hello(&message(&ciphers, Some(&extensions.concat()))).parsed().unwrap().ja4;
        prop_assert_eq!(before, after);
    }

    /// The same fields as an independent parser finds.
    #[test]
    fn fields_equal_those_of_tls_parser((ciphers, extensions) in any_hello()) {
        let block = extensions.concat();
        let stream = records(&message(&ciphers, Some(&block)), 1 << 14);
        let ours = client_hello(&stream).parsed().unwrap();

        let (_, record) = tls_parser::parse_tls_plaintext(&stream).unwrap();
        let Some(TlsMessage::Handshake(TlsMessageHandshake::ClientHello(theirs))) = record.msg.first() else {
            panic!("no hello: {record:?}");
        };
        prop_assert_eq!(ours.legacy_version, theirs.version.0);
        let count = theirs.ciphers.iter().filter(|cipher| !ja4::is_grease(cipher.0)).count();
        let ja4 = ours.ja4.unwrap();
        prop_assert_eq!(&ja4.as_str()[4..6], format!("{count:02}"));

        let list = theirs.ext.map(|ext| tls_parser::parse_tls_client_hello_extensions(ext).unwrap().1).unwrap_or_default();
        let host = list.iter().find_map(|extension| match extension {
            TlsExtension::SNI(names) => names.first().map(|name| name.1),
            _ => None,
        });
        prop_assert_eq!(ours.sni, host.map(NameBuf::from_host).unwrap_or_default());
        let protocol = list.iter().find_map(|extension| match extension {
            TlsExtension::ALPN(list) => list.first().copied(),
            _ => None,
        });
        prop_assert_eq!(ours.alpn, protocol.map(TextBuf::from_text).unwrap_or_default());
        let highest = list.iter().find_map(|extension| match extension {
            TlsExtension::SupportedVersions(list) => list.iter().map(|version| version.0).max(),
            _ => None,
        });
        prop_assert_eq!(ours.version, highest.unwrap_or(ours.legacy_version));
    }
}
