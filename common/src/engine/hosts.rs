//! The engines of all hosts in an input.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{Backlog, Engine, EngineCounters, is_listed, rank};
use crate::alert::Alert;
use crate::config::Config;
use crate::event::{HostId, Observation};
use crate::knowledge::Knowledge;
use crate::profile::Excused;

/// Hosts followed at a time, however large the budget.
pub const MAX_HOSTS: usize = 65_536;
/// Budget of a host, at least: some fifty series and their sightings. As many hosts are followed as have room for it.
const MIN_HOST_MEMORY: usize = 48 * 1024;

/// The engines of all hosts in an input, under one memory setting that they share equally.
#[derive(Debug)]
pub struct Engines {
    engines: Vec<Engine>,
    directory: Directory,
    memory_bytes: usize,
    seed: (u64, u64),
    knowledge: Option<Arc<Knowledge>>,
    hosts_evicted: u64,
}

/// Where each host's engine is.
#[derive(Debug, Default)]
pub struct Directory {
    hosts: Vec<HostKey>,
    index: HashTable<u32>,
    /// Who sends events chooses their hosts.
    hasher: RandomState,
    /// Place of the host that was asked for last: the next one is mostly the same.
    latest: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostKey {
    Address(IpAddr),
    Name(Box<str>),
}

impl HostKey {
    fn id(&self) -> HostId<'_> {
        match self {
            Self::Address(ip) => HostId::Address(*ip),
            Self::Name(name) => HostId::Name(name),
        }
    }

    fn is(&self, host: HostId<'_>) -> bool {
        match (self, host) {
            (Self::Address(ours), HostId::Address(ip)) => *ours == ip,
            (Self::Name(ours), HostId::Name(name)) => **ours == *name,
            _ => false,
        }
    }
}

impl From<HostId<'_>> for HostKey {
    fn from(host: HostId<'_>) -> Self {
        match host {
            HostId::Address(ip) => Self::Address(ip),
            HostId::Name(name) => Self::Name(name.into()),
        }
    }
}

impl Directory {
    /// The place of a host, if it has one.
    #[inline]
    pub fn find(&mut self, host: HostId<'_>) -> Option<usize> {
        if self.hosts.get(self.latest).is_some_and(|key| key.is(host)) {
            return Some(self.latest);
        }
        let is_host = |&place: &u32| self.hosts.get(place as usize).is_some_and(|key| key.is(host));
        let place = *self.index.find(self.hasher.hash_one(host), is_host)? as usize;
        self.latest = place;
        Some(place)
    }

    /// Puts a host at the next place.
    fn push(&mut self, host: HostId<'_>) -> usize {
        let place = self.hosts.len();
        self.hosts.push(host.into());
        self.link(host, place);
        place
    }

    /// Puts a host in the place of another.
    fn replace(&mut self, place: usize, host: HostId<'_>) {
        let Some(old) = self.hosts.get_mut(place) else { return };
        let old = std::mem::replace(old, host.into());
        let is_place = |&other: &u32| other as usize == place;
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(old.id()), is_place) {
            found.remove();
        }
        self.link(host, place);
    }

    fn link(&mut self, host: HostId<'_>, place: usize) {
        let (hosts, hasher) = (&self.hosts, &self.hasher);
        let hash_at = |&place: &u32| hosts.get(place as usize).map_or(0, |key| hasher.hash_one(key.id()));
        // Of hosts there are at most MAX_HOSTS.
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.index.insert_unique(hasher.hash_one(host), place, hash_at);
    }
}

impl Engines {
    /// No host yet. `seed` as in [`Engine::new`].
    #[must_use]
    pub fn new(config: &Config, seed: (u64, u64)) -> Self {
        Self::with_memory(config.limits.memory.detection_bytes(), seed)
    }

    /// No host yet, within a part of the memory.
    #[must_use]
    pub fn with_memory(memory_bytes: usize, seed: (u64, u64)) -> Self {
        Self {
            engines: Vec::new(),
            directory: Directory::default(),
            memory_bytes,
            seed,
            knowledge: None,
            hosts_evicted: 0,
        }
    }

    /// Puts what people told in the place of what they told before.
    /// Feeds that are new are held against all that is remembered; hands to `sink` what they bring.
    pub fn set_knowledge(&mut self, knowledge: &Arc<Knowledge>, sink: &mut impl FnMut(Alert)) {
        for engine in &mut self.engines {
            engine.set_knowledge(knowledge, sink);
        }
        self.knowledge = Some(Arc::clone(knowledge));
    }

