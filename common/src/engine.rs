//! Sole owner of detection state: observations in, alerts out. One [`Engine`] per host, a set of them ([`Engines`]) for
//! an input that holds several.
//!
//! The engine resolves what an event leaves open (the name from passive DNS, the program from the process), asks the
//! detectors, scores what they find, and keeps the ledger of findings. It has no clock: time comes with the events.

mod backlog;
mod hosts;
mod judge;
mod ledger;
mod processes;
mod scope;
pub(crate) mod state;
mod tally;

pub use self::backlog::Backlog;
pub use self::hosts::{Directory, Engines, MAX_HOSTS};
pub use self::ledger::Standing;
pub use self::state::{STATE_VERSION, StateError};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::judge::Judge;
use self::processes::Processes;
use self::scope::Scope;
use self::tally::Tally;
use crate::alert::{Alert, Level, Severity};
use crate::detect::beacon::label::Label;
use crate::detect::beacon::series::Series;
use crate::detect::beacon::{BeaconCounters, BeaconDetector};
use crate::detect::indicator::{self, IndicatorDetector};
use crate::detect::{self, Detector, Seen, What};
use crate::domain::registrable;
use crate::event::{ConnectionEvent, Event, Names, Observation, Phase};
use crate::knowledge::Knowledge;
use crate::learn::Learned;
use crate::live::{Gap, GapCause};
use crate::names::PassiveNames;
use crate::profile::Excused;
use crate::program::Program;
use crate::summary::{Rhythm, Summaries};
use crate::suppress::{self, Draft, DraftError};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Time that may go back without being taken for a new start, in nanoseconds: two hours.
const MAX_STEP_BACK: i64 = 7_200 * NANOS_PER_SEC;
/// Before the first event.
const NEVER: Timestamp = Timestamp::from_nanos(i64::MIN);
/// How often all findings are looked at for what time alone brings, in nanoseconds.
const REVIEW_EVERY: i64 = 60 * NANOS_PER_SEC;
/// Share of a host's budget that goes to passive DNS, as a divisor.
const NAMES_SHARE: usize = 8;
/// … to what is told of processes: their texts are as long as their source says.
const PROCESSES_SHARE: usize = 16;
/// … to known destinations.
const KNOWN_SHARE: usize = 32;
/// … to what is learnt of programs and destinations: some 32,000 of them at the default limit.
const LEARNED_SHARE: usize = 64;
/// … to findings.
const LEDGER_SHARE: usize = 16;
/// … to the detectors that count.
const DETECTORS_SHARE: usize = 16;
/// … to summaries, where they are asked for.
const TALLY_SHARE: usize = 32;
/// Part of theirs that goes to destinations seen of late, for feeds that come later, as a divisor.
const INDICATORS_SHARE: usize = 4;

/// What of a host's budget goes to the detectors that count, and what to indicators.
const fn detectors_share(memory_bytes: usize) -> (usize, usize) {
    let all = memory_bytes / DETECTORS_SHARE;
    (all - all / INDICATORS_SHARE, all / INDICATORS_SHARE)
}

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
    /// Programs and destinations that were learnt, and forgotten for want of room.
    pub learned_evicted: u64,
    /// Series, and what was dropped for want of memory.
    pub beacon: BeaconCounters,
    /// Findings dropped because the ledger was full.
    pub findings_evicted: u64,
    /// What the detectors that count forgot.
    pub counts_evicted: u64,
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
        self.learned_evicted += other.learned_evicted;
        self.beacon.series += other.beacon.series;
        self.beacon.series_evicted += other.beacon.series_evicted;
        self.beacon.sightings_evicted += other.beacon.sightings_evicted;
        self.findings_evicted += other.findings_evicted;
        self.counts_evicted += other.counts_evicted;
    }
}

