//! How the sensor is, told at intervals and numbered, so that a reader sees when it went silent.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Agent, ECS, Event, Host, SCHEMA, Sensor, Version, own};
use crate::alert::Severity;
use crate::encode::rounded;
use crate::record::{Kind, Record};
use crate::time::Timestamp;

/// In how far the sensor can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Verdict {
    /// All works.
    #[default]
    Ok,
    /// Something is lost.
    Degraded,
    /// It sees no connections.
    Blind,
}

/// How the sensor is. Names of counters and causes are Sonde's own and few.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// Counts these words since the sensor began, from 1: what is missing between two of them was lost, and a sensor that
    /// says nothing more is silent.
    pub sequence: u64,
    /// When it was so.
    pub time: Timestamp,
    /// Seconds until the next word.
    pub interval_secs: u64,
    /// In how far it can be relied on.
    pub verdict: Verdict,
    /// Why it is no better.
    pub reasons: Vec<String>,
    /// Parts that do not work as they should.
    pub parts: Vec<Part>,
    /// What it counted since it began.
    pub counters: BTreeMap<String, u64>,
    /// What was lost since it began, by what it was.
    pub lost: BTreeMap<String, u64>,
    /// Times in which it was blind, by cause.
    pub gaps: BTreeMap<String, Gap>,
    /// Its queues.
    pub queues: BTreeMap<String, Queue>,
    /// What became of what it told, by sink.
    pub sinks: BTreeMap<String, Sink>,
    /// Work that is put off because the processor time is used up.
    pub shed: Vec<String>,
    /// What it costs.
    pub usage: Usage,
}

/// A part that does not work as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Part {
    /// What it is for.
    pub role: String,
    /// What it is called.
    pub name: String,
    /// How it is.
    pub state: PartState,
    /// Why.
    pub reason: String,
    /// What an operator can do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// How a part is that does not work as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum PartState {
    /// In use, but the worse choice.
    Degraded,
    /// Not working.
    Lost,
}

/// Times of blindness of one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Gap {
    /// How many.
    pub count: u64,
    /// Seconds in all.
    pub secs: u64,
}

/// A queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Queue {
    /// What waits in it.
    pub depth: u64,
    /// The most that ever waited.
    pub peak: u64,
    /// What fits in.
    pub capacity: u64,
}

/// What became of what was told: emitted = acknowledged + spooled + dead-lettered + dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sink {
    /// Records that it was given.
    pub emitted: u64,
    /// … that the other side has.
    pub acknowledged: u64,
    /// … that wait.
    pub spooled: u64,
    /// … that the other side will never take.
    pub dead_lettered: u64,
    /// … that were dropped, by cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u64>,
}

/// What the sensor costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time since it began, in seconds.
    pub cpu_secs: f64,
    /// Processor time of late, in percent of one processor.
    pub cpu_percent: f64,
    /// Memory resident, in bytes.
    pub rss_bytes: u64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "Health of Sonde"))]
pub(super) struct Document<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
    ecs: Version,
    event: Event<'a>,
    host: Host<'a>,
    agent: Agent,
    sonde: Sonde<'a>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Sonde<'a> {
    schema: Version,
    health: Said<'a>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Said<'a> {
    verdict: Verdict,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reasons: &'a [String],
    interval_secs: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parts: &'a [Part],
    counters: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    lost: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gaps: &'a BTreeMap<String, Gap>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    queues: &'a BTreeMap<String, Queue>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sinks: &'a BTreeMap<String, Sink>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shed: &'a [String],
    usage: Cost,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Cost {
    cpu_secs: f64,
    cpu_percent: f64,
    rss_bytes: u64,
}

/// How the sensor is, as a record. One that is degraded is told as low, one that is blind as medium.
#[must_use]
pub fn health(sensor: &Sensor<'_>, health: &Health) -> Record {
    let id = format!("{}-h{:016x}-{}", sensor.id, sensor.since.nanos(), health.sequence);
    let said = Document {
        timestamp: health.time,
        ecs: ECS,
        event: Event {
            kind: "metric",
            category: ["host"],
            r#type: ["info"],
            action: "sensor-health",
            id: &id,
            module: "sonde",
            dataset: "sonde.health",
            sequence: Some(health.sequence),
            start: Some(sensor.since),
            end: None,
            outcome: None,
        },
        host: Host { name: sensor.host },
        agent: sensor.agent(),
        sonde: Sonde {
            schema: SCHEMA,
            health: Said {
                verdict: health.verdict,
                reasons: &health.reasons,
                interval_secs: health.interval_secs,
                parts: &health.parts,
                counters: &health.counters,
                lost: &health.lost,
                gaps: &health.gaps,
                queues: &health.queues,
                sinks: &health.sinks,
                shed: &health.shed,
                usage: Cost {
                    cpu_secs: rounded(health.usage.cpu_secs, 3).unwrap_or(0.0),
                    cpu_percent: rounded(health.usage.cpu_percent, 3).unwrap_or(0.0),
                    rss_bytes: health.usage.rss_bytes,
                },
            },
        },
    };
    let severity = match health.verdict {
        Verdict::Ok => Severity::Info,
        Verdict::Degraded => Severity::Low,
        Verdict::Blind => Severity::Medium,
    };
    let mut record = own(Kind::Health, sensor, String::new(), health.time, severity, &said);
    record.id = id;
    record
}
