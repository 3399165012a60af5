//! Sole owner of detection state: observations in, alerts out. One [`Engine`] per host, a set of them ([`Engines`]) for
//! an input that holds several.
//!
//! The engine resolves what an event leaves open (the name from passive DNS, the program from the process), asks the
//! detectors, scores what they find, and keeps the ledger of findings. It has no clock: time comes with the events.

mod ledger;
pub(crate) mod state;

pub use self::ledger::Standing;
pub use self::state::{STATE_VERSION, StateError};

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use self::ledger::{Entry, Evaluation, Ledger};
use crate::alert::{Alert, Change, FindingId, Level, Severity};
use crate::config::Config;
use crate::context;
use crate::detect::beacon::label::{Label, Peak};
use crate::detect::beacon::series::Series;
use crate::detect::beacon::texts;
use crate::detect::beacon::{BeaconCounters, BeaconDetector, Evaluated};
use crate::detect::{Seen, What};
use crate::domain::registrable;
use crate::event::{ConnectionEvent, Event, HostFacts, HostId, Names, Observation, Phase};
use crate::explain;
use crate::live::{Gap, GapCause};
use crate::names::PassiveNames;
use crate::process::ProcessKey;
use crate::program::Program;
use crate::score;
use crate::suppress::{self, Draft, DraftError, Suppressions};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Processes remembered per host; beyond it the one told of first is forgotten.
const MAX_PROCESSES: usize = 16_384;
/// Known destinations remembered per host; further ones are counted and taken for new.
const MAX_KNOWN_DESTINATIONS: usize = 65_536;
/// Time that may go back without being taken for a new start, in nanoseconds: two hours.
const MAX_STEP_BACK: i64 = 7_200 * NANOS_PER_SEC;
/// Before the first event.
const NEVER: Timestamp = Timestamp::from_nanos(i64::MIN);
/// Share of a host's budget that goes to passive DNS, as a divisor.
const NAMES_SHARE: usize = 8;
/// … to what is told of processes: their texts are as long as their source says.
const PROCESSES_SHARE: usize = 16;
/// … to known destinations.
const KNOWN_SHARE: usize = 32;
/// What a known destination takes beside its name: its place in a map that doubles.
const BYTES_PER_KNOWN: usize = 64;
/// What a process takes beside what is known of it.
const BYTES_PER_PROCESS: usize = 64;
/// … to findings.
const LEDGER_SHARE: usize = 16;
/// Hosts followed at a time, however large the budget.
pub const MAX_HOSTS: usize = 65_536;
/// Budget of a host, at least: some fifty series and their sightings. As many hosts are followed as have room for it.
const MIN_HOST_MEMORY: usize = 48 * 1024;

/// What became of a host's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineCounters {
    /// Observations taken.
    pub events: u64,
    /// Connections opened or told of as a whole.
    pub connections: u64,
    /// Exchanges inside open connections.
    pub exchanges: u64,
    /// DNS queries.
    pub queries: u64,
    /// Times in which the source was blind.
    pub gaps: u64,
    /// Hosts forgotten for others.
    pub hosts_evicted: u64,
    /// Addresses forgotten by passive DNS.
    pub names_evicted: u64,
    /// Processes forgotten.
    pub processes_evicted: u64,
    /// Known destinations for which there was no room.
    pub known_refused: u64,
    /// Series, and what was dropped for want of memory.
    pub beacon: BeaconCounters,
    /// Findings dropped because the ledger was full.
    pub findings_evicted: u64,
}

impl EngineCounters {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.connections += other.connections;
        self.exchanges += other.exchanges;
        self.queries += other.queries;
        self.gaps += other.gaps;
        self.hosts_evicted += other.hosts_evicted;
        self.names_evicted += other.names_evicted;
        self.processes_evicted += other.processes_evicted;
        self.known_refused += other.known_refused;
        self.beacon.series += other.beacon.series;
        self.beacon.series_evicted += other.beacon.series_evicted;
        self.beacon.sightings_evicted += other.beacon.sightings_evicted;
        self.findings_evicted += other.findings_evicted;
    }
}

