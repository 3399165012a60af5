//! What a fleet's sensors publish is counted as it should be, whatever is killed on the way: real sinks, a real cluster of NATS, the
//! program itself as the bridge, a real ClickHouse, and a count by brute force beside it.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sonde::fleet::store::Store;
use sonde::sink::own::OwnSockets;
use sonde::sink::{Outcome, Sink};
use sonde_common::alert::Severity;
use sonde_common::config::Config;
use sonde_common::record::{Kind, Record};
use sonde_tests::fleet::count::Count;
use sonde_tests::fleet::{Fleet, HEALTH_SECS};
use sonde_tests::program::{self, Scratch};
use sonde_tests::servers::{binary, free_port};

/// Longest time in which something has to go on.
const PATIENCE: Duration = Duration::from_secs(180);
/// What carriers are set to: small batches, so that what is killed has some under way, and soon given to another.
const SMALL: [&str; 3] =
    ["fleet.carry.batch_records=2000", "fleet.carry.batch_secs=1", "fleet.carry.retry_secs=10"];
/// The same at full size.
const LARGE: [&str; 3] =
    ["fleet.carry.batch_records=20000", "fleet.carry.batch_secs=2", "fleet.carry.retry_secs=60"];

/// The store and what feeds it, brought up by the script that people use.
struct Lab {
    folder: PathBuf,
    port: u16,
}

impl Lab {
    fn up(folder: &Path) -> Self {
        let lab = Self { folder: folder.to_owned(), port: ports() };
        lab.again();
        lab
    }

