//! What is promised of feeds, told by the readers on the samples in `tests/data/feeds` (each a case by itself), and by running
//! `sonde feeds`, also on files that mean harm: every entry is looked up as meant or refused with file, line and why; nothing
//! hostile costs more than itself.
//!
//! Renew the golden outputs after a wanted change with `SONDE_BLESS=1 cargo test -p sonde-tests --test feed_formats golden`.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sonde_common::feed::format::{Item, Kind, Options, Reader};
use sonde_common::feed::{Indicator, Subject};
use sonde_tests::golden;
use sonde_tests::program::{Ran, Scratch, run};
use sonde_tests::words::harmful;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/feeds")
}

fn check(files: &[&Path], arguments: &[&str]) -> Ran {
    let mut all: Vec<&str> = vec!["feeds", "check"];
    all.extend(files.iter().map(|file| file.to_str().unwrap()));
    all.extend(arguments);
    run(all, b"")
}

fn exits(ran: Ran, code: i32) {
    assert_eq!(ran.code, code, "{} {}", ran.text(), ran.stderr);
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The line that sums a file up.
fn sum(ran: &Ran) -> Value {
    lines(ran).into_iter().find(|line| line["type"] == "file").unwrap_or_else(|| panic!("{}", ran.text()))
}

fn reasons(ran: &Ran) -> Vec<(u64, String)> {
    let reason = |line: &Value| (line["line"].as_u64().unwrap(), line["reason"].as_str().unwrap().to_owned());
    lines(ran).iter().filter(|line| line["type"] == "problem").map(reason).collect()
}

/// What is looked up, as text.
fn shown(subject: &Subject) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match subject {
        Subject::Ip(ip) => ip.to_string(),
        Subject::Network { address, prefix } => format!("{address}/{prefix}"),
        Subject::Asn(number) => number.to_string(),
        Subject::Domain { name, subdomains } => {
            format!("{name}{}", if *subdomains { " and below" } else { "" })
        }
        Subject::UrlHost(host) => host.to_string(),
        Subject::Ja4(ja4) => ja4.as_str().to_owned(),
        Subject::CertificateSha1(hash) => hex(hash),
        Subject::CertificateSha256(hash) => hex(hash),
    }
}

/// One line for each entry and problem of a feed, and what it came to.
fn told(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut take = |item| {
        match item {
            Item::Indicator(Indicator { subject, note }) => {
                out.push_str(&format!("{}: {}", Kind::of(&subject).as_str(), shown(&subject)));
                for (name, text) in [
                    ("label", note.label.clone()),
                    ("confidence", note.confidence.map_or_else(String::new, |value| value.to_string())),
                    ("group", note.group.clone()),
                    ("software", note.software.clone()),
                    ("reference", note.reference.clone()),
                    ("from", note.valid_from.map_or_else(String::new, |time| time.to_string())),
                    ("until", note.valid_until.map_or_else(String::new, |time| time.to_string())),
                ] {
                    if !text.is_empty() {
                        out.push_str(&format!("; {name} {text}"));
                    }
                }
            }
            Item::Problem(problem) => {
                let (weight, name) = (problem.reason.weight().as_str(), problem.reason.as_str());
                out.push_str(&format!("  {weight} ({name}): {problem}"));
            }
        }
        out.push('\n');
    };
    let mut reader = Reader::new("sample", Options::default()).without_duplicates();
    reader.feed(bytes, &mut take);
    let report = reader.finish(&mut take);
    out + &format!("{:?}: {:?}, {:?}\n", report.format, report.kinds, report.reasons)
}

#[test]
fn golden_every_sample_gives_the_entries_and_refusals_that_are_kept() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(samples()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 12, "{files:?}");
    let mut differences = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let found = told(&std::fs::read(&file).unwrap());
        differences.extend(golden::check(&format!("feeds/{name}.txt"), &found).err());
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn people_read_file_line_and_why() {
    let scratch = Scratch::new("feeds-text");
    let file = scratch.write("ours.txt", b"198.51.100.7\n0.0.0.0/0\n10.0.0.1\n::/0\n\x1b[2Jx\n");
    let ran = check(&[&file], &["--format", "table"]).expect(0);
    let text = ran.text();
    let name = file.to_str().unwrap();
    assert!(text.contains(&format!("{name}: line 2: 0.0.0.0/0: is wider than /10")), "{text}");
    assert!(text.contains(&format!("{name}: line 3: 10.0.0.1: is not on the public Internet")), "{text}");
    assert_eq!(
        text.matches("name the networks in it that are meant").count(),
        1,
        "a remedy is told once: {text}"
    );
    assert!(text.contains("FEED") && text.contains("ADDRESS") && text.contains("REFUSED"), "{text}");
    assert!(!text.chars().any(harmful), "{text}");
    exits(check(&[&file], &["--strict"]), 65);
    let limited = check(&[&file], &["--limit", "1", "--format", "ndjson"]).expect(0);
    assert_eq!(reasons(&limited), [(2, "overbroad".to_owned())]);
    assert_eq!(sum(&limited)["refused"], serde_json::json!({"internal": 1, "overbroad": 2, "unknown": 1}));
}

