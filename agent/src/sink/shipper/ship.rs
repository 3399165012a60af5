//! All sinks of the shipper: each with its spool, its task, and what goes there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sonde_common::alert::Severity;
use sonde_common::config::{SinkName, SinkSettings, Sinks, WireForm};
use sonde_common::record::{Kind, Record};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::super::core::{Core, Pace, Progress, Stage};
use super::super::dead::DeadLetters;
use super::super::health::SinkHealth;
use super::super::own::OwnSockets;
use super::super::spool::{Cause, Folder, Memory, Spool};
use super::super::{kind_of, open};
use super::announce::Dropped;
use crate::platform;

/// How long a sink that is changed or removed may take to close.
const CHANGE: Duration = Duration::from_secs(2);
/// Time between two looks whether a spool that had to begin in memory can go on on the disk.
const LOOK_FOR_DISK: Duration = Duration::from_secs(10);

/// One sink.
struct Ship {
    settings: SinkSettings,
    spool: Rc<RefCell<Spool>>,
    bell: Rc<Notify>,
    stage: watch::Sender<Stage>,
    task: JoinHandle<()>,
    progress: Rc<RefCell<Progress>>,
    /// What had been dropped before it was opened.
    before: Dropped,
}

/// All of them.
pub(super) struct Fleet {
    folder: Option<PathBuf>,
    own: OwnSockets,
    ships: BTreeMap<SinkName, Ship>,
    looked_for_disk: Instant,
}

impl Fleet {
    pub(super) fn new(folder: Option<PathBuf>, own: OwnSockets) -> Self {
        Self { folder, own, ships: BTreeMap::new(), looked_for_disk: Instant::now() }
    }

    /// Goes on with these sinks. What waits for one that is gone stays on disk; one that was changed goes on with its spool.
    pub(super) async fn set(&mut self, sinks: Sinks) {
        let names: Vec<SinkName> = self.ships.keys().cloned().collect();
        let mut closing = Vec::new();
        let mut spools = BTreeMap::new();
        for name in names {
            let same = |ship: &Ship| sinks.get(&name).is_some_and(|settings| *settings == ship.settings);
            if self.ships.get(&name).is_some_and(same) {
                continue;
            }
            if let Some(ship) = self.ships.remove(&name) {
                let _ = ship.stage.send(Stage::Drain);
                closing.push(ship.task);
                if sinks.contains_key(&name) {
                    spools.insert(name, (ship.spool, ship.before));
                } else {
                    let waiting = ship.spool.borrow().counts().spooled;
                    info!(
                        sink = name.as_str(),
                        waiting, "is no sink any more; what waits for it stays on disk"
                    );
                }
            }
        }
        finish(closing, CHANGE).await;
        for (name, settings) in sinks {
            if !self.ships.contains_key(&name) {
                let spool = spools.remove(&name);
                let ship = self.launch(&name, settings, spool);
                self.ships.insert(name, ship);
            }
        }
        if let Some(folder) = &self.folder {
            tell_orphans(folder, &self.ships);
        }
    }

    /// Tries disks again that did not take what they should.
    pub(super) fn try_disks_again(&self) {
        self.ships.values().for_each(|ship| ship.spool.borrow_mut().try_disk_again());
    }

