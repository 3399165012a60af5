//! Zeek's rows find each other by uid, and each connection its host, once.

use std::path::PathBuf;

use serde_json::Value;
use sonde_common::time::Timestamp;
use sonde_tests::logs::{BEGIN, CONN_FIELDS, zeek_header, zeek_time};
use sonde_tests::program::Scratch;
use sonde_tests::scenario::scenario;

use super::{ALL, EVENTS, NDJSON, number, replay, rows, run_on, text};

const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> Timestamp {
    BEGIN.plus_nanos(seconds * SECOND)
}

/// A row of `conn.log` that begins at `seconds`, with what is given of its columns.
fn conn(seconds: i64, uid: &str, from: &str, port: u16, to: &str, told: &str) -> String {
    let ts = zeek_time(at(seconds));
    format!("{ts}\t{uid}\t{from}\t{port}\t{to}\t443\ttcp\t-\t0.5\t300\t900\tSF\t{told}\t620\t6\n")
}

fn conn_log(rows: &[String]) -> String {
    format!("{}{}", zeek_header("conn", CONN_FIELDS), rows.concat())
}

/// The connections among the events of these files.
fn connections(files: &[PathBuf], arguments: &[&str]) -> Vec<Value> {
    let ran = replay(files, &[&EVENTS[..], arguments].concat());
    rows(&ran).into_iter().filter(|row| text(row, "/type") == "connection").collect()
}

#[test]
fn what_a_client_said_reaches_its_connection_by_uid() {
    let scratch = Scratch::new("uid");
    let rows: Vec<String> = (1..=4)
        .map(|n| conn(n, &format!("C{n}"), "10.0.0.5", 40_000, &format!("203.0.113.{n}"), "T\tF"))
        .collect();
    let ends = |n: i64| format!("10.0.0.5\t40000\t203.0.113.{n}\t443");
    let ssl_fields =
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version server_name resumed established ja4";
    let (hello, ja4) = (zeek_time(at(1).plus_nanos(SECOND / 5)), "t13d1516h2_8daaf6152771_b0da82dd1658");
    let ssl = format!(
        "{}{hello}\tC1\t{}\tTLSv13\tmail.example.org\tF\tT\t{ja4}\n",
        zeek_header("ssl", ssl_fields),
        ends(1)
    );
    let http_fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p trans_depth method host uri user_agent \
                       request_body_len response_body_len";
    let (first, second, connect) = (zeek_time(at(3)), zeek_time(at(33)), zeek_time(at(4)));
    let http = format!(
        "{}{first}\tC2\t{two}\t1\tGET\tplain.example.org\t/a\tcurl/8.5\t0\t70\n\
         {second}\tC2\t{two}\t2\tPOST\tplain.example.org\t/b\tcurl/8.5\t50\t7\n\
         {connect}\tC3\t{three}\t1\tCONNECT\tbehind.example.org:8443\tbehind.example.org:8443\tproxied/1\t0\t0\n",
        zeek_header("http", http_fields),
        two = ends(2),
        three = ends(3),
    );
    let quic_fields =
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version client_initial_dcid server_name";
    let quic = format!(
        "{}{}\tC4\t{}\t1\taabb\tfast.example.org\n",
        zeek_header("quic", quic_fields),
        zeek_time(at(4)),
        ends(4)
    );
    // The files are named so that what was said is read before and behind the connections.
    let files = [
        scratch.write("a-ssl.log", ssl.as_bytes()),
        scratch.write("conn.log", conn_log(&rows).as_bytes()),
        scratch.write("http.log", http.as_bytes()),
        scratch.write("quic.log", quic.as_bytes()),
    ];
    let found = connections(&files, &[]);
    assert_eq!(found.len(), 5, "four connections and a second request: {found:#?}");
    let of = |host: &str, start: &str| {
        let here = |row: &&Value| row.to_string().contains(host) && row.to_string().contains(start);
        let row = found.iter().find(here).unwrap_or_else(|| panic!("{host} {start}: {found:#?}"));
        row.to_string()
    };
    let tls = of("203.0.113.1", "");
    assert!(tls.contains("mail.example.org") && tls.contains(ja4) && tls.contains("tls"), "{tls}");
    let plain = of("203.0.113.2", "08:00:02");
    assert!(plain.contains("plain.example.org") && plain.contains("curl/8.5"), "{plain}");
    let again = of("203.0.113.2", "08:00:33");
    assert!(again.contains("exchange"), "a request in a kept connection is an exchange: {again}");
    let proxied = of("203.0.113.3", "");
    assert!(proxied.contains("behind.example.org") && proxied.contains("8443"), "{proxied}");
    let quic = of("203.0.113.4", "");
    assert!(quic.contains("fast.example.org") && quic.contains("quic"), "{quic}");
}

