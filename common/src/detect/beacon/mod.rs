//! Beacons: calls on a schedule, at four levels (scorer specification 2.1).
//!
//! | level | series of | key |
//! |---|---|---|
//! | connection | connection starts | program, name or address, port |
//! | group | connection starts | program, JA4 (without TLS: transport and port) |
//! | exchange | payload after a second of silence | program, name or address, port |
//! | dns | queries with a new full name | program, registrable domain |

pub mod evidence;
pub mod gaps;
pub mod ghost;
pub mod label;
mod pace;
mod saved;
pub mod series;
pub mod stats;
pub mod table;
pub(crate) mod texts;

use std::hash::Hasher as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use self::gaps::Gaps;
use self::ghost::GhostTable;
use self::label::{Label, Peak};
use self::series::{Series, Update};
use self::stats::Timing;
use self::table::{Admission, SeriesTable, Slot};
use self::texts::Texts;
use super::{Seen, What};
use crate::alert::{FindingId, Level};
use crate::domain::literal_address;
use crate::event::{ConnectionEvent, DnsEvent, Phase};
use crate::live::Gap;
use crate::net::{is_link_local, is_no_peer};
use crate::time::Timestamp;

/// Share of the budget that goes to first sightings: the table that does the work in a flood (scorer specification 5).
const GHOST_SHARE: usize = 8;
/// They get this much of a small budget as well, as long as it is no more than a third: a flood is as large on a small
/// sensor (4 MiB in scorer specification 2.6).
const GHOST_LEAST: usize = 4 << 20;
/// What the texts of one series take: names of common length. Longer ones, and the programs', leave room for fewer series.
const TEXTS_PER_SERIES: usize = 160;
/// What one series takes: its state, its key and its label.
const BYTES_PER_SERIES: usize = size_of::<Series>() + 32 + size_of::<Label>() + TEXTS_PER_SERIES;

/// A series that was evaluated and found regular.
#[derive(Clone, Copy, Debug)]
pub struct Evaluated {
    /// Its place in the table, until the next event.
    pub slot: Slot,
    /// What the timing tests say.
    pub timing: Timing,
}

/// Watches all series of one host.
#[derive(Debug)]
pub struct BeaconDetector {
    ghosts: GhostTable,
    table: SeriesTable<Label>,
    texts: Texts,
    gaps: Gaps,
    seed: (u64, u64),
}

/// What became of the sightings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconCounters {
    /// Series that were created: keys seen at least twice.
    pub series: u64,
    /// Series dropped because the table was full.
    pub series_evicted: u64,
    /// First sightings dropped because their table was full.
    pub sightings_evicted: u64,
}

impl BeaconDetector {
    /// A detector within `memory_bytes`. `seed` keys the hash that decides which series leave when memory is short: random
    /// in a sensor, fixed in a replay so that it gives the same answer twice.
    #[must_use]
    pub fn new(memory_bytes: usize, seed: (u64, u64)) -> Self {
        let capacity = Self::capacity(memory_bytes);
        let mut texts = Texts::default();
        texts.set_room(capacity * TEXTS_PER_SERIES);
        Self {
            ghosts: GhostTable::new(Self::ghost_bytes(memory_bytes)),
            table: SeriesTable::new(capacity),
            texts,
            gaps: Gaps::default(),
            seed,
        }
    }

    fn ghost_bytes(memory_bytes: usize) -> usize {
        (memory_bytes / GHOST_SHARE).max(GHOST_LEAST.min(memory_bytes / 3))
    }

    fn capacity(memory_bytes: usize) -> usize {
        (memory_bytes - Self::ghost_bytes(memory_bytes)) / BYTES_PER_SERIES
    }

    /// The most series that there is room for.
    #[must_use]
    pub fn max_series(&self) -> usize {
        self.table.capacity()
    }

    /// Changes the budget; what no longer fits leaves by the eviction rule.
    pub fn set_memory(&mut self, memory_bytes: usize, now: Timestamp) {
        self.ghosts.set_capacity(Self::ghost_bytes(memory_bytes));
        let capacity = Self::capacity(memory_bytes);
        self.texts.set_room(capacity * TEXTS_PER_SERIES);
        let Self { table, texts, .. } = self;
        table.cut_to(capacity, now, |label| forget(texts, label));
        self.make_room(now);
    }

    /// What became of the sightings.
    #[must_use]
    pub fn counters(&self) -> BeaconCounters {
        BeaconCounters {
            series: self.table.created(),
            series_evicted: self.table.evicted(),
            sightings_evicted: self.ghosts.evicted(),
        }
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.ghosts.memory_bytes() + self.table.memory_bytes() + self.texts.bytes() + self.gaps.memory_bytes()
    }

