//! Tests of the DNS parser: built messages, damage, and an independent implementation as encoder and oracle.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use hickory_proto::op::{Message as TheirMessage, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name as TheirName, RData, Record as TheirRecord, RecordType};
use proptest::prelude::*;

use super::*;

/// A response to `question` (as on the wire) with records as on the wire.
fn response(question: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap().to_be_bytes();
    let mut out = vec![0xbe, 0xef, 0x81, 0x80, 0, 1, count[0], count[1], 0, 0, 0, 0];
    out.extend(question);
    out.extend([0, 1, 0, 1]);
    out.extend(records.concat());
    out
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    [owner, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &len.to_be_bytes(), data].concat()
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut out: Vec<u8> = labels
        .flat_map(|label| [&[u8::try_from(label.len()).unwrap()][..], label.as_bytes()].concat())
        .collect();
    out.push(0);
    out
}

/// Pointer to the question's name.
const QUESTION: [u8; 2] = [0xc0, 12];

fn texts(message: &Message) -> Vec<String> {
    message.addresses().iter().map(ToString::to_string).collect()
}

#[test]
fn a_query_tells_what_is_asked() {
    let mut query = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(wire("WWW.Example.com"));
    query.extend([0, 28, 0, 1]);
    let message = message(&query).unwrap();
    assert_eq!((message.id, message.is_response, message.opcode, message.query_type), (0x1234, false, 0, 28));
    assert_eq!(message.name.as_str(), "www.example.com");
    assert!(message.addresses().is_empty() && message.complete);
}

#[test]
fn flags_and_code_are_told() {
    let mut answer = response(&wire("x.example"), &[]);
    answer[2] = 0x80 | 5 << 3 | 2;
    answer[3] = 3;
    let message = message(&answer).unwrap();
    assert!(message.is_response && message.is_truncated);
    assert_eq!((message.opcode, message.response_code), (5, 3));
}

#[test]
fn aliases_are_followed_in_any_order_and_strangers_are_not() {
    let records = [
        record(&wire("c.example"), TYPE_A, 30, &[192, 0, 2, 1]),
        record(&wire("B.example"), TYPE_CNAME, 20, &wire("C.example")),
        record(&wire("stranger.example"), TYPE_A, 1, &[192, 0, 2, 66]),
        record(&QUESTION, TYPE_CNAME, 90, &wire("b.EXAMPLE")),
        record(&wire("c.example"), TYPE_AAAA, 40, &Ipv6Addr::LOCALHOST.octets()),
        record(&wire("c.example"), TYPE_A, 30, &[192, 0, 2, 1]),
    ];
    let message = message(&response(&wire("a.example"), &records)).unwrap();
    assert_eq!(texts(&message), ["192.0.2.1", "::1"]);
    assert_eq!(message.ttl_secs, 20);
    assert!(message.complete);
}

#[test]
fn a_circle_of_aliases_ends() {
    let records = [
        record(&QUESTION, TYPE_CNAME, 5, &wire("b.example")),
        record(&wire("b.example"), TYPE_CNAME, 5, &wire("a.example")),
        record(&wire("b.example"), TYPE_A, 5, &[192, 0, 2, 1]),
    ];
    let message = message(&response(&wire("a.example"), &records)).unwrap();
    assert_eq!(texts(&message), ["192.0.2.1"]);
    assert!(!message.complete);
}

#[test]
fn only_so_many_links_are_followed() {
    for (links, found) in [(MAX_CNAME_LINKS, 1), (MAX_CNAME_LINKS + 1, 0)] {
        let name = |nth: usize| wire(&format!("n{nth}.example"));
        let mut records: Vec<_> =
            (0..links).rev().map(|nth| record(&name(nth), TYPE_CNAME, 5, &name(nth + 1))).collect();
        records.push(record(&name(links), TYPE_A, 5, &[192, 0, 2, 1]));
        let message = message(&response(&name(0), &records)).unwrap();
        assert_eq!(message.addresses().len(), found);
        assert_eq!(message.complete, found == 1);
    }
}

#[test]
fn addresses_and_records_stop_at_their_caps() {
    let address = |nth: u8| record(&QUESTION, TYPE_A, 5, &[192, 0, 2, nth]);
    let of = |count: u8| {
        message(&response(&wire("a.example"), &(0..count).map(address).collect::<Vec<_>>())).unwrap()
    };
    assert_eq!((of(16).addresses().len(), of(16).complete), (MAX_ADDRESSES, true));
    assert_eq!((of(17).addresses().len(), of(17).complete), (MAX_ADDRESSES, false));
    assert_eq!((of(200).addresses().len(), of(200).complete), (MAX_ADDRESSES, false));
}

