//! `sonde sinks`: where records go, how that is going, and whether a server takes what it is sent.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sonde_common::alert::Severity;
use sonde_common::config::{Config, SinkName, SinkSettings};
use sonde_common::encode::native::ECS_VERSION;
use sonde_common::record::{Kind, Record};
use sonde_common::text::escape;
use sonde_common::time::Timestamp;

use super::explain::TextOrJson;
use super::failure::{Failure, written};
use super::output::{Format, Output, Style};
use super::source::{Sensor, unexpected};
use super::{complain, settings};
use crate::control::client::{self, ClientError};
use crate::exit::Exit;
use crate::live::command::{Answer, Request};
use crate::live::host::HostFacts;
use crate::platform;
use crate::sink::health::SinkHealth;
use crate::sink::own::OwnSockets;
use crate::sink::{self, Delivery, Outcome};

/// Longest wait for a sink to close after its test.
const CLOSE: Duration = Duration::from_secs(5);

/// Arguments of `sonde sinks`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the configured sinks, and how they are in the running sensor
    List(List),
    /// Send one marked record to a sink, past its spool, and say what came back
    Test(Test),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    sensor: Sensor,
    /// How it is written
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the server took it; 74 it did not, or did not answer; 78 the sink cannot be set up."
)]
struct Test {
    /// The sink, as [sinks.NAME] names it
    name: String,
    /// Configuration file (TOML) [default: the system's, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lay a setting over the configuration; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(match self.what {
            What::List(list) => list.done(),
            What::Test(test) => test.done(),
        })
    }
}

