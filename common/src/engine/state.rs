//! All that an engine knows of its host, as bytes, and back: so that a sensor that was stopped goes on where it was.
//!
//! The same events afterwards give the same alerts as if it had not been saved: tables keep their places, draws and counters.
//! What can be derived (indexes, weights) is built anew. The bytes may come from a damaged disk: whatever they are, the
//! answer is an error or an engine within its memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::Serialize;
use serde::de::Deserialize;

use super::judge::Judge;
use super::{
    Engine, EngineCounters, KNOWN_SHARE, LEARNED_SHARE, NAMES_SHARE, PROCESSES_SHARE, Processes, Scope,
};
use super::{beacons_share, detectors_share, ledger::Ledger};
use crate::detect;
use crate::detect::beacon::BeaconDetector;
use crate::detect::indicator::IndicatorDetector;
use crate::event::{HostFacts, MAX_NAME_BYTES};
use crate::learn::Learned;
use crate::names::PassiveNames;
use crate::process::{MAX_ANCESTORS, MAX_PROCESS_TEXT_BYTES, ProcessInfo, ProcessKey};
use crate::profile::{Excused, MAX_PROFILES};
use crate::program::Program;
use crate::seal::{self, SealError};
use crate::suppress::Suppressions;
use crate::time::Timestamp;

/// What the bytes are.
const KIND: [u8; 8] = *b"sondeEng";
/// Version of their layout: any change of a type that is saved raises it.
pub const STATE_VERSION: u32 = 4;

/// Under which name destinations seen of late are saved, among the detectors.
const INDICATORS: &str = "indicators";

/// Why a state could not be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not what it should be, or not whole.
    #[error("{0}")]
    Seal(#[from] SealError),
    /// A part of it makes no sense.
    #[error("{0} cannot be read")]
    Damaged(&'static str),
}

impl StateError {
    /// Whether a later version of Sonde may have written it.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::Seal(SealError::Version { had, reads }) if *had > *reads)
    }
}

/// Appends values, one after the other.
pub(crate) struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl Writer<'_> {
    pub(crate) fn put(&mut self, value: &impl Serialize) {
        let out = std::mem::take(self.out);
        *self.out = postcard::to_extend(value, out)
            .expect("a Vec takes every write, and what is saved knows its lengths");
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.put(&u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// Takes them out again.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn take<T: Deserialize<'a>>(&mut self, what: &'static str) -> Result<T, StateError> {
        let (value, rest) = postcard::take_from_bytes(self.rest).map_err(|_| StateError::Damaged(what))?;
        self.rest = rest;
        Ok(value)
    }

    /// How many follow: each takes at least a byte.
    pub(crate) fn count(&mut self, what: &'static str) -> Result<u32, StateError> {
        let count: u32 = self.take(what)?;
        let fits = usize::try_from(count).is_ok_and(|count| count <= self.rest.len());
        if fits { Ok(count) } else { Err(StateError::Damaged(what)) }
    }
}

/// The programs that are spoken of, each once, by number.
#[derive(Default)]
pub(crate) struct Programs {
    list: Vec<Program>,
    numbers: HashMap<usize, u32, foldhash::fast::RandomState>,
}

impl Programs {
    pub(crate) fn note(&mut self, info: &Arc<ProcessInfo>, key: u64) {
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let list = &mut self.list;
        self.numbers.entry(Arc::as_ptr(info).addr()).or_insert_with(|| {
            list.push(Program { info: Arc::clone(info), key });
            number
        });
    }

    pub(crate) fn number(&self, info: &Arc<ProcessInfo>) -> Option<u32> {
        self.numbers.get(&Arc::as_ptr(info).addr()).copied()
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Program> {
        self.list.get(usize::try_from(number).ok()?)
    }

    fn save(&self, out: &mut Writer<'_>) {
        out.count(self.list.len());
        for Program { info, key } in &self.list {
            out.put(&(key, info));
        }
    }

    fn restore(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut programs = Self::default();
        for _ in 0..from.count("programs")? {
            let (key, info): (u64, ProcessInfo) = from.take("program")?;
            if !is_sound(&info) {
                return Err(StateError::Damaged("program"));
            }
            programs.list.push(Program { info: Arc::new(info), key: key.max(1) });
        }
        Ok(programs)
    }
}

/// Whether no text is longer than a source may tell.
fn is_sound(info: &ProcessInfo) -> bool {
    let ProcessInfo { image, command_line, sha256, script, parent_image, user, container, .. } = info;
    let ProcessInfo { pod, service, package, ancestors, .. } = info;
    let texts = [image, command_line, sha256, script, parent_image, user, container, pod, service, package];
    ancestors.len() <= MAX_ANCESTORS
        && texts.into_iter().chain(ancestors).all(|text| text.len() <= MAX_PROCESS_TEXT_BYTES)
}

impl Engine {
    /// Appends all that this engine knows.
    pub fn save(&self, out: &mut Vec<u8>) {
        seal::seal(KIND, STATE_VERSION, out, |out| self.save_parts(&mut Writer { out }));
    }