/// Detection state of one host.
#[derive(Debug)]
pub struct Engine {
    judge: Judge,
    names: PassiveNames,
    processes: Processes,
    beacons: BeaconDetector,
    detectors: Vec<Box<dyn Detector>>,
    indicators: IndicatorDetector,
    counters: EngineCounters,
    /// When all findings were looked at last.
    reviewed: Timestamp,
    /// What is summed up for a fleet, if anyone asked for it.
    tally: Option<Tally>,
}

/// What of a host's budget goes to its series.
const fn beacons_share(memory_bytes: usize) -> usize {
    memory_bytes
        - memory_bytes / NAMES_SHARE
        - memory_bytes / PROCESSES_SHARE
        - memory_bytes / KNOWN_SHARE
        - memory_bytes / LEARNED_SHARE
        - memory_bytes / LEDGER_SHARE
        - memory_bytes / DETECTORS_SHARE
}

impl Engine {
    /// An engine for one host within `memory_bytes`.
    #[must_use]
    pub fn new(host: String, memory_bytes: usize, seed: (u64, u64)) -> Self {
        let learned = Learned::new(memory_bytes / LEARNED_SHARE, seed);
        let scope = Scope::new(host, memory_bytes / KNOWN_SHARE, learned);
        let mut detectors = detect::all(detectors_share(memory_bytes).0);
        detectors.iter_mut().for_each(|detector| detector.set_seed(seed));
        Self {
            judge: Judge::new(scope, memory_bytes / LEDGER_SHARE),
            names: PassiveNames::new(memory_bytes / NAMES_SHARE),
            processes: Processes { capacity: memory_bytes / PROCESSES_SHARE, ..Processes::default() },
            beacons: BeaconDetector::new(beacons_share(memory_bytes), seed),
            detectors,
            indicators: IndicatorDetector::new(detectors_share(memory_bytes).1),
            counters: EngineCounters::default(),
            reviewed: NEVER,
            tally: None,
        }
    }

    /// Puts what people told in the place of what they told before. Feeds that are new are held against all that is
    /// remembered; hands to `sink` what they bring.
    pub fn set_knowledge(&mut self, knowledge: &Arc<Knowledge>, sink: &mut impl FnMut(Alert)) {
        let before = std::mem::replace(&mut self.judge.knowledge, Arc::clone(knowledge));
        self.judge.excused.retain(|name, _| knowledge.profiles.get(name).is_some());
        let Knowledge { detectors, feeds, hints, .. } = &**knowledge;
        let same_feeds = Arc::ptr_eq(&before.feeds, feeds) || feeds.is_empty();
        if !same_feeds && detectors.indicators {
            self.judge.feeds_since = self.judge.scope.now;
            for finding in indicator::of_the_past(feeds, &self.beacons, &self.indicators, &self.names) {
                self.judge.past(finding, sink);
            }
            self.judge.listed(&mut self.beacons, sink);
        }
        let no_hints = before.hints.is_empty() && hints.is_empty();
        if !no_hints && !Arc::ptr_eq(&before.hints, hints) {
            // What they raise is told now, and so is what earlier ones kept down.
            self.judge.bring_back(&mut self.beacons, sink);
        }
    }

    /// Hands to `sink` what was held back, and nothing holds back any more: after a change of profiles.
    pub fn reconsider(&mut self, sink: &mut impl FnMut(Alert)) {
        self.judge.bring_back(&mut self.beacons, sink);
    }

    /// What each profile held back, by the profile's name.
    pub fn excused(&self) -> impl Iterator<Item = (&str, Excused)> {
        self.judge.excused.iter().map(|(name, excused)| (name.as_str(), *excused))
    }

