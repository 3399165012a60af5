//! One table of what the hunting rule, RITA's score and Sonde say of each host and destination: what a team would lose and
//! gain by moving over.
//!
//! A destination of two answers is the same if their names are, where both have one, and else if their addresses are.
//! `docs/compare.md` describes the columns.

mod join;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::record::Record;
use super::rita::RitaUnit;
use super::sentinel::SentinelGroup;
use crate::alert::{Alert, Severity};
use crate::encode::csv::cell;
use crate::encode::rounded;
use crate::human;
use join::{Table, name_of};

/// What counts as found. The hunting rule needs none: what it lists, it found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Least score of RITA's.
    pub rita: f64,
    /// Least severity of Sonde's.
    pub sonde: Severity,
}

impl Default for Thresholds {
    /// Sonde's own: an alert begins at medium. RITA only ranks; three quarters is where its answers begin to be worth a look.
    fn default() -> Self {
        Self { rita: 0.75, sonde: Severity::Medium }
    }
}

/// A destination of a host, and what each says of it. The fields are the columns, in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Compared {
    /// The host.
    pub host: String,
    /// Name of the destination, else its address.
    pub destination: String,
    /// Its address, where one of them tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Its port, where Sonde tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// File name of the program; of the first, where there are several.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub process: String,
    /// Which of them found it: `rule`, `rita`, `sonde`.
    pub found_by: Vec<&'static str>,
    /// Highest risk that the hunting rule gives to one of its groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_risk_score: Option<u8>,
    /// Connections of that group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_connections: Option<u64>,
    /// Average interval of that group, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_avg_interval_minutes: Option<f64>,
    /// Highest score of RITA's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rita_score: Option<f64>,
    /// Connections of that pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rita_connections: Option<u64>,
    /// Severity of Sonde's highest-scoring finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sonde_severity: Option<Severity>,
    /// Its score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sonde_score: Option<f64>,
    /// Its period, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sonde_period_secs: Option<f64>,
    /// Its callbacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sonde_callbacks: Option<u32>,
    /// Its sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sonde_reason: String,
}

/// The rows, and how many were found by whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Sonde's highest score first, then RITA's, then the rule's.
    pub rows: Vec<Compared>,
    /// How many of all of them were found by whom.
    pub summary: Summary,
}

/// Destinations by who found them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// By all three.
    pub all: u64,
    /// By Sonde and the hunting rule.
    pub sonde_and_rule: u64,
    /// By Sonde and RITA.
    pub sonde_and_rita: u64,
    /// By the hunting rule and RITA: a team would lose them.
    pub rule_and_rita: u64,
    /// By Sonde alone: a team would gain them.
    pub only_sonde: u64,
    /// By the hunting rule alone: a team would lose them.
    pub only_rule: u64,
    /// By RITA alone.
    pub only_rita: u64,
    /// Seen by one of them at least, found by none.
    pub none: u64,
}

impl Summary {
    fn count(&mut self, rule: bool, rita: bool, sonde: bool) {
        let place = match (sonde, rule, rita) {
            (true, true, true) => &mut self.all,
            (true, true, false) => &mut self.sonde_and_rule,
            (true, false, true) => &mut self.sonde_and_rita,
            (false, true, true) => &mut self.rule_and_rita,
            (true, false, false) => &mut self.only_sonde,
            (false, true, false) => &mut self.only_rule,
            (false, false, true) => &mut self.only_rita,
            (false, false, false) => &mut self.none,
        };
        *place += 1;
    }

    /// Destinations that Sonde finds and the hunting rule does not.
    #[must_use]
    pub const fn gained(&self) -> u64 {
        self.only_sonde + self.sonde_and_rita
    }

    /// Destinations that the hunting rule finds and Sonde does not.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.only_rule + self.rule_and_rita
    }
}

