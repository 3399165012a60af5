//! The join: who meets whom by name and by address, and what the summary counts.

use proptest::prelude::*;

use super::*;
use crate::alert::{Destination, Process};
use crate::encode::samples;
use crate::process::ProcessInfo;
use crate::rule::record::{all_csv, all_ndjson};
use crate::time::Timestamp;

fn group(host: &str, ip: &str, url: &str, risk: u8) -> SentinelGroup {
    SentinelGroup {
        timestamp: Timestamp::ZERO,
        device_name: host.to_owned(),
        account_name: "eva".to_owned(),
        remote_ip: ip.to_owned(),
        remote_url: url.to_owned(),
        connection_count: 12,
        duration_minutes: 62,
        avg_interval_minutes: 62.0 / 12.0,
        distinct_ports: 1,
        ports: vec![443],
        processes: vec!["a.exe".to_owned(), "b.exe".to_owned()],
        is_suspicious_process: false,
        is_beacon_interval: true,
        risk_score: risk,
    }
}

fn unit(host: &str, destination: &str, score: f64) -> RitaUnit {
    RitaUnit {
        source: host.to_owned(),
        destination: destination.to_owned(),
        connections: 40,
        score,
        ts_score: score,
        ds_score: score,
        hist_score: score,
        dur_score: score,
        first_seen: Timestamp::ZERO,
        last_seen: Timestamp::ZERO,
        bytes_out: 1,
    }
}

fn alert(host: &str, name: &str, ip: &str, severity: Severity, score: f64) -> Alert {
    let destination =
        Destination { name: name.to_owned(), ip: ip.parse().ok(), port: 443, ..Destination::default() };
    Alert { host: host.to_owned(), severity, score, destination, ..samples::bare() }
}

fn all(groups: &[SentinelGroup], units: &[RitaUnit], alerts: &[Alert]) -> Comparison {
    compare(groups, units, alerts, &Thresholds::default(), true)
}

/// `destination: who found it`, in the order of the rows.
fn found(comparison: &Comparison) -> Vec<String> {
    comparison.rows.iter().map(|row| format!("{}: {}", row.destination, row.found_by.join(" "))).collect()
}

#[test]
fn one_destination_found_by_all_is_one_row() {
    let mut beacon = alert("pc1", "c2.example", "198.51.100.7", Severity::High, 0.87654);
    beacon.process = Some(Process {
        key: None,
        info: ProcessInfo { image: r"C:\a\evil.exe".to_owned(), ..ProcessInfo::default() },
    });
    beacon.reason = "evil.exe called c2.example every 60 s.".to_owned();
    (beacon.evidence.period_secs, beacon.evidence.callbacks) = (60.018_44, 131);
    let compared =
        all(&[group("pc1", "198.51.100.7", "c2.example", 3)], &[unit("pc1", "c2.example", 0.979)], &[beacon]);
    let row = Compared {
        host: "pc1".to_owned(),
        destination: "c2.example".to_owned(),
        ip: "198.51.100.7".parse().ok(),
        port: Some(443),
        process: "evil.exe".to_owned(),
        found_by: vec!["rule", "rita", "sonde"],
        rule_risk_score: Some(3),
        rule_connections: Some(12),
        rule_avg_interval_minutes: Some(5.1667),
        rita_score: Some(0.979),
        rita_connections: Some(40),
        sonde_severity: Some(Severity::High),
        sonde_score: Some(0.8765),
        sonde_period_secs: Some(60.018),
        sonde_callbacks: Some(131),
        sonde_reason: "evil.exe called c2.example every 60 s.".to_owned(),
    };
    assert_eq!(compared.rows, [row]);
    assert_eq!(compared.summary, Summary { all: 1, ..Summary::default() });
}