/// Detection state of one host.
#[derive(Debug)]
pub struct Engine {
    scope: Scope,
    names: PassiveNames,
    processes: Processes,
    beacons: BeaconDetector,
    ledger: Ledger,
    suppressions: Suppressions,
    counters: EngineCounters,
}

/// What scoring needs to know of the host.
#[derive(Debug)]
struct Scope {
    host: String,
    facts: HostFacts,
    now: Timestamp,
    known: HashMap<Box<str>, f64, foldhash::fast::RandomState>,
    known_bytes: usize,
    known_capacity: usize,
}

impl Scope {
    /// Takes in a destination; returns whether there was room for it.
    fn learn(&mut self, name: &str, age_days: f64) -> bool {
        if let Some(known) = self.known.get_mut(name) {
            *known = age_days;
            return true;
        }
        let bytes = self.known_bytes + name.len() + BYTES_PER_KNOWN;
        let room = self.known.len() < MAX_KNOWN_DESTINATIONS && bytes <= self.known_capacity;
        if room {
            self.known_bytes = bytes;
            self.known.insert(name.into(), age_days);
        }
        room
    }

    /// Days for which a registrable domain or address was known before the observation began; `None` if the source has
    /// no history.
    fn known_days(&self, name: &str, ip: Option<IpAddr>) -> Option<f64> {
        if !self.facts.history {
            return None;
        }
        let known = if name.is_empty() {
            ip.and_then(|ip| self.known.get(ip.to_string().as_str()))
        } else {
            // A source may cut names shorter than the public suffix list does: what it knows above counts below.
            let parents =
                std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent));
            parents.take_while(|name| name.contains('.')).find_map(|name| self.known.get(name))
        };
        Some(known.copied().unwrap_or(0.0))
    }
}

/// The programs of the processes told of. When there are too many, the oldest that made no call since it was last in line
/// is forgotten: a long-lived implant stays known behind any number of short-lived processes.
#[derive(Debug, Default)]
struct Processes {
    programs: HashMap<ProcessKey, (Program, Cell<bool>), foldhash::fast::RandomState>,
    order: VecDeque<ProcessKey>,
    bytes: usize,
    capacity: usize,
    evicted: u64,
}

impl Processes {
    fn learn(&mut self, key: ProcessKey, program: Program) {
        self.bytes += weight(&program);
        match self.programs.insert(key, (program, Cell::new(false))) {
            Some((before, _)) => self.bytes -= weight(&before),
            None => self.order.push_back(key),
        }
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.order.len() > MAX_PROCESSES || self.bytes > self.capacity {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.programs.get(&oldest).is_some_and(|(_, called)| called.replace(false)) {
                self.order.push_back(oldest);
            } else if let Some((program, _)) = self.programs.remove(&oldest) {
                self.bytes -= weight(&program);
                self.evicted += 1;
            }
        }
    }

    fn get(&self, key: Option<ProcessKey>) -> Option<&Program> {
        let (program, called) = self.programs.get(&key?)?;
        called.set(true);
        Some(program)
    }
}

/// What a process is taken to weigh.
fn weight(program: &Program) -> usize {
    texts::weight(&program.info) + BYTES_PER_PROCESS
}

/// What of a host's budget goes to its series.
const fn beacons_share(memory_bytes: usize) -> usize {
    memory_bytes
        - memory_bytes / NAMES_SHARE
        - memory_bytes / PROCESSES_SHARE
        - memory_bytes / KNOWN_SHARE
        - memory_bytes / LEDGER_SHARE
}

impl Engine {
    /// An engine for one host within `memory_bytes`.
    #[must_use]
    pub fn new(host: String, memory_bytes: usize, seed: (u64, u64)) -> Self {
        let scope = Scope {
            host,
            facts: HostFacts::default(),
            now: NEVER,
            known: HashMap::default(),
            known_bytes: 0,
            known_capacity: memory_bytes / KNOWN_SHARE,
        };
        Self {
            scope,
            names: PassiveNames::new(memory_bytes / NAMES_SHARE),
            processes: Processes { capacity: memory_bytes / PROCESSES_SHARE, ..Processes::default() },
            beacons: BeaconDetector::new(beacons_share(memory_bytes), seed),
            ledger: Ledger::new(memory_bytes / LEDGER_SHARE),
            suppressions: Suppressions::default(),
            counters: EngineCounters::default(),
        }
    }