#[test]
fn nothing_raw_of_a_name_leaves() {
    let question = b"\x04a.\x1bB\x02\xff\\\x03_-9\x00";
    assert_eq!(message(&response(question, &[])).unwrap().name.as_str(), "a\\046\\027b.\\255\\092._-9");
    assert_eq!(message(&response(&[0], &[])).unwrap().name.as_str(), ".");
    let long = [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62], &[0]].concat(); // labels of `?`, the last of `=`, 255 bytes
    let name = message(&response(&long, &[])).unwrap().name;
    assert!(name.is_truncated() && name.as_str().len() <= 255, "{name:?}");
    assert!(name.as_str().ends_with("\\061"), "its end is kept: {name:?}");
}

#[test]
fn pointers_lead_back_or_nowhere() {
    let after = 12 + wire("a.example").len() + 4; // offset of the first record
    let low = u8::try_from(after).unwrap();
    for owner in [[0xc0, low], [0xc0, low + 2], [0xc0, 0xff], [0x40, 0], [0x80, 0]] {
        let message =
            message(&response(&wire("a.example"), &[record(&owner, TYPE_A, 5, &[1, 1, 1, 1])])).unwrap();
        assert!(!message.complete && message.addresses().is_empty(), "{owner:x?}");
        assert_eq!(message.name.as_str(), "a.example");
    }
    // A question that points forward, or to itself, is no name at all.
    assert_eq!(message(&response(&[0xc0, 12], &[])), Err(DnsError::Name { offset: 12 }));
    assert_eq!(message(&response(&[0xc0, 14, 1, b'a', 0], &[])), Err(DnsError::Name { offset: 12 }));
    // A pointer into the middle of an earlier name, with a label before it.
    let records = [
        record(&QUESTION, TYPE_CNAME, 5, &[1, b'b', 0xc0, 14]),
        record(&[1, b'B', 0xc0, 14], TYPE_A, 5, &[192, 0, 2, 1]),
    ];
    assert_eq!(texts(&message(&response(&wire("a.example"), &records)).unwrap()), ["192.0.2.1"]);
}

#[test]
fn a_chain_of_pointers_is_bounded() {
    // Question name, then a run of records whose owner points to the owner before.
    let records = |count: u16| {
        let first = u16::try_from(12 + wire("a.example").len() + 4).unwrap();
        (0..count)
            .map(|nth| {
                let target = if nth == 0 { 12 } else { first + (nth - 1) * 16 };
                record(&(0xc000 | target).to_be_bytes(), TYPE_A, 5, &[192, 0, 2, 1])
            })
            .collect::<Vec<_>>()
    };
    let bound = u16::try_from(MAX_POINTERS).unwrap();
    assert!(message(&response(&wire("a.example"), &records(bound))).unwrap().complete);
    assert_eq!(texts(&message(&response(&wire("a.example"), &records(60))).unwrap()), ["192.0.2.1"]);
}

#[test]
fn truncated_answer_is_partial_not_error() {
    let records = [
        record(&QUESTION, TYPE_CNAME, 9, &wire("b.example")),
        record(&wire("b.example"), TYPE_A, 7, &[192, 0, 2, 1]),
        record(&wire("b.example"), TYPE_A, 7, &[192, 0, 2, 2]),
    ];
    let whole = response(&wire("a.example"), &records);
    let question_end = 12 + wire("a.example").len() + 4;
    for len in 0..whole.len() {
        match message(&whole[..len]) {
            Ok(message) => {
                assert!(len >= question_end && !message.complete, "{len}");
                assert!(
                    texts(&message).iter().zip(["192.0.2.1", "192.0.2.2"]).all(|(ours, built)| ours == built)
                );
            }
            Err(error) => {
                assert!(len < question_end && matches!(error, DnsError::Truncated { had, .. } if had == len))
            }
        }
    }
    assert_eq!(texts(&message(&whole).unwrap()).len(), 2);
}

#[test]
fn records_of_a_wrong_length_are_no_addresses() {
    for (kind, data) in [(TYPE_A, &[1, 2, 3][..]), (TYPE_AAAA, &[0; 15][..]), (TYPE_A, &[1; 5][..])] {
        let message = message(&response(&wire("a.example"), &[record(&QUESTION, kind, 5, data)])).unwrap();
        assert!(message.addresses().is_empty() && !message.complete);
    }
}

#[test]
fn a_negative_time_to_live_is_zero() {
    let records = [record(&QUESTION, TYPE_A, 0x8000_0001, &[192, 0, 2, 1])];
    assert_eq!(message(&response(&wire("a.example"), &records)).unwrap().ttl_secs, 0);
}

