//! Unit tests of the readers of JSON events: rows cut from OTRF sets and made ones.

use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::event::Outcome;
use crate::format::kept::Kept;
use crate::format::row::{Cause, ConnectionRow, DnsRow, Kind, ProcessRow, Row};
use crate::net::Transport;
use crate::time::{NANOS_PER_SEC, Timestamp};

const NXLOG: &str = include_str!("../../../../tests/data/logs/winlog-nxlog/empire_logonpasswords.json");
const BEAT6: &str = include_str!("../../../../tests/data/logs/winlog-beat6/empire_opth.json");
const ECS: &str = include_str!("../../../../tests/data/logs/winlog-ecs/agent.json");

fn records<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Kept {
    let mut kept = Kept::default();
    let mut reader = WinlogJson::new();
    for record in records {
        reader.record(record, &mut kept);
    }
    kept
}

fn lines(text: &str) -> Kept {
    records(text.split('\n').map(str::as_bytes))
}

fn read(event: &Value) -> Kept {
    lines(&event.to_string())
}

fn causes(event: &Value) -> Vec<String> {
    let rows = read(event);
    assert!(rows.rows.is_empty());
    rows.bad.iter().map(ToString::to_string).collect()
}

fn connection<'a>(row: &Row<'a>) -> ConnectionRow<'a> {
    let Kind::Connection(connection) = row.kind else { panic!("{row:?}") };
    connection
}

fn dns<'a>(row: &Row<'a>) -> DnsRow<'a> {
    let Kind::Dns(dns) = row.kind else { panic!("{row:?}") };
    dns
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn with(mut event: Value, changes: &[(&str, Value)]) -> Value {
    let fields = event.as_object_mut().unwrap();
    for (key, value) in changes {
        if value.is_null() {
            fields.remove(*key);
        } else {
            fields.insert((*key).to_owned(), value.clone());
        }
    }
    event
}

/// Line `nth` of the cut.
fn nth(text: &str, nth: usize) -> Value {
    serde_json::from_str(text.lines().nth(nth).unwrap()).unwrap()
}

fn filter_event() -> Value {
    nth(NXLOG, 0)
}

fn sysmon_event() -> Value {
    nth(NXLOG, 1)
}

fn query(status: &str, results: &str) -> Value {
    json!({"EventID": 22, "Channel": "Microsoft-Windows-Sysmon/Operational", "UtcTime": "2020-08-07 14:32:45.863",
        "ProcessId": "1648", "QueryName": "a.example", "QueryStatus": status, "QueryResults": results})
}

#[test]
fn sysmon_tells_a_connection_with_its_process_and_its_own_time() {
    let rows = read(&sysmon_event());
    let row = rows.only();
    let told = connection(&row);
    assert_eq!(row.time, time("2020-08-07T14:32:22.751Z"));
    assert_eq!(told.start, row.time);
    // Not `host`, which is the collector.
    assert_eq!(row.host, "WORKSTATION5.theshire.local");
    assert_eq!(told.tuple.transport, Transport::Tcp);
    assert_eq!(told.tuple.local, "172.18.39.5:65372".parse().unwrap());
    assert_eq!(told.tuple.remote, "10.10.10.5:80".parse().unwrap());
    assert_eq!(told.outcome, Outcome::Unknown);
    assert_eq!(told.opener_is_local, Some(true));
    let expected = ProcessRow {
        pid: 1648,
        start: Some(time("2020-08-07T14:31:44Z")),
        guid: "{297bc33e-65d0-5f2d-8207-000000000400}",
        image: r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        user: r"THESHIRE\pgustavo",
        ..Default::default()
    };
    assert_eq!(row.process, Some(expected));
}

#[test]
fn the_name_that_sysmon_looked_up_backwards_is_not_what_the_client_resolved() {
    let rows = read(&with(sysmon_event(), &[("DestinationHostname", json!("ec2-1-2-3-4.amazonaws.com"))]));
    assert_eq!(connection(&rows.only()).said, crate::format::row::Said::default());
}

#[test]
fn inbound_connections_and_binds_are_counted_and_tell_nothing() {
    let events = [
        with(sysmon_event(), &[("Initiated", json!("false"))]),
        with(sysmon_event(), &[("Initiated", json!(false))]),
        with(filter_event(), &[("Direction", json!("%%14592"))]),
        with(filter_event(), &[("Protocol", json!("2"))]),
        with(filter_event(), &[("EventID", json!(5158)), ("DestAddress", Value::Null)]),
    ];
    let mut rows = Kept::default();
    let mut reader = WinlogJson::new();
    for event in &events {
        reader.record(event.to_string().as_bytes(), &mut rows);
    }
    assert_eq!((rows.rows.len(), rows.bad.len(), reader.unused()), (0, 0, 5));
}