    fn set_memory(&mut self, memory_bytes: usize) {
        self.names.set_memory(memory_bytes / NAMES_SHARE);
        self.processes.capacity = memory_bytes / PROCESSES_SHARE;
        self.processes.make_room();
        self.ledger.set_memory(memory_bytes / LEDGER_SHARE);
        // What is known stays: what is not could not be told from what is new.
        self.scope.known_capacity = memory_bytes / KNOWN_SHARE;
        self.beacons.set_memory(beacons_share(memory_bytes), self.scope.now);
    }

    /// What became of the events.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        EngineCounters {
            names_evicted: self.names.evicted(),
            processes_evicted: self.processes.evicted,
            beacon: self.beacons.counters(),
            findings_evicted: self.ledger.evicted(),
            ..self.counters
        }
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.names.memory_bytes()
            + self.processes.bytes
            + self.scope.known_bytes
            + self.beacons.memory_bytes()
            + self.ledger.memory_bytes()
            + self.suppressions.memory_bytes()
    }

    /// Takes one observation of this host; hands alerts that are due to `sink`, as the live sensor emits them.
    pub fn observe(&mut self, observation: &Observation<'_>, sink: &mut impl FnMut(Alert)) {
        if let Event::Gap(gap) = observation.event {
            self.gap(gap);
        }
        // A big step back (two captures in one file, a clock that was set) is followed: a time from the future would stop
        // everything that waits.
        let back = self.scope.now.since(observation.time) > MAX_STEP_BACK;
        let before = self.scope.now;
        self.scope.now = if back { observation.time } else { self.scope.now.max(observation.time) };
        if !self.suppressions.is_empty() && self.suppressions.any_expired(before, self.scope.now) {
            self.bring_back(sink);
        }
        self.counters.events += 1;
        match observation.event {
            Event::Host(facts) => self.scope.facts = facts,
            Event::Process(key, info) => self.processes.learn(key, Program::of(info.clone())),
            Event::KnownDestination { name, age_days } => {
                self.counters.known_refused += u64::from(!self.scope.learn(name, age_days));
            }
            Event::Connection(event) => self.connection(event, sink),
            Event::Gap(_) => {}
            Event::Dns(query) => {
                self.counters.queries += 1;
                for &ip in query.addresses {
                    self.names.learn(ip, query.query, query.start);
                }
                let seen = Seen {
                    time: self.scope.now,
                    process: query.process,
                    program: query.program.or_else(|| self.processes.get(query.process)),
                    name: query.query,
                    fqdn: query.query,
                    registrable: registrable(query.query),
                    what: What::Query(&query),
                };
                let Self { scope, beacons, ledger, suppressions, .. } = self;
                beacons.observe(&seen, |beacons, evaluated| {
                    evaluate(scope, ledger, suppressions, beacons, evaluated, &seen, sink)
                });
            }
        }
    }

    /// Takes in a time in which the source was blind. Where the clock was set, everything seen so far is moved to the new
    /// clock, as if no time had gone by: a step must not make all that is known look old, or hide what comes until the clock
    /// has caught up.
    fn gap(&mut self, gap: Gap) {
        self.counters.gaps += 1;
        if gap.cause == GapCause::ClockSet {
            let step = gap.until.since(gap.since);
            let shift = |time: &mut Timestamp| *time = time.plus_nanos(step);
            if self.scope.now != NEVER {
                shift(&mut self.scope.now);
            }
            shift(&mut self.scope.facts.observed_since);
            self.names.shift(step);
            self.beacons.shift(step);
            self.ledger.shift(step);
        }
        self.beacons.note_gap(gap);
    }

    fn connection(&mut self, event: ConnectionEvent<'_>, sink: &mut impl FnMut(Alert)) {
        match event.phase {
            Phase::Opened | Phase::Whole(_) => self.counters.connections += 1,
            Phase::Exchange { .. } => self.counters.exchanges += 1,
            Phase::Joined | Phase::Closed(_) => {}
        }
        let Self { scope, names, processes, beacons, ledger, suppressions, .. } = self;
        let fqdn = match event.names.fqdn {
            "" => names.name(event.tuple.remote.ip(), event.start),
            told => told,
        };
        let event = ConnectionEvent { names: Names { fqdn, ..event.names }, ..event };
        let name = name_of(&event.names);
        let seen = Seen {
            time: scope.now,
            process: event.process,
            program: event.program.or_else(|| processes.get(event.process)),
            name,
            fqdn,
            registrable: registrable(name),
            what: What::Connection(&event),
        };
        beacons.observe(&seen, |beacons, evaluated| {
            evaluate(scope, ledger, suppressions, beacons, evaluated, &seen, sink)
        });
    }

    /// Takes in a known-good entry: what falls under it is not emitted from now on. Its number.
    ///
    /// # Errors
    /// If there is no room for one more, or it does not say what it has to.
    pub fn allow(&mut self, draft: Draft) -> Result<u64, DraftError> {
        self.suppressions.allow(draft)
    }

    /// Lifts an entry; hands to `sink` what it held back, and nothing else holds back. The entry, if there was one.
    pub fn unallow(&mut self, id: u64, sink: &mut impl FnMut(Alert)) -> Option<suppress::Entry> {
        let entry = self.suppressions.unallow(id)?;
        self.bring_back(sink);
        Some(entry)
    }

    /// All known-good entries, oldest first, also those that have expired.
    #[must_use]
    pub fn allowed(&self) -> &[suppress::Entry] {
        self.suppressions.entries()
    }

    /// Emits what is an alert, was held back so far, and is not any more.
    fn bring_back(&mut self, sink: &mut impl FnMut(Alert)) {
        let Self { scope, beacons, ledger, suppressions, .. } = self;
        let held: Vec<_> = beacons
            .iter()
            .filter(|(_, _, label)| label.peak.is_some_and(|peak| peak.points > score::ALERT_POINTS))
            .map(|(key, _, _)| key)
            .collect();
        for key in held {
            let Some((series, label)) = beacons.find(key) else { continue };
            let id = ledger::finding_id(&scope.host, label);
            let Some(peak) = label.peak.filter(|_| ledger.series_of(&id).is_none()) else { continue };
            let as_listed = explain::alert(&scope.host, series, label, &ledger.standing_of(&id, key));
            if suppressions.of(&as_listed, scope.now).is_some() {
                continue;
            }
            let evaluation = Evaluation {
                series: key,
                points: peak.points,
                severity: as_listed.severity,
                callbacks: series.check_ins(),
                now: scope.now,
                orphaned: false,
            };
            let Some(standing) = ledger.note(id, evaluation) else { continue };
            let alert = explain::alert(&scope.host, series, label, &standing);
            ledger.keep(id, &alert);
            beacons.fix_id(key, id);
            if standing.emit {
                sink(alert);
            }
        }
    }

    /// The final state of each finding that is an alert.
    pub fn alerts(&self) -> impl Iterator<Item = Alert> {
        self.ledger.iter().filter_map(|(id, entry)| self.alert(id, entry))
    }

    fn alert(&self, id: &FindingId, entry: &Entry) -> Option<Alert> {
        let host = &self.scope.host;
        let standing = entry.standing(Change::Final, None, false);
        // The series may have left since, or begun anew; then the alert stands as it was.
        let still = |(_, label): &(&Series, &Label)| {
            ledger::finding_id(host, label) == *id
                && label.peak.is_some_and(|peak| peak.points >= entry.points)
        };
        match self.beacons.find(entry.series).filter(still) {
            Some((series, label)) => Some(self.marked(explain::alert(host, series, label, &standing))),
            None => entry.snapshot(&standing).map(|alert| self.marked(alert)),
        }
    }

    /// An alert with the entry that holds it back, if one does.
    fn marked(&self, mut alert: Alert) -> Alert {
        if !self.suppressions.is_empty() {
            alert.suppressed_by = self.suppressions.of(&alert, self.scope.now);
        }
        alert
    }

    /// A row for each series that has at least three intervals, and for each alert whose series is gone. A group that calls
    /// one destination only is that destination's series once more, and left out.
    pub fn series(&self) -> Vec<Alert> {
        let host = &self.scope.host;
        let mut rows: Vec<_> = self
            .beacons
            .iter()
            .filter(|(_, series, label)| is_listed(series, label))
            .map(|(key, series, label)| {
                let standing = self.ledger.standing_of(&ledger::finding_id(host, label), key);
                self.marked(explain::alert(host, series, label, &standing))
            })
            .collect();
        let shown: BTreeSet<_> =
            rows.iter().filter(|row| row.severity >= Severity::Medium).map(|row| row.id).collect();
        let gone = self.ledger.iter().filter(|(id, _)| !shown.contains(id));
        rows.extend(gone.filter_map(|(id, entry)| self.alert(id, entry)));
        rows
    }
}

