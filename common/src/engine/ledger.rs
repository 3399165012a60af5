//! The ledger of findings: what is already an alert, when it became one, and whether there is news to emit.
//!
//! An alert is emitted when it is made, when its severity rises and when its callbacks have doubled, at the next evaluation of
//! its series; when it has gone on for another day; and when nothing more came of it for long, which closes it.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::LEDGER_SHARE;
use super::state::{Reader, StateError, Writer};
use crate::alert::{Alert, Change, Evidence, FindingId, Level, Severity};
use crate::detect::Finding;
use crate::detect::beacon::label::Label;
use crate::detect::beacon::texts;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Findings kept per host. Beyond it the one with the lowest score leaves, and is counted.
const MAX_FINDINGS: usize = 4096;
/// An alert that goes on is emitted again after so long.
const REPEAT_AFTER: i64 = 86_400 * NANOS_PER_SEC;
/// An alert of which nothing more is seen for so long is closed, at the earliest…
const CLOSE_AFTER: i64 = 86_400 * NANOS_PER_SEC;
/// …at the latest…
const CLOSE_AT_LATEST: i64 = 30 * CLOSE_AFTER;
/// …and between the two when so many callbacks stayed away. Fewer are missed by a laptop that is shut over a weekend.
const CLOSE_AFTER_INTERVALS: f64 = 8.0;
/// What detectors count is told of at doublings: so many times the time it took so far is waited for the next.
const CLOSE_AFTER_DWELLS: i64 = 2;
/// Layout of what the id is made of: raise it, and every id changes.
const ID_VERSION: u8 = 1;
/// Stands for the series of a finding that has none.
pub(super) const NO_SERIES: u64 = 0;

/// What alerts as they were may take, at least: a few of them, however many hosts share the memory.
const MIN_MEMORY: usize = 16 << 10;
/// What a finding takes beside its alert: itself, and its part of a node of the tree.
const BYTES_PER_ENTRY: usize = size_of::<Entry>() + 48;

/// What an alert is taken to weigh. Its length as it was made counts, so that a restored one weighs the same.
fn weight(alert: &Alert) -> usize {
    let destination = &alert.destination;
    let names = [
        &destination.name,
        &destination.registrable_domain,
        &destination.fqdn,
        &destination.sni,
        &destination.connect_host,
        &destination.http_host,
        &destination.user_agent,
        &alert.host,
        &alert.reason,
    ];
    let lists = alert.parts.len() * size_of::<crate::alert::ScorePart>()
        + alert.missing.len() * size_of::<crate::alert::Word>()
        + alert.techniques.len() * size_of::<crate::alert::Technique>()
        + alert.evidence.recent.len() * size_of::<Timestamp>()
        + destination.group.len() * size_of::<String>();
    size_of::<Alert>()
        + names.iter().map(|name| name.len()).sum::<usize>()
        + alert.parts.iter().map(|part| part.detail.len()).sum::<usize>()
        + destination.group.iter().map(String::len).sum::<usize>()
        + lists
        + alert.profile.as_ref().map_or(0, |note| note.name.len() + note.class.len() + note.mismatch.len())
        + alert.process.as_ref().map_or(0, |process| texts::weight(&process.info))
}

/// Where a finding stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its id.
    pub id: FindingId,
    /// Emissions so far, this one included.
    pub revision: u32,
    /// Why it is told.
    pub change: Change,
    /// Data time of the emission; `None` in a listing, which shows the evaluation with the highest score.
    pub time: Option<Timestamp>,
    /// When it first was an alert.
    pub detected: Option<Timestamp>,
    /// Callbacks at that moment.
    pub detected_after: u32,
    /// Whether it is to be emitted now.
    pub emit: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    id: FindingId,
    /// Key of the series with the best score.
    pub(super) series: u64,
    pub(super) points: f64,
    severity: Severity,
    revision: u32,
    detected: Timestamp,
    detected_after: u32,
    emitted: Timestamp,
    emitted_callbacks: u32,
    /// When it was evaluated last.
    noted: Timestamp,
    /// Nothing more came of it, and that was told.
    closed: bool,
    snapshot: Option<Box<Alert>>,
}