    /// A series by its key.
    #[must_use]
    pub fn find(&self, key: u64) -> Option<(&Series, &Label)> {
        self.table.get(self.table.find(key)?)
    }

    /// The key of a series; it stays when places change.
    #[must_use]
    pub fn key_of(&self, slot: Slot) -> u64 {
        self.table.hash(slot).unwrap_or_default()
    }

    /// A series by its place, which holds until the next event.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<(&Series, &Label)> {
        self.table.get(slot)
    }

    /// All series with their keys, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Series, &Label)> {
        self.table.iter()
    }

    /// Remembers the evaluation with the highest score.
    pub fn note_peak(&mut self, slot: Slot, peak: Peak) {
        if let Some((_, label)) = self.table.get_mut(slot) {
            label.peak = Some(peak);
        }
    }

    /// Fixes the id of the finding that a series makes.
    pub fn note_id(&mut self, slot: Slot, id: FindingId) {
        if let Some((_, label)) = self.table.get_mut(slot) {
            label.id = Some(id);
        }
    }

    /// Labels with long texts leave room for fewer series.
    fn make_room(&mut self, now: Timestamp) {
        while self.texts.is_over()
            && self.table.len() > 1
            && let Some(label) = self.table.evict(now)
        {
            forget(&mut self.texts, label);
        }
    }

    /// Takes in a time in which the sensor was blind.
    pub fn note_gap(&mut self, gap: Gap) {
        self.gaps.note(gap);
    }

    /// Moves all times, when the clock was set: what was seen is older or younger by the new clock, and no less.
    pub fn shift(&mut self, nanos: i64) {
        self.ghosts.shift(nanos);
        self.gaps.shift(nanos);
        for (_, series, label) in self.table.iter_mut() {
            series.shift(nanos);
            if let Some(peak) = &mut label.peak {
                peak.time = peak.time.plus_nanos(nanos);
            }
        }
    }

    /// Fixes the id of the finding that the series with this key makes.
    pub fn fix_id(&mut self, key: u64, id: FindingId) {
        if let Some((_, label)) = self.find_mut(key) {
            label.id = Some(id);
        }
    }

    /// Takes an event; calls `regular` for each series that it brought to a checkpoint and that is regular there.
    pub fn observe(&mut self, seen: &Seen<'_>, mut regular: impl FnMut(&mut Self, Evaluated)) {
        match seen.what {
            What::Connection(event) => self.connection(seen, event, &mut regular),
            What::Query(query) => self.query(seen, query, &mut regular),
        }
    }

    fn connection(
        &mut self,
        seen: &Seen<'_>,
        event: &ConnectionEvent<'_>,
        regular: &mut impl FnMut(&mut Self, Evaluated),
    ) {
        let target = Target::of(seen, event);
        if target.name.is_empty() && (is_no_peer(target.ip) || is_link_local(target.ip)) {
            return;
        }
        let program = seen.program.map_or(0, |program| program.key);
        let destination = self.key(Level::Connection, program, |hash| target.write(hash));
        match event.phase {
            Phase::Joined | Phase::Certificate(_) => {}
            Phase::Opened | Phase::Whole(_) => {
                let sizes = match event.phase {
                    Phase::Whole(totals) => totals.bytes_out.zip(totals.bytes_in),
                    _ => None,
                };
                // First, so that a schedule that goes over to another destination is told as one, not by its members.
                // A group of one destination is that destination's series once more, and has no say before it.
                let mut later = None;
                if let Some(group) = self.group_key(program, seen, event, target.port) {
                    let mut rotation = |this: &mut Self, evaluated: Evaluated| {
                        if this.get(evaluated.slot).is_some_and(|(_, label)| label.is_group()) {
                            regular(this, evaluated);
                        } else {
                            later = Some((group, evaluated.timing));
                        }
                    };
                    self.sight(Level::Group, group, seen, &target, event.start, sizes, &mut rotation);
                }
                self.sight(Level::Connection, destination, seen, &target, event.start, sizes, regular);
                if let Some(process) = self.called_in_turn(destination, seen) {
                    self.sight(Level::Process, process, seen, &target, event.start, sizes, regular);
                }
                if let Some((group, timing)) = later
                    && let Some(slot) = self.table.find(group)
                {
                    regular(self, Evaluated { slot, timing });
                }
                if let Phase::Whole(totals) = event.phase {
                    self.outcome(destination, &totals);
                    if let Some(process) = self.process_key(destination, seen) {
                        self.outcome(process, &totals);
                    }
                }
            }
            Phase::Exchange { start, bytes_out, bytes_in } => {
                let key = self.key(Level::Exchange, program, |hash| target.write(hash));
                self.sight(Level::Exchange, key, seen, &target, start, Some((bytes_out, bytes_in)), regular);
            }
            Phase::Closed(totals) => {
                let group = self.group_key(program, seen, event, target.port);
                let process = self.process_key(destination, seen);
                for key in [Some(destination), process, group].into_iter().flatten() {
                    let Some((series, label)) = self.find_mut(key) else { continue };
                    if let Some((bytes_out, bytes_in)) = totals.bytes_out.zip(totals.bytes_in)
                        && series.add_sizes(event.start, bytes_out, bytes_in)
                    {
                        label.add_bytes(bytes_out, bytes_in);
                    }
                }
                self.outcome(destination, &totals);
                if let Some(process) = process {
                    self.outcome(process, &totals);
                }
            }
        }
    }

    /// Where several processes of one program call a destination in turn, each is followed by itself, too: their calls
    /// between each other's are no schedule. Series are keyed by program and not by process because most implants that
    /// matter are short-lived.
    fn called_in_turn(&mut self, destination: u64, seen: &Seen<'_>) -> Option<u64> {
        let process = self.process_key(destination, seen)?;
        let (_, label) = self.find_mut(destination)?;
        label.note_process(process).then_some(process)
    }

    /// Key of the series of one process, where the source tells it; in containers that of one container, as their programs
    /// are keyed without them.
    fn process_key(&self, destination: u64, seen: &Seen<'_>) -> Option<u64> {
        let container = seen.program.map_or("", |program| &program.info.container);
        seen.process.map(|process| {
            self.key(Level::Process, destination, |hash| {
                if container.is_empty() {
                    hash.write_u32(process.pid);
                    hash.write_i64(process.start.nanos());
                } else {
                    hash.write(container.as_bytes());
                }
            })
        })
    }

    /// The group that a connection belongs to, if it goes to several destinations in turn.
    pub(crate) fn group_of(&self, seen: &Seen<'_>) -> Option<(u64, &Series, &Label)> {
        let What::Connection(event) = seen.what else { return None };
        let program = seen.program.map_or(0, |program| program.key);
        let key = self.group_key(program, seen, event, Target::of(seen, event).port)?;
        let (series, label) = self.find(key)?;
        label.is_group().then_some((key, series, label))
    }

    /// Programs that call several destinations with one client: rotation and fail-over. A browser does so by nature, and
    /// without a process only the TLS fingerprint tells a client.
    fn group_key(
        &self,
        program: u64,
        seen: &Seen<'_>,
        event: &ConnectionEvent<'_>,
        port: u16,
    ) -> Option<u64> {
        let known = match seen.program {
            Some(program) => program.info.browser != Some(true),
            None => event.ja4.is_some(),
        };
        known.then(|| {
            self.key(Level::Group, program, |hash| match event.ja4 {
                Some(ja4) => hash.write(&ja4.0),
                None => {
                    hash.write_u8(event.tuple.transport as u8);
                    hash.write_u16(port);
                }
            })
        })
    }

    fn outcome(&mut self, key: u64, totals: &crate::event::Totals) {
        if let Some((_, label)) = self.find_mut(key) {
            label.note_outcome(totals.outcome);
        }
    }

    fn query(
        &mut self,
        seen: &Seen<'_>,
        query: &DnsEvent<'_>,
        regular: &mut impl FnMut(&mut Self, Evaluated),
    ) {
        let program = seen.program.map_or(0, |program| program.key);
        // A query for the domain itself carries no message, and names under reverse zones are look-ups of addresses.
        if query.query.len() <= seen.registrable.len() || seen.registrable.ends_with(".arpa") {
            return;
        }
        let target = Target { name: seen.registrable, ip: IpAddr::from([0, 0, 0, 0]), port: 53 };
        let key = self.key(Level::Dns, program, |hash| hash.write(seen.registrable.as_bytes()));
        let fingerprint = self.key(Level::Dns, 1, |hash| hash.write(query.query.as_bytes()));
        if let Some((_, label)) = self.find_mut(key)
            && !label.note_query(fingerprint)
        {
            return;
        }
        let size = u64::try_from(query.query.len()).unwrap_or(0);
        self.sight(Level::Dns, key, seen, &target, query.start, Some((size, 0)), regular);
        // The query that made the series counts among its latest, too.
        if let Some((_, label)) = self.find_mut(key) {
            label.note_query(fingerprint);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call per level; a struct would only rename them")]
    fn sight(
        &mut self,
        level: Level,
        key: u64,
        seen: &Seen<'_>,
        target: &Target<'_>,
        start: Timestamp,
        sizes: Option<(u64, u64)>,
        regular: &mut impl FnMut(&mut Self, Evaluated),
    ) {
        let slot = match self.table.entry(key, start, &mut self.ghosts) {
            Admission::Remembered => return,
            Admission::Created { slot, evicted } => {
                if let Some(label) = evicted {
                    forget(&mut self.texts, label);
                }
                slot
            }
            Admission::Existing { slot } => slot,
        };
        let fingerprint = destination_fingerprint(
            if target.name.is_empty() { None } else { Some(seen.registrable) },
            target.ip,
        );
        let Some((series, label)) = self.table.get_mut(slot) else { return };
        let before = label.text_bytes();
        let mut described = true;
        let blind = self.gaps.blind(series.check_in_start(), start);
        let update = series.observe_behind(start, sizes, blind);
        if let Some((bytes_out, bytes_in)) = sizes {
            label.add_bytes(bytes_out, bytes_in);
        }
        series.note_destination(fingerprint);
        let mut turned = false;
        if level == Level::Group {
            // A tool that is run for this job and then for that (curl, an interpreter without a script) goes over by nature.
            let is_tool = seen.program.is_some_and(|program| {
                program.info.script_host == Some(true) && program.info.script.is_empty()
            });
            turned = !is_tool && label.note_run(fingerprint, matches!(update, Update::NewCheckIn { .. }));
            let address;
            let name = if target.name.is_empty() {
                address = target.ip.to_string();
                &address
            } else {
                target.name
            };
            // A group speaks for its main destination.
            described = label.note_member(fingerprint, name);
        }
        if described {
            label.describe(level, seen, target, &mut self.texts);
        }
        self.texts.changed(before, label.text_bytes());
        // A schedule that goes over to another destination is looked at when it does, not up to 64 callbacks later.
        if turned || matches!(update, Update::NewCheckIn { evaluate: true }) {
            // Many destinations together call steadily without any schedule, so a group is judged by its rhythm alone.
            let timing = if level == Level::Group { series.rhythm() } else { series.timing() };
            if timing.bans >= crate::score::MIN_BANS {
                regular(self, Evaluated { slot, timing });
            }
        }
        self.make_room(start);
    }

    fn find_mut(&mut self, key: u64) -> Option<(&mut Series, &mut Label)> {
        let slot = self.table.find(key)?;
        self.table.get_mut(slot)
    }

    fn key(&self, level: Level, program: u64, write: impl FnOnce(&mut SipHasher24)) -> u64 {
        let mut hash = SipHasher24::new_with_keys(self.seed.0, self.seed.1);
        hash.write_u8(level as u8);
        hash.write_u64(program);
        write(&mut hash);
        hash.finish()
    }
}

/// A label that left takes its texts with it.
fn forget(texts: &mut Texts, mut label: Label) {
    label.leave(texts);
    texts.changed(label.text_bytes(), 0);
}

/// Where a connection goes, as a series is keyed by it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Name, empty for a bare address.
    pub name: &'a str,
    /// Address.
    pub ip: IpAddr,
    /// Port; that of CONNECT where a proxy was asked.
    pub port: u16,
}

