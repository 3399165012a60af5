//! What many sensors say is asked of a real store, goes back as signed hints through a real bucket, and moves the rank of a
//! finding by no more than its weight; forged, expired and old hints are refused, and said.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sonde::live::command::{self, Command};
use sonde::live::hints::{HintReader, News};
use sonde_common::config::Config;
use sonde_common::hints::{Document, Entry, SecretKey, Subject};
use sonde_common::record::Kind;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};
use sonde_tests::program::{Ran, Scratch, run};
use sonde_tests::scenario::{SCENARIOS, scenario};
use sonde_tests::servers::nats;

use self::clickhouse::ClickHouse;

#[path = "fleet_hints/clickhouse.rs"]
mod clickhouse;

/// Longest wait for servers and threads: CI has two busy processors.
const PATIENCE: Duration = Duration::from_secs(60);
/// Hosts of the fleet.
const HOSTS: usize = 60;

fn lines(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The latest day that the store may count, as it writes times.
fn moment(secs_ago: i64) -> (String, String) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let time = Timestamp::from_secs_nanos(i64::try_from(now).unwrap() - secs_ago, 0).to_string();
    (time[..10].to_owned(), format!("{} {}", &time[..10], &time[11..19]))
}

/// A summary: one host calls one destination, in a rhythm of a minute or in none.
fn summary(host: usize, destination: &str, rhythm: bool) -> Value {
    let (day, time) = moment(600);
    json!({
        "day": day, "time": time, "received": time, "id": format!("s{host}-{destination}-{rhythm}"),
        "agent": format!("agent-{host}"), "host": format!("host-{host}"), "rest": 0, "destination": destination,
        "registered_domain": destination, "program_name": "updater", "connections": 60, "first_seen": time, "last_seen": time,
        "rhythm_id": if rhythm { "r" } else { "" }, "period_secs": if rhythm { 60.0 } else { 0.0 }, "period_class": 0,
        "score": if rhythm { 0.7 } else { 0.0 },
    })
}

fn health(host: usize, secs_ago: i64) -> Value {
    let (day, time) = moment(secs_ago);
    json!({
        "day": day, "time": time, "received": time, "id": format!("h{host}"), "agent": format!("agent-{host}"),
        "host": format!("host-{host}"), "sequence": 1, "started": time, "verdict": "ok", "interval_secs": 60,
    })
}

fn alert(host: usize, severity: &str, score: f64) -> Value {
    let (day, time) = moment(300);
    json!({
        "day": day, "time": time, "received": time, "id": format!("a{host}"), "host": format!("host-{host}"),
        "finding_id": format!("f{host}"), "revision": 1, "turn": 1, "change": "created", "severity": severity, "score": score,
        "class": "beacon", "program_name": "=cmd|' /c calc'!\u{1b}[31m", "destination": "evil.example", "port": 443,
        "transport": "tcp", "period_secs": 60.0, "first_seen": time, "last_seen": time, "reason": "It ticks.",
    })
}

/// Runs a command of the fleet against the store.
fn fleet(store: &ClickHouse, arguments: &[&str]) -> Ran {
    let url = format!("fleet.clickhouse.url={}", store.url());
    run([&["fleet"], arguments, &["--set", &url]].concat(), b"")
}

