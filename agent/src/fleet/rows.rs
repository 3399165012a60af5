//! Records as sensors publish them (docs/records.md) -> rows of the schema (packaging/fleet/clickhouse/schema.sql).
//!
//! What comes is hostile: a row is made of what is known, texts are cut, and times are held near the time at which the stream took
//! the record, which no sensor can choose. What no table can take is refused with the reason.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sonde_common::record::Kind;
use sonde_common::time::Timestamp;

use self::period::{period, period_class};

mod period;

/// How far a record may be ahead of the time at which the stream took it: clocks differ. What is further ahead counts as then.
pub const MAX_AHEAD_SECS: i64 = 300;
/// How old a record may be when the stream takes it: as long as the tables keep it. It also bounds the partitions of one insert.
pub const MAX_AGE_SECS: i64 = 30 * 86_400;
/// How far back a summary may have seen its destination first: the longest interval.
const MAX_INTERVAL_SECS: i64 = 86_400;
/// Longest text of a column, in bytes.
const MAX_TEXT_BYTES: usize = 4_096;
/// Longest id.
const MAX_ID_BYTES: usize = 96;
/// Most seconds between two words of health: the longest that a table of sensors can make sense of.
const MAX_HEALTH_SECS: u64 = 86_400;
/// Appends the row of a record, as a line, to those of its table. `received`: when the stream took it, in seconds since the epoch.
///
/// # Errors
/// Why no table takes it.
pub fn append(kind: Kind, body: &[u8], received: i64, lines: &mut Vec<u8>) -> Result<(), String> {
    let wire: Wire<'_> =
        serde_json::from_slice(body).map_err(|error| format!("not a record in the native form: {error}"))?;
    let expected = match kind {
        Kind::Alert => "sonde.alert",
        Kind::Audit => "sonde.audit",
        Kind::Health => "sonde.health",
        Kind::Summary => "sonde.summary",
    };
    if wire.event.dataset != expected {
        return Err(format!("its event.dataset is not {expected}, as its subject says"));
    }
    let id = &wire.event.id;
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(format!("its event.id is not of 1 to {MAX_ID_BYTES} bytes"));
    }
    if kind != Kind::Alert && (wire.agent.id.is_empty() || wire.agent.id.len() > MAX_ID_BYTES) {
        return Err(format!("its agent.id is not of 1 to {MAX_ID_BYTES} bytes"));
    }
    let told = secs(wire.time);
    if told < received - MAX_AGE_SECS {
        return Err(format!("it is {} days old, and tables keep 30", (received - told) / 86_400));
    }
    let time = if told > received + MAX_AHEAD_SECS { received } else { told };
    let begin = lines.len();
    let done = match kind {
        Kind::Alert => serde_json::to_writer(&mut *lines, &alert(&wire, body, time, received)?),
        Kind::Audit => serde_json::to_writer(&mut *lines, &audit(&wire, body, time, received)),
        Kind::Health => serde_json::to_writer(&mut *lines, &health(&wire, body, time, received)?),
        Kind::Summary => serde_json::to_writer(&mut *lines, &summary(&wire, time, received)),
    };
    match done {
        Ok(()) => {
            lines.push(b'\n');
            Ok(())
        }
        Err(error) => {
            lines.truncate(begin);
            Err(format!("its row cannot be written: {error}"))
        }
    }
}

/// Whole seconds, as a column of ClickHouse holds them.
fn secs(time: Timestamp) -> i64 {
    time.nanos().div_euclid(1_000_000_000).clamp(0, i64::from(u32::MAX))
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The begin of every row.
#[derive(Serialize)]
struct Head<'a> {
    /// Of `time`. Servers before 19 give their views none if it is not told.
    day: String,
    time: i64,
    received: i64,
    id: &'a str,
    host: &'a str,
}

fn head<'a>(wire: &'a Wire<'_>, time: i64, received: i64) -> Head<'a> {
    let day = Timestamp::from_secs_nanos(time, 0).to_string();
    Head {
        day: day.get(..10).unwrap_or_default().to_owned(),
        time,
        received,
        id: &wire.event.id,
        host: cut(&wire.host.name),
    }
}

/// Who called what.
#[derive(Serialize)]
struct Way<'a> {
    program: &'a str,
    program_name: &'a str,
    program_sha256: &'a str,
    destination: &'a str,
    registered_domain: &'a str,
    // The columns take no null.
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    port: u16,
    transport: &'a str,
    ja4: &'a str,
}

fn way<'a>(wire: &'a Wire<'_>) -> Way<'a> {
    let sha256 = wire.process.hash.sha256.as_ref();
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    Way {
        program: cut(&wire.process.executable),
        program_name: cut(&wire.process.name),
        program_sha256: if is_hash { sha256 } else { "" },
        destination: cut(&wire.destination.address),
        registered_domain: cut(&wire.destination.registered_domain),
        ip: wire.destination.ip,
        port: wire.destination.port,
        transport: cut(&wire.network.transport),
        ja4: cut(&wire.tls.client.ja4),
    }
}