/// What a look at all findings brings of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) id: FindingId,
    pub(super) series: u64,
    /// [`Change::Updated`] or [`Change::Closed`].
    pub(super) change: Change,
    callbacks: u32,
}

impl Entry {
    pub(super) fn standing(&self, change: Change, time: Option<Timestamp>, emit: bool) -> Standing {
        Standing {
            id: self.id,
            revision: self.revision,
            change,
            time,
            detected: Some(self.detected),
            detected_after: self.detected_after,
            emit,
        }
    }

    /// For how long nothing has to be seen of it before it is closed.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float that is too large becomes the largest number"
    )]
    fn closes_after(&self) -> i64 {
        let Some(alert) = &self.snapshot else { return CLOSE_AFTER };
        let Evidence { interval_median_secs, first_seen, last_seen, .. } = &alert.evidence;
        let waits = if self.series == NO_SERIES {
            last_seen.since(*first_seen).saturating_mul(CLOSE_AFTER_DWELLS)
        } else {
            (interval_median_secs * CLOSE_AFTER_INTERVALS * 1e9) as i64
        };
        waits.clamp(CLOSE_AFTER, CLOSE_AT_LATEST)
    }

    pub(super) fn snapshot(&self, standing: &Standing) -> Option<Alert> {
        self.snapshot.as_ref().map(|alert| Alert {
            change: standing.change,
            revision: standing.revision,
            ..(**alert).clone()
        })
    }
}

/// An evaluation above the alert threshold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation {
    /// Key of the series.
    pub(super) series: u64,
    pub(super) points: f64,
    pub(super) severity: Severity,
    pub(super) callbacks: u32,
    pub(super) now: Timestamp,
    /// The series that spoke for the finding is gone.
    pub(super) orphaned: bool,
}

/// All findings of a host that are alerts.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<FindingId, Entry>,
    evicted: u64,
    bytes: usize,
    capacity: usize,
}

impl Ledger {
    /// A ledger within `memory_bytes`, but at least [`MIN_MEMORY`].
    pub(super) fn new(memory_bytes: usize) -> Self {
        Self { capacity: memory_bytes.max(MIN_MEMORY), ..Self::default() }
    }

    /// Changes what it may take.
    pub(super) fn set_memory(&mut self, memory_bytes: usize) {
        self.capacity = memory_bytes.max(MIN_MEMORY);
        self.make_room();
    }

    /// Where the alerts as they were take too much, those with the lowest score are let go of: their findings stay, and are
    /// shown as long as their series is there.
    fn make_room(&mut self) {
        while self.bytes > self.capacity {
            let kept = self.entries.values_mut().filter(|entry| entry.snapshot.is_some());
            let weakest = kept.min_by(|a, b| a.points.total_cmp(&b.points).then(a.id.cmp(&b.id)));
            let Some(entry) = weakest else { return };
            self.bytes -= entry.snapshot.take().map_or(0, |alert| weight(&alert));
        }
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) {
        out.count(self.entries.len());
        for entry in self.entries.values() {
            out.put(entry);
        }
    }

    pub(super) fn restore(memory_bytes: usize, from: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut this = Self::new(memory_bytes / LEDGER_SHARE);
        for _ in 0..from.count("findings")? {
            let entry: Entry = from.take("finding")?;
            if entry.points.is_nan() || this.entries.contains_key(&entry.id) {
                return Err(StateError::Damaged("finding"));
            }
            if this.has_room_for(entry.points) {
                this.bytes += entry.snapshot.as_ref().map_or(0, |alert| weight(alert));
                this.entries.insert(entry.id, entry);
                this.make_room();
            } else {
                this.evicted += 1;
            }
        }
        Ok(this)
    }

    /// Counts what left before.
    pub(super) fn add_evicted(&mut self, evicted: u64) {
        self.evicted = self.evicted.saturating_add(evicted);
    }

