//! The published hunting rule for `DeviceNetworkEvents`, to the letter: what a team may run today, in one pass over its
//! export.
//!
//! It counts connections and averages their spacing; it knows no jitter and no history. Sonde's own scoring does not
//! contain it. What it keeps and why each doubt was settled as it is stands in `docs/compare.md`.

mod lists;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use arrayvec::ArrayVec;
use serde::Serialize;

use super::budget::Budget;
use super::groups::Groups;
use super::record::{Record, array};
use super::set::SmallSet;
use super::{DAY_NANOS, Limits, Lost};
use crate::encode::csv::cell;
use crate::format::row::{ATTRIBUTES_LEAD, Hunted, Kind, Row};
use crate::time::{NANOS_PER_SEC, Timestamp};
use lists::{is_client, is_known_good, is_tool};

/// Ports that a group names.
pub const MAX_PORTS: usize = 10;
/// Processes that a group names.
pub const MAX_PROCESSES: usize = 5;
/// Connections that a group must have.
const MIN_CONNECTIONS: u64 = 10;
/// Minutes that a group must last longer than.
const MIN_DURATION_MINUTES: i64 = 30;
/// Connections that a regular group must have more of to score without a suspicious process.
const MANY_CONNECTIONS: u64 = 30;
/// Average intervals that count as a beacon's, in minutes, both ends included.
const BEACON_MINUTES: std::ops::RangeInclusive<f64> = 0.5..=60.0;
/// Ports there are.
const PORTS: u32 = 65_536;

/// A row of `DeviceNetworkEvents`: the columns that the rule reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SentinelRow<'a> {
    /// `Timestamp`.
    pub time: Timestamp,
    /// The others.
    pub hunted: Hunted<'a>,
}

impl<'a> SentinelRow<'a> {
    /// The columns of a log's row; `None` if the log is not the one that the rule is written for.
    ///
    /// A row's own time says when it is to be taken up, which is not always when it happened.
    #[must_use]
    pub fn of(row: &Row<'a>) -> Option<Self> {
        let time = match &row.kind {
            Kind::Connection(connection) => connection.start,
            Kind::Dns(dns) => dns.start,
            Kind::Attributes(_) => row.time.plus_nanos(ATTRIBUTES_LEAD),
            Kind::Other | Kind::Exchange(_) | Kind::Started => row.time,
        };
        row.hunted.map(|hunted| Self { time, hunted })
    }
}

/// A group that the rule reports. The fields are its columns, in their order; `docs/compare.md` describes them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SentinelGroup {
    /// The latest connection.
    pub timestamp: Timestamp,
    /// The host.
    pub device_name: String,
    /// The account.
    pub account_name: String,
    /// The address called.
    #[serde(rename = "RemoteIP")]
    pub remote_ip: String,
    /// The URL or name called, as the log has it.
    pub remote_url: String,
    /// Rows kept.
    pub connection_count: u64,
    /// Minute boundaries between the first connection and the latest.
    pub duration_minutes: i64,
    /// `duration_minutes` over `connection_count`.
    pub avg_interval_minutes: f64,
    /// Different remote ports.
    pub distinct_ports: u32,
    /// The lowest [`MAX_PORTS`] of them, ascending.
    pub ports: Vec<u16>,
    /// The first [`MAX_PROCESSES`] process names, in the order in which they first appear.
    pub processes: Vec<String>,
    /// Whether any process of the group, named or not, is a listed tool.
    pub is_suspicious_process: bool,
    /// Whether the average interval is between half a minute and an hour.
    pub is_beacon_interval: bool,
    /// 1 to 3.
    pub risk_score: u8,
}

/// The rule, being fed.
#[derive(Debug)]
pub struct Sentinel {
    since: Timestamp,
    /// By device, account, address and URL.
    groups: Groups<Group, 4>,
    budget: Budget,
    lost: Lost,
}

#[derive(Debug)]
struct Group {
    connections: u64,
    first: Timestamp,
    last: Timestamp,
    ports: SmallSet,
    /// In the order in which they first appear, which is the order of time and, at one time, that of arrival.
    processes: ArrayVec<(Timestamp, Box<str>), MAX_PROCESSES>,
    suspicious: bool,
}

