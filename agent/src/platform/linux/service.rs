//! The service manager and the terminal: signals, systemd's notifications and watchdog, journald.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit::Exit;
pub use crate::platform::neutral::{Notice, Signal};

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    hang_up: Stream,
    terminate: Stream,
    interrupt: Stream,
}

impl Signals {
    /// Listens from now on; within a tokio runtime.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hang_up.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
        }
    }
}

/// Tells the service manager; without one, nobody.
pub fn notify(notice: Notice<'_>) {
    let told = match notice {
        Notice::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Notice::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Notice::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        Notice::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
    };
    if let Err(error) = told {
        tracing::debug!(%error, "the service manager does not listen");
    }
}

/// How long the service manager waits for a sign of life before it restarts the sensor; `None`: it does not.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// What a service does.
pub type Work = Box<dyn FnOnce() -> Exit + Send>;

/// Works as a service: for systemd that is what it does in a terminal, too.
///
/// # Errors
/// Never.
pub fn host(work: Work) -> io::Result<Exit> {
    Ok(work())
}

/// The file that the log goes to where nobody reads stderr: systemd does.
#[must_use]
pub const fn log_file() -> Option<PathBuf> {
    None
}

/// Has the last words of the program go to this file too, where nobody reads stderr.
pub const fn last_words(_: &File) {}

/// Whether journald reads our stderr: systemd says which file it connected (`JOURNAL_STREAM`), and stderr is it still.
#[must_use]
pub fn stderr_is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let stderr = std::fs::metadata("/proc/self/fd/2").ok().map(|data| (data.dev(), data.ino()));
    stderr.is_some_and(|stderr| named.is_some_and(|named| names(&named, stderr)))
}

/// Whether `device:inode` names the file.
fn names(named: &str, (device, inode): (u64, u64)) -> bool {
    named.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

/// The log as journald takes it, with fields.
///
/// # Errors
/// If journald is not there.
pub fn journald() -> io::Result<tracing_journald::Layer> {
    let layer = tracing_journald::layer()?;
    Ok(layer.with_syslog_identifier("sonde".to_owned()).with_field_prefix(Some("SONDE".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_told_by_device_and_inode() {
        assert!(names("9:12345", (9, 12345)));
        for other in ["9:12346", "8:12345", "9", "", "9:12345:1", "x:y"] {
            assert!(!names(other, (9, 12345)), "{other}");
        }
    }
}
