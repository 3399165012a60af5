//! What the sensor tells of itself as Prometheus reads it, held against Prometheus' own reader, and against what it says elsewhere.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sonde_tests::program::sonde;

use crate::stage::Stage;

/// Prometheus' own reader and linter, which `scripts/setup --test` installs.
fn promtool() -> PathBuf {
    let target = sonde().parent().and_then(|folder| folder.parent()).map(PathBuf::from).unwrap_or_default();
    target.join("servers/bin/promtool")
}

fn metrics(stage: &Stage) -> String {
    let mut command = Command::new(sonde());
    command.args(["metrics", "--socket"]).arg(stage.scratch.file("control"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What Prometheus' linter says of a text: nothing, if all is well.
fn lint(text: &str) -> (bool, String) {
    let mut command = Command::new(promtool());
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: scripts/setup --test", promtool().display()));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

/// Samples without labels, by name.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains('{'));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

#[test]
fn prometheus_reads_the_figures_and_they_are_those_of_status() {
    let Some(stage) = Stage::new("metrics", &[("http", 8080)]) else { return };
    let mut sensor = stage.sensor(&[]);
    let _calls = stage.dressed("compiled", &stage.folder("calls"), "updater", 8080, 0.3);
    let until = Instant::now() + Duration::from_secs(20);
    while samples(&metrics(&stage))["sonde_connections_total"] < 5.0 {
        assert!(Instant::now() < until, "{}", metrics(&stage));
        std::thread::sleep(Duration::from_millis(200));
    }
    let before = sensor.health();
    let text = metrics(&stage);
    let after = sensor.health();
    let (good, said) = lint(&text);
    assert!(good && said.is_empty(), "{said}\n{text}");
    // The linter is one.
    let (good, said) = lint("# TYPE sonde_x counter\nsonde_x 1\n");
    assert!(!good && said.contains("sonde_x"), "{said}");
    let samples = samples(&text);
    for (name, path) in [
        ("sonde_connections_total", "/counters/connections"),
        ("sonde_packets_total", "/counters/packets"),
        ("sonde_records_seen_total", "/account/records/seen"),
        ("sonde_observations_aggregated_total", "/account/observations/aggregated"),
    ] {
        let count = |health: &Value| health.pointer(path).and_then(Value::as_f64).unwrap();
        let between = count(&before)..=count(&after);
        assert!(
            count(&after) > 0.0 && between.contains(&samples[name]),
            "{name}: {} not in {between:?}",
            samples[name]
        );
    }
    assert!(sensor.stop().is_some_and(|status| status.success()));
    let line = sensor.log().into_iter().find(|line| line.contains("what became of all that was seen"));
    assert!(line.is_some_and(|line| line.contains("\"seen\":")), "the account is told at the end");
}
