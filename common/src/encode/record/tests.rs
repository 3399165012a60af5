//! The reference of the fields is what is written; ids and severities are as promised.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::summary::{Rest, Rhythm, Summaries, Summary};

/// The reference of the fields.
const DOC: &str = include_str!("../../../../docs/records.md");

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn sensor() -> Sensor<'static> {
    Sensor { id: SensorId(0x5e), host: "web-07", since: at("2026-03-02T08:00:00Z") }
}

fn of_summaries(name: &str) -> Vec<Record> {
    let row = Summary {
        image: "/usr/bin/curl".to_owned(),
        sha256: "9f".repeat(32),
        name: name.to_owned(),
        registrable_domain: "telemetry-edge.example".to_owned(),
        ip: Some([203, 0, 113, 24].into()),
        port: 443,
        ja4: crate::event::Ja4::parse("t13d190900_9dc949149365_97f8aa674fd9"),
        connections: 60,
        bytes_out: 31_020,
        bytes_in: 193_110,
        first_seen: at("2026-03-02T09:00:12Z"),
        last_seen: at("2026-03-02T09:59:12Z"),
        rhythm: Some(Rhythm {
            finding: crate::alert::FindingId(0x6f1c),
            period_secs: 60.0184,
            interval_median_secs: 60.0212,
            jitter_mad_ratio: 0.061_32,
            bans: 37.218_4,
            callbacks: 131,
            score: 0.937_94,
            severity: Severity::High,
        }),
        ..Summary::default()
    };
    let bare = Summary { image: "sshd".to_owned(), ip: row.ip, connections: 1, ..Summary::default() };
    let unknown = Summary { ip: row.ip, ..Summary::default() };
    summaries(
        &sensor(),
        &Summaries {
            since: at("2026-03-02T09:00:00Z"),
            until: at("2026-03-02T10:00:00Z"),
            rows: vec![row, bare, unknown],
            rest: Rest { destinations: 12, connections: 40, bytes_out: 9_000, bytes_in: 80_000 },
        },
    )
}

fn full_health(text: &str) -> Health {
    Health {
        sequence: 7,
        time: at("2026-03-02T09:30:00Z"),
        interval_secs: 300,
        verdict: Verdict::Degraded,
        reasons: vec![text.to_owned()],
        parts: vec![Part {
            role: "connections".to_owned(),
            name: "ebpf".to_owned(),
            state: PartState::Lost,
            reason: text.to_owned(),
            remedy: "run it as root".to_owned(),
        }],
        counters: [("connections".to_owned(), 1_204)].into(),
        lost: [("packets".to_owned(), 3)].into(),
        gaps: [("suspended".to_owned(), Gap { count: 1, secs: 61 })].into(),
        queues: [("events".to_owned(), Queue { depth: 1, peak: 40, capacity: 65_536 })].into(),
        sinks: [(
            "soc".to_owned(),
            Sink {
                emitted: 10,
                acknowledged: 6,
                spooled: 2,
                dead_lettered: 1,
                dropped: [("full".to_owned(), 1)].into(),
            },
        )]
        .into(),
        shed: vec!["socket counters".to_owned()],
        usage: Usage { cpu_secs: 12.5, cpu_percent: 0.4, rss_bytes: 48 << 20 },
    }
}

fn of_health(text: &str) -> Vec<Record> {
    let well =
        Health { sequence: 8, time: at("2026-03-02T09:35:00Z"), interval_secs: 300, ..Health::default() };
    let blind = Health { verdict: Verdict::Blind, ..well.clone() };
    [full_health(text), well, blind].iter().map(|said| health(&sensor(), said)).collect()
}

fn of_audit(text: &str) -> Vec<Record> {
    let deeds = [
        Deed::Started { config_sha256: "ab".repeat(32) },
        Deed::Stopped { reason: "SIGTERM".to_owned() },
        Deed::Reloaded { config_sha256: "cd".repeat(32), pending: vec!["limits.memory".to_owned()] },
        Deed::Rejected { reason: text.to_owned() },
        Deed::Allowed {
            entry: 3,
            program: text.to_owned(),
            destination: text.to_owned(),
            reason: text.to_owned(),
            expires: Some(at("2026-06-01T00:00:00Z")),
        },
        Deed::Lifted { entry: 3 },
        Deed::Dropped { sink: "soc".to_owned(), kind: Kind::Summary, cause: "full".to_owned(), records: 120 },
    ];
    let by = By { uid: 1000, name: text.to_owned() };
    let each = deeds.into_iter().enumerate().map(|(nth, deed)| {
        let by = matches!(deed, Deed::Allowed { .. } | Deed::Lifted { .. }).then(|| by.clone());
        Audit { sequence: nth as u64 + 1, time: at("2026-03-02T09:00:00Z"), by, deed }
    });
    each.map(|said| audit(&sensor(), &said)).collect()
}

fn value(record: &Record) -> Value {
    serde_json::from_slice(&record.body).unwrap()
}

/// The paths of all values, `[]` behind the name of an array, `*` for names that are counted.
fn paths(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    const COUNTED: [&str; 6] = [
        "sonde.health.counters",
        "sonde.health.lost",
        "sonde.health.gaps",
        "sonde.health.queues",
        "sonde.health.sinks",
        "sonde.health.sinks.*.dropped",
    ];
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if COUNTED.contains(&path) { "*" } else { name };
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                paths(value, &path, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{path}[]"), out)),
        _ => {
            out.insert(path.to_owned());
        }
    }
}