    fn set_memory(&mut self, memory_bytes: usize) {
        self.names.set_memory(memory_bytes / NAMES_SHARE);
        self.processes.capacity = memory_bytes / PROCESSES_SHARE;
        self.processes.make_room();
        self.judge.ledger.set_memory(memory_bytes / LEDGER_SHARE);
        // What is known stays: what is not could not be told from what is new.
        self.judge.scope.known_capacity = memory_bytes / KNOWN_SHARE;
        self.judge.scope.learned.set_memory(memory_bytes / LEARNED_SHARE);
        self.beacons.set_memory(beacons_share(memory_bytes), self.judge.scope.now);
        let (counting, indicators) = detectors_share(memory_bytes);
        self.indicators.set_memory(indicators);
        let share = counting / self.detectors.len().max(1);
        self.detectors.iter_mut().for_each(|detector| detector.set_memory(share));
    }

    /// Has it sum up what the host does, in a share of the `memory_bytes` that it was made with; once
    /// more changes nothing.
    pub fn summarise(&mut self, memory_bytes: usize) {
        if self.tally.is_some() {
            return;
        }
        let share = memory_bytes / TALLY_SHARE;
        self.set_memory(memory_bytes - share);
        self.tally = Some(Tally::new(share));
    }

    /// Ends an interval at `until`: what was seen since the last one ended, as at most `most` rows, all that were scored, and a
    /// counted rest. `None` where it was not told to [sum up](Self::summarise).
    pub fn summaries(&mut self, until: Timestamp, most: usize) -> Option<Summaries> {
        let mut tally = self.tally.take()?;
        let mut rhythms: BTreeMap<u128, Rhythm> = BTreeMap::new();
        let scored = self.beacons.iter().filter(|(_, series, label)| {
            label.peak.is_some() && !label.is_group() && label.level != Level::Dns && is_listed(series, label)
        });
        for (key, series, label) in scored {
            let row = self.judge.row(key, series, label);
            let rhythm = Rhythm {
                finding: row.id,
                period_secs: row.evidence.period_secs,
                interval_median_secs: row.evidence.interval_median_secs,
                jitter_mad_ratio: row.evidence.jitter_mad_ratio,
                bans: row.evidence.bans,
                callbacks: row.evidence.callbacks,
                score: row.score,
                severity: row.severity,
            };
            let best = rhythms.entry(tally::key_of(label)).or_insert(rhythm);
            if rhythm.score > best.score {
                *best = rhythm;
            }
        }
        let summaries = tally.take(until, most, &rhythms);
        self.tally = Some(tally);
        Some(summaries)
    }