#[test]
fn exit_codes_tell_what_is_wrong() {
    let scratch = Scratch::new("feeds-exit");
    let missing = scratch.file("nowhere.txt");
    let ran = check(&[&missing], &["--format", "table"]).expect(66);
    assert!(ran.text().contains("nowhere.txt: no such file"), "{}", ran.text());
    exits(check(&[&scratch.write("empty.txt", b"")], &[]), 65);
    exits(check(&[&scratch.write("useless.txt", b"10.0.0.1\n")], &[]), 65);
    exits(check(&[&scratch.write("quiet.txt", b"# nothing today\n")], &[]), 0);
    let good = scratch.write("good.txt", b"198.51.100.7\n");
    exits(check(&[&good], &[]), 0);
    exits(check(&[&good, &missing], &[]), 66);
    exits(check(&[&good], &["--set", "columns=nothing"]), 64);
    let capture = scratch.write("x.pcap", &sonde_tests::scenario::scenario("dead", 1));
    let ran = check(&[&capture], &["--format", "table"]).expect(65);
    assert!(ran.text().contains("is a capture, and no feed"), "{}", ran.text());
    std::fs::write(scratch.file("good.txt.sonde.toml"), "colums = 1").unwrap();
    let ran = check(&[&good], &["--format", "table"]).expect(78);
    assert!(ran.text().contains("good.txt.sonde.toml: `colums` is no setting"), "{}", ran.text());
}

#[test]
fn the_configured_feeds_are_listed() {
    let scratch = Scratch::new("feeds-list");
    std::fs::create_dir(scratch.file("feeds")).unwrap();
    scratch.write("feeds/a.txt", b"198.51.100.7\nbad.example\n");
    scratch.write("feeds/b.txt", b"198.51.100.8\n");
    let config = format!("[feeds]\npaths = [{:?}]", scratch.file("feeds").to_str().unwrap());
    let config = scratch.write("sonde.toml", config.as_bytes());
    let list = |format: &str| {
        run(["feeds", "list", "--config", config.to_str().unwrap(), "--format", format], b"").expect(0)
    };
    let rows = lines(&list("ndjson"));
    let told: Vec<_> =
        rows.iter().map(|row| (row["feed"].as_str().unwrap(), row["entries"].as_u64().unwrap())).collect();
    assert_eq!(told, [("a", 2), ("b", 1)]);
    assert!(list("table").text().contains("a.txt"));
    let none = scratch.write("none.toml", b"");
    let ran = run(["feeds", "list", "--config", none.to_str().unwrap(), "--format", "table"], b"").expect(0);
    assert!(ran.text().contains("feeds.paths"), "{}", ran.text());
}

// --- Harm ------------------------------------------------------------------------------------------------------------

