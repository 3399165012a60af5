//! Tests of the Initial packets: the vectors of RFC 9001 and RFC 9369, and hellos cut into packets and frames.

use proptest::prelude::*;

use super::*;
use crate::decode::tls;

const V1: u32 = 1;
const V2: u32 = 0x6b33_43cf;
/// Destination connection id of both RFCs' examples.
const DESTINATION: &str = "8394c8f03e515708";

/// CRYPTO frame of the client's first packet in RFC 9001 appendix A.2 and RFC 9369 appendix A.2.
const CRYPTO_FRAME: &str = "\
060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868\
04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578\
616d706c652e636f6dff01000100000a00080006001d00170018001000070005\
04616c706e000500050100000000003300260024001d00209370b2c9caa47fba\
baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400\
0d0010000e0403050306030203080408050806002d00020101001c0002400100\
3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000\
75300901100f088394c8f03e51570806048000ffff";

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn keys(key: &str, iv: &str, header: &str) -> ClientKeys {
    ClientKeys {
        key: hex(key).try_into().unwrap(),
        iv: hex(iv).try_into().unwrap(),
        header: hex(header).try_into().unwrap(),
    }
}

/// Seals a packet whose header ends in a packet number of four bytes, the opposite of what is tested.
fn seal(keys: &ClientKeys, header: &[u8], plain: &[u8]) -> Vec<u8> {
    let (before, number) = header.split_last_chunk::<4>().unwrap();
    let mut nonce = keys.iv;
    nonce.iter_mut().rev().zip(number.iter().rev()).for_each(|(byte, number)| *byte ^= number);
    let mut body = plain.to_vec();
    let tag = Aes128Gcm::new(&keys.key.into())
        .encrypt_inout_detached(&nonce.into(), header, body.as_mut_slice().into())
        .unwrap();
    body.extend(tag);
    let sample: [u8; 16] = body[..16].try_into().unwrap();
    let mut mask = sample.into();
    Aes128::new(&keys.header.into()).encrypt_block(&mut mask);
    let mut out = [before, number, &body].concat();
    out[0] ^= mask[0] & 0x0f;
    for nth in 0..4 {
        out[before.len() + nth] ^= mask[1 + nth];
    }
    out
}

/// An Initial packet of the client.
fn initial(version: u32, keys_of: &[u8], destination: &[u8], number: u32, plain: &[u8]) -> Vec<u8> {
    let first = 0xc3 | Version::of(version).unwrap().initial_type << 4;
    let mut header = vec![first];
    header.extend(version.to_be_bytes());
    header.push(u8::try_from(destination.len()).unwrap());
    header.extend(destination);
    header.extend([0, 0]);
    header.extend((0x4000 | u16::try_from(plain.len() + 4 + TAG_BYTES).unwrap()).to_be_bytes());
    header.extend(number.to_be_bytes());
    seal(&ClientKeys::derive(version, keys_of).unwrap(), &header, plain)
}

fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
    let varint = |value: usize| (0x8000_0000 | u32::try_from(value).unwrap()).to_be_bytes();
    [&[6][..], &varint(offset), &varint(data.len()), data].concat()
}

/// A hello of the RFC's form with a filler of so many bytes at its end.
fn hello(filler: usize) -> Vec<u8> {
    let rfc = hex(CRYPTO_FRAME);
    let mut body = rfc[8..].to_vec();
    let extensions_at = 2 + 32 + 1 + 2 + 4 + 2;
    let extensions_len = u16::from_be_bytes([body[extensions_at], body[extensions_at + 1]]);
    let filler_len = u16::try_from(filler).unwrap();
    body.extend([0, 21]);
    body.extend(filler_len.to_be_bytes());
    body.extend((0..filler).map(|nth| u8::try_from(nth % 251).unwrap()));
    body[extensions_at..extensions_at + 2].copy_from_slice(&(extensions_len + 4 + filler_len).to_be_bytes());
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1, len[1], len[2], len[3]][..], &body].concat()
}

/// The tag covers every byte of the packet, so that equal tags mean equal packets.
fn check_published(version: u32, published: &ClientKeys, header: &str, protected: &str, tag: &str) {
    let derived = ClientKeys::derive(version, &hex(DESTINATION)).unwrap();
    assert_eq!((derived.key, derived.iv, derived.header), (published.key, published.iv, published.header));
    let mut plain = hex(CRYPTO_FRAME);
    plain.resize(1162, 0);
    let packet = seal(published, &hex(header), &plain);
    assert_eq!(packet.len(), 1200);
    assert_eq!(packet[..24], hex(protected));
    assert_eq!(packet[1184..], hex(tag));

    let mut assembler = InitialAssembler::new();
    let Progress::Complete(message) = assembler.push(&packet) else { panic!("not complete") };
    assert_eq!(message, &hex(CRYPTO_FRAME)[4..]);
    let hello = tls::handshake_client_hello(message).parsed().unwrap();
    assert_eq!((hello.sni.as_str(), hello.alpn.as_str(), hello.version), ("example.com", "alpn", 0x0304));
    assert!(hello.ja4.unwrap().as_str().starts_with("q13d0211an_"), "{:?}", hello.ja4);
}

