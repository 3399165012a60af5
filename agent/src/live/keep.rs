//! What the sensor keeps over a restart: the engine with all that it counts, and which start of the machine it was, so that a
//! process keeps its key.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sonde_common::config::Config;
use sonde_common::engine::Engine;
use sonde_common::live::{Gap, GapCause};
use sonde_common::time::Timestamp;
use tracing::{info, warn};

use super::clock::Clocks;
use super::health::{Failure, StateHealth};
use crate::platform;
use crate::state::{Sections, StateFile, Timer};

/// Name of the file in the state's folder.
const FILE: &str = "sensor.state";
/// The file is at most so many times the memory limit: texts that programs share in memory are told once there, too.
const MAX_FILE_SHARE: u64 = 2;
const ENGINE: &str = "engine";
const MACHINE: &str = "machine";

/// One start of the machine.
#[derive(Debug, Serialize, Deserialize)]
struct Machine {
    boot_id: String,
    boot: Timestamp,
}

/// Sees to it that the alerts emitted so far are safe; whether they are.
pub type Barrier = Box<dyn FnMut() -> bool + Send>;

/// Saves now and then, and at the end.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct Keeper {
    file: Option<StateFile>,
    timer: Timer,
    machine: Machine,
    barrier: Option<Barrier>,
    /// How it went.
    pub health: StateHealth,
}

/// What was found at the start.
#[derive(Debug)]
pub struct Kept {
    /// The engine, new or as it was.
    pub engine: Engine,
    /// The time in which the sensor did not run, if it ran before.
    pub gap: Option<Gap>,
    /// The wall clock's time of the start of the machine, as keys of processes are made with.
    pub boot: Timestamp,
}

impl Keeper {
    /// Reads what is kept, if anything is.
    #[must_use]
    pub fn open(config: &Config, host: &str, clocks: &Clocks) -> (Self, Kept) {
        let memory = config.limits.memory;
        let mut health = StateHealth::default();
        let file = config.state.dir.get().and_then(|dir| {
            let dir = Path::new(dir);
            match platform::paths::private_folder(dir) {
                Ok(()) => Some(StateFile::new(dir.join(FILE), memory.bytes() as u64 * MAX_FILE_SHARE)),
                Err(error) => {
                    warn!(dir = %dir.display(), %error, "nothing is kept over a restart");
                    let reason = format!("{}: {error}", dir.display());
                    health.failure = Some(Failure { time: clocks.wall, reason });
                    None
                }
            }
        });
        health.path = file.as_ref().map(|file| file.path().display().to_string());
        let mut machine =
            Machine { boot_id: platform::identity::boot_id().unwrap_or_default(), boot: clocks.boot() };
        let mut engine = None;
        if let Some(file) = &file {
            let mut sections = file.load(clocks.wall).sections;
            let told: Option<Machine> =
                sections.take(MACHINE).and_then(|bytes| postcard::from_bytes(&bytes).ok());
            // The same start of the machine: wall clock and clock since boot drift apart, keys must not.
            if let Some(told) =
                told.filter(|told| told.boot_id == machine.boot_id && !told.boot_id.is_empty())
            {
                machine = told;
            }
            if let Some(bytes) = sections.take(ENGINE) {
                engine = restore(&bytes, memory.detection_bytes(), host, file, clocks.wall);
            }
        }
        let gap = engine.as_ref().map(|engine| {
            health.restored = Some(engine.now());
            info!(saved = %engine.now(), "the state is restored");
            let since = engine.now().min(clocks.wall);
            Gap { since, until: clocks.wall, cause: GapCause::Stopped, lost: 0 }
        });
        let engine = engine.unwrap_or_else(|| Engine::new(host.to_owned(), memory.detection_bytes(), seed()));
        let kept = Kept { engine, gap, boot: machine.boot };
        let timer = Timer::new(every(config), Instant::now());
        (Self { file, timer, machine, barrier: None, health }, kept)
    }

    /// Saves from now on only what the barrier lets pass: the state knows an alert as told, so that it must not be kept before
    /// the alert is. Killed between the two, the sensor tells the alert again, under the same id.
    pub fn after(&mut self, barrier: Barrier) {
        self.barrier = Some(barrier);
    }

