//! Rows are as they were, hold all of an alert, and have no column that the shipped definitions lack.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::alert::{Alert, Severity};
use crate::config::{SentinelSettings, Stream, WireForm};
use crate::encode::{record, samples};
use crate::guide::Guidance;

/// Definitions as they are shipped.
const TABLES: &str = include_str!("../../../../packaging/sentinel/tables.json");
const RULE: &str = include_str!("../../../../packaging/sentinel/dcr.json");
const ANALYTICS: &str = include_str!("../../../../packaging/sentinel/rules.json");
const VIEW: &str = include_str!("../../../../packaging/sentinel/asim.kql");

/// Names that the service keeps for itself.
const RESERVED: [&str; 13] = [
    "id",
    "billedsize",
    "isbillable",
    "invoicedsize",
    "tenantid",
    "title",
    "type",
    "uniqueid",
    "_itemid",
    "_resourcegroup",
    "_resourceid",
    "_subscriptionid",
    "_timereceived",
];

fn of(alert: &Alert) -> Record {
    record::alert(alert, WireForm::Native, Guidance::Full)
}

fn made(record: &Record) -> Value {
    serde_json::from_slice(&row(record).unwrap()).unwrap()
}

/// Summaries, health and audit, as the golden file of their own form has them.
fn own_words() -> Vec<Record> {
    include_str!("../record/golden.ndjson")
        .lines()
        .map(|line| {
            let body: Value = serde_json::from_str(line).unwrap();
            let kind = match body["event"]["dataset"].as_str().unwrap() {
                "sonde.summary" => Kind::Summary,
                "sonde.health" => Kind::Health,
                _ => Kind::Audit,
            };
            Record {
                kind,
                id: body["event"]["id"].as_str().unwrap().to_owned(),
                key: body["agent"]["id"].as_str().unwrap().to_owned(),
                time: body["@timestamp"].as_str().unwrap().parse().unwrap(),
                severity: Severity::Info,
                body: line.as_bytes().to_vec(),
            }
        })
        .collect()
}

fn all() -> Vec<Record> {
    samples::all().iter().map(of).chain(own_words()).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn rows_are_as_they_were() {
    let mut found = String::new();
    for record in all() {
        let line = String::from_utf8(row(&record).unwrap()).unwrap();
        found.push_str(&line.replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"*\""));
        found.push('\n');
    }
    if std::env::var_os("SONDE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/encode/sentinel/golden.ndjson");
        std::fs::write(path, &found).unwrap();
        return;
    }
    assert!(include_str!("golden.ndjson") == found, "differs (SONDE_BLESS=1 renews it):\n{found}");
}

#[test]
fn every_column_is_of_its_type_and_each_is_written_by_some_record() {
    let mut written: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for record in all() {
        let table = Table::of(record.kind);
        let row = made(&record);
        for (name, value) in row.as_object().unwrap() {
            let column = table.columns().iter().find(|column| column.name == name).unwrap();
            let fits = match column.of {
                Type::Text => value.is_string(),
                Type::Boolean => value.is_boolean(),
                Type::Int => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
                Type::Long => value.is_i64(),
                Type::Real => value.is_f64(),
                Type::Time => {
                    value.as_str().is_some_and(|text| text.len() == 28 && text.parse::<Timestamp>().is_ok())
                }
                Type::Dynamic => value.is_object() || value.is_array(),
            };
            assert!(fits, "{name}: {value}");
            written.entry(table.name()).or_default().insert(name.clone());
        }
        for name in ["TimeGenerated", "Timestamp", "EmissionId"] {
            assert!(row[name].is_string(), "{name}: {row}");
        }
        assert_eq!(row["EmissionId"], record.id.as_str());
    }
    for table in Table::ALL {
        let named: BTreeSet<_> = table.columns().iter().map(|column| column.name.to_owned()).collect();
        assert_eq!(named.len(), table.columns().len(), "a name that stands twice");
        let mut never: Vec<_> = named.difference(&written[table.name()]).cloned().collect();
        // No made-up alert is of a host that is known by its address, in a pod, or of feeds that name groups.
        never.retain(|name| !samples_lack(name));
        // Of a summary all has a column by now: what comes to it later has a place.
        never.retain(|name| (table, name.as_str()) != (Table::Summary, "Details"));
        assert!(never.is_empty(), "{}: {never:?}", table.name());
    }
}

