//! Names, paths and texts of any kind through the guide: every query, rule and command is what its language's strict reader
//! takes, each literal in it is a text of the alert, and the prose is plain.
#![no_main]

use std::collections::BTreeSet;

use sonde_common::alert::{
    Alert, Change, Class, Destination, DnsEvidence, Evidence, FindingId, IndicatorMatch, Process,
    ProfileNote, Severity,
};
use sonde_common::guide::{self, Query};
use sonde_common::process::{Attribution, ProcessInfo, ProcessKey};
use sonde_common::text::is_plain;
use sonde_common::time::Timestamp;
use sonde_fuzz::input::Input;

#[path = "../../../../common/src/guide/model.rs"]
#[expect(dead_code, reason = "the tests of the guide ask for more of it")]
mod model;

/// 2026-03-02T09:00:00Z.
const NOW: Timestamp = Timestamp::from_secs_nanos(1_772_442_000, 0);

fn text(input: &mut Input<'_>) -> String {
    let len = usize::from(input.u8());
    String::from_utf8_lossy(input.take(len)).into_owned()
}

fn alert(input: &mut Input<'_>) -> Alert {
    let mut alert = Alert {
        id: FindingId(7),
        revision: 1,
        change: Change::Created,
        class: input.pick(&Class::ALL),
        host: text(input),
        time: NOW,
        detected: None,
        detected_after_callbacks: 0,
        severity: Severity::High,
        score: 0.9,
        points: 2.0,
        parts: Vec::new(),
        missing: Vec::new(),
        reason: text(input),
        process: None,
        attribution: Attribution::NONE,
        suppressed_by: None,
        destination: Destination::default(),
        evidence: Evidence { first_seen: NOW, last_seen: NOW, ..Evidence::default() },
        dns: None,
        indicators: Vec::new(),
        profile: None,
        techniques: Vec::new(),
    };
    let mut next = || text(input);
    alert.destination.name = next();
    alert.destination.registrable_domain = next();
    (alert.destination.connect_host, alert.destination.sni) = (next(), next());
    if alert.class == Class::Rotation {
        alert.destination.group = vec![next(), next()];
    }
    let info = ProcessInfo {
        image: next(),
        script: next(),
        command_line: next(),
        sha256: next(),
        parent_image: next(),
        user: next(),
        service: next(),
        container: next(),
        ..ProcessInfo::default()
    };
    alert.process = Some(Process { key: Some(ProcessKey { pid: 7, ..ProcessKey::default() }), info });
    alert.dns = Some(DnsEvidence { samples: vec![next(), next()], ..DnsEvidence::default() });
    alert.indicators =
        vec![IndicatorMatch { value: next(), feed: next(), reference: next(), ..IndicatorMatch::default() }];
    alert.profile = Some(ProfileNote { name: next(), mismatch: next(), ..ProfileNote::default() });
    alert
}

/// Texts of the alert, and what is made of them.
fn texts(alert: &Alert) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut left = vec![serde_json::to_value(alert).unwrap_or_default()];
    while let Some(value) = left.pop() {
        match value {
            serde_json::Value::String(text) => {
                let whole = text.strip_suffix(" (deleted)").unwrap_or(&text);
                let name = sonde_common::process::image_name(whole);
                out.extend([format!(".{text}"), format!("/{name}"), format!("\\{name}"), name.to_owned()]);
                // An address is written as addresses are.
                out.extend(
                    text.trim_matches(['[', ']']).parse::<std::net::IpAddr>().map(|ip| ip.to_string()),
                );
                out.insert(text);
            }
            serde_json::Value::Array(items) => left.extend(items),
            serde_json::Value::Object(fields) => left.extend(fields.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    // What the templates say themselves.
    for ours in [
        "DnsQueryResponse",
        "Icmp",
        "IcmpConnectionInspected",
        "ICMP",
        "icmp",
        "ipv6-icmp",
        "process",
        "NXDOMAIN",
    ] {
        out.insert(ours.to_owned());
    }
    out
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let alert = alert(&mut Input::new(data));
    let texts = texts(&alert);
    let guide::Queries { kql, spl, esql, sigma } = guide::queries(&alert);
    let held = |Query { query, .. }: &Query, unicode: bool| {
        let parts = model::query(query, unicode).unwrap_or_else(|what| panic!("{what}\n{query}"));
        for literal in &parts.literals {
            let time = literal.len() == 20 && literal.starts_with("2026-03-02T");
            assert!(time || texts.contains(literal), "{literal:?}\n{query}");
        }
    };
    kql.iter().for_each(|query| held(query, true));
    spl.iter().chain(&esql).for_each(|query| held(query, false));
    for Query { query, .. } in &sigma {
        let parts = model::rule(query).unwrap_or_else(|what| panic!("{what}\n{query}"));
        assert!(parts.literals.iter().all(|literal| literal.chars().all(is_plain)), "{query}");
    }
    for (_, steps) in guide::of(&alert).sections() {
        for step in steps {
            assert!(
                step.text.chars().all(is_plain) && step.text.matches('`').count() % 2 == 0,
                "{}",
                step.text
            );
            for command in &step.commands {
                // Which shell it is for, the alert's paths decide: one of the two has to take it.
                let read = [true, false].map(|powershell| model::command(command, powershell));
                let sound = |parts: &model::Parts| parts.rest.chars().all(|c| !matches!(c, '`' | '\n'));
                assert!(read.iter().flatten().any(sound), "{command}");
            }
        }
    }
});