impl fmt::Display for Summary {
    /// One line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            all, sonde_and_rule, sonde_and_rita, rule_and_rita, only_sonde, only_rule, only_rita, ..
        } = *self;
        let found: u64 =
            [all, sonde_and_rule, sonde_and_rita, rule_and_rita, only_sonde, only_rule, only_rita]
                .iter()
                .sum();
        write!(
            f,
            "{} found: {} by all three, {} by Sonde and the rule, {} by Sonde and RITA, {} by the rule and RITA; \
             only by Sonde {}, only by the rule {}, only by RITA {}. Against the rule, Sonde gains {} and loses {}.",
            match found {
                1 => "1 destination".to_owned(),
                n => format!("{} destinations", human::count(n)),
            },
            human::count(all),
            human::count(sonde_and_rule),
            human::count(sonde_and_rita),
            human::count(rule_and_rita),
            human::count(only_sonde),
            human::count(only_rule),
            human::count(only_rita),
            human::count(self.gained()),
            human::count(self.lost()),
        )
    }
}

/// Joins the three answers. Rows that none of them found are counted, and left out unless `everything` is asked for.
#[must_use]
pub fn compare(
    groups: &[SentinelGroup],
    units: &[RitaUnit],
    alerts: &[Alert],
    thresholds: &Thresholds,
    everything: bool,
) -> Comparison {
    let mut table = Table::default();
    let mut ranked: Vec<&Alert> = alerts.iter().collect();
    ranked.sort_by(|a, b| {
        score(b).total_cmp(&score(a)).then_with(|| {
            let key = |alert: &&Alert| (alert.destination.ip, alert.destination.port, alert.id);
            (&a.host, &a.destination.name, key(a)).cmp(&(&b.host, &b.destination.name, key(b)))
        })
    });
    let places: Vec<usize> = ranked.iter().map(|alert| table.add_alert(alert)).collect();
    // What a destination is also called stands back behind what others are called in the first place.
    for (alert, &place) in ranked.iter().zip(&places) {
        table.add_aliases(alert, place);
    }
    // By an address only joins who has no name: so who has one goes first.
    let named = |group: &&SentinelGroup| !name_of(group).is_empty();
    groups.iter().filter(named).for_each(|group| table.add_group(group));
    groups.iter().filter(|group| !named(group)).for_each(|group| table.add_group(group));
    for unit in units {
        table.add_unit(unit);
    }
    let mut comparison = Comparison::default();
    for mut row in table.rows {
        let rule = row.rule_risk_score.is_some();
        let rita = row.rita_score.is_some_and(|score| score >= thresholds.rita);
        let sonde = row.sonde_severity.is_some_and(|severity| severity >= thresholds.sonde);
        comparison.summary.count(rule, rita, sonde);
        row.found_by = [(rule, "rule"), (rita, "rita"), (sonde, "sonde")]
            .into_iter()
            .filter_map(|(found, name)| found.then_some(name))
            .collect();
        if everything || !row.found_by.is_empty() {
            comparison.rows.push(row);
        }
    }
    comparison.rows.sort_by(order);
    comparison
}

/// Highest first, what is absent last.
fn descending(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0))
}

fn order(a: &Compared, b: &Compared) -> Ordering {
    descending(a.sonde_score, b.sonde_score)
        .then_with(|| descending(a.rita_score, b.rita_score))
        .then_with(|| (b.rule_risk_score, b.rule_connections).cmp(&(a.rule_risk_score, a.rule_connections)))
        .then_with(|| (&a.host, &a.destination, a.ip).cmp(&(&b.host, &b.destination, b.ip)))
}

/// The score as alerts print it.
fn score(alert: &Alert) -> f64 {
    rounded(alert.score.clamp(0.0, 1.0), 4).unwrap_or(0.0)
}

impl Record for Compared {
    const HEADER: &'static [&'static str] = &[
        "host",
        "destination",
        "ip",
        "port",
        "process",
        "found_by",
        "rule_risk_score",
        "rule_connections",
        "rule_avg_interval_minutes",
        "rita_score",
        "rita_connections",
        "sonde_severity",
        "sonde_score",
        "sonde_period_secs",
        "sonde_callbacks",
        "sonde_reason",
    ];

    fn cells(&self) -> Vec<String> {
        fn known<T: ToString>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        vec![
            cell(&self.host),
            cell(&self.destination),
            known(self.ip),
            known(self.port),
            cell(&self.process),
            self.found_by.join("; "),
            known(self.rule_risk_score),
            known(self.rule_connections),
            known(self.rule_avg_interval_minutes),
            known(self.rita_score),
            known(self.rita_connections),
            known(self.sonde_severity),
            known(self.sonde_score),
            known(self.sonde_period_secs),
            known(self.sonde_callbacks),
            cell(&self.sonde_reason),
        ]
    }
}
