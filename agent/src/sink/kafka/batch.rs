//! A record batch as logs of Kafka keep it (message format 2, KIP-98), for one partition and under one sequence.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use sonde_common::record::Record;

use super::wire::{Writer, size};

/// Under which producer id and number a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) sequence: i32,
}

/// The batch of some records: key is what a record is about, its id stands in the header `id`.
pub(super) fn encode(records: &[&Record], stamp: Stamp, gzip: bool) -> Vec<u8> {
    let millis = |record: &Record| record.time.millis();
    let first = records.iter().map(|record| millis(record)).min().unwrap_or_default();
    let last = records.iter().map(|record| millis(record)).max().unwrap_or_default();
    let mut body = Writer::default();
    let mut one = Writer::default();
    for (at, record) in (0i64..).zip(records) {
        one.0.clear();
        one.int8(0).varint(millis(record) - first).varint(at);
        one.varint_bytes(record.key.as_bytes()).varint_bytes(&record.body);
        one.varint(1).varint_bytes(b"id").varint_bytes(record.id.as_bytes());
        body.varint_bytes(&one.0);
    }
    let packed = if gzip { compressed(&body.0) } else { None };
    // What the checksum covers: everything behind it.
    let mut rest = Writer::default();
    rest.int16(i16::from(packed.is_some()));
    rest.int32(size(records.len().saturating_sub(1)));
    rest.int64(first).int64(last);
    rest.int64(stamp.producer).int16(stamp.epoch).int32(stamp.sequence);
    rest.count(records.len());
    rest.raw(packed.as_deref().unwrap_or(&body.0));
    let mut out = Writer::default();
    // Base offset; length from behind itself; the leader's epoch, which the broker sets; the format; the checksum.
    out.int64(0).int32(size(rest.0.len() + 4 + 1 + 4)).int32(-1).int8(2);
    out.raw(&crc32c::crc32c(&rest.0).to_be_bytes()).raw(&rest.0);
    out.0
}

fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::records::RecordBatchDecoder;
    use sonde_common::alert::Severity;
    use sonde_common::record::Kind;
    use sonde_common::time::Timestamp;

    use super::*;

    fn record(n: u8) -> Record {
        Record {
            kind: Kind::Alert,
            id: format!("id-{n}"),
            key: format!("finding-{}", n % 3),
            time: Timestamp::from_nanos(1_700_000_000_123_456_789 - i64::from(n) * 1_000_000_000),
            severity: Severity::High,
            body: vec![b'a' + n; usize::from(n) * 100],
        }
    }

    #[test]
    fn an_independent_decoder_reads_what_was_written() {
        let records: Vec<Record> = (0..20).map(record).collect();
        let borrowed: Vec<&Record> = records.iter().collect();
        for gzip in [false, true] {
            let stamp = Stamp { producer: 9_000, epoch: 3, sequence: 41 };
            let mut bytes = Bytes::from(encode(&borrowed, stamp, gzip));
            let sets = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
            assert!(bytes.is_empty());
            let read: Vec<_> = sets.into_iter().flat_map(|set| set.records).collect();
            assert_eq!(read.len(), records.len());
            for (at, (read, record)) in (0..).zip(read.iter().zip(&records)) {
                assert_eq!((read.producer_id, read.producer_epoch, read.sequence), (9_000, 3, 41 + at));
                assert_eq!(read.offset, i64::from(at));
                assert_eq!(read.timestamp, record.time.millis());
                assert_eq!(read.key.as_deref(), Some(record.key.as_bytes()));
                assert_eq!(read.value.as_deref(), Some(&record.body[..]));
                let id = read.headers.iter().next().map(|(name, id)| (name.to_string(), id.clone().unwrap()));
                assert_eq!(id, Some(("id".to_owned(), Bytes::from(record.id.clone()))));
            }
        }
    }
}
