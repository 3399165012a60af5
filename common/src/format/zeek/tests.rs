//! Rows and headers of every kind, in both forms, and what each rule makes of them.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{ZeekJson, ZeekTsv};
use crate::event::{AppProtocol, Outcome};
use crate::format::kept::Kept;
use crate::format::row::{ATTRIBUTES_LEAD, Cause, Kind, Row};
use crate::net::Transport;
use crate::time::Timestamp;

fn tsv(text: &str) -> Kept {
    tsv_bytes(text.as_bytes())
}

fn tsv_bytes(text: &[u8]) -> Kept {
    let (mut reader, mut seen) = (ZeekTsv::new(), Kept::default());
    for line in text.split(|&b| b == b'\n') {
        reader.record(line, &mut seen);
    }
    seen
}

fn json(text: &str) -> Kept {
    let (mut reader, mut seen) = (ZeekJson::new(), Kept::default());
    for line in text.split('\n') {
        reader.record(line.as_bytes(), &mut seen);
    }
    seen
}

/// A log of one row, given as columns and values.
fn log(path: &str, columns: &[(&str, &str)]) -> String {
    let line = |of: fn(&(&str, &str)) -> String| columns.iter().map(of).collect::<Vec<_>>().join("\t");
    let path = if path.is_empty() { String::new() } else { format!("#path\t{path}\n") };
    format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n{path}#open\tx\n#fields\t{}\n#types\tx\n{}\n#close\tx\n",
        line(|c| c.0.into()),
        line(|c| c.1.into())
    )
}

/// The columns with some of them replaced or, where there are none such, added.
fn with<'a>(columns: &[(&'a str, &'a str)], changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut columns = columns.to_vec();
    for &(name, value) in changed {
        match columns.iter_mut().find(|column| column.0 == name) {
            Some(column) => column.1 = value,
            None => columns.push((name, value)),
        }
    }
    columns
}

const CONN: [(&str, &str); 21] = [
    ("ts", "1672843056.913119"),
    ("uid", "CExample1"),
    ("id.orig_h", "10.0.0.5"),
    ("id.orig_p", "55548"),
    ("id.resp_h", "192.0.2.7"),
    ("id.resp_p", "443"),
    ("proto", "tcp"),
    ("service", "ssl"),
    ("duration", "0.084044"),
    ("orig_bytes", "1030"),
    ("resp_bytes", "20275"),
    ("conn_state", "SF"),
    ("local_orig", "T"),
    ("local_resp", "F"),
    ("missed_bytes", "0"),
    ("history", "ShADadFf"),
    ("orig_pkts", "18"),
    ("orig_ip_bytes", "1974"),
    ("resp_pkts", "14"),
    ("resp_ip_bytes", "21011"),
    ("tunnel_parents", "-"),
];

const DNS: [(&str, &str); 13] = [
    ("ts", "1672843056.000001"),
    ("uid", "CExample2"),
    ("id.orig_h", "10.0.0.5"),
    ("id.orig_p", "5353"),
    ("id.resp_h", "10.0.0.1"),
    ("id.resp_p", "53"),
    ("query", "A.Example"),
    ("qtype", "1"),
    ("qtype_name", "A"),
    ("rcode", "0"),
    ("rcode_name", "NOERROR"),
    ("answers", "cdn.example,TXT 5 a\\x2cb,192.0.2.7,192.0.2.8,2001:db8::1"),
    ("TTLs", "300.000000,60.000000,61.500000"),
];

const HTTP: [(&str, &str); 13] = [
    ("ts", "1672843057.5"),
    ("uid", "CExample3"),
    ("id.orig_h", "10.0.0.5"),
    ("id.orig_p", "40000"),
    ("id.resp_h", "192.0.2.7"),
    ("id.resp_p", "80"),
    ("trans_depth", "1"),
    ("method", "GET"),
    ("host", "www.example.org"),
    ("uri", "/a"),
    ("user_agent", "agent\\x09/1"),
    ("request_body_len", "12"),
    ("response_body_len", "345"),
];

const SSL: [(&str, &str); 10] = [
    ("ts", "1672843057.000000"),
    ("uid", "CExample1"),
    ("id.orig_h", "10.0.0.5"),
    ("id.orig_p", "55548"),
    ("id.resp_h", "192.0.2.7"),
    ("id.resp_p", "443"),
    ("version", "TLSv13"),
    ("server_name", "C2.example.org"),
    ("established", "T"),
    ("ja4", "t13d1516h2_8daaf6152771_e5627efa2ab1"),
];