/// Columns that the made-up alerts have nothing for; `what_samples_lack_is_written_too` fills them.
fn samples_lack(name: &str) -> bool {
    ["LocalIP", "HttpPort", "ThreatGroup", "ThreatSoftware", "PodId", "ContainerId", "Sentence"]
        .contains(&name)
}

#[test]
fn what_samples_lack_is_written_too() {
    let mut alert = samples::on_feed();
    alert.host = "192.0.2.44".to_owned();
    alert.destination.http_host = "evil.example:8080".to_owned();
    alert.indicators[0].group = "G0016".to_owned();
    alert.indicators[0].software = "S0154".to_owned();
    let mut process = samples::implant().process.unwrap();
    (process.info.container, process.info.pod) = ("c0ffee".to_owned(), "pod-1".to_owned());
    alert.process = Some(process);
    let row = made(&of(&alert));
    for (name, wanted) in [
        ("LocalIP", Value::from("192.0.2.44")),
        ("HttpPort", Value::from(8080)),
        ("HttpHost", Value::from("evil.example")),
        ("ThreatGroup", Value::from("G0016")),
        ("ThreatSoftware", Value::from("S0154")),
        ("ContainerId", Value::from("c0ffee")),
        ("PodId", Value::from("pod-1")),
    ] {
        assert_eq!(row[name], wanted, "{name}: {row}");
    }
    let body = br#"{"message":"Test of the sink","sonde":{"test":true}}"#.to_vec();
    let row = made(&Record { body, ..own_words().pop().unwrap() });
    assert_eq!(
        (&row["Sentence"], &row["Details"]["test"]),
        (&Value::from("Test of the sink"), &Value::Bool(true))
    );
}

/// The paths of all values; an array is a value.
fn leaves(value: &Value, path: &str, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), out));
        }
        _ => drop(out.insert(path.to_owned(), value.clone())),
    }
}

#[test]
fn nothing_of_a_record_is_lost() {
    // The same in every record of a kind, or what another column says.
    let constant = |path: &str| {
        let event =
            ["category", "type", "module", "dataset", "id", "severity", "start", "end", "kind", "action"];
        path == "/ecs/version"
            || path == "/agent/type"
            || path == "/rule/description"
            || path == "/threat/framework"
            || path == "/orchestrator/resource/type"
            || path.strip_prefix("/event/").is_some_and(|name| event.contains(&name))
    };
    for record in all() {
        let row = made(&record);
        let mut sent = BTreeMap::new();
        leaves(&serde_json::from_slice(&record.body).unwrap(), "", &mut sent);
        for (path, value) in sent {
            let column = Table::of(record.kind).columns().iter().find(|column| match column.from {
                Source::At(pointer) | Source::Capital(pointer) => {
                    pointer == path || pointer.strip_suffix("/0") == Some(&path)
                }
                _ => false,
            });
            let same = SAME.iter().any(|key| path == format!("/sonde/{key}"));
            let kept = match column {
                Some(column) => row.get(column.name).is_some(),
                None if same => record.kind == Kind::Alert,
                None => {
                    let below = path.strip_prefix("/sonde").and_then(|below| row["Details"].pointer(below));
                    below == Some(&value) || constant(&path)
                }
            };
            let empty = value.as_str() == Some("");
            assert!(kept || empty, "{path} = {value} of {row}");
        }
    }
}

#[test]
fn what_is_too_long_is_cut_and_json_stays_json() {
    let mut alert = samples::implant();
    alert.reason = "\u{e4}\u{202e}".repeat(20_000);
    let sentence = made(&of(&alert))["Sentence"].as_str().unwrap().to_owned();
    assert!(
        sentence.len() <= MAX_TEXT_BYTES
            && sentence.ends_with("\u{e4}...") | sentence.ends_with("\u{202e}...")
    );
    // The guide goes first, then all.
    let mut body: Value = serde_json::from_slice(&of(&alert).body).unwrap();
    let mut cut = |key: &str, length: usize| {
        body["sonde"][key] = Value::from("x".repeat(length));
        made(&Record { body: body.to_string().into(), ..of(&alert) })["Details"].clone()
    };
    let details = cut("guide", 70_000);
    assert!(details.get("guide").is_none() && details["cut_bytes"].as_u64() > Some(70_000), "{details}");
    assert!(details["evidence"].is_object());
    assert_eq!(cut("other", 70_000).as_object().unwrap().keys().collect::<Vec<_>>(), ["cut_bytes"]);
}

