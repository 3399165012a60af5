//! The sensor's side of a cell: a process of its own that runs the real shipper and tells records at a rate, so that it can
//! be stopped and killed as a sensor can.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sonde::sink::health::SinkHealth;
use sonde::sink::own::OwnSockets;
use sonde::sink::shipper::{Outbox, Setup};
use sonde_common::alert::Severity;
use sonde_common::config::Config;
use sonde_common::encode::record::SensorId;
use sonde_common::guide::Guidance;
use sonde_common::record::{Kind, Record};
use sonde_common::time::Timestamp;

use super::PATIENCE;

/// The folder that the child works in, and the number of its first record.
const FOLDER: &str = "SONDE_TEST_FAULTS";
const FIRST: &str = "SONDE_TEST_FAULTS_FIRST";
/// Between two lives of the child, numbers leap by so many.
const LEAP: u64 = 1_000_000;
/// Told at once: two alerts and a summary.
const AT_ONCE: u64 = 3;
/// Time between two rounds of telling.
const EVERY: Duration = Duration::from_millis(15);

/// A record as the child tells it.
fn record(number: u64) -> Record {
    let kind = if number % AT_ONCE == 2 { Kind::Summary } else { Kind::Alert };
    let body = serde_json::json!({
        "@timestamp": "2026-11-23T12:00:00Z",
        "event": { "id": format!("id-{number}"), "kind": "alert" },
        "message": "x".repeat(300),
    });
    Record {
        kind,
        id: format!("id-{number}"),
        key: format!("finding-{}", number % 7),
        time: Timestamp::from_secs_nanos(1_795_000_000, 0),
        severity: Severity::High,
        body: body.to_string().into_bytes(),
    }
}

/// Tells records until it is told to stop or killed; run by the feeder alone.
#[test]
#[ignore = "is started, and killed, by the cells of the fault table"]
fn child() {
    let (Some(folder), Ok(first)) = (std::env::var_os(FOLDER), std::env::var(FIRST)) else { return };
    let folder = PathBuf::from(folder);
    let config = fs::read_to_string(folder.join("config.toml")).unwrap();
    let outbox = Outbox::start(Setup {
        id: SensorId(7),
        host: "host".into(),
        since: Timestamp::from_secs_nanos(1, 0),
        folder: Some(folder.join("state/spool")),
        sinks: Config::parse(&config, &[]).unwrap().sinks,
        guidance: Guidance::None,
        own: OwnSockets::default(),
    })
    .unwrap();
    let append = |name| fs::OpenOptions::new().append(true).create(true).open(folder.join(name)).unwrap();
    let (mut told, mut safe) = (append("told"), append("safe"));
    let mut number: u64 = first.parse().unwrap();
    while !folder.join("end").exists() {
        if !folder.join("quiet").exists() {
            let round = number..number + AT_ONCE;
            number = round.end;
            let names: String = round.clone().map(|number| format!("id-{number}\n")).collect();
            told.write_all(names.as_bytes()).unwrap();
            round.for_each(|number| outbox.word(record(number)));
            if outbox.sync(PATIENCE) {
                safe.write_all(names.as_bytes()).unwrap();
            }
        }
        tell_health(&folder, &outbox);
        std::thread::sleep(EVERY);
    }
    outbox.stop();
    tell_health(&folder, &outbox);
    fs::write(folder.join("ended"), "").unwrap();
}

fn tell_health(folder: &Path, outbox: &Outbox) {
    if let Some(health) = outbox.health().remove("a") {
        fs::write(folder.join("health.new"), serde_json::to_vec(&health).unwrap()).unwrap();
        fs::rename(folder.join("health.new"), folder.join("health.json")).unwrap();
    }
}

/// The child, as a cell sees it.
#[derive(Debug)]
pub(crate) struct Feeder {
    folder: PathBuf,
    child: Child,
    lives: u64,
    /// Folders that are disks of their own, of so many bytes; only its process sees them.
    disks: Vec<(PathBuf, u64)>,
}

impl Feeder {
    /// Starts one with the sink `a` of this configuration.
    pub(crate) fn start(folder: &Path, config: &str, disks: Vec<(PathBuf, u64)>) -> Self {
        fs::write(folder.join("config.toml"), config).unwrap();
        let child = spawn(folder, 0, &disks);
        Self { folder: folder.to_owned(), child, lives: 1, disks }
    }

    /// Kills it at once, and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let _ = fs::remove_file(self.folder.join("health.json"));
        self.child = spawn(&self.folder, self.lives * LEAP, &self.disks);
        self.lives += 1;
    }

    /// Its process, which is the shipper's own.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the sink is; `None` before it has told.
    pub(crate) fn health(&self) -> Option<SinkHealth> {
        let health: SinkHealth =
            serde_json::from_slice(&fs::read(self.folder.join("health.json")).ok()?).unwrap();
        assert!(health.counts.is_even(), "the account does not come out: {health:?}");
        Some(health)
    }

    /// Waits until the sink is as it should be.
    pub(crate) fn until(&self, what: &str, fits: impl Fn(&SinkHealth) -> bool) -> SinkHealth {
        let since = Instant::now();
        loop {
            let health = self.health();
            if let Some(health) = health.clone().filter(&fits) {
                return health;
            }
            let runs = fs::read_link(format!("/proc/{}/exe", self.child.id())).is_ok();
            assert!(runs, "it ended by itself; small disks need root:\n{}", self.said());
            assert!(since.elapsed() < PATIENCE, "{what}: {health:?}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// It tells nothing more, and goes on delivering.
    pub(crate) fn quiet(&self) {
        fs::write(self.folder.join("quiet"), "").unwrap();
    }

    /// Ends it in the proper way; how the sink was then.
    pub(crate) fn end(&mut self) -> SinkHealth {
        fs::write(self.folder.join("end"), "").unwrap();
        let since = Instant::now();
        while !self.folder.join("ended").exists() {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended by itself:\n{}", self.said());
            assert!(since.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.health().expect("it has told how the sink was")
    }

    /// What it began to tell.
    pub(crate) fn told(&self) -> BTreeSet<String> {
        names(&self.folder.join("told"))
    }

    /// What it knew to be safe.
    pub(crate) fn safe(&self) -> BTreeSet<String> {
        names(&self.folder.join("safe"))
    }

    /// What is among the dead letters.
    pub(crate) fn dead(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.folder.join("state/spool/a.dead.ndjson")).unwrap_or_default();
        let id = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned()
        };
        text.lines().map(id).collect()
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("child.log")).unwrap_or_default()
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a file; a process that was killed may have left half a line.
fn names(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    whole.lines().map(str::to_owned).collect()
}

fn spawn(folder: &Path, first: u64, disks: &[(PathBuf, u64)]) -> Child {
    let log = fs::OpenOptions::new().append(true).create(true).open(folder.join("child.log")).unwrap();
    let program = std::env::current_exe().unwrap();
    let mut command = if disks.is_empty() {
        Command::new(program)
    } else {
        // They go with the process.
        let mount = |(path, bytes): &(PathBuf, u64)| {
            fs::create_dir_all(path).unwrap();
            format!("mount -t tmpfs -o size={bytes},mode=0700 tmpfs '{}' && ", path.display())
        };
        let mounts: String = disks.iter().map(mount).collect();
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            &format!("{mounts}exec \"$@\""),
            "sh",
        ]);
        command.arg(program);
        command
    };
    command
        .args(["--ignored", "--nocapture", "--test-threads=1", "--exact", "feeder::child"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