#[test]
fn the_filtering_platform_comes_after_sysmon_and_in_utc() {
    let rows = read(&filter_event());
    let row = rows.only();
    // The event was at 10:32:22 four hours west of Greenwich, and was collected three seconds later.
    assert_eq!(connection(&row).start, time("2020-08-07T14:32:22Z"));
    assert_eq!(row.time.since(connection(&row).start), 2 * NANOS_PER_SEC);
    let process = row.process.unwrap();
    assert_eq!(process.pid, 1648);
    assert_eq!(
        process.image,
        r"\device\harddiskvolume2\windows\system32\windowspowershell\v1.0\powershell.exe"
    );
    assert_eq!(
        read(&with(filter_event(), &[("ProcessId", json!("0x670"))])).only().process.unwrap().pid,
        0x670
    );
    let words = with(filter_event(), &[("Direction", json!("Outbound"))]);
    assert_eq!(read(&words).rows.len(), 1);
}

#[test]
fn the_zone_of_a_local_time_is_told_by_the_time_of_collection() {
    let start = |changes: &[(&str, Value)]| connection(&read(&with(filter_event(), changes)).only()).start;
    let none = Value::Null;
    // East of Greenwich, and half an hour beside it.
    let east = [("@timestamp", json!("2020-08-07T05:02:27.359Z")), ("EventReceivedTime", none.clone())];
    assert_eq!(start(&east), time("2020-08-07T05:02:22Z"));
    // Collected an hour late: the collector's own clock tells it from a zone.
    let late =
        [("@timestamp", json!("2020-08-07T15:32:26Z")), ("EventReceivedTime", json!("2020-08-07 11:32:25"))];
    assert_eq!(start(&late), time("2020-08-07T14:32:22Z"));
    // Without a time of collection it is taken for UTC; with an offset of its own it needs none.
    assert_eq!(start(&[("@timestamp", none.clone())]), time("2020-08-07T10:32:22Z"));
    let offset = [("EventTime", json!("2020-08-07T10:32:22.5-04:00")), ("EventReceivedTime", none)];
    assert_eq!(start(&offset), time("2020-08-07T14:32:22.5Z"));
    // The event log's own time stands above.
    let written = [("TimeCreated", json!("/Date(1596810742123)/"))];
    assert_eq!(start(&written), time("2020-08-07T14:32:22.123Z"));
}

#[test]
fn pings_have_no_ports() {
    let event = with(filter_event(), &[("Protocol", json!("1")), ("SourcePort", json!("8"))]);
    let rows = read(&event);
    let tuple = connection(&rows.only()).tuple;
    assert_eq!(tuple.transport, Transport::Icmp);
    assert_eq!((tuple.local.port(), tuple.remote.port()), (0, 0));
}

#[test]
fn long_forms_of_addresses_are_read() {
    let event = with(
        sysmon_event(),
        &[("SourceIp", json!("0:0:0:0:0:0:0:1")), ("DestinationIp", json!("fe80:0:0:0:1c:0:0:2%4"))],
    );
    let tuple = connection(&read(&event).only()).tuple;
    assert_eq!(tuple.local.ip(), "::1".parse::<IpAddr>().unwrap());
    assert_eq!(tuple.remote.ip(), "fe80::1c:0:0:2".parse::<IpAddr>().unwrap());
}

#[test]
fn a_query_tells_its_answer() {
    let asked = |status: &str, results: &str| {
        let rows = read(&query(status, results));
        let row = rows.only();
        let dns = dns(&row);
        assert_eq!((row.time, dns.query), (time("2020-08-07T14:32:45.863Z"), "a.example"));
        let addresses: Vec<_> = dns.addresses.to_vec().iter().map(ToString::to_string).collect();
        (dns.response_code, dns.query_type, addresses.join(" "))
    };
    let cname = "type:  5 x.trafficmanager.net;type:  5 y.example;::ffff:20.44.239.154;::ffff:20.44.239.155;";
    assert_eq!(asked("0", cname), (Some(0), 1, "20.44.239.154 20.44.239.155".into()));
    assert_eq!(asked("0", "fe80::1;::ffff:10.0.0.7;"), (Some(0), 1, "fe80::1 10.0.0.7".into()));
    assert_eq!(asked("0", "2001:db8::7;"), (Some(0), 28, "2001:db8::7".into()));
    assert_eq!(asked("0", "type:  12 dc01.example;"), (Some(0), 12, String::new()));
    assert_eq!(asked("0", "type:  5 x.example;"), (Some(0), 1, String::new()));
    assert_eq!(asked("9003", "-"), (Some(3), 1, String::new()));
    assert_eq!(asked("9002", "-"), (Some(2), 1, String::new()));
    assert_eq!(asked("9501", "-"), (Some(0), 1, String::new()));
    assert_eq!(asked("1460", "-"), (None, 1, String::new()));
    assert_eq!(asked("87", ""), (None, 1, String::new()));
}

