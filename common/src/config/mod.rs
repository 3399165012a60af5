//! The configuration: TOML, every key with default, unit, range and reason in its doc comment.
//!
//! Every struct denies unknown fields; a value that can be wrong alone is a newtype that checks itself, so an error points
//! at line and column.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// All settings. An empty file is the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How much Sonde may use.
    pub limits: Limits,
}

/// How much Sonde may use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory for detection state: connections, names, sightings and series of all hosts together. Default 64 MiB, at least
    /// 4 MiB, at most 64 GiB; a number of bytes or text such as "128 MiB". What does not fit is evicted by value, so that
    /// beacons that are being followed stay followed.
    pub memory: MemorySize,
}

/// An amount of memory between 4 MiB and 64 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize(usize);

const MIN_MEMORY: u64 = 4 << 20;
const MAX_MEMORY: u64 = 64 << 30;
/// Share of the memory that goes to connection tracking, as a divisor; the rest is for detection.
const TRACKING_SHARE: usize = 4;

impl MemorySize {
    /// The whole amount, in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.0
    }

    /// The part for connection tracking, in bytes.
    #[must_use]
    pub const fn tracking_bytes(self) -> usize {
        self.0 / TRACKING_SHARE
    }

    /// The part for names, sightings and series, in bytes.
    #[must_use]
    pub const fn detection_bytes(self) -> usize {
        self.0 - self.tracking_bytes()
    }
}

impl Default for MemorySize {
    fn default() -> Self {
        Self(64 << 20)
    }
}

/// An amount of memory that is none, or out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemorySizeError {
    /// Not an amount.
    #[error("`{0}` is not an amount of memory (such as \"64 MiB\", \"1 GiB\" or a number of bytes)")]
    Unreadable(String),
    /// Too little or too much.
    #[error("{0} bytes is out of range: from 4 MiB to 64 GiB")]
    OutOfRange(u64),
}

impl TryFrom<u64> for MemorySize {
    type Error = MemorySizeError;

    fn try_from(bytes: u64) -> Result<Self, MemorySizeError> {
        let fits = usize::try_from(bytes).ok().filter(|_| (MIN_MEMORY..=MAX_MEMORY).contains(&bytes));
        fits.map(Self).ok_or(MemorySizeError::OutOfRange(bytes))
    }
}

impl FromStr for MemorySize {
    type Err = MemorySizeError;

    fn from_str(text: &str) -> Result<Self, MemorySizeError> {
        let error = || MemorySizeError::Unreadable(text.chars().take(40).collect());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at_checked(digits).ok_or_else(error)?;
        let shift = match unit.trim() {
            "" | "B" => 0,
            "KiB" | "K" => 10,
            "MiB" | "M" => 20,
            "GiB" | "G" => 30,
            _ => return Err(error()),
        };
        let number: u64 = number.parse().map_err(|_| error())?;
        Self::try_from(number.checked_mul(1 << shift).ok_or(MemorySizeError::OutOfRange(u64::MAX))?)
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = MemorySize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of memory such as \"64 MiB\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MemorySize, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<MemorySize, E> {
                self.visit_u64(u64::try_from(bytes).unwrap_or(0))
            }
            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<MemorySize, E> {
                MemorySize::try_from(bytes).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
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
    fn memory_is_read_with_and_without_unit_and_checked() {
        let memory = |text: &str| Config::parse(text, &[]).map(|config| config.limits.memory.bytes());
        assert_eq!(memory(""), Ok(64 << 20));
        assert_eq!(memory("[limits]\nmemory = \"128 MiB\""), Ok(128 << 20));
        assert_eq!(memory("[limits]\nmemory = 8388608"), Ok(8 << 20));
        for bad in ["\"1 KiB\"", "\"lots\"", "-5", "\"99999999999999999999\"", "\"9999999999 GiB\"", "1.5"] {
            assert!(memory(&format!("[limits]\nmemory = {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_documented_default_is_the_default() {
        assert_eq!(Config::parse(include_str!("../../../packaging/sonde.toml"), &[]), Ok(Config::default()));
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