#[test]
fn names_join_whatever_their_case_form_and_address() {
    for url in ["C2.Example", "c2.example.", "https://c2.example:8443/x?y", "c2.example:443"] {
        let groups = [group("PC1", "203.0.113.99", url, 1)];
        let compared = all(
            &groups,
            &[unit("Pc1", "C2.EXAMPLE", 0.9)],
            &[alert("pc1", "c2.example", "198.51.100.7", Severity::High, 0.9)],
        );
        assert_eq!(found(&compared), ["c2.example: rule rita sonde"], "{url}");
    }
}

#[test]
fn an_address_joins_only_where_a_name_is_missing() {
    let alerts = [alert("pc1", "c2.example", "198.51.100.7", Severity::High, 0.9)];
    let nameless = all(&[group("pc1", "198.51.100.7", "", 1)], &[], &alerts);
    assert_eq!(found(&nameless), ["c2.example: rule sonde"]);
    let other_name = all(&[group("pc1", "198.51.100.7", "cdn.example", 1)], &[], &alerts);
    assert_eq!(found(&other_name), ["c2.example: sonde", "cdn.example: rule"]);
    let other_host = all(&[group("pc2", "198.51.100.7", "", 1)], &[], &alerts);
    assert_eq!(found(&other_host), ["c2.example: sonde", "198.51.100.7: rule"]);

    let bare = [alert("pc1", "198.51.100.7", "198.51.100.7", Severity::High, 0.9)];
    let named =
        all(&[group("pc1", "198.51.100.7", "c2.example", 1)], &[unit("pc1", "198.51.100.7", 0.9)], &bare);
    assert_eq!(found(&named), ["198.51.100.7: rule rita sonde"]);
    let literal = all(&[group("pc1", "198.51.100.7", "http://198.51.100.7/x", 1)], &[], &bare);
    assert_eq!(found(&literal), ["198.51.100.7: rule sonde"], "an address in the place of a name is no name");
}

#[test]
fn of_rows_at_one_address_the_nameless_one_is_meant_then_the_first() {
    let alerts = [
        alert("pc1", "a.example", "198.51.100.7", Severity::High, 0.9),
        alert("pc1", "198.51.100.7", "198.51.100.7", Severity::Medium, 0.6),
    ];
    let groups = [group("pc1", "198.51.100.7", "", 1)];
    assert_eq!(found(&all(&groups, &[], &alerts)), ["a.example: sonde", "198.51.100.7: rule sonde"]);
    let alerts = [
        alert("pc1", "b.example", "198.51.100.7", Severity::Medium, 0.6),
        alert("pc1", "a.example", "198.51.100.7", Severity::High, 0.9),
    ];
    assert_eq!(found(&all(&groups, &[], &alerts)), ["a.example: rule sonde", "b.example: sonde"]);
}

#[test]
fn a_nameless_group_joins_the_first_name_at_its_address_wherever_it_stands() {
    let named = [group("pc1", "198.51.100.7", "a.example", 1), group("pc1", "198.51.100.7", "b.example", 1)];
    let nameless = group("pc1", "198.51.100.7", "", 2);
    for groups in [
        [nameless.clone(), named[0].clone(), named[1].clone()],
        [named[0].clone(), named[1].clone(), nameless.clone()],
    ] {
        let compared = all(&groups, &[], &[]);
        assert_eq!(found(&compared), ["a.example: rule", "b.example: rule"]);
        assert_eq!(compared.rows[0].rule_risk_score, Some(2));
    }
}

