//! What `--rule` and `--compare` promise: the answers of others from the same rows, to the byte.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sonde_tests::golden;
use sonde_tests::logs::{Story, beacon_name, days, defender, zeek_conn, zeek_ssl};
use sonde_tests::program::{Ran, Scratch, run};

const CSV: [&str; 2] = ["--format", "csv"];
const NDJSON: [&str; 2] = ["--format", "ndjson"];
const SENTINEL: [&str; 2] = ["--rule", "sentinel"];

fn run_on(files: &[PathBuf], parts: &[&[&str]]) -> Ran {
    let mut all: Vec<PathBuf> = vec!["replay".into()];
    all.extend_from_slice(files);
    all.extend(parts.concat().iter().map(PathBuf::from));
    run(all, b"")
}

fn ask(files: &[PathBuf], parts: &[&[&str]]) -> Ran {
    run_on(files, parts).expect(0)
}

fn rows(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

const HEADER: &str = "Timestamp,DeviceName,AccountName,ActionType,RemoteIP,RemoteIPType,RemotePort,RemoteUrl,\
                      InitiatingProcessFileName\n";

/// Rows of one group: `minutes` after 12:00 on 2026-11-02, each with the rest of its cells.
fn group(out: &mut String, minutes: impl IntoIterator<Item = u32>, cells: &str) {
    for minute in minutes {
        let (hour, minute) = (12 + minute / 60, minute % 60);
        out.push_str(&format!("2026-11-02T{hour:02}:{minute:02}:30.1234567Z,{cells}\n"));
    }
}

/// A table in which each group is there for one reason.
fn table() -> String {
    let mut out = HEADER.to_owned();
    // A tool and a beacon's interval: risk 3. Commas, quotes and other letters stand in the cells.
    group(
        &mut out,
        (0..40).map(|n| n * 3),
        "pc-1,\"O'Brien, \"\"Bob\"\"\",ConnectionSuccess,203.0.113.1,Public,443,c2.example,PowerShell.exe",
    );
    // A beacon's interval alone, more than 30 rows: risk 2.
    group(&mut out, (0..31).map(|n| n * 2), "pc-ü,ann,ConnectionSuccess,203.0.113.2,Public,8443,,updsvc.exe");
    // A beacon's interval alone, 30 rows: risk 1.
    group(
        &mut out,
        (0..30).map(|n| n * 2),
        "pc-2,ann,ConnectionSuccess,203.0.113.3,Public,443,thirty.example,updsvc.exe",
    );
    // A tool alone: less than half a minute apart.
    group(
        &mut out,
        (0..124).map(|n| n / 4 + u32::from(n > 122)),
        "pc-3,ann,ConnectionSuccess,203.0.113.4,Public,80,fast.example,cmd.exe",
    );
    // Nine rows; thirty minutes; ten rows over 31.
    group(
        &mut out,
        (0..9).map(|n| n * 10),
        "pc-4,ann,ConnectionSuccess,203.0.113.5,Public,443,nine.example,curl.exe",
    );
    group(
        &mut out,
        (0..11).map(|n| n * 3),
        "pc-4,ann,ConnectionSuccess,203.0.113.6,Public,443,half-hour.example,curl.exe",
    );
    group(
        &mut out,
        [0, 3, 6, 9, 12, 15, 18, 21, 24, 31],
        "pc-4,ann,ConnectionSuccess,203.0.113.7,Public,443,ten.example,curl.exe",
    );
    // Left out: known good, a client, refused, private, the case of the type.
    group(
        &mut out,
        (0..40).map(|n| n * 2),
        "pc-5,ann,ConnectionSuccess,203.0.113.8,Public,443,WWW.Microsoft.COM,cmd.exe",
    );
    group(
        &mut out,
        (0..40).map(|n| n * 2),
        "pc-5,ann,ConnectionSuccess,203.0.113.9,Public,443,a.example,Chrome.EXE",
    );
    group(
        &mut out,
        (0..40).map(|n| n * 2),
        "pc-5,ann,ConnectionFailed,203.0.113.10,Public,443,b.example,cmd.exe",
    );
    group(
        &mut out,
        (0..40).map(|n| n * 2),
        "pc-5,ann,ConnectionSuccess,10.0.0.9,Private,443,c.example,cmd.exe",
    );
    group(
        &mut out,
        (0..40).map(|n| n * 2),
        "pc-5,ann,connectionsuccess,203.0.113.11,Public,443,d.example,cmd.exe",
    );
    // Not known good, though it looks so.
    group(
        &mut out,
        (0..12).map(|n| n * 5),
        "pc-6,ann,ConnectionSuccess,203.0.113.12,Public,443,notmicrosoft.com,wmic.exe",
    );
    // More ports and processes than are listed; a hyphen parts terms, so the sixth process is a tool.
    for (n, process) in (0u32..).zip([
        "a.exe",
        "b.exe",
        "a.exe",
        "c.exe",
        "d.exe",
        "e.exe",
        "my-cmd.exe",
        "f.exe",
        "a.exe",
        "g.exe",
        "h.exe",
        "i.exe",
    ]) {
        group(
            &mut out,
            [n * 7],
            &format!("pc-7,ann,ConnectionSuccess,203.0.113.13,Public,{},many.example,{process}", 500 - n),
        );
    }
    out
}

const SENTINEL_CSV: &str = r#"Timestamp,DeviceName,AccountName,RemoteIP,RemoteUrl,ConnectionCount,DurationMinutes,AvgIntervalMinutes,DistinctPorts,Ports,Processes,IsSuspiciousProcess,IsBeaconInterval,RiskScore
2026-11-02T13:57:30.123456700Z,pc-1,"O'Brien, ""Bob""",203.0.113.1,c2.example,40,117,2.925,1,[443],"[""PowerShell.exe""]",true,true,3
2026-11-02T12:55:30.123456700Z,pc-6,ann,203.0.113.12,notmicrosoft.com,12,55,4.583333333333333,1,[443],"[""wmic.exe""]",true,true,3
2026-11-02T13:17:30.123456700Z,pc-7,ann,203.0.113.13,many.example,12,77,6.416666666666667,12,"[489,490,491,492,493,494,495,496,497,498]","[""a.exe"",""b.exe"",""c.exe"",""d.exe"",""e.exe""]",true,true,3
2026-11-02T12:31:30.123456700Z,pc-4,ann,203.0.113.7,ten.example,10,31,3.1,1,[443],"[""curl.exe""]",true,true,3
2026-11-02T12:31:30.123456700Z,pc-3,ann,203.0.113.4,fast.example,124,31,0.25,1,[80],"[""cmd.exe""]",true,false,2
2026-11-02T13:00:30.123456700Z,pc-ü,ann,203.0.113.2,,31,60,1.935483870967742,1,[8443],"[""updsvc.exe""]",false,true,2
2026-11-02T12:58:30.123456700Z,pc-2,ann,203.0.113.3,thirty.example,30,58,1.9333333333333333,1,[443],"[""updsvc.exe""]",false,true,1
"#;

const SENTINEL_FIRST_LINE: &str = r#"{"Timestamp":"2026-11-02T13:57:30.123456700Z","DeviceName":"pc-1","AccountName":"O'Brien, \"Bob\"","RemoteIP":"203.0.113.1","RemoteUrl":"c2.example","ConnectionCount":40,"DurationMinutes":117,"AvgIntervalMinutes":2.925,"DistinctPorts":1,"Ports":[443],"Processes":["PowerShell.exe"],"IsSuspiciousProcess":true,"IsBeaconInterval":true,"RiskScore":3}"#;

fn assert_same(found: &str, expected: &str) {
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}

#[test]
fn the_hunting_rule_answers_to_the_byte() {
    let scratch = Scratch::new("sentinel");
    let plain = [scratch.write("table.csv", table().as_bytes())];
    let found = ask(&plain, &[&SENTINEL, &CSV]);
    assert_same(found.text(), SENTINEL_CSV);
    assert_eq!(found.stderr, "");
    // With the mark, line ends and time format of the portal's own export.
    let portal = format!("\u{feff}{}", table().replace('\n', "\r\n"));
    let portal = [scratch.write("portal.csv", portal.as_bytes())];
    assert_same(ask(&portal, &[&SENTINEL, &CSV]).text(), SENTINEL_CSV);
    for threads in ["1", "2", "8"] {
        assert_same(ask(&plain, &[&SENTINEL, &CSV, &["--threads", threads]]).text(), SENTINEL_CSV);
    }
}

#[test]
fn the_hunting_rule_says_the_same_as_json() {
    let scratch = Scratch::new("sentinel-json");
    let files = [scratch.write("table.csv", table().as_bytes())];
    let found = ask(&files, &[&SENTINEL, &NDJSON]);
    assert_eq!(found.text().lines().next(), Some(SENTINEL_FIRST_LINE));
    let risks: Vec<u64> = rows(&found).iter().map(|row| row["RiskScore"].as_u64().unwrap()).collect();
    assert_eq!(risks, [3, 3, 3, 3, 2, 2, 1]);
    let table = ask(&files, &[&SENTINEL, &["--format", "table"]]);
    for text in ["c2.example", "many.example", "fast.example", "wmic.exe", " 4.58 "] {
        assert!(table.text().contains(text), "{text}: {}", table.text());
    }
}

#[test]
fn the_hunting_rule_does_not_mind_the_order_of_rows_or_files() {
    let scratch = Scratch::new("sentinel-order");
    let table = table();
    let mut lines: Vec<&str> = table.lines().skip(1).collect();
    lines.reverse();
    let half = lines.len() / 2;
    let write = |name: &str, lines: &[&str]| {
        scratch.write(name, format!("{HEADER}{}\n", lines.join("\n")).as_bytes())
    };
    let files = [write("b.csv", &lines[..half]), write("a.csv", &lines[half..])];
    assert_same(ask(&files, &[&SENTINEL, &CSV]).text(), SENTINEL_CSV);
}

#[test]
fn the_hunting_rule_looks_back_a_day_from_the_newest_row_or_from_what_it_is_told() {
    let mut out = HEADER.to_owned();
    for day in ["2026-11-01", "2026-11-02"] {
        for n in 0..20 {
            let (hour, minute) = (12 + n * 3 / 60, n * 3 % 60);
            out.push_str(&format!(
                "{day}T{hour:02}:{minute:02}:00Z,pc,ann,ConnectionSuccess,203.0.113.1,Public,443,{day}.example,cmd.exe\n"
            ));
        }
    }
    let scratch = Scratch::new("sentinel-at");
    let files = [scratch.write("table.csv", out.as_bytes())];
    let counts = |at: &[&str]| -> Vec<(String, u64)> {
        rows(&ask(&files, &[&SENTINEL, &NDJSON, at]))
            .iter()
            .map(|row| {
                (
                    row["RemoteUrl"].as_str().unwrap()[8..10].to_owned(),
                    row["ConnectionCount"].as_u64().unwrap(),
                )
            })
            .collect()
    };
    let both = |first: u64| vec![("02".to_owned(), 20), ("01".to_owned(), first)];
    // The newest row is of 12:57, and a row of exactly a day before is not kept.
    assert_eq!(counts(&[]), both(20)[..1]);
    assert_eq!(counts(&["--at", "2026-11-02T12:30:00Z"]), both(0)[..1], "nine rows are too few");
    assert_eq!(counts(&["--at", "2026-11-02T12:20:00Z"]), both(13));
    assert_eq!(counts(&["--at", "2026-11-02T12:21:00Z"]), both(12));
    assert_eq!(counts(&["--at", "2026-11-02T11:00:00+00:00"]).len(), 2);
    assert_eq!(counts(&["--at", "2026-11-09T00:00:00Z"]), []);
}

#[test]
fn no_answer_is_a_header_or_nothing() {
    let scratch = Scratch::new("sentinel-none");
    let files = [scratch.write(
        "table.csv",
        format!("{HEADER}2026-11-02T12:00:00Z,pc,a,ConnectionSuccess,203.0.113.1,Public,1,,a.exe\n")
            .as_bytes(),
    )];
    let header = SENTINEL_CSV.split_inclusive('\n').next().unwrap();
    assert_eq!(ask(&files, &[&SENTINEL, &CSV]).text(), header);
    assert_eq!(ask(&files, &[&SENTINEL, &NDJSON]).text(), "");
    assert_eq!(ask(&files, &[&SENTINEL, &["--format", "table"]]).text(), "Nothing found.\n");
    assert_eq!(ask(&files, &[&["--rule", "rita"], &CSV]).text().lines().count(), 1);
    assert_eq!(ask(&files, &[&["--compare"], &CSV]).text().lines().count(), 1);
}

#[test]
fn options_that_mean_nothing_to_a_rule_are_refused() {
    let scratch = Scratch::new("sentinel-usage");
    let files = [scratch.write("table.csv", table().as_bytes())];
    for arguments in [
        &["--rule", "sentinel", "--stream"][..],
        &["--rule", "rita", "--all"],
        &["--rule", "rita", "--compare"],
        &["--compare", "--exit-on", "high"],
        &["--at", "2026-11-02T12:00:00Z"],
        &["--rule", "rita", "--at", "2026-11-02T12:00:00Z"],
        &["--rule", "sentinel", "--at", "noon"],
        &["--rule", "snort"],
    ] {
        assert_eq!(run_on(&files, &[arguments]).code, 64, "{arguments:?}");
    }
}

// --- RITA and the comparison, on a day of several hosts -----------------------------------------------------------------

/// A day of two hosts as Zeek logs it.
fn zeek_day(scratch: &Scratch) -> [PathBuf; 1] {
    let calls = days(Story { hosts: 2, span: Duration::from_secs(86_400), browsing: 12 }, 3);
    let folder = scratch.file("zeek");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("conn.log"), zeek_conn(&calls)).unwrap();
    std::fs::write(folder.join("ssl.log"), zeek_ssl(&calls)).unwrap();
    [folder]
}