#[test]
fn a_process_is_told_with_its_hash_parent_and_start() {
    let rows = lines(NXLOG);
    let all = rows.all();
    let started = all.iter().find(|row| row.kind == Kind::Started).unwrap();
    let process = started.process.unwrap();
    assert_eq!(process.start, Some(started.time));
    assert_eq!(process.image, r"C:\Windows\System32\whoami.exe");
    assert_eq!(process.command_line, "\"C:\\windows\\system32\\whoami.exe\" /user");
    assert_eq!(process.parent_image, r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe");
    assert_eq!(process.sha256.len(), 64);
    let known: Vec<_> = all.iter().filter(|row| matches!(row.kind, Kind::Connection(_))).collect();
    assert_eq!((known.len(), all.len()), (70, 72));
}

#[test]
fn the_security_log_tells_a_process_with_pids_in_hexadecimal() {
    let event = json!({"EventID": 4688, "SourceName": "Microsoft-Windows-Security-Auditing", "Hostname": "pc",
        "TimeCreated": "2023-08-15T09:53:48.447Z", "NewProcessId": "0x1d18", "ProcessId": "0x11c0",
        "NewProcessName": "C:\\a.exe", "ParentProcessName": "C:\\b.exe", "CommandLine": "a -x",
        "SubjectUserName": "eve", "SubjectDomainName": "CORP", "TargetUserName": "-", "TargetDomainName": "-"});
    let rows = read(&event);
    let row = rows.only();
    let expected = ProcessRow {
        pid: 0x1d18,
        start: Some(time("2023-08-15T09:53:48.447Z")),
        image: r"C:\a.exe",
        command_line: "a -x",
        parent_image: r"C:\b.exe",
        user: r"CORP\eve",
        ..Default::default()
    };
    assert_eq!((row.kind, row.process), (Kind::Started, Some(expected)));
    let runas = with(event, &[("TargetUserName", json!("root")), ("TargetDomainName", json!("LAB"))]);
    assert_eq!(read(&runas).only().process.unwrap().user, r"LAB\root");
}

#[test]
fn winlogbeat_before_ecs_is_read() {
    let rows = lines(BEAT6);
    let all = rows.all();
    let calls = all.iter().filter(
        |row| matches!(row.kind, Kind::Connection(c) if c.start == row.time && c.tuple.remote.port() == 443),
    );
    assert_eq!(calls.count(), 64);
    assert!(all.iter().all(|row| row.host == "IT001.shire.com"));
    // `user` beside the event is the account that the event log runs under.
    let mut sysmon = all.iter().filter(|row| matches!(row.kind, Kind::Connection(c) if c.start == row.time));
    assert!(sysmon.all(|row| row.process.unwrap().user == r"SHIRE\pgustavo"));
    let filter = all.iter().find(|row| row.process.unwrap().image.starts_with(r"\device"));
    // Beats' `@timestamp` is the event's own time.
    let stamp = BEAT6.lines().find(|line| line.contains(r#""event_id":5156"#)).unwrap();
    let stamp: Value = serde_json::from_str(stamp).unwrap();
    assert_eq!(connection(filter.unwrap()).start, time(stamp["@timestamp"].as_str().unwrap()));
}

#[test]
fn elastic_common_schema_is_read_nested_dotted_and_moved_by_modules() {
    let rows = lines(ECS);
    let all = rows.all();
    assert_eq!(all.len(), 42);
    for (row, line) in all.iter().zip(ECS.lines()) {
        assert_eq!(row.host, "pc-021.corp.example", "{line}");
        let process = row.process.unwrap();
        assert_eq!(process.pid, 7012, "{line}");
        let Kind::Connection(connection) = row.kind else { continue };
        assert_eq!(connection.tuple.remote, "192.0.2.45:443".parse().unwrap(), "{line}");
        if connection.start == row.time {
            assert_eq!(process.user, r"CORP\ada", "{line}");
            assert_eq!(process.start, Some(time("2026-03-02T08:00:00Z")), "{line}");
        }
    }
    let started = all[0].process.unwrap();
    assert_eq!(started.sha256, "ab".repeat(32));
    assert_eq!(started.command_line, "\"sync helper.exe\" -s");
    let query = dns(&all[1]);
    assert_eq!((query.query, query.response_code), ("sync.files.example", Some(0)));
    assert_eq!(query.addresses.to_vec().as_slice(), ["192.0.2.45".parse::<IpAddr>().unwrap()]);
}

#[test]
fn the_shape_of_the_xml_is_read_in_all_its_dialects() {
    let fields = json!({"UtcTime": "2020-08-07 14:32:22.751", "ProcessId": 7, "Image": "C:\\a.exe", "Protocol": "tcp",
        "Initiated": true, "SourceIp": "10.0.0.1", "SourcePort": 50000, "DestinationIp": "192.0.2.1",
        "DestinationPort": 443, "ProcessGuid": "{297bc33e-65d0-5f2d-8207-000000000400}"});
    let named = |name: &str, text: &str| -> Value {
        let pairs = fields.as_object().unwrap().iter();
        pairs.map(|(key, value)| json!({name: key, text: value})).collect::<Vec<_>>().into()
    };
    let attributes: Vec<_> = fields
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| json!({"#attributes": {"Name": key}, "#text": value}))
        .collect();
    let system = json!({"Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon", "Guid": "{x}"}}, "EventID": 3,
        "Channel": "Microsoft-Windows-Sysmon/Operational", "Computer": "pc", "EventRecordID": 9,
        "Execution": {"#attributes": {"ProcessID": 1, "ThreadID": 2}},
        "TimeCreated": {"#attributes": {"SystemTime": "2020-08-07T14:32:24Z"}}});
    let with_id = |id: Value| with(system.clone(), &[("EventID", id)]);
    let expected = read(&json!({"Event": {"System": system, "EventData": fields}}));
    assert_eq!(expected.only().process.unwrap().pid, 7);
    for (nth, event) in [
        json!({"Event": {"EventData": fields, "System": with_id(json!({"#text": 3, "#attributes": {"Qualifiers": 0}}))}}),
        json!({"System": with_id(json!({"Value": 3})), "EventData": fields, "Message": "x"}),
        json!({"Event": {"System": with_id(json!("3")), "EventData": {"Data": named("@Name", "#text")}}}),
        json!({"Event": {"System": system, "EventData": {"Data": named("Name", "Value")}}}),
        json!({"Event": {"System": system, "EventData": {"Data": attributes, "#attributes": {"Name": "x"}}}}),
        json!({"_source": {"System": system, "EventData": fields}}),
        with(
            fields.clone(),
            &[("EventCode", json!("3")), ("Computer", json!("pc")), ("_time", json!("2020-08-07T10:32:30-04:00"))],
        ),
        with(
            fields.clone(),
            &[("EventID", json!(3)), ("Computer", json!("pc")), ("Channel", json!("Linux-Sysmon/Operational"))],
        ),
    ]
    .iter()
    .enumerate()
    {
        let rows = read(event);
        assert_eq!(rows.all(), expected.all(), "shape {nth}");
    }
}

