//! Rows in, observations out: what is joined, what is folded, who did it.

use std::net::IpAddr;

use super::*;
use crate::event::{AppProtocol, Outcome};
use crate::format::row::{ATTRIBUTES_LEAD, AttributesRow, ProcessRow};
use crate::net::{FiveTuple, Transport};
use crate::time::{NANOS_PER_SEC, Timestamp};

fn at(secs: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "test times are small")]
    Timestamp::from_nanos((secs * 1e9) as i64 + 1_700_000_000 * NANOS_PER_SEC)
}

fn tuple(local_port: u16) -> FiveTuple {
    FiveTuple {
        transport: Transport::Tcp,
        local: ([10, 0, 0, 5], local_port).into(),
        remote: ([192, 0, 2, 9], 443).into(),
    }
}

fn connection<'a>(uid: &'a str, secs: f64, local_port: u16, outcome: Outcome) -> Row<'a> {
    let row = ConnectionRow {
        uid,
        tuple: tuple(local_port),
        start: at(secs),
        duration: Some(NANOS_PER_SEC),
        bytes_out: Some(100),
        bytes_in: Some(200),
        ip_bytes_out: None,
        outcome,
        opener_is_local: None,
        said: Said::default(),
    };
    Row { time: at(secs), kind: Kind::Connection(row), ..Row::default() }
}

fn said<'a>(uid: &'a str, secs: f64, said: Said<'a>) -> Row<'a> {
    let row = AttributesRow { uid, client: Some([10, 0, 0, 5].into()), said };
    Row { time: at(secs).plus_nanos(-ATTRIBUTES_LEAD), kind: Kind::Attributes(row), ..Row::default() }
}

/// What the rows come to, once sorted: host, time, name, process and outcome of each connection, in words.
fn assembled(mut rows: Vec<Row<'_>>) -> (Vec<String>, AssembleCounters) {
    rows.sort_by_key(|row| row.time);
    let mut assembler = Assembler::new(4 << 20);
    let mut out = Vec::new();
    for row in &rows {
        assembler.take(row, &mut |observation| {
            let time = (observation.time.nanos() - at(0.0).nanos()) / 1_000_000;
            let text = match observation.event {
                Event::Connection(event) => {
                    let program = event.program.map_or("-", |program| &program.info.image);
                    let pid = event.process.map_or(0, |process| process.pid);
                    let what = match event.phase {
                        Phase::Whole(totals) => format!("{:?}", totals.outcome),
                        Phase::Exchange { bytes_out, bytes_in, .. } => {
                            format!("exchange {bytes_out} {bytes_in}")
                        }
                        other => format!("{other:?}"),
                    };
                    format!(
                        "{time} {} {pid} {program} [{}|{}] {what}",
                        observation.host, event.names.sni, event.names.user_agent
                    )
                }
                Event::Dns(event) => format!("{time} {} asks {}", observation.host, event.query),
                ref other => format!("{other:?}"),
            };
            out.push(text);
        });
    }
    (out, assembler.counters())
}

#[test]
fn what_a_client_said_in_other_files_reaches_its_connection() {
    let tls = Said { sni: "C2.Example", protocol: AppProtocol::Tls, ..Said::default() };
    let http = Said { user_agent: "agent\u{202e}", ..Said::default() };
    let (out, counters) = assembled(vec![
        connection("C1", 10.0, 50_001, Outcome::Established),
        said("C1", 10.2, tls),
        said("C1", 10.1, http),
        connection("C2", 20.0, 50_002, Outcome::Established),
        said("other", 20.1, tls),
    ]);
    assert_eq!(
        out,
        ["10000 10.0.0.5 0 - [c2.example|agent\\u{202e}] Established", "20000 10.0.0.5 0 - [|] Established"]
    );
    assert_eq!((counters.joined, counters.said_evicted), (1, 0));
}

#[test]
fn what_was_said_is_forgotten_when_its_connection_cannot_come_any_more() {
    let tls = Said { sni: "c2.example", ..Said::default() };
    let (out, _) = assembled(vec![
        said("C1", 10.0, tls),
        connection("C0", 11.0, 50_000, Outcome::Established),
        connection("C1", 90.0, 50_001, Outcome::Established),
    ]);
    assert_eq!(out.last().map(String::as_str), Some("90000 10.0.0.5 0 - [|] Established"));
}