    /// Starts what is not running.
    fn again(&self) {
        let port = self.port.to_string();
        let done = script().arg(&self.folder).args(["--port", &port]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Kills a server at once, as a power cut would.
    fn kill(&self, name: &str) {
        let pid = std::fs::read_to_string(self.folder.join(format!("{name}.pid"))).unwrap();
        assert!(
            Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success(),
            "{name} was not running"
        );
    }

    fn config(&self, name: &str) -> Config {
        Config::parse(&std::fs::read_to_string(self.folder.join(name)).unwrap(), &[]).unwrap()
    }

    fn carry(&self, set: &[&str], once: bool) -> Child {
        let log = File::options().create(true).append(true).open(self.folder.join("carry.log")).unwrap();
        let mut command = Command::new(program::sonde());
        command.args(["fleet", "carry", "--config"]).arg(self.folder.join("fleet.toml"));
        for setting in set {
            command.args(["--set", setting]);
        }
        command.args(once.then_some("--once")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        command.spawn().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = script().arg(&self.folder).arg("--down").status();
    }
}

fn script() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/fleet/up"));
    command.env("CARGO_TARGET_DIR", program::target());
    command
}

/// The first of thirty ports of which those that are used are free.
fn ports() -> u16 {
    let taken = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_err();
    let mut first = free_port().clamp(2_000, 30_000);
    while (first..first + 30).any(taken) {
        first = 2_000 + (first + 131) % 28_000;
    }
    first
}

/// An alert of the product.
fn alert() -> Value {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/golden/fixed-60.ndjson");
    serde_json::from_str(std::fs::read_to_string(golden).unwrap().lines().next().unwrap()).unwrap()
}

/// A sensor's sink, driven as its core drives it.
struct Shipping {
    runtime: tokio::runtime::Runtime,
    sink: Box<dyn Sink>,
    sent: (usize, u64),
}

impl Shipping {
    fn new(lab: &Lab) -> Self {
        let config = lab.config("sensor.toml");
        let (name, settings) = config.sinks.iter().next().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sink = sonde::sink::open(name, settings, &OwnSockets::default()).unwrap();
        Self { runtime, sink, sent: (0, 0) }
    }

    fn deliver(&mut self, mut batch: Vec<Record>) {
        self.sent.0 += batch.len();
        self.sent.1 += batch.iter().map(|record| record.body.len() as u64).sum::<u64>();
        let since = Instant::now();
        while !batch.is_empty() {
            let delivery = self.runtime.block_on(self.sink.deliver(&batch));
            let mut outcomes = delivery.outcomes.iter();
            batch.retain(|_| !matches!(outcomes.next(), Some(Outcome::Acknowledged)));
            assert!(since.elapsed() < PATIENCE, "{} left: {delivery:?}", batch.len());
        }
    }
}

/// What the store is asked, and what the count says.
fn questions(count: &Count) -> Vec<(&'static str, String, Vec<String>)> {
    let of = |view: &str, columns: &[&str]| {
        let columns: Vec<_> = columns.iter().map(|column| format!("toString({column})")).collect();
        format!("SELECT concat({}) AS line FROM {view}", columns.join(", ' ', "))
    };
    let prevalence = [
        "kind",
        "value",
        "hosts",
        "toUInt64(round(hosts / share))",
        "toUInt32(first_seen)",
        "toUInt32(last_seen)",
    ];
    let rhythm = ["way", "destination", "program_sha256", "period_class", "hosts", "destinations"];
    let first_seen = ["kind", "value", "toUInt32(first_seen)", "age_secs"];
    let silent = ["agent", "host", "toUInt32(last_health)", "silent_secs", "missing"];
    let alerts = ["finding_id", "host", "revision", "score", "destination", "hosts"];
    vec![
        ("prevalence", of("fleet_prevalence", &prevalence), count.prevalence()),
        ("rhythm", of("fleet_rhythm", &rhythm), count.rhythm()),
        ("first seen", of("fleet_first_seen", &first_seen), count.first_seen()),
        ("silent", of("fleet_silent", &silent), count.silent(i64::try_from(HEALTH_SECS).unwrap())),
        ("alerts", of("fleet_alerts", &alerts), count.alerts()),
    ]
}

/// Holds an answer to the count, row for row.
fn same(name: &str, mut found: Vec<String>, wanted: &[String]) {
    found.sort_unstable();
    assert!(!wanted.is_empty(), "{name}: the fleet was made to have some");
    if found != wanted {
        let only = |these: &[String], those: &[String]| {
            these
                .iter()
                .filter(|line| those.binary_search(line).is_err())
                .take(5)
                .cloned()
                .collect::<Vec<_>>()
        };
        panic!(
            "{name}: {} rows, {} counted\nonly in the store: {:#?}\nonly counted: {:#?}",
            found.len(),
            wanted.len(),
            only(&found, wanted),
            only(wanted, &found)
        );
    }
}

/// Asks all of it, and tells how long each answer took.
fn answers(store: &mut Store, count: &Count) -> String {
    let mut report = String::new();
    for (name, sql, wanted) in questions(count) {
        let since = Instant::now();
        let rows = asked(store, &sql);
        let took = since.elapsed();
        let _ = writeln!(report, "| {name} | {} | {:.3} |", rows.len(), took.as_secs_f64());
        same(name, rows.iter().map(|row| told(row, "line")).collect(), &wanted);
    }
    for row in asked(store, "SELECT kind, value, host FROM fleet_first_seen") {
        let (kind, value, host) = (told(&row, "kind"), told(&row, "value"), told(&row, "host"));
        assert!(count.is_first(&kind, &value, &host), "{host} did not have {value} first");
    }
    report
}

fn asked(store: &mut Store, sql: &str) -> Vec<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.query(sql, &[])).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn told(row: &Value, column: &str) -> String {
    row.get(column).and_then(Value::as_str).unwrap_or_else(|| panic!("{column}: {row}")).to_owned()
}

/// Asks today's ClickHouse the same, over the rows that Debian's holds.
fn today(store: &mut Store, count: &Count, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for table in ["summaries", "health", "alerts"] {
        let rows = asked(store, &format!("SELECT * FROM {table}"));
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        std::fs::write(folder.join(format!("{table}.ndjson")), lines).unwrap();
    }
    let questions = questions(count);
    let all: Vec<_> = questions.iter().map(|(_, sql, _)| sql).collect();
    std::fs::write(folder.join("questions.json"), serde_json::to_vec(&all).unwrap()).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(binary("python"));
    command.arg(here.join("src/servers/chdb_ask.py")).arg(folder);
    for file in ["schema.sql", "retention.sql"] {
        command.arg(here.join("../packaging/fleet/clickhouse").join(file));
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    assert!(version.split('.').next().is_some_and(|year| year.parse::<u32>().unwrap() >= 26), "{version}");
    for (name, _, wanted) in &questions {
        same(name, serde_json::from_str(lines.next().unwrap()).unwrap(), wanted);
    }
}

/// What each user may do at NATS, and what not.
fn permissions(lab: &Lab) {
    let asks = |user: &str, lines: &str| {
        let password = std::fs::read_to_string(lab.folder.join("secrets").join(user)).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", lab.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let login = format!("{{\"verbose\":true,\"user\":\"{user}\",\"pass\":\"{password}\"}}");
        // The answer to PING comes after those to all before it.
        stream.write_all(format!("CONNECT {login}\r\n{lines}PING\r\n").as_bytes()).unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"PONG\r\n") {
            let mut bytes = [0; 4_096];
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&said));
            said.extend(bytes.iter().take(read));
        }
        String::from_utf8(said).unwrap()
    };
    for (user, line) in [
        ("sensor", "SUB sonde.> 1"),
        ("sensor", "SUB _INBOX_sonde_carry.> 1"),
        ("sensor", "PUB $JS.API.STREAM.INFO.SONDE 0\r\n"),
        ("sensor", "PUB $JS.API.CONSUMER.MSG.NEXT.SONDE.sonde-carry 0\r\n"),
        ("sensor", "PUB $KV.sonde_hints.all 0\r\n"),
        ("carry", "PUB sonde.alert 0\r\n"),
        ("carry", "SUB sonde.> 1"),
        ("hints", "PUB $JS.API.CONSUMER.MSG.NEXT.SONDE.sonde-carry 0\r\n"),
    ] {
        let said = asks(user, &format!("{line}\r\n"));
        assert!(said.contains("-ERR 'Permissions Violation"), "{user} {line}: {said}");
    }
    for (user, line) in [("sensor", "SUB _INBOX.> 1"), ("hints", "PUB $KV.sonde_hints.test 0\r\n")] {
        let said = asks(user, &format!("{line}\r\n"));
        assert!(!said.contains("-ERR"), "{user} {line}: {said}");
    }
}

