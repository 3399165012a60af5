//! The forms in which alerts and records leave: held against golden files and against the published schemas, with made-up
//! alerts of every kind and with every hostile name.
//!
//! Renew the golden files after a wanted change with `SONDE_BLESS=1 cargo test -p sonde-tests --test forms`, and read the
//! difference.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use sonde_common as model;
use sonde_common::alert::{Alert, Change};
use sonde_common::encode::ocsf;
use sonde_common::guide::Guidance;
use sonde_tests::golden;
use sonde_tests::hostile::{Hostile, alert_with, names};
use sonde_tests::servers::binary;
use sonde_tests::words::harmful;

#[path = "../../common/src/encode/samples.rs"]
mod samples;

/// Runs a script of `scripts/lib` with the interpreter that has its packages; what it said, and whether it was content.
fn python(script: &str, input: &str) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lib").join(script);
    let mut child = Command::new(binary("python"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let written = writer.join().unwrap();
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(written.is_ok(), "{said}");
    (output.status.success(), said)
}

/// One line for each.
fn findings<'a>(alerts: impl IntoIterator<Item = &'a Alert>, guidance: Guidance) -> String {
    alerts.into_iter().map(|alert| ocsf::to_json(alert, guidance) + "\n").collect()
}

#[test]
fn ocsf_findings_are_as_they_were() {
    golden::check("forms/ocsf.ndjson", &findings(&samples::all(), Guidance::None)).unwrap();
}

#[test]
fn ocsf_findings_of_every_kind_obey_the_published_schema() {
    let mut lines = String::new();
    for change in [Change::Created, Change::Updated, Change::Closed, Change::Final] {
        let alerts: Vec<_> = samples::all().into_iter().map(|alert| Alert { change, ..alert }).collect();
        for guidance in [Guidance::None, Guidance::Full] {
            lines.push_str(&findings(&alerts, guidance));
        }
    }
    let (content, said) = python("check_ocsf.py", &lines);
    assert!(content, "{said}");
    assert!(said.contains(&format!("{} findings, 0 errors", lines.lines().count())), "{said}");
}

#[test]
fn ocsf_findings_with_hostile_names_obey_it_too_and_read_back_intact() {
    let mut lines = String::new();
    for Hostile { danger, name } in names() {
        let line = ocsf::to_json(&alert_with(&name), Guidance::Full);
        assert!(!line.contains(harmful) && !line.contains('\n'), "{danger:?} {name:?}");
        let value: Value = serde_json::from_str(&line).unwrap();
        for path in [
            "/device/hostname",
            "/evidences/0/process/cmd_line",
            "/evidences/0/dst_endpoint/name",
            "/evidences/0/tls/sni",
            "/evidences/0/http_request/user_agent",
            "/evidences/0/http_request/http_headers/0/value",
            "/evidences/0/container/uid",
            "/osint/0/value",
            "/finding_info/desc",
            "/unmapped/sonde/destination/connect_host",
            "/unmapped/sonde/process/script",
        ] {
            assert_eq!(value.pointer(path).and_then(Value::as_str), Some(&*name), "{danger:?} {path}");
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    let (content, said) = python("check_ocsf.py", &lines);
    assert!(content, "{said}");
}

#[test]
fn the_check_of_findings_can_fail() {
    let line = findings([&samples::all()[0]], Guidance::None);
    for (from, to) in [
        ("\"severity_id\":5", "\"severity_id\":\"5\""),
        ("\"finding_info\":{", "\"finding_info\":{\"unheard_of\":1,"),
        ("\"class_uid\":2004,", "\"class_uid\":2004,\"activity_uid\":1,"),
    ] {
        assert!(line.contains(from), "{from}");
        let (content, said) = python("check_ocsf.py", &line.replacen(from, to, 1));
        assert!(!content, "{to}: {said}");
    }
}

/// Each value of the native form is found again in the finding, wherever it stands there.
#[test]
fn ocsf_loses_no_value_of_the_native_form() {
    fn scalars(value: &Value, path: &str, out: &mut Vec<(String, String)>) {
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| scalars(value, &format!("{path}.{name}"), out));
            }
            Value::Array(items) => items.iter().for_each(|item| scalars(item, path, out)),
            Value::Null => {}
            other => out.push((path.to_owned(), other.to_string())),
        }
    }
    // What is Sonde's or ECS's own word, is told by a number there, or is cut apart.
    const OTHERWISE: [&str; 11] = [
        ".@timestamp",
        ".ecs",
        ".event",
        ".threat",
        ".sonde.severity",
        ".sonde.evaluated",
        ".sonde.detected",
        ".url",
        ".sonde.indicators.kind",
        ".sonde.indicators.confidence",
        ".sonde.indicators.valid",
    ];
    for alert in samples::all() {
        let native: Value =
            serde_json::from_str(&model::encode::native::to_json_with(&alert, Guidance::None)).unwrap();
        let finding: Value = serde_json::from_str(&ocsf::to_json(&alert, Guidance::None)).unwrap();
        let (mut wanted, mut found) = (Vec::new(), Vec::new());
        scalars(&native, "", &mut wanted);
        scalars(&finding, "", &mut found);
        for (path, value) in wanted {
            let otherwise = OTHERWISE.iter().any(|known| path.starts_with(known))
                || [
                    ".process.start",
                    ".sonde.indicators.retrospective",
                    ".framework",
                    ".orchestrator.resource.type",
                ]
                .contains(&path.as_str());
            assert!(
                otherwise || found.iter().any(|(_, there)| *there == value),
                "{path} = {value} is nowhere in {finding}"
            );
        }
    }
}