#[test]
fn a_value_of_another_type_is_left_out_and_stays_in_the_details() {
    let body =
        br#"{"destination":{"port":5000000000},"process":{"pid":"12"},"sonde":{"score":"high","evidence":
        {"bytes_out":18446744073709551615,"callbacks":-1}}}"#;
    let row = made(&Record { body: body.to_vec(), ..of(&samples::bare()) });
    assert!(
        row.get("RemotePort").is_none()
            && row.get("InitiatingProcessId").is_none()
            && row.get("Score").is_none()
    );
    assert_eq!(row["Details"], serde_json::json!({"score": "high"}), "{row}");
    assert_eq!((row["BytesOut"].as_i64(), row["Callbacks"].as_i64()), (Some(i64::MAX), Some(-1)));
    for none in [&b"[1]"[..], b"", b"{\"a\":", b"\xff"] {
        assert_eq!(super::row(&Record { body: none.to_vec(), ..of(&samples::bare()) }), None);
    }
    // A body that another kind of sink had waiting is kept whole.
    let ocsf = record::alert(&samples::bare(), WireForm::Ocsf, Guidance::None);
    let row = made(&ocsf);
    assert_eq!(row["Details"]["class_uid"], 2004, "{row}");
}

fn columns_of(defined: &Value) -> BTreeMap<String, String> {
    let columns = defined.as_array().unwrap().iter();
    let pairs: Vec<_> = columns
        .map(|column| {
            (column["name"].as_str().unwrap().to_owned(), column["type"].as_str().unwrap().to_lowercase())
        })
        .collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a name that stands twice");
    map
}

#[test]
fn shipped_tables_and_streams_have_exactly_the_columns_that_rows_have() {
    let (tables, rule) = (json(TABLES), json(RULE));
    let rule = &rule["resources"][0]["properties"];
    let streams = rule["streamDeclarations"].as_object().unwrap();
    assert_eq!(
        (streams.len(), tables["resources"].as_array().unwrap().len()),
        (Table::ALL.len(), Table::ALL.len())
    );
    let settings = SentinelSettings::default();
    let SentinelSettings { alert_stream, summary_stream, sensor_stream, .. } = &settings;
    let defaults = [alert_stream, summary_stream, sensor_stream].map(Stream::as_str);
    assert_eq!(defaults, Table::ALL.map(Table::stream));
    for table in Table::ALL {
        let ours: BTreeMap<_, _> = table
            .columns()
            .iter()
            .map(|column| (column.name.to_owned(), column.of.as_str().to_owned()))
            .collect();
        assert_eq!(columns_of(&streams[table.stream()]["columns"]), ours, "stream of {}", table.name());
        let mut resources = tables["resources"].as_array().unwrap().iter();
        let defined =
            resources.find(|table_| table_["properties"]["schema"]["name"] == table.name()).unwrap();
        assert!(defined["name"].as_str().unwrap().contains(table.name()));
        assert_eq!(columns_of(&defined["properties"]["schema"]["columns"]), ours, "table {}", table.name());
        let flows: Vec<_> = rule["dataFlows"].as_array().unwrap().iter().collect();
        let flow = flows.iter().find(|flow| flow["streams"] == serde_json::json!([table.stream()])).unwrap();
        assert_eq!(flow["outputStream"], format!("Custom-{}", table.name()));
        assert_eq!(flow["transformKql"], "source", "what a transform left out would be lost");
        assert_eq!(flow["destinations"][0], rule["destinations"]["logAnalytics"][0]["name"]);
        for column in table.columns() {
            let letters = column.name.chars().all(|c| c.is_ascii_alphanumeric());
            let reserved = RESERVED.contains(&column.name.to_lowercase().as_str());
            assert!(letters && column.name.len() <= 45 && !reserved, "{}", column.name);
        }
    }
}

/// Names of a query, and those that it gives itself. Texts and comments are left out.
fn names(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let code: String =
        query.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let code: String = code.split('"').step_by(2).collect::<Vec<_>>().join(" \"\" ");
    let (mut used, mut given) = (BTreeSet::new(), BTreeSet::new());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = code.as_str();
    while let Some(at) = rest.find(word) {
        let (_, tail) = rest.split_at(at);
        let end = tail.find(|c| !word(c)).unwrap_or(tail.len());
        let (name, tail) = tail.split_at(end);
        let next = tail.trim_start();
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            let assigned = next.starts_with('=') && !next.starts_with("==") && !next.starts_with("=~");
            if assigned {
                given.insert(name.to_owned())
            } else {
                used.insert(name.to_owned())
            };
        }
        rest = tail;
    }
    (used, given)
}