    /// What each profile held back on all hosts, by the profile's name.
    #[must_use]
    pub fn excused(&self) -> BTreeMap<String, Excused> {
        let mut sum: BTreeMap<String, Excused> = BTreeMap::new();
        for (name, excused) in self.engines.iter().flat_map(|engine| engine.excused()) {
            let all = sum.entry(name.to_owned()).or_default();
            all.count = all.count.saturating_add(excused.count);
            all.last = all.last.max(excused.last);
        }
        sum
    }

    /// Takes one observation.
    pub fn observe(&mut self, observation: &Observation<'_>, sink: &mut impl FnMut(Alert)) {
        let place = self.place_of(observation.host);
        if let Some(engine) = self.engines.get_mut(place) {
            engine.observe(observation, sink);
        }
    }

    /// Takes all that a backlog keeps, host by host: the same as to [observe](Self::observe) each, but for the order of alerts
    /// of different hosts. The places are those of [`directory`](Self::directory).
    pub fn catch_up(&mut self, backlog: &mut Backlog, sink: &mut impl FnMut(Alert)) {
        backlog.drain(&mut self.engines, |engine, observation| engine.observe(observation, sink));
    }

    /// Where each host is, for whoever keeps a [`Backlog`] while the engines are elsewhere. No host may come before it is put
    /// back.
    #[must_use]
    pub fn directory(&mut self) -> &mut Directory {
        &mut self.directory
    }

    /// The place of a host's engine, made if there is none.
    fn place_of(&mut self, host: HostId<'_>) -> usize {
        if let Some(place) = self.directory.find(host) {
            return place;
        }
        let count = self.engines.len();
        let share = share(self.memory_bytes, count + 1);
        let mut engine = Engine::new(host.to_string(), share, self.seed);
        if let Some(knowledge) = &self.knowledge {
            // It remembers nothing yet that feeds could bring.
            engine.set_knowledge(knowledge, &mut |_| {});
        }
        if count >= max_hosts(self.memory_bytes) {
            let place = self.victim();
            self.hosts_evicted += 1;
            if let Some(old) = self.engines.get_mut(place) {
                *old = engine;
                self.directory.replace(place, host);
            }
            return place;
        }
        // Shares shrink as hosts appear, at each doubling, so that the tables are not cut for every new host.
        if (count + 1).is_power_of_two() {
            for engine in &mut self.engines {
                engine.set_memory(share);
            }
        }
        self.engines.push(engine);
        self.directory.push(host)
    }

    /// The host to forget for a new one: without a finding before one with, then the one silent for longest.
    fn victim(&self) -> usize {
        let worth =
            |(_, engine): &(usize, &Engine)| (!engine.judge.ledger.is_empty(), engine.judge.scope.now);
        self.engines.iter().enumerate().min_by_key(worth).map_or(0, |(place, _)| place)
    }

    /// Number of hosts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.engines.len()
    }

    /// Whether no host was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.engines.is_empty()
    }

    /// Sums over all hosts.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        let mut sum = EngineCounters { hosts_evicted: self.hosts_evicted, ..Default::default() };
        for engine in &self.engines {
            sum.add(&engine.counters());
        }
        sum
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.engines.iter().map(|engine| engine.memory_bytes()).sum()
    }

    /// The final state of each finding, highest score first; ties by host, program, destination, then id.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts: Vec<_> = self.engines.iter().flat_map(|engine| engine.alerts()).collect();
        rank(&mut alerts);
        alerts
    }

    /// How many series were evaluated at least once and are followed still.
    #[must_use]
    pub fn scored(&self) -> u64 {
        let scored = |engine: &Engine| {
            engine.beacons.iter().filter(|(_, series, label)| is_listed(series, label)).count() as u64
        };
        self.engines.iter().map(scored).sum()
    }

    /// A row for each series that was evaluated at least once, highest score first.
    #[must_use]
    pub fn series(&self) -> Vec<Alert> {
        let mut rows: Vec<_> = self.engines.iter().flat_map(|engine| engine.series()).collect();
        rank(&mut rows);
        rows
    }
}

/// The budget of one of `hosts` hosts: equal shares, at the next power of two.
fn share(memory_bytes: usize, hosts: usize) -> usize {
    (memory_bytes / hosts.next_power_of_two()).max(MIN_HOST_MEMORY)
}

/// Hosts that have room, but at least one.
fn max_hosts(memory_bytes: usize) -> usize {
    (memory_bytes / MIN_HOST_MEMORY).clamp(1, MAX_HOSTS)
}
