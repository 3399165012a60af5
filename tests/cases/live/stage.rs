//! What the cases share: a lab with a server, a sensor in front of it, and a word on why there is none.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use sonde_tests::emulate::sensor::Sensor;
use sonde_tests::netns::{Caller, Lab};
use sonde_tests::program::{Scratch, say, sonde};

/// The emulator, as built for this test.
pub(crate) fn emulator() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sonde-emulate"))
}

/// One sensor at a time: they would see each other's lives, and the machine has two processors.
static TURN: Mutex<()> = Mutex::new(());

/// A lab with a server in it.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    server: Child,
    pub(crate) scratch: Scratch,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    /// `None` where a lab cannot be made, said on stderr.
    ///
    /// # Panics
    /// If it cannot be made in CI, where skipping is failing.
    pub(crate) fn new(name: &str, services: &[(&str, u16)]) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = match Lab::new(Caller::Here) {
            Ok(lab) => lab,
            Err(error) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "CI can make a lab: {error}");
                say(&format!("SKIPPED: no lab: {error}"));
                return None;
            }
        };
        let mut command = lab.at_server(emulator());
        command.arg("serve").args(["--name", &format!("updates.example.net={}", lab.server(4))]);
        for (service, port) in services {
            command.arg(format!("{service}:{}", SocketAddr::new(lab.server(4), *port)));
        }
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert!(ready.contains("ready"), "the server did not start");
        Some(Self { lab, server, scratch: Scratch::new(name), _turn: turn })
    }

    pub(crate) fn to(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.lab.server(4), port)
    }

    /// A sensor with its files in this stage's folder.
    ///
    /// # Panics
    /// If it does not start; shows its log.
    pub(crate) fn sensor(&self, options: &[&str]) -> Sensor {
        Sensor::start(&sonde(), self.scratch.path(), options)
            .unwrap_or_else(|log| panic!("no sensor:\n{log}"))
    }

    /// A folder for programs that looks like what it is: one that anyone can write to.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.scratch.file(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// The emulator, dressed as something else, calling the HTTP server.
    pub(crate) fn dressed(
        &self,
        dress: &str,
        folder: &Path,
        name: &str,
        port: u16,
        interval: f64,
    ) -> Running {
        let mut command = Command::new(emulator());
        command.args(["program", "--dress", dress, "--name", name, "--to", &self.to(port).to_string()]);
        command.arg("--folder").arg(folder).args(["--count", "60", "--interval", &interval.to_string()]);
        Running::start(command)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

/// A process of a case and its children, ended with it.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        use std::os::unix::process::CommandExt;
        // A group of its own, so that the loop of a script ends with it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Whether an alert is about a destination address and port.
pub(crate) fn about(alert: &Value, to: SocketAddr) -> bool {
    let (ip, port) = (alert.pointer("/destination/ip"), alert.pointer("/destination/port"));
    ip.is_some_and(|ip| ip == to.ip().to_string().as_str()) && port.is_some_and(|port| port == to.port())
}
