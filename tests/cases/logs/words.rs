//! Nothing hostile in a log reaches a terminal, a viewer or a spreadsheet as it stands there.

use std::path::PathBuf;

use sonde_tests::logs::{BEGIN, CONN_FIELDS, DEFENDER_HEADER, zeek_header, zeek_time};
use sonde_tests::pack;
use sonde_tests::program::{Ran, Scratch};
use sonde_tests::words::{cells, harmful, is_formula};

use super::run_on;

const SECOND: i64 = 1_000_000_000;

/// Texts that do harm where they are shown as they are: in a terminal, in a viewer, in a spreadsheet; and one of 10 KiB.
fn harmful_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "\u{1b}]0;owned\u{7}\u{1b}[2J.example",
        "evil\u{202e}gpj.example",
        "zero\u{200b}width\u{feff}.example",
        "line\u{2028}break\u{85}.example",
        "nul\0inside.example",
        "=HYPERLINK(1).example",
        "@SUM(1+1)*cmd.example",
    ]
    .map(str::to_owned)
    .into();
    texts.push(format!("{}.example", "long\u{1b}".repeat(2048)));
    texts
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// As Zeek escapes what is not printable.
fn zeek(text: &str) -> String {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'\\';
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02x}") })
        .collect()
}

/// Logs in which a host calls each of the texts every minute, and has them wherever a log takes text.
fn hostile_logs(scratch: &Scratch) -> Vec<(&'static str, Vec<PathBuf>)> {
    let ssl_fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version server_name resumed established";
    let (mut conn, mut ssl) = (zeek_header("conn", CONN_FIELDS), zeek_header("ssl", ssl_fields));
    let (mut zeek_json, mut csv) = (String::new(), DEFENDER_HEADER.to_owned());
    let (mut winlog, mut eve) = (String::new(), String::new());
    for (number, text) in (1..).zip(harmful_texts()) {
        let (quoted, escaped) = (json(&text), zeek(&text));
        let cell = format!("\"{}\"", text.replace('"', "\"\""));
        for n in 0..40 {
            let time = BEGIN.plus_nanos((n * 60 + number) * SECOND);
            let (ts, rfc) = (zeek_time(time), time.to_string());
            let uid = format!("C{number}x{n}");
            let ends = format!("10.0.0.5\t{}\t203.0.113.{number}\t443", 40_000 + n);
            conn.push_str(&format!("{ts}\t{uid}\t{ends}\ttcp\tssl\t0.5\t3\t9\tSF\tT\tF\t6\t6\n"));
            ssl.push_str(&format!("{ts}\t{uid}\t{ends}\tTLSv13\t{escaped}\tF\tT\n"));
            let ends = format!(
                "\"id.orig_h\":\"10.0.0.5\",\"id.orig_p\":{},\"id.resp_h\":\"203.0.113.{number}\",\"id.resp_p\":80",
                40_000 + n
            );
            zeek_json.push_str(&format!(
                "{{\"_path\":\"conn\",\"ts\":{ts},\"uid\":{quoted},{ends},\"proto\":\"tcp\",\"conn_state\":\"SF\"}}\n\
                 {{\"_path\":\"http\",\"ts\":{ts},\"uid\":{quoted},{ends},\"trans_depth\":1,\"method\":\"GET\",\
                 \"host\":{quoted},\"uri\":\"/\",\"user_agent\":{quoted},\"request_body_len\":1}}\n\
                 {{\"_path\":\"dns\",\"ts\":{ts},\"uid\":\"D{uid}\",\"id.orig_h\":\"10.0.0.5\",\"id.orig_p\":5,\
                 \"id.resp_h\":\"10.0.0.53\",\"id.resp_p\":53,\"proto\":\"udp\",\"query\":{quoted},\"qtype\":1,\
                 \"answers\":[\"203.0.113.{number}\"],\"TTLs\":[5.0]}}\n"
            ));
            let port = 40_000 + n;
            csv.push_str(&format!(
                "{},{cell},ConnectionSuccess,203.0.113.{number},443,{cell},10.0.0.5,{port},Tcp,Public,{cell},{cell},7,{cell}\n",
                &rfc[..19]
            ));
            winlog.push_str(&format!(
                "{{\"@timestamp\":\"{rfc}\",\"host\":{{\"name\":{quoted}}},\"winlog\":{{\"channel\":\
                 \"Microsoft-Windows-Sysmon/Operational\",\"provider_name\":\"Microsoft-Windows-Sysmon\",\
                 \"event_id\":3,\"computer_name\":{quoted},\"event_data\":{{\"UtcTime\":\"{} {}\",\"ProcessId\":\"7\",\
                 \"Image\":{quoted},\"User\":{quoted},\"Protocol\":\"tcp\",\"Initiated\":\"true\",\
                 \"SourceIp\":\"10.0.0.5\",\"SourcePort\":\"{port}\",\"DestinationIp\":\"203.0.113.{number}\",\
                 \"DestinationHostname\":{quoted},\"DestinationPort\":\"443\"}}}}}}\n",
                &rfc[..10],
                &rfc[11..23]
            ));
            let ends = format!(
                "\"timestamp\":\"{}+0000\",\"flow_id\":{number}{n:03},\"src_ip\":\"10.0.0.5\",\"src_port\":{port},\
                 \"dest_ip\":\"203.0.113.{number}\",\"dest_port\":443,\"proto\":\"TCP\",\"host\":{quoted}",
                &rfc[..26]
            );
            eve.push_str(&format!(
                "{{{ends},\"event_type\":\"tls\",\"tls\":{{\"sni\":{quoted},\"version\":\"TLS 1.3\"}}}}\n\
                 {{{ends},\"event_type\":\"flow\",\"flow\":{{\"start\":\"{}+0000\",\"bytes_toserver\":9,\
                 \"bytes_toclient\":9,\"pkts_toserver\":2,\"pkts_toclient\":2,\"state\":\"closed\"}}}}\n",
                &rfc[..26]
            ));
        }
    }
    // And where something is wrong, it is quoted.
    conn.push_str("\u{1b}[2J\u{202e}\tC\n");
    zeek_json.push_str(
        "{\"_path\":\"conn\",\"ts\":\"\\u001b[2J\\u202e\",\"uid\":\"C\",\"id.orig_h\":\"\u{1b}\"}\n",
    );
    csv.push_str("\u{1b}[2J\u{202e}\n");
    winlog.push_str("{\"winlog\":{\"event_id\":3,\"event_data\":{\"UtcTime\":\"\u{1b}[2J\u{202e}\"}}}\n");
    eve.push_str("{\"timestamp\":\"\u{1b}[2J\u{202e}\",\"event_type\":\"flow\"}\n");
    let write = |name: &str, text: &str| scratch.write(name, text.as_bytes());
    vec![
        ("Zeek", vec![write("conn.log", &conn), write("ssl.log", &ssl)]),
        ("Zeek JSON", vec![write("zeek.json", &zeek_json)]),
        ("Defender", vec![write("defender.csv", &csv)]),
        ("winlogbeat", vec![write("winlog.json", &winlog)]),
        ("EVE", vec![write("eve.json", &eve)]),
    ]
}

