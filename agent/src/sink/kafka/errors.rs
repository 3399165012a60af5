//! What a broker's error codes mean for a record. The codes are Kafka's (`org.apache.kafka.common.protocol.Errors`).

/// Topic or partition is not there (any more).
pub(super) const UNKNOWN_TOPIC: i16 = 3;
/// A batch is longer than the topic takes.
pub(super) const MESSAGE_TOO_LARGE: i16 = 10;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The records are there.
    Acknowledged,
    /// One of the records, or their number together, will never be taken.
    Refused,
    /// The broker does not know our producer id, or not our sequence: a new id is wanted.
    Renew,
    /// Another broker leads now: ask who.
    Elsewhere,
    /// Later, with the same sequence numbers.
    Later,
}

/// What a code of Produce means.
pub(super) const fn meaning(code: i16) -> Meaning {
    match code {
        // 46: a batch of this sequence is there already.
        0 | 46 => Meaning::Acknowledged,
        // 18: a batch longer than a segment; 32: a timestamp out of the topic's bounds; 87: a record that the topic's rules
        // (compaction without key, a validator) do not take.
        MESSAGE_TOO_LARGE | 18 | 32 | 87 => Meaning::Refused,
        // 45: a gap before our sequence; 47, 90: our epoch is over; 49, 59: the id is not known there.
        45 | 47 | 49 | 59 | 90 => Meaning::Renew,
        // 5, 6: no leader, or not this one; 8, 9: broker or replica away; 13: network; 56: its disk; 74, 75: epochs of leaders.
        UNKNOWN_TOPIC | 5 | 6 | 8 | 9 | 13 | 56 | 74 | 75 => Meaning::Elsewhere,
        _ => Meaning::Later,
    }
}

/// A code in words, with what to do where somebody has to do something.
pub(super) fn words(code: i16, topic: &str) -> String {
    let name = match code {
        -1 => "UNKNOWN_SERVER_ERROR",
        2 => "CORRUPT_MESSAGE",
        UNKNOWN_TOPIC => {
            return format!(
                "UNKNOWN_TOPIC_OR_PARTITION: there is no topic {topic}: create it (kafka-topics --create --topic {topic}), or \
                 allow this user to see it"
            );
        }
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT: replicas did not follow in time",
        8 => "BROKER_NOT_AVAILABLE",
        9 => "REPLICA_NOT_AVAILABLE",
        MESSAGE_TOO_LARGE => "MESSAGE_TOO_LARGE: more than the topic's max.message.bytes",
        13 => "NETWORK_EXCEPTION",
        15 => "COORDINATOR_NOT_AVAILABLE",
        17 => "INVALID_TOPIC_EXCEPTION: check the sink's topic",
        18 => "RECORD_LIST_TOO_LARGE: more than a segment of the topic takes",
        19 => "NOT_ENOUGH_REPLICAS: fewer replicas are in sync than the topic's min.insync.replicas",
        20 => {
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND: fewer replicas are in sync than the topic's min.insync.replicas"
        }
        29 => "TOPIC_AUTHORIZATION_FAILED: this user may not write there: allow Write on the topic",
        31 => "CLUSTER_AUTHORIZATION_FAILED: this user may not: allow IdempotentWrite on the cluster",
        32 => "INVALID_TIMESTAMP: out of the topic's bounds for timestamps",
        33 => "UNSUPPORTED_SASL_MECHANISM",
        34 => "ILLEGAL_SASL_STATE",
        35 => "UNSUPPORTED_VERSION",
        44 => "POLICY_VIOLATION",
        45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
        47 => "INVALID_PRODUCER_EPOCH",
        49 => "INVALID_PRODUCER_ID_MAPPING",
        56 => "KAFKA_STORAGE_ERROR",
        58 => "SASL_AUTHENTICATION_FAILED: check the sink's user, password and mechanism",
        59 => "UNKNOWN_PRODUCER_ID",
        74 => "FENCED_LEADER_EPOCH",
        75 => "UNKNOWN_LEADER_EPOCH",
        76 => "UNSUPPORTED_COMPRESSION_TYPE: set gzip = false for this sink",
        87 => "INVALID_RECORD",
        89 => "THROTTLING_QUOTA_EXCEEDED",
        90 => "PRODUCER_FENCED",
        code => return format!("error {code}"),
    };
    name.to_owned()
}
