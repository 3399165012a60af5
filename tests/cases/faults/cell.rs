//! The faults of the table, and one cell of it: a sensor that tells and a sink's server, with something that goes wrong while
//! records flow; in the end the account has to come out, and what was delivered has to be there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sonde::sink::health::SinkHealth;
use sonde::sink::spool::Cause;
use sonde_tests::certificates::{Authority, Issued};
use sonde_tests::rng::Rng;

use super::PATIENCE;
use super::feeder::Feeder;
use super::kinds::{Kept, Kind, Way, lines_of};
use super::relay;
use super::sinks::Rig;

/// Records that are to be delivered before something goes wrong.
const BEFORE: u64 = 30;
/// How long a fault that nobody notices is left to itself.
const HOLD: Duration = Duration::from_secs(5);
/// How long records flow after it.
const AFTER: Duration = Duration::from_secs(1);
/// A small disk: it fills within seconds.
const SMALL_DISK: u64 = 256 << 10;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    ServerKilled,
    ServerStopped,
    Slow,
    Refusing,
    Status(u16),
    WrongCertificate,
    ExpiredCertificate,
    HalfOpen,
    SpoolDiskFull,
    FileDiskFull,
    AgentKilled,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::ServerKilled,
        Self::ServerStopped,
        Self::Slow,
        Self::Refusing,
        Self::Status(429),
        Self::Status(503),
        Self::WrongCertificate,
        Self::ExpiredCertificate,
        Self::HalfOpen,
        Self::SpoolDiskFull,
        Self::FileDiskFull,
        Self::AgentKilled,
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::ServerKilled => "killed, restarted".to_owned(),
            Self::ServerStopped => "stands still".to_owned(),
            Self::Slow => "slow".to_owned(),
            Self::Refusing => "refuses".to_owned(),
            Self::Status(status) => format!("answers {status}"),
            Self::WrongCertificate => "wrong certificate".to_owned(),
            Self::ExpiredCertificate => "expired certificate".to_owned(),
            Self::HalfOpen => "half-open".to_owned(),
            Self::SpoolDiskFull => "spool's disk full".to_owned(),
            Self::FileDiskFull => "file's disk full".to_owned(),
            Self::AgentKilled => format!("sensor killed {}x", kills()),
        }
    }

    /// Whether it can befall this sink.
    pub(crate) const fn befalls(self, kind: Kind) -> bool {
        match self {
            Self::AgentKilled => true,
            Self::Status(_) => kind.speaks_http(),
            Self::WrongCertificate | Self::ExpiredCertificate => kind.speaks_tls(),
            Self::FileDiskFull => matches!(kind, Kind::File),
            // A datagram is gone once it is sent: there is nothing to fill a spool, nor a connection.
            Self::SpoolDiskFull | Self::Slow | Self::HalfOpen if matches!(kind, Kind::Udp) => false,
            Self::SpoolDiskFull => true,
            // A file's folder that is away refuses.
            Self::Refusing => true,
            Self::ServerKilled | Self::ServerStopped | Self::Slow | Self::HalfOpen => {
                !matches!(kind, Kind::File)
            }
        }
    }

    fn way(self, kind: Kind) -> Way {
        let streams = !matches!(kind, Kind::File | Kind::Udp);
        let relayed = matches!(self, Self::Slow | Self::Refusing | Self::HalfOpen | Self::SpoolDiskFull);
        Way {
            relay: relayed && streams,
            tls: matches!(self, Self::WrongCertificate | Self::ExpiredCertificate),
            status: matches!(self, Self::Status(_)),
        }
    }

    /// Whether the sink has to say that something is wrong while it lasts. What a system takes for a program that stands
    /// still is no trouble yet, nor is slowness; datagrams vanish unheard unless the system says that nobody listens.
    const fn is_noticed(self, kind: Kind) -> bool {
        match self {
            Self::Slow | Self::AgentKilled => false,
            Self::ServerStopped => !matches!(kind, Kind::Udp | Kind::Tcp | Kind::Tls),
            _ => true,
        }
    }
}

/// How often the sensor is killed: `SONDE_KILLS`, or a few times.
fn kills() -> u64 {
    std::env::var("SONDE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12)
}

/// What a cell came to.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) fault: Fault,
    pub(crate) health: SinkHealth,
    /// Distinct ids that arrived.
    pub(crate) arrived: usize,
    /// How many arrived once more.
    pub(crate) twice: usize,
    /// Acknowledged and not there.
    pub(crate) missing: usize,
    /// What the sink said while it lasted.
    pub(crate) said: String,
    pub(crate) took: Duration,
}

