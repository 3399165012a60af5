//! The five calls that a producer makes, in versions that brokers from Kafka 1.0 to 4.x take.
//!
//! Field by field as Kafka's own message definitions have them
//! (`clients/src/main/resources/common/message/*.json`); the tests hold them against an independent implementation.

use super::wire::{BadReply, Reader, Writer};

/// A call of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) key: i16,
    pub(super) name: &'static str,
    /// Versions that are spoken here.
    pub(super) least: i16,
    pub(super) most: i16,
    /// From this version on lengths are packed, and tagged fields may follow.
    pub(super) flexible: i16,
}

pub(super) const PRODUCE: Call = Call { key: 0, name: "Produce", least: 3, most: 8, flexible: i16::MAX };
pub(super) const METADATA: Call = Call { key: 3, name: "Metadata", least: 4, most: 4, flexible: i16::MAX };
pub(super) const SASL_HANDSHAKE: Call =
    Call { key: 17, name: "SaslHandshake", least: 1, most: 1, flexible: i16::MAX };
pub(super) const API_VERSIONS: Call =
    Call { key: 18, name: "ApiVersions", least: 0, most: 0, flexible: i16::MAX };
pub(super) const INIT_PRODUCER_ID: Call =
    Call { key: 22, name: "InitProducerId", least: 0, most: 4, flexible: 2 };
pub(super) const SASL_AUTHENTICATE: Call =
    Call { key: 36, name: "SaslAuthenticate", least: 0, most: 0, flexible: i16::MAX };

/// How we name ourselves to brokers.
const CLIENT_ID: &str = "sonde";
/// No tagged field, as flexible versions say it.
const NO_TAGS: u8 = 0;

/// A whole request without its length: the header (version 1, or 2 of flexible calls), then the body.
pub(super) fn request(call: Call, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.int16(call.key).int16(version).int32(correlation).text(CLIENT_ID);
    if version >= call.flexible {
        out.raw(&[NO_TAGS]);
    }
    out.raw(body);
    out.0
}

/// Which versions of a call a broker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) key: i16,
    pub(super) least: i16,
    pub(super) most: i16,
}

pub(super) fn read_versions(reply: &[u8]) -> Result<(i16, Vec<Range>), BadReply> {
    let mut reader = Reader::new(reply);
    let error = reader.int16()?;
    let mut ranges = Vec::new();
    for _ in 0..reader.count(6)? {
        ranges.push(Range { key: reader.int16()?, least: reader.int16()?, most: reader.int16()? });
    }
    Ok((error, ranges))
}

pub(super) fn metadata(topic: &str) -> Vec<u8> {
    let mut out = Writer::default();
    // No topic is made by asking for it: that is its owner's to do.
    out.count(1).text(topic).int8(0);
    out.0
}

/// A broker as the cluster names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What the cluster says of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) brokers: Vec<Broker>,
    pub(super) error: i16,
    /// Leaders by partition; -1: none.
    pub(super) leaders: Vec<i32>,
}

pub(super) fn read_metadata(reply: &[u8], topic: &str) -> Result<Metadata, BadReply> {
    let mut reader = Reader::new(reply);
    let _throttled = reader.int32()?;
    let mut found = Metadata { error: super::errors::UNKNOWN_TOPIC, ..Metadata::default() };
    for _ in 0..reader.count(12)? {
        let (id, host, port) = (reader.int32()?, reader.text()?, reader.int32()?);
        let _rack = reader.text()?;
        found.brokers.push(Broker { id, host, port: u16::try_from(port).map_err(|_| BadReply)? });
    }
    let _cluster = reader.text()?;
    let _controller = reader.int32()?;
    for _ in 0..reader.count(9)? {
        let error = reader.int16()?;
        let name = reader.text()?;
        let _internal = reader.int8()?;
        let partitions = reader.count(18)?;
        let mut leaders = vec![-1; partitions];
        for _ in 0..partitions {
            let _error = reader.int16()?;
            let partition = reader.int32()?;
            let leader = reader.int32()?;
            for _ in 0..2 {
                for _ in 0..reader.count(4)? {
                    let _replica = reader.int32()?;
                }
            }
            // They are numbered from 0 without gaps, in any order.
            let place = usize::try_from(partition).ok().and_then(|at| leaders.get_mut(at));
            *place.ok_or(BadReply)? = leader;
        }
        if name == topic {
            found.error = error;
            found.leaders = leaders;
        }
    }
    Ok(found)
}

