//! `sonde fleet alerts`, `prevalence`, `rhythm`, `new`, `silent`: the questions to the fleet's store, each a view of its schema
//! with filters laid over it.

use std::path::PathBuf;

use sonde_common::config::ClickHouseSettings;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::rows::{self, Column, Form, Row, Show};
use crate::cli::failure::Failure;
use crate::cli::settings;
use crate::cli::severity::Level;
use crate::exit::Exit;
use crate::fleet::store::{Store, StoreError, Value};

/// What all lists take.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// List so many at the most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// How it is written [default: a table on a terminal, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Configuration file (TOML) [default: the system's, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lay a setting over the configuration, such as fleet.clickhouse.url=http://[::1]:8123; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// A moment, or so long before the fleet's latest word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    At(Timestamp),
    Before(u32),
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        let wrong =
            || "wanted: a span such as 90m, 24h or 7d, or a time such as 2026-11-23T12:00:00Z".to_owned();
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
        let secs = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        let number: u32 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(secs).map(Self::Before).ok_or_else(wrong)
    }
}

impl Since {
    /// The condition on a column; the fleet's latest word is the newest `time` of `table`.
    fn on(self, column: &str, table: &str) -> String {
        match self {
            Self::At(time) => {
                let secs = time.nanos().div_euclid(NANOS_PER_SEC).clamp(0, u32::MAX.into());
                format!("{column} >= toDateTime({secs})")
            }
            Self::Before(secs) => {
                // Unsigned seconds of a time would wrap below 1970.
                format!(
                    "toInt64(toUInt32({column})) >= toInt64(toUInt32((SELECT max(time) FROM {table}))) - {secs}"
                )
            }
        }
    }
}

/// `sonde fleet alerts`
#[derive(Debug, clap::Args)]
pub(super) struct Alerts {
    /// Only what was seen last since then: a time, or a span before the fleet's latest alert (90m, 24h, 7d)
    #[arg(long, value_name = "SINCE")]
    since: Option<Since>,
    /// Leave out what is milder
    #[arg(long, value_name = "SEVERITY", default_value = "medium")]
    min_severity: Level,
    /// Only this host's
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only those of this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Also findings that were closed
    #[arg(long)]
    closed: bool,
    /// Exit with 1 if anything is listed
    #[arg(long)]
    exit_on_any: bool,
    #[command(flatten)]
    common: Common,
}

/// What a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// A destination, by name or address.
    Destination,
    /// A TLS client fingerprint.
    Ja4,
    /// A program, by SHA-256.
    Program,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Ja4 => "ja4",
            Self::Program => "program",
        }
    }
}

/// `sonde fleet prevalence`
#[derive(Debug, clap::Args)]
pub(super) struct Prevalence {
    /// Only of this kind
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only this name, address, fingerprint or digest
    value: Option<String>,
    /// Only what so many hosts have at the most, rarest first
    #[arg(long, value_name = "N")]
    max_hosts: Option<u32>,
    /// Only what was seen last since then: a time, or a span before the fleet's latest summary
    #[arg(long, value_name = "SINCE")]
    since: Option<Since>,
    #[command(flatten)]
    common: Common,
}

/// `sonde fleet rhythm`
#[derive(Debug, clap::Args)]
pub(super) struct Rhythm {
    /// Only rhythms that so many hosts keep, at least
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_hosts: u32,
    /// Only what was seen last since then: a time, or a span before the fleet's latest summary
    #[arg(long, value_name = "SINCE")]
    since: Option<Since>,
    #[command(flatten)]
    common: Common,
}

/// `sonde fleet new`
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// What the fleet saw first since then: a time, or a span before its latest summary
    #[arg(long, value_name = "SINCE", default_value = "24h")]
    since: Since,
    /// Only of this kind; JA4 is not kept track of
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only what this host saw first
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// `sonde fleet silent`
#[derive(Debug, clap::Args)]
pub(super) struct Silent {
    /// Only this host's sensor
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Exit with 1 if any sensor is listed
    #[arg(long)]
    exit_on_any: bool,
    #[command(flatten)]
    common: Common,
}

/// A question as it is put together.
struct Question<'a> {
    view: &'static str,
    columns: &'static [Column],
    conditions: Vec<String>,
    values: Vec<(&'static str, Value<'a>)>,
    order: &'static str,
    nothing: &'static str,
}