#[test]
fn the_five_questions_are_answered_in_every_form() {
    let store = ClickHouse::start();
    store.insert(Kind::Summary, (0..HOSTS).map(|host| summary(host, "all.example", false)));
    store.insert(Kind::Summary, (0..2).map(|host| summary(host, "evil.example", true)));
    store.insert(Kind::Health, (0..HOSTS).map(|host| health(host, if host == 7 { 3_600 } else { 30 })));
    let severities = ["low", "medium", "high"];
    store.insert(Kind::Alert, (0..3).map(|host| alert(host, severities[host], [0.4, 0.6, 0.9][host])));

    let alerts = lines(&fleet(&store, &["alerts"]).expect(0));
    let of = |row: &Value| (row["host"].clone(), row["severity"].clone(), row["hosts"].clone());
    assert_eq!(
        alerts.iter().map(of).collect::<Vec<_>>(),
        [("host-2".into(), "high".into(), 2.into()), ("host-1".into(), "medium".into(), 2.into()),]
    );
    let one = lines(
        &fleet(&store, &["alerts", "--min-severity", "low", "--host", "host-0", "--since", "1h"]).expect(0),
    );
    assert_eq!(one.len(), 1, "{one:?}");
    assert!(one[0]["last_seen"].as_str().unwrap().ends_with('Z'), "{one:?}");
    assert!(lines(&fleet(&store, &["alerts", "--host", "x' OR 1=1 --"]).expect(0)).is_empty());
    assert_eq!(lines(&fleet(&store, &["alerts", "--limit", "1", "--exit-on-any"]).expect(1)).len(), 1);
    let csv = fleet(&store, &["alerts", "--format", "csv"]).expect(0);
    assert!(
        csv.text().starts_with("severity,score,host,") && csv.text().contains(",'=cmd|"),
        "{}",
        csv.text()
    );
    let table = fleet(&store, &["alerts", "--format", "table"]).expect(0);
    assert!(table.text().contains("DESTINATION") && !table.text().contains('\u{1b}'), "{}", table.text());

    let prevalence = lines(&fleet(&store, &["prevalence", "--kind", "destination"]).expect(0));
    let hosts: Vec<_> = prevalence.iter().map(|row| (row["value"].clone(), row["hosts"].clone())).collect();
    assert_eq!(hosts, [("all.example".into(), HOSTS.into()), ("evil.example".into(), 2.into())]);
    let rare = lines(&fleet(&store, &["prevalence", "--max-hosts", "2"]).expect(0));
    assert_eq!((rare.len(), rare[0]["value"].as_str()), (1, Some("evil.example")));
    let rhythm = lines(&fleet(&store, &["rhythm"]).expect(0));
    assert_eq!((rhythm.len(), rhythm[0]["hosts"].as_u64()), (1, Some(2)), "{rhythm:?}");
    assert!(lines(&fleet(&store, &["rhythm", "--min-hosts", "3"]).expect(0)).is_empty());
    assert_eq!(lines(&fleet(&store, &["new", "--since", "1d"]).expect(0)).len(), 2);
    assert!(lines(&fleet(&store, &["new", "--since", "2100-01-01T00:00:00Z"]).expect(0)).is_empty());
    let silent = lines(&fleet(&store, &["silent", "--exit-on-any"]).expect(1));
    assert_eq!((silent.len(), silent[0]["host"].as_str()), (1, Some("host-7")), "{silent:?}");

    // What is wrong is said, each with its code.
    let dead = run(["fleet", "alerts", "--set", "fleet.clickhouse.url=http://127.0.0.1:9"], b"");
    assert!(dead.expect(66).stderr.contains("127.0.0.1:9"));
    assert!(run(["fleet", "alerts"], b"").expect(78).stderr.contains("fleet.clickhouse"));
    let _ = run(["fleet", "alerts", "--since", "yesterday"], b"").expect(64);
}

/// Settings of whoever publishes and of the sensor, as one file.
fn configuration(scratch: &Scratch, store: &ClickHouse, urls: &[String]) -> (PathBuf, SecretKey) {
    let secret = scratch.file("hints.key");
    let made = run(["fleet", "keys", "new", "--out", secret.to_str().unwrap()], b"").expect(0);
    let public = made.text().trim().to_owned();
    assert!(
        run(["fleet", "keys", "new", "--out", secret.to_str().unwrap()], b"")
            .expect(74)
            .stderr
            .contains("already")
    );
    let again = run(["fleet", "keys", "public", secret.to_str().unwrap()], b"").expect(0);
    assert_eq!(again.text().trim(), public);
    let text = format!(
        "[fleet.clickhouse]\nurl = \"{}\"\n[fleet.nats]\nurls = {urls:?}\n[hints]\nurls = {urls:?}\nkeys = [\"{public}\"]\n\
         signing_key = {{ file = {secret:?} }}\n",
        store.url()
    );
    let key = SecretKey::of_text(&std::fs::read_to_string(&secret).unwrap()).unwrap();
    (scratch.write("sonde.toml", text.as_bytes()), key)
}