#[derive(Serialize)]
struct AlertRow<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    finding_id: &'a str,
    revision: u32,
    turn: u64,
    change: &'a str,
    severity: &'a str,
    score: f64,
    class: &'a str,
    rule: &'a str,
    #[serde(flatten)]
    way: Way<'a>,
    period_secs: f64,
    first_seen: i64,
    last_seen: i64,
    reason: &'a str,
    body: Cow<'a, str>,
}

fn alert<'a>(wire: &'a Wire<'_>, body: &'a [u8], time: i64, received: i64) -> Result<AlertRow<'a>, String> {
    let said = &wire.sonde;
    if said.id.is_empty() || said.id.len() > MAX_ID_BYTES {
        return Err("it names no finding (sonde.id)".to_owned());
    }
    let evidence = &said.evidence;
    Ok(AlertRow {
        head: head(wire, time, received),
        finding_id: &said.id,
        revision: said.revision,
        // The latest word of a finding: a sensor that lost its state counts revisions from one again.
        turn: (time.unsigned_abs() << 24) | u64::from(said.revision.min((1 << 24) - 1)),
        change: cut(&said.change),
        severity: cut(&said.severity),
        score: said.score,
        class: cut(&said.class),
        rule: cut(&wire.rule.id),
        way: way(wire),
        period_secs: period(evidence.period_secs, evidence.interval_median_secs),
        first_seen: evidence.first_seen.map_or(time, secs).min(time),
        last_seen: evidence.last_seen.map_or(time, secs).min(time),
        reason: cut(&said.reason),
        body: String::from_utf8_lossy(body),
    })
}

#[derive(Serialize)]
struct SummaryRow<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    agent: &'a str,
    rest: u8,
    started: i64,
    ended: i64,
    #[serde(flatten)]
    way: Way<'a>,
    connections: u64,
    bytes_out: u64,
    bytes_in: u64,
    first_seen: i64,
    last_seen: i64,
    rhythm_id: &'a str,
    period_secs: f64,
    period_class: i16,
    interval_median_secs: f64,
    jitter_mad_ratio: f64,
    bans: f64,
    callbacks: u32,
    score: f64,
    severity: &'a str,
    rest_destinations: u64,
}

fn summary<'a>(wire: &'a Wire<'_>, time: i64, received: i64) -> SummaryRow<'a> {
    let said = &wire.sonde.summary;
    let rhythm = &said.rhythm;
    let period_secs = period(rhythm.period_secs, rhythm.interval_median_secs);
    // One sensor must not be able to make a destination old for all the others.
    let near = |seen: Option<Timestamp>| seen.map_or(time, secs).clamp(time - MAX_INTERVAL_SECS, time).max(0);
    SummaryRow {
        head: head(wire, time, received),
        agent: &wire.agent.id,
        rest: u8::from(wire.event.action == "rest-summary"),
        started: near(wire.event.start),
        ended: near(wire.event.end),
        way: way(wire),
        connections: said.connections,
        bytes_out: said.rest.bytes_out.unwrap_or(wire.source.bytes),
        bytes_in: said.rest.bytes_in.unwrap_or(wire.destination.bytes),
        first_seen: near(said.first_seen),
        last_seen: near(said.last_seen),
        rhythm_id: cut(&rhythm.id),
        period_secs,
        period_class: period_class(period_secs),
        interval_median_secs: rhythm.interval_median_secs.unwrap_or_default(),
        jitter_mad_ratio: rhythm.jitter_mad_ratio,
        bans: rhythm.bans,
        callbacks: rhythm.callbacks,
        score: rhythm.score,
        severity: cut(&rhythm.severity),
        rest_destinations: said.rest.destinations,
    }
}

#[derive(Serialize)]
struct HealthRow<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    agent: &'a str,
    version: &'a str,
    sequence: u64,
    started: i64,
    verdict: &'a str,
    interval_secs: u64,
    cpu_percent: f64,
    rss_bytes: u64,
    body: Cow<'a, str>,
}

fn health<'a>(wire: &'a Wire<'_>, body: &'a [u8], time: i64, received: i64) -> Result<HealthRow<'a>, String> {
    let said = &wire.sonde.health;
    if !(1..=MAX_HEALTH_SECS).contains(&said.interval_secs) {
        return Err(format!("its sonde.health.interval_secs is not from 1 to {MAX_HEALTH_SECS}"));
    }
    Ok(HealthRow {
        head: head(wire, time, received),
        agent: &wire.agent.id,
        version: cut(&wire.agent.version),
        sequence: wire.event.sequence,
        started: wire.event.start.map_or(time, secs).min(time),
        verdict: cut(&said.verdict),
        interval_secs: said.interval_secs,
        cpu_percent: said.usage.cpu_percent,
        rss_bytes: said.usage.rss_bytes,
        body: String::from_utf8_lossy(body),
    })
}

