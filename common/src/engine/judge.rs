//! Judges what the detectors found: scores it, asks the known-good entries, keeps the ledger, makes the alert.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::ledger::{self, Entry, Evaluation, Ledger, Standing};
use super::scope::Scope;
use crate::alert::{Alert, Change, FindingId, Level, Severity};
use crate::config::CommandLines;
use crate::context::{self, History};
use crate::detect::beacon::label::{Label, Peak};
use crate::detect::beacon::series::Series;
use crate::detect::beacon::{BeaconDetector, Evaluated};
use crate::detect::{Finding, Host as _, Seen, indicator};
use crate::domain::registrable;
use crate::explain::{self, techniques};
use crate::hints;
use crate::knowledge::Knowledge;
use crate::process::MAX_PROCESS_TEXT_BYTES;
use crate::profile::Excused;
use crate::redact;
use crate::score::{self, Fact};
use crate::suppress::Suppressions;
use crate::time::Timestamp;

/// What a verdict takes.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) scope: Scope,
    pub(super) ledger: Ledger,
    pub(super) suppressions: Suppressions,
    pub(super) knowledge: Arc<Knowledge>,
    /// What each profile held back, by its name: no more than there are profiles.
    pub(super) excused: BTreeMap<String, Excused>,
    /// When the feeds came, if they came later than the first event.
    pub(super) feeds_since: Timestamp,
}