#[test]
fn version_1_equals_rfc_9001_appendix_a() {
    check_published(
        V1,
        &keys(
            "1f369613dd76d5467730efcbe3b1a22d",
            "fa044b2f42a3fd3b46fb255c",
            "9f50449e04a0e810283a1e9933adedd2",
        ),
        "c300000001088394c8f03e5157080000449e00000002",
        "c000000001088394c8f03e5157080000449e7b9aec34d1b1",
        "e221af44860018ab0856972e194cd934",
    );
}

#[test]
fn version_2_equals_rfc_9369_appendix_a() {
    check_published(
        V2,
        &keys(
            "8b1a0bc121284290a29e0971b5cd045d",
            "91f73e2351d8fa91660e909f",
            "45b95e15235d6f45a6b19cbcb0294ba9",
        ),
        "d36b3343cf088394c8f03e5157080000449e00000002",
        "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe6",
        "a18b2faa745b6fe189cf772a9f84cbfc",
    );
}

/// The server's Initial of RFC 9001 appendix A.3 is sealed with other keys.
#[test]
fn the_servers_packets_are_not_read() {
    let server = hex("cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a\
5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3\
dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84\
022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc4\
2158407dd074ee");
    assert_eq!(InitialAssembler::new().push(&server), Progress::Unreadable);
    let mut assembler = InitialAssembler::new();
    assert_eq!(
        assembler.push(&initial(V1, &hex(DESTINATION), &hex(DESTINATION), 0, &crypto(0, &hello(9)[..40]))),
        Progress::NeedMore
    );
    assert_eq!(assembler.push(&server), Progress::Unreadable);
    assert_eq!(assembler.prefix().len(), 40, "what was there stays");
}

#[test]
fn a_hello_in_shuffled_frames_over_several_packets_is_joined() {
    let hello = hello(2000);
    for version in [V1, V2, 0xff00_001d] {
        let mut assembler = InitialAssembler::new();
        let destination = b"\x01\x02\x03\x04\x05\x06\x07\x08";
        // The last part first; then with an ACK, a PING and padding; the second to the id that the server chose.
        let one = initial(version, destination, destination, 0, &crypto(900, &hello[900..1900]));
        let ack =
            [&[1, 2, 5, 0, 1, 0, 0, 0, 3, 1, 0, 0, 0, 1, 1, 1, 0, 0][..], &crypto(1900, &hello[1900..])]
                .concat();
        let two = initial(version, destination, b"server", 1, &ack);
        let three = initial(
            version,
            destination,
            b"server",
            2,
            &[crypto(400, &hello[400..950]), crypto(0, &hello[..400])].concat(),
        );
        assert_eq!(assembler.push(&one), Progress::NeedMore);
        assert_eq!(assembler.prefix(), b"");
        // Coalesced in one datagram.
        assert_eq!(assembler.push(&[two, three].concat()), Progress::Complete(&hello), "version {version:x}");
    }
}

#[test]
fn after_a_retry_the_keys_are_made_anew() {
    let hello = hello(100);
    let mut assembler = InitialAssembler::new();
    assert_eq!(
        assembler.push(&initial(V1, b"first", b"first", 0, &crypto(0, &hello[..200]))),
        Progress::NeedMore
    );
    assert_eq!(
        assembler.push(&initial(V1, b"retry", b"retry", 1, &crypto(0, &hello))),
        Progress::Complete(&hello)
    );
}

#[test]
fn a_packet_behind_a_zero_rtt_packet_is_found() {
    let mut zero_rtt = vec![0xd0, 0, 0, 0, 1, 1, 7, 0, 0x40, 50];
    zero_rtt.extend([0x55; 50]);
    let hello = hello(9);
    let datagram = [zero_rtt, initial(V1, b"x", b"x", 0, &crypto(0, &hello)), vec![0; 30]].concat();
    assert_eq!(InitialAssembler::new().push(&datagram), Progress::Complete(&hello));
}