    /// Takes another configuration; the folder stays.
    pub fn reload(&mut self, config: &Config) {
        self.timer = Timer::new(every(config), Instant::now());
    }

    /// Saves if it is time.
    pub fn save_if_due(&mut self, engine: &Engine, now: Timestamp) {
        if self.timer.is_due(Instant::now()) {
            self.save(engine, now);
        }
    }

    /// Saves. What fails is told and tried again; what is on the disk stays as it was.
    pub fn save(&mut self, engine: &Engine, now: Timestamp) {
        let Some(file) = &self.file else { return };
        if !self.barrier.as_mut().is_none_or(|barrier| barrier()) {
            let reason = "alerts are not safe on the disk yet (see the sinks)".to_owned();
            warn!(reason, "the state is not saved; the old one stays");
            self.health.failure = Some(Failure { time: now, reason });
            self.timer.attempted(Instant::now(), false);
            return;
        }
        let mut bytes = Vec::new();
        engine.save(&mut bytes);
        let length = bytes.len();
        let mut sections = Sections::new();
        sections.put(ENGINE, bytes);
        sections.put(MACHINE, postcard::to_allocvec(&self.machine).unwrap_or_default());
        let saved = file.save(&sections);
        self.timer.attempted(Instant::now(), saved.is_ok());
        match saved {
            Ok(()) => {
                if self.health.failure.take().is_some() {
                    info!(file = %file.path().display(), "the state is saved again");
                }
                self.health.saved = Some(now);
                self.health.bytes = length as u64;
            }
            Err(lost) => {
                warn!(error = %lost, remedy = lost.remedy, "the state is not saved; the old one stays");
                self.health.failure =
                    Some(Failure { time: now, reason: format!("{lost} ({})", lost.remedy) });
            }
        }
    }
}

fn restore(
    bytes: &[u8],
    memory_bytes: usize,
    host: &str,
    file: &StateFile,
    now: Timestamp,
) -> Option<Engine> {
    match Engine::restore(bytes, memory_bytes) {
        Ok(engine) if engine.host() == host => Some(engine),
        Ok(engine) => {
            warn!(was = engine.host(), is = host, "the state is of another host: the sensor begins anew");
            None
        }
        Err(error) => {
            file.set_aside(now, &error.to_string());
            None
        }
    }
}

fn every(config: &Config) -> Duration {
    Duration::from_secs(u64::from(config.state.interval_secs.get()))
}

/// Keys of the hash, so that nobody outside can aim at one place of it.
fn seed() -> (u64, u64) {
    use std::hash::{BuildHasher as _, RandomState};
    (RandomState::new().hash_one(1), RandomState::new().hash_one(2))
}

#[cfg(test)]
mod tests {
    use sonde_common::event::{Event, HostFacts, HostId, Observation};

    use super::*;

    fn config(dir: &Path) -> Config {
        Config::parse("", &[format!("state.dir={}", dir.display())]).unwrap()
    }

    fn clocks(secs: i64) -> Clocks {
        let awake = secs * 1_000_000_000;
        Clocks { wall: Timestamp::from_secs_nanos(1_700_000_000 + secs, 5), awake, since_boot: awake }
    }

    fn seen(engine: &mut Engine, time: Timestamp) {
        let facts = HostFacts { history: false, observed_since: time };
        let observation = Observation { time, host: HostId::Name("h"), event: Event::Host(facts) };
        engine.observe(&observation, &mut |_| {});
    }

