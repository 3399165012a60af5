//! Bad rows cost themselves alone and are named; a file that is none says what it was taken for.

use sonde_tests::logs::{defender, zeek_conn, zeek_conn_json, zeek_ssl};
use sonde_tests::pack;
use sonde_tests::program::Scratch;
use sonde_tests::rng::Rng;
use sonde_tests::words::harmful;

use super::{ALL, files_of, replay, run_on, samples, three_hosts};

/// Puts these lines among those of a text, far from each other and behind its header, and says at which lines they stand.
fn with_bad(text: &str, bad: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
    let mut lines: Vec<&[u8]> = text.as_bytes().split_inclusive(|byte| *byte == b'\n').collect();
    let mut places = Vec::new();
    for (index, line) in bad.iter().enumerate() {
        let at = 20 + index * 11;
        lines.insert(at, line);
        places.push(at + 1);
    }
    (lines.concat(), places)
}

#[test]
fn bad_rows_cost_themselves_and_the_first_five_are_named() {
    let calls = three_hosts();
    let scratch = Scratch::new("bad-rows");
    let tsv: [(&[u8], &str); 7] = [
        (
            b"yesterday\tCx\t10.20.0.1\t1\t203.0.113.1\t443\ttcp\t-\t1\t1\t1\tSF\tT\tF\t1\t1\n",
            "ts: not a time, found `yesterday`",
        ),
        (
            b"1793606401.5\tCx\t10.20.0.999\t1\t203.0.113.1\t443\ttcp\t-\t1\t1\t1\tSF\tT\tF\t1\t1\n",
            "id.orig_h: not an IP address, found `10.20.0.999`",
        ),
        (
            b"1793606401.5\tCx\t10.20.0.1\t1\t203.0.113.1\t70000\ttcp\t-\t1\t1\t1\tSF\tT\tF\t1\t1\n",
            "id.resp_p: not a port, found `70000`",
        ),
        (b"1793606401.5\tCx\t10.20.0.1\n", "row: number of columns"),
        (
            b"1793606401.5\tCx\t10.20.0.1\t1\t203.0.113.1\t443\ttcp\t-\t1\t-7\t1\tSF\tT\tF\t1\t1\n",
            "orig_bytes: not a number, found `-7`",
        ),
        (b"-\tCx\t10.20.0.1\t1\t203.0.113.1\t443\ttcp\t-\t1\t1\t1\tSF\tT\tF\t1\t1\n", "ts: missing"),
        (
            b"1793606401.5\tCx\t-\t1\t203.0.113.1\t443\ttcp\t-\t1\t1\t1\tSF\tT\tF\t1\t1\n",
            "id.orig_h: missing",
        ),
    ];
    let json: [(&[u8], &str); 6] = [
        (b"{\"ts\":1793606401.5,\"uid\":\"Cx\",\"id.orig_h\":\n", "not the expected JSON"),
        (b"[1,2,3]\n", "not the expected JSON"),
        (
            b"{\"_path\":\"conn\",\"ts\":\"soon\",\"uid\":\"Cx\",\"id.orig_h\":\"10.0.0.1\"}\n",
            "ts: not a time, found `soon`",
        ),
        (
            b"{\"_path\":\"conn\",\"ts\":1793606401.5,\"uid\":\"Cx\",\"id.orig_h\":\"here\"}\n",
            "id.orig_h: not an IP address, found `here`",
        ),
        (b"\xff\xfe{}\n", "row"),
        (b"{\"_path\":\"conn\",\"uid\":\"Cx\"}\n", "ts: missing"),
    ];
    let csv: [(&[u8], &str); 6] = [
        (b"soon,pc-01.corp.example,ConnectionSuccess,203.0.113.1,443,a.example,10.0.0.1,1,Tcp,Public,a.exe,c:\\a,1,a\n", "Timestamp: not a time, found `soon`"),
        (b",pc-01.corp.example,ConnectionSuccess,203.0.113.1,443,a.example,10.0.0.1,1,Tcp,Public,a.exe,c:\\a,1,a\n", "Timestamp: missing"),
        (b"2026-11-02T08:00:00Z,pc-01.corp.example\n", "row: number of columns"),
        (b"2026-11-02T08:00:00Z,pc,ConnectionSuccess,203.0.113.1,443,a.example,10.0.0.1,1,Tcp,Public,a.exe,c:\\a,1,a,more,cells\n", "row: number of columns"),
        (b"2026-13-02T08:00:00Z,pc,ConnectionSuccess,203.0.113.1,443,a.example,10.0.0.1,1,Tcp,Public,a.exe,c:\\a,1,a\n", "Timestamp: not a time"),
        (b"\xff\xff\n", "row"),
    ];
    for (name, good, bad) in [
        ("conn.log", zeek_conn(&calls), &tsv[..]),
        ("conn.json", zeek_conn_json(&calls), &json),
        ("defender.csv", defender(&calls), &csv),
    ] {
        let expected = replay(&[scratch.write(name, good.as_bytes())], &ALL);
        assert_eq!(expected.stderr, "", "{name}");
        let (bytes, places) = with_bad(&good, &bad.iter().map(|(line, _)| *line).collect::<Vec<_>>());
        let file = scratch.write(name, &bytes);
        let found = replay(&[&file], &ALL);
        assert!(found.stdout == expected.stdout, "{name}: the good rows say otherwise: {}", found.stderr);
        let named: Vec<&str> = found.stderr.lines().filter(|line| line.contains("row left out")).collect();
        assert_eq!(named.len(), 5, "{name}: {}", found.stderr);
        for ((line, (_, why)), place) in named.iter().zip(bad).zip(places) {
            let place = format!("line={place}");
            for part in [name, &place, why] {
                assert!(line.contains(part), "{name}: `{part}` is not in {line}");
            }
        }
        let all = format!("rows={}", bad.len());
        assert!(found.stderr.contains(&all), "{name}: {all}: {}", found.stderr);
        let table = replay(&[&file], &["--format", "table"]).stderr;
        assert!(table.contains("bad rows ("), "{name}: {table}");
        for threads in ["1", "8"] {
            let again = replay(&[&file], &[&ALL[..], &["--threads", threads]].concat());
            assert_eq!(again.stderr, found.stderr, "{name}: {threads} threads name other rows");
        }
    }
}