    /// What became of the events.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        EngineCounters {
            names_evicted: self.names.evicted(),
            processes_evicted: self.processes.evicted,
            learned_evicted: self.judge.scope.learned.evicted(),
            beacon: self.beacons.counters(),
            findings_evicted: self.judge.ledger.evicted(),
            counts_evicted: self.detectors.iter().map(|detector| detector.evicted()).sum::<u64>()
                + self.indicators.evicted(),
            ..self.counters
        }
    }

    /// The most series that there is room for.
    #[must_use]
    pub fn max_series(&self) -> usize {
        self.beacons.max_series()
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.names.memory_bytes()
            + self.processes.bytes
            + self.judge.memory_bytes()
            + self.beacons.memory_bytes()
            + self.indicators.memory_bytes()
            + self.tally.as_ref().map_or(0, Tally::memory_bytes)
            + self.detectors.iter().map(|detector| detector.memory_bytes()).sum::<usize>()
    }

    /// Takes one observation of this host; hands alerts that are due to `sink`, as the live sensor emits them.
    pub fn observe(&mut self, observation: &Observation<'_>, sink: &mut impl FnMut(Alert)) {
        let before = self.judge.scope.now;
        if let Event::Gap(gap) = observation.event {
            self.gap(gap);
        }
        // A big step back (two captures in one file, a clock that was set) is followed: a time from the future would stop
        // everything that waits.
        let back = self.judge.scope.now.since(observation.time) > MAX_STEP_BACK;
        self.judge.scope.now =
            if back { observation.time } else { self.judge.scope.now.max(observation.time) };
        if !self.judge.suppressions.is_empty() {
            // Looked for once a second: there may be thousands of entries.
            let whole = |time: Timestamp| time.plus_nanos(-time.nanos().rem_euclid(NANOS_PER_SEC));
            let (before, now) = (whole(before), whole(self.judge.scope.now));
            if before != now && self.judge.suppressions.any_expired(before, now) {
                self.judge.bring_back(&mut self.beacons, sink);
            }
        }
        let ended = |now| now >= self.judge.knowledge.hints.expires;
        if !self.judge.knowledge.hints.is_empty() && !ended(before) && ended(self.judge.scope.now) {
            // What they kept down is told, now that they say nothing any more.
            self.judge.bring_back(&mut self.beacons, sink);
        }
        self.counters.events += 1;
        match observation.event {
            Event::Host(facts) => self.judge.scope.facts = facts,
            Event::Process(key, info) => self.processes.learn(key, Program::of(info.clone())),
            Event::KnownDestination { name, age_days } => {
                self.counters.known_refused += u64::from(!self.judge.scope.learn(name, age_days));
            }
            Event::Connection(event) => self.connection(event, sink),
            Event::Resolvers(resolvers) => {
                self.detectors.iter_mut().for_each(|detector| detector.resolvers(resolvers));
            }
            Event::Gap(_) => {}
            Event::Dns(query) => {
                self.counters.queries += 1;
                for &ip in query.addresses {
                    self.names.learn(ip, query.query, query.start);
                }
                let seen = Seen {
                    time: self.judge.scope.now,
                    process: query.process,
                    program: query.program.or_else(|| self.processes.get(query.process)),
                    name: query.query,
                    fqdn: query.query,
                    registrable: registrable(query.query),
                    what: What::Query(&query),
                };
                let Self { judge, beacons, detectors, indicators, .. } = self;
                detect(judge, beacons, detectors, indicators, &seen, sink);
            }
        }
    }

    /// Lets time pass without an event: hands to `sink` the findings that are closed because nothing more came of them, and
    /// those that go on and are told of once a day. A replay has no need of it: it ends with the state of every finding.
    pub fn tick(&mut self, now: Timestamp, sink: &mut impl FnMut(Alert)) {
        if (0..REVIEW_EVERY).contains(&now.since(self.reviewed)) || self.judge.ledger.is_empty() {
            return;
        }
        self.reviewed = now;
        self.judge.review(&self.beacons, now, sink);
    }

    /// Takes in a time in which the source was blind. Where the clock was set, everything seen so far is moved to the new
    /// clock, as if no time had gone by: a step must not make all that is known look old, or hide what comes until the clock
    /// has caught up.
    fn gap(&mut self, gap: Gap) {
        self.counters.gaps += 1;
        if gap.cause == GapCause::ClockSet {
            let step = gap.until.since(gap.since);
            let shift = |time: &mut Timestamp| *time = time.plus_nanos(step);
            let scope = &mut self.judge.scope;
            if scope.now != NEVER {
                shift(&mut scope.now);
            }
            shift(&mut scope.facts.observed_since);
            scope.learned.shift(step);
            self.names.shift(step);
            self.beacons.shift(step);
            self.judge.ledger.shift(step);
            self.detectors.iter_mut().for_each(|detector| detector.shift(step));
            self.indicators.shift(step);
        }
        self.beacons.note_gap(gap);
    }

    fn connection(&mut self, event: ConnectionEvent<'_>, sink: &mut impl FnMut(Alert)) {
        match event.phase {
            // Only a feed has a use for it.
            Phase::Certificate(_) if self.judge.knowledge.feeds.counts().certificates == 0 => return,
            Phase::Opened | Phase::Whole(_) => self.counters.connections += 1,
            Phase::Exchange { .. } => self.counters.exchanges += 1,
            Phase::Joined | Phase::Certificate(_) | Phase::Closed(_) => {}
        }
        let Self { judge, names, processes, beacons, detectors, indicators, tally, .. } = self;
        let fqdn = match event.names.fqdn {
            "" => names.name(event.tuple.remote.ip(), event.start),
            told => told,
        };
        let event = ConnectionEvent { names: Names { fqdn, ..event.names }, ..event };
        let name = name_of(&event.names);
        let seen = Seen {
            time: judge.scope.now,
            process: event.process,
            program: event.program.or_else(|| processes.get(event.process)),
            name,
            fqdn,
            registrable: registrable(name),
            what: What::Connection(&event),
        };
        if let Some(tally) = tally {
            tally.see(&seen, &event);
        }
        detect(judge, beacons, detectors, indicators, &seen, sink);
    }

    /// Takes in a known-good entry: what falls under it is not emitted from now on. Its number.
    ///
    /// # Errors
    /// If there is no room for one more, or it does not say what it has to.
    pub fn allow(&mut self, draft: Draft) -> Result<u64, DraftError> {
        self.judge.suppressions.allow(draft)
    }

    /// Lifts an entry; hands to `sink` what it held back, and nothing else holds back. The entry, if there was one.
    pub fn unallow(&mut self, id: u64, sink: &mut impl FnMut(Alert)) -> Option<suppress::Entry> {
        let entry = self.judge.suppressions.unallow(id)?;
        self.judge.bring_back(&mut self.beacons, sink);
        Some(entry)
    }

    /// All known-good entries, oldest first, also those that have expired.
    #[must_use]
    pub fn allowed(&self) -> &[suppress::Entry] {
        self.judge.suppressions.entries()
    }

    /// The final state of each finding that is an alert.
    pub fn alerts(&self) -> impl Iterator<Item = Alert> {
        self.judge.alerts(&self.beacons)
    }

    /// A row for each series that has at least three intervals, and for each alert whose series is gone. A group that calls
    /// one destination only is that destination's series once more, and left out.
    pub fn series(&self) -> Vec<Alert> {
        let listed = self.beacons.iter().filter(|(_, series, label)| is_listed(series, label));
        let mut rows: Vec<_> =
            listed.map(|(key, series, label)| self.judge.row(key, series, label)).collect();
        let shown: BTreeSet<_> =
            rows.iter().filter(|row| row.severity >= Severity::Medium).map(|row| row.id).collect();
        rows.extend(self.judge.alerts(&self.beacons).filter(|alert| !shown.contains(&alert.id)));
        rows
    }
}