    #[test]
    fn what_was_saved_is_there_after_a_restart_with_the_gap_between() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder.path().join("made"));
        let (mut keeper, mut kept) = Keeper::open(&config, "h", &clocks(100));
        assert!(kept.gap.is_none());
        seen(&mut kept.engine, clocks(110).wall);
        keeper.save(&kept.engine, clocks(110).wall);
        assert_eq!(keeper.health.saved, Some(clocks(110).wall));

        let later = Clocks { since_boot: clocks(200).since_boot + 3, ..clocks(200) };
        let (keeper, again) = Keeper::open(&config, "h", &later);
        let gap = again.gap.expect("the sensor did not run");
        assert_eq!((gap.since, gap.until, gap.cause), (clocks(110).wall, later.wall, GapCause::Stopped));
        assert_eq!(again.boot, kept.boot, "keys of processes stay the same");
        assert_eq!(keeper.health.restored, Some(clocks(110).wall));
        let (_, other) = Keeper::open(&config, "renamed", &later);
        assert!(other.gap.is_none());
    }

    #[test]
    fn a_state_is_not_kept_before_the_alerts_that_it_knows_as_told() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let (mut keeper, mut kept) = Keeper::open(&config, "h", &clocks(1));
        let safe = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = std::sync::Arc::clone(&safe);
        keeper.after(Box::new(move || told.load(std::sync::atomic::Ordering::Relaxed)));
        seen(&mut kept.engine, clocks(2).wall);
        keeper.save(&kept.engine, clocks(2).wall);
        assert!(!folder.path().join(FILE).exists() && keeper.health.failure.is_some());
        safe.store(true, std::sync::atomic::Ordering::Relaxed);
        keeper.save(&kept.engine, clocks(3).wall);
        assert!(folder.path().join(FILE).exists() && keeper.health.failure.is_none());
    }

    #[test]
    fn a_damaged_state_is_set_aside_and_a_folder_that_is_no_folder_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let config_of = config(&folder.path().join("s"));
        let (mut keeper, kept) = Keeper::open(&config_of, "h", &clocks(1));
        keeper.save(&kept.engine, clocks(1).wall);
        let file = folder.path().join("s").join(FILE);
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let (_, kept) = Keeper::open(&config_of, "h", &clocks(2));
        assert!(kept.gap.is_none() && !file.exists());

        std::fs::write(folder.path().join("file"), "x").unwrap();
        let (keeper, _) = Keeper::open(&config(&folder.path().join("file")), "h", &clocks(3));
        assert!(keeper.health.failure.is_some() && keeper.health.path.is_none());
    }

    #[test]
    fn series_that_collide_under_one_key_do_not_under_another() {
        use std::collections::BTreeMap;

        use sonde_common::alert::Level;
        use sonde_common::detect::beacon::BeaconDetector;
        use sonde_common::detect::{Seen, What};
        use sonde_common::event::{AppProtocol, ConnectionEvent, Names, Phase};
        use sonde_common::net::{FiveTuple, Transport};
        use sonde_common::process::Attribution;

        const BUCKETS: u64 = 1 << 10;
        let place = |seed: (u64, u64)| -> Vec<u64> {
            let mut detector = BeaconDetector::new(32 << 20, seed);
            for port in 0..4_000_u16 {
                for call in 0..2 {
                    let start = Timestamp::from_secs_nanos(1_700_000_000 + call * 60, 0);
                    let (local, remote) =
                        (([192, 0, 2, 1], 40_000).into(), ([203, 0, 113, 5], port + 1).into());
                    let event = ConnectionEvent {
                        tuple: FiveTuple { transport: Transport::Tcp, local, remote },
                        start,
                        process: None,
                        program: None,
                        attribution: Attribution::default(),
                        names: Names::default(),
                        protocol: AppProtocol::default(),
                        ja4: None,
                        phase: Phase::Opened,
                    };
                    let what = What::Connection(&event);
                    let seen = Seen {
                        time: start,
                        process: None,
                        program: None,
                        name: "",
                        fqdn: "",
                        registrable: "",
                        what,
                    };
                    detector.observe(&seen, |_, _| {});
                }
            }
            let series = detector.iter().filter(|(_, _, label)| label.level == Level::Connection);
            series.map(|(key, ..)| key % BUCKETS).collect()
        };
        let ours = seed();
        assert_ne!(ours, seed(), "each start draws another");
        // What an attacker knows: which destinations lie at one place, under a key of his own.
        let (known, real) = (place((1, 2)), place(ours));
        assert!(known.len() >= 3_900 && known.len() == real.len(), "{} {}", known.len(), real.len());
        let mut together: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        known.iter().enumerate().for_each(|(at, bucket)| together.entry(*bucket).or_default().push(at));
        let aimed = together.values().max_by_key(|all| all.len()).unwrap();
        let hit: std::collections::BTreeSet<u64> = aimed.iter().map(|at| real[*at]).collect();
        // By chance two of a dozen may lie together again, in one of sixteen cases; four never do.
        assert!(aimed.len() >= 9 && hit.len() + 3 >= aimed.len(), "{} of {} apart", hit.len(), aimed.len());
    }
}