impl Common {
    fn ask(&self, question: &Question<'_>, exit_on_any: bool) -> Result<Exit, Failure> {
        let settings = settings::read(settings::file(self.config.as_deref()).as_deref(), &self.set)?;
        let mut rows = fetch(&settings.fleet.clickhouse, question, self.limit)?;
        let more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let exit = rows::write(&rows, question.columns, self.format, question.nothing, more)?;
        Ok(if exit_on_any && !rows.is_empty() { Exit::Found } else { exit })
    }
}

fn fetch(settings: &ClickHouseSettings, question: &Question<'_>, limit: u32) -> Result<Vec<Row>, Failure> {
    let columns: Vec<&str> = question.columns.iter().map(|(name, ..)| *name).collect();
    let mut sql = format!("SELECT {} FROM {}", columns.join(", "), question.view);
    if !question.conditions.is_empty() {
        sql.push_str(&format!(" WHERE {}", question.conditions.join(" AND ")));
    }
    // One more than is shown, to know whether there are more.
    let most = u64::from(limit) + 1;
    sql.push_str(&format!(" ORDER BY {} LIMIT {}", question.order, most.min(settings.max_rows.get().into())));
    let runtime = super::runtime()?;
    let mut store = Store::open(settings).map_err(|error| failed(&error))?;
    runtime.block_on(store.query(&sql, &question.values)).map_err(|error| failed(&error))
}

/// Why the store did not answer, with the exit code that says whose turn it is.
pub(super) fn failed(error: &StoreError) -> Failure {
    let exit = match error {
        StoreError::Setup(_) => Exit::Config,
        StoreError::Denied { .. } => Exit::Permission,
        StoreError::Call { .. } | StoreError::Late { .. } => Exit::NoInput,
        StoreError::TooMuch { .. } => Exit::Usage,
        StoreError::Refused { .. } | StoreError::Form { .. } | StoreError::Statement(_) => Exit::Internal,
    };
    let remedy = match error {
        StoreError::Refused { code: 60 | 81, .. } => {
            "\n  lay the schema first: packaging/fleet/clickhouse (docs/fleet.md)"
        }
        StoreError::Setup(_) => "\n  set [fleet.clickhouse] in the configuration (docs/fleet.md)",
        _ => "",
    };
    Failure(exit, format!("{error}{remedy}"))
}

impl Alerts {
    pub(super) fn done(self) -> Result<Exit, Failure> {
        let mut conditions = vec![
            // Severities as the records have them, mildest first.
            format!(
                "indexOf(['low', 'medium', 'high', 'critical'], severity) >= {}",
                match self.min_severity {
                    Level::Low => 1,
                    Level::Medium => 2,
                    Level::High => 3,
                    Level::Critical => 4,
                }
            ),
        ];
        let mut values = Vec::new();
        conditions.extend(self.since.map(|since| since.on("last_seen", "alerts")));
        if let Some(host) = &self.host {
            conditions.push("host = {host}".to_owned());
            values.push(("host", Value::Text(host)));
        }
        if let Some(destination) = &self.destination {
            conditions.push("destination = {destination}".to_owned());
            values.push(("destination", Value::Text(destination)));
        }
        if !self.closed {
            conditions.push("change != 'closed'".to_owned());
        }
        let question = Question {
            view: "fleet_alerts",
            columns: &[
                ("severity", "SEVERITY", Show::Text),
                ("score", "SCORE", Show::Text),
                ("host", "HOST", Show::Text),
                ("program_name", "PROGRAM", Show::Text),
                ("destination", "DESTINATION", Show::Text),
                ("port", "PORT", Show::Text),
                ("period_secs", "EVERY", Show::Interval),
                ("hosts", "HOSTS", Show::Text),
                ("last_seen", "LAST", Show::Time),
                ("class", "", Show::Text),
                ("program", "", Show::Text),
                ("program_sha256", "", Show::Text),
                ("transport", "", Show::Text),
                ("ja4", "", Show::Text),
                ("first_seen", "", Show::Time),
                ("time", "", Show::Time),
                ("change", "", Show::Text),
                ("revision", "", Show::Text),
                ("finding_id", "", Show::Text),
                ("reason", "", Show::Text),
            ],
            conditions,
            values,
            order: "score DESC, host, destination, finding_id",
            nothing: "No alert of the fleet is so severe and so recent. Lower --min-severity or lengthen --since to see more.",
        };
        self.common.ask(&question, self.exit_on_any)
    }
}

