//! What is shipped to Microsoft Sentinel arrives in the columns of its tables: by the program, by the shipper through a spool, and
//! from a live sensor, read back field by field. The other side is a double, said to be one: see `servers::sentinel`.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sonde::sink::own::OwnSockets;
use sonde::sink::shipper::{Outbox, Setup};
use sonde_common as model;
use sonde_common::alert::Alert;
use sonde_common::config::Config;
use sonde_common::encode::native;
use sonde_common::encode::record::{self, By, Deed, Health, SensorId, Verdict};
use sonde_common::guide::Guidance;
use sonde_common::summary::{Rest, Summaries, Summary};
use sonde_common::time::Timestamp;
use sonde_tests::emulate::sensor::Sensor;
use sonde_tests::hostile::{alert_with, names};
use sonde_tests::program::{Scratch, sonde};
use sonde_tests::servers::sentinel::{SECRET, Sentinel, State};

#[path = "../../common/src/encode/samples.rs"]
mod samples;

/// CI has two busy processors.
const PATIENCE: Duration = Duration::from_secs(120);
const ALERTS: &str = "Custom-SondeAlert_CL";
const SUMMARIES: &str = "Custom-SondeSummary_CL";
const SENSOR: &str = "Custom-SondeSensor_CL";

/// A configuration with one sink, `soc`, that leads to the double.
fn configured(scratch: &Scratch, double: &Sentinel, lines: &str, identity: bool) -> String {
    let secret = scratch.write("secret", SECRET.as_bytes());
    private(&secret);
    let secret = secret.display().to_string();
    let all =
        "records = [\"alert\", \"audit\", \"health\", \"summary\"]\nmin_severity = \"info\"\nflush_secs = 0";
    format!("[sinks.soc]\n{all}\n{}{lines}\n", double.settings("soc", (!identity).then_some(&*secret)))
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn rows(double: &Sentinel, stream: &str) -> Vec<Value> {
    double.with(|state| state.rows.get(stream).cloned().unwrap_or_default())
}

/// Waits for so many rows.
fn until(double: &Sentinel, stream: &str, count: usize) -> Vec<Value> {
    let since = Instant::now();
    loop {
        let rows = rows(double, stream);
        if rows.len() >= count {
            return rows;
        }
        assert!(since.elapsed() < PATIENCE, "{} of {count} in {stream}", rows.len());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn test(config: &Path) -> Output {
    Command::new(sonde()).args(["sinks", "test", "soc", "--config"]).arg(config).output().unwrap()
}

#[test]
fn sinks_test_says_what_came_back() {
    for identity in [false, true] {
        let (scratch, double) = (Scratch::new("sentinel-test"), Sentinel::start(State::default()));
        let config = scratch.write("a.toml", configured(&scratch, &double, "", identity).as_bytes());
        let output = test(&config);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains("is acknowledged"), "{said}");
        let rows = rows(&double, SENSOR);
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert!(said.contains(row["EmissionId"].as_str().unwrap()), "{said}");
        assert_eq!((&row["ActionType"], &row["RecordKind"]), (&json!("sink-test"), &json!("audit")));
        assert!(row["Sentence"].as_str().unwrap().starts_with("Test of the sink soc"));
        assert_eq!(row["Details"], json!({"test": true}));
        assert!(row["DeviceName"].is_string() && row["TimeGenerated"] == row["Timestamp"]);
        // What the operator has to mend is said, and the exit code tells.
        let lines = "sensor_stream = \"Custom-Nothing_CL\"";
        let config = scratch.write("b.toml", configured(&scratch, &double, lines, identity).as_bytes());
        let output = test(&config);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(74), "{said}");
        assert!(said.contains("does not declare Custom-Nothing_CL") && said.contains("404"), "{said}");
        assert!(!said.contains("eyJ0") && !said.contains(SECRET), "{said}");
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn text(value: impl ToString) -> Value {
    let text = value.to_string();
    if text.is_empty() { Value::Null } else { Value::from(text) }
}

/// A time as a table holds it.
fn ticks(time: Timestamp) -> Value {
    let text = time.to_string();
    Value::from(format!("{}Z", &text[..27]))
}

/// Every field of an alert that has a column, from the alert itself.
fn expected(alert: &Alert) -> Vec<(&'static str, Value)> {
    let (to, evidence) = (&alert.destination, &alert.evidence);
    let info = alert.process.as_ref().map(|process| process.info.clone()).unwrap_or_default();
    let account = info.user.split_once('\\').map_or(&*info.user, |(_, name)| name);
    let account = if account.is_empty() { &*info.user } else { account };
    let named = to.name.parse::<std::net::IpAddr>().is_err();
    let number = |value: f64| if value > 0.0 { json!(value) } else { Value::Null };
    let techniques: Vec<_> = alert.techniques.iter().map(|technique| &*technique.id).collect();
    let certificate = |digest: Option<String>| digest.map_or(Value::Null, |hex| text(hex.to_uppercase()));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    vec![
        ("TimeGenerated", ticks(alert.time)),
        ("Timestamp", ticks(alert.time)),
        ("EmissionId", text(alert.emission_id())),
        ("FindingId", text(alert.id)),
        ("Severity", text(alert.severity.as_str())),
        ("Revision", json!(alert.revision)),
        ("FindingClass", text(alert.class.as_str())),
        ("RuleName", text(native::rule_name(alert.class))),
        ("Sentence", text(&alert.reason)),
        ("DeviceName", text(&alert.host)),
        ("RemoteIP", text(to.ip.map(|ip| ip.to_string()).unwrap_or_default())),
        ("RemotePort", if to.port == 0 { Value::Null } else { json!(to.port) }),
        ("RemoteUrl", if named { text(&to.name) } else { Value::Null }),
        ("RemoteName", text(&to.name)),
        ("RemoteDomain", text(&to.registrable_domain)),
        ("TlsServerName", text(&to.sni)),
        ("TlsJa4", text(to.ja4.as_ref().map(|ja4| ja4.as_str()).unwrap_or_default())),
        ("TlsServerSHA1", certificate(to.certificate.sha1.map(|digest| hex(&digest)))),
        ("TlsServerSHA256", certificate(to.certificate.sha256.map(|digest| hex(&digest)))),
        ("HttpUserAgent", text(&to.user_agent)),
        ("RemoteAsn", to.autonomous_system.as_ref().map_or(Value::Null, |network| json!(network.number))),
        ("InitiatingProcessCommandLine", text(&info.command_line)),
        ("InitiatingProcessSHA256", text(&info.sha256)),
        ("InitiatingProcessAccountName", text(account)),
        ("AccountName", text(account)),
        ("FirstSeen", ticks(evidence.first_seen)),
        ("LastSeen", ticks(evidence.last_seen)),
        ("Callbacks", json!(evidence.callbacks)),
        ("Missed", json!(evidence.missed)),
        ("PeriodSecs", number(evidence.period_secs)),
        ("IntervalMedianSecs", number(evidence.interval_median_secs)),
        ("BytesOut", json!(evidence.bytes_out)),
        ("BytesIn", json!(evidence.bytes_in)),
        ("Refused", json!(evidence.refused)),
        ("Unanswered", json!(evidence.unanswered)),
        ("TechniqueIds", if techniques.is_empty() { Value::Null } else { json!(techniques) }),
    ]
}

fn near(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= 0.0005,
        _ => one == other,
    }
}

#[test]
fn what_the_shipper_is_told_is_read_back_field_by_field() {
    let (scratch, double) =
        (Scratch::new("sentinel-ship"), Sentinel::start(State { busy: 1, lifetime: 3, ..State::default() }));
    let config = Config::parse(&configured(&scratch, &double, "", false), &[]).unwrap();
    let outbox = Outbox::start(Setup {
        id: SensorId(0x5e),
        host: "web-07".into(),
        since: at("2026-03-02T08:00:00Z"),
        folder: Some(scratch.file("spool")),
        sinks: config.sinks,
        guidance: Guidance::Full,
        own: OwnSockets::default(),
    })
    .unwrap();
    let mut alerts = samples::all();
    // A name of every hostile kind, in every field that others choose.
    alerts.extend(names().iter().map(|hostile| alert_with(&hostile.name)));
    alerts.iter().for_each(|alert| outbox.alert(alert));
    let by = By { uid: 1000, name: "ops".into() };
    let deed = Deed::Rejected { reason: "line 3: no such key".into() };
    outbox.audit(at("2026-03-02T09:00:00Z"), Some(by), deed);
    let health = Health {
        sequence: 7,
        time: at("2026-03-02T09:30:00Z"),
        interval_secs: 300,
        verdict: Verdict::Degraded,
        reasons: vec!["no kernel program".into()],
        counters: [("connections".to_owned(), 1_204)].into(),
        ..Health::default()
    };
    outbox.word(record::health(&outbox.sensor(), &health));
    let row = Summary {
        image: "/usr/bin/curl".into(),
        name: "cdn.example.net".into(),
        ip: Some([203, 0, 113, 24].into()),
        port: 443,
        connections: 60,
        bytes_out: 31_020,
        bytes_in: 193_110,
        first_seen: at("2026-03-02T09:00:12Z"),
        last_seen: at("2026-03-02T09:59:12Z"),
        ..Summary::default()
    };
    let summaries = Summaries {
        since: at("2026-03-02T09:00:00Z"),
        until: at("2026-03-02T10:00:00Z"),
        rows: vec![row],
        rest: Rest { destinations: 12, connections: 40, bytes_out: 9_000, bytes_in: 80_000 },
    };
    record::summaries(&outbox.sensor(), &summaries).into_iter().for_each(|record| outbox.word(record));

    let got = until(&double, ALERTS, alerts.len());
    assert_eq!(got.len(), alerts.len(), "each once");
    for alert in &alerts {
        let id = alert.emission_id();
        let row =
            got.iter().find(|row| row["EmissionId"] == id.as_str()).unwrap_or_else(|| panic!("no {id}"));
        for (name, wanted) in expected(alert) {
            assert!(near(&row[name], &wanted), "{name} of {id}: {} and not {wanted}", row[name]);
        }
        let score = row["Score"].as_f64().unwrap();
        assert!((score - alert.score.clamp(0.0, 1.0)).abs() < 0.0001, "{score}");
        // Names of thousands of letters in every field leave no room in one column, and that is told.
        let cut = row["Details"]["cut_bytes"].as_u64();
        assert!(cut.is_none_or(|bytes| bytes > 60_000), "{cut:?}");
        let parts = row["Details"]["parts"].as_array().map_or(0, Vec::len);
        assert!(
            parts == alert.parts.len() || (cut.is_some() && alert.host.len() > 255),
            "{id}: {}",
            row["Details"]
        );
    }
    let got = until(&double, SENSOR, 2);
    let audit = got.iter().find(|row| row["RecordKind"] == "audit").unwrap();
    for (name, wanted) in [
        ("ActionType", json!("config-rejected")),
        ("Outcome", json!("failure")),
        ("AccountName", json!("ops")),
        ("AccountId", json!("1000")),
        ("Reason", json!("line 3: no such key")),
        ("DeviceName", json!("web-07")),
        ("SensorId", json!(SensorId(0x5e).to_string())),
        ("Severity", json!("medium")),
    ] {
        assert_eq!(audit[name], wanted, "{name}");
    }
    let told = got.iter().find(|row| row["RecordKind"] == "health").unwrap();
    for (name, wanted) in [
        ("Verdict", json!("degraded")),
        ("Reasons", json!(["no kernel program"])),
        ("Sequence", json!(7)),
        ("IntervalSecs", json!(300)),
        ("Timestamp", json!("2026-03-02T09:30:00.0000000Z")),
        ("StartTime", json!("2026-03-02T08:00:00.0000000Z")),
    ] {
        assert_eq!(told[name], wanted, "{name}");
    }
    assert_eq!(told["Details"]["health"]["counters"]["connections"], 1_204);
    let got = until(&double, SUMMARIES, 2);
    for (name, wanted) in [
        ("ActionType", json!("destination-summary")),
        ("RemoteIP", json!("203.0.113.24")),
        ("RemotePort", json!(443)),
        ("RemoteUrl", json!("cdn.example.net")),
        ("InitiatingProcessFileName", json!("curl")),
        ("Connections", json!(60)),
        ("BytesOut", json!(31_020)),
        ("BytesIn", json!(193_110)),
        ("StartTime", json!("2026-03-02T09:00:00.0000000Z")),
        ("EndTime", json!("2026-03-02T10:00:00.0000000Z")),
    ] {
        assert_eq!(got[0][name], wanted, "{name}");
    }
    assert_eq!((&got[1]["RestDestinations"], &got[1]["RestBytesIn"]), (&json!(12), &json!(80_000)));
    let all = alerts.len() as u64 + 4;
    let since = Instant::now();
    loop {
        let health = outbox.health().remove("soc").unwrap();
        assert!(health.counts.is_even(), "{health:?}");
        if health.counts.acknowledged == all {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{health:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    outbox.stop();
    double.with(|state| {
        assert!(state.unknown.is_empty(), "columns that the service would drop: {:?}", state.unknown);
        assert!(state.calls.iter().all(|bytes| *bytes <= 1_000_000) && state.packed > 0);
    });
}

#[test]
fn a_live_sensor_tells_that_it_began_how_it_is_and_that_it_ended() {
    let (scratch, double) = (Scratch::new("sentinel-run"), Sentinel::start(State::default()));
    let config = scratch.write("a.toml", configured(&scratch, &double, "", false).as_bytes());
    let folder = scratch.file("sensor");
    std::fs::create_dir_all(&folder).unwrap();
    let mut sensor = Sensor::start(&sonde(), &folder, [Path::new("--config"), config.as_path()]).unwrap();
    until(&double, SENSOR, 1);
    assert!(sensor.stop().is_some_and(|status| status.success()), "{}", sensor.log().join("\n"));
    let got = until(&double, SENSOR, 2);
    let of = |action: &str| got.iter().find(|row| row["ActionType"] == action).cloned().unwrap_or_default();
    let (began, ended) = (of("sensor-started"), of("sensor-stopped"));
    assert_eq!(began["ConfigSHA256"].as_str().map(str::len), Some(64), "{got:?}");
    assert!(ended["Reason"].is_string() && ended["SensorId"] == began["SensorId"], "{got:?}");
    assert!(
        !sensor.log().iter().any(|line| line.contains("eyJ0") || line.contains(SECRET)),
        "a secret in the log"
    );
    double.with(|state| assert!(state.unknown.is_empty() && state.tokens == 1, "{:?}", state.unknown));
}