fn assert_harmless(ran: &Ran, what: &str) {
    for (stream, text) in [("stdout", ran.text()), ("stderr", &ran.stderr)] {
        let found = text.chars().position(harmful);
        let shown = found.map(|at| text.chars().skip(at.saturating_sub(60)).take(90).collect::<String>());
        assert_eq!(shown, None, "{what}: {stream}");
    }
}

#[test]
fn words_of_a_log_come_out_harmless_in_every_format() {
    let scratch = Scratch::new("log-words");
    for (name, files) in hostile_logs(&scratch) {
        for arguments in [
            &["--format", "table", "--all"][..],
            &["--format", "table", "--stream", "-vvv"],
            &["--format", "ndjson", "--all"],
            &["--format", "csv", "--all"],
            &["--events", "-"],
            &["--rule", "sentinel", "--format", "table"],
            &["--rule", "sentinel", "--format", "csv"],
            &["--rule", "sentinel", "--format", "ndjson"],
            &["--rule", "rita", "--format", "table"],
            &["--rule", "rita", "--format", "csv"],
            &["--rule", "rita", "--format", "ndjson"],
            &["--compare", "--all", "--format", "table"],
            &["--compare", "--all", "--format", "csv"],
            &["--compare", "--all", "--format", "ndjson"],
        ] {
            let ran = run_on(&files, arguments).expect(0);
            let what = format!("{name} {arguments:?}");
            assert_harmless(&ran, &what);
            // Not each is worth an alert, of which alone a stream tells.
            assert!(ran.stdout.len() > 700 || arguments.contains(&"--stream"), "{what}: {}", ran.text());
        }
    }
}

#[test]
fn no_cell_of_a_rule_is_a_formula() {
    let scratch = Scratch::new("log-formulas");
    for (name, files) in hostile_logs(&scratch) {
        for rule in [&["--rule", "sentinel"][..], &["--rule", "rita"], &["--compare", "--all"], &["--all"]] {
            let ran = run_on(&files, &[rule, &["--format", "csv"]].concat()).expect(0);
            let rows = cells(ran.text());
            assert!(rows.len() > 5, "{name} {rule:?}: {}", ran.text());
            for row in &rows {
                assert_eq!(
                    row.len(),
                    rows[0].len(),
                    "{name} {rule:?}: every row has the header's columns: {row:?}"
                );
                assert_eq!(row.iter().find(|cell| is_formula(cell)), None, "{name} {rule:?}");
            }
        }
    }
}

#[test]
fn names_of_files_and_of_members_of_archives_come_out_harmless() {
    let scratch = Scratch::new("member-names");
    let name = "\u{1b}[2Jevil\u{202e}.log";
    for (file, packed) in [
        ("a.zip", pack::zip(&[(name, &b"no log at all"[..]), ("conn.log", b"#separator \\x09\n")]).unwrap()),
        ("a.tar", pack::tar(&[(name, &b"no log at all"[..]), ("conn.log", b"#separator \\x09\n")]).unwrap()),
    ] {
        let ran = run_on(&[scratch.write(file, &packed)], &["--format", "table"]);
        assert!(ran.stderr.contains("evil"), "{file}: {}", ran.stderr);
        assert_harmless(&ran, file);
    }
}