/// Whether a series was evaluated at least once, and is not another's once more.
fn is_listed(series: &Series, label: &Label) -> bool {
    series.interval_count() >= 3 && (label.level != Level::Group || label.is_group())
}

/// Scores a regular series at a checkpoint, and emits what is new of its finding.
fn evaluate(
    scope: &Scope,
    ledger: &mut Ledger,
    suppressions: &mut Suppressions,
    beacons: &mut BeaconDetector,
    Evaluated { slot, timing }: Evaluated,
    seen: &Seen<'_>,
    sink: &mut impl FnMut(Alert),
) {
    let Some((series, label)) = beacons.get(slot) else { return };
    let domain = if label.name.is_empty() { "" } else { registrable(&label.name) };
    let known_days = scope.known_days(domain, label.ip);
    let facts = context::facts(series, label, seen.program, domain, known_days, &scope.facts, scope.now);
    let points = score::points(timing.bans, facts);
    // Of equal scores the latest stands: it has seen the most callbacks.
    if label.peak.is_none_or(|peak| points >= peak.points) {
        beacons.note_peak(slot, Peak { time: scope.now, timing, facts, points });
    }
    if points <= score::ALERT_POINTS {
        return;
    }
    let Some((series, label)) = beacons.get(slot) else { return };
    let id = ledger::finding_id(&scope.host, label);
    let severity = score::severity(timing.bans, points, context::ceiling(label));
    // What is held back is no emission: once it is not any more, it is told as if it were found then.
    if !suppressions.is_empty() {
        let standing = ledger.standing_of(&id, beacons.key_of(slot));
        let held = suppressions.of(&explain::alert(&scope.host, series, label, &standing), scope.now);
        if let Some(held) = held {
            suppressions.count(held.entry, scope.now);
            return;
        }
    }
    let evaluation = Evaluation {
        series: beacons.key_of(slot),
        points,
        severity,
        callbacks: series.check_ins(),
        now: scope.now,
        orphaned: ledger.series_of(&id).is_some_and(|series| beacons.find(series).is_none()),
    };
    beacons.note_id(slot, id);
    let Some(standing) = ledger.note(id, evaluation) else { return };
    let Some((series, label)) = beacons.get(slot) else { return };
    let alert = explain::alert(&scope.host, series, label, &standing);
    ledger.keep(id, &alert);
    if standing.emit {
        sink(alert);
    }
}