/// Every scored series of a capture.
fn series(capture: &Path, config: &Path, hints: Option<&Path>) -> Vec<Value> {
    let mut arguments =
        vec!["replay", capture.to_str().unwrap(), "--format", "ndjson", "--no-progress", "--all"];
    arguments.extend(["--config", config.to_str().unwrap()]);
    arguments.extend(hints.iter().flat_map(|path| ["--hints", path.to_str().unwrap()]));
    lines(&run(arguments, b"").expect(0))
}

/// The beacon of a capture: name, points, and the row itself.
fn beacon(capture: &Path, config: &Path, hints: Option<&Path>) -> (String, f64, Value) {
    let calls = series(capture, config, hints).into_iter().filter(|row| row["destination"]["port"] == 443);
    let best = calls.max_by(|a, b| points(a).total_cmp(&points(b))).unwrap();
    (best["destination"]["address"].as_str().unwrap().to_owned(), points(&best), best)
}

fn points(row: &Value) -> f64 {
    row["sonde"]["points"].as_f64().unwrap_or_else(|| panic!("{row:#}"))
}

#[test]
fn what_the_fleet_counted_moves_a_rank_and_says_why() {
    let scratch = Scratch::new("fleet-hints");
    let store = ClickHouse::start();
    let folder = tempfile::tempdir().unwrap();
    let node = nats::alone(folder.path(), "");
    let (config, key) = configuration(&scratch, &store, &[node.url()]);
    let capture = scratch.write("beacon.pcap", &scenario("fixed-60", 1));
    let (name, plain, _) = beacon(&capture, &config, None);

    let publish = |out: Option<&Path>| {
        let mut arguments = vec!["fleet", "hints", "publish", "--config", config.to_str().unwrap()];
        arguments.extend(out.iter().flat_map(|path| ["--out", path.to_str().unwrap()]));
        run(arguments, b"")
    };
    assert!(publish(None).expect(66).stderr.contains("knows of no host"));

    // Two hosts of the fleet keep the same rhythm: it is raised.
    store.insert(Kind::Health, (0..HOSTS).map(|host| health(host, 30)));
    store.insert(Kind::Summary, (0..2).map(|host| summary(host, &name, true)));
    let file = scratch.file("raise.hints");
    assert_eq!(lines(&publish(Some(&file)).expect(0))[0]["hosts"], HOSTS);
    let (_, raised, row) = beacon(&capture, &config, Some(&file));
    assert!((raised - plain - 0.5).abs() < 1e-3, "{plain} {raised}");
    assert!(row.to_string().contains("2 of 60 hosts call its destination in this rhythm"), "{row:#}");

    // All call it: it is lowered.
    store.insert(Kind::Summary, (2..HOSTS).map(|host| summary(host, &name, false)));
    let file = scratch.file("lower.hints");
    let _ = publish(Some(&file)).expect(0);
    let (_, lowered, row) = beacon(&capture, &config, Some(&file));
    assert!((lowered - plain + 0.5).abs() < 1e-3, "{plain} {lowered}");
    assert!(row.to_string().contains("60 of 60 hosts call its destination"), "{row:#}");

    // Through the bucket to the sensor's thread.
    let published = lines(&publish(None).expect(0));
    let show = || run(["fleet", "hints", "show", "--config", config.to_str().unwrap()], b"");
    let shown = lines(&show().expect(0));
    assert!(shown.iter().any(|row| row["value"] == name.as_str() && row["hosts"] == HOSTS), "{shown:?}");
    let reading = Reading::start(&config, Some(scratch.path()));
    let news = reading.until(|news| news.table.is_some());
    let table = news.table.unwrap();
    assert_eq!(Some(table.serial), published[0]["serial"].as_u64());
    assert_eq!(table.hosts_of(&Subject::Name(name.clone())), Some(60));
    // A later issue comes by itself.
    let _ = publish(None).expect(0);
    let later = reading.until(|news| news.health.serial > table.serial);
    assert_eq!(later.health.refused.len(), 0, "{later:?}");

    refuses(&reading, &node.url(), &key, &scratch, &config);
    // A sensor that was started anew knows what it saw.
    drop(reading);
    let old = document(1, 48 * 3_600);
    put(&node.url(), old.sign(&key).unwrap());
    let reading = Reading::start(&config, Some(scratch.path()));
    assert!(reading.until(|news| news.health.refusal.is_some()).health.refused.contains_key("rollback"));
}