const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_handshake_gives_the_servers_own_certificate() {
    let said = |seen: &Kept| match seen.only().kind {
        Kind::Attributes(row) => row.said.certificate_sha256.to_owned(),
        other => panic!("{other:?}"),
    };
    let chain = format!("{SHA256},{}", "ab".repeat(32));
    assert_eq!(said(&tsv(&log("ssl", &with(&SSL, &[("cert_chain_fps", &chain)])))), SHA256);
    assert_eq!(said(&tsv(&log("ssl", &with(&SSL, &[("client_cert_chain_fps", &chain)])))), "");
    for unset in ["-", "(empty)"] {
        assert_eq!(said(&tsv(&log("ssl", &with(&SSL, &[("cert_chain_fps", unset)])))), "");
    }
    let object = |list: &str| {
        json(&format!(
            r#"{{"_path":"ssl","ts":1672843057.0,"uid":"CExample1","id.orig_h":"10.0.0.5","cert_chain_fps":{list}}}"#
        ))
    };
    assert_eq!(said(&object(&format!(r#"["{SHA256}","{}"]"#, "ab".repeat(32)))), SHA256);
    assert_eq!(said(&object("[]")), "");
}

/// As Zeek before version 4 has it, and Zeek 5.1 and later where it is told to.
#[test]
fn the_log_of_files_gives_the_servers_own_certificate_and_nothing_else() {
    let old = [
        ("ts", "1672843057.000000"),
        ("fuid", "FExample1"),
        ("tx_hosts", "192.0.2.7"),
        ("rx_hosts", "10.0.0.5"),
        ("conn_uids", "CExample1,CExample9"),
        ("source", "SSL"),
        ("mime_type", "application/x-x509-user-cert"),
        ("is_orig", "F"),
        ("seen_bytes", "1200"),
        ("sha1", SHA1),
        ("sha256", "-"),
    ];
    let seen = tsv(&log("files", &old));
    let Kind::Attributes(row) = seen.only().kind else { panic!("{seen:?}") };
    assert_eq!((row.uid, row.client), ("CExample1", "10.0.0.5".parse().ok()));
    assert_eq!((row.said.certificate_sha1, row.said.certificate_sha256), (SHA1, ""));
    assert_eq!(tsv(&log("", &old)), seen, "told by its columns");
    let object = format!(
        r#"{{"ts":1672843057.0,"fuid":"FExample1","tx_hosts":["192.0.2.7"],"rx_hosts":["10.0.0.5"],"conn_uids":["CExample1","CExample9"],"mime_type":"application/x-x509-user-cert","is_orig":false,"seen_bytes":1200,"sha1":"{SHA1}"}}"#
    );
    assert_eq!(json(&object), seen);
    let new =
        with(&old, &[("conn_uids", "-"), ("rx_hosts", "-"), ("uid", "CExample1"), ("id.orig_h", "10.0.0.5")]);
    assert_eq!(tsv(&log("files", &new)), seen);
    for other in [
        ("mime_type", "application/x-x509-ca-cert"),
        ("mime_type", "text/html"),
        ("mime_type", "-"),
        ("is_orig", "T"),
        ("sha1", "-"),
    ] {
        assert_eq!(tsv(&log("files", &with(&old, &[other]))).only().kind, Kind::Other, "{other:?}");
    }
}

#[test]
fn a_connection_is_read_whole() {
    let seen = tsv(&log("conn", &CONN));
    let row = seen.connection();
    assert_eq!(row.uid, "CExample1");
    assert_eq!(row.tuple.transport, Transport::Tcp);
    assert_eq!(
        (row.tuple.local.to_string(), row.tuple.remote.to_string()),
        ("10.0.0.5:55548".into(), "192.0.2.7:443".into())
    );
    assert_eq!(row.start, Timestamp::from_nanos(1_672_843_056_913_119_000));
    assert_eq!(row.duration, Some(84_044_000));
    assert_eq!((row.bytes_out, row.bytes_in, row.ip_bytes_out), (Some(1030), Some(20275), Some(1974)));
    assert_eq!((row.outcome, row.opener_is_local), (Outcome::Established, Some(true)));
    assert_eq!(row.said.protocol, AppProtocol::Tls);
}

#[test]
fn unset_and_missing_columns_are_just_not_known() {
    let unset = with(
        &CONN,
        &[
            "uid",
            "service",
            "duration",
            "orig_bytes",
            "resp_bytes",
            "local_orig",
            "orig_ip_bytes",
            "conn_state",
        ]
        .map(|name| (name, "-")),
    );
    let seen = tsv(&log("conn", &unset));
    let row = seen.connection();
    assert_eq!((row.uid, row.duration, row.bytes_out, row.bytes_in), ("", None, None, None));
    assert_eq!((row.ip_bytes_out, row.opener_is_local, row.outcome), (None, None, Outcome::Unknown));
    let few: Vec<_> = unset.iter().filter(|c| c.1 != "-").copied().collect();
    assert_eq!(tsv(&log("conn", &few)), seen);
    let empty: Vec<_> = unset.iter().map(|c| if c.1 == "-" { (c.0, "(empty)") } else { *c }).collect();
    assert_eq!(tsv(&log("conn", &empty)), seen);
}

#[test]
fn each_state_of_a_connection_has_its_outcome() {
    for (states, outcome) in [
        ("SF S1 S2 S3", Outcome::Established),
        ("S0 SH RSTOS0", Outcome::Unanswered),
        ("REJ", Outcome::Refused),
        ("RSTO RSTR", Outcome::Reset),
        ("RSTRH SHR OTH XYZ", Outcome::Unknown),
    ] {
        for state in states.split(' ') {
            let seen = tsv(&log("conn", &with(&CONN, &[("conn_state", state)])));
            assert_eq!(seen.connection().outcome, outcome, "{state}");
        }
    }
}

#[test]
fn the_service_is_the_innermost_that_was_found() {
    for (service, protocol) in [
        ("http,ssl", AppProtocol::Tls),
        ("ssl,quic", AppProtocol::Quic),
        ("ssh", AppProtocol::Ssh),
        ("http", AppProtocol::Http),
        ("-ssl,http", AppProtocol::Http),
        ("dns", AppProtocol::Unknown),
    ] {
        let seen = tsv(&log("conn", &with(&CONN, &[("service", service)])));
        assert_eq!(seen.connection().said.protocol, protocol, "{service}");
    }
}

#[test]
fn of_icmp_only_an_echo_request_is_a_call() {
    let icmp = |from, to, kind, pkts| {
        let changed = [
            ("id.orig_h", from),
            ("id.resp_h", to),
            ("id.orig_p", kind),
            ("id.resp_p", "0"),
            ("proto", "icmp"),
        ];
        tsv(&log("conn", &with(&with(&CONN, &changed), &[("conn_state", "OTH"), ("resp_pkts", pkts)])))
    };
    let seen = icmp("10.0.0.5", "192.0.2.7", "8", "3");
    let row = seen.connection();
    assert_eq!((row.tuple.transport, row.outcome), (Transport::Icmp, Outcome::Established));
    assert_eq!((row.tuple.local.port(), row.tuple.remote.port()), (0, 0));
    assert_eq!(icmp("10.0.0.5", "192.0.2.7", "8", "0").connection().outcome, Outcome::Unanswered);
    assert_eq!(icmp("10.0.0.5", "192.0.2.7", "8", "-").connection().outcome, Outcome::Unknown);
    assert_eq!(icmp("2001:db8::1", "2001:db8::2", "128", "1").connection().tuple.local.port(), 0);
    for (from, to, kind) in [
        ("10.0.0.5", "192.0.2.7", "3"),
        ("10.0.0.5", "192.0.2.7", "128"),
        ("fe80::1", "ff02::2", "133"),
        ("2001:db8::1", "2001:db8::2", "8"),
    ] {
        assert_eq!(icmp(from, to, kind, "1").only().kind, Kind::Other);
    }
    assert_eq!(tsv(&log("conn", &with(&CONN, &[("proto", "unknown_transport")]))).only().kind, Kind::Other);
}

#[test]
fn a_sensor_that_knows_no_networks_does_not_say_who_is_local() {
    for (orig, resp, told) in [
        ("T", "F", Some(true)),
        ("T", "T", Some(true)),
        ("F", "T", Some(false)),
        ("F", "F", None),
        ("F", "-", Some(false)),
        ("-", "F", None),
    ] {
        let seen = tsv(&log("conn", &with(&CONN, &[("local_orig", orig), ("local_resp", resp)])));
        assert_eq!(seen.connection().opener_is_local, told, "{orig} {resp}");
    }
}

#[test]
fn udp_and_ipv6_are_read_too() {
    let changed = [("proto", "udp"), ("id.orig_h", "fe80::1%eth0"), ("id.resp_h", "2001:db8::7")];
    let seen = tsv(&log("conn", &with(&CONN, &changed)));
    let row = seen.connection();
    assert_eq!((row.tuple.transport, row.opener_is_local), (Transport::Udp, Some(true)));
    assert_eq!(row.tuple.remote.to_string(), "[2001:db8::7]:443");
}

#[test]
fn a_query_comes_with_its_answer() {
    let seen = tsv(&log("dns", &DNS));
    let row = seen.dns();
    assert_eq!(row.client, "10.0.0.5".parse().ok());
    assert_eq!(row.resolver, "10.0.0.1:53".parse().ok());
    assert_eq!((row.start.nanos(), row.query), (1_672_843_056_000_001_000, "A.Example"));
    assert_eq!((row.query_type, row.response_code, row.ttl_secs), (1, Some(0), 60));
    let addresses: Vec<IpAddr> =
        ["192.0.2.7", "192.0.2.8", "2001:db8::1"].map(|ip| ip.parse().unwrap()).into();
    assert_eq!(row.addresses.to_vec().as_slice(), addresses);

    let unanswered = ["rcode", "rcode_name", "answers", "TTLs"].map(|name| (name, "-"));
    let seen = tsv(&log("dns", &with(&DNS, &unanswered)));
    let row = seen.dns();
    assert_eq!((row.response_code, row.addresses.to_vec().len(), row.ttl_secs), (None, 0, 0));

    let names = [("qtype", "-"), ("qtype_name", "TXT"), ("rcode", "-"), ("rcode_name", "NXDOMAIN")];
    let seen = tsv(&log("dns", &with(&DNS, &names)));
    assert_eq!((seen.dns().query_type, seen.dns().response_code), (16, Some(3)));
    assert_eq!(tsv(&log("dns", &with(&DNS, &[("query", "-")]))).only().kind, Kind::Other);
}

#[test]
fn the_first_request_names_the_connection_and_later_ones_are_exchanges() {
    let seen = tsv(&log("http", &HTTP));
    let row = seen.only();
    let Kind::Attributes(said) = row.kind else { panic!("{row:?}") };
    assert_eq!(row.time, Timestamp::from_nanos(1_672_843_057_500_000_000).plus_nanos(-ATTRIBUTES_LEAD));
    assert_eq!(
        (said.uid, said.said.http_host, said.said.user_agent),
        ("CExample3", "www.example.org", "agent\t/1")
    );
    assert_eq!((said.said.protocol, said.said.connect_host), (AppProtocol::Http, ""));
    assert_eq!(tsv(&log("http", &with(&HTTP, &[("trans_depth", "-")]))), seen);

    let seen = tsv(&log("http", &with(&HTTP, &[("trans_depth", "2")])));
    let row = seen.only();
    let Kind::Exchange(exchange) = row.kind else { panic!("{row:?}") };
    assert_eq!(row.time, Timestamp::from_nanos(1_672_843_057_500_000_000));
    assert_eq!((exchange.uid, exchange.bytes_out, exchange.bytes_in), ("CExample3", 12, 345));
    assert_eq!(exchange.tuple.remote.to_string(), "192.0.2.7:80");
    assert_eq!((exchange.said.http_host, exchange.said.user_agent), ("www.example.org", "agent\t/1"));
}

#[test]
fn connect_names_whom_the_proxy_is_asked_for() {
    let connect = [("method", "CONNECT"), ("host", "c2.example"), ("uri", "c2.example:8443")];
    let seen = tsv(&log("http", &with(&HTTP, &connect)));
    let Kind::Attributes(row) = seen.only().kind else { panic!() };
    assert_eq!((row.said.connect_host, row.said.connect_port, row.said.http_host), ("c2.example", 8443, ""));
}

#[test]
fn a_handshake_gives_name_and_fingerprint() {
    let seen = tsv(&log("ssl", &SSL));
    let row = seen.only();
    let Kind::Attributes(said) = row.kind else { panic!("{row:?}") };
    assert_eq!(row.time, Timestamp::from_nanos(1_672_843_057_000_000_000).plus_nanos(-ATTRIBUTES_LEAD));
    assert_eq!((said.uid, said.said.sni), ("CExample1", "C2.example.org"));
    assert_eq!(said.said.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    for (version, protocol) in [
        ("TLSv12", AppProtocol::Tls),
        ("-", AppProtocol::Tls),
        ("DTLSv12", AppProtocol::Unknown),
        ("QUICv1", AppProtocol::Quic),
    ] {
        let seen = tsv(&log("ssl", &with(&SSL, &[("version", version)])));
        let Kind::Attributes(said) = seen.only().kind else { panic!() };
        assert_eq!(said.said.protocol, protocol, "{version}");
    }
    let seen = tsv(&log("quic", &with(&SSL, &[("version", "1")])));
    let Kind::Attributes(said) = seen.only().kind else { panic!() };
    assert_eq!((said.said.protocol, said.said.sni), (AppProtocol::Quic, "C2.example.org"));
}

#[test]
fn logs_of_open_connections_are_read_as_their_closed_kin() {
    for (path, columns) in [("conn", &CONN[..]), ("http", &HTTP), ("ssl", &SSL)] {
        let seen = tsv(&log(path, columns));
        assert_eq!(tsv(&log(&format!("open_{path}"), columns)), seen);
        assert_eq!(tsv(&log(&format!("{path}_red"), columns)), seen);
        assert_eq!(tsv(&log("", columns)), seen, "without a path, the columns tell");
    }
    assert_eq!(tsv(&log("conn_long", &CONN)), tsv(&log("conn", &CONN)));
    assert_eq!(tsv(&log("", &DNS)), tsv(&log("dns", &DNS)));
    let quic = with(&SSL, &[("client_initial_dcid", "x")]);
    assert_eq!(tsv(&log("", &quic)), tsv(&log("quic", &quic)));
    assert_eq!(tsv(&log("", &with(&HTTP, &[("call_id", "x")]))).only().kind, Kind::Other, "SIP is no HTTP");
}

#[test]
fn other_logs_are_passed_over_without_an_error_and_named() {
    let files = log("weird", &with(&CONN[..2], &[("fuid", "F1")]));
    let seen = tsv(&files);
    assert_eq!(seen.only(), Row { time: Timestamp::from_nanos(1_672_843_056_913_119_000), ..Row::default() });
    let (mut reader, mut seen) = (ZeekTsv::new(), Kept::default());
    assert_eq!(reader.unused(), None);
    for line in files.lines() {
        reader.record(line.as_bytes(), &mut seen);
    }
    assert_eq!(reader.unused(), Some("weird"));
    assert_eq!(tsv(&log("loaded_scripts", &[("name", "a.zeek")])), Kept::default(), "no time, no row");
    let seen = json(r#"{"_path":"stats","ts":1.5,"mem":7}"#);
    assert_eq!(seen.only(), Row { time: Timestamp::from_nanos(1_500_000_000), ..Row::default() });
}

#[test]
fn separators_and_marks_are_those_of_the_header() {
    let names = CONN.map(|c| c.0).join("||");
    let values =
        CONN.map(|c| if c.1 == "-" { "NIL" } else { c.1 }).join("||").replace("||ssl||", "||http;ssl||");
    let values = values.replace("||T||", "||none||");
    let text = format!(
        "#separator \\x7c|\n#set_separator||;\n#empty_field||none\n#unset_field||NIL\n#path||conn\n#fields||{names}\n{values}\n"
    );
    let expected = with(&CONN, &[("service", "http,ssl"), ("local_orig", "-")]);
    assert_eq!(tsv(&text), tsv(&log("conn", &expected)));
}

#[test]
fn concatenated_files_have_each_their_own_header() {
    let short: Vec<_> = with(&CONN, &[]).into_iter().rev().filter(|c| c.0 != "history").collect();
    let comma = log("conn", &CONN).replace('\t', ";").replace("\\x09", ";");
    let text =
        [log("conn", &CONN), log("dns", &DNS), log("conn", &short), comma, log("http", &HTTP)].concat();
    let seen = tsv(&text);
    assert_eq!(seen.bad, []);
    let rows = seen.rows();
    assert_eq!((rows.len(), rows[0]), (5, rows[2]));
    assert_eq!(rows[0], rows[3]);
    assert!(matches!((rows[1].kind, rows[4].kind), (Kind::Dns(_), Kind::Attributes(_))));
}

#[test]
fn labels_behind_the_columns_are_passed_over() {
    let expected = tsv(&log("conn", &CONN));
    let tabs = with(&CONN, &[("label", "Malicious"), ("detailedlabel", "C&C")]);
    assert_eq!(tsv(&log("conn", &tabs)), expected);
    let mut spaces = CONN;
    spaces[20] =
        ("tunnel_parents   label   detailed-label", "(empty)   Malicious   PartOfAHorizontalPortScan");
    assert_eq!(tsv(&log("conn", &spaces)), expected);
    let unnamed = log("conn", &CONN).replace("21011\t-\n", "21011\t-\tBenign\t(empty)\n");
    assert_eq!(tsv(&unnamed), expected);
}

#[test]
fn a_bad_row_costs_itself_alone_and_says_why() {
    for (column, value, cause) in [
        ("ts", "yesterday", Cause::Time),
        ("ts", "-", Cause::Missing),
        ("id.orig_h", "10.0.0", Cause::Address),
        ("id.resp_h", "-", Cause::Missing),
        ("id.resp_p", "65536", Cause::Port),
        ("proto", "-", Cause::Missing),
        ("duration", "1:00", Cause::Number),
        ("orig_bytes", "-7", Cause::Number),
    ] {
        let good = log("conn", &CONN);
        let changed = with(&CONN, &[(column, value)]).iter().map(|c| c.1).collect::<Vec<_>>().join("\t");
        let seen = tsv(&format!("{good}{changed}\n{}\n", CONN.map(|c| c.1).join("\t")));
        assert_eq!((seen.rows.len(), seen.causes()), (2, vec![cause]), "{column} {value}");
        assert!(seen.bad[0].to_string().starts_with(column), "{}", seen.bad[0]);
    }
    let cut = log("conn", &CONN).replace("\t21011\t-\n", "\t21011\n");
    assert_eq!(tsv(&cut).causes(), [Cause::Columns]);
    assert_eq!(tsv("1.5\tx\ty\n").causes(), [Cause::Header]);
    let wide = format!("#separator \\x09\n#path\tconn\n#fields\t{}\n1.5\tx\n", "a\t".repeat(600));
    assert_eq!(tsv(&wide).causes(), [Cause::Columns, Cause::Header]);
    assert_eq!(tsv("#separator \\x09\n\n\r\n"), Kept::default(), "an empty line is nothing");
}

#[test]
fn escapes_become_what_they_stand_for() {
    let sni = |name: &str| {
        let seen = tsv(&log("ssl", &with(&SSL, &[("server_name", name)])));
        let Kind::Attributes(row) = seen.only().kind else { panic!() };
        row.said.sni.to_owned()
    };
    assert_eq!(sni(r"a\x2eb"), "a.b");
    assert_eq!(sni(r"\xc3\xbc\\x2d"), r"ü\x2d");
    assert_eq!(sni(r"\x2d"), "-", "an escaped mark is a value");
    assert_eq!(sni(r"a\xff\x2eb"), r"a\xff\x2eb", "what is no text stays as it was written");
    assert_eq!(sni(r"a\x2g\"), r"a\x2g\");
}

#[test]
fn bytes_that_are_no_text_do_not_hide_a_connection() {
    let mut text = log("ssl", &SSL).into_bytes();
    let at = memchr::memmem::find(&text, b"C2.ex").unwrap();
    text[at] = 0xff;
    let seen = tsv_bytes(&text);
    let Kind::Attributes(row) = seen.only().kind else { panic!() };
    assert_eq!((row.uid, row.said.sni), ("CExample1", "\u{fffd}2.example.org"));
    let mut seen = Kept::default();
    ZeekJson::new()
        .record(b"{\"_path\":\"ssl\",\"ts\":1,\"uid\":\"C\",\"server_name\":\"\xff.example\"}", &mut seen);
    let Kind::Attributes(row) = seen.only().kind else { panic!() };
    assert_eq!(row.said.sni, "\u{fffd}.example");
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_are_passed_over() {
    let text = format!("\u{feff}{}", log("conn", &CONN).replace('\n', "\r\n"));
    assert_eq!(tsv(&text), tsv(&log("conn", &CONN)));
    let text = JSON_CONN.replace('\n', "\r\n");
    assert_eq!(json(&format!("\u{feff}{text}")), json(JSON_CONN));
}

const JSON_CONN: &str = r#"{"_path":"conn","_system_name":"sensor","_write_ts":"2023-01-04T14:37:36.913119Z","ts":1672843056.913119,"uid":"CExample1","id.orig_h":"10.0.0.5","id.orig_p":55548,"id.resp_h":"192.0.2.7","id.resp_p":443,"proto":"tcp","service":"ssl","duration":0.08404400000,"orig_bytes":1030,"resp_bytes":20275,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":18,"orig_ip_bytes":1974,"resp_pkts":14,"resp_ip_bytes":21011}"#;

#[test]
fn json_gives_the_rows_of_text() {
    let conn = tsv(&log("conn", &CONN));
    assert_eq!(json(JSON_CONN), conn);
    let flat = JSON_CONN.replace("id.", "id_").replace("\"_path\"", "\"@stream\"");
    assert_eq!(json(&flat), conn);
    let nested = JSON_CONN
        .replace("\"id.orig_h\":", "\"id\":{\"orig_h\":")
        .replace("\"id.resp_p\":443", "\"resp_p\":443}")
        .replace("id.", "")
        .replace("\"_path\":\"conn\",", "");
    assert!(
        nested.contains(r#""id":{"orig_h":"10.0.0.5","orig_p":55548,"resp_h":"192.0.2.7","resp_p":443}"#)
    );
    assert_eq!(json(&nested), conn);
    for time in [
        r#""2023-01-04T14:37:36.913119Z""#,
        "1672843056913.119",
        "\"1672843056.913119\"",
        "1672843056.913119000",
    ] {
        assert_eq!(json(&JSON_CONN.replace("1672843056.913119", time)), conn, "{time}");
    }
    let table = JSON_CONN.replace(":55548", ":55548.0").replace(":1030", ":1030.0").replace("true", "\"T\"");
    assert_eq!(json(&table), conn);
    let unset = JSON_CONN.replace("\"service\":\"ssl\"", "\"service\":\"-\"").replace(":1974", ":null");
    assert_eq!(json(&unset), tsv(&log("conn", &with(&CONN, &[("service", "-"), ("orig_ip_bytes", "-")]))));

    let dns = r#"{"ts":1672843056.000001,"uid":"CExample2","id.orig_h":"10.0.0.5","id.orig_p":5353,"id.resp_h":"10.0.0.1","id.resp_p":53,"proto":"udp","trans_id":7,"query":"A.Example","qclass":1,"qtype":1,"qtype_name":"A","rcode":0,"answers":["cdn.example","TXT 5 a,b","192.0.2.7","192.0.2.8","2001:db8::1"],"TTLs":[300.0,60.0,61.5],"rejected":false}"#;
    assert_eq!(json(dns), tsv(&log("dns", &DNS)));
    let http = r#"{"ts":1672843057.5,"uid":"CExample3","id.orig_h":"10.0.0.5","id.orig_p":40000,"id.resp_h":"192.0.2.7","id.resp_p":80,"trans_depth":1,"method":"GET","host":"www.example.org","uri":"/a","user_agent":"agent\t/1","request_body_len":12,"response_body_len":345,"tags":[]}"#;
    assert_eq!(json(http), tsv(&log("http", &HTTP)));
    let deep = http.replace("\"trans_depth\":1", "\"trans_depth\":3");
    assert_eq!(json(&deep), tsv(&log("http", &with(&HTTP, &[("trans_depth", "3")]))));
    let ssl = r#"{"ts":1672843057.0,"uid":"CExample1","id.orig_h":"10.0.0.5","id.orig_p":55548,"version":"TLSv13","server_name":"C2.example.org","resumed":false,"established":true,"ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1","ja3":"456523fc94726331a4d5a2e1d40b2cd7"}"#;
    assert_eq!(json(ssl), tsv(&log("ssl", &SSL)));
    let smb = r#"{"path":"\\\\srv\\share","ts":1.5,"uid":"C","share_type":"DISK"}"#;
    assert_eq!(json(smb).only().kind, Kind::Other);
}

#[test]
fn a_recorded_hour_is_the_same_in_either_form() {
    macro_rules! logs {
        ($($name:literal),*) => {[$((
            include_str!(concat!("../../../../tests/data/logs/zeek-tsv/", $name, ".log")),
            include_str!(concat!("../../../../tests/data/logs/zeek-json/", $name, ".log")),
        )),*]};
    }
    for (text, object) in logs!("conn", "dns", "http", "ssl") {
        let seen = tsv(text);
        assert_eq!((seen.bad.len(), seen.rows.len()), (0, object.lines().count()));
        assert_eq!(json(object), seen);
        assert!(ZeekTsv::recognises(text.as_bytes()) && ZeekJson::recognises(object.as_bytes()));
    }
}

#[test]
fn json_that_is_none_is_a_bad_row() {
    for bad in ["{", "[1]", "7", "{\"ts\":1", "{\"ts\":1}}", "text"] {
        assert_eq!(json(bad).causes(), [Cause::Json], "{bad}");
    }
    assert_eq!(json(&JSON_CONN.replace(":443", ":443443")).causes(), [Cause::Port]);
    assert_eq!(json(&JSON_CONN.replace("\"10.0.0.5\"", "{}")).causes(), [Cause::Missing]);
    assert_eq!(json("\n  \n"), Kept::default());
}

#[test]
fn each_reader_knows_its_files() {
    let text = log("conn", &CONN);
    assert!(ZeekTsv::recognises(text.as_bytes()) && !ZeekJson::recognises(text.as_bytes()));
    let (_, headless) = text.split_once('\n').unwrap();
    assert!(ZeekTsv::recognises(headless.as_bytes()));
    assert!(ZeekTsv::recognises(b"\xef\xbb\xbf#separator \\x09"));
    assert!(ZeekJson::recognises(JSON_CONN.as_bytes()) && !ZeekTsv::recognises(JSON_CONN.as_bytes()));
    assert!(ZeekJson::recognises(&JSON_CONN.as_bytes()[..150]), "cut inside a line");
    for other in [
        &b""[..],
        b"#!/bin/sh\necho\n",
        b"# comment\na\tb\n",
        b"{\"ts\":\"2023-01-01T00:00:00Z\",\"msg\":\"some program's log\"}",
        b"{\"timestamp\":\"2024-01-01T10:00:00.123456+0000\",\"event_type\":\"flow\",\"uid\":7}",
        b"time,uid\n",
    ] {
        assert!(!ZeekTsv::recognises(other) && !ZeekJson::recognises(other), "{}", other.escape_ascii());
    }
}

fn shuffled<const N: usize>(
    columns: [(&'static str, &'static str); N],
) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    Just(columns.to_vec()).prop_shuffle()
}

proptest! {
    #[test]
    fn the_order_of_columns_does_not_matter(conn in shuffled(CONN), dns in shuffled(DNS), http in shuffled(HTTP), ssl in shuffled(SSL), named: bool) {
        for (path, columns, shuffled) in [("conn", &CONN[..], conn), ("dns", &DNS, dns), ("http", &HTTP, http), ("ssl", &SSL, ssl)] {
            let path = if named { path } else { "" };
            prop_assert_eq!(tsv(&log(path, &shuffled)), tsv(&log(path, columns)));
        }
    }

    #[test]
    fn any_bytes_return(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..10)) {
        let (mut text, mut object, mut seen) = (ZeekTsv::new(), ZeekJson::new(), Kept::default());
        for line in &lines {
            text.record(line, &mut seen);
            object.record(line, &mut seen);
            let _ = (ZeekTsv::recognises(line), ZeekJson::recognises(line));
        }
    }

    #[test]
    fn damaged_logs_cost_rows_and_nothing_else(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        which in 0usize..5,
    ) {
        let mut text = match which {
            0 => log("conn", &CONN),
            1 => log("dns", &DNS),
            2 => log("http", &HTTP),
            3 => log("ssl", &SSL),
            _ => JSON_CONN.into(),
        }.into_bytes();
        for (at, byte) in damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let (mut columns, mut object, mut seen) = (ZeekTsv::new(), ZeekJson::new(), Kept::default());
        for line in text.split(|&b| b == b'\n') {
            columns.record(line, &mut seen);
            object.record(line, &mut seen);
        }
    }

    #[test]
    fn any_values_give_equal_rows_in_either_form(
        sni in "[\\PC&&[^\\\\]]{1,20}",
        orig in 0u64..u64::MAX,
        nanos in 0i64..4_000_000_000_000_000_000,
    ) {
        prop_assume!(!matches!(sni.as_str(), "-" | "(empty)"));
        let ts = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
        let bytes = orig.to_string();
        let columns = with(&CONN, &[("ts", &ts), ("orig_bytes", &bytes)]);
        let object = JSON_CONN.replace("1672843056.913119,", &format!("{ts},")).replace("\"orig_bytes\":1030", &format!("\"orig_bytes\":{bytes}"));
        prop_assert_eq!(json(&object), tsv(&log("conn", &columns)));
        let columns = with(&SSL, &[("ts", &ts), ("server_name", &sni)]);
        let object = format!("{{\"_path\":\"ssl\",\"ts\":{ts},\"uid\":\"CExample1\",\"id\":{{\"orig_h\":\"10.0.0.5\"}},\"server_name\":{},\"ja4\":\"{}\"}}", serde_json::to_string(&sni).unwrap(), SSL[9].1);
        prop_assert_eq!(json(&object), tsv(&log("ssl", &columns)));
    }
}
