//! Judges what the detectors found: scores it, asks the known-good entries, keeps the ledger, makes the alert.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ledger::{self, Entry, Evaluation, Ledger};
use super::scope::Scope;
use crate::alert::{Alert, Change, FindingId, Severity};
use crate::context;
use crate::detect::beacon::label::{Label, Peak};
use crate::detect::beacon::series::Series;
use crate::detect::beacon::{BeaconDetector, Evaluated};
use crate::detect::{Finding, Host as _, Seen};
use crate::domain::registrable;
use crate::explain;
use crate::knowledge::Knowledge;
use crate::profile::Excused;
use crate::score::{self, Fact};
use crate::suppress::Suppressions;

/// What a verdict takes.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) scope: Scope,
    pub(super) ledger: Ledger,
    pub(super) suppressions: Suppressions,
    pub(super) knowledge: Arc<Knowledge>,
    /// What each profile held back, by its name: no more than there are profiles.
    pub(super) excused: BTreeMap<String, Excused>,
}

impl Judge {
    pub(super) fn new(scope: Scope, ledger_bytes: usize) -> Self {
        Self {
            scope,
            ledger: Ledger::new(ledger_bytes),
            suppressions: Suppressions::default(),
            knowledge: Arc::default(),
            excused: BTreeMap::new(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.scope.known_bytes + self.ledger.memory_bytes() + self.suppressions.memory_bytes()
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
        let known_days = self.scope.known_days(domain, label.ip);
        let mut facts = context::facts(
            series,
            label,
            seen.program,
            domain,
            known_days,
            &self.scope.facts,
            self.scope.now,
        );
        if seen.program.is_some_and(|program| self.knowledge.profiles.imitates(&program.info).is_some()) {
            facts.set(Fact::Masquerade, Some(true));
        }
        let points = score::points(timing.bans, facts);
        // Of equal scores the latest stands: it has seen the most callbacks.
        if label.peak.is_none_or(|peak| points >= peak.points) {
            beacons.note_peak(slot, Peak { time: self.scope.now, timing, facts, points });
        }
        if points <= score::ALERT_POINTS {
            return;
        }
        let Some((series, label)) = beacons.get(slot) else { return };
        let id = ledger::finding_id(&self.scope.host, label);
        let severity = score::severity(timing.bans, points, context::ceiling(label));
        // What is held back is no emission: once it is not any more, it is told as if it were found then.
        if !self.suppressions.is_empty() || !self.knowledge.profiles.is_empty() {
            let standing = self.ledger.standing_of(&id, beacons.key_of(slot));
            if self.holds_back(&mut explain::alert(&self.scope.host, series, label, &standing)) {
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
        let mut alert = explain::alert(&self.scope.host, series, label, &standing);
        alert.profile = self.knowledge.profiles.of(&alert);
        self.ledger.keep(id, &alert);
        if standing.emit {
            sink(alert);
        }
    }

    /// Whether a known-good entry or a profile holds an alert back; it is counted if so. Notes the profile in it.
    fn holds_back(&mut self, alert: &mut Alert) -> bool {
        let now = self.scope.now;
        if let Some(held) = self.suppressions.of(alert, now) {
            self.suppressions.count(held.entry, now);
            return true;
        }
        alert.profile = self.knowledge.profiles.of(alert);
        let Some(note) = alert.profile.as_ref().filter(|note| note.excused) else { return false };
        let excused = self.excused.entry(note.name.clone()).or_default();
        excused.count = excused.count.saturating_add(1);
        excused.last = now;
        true
    }

    /// Emits what is new of something that a detector counted.
    pub(super) fn finding(&mut self, finding: Finding, sink: &mut impl FnMut(Alert)) {
        let points: f64 = finding.parts.iter().map(|part| part.points).sum();
        if points <= score::ALERT_POINTS {
            return;
        }
        let id = ledger::counted_id(&self.scope.host, &finding);
        let severity = score::severity_of(points).min(finding.ceiling);
        let callbacks = finding.evidence.callbacks;
        let standing = self.ledger.standing_of(&id, ledger::NO_SERIES);
        let mut alert = explain::counted(&self.scope.host, finding, points, severity, &standing);
        if self.holds_back(&mut alert) {
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
        let Self { scope, ledger, suppressions, knowledge, .. } = self;
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
            let profile = knowledge.profiles.of(&as_listed);
            if suppressions.of(&as_listed, scope.now).is_some()
                || profile.as_ref().is_some_and(|note| note.excused)
            {
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
            let mut alert = explain::alert(&scope.host, series, label, &standing);
            alert.profile = profile;
            ledger.keep(id, &alert);
            beacons.fix_id(key, id);
            if standing.emit {
                sink(alert);
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
            Some((series, label)) => Some(self.marked(explain::alert(host, series, label, &standing))),
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
        self.marked(explain::alert(&self.scope.host, series, label, &standing))
    }
}
