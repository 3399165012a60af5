//! An OpenSearch-compatible server (PyPI `osmem-server`): documents in memory, strict mappings, `_bulk` with an answer per item.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Server;
use super::http;

/// Longest wait for its first word.
const READY: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct Osmem {
    /// Its process.
    pub server: Server,
    /// Its port on loopback.
    pub port: u16,
}

impl Osmem {
    /// Starts one; its log goes to the folder. `port`: 0, or that of an earlier one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path, port: u16) -> Self {
        let mut command = Command::new(super::binary("osmem-server"));
        // Its own port, which it tells: no other program can take it in between.
        command.args(["-addr", &format!("127.0.0.1:{port}"), "-no-stdin-watch", "-no-ja"]);
        let server = Server::start(&mut command, &folder.join("osmem.log"));
        let since = Instant::now();
        while since.elapsed() < READY {
            let output = server.output();
            let told = output.lines().find_map(|line| {
                let told: Value = serde_json::from_str(line).ok()?;
                told.get("url")?.as_str()?.rsplit(':').next()?.parse().ok()
            });
            if let Some(port) = told {
                return Self { server, port };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("osmem-server tells no port:\n{}", server.output());
    }

    /// Asks it; status and answer.
    ///
    /// # Panics
    /// When it does not answer in JSON.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, answer) =
            http::call(self.port, method, path, &[("Content-Type", "application/json")], body);
        (status, serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}")))
    }

    /// Documents of an index.
    ///
    /// # Panics
    /// When it does not tell.
    #[must_use]
    pub fn count(&self, index: &str) -> u64 {
        let (_, answer) = self.ask("GET", &format!("/{index}/_count"), "");
        answer.get("count").and_then(Value::as_u64).unwrap_or_else(|| panic!("{answer}"))
    }

    /// All documents of an index by their ids; at most ten thousand.
    ///
    /// # Panics
    /// When it does not tell.
    #[must_use]
    pub fn all(&self, index: &str) -> Vec<(String, Value)> {
        let (status, answer) = self.ask("GET", &format!("/{index}/_search?size=10000"), "");
        if status == 404 {
            return Vec::new();
        }
        let hits = answer.pointer("/hits/hits").and_then(Value::as_array);
        let one = |hit: &Value| Some((hit.get("_id")?.as_str()?.to_owned(), hit.get("_source")?.clone()));
        hits.unwrap_or_else(|| panic!("{answer}")).iter().filter_map(one).collect()
    }

    /// A document as it was sent.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn document(&self, index: &str, id: &str) -> Value {
        let (status, answer) = self.ask("GET", &format!("/{index}/_doc/{id}"), "");
        assert_eq!(status, 200, "{answer}");
        answer.get("_source").cloned().unwrap_or_default()
    }
}