    fn save_parts(&self, out: &mut Writer<'_>) {
        let Self {
            judge,
            names,
            processes,
            beacons,
            detectors,
            indicators,
            counters: _,
            reviewed: _,
            tally: _,
        } = self;
        let Judge { scope, ledger, suppressions, excused, knowledge: _, feeds_since: _ } = judge;
        out.put(&scope.host);
        out.put(&(scope.facts.history, scope.facts.observed_since, scope.now));
        out.put(&self.counters());

        let mut programs = Programs::default();
        let told = || processes.order.iter().filter_map(|key| processes.programs.get_key_value(key));
        for (_, (program, _)) in told() {
            programs.note(&program.info, program.key);
        }
        beacons.note_programs(&mut programs);
        programs.save(out);
        out.count(told().count());
        for (key, (program, called)) in told() {
            out.put(&(key, called.get(), programs.number(&program.info), program.key));
        }

        let mut known: Vec<_> = scope.known.iter().collect();
        known.sort_unstable_by_key(|(name, _)| *name);
        out.count(known.len());
        for (name, age_days) in known {
            out.put(&(name, age_days));
        }

        out.put(&scope.learned.save());

        out.put(&names.progress().0);
        out.count(names.saved().len());
        for entry in names.saved() {
            out.put(&entry);
        }

        beacons.save(&programs, out);
        ledger.save(out);
        out.put(suppressions);
        out.put(excused);
        out.count(detectors.len() + 1);
        out.put(&(INDICATORS, indicators.save()));
        for detector in detectors {
            out.put(&(detector.name(), detector.save()));
        }
    }

    /// The engine that was saved, within `memory_bytes`: in less than it had, the least valuable leaves.
    ///
    /// # Errors
    /// If the bytes are no state of this version, or damaged.
    pub fn restore(bytes: &[u8], memory_bytes: usize) -> Result<Self, StateError> {
        let mut reader = Reader { rest: seal::open(KIND, STATE_VERSION, bytes)? };
        let from = &mut reader;
        let host: String = from.take("host")?;
        if host.len() > MAX_NAME_BYTES {
            return Err(StateError::Damaged("host"));
        }
        let (history, observed_since, now): (bool, Timestamp, Timestamp) = from.take("host")?;
        let counters: EngineCounters = from.take("counters")?;
        let learned = Learned::new(0, (0, 0));
        let mut scope = Scope::new(host, memory_bytes / KNOWN_SHARE, learned);
        (scope.facts, scope.now) = (HostFacts { history, observed_since }, now);

        let programs = Programs::restore(from)?;
        let mut processes = Processes { capacity: memory_bytes / PROCESSES_SHARE, ..Processes::default() };
        for _ in 0..from.count("processes")? {
            let (key, called, number, program_key): (ProcessKey, bool, Option<u32>, u64) =
                from.take("process")?;
            let program = number.and_then(|number| programs.get(number));
            let program = program.ok_or(StateError::Damaged("program of a process"))?;
            processes.learn(key, program.with_key(program_key.max(1)));
            if let Some((_, mark)) = processes.programs.get(&key) {
                mark.set(called);
            }
        }
        processes.evicted = processes.evicted.saturating_add(counters.processes_evicted);

        for _ in 0..from.count("known destinations")? {
            let (name, age_days): (&str, f64) = from.take("known destination")?;
            scope.learn(name, age_days);
        }

        scope.learned = Learned::restore(memory_bytes / LEARNED_SHARE, from.take("what was learnt")?);

        let mut names = PassiveNames::new(memory_bytes / NAMES_SHARE);
        let hand: u32 = from.take("names")?;
        for _ in 0..from.count("names")? {
            let (ip, used, known): (_, _, Vec<(Timestamp, String)>) = from.take("name")?;
            if known.iter().any(|(_, name)| name.len() > MAX_NAME_BYTES) {
                return Err(StateError::Damaged("name"));
            }
            names.put_back(ip, used, known);
        }
        names.go_on((hand, counters.names_evicted));

        let beacons = BeaconDetector::restore(beacons_share(memory_bytes), now, &programs, from)?;
        let mut ledger = Ledger::restore(memory_bytes, from)?;
        ledger.add_evicted(counters.findings_evicted);
        let suppressions: Suppressions = from.take("known-good entries")?;
        if !suppressions.is_sound() {
            return Err(StateError::Damaged("known-good entries"));
        }
        let excused: BTreeMap<String, Excused> = from.take("what profiles held back")?;
        if excused.len() > MAX_PROFILES || excused.keys().any(|name| name.len() > MAX_NAME_BYTES) {
            return Err(StateError::Damaged("what profiles held back"));
        }
        let (counting, remembering) = detectors_share(memory_bytes);
        let mut detectors = detect::all(counting);
        detectors.iter_mut().for_each(|detector| detector.set_seed(scope.learned.seed()));
        let mut indicators = IndicatorDetector::new(remembering);
        for _ in 0..from.count("detectors")? {
            let (name, bytes): (&str, Vec<u8>) = from.take("detector")?;
            if name == INDICATORS {
                if !indicators.restore(&bytes) {
                    return Err(StateError::Damaged("destinations seen of late"));
                }
                continue;
            }
            // One that is no more is let go of.
            let detector = detectors.iter_mut().find(|detector| detector.name() == name);
            if detector.is_some_and(|detector| !detector.restore(&bytes)) {
                return Err(StateError::Damaged("detector"));
            }
        }
        if !from.rest.is_empty() {
            return Err(StateError::Damaged("what stands behind the end"));
        }
        let mut judge = Judge::new(scope, 0);
        (judge.ledger, judge.suppressions, judge.excused) = (ledger, suppressions, excused);
        let reviewed = super::NEVER;
        Ok(Self { judge, names, processes, beacons, detectors, indicators, counters, reviewed, tally: None })
    }

    /// The host that this is the engine of.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.judge.scope.host
    }

    /// Data time of the latest event.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.judge.scope.now
    }
}