/// Columns of the tables that a query reads.
fn columns_behind(used: &BTreeSet<String>) -> BTreeSet<String> {
    let read: Vec<_> = Table::ALL.into_iter().filter(|table| used.contains(table.name())).collect();
    assert!(!read.is_empty(), "it reads none of our tables: {used:?}");
    read.iter().flat_map(|table| table.columns()).map(|column| column.name.to_owned()).collect()
}

#[test]
fn shipped_queries_use_no_column_that_the_tables_lack() {
    let mut rules = 0;
    for rule in json(ANALYTICS)["resources"].as_array().unwrap() {
        let rule = &rule["properties"];
        let query = rule["query"].as_str().unwrap();
        let (used, given) = names(query);
        let mut known = columns_behind(&used);
        let tables: BTreeSet<_> = Table::ALL.into_iter().map(|table| table.name().to_owned()).collect();
        let unknown: Vec<_> = used
            .iter()
            .filter(|name| ![&known, &given, &tables].iter().any(|set| set.contains(*name)))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?} in\n{query}");
        known.extend(given);
        // What it hands on has to be in its last line's list.
        let (_, last) = query.rsplit_once("project ").unwrap();
        let (handed, _) = names(last);
        let mut mapped: Vec<String> = Vec::new();
        for entity in rule["entityMappings"].as_array().unwrap() {
            let fields = entity["fieldMappings"].as_array().unwrap();
            mapped.extend(fields.iter().map(|field| field["columnName"].as_str().unwrap().to_owned()));
        }
        mapped.extend(
            rule["customDetails"].as_object().unwrap().values().map(|name| name.as_str().unwrap().to_owned()),
        );
        if let Some(told) = rule["alertDetailsOverride"].as_object() {
            mapped.push(told["alertSeverityColumnName"].as_str().unwrap().to_owned());
            for format in ["alertDisplayNameFormat", "alertDescriptionFormat"] {
                let parts = told[format].as_str().unwrap().split("{{").skip(1);
                mapped.extend(parts.map(|part| part.split_once("}}").unwrap().0.to_owned()));
            }
        }
        for name in mapped {
            assert!(handed.contains(&name) && known.contains(&name), "{name} is not handed on by\n{query}");
        }
        assert!(!rule["tactics"].as_array().unwrap().is_empty());
        rules += 1;
    }
    assert_eq!(rules, 2);
    let (used, given) = names(VIEW);
    let known = columns_behind(&used);
    let unknown: Vec<_> = used
        .iter()
        .filter(|name| !known.contains(*name) && !given.contains(*name) && !name.ends_with("_CL"))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // The reading of names itself: texts, comments and calls are none, a comparison gives none.
    let (used, given) = names("T_CL | where A == \"B C\" // D\n| extend E = F, g = H");
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["A", "F", "H", "T_CL"]);
    assert_eq!(given.into_iter().collect::<Vec<_>>(), ["E"]);
}

#[test]
fn every_kind_of_finding_has_a_row() {
    for alert in samples::all() {
        let row = made(&of(&alert));
        assert_eq!(row["FindingId"], alert.id.to_string());
        assert_eq!(row["Activity"].as_str(), serde_json::to_value(alert.change).unwrap().as_str());
        assert_eq!(row["Severity"], alert.severity.as_str());
        assert_eq!(row["FindingClass"], alert.class.as_str());
        assert_eq!(row["RemotePort"].as_u64().unwrap_or(0), u64::from(alert.destination.port));
        let techniques: Vec<_> = alert.techniques.iter().map(|technique| technique.id.to_string()).collect();
        assert_eq!(row.get("TechniqueIds").is_some(), !techniques.is_empty());
        assert!(row.get("TechniqueIds").is_none_or(|ids| *ids == serde_json::json!(techniques)));
        let line = String::from_utf8(super::row(&of(&alert)).unwrap()).unwrap();
        assert!(line.chars().all(crate::text::is_plain), "{line}");
    }
    let one = made(&of(&samples::implant()));
    assert_eq!((&one["Protocol"], &one["RemotePort"]), (&Value::from("Tcp"), &Value::from(443)));
    assert_ne!(one["ReportId"], made(&of(&samples::dns()))["ReportId"]);
    assert!(one["ReportId"].as_i64().unwrap() < 1 << 52);
}