#[test]
fn a_cut_packet_still_gives_its_beginning() {
    let hello = hello(700);
    let packet = initial(V1, b"abcdefgh", b"abcdefgh", 0, &crypto(0, &hello));
    // Header and its sample must be there; a packet cut within its tag is given up.
    let readable = 38..=packet.len() - TAG_BYTES;
    for len in 0..packet.len() {
        let mut assembler = InitialAssembler::new();
        match assembler.push(&packet[..len]) {
            Progress::NeedMore | Progress::Complete(_) => {
                assert!(readable.contains(&len), "{len}");
                assert_eq!(assembler.prefix(), &hello[..assembler.prefix().len()]);
            }
            progress => {
                assert_eq!(progress, Progress::Unreadable);
                assert!(!readable.contains(&len), "{len}");
            }
        }
    }
    let mut assembler = InitialAssembler::new();
    assert_eq!(assembler.push(&packet[..256]), Progress::NeedMore);
    let partial = tls::truncated_handshake_client_hello(assembler.prefix()).unwrap();
    assert_eq!(partial.sni.as_str(), "example.com");
    assert!(partial.ja4.is_none());
}

#[test]
fn damaged_packets_are_unreadable() {
    let packet = initial(V1, b"abcdefgh", b"abcdefgh", 0, &crypto(0, &hello(9)));
    // With another length it would be a cut packet, which is read without authentication.
    let length = 16..18;
    for at in (0..packet.len()).filter(|at| !length.contains(at)) {
        let mut damaged = packet.clone();
        damaged[at] ^= 0x10;
        assert_eq!(InitialAssembler::new().push(&damaged), Progress::Unreadable, "byte {at}");
    }
}

#[test]
fn a_hello_beyond_the_cap_is_too_long_and_keeps_its_beginning() {
    let hello = hello(9000);
    let mut assembler = InitialAssembler::new();
    for (number, piece) in hello.chunks(1000).enumerate() {
        assembler.push(&initial(
            V1,
            b"x",
            b"x",
            u32::try_from(number).unwrap(),
            &crypto(number * 1000, piece),
        ));
    }
    assert_eq!(assembler.push(&initial(V1, b"x", b"x", 99, &[1])), Progress::TooLong);
    assert_eq!(assembler.prefix(), &hello[..MAX_CRYPTO_BYTES]);
    assembler.reset();
    assert_eq!(assembler.prefix(), b"");
}

#[test]
fn a_frame_that_cannot_be_ends_the_packet_quietly() {
    let hello = hello(9);
    let huge = [&[6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 7][..], &crypto(0, &hello)].concat();
    assert_eq!(InitialAssembler::new().push(&initial(V1, b"x", b"x", 0, &huge)), Progress::Complete(&hello));
    let stream = [&[8, 1][..], &crypto(0, &hello)].concat();
    assert_eq!(InitialAssembler::new().push(&initial(V1, b"x", b"x", 0, &stream)), Progress::NeedMore);
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0usize..3) {
        let mut assembler = InitialAssembler::new();
        assembler.push(&bytes);
        let mut likely = vec![0xc0];
        likely.extend([V1, V2, 0xff00_001d][version].to_be_bytes());
        likely.extend(&bytes);
        assembler.push(&likely);
        assembler.push(&initial(V1, b"x", b"x", 0, &bytes));
        prop_assert!(assembler.prefix().len() <= MAX_CRYPTO_BYTES);
    }

    #[test]
    fn any_cut_and_order_gives_the_hello_back(
        filler in 0usize..3000,
        mut cuts in proptest::collection::vec(0usize..3200, 0..12),
        order in any::<u64>(),
        overlap in 0usize..40,
    ) {
        let hello = hello(filler);
        cuts.extend([0, hello.len()]);
        cuts.retain(|&cut| cut <= hello.len());
        cuts.sort_unstable();
        let mut pieces: Vec<_> = cuts.windows(2).map(|ends| (ends[0], (ends[1] + overlap).min(hello.len()))).collect();
        pieces.sort_by_key(|&(from, _)| (from as u64 ^ order).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut assembler = InitialAssembler::new();
        let last = pieces.len() - 1;
        for (number, (from, to)) in pieces.into_iter().enumerate() {
            for (part, chunk) in hello[from..to].chunks(1100).enumerate() {
                let frame = crypto(from + part * 1100, chunk);
                assembler.push(&initial(V2, b"id", b"id", u32::try_from(number).unwrap(), &frame));
            }
            if number == last {
                prop_assert_eq!(assembler.prefix(), &hello);
            }
        }
        prop_assert_eq!(assembler.push(&initial(V2, b"id", b"id", 99, &[0; 20])), Progress::Complete(&hello));
    }
}