#[test]
fn rita_ranks_the_beacons_first_by_name_and_host() {
    let scratch = Scratch::new("rita");
    let folder = zeek_day(&scratch);
    let csv = ask(&folder, &[&["--rule", "rita"], &CSV]);
    let header = "source,destination,connections,score,ts_score,ds_score,dur_score,hist_score,first_seen,last_seen,bytes_out";
    assert_eq!(csv.text().lines().next(), Some(header));
    let found = rows(&ask(&folder, &[&["--rule", "rita"], &NDJSON]));
    assert_eq!(found.len(), csv.text().lines().count() - 1);
    let mut first: Vec<(&str, &str)> = found
        .iter()
        .take(2)
        .map(|row| (row["source"].as_str().unwrap(), row["destination"].as_str().unwrap()))
        .collect();
    first.sort_unstable();
    let (one, two) = (beacon_name(1), beacon_name(2));
    assert_eq!(first, [("10.20.0.1", one.as_str()), ("10.20.0.2", two.as_str())]);
    for row in &found {
        let part = |name: &str| row[name].as_f64().unwrap();
        let parts = ["ts_score", "ds_score", "dur_score", "hist_score"].map(part);
        let mean = parts.iter().sum::<f64>() / 4.0;
        assert!((part("score") - mean).abs() < 0.0015, "{row}");
        assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)), "{row}");
    }
    assert!(found.is_sorted_by(|a, b| a["score"].as_f64() >= b["score"].as_f64()));
    let beacon = &found[0];
    assert!(beacon["score"].as_f64().unwrap() > 0.9, "{beacon}");
    // Every size is the same, headers included.
    let connections = beacon["connections"].as_u64().unwrap();
    assert!(connections > 1400, "{beacon}");
    assert_eq!(beacon["bytes_out"].as_u64(), Some(connections * (510 + 240)), "{beacon}");
    golden::check("rules/zeek-day.rita.csv", csv.text()).unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn the_comparison_shows_who_finds_what_in_every_form() {
    let scratch = Scratch::new("compare");
    let calls = days(Story { hosts: 2, span: Duration::from_secs(14_400), browsing: 20 }, 3);
    let files = [scratch.write("defender.csv", defender(&calls).as_bytes())];
    let found = rows(&ask(&files, &[&["--compare"], &NDJSON]));
    assert_eq!(found.len(), 2, "{found:?}");
    for row in &found {
        let host = row["host"].as_str().unwrap();
        let number: u8 = host[3..5].parse().unwrap();
        assert_eq!(row["destination"].as_str(), Some(&beacon_name(number)[..]), "{row}");
        assert_eq!(row["process"], "updsvc.exe");
        let by: Vec<&str> =
            row["found_by"].as_array().unwrap().iter().map(|by| by.as_str().unwrap()).collect();
        assert!(by.contains(&"rule") && by.contains(&"sonde"), "{row}");
        // All count the same connections.
        assert_eq!(row["rule_connections"], row["sonde_callbacks"], "{row}");
        assert_eq!(row["rule_connections"], row["rita_connections"], "{row}");
    }
    let csv = ask(&files, &[&["--compare"], &CSV]);
    golden::check("rules/compare.csv", csv.text()).unwrap_or_else(|difference| panic!("{difference}"));
    let table = ask(&files, &[&["--compare"], &["--format", "table"]]);
    for number in 1..=2 {
        assert!(table.text().contains(&beacon_name(number)), "{}", table.text());
    }
    assert!(table.stderr.contains("2 destinations found"), "{}", table.stderr);
    assert!(csv.stderr.contains("2 destinations found"), "{}", csv.stderr);
    let all = rows(&ask(&files, &[&["--compare", "--all"], &NDJSON]));
    assert!(all.len() > 10, "{}", all.len());
    let (first, rest) = all.split_at(2);
    assert_eq!(first, found, "what they found comes first");
    for row in rest {
        assert_eq!(row["found_by"], Value::Array(Vec::new()), "{row}");
    }
}