#[test]
fn what_a_destination_is_also_called_joins_unless_it_is_another_row() {
    let mut first = alert("pc1", "a.example", "198.51.100.7", Severity::High, 0.9);
    first.destination.fqdn = "front.example".to_owned();
    first.destination.sni = "b.example".to_owned();
    first.destination.http_host = "forged.example".to_owned();
    first.destination.group = vec!["member.example".to_owned(), "203.0.113.50".to_owned()];
    let second = alert("pc1", "b.example", "198.51.100.8", Severity::Medium, 0.6);
    let units =
        ["front.example", "b.example", "member.example", "203.0.113.50"].map(|name| unit("pc1", name, 0.8));
    let compared = all(&[], &units, &[first.clone(), second]);
    assert_eq!(found(&compared), ["a.example: rita sonde", "b.example: rita sonde"]);
    let forged = all(&[], &[unit("pc1", "forged.example", 0.8)], std::slice::from_ref(&first));
    assert_eq!(found(&forged), ["a.example: sonde", "forged.example: rita"]);
    (first.destination.fqdn, first.destination.sni) = (String::new(), String::new());
    let claimed = all(&[], &[unit("pc1", "forged.example", 0.8)], &[first]);
    assert_eq!(found(&claimed), ["a.example: rita sonde"], "a Host header is better than no name");
}

#[test]
fn several_of_one_destination_show_the_best_of_each() {
    let groups = [
        group("pc1", "198.51.100.7", "c2.example", 1),
        SentinelGroup { connection_count: 50, ..group("pc1", "198.51.100.8", "c2.example", 2) },
        SentinelGroup { connection_count: 40, ..group("pc1", "198.51.100.9", "c2.example", 2) },
    ];
    let alerts = [
        alert("pc1", "c2.example", "198.51.100.7", Severity::Low, 0.3),
        alert("pc1", "c2.example", "198.51.100.7", Severity::High, 0.9),
    ];
    let compared = all(&groups, &[], &alerts);
    let [row] = compared.rows.as_slice() else { panic!("{compared:?}") };
    assert_eq!((row.rule_risk_score, row.rule_connections), (Some(2), Some(50)));
    assert_eq!(row.sonde_severity, Some(Severity::High));
}

#[test]
fn the_summary_counts_who_found_what_and_quiet_rows_are_left_out() {
    let groups = [
        group("pc1", "198.51.100.1", "all.example", 1),
        group("pc1", "198.51.100.2", "rule-sonde.example", 1),
        group("pc1", "198.51.100.3", "rule-rita.example", 1),
        group("pc1", "198.51.100.4", "rule.example", 3),
    ];
    let units = [
        unit("pc1", "all.example", 0.75),
        unit("pc1", "rule-rita.example", 0.8),
        unit("pc1", "rita.example", 0.99),
        unit("pc1", "rita-sonde.example", 0.9),
        unit("pc1", "rule.example", 0.749),
        unit("pc1", "quiet.example", 0.2),
    ];
    let alerts = [
        alert("pc1", "all.example", "198.51.100.1", Severity::Critical, 0.97),
        alert("pc1", "rule-sonde.example", "198.51.100.2", Severity::High, 0.85),
        alert("pc1", "rita-sonde.example", "198.51.100.5", Severity::Medium, 0.5),
        alert("pc1", "sonde.example", "198.51.100.6", Severity::Medium, 0.6),
        alert("pc1", "rule.example", "198.51.100.4", Severity::Low, 0.4),
        alert("pc1", "quiet2.example", "198.51.100.9", Severity::Info, 0.01),
    ];
    let compared = compare(&groups, &units, &alerts, &Thresholds::default(), false);
    assert_eq!(
        found(&compared),
        [
            "all.example: rule rita sonde",
            "rule-sonde.example: rule sonde",
            "sonde.example: sonde",
            "rita-sonde.example: rita sonde",
            "rule.example: rule",
            "rita.example: rita",
            "rule-rita.example: rule rita",
        ]
    );
    assert_eq!(
        compared.summary,
        Summary {
            all: 1,
            sonde_and_rule: 1,
            sonde_and_rita: 1,
            rule_and_rita: 1,
            only_sonde: 1,
            only_rule: 1,
            only_rita: 1,
            none: 2,
        }
    );
    assert_eq!((compared.summary.gained(), compared.summary.lost()), (2, 2));
    assert_eq!(
        compared.summary.to_string(),
        "7 destinations found: 1 by all three, 1 by Sonde and the rule, 1 by Sonde and RITA, 1 by the rule and RITA; \
         only by Sonde 1, only by the rule 1, only by RITA 1. Against the rule, Sonde gains 2 and loses 2."
    );
    assert_eq!(all(&groups, &units, &alerts).rows.len(), 9);
}

