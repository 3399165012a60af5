//! `[log]`: what the live sensor logs, and where. Results go to stdout and are no log.

use serde::{Deserialize, Serialize};

/// The log of the live sensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Default `auto`: journald where systemd connected the sensor's stderr to it, else stderr.
    pub target: LogTarget,
    /// Default `info`: start, stop, reload, health. `--verbose` and the variable SONDE_LOG lie over it.
    pub level: LogLevel,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    /// journald if it reads our stderr, else stderr.
    #[default]
    Auto,
    /// journald, with fields.
    Journald,
    /// stderr, as text.
    Stderr,
}

/// How much is logged: each level with those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Data was lost, or an operator is needed.
    Error,
    /// Odd, but recovered.
    Warn,
    /// Start, stop, reload, health.
    #[default]
    Info,
    /// Each connection, with names and command lines.
    Debug,
    /// Each packet.
    Trace,
}

impl LogLevel {
    /// Name as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
