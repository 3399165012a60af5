//! What the whole sensor tells arrives: over reloads that add, change and remove sinks while records wait, and however often
//! it is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use rustix::process::Signal;
use serde_json::Value;
use sonde_tests::emulate::sensor::Sensor;
use sonde_tests::program::{say, sonde};
use sonde_tests::rng::Rng;
use sonde_tests::servers::nats;

use crate::stage::{Stage, about};

/// Seconds between callbacks.
const INTERVAL: f64 = 1.2;
/// Longest wait for anything: test machines have two busy processors.
const PATIENCE: Duration = Duration::from_secs(120);
/// One life of so many is long enough for a beacon to be found and for the state to be saved.
const LONG_LIFE: u64 = 8;
/// Programs call for about this time, and then the next one begins.
const PROGRAM: Duration = Duration::from_secs(60);

const STREAM: &str = include_str!("../../../packaging/fleet/nats/stream.json");

/// A sink that takes alerts and audit records.
fn sink(name: &str, reach: &str) -> String {
    format!(
        "[sinks.{name}]\nrecords = [\"alert\", \"audit\"]\nmin_severity = \"info\"\nflush_secs = 0\n\
         timeout_secs = 3\n{reach}\n"
    )
}

fn to_nobody(name: &str) -> String {
    let port = sonde_tests::servers::free_port();
    sink(name, &format!("[sinks.{name}.webhook]\nurl = \"http://127.0.0.1:{port}/\""))
}

fn to_file(name: &str, path: &Path) -> String {
    sink(name, &format!("[sinks.{name}.file]\npath = \"{}\"", path.display()))
}