/// Forged, expired and old documents are refused one by one, and hints in use stay.
fn refuses(reading: &Reading, url: &str, key: &SecretKey, scratch: &Scratch, config: &Path) {
    let forger = SecretKey::of_seed(&[9; 32]);
    let mut forged = document(u64::MAX, 3_600).sign(key).unwrap();
    let middle = forged.len() - 80;
    forged[middle] ^= 1;
    let refused = [
        ("unknown_key", "not among hints.keys", document(u64::MAX, 3_600).sign(&forger).unwrap()),
        ("signature", "forged or damaged", forged),
        ("expired", "expired at", document(u64::MAX, -3_600).sign(key).unwrap()),
        ("rollback", "played back", document(1, 3_600).sign(key).unwrap()),
        ("damaged", "no document of hints", b"hello".to_vec()),
    ];
    for (cause, words, bytes) in refused {
        put(url, bytes.clone());
        let news = reading.until(|news| news.health.refused.contains_key(cause));
        assert!(news.table.is_none() && news.health.serial > 1, "{cause}: what is in use stays");
        assert!(news.health.refusal.as_ref().unwrap().reason.contains(words), "{cause}: {news:?}");
        let mut health = sonde::live::health::Health::new("h".into(), Timestamp::ZERO);
        health.hints = news.health;
        health.judge();
        assert!(health.reasons.iter().any(|reason| reason.contains(words)), "{:?}", health.reasons);
        if cause == "rollback" {
            // By itself in a file it is only old, and a file is what it is asked for.
            continue;
        }
        // The same by hand: a file of it is refused with the reason.
        let file = scratch.write(&format!("{cause}.hints"), &bytes);
        let show = ["fleet", "hints", "show", file.to_str().unwrap(), "--config", config.to_str().unwrap()];
        assert!(run(show, b"").expect(65).stderr.contains(words), "{cause}");
        if cause != "expired" {
            let capture = scratch.file("beacon.pcap");
            let replay = ["replay", capture.to_str().unwrap(), "--hints", file.to_str().unwrap()];
            let ran = run([&replay[..], &["--config", config.to_str().unwrap()]].concat(), b"").expect(65);
            assert!(ran.stderr.contains(words), "{cause}");
        }
    }
}

/// A document that calls everything common, and holds until so many seconds from now.
fn document(serial: u64, secs: i64) -> Document {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = Timestamp::from_secs_nanos(i64::try_from(now).unwrap(), 0);
    Document {
        serial,
        shard: 0,
        of: 1,
        made: now.plus_nanos(-7_200 * NANOS_PER_SEC),
        expires: now.plus_nanos(secs * NANOS_PER_SEC),
        hosts: 100,
        entries: vec![Entry { subject: Subject::Name("evil.example".into()), hosts: 100 }],
    }
}

/// Puts a document past the publisher, as whoever can write the bucket does.
fn put(url: &str, bytes: Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
        let store = context.get_key_value("sonde_hints").await.unwrap();
        store.put("hints.0", bytes.into()).await.unwrap();
    });
}

/// The sensor's reader of hints, and what it hands over.
struct Reading {
    _reader: HintReader,
    commands: std::sync::mpsc::Receiver<Command>,
}

impl Reading {
    fn start(config: &Path, state: Option<&Path>) -> Self {
        let config = Config::parse(&std::fs::read_to_string(config).unwrap(), &[]).unwrap();
        let (commander, commands) = command::channel();
        let reader = HintReader::start(config.hints, state.map(Path::to_owned), commander).unwrap();
        Self { _reader: reader, commands }
    }

    fn until(&self, wanted: impl Fn(&News) -> bool) -> News {
        let since = Instant::now();
        let mut last = None;
        while let Some(left) = PATIENCE.checked_sub(since.elapsed()) {
            match self.commands.recv_timeout(left) {
                Ok(Command::Hints(news)) if wanted(&news) => return *news,
                Ok(Command::Hints(news)) => last = Some(news.health),
                Ok(other) => panic!("{other:?}"),
                Err(_) => break,
            }
        }
        panic!("nothing of the kind came; the latest was {last:?}");
    }
}