#[derive(Serialize)]
struct AuditRow<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    agent: &'a str,
    sequence: u64,
    action: &'a str,
    outcome: &'a str,
    user: &'a str,
    reason: &'a str,
    body: Cow<'a, str>,
}

fn audit<'a>(wire: &'a Wire<'_>, body: &'a [u8], time: i64, received: i64) -> AuditRow<'a> {
    let user = &wire.user;
    AuditRow {
        head: head(wire, time, received),
        agent: &wire.agent.id,
        sequence: wire.event.sequence,
        action: cut(&wire.event.action),
        outcome: cut(&wire.event.outcome),
        user: cut(if user.name.is_empty() { &user.id } else { &user.name }),
        reason: cut(&wire.sonde.audit.reason),
        body: String::from_utf8_lossy(body),
    }
}

/// Structs of what is read: a missing field is its default, an unknown one is left out.
macro_rules! wire {
    ($($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct $name<'a> {
            $($(#[$attribute])* $field: $type,)*
            #[serde(skip)]
            _borrowed: std::marker::PhantomData<&'a ()>,
        }
    )*};
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "@timestamp")]
    time: Timestamp,
    #[serde(borrow)]
    event: Event<'a>,
    #[serde(borrow, default)]
    host: Host<'a>,
    #[serde(borrow, default)]
    agent: Agent<'a>,
    #[serde(borrow, default)]
    user: User<'a>,
    #[serde(borrow, default)]
    rule: Rule<'a>,
    #[serde(borrow, default)]
    process: Process<'a>,
    #[serde(default)]
    source: Source,
    #[serde(borrow, default)]
    destination: Destination<'a>,
    #[serde(borrow, default)]
    network: Network<'a>,
    #[serde(borrow, default)]
    tls: Tls<'a>,
    #[serde(borrow)]
    sonde: Sonde<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    bytes: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Evidence {
    period_secs: Option<f64>,
    interval_median_secs: Option<f64>,
    first_seen: Option<Timestamp>,
    last_seen: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rest {
    destinations: u64,
    bytes_out: Option<u64>,
    bytes_in: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    cpu_percent: f64,
    rss_bytes: u64,
}

wire! {
    Event {
        #[serde(borrow)] id: Cow<'a, str>,
        #[serde(borrow)] dataset: Cow<'a, str>,
        #[serde(borrow)] action: Cow<'a, str>,
        #[serde(borrow)] outcome: Cow<'a, str>,
        sequence: u64,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
    }
    Host { #[serde(borrow)] name: Cow<'a, str>, }
    Agent { #[serde(borrow)] id: Cow<'a, str>, #[serde(borrow)] version: Cow<'a, str>, }
    User { #[serde(borrow)] id: Cow<'a, str>, #[serde(borrow)] name: Cow<'a, str>, }
    Rule { #[serde(borrow)] id: Cow<'a, str>, }
    Process {
        #[serde(borrow)] executable: Cow<'a, str>,
        #[serde(borrow)] name: Cow<'a, str>,
        #[serde(borrow)] hash: Hash<'a>,
    }
    Hash { #[serde(borrow)] sha256: Cow<'a, str>, }
    Destination {
        #[serde(borrow)] address: Cow<'a, str>,
        #[serde(borrow)] registered_domain: Cow<'a, str>,
        ip: Option<IpAddr>,
        port: u16,
        bytes: u64,
    }
    Network { #[serde(borrow)] transport: Cow<'a, str>, }
    Tls { #[serde(borrow)] client: TlsClient<'a>, }
    TlsClient { #[serde(borrow)] ja4: Cow<'a, str>, }
    Sonde {
        #[serde(borrow)] id: Cow<'a, str>,
        revision: u32,
        #[serde(borrow)] change: Cow<'a, str>,
        #[serde(borrow)] severity: Cow<'a, str>,
        score: f64,
        #[serde(borrow)] class: Cow<'a, str>,
        #[serde(borrow)] reason: Cow<'a, str>,
        evidence: Evidence,
        #[serde(borrow)] summary: Counts<'a>,
        #[serde(borrow)] health: Health<'a>,
        #[serde(borrow)] audit: Audit<'a>,
    }
    Counts {
        connections: u64,
        first_seen: Option<Timestamp>,
        last_seen: Option<Timestamp>,
        #[serde(borrow)] rhythm: Rhythm<'a>,
        rest: Rest,
    }
    Rhythm {
        #[serde(borrow)] id: Cow<'a, str>,
        period_secs: Option<f64>,
        interval_median_secs: Option<f64>,
        jitter_mad_ratio: f64,
        bans: f64,
        callbacks: u32,
        score: f64,
        #[serde(borrow)] severity: Cow<'a, str>,
    }
    Health {
        #[serde(borrow)] verdict: Cow<'a, str>,
        interval_secs: u64,
        usage: Usage,
    }
    Audit { #[serde(borrow)] reason: Cow<'a, str>, }
}

#[cfg(test)]
mod tests;