/// The fields that a section of the reference has, those for all records included.
fn documented(section: &str) -> BTreeSet<String> {
    let of = |heading: &str| {
        let (_, rest) = DOC.split_once(&format!("\n## {heading}\n")).unwrap();
        rest.split("\n## ").next().unwrap()
    };
    [of("Every record"), of(section)]
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(path, _)| path.to_owned())
        .collect()
}

#[test]
fn reference_lists_every_field_and_no_other() {
    let sections: [(&str, Vec<Record>); 3] =
        [("Summary", of_summaries("a.example")), ("Health", of_health("x")), ("Audit", of_audit("x"))];
    for (section, records) in sections {
        let mut written = BTreeSet::new();
        records.iter().for_each(|record| paths(&value(record), "", &mut written));
        let documented = documented(section);
        let missing: Vec<_> = written.difference(&documented).collect();
        let stale: Vec<_> = documented.difference(&written).collect();
        assert!(missing.is_empty(), "{section}: not in docs/records.md: {missing:?}");
        assert!(stale.is_empty(), "{section}: in docs/records.md, but never written: {stale:?}");
    }
}

#[test]
fn ids_are_short_plain_and_no_two_are_the_same() {
    let all: Vec<_> = [of_summaries("a"), of_health("x"), of_audit("x")].concat();
    // Two of them are the same word about the same moment, and differ in what was found only.
    let ids: BTreeSet<_> = all.iter().map(|record| &record.id).collect();
    assert_eq!(ids.len(), all.len() - 1);
    for record in &all {
        assert!(
            record.id.len() <= 96 && record.id.bytes().all(|byte| byte.is_ascii_graphic()),
            "{}",
            record.id
        );
        assert_eq!(record.key, sensor().id.to_string());
        let value = value(record);
        assert_eq!(value["event"]["id"], record.id.as_str());
        assert_eq!(value["@timestamp"], record.time.to_string());
    }
}

#[test]
fn what_is_lost_or_refused_is_told_louder() {
    let severities = |records: Vec<Record>| records.iter().map(|record| record.severity).collect::<Vec<_>>();
    assert_eq!(severities(of_health("x")), [Severity::Low, Severity::Info, Severity::Medium]);
    let audit = severities(of_audit("x"));
    assert_eq!(audit.iter().filter(|severity| **severity == Severity::Medium).count(), 2);
}

#[test]
fn an_interval_without_traffic_says_nothing_and_the_rest_comes_last() {
    let none = Summaries { since: at("2026-03-02T09:00:00Z"), ..Summaries::default() };
    assert!(summaries(&sensor(), &none).is_empty());
    let records = of_summaries("a.example");
    assert_eq!(records.len(), 4);
    let rest = value(records.last().unwrap());
    assert_eq!(rest["event"]["action"], "rest-summary");
    assert_eq!(rest["sonde"]["summary"]["connections"], 40);
    assert_eq!(rest["sonde"]["summary"]["rest"]["destinations"], 12);
}

#[test]
fn hostile_names_leave_the_line_plain_and_read_back() {
    let hostile = "a\x1b[2J\r\n\u{202e}\u{2028}\"]|=\\<script>\0";
    for record in [of_summaries(hostile), of_health(hostile), of_audit(hostile)].concat() {
        let line = String::from_utf8(record.body).unwrap();
        assert!(line.chars().all(crate::text::is_plain), "{line}");
        serde_json::from_str::<Value>(&line).unwrap();
    }
    assert_eq!(value(&of_summaries(hostile)[0])["destination"]["domain"], hostile);
    assert_eq!(value(&of_health(hostile)[0])["sonde"]["health"]["reasons"][0], hostile);
    assert_eq!(value(&of_audit(hostile)[4])["user"]["name"], hostile);
}

#[test]
fn an_alert_is_shipped_in_the_form_of_its_sink() {
    let sample = crate::encode::samples::implant();
    let native = alert(&sample, WireForm::Native, Guidance::Full);
    assert_eq!(native.body, native::to_json(&sample).into_bytes(), "an update carries no guidance");
    assert_eq!((native.id.as_str(), native.key.as_str()), (&*sample.emission_id(), &*sample.id.to_string()));
    let ocsf = alert(&sample, WireForm::Ocsf, Guidance::Full);
    assert_eq!(value(&ocsf)["class_uid"], 2004);
    assert_eq!(value(&ocsf)["metadata"]["uid"], native.id.as_str());
}

#[test]
fn lines_are_as_they_were() {
    let kept = include_str!("golden.ndjson");
    let all =
        [of_summaries("cdn.telemetry-edge.example"), of_health("no kernel program"), of_audit("our own")]
            .concat();
    let version = concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}");
    let lines: Vec<_> = all
        .into_iter()
        .map(|record| String::from_utf8(record.body).unwrap().replace(version, "\"version\":\"*\"}"))
        .collect();
    let found = lines.join("\n") + "\n";
    if std::env::var_os("SONDE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/encode/record/golden.ndjson");
        std::fs::write(path, found).unwrap();
        return;
    }
    assert!(kept == found, "differs (SONDE_BLESS=1 renews it):\n{found}");
}