/// A day of a fleet; after its first half all is counted, then each of the three is killed in the midst, and all is counted again.
/// Small ones are asked of today's ClickHouse as well.
fn day(sensors: u32, destinations: u64, set: &[&str], small: bool) -> String {
    let scratch = Scratch::new("fleet");
    let lab = Lab::up(&scratch.path().join("lab"));
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let fleet = Fleet { sensors, destinations, seed: 7, begin: (now / 86_400 - 1) * 86_400 };
    let (alert, mut count, mut shipping) = (alert(), Count::default(), Shipping::new(&lab));
    let mut clickhouse = lab.config("fleet.toml").fleet.clickhouse;
    clickhouse.max_rows = serde_json::from_value(1_000_000.into()).unwrap();
    let mut store = Store::open(&clickhouse).unwrap();
    permissions(&lab);
    let mut carriers = vec![lab.carry(set, false)];
    let (begun, mut report) = (Instant::now(), String::new());
    // What no table takes stops nothing that comes after it.
    let (id, key) = ("poison-1".to_owned(), String::new());
    let body = b"{\"class_uid\":2004}".to_vec();
    let time = sonde_common::time::Timestamp::ZERO;
    shipping.deliver(vec![Record { kind: Kind::Summary, id, key, time, severity: Severity::High, body }]);
    for hour in 0..24 {
        if hour == 12 {
            drained(&lab, set, begun, &mut report);
            let told = answers(&mut store, &count);
            let _ = writeln!(report, "After 12 hours, {} records, nothing killed:\n{told}", count.records());
        }
        for (number, chunk) in (0..sensors).collect::<Vec<_>>().chunks(50).enumerate() {
            // In the midst of the hour's records.
            if number == (sensors as usize / 100) {
                match hour {
                    14 => {
                        let carrier = carriers.first_mut().unwrap();
                        carrier.kill().unwrap();
                        carrier.wait().unwrap();
                        carriers.push(lab.carry(set, false));
                    }
                    16 => lab.kill("n2"),
                    19 => lab.kill("clickhouse"),
                    18 | 21 => lab.again(),
                    _ => {}
                }
            }
            let records: Vec<Record> =
                chunk.iter().flat_map(|sensor| fleet.hour(*sensor, hour, &alert)).collect();
            records.iter().for_each(|record| count.add(record));
            shipping.deliver(records);
        }
    }
    drained(&lab, set, begun, &mut report);
    let told = answers(&mut store, &count);
    let _ = writeln!(
        report,
        "After 24 hours, {} records; carry, a node of NATS and ClickHouse were killed once each:\n{told}",
        count.records()
    );
    assert_eq!(shipping.sent.0, count.records() + 1);
    if small {
        today(&mut store, &count, &scratch.path().join("today"));
    }
    let (records, bytes) = (shipping.sent.0 as u64, shipping.sent.1);
    let disk = |path: &str| bytes_below(&lab.folder.join(path));
    let each = |bytes: u64| bytes / u64::from(sensors);
    let _ = writeln!(
        report,
        "For each host and day: {} records, {} bytes published, {} bytes in ClickHouse, {} bytes on each node of NATS",
        each(records),
        each(bytes),
        each(disk("clickhouse/data/data/sonde")),
        each(disk("n1"))
    );
    // The one that was left is told to end, and ends well.
    let last = carriers.pop().unwrap();
    assert!(Command::new("kill").arg(last.id().to_string()).status().unwrap().success());
    let ended = last.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(said.contains("records carried") && said.contains("0 dead"), "{said}");
    let _ = writeln!(report, "The last carrier: {said}");
    let dead = std::fs::read_to_string(lab.folder.join("dead/carry.dead.ndjson")).unwrap();
    assert!(dead.lines().count() == 1 && dead.contains("poison-1") && dead.contains("native form"), "{dead}");
    report
}

/// Waits until the stream is empty, with a second carrier beside the first.
fn drained(lab: &Lab, set: &[&str], begun: Instant, report: &mut String) {
    let since = Instant::now();
    let done = lab.carry(set, true).wait_with_output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let _ = writeln!(
        report,
        "Published within {:.1} s, drained {:.1} s later",
        since.duration_since(begun).as_secs_f64(),
        since.elapsed().as_secs_f64()
    );
}

fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[test]
fn a_fleet_is_counted_right_whatever_is_killed_on_the_way() {
    let report = day(120, 4, &SMALL, true);
    assert!(report.contains("nothing killed"));
}

#[test]
#[ignore = "five thousand sensors take minutes: scripts/bench-fleet"]
fn bench() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
    };
    let sensors = u32::try_from(number("SONDE_FLEET_SENSORS", 5_000)).unwrap();
    let report = day(sensors, number("SONDE_FLEET_DESTINATIONS", 12), &LARGE, false);
    std::fs::write(std::env::var("SONDE_FLEET_REPORT").unwrap(), report).unwrap();
}