/// Runs a cell.
///
/// # Panics
/// When a promise is broken.
pub(crate) fn run(kind: Kind, fault: Fault) -> Row {
    let began = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let certificate: fn(&Authority) -> Issued = match fault {
        Fault::WrongCertificate => |authority| authority.issue(&["another.example"]),
        Fault::ExpiredCertificate => |authority| authority.issue_expired(&["localhost", "127.0.0.1"]),
        _ => good,
    };
    let mut rig = Rig::start(kind, folder.path(), fault.way(kind), certificate);
    let disks = match fault {
        Fault::SpoolDiskFull => vec![(folder.path().join("state"), SMALL_DISK)],
        Fault::FileDiskFull => vec![(out.clone(), SMALL_DISK)],
        _ => Vec::new(),
    };
    let mut feeder = Feeder::start(folder.path(), &rig.config(), disks);
    if !matches!(fault, Fault::WrongCertificate | Fault::ExpiredCertificate) {
        feeder.until("the first are delivered", |health| health.counts.acknowledged >= BEFORE);
    }
    let during = match fault {
        Fault::AgentKilled => {
            live_and_die(&mut feeder, kind);
            None
        }
        _ => Some(befall(fault, kind, &mut rig, &feeder, &out)),
    };
    std::thread::sleep(AFTER);
    feeder.quiet();
    // How the sink is is told a moment late: it has to know of all that was told.
    feeder.until("all is delivered", |health| {
        let all = fault == Fault::AgentKilled || health.counts.emitted == feeder.told().len() as u64;
        all && health.counts.spooled == 0
    });
    // A file on a disk of its own is seen from within alone.
    let file = (kind == Kind::File)
        .then(|| lines_of(Path::new(&format!("/proc/{}/root{}/alerts.ndjson", feeder.pid(), out.display()))));
    let health = feeder.end();
    judge(kind, fault, &rig, &feeder, (health, during, file), began)
}

fn good(authority: &Authority) -> Issued {
    authority.issue(&["localhost", "127.0.0.1"])
}

