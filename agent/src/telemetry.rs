//! What Sonde says of itself: the log, and what the sensor costs.

use std::fmt;
use std::sync::Mutex;

use sonde_common::config::{LogSettings, LogTarget};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::live::health;
use crate::log_file::LogFile;
use crate::platform::{privileges, service, usage};

/// Changes what is logged while the sensor runs.
pub struct Log {
    filter: Option<reload::Handle<EnvFilter, Registry>>,
    verbose: u8,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("verbose", &self.verbose).finish_non_exhaustive()
    }
}

/// Starts the log of a command: stderr, as text, since results alone go to stdout. Returns what is wrong with the variable
/// `SONDE_LOG`, if something is.
pub fn start_for_command(verbose: u8) -> Option<String> {
    let (filter, wrong) = filter("warn", verbose);
    // A second start (in tests) keeps the first log.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_colour_wanted())
        .without_time()
        .with_target(false)
        .try_init();
    wrong
}

/// Starts the log of the live sensor where its configuration says. Returns what is wrong with the variable `SONDE_LOG`, if
/// something is.
///
/// # Errors
/// If journald is asked for and is not there.
pub fn start_for_sensor(
    settings: &LogSettings,
    verbose: u8,
) -> Result<(Log, Option<String>), std::io::Error> {
    let (filter, wrong) = filter(settings.level.as_str(), verbose);
    let (filter, handle) = reload::Layer::new(filter);
    let journal = match settings.target {
        LogTarget::Stderr => false,
        LogTarget::Journald => true,
        LogTarget::Auto => service::stderr_is_journal(),
    };
    let layer: Box<dyn Layer<_> + Send + Sync> =
        match if journal { service::journald().map(Some) } else { Ok(None) } {
            Ok(Some(layer)) => Box::new(layer),
            Err(error) if settings.target == LogTarget::Journald => return Err(error),
            // Connected to the journal, which does not take fields: it takes text.
            Ok(None) | Err(_) => {
                let text = tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(is_colour_wanted())
                    .with_target(false);
                match service::log_file() {
                    Some(path) => {
                        let file = Mutex::new(LogFile::new(path));
                        Box::new(text.with_writer(file).with_ansi(false))
                    }
                    // journald and most service managers put a time before each line themselves.
                    None if journal => Box::new(text.without_time()),
                    None => Box::new(text),
                }
            }
        };
    let first = tracing_subscriber::registry().with(filter).with(layer).try_init().is_ok();
    Ok((Log { filter: first.then_some(handle), verbose }, wrong))
}

impl Log {
    /// Takes another level from now on. The target stays.
    pub fn set(&self, settings: &LogSettings) {
        let (filter, _) = filter(settings.level.as_str(), self.verbose);
        if let Some(handle) = &self.filter
            && let Err(error) = handle.reload(filter)
        {
            tracing::warn!(%error, "the level of the log stays as it was");
        }
    }
}

/// What is logged: `SONDE_LOG` if it is set, else the level, raised by `-v`.
fn filter(level: &str, verbose: u8) -> (EnvFilter, Option<String>) {
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
    let at = LEVELS.iter().position(|name| *name == level).unwrap_or(1);
    let level = LEVELS.get((at + usize::from(verbose)).min(LEVELS.len() - 1)).copied().unwrap_or("trace");
    match std::env::var("SONDE_LOG").ok().map(|wanted| EnvFilter::try_new(&wanted)) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => {
            (EnvFilter::new(level), Some(format!("SONDE_LOG is no log filter and is ignored: {error}")))
        }
        None => (EnvFilter::new(level), None),
    }
}

fn is_colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::IsTerminal::is_terminal(&std::io::stderr())
}

/// Fills in what the sensor costs; `cpu_percent` as [`crate::live::budget::Budget::measured`] says.
#[must_use]
pub fn own_usage(cpu_percent: f64) -> health::Usage {
    let usage::Usage { rss_bytes, rss_peak_bytes, descriptors, threads } = usage::usage();
    let cpu_secs = usage::cpu_time().as_secs_f64();
    health::Usage { cpu_secs, cpu_percent, rss_bytes, rss_peak_bytes, descriptors, threads }
}

impl From<privileges::Report> for health::Privileges {
    fn from(privileges::Report { uid, dropped, kept, failure }: privileges::Report) -> Self {
        Self { uid, dropped, kept, failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_raises_the_level_and_stops_at_the_top() {
        for (level, verbose, wanted) in
            [("warn", 0, "warn"), ("warn", 1, "info"), ("info", 1, "debug"), ("info", 9, "trace")]
        {
            assert_eq!(filter(level, verbose).0.to_string(), wanted);
        }
    }
}