pub(super) fn init_producer_id(version: i16) -> Vec<u8> {
    let mut out = Writer::default();
    // No transaction, so that its time-out means nothing.
    if version >= INIT_PRODUCER_ID.flexible {
        out.raw(&[0]);
    } else {
        out.no_text();
    }
    out.int32(60_000);
    if version >= 3 {
        // No id yet. There are brokers that give none to whoever does not say so.
        out.int64(-1).int16(-1);
    }
    if version >= INIT_PRODUCER_ID.flexible {
        out.raw(&[NO_TAGS]);
    }
    out.0
}

/// A producer's identity: sequence numbers count below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProducerId {
    pub(super) error: i16,
    pub(super) id: i64,
    pub(super) epoch: i16,
}

pub(super) fn read_producer_id(reply: &[u8], version: i16) -> Result<ProducerId, BadReply> {
    let mut reader = Reader::new(reply);
    if version >= INIT_PRODUCER_ID.flexible {
        // Those of the header.
        reader.skip_tags()?;
    }
    let _throttled = reader.int32()?;
    Ok(ProducerId { error: reader.int16()?, id: reader.int64()?, epoch: reader.int16()? })
}

/// A call with one batch for each of some partitions, acknowledged by all replicas in sync.
pub(super) fn produce(topic: &str, timeout_ms: i32, batches: &[(i32, Vec<u8>)]) -> Vec<u8> {
    let mut out = Writer::default();
    out.no_text().int16(-1).int32(timeout_ms).count(1).text(topic).count(batches.len());
    for (partition, batch) in batches {
        out.int32(*partition).bytes(batch);
    }
    out.0
}

/// What a broker says of one partition's batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Produced {
    pub(super) partition: i32,
    pub(super) error: i16,
    pub(super) offset: i64,
    pub(super) message: String,
}

/// The answers and for how many milliseconds the broker wants to be left alone.
pub(super) fn read_produced(reply: &[u8], version: i16) -> Result<(Vec<Produced>, i32), BadReply> {
    let mut reader = Reader::new(reply);
    let mut all = Vec::new();
    for _ in 0..reader.count(6)? {
        let _topic = reader.text()?;
        for _ in 0..reader.count(22)? {
            let (partition, error, offset) = (reader.int32()?, reader.int16()?, reader.int64()?);
            let _appended = reader.int64()?;
            if version >= 5 {
                let _log_start = reader.int64()?;
            }
            let mut message = String::new();
            if version >= 8 {
                for _ in 0..reader.count(6)? {
                    let _at = reader.int32()?;
                    let said = reader.text()?;
                    if message.is_empty() {
                        message = said;
                    }
                }
                let said = reader.text()?;
                if !said.is_empty() {
                    message = said;
                }
            }
            all.push(Produced { partition, error, offset, message });
        }
    }
    Ok((all, reader.int32()?))
}

pub(super) fn sasl_handshake(mechanism: &str) -> Vec<u8> {
    let mut out = Writer::default();
    out.text(mechanism);
    out.0
}

/// The error, and the mechanisms that the broker takes.
pub(super) fn read_sasl_handshake(reply: &[u8]) -> Result<(i16, Vec<String>), BadReply> {
    let mut reader = Reader::new(reply);
    let error = reader.int16()?;
    let mut mechanisms = Vec::new();
    for _ in 0..reader.count(2)? {
        mechanisms.push(reader.text()?);
    }
    Ok((error, mechanisms))
}

pub(super) fn sasl_authenticate(bytes: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(bytes);
    out.0
}

/// The error, what is said of it, and the mechanism's own answer.
pub(super) fn read_sasl_authenticate(reply: &[u8]) -> Result<(i16, String, Vec<u8>), BadReply> {
    let mut reader = Reader::new(reply);
    Ok((reader.int16()?, reader.text()?, reader.bytes()?.to_vec()))
}

#[cfg(test)]
mod tests;
