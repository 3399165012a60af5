//! Scores as RITA 5 gives them, per source and destination, written from a description of its formulas.
//!
//! Only the four parts and their mean: none of the modifiers (prevalence, first seen, threat intelligence) that RITA adds to
//! its final score. What the description leaves open and how it was settled stands in `docs/compare.md`.

mod parts;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::budget::Budget;
use super::groups::Groups;
use super::record::Record;
use super::set::SmallSet;
use super::{DAY_NANOS, Limits, Lost};
use crate::encode::csv::cell;
use crate::time::{NANOS_PER_SEC, Timestamp};
use parts::{duration_score, histogram_score, size_score, timestamp_score};

/// Parts that the window is cut into.
const BINS: usize = 24;
/// Seconds of one of them.
const BIN_SECS: i64 = 3_600;
/// Seconds of the window.
const WINDOW_SECS: i64 = 24 * BIN_SECS;
/// Different seconds that a pair must have connections in.
const MIN_SECONDS: u32 = 4;
/// Different sizes kept for a pair: as many as RITA keeps times.
const MAX_SIZES: usize = 86_400;

/// A connection, as RITA sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RitaRow<'a> {
    /// When it started.
    pub time: Timestamp,
    /// The host.
    pub source: &'a str,
    /// FQDN, else address.
    pub destination: &'a str,
    /// Bytes that the host sent, IP headers included where the source tells them.
    pub bytes: Option<u64>,
}

/// A scored pair of source and destination. The fields are its columns, in their order. All scores are 0..=1, with three
/// decimals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RitaUnit {
    /// The host.
    pub source: String,
    /// FQDN, else address.
    pub destination: String,
    /// Connections.
    pub connections: u64,
    /// Mean of the four that follow.
    pub score: f64,
    /// How even the intervals are.
    pub ts_score: f64,
    /// How even the sizes are.
    pub ds_score: f64,
    /// How much of the day is covered.
    pub dur_score: f64,
    /// How even the hours are.
    pub hist_score: f64,
    /// First connection of the window.
    pub first_seen: Timestamp,
    /// Latest connection.
    pub last_seen: Timestamp,
    /// Bytes sent, as far as they are known.
    pub bytes_out: u64,
}

/// The scores, being fed.
#[derive(Debug)]
pub struct Rita {
    /// The newest time, in whole seconds.
    newest: i64,
    /// The second from which connections count: the hour in which the last 24 hours begin.
    since: i64,
    /// By source and destination.
    units: Groups<Unit, 2>,
    budget: Budget,
    lost: Lost,
}

#[derive(Debug)]
struct Unit {
    connections: u64,
    /// Seconds since `since`.
    seconds: SmallSet,
    bins: [u32; BINS],
    sizes: BTreeMap<u64, u64>,
    bytes_out: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Rita {
    /// Scores as of `newest`, the time of the newest connection.
    #[must_use]
    pub fn new(newest: Timestamp) -> Self {
        Self::with_limits(newest, Limits::default())
    }

    /// As [`new`](Self::new), with limits of one's own.
    #[must_use]
    pub fn with_limits(newest: Timestamp, limits: Limits) -> Self {
        let newest = second(newest);
        Self {
            newest,
            since: (newest - WINDOW_SECS).div_euclid(BIN_SECS) * BIN_SECS,
            units: Groups::new(limits.groups),
            budget: Budget::new(limits.bytes),
            lost: Lost::default(),
        }
    }

    /// What did not fit.
    #[must_use]
    pub const fn lost(&self) -> Lost {
        self.lost
    }

    /// Pairs being followed.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// Takes a connection; in any order.
    pub fn add(&mut self, row: &RitaRow<'_>) {
        let second = second(row.time);
        if second < self.since || second > self.newest {
            return;
        }
        let parts = [row.source, row.destination];
        let Some(unit) = self.units.find_or_add(parts, &mut self.budget, || Unit::new(row.time)) else {
            self.lost.rows += 1;
            return;
        };
        // An hour more than the window goes into its first bin.
        let bin = (second - (self.newest - WINDOW_SECS)).div_euclid(BIN_SECS);
        let bin = usize::try_from(bin).unwrap_or(0).min(BINS - 1);
        unit.connections += 1;
        unit.first = unit.first.min(row.time);
        unit.last = unit.last.max(row.time);
        if let Some(count) = unit.bins.get_mut(bin) {
            *count = count.saturating_add(1);
        }
        if let Ok(offset) = u32::try_from(second - self.since) {
            if self.budget.take(unit.seconds.cost(offset)) {
                unit.seconds.insert(offset);
            } else {
                self.lost.details += 1;
            }
        }
        let Some(bytes) = row.bytes else { return };
        unit.bytes_out = unit.bytes_out.saturating_add(bytes);
        if let Some(count) = unit.sizes.get_mut(&bytes) {
            *count += 1;
        } else if unit.sizes.len() < MAX_SIZES && self.budget.take(SIZE_BYTES) {
            unit.sizes.insert(bytes, 1);
        } else {
            self.lost.details += 1;
        }
    }

    /// The pairs that can be scored, the highest score first.
    #[must_use]
    pub fn finish(self) -> Vec<RitaUnit> {
        let mut scored: Vec<RitaUnit> = self.units.iter().filter_map(|(key, unit)| unit.score(key)).collect();
        scored.sort_unstable_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| b.connections.cmp(&a.connections))
                .then_with(|| (&a.source, &a.destination).cmp(&(&b.source, &b.destination)))
        });
        scored
    }
}