    /// Has spools that had to begin in memory go on on the disk, now and then, where it is there again with room for them.
    pub(super) async fn return_to_disk(&mut self) {
        let Some(folder) = self.folder.clone() else { return };
        if self.looked_for_disk.elapsed() < LOOK_FOR_DISK {
            return;
        }
        self.looked_for_disk = Instant::now();
        let in_memory = self.ships.iter().filter(|(_, ship)| !ship.spool.borrow().lasts());
        let names: Vec<SinkName> = in_memory.map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(ship) = self.ships.get(&name) else { continue };
            let (cap, held) = (ship.settings.spool.get(), ship.spool.borrow().bytes());
            let Ok(mut disk) = spool_on_disk(&folder, &name, cap) else { continue };
            if disk.probe(held).is_err() {
                continue;
            }
            let Some(ship) = self.ships.remove(&name) else { continue };
            let _ = ship.stage.send(Stage::Drain);
            finish(vec![ship.task], CHANGE).await;
            let before = disk.dropped_before();
            let adopted = disk.adopt(&mut ship.spool.borrow_mut());
            let going_on = match adopted {
                Ok(()) => {
                    let waiting = disk.counts().spooled;
                    info!(sink = name.as_str(), waiting, "the spool is on the disk from now on");
                    (Rc::new(RefCell::new(disk)), before)
                }
                Err(error) => {
                    warn!(sink = name.as_str(), %error, "the spool stays in memory");
                    (ship.spool, ship.before)
                }
            };
            let ship = self.launch(&name, ship.settings, Some(going_on));
            self.ships.insert(name, ship);
        }
    }

    fn launch(
        &self,
        name: &SinkName,
        settings: SinkSettings,
        spool: Option<(Rc<RefCell<Spool>>, Dropped)>,
    ) -> Ship {
        let cap = settings.spool.get();
        let (spool, before) = spool.unwrap_or_else(|| {
            let spool = open_spool(self.folder.as_deref(), name, cap);
            let before = spool.dropped_before();
            (Rc::new(RefCell::new(spool)), before)
        });
        spool.borrow_mut().set_cap(cap);
        let dead = self.folder.as_ref().map(|folder| folder.join(format!("{name}.dead.ndjson")));
        let (bell, progress) = (Rc::<Notify>::default(), Rc::default());
        let (stage, told) = watch::channel(Stage::Run);
        let opened = {
            let (name, settings, own) = (name.clone(), settings.clone(), self.own.clone());
            Box::new(move || open(&name, &settings, &own))
        };
        let waiting = (Rc::clone(&spool), Rc::clone(&bell));
        let dead = DeadLetters::new(dead);
        let core =
            Core::new(name.to_string(), opened, waiting, dead, Pace::of(&settings), Rc::clone(&progress));
        let task = tokio::task::spawn_local(core.run(told));
        Ship { settings, spool, bell, stage, task, progress, before }
    }

    /// Whether some sink wants alerts of this severity in this form.
    pub(super) fn wants_form(&self, form: WireForm, severity: Severity) -> bool {
        self.ships.values().any(|ship| ship.settings.form == form && ship.wants(Kind::Alert, severity))
    }

    /// Puts an alert into the spools of those that want it in this form.
    pub(super) fn append_alert(&self, form: WireForm, record: &Record) {
        for ship in self.ships.values().filter(|ship| ship.settings.form == form) {
            ship.append(record);
        }
    }

    /// Puts one of the sensor's own words into the spools of those that want it.
    pub(super) fn append(&self, record: &Record) {
        self.ships.values().for_each(|ship| ship.append(record));
    }

    /// Counts what was lost before it came to any spool.
    pub(super) fn lose(&self, kind: Kind, count: u64) {
        if count == 0 {
            return;
        }
        for ship in self.ships.values().filter(|ship| ship.settings.records.contains(&kind)) {
            ship.spool.borrow_mut().lose(kind, count, Cause::QueueFull);
        }
    }

    /// Brings all to the disk, and lets the sinks know; whether it is there.
    pub(super) fn sync(&self) -> bool {
        let mut all = true;
        for ship in self.ships.values() {
            let mut spool = ship.spool.borrow_mut();
            all &= spool.sync().is_ok();
            if spool.has_untaken() {
                ship.bell.notify_one();
            }
        }
        all
    }

    /// Ends all: what can be delivered in time is, the rest waits.
    pub(super) async fn stop(&mut self, wait: Duration) {
        self.sync();
        let mut closing = Vec::new();
        for ship in self.ships.values_mut() {
            let _ = ship.stage.send(Stage::Drain);
            closing.push(std::mem::replace(&mut ship.task, tokio::task::spawn_local(async {})));
        }
        finish(closing, wait).await;
        for (name, ship) in &self.ships {
            let mut spool = ship.spool.borrow_mut();
            if !spool.lasts() {
                spool.give_up(Cause::Stopped);
            }
            let _ = spool.sync();
            let counts = spool.counts();
            info!(
                sink = name.as_str(),
                delivered = counts.acknowledged,
                waiting = counts.spooled,
                dead = counts.dead,
                dropped = counts.dropped_in_all(),
                "the sink is closed"
            );
        }
    }

    /// Whether there is a sink of that name.
    pub(super) fn has(&self, sink: &str) -> bool {
        self.ships.keys().any(|name| name.as_str() == sink)
    }

    /// What each sink has dropped since it was opened.
    pub(super) fn dropped(&self) -> Vec<(String, Dropped)> {
        let since = |ship: &Ship| {
            let mut dropped = ship.spool.borrow().dropped();
            for (what, count) in &mut dropped {
                *count = count.saturating_sub(ship.before.get(what).copied().unwrap_or(0));
            }
            dropped.retain(|_, count| *count > 0);
            dropped
        };
        self.ships.iter().map(|(name, ship)| (name.to_string(), since(ship))).collect()
    }

    /// How they are.
    pub(super) fn health(&self) -> BTreeMap<String, SinkHealth> {
        self.ships.iter().map(|(name, ship)| (name.to_string(), ship.health())).collect()
    }
}

