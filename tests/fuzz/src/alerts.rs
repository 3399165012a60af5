//! What must hold for any alert, whatever the events were.

use std::collections::HashMap;

use sonde_common::alert::{Alert, Change, FindingId, Severity};
use sonde_common::encode::{csv, native};
use sonde_common::score::{ALERT_POINTS, MIN_BANS};
use sonde_common::time::Timestamp;

/// Watches alerts as they are emitted.
#[derive(Debug, Default)]
pub struct Emissions {
    revisions: HashMap<FindingId, u32>,
    last: HashMap<String, Timestamp>,
    /// Alerts so far.
    pub count: usize,
}

impl Emissions {
    /// Says that the source's time went back: a big step is followed, so that alerts may go back once.
    pub fn time_goes_back(&mut self) {
        self.last.clear();
    }

    /// Takes the next one.
    pub fn take(&mut self, alert: &Alert) {
        self.count += 1;
        is_sound(alert);
        assert_ne!(alert.change, Change::Final);
        assert!(alert.severity >= Severity::Medium && alert.points > ALERT_POINTS);
        let last = self.last.entry(alert.host.clone()).or_insert(alert.time);
        assert!(alert.time >= *last, "alerts of one host go back in time");
        *last = alert.time;
        let revision = self.revisions.entry(alert.id).or_default();
        // One that left the full ledger begins anew.
        assert!(
            alert.revision == *revision + 1 || alert.revision == 1,
            "{} after {revision}",
            alert.revision
        );
        assert_eq!(alert.revision == 1, alert.change == Change::Created);
        *revision = alert.revision;
    }
}

/// Checks one alert, and that both its forms can be read back.
pub fn is_sound(alert: &Alert) {
    let evidence = &alert.evidence;
    for value in [
        alert.score,
        alert.points,
        evidence.bans,
        evidence.period_secs,
        evidence.interval_median_secs,
        evidence.jitter_mad_ratio,
        evidence.histogram.low_secs,
        evidence.histogram.high_secs,
        evidence.bytes_out_median.unwrap_or_default(),
        evidence.bytes_in_median.unwrap_or_default(),
    ] {
        assert!(value.is_finite(), "{alert:?}");
    }
    assert!((0.0..=1.0).contains(&alert.score));
    let sum: f64 = alert.parts.iter().map(|part| part.points).sum();
    assert!((sum - alert.points).abs() < 1e-6, "parts add up to {sum}: {alert:?}");
    let beacon = alert.class.is_beacon();
    if beacon {
        assert_eq!(alert.severity == Severity::Info, evidence.bans < MIN_BANS, "{alert:?}");
    }
    // Without a program, only a bare public address, and what was counted, may be more than medium.
    if alert.severity > Severity::Medium {
        assert!(
            !beacon || alert.process.is_some() || alert.destination.registrable_domain.is_empty(),
            "{alert:?}"
        );
        assert!(alert.points > 1.0);
    }
    assert!(evidence.matched <= evidence.of, "{alert:?}");
    assert!(evidence.first_seen <= evidence.last_seen && evidence.recent.is_sorted(), "{alert:?}");
    let json = native::to_json(alert);
    assert!(!json.contains('\n'));
    let value: serde_json::Value = serde_json::from_str(&json).expect("an alert is JSON");
    assert!(value.is_object());
    for cell in csv::row(alert) {
        assert!(cell.chars().all(sonde_common::text::is_plain), "{cell:?}");
        assert!(!cell.starts_with(['=', '@', '\t', '\r']), "{cell:?}");
    }
}

/// Checks a listing: each of its rows, and its order.
pub fn is_ranked(alerts: &[Alert]) {
    alerts.iter().for_each(is_sound);
    assert!(alerts.is_sorted_by(|a, b| a.points >= b.points));
}