/// Seconds that can count: the window, the rest of the hour before it, and its last second.
const SECONDS: u32 = 86_400 + 3_600 + 1;
const _: () = assert!(DAY_NANOS == WINDOW_SECS * NANOS_PER_SEC, "both rules look back a day");
/// What a size takes in a tree whose nodes are half full.
const SIZE_BYTES: usize = 2 * size_of::<(u64, u64)>();

const fn second(time: Timestamp) -> i64 {
    time.nanos().div_euclid(NANOS_PER_SEC)
}

impl Unit {
    const fn new(time: Timestamp) -> Self {
        Self {
            connections: 0,
            seconds: SmallSet::new(SECONDS),
            bins: [0; BINS],
            sizes: BTreeMap::new(),
            bytes_out: 0,
            first: time,
            last: time,
        }
    }

    fn score(&self, [source, destination]: [&str; 2]) -> Option<RitaUnit> {
        if self.seconds.len() < MIN_SECONDS {
            return None;
        }
        let times: Vec<u32> = self.seconds.iter().collect();
        let parts = [
            timestamp_score(&times),
            size_score(&self.sizes),
            duration_score(&self.bins, &times),
            histogram_score(&self.bins),
        ];
        // Thousandths, so that half of one is rounded alike everywhere.
        let mean = (parts.iter().sum::<u32>() + 2) / 4;
        let [ts_score, ds_score, dur_score, hist_score] = parts.map(unit_interval);
        Some(RitaUnit {
            source: source.to_owned(),
            destination: destination.to_owned(),
            connections: self.connections,
            score: unit_interval(mean),
            ts_score,
            ds_score,
            dur_score,
            hist_score,
            first_seen: self.first,
            last_seen: self.last,
            bytes_out: self.bytes_out,
        })
    }
}

/// Thousandths as a number.
fn unit_interval(thousandths: u32) -> f64 {
    f64::from(thousandths) / 1_000.0
}

impl Record for RitaUnit {
    const HEADER: &'static [&'static str] = &[
        "source",
        "destination",
        "connections",
        "score",
        "ts_score",
        "ds_score",
        "dur_score",
        "hist_score",
        "first_seen",
        "last_seen",
        "bytes_out",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            cell(&self.source),
            cell(&self.destination),
            self.connections.to_string(),
            self.score.to_string(),
            self.ts_score.to_string(),
            self.ds_score.to_string(),
            self.dur_score.to_string(),
            self.hist_score.to_string(),
            self.first_seen.to_string(),
            self.last_seen.to_string(),
            self.bytes_out.to_string(),
        ]
    }
}