/// What a hostile issue may do to everything that the scenarios hold, beacons and benign alike: calls all of it common.
#[test]
fn a_document_that_calls_everything_common_lowers_nothing_by_more_than_the_cap() {
    const CAP: f64 = 0.75;
    let scratch = Scratch::new("fleet-hostile");
    let key = SecretKey::of_seed(&[5; 32]);
    let config = scratch.write("sonde.toml", format!("[hints]\nkeys = [\"{}\"]\n", key.public()).as_bytes());
    let (mut alerts, mut kept, mut lowered, mut indicated) = (0, 0, 0, 0);
    // Those behind are days and floods, of which one run takes a minute.
    for (scene, _) in SCENARIOS.iter().take_while(|(scene, _)| *scene != "office-day") {
        let capture = scratch.write(&format!("{scene}.pcap"), &scenario(scene, 1));
        let plain = series(&capture, &config, None);
        let mut subjects = std::collections::BTreeSet::new();
        for row in &plain {
            let destination = &row["destination"];
            for text in [&destination["address"], &destination["domain"], &destination["ip"]]
                .into_iter()
                .filter_map(Value::as_str)
            {
                subjects.insert(sonde_common::hints::issue::destination(text));
            }
        }
        let entries = subjects.into_iter().map(|subject| Entry { subject, hosts: 100 }).collect();
        let everything = Document { entries, ..document(1, 3_600) };
        let file = scratch.write(&format!("{scene}.hints"), &everything.sign(&key).unwrap());
        let hostile = series(&capture, &config, Some(&file));
        assert_eq!(plain.len(), hostile.len(), "{scene}: no finding comes or goes");
        let of = |row: &Value| (row["sonde"]["id"].clone(), row["rule"].clone(), row["destination"].clone());
        for before in &plain {
            let after = hostile
                .iter()
                .find(|row| of(row) == of(before))
                .unwrap_or_else(|| panic!("{scene}: {before:#} is lost"));
            let step = points(before) - points(after);
            assert!((-1e-6..=CAP + 1e-6).contains(&step), "{scene}: {step}");
            lowered += usize::from(step > 0.0);
            let sum: f64 = after["sonde"]["parts"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|part| part["points"].as_f64())
                .sum();
            assert!((sum - points(after)).abs() < 0.01, "{scene}: parts come to {sum}: {after:#}");
            let is_alert = |row: &Value| {
                ["medium", "high", "critical"].contains(&row["sonde"]["severity"].as_str().unwrap())
            };
            alerts += usize::from(is_alert(before));
            kept += usize::from(is_alert(before) && is_alert(after));
        }
        // With the beacon's own destination on a feed, the severities are the same, whatever the document says.
        // A feed takes no address of a site's own.
        let name = |row: &Value| row["destination"]["address"].as_str().unwrap().to_owned();
        let outside = plain.iter().filter(|row| !name(row).parse().is_ok_and(sonde_common::net::is_internal));
        let Some(bad) = outside.max_by(|a, b| points(a).total_cmp(&points(b))) else { continue };
        let feed = scratch.write("bad.txt", format!("{}\n", name(bad)).as_bytes());
        let listed = |hints: Option<&Path>| {
            let mut arguments = vec![
                "replay",
                capture.to_str().unwrap(),
                "--no-progress",
                "--config",
                config.to_str().unwrap(),
            ];
            arguments.extend(["--feed", feed.to_str().unwrap(), "--min-severity", "low"]);
            arguments.extend(hints.iter().flat_map(|path| ["--hints", path.to_str().unwrap()]));
            let mut rows = lines(&run(arguments, b"").expect(0));
            rows.retain(|row| {
                row.get("threat").is_some_and(|threat| threat.get("indicator").is_some())
                    || row.to_string().contains("is on the feed")
            });
            rows.sort_by_key(ToString::to_string);
            rows
        };
        let hit = listed(None);
        indicated += hit.len();
        assert_eq!(listed(Some(&file)), hit, "{scene}: what a feed names is as it was");
    }
    sonde_tests::program::say(&format!(
        "{alerts} alerts, {kept} kept; {lowered} rows lowered; {indicated} on a feed"
    ));
    assert!(alerts > 10 && lowered > 10 && indicated > 10, "{alerts} {lowered} {indicated}");
}