impl List {
    fn done(self) -> Result<Exit, Failure> {
        let config = settings::read(settings::file(self.sensor.config.as_deref()).as_deref(), &[])?;
        // Without a sensor the configuration is what there is to tell.
        let running = match client::ask(&self.sensor.path()?, Request::Status) {
            Ok(Answer::Status(health)) => Some((health.sinks, health.now)),
            Ok(_) => return Err(unexpected()),
            Err(ClientError::Nobody { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let text = match self.format {
            TextOrJson::Text => listed(&config, running.as_ref()),
            TextOrJson::Json => {
                let sinks = running.map(|(sinks, _)| sinks).unwrap_or_default();
                let name = |(name, settings): (&SinkName, &SinkSettings)| {
                    let health = sinks.get(name.as_str());
                    let kind = sink::kind_of(settings);
                    serde_json::json!({ "name": name.as_str(), "kind": kind, "running": health })
                };
                let all: Vec<_> = config.sinks.iter().map(name).collect();
                serde_json::to_string(&all).map_err(|error| Failure(Exit::Internal, error.to_string()))?
                    + "\n"
            }
        };
        let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
        written(out.write_text(&text).and_then(|()| out.flush()))
    }
}

/// The configured sinks, and those that the sensor has.
fn listed(config: &Config, running: Option<&(BTreeMap<String, SinkHealth>, Timestamp)>) -> String {
    let mut out = String::new();
    if config.sinks.is_empty() && running.is_none_or(|(sinks, _)| sinks.is_empty()) {
        return "no sinks are configured ([sinks.NAME], docs/sinks.md)\n".to_owned();
    }
    for (name, settings) in &config.sinks {
        let records: Vec<_> = settings.records.iter().map(|kind| kind.as_str()).collect();
        out.push_str(&format!(
            "{name}: {}, takes {} from severity {}\n",
            sink::kind_of(settings),
            records.join(", "),
            settings.min_severity.as_str()
        ));
        match running.and_then(|(sinks, now)| Some((sinks.get(name.as_str())?, *now))) {
            Some((health, now)) => {
                for line in health.lines(now) {
                    out.push_str(&format!("  {}\n", escape(&line)));
                }
            }
            None if running.is_some() => out.push_str("  the running sensor does not have it: reload it\n"),
            None => out.push_str("  no sensor runs here\n"),
        }
    }
    if let Some((sinks, _)) = running {
        let known = |name: &str| config.sinks.keys().any(|key| key.as_str() == name);
        for name in sinks.keys().filter(|name| !known(name)) {
            out.push_str(&format!(
                "{}: of the running sensor, and not in this configuration\n",
                escape(name)
            ));
        }
    }
    out
}

impl Test {
    fn done(self) -> Result<Exit, Failure> {
        let config = settings::read(settings::file(self.config.as_deref()).as_deref(), &self.set)?;
        let found = config.sinks.iter().find(|(name, _)| name.as_str() == self.name);
        let Some((name, settings)) = found else {
            let known: Vec<_> = config.sinks.keys().map(SinkName::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let text = format!("there is no sink `{}`; configured: {known}", escape(&self.name));
            return Err(Failure(Exit::Config, text));
        };
        let record = test_record(name, platform::clock::clocks().wall);
        let setup = |error: sink::SetupError| Failure(Exit::Config, error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure(Exit::Internal, error.to_string()))?;
        let wait = Duration::from_secs(u64::from(settings.timeout_secs.get()));
        let delivery = runtime.block_on(async {
            let mut sink = sink::open(name, settings, &OwnSockets::default()).map_err(setup)?;
            let delivery = tokio::time::timeout(wait, sink.deliver(std::slice::from_ref(&record))).await;
            let _ = tokio::time::timeout(CLOSE, sink.close()).await;
            Ok::<_, Failure>(delivery.ok())
        })?;
        let (exit, text) = told(name, &record, delivery.as_ref(), wait);
        if exit == Exit::Done {
            let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
            return written(out.write_text(&(text + "\n")).and_then(|()| out.flush()));
        }
        complain(&text);
        Ok(exit)
    }
}

/// What came back, in words.
fn told(name: &SinkName, record: &Record, delivery: Option<&Delivery>, wait: Duration) -> (Exit, String) {
    let id = &record.id;
    let Some(delivery) = delivery else {
        return (Exit::Output, format!("{name}: no answer to {id} within {} s", wait.as_secs()));
    };
    let (exit, outcome) = match delivery.outcomes.first() {
        Some(Outcome::Acknowledged) => (Exit::Done, format!("{id} is acknowledged")),
        Some(Outcome::Refused(reason)) => (Exit::Output, format!("{id} is refused: {}", escape(reason))),
        Some(Outcome::Retry(reason)) => (Exit::Output, format!("{id} is not taken now: {}", escape(reason))),
        None => (Exit::Output, format!("nothing was said of {id}")),
    };
    let mut text = format!("{name}: {outcome}");
    if let Some(after) = delivery.retry_after {
        text.push_str(&format!("\n  it asks to be left alone for {} s", after.as_secs()));
    }
    if !delivery.said.is_empty() {
        text.push_str(&format!("\n  it said: {}", escape(&delivery.said)));
    }
    (exit, text)
}

/// A record that says that it is a test.
fn test_record(name: &SinkName, now: Timestamp) -> Record {
    let id = format!("test-{:016x}-{}", now.nanos(), std::process::id());
    let message = format!("Test of the sink {name}: whoever reads this need not do anything.");
    let body = serde_json::json!({
        "@timestamp": now,
        "ecs": { "version": ECS_VERSION },
        "event": {
            "kind": "event", "category": ["configuration"], "type": ["info"], "action": "sink-test", "id": id,
            "module": "sonde", "dataset": "sonde.audit",
        },
        "message": message,
        "host": { "name": HostFacts::read().name },
        "sonde": { "test": true },
    });
    Record {
        kind: Kind::Audit,
        key: id.clone(),
        id,
        time: now,
        severity: Severity::Info,
        body: body.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::health::Circuit;
    use crate::sink::spool::{Cause, Counts};

    fn config() -> Config {
        Config::parse(
            "[sinks.siem.file]\npath = \"/tmp/x\"\n[sinks.chat.webhook]\nurl = \"https://chat.example/\"",
            &[],
        )
        .unwrap()
    }

    #[test]
    fn the_list_tells_how_each_sink_is() {
        let config = config();
        let text = listed(&config, None);
        assert!(
            text.contains("siem: file, takes alert, audit, health") && text.contains("no sensor runs"),
            "{text}"
        );
        let dropped = [(Cause::DiskFull, 3)].into();
        let counts = Counts { emitted: 10, acknowledged: 4, spooled: 2, dead: 1, dropped };
        let last_error =
            Some(sink::health::SinkError { time: Timestamp::ZERO, reason: "no\u{1b}[2J".into() });
        let health =
            SinkHealth { counts, last_error, circuit: Circuit::Open, failures: 7, ..SinkHealth::default() };
        let running =
            ([("siem".to_owned(), health.clone()), ("old".to_owned(), health)].into(), Timestamp::ZERO);
        let text = listed(&config, Some(&running));
        for wanted in [
            "10 told: 4 acknowledged",
            "3 disk_full",
            "does not deliver: 7",
            "old: of the running",
            "reload it",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_test_says_exactly_what_came_back() {
        let config = config();
        let name = config.sinks.keys().next().unwrap();
        let record = test_record(name, Timestamp::ZERO);
        assert!(record.id.starts_with("test-") && record.id.len() <= 96);
        let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(body["event"]["id"], record.id.as_str());
        let wait = Duration::from_secs(30);
        let told = |outcome: Outcome| {
            told(name, &record, Some(&Delivery::all(&outcome, 1, "HTTP 400\r\nbad")), wait)
        };
        assert_eq!(told(Outcome::Acknowledged).0, Exit::Done);
        let (exit, text) = told(Outcome::Refused("no such\nindex".into()));
        assert!(
            exit == Exit::Output && text.contains("refused: no such\\u{a}index") && !text.contains('\r'),
            "{text}"
        );
        assert_eq!(super::told(name, &record, None, wait).0, Exit::Output);
    }
}
