//! Unit tests of the reader of EVTX chunks, and what damage does to it.

use proptest::prelude::*;

use super::*;
use crate::format::kept::Kept;
use crate::format::row::{Kind, Row};
use crate::time::Timestamp;

/// Built by the tests' own writer; `tests/cases/evtx.rs` has more of what it can write.
const FILE: &[u8] = include_bytes!("../../../../tests/data/logs/evtx/implant.evtx");

fn chunk() -> Vec<u8> {
    FILE[FILE_HEADER_LEN..].to_vec()
}

fn read(chunk: &[u8]) -> Kept {
    let mut rows = Kept::default();
    Evtx::new().record(chunk, &mut rows);
    rows
}

/// Places of the records.
fn places(chunk: &[u8]) -> Vec<usize> {
    let mut at = CHUNK_HEADER_LEN;
    let mut all = Vec::new();
    while let Some(record) = Record::at(&chunk[at..]) {
        all.push(at);
        at += record.len;
    }
    all
}

#[test]
fn events_with_and_without_templates_are_read() {
    assert!(Evtx::recognises(FILE));
    let rows = read(&chunk());
    assert_eq!(rows.bad, []);
    let all: Vec<_> = rows.rows.iter().map(|row| Row::decode(row).unwrap()).collect();
    assert_eq!(all.len(), 108);
    assert!(all.iter().all(|row| row.host == "pc-017.corp.example"));
    let process = all[0].process.unwrap();
    assert_eq!(all[0].kind, Kind::Started);
    assert_eq!(process.guid, "{297bc33e-437f-69a5-0000-197000000400}");
    assert_eq!(process.image, "C:\\Users\\ada\\AppData\\Roaming\\up\u{434}ater.exe");
    assert_eq!(process.sha256, format!("{:064}", 3));
    let (mut sysmon, mut filter) = (Vec::new(), Vec::new());
    for row in &all {
        let Kind::Connection(connection) = row.kind else { continue };
        if connection.tuple.remote.port() == 443 && row.process.unwrap().pid == 6512 {
            let side = if connection.start == row.time { &mut sysmon } else { &mut filter };
            side.push((connection.start, connection.tuple));
        }
    }
    // Both tell of the same 45 connections; the filtering platform's are half a second early here.
    assert_eq!((sysmon.len(), filter.len()), (45, 45));
    for (sysmon, filter) in sysmon.iter().zip(&filter) {
        assert_eq!(sysmon.1, filter.1);
        assert_eq!(sysmon.0.since(filter.0), 500_000_000);
    }
    assert_eq!(all[1].time, "2026-03-02T07:59:59.31Z".parse::<Timestamp>().unwrap());
}

#[test]
fn a_damaged_record_costs_itself() {
    let sound = chunk();
    let places = places(&sound);
    // Its length; its first token.
    for (offset, lost) in [(4, 1), (RECORD_HEADER_LEN, 1)] {
        let mut bytes = sound.clone();
        bytes[places[50] + offset] ^= 0x55;
        let rows = read(&bytes);
        assert_eq!((rows.rows.len(), rows.bad.len()), (108 - lost, 1), "{offset}");
        assert_eq!(rows.bad[0].cause, Cause::Record);
    }
}

#[test]
fn a_chunk_that_is_cut_short_keeps_its_whole_records() {
    let mut bytes = chunk();
    let at = places(&bytes)[60];
    bytes.truncate(at + 40);
    let rows = read(&bytes);
    assert_eq!((rows.rows.len(), rows.bad.len()), (60, 1));
    bytes.truncate(at);
    assert_eq!((read(&bytes).rows.len(), read(&bytes).bad.len()), (60, 1));
}

#[test]
fn records_behind_what_the_header_counts_are_read_if_they_go_on_counting() {
    let mut bytes = chunk();
    let places = places(&bytes);
    let free = u32::try_from(places[80]).unwrap().to_le_bytes();
    bytes[FREE_SPACE..FREE_SPACE + 4].copy_from_slice(&free);
    assert_eq!(read(&bytes).rows.len(), 108);
    // Left over from before the log began anew.
    bytes[places[90] + 8] = 3;
    let rows = read(&bytes);
    assert_eq!((rows.rows.len(), rows.bad.len()), (90, 0));
}

#[test]
fn empty_chunks_are_nothing_and_foreign_ones_are_said() {
    for len in [0, 1, CHUNK_LEN] {
        let rows = read(&vec![0; len]);
        assert_eq!((rows.rows.len(), rows.bad.len()), (0, 0));
    }
    assert_eq!(read(b"something else").bad.len(), 1);
}

#[test]
fn templates_that_hold_themselves_end() {
    // A definition whose only content is an instance of itself.
    let mut bytes = chunk()[..CHUNK_HEADER_LEN].to_vec();
    let start = bytes.len();
    let body = RECORD_HEADER_LEN + 4;
    let definition = u32::try_from(start + body + 10).unwrap();
    let instance = |at: u32| [&[0x0c, 1, 0, 0, 0, 0][..], &at.to_le_bytes()].concat();
    bytes.extend([0; RECORD_HEADER_LEN]);
    bytes.extend([0x0f, 1, 1, 0]);
    bytes.extend(instance(definition));
    let inner = [&[0x0f, 1, 1, 0][..], &instance(definition).repeat(3), &[0; 4]].concat();
    bytes.extend([0; 20]);
    bytes.extend(u32::try_from(inner.len()).unwrap().to_le_bytes());
    bytes.extend(inner);
    bytes.extend([0; 8]);
    let len = u32::try_from(bytes.len() + 4 - start).unwrap();
    bytes.extend(len.to_le_bytes());
    bytes[start..start + 4].copy_from_slice(&RECORD_MAGIC);
    bytes[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let free = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[FREE_SPACE..FREE_SPACE + 4].copy_from_slice(&free);
    let rows = read(&bytes);
    assert_eq!((rows.rows.len(), rows.bad.len()), (0, 1));
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        read(&bytes);
        let mut chunk = chunk();
        let len = bytes.len();
        chunk[CHUNK_HEADER_LEN + 60..CHUNK_HEADER_LEN + 60 + len].copy_from_slice(&bytes);
        read(&chunk);
    }

    #[test]
    fn any_damage_returns(places in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..40)) {
        let mut chunk = chunk();
        for (place, byte) in places {
            chunk[usize::from(place)] = byte;
        }
        for row in &read(&chunk).rows {
            prop_assert!(Row::decode(row).is_some());
        }
    }
}