#[test]
fn an_open_connection_told_again_and_again_is_one_callback() {
    let scratch = Scratch::new("open");
    let calls: Vec<(i64, String)> = (0..40).map(|n| (n * 60, format!("C{n}"))).collect();
    let row = |(seconds, uid): &(i64, String)| conn(*seconds, uid, "10.0.0.5", 40_000, "203.0.113.9", "T\tF");
    let conn_rows: Vec<String> = calls.iter().map(row).collect();
    let whole = conn_log(&conn_rows);
    let open = format!("{}{}", zeek_header("open_conn", CONN_FIELDS), conn_rows.concat().repeat(3));
    let alone = scratch.write("conn.log", whole.as_bytes());
    let expected = replay(&[&alone], &ALL);
    assert_eq!(number(&rows(&expected)[0], "/sonde/evidence/callbacks"), 40);
    let files = [alone, scratch.write("open_conn.log", open.as_bytes())];
    let found = replay(&files, &ALL);
    assert!(found.stdout == expected.stdout, "{}", found.text());
    let said = run_on(&files, &["--format", "table"]).stderr;
    assert!(said.contains("120 rows that told of a connection again"), "{said}");
    // Also where the connection never ended within the log.
    let found = replay(&files[1..], &ALL);
    assert!(found.stdout == expected.stdout, "{}", found.text());
}

#[test]
fn connections_opened_from_outside_are_counted_and_left_out() {
    let scratch = Scratch::new("foreign");
    let (inside, outside) = ("10.0.0.5", "203.0.113.9");
    let mut all = Vec::new();
    for n in 0..40 {
        all.push(conn(n * 60, &format!("A{n}"), inside, 40_000, outside, "T\tF"));
        // Says so itself; does not say; says so of both, as a sensor does that was not told its networks.
        all.push(conn(n * 60 + 1, &format!("B{n}"), "198.51.100.7", 50_000, inside, "F\tT"));
        all.push(conn(n * 60 + 2, &format!("C{n}"), "198.51.100.8", 50_000, inside, "-\t-"));
        all.push(conn(n * 60 + 3, &format!("D{n}"), "198.51.100.9", 50_000, inside, "F\tF"));
        all.push(conn(n * 60 + 4, &format!("E{n}"), inside, 40_001, "224.0.0.251", "T\tF"));
    }
    let file = scratch.write("conn.log", conn_log(&all).as_bytes());
    let hosts = |arguments: &[&str]| {
        let mut hosts: Vec<String> = connections(std::slice::from_ref(&file), arguments)
            .iter()
            .map(|row| text(row, "/host").to_owned())
            .collect();
        hosts.sort();
        hosts.dedup();
        hosts
    };
    assert_eq!(hosts(&[]), [inside]);
    let said = run_on(&[&file], &["--format", "table"]).stderr;
    assert!(said.contains("120 rows of connections opened from outside"), "{said}");
    assert!(said.contains("40 rows of multicast"), "{said}");
    assert_eq!(rows(&replay(&[&file], &ALL)).len(), 1);
    // What the user says goes before what the log says.
    assert_eq!(hosts(&["--local", "198.51.100.0/24"]), ["198.51.100.7", "198.51.100.8", "198.51.100.9"]);
    assert_eq!(hosts(&["--local", "198.51.100.7/32", "--local", "10.0.0.0/8"]), [inside, "198.51.100.7"]);
    assert_eq!(hosts(&["--local", "192.0.2.0/24"]), [""; 0]);
}

#[test]
fn a_capture_and_a_zeek_folder_are_merged_by_time() {
    let capture = scenario("fixed-60", 1);
    let scratch = Scratch::new("mixed");
    let pcap = scratch.write("fixed-60.pcap", &capture);
    let begin: Timestamp =
        text(&rows(&replay(&[&pcap], &NDJSON))[0], "/sonde/evidence/first_seen").parse().unwrap();
    // Another host calls somewhere else in the same hour.
    let calls: Vec<String> = (0..40)
        .map(|n| {
            let ts = zeek_time(begin.plus_nanos(n * 60 * SECOND + 7 * SECOND));
            format!(
                "{ts}\tC{n}\t10.9.9.9\t40000\t203.0.113.77\t443\ttcp\t-\t0.5\t300\t900\tSF\tT\tF\t620\t6\n"
            )
        })
        .collect();
    let folder = scratch.file("zeek");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("conn.log"), conn_log(&calls)).unwrap();
    let (one, other) = (rows(&replay(&[&pcap], &ALL)), rows(&replay(&[&folder], &ALL)));
    for inputs in [[&pcap, &folder], [&folder, &pcap]] {
        let both = rows(&replay(&inputs, &ALL));
        for row in one.iter().chain(&other) {
            assert!(both.contains(row), "{row} is not among {both:?}");
        }
        assert_eq!(both.len(), one.len() + other.len());
        let events = rows(&replay(&inputs, &EVENTS));
        let times: Vec<&str> =
            events.iter().map(|row| text(row, "/time")).filter(|time| !time.is_empty()).collect();
        assert!(times.len() > 80 && times.is_sorted(), "{times:?}");
    }
}
