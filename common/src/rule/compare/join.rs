//! Who meets whom: rows found by host and name, or by host and address where one of the two has no name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Compared, score};
use crate::alert::Alert;
use crate::encode::rounded;
use crate::format::fields;
use crate::process::image_name;
use crate::rule::rita::RitaUnit;
use crate::rule::sentinel::SentinelGroup;

/// The rows being joined, and where they are.
#[derive(Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Compared>,
    by_name: BTreeMap<(String, String), usize>,
    by_ip: BTreeMap<(String, IpAddr), AtAddress>,
}

/// The first rows at an address.
#[derive(Clone, Copy, Default)]
struct AtAddress {
    /// Of those that have no name.
    nameless: Option<usize>,
    /// Of all.
    any: Option<usize>,
}

/// A destination as it is looked for.
struct Sought {
    host: String,
    /// Empty without a name.
    name: String,
    ip: Option<IpAddr>,
}

impl Sought {
    fn new(host: &str, name: &str, ip: Option<IpAddr>) -> Self {
        let literal = fields::address(name);
        let name = if literal.is_some() { String::new() } else { spelled(name) };
        Self { host: host.to_ascii_lowercase(), name, ip: literal.or(ip).map(|ip| ip.to_canonical()) }
    }
}

/// The name in a group's URL; empty where it is an address or nothing.
pub(super) fn name_of(group: &SentinelGroup) -> &str {
    let host = fields::url_host(&group.remote_url);
    if fields::address(host).is_some() { "" } else { host }
}

/// A name in one spelling.
fn spelled(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Table {
    /// The row of a destination, a new one if there is none.
    fn place(&mut self, sought: &Sought, shown_host: &str, shown: &str) -> usize {
        if let Some(place) = self.find(sought) {
            return place;
        }
        let place = self.rows.len();
        self.rows.push(Compared {
            host: shown_host.to_owned(),
            destination: shown.to_owned(),
            ip: sought.ip,
            ..Compared::default()
        });
        if !sought.name.is_empty() {
            self.by_name.insert((sought.host.clone(), sought.name.clone()), place);
        }
        self.at_address(sought, place, sought.name.is_empty());
        place
    }

    fn at_address(&mut self, sought: &Sought, place: usize, nameless: bool) {
        let Some(ip) = sought.ip else { return };
        let rows = self.by_ip.entry((sought.host.clone(), ip)).or_default();
        rows.any.get_or_insert(place);
        if nameless {
            rows.nameless.get_or_insert(place);
        }
    }

    fn find(&self, sought: &Sought) -> Option<usize> {
        if !sought.name.is_empty()
            && let Some(&place) = self.by_name.get(&(sought.host.clone(), sought.name.clone()))
        {
            return Some(place);
        }
        let rows = self.by_ip.get(&(sought.host.clone(), sought.ip?))?;
        // Who has a name meets by address only who has none.
        if sought.name.is_empty() { rows.nameless.or(rows.any) } else { rows.nameless }
    }

    /// The highest-scoring alert of a destination comes first and fills its row.
    pub(super) fn add_alert(&mut self, alert: &Alert) -> usize {
        let destination = &alert.destination;
        let sought = Sought::new(&alert.host, &destination.name, destination.ip);
        // Two findings of Sonde's are one only by name: at one address there may be many.
        let known = if sought.name.is_empty() {
            sought.ip.and_then(|ip| self.by_ip.get(&(sought.host.clone(), ip))).and_then(|rows| rows.nameless)
        } else {
            self.by_name.get(&(sought.host.clone(), sought.name.clone())).copied()
        };
        if let Some(place) = known {
            return place;
        }
        let place = self.rows.len();
        let period = alert.evidence.period_secs;
        self.rows.push(Compared {
            host: alert.host.clone(),
            destination: destination.name.clone(),
            ip: sought.ip,
            port: (destination.port != 0).then_some(destination.port),
            process: alert
                .process
                .as_ref()
                .map(|process| image_name(&process.info.image).to_owned())
                .unwrap_or_default(),
            sonde_severity: Some(alert.severity),
            sonde_score: Some(score(alert)),
            sonde_period_secs: rounded(period, 3).filter(|&period| period > 0.0),
            sonde_callbacks: Some(alert.evidence.callbacks),
            sonde_reason: alert.reason.clone(),
            ..Compared::default()
        });
        if !sought.name.is_empty() {
            self.by_name.insert((sought.host.clone(), sought.name.clone()), place);
        }
        self.at_address(&sought, place, sought.name.is_empty());
        place
    }

    /// The other names of an alert's destination, and the members of its group.
    pub(super) fn add_aliases(&mut self, alert: &Alert, place: usize) {
        let destination = &alert.destination;
        // A Host header is easily forged: it is a name only where there is no other.
        let sure = [&destination.sni, &destination.connect_host, &destination.fqdn];
        let claimed = sure.iter().all(|name| name.is_empty()).then_some(&destination.http_host);
        for name in sure.into_iter().chain(claimed).chain(&destination.group) {
            let alias = Sought::new(&alert.host, name, None);
            if !alias.name.is_empty() {
                self.by_name.entry((alias.host.clone(), alias.name.clone())).or_insert(place);
            }
            self.at_address(&alias, place, true);
        }
    }

    pub(super) fn add_group(&mut self, group: &SentinelGroup) {
        let name = name_of(group);
        let ip = fields::address(&group.remote_ip);
        let shown = if name.is_empty() { group.remote_ip.as_str() } else { name };
        let place = self.place(&Sought::new(&group.device_name, name, ip), &group.device_name, shown);
        let Some(row) = self.rows.get_mut(place) else { return };
        row.ip = row.ip.or(ip);
        if row.process.is_empty() {
            row.process = group.processes.first().cloned().unwrap_or_default();
        }
        let new = (Some(group.risk_score), Some(group.connection_count));
        if new > (row.rule_risk_score, row.rule_connections) {
            (row.rule_risk_score, row.rule_connections) = new;
            row.rule_avg_interval_minutes = rounded(group.avg_interval_minutes, 4);
        }
    }

    pub(super) fn add_unit(&mut self, unit: &RitaUnit) {
        let sought = Sought::new(&unit.source, &unit.destination, None);
        let place = self.place(&sought, &unit.source, &unit.destination);
        let Some(row) = self.rows.get_mut(place) else { return };
        row.ip = row.ip.or(sought.ip);
        let better = row
            .rita_score
            .is_none_or(|score| (unit.score, Some(unit.connections)) > (score, row.rita_connections));
        if better {
            row.rita_score = Some(unit.score);
            row.rita_connections = Some(unit.connections);
        }
    }
}