impl Ship {
    fn wants(&self, kind: Kind, severity: Severity) -> bool {
        self.settings.records.contains(&kind)
            && (kind != Kind::Alert || severity >= self.settings.min_severity)
    }

    fn append(&self, record: &Record) {
        if self.wants(record.kind, record.severity) {
            // Why there was no room is counted, and announced.
            let _ = self.spool.borrow_mut().append(record);
        }
    }

    fn health(&self) -> SinkHealth {
        let (spool, progress) = (self.spool.borrow(), self.progress.borrow());
        let counts = spool.counts();
        SinkHealth {
            kind: kind_of(&self.settings).to_owned(),
            dropped_since: counts.dropped_in_all().saturating_sub(self.before.values().sum()),
            counts,
            spool_bytes: spool.bytes(),
            spool_limit_bytes: self.settings.spool.get(),
            lasts: spool.lasts(),
            last_acknowledged: progress.last_acknowledged,
            last_error: progress.last_error.clone(),
            circuit: progress.circuit,
            failures: progress.failures,
            deferred: progress.deferred,
            disk: spool.failure().map(str::to_owned),
            problems: spool.problems().to_vec(),
        }
    }
}

/// Waits until all have ended, for so long at the most; those that have not are ended.
async fn finish(tasks: Vec<JoinHandle<()>>, wait: Duration) {
    let until = tokio::time::Instant::now() + wait;
    for mut task in tasks {
        if tokio::time::timeout_at(until, &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
        }
    }
}

/// Opens a sink's spool on disk, or in memory where that cannot be, which is said.
fn open_spool(folder: Option<&Path>, name: &SinkName, cap: u64) -> Spool {
    let problem = match folder.map(|folder| (folder, spool_on_disk(folder, name, cap))) {
        None => None,
        Some((_, Ok(spool))) => return spool,
        Some((folder, Err(error))) => {
            let place = folder.join(name.as_str());
            Some(format!(
                "{}: {error}: records wait in memory alone; whether they can go to the disk is looked at every {} s",
                place.display(),
                LOOK_FOR_DISK.as_secs()
            ))
        }
    };
    if let Some(problem) = &problem {
        warn!(sink = name.as_str(), problem, "the spool");
    }
    Spool::in_memory(Memory::default(), cap, problem)
}

fn spool_on_disk(folder: &Path, name: &SinkName, cap: u64) -> std::io::Result<Spool> {
    let place = folder.join(name.as_str());
    platform::paths::private_folder(folder)?;
    platform::paths::private_folder(&place)?;
    Spool::open(Box::new(Folder::new(place)), cap)
}

/// Says where records wait of which the sink is gone.
fn tell_orphans(folder: &Path, ships: &BTreeMap<SinkName, Ship>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name();
        if !ships.keys().any(|ship| name == ship.as_str()) {
            warn!(folder = %entry.path().display(), "records may wait here for a sink that is not configured any more");
        }
    }
}
