//! EVTX files as the tests' writer makes them: what went in comes out.

use std::fs;
use std::path::Path;

use sonde_common::format::evtx::{CHUNK_LEN, Evtx, FILE_HEADER_LEN};
use sonde_common::format::row::{Kind, Row, RowError, RowSink};
use sonde_tests::evtx::{Event, EvtxWriter, Value, sample};

#[derive(Default)]
struct Rows(Vec<Vec<u8>>);

impl RowSink for Rows {
    fn row(&mut self, row: &Row<'_>) {
        self.0.push(row.encode(Vec::new()));
    }

    fn bad(&mut self, error: RowError) {
        panic!("{error}");
    }
}

fn read(file: &[u8]) -> Rows {
    assert!(Evtx::recognises(file));
    let (mut reader, mut rows) = (Evtx::new(), Rows::default());
    for chunk in file.get(FILE_HEADER_LEN..).unwrap_or_default().chunks(CHUNK_LEN) {
        reader.record(chunk, &mut rows);
    }
    rows
}

/// A DNS query, as the shortest of Sysmon's events.
fn query<'a>(id: u16, data: &'a [(&'a str, Value<'a>)]) -> Event<'a> {
    let (provider, channel) = ("Microsoft-Windows-Sysmon", "Microsoft-Windows-Sysmon/Operational");
    Event { provider, id, channel, computer: "pc", nanos: 1_772_438_400_000_000_000, data }
}

#[test]
fn the_file_beside_the_tests_is_what_its_source_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/logs/evtx/implant.evtx");
    assert!(
        fs::read(file).unwrap() == sample(),
        "the sample has changed: cargo run -p sonde-tests --example logs, and commit"
    );
}

#[test]
fn a_log_of_many_chunks_is_read_whole_and_in_order() {
    let mut writer = EvtxWriter::new();
    let names: Vec<_> = (0..2_000).map(|nth| format!("host-{nth}.example")).collect();
    for (nth, name) in names.iter().enumerate() {
        let data = [
            ("UtcTime", Value::Text("2026-03-02 08:00:00.000")),
            ("ProcessId", Value::U32(7)),
            ("QueryName", Value::Text(name)),
            ("QueryStatus", Value::Text("9003")),
        ];
        // Each third one is of a kind that nobody wants, each fifth one is plain.
        let event = query(if nth % 3 == 0 { 10 } else { 22 }, &data);
        if nth % 5 == 0 { writer.plain(&event) } else { writer.templated(&event) }
    }
    let file = writer.finish();
    assert!(file.len() > FILE_HEADER_LEN + 4 * CHUNK_LEN);
    let rows = read(&file);
    let told: Vec<_> = rows
        .0
        .iter()
        .map(|row| match Row::decode(row).unwrap().kind {
            Kind::Dns(dns) => dns.query.to_owned(),
            kind => panic!("{kind:?}"),
        })
        .collect();
    let expected: Vec<_> =
        names.iter().enumerate().filter(|(nth, _)| nth % 3 != 0).map(|(_, name)| name.clone()).collect();
    assert_eq!(told, expected);
}

#[test]
fn halves_of_characters_do_not_hide_an_event() {
    let image = [0x43, 0x3a, 0x5c, 0xd800, 0x61];
    let data = [
        ("UtcTime", Value::Text("2026-03-02 08:00:00.000")),
        ("ProcessId", Value::U32(7)),
        ("QueryName", Value::Text("a.example")),
        ("QueryStatus", Value::Null),
        ("Image", Value::Units(&image)),
    ];
    let mut writer = EvtxWriter::new();
    writer.templated(&query(22, &data));
    let rows = read(&writer.finish());
    let row = Row::decode(&rows.0[0]).unwrap();
    assert_eq!(row.process.unwrap().image, "C:\\\u{fffd}a");
}