#[test]
fn an_open_connection_told_of_again_and_again_is_one() {
    let (out, counters) = assembled(vec![
        connection("C1", 10.0, 50_001, Outcome::Unknown),
        connection("C1", 10.0, 50_001, Outcome::Unknown),
        connection("C1", 10.0, 50_001, Outcome::Established),
        // The same port for another connection, soon after.
        connection("C2", 12.0, 50_001, Outcome::Established),
    ]);
    assert_eq!(out.len(), 2);
    assert_eq!(counters.repeated, 2);
}

#[test]
fn the_retries_of_an_attempt_are_one_callback_and_two_answered_ones_are_two() {
    // NjRAT with a dead server: SYNs 9 s apart from one port, then a new attempt from another.
    let (out, counters) = assembled(vec![
        connection("a", 0.0, 50_001, Outcome::Unanswered),
        connection("b", 9.0, 50_001, Outcome::Unanswered),
        connection("c", 23.0, 50_002, Outcome::Unanswered),
        connection("d", 32.0, 50_002, Outcome::Unanswered),
        connection("e", 46.0, 50_003, Outcome::Established),
        connection("f", 50.0, 50_003, Outcome::Established),
    ]);
    let times: Vec<_> =
        out.iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(times, ["0", "23000", "46000", "50000"]);
    assert_eq!(counters.retries, 2);
}

#[test]
fn two_logs_of_one_host_tell_of_one_connection_and_name_its_process_alike() {
    let sysmon = ProcessRow {
        pid: 1648,
        guid: "{297bc33e}",
        image: r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        user: r"LAB\ann",
        ..ProcessRow::default()
    };
    let filtering = ProcessRow {
        pid: 1648,
        image: r"\device\harddiskvolume2\windows\system32\windowspowershell\v1.0\powershell.exe",
        ..ProcessRow::default()
    };
    let named = |row: Row<'static>, process, late: i64| Row {
        time: row.time.plus_nanos(late * NANOS_PER_SEC),
        host: "pc",
        process: Some(process),
        ..row
    };
    let (out, counters) = assembled(vec![
        named(connection("", 10.7, 50_001, Outcome::Unknown), sysmon, 0),
        named(connection("", 10.0, 50_001, Outcome::Unknown), filtering, 2),
        // Only the one log has this.
        named(connection("", 15.0, 50_002, Outcome::Unknown), filtering, 2),
    ]);
    let powershell = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
    assert_eq!(
        out,
        [
            format!("10700 pc 1648 {powershell} [|] Unknown"),
            format!("17000 pc 1648 {powershell} [|] Unknown")
        ]
    );
    assert_eq!(counters.repeated, 1);
}

#[test]
fn a_started_process_lends_its_parent_and_command_line_to_the_rows_that_lack_them() {
    let started = ProcessRow {
        pid: 7,
        guid: "{g}",
        image: r"C:\x\a.exe",
        command_line: "a.exe -c",
        parent_image: r"C:\Program Files\Microsoft Office\WINWORD.EXE",
        ..ProcessRow::default()
    };
    let caller = ProcessRow { pid: 7, guid: "{g}", image: r"C:\x\a.exe", ..ProcessRow::default() };
    let rows = [
        Row { time: at(1.0), host: "pc", process: Some(started), kind: Kind::Started, hunted: None },
        Row { host: "pc", process: Some(caller), ..connection("", 5.0, 50_001, Outcome::Unknown) },
    ];
    let mut assembler = Assembler::new(1 << 20);
    let mut seen = Vec::new();
    for row in &rows {
        assembler.take(row, &mut |observation| {
            if let Event::Connection(event) = observation.event {
                seen.push((event.process, event.program.map(|program| (*program.info).clone())));
            }
        });
    }
    let (process, info) = seen.pop().unwrap();
    assert_eq!(process, Some(ProcessKey { pid: 7, start: at(1.0) }));
    let info = info.unwrap();
    assert_eq!(
        (info.command_line.as_str(), info.parent_class),
        ("a.exe -c", Some(crate::process::ParentClass::Office))
    );
}