/// The name that counts (scorer specification 2.1). The HTTP Host is only a claim: it never names a destination.
fn name_of<'a>(names: &Names<'a>) -> &'a str {
    [names.sni, names.connect_host, names.fqdn].into_iter().find(|name| !name.is_empty()).unwrap_or("")
}

/// The engines of all hosts in an input, under one memory setting that they share equally.
#[derive(Debug)]
pub struct Engines {
    engines: Vec<(HostKey, Engine)>,
    index: BTreeMap<HostKey, usize>,
    /// Place of the host of the latest event: the next one is mostly its, too.
    latest: usize,
    memory_bytes: usize,
    seed: (u64, u64),
    hosts_evicted: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostKey {
    Address(IpAddr),
    Name(Box<str>),
}

impl HostKey {
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

impl Engines {
    /// No host yet. `seed` as in [`BeaconDetector::new`].
    #[must_use]
    pub const fn new(config: &Config, seed: (u64, u64)) -> Self {
        Self::with_memory(config.limits.memory.detection_bytes(), seed)
    }

    /// No host yet, within a part of the memory.
    #[must_use]
    pub const fn with_memory(memory_bytes: usize, seed: (u64, u64)) -> Self {
        Self { engines: Vec::new(), index: BTreeMap::new(), latest: 0, memory_bytes, seed, hosts_evicted: 0 }
    }