#[test]
fn tcp_messages_are_cut_at_their_length() {
    let payload = response(&wire("a.example"), &[]);
    let framed = [&u16::try_from(payload.len()).unwrap().to_be_bytes()[..], &payload].concat();
    let stream = [&framed[..], &[0, 20]].concat();
    assert_eq!(tcp_message(&stream), Probe::Parsed((&payload[..], &[0, 20][..])));
    for len in 2..framed.len() {
        assert_eq!(tcp_message(&framed[..len]), Probe::NeedMore { at_least: framed.len() - len });
    }
    assert_eq!(tcp_message(&[]), Probe::NeedMore { at_least: 2 });
    assert_eq!(tcp_message(&[0, 11]), Probe::Mismatch);
}

/// A few names, so that chains and repetitions come about.
fn any_name() -> impl Strategy<Value = String> {
    (0u8..6, any::<bool>()).prop_map(|(nth, upper)| {
        let name = format!("n{nth}.sub{}.example.", nth % 2);
        if upper { name.to_uppercase() } else { name }
    })
}

fn any_record() -> impl Strategy<Value = TheirRecord> {
    let data = prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| RData::A(A(Ipv4Addr::from(ip)))),
        any::<[u8; 16]>().prop_map(|ip| RData::AAAA(AAAA(Ipv6Addr::from(ip)))),
        any_name().prop_map(|name| RData::CNAME(CNAME(TheirName::from_str(&name).unwrap()))),
        "[a-z]{0,20}".prop_map(|text| RData::TXT(TXT::new(vec![text]))),
    ];
    (any_name(), 0u32..100_000, data)
        .prop_map(|(name, ttl, data)| TheirRecord::from_rdata(TheirName::from_str(&name).unwrap(), ttl, data))
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = message(&bytes);
        let _ = tcp_message(&bytes);
        let mut likely = vec![0, 0, 0x80, 0, 0, 1, 0, 9, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];
        likely.extend(bytes);
        prop_assert!(message(&likely).is_ok());
    }

    #[test]
    fn any_damage_returns(records in proptest::collection::vec(any_record(), 0..8), at in 0usize..200, value in any::<u8>()) {
        let mut their = TheirMessage::new(7, MessageType::Response, OpCode::Query);
        their.add_query(Query::query(TheirName::from_str("n0.sub0.example.").unwrap(), RecordType::A));
        their.add_answers(records);
        let mut bytes = their.to_vec().unwrap();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        let _ = message(&bytes);
    }

    /// Names that hickory writes come back.
    #[test]
    fn names_round_trip(labels in proptest::collection::vec("[a-zA-Z0-9_]{1,40}", 1..6)) {
        let text = labels.join(".");
        let mut query = TheirMessage::new(1, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(TheirName::from_str(&format!("{text}.")).unwrap(), RecordType::TXT));
        let ours = message(&query.to_vec().unwrap()).unwrap();
        prop_assert_eq!(ours.name.as_str(), text.to_ascii_lowercase());
        prop_assert_eq!(ours.query_type, 16);
    }

    /// hickory writes the message with its own compression and reads it back; the chain is followed over its records.
    #[test]
    fn fields_equal_those_of_hickory(
        id in any::<u16>(), code in 0u16..11, name in any_name(), records in proptest::collection::vec(any_record(), 0..16),
    ) {
        let mut their = TheirMessage::new(id, MessageType::Response, OpCode::Query);
        their.metadata.response_code = ResponseCode::from(0, u8::try_from(code).unwrap());
        their.add_query(Query::query(TheirName::from_str(&name).unwrap(), RecordType::A));
        their.add_answers(records);
        let bytes = their.to_vec().unwrap();
        let ours = message(&bytes).unwrap();
        let their = TheirMessage::from_vec(&bytes).unwrap();

        prop_assert_eq!(ours.id, their.metadata.id);
        prop_assert_eq!(ours.response_code, code);
        let plain = |name: &TheirName| name.to_lowercase().to_string().trim_end_matches('.').to_owned();
        let asked = plain(&their.queries[0].name);
        prop_assert_eq!(ours.name.as_str(), &asked);

        let mut chain = vec![asked];
        while let Some(target) = their.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if plain(&record.name) == *chain.last().unwrap() => Some(plain(&target.0)),
            _ => None,
        }) {
            if chain.contains(&target) {
                break;
            }
            chain.push(target);
        }
        let reached: Vec<_> = their.answers.iter().filter(|record| chain.contains(&plain(&record.name))).collect();
        let addresses: BTreeSet<IpAddr> = reached.iter().filter_map(|record| record.data.ip_addr()).collect();
        prop_assert_eq!(ours.addresses().iter().copied().collect::<BTreeSet<_>>(), addresses);
        prop_assert_eq!(ours.ttl_secs, reached.iter().map(|record| record.ttl).min().unwrap_or(0));
    }
}