/// Lets the fault begin, waits until it is noticed, and ends it; how the sink was meanwhile.
fn befall(fault: Fault, kind: Kind, rig: &mut Rig, feeder: &Feeder, out: &Path) -> SinkHealth {
    let away = out.with_extension("away");
    let hold = || {
        let since = Instant::now();
        loop {
            let health = feeder.health().expect("it has told how the sink is");
            let noticed = health.last_error.is_some() && health.failures > 0;
            let enough = if fault == Fault::SpoolDiskFull {
                health.counts.dropped_in_all() > 0
            } else if fault.is_noticed(kind) {
                noticed
            } else {
                since.elapsed() > HOLD
            };
            if enough {
                return health;
            }
            assert!(since.elapsed() < PATIENCE, "{} is not noticed: {health:?}", fault.name());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    match fault {
        Fault::ServerKilled => {
            // What forgets is read before, while nobody sends.
            signal(feeder.pid(), Signal::STOP);
            rig.kill();
            signal(feeder.pid(), Signal::CONT);
            let health = hold();
            rig.restart();
            health
        }
        Fault::ServerStopped => {
            let pid = rig.pid().expect("there is a server");
            signal(pid, Signal::STOP);
            let health = hold();
            signal(pid, Signal::CONT);
            health
        }
        Fault::Status(status) => {
            rig.answer(Some(status));
            let health = hold();
            rig.answer(None);
            health
        }
        Fault::WrongCertificate | Fault::ExpiredCertificate => {
            feeder.until("it is noticed", |health| health.failures > 1);
            let health = hold();
            assert_eq!(health.counts.acknowledged, 0, "who is not who they should be gets nothing");
            rig.show(good);
            health
        }
        Fault::FileDiskFull => {
            let health = hold();
            let namespace = format!("--mount=/proc/{}/ns/mnt", feeder.pid());
            let mut command = std::process::Command::new("nsenter");
            command.args([&namespace, "mount", "-o", "remount,size=64m"]).arg(out);
            assert!(command.status().unwrap().success(), "the disk grows");
            health
        }
        Fault::Slow | Fault::Refusing | Fault::HalfOpen | Fault::SpoolDiskFull => {
            let way = match fault {
                Fault::Slow => relay::Way::Slow,
                Fault::HalfOpen => relay::Way::Hole,
                _ => relay::Way::Refusing,
            };
            match (&rig.relay, kind) {
                (Some(relay), _) => relay.set(way),
                (None, Kind::File) => std::fs::rename(out, &away).unwrap(),
                (None, _) => rig.kill(),
            }
            let health = hold();
            match (&rig.relay, kind) {
                (Some(relay), _) => relay.set(relay::Way::Open),
                (None, Kind::File) => std::fs::rename(&away, out).unwrap(),
                (None, _) => rig.restart(),
            }
            health
        }
        Fault::AgentKilled => unreachable!("it befalls the sensor"),
    }
}

/// The sensor is killed at any moment, and started again.
fn live_and_die(feeder: &mut Feeder, kind: Kind) {
    let mut random = Rng::new(kind as u64 + 1);
    for _ in 0..kills() {
        std::thread::sleep(Duration::from_millis(20 + random.below(150)));
        feeder.kill_and_restart();
    }
    feeder.until("it is back", |health| health.counts.acknowledged >= BEFORE);
}

/// Holds what there is against what was promised.
fn judge(
    kind: Kind,
    fault: Fault,
    rig: &Rig,
    feeder: &Feeder,
    (health, during, file): (SinkHealth, Option<SinkHealth>, Option<Vec<Kept>>),
    began: Instant,
) -> Row {
    let what = format!("{} × {}", kind.name(), fault.name());
    let counts = &health.counts;
    let (told, dead) = (feeder.told(), feeder.dead());
    assert!(counts.is_even() && counts.spooled == 0, "{what}: {counts:?}");
    assert_eq!(counts.dead, dead.len() as u64, "{what}: the dead letters are those that are counted");
    let mut arrived = std::collections::BTreeMap::<String, usize>::new();
    let since = Instant::now();
    loop {
        match &file {
            Some(file) => {
                arrived.clear();
                file.iter().for_each(|kept| *arrived.entry(kept.id.clone()).or_default() += 1);
            }
            None => arrived = rig.arrived(),
        }
        // Receivers that have no acknowledgement, or give it early, take a moment; datagrams may be lost.
        let all = arrived.len() as u64 >= counts.acknowledged;
        if all || since.elapsed() > (if kind == Kind::Udp { HOLD } else { PATIENCE / 4 }) {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    let there: BTreeSet<String> = arrived.keys().cloned().collect();
    let missing = (counts.acknowledged).saturating_sub(there.len() as u64);
    let strangers = there.difference(&told).count();
    assert_eq!(strangers, 0, "{what}: only what was told arrives");
    if fault == Fault::AgentKilled {
        assert!(counts.emitted <= told.len() as u64, "{what}: {counts:?} of {}", told.len());
    } else {
        assert_eq!(counts.emitted, told.len() as u64, "{what}: each that was told is counted");
    }
    if !matches!(fault, Fault::SpoolDiskFull) {
        assert_eq!(counts.dropped_in_all(), 0, "{what}: {counts:?}");
    }
    // By UDP a record counts as delivered when it was sent: while nobody reads it is gone, where nobody says so.
    let vanish =
        kind == Kind::Udp && matches!(fault, Fault::ServerKilled | Fault::ServerStopped | Fault::Refusing);
    if !vanish {
        let lost: Vec<_> = feeder.safe().difference(&there).cloned().collect();
        let gone = counts.dropped_in_all() + counts.dead;
        assert!(
            lost.len() as u64 <= gone,
            "{what}: {} were safe and are missing, {gone} of them told as gone: {:?}…; {counts:?}",
            lost.len(),
            lost.iter().take(5).collect::<Vec<_>>()
        );
        // What was sent and not answered for when the disk was full may have been given up for want of room.
        let most = counts.acknowledged + counts.dropped_in_all();
        let there = there.len() as u64;
        assert!((counts.acknowledged..=most).contains(&there), "{what}: {there} are there: {counts:?}");
    }
    if let Some(during) = &during {
        if fault.is_noticed(kind) && fault != Fault::SpoolDiskFull {
            assert!(during.last_error.is_some(), "{what}: {during:?}");
        }
        if fault == Fault::SpoolDiskFull {
            let told = during.complaints().any(|text| text.contains("dropped since"));
            assert!(told && during.counts.dropped.contains_key(&Cause::DiskFull), "{what}: {during:?}");
        }
    }
    assert!(health.last_error.is_none() && health.disk.is_none(), "{what}: it is over: {health:?}");
    let said = during.map_or(String::new(), |during| {
        let wrong: Vec<String> = during.complaints().collect();
        let last = during.last_error.map_or(String::new(), |error| error.reason);
        if wrong.is_empty() { last } else { wrong.join("; ") }
    });
    let twice = arrived.values().sum::<usize>() - arrived.len();
    let missing = usize::try_from(missing).unwrap_or(usize::MAX);
    Row { kind, fault, arrived: there.len(), twice, missing, said, took: began.elapsed(), health }
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("it has an id");
    kill_process(pid, signal).expect("it is ours");
}