#[test]
fn what_stands_around_an_object_does_not_harm() {
    let event = sysmon_event().to_string();
    let spaced = event.replace("\":", "\" :\t").replace(",\"", " , \"");
    for text in [
        format!("\u{feff}{event}\r\n\r\n"),
        format!("[{event},\r"),
        format!("  {event}]"),
        format!(",{event}"),
        spaced,
    ] {
        assert_eq!(lines(&text).only().process.unwrap().pid, 1648, "{text}");
    }
    assert_eq!(lines("\r\n\n  \n\u{feff}\n[\n]\n").all(), []);
}

#[test]
fn other_events_are_nothing_even_where_they_are_damaged() {
    let others = [
        r#"{"EventID":10,"Channel":"Microsoft-Windows-Sysmon/Operational","#,
        r#"{"EventID":3,"Channel":"Application","SourceName":"ESENT"}"#,
        r#"{"EventID":1,"SourceName":"Microsoft-Windows-Kernel-General","UtcTime":"x"}"#,
        r#"{"event_id":22,"log_name":"System","event_data":{"QueryName":"a"}}"#,
        r#"{"a":{"EventID":3},"b":[1,{"EventID":3}]}"#,
        "{}",
    ];
    assert_eq!(records(others.map(str::as_bytes)).all(), []);
}

