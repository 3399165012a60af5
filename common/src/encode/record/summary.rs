//! Summaries of destinations: one record for each program and destination of an interval, and one for the rest.

use std::net::IpAddr;

use serde::Serialize;

use super::{Agent, ECS, Event, Host, SCHEMA, Sensor, Version, own};
use crate::alert::Severity;
use crate::encode::rounded;
use crate::net::Transport;
use crate::process::image_name;
use crate::record::{Kind, Record};
use crate::summary::{Rest, Rhythm, Summaries, Summary};
use crate::time::Timestamp;

/// One line of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "Summary of Sonde"))]
pub(super) struct Document<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: Timestamp,
    ecs: Version,
    event: Event<'a>,
    host: Host<'a>,
    agent: Agent,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Process<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<Destination<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    sonde: Sonde,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Process<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    executable: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hash<'a>>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Hash<'a> {
    sha256: &'a str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Source {
    bytes: u64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Destination<'a> {
    address: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    registered_domain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    bytes: u64,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Network {
    transport: Transport,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Tls<'a> {
    client: Client<'a>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Client<'a> {
    ja4: &'a str,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Sonde {
    schema: Version,
    summary: Counts,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Counts {
    connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rhythm: Option<Beat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rest: Option<Others>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Beat {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    period_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_median_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_mad_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bans: Option<f64>,
    callbacks: u32,
    score: f64,
    severity: Severity,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Others {
    destinations: u64,
    bytes_out: u64,
    bytes_in: u64,
}

impl Beat {
    fn new(rhythm: &Rhythm) -> Self {
        let measured = rhythm.interval_median_secs > 0.0;
        Self {
            id: rhythm.finding.to_string(),
            period_secs: rounded(rhythm.period_secs, 3).filter(|&secs| secs > 0.0),
            interval_median_secs: rounded(rhythm.interval_median_secs, 3).filter(|_| measured),
            jitter_mad_ratio: rounded(rhythm.jitter_mad_ratio, 4).filter(|_| measured),
            bans: rounded(rhythm.bans, 3),
            callbacks: rhythm.callbacks,
            score: rounded(rhythm.score.clamp(0.0, 1.0), 4).unwrap_or(0.0),
            severity: rhythm.severity,
        }
    }
}

/// What an interval came to, as records. Nothing for one in which nothing was seen.
#[must_use]
pub fn summaries(sensor: &Sensor<'_>, summaries: &Summaries) -> Vec<Record> {
    let Summaries { since, until, rows, rest } = summaries;
    let rest = (*rest != Rest::default()).then_some(rest);
    let ids = (0..rows.len()).map(|number| number.to_string()).chain(rest.map(|_| "rest".to_owned()));
    ids.zip(rows.iter().map(What::Row).chain(rest.map(What::Rest)))
        .map(|(which, what)| {
            let id = format!("{}-s{:016x}-{which}", sensor.id, until.nanos());
            let said = Document::new(sensor, (*since, *until), &id, what);
            let mut record = own(Kind::Summary, sensor, String::new(), *until, Severity::Info, &said);
            record.id = id;
            record
        })
        .collect()
}

/// What a line is about.
#[derive(Clone, Copy)]
enum What<'a> {
    Row(&'a Summary),
    Rest(&'a Rest),
}

impl<'a> Document<'a> {
    fn new(sensor: &Sensor<'a>, (since, until): (Timestamp, Timestamp), id: &'a str, what: What<'a>) -> Self {
        let bare = Self {
            timestamp: until,
            ecs: ECS,
            event: Event {
                kind: "metric",
                category: ["network"],
                r#type: ["info"],
                action: match what {
                    What::Row(_) => "destination-summary",
                    What::Rest(_) => "rest-summary",
                },
                id,
                module: "sonde",
                dataset: "sonde.summary",
                sequence: None,
                start: Some(since),
                end: Some(until),
                outcome: None,
            },
            host: Host { name: sensor.host },
            agent: sensor.agent(),
            process: None,
            source: None,
            destination: None,
            network: None,
            tls: None,
            sonde: Sonde {
                schema: SCHEMA,
                summary: Counts { connections: 0, first_seen: None, last_seen: None, rhythm: None, rest: None },
            },
        };
        match what {
            What::Row(row) => bare.with_row(row),
            What::Rest(rest) => bare.with_rest(rest),
        }
    }

    fn with_row(mut self, row: &'a Summary) -> Self {
        let name = image_name(&row.image);
        let hash = (!row.sha256.is_empty()).then_some(Hash { sha256: &row.sha256 });
        self.process = (!name.is_empty() || hash.is_some()).then(|| Process {
            executable: if name.len() < row.image.len() { &row.image } else { "" },
            name,
            hash,
        });
        let address = match row.ip {
            Some(ip) if row.name.is_empty() => ip.to_string(),
            _ => row.name.clone(),
        };
        self.source = Some(Source { bytes: row.bytes_out });
        self.destination = Some(Destination {
            address,
            domain: &row.name,
            registered_domain: &row.registrable_domain,
            ip: row.ip,
            port: (row.port != 0).then_some(row.port),
            bytes: row.bytes_in,
        });
        self.network = Some(Network { transport: row.transport });
        self.tls = row.ja4.as_ref().map(|ja4| Tls { client: Client { ja4: ja4.as_str() } });
        self.sonde.summary = Counts {
            connections: row.connections,
            first_seen: Some(row.first_seen),
            last_seen: Some(row.last_seen),
            rhythm: row.rhythm.as_ref().map(Beat::new),
            rest: None,
        };
        self
    }

    fn with_rest(mut self, rest: &Rest) -> Self {
        let Rest { destinations, connections, bytes_out, bytes_in } = *rest;
        self.sonde.summary.connections = connections;
        self.sonde.summary.rest = Some(Others { destinations, bytes_out, bytes_in });
        self
    }
}