    /// Takes one observation.
    pub fn observe(&mut self, observation: &Observation<'_>, sink: &mut impl FnMut(Alert)) {
        let known = self.engines.get(self.latest).is_some_and(|(key, _)| key.is(observation.host));
        if !known {
            self.latest = self.place_of(observation.host);
        }
        if let Some((_, engine)) = self.engines.get_mut(self.latest) {
            engine.observe(observation, sink);
        }
    }

    /// The place of a host's engine, made if there is none.
    fn place_of(&mut self, host: HostId<'_>) -> usize {
        let key = HostKey::from(host);
        if let Some(&place) = self.index.get(&key) {
            return place;
        }
        let count = self.engines.len();
        let share = share(self.memory_bytes, count + 1);
        let engine = Engine::new(host.to_string(), share, self.seed);
        if count >= max_hosts(self.memory_bytes) {
            let place = self.victim();
            self.hosts_evicted += 1;
            if let Some(old) = self.engines.get_mut(place) {
                self.index.remove(&old.0);
                *old = (key.clone(), engine);
            }
            self.index.insert(key, place);
            return place;
        }
        // Shares shrink as hosts appear, at each doubling, so that the tables are not cut for every new host.
        if (count + 1).is_power_of_two() {
            for (_, engine) in &mut self.engines {
                engine.set_memory(share);
            }
        }
        self.engines.push((key.clone(), engine));
        self.index.insert(key, count);
        count
    }

    /// The host to forget for a new one: without a finding before one with, then the one silent for longest.
    fn victim(&self) -> usize {
        let worth =
            |(_, (_, engine)): &(usize, &(HostKey, Engine))| (!engine.ledger.is_empty(), engine.scope.now);
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
        for (_, engine) in &self.engines {
            sum.add(&engine.counters());
        }
        sum
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.engines.iter().map(|(_, engine)| engine.memory_bytes()).sum()
    }

    /// The final state of each finding, highest score first; ties by host, program, destination, then id.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts: Vec<_> = self.engines.iter().flat_map(|(_, engine)| engine.alerts()).collect();
        rank(&mut alerts);
        alerts
    }

    /// How many series were evaluated at least once and are followed still.
    #[must_use]
    pub fn scored(&self) -> u64 {
        let scored = |engine: &Engine| {
            engine.beacons.iter().filter(|(_, series, label)| is_listed(series, label)).count() as u64
        };
        self.engines.iter().map(|(_, engine)| scored(engine)).sum()
    }

    /// A row for each series that was evaluated at least once, highest score first.
    #[must_use]
    pub fn series(&self) -> Vec<Alert> {
        let mut rows: Vec<_> = self.engines.iter().flat_map(|(_, engine)| engine.series()).collect();
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

/// Sorts alerts: highest score first; ties by host, program, destination, then level and id.
pub fn rank(alerts: &mut [Alert]) {
    fn image(alert: &Alert) -> &str {
        alert.process.as_ref().map_or("", |process| &process.info.image)
    }
    alerts.sort_by(|a, b| {
        (b.points.total_cmp(&a.points))
            .then_with(|| a.host.cmp(&b.host))
            .then_with(|| image(a).cmp(image(b)))
            .then_with(|| a.destination.name.cmp(&b.destination.name))
            .then_with(|| a.evidence.level.cmp(&b.evidence.level))
            .then_with(|| a.id.cmp(&b.id))
    });
}

#[cfg(test)]
mod tests;
