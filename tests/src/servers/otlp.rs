//! rotel as a receiver of OTLP: what it understood of each log record is written to a file by a processor of ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Server, binary, free_port};

/// How often ports are chosen anew when another took one.
const TRIES: usize = 20;
/// Longest wait for records to be written.
const PATIENCE: Duration = Duration::from_secs(60);

const KEEP: &str = include_str!("otlp_keep.py");

/// A receiver.
#[derive(Debug)]
pub struct Rotel {
    /// Where it takes OTLP/HTTP.
    pub port: u16,
    /// Its process.
    pub server: Server,
    kept: PathBuf,
}

/// Starts a receiver.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn rotel(folder: &Path) -> Rotel {
    let script = folder.join("otlp_keep.py");
    std::fs::write(&script, KEEP).expect("a file can be written");
    for _ in 0..TRIES {
        let (port, grpc) = (free_port(), free_port());
        let mut command = Command::new(binary("rotel-agent"));
        command.args(["start", "--exporter", "blackhole", "--otlp-http-endpoint"]);
        command.arg(format!("127.0.0.1:{port}")).arg("--otlp-grpc-endpoint").arg(format!("127.0.0.1:{grpc}"));
        command.arg("--otlp-with-logs-processor").arg(&script);
        command
            .arg("--pid-file")
            .arg(folder.join("rotel.pid"))
            .arg("--log-file")
            .arg(folder.join("rotel.own.log"));
        let mut server = Server::start(&mut command, &folder.join("rotel.log"));
        if server.answers(port) {
            return Rotel { port, server, kept: folder.join("records.jsonl") };
        }
    }
    panic!("no port was free for rotel");
}

impl Rotel {
    /// The records that it has kept so far.
    #[must_use]
    pub fn kept(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.kept).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until it kept so many records, and returns them.
    ///
    /// # Panics
    /// When it does not keep them.
    #[must_use]
    pub fn records(&self, count: usize) -> Vec<Value> {
        let since = Instant::now();
        loop {
            let found = self.kept();
            if found.len() >= count {
                return found;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "{} of {count} records:\n{}",
                found.len(),
                self.server.output()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
