//! Real servers that cases ship to: found, started on loopback, waited for, killed at the end. One file for each.
//!
//! `scripts/setup --test` installs them; a machine without one makes the case fail with that remedy, since a case that skips
//! proves nothing.

mod double;
pub mod hec;
pub mod http;
pub mod kafka;
pub mod nats;
pub mod nginx;
pub mod osmem;
pub mod otlp;
pub mod rsyslog;
pub mod sentinel;
pub mod tinyproxy;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a server's port: CI has two busy processors.
const READY: Duration = Duration::from_secs(60);

/// Finds a server's program among those that `scripts/setup --test` put below the target folder, and in `PATH`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let venv = crate::program::target().join("servers/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(venv).chain(std::env::split_paths(&path));
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    folders
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run scripts/setup --test"))
}

/// A port of loopback that was free a moment ago. Another may take it: who starts a server on it tries again with the next.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The same again, to start it once more.
    command: Command,
    log: PathBuf,
}

impl Server {
    /// Starts a program with its output in `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let mut again = Command::new(command.get_program());
        again.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => again.env(name, value),
                None => again.env_remove(name),
            };
        }
        let child = spawn(&mut again, log);
        Self { child, command: again, log: log.to_owned() }
    }

    /// Kills it if it runs, and starts it again as it was started; waits until it takes connections on this port.
    ///
    /// # Panics
    /// When it does not start: another may have taken its port.
    pub fn restart(&mut self, port: u16) {
        self.kill();
        self.child = spawn(&mut self.command, &self.log);
        assert!(self.answers(port), "it does not start again:\n{}", self.output());
    }

    /// Waits until it takes connections; whether it does. `false`: it ended, as one does whose port was taken.
    ///
    /// # Panics
    /// When it neither answers nor ends.
    #[must_use]
    pub fn answers(&mut self, port: u16) -> bool {
        let since = Instant::now();
        while since.elapsed() < READY {
            if self.child.try_wait().expect("a child can be waited for").is_some() {
                return false;
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("no answer on port {port} within {READY:?}:\n{}", self.output());
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let file = std::fs::File::create(log).expect("the log's folder is there");
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a file can be shared"))
        .stderr(file)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
