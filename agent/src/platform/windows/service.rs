//! The terminal and the service manager: the keys and events that end a console program.

use std::io;
use std::time::Duration;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// What the sensor is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Take up the configuration anew (Ctrl-Break).
    Reload,
    /// End (Ctrl-C, the window is closed, the machine shuts down).
    Stop,
}

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
        }
    }
}

/// What the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The sensor works.
    Ready,
    /// It takes up a new configuration; [`Notice::Ready`] follows.
    Reloading,
    /// It ends.
    Stopping,
    /// It lives.
    Alive,
    /// One line on how it is.
    Status(&'a str),
}

/// Tells the service manager; in a terminal, nobody.
pub fn notify(notice: Notice<'_>) {
    tracing::trace!(?notice, "there is no service manager");
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
