//! The sensor and what rules it: the keys and events that end a console program, or the service manager.

mod event_source;
mod host;
mod image;
pub mod install;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

pub use self::host::{Work, host, last_words, log_file};
pub use crate::platform::neutral::{Notice, Signal};

/// What is listened to.
#[derive(Debug)]
pub struct Signals {
    reload: CtrlBreak,
    interrupt: CtrlC,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Listens from now on; within a tokio runtime.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            reload: ctrl_break()?,
            interrupt: ctrl_c()?,
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// The next of them.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.reload.recv() => Signal::Reload,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.close.recv() => Signal::Stop,
            _ = self.shutdown.recv() => Signal::Stop,
            () = host::changed() => Signal::Reload,
            () = host::stopped() => Signal::Stop,
        }
    }
}

/// Tells the service manager; in a terminal, nobody.
pub fn notify(notice: Notice<'_>) {
    match notice {
        Notice::Ready => host::runs(),
        Notice::Stopping => host::stops(),
        // It has no words for these.
        Notice::Reloading | Notice::Alive | Notice::Status(_) => {}
    }
}

/// The service manager of Windows waits for no signs of life.
#[must_use]
pub const fn watchdog() -> Option<Duration> {
    None
}

/// There is no journal that reads our stderr.
#[must_use]
pub const fn stderr_is_journal() -> bool {
    false
}

/// The log as journald takes it.
///
/// # Errors
/// Always: there is none on Windows.
pub fn journald() -> io::Result<tracing_subscriber::layer::Identity> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "there is no journald on Windows: set log.target = \"stderr\"",
    ))
}

/// This program, by its whole path as the service manager takes it.
fn program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text.strip_prefix(r"\\?\").filter(|rest| !rest.starts_with("UNC")).map_or(path.clone(), PathBuf::from))
}
