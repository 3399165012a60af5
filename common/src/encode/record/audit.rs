//! What was done to the sensor, by whom, and what it had to give up.

use serde::Serialize;

use super::{Agent, ECS, Event, Host, SCHEMA, Sensor, Version, own};
use crate::alert::Severity;
use crate::record::{Kind, Record};
use crate::time::Timestamp;

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Counts these words since the sensor began, from 1.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// By whom, where a person asked for it.
    pub by: Option<By>,
    /// What.
    pub deed: Deed,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Number of the account.
    pub uid: u32,
    /// Its name; empty where it is not known.
    pub name: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The sensor began.
    Started {
        /// SHA-256 of its configuration, lower-case hex.
        config_sha256: String,
    },
    /// It ends.
    Stopped {
        /// Why.
        reason: String,
    },
    /// It took a new configuration.
    Reloaded {
        /// SHA-256 of it.
        config_sha256: String,
        /// Keys that only a restart takes up.
        pending: Vec<String>,
    },
    /// It refused one, and goes on with the one before.
    Rejected {
        /// Why.
        reason: String,
    },
    /// A known-good entry was made.
    Allowed {
        /// Its number.
        entry: u64,
        /// Which program, in words; empty: any.
        program: String,
        /// Which destination, in words; empty: any.
        destination: String,
        /// Why.
        reason: String,
        /// Until when; `None`: for good.
        expires: Option<Timestamp>,
    },
    /// A known-good entry was lifted.
    Lifted {
        /// Its number.
        entry: u64,
    },
    /// Records had to be given up.
    Dropped {
        /// Which sink they were for.
        sink: String,
        /// What they were.
        kind: Kind,
        /// Why.
        cause: String,
        /// How many.
        records: u64,
    },
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "Audit of Sonde"))]
pub(super) struct Document<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
    ecs: Version,
    event: Event<'a>,
    host: Host<'a>,
    agent: Agent,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    sonde: Sonde<'a>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct User<'a> {
    id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Sonde<'a> {
    schema: Version,
    audit: Said<'a>,
}

#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Said<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    config_sha256: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pending: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    program: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    destination: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<Dropped<'a>>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Dropped<'a> {
    sink: &'a str,
    kind: &'static str,
    cause: &'a str,
    records: u64,
}

/// How ECS classes what was done: category, type, action, outcome.
const fn class(deed: &Deed) -> (&'static str, &'static str, &'static str, &'static str) {
    match deed {
        Deed::Started { .. } => ("process", "start", "sensor-started", "success"),
        Deed::Stopped { .. } => ("process", "end", "sensor-stopped", "success"),
        Deed::Reloaded { .. } => ("configuration", "change", "config-reloaded", "success"),
        Deed::Rejected { .. } => ("configuration", "change", "config-rejected", "failure"),
        Deed::Allowed { .. } => ("configuration", "creation", "entry-allowed", "success"),
        Deed::Lifted { .. } => ("configuration", "deletion", "entry-lifted", "success"),
        Deed::Dropped { .. } => ("host", "error", "records-dropped", "failure"),
    }
}

fn said(deed: &Deed) -> Said<'_> {
    let nothing = Said::default();
    match deed {
        Deed::Started { config_sha256 } => Said { config_sha256, ..nothing },
        Deed::Stopped { reason } | Deed::Rejected { reason } => Said { reason, ..nothing },
        Deed::Reloaded { config_sha256, pending } => Said { config_sha256, pending, ..nothing },
        Deed::Allowed { entry, program, destination, reason, expires } => {
            Said { entry: Some(*entry), program, destination, reason, expires: *expires, ..nothing }
        }
        Deed::Lifted { entry } => Said { entry: Some(*entry), ..nothing },
        Deed::Dropped { sink, kind, cause, records } => {
            let dropped = Dropped { sink, kind: kind.as_str(), cause, records: *records };
            Said { dropped: Some(dropped), ..nothing }
        }
    }
}

/// What was done, as a record. That something was lost or refused is told as medium.
#[must_use]
pub fn audit(sensor: &Sensor<'_>, audit: &Audit) -> Record {
    let id = format!("{}-a{:016x}-{}", sensor.id, sensor.since.nanos(), audit.sequence);
    let (category, r#type, action, outcome) = class(&audit.deed);
    let document = Document {
        timestamp: audit.time,
        ecs: ECS,
        event: Event {
            kind: "event",
            category: [category],
            r#type: [r#type],
            action,
            id: &id,
            module: "sonde",
            dataset: "sonde.audit",
            sequence: Some(audit.sequence),
            start: None,
            end: None,
            outcome: Some(outcome),
        },
        host: Host { name: sensor.host },
        agent: sensor.agent(),
        user: audit.by.as_ref().map(|by| User { id: by.uid.to_string(), name: &by.name }),
        sonde: Sonde { schema: SCHEMA, audit: said(&audit.deed) },
    };
    let severity = if outcome == "failure" { Severity::Medium } else { Severity::Info };
    let mut record = own(Kind::Audit, sensor, String::new(), audit.time, severity, &document);
    record.id = id;
    record
}