/// Asks every detector that is on.
fn detect(
    judge: &mut Judge,
    beacons: &mut BeaconDetector,
    detectors: &mut [Box<dyn Detector>],
    indicators: &mut IndicatorDetector,
    seen: &Seen<'_>,
    sink: &mut impl FnMut(Alert),
) {
    judge.scope.see(seen, judge.knowledge.learning.period_days.get());
    if judge.knowledge.detectors.beacons {
        beacons.observe(seen, |beacons, evaluated| judge.series(beacons, evaluated, seen, sink));
    }
    let mut found = Vec::new();
    let switches = judge.knowledge.detectors;
    for detector in detectors.iter_mut().filter(|detector| switches.admit(detector.class())) {
        detector.observe(seen, &judge.scope, &mut |finding| found.push(finding));
    }
    if judge.knowledge.detectors.indicators {
        indicators.observe(seen, &judge.knowledge, &mut |finding| found.push(finding));
    }
    found.into_iter().for_each(|finding| judge.finding(finding, sink));
}

/// Whether a series was evaluated at least once, and is not another's once more.
fn is_listed(series: &Series, label: &Label) -> bool {
    series.interval_count() >= 3 && (label.level != Level::Group || label.is_group())
}

/// The name that counts (scorer specification 2.1). The HTTP Host is only a claim: it never names a destination.
fn name_of<'a>(names: &Names<'a>) -> &'a str {
    [names.sni, names.connect_host, names.fqdn].into_iter().find(|name| !name.is_empty()).unwrap_or("")
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
