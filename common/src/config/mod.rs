//! The configuration: TOML, every key with default, unit, range and reason in its doc comment.
//!
//! Every struct denies unknown fields; a value that can be wrong alone is a newtype that checks itself, so an error points
//! at line and column. One file per table.

mod alerts;
mod amount;
mod attribution;
mod capture;
mod control;
mod detectors;
mod feeds;
mod fleet;
mod hints;
mod learning;
mod limits;
mod log;
mod profiles;
mod run;
mod sinks;
mod state;
mod summary;
mod text;

use serde::{Deserialize, Serialize};

pub use self::alerts::AlertSettings;
pub use self::amount::{Bytes, Whole};
pub use self::attribution::{AttributionSettings, CommandLines, EventRingBytes, HashBytes, LayerChoice};
pub use self::capture::{CaptureMode, CaptureSettings, Interface, RingBytes};
pub use self::control::ControlSettings;
pub use self::detectors::DetectorSettings;
pub use self::feeds::{FeedCheck, FeedMemory, FeedSettings};
pub use self::fleet::{
    BucketName, CarrySettings, ClickHouseSettings, ConsumerName, DatabaseName, FleetNatsSettings,
    FleetSettings, StreamName,
};
pub use self::hints::HintSettings;
pub use self::learning::{LearningSettings, PeriodDays};
pub use self::limits::{CpuPercent, HeldEvents, Limits, MemorySize, MemorySizeError};
pub use self::log::{LogLevel, LogSettings, LogTarget};
pub use self::profiles::ProfileSettings;
pub use self::run::RunSettings;
pub use self::sinks::{
    ElasticSettings, FileSettings, HecSettings, HostPort, Index, KafkaMechanism, KafkaSettings, MAX_SINKS,
    NatsSettings, NoticeSettings, OtlpSettings, Pin, ProxyUrl, Reach, Secret, SentinelSettings, SinkName,
    SinkSettings, Sinks, SpoolBytes, Stream, Subject, SyslogSettings, TlsSettings, Topic, WebhookSettings,
    WireForm,
};
pub use self::state::{SaveInterval, StateSettings};
pub use self::summary::{SummaryDestinations, SummaryInterval, SummarySettings};
pub use self::text::{Account, Place};

/// The documented default: every key with its comment, as `packaging/sonde.toml` shows it.
pub const DEFAULT_TEXT: &str = include_str!("../../../packaging/sonde.toml");

/// All settings. An empty file is the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Packets of the live sensor.
    pub capture: CaptureSettings,
    /// Whose connections are, in the live sensor.
    pub attribution: AttributionSettings,
    /// Which detectors are on.
    pub detectors: DetectorSettings,
    /// What the host learns of itself.
    pub learning: LearningSettings,
    /// Lists of known-bad infrastructure.
    pub feeds: FeedSettings,
    /// What a fleet tells its sensors.
    pub hints: HintSettings,
    /// Programs that tick by nature.
    pub profiles: ProfileSettings,
    /// What stands in an alert.
    pub alerts: AlertSettings,
    /// Where alerts and the sensor's own words go.
    #[serde(deserialize_with = "sinks::read")]
    pub sinks: Sinks,
    /// What the live sensor sums up for a fleet.
    pub summary: SummarySettings,
    /// What the live sensor remembers over a restart.
    pub state: StateSettings,
    /// How others talk to the live sensor.
    pub control: ControlSettings,
    /// What the live sensor logs, and where.
    pub log: LogSettings,
    /// As whom the live sensor runs.
    pub run: RunSettings,
    /// The fleet's store, and what feeds it; no sensor needs it.
    pub fleet: FleetSettings,
    /// How much Sonde may use.
    pub limits: Limits,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is no TOML, or a key or value is wrong; the message points at line and column.
    #[error("{0}")]
    Toml(String),
    /// The settings laid over the file make it wrong.
    #[error("with the settings laid over it:\n{0}")]
    Laid(String),
    /// A setting given as `key=value` is not of that form.
    #[error("`{0}` is not of the form key=value (such as limits.memory=\"128 MiB\")")]
    Setting(String),
}

impl Config {
    /// Parses a configuration and lays settings of the form `table.key=value` over it. A value that is no TOML is taken as
    /// text.
    ///
    /// # Errors
    /// [`ConfigError`] points at the line and column, or names the setting.
    pub fn parse(text: &str, settings: &[String]) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Toml(error.to_string()))?;
        if settings.is_empty() {
            return Ok(config);
        }
        let mut table: toml::Table =
            toml::from_str(text).map_err(|error| ConfigError::Toml(error.to_string()))?;
        for setting in settings {
            lay_over(&mut table, setting)?;
        }
        let merged = toml::to_string(&table).map_err(|error| ConfigError::Toml(error.to_string()))?;
        toml::from_str(&merged).map_err(|error| ConfigError::Laid(error.to_string()))
    }

    /// The settings as TOML, each with its value.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every setting is a text, number or switch")
    }
}

fn lay_over(table: &mut toml::Table, setting: &str) -> Result<(), ConfigError> {
    let error = || ConfigError::Setting(setting.chars().take(120).collect());
    let (path, value) = setting.split_once('=').ok_or_else(error)?;
    let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys: Vec<_> = path.split('.').map(str::trim).collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(error)?;
    let mut at = table;
    for key in keys {
        let next = at.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = next.as_table_mut().ok_or_else(error)?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_default_is_the_default() {
        assert_eq!(Config::parse(DEFAULT_TEXT, &[]), Ok(Config::default()));
    }

    #[test]
    fn the_documented_default_shows_every_key() {
        let shown: toml::Table = toml::from_str(DEFAULT_TEXT).unwrap();
        let all = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(shown.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
        for (name, table) in &all {
            let keys = |value: &toml::Value| value.as_table().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&shown[name]), keys(table), "[{name}]");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_it_was() {
        let text = "[capture]\ninterfaces = [\"eth0\"]\n[state]\ndir = \"\"\ninterval_secs = 10\n\
                    [limits]\nmemory = 5000001\ncpu_percent = 100\n[log]\nlevel = \"debug\"";
        let config = Config::parse(text, &[]).unwrap();
        assert_ne!(config, Config::default());
        assert_eq!(Config::parse(&config.to_toml(), &[]), Ok(config));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Config::parse("[limits]\nmemroy = 1", &[]).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("memroy"), "{error}");
    }

    #[test]
    fn settings_lie_over_the_file() {
        let config =
            Config::parse("[limits]\nmemory = \"128 MiB\"", &["limits.memory=32 MiB".into()]).unwrap();
        assert_eq!(config.limits.memory.bytes(), 32 << 20);
        assert!(Config::parse("", &["limits.memory".into()]).is_err());
        assert!(Config::parse("", &["limits.nothing=1".into()]).is_err());
        assert!(Config::parse("", &["=1".into()]).is_err());
    }
}