impl Prevalence {
    pub(super) fn done(self) -> Result<Exit, Failure> {
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        conditions.extend(self.kind.map(|kind| format!("kind = '{}'", kind.as_str())));
        if let Some(value) = &self.value {
            conditions.push("value = {value}".to_owned());
            values.push(("value", Value::Text(value)));
        }
        conditions.extend(self.max_hosts.map(|most| format!("hosts <= {most}")));
        conditions.extend(self.since.map(|since| since.on("last_seen", "summaries")));
        let question = Question {
            view: "fleet_prevalence",
            columns: &[
                ("kind", "KIND", Show::Text),
                ("value", "VALUE", Show::Text),
                ("hosts", "HOSTS", Show::Text),
                ("share", "SHARE", Show::Share),
                ("first_seen", "FIRST", Show::Time),
                ("last_seen", "LAST", Show::Time),
            ],
            conditions,
            values,
            order: if self.max_hosts.is_some() { "hosts, kind, value" } else { "hosts DESC, kind, value" },
            nothing: "The fleet knows of nothing like that. Summaries have to reach it: records = [\"summary\", …] of the \
                      sensors' sinks.",
        };
        self.common.ask(&question, false)
    }
}

impl Rhythm {
    pub(super) fn done(self) -> Result<Exit, Failure> {
        let mut conditions = vec![format!("hosts >= {}", self.min_hosts)];
        conditions.extend(self.since.map(|since| since.on("last_seen", "summaries")));
        let question = Question {
            view: "fleet_rhythm",
            columns: &[
                ("way", "BY", Show::Text),
                ("destination", "DESTINATION", Show::Text),
                ("program_name", "PROGRAM", Show::Text),
                ("hosts", "HOSTS", Show::Text),
                ("destinations", "DESTINATIONS", Show::Text),
                ("period_least_secs", "FROM", Show::Interval),
                ("period_most_secs", "TO", Show::Interval),
                ("score", "SCORE", Show::Text),
                ("last_seen", "LAST", Show::Time),
                ("first_seen", "FIRST", Show::Time),
                ("program_sha256", "", Show::Text),
            ],
            conditions,
            values: Vec::new(),
            order: "score DESC, hosts DESC, way, destination, program_sha256, period_class",
            nothing: "No rhythm is kept by so many hosts.",
        };
        self.common.ask(&question, false)
    }
}

impl New {
    pub(super) fn done(self) -> Result<Exit, Failure> {
        let mut conditions = vec![match self.since {
            Since::Before(secs) => format!("age_secs <= {secs}"),
            at @ Since::At(_) => at.on("first_seen", "summaries"),
        }];
        let mut values = Vec::new();
        conditions.extend(self.kind.map(|kind| format!("kind = '{}'", kind.as_str())));
        if let Some(host) = &self.host {
            conditions.push("host = {host}".to_owned());
            values.push(("host", Value::Text(host)));
        }
        let question = Question {
            view: "fleet_first_seen",
            columns: &[
                ("kind", "KIND", Show::Text),
                ("value", "VALUE", Show::Text),
                ("host", "HOST", Show::Text),
                ("first_seen", "FIRST", Show::Time),
                ("last_seen", "LAST", Show::Time),
                ("age_secs", "AGE", Show::Span),
            ],
            conditions,
            values,
            order: "first_seen DESC, kind, value",
            nothing: "The fleet saw nothing for the first time since then.",
        };
        self.common.ask(&question, false)
    }
}

impl Silent {
    pub(super) fn done(self) -> Result<Exit, Failure> {
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        if let Some(host) = &self.host {
            conditions.push("host = {host}".to_owned());
            values.push(("host", Value::Text(host)));
        }
        let question = Question {
            view: "fleet_silent",
            columns: &[
                ("host", "HOST", Show::Text),
                ("verdict", "LAST SAID", Show::Text),
                ("last_health", "LAST HEARD", Show::Time),
                ("silent_secs", "SILENT", Show::Span),
                ("interval_secs", "EVERY", Show::Span),
                ("overdue", "", Show::Text),
                ("missing", "MISSING", Show::Text),
                ("agent", "SENSOR", Show::Digest),
            ],
            conditions,
            values,
            order: "silent_secs DESC, host, agent",
            nothing: "Every sensor that was heard of is still heard, and no health record is missing.",
        };
        self.common.ask(&question, self.exit_on_any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_a_span_and_nothing_else() {
        assert_eq!("24h".parse(), Ok(Since::Before(86_400)));
        assert_eq!("7d".parse(), Ok(Since::Before(7 * 86_400)));
        let at = "1970-01-01T00:00:05Z".parse::<Since>().unwrap();
        assert_eq!(at.on("last_seen", "alerts"), "last_seen >= toDateTime(5)");
        for bad in ["", "h", "1", "-1h", "1w", "1h; DROP", "99999999999d", "é", "1é"] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }
}
