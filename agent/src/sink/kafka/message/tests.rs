//! Our bytes, read and written by an independent implementation of the protocol; and replies that are no replies.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use kafka_protocol::messages::{
    BrokerId, InitProducerIdRequest, MetadataRequest, ProduceRequest, RequestHeader, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

use super::*;

fn encoded(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    message.encode(&mut buffer, version).unwrap();
    buffer.to_vec()
}

fn decoded<T: Decodable>(bytes: Vec<u8>, version: i16) -> T {
    let mut bytes = Bytes::from(bytes);
    let message = T::decode(&mut bytes, version).unwrap();
    assert!(bytes.is_empty(), "{} bytes too many", bytes.len());
    message
}

#[test]
fn requests_say_what_they_mean() {
    let mut whole = Bytes::from(request(PRODUCE, 8, 77, b"rest"));
    let header = RequestHeader::decode(&mut whole, 1).unwrap();
    assert_eq!((header.request_api_key, header.request_api_version, header.correlation_id), (0, 8, 77));
    assert_eq!(header.client_id.as_deref(), Some("sonde"));
    assert_eq!(&whole[..], b"rest");

    let asked: MetadataRequest = decoded(metadata("alerts"), 4);
    let names: Vec<_> = asked.topics.iter().flatten().map(|topic| topic.name.clone().unwrap().0).collect();
    assert_eq!(names, [StrBytes::from_static_str("alerts")]);
    assert!(!asked.allow_auto_topic_creation);

    for version in INIT_PRODUCER_ID.least..=INIT_PRODUCER_ID.most {
        let asked: InitProducerIdRequest = decoded(init_producer_id(version), version);
        assert_eq!((asked.transactional_id, asked.producer_id.0, asked.producer_epoch), (None, -1, -1));
        let mut whole = Bytes::from(request(INIT_PRODUCER_ID, version, 1, b"rest"));
        let header = if version >= 2 { 2 } else { 1 };
        RequestHeader::decode(&mut whole, header).unwrap();
        assert_eq!(&whole[..], b"rest");
    }
    let batches = [(3, b"batch of three".to_vec()), (0, vec![0; 300])];
    for version in PRODUCE.least..=PRODUCE.most {
        let asked: ProduceRequest = decoded(produce("alerts", 27_000, &batches), version);
        assert_eq!((asked.acks, asked.timeout_ms, asked.transactional_id), (-1, 27_000, None));
        let topic = &asked.topic_data[0];
        assert_eq!(topic.name.0, StrBytes::from_static_str("alerts"));
        let found: Vec<_> =
            topic.partition_data.iter().map(|p| (p.index, p.records.clone().unwrap())).collect();
        assert_eq!(found, [(3, Bytes::from_static(b"batch of three")), (0, Bytes::from(vec![0; 300]))]);
    }
    let asked: SaslHandshakeRequest = decoded(sasl_handshake("SCRAM-SHA-512"), 1);
    assert_eq!(asked.mechanism, StrBytes::from_static_str("SCRAM-SHA-512"));
    let asked: SaslAuthenticateRequest = decoded(sasl_authenticate(b"\0user\0pencil"), 0);
    assert_eq!(&asked.auth_bytes[..], b"\0user\0pencil");
}

#[test]
fn replies_are_understood() {
    let api = ApiVersion::default().with_api_key(3).with_min_version(1).with_max_version(9);
    let reply = ApiVersionsResponse::default().with_error_code(35).with_api_keys(vec![api]);
    assert_eq!(read_versions(&encoded(&reply, 0)), Ok((35, vec![Range { key: 3, least: 1, most: 9 }])));

    let reply = InitProducerIdResponse::default().with_producer_id(4_000.into()).with_producer_epoch(7);
    for version in INIT_PRODUCER_ID.least..=INIT_PRODUCER_ID.most {
        // The response's header of flexible versions ends with tagged fields; the correlation is taken off before.
        let header = if version >= 2 { &[1, 5, 2, 9, 9][..] } else { &[] };
        let reply = [header, &encoded(&reply, version)[..]].concat();
        assert_eq!(read_producer_id(&reply, version), Ok(ProducerId { error: 0, id: 4_000, epoch: 7 }));
    }

    let partition = |index: i32, leader: i32| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(leader))
            .with_replica_nodes(vec![BrokerId(1), BrokerId(2)])
            .with_isr_nodes(vec![BrokerId(1)])
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("alerts"))))
        .with_partitions(vec![partition(1, 2), partition(0, 1), partition(2, -1)]);
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(2))
        .with_host(StrBytes::from_static_str("kafka.example"))
        .with_port(9092);
    let reply = MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic]);
    let found = read_metadata(&encoded(&reply, 4), "alerts").unwrap();
    assert_eq!(found.leaders, [1, 2, -1]);
    assert_eq!(found.brokers, [Broker { id: 2, host: "kafka.example".to_owned(), port: 9092 }]);
    assert_eq!(found.error, 0);
    let missing = read_metadata(&encoded(&reply, 4), "other").unwrap();
    assert_eq!((missing.error, missing.leaders), (3, vec![]));

    let answer = PartitionProduceResponse::default()
        .with_index(5)
        .with_error_code(10)
        .with_base_offset(99)
        .with_error_message(Some(StrBytes::from_static_str("too large")));
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(StrBytes::from_static_str("alerts")))
        .with_partition_responses(vec![answer]);
    for version in PRODUCE.least..=PRODUCE.most {
        let mut reply =
            ProduceResponse::default().with_throttle_time_ms(250).with_responses(vec![topic.clone()]);
        let message = if version >= 8 { "too large".to_owned() } else { String::new() };
        if version < 8 {
            reply.responses[0].partition_responses[0].error_message = None;
        }
        let expected = Produced { partition: 5, error: 10, offset: 99, message };
        assert_eq!(read_produced(&encoded(&reply, version), version), Ok((vec![expected], 250)), "{version}");
    }

    let reply = SaslHandshakeResponse::default()
        .with_error_code(33)
        .with_mechanisms(vec![StrBytes::from_static_str("PLAIN")]);
    assert_eq!(read_sasl_handshake(&encoded(&reply, 1)), Ok((33, vec!["PLAIN".to_owned()])));
    let reply = SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from_static(b"r=x"));
    assert_eq!(read_sasl_authenticate(&encoded(&reply, 0)), Ok((0, String::new(), b"r=x".to_vec())));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic_or_more_memory_than_they_are(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_versions(&bytes);
        let _ = read_metadata(&bytes, "alerts");
        let _ = read_producer_id(&bytes, 0);
        let _ = read_producer_id(&bytes, 4);
        let _ = read_produced(&bytes, 8);
        let _ = read_produced(&bytes, 3);
        let _ = read_sasl_handshake(&bytes);
        let _ = read_sasl_authenticate(&bytes);
    }

    #[test]
    fn a_damaged_length_is_an_error(at in 0usize..30, value in any::<u8>()) {
        let mut bytes = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 1, b'h', 0, 0, 35, 132, 255, 255, 255, 255, 0, 0, 0, 7,
            0, 0, 0, 1, 0, 0, 0, 1, b't', 0, 0x7f, 255, 255, 255];
        bytes[at] = value;
        prop_assert!(read_metadata(&bytes, "t").is_err());
    }
}
