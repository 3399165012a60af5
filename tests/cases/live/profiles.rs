//! Profiles that come while the sensor runs: what they excuse is quiet and counted, its impostor is not.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use sonde_tests::emulate::sensor::Sensor;
use sonde_tests::program::{run, say};

use crate::stage::{Stage, about};

/// Seconds between callbacks: calls within one second of each other would be one.
const INTERVAL: f64 = 1.2;
/// What a beacon needs to be found, with room for a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The program's name, which is the profile's, too.
const NAME: &str = "acme-sync";

/// A profile of a program that is installed without a package, so that its place vouches for it.
fn profile(program: &Path, server: std::net::IpAddr) -> String {
    format!(
        "[[profile]]\nname = \"{NAME}\"\nclass = \"other\"\ntitle = \"Acme's own synchronisation\"\nexcuses = true\n\
         source = [\"https://wiki.acme.example/sync\"]\n\
         [[profile.identity]]\npath = [\"{}\"]\nunpackaged = true\n\
         [[profile.destination]]\nnetworks = [\"{server}/32\"]\nports = [8080, 8081]\n",
        program.display()
    )
}

fn text<'a>(alert: &'a Value, path: &str) -> &'a str {
    alert.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// How often the profile held something back, as the running sensor says.
fn excused(stage: &Stage) -> u64 {
    let socket = stage.scratch.file("control");
    let ran = run(["status", "--format", "json", "--socket", socket.to_str().unwrap()], b"");
    let status: Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
    status.pointer(&format!("/profiles/excused/{NAME}")).and_then(Value::as_u64).unwrap_or(0)
}

fn wait_until_excused(stage: &Stage, sensor: &Sensor) {
    let deadline = Instant::now() + PATIENCE;
    while excused(stage) == 0 {
        assert!(Instant::now() < deadline, "nothing is held back:\n{}", sensor.log().join("\n"));
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_profile_that_comes_while_the_sensor_runs_excuses_the_program_and_not_its_impostor() {
    // A folder that only administrators write to, as the profile says; it goes with the case.
    let installed = match tempfile::Builder::new().prefix("sonde-case-").tempdir_in("/opt") {
        Ok(installed) => installed,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI can write to /opt: {error}");
            return say(&format!("SKIPPED: no program can be installed: {error}"));
        }
    };
    let Some(stage) = Stage::new("profiles", &[("http", 8080), ("http", 8081)]) else { return };
    let folder = stage.folder("profiles.d");
    let dir = format!("profiles.dir=\"{}\"", folder.display());
    let mut sensor = stage.sensor(&["--set", &dir, "--set", "profiles.builtin=false"]);
    assert_eq!(excused(&stage), 0);

    let (real, impostor) = (stage.to(8080), stage.to(8081));
    std::fs::write(folder.join("acme.toml"), profile(&installed.path().join(NAME), real.ip())).unwrap();
    sensor.signal(Signal::HUP);
    assert!(
        sensor.wait_for_log("the configuration is reloaded", Duration::from_secs(20)),
        "{}",
        sensor.log().join("\n")
    );

    let _real = stage.dressed("compiled", installed.path(), NAME, real.port(), INTERVAL);
    let _impostor = stage.dressed("compiled", &stage.folder("hidden"), NAME, impostor.port(), INTERVAL);
    let found = sensor.wait_for_alert(PATIENCE, |alert| about(alert, impostor));
    let found = found.unwrap_or_else(|| panic!("the impostor is excused:\n{}", sensor.log().join("\n")));
    assert_eq!(text(&found, "/sonde/profile/name"), NAME, "{found}");
    assert_eq!(found.pointer("/sonde/profile/matched"), Some(&Value::Bool(false)), "{found}");
    assert!(!text(&found, "/sonde/profile/mismatch").is_empty(), "{found}");

    wait_until_excused(&stage, &sensor);
    let told: Vec<Value> = sensor.alerts().into_iter().filter(|alert| about(alert, real)).collect();
    assert_eq!(told, [] as [Value; 0], "the program itself is quiet");
}