/// How the sinks are, as `sonde status` tells.
fn sinks(stage: &Stage) -> Value {
    let mut command = Command::new(sonde());
    command.args(["status", "--format", "json", "--socket"]).arg(stage.scratch.file("control"));
    let output = command.output().unwrap();
    let mut status: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    for (name, sink) in status["sinks"].as_object().unwrap() {
        let count = |name: &str| sink["counts"][name].as_u64().unwrap();
        let dropped: u64 =
            sink["counts"]["dropped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        let ended = count("acknowledged") + count("spooled") + count("dead") + dropped;
        assert_eq!(count("emitted"), ended, "{name}: {sink}");
        assert_eq!(dropped, 0, "{name}: {sink}");
    }
    status["sinks"].take()
}

fn until(stage: &Stage, sensor: &Sensor, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let sinks = sinks(stage);
        if fits(&sinks) {
            return sinks;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: {sinks}; log:\n{}", sensor.log().join("\n"));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The ids of alerts and what audit records tell of, by file.
fn read(path: &Path) -> (BTreeSet<String>, Vec<String>) {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = |row: &Value| row["event"]["id"].as_str().unwrap().to_owned();
    let alerts = rows.iter().filter(|row| row["event"]["kind"] == "alert").map(id).collect();
    let audits = rows.iter().filter_map(|row| row["event"]["action"].as_str().map(str::to_owned));
    (alerts, audits.collect())
}

#[test]
fn sinks_are_added_changed_and_removed_by_reload_while_records_wait() {
    let Some(stage) = Stage::new("sinks", &[("http", 8080), ("http", 8081)]) else { return };
    let config = stage.scratch.file("sonde.toml");
    let [first, second, third] = ["first", "second", "third"].map(|name| stage.scratch.file(name));
    std::fs::write(&config, to_nobody("one")).unwrap();
    let mut sensor = stage.sensor(&["--config", config.to_str().unwrap()]);
    let hidden = stage.folder("hidden");
    let _program = stage.dressed("compiled", &hidden, "updater", 8080, INTERVAL);
    let told = sensor.wait_for_alert(PATIENCE, |alert| about(alert, stage.to(8080)));
    let told = told.unwrap_or_else(|| panic!("no alert:\n{}", sensor.log().join("\n")));
    // That the sensor began, and the alert.
    let waiting = |sinks: &Value| sinks["one"]["counts"]["spooled"].as_u64() >= Some(2);
    until(&stage, &sensor, "both wait", waiting);

    let mut reloads = 0;
    let mut reload = |sensor: &Sensor, text: String| {
        std::fs::write(&config, text).unwrap();
        sensor.signal(Signal::HUP);
        reloads += 1;
        let since = Instant::now();
        while sensor.log().iter().filter(|line| line.contains("the configuration is reloaded")).count()
            < reloads
        {
            assert!(since.elapsed() < PATIENCE, "{}", sensor.log().join("\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // Removed with what waits, and one added.
    reload(&sensor, to_file("two", &first));
    until(&stage, &sensor, "it takes up", |sinks| {
        sinks["one"].is_null() && sinks["two"]["counts"]["acknowledged"].as_u64() >= Some(1)
    });
    // Changed: to one who is away, so that something waits; a wrong file meanwhile changes nothing.
    reload(&sensor, to_nobody("two"));
    until(&stage, &sensor, "it waits", |sinks| sinks["two"]["counts"]["spooled"].as_u64() >= Some(1));
    std::fs::write(&config, "[sinks.two]\nno_such_key = 1\n").unwrap();
    sensor.signal(Signal::HUP);
    until(&stage, &sensor, "and is told of", |sinks| sinks["two"]["counts"]["spooled"].as_u64() >= Some(2));
    // Named again, as another kind, and changed again.
    reload(&sensor, to_file("one", &second) + &to_file("two", &third));
    let now = until(&stage, &sensor, "all is delivered", |sinks| {
        ["one", "two"].iter().all(|name| {
            sinks[name]["counts"]["spooled"] == 0 && sinks[name]["counts"]["acknowledged"].as_u64() >= Some(3)
        })
    });
    assert!(sensor.stop().is_some_and(|status| status.success()), "{}", sensor.log().join("\n"));

    let (alerts, audits) = read(&second);
    assert!(alerts.contains(told["event"]["id"].as_str().unwrap()), "{alerts:?}");
    assert_eq!(audits.iter().filter(|action| *action == "sensor-started").count(), 1, "{audits:?}");
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count() as u64;
    let acknowledged = |name: &str| now[name]["counts"]["acknowledged"].as_u64().unwrap();
    assert!(lines(&second) >= acknowledged("one"), "{now}");
    // Each is there once, over the two files that it went to.
    assert!(lines(&first) + lines(&third) >= acknowledged("two"), "{now}");
    let audits = [&first, &third].map(|path| read(path).1).concat();
    let count = |wanted: &str| audits.iter().filter(|action| *action == wanted).count();
    assert_eq!((count("config-reloaded"), count("config-rejected")), (3, 1), "{audits:?}");
}

/// All ids that a stream has, and how often.
fn arrived(url: &str) -> BTreeMap<String, usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(url).await.unwrap();
        let mut config: stream::Config = serde_json::from_str(STREAM).unwrap();
        config.num_replicas = 1;
        let stream = jetstream::new(client).get_or_create_stream(config).await.unwrap();
        let mut ids = BTreeMap::new();
        for sequence in 1..=stream.cached_info().state.last_sequence {
            let kept = stream.get_raw_message(sequence).await.unwrap();
            *ids.entry(kept.headers.get("Nats-Msg-Id").unwrap().as_str().to_owned()).or_default() += 1;
        }
        ids
    })
}

/// The sensor as a whole is killed, again and again, and the server with it now and then. `SONDE_KILLS` says how often.
#[test]
fn a_sensor_that_is_killed_again_and_again_loses_nothing_that_it_counts_as_told() {
    let Some(stage) = Stage::new("killed", &[("http", 8080)]) else { return };
    let kills = std::env::var("SONDE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6);
    let mut node = nats::alone(stage.scratch.path(), "");
    assert!(arrived(&node.url()).is_empty());
    let config = stage.scratch.file("sonde.toml");
    let reach = format!("[sinks.fleet.nats]\nurls = [\"{}\"]", node.url());
    std::fs::write(&config, sink("fleet", &reach) + "[state]\ninterval_secs = 10\n").unwrap();
    let start = || stage.sensor(&["--config", config.to_str().unwrap()]);
    let program = |number: u64| {
        stage.dressed("compiled", &stage.folder(&format!("hidden-{number}")), "updater", 8080, INTERVAL)
    };
    let (mut random, mut shown) = (Rng::new(11), BTreeSet::new());
    let (mut programs, mut began) = (0, Instant::now());
    let mut _running = program(programs);
    let note = |sensor: &Sensor, shown: &mut BTreeSet<String>| {
        shown.extend(
            sensor.alerts().iter().filter_map(|alert| alert["event"]["id"].as_str().map(str::to_owned)),
        );
    };
    for kill in 1..=kills {
        if began.elapsed() > PROGRAM {
            (programs, began) = (programs + 1, Instant::now());
            _running = program(programs);
        }
        let sensor = start();
        let long = kill % LONG_LIFE == 1;
        std::thread::sleep(if long {
            Duration::from_millis(14_000 + random.below(8_000))
        } else {
            Duration::from_millis(random.below(1_500))
        });
        if kill % 10 == 3 {
            // Both at once; the sensor comes back first.
            node.server.kill();
        }
        sensor.signal(Signal::KILL);
        std::thread::sleep(Duration::from_millis(50));
        note(&sensor, &mut shown);
        drop(sensor);
        if kill % 10 == 4 {
            node.server.restart(node.port);
        }
    }
    let mut sensor = start();
    until(&stage, &sensor, "all is delivered", |sinks| sinks["fleet"]["counts"]["spooled"] == 0);
    // Until the sensor knows again what it had found when it was killed last.
    std::thread::sleep(Duration::from_secs(5));
    note(&sensor, &mut shown);
    let known = findings(&stage);
    assert!(sensor.stop().is_some_and(|status| status.success()), "{}", sensor.log().join("\n"));

    let arrived = arrived(&node.url());
    let spool = sonde::sink::spool::Folder::new(stage.scratch.file("state/spool/fleet"));
    let counts = sonde::sink::spool::Spool::open(Box::new(spool), 64 << 20).unwrap().counts();
    assert!(counts.is_even() && counts.spooled == 0 && counts.dead == 0, "{counts:?}");
    assert_eq!(counts.dropped_in_all(), 0, "{counts:?}");
    assert_eq!(counts.acknowledged, counts.emitted, "{counts:?}");
    // That the sensor began is told in each life; a life that was too short may have told it to nobody.
    assert!(counts.emitted > kills / 2, "{counts:?} of {kills} lives");
    let twice = arrived.values().sum::<usize>() - arrived.len();
    say(&format!(
        "killed {kills} times: {} told, {} acknowledged, {} arrived, {twice} of them twice; {} alerts shown, {} findings known",
        counts.emitted,
        counts.acknowledged,
        arrived.len(),
        shown.len(),
        known.len()
    ));
    // What was told again after a kill has the id that it had.
    assert!(arrived.len() as u64 <= counts.acknowledged, "{counts:?}");
    assert!(!known.is_empty(), "something was found");
    for finding in &known {
        assert!(
            arrived.keys().any(|id| id.starts_with(finding.as_str())),
            "{finding} is told and is not there"
        );
    }
    let missing: Vec<_> = shown.iter().filter(|id| !arrived.contains_key(*id)).collect();
    let unknown = |id: &&String| !known.iter().any(|finding| id.starts_with(finding.as_str()));
    assert!(missing.iter().all(unknown), "shown and known, and not there: {missing:?}");
}

/// The ids of the findings that the sensor knows as told.
fn findings(stage: &Stage) -> Vec<String> {
    let mut command = Command::new(sonde());
    command.args(["alerts", "--format", "ndjson", "--socket"]).arg(stage.scratch.file("control"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| row["sonde"]["id"].as_str().unwrap().to_owned()).collect()
}
