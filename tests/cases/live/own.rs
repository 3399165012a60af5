//! The sensor does not report itself: what it ships goes to a server in a rhythm, and another program that calls the same
//! server in the same rhythm is found.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sonde_tests::program::sonde;

use crate::stage::{Stage, about};

/// Seconds between the program's callbacks, and at least between the sensor's.
const INTERVAL: f64 = 1.2;
/// What a beacon needs to be found, and the sensor to ship, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the sensor is, as `sonde status` tells.
fn status(stage: &Stage) -> Value {
    let mut command = Command::new(sonde());
    command.args(["status", "--format", "json", "--socket"]).arg(stage.scratch.file("control"));
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn its_own_calls_are_listed_as_own_and_those_of_others_found() {
    let Some(stage) = Stage::new("own", &[("http", 8080)]) else { return };
    let to = stage.to(8080);
    // One sink that arrives, and one that is refused and so calls again and again.
    let hook = format!("sinks.hook.webhook.url=http://{to}/");
    let refused = format!("sinks.refused.webhook.url=http://{}/", stage.to(8999));
    let mut sensor = stage.sensor(&["--set", &hook, "--set", &refused]);
    let folder = stage.folder("hidden");
    let _program = stage.dressed("compiled", &folder, "updater", 8080, INTERVAL);

    let alert = sensor.wait_for_alert(PATIENCE, |alert| about(alert, to));
    let alert = alert.unwrap_or_else(|| panic!("no alert about {to}; log:\n{}", sensor.log().join("\n")));
    assert_eq!(alert["process"]["executable"], folder.join("updater").to_str().unwrap(), "{alert}");

    // The alert itself is shipped: to the same server, and in vain to the other.
    let own = |status: &Value, port: u16| {
        let remote = stage.to(port).to_string();
        let all = status["own"]["destinations"].as_array().cloned().unwrap_or_default();
        all.iter()
            .find(|to| to["remote"] == remote.as_str())
            .and_then(|to| to["connections"].as_u64())
            .unwrap_or(0)
    };
    let since = Instant::now();
    let told = loop {
        let told = status(&stage);
        if own(&told, 8080) >= 1 && own(&told, 8999) >= 4 {
            break told;
        }
        assert!(since.elapsed() < PATIENCE, "{}; log:\n{}", told["own"], sensor.log().join("\n"));
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(told["own"]["count"].as_u64().unwrap() >= 5, "{}", told["own"]);

    // Nothing of it is an event or an alert.
    let us = u64::from(sensor.pid());
    let ours: Vec<_> = sensor.events().into_iter().filter(|event| event["process"]["pid"] == us).collect();
    assert!(ours.is_empty(), "{ours:?}");
    let refused = stage.to(8999);
    assert!(!sensor.events().iter().any(|event| event["remote_port"] == refused.port()));
    assert!(!sensor.alerts().iter().any(|alert| about(alert, refused)));
    assert!(
        sensor.stop().is_some_and(|status| status.success()),
        "a clean end:\n{}",
        sensor.log().join("\n")
    );
}