#[test]
fn a_damaged_event_costs_itself_and_says_why() {
    let whole = sysmon_event().to_string();
    let rows = lines(&format!("{}\n{whole}\n", &whole[..whole.len() / 2]));
    assert_eq!((rows.rows.len(), rows.bad.len()), (1, 1));
    assert_eq!(rows.bad[0].cause, Cause::Json);
    for (change, message) in [
        (("UtcTime", json!("yesterday")), "UtcTime: not a time, found `yesterday`"),
        (("DestinationIp", json!("300.1.1.1")), "DestinationIp: not an IP address, found `300.1.1.1`"),
        (("DestinationIp", Value::Null), "DestinationIp: missing"),
        (("SourcePort", json!("70000")), "SourcePort: not a port, found `70000`"),
        (("SourcePort", json!("-")), "SourcePort: missing"),
        (("ProcessId", json!("x")), "ProcessId: not a number, found `x`"),
        (("Protocol", Value::Null), "Protocol: missing"),
        (("Initiated", Value::Null), "Initiated: missing"),
    ] {
        assert_eq!(causes(&with(sysmon_event(), &[change])), [message]);
    }
    assert_eq!(causes(&with(query("0", ""), &[("QueryName", json!("-"))])), ["QueryName: missing"]);
    let timeless = [("EventTime", Value::Null), ("@timestamp", Value::Null)];
    assert_eq!(causes(&with(filter_event(), &timeless)), ["TimeCreated: missing"]);
}

#[test]
fn no_character_of_a_command_line_hides_its_event() {
    let event = nth(NXLOG, 1).to_string();
    for odd in ["\\ud800", "\\udc00\\ud83d\\ude00", "\u{1}", "\t", "\\u0000"] {
        let text = event.replace("powershell.exe", &format!("power{odd}shell.exe"));
        let rows = lines(&text);
        assert!(rows.only().process.unwrap().image.ends_with("shell.exe"), "{odd}");
    }
    let mut bytes = event.into_bytes();
    let place = bytes.windows(5).position(|window| window == b"power").unwrap();
    bytes[place] = 0xff;
    assert_eq!(records([&bytes[..]]).only().process.unwrap().pid, 1648);
}

#[test]
fn the_start_of_a_process_stands_in_its_guid() {
    for (guid, start) in [
        ("{81056205-565c-64dc-2304-000000000800}", Some("2023-08-16T04:53:48Z")),
        ("AA6B4A20-F157-5CA2-0000-00106EA90000", Some("2019-04-02T05:21:27Z")),
        ("{00000000-0000-0000-0000-000000000000}", None),
        ("{x}", None),
        ("-", None),
    ] {
        let rows = read(&with(sysmon_event(), &[("ProcessGuid", json!(guid))]));
        assert_eq!(rows.only().process.unwrap().start, start.map(time), "{guid}");
    }
}

#[test]
fn files_are_recognised_by_what_only_windows_events_have() {
    for text in [NXLOG, BEAT6, ECS, "\u{feff}\r\n[ {\"Event\": {\"System\": {\"EventID\": 3}}}"] {
        assert!(WinlogJson::recognises(text.as_bytes()), "{}", &text[..100.min(text.len())]);
    }
    for text in [
        "",
        "EventID,Channel\n",
        r#"{"event_type":"flow","src_ip":"10.0.0.1","flow_id":1}"#,
        r#"{"_path":"conn","ts":1.5,"id.orig_h":"10.0.0.1","proto":"tcp"}"#,
        r#"{"time":"x","category":"AdvancedHunting-DeviceNetworkEvents","properties":{"ActionType":"ConnectionSuccess"}}"#,
    ] {
        assert!(!WinlogJson::recognises(text.as_bytes()), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_return(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        records([&bytes[..]]);
        let _ = WinlogJson::recognises(&bytes);
    }

    #[test]
    fn any_damage_to_an_event_returns(line in 0usize..150, places in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6)) {
        let lines: Vec<_> = NXLOG.lines().chain(BEAT6.lines()).chain(ECS.lines()).collect();
        let mut bytes = lines[line % lines.len()].as_bytes().to_vec();
        for (place, byte) in places {
            let at = usize::from(place) % bytes.len();
            bytes[at] = byte;
        }
        let rows = records([&bytes[..]]);
        for row in &rows.rows {
            prop_assert!(Row::decode(row).is_some());
        }
    }
}