#[test]
fn bad_rows_of_several_files_are_named_file_by_file() {
    let scratch = Scratch::new("bad-files");
    let calls = three_hosts();
    let bad = [b"nothing\n".as_slice(); 7];
    let files: Vec<_> = ["b.log", "a.log", "c.log"]
        .iter()
        .map(|name| scratch.write(name, &with_bad(&zeek_conn(&calls), &bad).0))
        .collect();
    let found = replay(&files, &ALL);
    let named: Vec<&str> = found.stderr.lines().collect();
    for (index, name) in ["b.log", "a.log", "c.log"].iter().enumerate() {
        let told = named.iter().filter(|line| line.contains("row left out") && line.contains(name)).count();
        assert_eq!(told, 5, "{name}: {}", found.stderr);
        assert!(named[index * 5].contains(name), "in the order in which they were given: {}", found.stderr);
        assert!(named.iter().any(|line| line.contains(name) && line.contains("rows=7")), "{}", found.stderr);
    }
}

#[test]
fn a_file_that_is_no_log_is_refused_with_what_was_tried() {
    let scratch = Scratch::new("unknown");
    for (name, bytes) in [
        ("garbage", &b"\x01\x02\x03\x04 some garbage"[..]),
        ("one.json", b"{\"hello\":\"world\",\"list\":[1,2,3]}\n"),
        (
            "many.ndjson",
            b"{\"level\":\"info\",\"msg\":\"started\"}\n{\"level\":\"info\",\"msg\":\"stopped\"}\n",
        ),
        ("array.json", b"[{\"hello\":\"world\"},{\"hello\":\"again\"}]"),
        ("people.csv", b"name,age,city\nann,31,Ulm\n"),
        ("words.txt", b"This is a letter to nobody.\n"),
    ] {
        let packed = [bytes.to_vec(), pack::gzip(bytes).unwrap(), pack::zip(&[("member", bytes)]).unwrap()];
        for (bytes, how) in packed.iter().zip(["plain", "gzip", "zip"]) {
            let ran = run_on(&[scratch.write(name, bytes)], &ALL);
            assert_eq!(ran.code, 65, "{name} {how}: {}", ran.stderr);
            assert_eq!(ran.text(), "", "{name} {how}");
            let tried = ["pcap", "Zeek", "Defender", "EVTX", "Suricata"];
            for format in tried {
                assert!(ran.stderr.contains(format), "{name} {how}: {format} is not in {}", ran.stderr);
            }
            assert!(ran.stderr.contains(name), "{name} {how}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_folder_passes_over_what_is_no_log_and_says_so() {
    let calls = three_hosts();
    let scratch = Scratch::new("strangers");
    let log = scratch.write("conn.log", zeek_conn(&calls).as_bytes());
    let expected = replay(&[&log], &ALL).stdout;
    scratch.write("notes.txt", b"Taken on Monday.");
    scratch.write("app.json", b"{\"level\":\"info\"}\n");
    scratch.write("reporter.log", b"");
    scratch.write("picture.png", b"\x89PNG\r\n\x1a\n\0\0");
    let found = replay(&[scratch.path()], &ALL);
    assert!(found.stdout == expected);
    for name in ["notes.txt", "app.json", "reporter.log", "picture.png"] {
        assert!(found.stderr.contains(name), "{name}: {}", found.stderr);
    }
}

#[test]
fn of_a_cut_archive_what_can_be_read_is_used_and_the_damage_is_named() {
    let calls = three_hosts();
    let scratch = Scratch::new("cut-archive");
    let text = zeek_conn(&calls);
    let whole = replay(&[scratch.write("conn.log", text.as_bytes())], &ALL);
    let zeek = [("conn.log", text.as_bytes()), ("ssl.log", zeek_ssl(&calls).leak().as_bytes())];
    let tar = pack::tar(&zeek).unwrap();
    for (name, packed, part) in [
        ("conn.log.gz", pack::gzip(text.as_bytes()).unwrap(), 70),
        ("conn.log.zst", pack::zstd(text.as_bytes()).unwrap(), 98),
        ("all.tar", tar.clone(), 40),
        ("all.tar.gz", pack::gzip(&tar).unwrap(), 60),
    ] {
        let cut = scratch.write(name, &packed[..packed.len() * part / 100]);
        let ran = run_on(&[&cut], &ALL);
        assert!(ran.stderr.contains(name), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains("damaged") || ran.stderr.contains("cut"), "{name}: {}", ran.stderr);
        if name.ends_with(".zst") {
            // A small zstd file is one block: all of it, or nothing.
            assert!(ran.code == 0 || ran.code == 65, "{name}: {}", ran.stderr);
            continue;
        }
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        let rows = ran.text().lines().count();
        assert!(rows > 0 && ran.stdout != whole.stdout, "{name}: {rows} rows");
    }
}

#[test]
fn a_cut_file_among_whole_ones_costs_its_own_rows_alone() {
    let calls = three_hosts();
    let half = calls.len() / 2;
    let scratch = Scratch::new("cut-among");
    let good = scratch.write("a.log", zeek_conn(&calls[..half]).as_bytes());
    let expected = replay(&[&good], &ALL).stdout;
    let rest = pack::gzip(zeek_conn(&calls[half..]).as_bytes()).unwrap();
    // Not a byte of its rows: only the head of the compressed stream.
    let bad = scratch.write("b.log.gz", &rest[..14]);
    let ran = run_on(&[&good, &bad], &ALL);
    assert!(ran.code != 70, "{}", ran.stderr);
    assert!(ran.stderr.contains("b.log.gz"), "{}", ran.stderr);
    // A folder goes on without it.
    let ran = replay(&[scratch.path()], &ALL);
    assert!(ran.stdout == expected, "{}", ran.stderr);
}

#[test]
fn rows_that_cannot_be_sorted_for_want_of_room_end_the_run_with_a_word() {
    let scratch = Scratch::new("no-room");
    // More rows than are sorted in memory, and nowhere to put the others.
    let text = zeek_conn(&three_hosts());
    let (header, body) = text.split_at(text.find("\n1").unwrap() + 1);
    let file =
        scratch.write("conn.log", format!("{header}{}", body.repeat((48 << 20) / body.len())).as_bytes());
    for threads in ["1", "3"] {
        let child = sonde_tests::program::command(["replay", file.to_str().unwrap(), "--threads", threads])
            .envs(["TMPDIR", "TMP", "TEMP"].map(|name| (name, scratch.file("no-such-folder"))))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ran = sonde_tests::program::finish(child, |_| {}, |_| {});
        assert_eq!(ran.code, 74, "{threads}: {}", ran.stderr);
        assert!(ran.stderr.contains("TMPDIR"), "{}", ran.stderr);
        assert_eq!(ran.text(), "");
    }
}

#[test]
fn flipped_bytes_in_a_log_never_break_the_program() {
    let scratch = Scratch::new("flipped-logs");
    let mut rng = Rng::new(21);
    for (name, folder) in samples() {
        for round in 0..6 {
            let files: Vec<_> = files_of(&folder)
                .iter()
                .map(|file| {
                    let mut bytes = std::fs::read(file).unwrap();
                    for _ in 0..[2, 40, 1500][round % 3] {
                        // In some rounds in the first bytes, which say what a file is.
                        let at = rng.length(0, if round < 3 { 300 } else { bytes.len() });
                        bytes[at] ^= 1 << rng.below(8);
                    }
                    scratch.write(file.file_name().unwrap().to_str().unwrap(), &bytes)
                })
                .collect();
            for arguments in [&ALL[..], &["--compare", "--all", "--format", "csv"]] {
                let ran = run_on(&files, arguments);
                assert!([0, 65].contains(&ran.code), "{name}, round {round}: {}: {}", ran.code, ran.stderr);
                assert!(!ran.stderr.contains("panicked"), "{name}, round {round}: {}", ran.stderr);
                assert_eq!(ran.stderr.chars().find(|c| harmful(*c)), None, "{name}, round {round}: stderr");
                assert_eq!(ran.text().chars().find(|c| harmful(*c)), None, "{name}, round {round}: stdout");
            }
        }
    }
}

#[test]
fn a_log_cut_anywhere_keeps_its_whole_rows() {
    let scratch = Scratch::new("cut-log");
    let calls = three_hosts();
    for (name, text) in
        [("conn.log", zeek_conn(&calls)), ("conn.json", zeek_conn_json(&calls)), ("d.csv", defender(&calls))]
    {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let kept = lines[..lines.len() / 2].concat();
        let next = lines[lines.len() / 2];
        let expected = replay(&[scratch.write(name, kept.as_bytes())], &ALL).stdout;
        for part in [1, next.len() / 3, next.len() / 2] {
            let cut = format!("{kept}{}", &next[..part]);
            let ran = replay(&[scratch.write(name, cut.as_bytes())], &ALL);
            assert!(ran.stdout == expected, "{name}: {part}: {}", ran.stderr);
            assert!(ran.stderr.contains("row left out"), "{name}: {part}: {}", ran.stderr);
        }
    }
}

#[cfg(feature = "linux")]
#[test]
fn a_folder_that_leads_back_into_itself_is_walked_once_and_a_dangling_link_passed_over() {
    let calls = three_hosts();
    let scratch = Scratch::new("loop");
    let file = scratch.write("conn.log", zeek_conn(&calls).as_bytes());
    let folder = file.parent().unwrap();
    for (target, link) in [(".", "a"), (".", "b"), ("nowhere", "current")] {
        let made =
            std::process::Command::new("ln").args(["-s", target]).arg(folder.join(link)).status().unwrap();
        assert!(made.success());
    }
    let walked = replay(&[folder], &ALL);
    assert_eq!(walked.text(), replay(&[&file], &ALL).text());
    assert!(walked.stderr.contains("current") && walked.stderr.contains("passed over"), "{}", walked.stderr);
}

#[test]
fn a_member_whose_checksum_does_not_match_is_named() {
    let calls = three_hosts();
    let scratch = Scratch::new("checksum");
    let log = zeek_conn(&calls);
    let mut packed = pack::zip(&[("conn.log", log.as_bytes())]).unwrap();
    // The central directory's copy of the checksum: 16 bytes behind its signature.
    let directory = packed.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    packed[directory + 16] ^= 0xff;
    let ran = run_on(&[scratch.write("conn.zip", &packed)], &ALL);
    assert!(ran.stderr.contains("conn.zip/conn.log") && ran.stderr.contains("checksum"), "{}", ran.stderr);
}