impl Judge {
    pub(super) fn new(scope: Scope, ledger_bytes: usize) -> Self {
        Self {
            scope,
            ledger: Ledger::new(ledger_bytes),
            suppressions: Suppressions::default(),
            knowledge: Arc::default(),
            excused: BTreeMap::new(),
            feeds_since: super::NEVER,
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.scope.known_bytes
            + self.scope.learned.memory_bytes()
            + self.ledger.memory_bytes()
            + self.suppressions.memory_bytes()
    }

    /// Scores a regular series at a checkpoint, and emits what is new of its finding.
    pub(super) fn series(
        &mut self,
        beacons: &mut BeaconDetector,
        Evaluated { slot, timing }: Evaluated,
        seen: &Seen<'_>,
        sink: &mut impl FnMut(Alert),
    ) {
        let Some((series, label)) = beacons.get(slot) else { return };
        let domain = if label.name.is_empty() { "" } else { registrable(&label.name) };
        let history = History {
            new: self.scope.is_new(domain, label.ip),
            program_days: seen.program.and_then(|program| self.scope.program_days(program)),
        };
        let mut facts = context::facts(series, &timing, label, seen.program, domain, history);
        if seen.program.is_some_and(|program| self.knowledge.profiles.imitates(&program.info).is_some()) {
            facts.set(Fact::Masquerade, Some(true));
        }
        let points = score::points(timing.bans, facts);
        // Of equal scores the latest stands: it has seen the most callbacks.
        if label.peak.is_none_or(|peak| points >= peak.points) {
            beacons.note_peak(slot, Peak { time: self.scope.now, timing, facts, points });
        }
        let listed = self.standing_on_feeds(beacons.get(slot));
        let lift = self.lift(beacons.get(slot));
        if points + lift <= score::ALERT_POINTS && listed.is_none() {
            return;
        }
        let Some((series, label)) = beacons.get(slot) else { return };
        let id = ledger::finding_id(&self.scope.host, label);
        let severity =
            listed.unwrap_or_else(|| score::severity(timing.bans, points + lift, context::ceiling(label)));
        if self.is_told_by_group(beacons, seen, label, id, points) {
            return;
        }
        // What is held back is no emission: once it is not any more, it is told as if it were found then.
        if !self.suppressions.is_empty() || !self.knowledge.profiles.is_empty() {
            let standing = self.ledger.standing_of(&id, beacons.key_of(slot));
            let alert = self.of_series(series, label, &standing);
            if self.holds_back(&alert) {
                return;
            }
        }
        let evaluation = Evaluation {
            series: beacons.key_of(slot),
            points,
            severity,
            callbacks: series.check_ins(),
            now: self.scope.now,
            orphaned: self.ledger.series_of(&id).is_some_and(|series| beacons.find(series).is_none()),
        };
        beacons.note_id(slot, id);
        let Some(standing) = self.ledger.note(id, evaluation) else { return };
        let Some((series, label)) = beacons.get(slot) else { return };
        let alert = self.of_series(series, label, &standing);
        self.ledger.keep(id, &alert);
        if standing.emit {
            sink(alert);
        }
    }

    /// Whether a destination is one of several that a rotation which is an alert already names: names of the day would make a
    /// finding each. One that scores higher by itself is told of all the same, and so is what a known-good entry would hide.
    fn is_told_by_group(
        &self,
        beacons: &BeaconDetector,
        seen: &Seen<'_>,
        label: &Label,
        id: FindingId,
        points: f64,
    ) -> bool {
        if !matches!(label.level, Level::Connection | Level::Process) || self.ledger.series_of(&id).is_some()
        {
            return false;
        }
        let Some((key, series, group)) = beacons.group_of(seen) else { return false };
        let id = ledger::finding_id(&self.scope.host, group);
        let told = self.ledger.points_of(&id).is_some_and(|told| told >= points);
        let is_hidden = || self.is_held(&self.of_series(series, group, &self.ledger.standing_of(&id, key)));
        told && !is_hidden()
    }

    /// Whether a known-good entry or a profile holds an alert back.
    fn is_held(&self, alert: &Alert) -> bool {
        self.suppressions.of(alert, self.scope.now).is_some() || excuse(alert).is_some()
    }

    /// The same, and it is counted.
    fn holds_back(&mut self, alert: &Alert) -> bool {
        let now = self.scope.now;
        if let Some(held) = self.suppressions.of(alert, now) {
            self.suppressions.count(held.entry, now);
            return true;
        }
        let Some(profile) = excuse(alert) else { return false };
        let excused = self.excused.entry(profile.to_owned()).or_default();
        excused.count = excused.count.saturating_add(1);
        excused.last = now;
        true
    }

    /// The alert that a series makes, with all that is known of both ends.
    fn of_series(&self, series: &Series, label: &Label, standing: &Standing) -> Alert {
        self.of_series_lifted(series, label, standing).0
    }

    /// The same, and what hints of a fleet add to its points.
    fn of_series_lifted(&self, series: &Series, label: &Label, standing: &Standing) -> (Alert, f64) {
        let mut alert = explain::alert(&self.scope.host, series, label, standing);
        let lift = self.complete(&mut alert, context::ceiling(label));
        (alert, lift)
    }

    /// What hints of a fleet add to the points of a series. Its peak and the ledger know nothing of it: hints expire.
    fn lift(&self, of: Option<(&Series, &Label)>) -> f64 {
        let Some((series, label)) = of.filter(|_| self.is_hinted()) else { return 0.0 };
        let id = ledger::finding_id(&self.scope.host, label);
        self.of_series_lifted(series, label, &self.ledger.standing_of(&id, ledger::NO_SERIES)).1
    }

    /// Whether there are hints that have not expired.
    fn is_hinted(&self) -> bool {
        !self.knowledge.hints.is_empty() && self.knowledge.hints.holds_at(self.scope.now)
    }

    /// Points above which something may be an alert, with hints or without.
    fn least_points(&self) -> f64 {
        score::ALERT_POINTS - if self.is_hinted() { hints::weigh::MAX_POINTS } else { 0.0 }
    }

    /// Notes in an alert what is not known of the host's past yet, what feeds say of its destination, what a fleet says of
    /// it, and which profile it has to do with. `ceiling`: the highest severity that the source's blind spots allow. Returns
    /// what hints of the fleet add to its points.
    fn complete(&self, alert: &mut Alert, ceiling: Severity) -> f64 {
        self.redact(alert);
        self.scope.annotate(alert);
        indicator::complete(alert, &self.knowledge, self.feeds_since);
        let lift = hints::weigh::complete(alert, &self.knowledge.hints, self.scope.now, ceiling);
        alert.profile = self.knowledge.profiles.of(alert);
        alert.techniques = techniques::of(alert);
        lift
    }

    /// Leaves out of the command line what the settings say. A live sensor does so when a process begins; other sources give
    /// it whole.
    fn redact(&self, alert: &mut Alert) {
        let Some(process) = &mut alert.process else { return };
        let told = &mut process.info.command_line;
        match self.knowledge.command_lines {
            CommandLines::Whole => {}
            CommandLines::None => told.clear(),
            CommandLines::Redacted => {
                if let Cow::Owned(mut kept) = redact::line(told) {
                    kept.truncate(kept.floor_char_boundary(MAX_PROCESS_TEXT_BYTES));
                    *told = kept;
                }
            }
        }
    }

    /// The severity of a series whose destination is on a feed, if it is an alert.
    fn standing_on_feeds(&self, of: Option<(&Series, &Label)>) -> Option<Severity> {
        if self.knowledge.feeds.is_empty() || !self.knowledge.detectors.indicators {
            return None;
        }
        let (series, label) = of?;
        let id = ledger::finding_id(&self.scope.host, label);
        let alert = self.of_series(series, label, &self.ledger.standing_of(&id, ledger::NO_SERIES));
        let listed = !alert.indicators.is_empty() && alert.severity >= Severity::Medium;
        listed.then_some(alert.severity)
    }

    /// Emits what feeds that came later bring of something remembered, unless it is known already.
    pub(super) fn past(&mut self, finding: Finding, sink: &mut impl FnMut(Alert)) {
        let points: f64 = finding.parts.iter().map(|part| part.points).sum();
        let severity = score::severity_of(points).min(finding.ceiling);
        let id = ledger::counted_id(&self.scope.host, &finding);
        if self.ledger.severity_of(&id).is_none_or(|known| known < severity) {
            self.finding(finding, sink);
        }
    }

    /// Emits what new feeds make of series: alerts that were none, or rose.
    pub(super) fn listed(&mut self, beacons: &mut BeaconDetector, sink: &mut impl FnMut(Alert)) {
        let keys: Vec<_> =
            beacons.iter().filter(|(_, _, label)| label.peak.is_some()).map(|(key, _, _)| key).collect();
        for key in keys {
            let Some((series, label)) = beacons.find(key) else { continue };
            let Some((severity, peak)) = self.standing_on_feeds(Some((series, label))).zip(label.peak) else {
                continue;
            };
            let id = ledger::finding_id(&self.scope.host, label);
            let as_listed = self.of_series(series, label, &self.ledger.standing_of(&id, key));
            if self.is_held(&as_listed) {
                continue;
            }
            let evaluation = Evaluation {
                series: key,
                points: peak.points,
                severity,
                callbacks: series.check_ins(),
                now: self.scope.now,
                orphaned: false,
            };
            let Some(standing) = self.ledger.note(id, evaluation) else { continue };
            let alert = self.of_series(series, label, &standing);
            self.ledger.keep(id, &alert);
            beacons.fix_id(key, id);
            if standing.emit {
                sink(alert);
            }
        }
    }

    /// Emits what is new of something that a detector counted.
    pub(super) fn finding(&mut self, finding: Finding, sink: &mut impl FnMut(Alert)) {
        if !self.knowledge.detectors.admit(finding.class) {
            return;
        }
        let points: f64 = finding.parts.iter().map(|part| part.points).sum();
        if points <= self.least_points() {
            return;
        }
        let id = ledger::counted_id(&self.scope.host, &finding);
        let ceiling = finding.ceiling;
        let severity = score::severity_of(points).min(ceiling);
        let callbacks = finding.evidence.callbacks;
        let standing = self.ledger.standing_of(&id, ledger::NO_SERIES);
        let mut alert = explain::counted(&self.scope.host, finding, points, severity, &standing);
        let lift = self.complete(&mut alert, ceiling);
        if points + lift <= score::ALERT_POINTS {
            return;
        }
        let (points, severity) = (alert.points, alert.severity);
        if self.holds_back(&alert) {
            return;
        }
        let now = self.scope.now;
        let evaluation =
            Evaluation { series: ledger::NO_SERIES, points, severity, callbacks, now, orphaned: false };
        let Some(standing) = self.ledger.note(id, evaluation) else { return };
        explain::stand(&mut alert, &standing);
        self.ledger.keep(id, &alert);
        if standing.emit {
            sink(alert);
        }
    }

    /// Emits what is an alert, was held back so far, and is not any more.
    pub(super) fn bring_back(&mut self, beacons: &mut BeaconDetector, sink: &mut impl FnMut(Alert)) {
        let held: Vec<_> = beacons
            .iter()
            .filter(|(_, _, label)| label.peak.is_some_and(|peak| peak.points > self.least_points()))
            .map(|(key, _, _)| key)
            .collect();
        for key in held {
            let Some((series, label)) = beacons.find(key) else { continue };
            let id = ledger::finding_id(&self.scope.host, label);
            let Some(peak) = label.peak.filter(|_| self.ledger.series_of(&id).is_none()) else { continue };
            let (as_listed, lift) = self.of_series_lifted(series, label, &self.ledger.standing_of(&id, key));
            if peak.points + lift <= score::ALERT_POINTS || self.is_held(&as_listed) {
                continue;
            }
            let evaluation = Evaluation {
                series: key,
                points: peak.points,
                severity: as_listed.severity,
                callbacks: series.check_ins(),
                now: self.scope.now,
                orphaned: false,
            };
            let Some(standing) = self.ledger.note(id, evaluation) else { continue };
            let alert = self.of_series(series, label, &standing);
            self.ledger.keep(id, &alert);
            beacons.fix_id(key, id);
            if standing.emit {
                sink(alert);
            }
        }
    }

    /// Emits what time alone brings: findings that went silent are closed, and those that go on are told of once a day.
    pub(super) fn review(&mut self, beacons: &BeaconDetector, now: Timestamp, sink: &mut impl FnMut(Alert)) {
        let seen = |series| {
            let (series, _) = beacons.find(series)?;
            Some((series.last_seen(), series.check_ins()))
        };
        for due in self.ledger.due(now, seen) {
            let change = due.change;
            let standing = self.ledger.standing_of(&due.id, due.series);
            let Some(alert) = self.ledger.get(&due.id).and_then(|entry| {
                let of_series = beacons.find(entry.series).filter(|(_, label)| {
                    ledger::finding_id(&self.scope.host, label) == due.id && label.peak.is_some()
                });
                match of_series {
                    Some((series, label)) => Some(self.of_series(series, label, &standing)),
                    None => entry.snapshot(&standing),
                }
            }) else {
                self.ledger.tell(due, now, true);
                continue;
            };
            let held = self.is_held(&alert);
            let Some(standing) = self.ledger.tell(due, now, held) else { continue };
            if !held {
                sink(Alert { change, revision: standing.revision, time: now, ..alert });
            }
        }
    }

    /// The final state of each finding that is an alert.
    pub(super) fn alerts(&self, beacons: &BeaconDetector) -> impl Iterator<Item = Alert> {
        self.ledger.iter().filter_map(|(id, entry)| self.alert(beacons, id, entry))
    }

    fn alert(&self, beacons: &BeaconDetector, id: &FindingId, entry: &Entry) -> Option<Alert> {
        let host = &self.scope.host;
        let standing = entry.standing(Change::Final, None, false);
        // The series may have left since, or begun anew; then the alert stands as it was.
        let still = |(_, label): &(&Series, &Label)| {
            ledger::finding_id(host, label) == *id
                && label.peak.is_some_and(|peak| peak.points >= entry.points)
        };
        match beacons.find(entry.series).filter(still) {
            Some((series, label)) => Some(self.marked(self.of_series(series, label, &standing))),
            None => entry.snapshot(&standing).map(|alert| self.marked(alert)),
        }
    }

    /// An alert with the entry or profile that holds it back, if one does.
    fn marked(&self, mut alert: Alert) -> Alert {
        // What is no alert needs no word on what it nearly is.
        let told = alert.severity >= Severity::Medium;
        alert.profile = self.knowledge.profiles.of(&alert).filter(|note| note.matched || told);
        if !self.suppressions.is_empty() {
            alert.suppressed_by = self.suppressions.of(&alert, self.scope.now);
        }
        alert
    }

    /// A series as it is listed.
    pub(super) fn row(&self, key: u64, series: &Series, label: &Label) -> Alert {
        let standing = self.ledger.standing_of(&ledger::finding_id(&self.scope.host, label), key);
        self.marked(self.of_series(series, label, &standing))
    }
}

/// The profile that excuses an alert. What a feed names is excused by none.
fn excuse(alert: &Alert) -> Option<&str> {
    let note = alert.profile.as_ref().filter(|note| note.excused && alert.indicators.is_empty())?;
    Some(&note.name)
}