#[test]
fn a_datagram_to_a_resolver_is_no_connection_and_its_question_counts() {
    let mut row = connection("C1", 1.0, 50_001, Outcome::Established);
    if let Kind::Connection(connection) = &mut row.kind {
        connection.tuple.transport = Transport::Udp;
        connection.tuple.remote.set_port(53);
    }
    let dns = DnsRow {
        client: Some(IpAddr::from([10, 0, 0, 5])),
        resolver: None,
        start: at(1.0),
        query: "A.Example.",
        query_type: 1,
        response_code: Some(0),
        addresses: Default::default(),
        ttl_secs: 0,
        opener_is_local: None,
    };
    let (out, counters) = assembled(vec![row, Row { time: at(1.0), kind: Kind::Dns(dns), ..Row::default() }]);
    assert_eq!(out, ["1000 10.0.0.5 asks a.example"]);
    assert_eq!(counters.resolver, 1);
}

#[test]
fn a_flood_of_rows_stays_within_the_memory_it_is_given() {
    let names: Vec<_> = (0..200_000u32).map(|n| format!("C{n}")).collect();
    let mut assembler = Assembler::new(1 << 20);
    for (n, uid) in names.iter().enumerate() {
        let time = at(n as f64 / 1e5);
        let long = "x".repeat(300);
        let row = AttributesRow { uid, client: None, said: Said { sni: &long, ..Said::default() } };
        assembler.take(&Row { time, kind: Kind::Attributes(row), ..Row::default() }, &mut |_| {});
        let mut row = connection(uid, 0.0, u16::try_from(n % 60_000).unwrap(), Outcome::Established);
        row.time = time;
        if let Kind::Connection(connection) = &mut row.kind {
            connection.start = time;
        }
        let process = ProcessRow { pid: u32::try_from(n).unwrap(), image: &long, ..ProcessRow::default() };
        assembler.take(&Row { process: Some(process), ..row }, &mut |_| {});
    }
    let counters = assembler.counters();
    assert!(
        counters.said_evicted > 150_000
            && counters.connections_evicted > 100_000
            && counters.processes_evicted > 150_000,
        "{counters:?}"
    );
}

#[test]
fn a_fold_comes_to_an_end_however_long_the_repeats_go_on() {
    let every = |step: f64, outcome| -> usize {
        let rows = (0..100u32).map(|n| connection("", f64::from(n) * step, 50_001, outcome)).collect();
        assembled(rows).0.len()
    };
    assert_eq!(every(4.0, Outcome::Unknown), 50, "two rows are one as long as they may be twins");
    assert_eq!(every(29.0, Outcome::Unanswered), 50, "an attempt and its retry");
}

#[test]
fn a_start_without_a_name_for_the_process_reaches_rows_with_one_and_those_without() {
    let image = r"C:\x\a.exe";
    let started =
        ProcessRow { pid: 7, start: Some(at(2.0)), image, command_line: "a.exe -c", ..Default::default() };
    let bare = ProcessRow { pid: 7, image: r"\device\harddiskvolume2\x\a.exe", ..Default::default() };
    let named = ProcessRow { pid: 7, guid: "{g}", image, ..Default::default() };
    let row = |secs: f64, port, process| Row {
        host: "pc",
        process: Some(process),
        ..connection("", secs, port, Outcome::Unknown)
    };
    let rows = [
        // The pid was another's before, of which nothing is known but the file.
        row(1.0, 50_000, bare),
        Row { time: at(2.0), host: "pc", process: Some(started), kind: Kind::Started, hunted: None },
        row(10.0, 50_001, bare),
        row(20.0, 50_002, named),
    ];
    let mut assembler = Assembler::new(1 << 20);
    let mut told = Vec::new();
    for row in &rows {
        assembler.take(row, &mut |observation| {
            if let Event::Connection(event) = observation.event {
                told.push(event.program.map(|program| program.info.command_line.clone()).unwrap());
            }
        });
    }
    assert_eq!(told, ["", "a.exe -c", "a.exe -c"]);
}
