//! What the rows of either form mean, and that the form makes no difference.

use proptest::prelude::*;

use super::*;
use crate::format::kept::Kept;
use crate::format::row::Cause;

fn csv(records: &[&str]) -> Kept {
    let (mut reader, mut kept) = (DefenderCsv::new(), Kept::default());
    for record in records {
        reader.record(record.as_bytes(), &mut kept);
    }
    kept
}

fn json(record: &str) -> Kept {
    let (mut reader, mut kept) = (DefenderJson::new(), Kept::default());
    reader.record(record.as_bytes(), &mut kept);
    kept
}

const TIME: &str = "2026-01-05T03:04:05.1234567Z";

/// A row as portals have it, with some columns set otherwise.
fn fields<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut row = vec![
        ("Timestamp", TIME),
        ("DeviceId", "0a1b"),
        ("DeviceName", "pc-07.corp.example"),
        ("ActionType", "ConnectionSuccess"),
        ("RemoteIP", "192.0.2.10"),
        ("RemotePort", "443"),
        ("RemoteUrl", "https://cdn.example.net/a?b"),
        ("LocalIP", "10.0.0.7"),
        ("LocalPort", "50123"),
        ("Protocol", "Tcp"),
        ("RemoteIPType", "Public"),
        ("InitiatingProcessSHA256", "aa11"),
        ("InitiatingProcessFileName", "PowerShell.exe"),
        ("InitiatingProcessId", "4321"),
        ("InitiatingProcessCommandLine", "powershell -w hidden, \"x\""),
        ("InitiatingProcessCreationTime", "2026-01-05T01:00:00Z"),
        ("InitiatingProcessFolderPath", r"c:\windows\powershell.exe"),
        ("InitiatingProcessParentFileName", "winword.exe"),
        ("InitiatingProcessAccountDomain", "corp"),
        ("InitiatingProcessAccountName", "ann"),
        ("InitiatingProcessUniqueId", "998877"),
        ("AdditionalFields", ""),
    ];
    for &(name, value) in changes {
        match row.iter_mut().find(|(known, _)| *known == name) {
            Some(place) => place.1 = value,
            None => row.push((name, value)),
        }
    }
    row
}

fn line(cells: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).unwrap();
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

fn csv_of(row: &[(&str, &str)]) -> Kept {
    csv(&[&line(row.iter().map(|(name, _)| name)), &line(row.iter().map(|(_, value)| value))])
}

fn object(row: &[(&str, &str)]) -> String {
    let map: serde_json::Map<_, _> =
        row.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    serde_json::Value::Object(map).to_string()
}

/// The row, read in both forms.
fn both(row: &[(&str, &str)]) -> Kept {
    let (from_csv, from_json) = (csv_of(row), json(&object(row)));
    assert_eq!(from_csv.rows(), from_json.rows());
    assert_eq!(from_csv.bad, from_json.bad);
    from_csv
}

fn connection_of<'a>(kept: &'a Kept) -> ConnectionRow<'a> {
    match kept.only().kind {
        Kind::Connection(connection) => connection,
        other => panic!("{other:?}"),
    }
}