#[test]
fn csv_and_ndjson_leave_out_what_nobody_said() {
    let groups = [group("pc1", "198.51.100.4", "rule.example", 3)];
    let rows = all(&groups, &[], &[]).rows;
    let (mut csv, mut json) = (Vec::new(), Vec::new());
    all_csv(&rows, &mut csv);
    all_ndjson(&rows, &mut json);
    assert_eq!(
        String::from_utf8(csv).unwrap(),
        "host,destination,ip,port,process,found_by,rule_risk_score,rule_connections,rule_avg_interval_minutes,rita_score,\
         rita_connections,sonde_severity,sonde_score,sonde_period_secs,sonde_callbacks,sonde_reason\n\
         pc1,rule.example,198.51.100.4,,a.exe,rule,3,12,5.1667,,,,,,,\n"
    );
    assert_eq!(
        String::from_utf8(json).unwrap(),
        "{\"host\":\"pc1\",\"destination\":\"rule.example\",\"ip\":\"198.51.100.4\",\"process\":\"a.exe\",\
         \"found_by\":[\"rule\"],\"rule_risk_score\":3,\"rule_connections\":12,\"rule_avg_interval_minutes\":5.1667}\n"
    );
    assert!(all(&[], &[], &[]).rows.is_empty());
}

proptest! {
    #[test]
    fn nothing_is_dropped_and_nothing_is_told_twice(
        picks in proptest::collection::vec((0usize..3, 0usize..2, 0usize..5, 0usize..4, 0u8..=4), 0..30),
    ) {
        let hosts = ["pc1", "PC2"];
        let names = ["", "a.example", "B.example", "c.example", "198.51.100.2"];
        let ips = ["198.51.100.1", "198.51.100.2", "203.0.113.1", ""];
        let (mut groups, mut units, mut alerts) = (Vec::new(), Vec::new(), Vec::new());
        for (kind, host, name, ip, level) in picks {
            let (host, name, ip) = (hosts[host], names[name], ips[ip]);
            let or_ip = if name.is_empty() { ip } else { name };
            match kind {
                0 => groups.push(group(host, ip, name, level % 3 + 1)),
                1 => units.push(unit(host, or_ip, f64::from(level) / 4.0)),
                _ => alerts.push(alert(host, or_ip, ip, Severity::Medium, f64::from(level) / 5.0)),
            }
        }
        let compared = all(&groups, &units, &alerts);
        prop_assert!(compared.rows.len() <= groups.len() + units.len() + alerts.len());
        let best = |score: fn(&Compared) -> Option<f64>| {
            compared.rows.iter().filter_map(score).fold(-1.0, f64::max)
        };
        prop_assert_eq!(best(|row| row.sonde_score), alerts.iter().map(score).fold(-1.0, f64::max));
        prop_assert_eq!(best(|row| row.rita_score), units.iter().map(|unit| unit.score).fold(-1.0, f64::max));
        prop_assert_eq!(
            best(|row| row.rule_risk_score.map(f64::from)),
            groups.iter().map(|group| f64::from(group.risk_score)).fold(-1.0, f64::max)
        );
        let told = |row: &Compared| {
            row.rule_risk_score.is_some() || row.rita_score.is_some() || row.sonde_score.is_some()
        };
        prop_assert!(compared.rows.iter().all(told));
        prop_assert!(compared.rows.windows(2).all(|pair| order(&pair[0], &pair[1]) != Ordering::Greater));
        // Alerts are ranked here, whatever their order.
        alerts.reverse();
        prop_assert_eq!(all(&groups, &units, &alerts).summary, compared.summary);
    }
}