impl<'a> Target<'a> {
    fn of(seen: &Seen<'a>, event: &ConnectionEvent<'a>) -> Self {
        let port = match event.names.connect_port {
            0 => event.tuple.remote.port(),
            port => port,
        };
        match literal_address(seen.name) {
            Some(ip) => Self { name: "", ip, port },
            None => Self { name: seen.name, ip: event.tuple.remote.ip(), port },
        }
    }

    fn write(&self, hash: &mut SipHasher24) {
        if self.name.is_empty() {
            match self.ip {
                IpAddr::V4(ip) => hash.write(&ip.octets()),
                IpAddr::V6(ip) => hash.write(&ip.octets()),
            }
        } else {
            hash.write(self.name.as_bytes());
        }
        hash.write_u16(self.port);
    }
}

fn destination_fingerprint(name: Option<&str>, ip: IpAddr) -> u16 {
    let mut hash = SipHasher24::new();
    match (name, ip) {
        (Some(name), _) => hash.write(name.as_bytes()),
        (None, IpAddr::V4(ip)) => hash.write(&ip.octets()),
        (None, IpAddr::V6(ip)) => hash.write(&ip.octets()),
    }
    #[expect(clippy::cast_possible_truncation, reason = "sixteen bits of the hash are wanted")]
    let short = hash.finish() as u16;
    short
}
