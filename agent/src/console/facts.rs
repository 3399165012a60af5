//! The sensor's health in words, as the page tells of it.

use sonde_common::human;
use sonde_common::time::NANOS_PER_SEC;
use sonde_page::live::{Panel, Reason, Rule, Sensor};

use crate::live::command::{Entry, Glance};
use crate::live::health::{Health, PartState};

/// All that the page says of the sensor itself.
pub(super) fn sensor(glance: &Glance) -> Sensor {
    let health = &glance.health;
    let rules = glance.allowed.iter().cloned().map(|entry| {
        let Entry { entry, program, destination, reason, by, created, expires, suppressed, last } = entry;
        Rule { entry, program, destination, reason, by, created, expires, suppressed, last }
    });
    Sensor {
        verdict: health.verdict.as_str().to_owned(),
        reasons: reasons(health),
        panels: vec![
            parts(health),
            seen(health),
            lost(health),
            costs(health),
            sinks(health),
            knowledge(health),
        ],
        rules: rules.collect(),
        excused: health.profiles.excused.iter().map(|(name, count)| (name.clone(), *count)).collect(),
        omitted: glance.findings.as_ref().map_or(0, |rows| rows.omitted),
    }
}

/// Why it is no better, with what helps.
fn reasons(health: &Health) -> Vec<Reason> {
    let remedy = |what: &str| {
        let lost = health.parts.iter().find_map(|part| match &part.state {
            PartState::Lost { reason, remedy } if what == format!("{} is lost: {reason}", part.name) => {
                Some(remedy)
            }
            _ => None,
        });
        lost.cloned().unwrap_or_default()
    };
    health.reasons.iter().map(|what| Reason { what: what.clone(), remedy: remedy(what) }).collect()
}

fn panel(title: &str, rows: Vec<(&str, String)>) -> Panel {
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    Panel { title: title.to_owned(), rows: rows.map(|(name, value)| (name.to_owned(), value)).collect() }
}

fn parts(health: &Health) -> Panel {
    let rows =
        health.parts.iter().map(|part| (part.role.as_str(), format!("{}: {}", part.name, part.state.told())));
    panel("Made of", rows.collect())
}

fn seen(health: &Health) -> Panel {
    let counters = &health.counters;
    let n = human::count;
    let known = match counters.connections {
        0 => String::new(),
        all => format!(", {} % with their program", counters.attributed.saturating_mul(100) / all),
    };
    panel(
        "Seen since it began",
        vec![
            ("connections", format!("{}{known}; {} open", n(counters.connections), n(counters.tracked))),
            ("exchanges", format!("{} inside open connections", n(counters.exchanges))),
            ("queries", format!("{} (DNS)", n(counters.queries))),
            (
                "records",
                format!(
                    "{} packets, {} socket events, {} process events",
                    n(counters.packets),
                    n(counters.socket_events),
                    n(counters.process_events)
                ),
            ),
            ("series", format!("{} followed", n(counters.series))),
            (
                "alerts",
                format!(
                    "{} emitted, {} kept back as known-good",
                    n(counters.alerts_emitted),
                    n(counters.alerts_suppressed)
                ),
            ),
            (
                "its own",
                format!(
                    "{} connections and queries of the sensor itself, left out of detection",
                    n(health.own.count)
                ),
            ),
        ],
    )
}

fn lost(health: &Health) -> Panel {
    let mut rows: Vec<_> = health
        .lost
        .iter()
        .map(|(what, count)| ("lost", format!("{} {what}", human::count(*count))))
        .collect();
    for (cause, count) in &health.gaps.count {
        let secs = health.gaps.secs.get(cause).copied().unwrap_or(0);
        let what = cause.as_str().replace('_', " ");
        rows.push((
            "blind",
            format!("{} {what}, {} in all", human::counted(*count, "time by", "times by"), human::span(secs)),
        ));
    }
    if let Some(latest) = health.gaps.latest {
        rows.push(("latest", format!("until {}", sonde_common::explain::facts::seconds(latest.until))));
    }
    if rows.is_empty() {
        rows.push(("", "Nothing was lost, and it was never blind.".to_owned()));
    }
    panel("Lost", rows)
}

fn costs(health: &Health) -> Panel {
    let Health { usage, counters, state, privileges, .. } = health;
    let kept = if privileges.kept.is_empty() { "none".to_owned() } else { privileges.kept.join(", ") };
    let saved = match (&state.path, &state.failure, state.saved) {
        (None, _, _) => "nothing is kept over a restart".to_owned(),
        (Some(path), Some(failure), _) => format!("{path}: {}", failure.reason),
        (Some(path), None, Some(saved)) => {
            format!(
                "{path}, {}, saved {}",
                human::bytes(state.bytes),
                sonde_common::explain::facts::seconds(saved)
            )
        }
        (Some(path), None, None) => format!("{path}, not saved yet"),
    };
    let mut rows = vec![
        ("processor", format!("{:.2} % of one of late, {:.1} s in all", usage.cpu_percent, usage.cpu_secs)),
        (
            "memory",
            format!(
                "{} resident, {} at the most",
                human::bytes(usage.rss_bytes),
                human::bytes(usage.rss_peak_bytes)
            ),
        ),
        (
            "",
            format!(
                "{} of {} for detection",
                human::bytes(counters.memory_bytes),
                human::bytes(counters.memory_limit_bytes)
            ),
        ),
        ("put off", health.shed.join(", ")),
        ("state", saved),
        ("privileges", format!("uid {}, capabilities: {kept}", privileges.uid)),
    ];
    for (name, queue) in &health.queues {
        let n = human::count;
        rows.push((
            "queue",
            format!("{name}: {} of {}, at the most {}", n(queue.depth), n(queue.capacity), n(queue.peak)),
        ));
    }
    panel("Costs and state", rows)
}

fn sinks(health: &Health) -> Panel {
    let mut rows = Vec::new();
    for (name, sink) in &health.sinks {
        for (at, line) in sink.lines(health.now).into_iter().enumerate() {
            rows.push((if at == 0 { name.as_str() } else { "" }, line));
        }
    }
    if rows.is_empty() {
        rows.push(("", "None is configured: alerts go to stdout alone.".to_owned()));
    }
    panel("Where alerts go", rows)
}

fn knowledge(health: &Health) -> Panel {
    let (feeds, config, hints) = (&health.feeds, &health.config, &health.hints);
    let in_use = match feeds.loaded {
        Some(_) if feeds.files > 0 => format!(
            "{} of {}",
            human::counted(feeds.counts.entries(), "indicator", "indicators"),
            human::counted(feeds.files, "file", "files")
        ),
        _ => "none".to_owned(),
    };
    let secs = u64::try_from(health.now.since(health.since) / NANOS_PER_SEC).unwrap_or(0);
    panel(
        "Set up as",
        vec![
            ("version", format!("{}, pid {}, for {}", health.version, health.pid, human::span(secs))),
            ("config", config.path.clone().unwrap_or_else(|| "defaults".to_owned())),
            (
                "",
                if config.pending.is_empty() {
                    String::new()
                } else {
                    format!("only a restart takes up: {}", config.pending.join(", "))
                },
            ),
            ("feeds", in_use),
            ("networks", feeds.networks.clone().unwrap_or_else(|| "no database".to_owned())),
            (
                "hints",
                if hints.wanted {
                    format!("{} of {} hosts", hints.entries, hints.hosts)
                } else {
                    String::new()
                },
            ),
            ("profiles", human::count(health.profiles.count)),
        ],
    )
}
