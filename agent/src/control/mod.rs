//! Everything that reaches the sensor from outside while it runs: the control socket, signals, the service manager.
//!
//! It has a thread of its own, which only passes commands on and watches that the sensor's thread is alive: it never
//! touches the engine.

pub mod client;
mod protocol;
mod server;
mod watch;

use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use sonde_common::config::Config;
use tokio::sync::oneshot;

pub use self::watch::Heartbeat;
use crate::exit::Exit;
use crate::live::command::{Command, Commander};
use crate::platform::accounts;
use crate::platform::local_socket::{BindError, Listener};
use crate::platform::service::{self, Notice, Signal, Signals};

/// A stop takes at most so long; then the process ends whatever it is doing.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Reads the configuration anew, checked; or says why it cannot be taken.
pub type Reread = Box<dyn FnMut() -> Result<Config, String> + Send>;

/// What the control thread needs.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct Setup {
    /// The control socket; `None`: none.
    pub socket: Option<PathBuf>,
    /// Number of the group whose members may read.
    pub group: Option<u32>,
    /// The way to the sensor's thread.
    pub commander: Commander,
    /// Shows that the sensor's thread is alive.
    pub heartbeat: Heartbeat,
    /// Reads the configuration anew.
    pub reread: Reread,
}

impl Setup {
    /// As a configuration says.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn of(
        config: &Config,
        commander: Commander,
        heartbeat: Heartbeat,
        reread: Reread,
    ) -> Result<Self, ControlError> {
        let group = match config.control.group.get() {
            Some(name) => {
                let group = accounts::group(name);
                Some(group.ok_or_else(|| ControlError::NoGroup { name: name.to_owned() })?)
            }
            None => None,
        };
        let socket = config.control.socket.get().map(PathBuf::from);
        Ok(Self { socket, group, commander, heartbeat, reread })
    }
}

/// Why the control thread cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The group.
    #[error("there is no group `{name}` (control.group)")]
    NoGroup {
        /// Its name.
        name: String,
    },
    /// The thread or its runtime.
    #[error("cannot start the control thread: {0}")]
    Start(#[from] io::Error),
}

/// The running control thread. Dropped, it ends, and the socket goes with it.
#[derive(Debug)]
pub struct Control {
    quit: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the control thread: from now on the socket answers and signals are heard.
///
/// # Errors
/// [`ControlError`] if another sensor has the socket, or the system refuses.
pub fn start(setup: Setup) -> Result<Control, ControlError> {
    let listener = setup.socket.as_deref().map(|path| Listener::bind(path, setup.group)).transpose()?;
    let (quit, quits) = oneshot::channel();
    let (started, starts) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("sonde-control".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(run(setup, listener, started, quits)),
            Err(error) => drop(started.send(Err(error))),
        }
    })?;
    match starts.recv() {
        Ok(Ok(())) => Ok(Control { quit: Some(quit), thread: Some(thread) }),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(io::Error::other("it ended at once").into()),
    }
}

impl Control {
    /// Ends the thread and removes the socket.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.quit.take());
        if let Some(thread) = self.thread.take() {
            // It waits for nobody, so this is a matter of milliseconds.
            let _ = thread.join();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(
    setup: Setup,
    listener: Option<Listener>,
    started: std::sync::mpsc::SyncSender<io::Result<()>>,
    mut quits: oneshot::Receiver<()>,
) {
    let Setup { group, commander, heartbeat, mut reread, .. } = setup;
    let ready = Signals::listen().and_then(|signals| {
        let accepting = listener.map(Listener::accepting).transpose()?;
        Ok((signals, accepting))
    });
    let (mut signals, accepting) = match ready {
        Ok(ready) => ready,
        Err(error) => return drop(started.send(Err(error))),
    };
    let _ = started.send(Ok(()));
    let watch = tokio::spawn(watch::watch(heartbeat));
    let serve = accepting.map(|accepting| {
        let access = server::Access { own_uid: crate::platform::local_socket::own_uid(), group };
        tokio::spawn(server::serve(accepting, access, commander.clone()))
    });
    let mut stopping = false;
    loop {
        let signal = tokio::select! {
            // Sent or dropped, both mean the end.
            _ = &mut quits => break,
            signal = signals.next() => signal,
        };
        match signal {
            Signal::Reload => reload(&commander, &mut reread),
            Signal::Stop if stopping => {
                tracing::warn!("told to stop again: ending at once");
                std::process::exit(Exit::Internal.code().into());
            }
            Signal::Stop => {
                stopping = true;
                stop(&commander);
            }
        }
    }
    watch.abort();
    if let Some(serve) = serve {
        serve.abort();
        let _ = serve.await;
    }
}

/// Reads the configuration anew and hands it over; a bad one is said to be so, and the old one stays.
fn reload(commander: &Commander, reread: &mut Reread) {
    service::notify(Notice::Reloading);
    let command = match reread() {
        Ok(config) => Command::Reload(Box::new(config)),
        Err(error) => {
            tracing::error!(%error, "the new configuration is not taken; the old one stays");
            Command::ReloadFailed(in_one_line(&error))
        }
    };
    if let Err(error) = commander.send(command) {
        tracing::error!(%error, "the new configuration cannot be handed over; the old one stays");
    }
    service::notify(Notice::Ready);
}

/// Where and why, without the excerpt between them.
fn in_one_line(error: &str) -> String {
    let mut lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first}: {last}"))
}

/// Tells the sensor's thread to stop, and sees to it that the process ends in time.
fn stop(commander: &Commander) {
    service::notify(Notice::Stopping);
    tracing::info!("stopping");
    let told = commander.clone();
    tokio::spawn(async move {
        let began = tokio::time::Instant::now();
        // A full channel is emptied within a moment, unless the sensor hangs.
        while told.send(Command::Stop) == Err(crate::live::command::NotTaken::Busy)
            && began.elapsed() < STOP_WITHIN
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(STOP_WITHIN.saturating_sub(began.elapsed())).await;
        tracing::error!(secs = STOP_WITHIN.as_secs(), "the sensor did not stop in time: ending without it");
        std::process::exit(Exit::Internal.code().into());
    });
}

#[cfg(test)]
#[cfg(feature = "linux-tests")]
mod tests;