    /// Notes a score above the alert threshold. Returns where the finding stands if its best score rose or there is news
    /// to emit.
    pub(super) fn note(
        &mut self,
        id: FindingId,
        Evaluation { series, points, severity, callbacks, now, orphaned }: Evaluation,
    ) -> Option<Standing> {
        if let Some(entry) = self.entries.get_mut(&id) {
            let better = points > entry.points;
            let worse_news = severity > entry.severity;
            let due = callbacks >= entry.emitted_callbacks.saturating_mul(2)
                || now.since(entry.emitted) >= REPEAT_AFTER;
            // Two levels may find the same beacon: the better one speaks for it, while it is there.
            if !better && series != entry.series && !orphaned {
                return None;
            }
            let again = std::mem::take(&mut entry.closed);
            entry.noted = now;
            entry.series = series;
            entry.points = entry.points.max(points);
            entry.severity = entry.severity.max(severity);
            let emit = worse_news || due || again;
            if emit {
                entry.revision += 1;
                entry.emitted = now;
                entry.emitted_callbacks = callbacks;
            }
            return (better || emit || series == NO_SERIES)
                .then(|| entry.standing(Change::Updated, Some(now), emit));
        }
        if !self.has_room_for(points) {
            self.evicted += 1;
            return None;
        }
        let entry = Entry {
            id,
            series,
            points,
            severity,
            revision: 1,
            detected: now,
            detected_after: callbacks,
            emitted: now,
            emitted_callbacks: callbacks,
            noted: now,
            closed: false,
            snapshot: None,
        };
        let standing = entry.standing(Change::Created, Some(now), true);
        self.entries.insert(id, entry);
        Some(standing)
    }

    /// Findings of which nothing more came for long, and such as go on and were last told of a day ago. `seen`: what is known
    /// of a series, as latest callback and check-ins.
    pub(super) fn due(&self, now: Timestamp, seen: impl Fn(u64) -> Option<(Timestamp, u32)>) -> Vec<Due> {
        let open = self.entries.values().filter(|entry| !entry.closed);
        let due = open.filter_map(|entry| {
            let (last, callbacks) = seen(entry.series).unwrap_or((entry.noted, entry.emitted_callbacks));
            let silent = now.since(last.max(entry.noted)) >= entry.closes_after();
            let goes_on = now.since(entry.emitted) >= REPEAT_AFTER && callbacks > entry.emitted_callbacks;
            let change = match (silent, goes_on) {
                (true, _) => Change::Closed,
                (false, true) => Change::Updated,
                (false, false) => return None,
            };
            Some(Due { id: entry.id, series: entry.series, change, callbacks })
        });
        due.collect()
    }

    /// Notes that it is told, or if it is held back that it is not.
    pub(super) fn tell(&mut self, due: Due, now: Timestamp, held: bool) -> Option<Standing> {
        let entry = self.entries.get_mut(&due.id)?;
        entry.closed = due.change == Change::Closed;
        entry.emitted = now;
        entry.emitted_callbacks = due.callbacks;
        entry.revision += u32::from(!held);
        Some(entry.standing(due.change, Some(now), !held))
    }