fn gzip(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for piece in pieces {
        encoder.write_all(&piece).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn hostile_feeds_are_refused_with_a_clear_reason() {
    let scratch = Scratch::new("feeds-hostile");
    let endless = vec![b'a'; 8 << 20];
    let deep = [b"{\"type\":\"bundle\",\"objects\":".to_vec(), vec![b'['; 1 << 20]].concat();
    let circle: String = (0..2_000)
        .map(|n| {
            format!(
                "{{\"type\":\"relationship\",\"id\":\"relationship--{n}\",\"relationship_type\":\"variant-of\",\
                 \"source_ref\":\"malware--{n}\",\"target_ref\":\"malware--{}\"}},\n",
                (n + 1) % 2_000
            )
        })
        .collect();
    let circle = format!(
        "{{\"type\":\"bundle\",\"objects\":[\n{circle}{{\"type\":\"relationship\",\"id\":\"relationship--x\",\
         \"relationship_type\":\"indicates\",\"source_ref\":\"indicator--1\",\"target_ref\":\"malware--0\"}},\n\
         {{\"type\":\"indicator\",\"id\":\"indicator--1\",\"pattern\":\"[ipv4-addr:value='198.51.100.7']\"}}]}}"
    );
    let wide = format!(
        "{{\"type\":\"bundle\",\"objects\":[{{\"type\":\"indicator\",\"id\":\"i\",\"pattern\":\"[{}]\"}}]}}",
        vec!["(a:b = 'x' OR a:c = 'y')"; 500].join(" AND ")
    );
    /// Name and bytes of a file, the exit code, and which lines are refused, and why.
    type Case = (&'static str, Vec<u8>, i32, Vec<(u64, &'static str)>);
    let cases: Vec<Case> = vec![
        ("one-line.txt", endless.clone(), 65, vec![(1, "line-too-long")]),
        (
            "lines.txt",
            [&endless[..], b"\n198.51.100.7\n", &endless].concat(),
            0,
            vec![(1, "line-too-long"), (3, "line-too-long")],
        ),
        ("deep.json", deep, 65, vec![(1, "depth")]),
        ("circle.json", circle.into_bytes(), 0, vec![]),
        ("wide.json", wide.into_bytes(), 65, vec![(1, "pattern")]),
        ("cut.json", b"{\"type\":\"bundle\",\n\"objects\":[{\"type\":".to_vec(), 65, vec![(2, "json")]),
        ("binary.txt", vec![0; 4096], 65, vec![(1, "not-text")]),
        (
            "everything.txt",
            b"0.0.0.0/0\n::/0\n*.com\n128.0.0.0/1\n".to_vec(),
            65,
            vec![(1, "overbroad"), (2, "overbroad"), (3, "public-suffix"), (4, "overbroad")],
        ),
    ];
    for (name, bytes, code, expected) in cases {
        let ran = check(&[&scratch.write(name, &bytes)], &["--format", "ndjson"]).expect(code);
        let found = reasons(&ran);
        assert_eq!(
            found.iter().map(|(line, reason)| (*line, reason.as_str())).collect::<Vec<_>>(),
            expected,
            "{name}"
        );
        assert!(ran.stdout.len() < 64 << 10, "{name}: {} bytes", ran.stdout.len());
    }
}

#[test]
fn a_decompression_bomb_ends_at_the_cap() {
    let scratch = Scratch::new("feeds-bomb");
    // JSON may unpack to 128 MiB; this would come to 1.5 GiB.
    let spaces = vec![b' '; 1 << 20];
    let bomb = gzip(
        std::iter::once(b"{\"type\":\"bundle\",\"objects\":[".to_vec())
            .chain(std::iter::repeat_n(spaces, 1_536)),
    );
    assert!(bomb.len() < 4 << 20);
    let ran = check(&[&scratch.write("bomb.json.gz", &bomb)], &["--format", "ndjson"]).expect(65);
    assert_eq!(reasons(&ran), [(1, "size".to_owned())]);
    assert!(sum(&ran)["bytes"].as_u64().unwrap() < 130 << 20);
    // Packed over and over.
    let nested =
        gzip(std::iter::once(gzip(std::iter::once(gzip(std::iter::once(b"198.51.100.7\n".to_vec()))))));
    let ran = check(&[&scratch.write("nested.gz", &nested)], &["--format", "table"]).expect(65);
    assert!(ran.text().contains("compressed more than 2 times over"), "{}", ran.text());
}

#[test]
fn packed_feeds_are_read_and_a_cut_one_says_so() {
    let scratch = Scratch::new("feeds-packed");
    let text: Vec<u8> = (0..20_000).flat_map(|n| format!("host{n}.bad.example\n").into_bytes()).collect();
    let packed = gzip(std::iter::once(text.clone()));
    let whole = check(&[&scratch.write("list.txt.gz", &packed)], &["--format", "ndjson"]).expect(0);
    assert_eq!(sum(&whole)["entries"], 20_000);
    assert_eq!(sum(&whole)["feed"], "list");
    let zst = scratch.write("list.txt.zst", &zstd::encode_all(&text[..], 1).unwrap());
    assert_eq!(sum(&check(&[&zst], &["--format", "ndjson"]).expect(0))["entries"], 20_000);
    let cut = scratch.write("cut.txt.gz", &packed[..packed.len() / 2]);
    let ran = check(&[&cut], &["--format", "ndjson"]).expect(65);
    assert!(sum(&ran)["failure"].as_str().unwrap().contains("damaged after byte"));
    assert!(sum(&ran)["entries"].as_u64().unwrap() > 1_000);
}

#[test]
fn what_a_feed_calls_itself_and_its_words_reach_no_terminal() {
    let scratch = Scratch::new("feeds-words");
    let text = "198.51.100.7 # \u{1b}]0;owned\u{7} \u{202e}txt\nbad.example # ok\n\u{1b}[31mred\n\
                #sonde: name=\u{1b}[2J\n";
    let file = scratch.write("words.txt", text.as_bytes());
    for format in ["table", "ndjson"] {
        let ran = check(&[&file], &["--entries", "--format", format]).expect(0);
        assert!(ran.text().contains("\\u{1b}") || ran.text().contains("\\\\u{1b}"), "{}", ran.text());
        assert!(!ran.text().chars().any(harmful), "{}", ran.text());
    }
}
