//! A live sensor under test: started with files of its own, read while it runs, stopped in every way there is.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What it logs once everything is attached.
const RUNNING: &str = "the sensor is running";
/// How long it may take to start or to stop: its self-tests wait for packets, and test machines are slow.
const PATIENCE: Duration = Duration::from_secs(30);

type Lines = Arc<Mutex<Vec<String>>>;

/// A running `sonde run`; killed when dropped.
#[derive(Debug)]
pub struct Sensor {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    events: PathBuf,
    /// The program that asks it, and where.
    sonde: PathBuf,
    socket: PathBuf,
    /// Whether it was killed on purpose.
    killed: Cell<bool>,
}

impl Sensor {
    /// Starts `sonde run` with its state, socket and events in `folder`, and waits until it runs.
    ///
    /// # Errors
    /// What it said instead.
    pub fn start<A: AsRef<OsStr>>(
        sonde: &Path,
        folder: &Path,
        options: impl IntoIterator<Item = A>,
    ) -> Result<Self, String> {
        let events = folder.join("events.ndjson");
        let setting = |key: &str, file: &str| format!("{key}=\"{}\"", folder.join(file).display());
        let mut command = Command::new(sonde);
        command.env_remove("SONDE_LOG").env("NO_COLOR", "1").args([
            "run",
            "--verbose",
            "--format",
            "ndjson",
            "--events",
        ]);
        command.arg(&events).args(["--set", &setting("state.dir", "state")]);
        command.args(["--set", &setting("control.socket", "control")]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let stdout = child.stdout.take().map(gather).unwrap_or_default();
        let stderr = child.stderr.take().map(gather).unwrap_or_default();
        let mut sensor = Self {
            child,
            stdout,
            stderr,
            events,
            sonde: crate::program::sonde(),
            socket: folder.join("control"),
            killed: Cell::new(false),
        };
        if sensor.wait_for_log(RUNNING, PATIENCE) { Ok(sensor) } else { Err(sensor.end_of_log()) }
    }

    /// Whether it logs `text` within that time; false at once if it ends.
    pub fn wait_for_log(&mut self, text: &str, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if self.log().iter().any(|line| line.contains(text)) {
                return true;
            }
            if Instant::now() > deadline || matches!(self.child.try_wait(), Ok(Some(_))) {
                return self.log().iter().any(|line| line.contains(text));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn end_of_log(&self) -> String {
        // The readers may be a moment behind the process.
        thread::sleep(Duration::from_millis(100));
        let log = self.log();
        log.get(log.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        lines(&self.stderr)
    }

    /// Its alerts so far.
    #[must_use]
    pub fn alerts(&self) -> Vec<Value> {
        lines(&self.stdout).iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first alert, within that time, that `wanted` wants.
    pub fn wait_for_alert(&mut self, patience: Duration, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let deadline = Instant::now() + patience;
        loop {
            let found = self.alerts().into_iter().find(&wanted);
            if found.is_some() || Instant::now() > deadline || matches!(self.child.try_wait(), Ok(Some(_))) {
                return found;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.events).unwrap_or_default();
        // The last line may be half written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How it says that it is.
    ///
    /// # Panics
    /// If it does not say.
    #[must_use]
    pub fn health(&self) -> Value {
        let mut command = Command::new(&self.sonde);
        command.args(["status", "--format", "json", "--socket"]).arg(&self.socket);
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.killed.set(self.killed.get() || signal == Signal::KILL);
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Holds what the sensor says at its end of all that it saw against itself: each thing went into detection, was left out by a
    /// reason, or had no room; nothing waits any more.
    fn accounted(&self) {
        // The reader may be a moment behind the process.
        let deadline = Instant::now() + Duration::from_secs(2);
        let line = loop {
            let line = self.log().into_iter().find(|line| line.contains("what became of all that was seen"));
            if line.is_some() || Instant::now() > deadline {
                break line;
            }
            thread::sleep(Duration::from_millis(10));
        };
        let Some(line) = line else {
            // One that was killed could not say; any other that does not has skipped it, or ended in a way of its own.
            assert!(self.killed.get(), "it ended without its account:\n{}", self.end_of_log());
            return;
        };
        let text = line.find('{').zip(line.rfind('}')).and_then(|(from, to)| line.get(from..=to));
        let account: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        for name in ["records", "observations"] {
            let ledger = account.get(name);
            let count = |key: &str| ledger?.get(key)?.as_u64();
            let reasons = ledger.and_then(|ledger| ledger.get("ignored")?.as_object());
            let ignored = reasons.map(|reasons| reasons.values().filter_map(Value::as_u64).sum::<u64>());
            let parts = [count("aggregated"), count("evicted"), count("waiting"), ignored];
            let sum = parts.into_iter().try_fold(0, |sum, part| Some(sum + part?));
            assert!(sum.is_some() && sum == count("seen"), "{name} are not accounted for: {line}");
            assert_eq!(count("waiting"), Some(0), "{name} wait for ever: {line}");
        }
    }

    /// Asks it to end, and gives how it did; `None`: it hangs.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.accounted();
                return Some(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(of: &Lines) -> Vec<String> {
    of.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn gather(from: impl Read + Send + 'static) -> Lines {
    let gathered = Lines::default();
    let into = Arc::clone(&gathered);
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    gathered
}