fn dns_of<'a>(kept: &'a Kept) -> DnsRow<'a> {
    match kept.only().kind {
        Kind::Dns(dns) => dns,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_successful_connection_is_one_with_its_process_and_hunted_columns() {
    let kept = both(&fields(&[]));
    let row = kept.only();
    let time = TIME.parse().unwrap();
    assert_eq!((row.time, row.host), (time, "pc-07.corp.example"));
    let connection = connection_of(&kept);
    assert_eq!(connection.start, time);
    assert_eq!(connection.tuple.local, "10.0.0.7:50123".parse().unwrap());
    assert_eq!(connection.tuple.remote, "192.0.2.10:443".parse().unwrap());
    assert_eq!(connection.tuple.transport, Transport::Tcp);
    assert_eq!(connection.outcome, Outcome::Established);
    assert_eq!(connection.said, Said { fqdn: "cdn.example.net", ..Said::default() });
    assert_eq!((connection.bytes_out, connection.duration), (None, None));
    assert_eq!(connection.opener_is_local, Some(true));
    let process = ProcessRow {
        pid: 4321,
        start: "2026-01-05T01:00:00Z".parse().ok(),
        guid: "998877",
        image: r"c:\windows\powershell.exe",
        command_line: "powershell -w hidden, \"x\"",
        sha256: "aa11",
        parent_image: "winword.exe",
        user: r"corp\ann",
        signed: None,
    };
    assert_eq!(row.process, Some(process));
    let hunted = Hunted {
        device_name: "pc-07.corp.example",
        account_name: "ann",
        action_type: "ConnectionSuccess",
        remote_ip: "192.0.2.10",
        remote_ip_type: "Public",
        remote_url: "https://cdn.example.net/a?b",
        remote_port: Some(443),
        process_name: "PowerShell.exe",
    };
    assert_eq!(row.hunted, Some(hunted));
}

#[test]
fn every_action_is_what_it_says() {
    let outcomes = [
        ("ConnectionSuccess", Outcome::Established),
        ("connectionsuccess", Outcome::Established),
        ("ConnectionFailed", Outcome::Unanswered),
        ("ConnectionRequest", Outcome::Unknown),
    ];
    for (action, outcome) in outcomes {
        assert_eq!(connection_of(&both(&fields(&[("ActionType", action)]))).outcome, outcome, "{action}");
    }
    for action in [
        "InboundConnectionAccepted",
        "InboundConnectionAttempt",
        "ListeningConnectionCreated",
        "ConnectionAttempt",
        "ConnectionAcknowledged",
        "ConnectionFound",
        "ConnectionSuccessAggregatedReport",
        "NetworkSignatureInspected",
        "IcmpConnectionInspected",
        "SomethingNew",
        "",
    ] {
        let kept = both(&fields(&[("ActionType", action)]));
        let row = kept.only();
        assert_eq!((row.kind, row.process), (Kind::Other, None), "{action}");
        assert_eq!(row.hunted.unwrap().action_type, action, "letter by letter");
    }
    let refused =
        [("ActionType", "ConnectionFailed"), ("AdditionalFields", r#"{"Error":"Connection Refused"}"#)];
    assert_eq!(connection_of(&both(&fields(&refused))).outcome, Outcome::Refused);
}

#[test]
fn a_table_without_actions_holds_connections_of_unknown_outcome() {
    let mut row = fields(&[]);
    row.retain(|(name, _)| *name != "ActionType");
    assert_eq!(connection_of(&both(&row)).outcome, Outcome::Unknown);
}

#[test]
fn ends_are_read_as_far_as_they_are_told() {
    let tuple = |changes: &[(&str, &str)]| match both(&fields(changes)).only().kind {
        Kind::Connection(connection) => {
            let FiveTuple { transport, local, remote } = connection.tuple;
            format!("{transport} {local} {remote}")
        }
        other => format!("{other:?}"),
    };
    assert_eq!(tuple(&[("LocalIP", ""), ("LocalPort", "")]), "tcp 0.0.0.0:0 192.0.2.10:443");
    assert_eq!(tuple(&[("RemoteIP", "2001:db8::1")]), "tcp [::]:50123 [2001:db8::1]:443");
    assert_eq!(
        tuple(&[("RemoteIP", "::ffff:192.0.2.9"), ("Protocol", "TcpV6")]),
        "tcp 10.0.0.7:50123 192.0.2.9:443"
    );
    assert_eq!(tuple(&[("Protocol", "UdpV4"), ("RemotePort", "53.0")]), "udp 10.0.0.7:50123 192.0.2.10:53");
    assert_eq!(tuple(&[("Protocol", "Icmp")]), "icmp 10.0.0.7:0 192.0.2.10:0");
    assert_eq!(tuple(&[("Protocol", "")]), "tcp 10.0.0.7:50123 192.0.2.10:443");
    assert_eq!(tuple(&[("RemotePort", "")]), "tcp 10.0.0.7:50123 192.0.2.10:0");
    for none in [("RemoteIP", ""), ("RemoteIP", "not told"), ("RemotePort", "70000"), ("RemotePort", "x")] {
        assert_eq!(tuple(&[none]), "Other", "{none:?}");
    }
}

#[test]
fn a_row_without_a_readable_end_is_hunted_all_the_same_and_not_bad() {
    let kept = both(&fields(&[("RemoteIP", " weird,\"text\" "), ("RemotePort", "99999")]));
    let hunted = kept.only().hunted.unwrap();
    assert_eq!((hunted.remote_ip, hunted.remote_port), (" weird,\"text\" ", None));
}

#[test]
fn the_account_is_the_process_account_only_where_no_column_has_its_name() {
    let account =
        |changes: &[(&str, &str)]| both(&fields(changes)).only().hunted.unwrap().account_name.to_owned();
    assert_eq!(account(&[]), "ann");
    assert_eq!(account(&[("AccountName", "svc")]), "svc");
    assert_eq!(account(&[("accountname", "")]), "", "the column is there, and empty");
    assert_eq!(
        json(
            r#"{"Timestamp":"2026-01-05 00:00:00","RemoteIP":"192.0.2.1","AccountName":null,
        "InitiatingProcessAccountName":"ann"}"#
        )
        .only()
        .hunted
        .unwrap()
        .account_name,
        ""
    );
}

#[test]
fn a_url_names_a_host_unless_it_is_an_address() {
    for (url, fqdn) in [
        ("cdn.example.net", "cdn.example.net"),
        ("http://a.example:8080/x", "a.example"),
        ("https://192.0.2.10/x", ""),
        ("[2001:db8::1]:443", ""),
        ("", ""),
    ] {
        let kept = both(&fields(&[("RemoteUrl", url)]));
        assert_eq!(connection_of(&kept).said.fqdn, fqdn, "{url}");
        assert_eq!(kept.only().hunted.unwrap().remote_url, url);
    }
}

#[test]
fn a_process_has_its_path_in_one_piece() {
    let image = |path: &str, name: &str| {
        let changes = [("InitiatingProcessFolderPath", path), ("InitiatingProcessFileName", name)];
        both(&fields(&changes)).only().process.unwrap().image.to_owned()
    };
    assert_eq!(image(r"c:\windows\svchost.exe", "svchost.exe"), r"c:\windows\svchost.exe");
    assert_eq!(image(r"c:\windows\SVCHOST.exe", "svchost.exe"), r"c:\windows\SVCHOST.exe");
    assert_eq!(image(r"c:\windows", "svchost.exe"), r"c:\windows\svchost.exe");
    assert_eq!(image("c:\\windows\\", "svchost.exe"), r"c:\windows\svchost.exe");
    assert_eq!(image(r"c:\notsvchost.exe", "svchost.exe"), r"c:\notsvchost.exe\svchost.exe");
    assert_eq!(image("/usr/bin", "curl"), "/usr/bin/curl");
    assert_eq!(image("/usr/bin/curl", "curl"), "/usr/bin/curl");
    assert_eq!(image("", "curl"), "curl");
    assert_eq!(image("/usr/bin/curl", ""), "/usr/bin/curl");
    assert_eq!(image("é", "aé"), "é\\aé");
}

#[test]
fn an_account_has_its_domain_where_it_has_one_and_a_process_may_be_untold() {
    let kept = both(&fields(&[("InitiatingProcessAccountDomain", "")]));
    assert_eq!(kept.only().process.unwrap().user, "ann");
    let untold = [
        ("InitiatingProcessId", "0"),
        ("InitiatingProcessFileName", ""),
        ("InitiatingProcessFolderPath", ""),
        ("InitiatingProcessSHA256", ""),
    ];
    assert_eq!(both(&fields(&untold)).only().process, None);
}

#[test]
fn an_inspected_handshake_says_what_its_client_said() {
    let said = r#"{"direction":"Out","server_name":"c2.example.org","established":"true",
        "ja3":"e7d705a3286e19ea42f587b344ee6865","ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1"}"#;
    let changes = [("ActionType", "SslConnectionInspected"), ("AdditionalFields", said), ("RemoteUrl", "")];
    let kept = both(&fields(&changes));
    let connection = connection_of(&kept);
    let expected = Said {
        sni: "c2.example.org",
        ja4: "t13d1516h2_8daaf6152771_e5627efa2ab1",
        protocol: AppProtocol::Tls,
        ..Said::default()
    };
    assert_eq!((connection.said, connection.outcome), (expected, Outcome::Established));

    for said in [r#"{"direction":"In","server_name":"a"}"#, r#"{"server_name":"a"}"#, "", "{", "[]"] {
        let changes = [("ActionType", "SslConnectionInspected"), ("AdditionalFields", said)];
        assert_eq!(both(&fields(&changes)).only().kind, Kind::Other, "{said}");
    }
    let changes = [("ActionType", "SshConnectionInspected"), ("AdditionalFields", r#"{"direction":"Out"}"#)];
    assert_eq!(connection_of(&both(&fields(&changes))).said.protocol, AppProtocol::Ssh);
}

#[test]
fn an_inspected_request_opens_a_connection_or_goes_on_in_one() {
    let of = |said: &str| {
        let changes =
            [("ActionType", "HttpConnectionInspected"), ("AdditionalFields", said), ("RemoteUrl", "")];
        both(&fields(&changes))
    };
    let kept = of(
        r#"{"direction":"Out","method":"GET","host":"a.example","user_agent":"m\\x \"y\"","trans_depth":"1"}"#,
    );
    let said = connection_of(&kept).said;
    assert_eq!(
        (said.http_host, said.user_agent, said.protocol),
        ("a.example", "m\\x \"y\"", AppProtocol::Http)
    );

    let kept = of(
        r#"{"direction":"Out","host":"a.example","trans_depth":2,"request_body_len":"7","response_body_len":"90"}"#,
    );
    let Kind::Exchange(exchange) = kept.only().kind else { panic!() };
    assert_eq!((exchange.bytes_out, exchange.bytes_in), (7, 90));
    assert_eq!(exchange.tuple.remote, "192.0.2.10:443".parse().unwrap());

    let kept = of(r#"{"direction":"Out","method":"CONNECT","uri":"hidden.example:8443"}"#);
    let said = connection_of(&kept).said;
    assert_eq!((said.connect_host, said.connect_port), ("hidden.example", 8443));
}

#[test]
fn an_inspected_query_is_a_query() {
    let said = r#"{"direction":"Out","query":"a.example","qtype":"1","rcode":"0","rcode_name":"NOERROR",
        "answers":"[\"alias.example\",\"192.0.2.1\",\"192.0.2.2\"]","TTLs":"[1200.0, 60.0]"}"#;
    let changes = [
        ("ActionType", "DnsConnectionInspected"),
        ("AdditionalFields", said),
        ("Protocol", "Udp"),
        ("RemotePort", "53"),
    ];
    let kept = both(&fields(&changes));
    let dns = dns_of(&kept);
    assert_eq!((dns.query, dns.query_type, dns.response_code, dns.ttl_secs), ("a.example", 1, Some(0), 60));
    assert_eq!(
        dns.addresses.to_vec()[..],
        ["192.0.2.1".parse::<IpAddr>().unwrap(), "192.0.2.2".parse().unwrap()]
    );
    assert_eq!((dns.client, dns.resolver), ("10.0.0.7".parse().ok(), "192.0.2.10:53".parse().ok()));
    assert!(kept.only().hunted.is_some(), "it is a row of the table");

    let of = |said: &str| {
        let kept = both(&fields(&[("ActionType", "DnsConnectionInspected"), ("AdditionalFields", said)]));
        let dns = dns_of(&kept);
        (dns.query_type, dns.response_code, dns.addresses.to_vec().len())
    };
    assert_eq!(
        of(r#"{"direction":"Out","query":"x.example","qtype":"16","answers":["TXT 9 192.0.2.1"]}"#),
        (16, None, 0)
    );
    assert_eq!(
        of(r#"{"direction":"out","query":"x.example","qtype":28,"rcode_name":"NXDOMAIN"}"#),
        (28, Some(3), 0)
    );
    assert_eq!(
        of(r#"{"direction":"Out","query":"x.example","qtype":1,"answers":["192.0.2.1"]}"#),
        (1, None, 1)
    );
}

#[test]
fn a_query_of_the_dns_client_is_a_query_and_not_hunted() {
    let of = |said: &str| {
        let row = [
            ("Timestamp", TIME),
            ("DeviceName", "pc"),
            ("ActionType", "DnsQueryResponse"),
            ("RemoteIP", ""),
            ("InitiatingProcessFileName", "a.exe"),
            ("InitiatingProcessId", "7"),
            ("AdditionalFields", said),
        ];
        let kept = both(&row);
        assert_eq!(kept.only().hunted, None);
        assert_eq!(kept.only().process.unwrap().image, "a.exe");
        let dns = dns_of(&kept);
        let addresses: Vec<String> = dns.addresses.to_vec().iter().map(ToString::to_string).collect();
        format!("{} {} {:?} {}", dns.query, dns.query_type, dns.response_code, addresses.join(","))
    };
    let objects = r#"{"DnsQueryString":"a.example","DnsQueryResult":[{"DnsQueryType":"CNAME","Result":"b.example"},
        {"DnsQueryType":"A","Result":"192.0.2.1"},{"DnsQueryType":"A","Result":"192.0.2.2"}]}"#;
    assert_eq!(of(objects), "a.example 1 Some(0) 192.0.2.1,192.0.2.2");
    let text = r#"{"DnsQueryString":"a.example","DnsQueryResult":"[{\"DnsQueryType\":28,\"Result\":\"2001:db8::1\"}]"}"#;
    assert_eq!(of(text), "a.example 28 Some(0) 2001:db8::1");
    assert_eq!(of(r#"{"DnsQueryString":"a.example","DnsQueryResult":["::1"]}"#), "a.example 28 Some(0) ::1");
    let txt =
        r#"{"DnsQueryString":"t.example","DnsQueryResult":[{"DnsQueryType":"TXT","Result":"v 192.0.2.1"}]}"#;
    assert_eq!(of(txt), "t.example 16 Some(0) ");
    assert_eq!(of(r#"{"DnsQueryString":"n.example","DnsQueryStatus":"9003"}"#), "n.example 1 Some(3) ");
    assert_eq!(of(r#"{"DnsQueryString":"n.example","DnsQueryResult":[]}"#), "n.example 1 None ");
    assert_eq!(of(r#"{"DnsQueryString":"n.example","DnsQueryType":"AAAA"}"#), "n.example 28 None ");
}

#[test]
fn only_rows_of_the_network_table_are_hunted() {
    let hunted = |column: &str, table: &str| {
        let kept = both(&fields(&[(column, table)]));
        (kept.only().hunted.is_some(), kept.only().kind != Kind::Other)
    };
    assert_eq!(hunted("Type", "DeviceNetworkEvents"), (true, true));
    assert_eq!(hunted("$table", "devicenetworkevents"), (true, true));
    assert_eq!(hunted("TableName", "DeviceNetworkEvents_CL"), (true, true));
    assert_eq!(hunted("Type", "DeviceEvents"), (false, true));
    assert_eq!(hunted("Type", "DeviceLogonEvents"), (false, false));
    assert_eq!(hunted("Type", "AdvancedHunting-AlertEvidence"), (false, false));
    assert_eq!(hunted("Type", "é"), (true, true));
}

#[test]
fn headers_come_in_many_dresses() {
    let header = "\u{feff}\"Timestamp [UTC]\",\"device name\",ACTIONTYPE,RemoteIP,\"RemotePort\"";
    let row = "\"Jan 5, 2026 3:04:05 PM\",pc,ConnectionSuccess,192.0.2.1,443";
    let kept = csv(&[header, row]);
    assert_eq!(kept.only().time, "2026-01-05T15:04:05Z".parse().unwrap());
    assert_eq!(kept.only().host, "pc");

    for separator in [";", "\t"] {
        let header =
            ["TimeGenerated [UTC]", "DeviceName", "ActionType", "RemoteIP", "RemotePort"].join(separator);
        let row = ["1/5/2026, 3:04:05.123 PM", "pc", "ConnectionSuccess", "192.0.2.1", "443"].join(separator);
        let kept = csv(&[&header, &row]);
        assert_eq!(kept.only().time, "2026-01-05T15:04:05.123Z".parse().unwrap());
        assert!(DefenderCsv::recognises(header.as_bytes()));
    }
    let declared = csv(&[
        "\u{feff}sep=|\r",
        "Timestamp|ActionType|RemoteIP\r",
        "2026-01-05 00:00:00|ConnectionSuccess|192.0.2.1",
    ]);
    connection_of(&declared);
}

#[test]
fn a_header_of_too_many_columns_is_none() {
    let wide = |count: usize| format!("Timestamp,ActionType,RemoteIP{}", ",x".repeat(count - 3));
    assert!(DefenderCsv::recognises(wide(columns::MAX_COLUMNS).as_bytes()));
    assert!(!DefenderCsv::recognises(wide(columns::MAX_COLUMNS + 1).as_bytes()));
    let names = vec!["Timestamp", "ActionType", "RemoteIP"].into_iter().chain(std::iter::repeat_n("x", 5000));
    let table = serde_json::json!({ "tables": [{ "columns": names.collect::<Vec<_>>(), "rows": [] }] });
    assert_eq!(json(&table.to_string()).causes(), [Cause::Header]);
}

#[test]
fn a_network_row_that_leaves_out_what_is_null_is_hunted() {
    let kept = json(r#"{"Timestamp":"2026-01-05 00:00:00","ActionType":"ListeningConnectionCreated"}"#);
    assert_eq!(kept.only().hunted.unwrap().action_type, "ListeningConnectionCreated");
}

#[test]
fn what_happened_counts_before_what_was_stored() {
    let both_times = [("TimeGenerated", "2026-01-05T09:00:00Z")];
    assert_eq!(both(&fields(&both_times)).only().time, TIME.parse().unwrap());
    let stored_only = [("TimeGenerated", "2026-01-05T09:00:00Z"), ("Timestamp", "")];
    assert_eq!(both(&fields(&stored_only)).only().time, "2026-01-05T09:00:00Z".parse().unwrap());
}

#[test]
fn a_repeated_header_is_no_row_and_may_change_the_order() {
    let kept = csv(&[
        "Timestamp,ActionType,RemoteIP,DeviceName",
        "2026-01-05 00:00:00,ConnectionSuccess,192.0.2.1,pc",
        "Timestamp,ActionType,RemoteIP,DeviceName",
        "2026-01-05 00:00:01,ConnectionSuccess,192.0.2.1,pc",
        "\u{feff}DeviceName,RemoteIP,ActionType,RemotePort,Timestamp",
        "pc,192.0.2.1,ConnectionSuccess,80,2026-01-05 00:00:02",
    ]);
    assert_eq!(kept.bad, []);
    assert_eq!(kept.rows().iter().map(|row| row.host).collect::<Vec<_>>(), ["pc"; 3]);
}

#[test]
fn clones_know_the_header() {
    let mut reader = DefenderCsv::new();
    let mut kept = Kept::default();
    reader.record(b"Timestamp,ActionType,RemoteIP", &mut kept);
    reader.clone().record(b"2026-01-05 00:00:00,ConnectionSuccess,192.0.2.1", &mut kept);
    connection_of(&kept);
}

#[test]
fn a_bad_row_costs_itself_and_says_why() {
    let header = "Timestamp,DeviceName,ActionType,RemoteIP,InitiatingProcessCommandLine";
    let (mut reader, mut kept) = (DefenderCsv::new(), Kept::default());
    reader.record(b"some,other,table", &mut kept);
    for record in [
        header.as_bytes(),
        b"yesterday,pc,ConnectionSuccess,192.0.2.1,a",
        b",pc,ConnectionSuccess,192.0.2.1,a",
        b"2026-01-05 00:00:00,pc,ConnectionSuccess,192.0.2.1",
        b"2026-01-05 00:00:00,pc,ConnectionSuccess,192.0.2.1,a,b",
        b"2026-01-05 00:00:00,p\xfc,ConnectionSuccess,192.0.2.1,a",
        b"",
        b"2026-01-05 00:00:00,pc,ConnectionSuccess,192.0.2.1,M\xfcller.exe",
    ] {
        reader.record(record, &mut kept);
    }
    let expected =
        [Cause::Header, Cause::Time, Cause::Missing, Cause::Columns, Cause::Columns, Cause::Encoding];
    assert_eq!(kept.causes(), expected);
    assert_eq!(kept.bad[1].to_string(), "Timestamp: not a time, found `yesterday`");
    assert_eq!(
        kept.bad[4].to_string(),
        "row: number of columns differs from the header's, found `6 instead of 5`"
    );
    assert_eq!(
        kept.rows.len(),
        1,
        "a command line in another code page is not told, and no reason to lose the row"
    );

    assert_eq!(json("{").causes(), [Cause::Json]);
    assert_eq!(json("7").causes(), [Cause::Json]);
    assert_eq!(json("{}").causes(), [Cause::Missing]);
    assert_eq!(json(r#"{"error":{"code":"BadRequest"}}"#).causes(), [Cause::Missing]);
    assert_eq!(json(r#"{"Timestamp":true}"#).causes(), [Cause::Time]);
    assert_eq!(
        json(r#"{"Results":[{"Timestamp":"x"},3,{"Timestamp":"2026-01-05 00:00:00"}]}"#).rows.len(),
        1
    );
    let mut kept = Kept::default();
    DefenderJson::new().record(b"{\"Timestamp\":\"\xff\"}", &mut kept);
    assert_eq!(kept.causes(), [Cause::Encoding]);
    assert_eq!(json(&"[".repeat(1000)).rows.len(), 0);
    assert_eq!(json(&format!("{}1{}", "[".repeat(50), "]".repeat(50))).causes(), [Cause::Json]);
}

#[test]
fn json_rows_are_the_same_in_every_wrapper() {
    let row = object(&fields(&[("AdditionalFields", r#"{"direction":"Out"}"#)]));
    let plain = json(&row);
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&row).unwrap()).unwrap();
    let streamed = format!(
        r#"{{"time":"2026-01-05T04:00:00Z","tenantId":"t","operationName":"Publish","category":"AdvancedHunting-DeviceNetworkEvents","properties":{row}}}"#
    );
    for wrapped in [
        format!("\u{feff}{row}\r\n"),
        pretty,
        format!(
            r#"{{"Stats":{{"ExecutionTime":1}},"Schema":[{{"Name":"Timestamp","Type":"DateTime"}}],"Results":[{row}]}}"#
        ),
        format!(r#"{{"schema":[],"results":[{row}]}}"#),
        format!(r#"{{"@odata.context":"x","value":[{row}]}}"#),
        format!("[{row}]"),
        streamed.clone(),
        format!(r#"{{"records":[{streamed}]}}"#),
        format!(r#"[{{"records":[{streamed}]}}]"#),
    ] {
        let kept = json(&wrapped);
        assert_eq!((kept.rows(), &kept.bad), (plain.rows(), &plain.bad), "{wrapped}");
        assert!(DefenderJson::recognises(wrapped.as_bytes()), "{wrapped}");
    }
    let lower = object(&fields(&[]))
        .replace("\"RemoteIP\"", "\"remoteIP\"")
        .replace("\"DeviceName\"", "\"deviceName\"");
    assert_eq!(json(&lower).rows(), both(&fields(&[])).rows());
}

#[test]
fn json_of_log_analytics_has_its_columns_beside_its_rows() {
    let row = fields(&[]);
    let names: Vec<serde_json::Value> =
        row.iter().map(|(name, _)| serde_json::json!({ "type": "string", "name": name })).collect();
    let values: Vec<&str> = row.iter().map(|(_, value)| *value).collect();
    let text = serde_json::json!({ "tables": [
        { "name": "PrimaryResult", "columns": names, "rows": [values, values, ["short"]] },
        { "name": "Other", "columns": [{ "name": "a" }], "rows": [] },
        { "name": "Broken" },
    ] })
    .to_string();
    let kept = json(&text);
    let once = both(&row).rows[0].clone();
    assert_eq!(kept.rows, [once.clone(), once]);
    assert_eq!(kept.causes(), [Cause::Columns, Cause::Header, Cause::Json]);
    assert!(DefenderJson::recognises(text.as_bytes()));
}

#[test]
fn json_values_are_taken_as_numbers_texts_or_nothing() {
    let kept = json(
        r#"{"Timestamp":"2026-01-05T00:00:00Z","ActionType":"ConnectionSuccess","RemoteIP":"192.0.2.1","RemotePort":443,
        "LocalIP":null,"LocalPort":null,"RemoteUrl":{"odd":1},"InitiatingProcessId":"77","DeviceName":"pc"}"#,
    );
    assert_eq!(connection_of(&kept).tuple.remote, "192.0.2.1:443".parse().unwrap());
    assert_eq!(connection_of(&kept).tuple.local, "0.0.0.0:0".parse().unwrap());
    let row = kept.only();
    assert_eq!((row.process.unwrap().pid, row.hunted.unwrap().remote_url), (77, ""));

    let nested = r#"{"Timestamp":"2026-01-05T00:00:00Z","ActionType":"DnsQueryResponse",
        "AdditionalFields":{"DnsQueryString":"a.example","DnsQueryResult":[{"Result":"192.0.2.1"}]}}"#;
    assert_eq!(dns_of(&json(nested)).query, "a.example");
}

#[test]
fn rows_of_other_tables_in_a_stream_count_only_as_time() {
    let kept = json(
        r#"{"category":"AdvancedHunting-DeviceProcessEvents","properties":{"Timestamp":"2026-01-05T00:00:00Z",
        "ActionType":"ProcessCreated","AccountName":"x","DeviceName":"pc"}}"#,
    );
    assert_eq!((kept.only().kind, kept.only().hunted), (Kind::Other, None));
    assert!(DefenderJson::recognises(br#"{"category":"AdvancedHunting-DeviceProcessEvents","prop"#));
}

#[test]
fn a_file_is_recognised_by_its_beginning_only_if_it_is_one() {
    let header = line(fields(&[]).iter().map(|(name, _)| name));
    assert!(DefenderCsv::recognises(header.as_bytes()));
    assert!(DefenderCsv::recognises(format!("\u{feff}\r\nsep=,\r\n{header}x").as_bytes()));
    assert!(DefenderCsv::recognises(b"Timestamp,DeviceName,AccountName,ActionType,RemoteIP,Rem"));
    for other in [
        "",
        "\n\n",
        "a,b,c",
        "timestamp,src_ip,dst_ip,dst_port",
        "ts\tuid\tid.orig_h",
        "sep=,\nsep=,\nsep=;",
        "time,host,score",
        "{\"Timestamp\":1}",
    ] {
        assert!(!DefenderCsv::recognises(other.as_bytes()), "{other}");
    }
    for other in [
        "",
        "{}",
        "{\"ts\":1.5,\"uid\":\"C\",\"id.orig_h\":\"10.0.0.1\"}",
        "{\"@timestamp\":\"x\",\"winlog\":{\"event_id\":3}}",
        "{\"timestamp\":\"x\",\"event_type\":\"flow\",\"src_ip\":\"10.0.0.1\",\"proto\":\"TCP\"}",
        "{\"type\":\"header\",\"version\":1}",
        "Timestamp,ActionType,RemoteIP",
    ] {
        assert!(!DefenderJson::recognises(other.as_bytes()), "{other}");
    }
}

proptest! {
    #[test]
    fn any_bytes_return(records in proptest::collection::vec(any::<Vec<u8>>(), 0..4)) {
        let mut kept = Kept::default();
        let (mut table, mut lines) = (DefenderCsv::new(), DefenderJson::new());
        table.record(b"Timestamp,ActionType,RemoteIP,AdditionalFields", &mut kept);
        for record in &records {
            let _ = (DefenderCsv::recognises(record), DefenderJson::recognises(record));
            table.record(record, &mut kept);
            lines.record(record, &mut kept);
        }
    }

    #[test]
    fn any_additional_fields_return(
        action in 0usize..4,
        said in "(\\{\"direction\":\"Out\",\"query\":\"a\",\"answers\":)?[\\[\\]{}\",:\\\\0-9a-f.TXAL ]{0,40}",
    ) {
        let action = ["DnsQueryResponse", "DnsConnectionInspected", "HttpConnectionInspected", "ConnectionFailed"][action];
        both(&fields(&[("ActionType", action), ("AdditionalFields", &said)]));
    }

    #[test]
    fn the_order_of_columns_is_of_no_account(row in Just(fields(&[("AccountName", "svc")])).prop_shuffle()) {
        let plain = both(&fields(&[("AccountName", "svc")]));
        let shuffled = both(&row);
        prop_assert_eq!(shuffled.rows(), plain.rows());
    }

    #[test]
    fn hunted_texts_are_letter_by_letter(texts in proptest::collection::vec("[\\PC\r\n\",;\t']*", 6)) {
        let names = ["DeviceName", "AccountName", "RemoteIP", "RemoteIPType", "RemoteUrl", "InitiatingProcessFileName"];
        let changes: Vec<(&str, &str)> = names.into_iter().zip(texts.iter().map(String::as_str)).collect();
        let kept = both(&fields(&changes));
        let hunted = kept.only().hunted.unwrap();
        let read = [hunted.device_name, hunted.account_name, hunted.remote_ip, hunted.remote_ip_type,
            hunted.remote_url, hunted.process_name];
        prop_assert_eq!(read.to_vec(), texts);
    }
}

#[test]
fn a_header_in_the_middle_is_told_from_rows_without_reading_them() {
    let mut reader = DefenderCsv::new();
    assert!(reader.may_be_header(b"2026-01-05T00:00:00Z,pc"), "before a header, anything may be one");
    reader.record(b"Timestamp,DeviceName,ActionType,RemoteIP", &mut Kept::default());
    assert!(reader.may_be_header(b"\"DeviceName\",\"Timestamp\",\"ActionType\",\"RemoteIP\""));
    assert!(!reader.may_be_header(b"2026-01-05T00:00:00Z,pc,ConnectionSuccess,192.0.2.1"));
    assert!(!reader.may_be_header(b"workstation,2026-01-05T00:00:00Z,ConnectionSuccess,192.0.2.1"));
}
