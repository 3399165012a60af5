//! A feed that comes later, held against all that is remembered: the labels of series, destinations seen of late, and the
//! names of passive DNS.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::weigh::{Sight, matches};
use super::{Caller, IndicatorDetector, asked_for, evidence, finding, subject};
use crate::alert::{Destination, Level};
use crate::certificate::Certificate;
use crate::detect::Finding;
use crate::detect::beacon::BeaconDetector;
use crate::detect::beacon::label::Label;
use crate::detect::beacon::series::Series;
use crate::domain::registrable;
use crate::feed::Index;
use crate::names::PassiveNames;

/// Findings that one feed may bring of the past; further ones are found when they are seen again.
const MAX_FOUND: usize = 1024;

/// What was found, and which pairs of program and entry it is about, so that each is told once.
#[derive(Default)]
struct Found {
    list: Vec<Finding>,
    known: BTreeSet<(u64, String)>,
}

impl Found {
    fn take(
        &mut self,
        index: &Index,
        sight: &Sight<'_>,
        caller: impl FnOnce() -> Caller,
        to: impl FnOnce(Caller) -> (Caller, Destination, crate::alert::Evidence),
    ) {
        let matches = matches(index, sight, true);
        let Some(best) = matches.first().filter(|_| self.list.len() < MAX_FOUND) else { return };
        let subject = subject(best);
        let (caller, destination, evidence) = to(caller());
        if self.known.insert((caller.key, subject)) {
            finding(matches, caller, destination, evidence, &mut |finding| self.list.push(finding));
        }
    }
}

/// All that is on the feeds of what is remembered, oldest first.
#[must_use]
pub fn all(
    index: &Index,
    beacons: &BeaconDetector,
    detector: &IndicatorDetector,
    names: &PassiveNames,
) -> Vec<Finding> {
    let mut found = Found::default();
    for (_, series, label) in beacons.iter() {
        of_series(index, series, label, &mut found);
    }
    for (recent, info) in detector.recents.iter() {
        let answer = recent.ip.filter(|_| recent.level == Level::Dns);
        let sight = Sight {
            ip: recent.ip.filter(|_| recent.level != Level::Dns),
            names: &[&recent.name],
            answers: answer.as_slice(),
            ja4: recent.ja4,
            certificate: recent.certificate(),
            since: recent.first,
            until: recent.last,
        };
        let caller = || Caller {
            key: recent.program_key,
            process: recent.process,
            info: info.cloned(),
            ..Caller::default()
        };
        found.take(index, &sight, caller, |caller| {
            let evidence = evidence(recent.level, recent.count, recent.first, recent.last);
            let destination = if recent.level == Level::Dns {
                asked_for(&recent.name)
            } else {
                Destination {
                    name: name_or_address(&recent.name, recent.ip),
                    registrable_domain: registrable(&recent.name).to_owned(),
                    ip: recent.ip,
                    port: recent.port,
                    transport: recent.transport,
                    protocol: recent.protocol,
                    ja4: recent.ja4,
                    certificate: recent.certificate(),
                    ..Destination::default()
                }
            };
            (caller, destination, evidence)
        });
    }
    // Names that somebody asked for: who, is not remembered. What a program is known for is not told once more.
    let told: BTreeSet<String> = found.known.iter().map(|(_, subject)| subject.clone()).collect();
    for (ip, used, known) in names.saved() {
        for (since, name) in known {
            let answers = [ip];
            let sight = Sight {
                ip: None,
                names: &[name],
                answers: &answers,
                ja4: None,
                certificate: Certificate::NONE,
                since: *since,
                until: used.max(*since),
            };
            let one = matches(index, &sight, true);
            if one.first().is_some_and(|best| !told.contains(&subject(best))) {
                let evidence = evidence(Level::Dns, 1, *since, used.max(*since));
                found.take(index, &sight, Caller::default, |caller| (caller, asked_for(name), evidence));
            }
        }
    }
    let mut list = found.list;
    list.sort_by(|a, b| {
        let key = |one: &Finding| (one.evidence.first_seen, one.program_key);
        key(a).cmp(&key(b)).then_with(|| a.subject.cmp(&b.subject))
    });
    list
}

fn of_series(index: &Index, series: &Series, label: &Label, found: &mut Found) {
    let (since, until) = (series.first_seen(), series.last_seen());
    let dns = label.level == Level::Dns;
    let mut names: Vec<&str> =
        vec![&label.name, &label.fqdn, &label.sni, &label.connect_host, &label.http_host];
    names.extend(label.members.iter().map(|member| member.name.as_str()));
    let sight = Sight {
        ip: label.ip.filter(|_| !dns),
        names: &names,
        answers: &[],
        ja4: label.ja4,
        certificate: Certificate::NONE,
        since,
        until,
    };
    let caller = || Caller {
        key: label.program_key,
        process: label.process,
        info: label.program.clone(),
        attribution: label.attribution,
    };
    found.take(index, &sight, caller, |caller| {
        let mut evidence = evidence(label.level, series.check_ins(), since, until);
        (evidence.bytes_out, evidence.bytes_in) = (label.bytes_out, label.bytes_in);
        let destination = Destination {
            name: name_or_address(&label.name, label.ip),
            registrable_domain: registrable(&label.name).to_owned(),
            fqdn: label.fqdn.clone(),
            sni: label.sni.clone(),
            connect_host: label.connect_host.clone(),
            http_host: label.http_host.clone(),
            user_agent: label.user_agent.clone(),
            ip: label.ip.filter(|_| !dns),
            port: label.port,
            transport: label.transport,
            protocol: label.protocol,
            ja4: label.ja4,
            ..Destination::default()
        };
        (caller, destination, evidence)
    });
}

fn name_or_address(name: &str, ip: Option<IpAddr>) -> String {
    if name.is_empty() { ip.map_or_else(String::new, |ip| ip.to_string()) } else { name.to_owned() }
}