#[test]
fn the_rules_say_the_same_of_a_log_and_of_its_events() {
    let scratch = Scratch::new("rules-events");
    let folder = zeek_day(&scratch);
    let events = [scratch.file("e.ndjson")];
    let path = events.first().and_then(|path| path.to_str()).unwrap();
    ask(&folder, &[&["--events", path], &NDJSON]);
    assert_same(ask(&events, &[&SENTINEL, &CSV]).text(), ask(&folder, &[&SENTINEL, &CSV]).text());
    // Events have no sizes with headers, so only the times are held against each other.
    let times = |files: &[PathBuf]| -> Vec<[String; 5]> {
        let mut found: Vec<_> = rows(&ask(files, &[&["--rule", "rita"], &NDJSON]))
            .iter()
            .map(|row| {
                ["source", "destination", "connections", "ts_score", "hist_score"]
                    .map(|name| row[name].to_string())
            })
            .collect();
        found.sort();
        found
    };
    assert_eq!(times(&folder), times(&events));
}

#[test]
fn the_samples_are_hunted_as_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/logs");
    for sample in ["defender-csv", "defender-json"] {
        for (what, arguments) in
            [("sentinel", &SENTINEL[..]), ("rita", &["--rule", "rita"]), ("compare", &["--compare", "--all"])]
        {
            let ran = ask(&[folder.join(sample)], &[arguments, &CSV]);
            golden::check(&format!("rules/{sample}.{what}.csv"), ran.text())
                .unwrap_or_else(|difference| panic!("{difference}"));
        }
    }
}