    /// Keeps the alert as it is now, for when its series has left the table.
    pub(super) fn keep(&mut self, id: FindingId, alert: &Alert) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let mut alert = Box::new(alert.clone());
            // Sizes of single callbacks are not saved: what outlives its series tells the same with a restart or without.
            alert.evidence.recent_sizes = Vec::new();
            self.bytes += weight(&alert);
            let before = entry.snapshot.replace(alert);
            self.bytes -= before.map_or(0, |alert| weight(&alert));
            self.make_room();
        }
    }

    /// Makes room for a finding with this score: the weakest leaves, unless the newcomer is no better.
    fn has_room_for(&mut self, points: f64) -> bool {
        if self.entries.len() < MAX_FINDINGS {
            return true;
        }
        let weakest =
            self.entries.values().min_by(|a, b| a.points.total_cmp(&b.points).then(a.id.cmp(&b.id)));
        let Some(id) = weakest.filter(|weakest| weakest.points < points).map(|entry| entry.id) else {
            return false;
        };
        let gone = self.entries.remove(&id).and_then(|entry| entry.snapshot);
        self.bytes -= gone.map_or(0, |alert| weight(&alert));
        self.evicted += 1;
        true
    }

    /// Moves all times, when the clock was set.
    pub(super) fn shift(&mut self, nanos: i64) {
        let shift = |time: &mut Timestamp| *time = time.plus_nanos(nanos);
        for entry in self.entries.values_mut() {
            shift(&mut entry.detected);
            shift(&mut entry.emitted);
            shift(&mut entry.noted);
            if let Some(alert) = entry.snapshot.as_deref_mut() {
                let evidence = &mut alert.evidence;
                let times = [&mut alert.time, &mut evidence.first_seen, &mut evidence.last_seen];
                times.into_iter().for_each(shift);
                alert.detected.iter_mut().chain(&mut evidence.recent).for_each(shift);
            }
        }
    }

    /// The series that speaks for a finding.
    pub(super) fn series_of(&self, id: &FindingId) -> Option<u64> {
        self.entries.get(id).map(|entry| entry.series)
    }

    /// The best score of a finding.
    pub(super) fn points_of(&self, id: &FindingId) -> Option<f64> {
        self.entries.get(id).map(|entry| entry.points)
    }

    /// The severity at which a finding is known.
    pub(super) fn severity_of(&self, id: &FindingId) -> Option<Severity> {
        self.entries.get(id).map(|entry| entry.severity)
    }

    pub(super) fn get(&self, id: &FindingId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&FindingId, &Entry)> {
        self.entries.iter()
    }

    /// Where a series stands that is listed. It is an alert if it speaks for its finding: another level that finds the same
    /// destination has its id, and nothing else of it.
    pub(super) fn standing_of(&self, id: &FindingId, series: u64) -> Standing {
        self.entries.get(id).filter(|entry| entry.series == series).map_or(
            Standing {
                id: *id,
                revision: 0,
                change: Change::Final,
                time: None,
                detected: None,
                detected_after: 0,
                emit: false,
            },
            |entry| entry.standing(Change::Final, None, false),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.len() * BYTES_PER_ENTRY + self.bytes
    }
}

/// The id of what a series finds: host, program, and destination. Several levels that find one destination share it, but
/// processes that are followed one by one have one each.
pub(super) fn finding_id(host: &str, label: &Label) -> FindingId {
    // What began as one destination's beacon and then went on to others is another finding: it names them all.
    if let Some(id) = label.id
        && !label.is_group()
    {
        return id;
    }
    let mut hash = SipHasher24::new();
    hash.write_u8(ID_VERSION);
    hash.write(host.as_bytes());
    hash.write_u8(0xff);
    hash.write(&label.program_key.to_le_bytes());
    match label.level {
        Level::Dns => {
            hash.write_u8(b'd');
            hash.write(label.name.as_bytes());
        }
        Level::Group if label.is_group() => {
            hash.write_u8(b'g');
            match label.ja4 {
                Some(ja4) => hash.write(&ja4.0),
                None => {
                    hash.write_u8(label.transport as u8);
                    hash.write(&label.port.to_le_bytes());
                }
            }
        }
        Level::Connection | Level::Process | Level::Group | Level::Exchange => {
            hash.write_u8(b'c');
            let container = label.program.as_ref().map_or("", |info| &info.container);
            if label.level == Level::Process && !container.is_empty() {
                hash.write(container.as_bytes());
            } else if let (Level::Process, Some(process)) = (label.level, label.process) {
                hash.write(&process.pid.to_le_bytes());
                hash.write(&process.start.nanos().to_le_bytes());
            }
            match (label.name.as_str(), label.ip) {
                ("", Some(ip)) => hash.write(ip.to_string().as_bytes()),
                (name, _) => hash.write(name.as_bytes()),
            }
            hash.write(&label.port.to_le_bytes());
        }
    }
    FindingId(hash.finish128().as_u128())
}

/// The id of what a detector counted: host, program, class and subject.
pub(super) fn counted_id(host: &str, finding: &Finding) -> FindingId {
    let mut hash = SipHasher24::new();
    hash.write_u8(ID_VERSION);
    hash.write(host.as_bytes());
    hash.write_u8(0xff);
    hash.write(&finding.program_key.to_le_bytes());
    hash.write_u8(b'f');
    hash.write(finding.class.as_str().as_bytes());
    hash.write_u8(0xff);
    hash.write(finding.subject.as_bytes());
    FindingId(hash.finish128().as_u128())
}