impl Sentinel {
    /// The rule as of `now`: the newest `Timestamp` of all rows, also of those that it leaves out, or what the user says.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self::with_limits(now, Limits::default())
    }

    /// As [`new`](Self::new), with limits of one's own.
    #[must_use]
    pub fn with_limits(now: Timestamp, limits: Limits) -> Self {
        Self {
            since: now.plus_nanos(-DAY_NANOS),
            groups: Groups::new(limits.groups),
            budget: Budget::new(limits.bytes),
            lost: Lost::default(),
        }
    }

    /// What did not fit.
    #[must_use]
    pub const fn lost(&self) -> Lost {
        self.lost
    }

    /// Groups being followed.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Whether the rule counts this row.
    #[must_use]
    pub fn keeps(&self, row: &SentinelRow<'_>) -> bool {
        let hunted = &row.hunted;
        row.time > self.since
            && hunted.action_type == "ConnectionSuccess"
            && hunted.remote_ip_type == "Public"
            && !is_known_good(hunted.remote_url)
            && !is_client(hunted.process_name)
    }

    /// Takes a row; in any order.
    pub fn add(&mut self, row: &SentinelRow<'_>) {
        if !self.keeps(row) {
            return;
        }
        let hunted = &row.hunted;
        let parts = [hunted.device_name, hunted.account_name, hunted.remote_ip, hunted.remote_url];
        let Some(group) = self.groups.find_or_add(parts, &mut self.budget, || Group::new(row.time)) else {
            self.lost.rows += 1;
            return;
        };
        group.connections += 1;
        group.first = group.first.min(row.time);
        group.last = group.last.max(row.time);
        // A null port is no member of a set; an empty process name is text, and so it is.
        if let Some(port) = row.hunted.remote_port.map(u32::from) {
            if self.budget.take(group.ports.cost(port)) {
                group.ports.insert(port);
            } else {
                self.lost.details += 1;
            }
        }
        group.suspicious = group.suspicious || is_tool(row.hunted.process_name);
        if !group.add_process(row.time, row.hunted.process_name, &mut self.budget) {
            self.lost.details += 1;
        }
    }

    /// The groups that the rule reports, the riskiest first.
    #[must_use]
    pub fn finish(self) -> Vec<SentinelGroup> {
        let mut found: Vec<SentinelGroup> =
            self.groups.iter().filter_map(|(key, group)| group.report(key)).collect();
        found.sort_unstable_by(|a, b| {
            let risk = |group: &SentinelGroup| (group.risk_score, group.connection_count);
            risk(b).cmp(&risk(a)).then_with(|| a.key().cmp(&b.key()))
        });
        found
    }
}

impl SentinelGroup {
    /// The columns that the group is made by.
    fn key(&self) -> [&str; 4] {
        [&self.device_name, &self.account_name, &self.remote_ip, &self.remote_url].map(String::as_str)
    }
}

impl Group {
    const fn new(time: Timestamp) -> Self {
        Self {
            connections: 0,
            first: time,
            last: time,
            ports: SmallSet::new(PORTS),
            processes: ArrayVec::new_const(),
            suspicious: false,
        }
    }

    /// Remembers a name among the first; false if there is no room for it.
    fn add_process(&mut self, time: Timestamp, name: &str, budget: &mut Budget) -> bool {
        // In order of time nothing changes any more once the first names are known, so this is what is asked first.
        let known = self.processes.iter().position(|(_, known)| **known == *name);
        match known.and_then(|at| self.processes.get(at)) {
            Some((first, _)) if *first <= time => return true,
            None if self.processes.is_full()
                && self.processes.last().is_some_and(|(last, _)| *last <= time) =>
            {
                return true;
            }
            _ => {}
        }
        let text = match known.and_then(|at| self.processes.pop_at(at)) {
            Some((_, text)) => text,
            None => {
                if !budget.take(name.len()) {
                    return false;
                }
                if self.processes.is_full()
                    && let Some((_, left)) = self.processes.pop()
                {
                    budget.give_back(left.len());
                }
                name.into()
            }
        };
        let place = self.processes.partition_point(|(first, _)| *first <= time);
        self.processes.try_insert(place, (time, text)).is_ok()
    }

    fn report(&self, key: [&str; 4]) -> Option<SentinelGroup> {
        let duration_minutes = minute(self.last) - minute(self.first);
        if self.connections < MIN_CONNECTIONS || duration_minutes <= MIN_DURATION_MINUTES {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "minutes of a day and rows of a file are far below 2^53"
        )]
        let avg_interval_minutes = duration_minutes as f64 / self.connections as f64;
        let is_beacon_interval = BEACON_MINUTES.contains(&avg_interval_minutes);
        let risk_score = match (self.suspicious, is_beacon_interval) {
            (false, false) => return None,
            (true, true) => 3,
            (true, false) => 2,
            (false, true) if self.connections > MANY_CONNECTIONS => 2,
            (false, true) => 1,
        };
        let [device_name, account_name, remote_ip, remote_url] = key.map(str::to_owned);
        Some(SentinelGroup {
            timestamp: self.last,
            device_name,
            account_name,
            remote_ip,
            remote_url,
            connection_count: self.connections,
            duration_minutes,
            avg_interval_minutes,
            distinct_ports: self.ports.len(),
            ports: self.ports.iter().take(MAX_PORTS).filter_map(|port| port.try_into().ok()).collect(),
            processes: self.processes.iter().map(|(_, name)| name.to_string()).collect(),
            is_suspicious_process: self.suspicious,
            is_beacon_interval,
            risk_score,
        })
    }
}

/// Minutes since the epoch, rounded down: `datetime_diff('minute', …)` is the difference of two of them.
const fn minute(time: Timestamp) -> i64 {
    time.nanos().div_euclid(60 * NANOS_PER_SEC)
}

impl Record for SentinelGroup {
    const HEADER: &'static [&'static str] = &[
        "Timestamp",
        "DeviceName",
        "AccountName",
        "RemoteIP",
        "RemoteUrl",
        "ConnectionCount",
        "DurationMinutes",
        "AvgIntervalMinutes",
        "DistinctPorts",
        "Ports",
        "Processes",
        "IsSuspiciousProcess",
        "IsBeaconInterval",
        "RiskScore",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.timestamp.to_string(),
            cell(&self.device_name),
            cell(&self.account_name),
            cell(&self.remote_ip),
            cell(&self.remote_url),
            self.connection_count.to_string(),
            self.duration_minutes.to_string(),
            self.avg_interval_minutes.to_string(),
            self.distinct_ports.to_string(),
            array(&self.ports),
            array(&self.processes),
            self.is_suspicious_process.to_string(),
            self.is_beacon_interval.to_string(),
            self.risk_score.to_string(),
        ]
    }
}
